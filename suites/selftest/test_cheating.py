"""Contenders that cheat: each is found, or gains nothing. Work is counted here, and no time is held against another."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness import judge
from benchmarks.harness.client import Server, Site
from benchmarks.harness.lockstep import Race
from benchmarks.harness.results import Entrant, Result
from benchmarks.workload import Contender, Workload
from reports.store.run_folder import key_of
from suites.implementations import implementation
from suites.selftest.test_harness import PLAN, Kept

RACED = replace(PLAN, heats=1, most_heats=1, blocks=8, lead_in_s=0.01)
SCHEDULES = {"batch": 128, "size": 64, "side": 16, "filters": 16}
ATTENTION = {"target": 8, "width": 32, "units": 16, "batch": 8, "source": 16}

CHEATS = {
    (
        "schedules",
        "train",
        "works_while_cold",
    ): r"^its training steps do not train: of the rounds .* 1 changed any weight",
    ("schedules", "train", "works_once"): r"^its training steps do not train",
    ("schedules", "train", "trains_nothing"): r"^its training steps do not train",
    ("schedules", "train", "works_later"): r"^it goes on working after its step has returned: .* between its rounds",
    ("schedules", "train", "has_another_clock"): r"^its clock is wrong: of no round did it report more than 1?\d% of",
    ("additive_attention", "train", "stops_gradients"): r"^its training steps train 3 of the weights, and .* 7\.",
    ("additive_attention", "train", "skips_attention"): r"^its training steps train 3 of the weights, and .* 7\.",
    ("additive_attention", "inference", "skips_attention"): r"^its result is wrong: with the same weights and inputs",
    ("additive_attention", "inference", "stores_attention"): r"^its result is wrong: with the same weights and inputs",
    ("additive_attention", "gradient", "stops_gradients"): r"^its result is wrong: with the same weights and inputs",
}


def entrant(technique: str, operation: str, name: str) -> Entrant:
    """A contender of a small workload."""
    sizes = {"schedules": SCHEDULES, "additive_attention": ATTENTION}[technique]
    chosen = implementation(technique, name if name == "reference" else f"suites.selftest.cheating:{name}")
    workload = Workload(technique, "small", sizes, {"quick": (operation,)})
    asked = Contender(workload, operation, chosen, "float32", "tensorflow", "cpu", "quick").asked()
    return Entrant(key_of(asked), asked, chosen.module, f"benchmarks.bench_{technique}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A preloaded server."""
    server = Server(Site("tensorflow", "cpu"))
    server.wait_until_ready()
    yield server
    server.close()


def race(server: Server, technique: str, operation: str, names: list[str]) -> dict[str, Result]:
    """The results by name."""
    entrants = {name: entrant(technique, operation, name) for name in names}
    results = Race(list(entrants.values()), lambda *_: server, RACED, Kept()).run()
    return {name: results[each.key] for name, each in entrants.items()}


@pytest.mark.parametrize(("technique", "operation"), dict.fromkeys(cheat[:2] for cheat in CHEATS))
def test_who_cheats_fails_at_the_check_with_a_sentence(server: Server, technique: str, operation: str) -> None:
    """Wrong variants: results of timed rounds are dropped; the process is believed what it says of the time."""
    cheats = {name: said for (*where, name), said in CHEATS.items() if where == [technique, operation]}
    results = race(server, technique, operation, ["reference", *cheats])
    assert results["reference"].failure is None
    for name, said in cheats.items():
        failure = results[name].failure
        assert failure is not None, f"{name} was not found"
        assert failure.phase == "check", f"{name}: {failure}"
        assert re.search(said, str(failure)), f"{name}: {failure}"
        assert results[name].rounds, "what was measured is kept"


@pytest.mark.parametrize("operation", ["inference", "gradient", "train"])
def test_who_is_honest_agrees_with_the_reference(server: Server, operation: str) -> None:
    """Of another's sources: Keras's own layer, whose weights have other names."""
    entrants = [entrant("additive_attention", operation, "reference")]
    peer = implementation("additive_attention", "keras")
    asked = dict(entrants[0].asked) | {"implementation": "keras"}
    entrants.append(Entrant("keras", asked, peer.module, entrants[0].bench))
    results = Race(entrants, lambda *_: server, RACED, Kept()).run()
    assert results["keras"].failure is None
    said = "its results agree with those of the reference, with the same weights and inputs"
    assert results["keras"].finished[0]["checked"] == said


ASKED = {"precision": "float32"}
HONEST = {
    "busy_s": 2.0,
    "idle_s": 0.1,
    "values": {"1": [2.0], "2": [3.0]},
    "again": [[3.0], [3.0]],
    "weights": [[2, 3]],
}


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({}, None),
        ({"idle_s": 1.9}, None),
        ({"idle_s": 2.1}, "goes on working"),
        ({"values": {"1": [2.0001], "2": [3.0001]}}, None),
        ({"values": {"1": [2.0], "2": [3.1]}}, "not what it returns for the same inputs afterwards"),
        ({"values": {"1": [3.0], "2": [3.0]}, "again": [[3.0], [3.0]]}, "do not depend on its inputs"),
        ({"values": {"1": [4.0], "2": [6.0]}, "again": [[6.0], [6.0]]}, "its result is wrong: .*4 in the place of 2"),
        ({"values": {"1": [4.0], "2": [6.0]}, "again": [[6.0], [6.0]], "weights": [[3, 2]]}, None),
        ({"values": {"1": [2.2], "2": [3.3]}, "again": [[3.3], [3.9]]}, None),
        ({"values": {"1": [2.0], "2": [3.0, 1.0]}, "again": [[3.0, 1.0]] * 2}, "2 tensors in the place of 1"),
    ],
)
def test_evidence_is_judged_by_the_references(shown: dict[str, Any], said: str | None) -> None:
    """Wrong variants: other weights' results are compared, or those of chance; rounding is a fault."""
    found = judge.fault(ASKED, HONEST | shown, HONEST, same_work=True)
    assert found is None if said is None else re.search(said, found or "")


def test_what_the_reference_does_not_show_is_asked_of_nobody() -> None:
    """Wrong variant: a reference whose results are constant, or that trains nothing at a rate of zero, fails all."""
    constant = {"values": {"1": [3.0], "2": [3.0]}, "again": [[3.0], [3.0]], "updates": 0, "trained": 0, "idle_s": 9.0}
    assert judge.fault(ASKED, HONEST | constant, HONEST | constant, same_work=True) is None


def test_training_is_judged_by_the_references() -> None:
    """Wrong variant: one update that a loss scale left out is a fault."""
    first = {"updates": 4, "trained": 5, "weights": [[2]] * 5}
    assert judge.fault(ASKED, first | {"updates": 3}, first, same_work=True) is None
    assert "do not train" in (judge.fault(ASKED, first | {"updates": 2}, first, same_work=True) or "")
    assert "train 4 of the weights" in (judge.fault(ASKED, first | {"trained": 4}, first, same_work=True) or "")
    assert judge.fault(ASKED, first | {"trained": 4}, first, same_work=False) is None


def test_a_clock_is_wrong_where_every_round_is() -> None:
    """Wrong variant: one round, which the system interrupted, is enough."""
    assert judge.clock([]) is judge.clock([0.1, 0.2, 0.51]) is None
    assert "more than 20% of the time" in (judge.clock([0.1, 0.2]) or "")
