"""The order of rounds and the clock, with contenders in this process: here the logic is tested, not the processes."""

import ctypes
import gc
import itertools
import math
import os
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import pytest

from benchmarks.calls import Step
from benchmarks.harness import devices, lockstep, worker
from benchmarks.harness.client import Server, TimeLimitError, WorkerError
from benchmarks.harness.lockstep import Race
from benchmarks.harness.plan import Plan
from benchmarks.harness.results import Entrant, Result, Round, replay
from reports.statistics.intervals import step_ratio, way_ratios

PLAN = Plan(heats=2, most_heats=2, race_s=1e9, narrow=0.0, blocks=6, least_blocks=2, heat_s=1e9, round_s=0.01)
SPEEDS = {"a": 0.003, "b": 0.0033, "c": 0.004}
"""Seconds per step."""


class Kept(list[Mapping[str, Any]]):
    """A journal in memory."""

    write = list.append


class Machine:
    """A server whose workers share one clock; each takes its own time, and the machine slows down steadily."""

    def __init__(
        self,
        drift: float = 0.0,
        breaks: Callable[[str, int], bool] = lambda *_: False,
        noise: Callable[[str], float] = lambda _: 0.0,
        retraces: Mapping[str, int] | None = None,
    ) -> None:
        self.time, self.drift, self.breaks, self.noise, self.retraces = 0.0, drift, breaks, noise, retraces or {}
        self.speeds: Mapping[str, float] = SPEEDS
        self.calls: Mapping[str, float] = {}  # what a step takes in the warm-up, where that is another time
        self.rounds: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.loops: dict[str, set[tuple[int, int]]] = {}
        self.draws: dict[str, list[int]] = {}
        self.cores: list[int] = []
        self.calibrated: list[list[int]] = []  # on which cores, at each warm-up
        self.slow_core = 1.0  # how much longer everything takes on every other core
        self.takes: Mapping[tuple[str, str], float] = {}  # seconds that a contender's action takes, if not none
        self.waited = 0.0  # seconds that the race has waited for all of them

    def wait_until_ready(self) -> None:
        pass

    def fork(self) -> "Contender":
        return Contender(self)


