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
    pairs = [(_losses(arm[name], lower_is_better), _losses(baseline[name], lower_is_better)) for name in both]
    generator = np.random.default_rng(0)
    drawn = [_mean([(_redrawn(a, generator), _redrawn(b, generator)) for a, b in pairs]) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Improvement(_mean(pairs), float(low), float(high), len(both))


def _mean(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float:
    shares = [np.mean((a[:, None] < b) + 0.5 * (a[:, None] == b)) for a, b in pairs]
    return float(np.mean(shares))


def profile(
    runs: Runs, levels: Sequence[float], lower_is_better: bool
) -> tuple[list[float], list[tuple[float, float]]]:
    """The share of runs that are at least as good as each level, the mean over conditions, and its bands."""
    losses = [_losses(values, lower_is_better) for values in runs.values() if len(values)]
    at = np.asarray(levels, np.float64) * (1.0 if lower_is_better else -1.0)
    generator = np.random.default_rng(0)

    def shares(found: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.mean([np.mean(each[:, None] <= at, axis=0) for each in found], axis=0)  # (levels,)

    drawn = np.array([shares([_redrawn(each, generator) for each in losses]) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [float(y) for y in shares(losses)], [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _losses(values: Sequence[float], lower_is_better: bool) -> NDArray[np.float64]:
    """Numbers of which smaller is better; what is not finite is larger than any."""
    found = np.asarray(values, np.float64) * (1.0 if lower_is_better else -1.0)
    return np.where(np.isfinite(found), found, math.inf)


def _redrawn(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    return values[generator.integers(0, len(values), len(values))]
