"""From intervals to plain words. Every verdict is derived from an interval; none from a point estimate.

"Equivalent" and "undecided" are answers in their own right: the first says that any difference is too small to matter,
the second that this run cannot tell. Contrasts of a claim all have to hold for the claim to hold, which needs no
correction for their number (Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24,
1982).
"""

from collections.abc import Iterable
from enum import StrEnum

from reports.statistics import Interval

DISCOVERY_RATE = 0.03
"""The share of false discoveries that is accepted among all ratios that a report calls a cost or a saving.

Control lets more pass the more there is to find: of what is equal, the rate times the share of the table that differs
is called different. That is at most 1% as long as no more than a third of the table differs.
"""

MARGIN = 1.05
"""Ratios within [1/MARGIN, MARGIN] count as equivalent: a difference that nobody changes an implementation for."""


class Speed(StrEnum):
    """What a ratio of two contenders' times amounts to."""

    SLOWER = "slower"
    FASTER = "faster"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


class Verdict(StrEnum):
    """What the trials say about a claim."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


class Worth(StrEnum):
    """Whether a technique pays on this machine."""

    WORTH_IT = "worth it"
    AT_A_COST = "worth it, at a cost"
    COST_OPEN = "worth it, cost undecided"
    COST_UNTESTED = "benefit shown, cost not timed"
    NOT_WORTH_IT = "not worth it"
    UNDECIDED = "undecided"
    FASTER = "faster with it"
    UNTESTED = "benefit not tested"


def of_ratio(ratio: Interval, q: float, floor: float = 1.0) -> Speed:
    """What a ratio amounts to.

    Different means that the interval leaves out 1, that the finding survives false-discovery control, and that the
    estimate is beyond what identical contenders showed. Equivalent means that the whole interval lies within `MARGIN`:
    two one-sided tests, each at half of what the interval leaves out (Schuirmann, Journal of Pharmacokinetics and
    Biopharmaceutics 15, 1987), and that this run could have seen a difference of that size.

    Args:
        ratio: of the contender's time to the baseline's.
        q: the false-discovery adjusted p-value of "the ratio is 1".
        floor: the smallest ratio that the run could tell from noise; 1 where it held no A/A race.
    """
    if q <= DISCOVERY_RATE and ratio.low > 1 and ratio.estimate > floor:
        return Speed.SLOWER
    if q <= DISCOVERY_RATE and ratio.high < 1 and ratio.estimate < 1 / floor:
        return Speed.FASTER
    if ratio.low >= 1 / MARGIN and ratio.high <= MARGIN and floor <= MARGIN:
        return Speed.EQUIVALENT
    return Speed.UNDECIDED


def of_contrast(gain: Interval, margin: float, arm_unusable: int, baseline_unusable: int) -> Verdict:
    """Whether an arm beats its baseline by more than the margin.

    Args:
        gain: the arm's gain over the baseline, on the scale of the margin, over seeds where both stayed finite.
        margin: the gain that the claim promises to exceed.
        arm_unusable: seeds left out of `gain` as the arm's metric was not finite, or not positive on a ratio scale.
            They have no size but a direction: with one of them, a claim cannot be called reproduced.
        baseline_unusable: the same of the baseline: with one of them, a claim cannot be called contradicted.
    """
    if gain.low > margin and not arm_unusable:
        return Verdict.REPRODUCED
    if gain.high < margin and not baseline_unusable:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED


def of_claim(contrasts: Iterable[Verdict]) -> Verdict:
    """A claim is reproduced when all its contrasts are, contradicted when one of them is."""
    verdicts = set(contrasts)
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED
    return Verdict.REPRODUCED if verdicts == {Verdict.REPRODUCED} else Verdict.UNDECIDED


def of_technique(claims: Iterable[Verdict], costs: Iterable[Speed]) -> Worth:
    """Whether a technique pays: its claims say what it brings, its costs against "without" what it takes."""
    claims, costs = list(claims), set(costs)
    if not claims:  # less time is a benefit in itself, where nothing else was promised
        return Worth.FASTER if costs == {Speed.FASTER} else Worth.UNTESTED
    match of_claim(claims):
        case Verdict.CONTRADICTED:
            return Worth.NOT_WORTH_IT
        case Verdict.UNDECIDED:
            return Worth.UNDECIDED
    if not costs:
        return Worth.COST_UNTESTED
    if Speed.SLOWER in costs:
        return Worth.AT_A_COST
    return Worth.COST_OPEN if Speed.UNDECIDED in costs else Worth.WORTH_IT
