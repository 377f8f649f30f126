"""From intervals to plain words. Every verdict is derived from an interval; none from a point estimate.

"Equivalent" and "undecided" are answers in their own right: the first says that any difference is too small to matter,
the second that this run cannot tell. Contrasts of a claim all have to hold for the claim to hold, which needs no
correction for their number (Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24,
1982).
"""

from collections.abc import Iterable
from dataclasses import dataclass
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
