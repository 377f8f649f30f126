"""Trials on the nodes of a Ray cluster: ``--cluster auto`` or ``--cluster ADDRESS``.

``auto`` joins the cluster that runs on this machine, or begins one of it alone. Each trial takes a core, or a GPU; a
trial whose node is lost is tried again on another. The sources travel with the session; a user's own module, and the
requirements of the environment, have to be installed on each node. Nodes should be of one kind: which bits come out
can depend on the processor, and a row says on which it was trained. Trials that measure time do not go to the cluster,
where something else may run beside them: they run here, alone.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import machine
from suites.claims.claim import Outcome, Trial
from suites.claims.pool import Done, Failure, Job, Pool, Train, attempt
from suites.claims.training import be_deterministic
from suites.implementations import ROOT

TRIES = 4
"""How often a trial is begun whose node is lost, or whose process the system ends."""

LEFT_BEHIND = [".git", ".tox", ".venv*", "results", "shared", "**/__pycache__", ".mypy_cache", ".ruff_cache"]
PASSED_ON = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "PYTHONHASHSEED")


class Cluster:
    """A runner of trials, as `Pool` is.

    Args:
        address: of the cluster, or ``auto``.
        pool: runs what measures time.

    Raises:
        ConnectionError: nothing answers at the address.
    """

    def __init__(self, address: str, pool: Pool) -> None:
        import ray

        self._ray, self._pool = ray, pool
        variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment = {"working_dir": str(ROOT), "excludes": LEFT_BEHIND, "env_vars": variables}
        told = {"runtime_env": environment, "log_to_driver": False, "logging_level": "ERROR"}
        try:
            ray.init(address=address, **told)
        except ConnectionError:
            if address != "auto":
                raise
            ray.init(**told)
        self._remote = ray.remote(max_retries=TRIES - 1)(_run)
        self._trials: dict[Any, Trial] = {}

    @property
    def size(self) -> int:
        """The cores of the nodes that are there now, or their GPUs."""
        held = self._ray.cluster_resources()
        of = "GPU" if any(trial.device == "gpu" for trial in self._trials.values()) else "CPU"
        return max(1, int(held.get(of, 0)))

    def free(self) -> bool:
        """Whether another trial may begin now."""
        return len(self._trials) < self.size and self._pool.free()

    def busy(self) -> bool:
        """Whether any trial is under way."""
        return bool(self._trials) or self._pool.busy()

    def start(self, jobs: Sequence[Job]) -> Job:
        """Begin with the first of these trials."""
        job = jobs[0]
        if job.alone:
            return self._pool.start(jobs)
        gpu = job.trial.device == "gpu"
        remote = self._remote.options(num_cpus=1, num_gpus=1 if gpu else 0)
        self._trials[remote.remote(job.train, job.trial)] = job.trial
        return job

    def wait(self, timeout_s: float) -> list[Done]:
        """The trials that have come back by now."""
        if self._pool.busy():
            return self._pool.wait(timeout_s)
        if not self._trials:
            return []
        ready, _ = self._ray.wait(list(self._trials), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = self._ray.wait(list(self._trials), num_returns=len(self._trials), timeout=0)
        return [self._done(reference) for reference in ready]

    def _done(self, reference: Any) -> Done:
        trial = self._trials.pop(reference)
        try:
            result, seconds, where = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            told = str(error).strip().splitlines() or [""]
            return Done(trial, Failure("failed", f"lost {TRIES} times: {type(error).__name__}: {told[0][:200]}"), 0.0)
        return Done(trial, result, seconds, where)

    def close(self) -> None:
        """Give up what is under way, and leave the cluster."""
        self._pool.close()
        self._ray.shutdown()


def _run(train: Train, trial: Trial) -> tuple[Outcome | Failure, float, str]:
    """On a node: train one trial; what becomes of it, how long it took, and on which processor."""
    be_deterministic(trial.backend, threads=1)
    started = time.monotonic()
    result = attempt(train, trial)
    return result, time.monotonic() - started, str(machine.machine()["processor"])
