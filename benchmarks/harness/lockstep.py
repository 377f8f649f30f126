"""The race: contenders that are alive together take turns, round by round, so that machine drift hits all alike.

A heat has fresh processes for all contenders, since processes of the same program differ more than rounds of one
process do. Within a heat, rounds come in palindromic blocks (A B C C B A), so that a linear drift cancels within a
block; its two halves begin on two cores, so that no contender has a neighbour to itself. Orders are drawn for every two
blocks and every two heats, of which the second goes the other way round: what a place brings with it is everyone's.
Heats go on until the ratios are known well enough, or the time is spent.

Since all take turns, the slowest contender would set the pace. So a contender whose ratio is plain after a few rounds
gets no more of them, and one that takes long gets as many as it has patience for (see `Plan`); the others go on. How
little was measured of it shows in its interval, and the result says why.
"""

import contextlib
import functools
import itertools
import json
import math
import operator
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from benchmarks.harness import devices, judge
from benchmarks.harness.client import Server, TimeLimitError, Worker, WorkerError
from benchmarks.harness.plan import LONG_STEP_S, Plan
from benchmarks.harness.results import Entrant, Fact, Journal, Result, Round
from benchmarks.workload import WITHOUT
from reports.statistics.intervals import Rounds, known_well_enough, step_ratio, way_ratios

Thing = TypeVar("Thing")

CHECK_STEPS = 5
"""How often a check calls a step."""

MUCH_SLOWER = 3.0
"""Contenders that take so many times as long as the first are asked why: which operations their step consists of."""

CHECKED = 1 / 8
"""The share of blocks whose results are looked at, beside the first block's; which ones nobody can foresee."""

