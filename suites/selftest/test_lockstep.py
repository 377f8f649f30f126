"""The order of rounds and the clock, with contenders in this process: here the logic is tested, not the processes."""

import gc
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, cast

import pytest

from benchmarks.harness import lockstep, worker
from benchmarks.harness.client import Server, WorkerError
from benchmarks.harness.lockstep import Entrant, Plan, Race, Result, Round, replay

PLAN = Plan(heats=2, blocks=6, least_blocks=2, heat_s=1e9, round_s=0.01)
SPEEDS = {"a": 1.0, "b": 1.1, "c": 1.5}
"""Seconds per step."""


class Kept(list[Mapping[str, Any]]):
    """A journal in memory."""

    write = list.append


class Machine:
    """A server whose workers share one clock; each takes its own time, and the machine slows down steadily."""

    def __init__(self, drift: float = 0.0, breaks: Callable[[str, int], bool] = lambda *_: False) -> None:
        self.time, self.drift, self.breaks = 0.0, drift, breaks
        self.rounds: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.loops: set[int] = set()

    def fork(self) -> "Contender":
        return Contender(self)


class Contender:
    """Answers as a worker does."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.name, self.closed = machine, "", False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    def send(self, action: str, **arguments: Any) -> None:
        assert not self.closed, f"{self.name} has failed and must be left alone"
        if action == "build":
            self.name = arguments["asked"]["name"]
        self.machine.asked.append((action, self.name))
        self.action = action
        self.machine.loops |= {arguments["loops"]} if action == "round" else set()

    def receive(self, limit_s: float) -> dict[str, Any]:
        assert limit_s == PLAN.limit_s
        machine = self.machine
        if self.action == "round":
            machine.rounds.append(self.name)
            if machine.breaks(self.name, machine.rounds.count(self.name)):
                raise WorkerError("it broke", self.action)
            machine.time += 1
            return {"seconds": SPEEDS[self.name] + machine.drift * machine.time}
        replies: dict[str, dict[str, Any]] = {"warm_up": {"call_s": 0.003}, "finish": {"memory": {}, "retraces": 0}}
        return replies.get(self.action, {})


def race(machine: Machine, plan: Plan = PLAN, earlier: dict[str, Result] | None = None) -> tuple[Race, Kept]:
    journal = Kept()
    entrants = [Entrant(name, {"name": name}, "") for name in SPEEDS]
    return Race(entrants, lambda: cast(Server, machine), plan, journal, earlier), journal


def blocks_of(machine: Machine, size: int = 2 * len(SPEEDS)) -> list[list[str]]:
    return [machine.rounds[start : start + size] for start in range(0, len(machine.rounds), size)]


def test_every_block_is_a_palindrome_with_two_rounds_of_each() -> None:
    machine = Machine()
    race(machine)[0].run()
    blocks = blocks_of(machine)
    assert len(blocks) == PLAN.heats * PLAN.blocks
    for block in blocks:
        assert block == block[::-1]
        assert sorted(block) == sorted([*SPEEDS, *SPEEDS])


def test_the_order_varies_between_blocks_and_heats() -> None:
    machine = Machine()
    race(machine)[0].run()
    orders = [tuple(block[: len(SPEEDS)]) for block in blocks_of(machine)]
    first, second = orders[: PLAN.blocks], orders[PLAN.blocks :]
    assert len(set(first)) >= 3
    assert len({order[0] for order in orders}) == len(SPEEDS), "everyone goes first at times"
    assert first != second


def test_a_linear_drift_cancels_within_each_block() -> None:
    results = race(Machine(drift=0.05))[0].run()
    for heat, block in itertools.product(range(PLAN.heats), range(PLAN.blocks)):
        means = {
            name: statistics.mean(r.seconds for r in result.rounds if (r.heat, r.block) == (heat, block))
            for name, result in results.items()
        }
        assert means["b"] - means["a"] == pytest.approx(SPEEDS["b"] - SPEEDS["a"], abs=1e-12)
        assert means["c"] - means["a"] == pytest.approx(SPEEDS["c"] - SPEEDS["a"], abs=1e-12)


def test_a_round_is_long_against_the_timer() -> None:
    machine = Machine()
    race(machine)[0].run()
    assert machine.loops == {4}  # 0.003 s a step: four last at least 0.01 s


def test_the_budget_of_a_heat_is_kept_but_never_at_the_cost_of_the_least_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    monkeypatch.setattr(lockstep.time, "monotonic", lambda: machine.time)  # each round takes a second: a block, six
    for heat_s, expected in ((0.0, 2), (6.5, 2), (20.0, 4), (1e9, 6)):
        machine = Machine()
        plan = Plan(heats=1, blocks=6, least_blocks=2, heat_s=heat_s)
        results = race(machine, plan)[0].run()
        assert {len(result.rounds) for result in results.values()} == {2 * expected}, f"heat_s={heat_s}"


def test_builds_are_apart_in_the_first_heat_and_together_later() -> None:
    machine = Machine()
    race(machine)[0].run()
    ready = [each for each in machine.asked if each[0] in ("build", "first_call", "warm_up")]
    a_first, a_second = ready[:3], ready[9:12]
    assert a_first == [("build", "a"), ("first_call", "a"), ("warm_up", "a")]
    assert a_second == [("build", "a"), ("build", "b"), ("build", "c")]


def test_who_breaks_keeps_its_rounds_and_the_others_go_on() -> None:
    machine = Machine(breaks=lambda name, count: name == "b" and count == 6)  # the second round of the third block
    results = race(machine)[0].run()
    assert str(results["b"].failure) == "it broke"
    assert [(r.heat, r.block) for r in results["b"].rounds] == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2)]
    assert {len(results[name].rounds) for name in "ac"} == {2 * PLAN.heats * PLAN.blocks}
    assert machine.rounds.count("b") == 6


@pytest.mark.parametrize("kept", range(1, 15))
def test_a_race_killed_after_any_entry_of_its_journal_is_finished_later(kept: int) -> None:
    first, journal = race(Machine())
    first.run()
    assert len(journal) == PLAN.heats * (PLAN.blocks + 1)
    before = replay(journal[:kept])
    rounds = {name: list(result.rounds) for name, result in before.items()}
    second, more = race(Machine(), earlier=before)
    results = second.run()
    for name, result in results.items():
        assert result.rounds[: len(rounds[name])] == rounds[name], "what was measured stays, and stays in front"
        assert len({r.heat for r in result.rounds}) >= PLAN.heats
        assert result.finished
    heats = [entry["heat"] for entry in more]
    assert heats == sorted(heats)
    assert not set(heats) & {r.heat for r in rounds["a"]}, "an interrupted heat is not continued by other processes"
    assert replay([*journal[:kept], *more]) == results, "a second kill would lose nothing either"


def test_a_race_killed_again_and_again_in_its_first_heat_is_finished_later() -> None:
    journal: list[Mapping[str, Any]] = []
    for _ in range(2 * PLAN.heats):
        repeated, more = race(Machine(), earlier=replay(journal))
        repeated.run()
        journal.append(more[0])
    results = race(Machine(), earlier=replay(journal))[0].run()
    assert all(result.finished for result in results.values())


def test_replaying_after_recording_counts_no_round_twice() -> None:
    recorded = {"a": Result([Round(0, 0, 1.0), Round(0, 0, 1.5)], [{"memory": {}}])}
    entries: list[Mapping[str, Any]] = [
        {"heat": 0, "block": 0, "rounds": [["a", 1.0], ["b", 2.0], ["b", 2.5], ["a", 1.5]]},
        {"heat": 0, "facts": {"a": {"memory": {}}, "b": {"memory": {}}}},
        {"heat": 1, "block": 0, "rounds": [["a", 3.0]]},
    ]
    results = replay(entries, recorded)
    assert results["a"] == Result([Round(0, 0, 1.0), Round(0, 0, 1.5), Round(1, 0, 3.0)], [{"memory": {}}])
    assert results["b"] == Result([Round(0, 0, 2.0), Round(0, 0, 2.5)], [{"memory": {}}])


class Device:
    """An asynchronous device with its own clock: a call only enqueues work, a synchronization waits for it."""

    STEP_S = 0.5
    ENQUEUE_S = 0.001

    def __init__(self) -> None:
        self.time, self.queued, self.log, self.traces, self.items = 0.0, 0.0, list[str](), 0, 1

    def call(self) -> str:
        self.log.append("call")
        self.time += self.ENQUEUE_S
        self.queued += self.STEP_S
        return "result"

    def synchronize(self, result: Any) -> None:
        self.log.append(f"synchronize({result})")
        self.time += self.queued
        self.queued = 0.0

    def clock_ns(self) -> int:
        self.log.append("clock")
        return round(self.time * 1e9)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[worker.Worker, Device]]:
    """A worker with its step on a fake device."""
    device, contender = Device(), worker.Worker()
    monkeypatch.setattr(worker.time, "perf_counter_ns", device.clock_ns)
    contender.step, contender.synchronize, contender.baseline_bytes = device, device.synchronize, 0  # type: ignore[assignment]
    yield contender, device
    gc.unfreeze()  # the warm-up freezes what is alive


def test_the_clock_stands_between_two_synchronizations(timed: tuple[worker.Worker, Device]) -> None:
    contender, device = timed
    device.queued = 100.0  # left over by whatever came before
    assert contender.round(loops=3)["seconds"] == pytest.approx(Device.STEP_S + Device.ENQUEUE_S)
    assert device.log == ["synchronize(None)", "clock", "call", "call", "call", "synchronize(result)", "clock"]


def test_an_unsynchronized_clock_would_report_too_little(timed: tuple[worker.Worker, Device]) -> None:
    contender, _ = timed
    contender.synchronize = lambda _: None
    assert contender.round(loops=3)["seconds"] == pytest.approx(Device.ENQUEUE_S)


def test_the_first_call_is_apart_and_a_step_that_is_traced_again_shows(timed: tuple[worker.Worker, Device]) -> None:
    contender, device = timed
    first = contender.first_call()
    device.traces = 1
    warm = contender.warm_up(seconds=0.0, calls=3)
    assert first["first_call_s"] == pytest.approx(Device.STEP_S + Device.ENQUEUE_S)
    assert (warm["calls"], device.log.count("call")) == (3, 4)
    contender.round(loops=1)
    assert (contender.finish()["traces"], contender.finish()["retraces"]) == (1, 0)
    device.traces += 2
    assert contender.finish()["retraces"] == 2
