"""Whether a contender ever settled: a verdict for each contender of a race, and the course of the machine under them.

Many programs never reach the steady state that a warm-up is meant to bring, and where they do, change points say so
better than a fixed number of iterations (Barrett et al., "Virtual machine warmup blows hot and cold", OOPSLA 2017).
Touchstone differs from their method in three points, since its contenders take turns on a shared machine:

- *The machine's course is taken out first*: what the others of the race did in the same block. A contender is blamed
  only for what its own times show too, in the same direction and at least half as large; else the others moved.
- *A course has to repeat.* What every heat shows, in fresh processes, is the contender's; what one heat shows is an
  event, and is named with its heat.
- *A verdict is a finding.* All but "steady" have to be significant, with at most one in a hundred steady contenders
  called anything else (`ERROR_RATE` for each of three tests), and have to matter (`MATTERS`).

"Steady" therefore says that nothing was found, by a race of that length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reports import change_points
from reports.change_points import Kind, Noise, Shape, others_median
from reports.modality import critical_dip, dip
from reports.statistics import Floats, Rounds
from reports.words import factor, plural

ERROR_RATE = 0.003
"""The share of steady contenders in which each of the tests, of all heats, of single heats and for two levels, errs."""

MATTERS = 1.02
"""Levels closer than this ratio count as one: less than half of what a race of usual length can tell of a ratio."""

MACHINE_MATTERS = 1.05
"""The same of the machine's course. It is taken out of every comparison, and so matters less."""

LEAST_BLOCKS = 6
"""Blocks of a heat, which are twice as many rounds, below which nothing is said."""

OWN_SHARE = 0.5
"""Of what a contender does relative to the others, the share that its own times must show."""

_EXPLAINS = 0.8  # of the machine's course, by a line or a step, else the machine was disturbed


class Verdict(StrEnum):
    """How a contender's times ran."""

    STEADY = "steady"
    WARMING_UP = "still warming up"
    DRIFTING = "drifting"
    STEPPED = "stepped"
    BIMODAL = "bimodal"
    NEVER_STEADY = "never steady"
    TOO_FEW = "too few rounds"


class MachineVerdict(StrEnum):
    """How the machine ran, by all contenders of a race."""

    STEADY = "machine steady"
    DRIFTED = "machine drifted"
    STEPPED = "machine stepped"
    BUSY = "busy neighbour"
    UNKNOWN = "machine not told from its contenders"


