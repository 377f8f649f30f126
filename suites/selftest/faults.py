"""Steps with a fault each, for the harness to find and the report to name.

They run in real processes, but take no time: each moves its worker's clock on by what it is planned to take. So their
times are known, and nobody else on the machine can hide the fault, or be taken for it.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.calls import Step
from benchmarks.harness import worker

STEP_S = 0.004
HOT = 1.3
"""How many times as long everything takes on a machine that throttles."""

COURSES: dict[str, Callable[[int, random.Random], float]] = {
    "steady": lambda _call, _rng: 1.0,
    "slower with every call": lambda call, _rng: 1 + 0.005 * call,
    "slower from half way on": lambda call, _rng: 1 + 0.01 * max(0, call - 44),
    "a step half way": lambda call, _rng: 1.0 if call < 44 else 1.3,
    "two levels": lambda _call, rng: rng.choice((1.0, 1.4)),
    "a long warm-up": lambda call, _rng: 1.6 if call < 20 else 1.0,
}
"""How many times as long as `STEP_S` a call takes, by its number."""


class Clock:
    """Stands in the place of the module `time` in a worker: what it shows goes on when a step says so."""

    def __init__(self) -> None:
        self.nanoseconds = time.perf_counter_ns()

    def perf_counter_ns(self) -> int:
        """As `time.perf_counter_ns`."""
        return self.nanoseconds

    def perf_counter(self) -> float:
        """As `time.perf_counter`."""
        return self.nanoseconds * 1e-9

    def process_time(self) -> float:
        """As `time.process_time`, of a process that works all the time."""
        return self.nanoseconds * 1e-9


def step(subject: Any, parameters: Mapping[str, Any], operation: str, seed: int) -> Step:  # noqa: ARG001
    """A step with the fault that `operation` names; once there is the file `hot`, `HOT` times as long.

    Its noise is another one in each process, and the same in each run: `builds` is a file that grows by one with each.
    """
    if operation == "retrace":
        return Step(_retraced())
    if operation == "busy":
        return Step(lambda: time.sleep(0.01))  # it leaves its core to whoever wants it
    course, calls, rng = (
        COURSES[operation],
        itertools.count(),
        random.Random(f"{seed}/{_built(Path(parameters['builds']))}"),
    )
    hot, clock = Path(parameters["hot"]), Clock()
    worker.time, worker.clock = clock, clock.perf_counter_ns  # type: ignore[assignment]

    def run() -> None:
        # Real steps differ by about 1%; times that are equal to the last digit would have a shape of their own.
        throttled = HOT if hot.exists() else 1.0
        takes_s = STEP_S * throttled * course(next(calls), rng) * math.exp(rng.gauss(0, 0.01))
        clock.nanoseconds += round(takes_s * 1e9)

    return Step(run)


def _built(builds: Path) -> int:
    """How many processes have come here before."""
    with builds.open("a+b") as file:
        file.write(b"x")
    return builds.stat().st_size


def _retraced() -> Callable[[], Any]:
    """A compiled function that is handed another Python number in every call, and is traced for each."""
    import tensorflow as tf

    numbers = itertools.count()
    double = tf.function(lambda number: tf.constant(2.0) * number)
    return lambda: double(next(numbers))
