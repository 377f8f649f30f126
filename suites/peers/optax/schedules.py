"""`optax.schedules` and `optax.MultiSteps` behind the contract's names.

optax computes in JAX whatever the backend of Keras is. With Keras on JAX its schedules become part of a compiled step;
elsewhere they are asked for one step at a time. Conventions are adapted: `warmup_cosine_decay_schedule` and
`sgdr_schedule` count the warm-up in, so that warm-up is joined from two schedules, and rates are factors of the one
before.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
from keras import ops

from suites.implementations import KnownDefect, NotProvided

LONGEST = 16
"""The most cycles that are listed for `sgdr_schedule`."""

UNWEIGHTED = KnownDefect("MultiSteps averages over micro-batches, so that a smaller one counts as much as the others.")

IN_FLOAT32 = KnownDefect("JAX computes in float32 unless it is told not to.", backends=("tensorflow", "torch"))

KNOWN_DEFECTS = {
    "impossible_schedules_are_refused": KnownDefect("`linear_schedule` takes zero steps, and stays at its start."),
    "every_kind_of_step_gives_the_same_rate": KnownDefect("The rate of a step in float16 is computed in float16."),
    "steps_in_float64_have_rates_in_float64": IN_FLOAT32,
    "gradients_in_float64_are_added_up_in_float64": IN_FLOAT32,
    "a_smaller_micro_batch_counts_less": UNWEIGHTED,
    "sizes_may_be_unknown_while_tracing": dataclasses.replace(UNWEIGHTED, backends=("torch",)),  # which does not trace
}


def rate_at(schedule: Callable[[Any], Any], step: Any) -> Any:
    """The rate of an optax schedule, as a tensor of the backend.

    Raises:
        NotProvided: the step belongs to a compiled graph of another framework.
    """
    if keras.backend.backend() == "jax" and not np.ndim(step):
        return schedule(ops.convert_to_tensor(step))
    if keras.backend.backend() == "tensorflow" and tensorflow_compiles():
        raise NotProvided("an optax schedule cannot be part of a graph of TensorFlow")
    steps = numbers(step)
    rates = [np.asarray(schedule(jnp.asarray(each)), "float32") for each in steps.ravel()]
    return ops.convert_to_tensor(np.reshape(rates, steps.shape))


def numbers(step: Any) -> np.ndarray:
    """A step or several as NumPy.

    Raises:
        NotProvided: they belong to a compiled graph.
    """
    try:
        return np.asarray(ops.convert_to_numpy(step))
    except TypeError:  # JAX's, of a tracer
        raise NotProvided("several steps in a compiled graph are not asked of optax") from None


def tensorflow_compiles() -> bool:
    """Whether TensorFlow is tracing a graph."""
    import tensorflow as tf

    return bool(tf.inside_function())


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """An optax schedule where Keras takes one; a closure, and so without a configuration."""

    def __init__(self, function: Callable[..., Any], **parameters: Any) -> None:
        super().__init__()
        self.function, self.parameters = function, parameters
        self(0)  # optax refuses where a schedule is made

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step."""
        return self.function(step, **self.parameters)

    def get_config(self) -> dict[str, Any]:
        """None."""
        raise NotProvided("an optax schedule is a closure, which cannot be saved")


def warm_up(step: Any, *, rate: float, steps: int, start: float = 0.0) -> Any:
    """`linear_schedule`."""
    return rate_at(optax.linear_schedule(start, rate, steps), step)


def cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """`cosine_decay_schedule`."""
    return rate_at(optax.cosine_decay_schedule(peak, steps, floor / peak), step)


def cosine_restarts(step: Any, *, peak: float, steps: int, floor: float = 0.0, growth: int = 1) -> Any:
    """`sgdr_schedule` over as many cycles as there are up to the step."""
    last = int(np.max(numbers(step)))
    if growth == 1 and last // max(steps, 1) >= LONGEST:
        raise NotProvided(f"sgdr_schedule lists its cycles; more than {LONGEST} are too many")
    lengths = [steps]
    while sum(lengths) <= last:
        lengths.append(lengths[-1] * growth)
    cycle = {"init_value": peak, "peak_value": peak, "warmup_steps": 0, "end_value": floor}
    return rate_at(optax.sgdr_schedule([{**cycle, "decay_steps": length} for length in lengths]), step)


def step_decay(step: Any, *, rates: Sequence[float], boundaries: Sequence[int]) -> Any:
    """`piecewise_constant_schedule`."""
    factors = [later / earlier for earlier, later in itertools.pairwise(rates)]
    return rate_at(optax.piecewise_constant_schedule(rates[0], dict(zip(boundaries, factors, strict=True))), step)


def one_cycle(step: Any, *, start: float, peak: float, end: float, steps: int, warm_up_steps: int) -> Any:
    """`cosine_onecycle_schedule`, whose end is a fraction of the start."""
    if not start or not end:
        raise NotProvided("cosine_onecycle_schedule divides by the first and the last rate")
    if int(warm_up_steps / steps * steps) != warm_up_steps:
        raise NotProvided("cosine_onecycle_schedule takes the warm-up as a fraction, which does not meet this step")
    return rate_at(optax.cosine_onecycle_schedule(steps, peak, warm_up_steps / steps, peak / start, start / end), step)


def with_warm_up(step: Any, *, schedule: Any, steps: int, start: float = 0.0) -> Any:
    """`join_schedules` of a line and the schedule."""

    def native(step: Any) -> Any:
        found = schedule(step)
        return found if keras.backend.backend() == "jax" else jnp.asarray(ops.convert_to_numpy(found))

    line = optax.linear_schedule(start, native(0), steps)
    return rate_at(optax.join_schedules([line, native], [steps]), step)


def accumulated_gradients(gradients_of: Callable[..., Any], micro_batches: Iterable[Any]) -> list[Any]:
    """The updates of `MultiSteps` around an optimizer that passes gradients on."""
    found = [gradients_of(*micro_batch) for micro_batch in micro_batches]
    try:
        gradients = [[jnp.asarray(np.asarray(ops.convert_to_numpy(each))) for each in some] for some in found]
    except (NotImplementedError, TypeError):
        raise NotProvided("gradients reach optax as NumPy arrays, which a trace does not have") from None
    optimizer = multi_steps(len(gradients))
    state = optimizer.init(gradients[0])
    for each in gradients:
        updates, state = optimizer.update(each, state)
    return [ops.convert_to_tensor(np.asarray(each)) for each in updates]


@functools.cache
def multi_steps(micro_batches: int) -> optax.GradientTransformation:
    """`MultiSteps`, compiled: otherwise every call is traced anew."""
    optimizer = optax.MultiSteps(optax.identity(), micro_batches)
    return optax.GradientTransformation(optimizer.init, jax.jit(optimizer.update))