@dataclass(frozen=True)
class Steadiness:
    """Whether a contender settled.

    Attributes:
        verdict: in one or a few plain words.
        heat: the heat in which it happened, as in `Rounds`; None for all heats, and for nothing.
        block: the block from which the last level holds; None where there is no such place.
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


@dataclass(frozen=True)
class MachineCourse:
    """What the contenders of a race have in common.

    Attributes:
        verdict: in a few plain words.
        ratio: last level over first; of a busy neighbour the slowest over the usual level; 1 for steady; NaN if unknown.
        blocks: heat and block, as in `Rounds`: where a step begins, or all in which a neighbour was busy.
        sentence: the same for the report; heats and blocks count from 1 there.
    """

    verdict: MachineVerdict
    ratio: float
    blocks: tuple[tuple[int, int], ...]
    sentence: str


@dataclass(frozen=True)
class _Race:
    """The contenders that can be judged, on the blocks that they have in common.

    Attributes:
        judged: (K,) their places among all contenders.
        heats: (H,) names of the heats.
        own: (K, H, B) mean log seconds per block.
        relative: (K, H, B) the same less the median of the others, without outliers; for a lone contender its own.
        others: (K, H, B) that median, each heat about its own level; 0 for a lone contender.
    """

    judged: list[int]
    heats: list[int]
    own: Floats
    relative: Floats
    others: Floats


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
    race = _line_up(contenders)
    if race is not None:
        noise = change_points.noise_of(race.relative)
        for k, verdict in zip(race.judged, _verdicts(race, noise, contenders), strict=True):
            verdicts[k] = verdict
        machine = _machine(race, noise)
    settled = [_settled_after(calls) for calls in warm_up] or [None] * len(verdicts)
    return [replace(v, settled_after=calls) for v, calls in zip(verdicts, settled, strict=True)], machine


def _too_few(rounds: Rounds) -> Steadiness:
    counted = f"{plural(len(rounds.seconds), 'round')} in {plural(len(np.unique(rounds.heat)), 'heat')}"
    sentence = f"Too few rounds to tell: {counted}, where a heat needs {2 * LEAST_BLOCKS}."
    return Steadiness(Verdict.TOO_FEW, None, None, math.nan, sentence)


def _line_up(contenders: Sequence[Rounds]) -> _Race | None:
    """Mean log times on a grid of heats and blocks that has no holes, as large as it can be; None if too small."""
    lengths = [{int(h): int(r.block[r.heat == h].max()) + 1 for h in np.unique(r.heat)} for r in contenders]
    lengths = [{h: blocks for h, blocks in heats.items() if blocks >= LEAST_BLOCKS} for heats in lengths]
    most = max((len(heats) for heats in lengths), default=0)
    judged = [k for k, heats in enumerate(lengths) if heats and 2 * len(heats) >= most]
    common = sorted(set.intersection(*(set(lengths[k]) for k in judged))) if judged else []
    if not common:
        return None
    shortest = {h: min(lengths[k][h] for k in judged) for h in common}
    heats = [h for h in common if 2 * shortest[h] >= max(shortest.values())]
    blocks = min(shortest[h] for h in heats)
    own = np.stack([_block_means(contenders[k], heats, blocks) for k in judged])
    if not np.isfinite(own).all():  # a contender that sat out a block within a heat
        keep = np.isfinite(own).all(axis=(1, 2))
        judged, own = [k for k, whole in zip(judged, keep.tolist(), strict=True) if whole], own[keep]
        if not judged:
            return None
    level = np.median(own, axis=-1, keepdims=True)
    others = others_median(own - level, 0) if len(own) > 1 else np.zeros_like(own)
    return _Race(judged, heats, own, change_points.without_outliers(own - others), others)


def _block_means(rounds: Rounds, heats: Sequence[int], blocks: int) -> Floats:
    """(H, B) mean log seconds; NaN where a block has no round."""
    place = np.searchsorted(heats, rounds.heat).clip(max=len(heats) - 1)
    kept = (np.asarray(heats)[place] == rounds.heat) & (rounds.block < blocks)
    codes, size = place[kept] * blocks + rounds.block[kept], len(heats) * blocks
    sums = np.bincount(codes, weights=np.log(rounds.seconds[kept]), minlength=size)
    counts = np.bincount(codes, minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(len(heats), blocks)


def _verdicts(race: _Race, noise: Noise, contenders: Sequence[Rounds]) -> list[Steadiness]:
    """The verdicts of a race's contenders, each from its mean course over heats and its heats' own courses."""
    count, heats, blocks = race.own.shape
    repeated: list[Shape | None] = [None] * count
    if heats > 1:
        limits = change_points.penalty(blocks, noise.degrees_between, ERROR_RATE)
        repeated = change_points.shapes_of(race.relative.mean(axis=1), noise.between / heats, limits)
    limits = change_points.penalty(blocks, noise.degrees_within, ERROR_RATE / heats, shortest=2)
    courses, variances = race.relative.reshape(-1, blocks), np.repeat(noise.within, heats)
    single = change_points.shapes_of(courses, variances, np.repeat(limits, heats), shortest=2)
    own = change_points.without_outliers(race.own)
    verdicts = []
    for k in range(count):
        shape, events = _blamed(repeated[k], own[k].mean(axis=0)), {}
        if shape is None or _in_one_heat(race.relative[k], shape):
            found = {h: _blamed(single[k * heats + h], own[k, h]) for h in range(heats)}
            shape, events = None, {h: event for h, event in found.items() if event is not None}
        wander = change_points.wander_of(
            race.relative[k], float(noise.within[k]), float(noise.degrees_within[k]), ERROR_RATE
        )
        wanders = wander is not None and _shown(wander, own[k])
        verdicts.append(_verdict(race, k, contenders[race.judged[k]], shape, events, wanders))
    return verdicts


def _blamed(shape: Shape | None, own: Floats) -> Shape | None:
    """A shape of the relative course that matters, and that the contender's own course, (B,), shows too."""
    return shape if shape is not None and shape.size >= math.log(MATTERS) and _shown(shape.fit, own) else None