class Contender:
    """Answers as a worker does."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.name, self.closed = machine, "", False
        self.pid, self.server_pid = 2, 1

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
            self.speed = self.machine.speeds[self.name] * math.exp(self.machine.noise(self.name))
        self.machine.asked.append((action, self.name))
        self.action = action
        if action == "prepare":
            self.machine.loops.setdefault(self.name, set()).add((arguments["loops"], arguments["lead_in"]))
            self.machine.draws.setdefault(self.name, []).append(arguments["draw"])
            self.loops = arguments["loops"] + arguments["lead_in"]
        if action == "round":
            self.machine.cores.append(arguments["core"])
        if action == "warm_up":
            self.machine.calibrated.append(arguments["cores"])

    def ask(self, action: str, limit_s: float) -> dict[str, Any]:
        self.send(action)
        return self.receive(limit_s)

    def receive(self, limit_s: float) -> dict[str, Any]:
        assert limit_s <= PLAN.limit_s
        machine = self.machine
        takes = machine.takes.get((self.name, self.action), 0.0)
        takes += self.loops * self.speed if self.action == "round" else 0.0
        if takes > limit_s:
            machine.waited += limit_s
            raise TimeLimitError("no answer", self.action)
        machine.waited += takes
        if self.action == "round":
            machine.rounds.append(self.name)
            if machine.breaks(self.name, machine.rounds.count(self.name)):
                raise WorkerError("it broke", self.action)
            machine.time += 1
            slower = machine.slow_core if machine.cores[-1] % 2 else 1.0
            return {"seconds": (self.speed + machine.drift * machine.time) * slower, "took_s": takes}
        retraces = machine.retraces.get(self.name, 0)
        replies: dict[str, dict[str, Any]] = {
            "warm_up": {"call_s": machine.calls.get(self.name, machine.speeds.get(self.name))},
            "finish": {"memory": {}, "retraces": retraces},
            "profile": {"profile": {"operations": [{"name": "MatMul", "share": 1.0}]}},
        }
        return {**replies.get(self.action, {}), "took_s": takes}


def race(machine: Machine, plan: Plan = PLAN, earlier: dict[str, Result] | None = None) -> tuple[Race, Kept]:
    journal = Kept()
    entrants = [Entrant(name, {"name": name}, "", "") for name in SPEEDS]
    return Race(entrants, lambda *_: cast(Server, machine), plan, journal, earlier), journal


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


def test_every_place_is_everyones() -> None:
    """Wrong variant: orders drawn one by one, of which some favour one contender in a whole heat."""
    machine = Machine()
    race(machine)[0].run()
    orders = [block[: len(SPEEDS)] for block in blocks_of(machine)]
    for first, second in zip(orders[::2], orders[1::2], strict=True):
        assert first == second[::-1]
    size = 2 * len(SPEEDS)
    cores = [tuple(machine.cores[start : start + size]) for start in range(0, len(machine.cores), size)]
    assert cores[::2] == cores[1::2], "both ways on the same cores"
    assert len(set(cores[: PLAN.blocks])) > 1, "and then on others"
    built = [name for action, name in machine.asked if action == "build"]
    assert built[: len(SPEEDS)] == built[len(SPEEDS) :][::-1] != [""] * len(SPEEDS)


def test_other_races_have_other_orders() -> None:
    """Wrong variant: what favours somebody does so in every race of a run, and looks like a difference."""
    orders = set()
    for number in range(8):
        machine = Machine()
        entrants = [Entrant(name, {"name": name, "seed": number}, "", "") for name in SPEEDS]
        Race(entrants, lambda *_, machine=machine: cast(Server, machine), PLAN, Kept()).run()
        orders.add(tuple(machine.rounds))
    assert len(orders) == 8


def test_a_linear_drift_cancels_within_each_block() -> None:
    results = race(Machine(drift=0.05))[0].run()
    for heat, block in itertools.product(range(PLAN.heats), range(PLAN.blocks)):
        means = {
            name: statistics.mean(r.seconds for r in result.rounds if (r.heat, r.block) == (heat, block))
            for name, result in results.items()
        }
        assert means["b"] - means["a"] == pytest.approx(SPEEDS["b"] - SPEEDS["a"], abs=1e-12)
        assert means["c"] - means["a"] == pytest.approx(SPEEDS["c"] - SPEEDS["a"], abs=1e-12)


def test_a_slow_core_is_slow_for_everybody() -> None:
    """Wrong variant: contenders stay where they woke up first, and one has the slow core to itself."""
    machine = Machine()
    machine.slow_core = 1.3
    results = race(machine)[0].run()
    size = len(SPEEDS)
    for start in range(0, len(machine.cores), 2 * size):
        out, back = set(machine.cores[start : start + size]), set(machine.cores[start + size : start + 2 * size])
        assert len(out) == len(back) == 1
        assert out != back
    ratio = step_ratio(results["b"].rounds_of(), results["a"].rounds_of())
    assert ratio.estimate == pytest.approx(SPEEDS["b"] / SPEEDS["a"], rel=1e-12)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a thread choose its core")
def test_a_thread_is_moved_to_a_core_and_left_free() -> None:
    """Wrong variants: it stays where it was; it stays pinned."""
    allowed, where = os.sched_getaffinity(0), ctypes.CDLL(None).sched_getcpu
    for number, core in enumerate([*sorted(allowed), *sorted(allowed)]):
        arrived = 0
        for _ in range(20):
            devices.move_to_core(number)
            arrived += where() == core
        assert arrived > 10, "the system may move it on at once, but not most of the time"
        assert os.sched_getaffinity(0) == allowed


def test_all_on_one_way_have_the_same_inputs_which_nobody_could_know_before() -> None:
    """Wrong variants: inputs that come again in another round, contender by contender, or in the next session."""
    draws = []
    for _ in range(2):
        machine = Machine()
        race(machine)[0].run()
        assert len({tuple(each) for each in machine.draws.values()}) == 1
        draws += machine.draws["a"]
    assert len(draws) == len(set(draws)) == 2 * len(machine.draws["a"])
    assert machine.draws["a"] != machine.draws["a"][::-1]


def test_a_process_is_not_believed_what_the_coordinators_clock_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: a contender that turns its clock back wins."""
    now = itertools.count()
    monkeypatch.setattr(lockstep.time, "perf_counter", lambda: 0.02 * next(now))  # a round: 20 ms
    machine = Machine()
    machine.speeds = {"a": 0.003, "b": 0.0031, "c": 0.0001}
    machine.calls = dict.fromkeys("abc", 0.003)  # 4 steps and 2 before them: 18 ms
    results = race(machine, replace(PLAN, heats=1, most_heats=1))[0].run()
    assert results["a"].failure is results["b"].failure is None
    failure = results["c"].failure
    assert failure is not None
    assert (failure.phase, "its clock is wrong" in str(failure)) == ("check", True)


