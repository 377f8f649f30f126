"""Whether a contender ever settled: a verdict for each contender of a race, and the course of the machine under them.

Many programs never reach the steady state that a warm-up is meant to bring, and where they do, change points say so
better than a fixed number of iterations (Barrett et al., "Virtual machine warmup blows hot and cold", OOPSLA 2017).
Touchstone differs from their method in three points, since its contenders take turns on a shared machine:

- *The machine's course is taken out first*: what the others of the race did in the same block. A contender is blamed
  only for what its own times show too, in the same direction and at least half as large; else the others moved.
- *A course has to repeat.* What every heat shows, in fresh processes, is the contender's; what one heat shows is an
  event, and is named with its heat.
- *A verdict is a finding.* All but "steady" have to be significant, with at most one in a hundred steady contenders
  called anything else (`ERROR_RATE` for each of four tests), and have to matter (`MATTERS`).

"Steady" therefore says that nothing was found, by a race of that length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reports.statistics import change_points
from reports.statistics.change_points import ERROR_RATE, OWN_SHARE, Kind, Noise, Shape
from reports.statistics.courses import LEAST_BLOCKS, Race, line_up, without_outliers
from reports.statistics.intervals import Floats, Rounds
from reports.statistics.modality import critical_dip, dip
from reports.tables.machine_course import MachineCourse, MachineVerdict, of_machine
from reports.words import factor, plural

MATTERS = 1.02
"""Levels closer than this ratio count as one: less than half of what a race of usual length can tell of a ratio."""

_TAIL = 0.15  # on each side of the bulk of rounds; a level with fewer is a tail


class Verdict(StrEnum):
    """How a contender's times ran."""

    STEADY = "steady"
    WARMING_UP = "still warming up"
    DRIFTING = "drifting"
    STEPPED = "stepped"
    BIMODAL = "bimodal"
    NEVER_STEADY = "never steady"
    TOO_FEW = "too few rounds"


@dataclass(frozen=True)
class Steadiness:
    """Whether a contender settled.

    Attributes:
        verdict: in one or a few plain words.
        heat: the heat in which it happened, as in `Rounds`; None for all heats, and for nothing.
        block: the block from which the last level holds or a drift runs; None where there is no such place.
        ratio: last level over first; the longer over the shorter time of a bimodal or never steady contender; 1 for
            steady; NaN for too few rounds.
        sentence: the same for the report; heats and blocks count from 1 there.
        settled_after: how many warm-up calls came before the calls' last level; None where there were no call times.
    """

    verdict: Verdict
    heat: int | None
    block: int | None
    ratio: float
    sentence: str
    settled_after: int | None = None


def of_race(
    contenders: Sequence[Rounds], warm_up: Sequence[Sequence[float]] = ()
) -> tuple[list[Steadiness], MachineCourse]:
    """Judge all contenders of one race, control kernels among them: the more, the better the machine is known.

    Args:
        contenders: their rounds, in order of execution within a heat.
        warm_up: seconds of each call of each contender's warm-up in its first heat, in order; empty where unknown.

    Returns:
        A verdict per contender, in their order, and the machine's course.
    """
    verdicts = [_too_few(rounds) for rounds in contenders]
    machine = MachineCourse(MachineVerdict.UNKNOWN, math.nan, (), "Too few rounds to tell the machine's course.")
    race = line_up(contenders)
    if race is not None:
        noise = change_points.noise_of(race.relative)
        for k, verdict in zip(race.judged, _verdicts(race, noise, contenders), strict=True):
            verdicts[k] = verdict
        machine = of_machine(race, noise)
    settled = [_settled_after(calls) for calls in warm_up] or [None] * len(verdicts)
    return [replace(v, settled_after=calls) for v, calls in zip(verdicts, settled, strict=True)], machine


def _too_few(rounds: Rounds) -> Steadiness:
    counted = f"{plural(len(rounds.seconds), 'round')} in {plural(len(np.unique(rounds.heat)), 'heat')}"
    sentence = f"Too few rounds beside the others' to tell: {counted}, where a heat needs {2 * LEAST_BLOCKS}."
    return Steadiness(Verdict.TOO_FEW, None, None, math.nan, sentence)


