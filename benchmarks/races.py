"""Races as pytest items: the first item of a race runs it, and each item records its own contender's rounds.

pytest-benchmark times a function with a clock. The rounds here were timed in a worker, so the clock is one that returns
the accumulated recorded time, and the function advances it: the entry is pytest-benchmark's own, and exact.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from pytest_benchmark.stats import Stats

from benchmarks import controls, costs
from benchmarks.harness.conditions import Conditions, busy_neighbour
from benchmarks.harness.lockstep import Race
from benchmarks.harness.plan import PLANS, Plan
from benchmarks.harness.pool import Pool
from benchmarks.harness.results import Entrant, Result
from benchmarks.timings import Journal, Timings
from benchmarks.workload import BUDGETS, Contender
from reports.store.run_folder import Row, canonical_hash, key_of
from suites.minutes import Minutes
from suites.recording import folder_of, row_of


class Recorded:
    """A clock that shows the recorded duration that was played last, and is set back to zero when it is read."""

    __name__ = "recorded"

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time in seconds since the last reading."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds

    def player(self, durations: Iterable[float]) -> Callable[[], None]:
        """A function that lets the next of the recorded durations, in seconds, pass each time it is called."""
        remaining = iter(durations)

        def play() -> None:
            self.seconds = next(remaining)

        return play


def test_race(
    contender: Contender, benchmark: BenchmarkFixture, track: "Track", request: pytest.FixtureRequest
) -> None:
    """Run the contender's race unless it has been run, and record the contender's rounds."""
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled")
    result = track.result(contender)
    if result.failure is not None:
        track.record_failure(contender, request.node, result)
        if result.failure.not_provided:
            pytest.skip(f"not provided: {result.failure}")
        pytest.fail(
            f"{contender.implementation.name} failed at {result.failure.phase}: {result.failure}", pytrace=False
        )
    benchmark.group = contender.group
    where = f"-{contender.scale}-{contender.backend}-{contender.device}]"  # trackers tell entries apart by their names
    benchmark.name, benchmark.fullname = (f"{n.removesuffix(']')}{where}" for n in (benchmark.name, benchmark.fullname))
    benchmark.params = {"contender": str(contender)}  # pytest-benchmark keeps what JSON can hold
    cost = costs.of(contender)
    facts = summary(result) | ({"cost": vars(cost)} if cost else {})
    if why := contender.implementation.why_faster(contender.backend):
        facts["why_faster"] = why
    benchmark.extra_info.update(row_of(request.node, race=track.race_of(contender), **facts))
    clock: Recorded = request.node.get_closest_marker("benchmark").kwargs["timer"]
    benchmark.pedantic(clock.player([each.seconds for each in result.rounds]), rounds=len(result.rounds))
    track.record(contender, benchmark)


def summary(result: Result) -> dict[str, Any]:
    """What an entry says beside its samples: a fact of several heats is their median, a peak their maximum."""
    complete = result.finished

    def known(field: str) -> list[int]:
        return [size for fact in complete if (size := fact["memory"].get(field)) is not None]

    peaks, baselines, on_device = known("peak_bytes"), known("baseline_bytes"), known("device_peak_bytes")
    joules = [each.joules for each in result.rounds]
    once = {
        name: next((fact[name] for fact in complete if name in fact), None)
        for name in ("warm_up", "profile", "checked")
    }
    once |= {"stopped": result.stopped}
    return {
        "heat": [each.heat for each in result.rounds],
        "block": [each.block for each in result.rounds],
        **({"joules": joules} if None not in joules else {}),
        **{name: value for name, value in once.items() if value},
        "loops": complete[-1]["loops"],
        "call_s": complete[0].get("call_s"),
        "items": complete[-1]["items"],
        "traces": complete[-1]["traces"],
        "start_s": statistics.median(fact["start_s"] for fact in complete),
        "build_s": complete[0].get("build_s"),  # where they built one after the other, in the first heat
        "first_call_s": complete[0].get("first_call_s"),
        "memory": {
            "peak_bytes": max(peaks, default=None),
            "peak_bytes_by_heat": peaks,
            "baseline_bytes": max(baselines, default=None),
            "device_peak_bytes": max(on_device, default=None),
        },
    }


def entrant_of(contender: Contender) -> Entrant:
    """A contender as its race sees it."""
    asked = contender.asked()
    compared = contender.implementation.name not in controls.KERNELS
    return Entrant(key_of(asked), asked, contender.implementation.module, contender.bench, compared)


class Track:
    """The session's races: which contenders meet, the preloaded servers, and what has been measured."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.folder = folder_of(config)
        self._timings = Timings(self.folder)
        self.contenders: dict[str, list[Contender]] = {}
        self._races: dict[str, Race] = {}
        self._pool = Pool()
        self._unrecorded: dict[str, set[str]] = {}
        self._recorded: dict[str, list[tuple[Contender, BenchmarkFixture]]] = {}
        self._sampler = Conditions(config.option.device)
        self._minutes = config.pluginmanager.get_plugin(Minutes.NAME)

    def enter(self, contenders: Iterable[Contender]) -> None:
        """Take the contenders of the session, and begin to import their frameworks."""
        for contender in contenders:
            self.contenders.setdefault(contender.group, []).append(contender)
            self._pool.preload(contender.site)

    def race_of(self, contender: Contender) -> str:
        """The race's name: a hash of its contenders' keys."""
        return canonical_hash(sorted(key_of(each.asked()) for each in self.contenders[contender.group]))

    def race(self, contender: Contender) -> Race:
        """The contender's race; the first question about it runs it."""
        group = contender.group
        if group not in self._races:
            sites = {key_of(each.asked()): each.site for each in self.contenders[group]}
            alone = len(set(sites.values())) == 1
            journal = Journal(self.folder, self.race_of(contender))
            entries = journal.entries()
            self._races[group] = Race(
                [entrant_of(each) for each in self.contenders[group]],
                lambda entrant, heat: self._pool.server(sites[entrant.key], group, heat, alone),
                self._plan(contender.scale),
                journal,
                self._timings.results(sites, entries),
                lambda what: self._tell(f"{group}: {what}"),
                self._conditions,
            )
            self._races[group].readings += self._timings.readings(sites, entries)
            self._unrecorded[group] = set(sites)
            self._pool.wait()
            self._races[group].run()
        return self._races[group]

    def _plan(self, scale: str) -> Plan:
        """What a race measures before `refine`; where the session's minutes are counted, one heat."""
        plan, narrow = PLANS[scale], self.config.option.narrow
        plan = plan if narrow is None else replace(plan, narrow=narrow / 100)
        return plan if self._minutes is None else replace(plan, heats=1, race_s=0.0)

    @property
    def budget_s(self) -> float:
        """What is left, after all races, for those whose intervals are wide."""
        asked = self.config.option.budget
        if self._minutes is not None:
            return float(min(self._minutes.end - time.monotonic(), math.inf if asked is None else asked))
        return float(BUDGETS[self.config.option.scale] if asked is None else asked)

    def result(self, contender: Contender) -> Result:
        """What was measured of a contender."""
        return self.race(contender).results[key_of(contender.asked())]

    def refine(self, budget_s: float) -> None:
        """Spend so much time more, heat by heat, where a second is expected to tell most."""
        deadline = time.monotonic() + budget_s
        while True:
            left = deadline - time.monotonic()
            wide = {group: race for group, race in self._races.items() if race.wants_more and race.heat_s < left}
            if not wide:
                return
            group = max(wide, key=lambda each: wide[each].narrowing)
            wide[group].heat()
            for contender, benchmark in self._recorded[group]:
                self._extend(contender, benchmark)
            self._keep(self.contenders[group][0])

    def _conditions(self, own: Iterable[int]) -> Row:
        """What has happened on this machine since the last reading, and who disturbed it."""
        reading = self._sampler.read(own)
        neighbour = busy_neighbour(reading)
        return {**reading, **({"disturbed": neighbour} if neighbour else {})}

    def _tell(self, what: str) -> None:
        progress = self.config.pluginmanager.get_plugin("touchstone-progress")
        if progress is not None:
            progress.describe(what)

    def record(self, contender: Contender, benchmark: BenchmarkFixture) -> None:
        """Put a contender's entry into ``timings.json``."""
        self._write_entry(benchmark)
        self._recorded.setdefault(contender.group, []).append((contender, benchmark))
        self._done(contender, benchmark.extra_info["key"])

    def _extend(self, contender: Contender, benchmark: BenchmarkFixture) -> None:
        """Record a contender's rounds again, with those of the heats that came since."""
        result = self.result(contender)
        if result.failure is None:  # one that failed since keeps the entry that it has
            measured: Any = benchmark.stats
            measured.stats = Stats()  # its figures are computed once only
            for each in result.rounds:
                measured.update(each.seconds)
            benchmark.extra_info.update(summary(result))
            self._write_entry(benchmark)

    def _write_entry(self, benchmark: BenchmarkFixture) -> None:
        if self.folder:
            made = self._generate([benchmark.stats])
            (entry,) = made["benchmarks"]
            self._timings.put(made, entry)

    def _keep(self, contender: Contender) -> None:
        """Write down the contender's race, which is complete, and remove its journal."""
        self._timings.put_readings(self.race_of(contender), self.race(contender).readings)
        self._timings.write()
        Journal(self.folder, self.race_of(contender)).remove()

    def record_failure(self, contender: Contender, item: pytest.Item, result: Result) -> None:
        """Put a contender that did not finish into ``timings.json``, with its reason and the rounds it had run."""
        failure = result.failure
        assert failure is not None
        row = row_of(
            item,
            outcome="not provided" if failure.not_provided else "failed",
            reason=str(failure),
            phase=failure.phase,
            race=self.race_of(contender),
            rounds=[vars(each) for each in result.rounds],
        )
        if self.folder:
            self._timings.put_failure(self._generate([]), row)
        self._done(contender, row["key"])

    def _generate(self, benchmarks: list[Any]) -> Row:
        hook = self.config.hook
        machine = hook.pytest_benchmark_generate_machine_info(config=self.config)
        commit = hook.pytest_benchmark_generate_commit_info(config=self.config)
        return dict(
            hook.pytest_benchmark_generate_json(
                config=self.config, benchmarks=benchmarks, include_data=True, machine_info=machine, commit_info=commit
            )
        )

    def _done(self, contender: Contender, key: str) -> None:
        unrecorded = self._unrecorded[contender.group]
        unrecorded.discard(key)
        if not unrecorded:
            self._keep(contender)

    def close(self) -> None:
        """Write down what a race had recorded when the session was stopped, and end the servers and their workers."""
        self._timings.write()
        self._pool.close()
