"""Steps with a fault each, for the harness to find and the report to name. They wait busily: their times are known."""

import itertools
import math
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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


def step(subject: Any, parameters: Mapping[str, Any], operation: str, seed: int) -> Callable[[], Any]:  # noqa: ARG001
    """A step with the fault that `operation` names; once there is the file `parameters["hot"]`, `HOT` times as long."""
    if operation == "retrace":
        return _retraced()
    course, calls, rng = COURSES[operation], itertools.count(), random.Random(f"{seed}/{time.time_ns()}")
    hot = Path(parameters["hot"])

    def wait() -> None:
        # Real steps differ by about 1%; times that are equal to the last digit would have a shape of their own.
        throttled = HOT if hot.exists() else 1.0
        end = time.perf_counter() + STEP_S * throttled * course(next(calls), rng) * math.exp(rng.gauss(0, 0.01))
        while time.perf_counter() < end:
            pass

    return wait


def _retraced() -> Callable[[], Any]:
    """A compiled function that is handed another Python number in every call, and is traced for each."""
    import tensorflow as tf

    numbers = itertools.count()
    double = tf.function(lambda number: tf.constant(2.0) * number)
    return lambda: double(next(numbers))
