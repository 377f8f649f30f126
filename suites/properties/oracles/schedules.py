"""Schedules in plain Python floats, and how far a right implementation in float32 may be from them.

Every schedule interpolates between two rates; its error is that of the share with which it does, times the rates, and
that of the interpolation itself. The bounds allow for every usual way to write an interpolation down: as a weighted
mean, as a start and a difference, or as a fraction of the peak.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from suites.properties.numerics import LIBM_ULPS, gamma

LIBM = 2 * LIBM_ULPS
"""Units in the last place, in unit roundoffs."""

LINEAR_SHARE = gamma(3, "float32")
"""Error of step / steps, which is at most 1: both numbers are rounded, and their quotient is."""

COSINE_SHARE = (math.pi * gamma(5, "float32") + gamma(LIBM + 2, "float32")) / 2 + gamma(1, "float32")
"""Error of (1 - cos(pi step / steps)) / 2: the argument has two roundings more and is at most pi, and |cos'| <= 1."""

INTERPOLATION = gamma(8, "float32")
"""Relative to the sum of the two rates: they are rounded, divided by each other, subtracted, multiplied and added."""

POWERS = gamma(3 * LIBM + 8, "float32")
"""Relative error of a product of three powers."""


@dataclass(frozen=True)
class Rate:
    """A learning rate and a bound on its rounding error in float32."""

    value: float
    bound: float


def warm_up(step: int, rate: float, steps: int, start: float = 0.0) -> Rate:
    """Goyal et al. 2017, section 2.2: equal increments."""
    value = rate if step >= steps else start + (rate - start) * step / steps
    return Rate(value, (abs(start) + abs(rate)) * (LINEAR_SHARE + INTERPOLATION))


def inverse_square_root(step: int, peak: float, warm_up_steps: int) -> Rate:
    """Vaswani et al. 2017, equation 3, d^-0.5 min(t^-0.5, t w^-1.5), whose peak is (d w)^-0.5; it begins with t = 1."""
    t, width = max(step, 1), peak**-2 / warm_up_steps
    value = width**-0.5 * min(t**-0.5, t * warm_up_steps**-1.5)
    return Rate(value, value * POWERS)


def cosine(step: int, peak: float, steps: int, floor: float = 0.0) -> Rate:
    """Loshchilov and Hutter 2017, equation 5, in the first cycle."""
    value = floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * min(step, steps) / steps))
    return Rate(value, (abs(peak) + abs(floor)) * (COSINE_SHARE + INTERPOLATION))


def cosine_restarts(step: int, peak: float, steps: int, floor: float = 0.0, growth: int = 1) -> Rate:
    """Loshchilov and Hutter 2017, section 3: T_cur counts from the last restart, and T_i grows by T_mult = `growth`.

    The progress within a cycle may come as that in cycles of its length so far, less those that are complete.
    """
    cycles = float(step)
    if growth == 1:
        step %= steps
    while step >= steps:
        step, steps = step - steps, steps * growth
    cycles /= steps
    found = cosine(step, peak, steps, floor)
    return Rate(found.value, found.bound + (abs(peak) + abs(floor)) * cycles * math.pi / 2 * LINEAR_SHARE)


def step_decay(step: int, rates: Sequence[float], boundaries: Sequence[int]) -> Rate:
    """Goyal et al. 2017, section 5.1: a new rate from each boundary on; it may be a product of all factors so far."""
    value = rates[sum(step >= boundary for boundary in boundaries)]
    return Rate(value, abs(value) * gamma(2 * len(rates), "float32"))


def one_cycle(step: int, start: float, peak: float, end: float, steps: int, warm_up_steps: int) -> Rate:
    """Smith and Topin 2017, section 3, with cosines: up, and then down."""
    up = step < warm_up_steps
    found = (
        cosine(step, start, warm_up_steps, peak)
        if up
        else cosine(step - warm_up_steps, peak, steps - warm_up_steps, end)
    )
    # The least of the rates may come as a quotient of quotients of the greatest.
    return Rate(found.value, found.bound + (abs(start) + abs(peak) + abs(end)) * gamma(4, "float32"))


def with_warm_up(step: int, schedule: Callable[[int], Rate], steps: int, start: float = 0.0) -> Rate:
    """The schedule, `steps` later, and a warm-up to its first rate."""
    if step >= steps:
        return schedule(step - steps)
    first, line = schedule(0), warm_up(step, schedule(0).value, steps, start)
    return Rate(line.value, line.bound + first.bound * (1 + line.bound))


# Training


def momentum_sgd(
    weight: float, gradients: Sequence[float], rates: Sequence[float], momentum: float, weight_decay: float = 0.0
) -> Rate:
    """A weight after momentum SGD by Goyal et al. 2017, equation 9: the velocity holds gradients and no rates.

    Weight decay is that of Keras: `rate * weight_decay * weight`, apart from the velocity.
    """
    unit = gamma(1, "float32")
    velocity = velocity_error = error = 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        decay = 1 - rate * weight_decay
        error = abs(decay) * error + 4 * unit * abs(weight)  # rate, decay, product and difference are rounded
        weight *= decay
        size = momentum * abs(velocity) + abs(gradient)
        velocity_error = momentum * velocity_error + 4 * unit * size
        velocity = momentum * velocity + gradient
        error += rate * velocity_error + 3 * unit * rate * size
        weight -= rate * velocity
        error += unit * (abs(weight) + error)
    return Rate(weight, error)


def sweep(low: float, high: float, steps: int) -> np.ndarray:
    """Rates that grow by one and the same factor."""
    return np.array([low * (high / low) ** (i / (steps - 1)) for i in range(steps)])


def square_losses(
    weight: float, rates: Sequence[float], scales: Sequence[float] = (1.0,)
) -> tuple[np.ndarray, np.ndarray]:
    """Losses (s w)^2 before each step of gradient descent on them, w <- w - rate 2 s^2 w, and bounds on their errors.

    The scales s, powers of two, take turns.
    """
    unit = gamma(1, "float32")
    losses, bounds, error = [], [], 0.0
    for rate, scale in zip(rates, itertools.cycle(scales), strict=False):
        square = scale**2
        losses.append(square * weight**2)
        bounds.append(square * (2 * abs(weight) * error + error**2 + 4 * unit * (abs(weight) + error) ** 2))
        step = 2 * square * rate * (abs(weight) + error)
        error = error * abs(1 - 2 * square * rate) + 4 * unit * step
        weight *= 1 - 2 * square * rate
        error += unit * (abs(weight) + error)
    return np.array(losses), np.array(bounds)


def smoothed(losses: Sequence[float], memory: float) -> np.ndarray:
    """Running means in which a loss counts `memory` times as much as the next."""
    total = weight = 0.0
    result = []
    for loss in losses:
        total, weight = memory * total + loss, memory * weight + 1
        result.append(total / weight)
    return np.array(result)