def _verdicts(race: Race, noise: Noise, contenders: Sequence[Rounds]) -> list[Steadiness]:
    """The verdicts of a race's contenders, each from its mean course over heats and its heats' own courses."""
    count, heats, blocks = race.own.shape
    repeated: list[Shape | None] = [None] * count
    if heats > 1:
        limits = change_points.penalty(blocks, noise.degrees_between, ERROR_RATE)
        repeated = change_points.shapes_of(race.relative.mean(axis=1), noise.between / heats, limits)
    limits = change_points.penalty(blocks, noise.degrees_within, ERROR_RATE / heats, shortest=2)
    courses, variances = race.relative.reshape(-1, blocks), np.repeat(noise.within, heats)
    single = change_points.shapes_of(courses, variances, np.repeat(limits, heats), shortest=2)
    own = without_outliers(race.own, witnesses=1)
    verdicts = []
    for k in range(count):
        shape, events = _blamed(repeated[k], own[k].mean(axis=0)), {}
        if shape is None or _in_one_heat(race.relative[k], shape):
            found = {h: _blamed(single[k * heats + h], own[k, h]) for h in range(heats)}
            shape, events = None, {h: event for h, event in found.items() if event is not None}
        wander = change_points.wander_of(
            race.relative[k], float(noise.within[k]), float(noise.degrees_within[k]), ERROR_RATE
        )
        wanders = wander is not None and float(np.ptp(wander)) >= math.log(MATTERS)
        wanders = wanders and wander is not None and change_points.shown(wander, own[k])
        verdict = _verdict(race, k, contenders[race.judged[k]], shape, events, wanders)
        if count == 1 and verdict.verdict is not Verdict.STEADY:
            verdict = replace(verdict, sentence=f"{verdict.sentence} It ran alone: this may be the machine's course.")
        verdicts.append(verdict)
    return verdicts


def _blamed(shape: Shape | None, own: Floats) -> Shape | None:
    """A shape of the relative course that matters, and that the contender's own course, (B,), shows too."""
    matters = shape is not None and shape.size >= math.log(MATTERS)
    return shape if shape is not None and matters and change_points.shown(shape.fit, own) else None


def _in_one_heat(courses: Floats, shape: Shape) -> bool:
    """Whether the mean course, over the heats of (H, B), is that of one heat: the others' mean shows less than half."""
    strength = _strength(courses, shape)
    others = (strength.sum() - strength.max()) / (len(strength) - 1)
    return bool(others < 0.5)


def _strength(courses: Floats, shape: Shape) -> Floats:
    """(H,) how much of a shape each of the courses, (H, B), shows; 1 in the mean where it was fitted to theirs."""
    return np.asarray(courses @ shape.fit / float(shape.fit @ shape.fit))


def _verdict(
    race: Race, k: int, rounds: Rounds, shape: Shape | None, events: dict[int, Shape], wanders: bool
) -> Steadiness:
    """The verdict of contender k, given the shape that its heats share, or those of single heats."""
    if shape is not None and shape.kind is not Kind.LEVELS:
        usual = float(np.median(_strength(race.relative[k], shape)))  # of the heats, of which one may be disturbed
        return _shaped(replace(shape, fit=usual * shape.fit), None, rounds)
    (h, event) = max(events.items(), key=lambda item: item[1].size, default=(0, None))
    if event is not None and event.kind is not Kind.LEVELS and len(events) == 1 and not wanders:
        return _shaped(event, race.heats[h], rounds)
    if two := _two_levels(race, k, rounds):
        return two
    if shape is not None or wanders or 2 * len(events) > len(race.heats):
        course = race.relative[k] - race.relative[k].mean(axis=-1, keepdims=True)
        ratio = math.exp(shape.size if shape is not None else float(np.ptp(np.quantile(course, [0.05, 0.95]))))
        where = "the same in every heat" if shape is not None else "in each heat another way"
        sentence = f"Never steady: the time moves within a factor of {factor(ratio)}, {where}."
        return Steadiness(Verdict.NEVER_STEADY, None, None, ratio, sentence)
    if event is None:
        return Steadiness(Verdict.STEADY, None, None, 1.0, "Steady: no drift, step or second level was found.")
    if event.kind is not Kind.LEVELS:
        return _shaped(event, race.heats[h], rounds)
    sentence = f"Steady, but disturbed in heat {race.heats[h] + 1} before block {event.change + 1}."
    return Steadiness(Verdict.STEADY, race.heats[h], event.change, 1.0, sentence)


