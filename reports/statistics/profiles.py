"""Two arms over several conditions: how often one is better, and what share of runs reaches how much.

Means over conditions would let one condition, whose numbers are large, speak for all. Instead the probability of
improvement, and performance profiles, each condition with the same weight and with bands from a bootstrap within
conditions (Agarwal et al. 2021, arXiv:2108.13264, sections 4.2 and 4.3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
CONDITIONS = 2
"""Of fewer there is nothing to sum up."""

Runs = Mapping[str, Sequence[float]]
"""A metric of each run, by condition; one that is not finite is worse than any."""


@dataclass(frozen=True)
class Improvement:
    """The probability that a run of one arm is better than one of the other, with its interval.

    Attributes:
        share: the mean over conditions; a tie counts half.
        low, high: of 95% of the resamples.
        conditions: how many.
    """

    share: float
    low: float
    high: float
    conditions: int


def improvement(arm: Runs, baseline: Runs, lower_is_better: bool) -> Improvement | None:
    """How often a run of an arm is better than one of its baseline; ``None`` where too few conditions have both."""
    both = [name for name in arm if len(arm[name]) and len(baseline.get(name, ()))]
    if len(both) < CONDITIONS:
        return None
    generator = np.random.default_rng(0)
    shares, drawn = [], []
    for name in both:
        a, b = (_losses(runs[name], lower_is_better) for runs in (arm, baseline))
        wins = (a[:, None] < b) + 0.5 * (a[:, None] == b)  # (runs of the arm, of the baseline)
        weights = _weights(len(a), generator), _weights(len(b), generator)
        shares.append(float(wins.mean()))
        drawn.append(np.sum((weights[0] @ wins) * weights[1], axis=1))
    low, high = np.quantile(np.mean(drawn, axis=0), (0.025, 0.975))
    return Improvement(float(np.mean(shares)), float(low), float(high), len(both))


def profile(
    runs: Runs, levels: Sequence[float], lower_is_better: bool
) -> tuple[list[float], list[tuple[float, float]]]:
    """The share of runs that are at least as good as each level, the mean over conditions, and its bands."""
    losses = [_losses(values, lower_is_better) for values in runs.values() if len(values)]
    at = np.asarray(levels, np.float64) * (1.0 if lower_is_better else -1.0)
    generator = np.random.default_rng(0)

    reached = [np.asarray(each[:, None] <= at, np.float64) for each in losses]  # (runs, levels) of each condition
    shares = np.mean([each.mean(axis=0) for each in reached], axis=0)
    drawn = np.mean([_weights(len(each), generator) @ each for each in reached], axis=0)  # (RESAMPLES, levels)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [float(y) for y in shares], [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _losses(values: Sequence[float], lower_is_better: bool) -> NDArray[np.float64]:
    """Numbers of which smaller is better; what is not finite is larger than any."""
    found = np.asarray(values, np.float64) * (1.0 if lower_is_better else -1.0)
    return np.where(np.isfinite(found), found, math.inf)


def _weights(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """How often each of so many runs is drawn in each resample, as a share of it, (RESAMPLES, count)."""
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
