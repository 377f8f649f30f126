"""Planted faults, from real processes to the words of the report: each is found, named, and blamed on its contender."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.client import Server, Site
from benchmarks.harness.conditions import Conditions, busy_neighbour
from benchmarks.harness.lockstep import Race
from benchmarks.harness.plan import PLANS, Plan
from benchmarks.harness.results import Entrant, Result
from reports import steadiness
from reports.statistics import Rounds
from reports.steadiness import MachineVerdict, Verdict
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


def race(
    server: Server, names: list[str], plan: Plan = PLAN, hot: Path = Path("/nowhere"), **options: Any
) -> dict[str, Result]:
    """One contender per fault, in the order of the names; the machine throttles once there is the file `hot`."""
    asked: dict[str, Any] = {"technique": "faults", "implementation": "reference", "backend": "tensorflow"}
    asked |= {"precision": "float32", "device": "cpu", "scale": "quick", "seed": 0}
    sizes = {"parameters": {"batch": 1, "hot": str(hot)}}
    entrants = [
        Entrant(f"{number} {name}", asked | sizes | {"operation": name}, faults.__name__, faults.__name__)
        for number, name in enumerate(names)
    ]
    return Race(entrants, lambda *_: server, plan, Unkept(), **options).run()


def undisturbed(
    server: Server, names: list[str], watch: Callable[[], Disturbed], **options: Any
) -> tuple[list[Rounds], Disturbed]:
    """The rounds of a race at a time when others do little, if one of three is: what they do to it is no plant."""
    for _ in range(3):
        disturbed = watch()
        results = race(server, names, conditions=disturbed, **options)
        if disturbed.share <= 0.1:
            break
    return [result.rounds_of() for result in results.values()], disturbed


def expect(named: bool, said: object, disturbed: Disturbed) -> None:
    """Fail unless the fault was named, or skip where other processes may have hidden it."""
    if not named and disturbed.share > 0.2:
        pytest.skip(f"other processes kept this machine busy in {disturbed.share:.0%} of the blocks: {said}")
    assert named, said


@pytest.mark.parametrize("fault", NAMED)
def test_a_course_of_real_processes_is_named(server: Server, fault: str) -> None:
    """Wrong variants: a contender's course is taken for the machine's; a step at different rounds is two levels.

    The step comes with a certain call, and the first heat's warm-up has more calls: it comes four blocks earlier there.
    """
    rounds, disturbed = undisturbed(server, [fault, "steady", "steady", "steady"], Disturbed)
    # Of the others nothing is asked: what a real machine does to them is no plant. Simulations ask it.
    (verdict, *_), _ = steadiness.of_race(rounds)
    named = verdict.verdict is NAMED[fault]
    if fault == "a step half way":
        named = named and verdict.ratio == pytest.approx(1.3, abs=0.05)
    expect(named, verdict.sentence, disturbed)


def test_a_machine_that_throttles_is_named_and_no_contender_blamed(server: Server, tmp_path: Path) -> None:
    """Everything takes longer from one block of the second heat on. Wrong variant: a contender has a step."""
    hot = tmp_path / "hot"

    class Heating(Disturbed):
        def __init__(self) -> None:
            super().__init__()
            hot.unlink(missing_ok=True)

        def __call__(self, own: Iterable[int]) -> dict[str, Any]:
            reading = super().__call__(own)
            if self.blocks == (1 + PLAN.blocks) + (1 + 20):  # each heat is read once before its blocks
                hot.touch()
            return reading

    rounds, disturbed = undisturbed(server, ["steady"] * 4, Heating, hot=hot)
    verdicts, machine = steadiness.of_race(rounds)
    named = (machine.verdict, machine.blocks) == (MachineVerdict.STEPPED, ((1, 20),))
    named = named and machine.ratio == pytest.approx(faults.HOT, abs=0.05)
    said = [machine.sentence, *(each.sentence for each in verdicts)]
    expect(named and Verdict.STEPPED not in {each.verdict for each in verdicts}, said, disturbed)


def test_a_step_that_is_traced_in_every_call_is_an_error_row(server: Server) -> None:
    """Wrong variant: its times are kept, and are those of tracing."""
    plan = replace(PLAN, heats=1, most_heats=1, blocks=2)
    retraced, steady = race(server, ["retrace", "steady"], plan).values()
    assert "traced or compiled again" in str(retraced.failure)
    assert steady.failure is None


def test_a_busy_neighbour_is_named_in_the_blocks_that_it_disturbs(server: Server) -> None:
    """Wrong variant: our own workers are the neighbours, so that every block is disturbed or none is."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        disturbed = Disturbed()
        plan = replace(PLAN, heats=1, most_heats=1, round_s=0.1)
        race(server, ["steady", "two levels"], plan, conditions=disturbed)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert disturbed.share > 0.8
