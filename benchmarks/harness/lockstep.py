"""The race: contenders that are alive together take turns, round by round, so that machine drift hits all alike.

A heat has fresh processes for all contenders, since processes of the same program differ more than rounds of one
process do. Within a heat, rounds come in palindromic blocks (A B C C B A), so that a linear drift cancels within a
block; its two halves begin on two cores, so that no contender has a neighbour to itself. Orders are drawn for every two
blocks and every two heats, of which the second goes the other way round: what a place brings with it is everyone's.
Heats go on until the ratios are known well enough, or the time is spent.
"""

import contextlib
import itertools
import json
import math
import operator
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from benchmarks.harness.client import Server, Worker, WorkerError
from reports.statistics import Rounds, known_well_enough, step_ratio

Fact = dict[str, Any]
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Plan:
    """How much a race measures, and when it gives up.

    Attributes:
        heats: fresh sets of processes, at least.
        most_heats: fresh sets of processes, at most.
        race_s: seconds after which no heat is begun that is not among the least.
        narrow: half the width of a ratio's interval, as a share of the ratio, that is narrow enough to stop.
        blocks: blocks of a heat at most; each gives every contender two rounds.
        least_blocks: blocks of a heat at least, whatever they cost.
        heat_s: seconds of rounds in a heat, after which no further block is begun.
        round_s: seconds that a round lasts at least, by its number of steps.
        round_share: as a share of the race's longest step, how long a round lasts at least, too: where that step leaves
            a heat few rounds, more steps in those of shorter ones cost little and tell much.
        lead_in_s: seconds of steps before a round that are not timed, at least; none where a step lasts `LONG_STEP_S`.
        warm_up_s: seconds of warm-up at least.
        warm_up_calls: steps of warm-up at least.
        limit_s: seconds that a contender may take to build, for its first call, and for a warm-up or round.
    """

    heats: int
    most_heats: int
    race_s: float
    narrow: float
    blocks: int
    least_blocks: int
    heat_s: float
    round_s: float = 0.003  # short against what disturbs it: a block of long rounds is never undisturbed
    round_share: float = 0.1
    lead_in_s: float = 0.005
    warm_up_s: float = 0.2
    warm_up_calls: int = 3
    limit_s: float = 300.0


LONG_STEP_S = 0.1
"""A step of this length fills the caches in a small part of it, and one more before each round would be dear."""

PLANS = {
    "quick": Plan(
        heats=3, most_heats=12, race_s=4.0, narrow=0.03, blocks=40, least_blocks=2, heat_s=2.0, warm_up_s=0.1
    ),
    "standard": Plan(
        heats=5,
        most_heats=30,
        race_s=60.0,
        narrow=0.01,
        blocks=30,
        least_blocks=5,
        heat_s=10.0,
        warm_up_s=1.0,
        limit_s=1200.0,
    ),
    "paper": Plan(
        heats=6,
        most_heats=40,
        race_s=600.0,
        narrow=0.01,
        blocks=60,
        least_blocks=10,
        heat_s=60.0,
        warm_up_s=2.0,
        limit_s=3600.0,
    ),
}


@dataclass(frozen=True)
class Entrant:
    """A contender as a race sees it.

    Attributes:
        key: under which its rounds are kept.
        asked: what its worker is asked to build.
        module: of the implementation.
        bench: the module of the workload.
        compared: whether its ratio to the first contender is what the race is for; a control kernel's is not.
    """

    key: str
    asked: Mapping[str, Any]
    module: str
    bench: str
    compared: bool = True


@dataclass(frozen=True)
class Round:
    """One measured round: seconds per step, and joules where the machine counts them."""

    heat: int
    block: int
    seconds: float
    joules: float | None = None


@dataclass
class Result:
    """What a race has measured of one contender so far."""

    rounds: list[Round] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    failure: WorkerError | None = None

    @property
    def finished(self) -> list[Fact]:
        """The facts of the heats that ran to their end, the only ones that are whole."""
        return [fact for fact in self.facts if "memory" in fact]

    def rounds_of(self) -> Rounds:
        """The rounds as the statistics take them."""
        columns = ([getattr(each, name) for each in self.rounds] for name in ("seconds", "heat", "block"))
        return Rounds.of("", *columns)


class Journal(Protocol):
    """Where a race writes each block as it ends, so that a kill loses nothing."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Keep one entry."""


def replay(entries: Iterable[Mapping[str, Any]], recorded: Mapping[str, Result] | None = None) -> dict[str, Result]:
    """The results that a race's journal holds, by key, after those that were recorded before the race.

    A heat that was recorded is not added again: the kill came after its record and before the journal's removal.
    """
    results = dict(recorded or {})
    known = {key: {each.heat for each in result.rounds} for key, result in results.items()}
    for entry in entries:
        heat = entry["heat"]
        for key, fact in entry.get("facts", {}).items():
            if heat not in known.get(key, ()):
                results.setdefault(key, Result()).facts.append(fact)
        for key, *measured in entry.get("rounds", []):
            if heat not in known.get(key, ()):
                results.setdefault(key, Result()).rounds.append(Round(heat, entry["block"], *measured))
    return results


