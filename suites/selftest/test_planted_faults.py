"""Planted faults, from real processes to the words of the report: each is found, named, and blamed on its contender."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.client import Server, Site
from benchmarks.harness.conditions import Conditions, busy_neighbour
from benchmarks.harness.lockstep import Race
from benchmarks.harness.plan import PLANS, Plan
from benchmarks.harness.results import Entrant, Result
from reports.tables import steadiness
from reports.tables.steadiness import MachineVerdict, Verdict
from suites.selftest import faults
from suites.selftest.detection import Unkept

PLAN = replace(
    PLANS["quick"],
    heats=3,
    most_heats=3,
    blocks=40,
    heat_s=60.0,
    round_s=1e-9,
    warm_up_s=0.0,
    warm_up_calls=3,
    lead_in_s=0.0,
)
NAMED = {
    "slower with every call": Verdict.DRIFTING,
    "slower from half way on": Verdict.DRIFTING,
    "a step half way": Verdict.STEPPED,
    "two levels": Verdict.BIMODAL,
    "a long warm-up": Verdict.WARMING_UP,
}


class Disturbed:
    """Reads the conditions of a race's blocks, and counts those that other processes disturbed."""

    def __init__(self) -> None:
        self.sampler, self.blocks, self.named = Conditions("cpu"), 0, 0

    def __call__(self, own: Iterable[int]) -> dict[str, Any]:
        """One reading."""
        neighbour = busy_neighbour(self.sampler.read(own))
        self.blocks, self.named = self.blocks + 1, self.named + (neighbour is not None)
        return {"disturbed": neighbour}

    @property
    def share(self) -> float:
        """The share of blocks that were disturbed."""
        return self.named / self.blocks


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A preloaded server."""
    server = Server(Site("tensorflow", "cpu"))
    yield server
    server.close()


def race(server: Server, folder: Path, names: list[str], plan: Plan = PLAN, **options: Any) -> dict[str, Result]:
    """One contender per fault, in the order of the names; the machine throttles once there is the file `hot`."""
    asked: dict[str, Any] = {"technique": "faults", "implementation": "reference", "backend": "tensorflow"}
    asked |= {"precision": "float32", "device": "cpu", "scale": "quick"}
    entrants = []
    for number, name in enumerate(names):
        files = {"hot": str(folder / "hot"), "builds": str(folder / f"builds-{number}")}
        sizes = {"parameters": {"batch": 1, **files}, "operation": name, "seed": number}
        entrants.append(Entrant(f"{number} {name}", asked | sizes, faults.__name__, faults.__name__))
    return Race(entrants, lambda *_: server, plan, Unkept(), **options).run()


@pytest.mark.parametrize("fault", NAMED)
def test_a_course_of_real_processes_is_named(server: Server, tmp_path: Path, fault: str) -> None:
    """Wrong variants: a contender's course is taken for the machine's; a step at different rounds is two levels.

    The step comes with a certain call, and the first heat's warm-up has more calls: it comes four blocks earlier there.
    """
    results = race(server, tmp_path, [fault, "steady", "steady", "steady"])
    (verdict, *_), _ = steadiness.of_race([result.rounds_of() for result in results.values()])
    assert verdict.verdict is NAMED[fault], verdict.sentence
    if fault == "a step half way":
        assert verdict.ratio == pytest.approx(1.3, abs=0.05), verdict.sentence


def test_a_machine_that_throttles_is_named_and_no_contender_blamed(server: Server, tmp_path: Path) -> None:
    """Everything takes longer from one block of the second heat on. Wrong variant: a contender has a step."""
    hot = tmp_path / "hot"

    class Heating(Disturbed):
        def __call__(self, own: Iterable[int]) -> dict[str, Any]:
            reading = super().__call__(own)
            if self.blocks == (1 + PLAN.blocks) + (1 + 20):  # each heat is read once before its blocks
                hot.touch()
            return reading

    results = race(server, tmp_path, ["steady"] * 4, conditions=Heating())
    verdicts, machine = steadiness.of_race([result.rounds_of() for result in results.values()])
    assert (machine.verdict, machine.blocks) == (MachineVerdict.STEPPED, ((1, 20),)), machine.sentence
    assert machine.ratio == pytest.approx(faults.HOT, abs=0.05)
    assert Verdict.STEPPED not in {each.verdict for each in verdicts}


def test_a_step_that_is_traced_in_every_call_is_an_error_row(server: Server, tmp_path: Path) -> None:
    """Wrong variant: its times are kept, and are those of tracing."""
    plan = replace(PLAN, heats=1, most_heats=1, blocks=2)
    retraced, steady = race(server, tmp_path, ["retrace", "steady"], plan).values()
    assert "traced or compiled again" in str(retraced.failure)
    assert steady.failure is None


def test_a_busy_neighbour_is_named_in_the_blocks_that_it_disturbs(server: Server, tmp_path: Path) -> None:
    """Wrong variant: our own workers are the neighbours, so that every block is disturbed or none is."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        disturbed = Disturbed()
        plan = replace(PLAN, heats=1, most_heats=1)
        race(server, tmp_path, ["busy", "busy"], plan, conditions=disturbed)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert disturbed.share > 0.8
