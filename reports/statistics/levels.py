"""Where the level of a series of runs changes, and how sure that is.

A *series* is one number per run, such as the logarithm of a step's time, in the order of runs. Runs differ by chance,
and now and then one was disturbed. A *change* is a level that lasted and then another one that lasts: at least
`SHORTEST` runs each, further apart than runs of one level are, and than the noise floor.

Nothing is drawn at random, so that the same runs always give the same changes. Candidates are those of the segmentation
with the lowest squared error plus a penalty per change (`reports.statistics.change_points.partition`). It is exact, so
that a change and its contrary do not hide each other. The p-value of a change is that of a t test, times the number of
stretches in which one was looked for (Bonferroni); false discoveries are then controlled over all series together
(Benjamini and Hochberg 1995), so that a page with a thousand lines does not cry wolf.

The rest of that module is of no use here: it looks for the shapes of one race's course, whose blocks come in heats of
equal length, from which it knows the noise. Here there is one number per run, and all noise is between runs.
"""

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from reports.statistics.change_points import partition
from reports.statistics.intervals import (
    LEAST_TO_MODERATE,
    Floats,
    Interval,
    false_discovery,
    t_quantile,
    variance_prior,
)

DISCOVERY_RATE = 0.01
"""The share of false discoveries that is accepted among all changes: less than a report accepts, since such a page is
made anew every night."""

SHORTEST = 3
"""Runs that a level lasts at least: one bad night, or two, are no change."""

LEAST = 2 * SHORTEST
"""Runs without which nothing is looked for."""

CLIP = 4.0
"""Robust standard deviations beyond which a single run counts as disturbed, and is drawn in to there."""

MOST_CORRELATION = 0.5
"""However alike neighbouring runs are: what wanders more than this is no noise about a level."""


@dataclass(frozen=True)
class Series:
    """One number per run.

    Attributes:
        values: (N,) logarithms, in the order of runs, all of one machine and environment.
        errors: (N,) the standard error that each run knows of its own value; NaN where it knows none.
        floor: the smallest factor that counts as a change, at least 1.
        kin: series with the same learn from each other how much runs differ, such as all times of one machine.
    """

    values: Floats
    errors: Floats
    floor: float
    kin: Hashable = ""


@dataclass(frozen=True)
class Change:
    """A change of level.

    Attributes:
        place: the first run of the new level.
        ratio: the new level over the old one; its p-value is that of a t test, corrected for the places looked at.
        q: the p-value after false-discovery control over all series, the largest of those in its series.
    """

    place: int
    ratio: Interval
    q: float


@dataclass(frozen=True)
class Levels:
    """What a series does.

    Attributes:
        changes: ascending.
        levels: (N,) the logarithm of the level that each run belongs to.
        spread: how far from its level a run lies in 95% of cases, in logarithms; NaN where there are too few runs.
    """

    changes: Sequence[Change]
    levels: Floats
    spread: float


@dataclass(frozen=True)
class _Noise:
    """Variance of one run about its level, neighbours' likeness included, and the degrees of freedom behind it."""

    variance: float
    degrees: float


def find(all_series: Sequence[Series]) -> list[Levels]:
    """The levels of each series, with false discoveries controlled over all."""
    steady = [steadied(each.values) for each in all_series]
    noises = _noises(all_series, steady)
    found = _candidates(steady, noises)
    # A series without a candidate has a p-value too: it is one more in which nothing was found.
    tested = [
        (number, place, _ratio(steady[number], places, place, noise))
        for number, (places, noise) in enumerate(zip(found, noises, strict=True))
        if noise
        for place in places
    ]
    others = sum(noise is not None and not places for noise, places in zip(noises, found, strict=True))
    q_values = false_discovery([ratio.p for *_, ratio in tested] + [1.0] * others).tolist() if tested else []
    sure: list[list[int]] = [[] for _ in all_series]
    worst: dict[int, float] = {}
    for (number, place, _), q in zip(tested, q_values, strict=False):
        if q <= DISCOVERY_RATE:
            sure[number].append(place)
            worst[number] = max(worst.get(number, 0.0), q)
    return [
        _levels(values, places, noise, each.floor, worst.get(number, 1.0))
        for number, (each, values, places, noise) in enumerate(zip(all_series, steady, sure, noises, strict=True))
    ]


def steadied(values: Floats) -> Floats:
    """The values with single disturbed runs drawn in towards their neighbours; a level of three runs stays as it is."""
    if len(values) < LEAST:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(values, 5)
    middle = np.pad(np.median(windows, axis=1), 2, mode="edge")  # two wild runs at an end are no level either
    reach = CLIP * _scale(values - middle)
    return np.clip(values, middle - reach, middle + reach)


def _scale(values: Floats) -> float:
    """Standard deviation of numbers about zero, whatever a few of them do."""
    return float(np.median(np.abs(values))) / float(special.ndtri(0.75))


