"""Residual networks in training, in float64 NumPy: BN by the batch's own mean and variance, statistics, and slopes.

A slope is the derivative along one direction of everything that is trained. Its truth is a complex step, `Im f(x + i h
d) / h`, which has no cancellation (Squire and Trapp 1998, SIAM Review 40(1)); it needs values that keep away from the
kink of relu by more than rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from suites.properties.numerics import LIBM_ULPS, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma
from suites.properties.oracles.residual import BN_EPSILON, Oracle, Rounded, Weights

MOMENTUM = 0.9
"""What a training call leaves of a statistic."""

STEP = 1e-30
"""So small that its square is nothing."""

KINDS = ("gamma", "beta", "mean", "variance")
"""The weights of a BN, in order."""


@dataclass(frozen=True)
class Normalised:
    """(x - mean) / deviation in one BN."""

    result: Rounded
    deviation: np.ndarray
    least_deviation: np.ndarray


@dataclass(frozen=True)
class Training(Oracle):
    """The oracle in training: it remembers what each BN saw, and where its statistics go."""

    seen: list[Normalised] = field(default_factory=list)
    statistics: list[Rounded] = field(default_factory=list)

    def bn(self, x: Rounded, weights: Sequence[np.ndarray]) -> Rounded:
        """BN in training. It runs in float32 at least; its result is rounded to ``dtype``."""
        inside = self.dtype if self.dtype == "float64" else "float32"
        scale, shift, moving_mean, moving_variance = weights
        axes, n, size = (0, 1, 2), x.value[..., 0].size, np.abs(x.value) + x.error
        mean = x.value.mean(axes)
        mean_error = x.error.mean(axes) + gamma(n + 2, inside) * size.mean(axes)
        centred, off = x.value - mean, x.error + mean_error
        variance = (centred**2).mean(axes)  # over m, as in Keras
        root = np.sqrt((np.abs(centred) ** 2).mean(axes))
        # The last term holds too where the variance is computed as mean(x^2) - mean(x)^2.
        variance_error = 2 * root * np.sqrt((off**2).mean(axes)) + (off**2).mean(axes)
        variance_error = variance_error + 2 * gamma(n + 6, inside) * (size**2).mean(axes)
        deviation = np.sqrt(variance + BN_EPSILON)
        least = np.sqrt(np.maximum(variance.real - variance_error, 0) + BN_EPSILON)  # no variance is negative

        result = centred / deviation
        error = off / least + np.abs(result) * (np.abs(deviation) - least) / least
        error = error + gamma(10 + 2 * LIBM_ULPS, inside) * (size + np.abs(mean)) / least
        self.seen.append(Normalised(Rounded(result, error), np.abs(deviation), least))
        for before, batch, batch_error in (
            (moving_mean, mean, mean_error),
            (moving_variance, variance, variance_error),
        ):
            moved = MOMENTUM * before + (1 - MOMENTUM) * batch
            rounding = gamma(4, inside) * (np.abs(before) + np.abs(batch) + batch_error)
            self.statistics.append(Rounded(moved, (1 - MOMENTUM) * batch_error + rounding))

        value = result * scale + shift
        error = error * np.abs(scale) + gamma(4, inside) * (np.abs(result * scale) + np.abs(shift))
        rounding = UNIT_ROUNDOFF[self.dtype] * (np.abs(value) + error) + SMALLEST_SUBNORMAL[self.dtype]
        return Rounded(value, error + rounding)


@dataclass(frozen=True)
class Paths(Oracle):
    """Magnitudes in place of numbers: what comes out is a sum over all paths, in which nothing cancels.

    Each BN in training is replaced by the magnitudes of its derivative, from what it saw; `off` adds the error of that.
    """

    seen: list[Normalised] = field(default_factory=list)
    off: bool = False

    def bn(self, x: Rounded, weights: Sequence[np.ndarray]) -> Rounded:
        """The magnitudes of a BN's value and, as imaginary part, of its derivative."""
        if not self.seen:  # at inference
            return super().bn(x, weights)
        was, scale, shift = self.seen.pop(0), weights[0], weights[1]
        size = np.abs(was.result.value) + self.off * was.result.error
        deviation = was.least_deviation if self.off else was.deviation
        moved = x.value.imag
        moved = moved + moved.mean((0, 1, 2)) + size * (size * moved).mean((0, 1, 2))
        value = scale.real * (size + 1j * moved / deviation) + 1j * scale.imag * size + shift
        return Rounded(value, np.zeros(value.shape))


Run = Callable[[Oracle, Rounded, Weights], Rounded]


def slope(
    run: Run,
    x: np.ndarray,
    arrays: Sequence[np.ndarray],
    directions: Sequence[np.ndarray],
    cotangent: np.ndarray,
    *,
    training: bool,
) -> Rounded:
    """The derivative of sum(cotangent * run(x)) along a direction of x and of its weights, and a bound for gradients.

    Args:
        run: what an oracle does with an input and weights.
        x: the input.
        arrays: the weights in order.
        directions: of x, then of each weight; those of statistics count for nothing.
        cotangent: of run's result.
        training: whether BN is in training.
    """
    names = itertools.cycle(KINDS)
    kinds = ["kernel" if array.ndim > 1 else next(names) for array in arrays]
    to_x, *others = directions
    trained = [each * (kind not in ("mean", "variance")) for kind, each in zip(kinds, others, strict=True)]

    def moved(oracle: Oracle, values: list[np.ndarray], along: list[np.ndarray]) -> np.ndarray:
        first, *rest = (value + 1j * STEP * each for value, each in zip(values, along, strict=True))
        return run(oracle, Rounded.exact(first), Weights(rest)).value.imag / STEP

    seen: list[Normalised] = []
    truth = np.sum(
        cotangent
        * moved(Training("float64", seen=seen) if training else Oracle("float64"), [x, *arrays], [to_x, *trained])
    )
    # x - mean is at most |x| + |mean|.
    sizes = [
        np.abs(x),
        *(np.abs(each) * (-1 if kind == "mean" else 1) for kind, each in zip(kinds, arrays, strict=True)),
    ]
    along = [np.abs(each) for each in (to_x, *trained)]
    paths, with_errors = (
        float(np.sum(np.abs(cotangent) * moved(Paths("float64", seen=list(seen), off=off), sizes, along)))
        for off in (False, True)
    )
    # A gradient is a sum over paths of products; a product is off by its roundings, and by what its factors are off.
    # Twice that, since the truth is computed in float64 too.
    roundings = sum(each[..., 0].size if each.ndim > 1 else 16 for each in arrays) + x.size + cotangent.size
    return Rounded(
        np.asarray(truth), np.asarray(gamma(2 * roundings, "float64") * with_errors + 2 * (with_errors - paths))
    )