SHARE_OF_PATIENCE = 1 / 3
"""A contender that spent more of its patience than this in a heat, and much more than the first, gets no other."""


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
        self._spent: dict[str, float] = {}  # seconds that each contender has taken in this heat
        self._shares: dict[str, list[float]] = {}  # of the time that passed here in a round, what its process reported
        self._chance = random.SystemRandom()
        last = max((r.heat for result in self.results.values() for r in result.rounds), default=-1)
        self._heats = itertools.count(1 + last)

    def run(self) -> dict[str, Result]:
        """Run the heats that are missing; returns the results by key."""
        started = time.monotonic()
        while self.racing and self.done < self.plan.heats:
            self.heat()
        while self.wants_more and time.monotonic() - started < self.plan.race_s:
            self.heat()
        return self.results

    @property
    def running(self) -> list[Entrant]:
        """The contenders that have not failed."""
        return [entrant for entrant in self.entrants if self.results[entrant.key].failure is None]

    @property
    def racing(self) -> list[Entrant]:
        """The contenders that the next heat has: those that have not failed, and of which more can be known.

        There is none once the first is out, or all that are compared with it: the race is about ratios to it.
        """
        racing = [entrant for entrant in self.running if not self.results[entrant.key].stopped]
        opponents = {entrant.key for entrant in self.running if entrant.compared and entrant is not self._first}
        over = self._first not in racing or (opponents and opponents.isdisjoint(entrant.key for entrant in racing))
        return [] if over else racing

    @property
    def _first(self) -> Entrant | None:
        """The contender that all others are compared with."""
        return next((entrant for entrant in self.running if entrant.compared), None)

    @property
    def done(self) -> int:
        """How many heats every racing contender has; one that was cut short counts once another was finished."""
        results = [self.results[entrant.key] for entrant in self.racing]
        return min((len({r.heat for r in each.rounds}) if each.finished else 0 for each in results), default=0)

    @property
    def is_narrow(self) -> bool:
        """Whether every ratio to the first contender is known well enough to stop."""
        first, others = self._compared()
        return all(known_well_enough(each, first, self.plan.narrow) for each in others)

    @property
    def width(self) -> float:
        """Half the width of the widest interval of a ratio to the first contender, as a share of the ratio.

        Of one heat it is not known: how its blocks differ says nothing of how processes do.
        """
        if self.racing and self.done < 2:
            return math.inf
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
        return bool(self.racing) and self.done < self.plan.most_heats and not self.is_narrow

    def _compared(self) -> tuple[Rounds, list[Rounds]]:
        """The rounds of the first contender, and of all that are compared with it and get more."""
        compared = [self.results[entrant.key].rounds_of() for entrant in self.racing if entrant.compared]
        first, *others = compared or [Rounds.of("", [], [], [])]
        return first, others

    def heat(self) -> None:
        """One more heat of all contenders that race."""
        started = time.monotonic()
        heat = next(self._heats)
        self.tell(f"heat {self.done + 1}")
        # Where a process stands among the others (which was forked first, which built first) must favour nobody.
        entrants = self._in_turns(self.racing, heat, "heats")
        self._spent = {entrant.key: 0.0 for entrant in entrants}
        self._shares = {entrant.key: [] for entrant in entrants}
        servers = {entrant.key: self.server(entrant, heat) for entrant in entrants}  # new ones import side by side
        with contextlib.ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for key, server in servers.items():
                self._start(key, server, workers, stack)
            self._get_ready([entrant for entrant in entrants if entrant.key in workers], workers)
            self._rounds(heat, workers)
            for key in workers:
                self._finish(key, workers)
            self._check(workers)
            for key, worker in workers.items():
                self._explain(key, worker)
            whole = {key: self.results[key] for key in workers if self.results[key].failure is None}
            stopped = {key: result.stopped for key, result in whole.items() if result.stopped}
            self.journal.write(
                {"heat": heat, "facts": {key: result.facts[-1] for key, result in whole.items()}, "stopped": stopped}
            )
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
        if result.failure is None:
            usual_s = self._spent.get(self._first.key, math.inf) if self._first else math.inf
            if self._spent[key] > max(self.plan.patience_s * SHARE_OF_PATIENCE, MUCH_SLOWER * usual_s):
                result.stopped = result.stopped or f"one heat of it took {self._spent[key]:.0f} s, and it got no other"

    def _check(self, workers: dict[str, Worker]) -> None:
        """Fail the contenders whose processes show that they have not done their work in this heat's rounds."""
        first = self._first
        # The first is heard first: the others are held against it. Where a step is long, there is no time for others.
        entrants = [each for each in self.running if each.compared and each.key in workers]
        shown: dict[str, Fact] = {}
        for entrant in entrants:
            left_s = self.plan.patience_s - self._spent[entrant.key]
            if CHECK_STEPS * (self._call_s(entrant.key) or 0.0) > left_s:
                shown[entrant.key] = {"unknown": "a step of it takes too long to be called again"}
            else:
                shown[entrant.key] = self._attempt(entrant.key, workers, "check")
        measure = shown.get(first.key, {}) if first else {}
        for entrant in entrants:
            result, own = self.results[entrant.key], shown[entrant.key]
            if result.failure is not None or first is None:
                continue
            same = same_work(entrant, first)
            wrong = judge.clock(self._shares[entrant.key])
            if wrong is None and entrant is not first:
                wrong = judge.fault(entrant.asked, own, measure, same)
            if wrong:
                result.failure = WorkerError(wrong, "check")
            elif entrant is not first:
                result.facts[-1]["checked"] = judge.compared(own, measure, same)

    def _explain(self, key: str, worker: Worker) -> None:
        """Ask a contender that is much slower than the first, once, what its step consists of; it need not know."""
        result, first = self.results[key], self._first
        known = result.failure is not None or any("profile" in fact for fact in result.facts)
        if first is None or known or key not in {entrant.key for entrant in self.running if entrant.compared}:
            return
        own_s, first_s = self._call_s(key) or 0.0, self._call_s(first.key) or math.inf
        if own_s > MUCH_SLOWER * first_s and 2 * own_s < self.plan.patience_s:
            with contextlib.suppress(WorkerError):
                result.facts[-1] |= worker.ask("profile", min(self.plan.limit_s, self.plan.patience_s))

    def _get_ready(self, entrants: list[Entrant], workers: dict[str, Worker]) -> None:
        """Build, call for the first time, and warm up.

        As many at the same time as there are cores, so that nobody's patience is spent on others; but one after the
        other in the first heat where these times are results too (`Plan.builds_apart`). In the first heat all warm up
        one after the other, since that tells how long a step takes.
        """
        first_heat = not all(self.results[entrant.key].finished for entrant in entrants)
        apart = first_heat and self.plan.builds_apart
        # Later heats take the number of steps in a round from the rounds: there is nothing to calibrate.
        warm_up = {
            "seconds": self.plan.warm_up_s,
            "calls": self.plan.warm_up_calls,
            "cores": [0, 1] if first_heat else [],
            "most_s": self.plan.patience_s / 4,
        }
        keys = [entrant.key for entrant in entrants]
        asked: dict[str, Fact] = {
            each.key: {"asked": dict(each.asked), "module": each.module, "bench": each.bench} for each in entrants
        }
        for group in _batches(keys, 1 if apart else devices.cores()):
            for key, reply in self._together(group, workers, "build", asked).items():
                self.results[key].facts[-1] |= reply if apart else {"items": reply.get("items")}
            for key, reply in self._together(group, workers, "first_call").items():
                self.results[key].facts[-1] |= reply if apart else {}
            if apart:
                self._warm_up(group, workers, warm_up)
        if not apart:
            for group in _batches(keys, 1 if first_heat else devices.cores()):
                self._warm_up(group, workers, warm_up if first_heat else warm_up | {"kept": False})
        self._set_loops(workers)

    def _warm_up(self, keys: Iterable[str], workers: dict[str, Worker], arguments: Fact) -> None:
        """Let contenders run some steps; how long those took is a fact of the first heat."""
        kept = arguments.pop("kept", True)
        for key, reply in self._together(keys, workers, "warm_up", dict.fromkeys(keys, arguments)).items():
            self.results[key].facts[-1] |= reply if kept else {}

    def _set_loops(self, workers: dict[str, Worker]) -> None:
        """Settle how many steps a round of each contender has, and how many come before it."""
        calls = {key: s for key in self.results if (s := self._call_s(key)) is not None}
        # Who is beyond `plain` sits out soon, and the others' rounds are not to be as long as if it did not.
        longest = max((s for s in calls.values() if s <= self.plan.plain * next(iter(calls.values()))), default=0.0)
        round_s = max(self.plan.round_s, self.plan.round_share * longest)
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
        self, keys: Iterable[str], workers: dict[str, Worker], action: str, arguments: Mapping[str, Fact] | None = None
    ) -> dict[str, Fact]:
        """Ask several contenders for an action at once; the replies, by key, of those that gave one."""
        sent, given = time.monotonic(), arguments or {}
        for key in keys:
            self._try(key, workers, operator.methodcaller("send", action, **given.get(key, {})))
        replies = {key: self._try(key, workers, functools.partial(self._reply, key, sent)) for key in keys}
        return {key: reply for key, reply in replies.items() if reply is not None}

    def _reply(self, key: str, sent: float, worker: Worker) -> Fact:
        """A contender's reply to what it was asked at that time, for which it has as long as its patience lasts."""
        left = self.plan.patience_s - self._spent[key] - (time.monotonic() - sent)
        try:
            reply = worker.receive(max(MOMENT_S, min(self.plan.limit_s, left)))
        except TimeLimitError as late:
            if left >= self.plan.limit_s:
                raise
            raise WorkerError(
                f"too slow to be timed at this scale: it did not come back within the {self.plan.patience_s:g} s that "
                f"a contender may take. A larger --scale gives it more",
                late.phase,
            ) from None
        self._spent[key] += reply.pop("took_s", 0.0)
        return reply

    def _rounds(self, heat: int, workers: dict[str, Worker]) -> None:
        deadline = time.monotonic() + self.plan.heat_s
        # A worker that dies leaves its time to its server, so that both are ours, dead or alive.
        own = {pid for worker in workers.values() for pid in (worker.pid, worker.server_pid)}
        self.conditions(own)  # what has happened until now is nobody's
        for block in range(self.plan.blocks):
            if block >= self.plan.least_blocks and time.monotonic() > deadline:
                return
            running = self._in_turns(filter(self._races_on, workers), block, f"blocks of {heat}")
            rounds = []
            draws = [self._chance.getrandbits(53) for _ in range(2)]  # of inputs: the same for all on one way
            keep = block == 0 or self._chance.random() < CHECKED
            # On the way out all begin on one core, on the way back on the next: its neighbours are then everyone's.
            core = heat + block // 2
            turns = [(key, 0) for key in running] + [(key, 1) for key in reversed(running)]
            for key, way in turns:
                steps = {name: self.results[key].facts[-1].get(name, 0) for name in ("loops", "lead_in")}
                self._look_at_patience(key, sum(steps.values()))
                if self._races_on(key):
                    self._attempt(key, workers, "prepare", draw=draws[way], **steps)
                before = time.perf_counter()
                asked = {"loops": steps["loops"], "core": core + way, "keep": keep}
                if self._races_on(key) and (reply := self._attempt(key, workers, "round", **asked)):
                    passed = time.perf_counter() - before
                    self._shares[key].append((reply["seconds"] * sum(steps.values()) + MESSAGES_S) / passed)
                    measured = Round(heat, block, reply["seconds"], reply.get("joules"))
                    rounds.append((key, measured.seconds, measured.joules))
                    self.results[key].rounds.append(measured)
            reading = {"heat": heat, "block": block, **self.conditions(own)}
            self.readings.append(reading)
            self.journal.write({**reading, "rounds": rounds})
            if block + 1 >= self.plan.least_blocks:
                self._stop_who_is_plain()

    def _races_on(self, key: str) -> bool:
        """Whether a contender gets another round in this heat."""
        return self.results[key].failure is None and not self.results[key].stopped

    def _look_at_patience(self, key: str, steps: int) -> None:
        """Stop a contender that has rounds, and whose next one would take longer than it has patience for."""
        result = self.results[key]
        if result.rounds and self._races_on(key):
            ahead_s = steps * (self._call_s(key) or 0.0)
            if self._spent[key] + ahead_s > self.plan.patience_s:
                result.stopped = (
                    f"a step of it takes so long that it got no more than {_counted(len(result.rounds))}, within the "
                    f"{self.plan.patience_s:g} s of a heat that a contender may take"
                )

    def _stop_who_is_plain(self) -> None:
        """Stop the contenders of whose ratio to the first more rounds would tell nothing that matters.

        That every way of every block is beyond `Plan.plain`, on the same side, is no question of noise: so this rule
        may look at estimates, where the one that ends a race must not.
        """
        first = self._first
        for entrant in self.racing:
            if first is None or entrant is first or not entrant.compared:
                continue
            result = self.results[entrant.key]
            ratios = way_ratios(result.rounds_of(), self.results[first.key].rounds_of())
            slower, faster = all(ratios > self.plan.plain), all(ratios < 1 / self.plan.plain)
            if len(ratios) >= 2 * self.plan.least_blocks and (slower or faster):
                result.stopped = (
                    f"its ratio was plain after {_counted(len(result.rounds))}, all of them more than "
                    f"{self.plan.plain:g} times {'slower' if slower else 'faster'}"
                )

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


def same_work(entrant: Entrant, other: Entrant) -> bool:
    """Whether two contenders were asked for the same results: not where one leaves the technique out."""
    without = [each.asked.get("implementation") == WITHOUT for each in (entrant, other)]
    return without[0] == without[1]


MESSAGES_S = 0.002
"""What asking for a round and its answer may take beside the round."""

MOMENT_S = 0.5
"""What a reply takes that is there already."""


def _counted(rounds: int) -> str:
    return f"{rounds} round{'s' * (rounds != 1)}"


def _batches(things: list[Thing], size: int) -> list[list[Thing]]:
    return [things[start : start + size] for start in range(0, len(things), size)]
