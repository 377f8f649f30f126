"""`keras.optimizers.schedules` and Keras's own gradient accumulation behind the contract's names.

Conventions are adapted: Keras's floor is a fraction of the peak, its boundaries are the last steps of the old rate, and
a warm-up is part of its cosine. It has no inverse square root, one cycle, batch-size rule or range test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers import schedules

from suites.implementations import KnownDefect, NotProvided

UNWEIGHTED = KnownDefect(
    "`gradient_accumulation_steps` averages over micro-batches, so that a smaller one counts as much as the others."
)

UNWEIGHTED_UNTRACED = dataclasses.replace(UNWEIGHTED, backends=("torch",))
"""Elsewhere what shows it is not provided: a trace cannot make the variables in which an optimizer accumulates."""

ONE_STEP = KnownDefect(
    "On torch the rates of an array of steps are written into one of a single step, which raises.", backends=("torch",)
)

KNOWN_DEFECTS = {
    "impossible_batches_are_refused": KnownDefect("Accumulation over 0 micro-batches is taken for none."),
    "steps_may_be_an_array": ONE_STEP,
    "arguments_are_left_as_they_were": ONE_STEP,
    "compiled_rates_are_the_rates": ONE_STEP,
    "restarts_are_periodic": KnownDefect("The step becomes float32 before it is reduced to its cycle."),
    "restarts_begin_at_the_peak": KnownDefect(
        "The cycle is found by a logarithm in float32: with growth 3, step 265,720, which begins the thirteenth cycle, "
        "has the least rate in place of the greatest."
    ),
    "steps_in_float64_have_rates_in_float64": KnownDefect(
        "Rates have the dtype of the first one, which is float32.", backends=("tensorflow", "torch")
    ),
    "impossible_schedules_are_refused": KnownDefect(
        "PiecewiseConstantDecay takes falling boundaries, and adds up the rates of ranges that overlap."
    ),
    "a_smaller_micro_batch_counts_less": UNWEIGHTED,
    "training_weighs_a_smaller_micro_batch": UNWEIGHTED,
    "penalties_count_once": UNWEIGHTED,
    "sizes_may_be_unknown_while_tracing": UNWEIGHTED_UNTRACED,
    "averages_of_weights_move_once_per_update": KnownDefect(
        "An optimizer with `gradient_accumulation_steps` and `use_ema` moves the averages with every micro-batch."
    ),
    "momentum_is_nine_tenths_by_default": KnownDefect("SGD has no momentum by default."),
    "impossible_momenta_are_refused": KnownDefect("SGD takes a momentum of 1, and one that is NaN."),
    "a_schedule_counts_updates": KnownDefect(
        "An optimizer with `gradient_accumulation_steps` shows its schedule the number of micro-batches, although "
        "`iterations` is that of updates: every decay is over too early."
    ),
    "momentum_forgets_old_rates": KnownDefect(
        "The velocity of `keras.optimizers.SGD` holds rate times gradient, without momentum correction."
    ),
}

MomentumSGD = keras.optimizers.SGD


def Schedule(function: Callable[..., Any], **parameters: Any) -> Any:  # noqa: N802 - the contract's name
    """Keras's own object for one of the functions below."""
    return OBJECTS[function](**parameters)


def warm_up(step: Any, *, rate: float, steps: int, start: float = 0.0) -> Any:
    """`PolynomialDecay` of the first degree, upwards."""
    return Schedule(warm_up, rate=rate, steps=steps, start=start)(step)


def cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """`CosineDecay`."""
    return Schedule(cosine, peak=peak, steps=steps, floor=floor)(step)


def cosine_restarts(step: Any, *, peak: float, steps: int, floor: float = 0.0, growth: int = 1) -> Any:
    """`CosineDecayRestarts`."""
    return Schedule(cosine_restarts, peak=peak, steps=steps, floor=floor, growth=growth)(step)


def step_decay(step: Any, *, rates: Sequence[float], boundaries: Sequence[int]) -> Any:
    """`PiecewiseConstantDecay`."""
    return Schedule(step_decay, rates=rates, boundaries=boundaries)(step)


def with_warm_up(step: Any, *, schedule: Any, steps: int, start: float = 0.0) -> Any:
    """`CosineDecay` with its warm-up; other schedules have none."""
    return Schedule(with_warm_up, schedule=schedule, steps=steps, start=start)(step)


def _warmed(schedule: Any, steps: int, start: float = 0.0) -> Any:
    if not isinstance(schedule, schedules.CosineDecay):
        raise NotProvided("Keras has a warm-up for its CosineDecay only")
    config = schedule.get_config()
    warm = {"initial_learning_rate": start, "warmup_target": config["initial_learning_rate"], "warmup_steps": steps}
    return schedules.CosineDecay(**{**config, **warm})


OBJECTS: dict[Callable[..., Any], Callable[..., Any]] = {
    warm_up: lambda rate, steps, start: schedules.PolynomialDecay(start, steps, rate),
    cosine: lambda peak, steps, floor=0.0: schedules.CosineDecay(peak, steps, floor / peak),
    cosine_restarts: lambda peak, steps, floor, growth: schedules.CosineDecayRestarts(
        peak, steps, t_mul=float(growth), alpha=floor / peak
    ),
    step_decay: lambda rates, boundaries: schedules.PiecewiseConstantDecay([b - 1 for b in boundaries], list(rates)),
    with_warm_up: _warmed,
}


def accumulating(optimizer: Any, rate: Any, micro_batches: int, **options: Any) -> Any:
    """Keras's `gradient_accumulation_steps`, which are 2 at least."""
    return optimizer(rate, gradient_accumulation_steps=None if micro_batches == 1 else micro_batches, **options)


def accumulated_gradients(gradients_of: Callable[..., Any], micro_batches: Iterable[Any]) -> list[Any]:
    """What an optimizer with accumulation subtracts from weights of zero at a rate of 1."""
    gradients = [gradients_of(*micro_batch) for micro_batch in micro_batches]
    try:
        ops.convert_to_numpy(gradients[0][0])
    except (NotImplementedError, TypeError):
        raise NotProvided("a trace cannot make the variables in which an optimizer accumulates") from None
    dtypes = [keras.backend.result_type(each.dtype, "float32") for each in gradients[0]]
    weights = [
        keras.Variable(np.zeros(each.shape), dtype=dtype) for each, dtype in zip(gradients[0], dtypes, strict=True)
    ]
    optimizer = accumulating(keras.optimizers.SGD, 1.0, len(gradients))
    for each in gradients:
        optimizer.apply([ops.cast(*pair) for pair in zip(each, dtypes, strict=True)], weights)
    return [-weight.value for weight in weights]


def train_on_micro_batches(model: keras.Model, x: Any, y: Any, *, size: int) -> float:
    """`train_on_batch` for each micro-batch in turn, and the mean of what it reports, as `fit` would take it."""
    parts = [slice(begin, begin + size) for begin in range(0, len(x), size)]
    losses = [model.train_on_batch(x[part], y[part]) for part in parts]
    return float(np.average(losses, weights=[len(x[part]) for part in parts]))