def _shown(fit: Floats, own: Floats) -> bool:
    """Whether a contender's own times show enough of what was fitted to its relative ones; both of one shape."""
    return float((fit * own).sum()) >= OWN_SHARE * float((fit**2).sum())


def _in_one_heat(courses: Floats, shape: Shape) -> bool:
    """Whether the mean course, over the heats of (H, B), is that of one heat: the others' mean shows less than half."""
    strength = courses @ shape.fit / float(shape.fit @ shape.fit)  # 1 in the mean
    others = (strength.sum() - strength.max()) / (len(strength) - 1)
    return bool(others < 0.5)


def _verdict(
    race: _Race, k: int, rounds: Rounds, shape: Shape | None, events: dict[int, Shape], wanders: bool
) -> Steadiness:
    """The verdict of contender k, given the shape that its heats share, or those of single heats."""
    if shape is not None and shape.kind is not Kind.LEVELS:
        return _shaped(shape, None, rounds)
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
    each = math.expm1(change / (len(shape.fit) - 1) / per_block)
    way = "slower" if each > 0 else "faster"
    sentence = f"Drifting: {100 * abs(each):.2g}% {way} with every round, {factor(ratio)} by the end of {where}."
    return Steadiness(Verdict.DRIFTING, heat, None, ratio, sentence)


def _two_levels(race: _Race, k: int, rounds: Rounds) -> Steadiness | None:
    """Whether contender k's rounds cluster about two levels, less what the others did in the same block."""
    heats, blocks = race.own.shape[1:]
    place = np.searchsorted(race.heats, rounds.heat).clip(max=heats - 1)
    kept = (np.asarray(race.heats)[place] == rounds.heat) & (rounds.block < blocks)
    place, times = place[kept], np.log(rounds.seconds[kept])
    own = _about_middle(times, place)
    relative = _about_middle(times - race.others[k, place, rounds.block[kept]], place)
    # The others' noise blurs levels that are close together: on a machine that does not move, own times are sharper.
    sharper = min(own, relative, key=lambda each: float(np.ptp(np.quantile(each, [0.15, 0.85]))))
    if float(np.ptp(np.quantile(sharper, [0.15, 0.85]))) < math.log(MATTERS):
        return None
    if dip(sharper) <= critical_dip(len(sharper)):
        return None
    upper = _upper_level(np.clip(sharper, *np.quantile(sharper, [0.02, 0.98])))
    apart, own_apart = (float(np.median(each[upper]) - np.median(each[~upper])) for each in (relative, own))
    if apart < math.log(MATTERS) or own_apart < OWN_SHARE * apart:
        return None
    share, ratio = float(upper.mean()), math.exp(apart)
    sentence = f"Bimodal: rounds take one of two times, {factor(ratio)} apart, {100 * share:.0f}% of them the longer."
    return Steadiness(Verdict.BIMODAL, None, None, ratio, sentence)


def _about_middle(values: Floats, place: NDArray[np.int64]) -> Floats:
    """Values less the middle of their heat's bulk, which lies between two levels and not on the one with more rounds."""
    centred = np.empty_like(values)
    for h in np.unique(place):
        centred[place == h] = values[place == h] - np.quantile(values[place == h], [0.15, 0.85]).mean()
    return centred


def _upper_level(values: Floats) -> NDArray[np.bool_]:
    """Which values belong to the upper of two clusters: the split that leaves the least variance (Otsu, 1979)."""
    ordered = np.sort(values)
    count, below = len(ordered), np.arange(1, len(ordered))
    between = (np.cumsum(ordered)[:-1] - below * ordered.mean()) ** 2 / (below * (count - below))
    return np.asarray(values > ordered[int(between.argmax())])


def _machine(race: _Race, noise: Noise) -> MachineCourse:
    """Name what all contenders have in common: their median course within heats, and how heats differ."""
    count, heats, blocks = race.own.shape
    if count == 1:
        sentence = "One contender alone does not tell its own course from the machine's."
        return MachineCourse(MachineVerdict.UNKNOWN, math.nan, (), sentence)
    own = change_points.without_outliers(race.own)
    course = np.median(own - own.mean(axis=-1, keepdims=True), axis=0)
    error = math.pi / 2 / count * float(noise.within.mean())  # the asymptotic variance of a median
    limit = change_points.penalty(
        blocks, np.array([count * noise.degrees_within.mean()]), ERROR_RATE / heats, shortest=2
    )
    shapes = change_points.shapes_of(course, np.full(heats, error), np.repeat(limit, heats), shortest=2)
    common = [shape if shape is not None and _by_most(shape, own[:, h]) else None for h, shape in enumerate(shapes)]
    fitted = np.stack([np.zeros(blocks) if shape is None else shape.fit for shape in common])
    fitted += _heat_levels(race.own)[:, None]
    return _named(race, fitted, common)


