"""Claims of invented numbers, for the tests of what plans and runs them. No number here was measured."""

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.verified import DatasetError
from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.plan import Plan
from suites.claims.pool import Done, Failure, Job, attempt
from suites.implementations import implementation

CLAIM = Claim(
    technique="residual",
    statement="An invented claim.",
    source="this file",
    arms={"arm": "one way", "baseline": "another"},
    axis="size",
    values={"quick": (1, 2), "standard": (1, 2)},
    metrics={"loss": Metric("loss", "", "lower", last=1)},
    contrasts=(Contrast("loss", "arm", "baseline", "difference", margin=0.1),),
    rates=Rates(published=0.1, factor=10.0, below=1, above=1),
)

UNTUNED = dataclasses.replace(CLAIM, rates=None)

Results = dict[Trial, Mapping[str, float]]


def plan_of(claim: Claim = CLAIM, scale: str = "quick", name: str = "invented") -> Plan:
    """The plan of a claim on the reference."""
    return Plan(name, claim, implementation("residual", "reference"), "float32", "tensorflow", "cpu", scale)


def finish(plan: Plan, loss: Callable[[Trial], float], done: Results | None = None) -> list[list[Trial]]:
    """Give a plan what it wants until it wants no more: the trials of each time that it was asked."""
    done = {} if done is None else done
    asked = []
    while wanted := plan.wanted(done):
        asked.append([trial for _, trial in wanted])
        done |= {trial: {"loss": loss(trial)} for _, trial in wanted}
    return asked


def train(trial: Trial) -> Outcome:
    """Ends with the arm's number, and needs no framework."""
    loss = {"arm": 1.0, "baseline": 2.0}[trial.arm] + 0.01 * trial.seed
    return Outcome({}, {"loss": [loss]}, [1], [0.1], digest="d")


def slow(trial: Trial) -> Outcome:
    """As `train`, and takes its time."""
    time.sleep(0.3)
    return train(trial)


def misbehave(trial: Trial) -> Outcome:
    """Does what a trial should not do, by its seed."""
    if trial.seed == 0:
        raise ValueError("planted\nin two lines")
    if trial.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.seed == 2:
        time.sleep(1e6)
    if trial.seed == 3:
        raise DatasetError("no data; to get it: python -m datasets.fetch it")
    if trial.seed == 4:
        os._exit(7)
    return train(trial)


class Here:
    """A runner that trains in this process, when it is waited for, and keeps the order in which trials began."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.jobs: list[Job] = []
        self.begun: list[Trial] = []
        self.together: list[set[str]] = []

    def free(self) -> bool:
        return len(self.jobs) < self.size

    def busy(self) -> bool:
        return bool(self.jobs)

    def start(self, jobs: Sequence[Job]) -> Job:
        self.jobs.append(jobs[0])
        self.begun.append(jobs[0].trial)
        self.together.append({job.trial.claim for job in self.jobs})
        return jobs[0]

    def wait(self, timeout_s: float) -> list[Done]:  # noqa: ARG002 - nothing here takes any time
        job = self.jobs.pop(0)
        return [Done(job.trial, attempt(job.train, job.trial), 0.5)]

    def close(self) -> None:
        self.jobs = []


class Folder:
    """A run folder in memory."""

    path = Path()

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        assert name == "trials.jsonl"
        self.rows.append(dict(row))

    def trials(self) -> list[dict[str, Any]]:
        return list(self.rows)


__all__ = ["CLAIM", "UNTUNED", "Failure", "Folder", "Here", "finish", "misbehave", "plan_of", "slow", "train"]