def test_a_round_is_long_against_the_timer() -> None:
    machine = Machine()
    race(machine)[0].run()
    # 0.003 s a step: four last at least 0.01 s, and two 0.005 s, so long is a round led in.
    assert machine.loops == {name: {(4, 2)} for name in "abc"}


def test_contenders_that_are_about_as_fast_have_equally_many_steps_in_a_round() -> None:
    """Wrong variant: each has its own number, and what a round costs besides makes the one with fewer look slower."""
    machine = Machine()
    machine.speeds = {"a": 0.00297, "b": 0.0042, "c": 0.027}
    race(machine)[0].run()
    assert machine.loops == {"a": {(4, 2)}, "b": {(4, 2)}, "c": {(1, 1)}}
    machine = Machine()
    machine.speeds = {"a": 0.003, "b": 0.003, "c": 0.192}
    race(machine)[0].run()
    assert machine.loops["c"] == {(1, 0)}, "long steps fill the caches themselves"


def test_short_steps_beside_long_ones_have_more_of_them_in_a_round() -> None:
    """Wrong variant: of a step a hundredth as long as another's, hundreds could be timed in the time of four."""
    machine = Machine()
    machine.speeds = {"a": 0.003, "b": 0.003, "c": 0.384}
    race(machine)[0].run()
    loops = {name: {each for each, _ in found} for name, found in machine.loops.items()}
    assert loops == {"a": {13}, "b": {13}, "c": {1}}, "13 steps last a tenth of 0.384 s"


def test_a_warm_up_that_was_disturbed_is_corrected_by_the_rounds() -> None:
    """Wrong variant: what was twice as slow while it warmed up has half as many steps in all rounds of the race."""
    machine = Machine()
    machine.calls = {"b": 2 * SPEEDS["b"]}
    race(machine)[0].run()
    assert machine.loops == {"a": {(4, 2)}, "b": {(2, 1), (4, 2)}, "c": {(4, 2)}}


def test_the_budget_of_a_heat_is_kept_but_never_at_the_cost_of_the_least_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    monkeypatch.setattr(lockstep.time, "monotonic", lambda: machine.time)  # each round takes a second: a block, six
    for heat_s, expected in ((0.0, 2), (6.5, 2), (20.0, 4), (1e9, 6)):
        machine = Machine()
        plan = replace(PLAN, heats=1, most_heats=1, heat_s=heat_s)
        results = race(machine, plan)[0].run()
        assert {len(result.rounds) for result in results.values()} == {2 * expected}, f"heat_s={heat_s}"


