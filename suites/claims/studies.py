"""The claims of a session: which trials are wanted, by whom they are run, and how their rows are kept.

A study is one claim for one implementation. All studies of a session share the processes: while the last trials of one
are under way, those of the next begin, so that no core waits.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reports.store.run_folder import TRIALS, RunFolder, key_of
from suites.claims.claim import Outcome, Trial
from suites.claims.plan import Plan
from suites.claims.pool import Done, Failure, Job, Runner, Train

RowOf = Callable[..., dict[str, Any]]
"""Makes a row from what it was asked and its own fields."""


class Study:
    """One claim, rerun for one implementation.

    Attributes:
        plan: which trials it wants.
        done: the metrics of those that are done.
        failed: why trials failed, by trial.
        absent: why it cannot be run at all, in a line; empty where it can.
        trained, seconds: how many trials this session has trained, and how long they took together.
    """

    def __init__(self, plan: Plan, module: str, train: Train, folder: RunFolder | None, row_of: RowOf) -> None:
        self.plan, self._module, self._train, self._folder, self._row_of = plan, module, train, folder, row_of
        self.done: dict[Trial, Mapping[str, float]] = {}
        self.failed: dict[Trial, str] = {}
        self.absent = ""
        self.trained, self.seconds = 0, 0.0
        self.running: set[Trial] = set()
        self._held: dict[str, Mapping[str, float | None]] | None = None

    def wanted(self) -> list[tuple[int, Trial]]:
        """The trials that may begin now, with their stages; what the run folder holds is taken from there."""
        while not self.absent:
            found = self.plan.wanted(self.done)
            held = [(trial, metrics) for _, trial in found if (metrics := self._from_folder(trial)) is not None]
            if not held:
                return [each for each in found if each[1] not in self.running]
            for trial, metrics in held:
                self.done[trial] = {name: float("nan") if y is None else float(y) for name, y in metrics.items()}
        return []

    def is_over(self) -> bool:
        """Whether nothing is wanted any more."""
        return not self.running and not self.wanted()

    def left(self) -> list[str]:
        """The keys of the trials that are known to be wanted."""
        return [key_of(trial.asked(self._module)) for _, trial in self.wanted()]

    def _from_folder(self, trial: Trial) -> Mapping[str, float | None] | None:
        if self._folder is None:
            return None
        if self._held is None:
            rows = [row for row in self._folder.trials() if row.get("outcome", "trained") == "trained"]
            self._held = {row["key"]: row["metrics"] for row in rows}
        return self._held.get(key_of(trial.asked(self._module)))

    def job(self, trial: Trial) -> Job:
        """A trial as a runner takes it."""
        lane = self._module, trial.implementation.name, trial.precision, trial.arm, tuple(trial.condition.items())
        return Job(trial, self._train, lane, self.plan.claim.alone)

    def keep(self, done: Done) -> None:
        """Take what became of a trial, and write its row."""
        trial, result = done.trial, done.result
        self.running.discard(trial)
        claim = self.plan.claim
        if isinstance(result, Outcome):
            try:
                metrics = result.complete(claim.metrics)
            except ValueError as error:
                result = Failure("failed", str(error))
        if isinstance(result, Outcome):
            self.done[trial] = metrics
            self.trained += 1
            self.seconds += done.seconds
            lists = {"series": dict(result.series), "steps": result.steps, "clock": result.clock}
            fields: dict[str, Any] = {"metrics": metrics, **lists, "digest": result.digest}
        else:
            self.done[trial] = {}
            if result.outcome == "not run":
                self.absent = result.reason
            else:
                self.failed[trial] = result.reason
            fields = {"metrics": {}, "outcome": result.outcome, "reason": result.reason}
        if self._folder is not None:
            fields |= {"seconds": round(done.seconds, 3), "definition": claim.definition(self.plan.scale)}
            fields |= {"processor": done.processor} if done.processor else {}
            self._folder.append(TRIALS, self._row_of(trial.asked(self._module), **fields))


class Studies:
    """All studies of a session, in their order, and what runs their trials."""

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self.all: list[Study] = []
        self._make_runner = runner
        self._runner: Runner | None = None
        self._by_trial: dict[Trial, Study] = {}

    def run(
        self,
        study: Study,
        *,
        until: Callable[[], float] = lambda: float("inf"),
        by_stage: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> bool:
        """Run a study's trials, and others' where processes are free, until it wants no more.

        Args:
            study: one of `all`.
            until: when to begin with no further trial, in seconds of `time.monotonic`.
            by_stage: whether trials of early stages come first, whichever study they are of, as where time is short.
            tell: is told what is under way.

        Returns:
            Whether the study came to its end.
        """
        try:
            return study.is_over() or self._run(study, until, by_stage, tell)
        finally:
            if study is self.all[-1] or all(each.is_over() for each in self.all):
                self.close()  # what comes after is perhaps timed, and these would hold gigabytes meanwhile

    def _run(self, study: Study, until: Callable[[], float], by_stage: bool, tell: Callable[[str], None]) -> bool:
        runner = self._runner = self._runner or self._make_runner()
        while not study.is_over():
            late = time.monotonic() > until()
            if late and not study.running:
                return False
            while not late and runner.free() and (jobs := self._next(study, runner, by_stage)):
                trial = runner.start(jobs).trial
                self._by_trial[trial].running.add(trial)
                tell(self._told(study, runner.size))
            for done in runner.wait(1.0):
                self._by_trial[done.trial].keep(done)
        return True

    def _told(self, study: Study, workers: int) -> str:
        """How far a study is, in few words."""
        left = len(study.wanted()) + len(study.running)
        seconds = study.seconds / max(1, study.trained) * left / workers
        return f"{study.plan.name}: {len(study.done)} trials, {left} left" + f", {seconds:.0f} s" * bool(study.trained)

    def _next(self, study: Study, runner: Runner, by_stage: bool) -> Sequence[Job]:
        """The trials that may begin now, those of one study and stage, the most wanted ones first."""
        studies = self.all[self.all.index(study) :]
        if any(each.running and each.plan.claim.alone for each in studies):
            return []
        found = [(stage, index, each) for index, each in enumerate(studies) for stage, _ in each.wanted()[:1]]
        found.sort(key=lambda each: each[:2] if by_stage else each[1])
        for stage, index, each in found:
            if each.plan.claim.alone and (index or runner.busy()):
                if not index:
                    return []  # its turn, as soon as nothing else runs
                continue
            trials = [trial for of_stage, trial in each.wanted() if of_stage == stage]
            self._by_trial |= dict.fromkeys(trials, each)
            return [each.job(trial) for trial in trials]
        return []

    def close(self) -> None:
        """End whatever is under way."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
