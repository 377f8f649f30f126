"""How much memory a contender takes beside its baseline: an interval over heats, and what it amounts to.

A heat's peak above the baseline is one number of one process, so that heats are the units, as they are for time.
Memory differs from time in two points. It may be the same to the byte in every heat: a reading is a whole number of
pages, and an interval is never narrower than that. And it varies by so many bytes, however large a step is: races
share no noise floor, and each is held to what its own A/A pair showed. Being so exact, it would call one part in a
thousand a saving: less than `MARGIN` is none.

Of one or two heats, as of a contender that got no more, the A/A pairs of all races say by how many bytes two processes
that do the same differ: two numbers alone say next to nothing of how a third one would be.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from reports.statistics import verdicts
from reports.statistics.intervals import LEAST_HEATS, Interval, false_discovery, from_error, t_interval
from reports.statistics.verdicts import MARGIN, Memory, Speed
from reports.store.run_folder import Row

PAGE = 4096
"""Bytes by which a reading may be off."""


def memory_ratio(row: Row, baseline: Row) -> Interval:
    """How many times as much memory as its baseline a contender takes.

    Args:
        row: a timing, with the memory of each heat or ``None`` in ``memory_by_heat``, in the order of heats.
        baseline: the same of what it is compared with.
    """
    pairs = list(zip(_by_heat(row), _by_heat(baseline), strict=False))
    usable = [(own, other) for own, other in pairs if own and other]
    ratio = t_interval([math.log(own / other) for own, other in usable], "heats")
    if not ratio.known:
        return ratio.exp()
    reach = max(PAGE / own + PAGE / other for own, other in usable)
    low, high = ratio.low - reach, ratio.high + reach
    p = 1.0 if low <= 0 <= high and ratio.low == ratio.high else ratio.p
    return Interval(ratio.estimate, low, high, p, ratio.units, ratio.basis).exp()


def memory_interval(by_heat: Sequence[float | None]) -> Interval:
    """The memory of a contender, given that of each of its heats, in bytes; no narrower than a page to either side."""
    usable = [each for each in by_heat if each]
    found = t_interval([math.log(each) for each in usable], "heats")
    if not found.known:
        return found.exp()
    reach = math.log1p(PAGE / min(usable))
    return Interval(found.estimate, found.low - reach, found.high + reach, found.p, found.units, found.basis).exp()


def pair(row: Row, baseline: Row) -> tuple[float, float] | None:
    """The memory of a contender and of its baseline, in bytes, where both are known."""
    own, other = memory_of(row), memory_of(baseline)
    return (own, other) if own and other else None


def of_few_heats(ratio: Interval, pair: tuple[float, float], again: Sequence[tuple[float, float]]) -> Interval:
    """The interval of a ratio by how many bytes A/A pairs differ (root mean square; their mean is known: 0).

    Args:
        ratio: of one or two heats.
        pair: memory of the contender and of its baseline.
        again: the same of the reference beside itself, of all races of the machine.
    """
    if len(again) < LEAST_PAIRS:
        return ratio
    spread = max(PAGE, math.sqrt(sum((own - other) ** 2 for own, other in again) / len(again)))
    error = spread / math.sqrt(2 * max(1, ratio.units)) * math.hypot(1 / pair[0], 1 / pair[1])
    return from_error(math.log(ratio.estimate), error, len(again), "A/A pairs")


LEAST_PAIRS = 5
"""Fewer A/A pairs than this say too little about how processes differ."""


def memory_of(row: Row) -> float | None:
    """The memory that a timing took, in bytes: on a device with memory of its own, that memory and not the host's."""
    return row["memory_bytes"] if row["device"] == "cpu" else row["device_memory_bytes"]


def _by_heat(row: Row) -> Sequence[float | None]:
    """The memory of each heat; where heats were not kept apart, as on a device, that of all, which has no interval."""
    heats = row.get("memory_by_heat") if row["device"] == "cpu" else None
    return heats or [memory_of(row)]


def judge(rows: Sequence[Row], again: Sequence[Row], race: Callable[[Row], Any]) -> None:
    """Take the intervals out of rows of ratios, and put in what they say, with false discoveries controlled over all.

    Args:
        rows: of different contenders, with their intervals in ``memory``.
        again: the same of the reference beside itself.
        race: tells a row's race.
    """
    ratios = [row.pop("memory") for row in [*rows, *again]]
    pairs = [row.pop("memory_pair") for row in [*rows, *again]]
    for i, row in enumerate(rows):
        if pairs[i] and ratios[i].units < LEAST_HEATS:
            twins = [
                each for each, other in zip(pairs[len(rows) :], again, strict=True) if other["place"] == row["place"]
            ]
            ratios[i] = of_few_heats(ratios[i], pairs[i], [each for each in twins if each])
    own = {
        race(row): max(ratio.estimate, 1 / ratio.estimate)
        for row, ratio in zip(again, ratios[len(rows) :], strict=True)
        if math.isfinite(ratio.estimate)
    }
    known = [i for i, ratio in enumerate(ratios[: len(rows)]) if ratio.known]
    q_values = dict(zip(known, false_discovery([ratios[i].p for i in known]).tolist(), strict=True))
    for i, (row, ratio) in enumerate(zip([*rows, *again], ratios, strict=True)):
        floor = max(own.get(race(row), 1.0), MARGIN)
        found = verdicts.of_ratio(ratio, q_values.get(i, 1.0), floor)
        measured = math.isfinite(ratio.estimate)
        row |= {"memory_ratio": ratio.estimate if measured else None, "memory_low": ratio.low}
        row |= {"memory_high": ratio.high, "memory_verdict": CALLED[found].value}


CALLED = {
    Speed.SLOWER: Memory.MORE,
    Speed.FASTER: Memory.LESS,
    Speed.EQUIVALENT: Memory.EQUIVALENT,
    Speed.UNDECIDED: Memory.UNDECIDED,
}
"""What a verdict about time is called of memory."""
