"""Trials in processes of their own, several at the same time; whatever a trial does, it ends its own process alone.

A process is forked from pytest's, which has imported the framework and touched no device, and trains one trial after
the other: those of one arm and condition, so that it can keep a compiled model. Where another arm is wanted, it ends
and makes place for the next.
"""

import contextlib
import faulthandler
import gc
import importlib
import itertools
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Literal, Protocol

import psutil

from benchmarks.harness import devices
from benchmarks.harness.scratch import Scratch
from datasets.verified import DatasetError
from suites.claims.claim import Outcome, Trial
from suites.claims.training import be_deterministic
from suites.forked import Forked
from suites.implementations import NotProvided
from suites.watch import Watch

LIMITS = {"quick": 1.0, "standard": 12.0, "paper": 1000.0}
"""By scale: how many times as long as a property a trial may work, or do nothing, before it counts as hanging."""

Train = Callable[[Trial], Outcome]


@dataclass(frozen=True)
class Failure:
    """Why a trial has no outcome: it failed, or something that it needs is not here."""

    outcome: Literal["failed", "not run"]
    reason: str


@dataclass(frozen=True)
class Done:
    """A trial that has come back, after so many seconds; from which processor, where that is another machine's."""

    trial: Trial
    result: Outcome | Failure
    seconds: float
    processor: str = ""


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        trial, train: which, and with which function.
        lane: whose process may keep what it has compiled.
        alone: whether it measures time: it then has all cores, and operations are as fast as everybody has them.
    """

    trial: Trial
    train: Train
    lane: Hashable
    alone: bool = False


class Runner(Protocol):
    """What runs trials: processes of this machine, or a cluster."""

    @property
    def size(self) -> int:
        """How many trials it runs at the same time."""
        ...

    def free(self) -> bool:
        """Whether another trial may begin now."""
        ...

    def busy(self) -> bool:
        """Whether any trial is under way."""
        ...

    def start(self, jobs: Sequence[Job]) -> Job:
        """Begin with one of these trials, the first if nothing speaks for another, and say with which."""
        ...

    def wait(self, timeout_s: float) -> list[Done]:
        """The trials that have come back by now; waits for one, but not longer than so many seconds."""
        ...

    def close(self) -> None:
        """End whatever is under way."""
        ...


class Worker:
    """One process, and the trial that it has."""

    def __init__(self, job: Job, threads: int, scratch: str) -> None:
        self.lane = job.lane
        self.job: Job | None = None
        self.process = Forked(lambda pipe, log: _serve(job, pipe, threads, log), scratch, duplex=True)

    def send(self, job: Job, limit_s: float) -> None:
        """Hand over a trial."""
        self.job = job
        self.started = time.monotonic()
        self.watch = Watch(self.process.pid, limit_s)
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where it is waited for
            self.process.pipe.send_bytes(pickle.dumps(job.trial))

    def receive(self) -> Done:
        """What has become of its trial."""
        try:
            return self._done(pickle.loads(self.process.pipe.recv_bytes()))
        except (EOFError, ConnectionResetError):
            return self._done(Failure("failed", f"the process {self._end()}"))

    def look(self, others: Sequence["Worker"]) -> Done | None:
        """End the process if its trial hangs, or if memory runs out and it holds most of it."""
        if self.job is None:
            return None
        if how := self.watch.hanging():
            self.process.signal(signal.SIGABRT)
            return self._done(Failure("failed", f"the process {how}, and was ended: {self._end()}"))
        if too_much := _takes_too_much(self.process.pid, [each.process.pid for each in others]):
            self.process.kill()
            return self._done(Failure("failed", too_much))
        return None

    def _done(self, result: Outcome | Failure) -> Done:
        assert self.job is not None
        job, self.job = self.job, None
        return Done(job.trial, result, time.monotonic() - self.started)

    def _end(self) -> str:
        """How the process has ended, and where it was."""
        how, frames = self.process.wait()
        suspicion = " (out of memory?)" if how.endswith(signal.SIGKILL.name) else ""
        return "; ".join([how + suspicion, *(line.strip() for line in frames[:2])])


class Pool:
    """The processes of this machine.

    Args:
        workers: how many at the same time.
        limit_s: the seconds after which a property counts as hanging; a trial has more, by its scale.
    """

    LOOK_S = 1.0

    def __init__(self, workers: int, limit_s: float) -> None:
        self._size, self.limit_s = workers, limit_s
        self.threads = max(1, devices.cores() // workers)
        self.workers: list[Worker] = []
        self.scratch = Scratch()
        self.looked = time.monotonic()

    @property
    def size(self) -> int:
        """How many trials it runs at the same time."""
        return self._size

    def free(self) -> bool:
        """Whether another trial may begin now."""
        return sum(worker.job is not None for worker in self.workers) < self.size

    def busy(self) -> bool:
        """Whether any trial is under way."""
        return any(worker.job is not None for worker in self.workers)

    def start(self, jobs: Sequence[Job]) -> Job:
        """Begin with one of these trials: for a process that is free, if possible one that it is prepared for."""
        preload(jobs[0].trial.backend)
        idle = [worker for worker in self.workers if worker.job is None]
        for worker in idle:
            if job := next((job for job in jobs if job.lane == worker.lane), None):
                break
        else:
            taken = {worker.lane for worker in self.workers}
            job = next((job for job in jobs if job.lane not in taken), jobs[0])
            if len(self.workers) >= self.size:
                idle[0].process.kill()
                self.workers.remove(idle[0])
            worker = Worker(job, self.threads, str(self.scratch.path))
            self.workers.append(worker)
        worker.send(job, self.limit_s * LIMITS[job.trial.scale])
        return job

    def wait(self, timeout_s: float) -> list[Done]:
        """The trials that have come back, also those whose process had to be ended."""
        end, done = time.monotonic() + timeout_s, list[Done]()
        while not done and (left := end - time.monotonic()) > 0 and self.busy():
            by_pipe = {worker.process.pipe: worker for worker in self.workers if worker.job is not None}
            ready = wait(list(by_pipe), min(left, self.LOOK_S))
            done += [by_pipe[pipe].receive() for pipe in ready]  # type: ignore[index]
            if time.monotonic() > self.looked + self.LOOK_S:
                self.looked = time.monotonic()
                done += [ended for worker in self.workers if (ended := worker.look(self.workers)) is not None]
        self.workers = [worker for worker in self.workers if worker.process.pid]
        return done

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.process.kill()
        self.workers = []
        self.scratch.close()


SPARE = 0.05
"""Of the memory of this machine: where less is left, the largest process goes, before the system chooses one."""


def _takes_too_much(pid: int, pids: Sequence[int]) -> str:
    """Why a process has to go: memory runs out, and it is the largest of these; empty where it may stay."""
    memory = psutil.virtual_memory()
    if memory.available > SPARE * memory.total:
        return ""
    sizes = {}
    for each in pids:
        with contextlib.suppress(psutil.Error):
            sizes[each] = psutil.Process(each).memory_info().rss
    if not sizes or max(sizes, key=lambda each: sizes[each]) != pid:
        return ""
    return f"the machine ran out of memory, and this trial's process held most of it: {sizes[pid] / 2**30:.1f} GiB"


def preload(backend: str) -> None:
    """Import the framework once, so that forked processes have it; nothing here touches a device."""
    if "keras" not in sys.modules:
        importlib.import_module("keras")
        importlib.import_module(backend)
        gc.collect()
        gc.freeze()  # so that the collections of a forked process pass over what is here


def _serve(job: Job, pipe: Connection, threads: int, log: int) -> None:
    """In a forked process: train what comes, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; pytest's process decides
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _let_go({0, 1, 2, log, pipe.fileno()})
    faulthandler.enable(log)
    if not job.alone:
        be_deterministic(job.trial.backend, threads)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send_bytes(pickle.dumps(attempt(job.train, pickle.loads(pipe.recv_bytes()))))


def _let_go(kept: set[int]) -> None:
    """Close what was inherited: others wait for the end of pipes that this process would hold open."""
    for low, high in itertools.pairwise([*sorted(kept), 1 << 16]):
        if high > low + 1:  # of none, some releases of Python close all there are
            os.closerange(low + 1, high)


def attempt(train: Train, trial: Trial) -> Outcome | Failure:
    """Train one trial; an exception is a failure, in a line that names where it was raised."""
    try:
        return train(trial)
    except DatasetError as error:
        return Failure("not run", str(error))
    except NotProvided as error:
        return Failure("not run", f"not provided: {error}")
    except Exception as error:  # noqa: BLE001 - whatever a trial raises is its result
        frame = traceback.extract_tb(error.__traceback__)[-1]
        told = str(error).strip().splitlines() or [""]
        return Failure("failed", f"{type(error).__name__}: {told[0][:300]} ({frame.name}, line {frame.lineno})")
