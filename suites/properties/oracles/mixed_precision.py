"""Mixed precision in exact arithmetic: the scale as a whole exponent, rounding to 16 bits, and a network to train.

The scale is counted otherwise than in an implementation: a streak of finite steps is never reset by growth, and the
scale grows whenever the streak's length is a multiple of the interval.
"""

import math
from collections.abc import Iterable

import numpy as np

from suites.properties.numerics import LIBM_ULPS, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma

FORMATS = {"float16": (11, -14, 15), "bfloat16": (8, -126, 127)}
"""Significant bits, least and greatest exponent of a normal number (IEEE 754-2019, table 3.5; bfloat16 likewise)."""


def states(
    finites: Iterable[bool],
    *,
    initial: float,
    growth_interval: int,
    factor: float = 2.0,
    floor: float = 0.0,
    cap: float = math.inf,
) -> list[tuple[float, int]]:
    """Scale, and finite steps since it last moved, after each step; all but the interval are powers of two."""
    exponent, change = _exponent(initial), _exponent(factor)
    least, greatest = _exponent(floor), _exponent(cap)
    streak, found = 0, []
    for finite in finites:
        streak = streak + 1 if finite else 0
        if not finite:
            exponent = max(exponent - change, least)
        elif streak % growth_interval == 0:
            exponent = min(exponent + change, greatest)
        found.append((2.0**exponent, streak % growth_interval))
    return found


def _exponent(power_of_two: float) -> float:
    return math.log2(power_of_two) if power_of_two > 0 else -math.inf


def rounded(number: float, dtype: str) -> float:
    """The nearest number of a 16-bit format, of two as near the even one; infinity beyond the greatest."""
    if number == 0 or not math.isfinite(number):
        return number
    bits, least, greatest = FORMATS[dtype]
    exponent = max(math.frexp(number)[1] - 1, least)
    spacing = 2.0 ** (exponent - bits + 1)  # subnormal numbers keep the spacing of the least normal ones
    nearest = round(number / spacing) * spacing  # Python rounds a half to the even integer
    return nearest if abs(nearest) < 2.0 ** (greatest + 1) else math.copysign(math.inf, number)


def underflow_fraction(gradient: np.ndarray, scale: float, dtype: str) -> float:
    """The fraction of nonzero entries that are zero once they are scaled and rounded."""
    nonzero = [float(entry) for entry in gradient.flat if entry != 0]
    lost = [entry for entry in nonzero if rounded(entry * scale, dtype) == 0]
    return len(lost) / max(len(nonzero), 1)


def trained(kernel: np.ndarray, x: np.ndarray, y: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """The kernel `(D, U)` after steps of gradient descent on the mean over the batch of `sum(y * (x @ kernel))`.

    The loss is linear in the kernel: its gradient is `x^T y / B` at every step, with x `(B, D)` and y `(B, U)`.
    """
    return kernel - steps * rate * (x.T @ y) / len(x)


def product_bound(x: np.ndarray, kernel: np.ndarray, dtype: str) -> np.ndarray:
    """How far `x @ kernel` may be off when it is accumulated and returned in `dtype`; both fit in that dtype."""
    return gamma(len(kernel) + 1, dtype) * (np.abs(x) @ np.abs(kernel)) + len(kernel) * SMALLEST_SUBNORMAL[dtype]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def softmax_bound(logits: np.ndarray, dtype: str) -> np.ndarray:
    """How far a softmax may be off whose every step is taken in `dtype`, of logits that are exact there.

    Subtracting the greatest logit moves an exponent by half a unit in the last place of the difference; exp, the sum
    of U powers and the quotient round, and the sum is off by as much as its worst term.
    """
    spread = logits.max(-1, keepdims=True) - logits
    shift = 2 * UNIT_ROUNDOFF[dtype] * spread.max(-1, keepdims=True)
    size = logits.shape[-1]
    factor = np.exp(shift) * (1 + gamma(4 * LIBM_ULPS + size + 2, dtype))
    return softmax(logits) * (factor - 1) + size * SMALLEST_SUBNORMAL[dtype]