def test_builds_are_apart_in_the_first_heat_and_together_later(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(lockstep.devices, "cores", lambda: 3)
    race(machine)[0].run()
    ready = [each for each in machine.asked if each[0] in ("build", "first_call", "warm_up")]
    a_first, a_second = ready[:3], ready[9:12]
    (name,) = {name for _, name in a_first}
    assert a_first == [("build", name), ("first_call", name), ("warm_up", name)]
    assert sorted(a_second) == [("build", "a"), ("build", "b"), ("build", "c")]
    assert machine.calibrated == [[0, 1]] * 3 + [[]] * (len(machine.calibrated) - 3), "later the rounds tell"


def test_where_build_times_are_no_results_as_many_build_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: one after the other; all at once, so that one's patience is spent on the others' work."""
    machine = Machine()
    monkeypatch.setattr(lockstep.devices, "cores", lambda: 2)
    results = race(machine, replace(PLAN, builds_apart=False))[0].run()
    ready = [action for action, _ in machine.asked if action in ("build", "first_call", "warm_up")][:9]
    assert ready == ["build", "build", "first_call", "first_call", "build", "first_call", *["warm_up"] * 3]
    facts = [fact for result in results.values() for fact in result.facts]
    assert not any({"build_s", "first_call_s"} & set(fact) for fact in facts), "beside another's, they say nothing"


PATIENT = replace(PLAN, heats=3, most_heats=3, patience_s=20.0, plain=3.0)


def spent_on_the_slow(slow: dict[str, float], takes: Mapping[tuple[str, str], float] | None = None) -> float:
    """Seconds that a race waits longer, since some contenders are slow."""
    waited = []
    for speeds, actions in ((SPEEDS, {}), (SPEEDS | slow, takes or {})):
        machine = Machine()
        machine.speeds, machine.takes = speeds, actions
        race(machine, PATIENT)[0].run()
        waited.append(machine.waited)
    return waited[1] - waited[0]


@pytest.mark.parametrize("times", [5, 50, 500, 50_000])
def test_a_race_waits_for_a_slow_contender_no_longer_than_it_has_patience(times: int) -> None:
    """Wrong variant: all take turns until the end, so that the slowest sets the pace of the race."""
    assert spent_on_the_slow({"c": times * SPEEDS["a"]}) <= PATIENT.patience_s
    long_ago = spent_on_the_slow({"c": 600.0}, {("c", action): 600.0 for action in ("build", "first_call", "round")})
    assert long_ago <= PATIENT.patience_s, "what takes minutes is ended"


@pytest.mark.parametrize("action", ["build", "first_call", "warm_up"])
def test_a_contender_that_takes_a_minute_to_get_ready_fails_alone_and_says_what_to_do(action: str) -> None:
    machine = Machine()
    machine.takes = {("b", action): 60.0}
    results = race(machine, PATIENT)[0].run()
    assert re.search(r"within the 20 s that .*A larger --scale gives it more", str(results["b"].failure))
    assert results["b"].failure.phase == action  # type: ignore[union-attr]
    assert [len(results[name].rounds) for name in "ac"] == [2 * PATIENT.heats * PATIENT.blocks] * 2
    assert machine.waited < PATIENT.patience_s + 10


def test_who_spends_a_third_of_its_patience_in_a_heat_keeps_it_and_gets_no_other() -> None:
    machine = Machine()
    machine.takes = {("b", "first_call"): 12.0}
    results = race(machine, PATIENT)[0].run()
    assert {r.heat for r in results["b"].rounds} == {0}
    assert results["b"].stopped == "one heat of it took 12 s, and it got no other"
    assert {r.heat for r in results["a"].rounds} == {0, 1, 2}


def test_a_contender_that_leaves_no_time_for_a_second_round_keeps_the_first() -> None:
    machine = Machine()
    machine.speeds = SPEEDS | {"c": 12.0}
    results = race(machine, PATIENT)[0].run()
    assert [r.seconds for r in results["c"].rounds] == [12.0]
    assert results["c"].stopped.startswith("a step of it takes so long that it got no more than 1 round")
    assert results["c"].finished, "its memory is known"


def test_a_plain_ratio_gets_no_more_rounds_and_is_no_less_right() -> None:
    """Wrong variants: it goes on; it ends after one disturbed round; the machine's own kernels are stopped too."""
    machine = Machine()
    machine.speeds = {"a": 0.003, "b": 0.0005, "c": 0.03}
    results = race(machine, PATIENT)[0].run()
    assert [len(results[name].rounds) for name in "bc"] == [4, 4]
    assert results["b"].stopped.endswith("4 rounds, all of them more than 3 times faster")
    assert results["c"].stopped.endswith("4 rounds, all of them more than 3 times slower")
    assert len(results["a"].rounds) == 2 * PATIENT.blocks, "no second heat: nobody is left to be compared with it"
    ratio = step_ratio(results["c"].rounds_of(), results["a"].rounds_of())
    assert ratio.estimate == pytest.approx(10.0)
    assert ratio.basis == "blocks", "one heat: the interval has to say so"


def test_a_ratio_that_is_not_plain_in_every_round_is_raced_on() -> None:
    """Wrong variant: the median is looked at, which may be beyond three by chance."""
    machine = Machine(drift=5e-4)
    machine.speeds = {"a": 0.005, "b": 0.018, "c": 0.006}  # the ratio falls from 3.4 to 2.3 within two blocks
    results = race(machine, PATIENT)[0].run()
    ratios = way_ratios(results["b"].rounds_of(), results["a"].rounds_of())
    assert ratios[0] > PATIENT.plain > ratios[3]
    assert not results["b"].stopped


def test_a_contender_that_is_much_slower_is_asked_once_what_its_step_consists_of() -> None:
    machine = Machine()
    machine.speeds = {"a": 0.003, "b": 0.004, "c": 0.012}
    results = race(machine, replace(PATIENT, plain=math.inf))[0].run()
    profiles = {
        name: [fact["profile"] for fact in result.facts if "profile" in fact] for name, result in results.items()
    }
    assert profiles == {"a": [], "b": [], "c": [{"operations": [{"name": "MatMul", "share": 1.0}]}]}
    assert machine.asked.index(("profile", "c")) > machine.asked.index(("finish", "c")), "its memory is read before"


def test_who_was_stopped_stays_so_after_a_kill() -> None:
    machine = Machine()
    machine.speeds = SPEEDS | {"c": 0.03}
    first, journal = race(machine, replace(PATIENT, heats=1, most_heats=1))
    first.run()
    again = Machine()
    again.speeds = machine.speeds
    results = race(again, PATIENT, earlier=replay(journal))[0].run()
    assert len(results["c"].rounds) == 4
    assert "c" not in again.rounds


def test_a_heat_says_which_one_it_is_to_who_has_the_servers() -> None:
    """Wrong variant: all heats fork from one server, whose luck is then in no interval."""
    machine, asked = Machine(), []
    running = race(machine)[0]
    running.server = lambda entrant, heat: (asked.append((heat, entrant.key)), cast(Server, machine))[1]  # type: ignore[func-returns-value]
    running.run()
    heats = [heat for heat, _ in asked]
    assert heats == sorted(heats)
    assert {heat: heats.count(heat) for heat in heats} == dict.fromkeys(range(running.done), len(SPEEDS))


def test_nobody_is_always_forked_and_built_first() -> None:
    """Wrong variant: contenders are built in the order in which they were entered, which favours one place."""
    machine = Machine()
    race(machine, replace(PLAN, heats=12, most_heats=12))[0].run()
    order = [name for action, name in machine.asked if action == "first_call"]
    assert len({tuple(order[start : start + 3]) for start in range(0, len(order), 3)}) >= 3


def noisy(spread: float) -> Callable[[str], float]:
    """Processes that differ from each other by so much."""
    generator = np.random.default_rng(0)
    return lambda _: float(generator.normal(0, spread))


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 6), (0.003, 6), (0.2, 12)])
def test_heats_go_on_until_the_ratios_are_known_well_enough(spread: float, expected: int) -> None:
    """Wrong variant: a fixed number of heats; or one that stops at the first narrow interval, not three later."""
    first, _ = race(Machine(noise=noisy(spread)), replace(PLAN, heats=3, most_heats=12, narrow=0.03))
    results = first.run()
    assert {len({r.heat for r in result.rounds}) for result in results.values()} == {expected}
    assert first.is_narrow == (spread < 0.1)
    assert not first.wants_more


