"""What is decided about a claim: which learning rate is an arm's best, how large a gain is, and whether that is known.

Pure functions of numbers. The report makes its verdicts of them, and a session asks them which trials are still wanted:
a session looks at widths of intervals alone, and never at where they lie, so that looking often finds nothing that is
not there.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from reports.statistics.intervals import Interval, t_interval

EXACT_SEEDS = 12
"""Up to so many seeds the sign-flip test tries every way to flip them; 4,096 ways."""

POWER = 0.8
"""With which a run would have seen what it calls the smallest difference that it could have seen."""


@dataclass(frozen=True)
class Choice:
    """The learning rate at which an arm is judged.

    Attributes:
        rate: the best one of those tried.
        end: ``low`` or ``high`` where it is the first or the last of them, so that a better one may lie beyond.
        tried: how many were tried.
    """

    rate: float
    end: str
    tried: int


def best(results: Mapping[float, Sequence[float]], lower_is_better: bool) -> Choice | None:
    """The rate with the best mean over the seeds that tune; of equal ones the smallest.

    Args:
        results: by rate, the metric of each seed; one that is not finite makes its rate worse than any other.
        lower_is_better: the direction of the metric.

    Returns:
        The choice. Where no rate gave finite results it is the smallest, as a smaller one still may; ``None`` where
        nothing was tried.
    """
    sign = 1.0 if lower_is_better else -1.0
    losses = {rate: sign * float(np.mean(values)) for rate, values in results.items() if len(values)}
    if not losses:
        return None
    finite = {rate: loss for rate, loss in sorted(losses.items()) if math.isfinite(loss)}
    rate = min(finite, key=lambda each: finite[each], default=min(losses))
    ends = {min(losses): "low", max(losses): "high"}
    return Choice(rate, ends.get(rate, "") if len(losses) > 1 else "", len(losses))


@dataclass(frozen=True)
class Gain:
    """By how much an arm beats its baseline, over the seeds at which both are usable.

    Attributes:
        interval: of the gain; its p-value is of "there is none".
        flips: p-value of the same by flipping signs, which trusts no distribution; 1 where there is no seed.
        detectable: the smallest gain beyond the margin that a run of this spread and so many seeds would have seen.
        arm_unusable, baseline_unusable: seeds at which the metric was not finite, or not positive on a ratio scale.
    """

    interval: Interval
    flips: float
    detectable: float
    arm_unusable: int
    baseline_unusable: int


def paired_gain(
    arm: Mapping[int, float], baseline: Mapping[int, float] | float, scale: str, lower_is_better: bool, margin: float
) -> Gain:
    """By how much an arm beats its baseline, paired by seed; more is better whichever way the metric points.

    Args:
        arm: the metric by seed.
        baseline: the same of the other arm, where seeds that only one side has are left out; or one number for all.
        scale: ``difference``, or ``ratio`` (gain 2 means twice as good; taken in logarithms, so both must be positive).
        lower_is_better: the direction of the metric.
        margin: the smallest gain that matters, in the metric's unit or, of a ratio, a factor above 1.
    """
    if not isinstance(baseline, Mapping):
        baseline = dict.fromkeys(arm, baseline)
    seeds = sorted(arm.keys() & baseline.keys())
    worse, better = (baseline, arm) if lower_is_better else (arm, baseline)
    ratio = scale == "ratio"

    def usable(value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not ratio)

    both = [seed for seed in seeds if usable(arm[seed]) and usable(baseline[seed])]
    gains = [math.log(worse[s] / better[s]) if ratio else worse[s] - better[s] for s in both]
    interval = t_interval(gains, "seeds")
    beyond = detectable(gains)
    return Gain(
        interval.exp() if ratio else interval,
        sign_flip(gains),
        margin * math.exp(beyond) if ratio else margin + beyond,
        sum(not usable(arm[seed]) for seed in seeds),
        sum(not usable(baseline[seed]) for seed in seeds),
    )


def detectable(gains: Sequence[float]) -> float:
    """The smallest mean that so many values of this spread show with a probability of `POWER`; infinite of one value.

    By the usual approximation: the sum of two quantiles of Student's t, times the standard error (Lachin, Controlled
    Clinical Trials 2, 1981, equation 2, with t in the place of the normal).
    """
    if len(gains) < 2:
        return math.inf
    quantiles = special.stdtrit(len(gains) - 1, (0.975, POWER))
    return float(quantiles.sum() * np.std(gains, ddof=1) / math.sqrt(len(gains)))


def sign_flip(gains: Sequence[float]) -> float:
    """The two-sided p-value of "the gains are symmetric about zero", by flipping their signs (Fisher 1935, section 21).

    Exact up to `EXACT_SEEDS` values; of more, by 10,000 flips from a fixed generator, with the observed one among them.
    """
    values = np.asarray(gains, np.float64)
    if not len(values):
        return 1.0
    if len(values) <= EXACT_SEEDS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))  # (2^n, n)
    else:
        drawn = np.random.default_rng(0).choice((1.0, -1.0), (10_000, len(values)))
        signs = np.vstack([np.ones(len(values)), drawn])
    sums = np.abs(signs @ values)
    return float(np.mean(sums >= sums[0] * (1 - 1e-12)))


def known_well_enough(gain: Interval, scale: str, margin: float) -> bool:
    """Whether more seeds would tell little: the interval reaches no further than half the margin to either side.

    An arm that is equal to its baseline is then within the margin, and one that is better by it is not. Where the
    interval lies is not looked at.
    """
    if not gain.known:
        return False
    if scale == "ratio":
        return math.log(gain.high / gain.low) <= math.log(margin)
    return gain.high - gain.low <= margin