class Race:
    """Runs heats until the ratios of all contenders to the first are known well enough, or the time is spent."""

    def __init__(
        self,
        entrants: list[Entrant],
        server: Callable[[Entrant, int], Server],
        plan: Plan,
        journal: Journal,
        results: dict[str, Result] | None = None,
        tell: Callable[[str], None] = lambda _: None,
        conditions: Callable[[Iterable[int]], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        self.entrants, self.server, self.plan, self.journal, self.tell = entrants, server, plan, journal, tell
        self.results = {entrant.key: (results or {}).get(entrant.key, Result()) for entrant in entrants}
        self.conditions = conditions
        self._seed = json.dumps([[entrant.key, dict(entrant.asked)] for entrant in entrants], sort_keys=True)
        self.readings: list[dict[str, Any]] = []
        self.heat_s = plan.heat_s  # what the last heat took, or before there was one, what its rounds may take
        last = max((r.heat for result in self.results.values() for r in result.rounds), default=-1)
        self._heats = itertools.count(1 + last)

    def run(self) -> dict[str, Result]:
        """Run the heats that are missing; returns the results by key."""
        started = time.monotonic()
        while self.running and self.done < self.plan.heats:
            self.heat()
        while self.wants_more and time.monotonic() - started < self.plan.race_s:
            self.heat()
        return self.results

    @property
    def running(self) -> list[Entrant]:
        """The contenders that have not failed."""
        return [entrant for entrant in self.entrants if self.results[entrant.key].failure is None]

    @property
    def done(self) -> int:
        """How many heats every running contender has; one that was cut short counts once another was finished."""
        results = [self.results[entrant.key] for entrant in self.running]
        return min((len({r.heat for r in each.rounds}) if each.finished else 0 for each in results), default=0)

    @property
    def is_narrow(self) -> bool:
        """Whether every ratio to the first contender is known well enough to stop."""
        first, others = self._compared()
        return all(known_well_enough(each, first, self.plan.narrow) for each in others)

    @property
    def width(self) -> float:
        """Half the width of the widest interval of a ratio to the first contender, as a share of the ratio."""
        first, others = self._compared()
        return max((step_ratio(each, first).reach for each in others), default=0.0)

    @property
    def narrowing(self) -> float:
        """By how much one more heat is expected to lessen `width` for each second that it takes.

        A width goes with the root of the number of heats: where there were many, one more tells little.
        """
        done = max(1, self.done)
        return self.width * (1 - math.sqrt(done / (done + 1))) / self.heat_s

    @property
    def wants_more(self) -> bool:
        """Whether one more heat could tell more."""
        return bool(self.running) and self.done < self.plan.most_heats and not self.is_narrow

    def _compared(self) -> tuple[Rounds, list[Rounds]]:
        """The rounds of the first contender, and of all that are compared with it."""
        compared = [self.results[entrant.key].rounds_of() for entrant in self.running if entrant.compared]
        first, *others = compared or [Rounds.of("", [], [], [])]
        return first, others

    def heat(self) -> None:
        """One more heat of all contenders that have not failed."""
        started = time.monotonic()
        heat = next(self._heats)
        self.tell(f"heat {self.done + 1}")
        # Where a process stands among the others (which was forked first, which built first) must favour nobody.
        entrants = self._in_turns(self.running, heat, "heats")
        servers = {entrant.key: self.server(entrant, heat) for entrant in entrants}  # new ones import side by side
        with contextlib.ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for key, server in servers.items():
                self._start(key, server, workers, stack)
            self._get_ready([entrant for entrant in entrants if entrant.key in workers], workers)
            self._rounds(heat, workers)
            for key in workers:
                self._finish(key, workers)
            finished = {key: self.results[key].facts[-1] for key in workers if self.results[key].failure is None}
            self.journal.write({"heat": heat, "facts": finished})
        self.heat_s = time.monotonic() - started

    def _start(self, key: str, server: Server, workers: dict[str, Worker], stack: contextlib.ExitStack) -> None:
        """Fork a contender's process; what its server's import takes is not the contender's."""
        try:
            server.wait_until_ready()
            forked = time.perf_counter()
            workers[key] = stack.enter_context(server.fork())
        except WorkerError as failure:  # its site cannot import what it needs, or its server is gone
            self.results[key].failure = failure
            return
        self._attempt(key, workers, "hello")
        self.results[key].facts.append({"start_s": time.perf_counter() - forked})

    def _finish(self, key: str, workers: dict[str, Worker]) -> None:
        """Take the facts of a heat that has ended; a step that was traced again was not the same step throughout."""
        fact, result = self._attempt(key, workers, "finish"), self.results[key]
        result.facts[-1] |= fact
        if retraces := fact.get("retraces"):
            result.failure = WorkerError(
                f"its step was traced or compiled again {retraces} times while it was measured: its times are not of "
                f"one program. Give it inputs of one shape and dtype, and keep Python values out of its arguments",
                "round",
            )

    def _get_ready(self, entrants: list[Entrant], workers: dict[str, Worker]) -> None:
        """Build, call for the first time, and warm up.

        Until every contender has finished a heat, one after the other, since these times are results too; later all at
        once, in which case their times are kept out of the facts.
        """
        alone = not all(self.results[entrant.key].finished for entrant in entrants)
        # Later heats take the number of steps in a round from the rounds: there is nothing to calibrate.
        cores = [0, 1] if alone else []
        warm_up = {"seconds": self.plan.warm_up_s, "calls": self.plan.warm_up_calls, "cores": cores}
        for group in [[entrant] for entrant in entrants] if alone else [entrants]:
            asked: dict[str, Fact] = {
                each.key: {"asked": dict(each.asked), "module": each.module, "bench": each.bench} for each in group
            }
            for action in ("build", "first_call", "warm_up"):
                arguments: dict[str, Fact] = {"build": asked, "warm_up": dict.fromkeys(asked, warm_up)}.get(action, {})
                for key, reply in self._together(asked, workers, action, arguments).items():
                    self.results[key].facts[-1] |= reply if alone or action == "build" else {}
        calls = {key: s for key in self.results if (s := self._call_s(key)) is not None}
        round_s = max(self.plan.round_s, self.plan.round_share * max(calls.values(), default=0.0))
        for key in calls.keys() & workers.keys():
            # What a round costs beside its steps must be shared among equally many by whoever is compared: contenders
            # that are about as fast as the first have its number of steps, others that of the nearest power of two.
            first = next(iter(calls.values()))
            usual = first * 2.0 ** round(math.log2(calls[key] / first))
            lead_in = math.ceil(self.plan.lead_in_s / usual) if usual < LONG_STEP_S else 0
            self.results[key].facts[-1] |= {"loops": max(1, math.ceil(round_s / usual)), "lead_in": lead_in}

    def _call_s(self, key: str) -> float | None:
        """Seconds that a step takes: in the rounds until now, or when its contender warmed up, in its first heat."""
        if rounds := self.results[key].rounds:
            return statistics.median(each.seconds for each in rounds)
        return next((fact["call_s"] for fact in self.results[key].facts if "call_s" in fact), None)

    def _together(
        self, keys: Iterable[str], workers: dict[str, Worker], action: str, arguments: Mapping[str, Fact]
    ) -> dict[str, Fact]:
        """Ask several contenders for an action at once; the replies, by key, of those that gave one."""
        for key in keys:
            self._try(key, workers, operator.methodcaller("send", action, **arguments.get(key, {})))
        replies = {key: self._try(key, workers, lambda worker: worker.receive(self.plan.limit_s)) for key in keys}
        return {key: reply for key, reply in replies.items() if reply is not None}

    def _rounds(self, heat: int, workers: dict[str, Worker]) -> None:
        deadline = time.monotonic() + self.plan.heat_s
        # A worker that dies leaves its time to its server, so that both are ours, dead or alive.
        own = {pid for worker in workers.values() for pid in (worker.pid, worker.server_pid)}
        self.conditions(own)  # what has happened until now is nobody's
        for block in range(self.plan.blocks):
            if block >= self.plan.least_blocks and time.monotonic() > deadline:
                return
            running = [key for key in workers if self.results[key].failure is None]
            running = self._in_turns(running, block, f"blocks of {heat}")
            rounds = []
            # On the way out all begin on one core, on the way back on the next: its neighbours are then everyone's.
            core = heat + block // 2
            turns = [(key, core) for key in running] + [(key, core + 1) for key in reversed(running)]
            for key, core in turns:
                steps = {name: self.results[key].facts[-1][name] for name in ("loops", "lead_in")}
                if reply := self._attempt(key, workers, "round", core=core, **steps):
                    measured = Round(heat, block, reply["seconds"], reply.get("joules"))
                    rounds.append((key, measured.seconds, measured.joules))
                    self.results[key].rounds.append(measured)
            reading = {"heat": heat, "block": block, **self.conditions(own)}
            self.readings.append(reading)
            self.journal.write({**reading, "rounds": rounds})

    def _in_turns(self, things: Iterable[Thing], at: int, what: str) -> list[Thing]:
        """In an order that is drawn for every two times, the second time the other way round.

        It is another order in another race: one that favoured somebody would otherwise do so in all races alike.
        """
        ordered = list(things)
        random.Random(f"{self._seed}/{what}/{at // 2}").shuffle(ordered)
        return ordered[::-1] if at % 2 else ordered

    def _attempt(self, key: str, workers: dict[str, Worker], action: str, **arguments: Any) -> Fact:
        """Ask one contender for one action; empty where it has failed, now or before."""
        return self._together([key], workers, action, {key: arguments}).get(key, {})

    def _try(self, key: str, workers: dict[str, Worker], act: Callable[[Worker], Any]) -> Any:
        """Act on a contender that has not failed; a failure is its own, and the race goes on."""
        result = self.results[key]
        if result.failure is None:
            try:
                return act(workers[key])
            except WorkerError as failure:
                result.failure = failure
                workers[key].close()
        return None