def _shaped(shape: Shape, heat: int | None, rounds: Rounds) -> Steadiness:
    """A warm-up, a drift or a step, in all heats or in one."""
    change = float(shape.fit[-1] - shape.fit[0])
    ratio = math.exp(change)
    where = "every heat" if heat is None else f"heat {heat + 1} only"
    if shape.kind is Kind.WARM_UP:
        sentence = (
            f"Still warming up: rounds begin at {factor(1 / ratio)}, flat from block {shape.change + 1} of {where}."
        )
        return Steadiness(Verdict.WARMING_UP, heat, shape.change, ratio, sentence)
    if shape.kind is Kind.STEP:
        sentence = f"Stepped: {factor(ratio)} the time from block {shape.change + 1} of {where}."
        return Steadiness(Verdict.STEPPED, heat, shape.change, ratio, sentence)
    per_block = len(rounds.seconds) / len(np.unique(rounds.heat * (1 << 32) + rounds.block))
    each = math.expm1(change / (len(shape.fit) - 1 - shape.change) / per_block)
    way = "slower" if each > 0 else "faster"
    begins = f" from block {shape.change + 1} on" if shape.change else ""
    sentence = (
        f"Drifting: {100 * abs(each):.2g}% {way} with every round{begins}, {factor(ratio)} by the end of {where}."
    )
    return Steadiness(Verdict.DRIFTING, heat, shape.change or None, ratio, sentence)


def _two_levels(race: Race, k: int, rounds: Rounds) -> Steadiness | None:
    """Whether contender k's rounds cluster about two levels, less what the others did in the same block."""
    heats, blocks = race.own.shape[1:]
    place = np.searchsorted(race.heats, rounds.heat).clip(max=heats - 1)
    kept = (np.asarray(race.heats)[place] == rounds.heat) & (rounds.block < blocks)
    place, times = place[kept], np.log(rounds.seconds[kept])
    own = _about_middle(times, place)
    relative = _about_middle(times - race.others[k, place, rounds.block[kept]], place)
    # The others' noise blurs levels that are close together: on a machine that does not move, own times are sharper.
    spreads = [high - low for low, high in (_bulk(own, _TAIL), _bulk(relative, _TAIL))]
    sharper = own if spreads[0] < spreads[1] else relative
    if min(spreads) < math.log(MATTERS) or dip(sharper) <= critical_dip(len(sharper)):
        return None
    upper = _upper_level(np.clip(sharper, *_bulk(sharper, 0.02)))
    apart, own_apart = (float(np.median(each[upper]) - np.median(each[~upper])) for each in (relative, own))
    if apart < math.log(MATTERS) or own_apart < OWN_SHARE * apart:
        return None
    share, ratio = float(upper.mean()), math.exp(apart)
    sentence = f"Bimodal: rounds take one of two times, {factor(ratio)} apart, {100 * share:.0f}% of them the longer."
    return Steadiness(Verdict.BIMODAL, None, None, ratio, sentence)


def _bulk(values: Floats, tail: float) -> tuple[float, float]:
    """The values between which all but a tail on each side lie (`numpy.quantile` takes twenty times as long)."""
    ordered = np.sort(values)
    cut = int(tail * (len(ordered) - 1))
    return float(ordered[cut]), float(ordered[-1 - cut])


def _about_middle(values: Floats, place: NDArray[np.int64]) -> Floats:
    """Values less the middle of their heat's bulk: between two levels, not on the one with more rounds."""
    middles = [sum(_bulk(values[place == h], _TAIL)) / 2 for h in range(int(place.max()) + 1)]
    return values - np.array(middles)[place]


def _upper_level(values: Floats) -> NDArray[np.bool_]:
    """Which values belong to the upper of two clusters: the split that leaves the least variance (Otsu, 1979)."""
    ordered = np.sort(values)
    count, below = len(ordered), np.arange(1, len(ordered))
    between = (np.cumsum(ordered)[:-1] - below * ordered.mean()) ** 2 / (below * (count - below))
    between[ordered[1:] == ordered[:-1]] = 0.0  # equal values go together
    return np.asarray(values > ordered[int(between.argmax())])


def _settled_after(calls: Sequence[float]) -> int | None:
    """Warm-up calls before the last level of their times; None for fewer than two calls with a time."""
    times = np.asarray(calls, dtype=np.float64)
    times = np.log(times[np.isfinite(times) & (times > 0)])
    if len(times) < 2:
        return None
    noise = np.median(np.abs(np.diff(times))) / 0.954 + np.finfo(np.float64).eps
    limit = change_points.penalty(len(times), np.array([len(times) - 1.0]), ERROR_RATE)
    (changes,) = change_points.partition((times / noise)[None, :], limit)
    return changes[-1] if changes else 0
