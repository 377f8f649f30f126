"""From intervals to plain words. Every verdict is derived from an interval; none from a point estimate.

"Equivalent" and "undecided" are answers in their own right: the first says that any difference is too small to matter,
the second that this run cannot tell. Contrasts of a claim all have to hold for the claim to hold, which needs no
correction for their number (Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24,
1982).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reports.statistics.decisions import Gain
from reports.statistics.intervals import Interval

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
    NO_DIFFERENCE = "no difference"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


class Memory(StrEnum):
    """What a ratio of two contenders' memory amounts to."""

    MORE = "more"
    LESS = "less"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


class Pays(StrEnum):
    """Whether a technique keeps a promise on this machine, and is worth its cost."""

    PAYS = "pays"
    IN_MEMORY = "pays in memory, costs time"
    NOT = "does not pay here"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Contrast:
    """What is expected of a gain, see `of_contrast`.

    Attributes:
        scale: ``difference`` or ``ratio``.
        margin: the smallest difference that matters; of a ratio, a factor above 1.
        expects: ``better`` or ``equal``.
        least_seeds: of fewer, nothing is said.
    """

    scale: str
    margin: float
    expects: str = "better"
    least_seeds: int = 2


TOO_DEAR = 3.0
"""No saving of memory pays for a step that takes more than so many times as long.

Taking the batch in parts saves memory, too, and takes hardly longer.
"""


@dataclass(frozen=True)
class Effect:
    """What a technique does to one workload: to its time and memory, and whether it takes `TOO_DEAR` times as long.

    Attributes:
        time, memory: what the ratios amount to.
        dear: whether it takes `TOO_DEAR` times as long; ``None`` where the interval does not tell.
        no_saving: whether the interval leaves out that it saves any time, even where it cannot tell more.
    """

    time: Speed
    memory: Memory
    dear: bool | None = False
    no_saving: bool = False


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


def of_contrast(gain: Gain, contrast: Contrast) -> Verdict:
    """What an arm's gain over its baseline says of a contrast.

    Better by more than the margin, or equal within it, is what a contrast expects. Of the former, an interval wholly
    beyond the margin reproduces it; one wholly below zero contradicts it, if the loss it tells of is one that matters,
    more than the margin; and one wholly within the margin is no difference. Of the latter, one within reproduces it,
    and one wholly beyond, on whichever side, contradicts it.

    A seed at which a metric was not finite has no size but a direction: with one of the arm's a contrast cannot be
    reproduced, and with one of the baseline's it cannot be contradicted. Who is lost at every seed, where the other one
    never is, is beaten at every seed.
    """
    ratio, margin = contrast.scale == "ratio", contrast.margin
    none, worse = (1.0, 1 / margin) if ratio else (0.0, -margin)
    interval, least = gain.interval, contrast.least_seeds
    if contrast.expects == "equal":
        if interval.units >= least and interval.low > worse and interval.high < margin:
            return Verdict.UNDECIDED if gain.arm_unusable or gain.baseline_unusable else Verdict.REPRODUCED
        beyond = interval.low > margin or interval.high < worse
        return Verdict.CONTRADICTED if interval.units >= least and beyond else Verdict.UNDECIDED
    if not interval.units and max(gain.arm_unusable, gain.baseline_unusable) >= least:
        lost = Verdict.REPRODUCED if not gain.arm_unusable else Verdict.CONTRADICTED
        return lost if not (gain.arm_unusable and gain.baseline_unusable) else Verdict.UNDECIDED
    if interval.units < least:
        return Verdict.UNDECIDED
    if interval.low > margin and not gain.arm_unusable:
        return Verdict.REPRODUCED
    if interval.low > worse and interval.high < margin and not gain.arm_unusable and not gain.baseline_unusable:
        return Verdict.NO_DIFFERENCE
    if interval.high < none and interval.estimate < worse and not gain.baseline_unusable:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED


def of_claim(contrasts: Iterable[Verdict]) -> Verdict:
    """A claim is reproduced when all its contrasts are, and contradicted when one of them is.

    Without the latter, one contrast without a difference leaves the claim without one, if none is undecided.
    """
    verdicts = set(contrasts)
    for verdict in (Verdict.CONTRADICTED, Verdict.NOT_RUN, Verdict.UNDECIDED, Verdict.NO_DIFFERENCE):
        if verdict in verdicts:
            return verdict
    return Verdict.REPRODUCED if verdicts else Verdict.UNDECIDED


def of_speed(effects: Iterable[Effect]) -> Pays:
    """Whether a promise of less time is kept, given what the technique does to each workload.

    It has to be seen on one workload at least, and its contrary on none: where some get faster and others slower, it
    depends on the workload, which this run cannot decide for a reader's own. Less memory on every one will do, too.
    """
    effects = list(effects)
    times = {effect.time for effect in effects}
    if Speed.FASTER in times:
        return Pays.UNDECIDED if Speed.SLOWER in times else Pays.PAYS
    if not times or any(effect.time is Speed.UNDECIDED and not effect.no_saving for effect in effects):
        return Pays.UNDECIDED
    kept = {of_memory(effect) for effect in effects}
    if kept <= {Pays.PAYS, Pays.IN_MEMORY}:
        return Pays.IN_MEMORY if Pays.IN_MEMORY in kept else Pays.PAYS
    return Pays.NOT


def of_memory(effect: Effect) -> Pays:
    """Whether a promise of less memory is kept, given what becomes of the workload where most is at stake."""
    if effect.dear:
        return Pays.NOT
    if effect.memory is not Memory.LESS:
        return Pays.UNDECIDED if effect.memory is Memory.UNDECIDED else Pays.NOT
    if effect.time is Speed.UNDECIDED:  # it may cost time, but how much at most is known
        return Pays.UNDECIDED if effect.dear is None else Pays.IN_MEMORY
    return Pays.IN_MEMORY if effect.time is Speed.SLOWER else Pays.PAYS


def of_benefit(shown: bool | None, cost_known: bool) -> Pays:
    """Whether a promise of quality or safety is kept: by what a claim or properties say, once the cost is known, too.

    Args:
        shown: whether the benefit was shown, or its contrary; ``None`` where this run cannot tell.
        cost_known: whether it is known what it costs, however much that is.
    """
    if shown is False:
        return Pays.NOT
    return Pays.PAYS if shown and cost_known else Pays.UNDECIDED
