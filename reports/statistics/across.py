"""Ratios of what was measured on two machines, or at two times: no turns were taken, so less is known than in a race.

What changed from the one measurement to the other is in such a ratio, and is not in how the heats of either vary. Its
interval therefore reaches further than the two of which it is made, by the noise floors of both sides; and what it is
called are other words than those of a race.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

from reports.statistics.intervals import (
    LEAST_TO_MODERATE,
    Interval,
    false_discovery,
    t_quantile,
    variance_prior,
)
from reports.statistics.verdicts import DISCOVERY_RATE, MARGIN

ABOUT = 1.10
"""Ratios within [1/ABOUT, ABOUT] are about the same: a difference for which nobody chooses another machine.

It is wider than the margin of a race, since two noise floors alone may take up as much as that.
"""

FLOOR_UNKNOWN = MARGIN
"""What counts as the noise floor of a side that held no A/A race."""


class There(StrEnum):
    """What the ratio of one side's time to the baseline's amounts to."""

    FASTER = "faster there"
    SLOWER = "slower there"
    ALIKE = "about the same"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Estimate:
    """The logarithm of what was measured on one side, its standard error, and the degrees of freedom of that."""

    log: float
    error: float
    degrees: float


def estimates(measured: Sequence[Interval]) -> list[Estimate | None]:
    """What one side measured, such as its step times; ``None`` for what is not a number.

    All of a side learn from each other how much heats differ, as ratios do in `reports.statistics.intervals.moderate`.
    Of a single heat nothing is known but that: it deviates as any heat of the side does. Where the side has too few of
    several heats, its error is infinite.

    Args:
        measured: intervals of positive numbers; those with the basis ``heats`` are t intervals of logarithms.
    """
    several = [i for i, each in enumerate(measured) if each.basis == "heats" and each.known and each.low < each.high]
    degrees = np.array([measured[i].units - 1.0 for i in several])
    reach = np.array([math.log(measured[i].high / measured[i].low) / 2 for i in several])
    variances = (degrees + 1) * (reach / [t_quantile(d) for d in degrees]) ** 2  # of one heat's logarithm
    prior_degrees, prior = 0.0, math.inf
    if len(several) >= LEAST_TO_MODERATE:
        prior_degrees, prior = variance_prior(variances, degrees)
    own = dict(zip(several, zip(variances.tolist(), degrees.tolist(), strict=True), strict=True))
    found: list[Estimate | None] = []
    for i, each in enumerate(measured):
        if not (math.isfinite(each.estimate) and each.estimate > 0):
            found.append(None)
            continue
        error, total = math.sqrt(prior), max(prior_degrees, 1.0)
        if i in own:
            variance, of_its_own = own[i]
            total = prior_degrees + of_its_own
            shared = prior_degrees * prior if prior_degrees else 0.0
            error = math.sqrt((shared + of_its_own * variance) / total / each.units)
        elif each.known and each.basis == "heats":  # the same in every heat
            error = 0.0
        found.append(Estimate(math.log(each.estimate), error, total))
    return found


def ratio(side: Estimate, baseline: Estimate, floors: tuple[float, float]) -> Interval:
    """How many times as much as the baseline's a side's is, and how well that is known.

    The errors of both are independent (Welch, Biometrika 34, 1947). Beyond what they allow, each side may be off by its
    noise floor, the two of them in opposite directions; the p-value is of "the ratio is no further from 1 than that".

    Args:
        side: what one measured.
        baseline: what the other did.
        floors: of both sides, each at least 1.
    """
    difference, floor = side.log - baseline.log, math.log(floors[0]) + math.log(floors[1])
    own, others = side.error**2, baseline.error**2
    error = math.sqrt(own + others)
    if not math.isfinite(error):
        return Interval(difference, -math.inf, math.inf, 1.0, 1, "sides").exp()
    beyond = max(0.0, abs(difference) - floor)
    if error == 0:
        reach, p = floor, float(beyond == 0)
    else:
        degrees = (own + others) ** 2 / (own**2 / side.degrees + others**2 / baseline.degrees)
        reach = t_quantile(degrees) * error + floor
        p = min(1.0, 2 * float(special.stdtr(degrees, -beyond / error)))
    return Interval(difference, difference - reach, difference + reach, p, 2, "sides").exp()


def verdicts(ratios: Sequence[Interval]) -> list[tuple[There, float]]:
    """What ratios amount to, each with its p-value after false-discovery control over all of them.

    Different means that the interval, floors and all, leaves out 1, and that the finding survives the control. About
    the same means that the whole interval lies within `ABOUT`.
    """
    q_values = false_discovery([each.p for each in ratios]).tolist() if ratios else []
    return [(_verdict(each, q), q) for each, q in zip(ratios, q_values, strict=True)]


def _verdict(ratio: Interval, q: float) -> There:
    if q <= DISCOVERY_RATE and ratio.high < 1:
        return There.FASTER
    if q <= DISCOVERY_RATE and ratio.low > 1:
        return There.SLOWER
    if ratio.low >= 1 / ABOUT and ratio.high <= ABOUT:
        return There.ALIKE
    return There.UNKNOWN


def within(ratios: Sequence[Interval | None], levels: Sequence[float]) -> tuple[list[float], list[tuple[float, float]]]:
    """A performance profile: the share of rows whose ratio to the fixed baseline is at most each level.

    It reads as that of Dolan and Moré (Mathematical Programming 91, 2002), but for the baseline, which is one side and
    not the best of those shown: no curve moves when another one comes or goes.

    Args:
        ratios: of one side; ``None`` for a row that the side failed, which stays beyond every level.
        levels: of the ratio.

    Returns:
        The shares, and for each the shares if all ratios were at the upper, or at the lower ends of their intervals.
    """
    found = np.array([[math.inf] * 3 if each is None else [each.estimate, each.high, each.low] for each in ratios])
    shares = np.mean(found[:, :, None] <= np.asarray(levels), axis=0)  # (3, levels)
    estimate, low, high = shares.tolist()
    return estimate, list(zip(low, high, strict=True))