def _by_most(shape: Shape, own: Floats) -> bool:
    """Whether the shape matters, and most contenders' courses, (K, B), show it."""
    shares = own @ shape.fit / float(shape.fit @ shape.fit)
    return shape.size >= math.log(MACHINE_MATTERS) and 2 * int((shares >= OWN_SHARE).sum()) > len(own)


def _heat_levels(own: Floats) -> Floats:
    """(H,) by how much all contenders were slower in a heat, where that is more than processes differ by; else 0."""
    count, heats, _ = own.shape
    if heats == 1:
        return np.zeros(1)
    levels = np.median(own, axis=-1)
    levels = levels - np.median(levels, axis=1, keepdims=True)
    common = np.median(levels, axis=0)
    degrees = (count - 1) * (heats - 1)
    variance = float(((levels - common) ** 2).sum()) / degrees * math.pi / 2 / count
    limit = change_points.penalty(heats, np.array(float(degrees)), ERROR_RATE)
    moved = (common**2 > float(limit) * variance) & (np.abs(common) > math.log(MACHINE_MATTERS))
    return np.where(moved, common, 0.0)


def _named(race: _Race, fitted: Floats, shapes: Sequence[Shape | None]) -> MachineCourse:
    """A name for the machine's fitted course, (H, B): the simplest that explains most of it."""
    blocks = fitted.shape[1]
    course = fitted.ravel() - fitted.mean()
    energy = float(course @ course)
    if energy == 0:
        return MachineCourse(MachineVerdict.STEADY, 1.0, (), "The machine was steady.")
    gains, named = change_points.explained(course)
    best = int(gains.argmax())
    kind, change = named[best]
    lines = [shape.fit[-1] - shape.fit[0] for shape in shapes if shape is not None and shape.kind is Kind.LINE]
    each_heat = len(lines) == len(shapes) and len({line > 0 for line in lines}) == 1
    if kind is Kind.STEP and gains[best] >= _EXPLAINS:
        ratio = math.exp(course[change:].mean() - course[:change].mean())
        place = race.heats[change // blocks], change % blocks
        sentence = f"The machine stepped to {factor(ratio)} the time at block {place[1] + 1} of heat {place[0] + 1}."
        return MachineCourse(MachineVerdict.STEPPED, ratio, (place,), sentence)
    if each_heat or (kind is Kind.LINE and gains[best] >= _EXPLAINS):
        change_of_all = float(np.mean(lines)) if each_heat else float(course[-1] - course[0])
        ratio, over = math.exp(change_of_all), "each heat" if each_heat else "the race"
        way = "slower" if ratio > 1 else "faster"
        sentence = f"The machine drifted {100 * abs(ratio - 1):.2g}% {way} over {over}."
        return MachineCourse(MachineVerdict.DRIFTED, ratio, (), sentence)
    usual = float(np.quantile(course, 0.25))
    busy = [(race.heats[i // blocks], i % blocks) for i in np.flatnonzero(course > usual + math.log(MATTERS)).tolist()]
    ratio = math.exp(float(course.max()) - usual)
    sentence = f"A busy neighbour made up to {factor(ratio)} the time of {_places(busy)}."
    return MachineCourse(MachineVerdict.BUSY, ratio, tuple(busy), sentence)


def _places(places: Sequence[tuple[int, int]]) -> str:
    """Blocks by heat, runs joined: ``blocks 3–5 of heat 2``."""
    words = []
    for heat in sorted({heat for heat, _ in places}):
        blocks = np.array(sorted(block for h, block in places if h == heat))
        runs = np.split(blocks, np.flatnonzero(np.diff(blocks) > 1) + 1)
        spans = [f"{run[0] + 1}" if len(run) == 1 else f"{run[0] + 1}–{run[-1] + 1}" for run in runs]
        words.append(f"blocks {', '.join(spans)} of heat {heat + 1}")
    return " and ".join(words)


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