def test_a_race_keeps_its_time_but_never_at_the_cost_of_the_least_heats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: the time is looked at before the least heats are run, or is never looked at."""
    for race_s, expected in ((0.0, 3), (150.0, 5), (1e9, 12)):
        machine = Machine(noise=noisy(0.5))
        # Each round takes a second, and a heat has 36.
        monkeypatch.setattr(lockstep.time, "monotonic", lambda machine=machine: machine.time)
        plan = replace(PLAN, heats=3, most_heats=12, narrow=0.001, race_s=race_s)
        results = race(machine, plan)[0].run()
        assert {len({r.heat for r in result.rounds}) for result in results.values()} == {expected}, f"race_s={race_s}"


def test_a_step_that_is_traced_again_in_its_rounds_is_an_error_and_is_named() -> None:
    """Wrong variant: retraces are counted and kept, and nobody looks."""
    results = race(Machine(retraces={"b": 3}))[0].run()
    assert "traced or compiled again 3 times while it was measured" in str(results["b"].failure)
    assert results["a"].failure is results["c"].failure is None
    assert len(results["b"].rounds) == 2 * PLAN.blocks, "what was measured is kept"


def test_conditions_are_read_once_a_block_and_kept() -> None:
    """Wrong variant: read once a heat, or what has happened between heats is put down to a block."""
    machine = Machine()
    readings = iter(range(1000))
    first, journal = race(machine)
    first.conditions = lambda own: {"reading": next(readings), "own": sorted(own)}
    first.run()
    per_heat = PLAN.blocks + 1
    expected = [number for number in range(PLAN.heats * per_heat) if number % per_heat]
    assert [each["reading"] for each in first.readings] == expected
    assert [entry["reading"] for entry in journal if "block" in entry] == expected
    assert {tuple(each["own"]) for each in first.readings} == {(1, 2)}, "workers and their server are ours"


def test_who_breaks_keeps_its_rounds_and_the_others_go_on() -> None:
    machine = Machine(breaks=lambda name, count: name == "b" and count == 6)  # the second round of the third block
    results = race(machine)[0].run()
    assert str(results["b"].failure) == "it broke"
    assert [(r.heat, r.block) for r in results["b"].rounds] == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2)]
    assert {len(results[name].rounds) for name in "ac"} == {2 * PLAN.heats * PLAN.blocks}
    assert machine.rounds.count("b") == 6


def test_a_contender_whose_server_cannot_import_fails_alone() -> None:
    """Wrong variant: the race ends, and with it those whose servers are there."""

    class Broken(Machine):
        def wait_until_ready(self) -> None:
            raise WorkerError("the preloaded server ended or hung: no such module", "start")

    machine, broken = Machine(), Broken()
    running = race(machine)[0]
    running.server = lambda entrant, _: cast(Server, broken if entrant.key == "b" else machine)
    results = running.run()
    assert (str(results["b"].failure), results["b"].rounds) == (
        "the preloaded server ended or hung: no such module",
        [],
    )
    assert results["b"].failure is not None
    assert results["b"].failure.phase == "start"
    assert [(each.failure, len(each.finished)) for key, each in results.items() if key != "b"] == [
        (None, PLAN.heats)
    ] * 2


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
        self.time, self.queued, self.log, self.traces = 0.0, 0.0, list[str](), 0

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
    monkeypatch.setattr(worker, "clock", device.clock_ns)
    contender.step, contender.synchronize, contender.baseline_bytes = Step(device.call), device.synchronize, 0
    contender.count_traces, contender.meter = (lambda: device.traces), None
    contender.backend, contender.device = "tensorflow", "cpu"
    yield contender, device
    gc.unfreeze()  # the warm-up freezes what is alive


def test_the_clock_stands_between_two_synchronizations(timed: tuple[worker.Worker, Device]) -> None:
    contender, device = timed
    device.queued = 100.0  # left over by whatever came before
    contender.prepare(loops=3, lead_in=2)
    assert contender.round(loops=3)["seconds"] == pytest.approx(Device.STEP_S + Device.ENQUEUE_S)
    timed_part = ["synchronize(None)", "clock", "call", "call", "call", "synchronize(result)", "clock"]
    assert device.log == ["call", "call", *timed_part]


def test_an_unsynchronized_clock_would_report_too_little(timed: tuple[worker.Worker, Device]) -> None:
    contender, _ = timed
    contender.synchronize = lambda _: None
    contender.prepare(loops=3)
    assert contender.round(loops=3)["seconds"] == pytest.approx(Device.ENQUEUE_S)


@pytest.mark.isolated("jax")
def test_a_step_that_cannot_be_waited_for_is_refused_and_named(timed: tuple[worker.Worker, Device]) -> None:
    """Wrong variant: what JAX has only been asked for is timed, and looks a hundred times as fast."""
    jax = pytest.importorskip("jax", reason="JAX is not installed: it alone waits for results and not for the device")
    contender, device = timed
    contender.backend = "jax"
    contender.step = Step(lambda: device.call() and None)
    with pytest.raises(ValueError, match="missing synchronization"):
        contender.first_call()
    contender.step = Step(lambda: {"loss": jax.numpy.zeros(())})
    assert contender.first_call()["first_call_s"] >= 0


def test_the_first_call_is_apart_and_a_step_that_is_traced_again_shows(timed: tuple[worker.Worker, Device]) -> None:
    contender, device = timed
    first = contender.first_call()
    device.traces = 1
    warm = contender.warm_up(seconds=0.0, calls=3)
    assert first["first_call_s"] == pytest.approx(Device.STEP_S + Device.ENQUEUE_S)
    assert (len(warm["warm_up"]), device.log.count("call")) == (3, 4)
    contender.prepare(loops=1)
    contender.round(loops=1)
    assert (contender.finish()["traces"], contender.finish()["retraces"]) == (1, 0)
    device.traces += 2
    assert contender.finish()["retraces"] == 2