def _noises(all_series: Sequence[Series], steady: Sequence[Floats]) -> list[_Noise | None]:
    """How much runs differ, by differences between neighbours, of which a change touches one only."""
    long_enough = [i for i, values in enumerate(steady) if len(values) >= LEAST]
    noises: list[_Noise | None] = [None] * len(steady)
    for kin in dict.fromkeys(all_series[i].kin for i in long_enough):
        group = [i for i in long_enough if all_series[i].kin == kin]
        squares = [(_square(np.diff(steady[i])), _square(steady[i][2:] - steady[i][:-2])) for i in group]
        # By how much more distant runs differ more than neighbours do; of all series, since few runs tell it badly.
        alike = [by_two / by_one - 1 for by_one, by_two in squares if by_one > 0]
        correlation = float(np.clip(np.median(alike), 0, MOST_CORRELATION)) if alike else 0.0
        variances, degrees = [], []
        for i, (by_one, _) in zip(group, squares, strict=True):
            known = all_series[i].errors[np.isfinite(all_series[i].errors)]
            own = float(np.median(known**2)) if len(known) else 0.0
            variance = max(by_one / (2 * (1 - correlation)), own, np.finfo(np.float64).eps)
            variances.append(variance * (1 + correlation) / (1 - correlation))
            degrees.append((len(steady[i]) - 1) / 1.5)  # differences tell less than deviations from a known level
        prior_degrees, prior = 0.0, 0.0
        if len(group) >= LEAST_TO_MODERATE:
            prior_degrees, prior = variance_prior(np.array(variances), np.array(degrees))
        for i, variance, own_degrees in zip(group, variances, degrees, strict=True):
            total = prior_degrees + own_degrees
            noises[i] = _Noise((prior_degrees * prior + own_degrees * variance) / total, total)
    return noises


def _square(differences: Floats) -> float:
    """Mean square of differences, those of a change drawn in."""
    reach = CLIP * _scale(differences)
    return float(np.mean(np.clip(differences, -reach, reach) ** 2))


def _tests(runs: int) -> int:
    """In how many stretches a change is looked for: from any run to any later one."""
    return runs * (runs - 1) // 2


def _candidates(steady: Sequence[Floats], noises: Sequence[_Noise | None]) -> list[list[int]]:
    """Where each series may change its level, at `DISCOVERY_RATE` for the series alone."""
    found: list[list[int]] = [[] for _ in steady]
    lengths = {len(values) for values, noise in zip(steady, noises, strict=True) if noise}
    for length in sorted(lengths):  # all series of one length go through the recursion at once
        alike = [(i, noise) for i, noise in enumerate(noises) if noise and len(steady[i]) == length]
        degrees = np.array([noise.degrees for _, noise in alike])
        limits = special.stdtrit(degrees, DISCOVERY_RATE / (2 * _tests(length)))
        penalties = limits**2 * [noise.variance for _, noise in alike]
        courses = np.array([steady[i] - steady[i].mean() for i, _ in alike])
        for (i, _), places in zip(alike, partition(courses, penalties, SHORTEST), strict=True):
            found[i] = places
    return found


def _best(values: Floats, start: int, end: int, noise: _Noise) -> tuple[int, float]:
    """The place within an interval at which the levels before and after differ most, and its t value."""
    sums = np.cumsum(values[start:end])
    before = np.arange(SHORTEST, end - start - SHORTEST + 1)
    after = end - start - before
    difference = (sums[-1] - sums[before - 1]) / after - sums[before - 1] / before
    t_values = np.abs(difference) / np.sqrt(noise.variance * (1 / before + 1 / after))
    best = int(t_values.argmax())
    return start + int(before[best]), float(t_values[best])


def _placed(values: Floats, places: Sequence[int], noise: _Noise) -> list[int]:
    """The same changes, each where the levels between its neighbours fit best; one too near to another goes."""
    ends = [0, *places, len(values)]
    found: list[int] = []
    for number in range(1, len(ends) - 1):
        start, end = (found[-1] if found else 0), ends[number + 1]
        if end - start >= LEAST:
            found.append(_best(values, start, end, noise)[0])
    return found


def _ratio(values: Floats, places: Sequence[int], place: int, noise: _Noise) -> Interval:
    """The level from a place on over the level before it."""
    ends = [0, *places, len(values)]
    at = ends.index(place, 1)
    before, after = values[ends[at - 1] : place], values[place : ends[at + 1]]
    difference = float(after.mean() - before.mean())
    error = math.sqrt(noise.variance * (1 / len(before) + 1 / len(after)))
    p = 2 * float(special.stdtr(noise.degrees, -abs(difference) / error)) * _tests(len(values))
    reach = t_quantile(noise.degrees) * error
    return Interval(difference, difference - reach, difference + reach, min(1.0, p), len(values), "runs").exp()


def _size(ratio: Interval) -> float:
    return max(ratio.estimate, 1 / ratio.estimate)


def _levels(values: Floats, places: Sequence[int], noise: _Noise | None, floor: float, worst: float) -> Levels:
    """The levels between changes that are sure; those that are too small once others are left out go, too."""
    if noise is None:
        return Levels([], np.full(len(values), np.median(values) if len(values) else np.nan), math.nan)
    places = _placed(values, places, noise)
    ratios = [_ratio(values, places, place, noise) for place in places]
    while ratios and min(map(_size, ratios)) < floor:
        small = min(range(len(ratios)), key=lambda i: _size(ratios[i]))
        places = _placed(values, [*places[:small], *places[small + 1 :]], noise)
        ratios = [_ratio(values, places, place, noise) for place in places]
    ends = [0, *places, len(values)]
    means = [values[start:end].mean() for start, end in itertools.pairwise(ends)]
    levels = np.repeat(means, np.diff(ends))
    changes = [Change(place, ratio, worst) for place, ratio in zip(places, ratios, strict=True)]
    return Levels(changes, levels, t_quantile(noise.degrees) * math.sqrt(noise.variance))
