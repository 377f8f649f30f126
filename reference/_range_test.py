"""The range test: find a learning rate by trying them all in one short run (Smith 2015, arXiv:1506.01186, section 3.3).

The rate grows from step to step. Where the loss falls fastest, training is fast; where it rises, the rate is too large.
The paper's sweep is linear; this one is geometric, so that every order of magnitude gets as many steps.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What a range test saw: at each of the `rates` it tried `(N,)` the loss before the update `(N,)`."""

    rates: np.ndarray
    losses: np.ndarray

    @property
    def suggestion(self) -> float:
        """A tenth of the rate with the least smoothed loss: there training is still fast, and not yet at the edge."""
        return float(self.rates[np.nanargmin(smoothed(self.losses))]) / 10


def smoothed(losses: Sequence[float] | np.ndarray, memory: float = 0.8) -> np.ndarray:
    """Weighted means of each loss and those before it, the weights falling by `memory` a step: `(N,)` to `(N,)`."""
    weights = memory ** np.arange(len(losses))
    with np.errstate(invalid="ignore"):
        return np.array([losses[i::-1] @ weights[: i + 1] / weights[: i + 1].sum() for i in range(len(losses))])


def range_test(
    model: keras.Model,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    divergence: float = 4.0,
) -> RangeTest:
    """Train a compiled model for a few steps while the rate grows geometrically, and put everything back.

    It stops early when the smoothed loss, which is taken to be positive, exceeds `divergence` times its least value, or
    is no number. Weights, batch statistics, seeds and the state of the optimizer are afterwards what they were,
    bit for bit, also if a step raises; metrics are reset.

    Args:
        model: built, and compiled with a number as its learning rate.
        batches: pairs `(x, y)`, taken in turn and begun anew as often as needed; a generator's are kept.
        low: the first rate.
        high: the last rate.
        steps: how many rates.
        divergence: how far the loss may rise.

    Raises:
        ValueError: the arguments describe no sweep, or the model is not ready for one.
    """
    if not 0 < low < high or operator.index(steps) < 2:
        raise ValueError(f"expected 0 < low < high and at least 2 steps; got low={low}, high={high}, steps={steps}")
    optimizer = model.optimizer
    if not model.built or not isinstance(optimizer.learning_rate, keras.Variable):
        raise ValueError("the model must be built, and compiled with a number as its learning rate, not a schedule")
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    kept = [(each, np.array(ops.convert_to_numpy(each))) for each in (*model.variables, *optimizer.variables)]
    rates, losses = np.geomspace(low, high, steps), np.empty(0)
    try:
        for rate, (x, y) in zip(rates, itertools.cycle(batches), strict=False):
            optimizer.learning_rate = rate
            losses = np.append(losses, model.train_on_batch(x, y, return_dict=True)["loss"])
            if not (curve := smoothed(losses))[-1] <= divergence * curve.min():
                break
    finally:
        for variable, value in kept:
            variable.assign(value)
        model.reset_metrics()
    if not losses.size:
        raise ValueError("a range test needs at least one batch; there was none")
    return RangeTest(rates[: len(losses)], losses)
