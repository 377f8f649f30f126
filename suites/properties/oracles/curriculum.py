"""Curriculum learning by the papers' formulas: exact fractions, 40 decimal digits, and plain Python.

Pacing: Wu, Dyer and Neyshabur 2021 (arXiv:2012.03107), and for the fixed exponential Hacohen and Weinshall 2019
(arXiv:1904.03626), with five increases up to the full set. Self-paced weights: Kumar, Packer and Koller 2010.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction

DIGITS = Context(prec=40)

SLACK = Fraction(1, 2**39)
"""How far, relatively, progress and fraction may be off: a few dozen roundings in float64 (2^-47), and as much lifting
of what lies just under a whole number as the contract allows (2^-40)."""


def written(value: float) -> Fraction:
    """A float as its shortest decimal says: 0.29 is 29 / 100."""
    return Fraction(str(float(value)))


def _decimal(value: Fraction) -> Decimal:
    return DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))


def _root(p: Fraction) -> Fraction:
    return Fraction(DIGITS.sqrt(_decimal(p)))


def _exponential(p: Fraction) -> Fraction:
    return (Fraction(DIGITS.exp(_decimal(10 * p))) - 1) / (Fraction(DIGITS.exp(Decimal(10))) - 1)


def _logarithmic(p: Fraction) -> Fraction:
    return 1 + Fraction(DIGITS.ln(_decimal(p + Fraction(DIGITS.exp(Decimal(-10)))))) / 10


RELEASED: dict[str, Callable[[Fraction], Fraction]] = {
    "step": lambda p: Fraction(math.floor(p)),
    "linear": lambda p: p,
    "quadratic": lambda p: p * p,
    "root": _root,
    "exponential": _exponential,
    "logarithmic": _logarithmic,
}
"""What is visible of the examples that were not at the start, by progress."""

PACINGS = (*RELEASED, "fixed_exponential")

RISING = ("exponential", "quadratic", "linear", "root", "logarithmic")
"""From the slowest to the fastest: each is above the one before it, at any progress over 1e-8."""


def _fraction(pacing: str, p: Fraction, start: Fraction) -> Fraction:
    if pacing in RELEASED:
        return start + (1 - start) * RELEASED[pacing](p)
    exponent = 1 - Fraction(math.floor(5 * p), 5)
    if not (start and exponent):
        return start if exponent else Fraction(1)
    return Fraction(DIGITS.power(_decimal(start), _decimal(exponent)))


def visible_counts(
    pacing: str, step: int, total_steps: int, size: int, *, start: float, full: float
) -> tuple[int, int]:
    """The least and the greatest g(t) that an evaluation in float64 may give; equal where no whole number is near."""
    progress = min(Fraction(1), step / (written(full) * total_steps))
    low = _fraction(pacing, progress * (1 - SLACK), written(start)) * (1 - SLACK)
    high = _fraction(pacing, min(Fraction(1), progress * (1 + SLACK)), written(start)) * (1 + SLACK)
    return clamped(math.floor(size * low), size), clamped(math.floor(size * high), size)


def clamped(count: int, size: int) -> int:
    """A count of visible examples: at least one, at most all."""
    return min(size, max(1, count))


def first_full_step(total_steps: int, full: float) -> int:
    """The first step at which all examples are visible, ceil(a T)."""
    return math.ceil(written(full) * total_steps)


def easy_to_hard(scores: Sequence[float]) -> list[int]:
    """Indices by score, equal scores by index."""
    return sorted(range(len(scores)), key=lambda index: (scores[index], index))


def self_paced_weights(losses: Sequence[float], threshold: float) -> list[int]:
    """The weights that minimise sum v_i (loss_i - threshold) among those that keep the easiest, by trying all."""
    best = min(
        range(2 ** len(losses)),
        key=lambda chosen: (
            not all(chosen >> i & 1 for i, loss in enumerate(losses) if loss == min(losses)),
            sum(Fraction(loss) - Fraction(threshold) for i, loss in enumerate(losses) if chosen >> i & 1),
            chosen.bit_count(),  # where the loss equals the threshold, either weight is as good; the paper takes 0
        ),
    )
    return [best >> i & 1 for i in range(len(losses))]
