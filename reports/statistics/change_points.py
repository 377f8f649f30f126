"""Where a course changes its level, and by which shape: least squares with a penalty that keeps the error rate.

A *course* is what is left of one process's log times, block by block, once level and outliers are gone. It is compared
with shapes: flat, a line from the start or from a later block on, one step, and a fall that ends in the course's first
half; and with the best segmentation into any number of levels. Each step away from "flat" has to win more squared error
than a penalty, and the shape with the lowest penalised cost gives the name.

The segmentation is exact (optimal partitioning: Jackson et al., "An algorithm for optimal partitioning of data on an
interval", IEEE Signal Processing Letters 12, 2005, the recursion that PELT prunes: Killick, Fearnhead and Eckley,
"Optimal detection of changepoints with a linear computational cost", JASA 107, 2012). Courses have tens of blocks and
come by the thousand, so all courses of a race go through the recursion at once, and nothing is pruned. `ruptures` finds
the same change points and is the tests' oracle; its import alone takes half of the time that a report may take.

Blocks that follow each other are alike even where nothing happens. The penalty is therefore in units of the *long-run
variance*, the variance of a mean times the number of blocks, of a first-order autoregression (Lavielle and Moulines,
"Least-squares estimation of an unknown number of shifts in a time series", Journal of Time Series Analysis 21, 2000).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from scipy import special

from reports.statistics.intervals import Floats

LEAST_CORRELATION, MOST_CORRELATION = 0.1, 0.5
"""Between which bounds the correlation of neighbouring blocks is taken to lie, whatever its estimate from a few dozen
blocks. What wanders more than the upper one allows is not noise about a level, and shall be found."""

ERROR_RATE = 0.0025
"""The share of steady contenders in which each test may err: of all heats, of single heats, wander, and two levels."""

OWN_SHARE = 0.5
"""Of what a contender does relative to the others, the share that its own times must show."""

EXPLAINS = 0.9
"""Of the energy of several levels, the share that a shape with one coefficient must explain to give the name: a step
that heats take at places of their own has several levels in their mean."""

EARLY = 1 / 3
"""A fall that ends in this share of a course is the end of a warm-up."""

LATE = 1 / 4
"""A drift begins with the first block, or after this share of a course at least: one between looks like the first."""


class Kind(Enum):
    """The shape of a course that is not flat."""

    WARM_UP = auto()
    LINE = auto()
    STEP = auto()
    LEVELS = auto()


@dataclass(frozen=True)
class Shape:
    """What a course looks like.

    Attributes:
        kind: the shape's name.
        change: the first block of the last level; of a line, the block from which it leaves its level, 0 for the first.
        changes: how many change points there are; 0 for a line.
        fit: (B,) the shape fitted to the course, in logarithms, with mean 0.
    """

    kind: Kind
    change: int
    changes: int
    fit: Floats

    @property
    def size(self) -> float:
        """The distance of the highest from the lowest fitted value, in logarithms."""
        return float(self.fit.max() - self.fit.min())


@dataclass(frozen=True)
class Noise:
    """What the courses of a race's contenders do when nothing happens, in squared logarithms.

    Attributes:
        between: (K,) long-run variance of one heat's course about what all heats share: the error of what repeats.
            NaN where there is one heat only.
        within: (K,) long-run variance of one heat's course, by neighbours: the error of what happens in one heat.
        degrees_between, degrees_within: (K,) degrees of freedom behind the two.
    """

    between: Floats
    within: Floats
    degrees_between: Floats
    degrees_within: Floats


def noise_of(courses: Floats) -> Noise:
    """Estimate the noise of each contender's courses; courses: (K, H, B).

    What all heats share cancels in their deviations from their mean, and what happens once, such as a step, touches few
    of the differences between neighbours. The ratio of the differences' mean squares at lags two and one is 1 +
    correlation (Chakar et al., "A robust approach for estimating change-points in the mean of an AR(1) process",
    Bernoulli 23, 2017). A few dozen blocks tell it badly, so that contenders meet half way with the median of their
    race.
    """
    _, heats, blocks = courses.shape
    deviations = courses - courses.mean(axis=-1, keepdims=True)
    if heats > 1:
        deviations = (deviations - deviations.mean(axis=1, keepdims=True)) * np.sqrt(heats / (heats - 1))
    by_one = (np.diff(deviations, axis=-1) ** 2).mean(axis=(1, 2))
    by_two = ((deviations[..., 2:] - deviations[..., :-2]) ** 2).mean(axis=(1, 2))
    by_one = np.maximum(by_one, np.finfo(np.float64).eps ** 2)  # a clock too coarse to show any noise
    own = by_two / by_one - 1
    shared = (own + np.median(own)) / 2
    correlation = np.clip(shared, LEAST_CORRELATION, MOST_CORRELATION)
    inflation = (1 + correlation) / (1 - correlation)
    neighbours = by_one / (2 * (1 - np.clip(shared, 0, MOST_CORRELATION)))
    degrees_within = np.full(len(courses), max(heats - 1, 1) * (blocks - 1) / 1.5)  # by differences
    # A heat's own mean takes with it as much as `inflation` independent blocks would.
    degrees_between = (heats - 1) * (blocks - inflation)
    spread = (deviations**2).sum(axis=(1, 2)) * (heats - 1) / heats if heats > 1 else np.full(len(courses), np.nan)
    between = np.maximum(spread, np.finfo(np.float64).eps ** 2) / np.maximum(degrees_between, 1) * inflation
    return Noise(between, neighbours * inflation, degrees_between, degrees_within)


@functools.lru_cache(maxsize=256)
def _templates(blocks: int, shortest: int) -> tuple[Floats, tuple[tuple[Kind, int], ...]]:
    """The shapes with one coefficient: (T, B), centred and of unit length, rising or falling, and what each is."""
    place = np.arange(blocks)
    named = [(Kind.STEP, change) for change in range(shortest, blocks - shortest + 1)]
    named += [(Kind.WARM_UP, knot) for knot in range(2, blocks // 2 + 1)]
    named += [(Kind.LINE, knot) for knot in (0, *range(int(LATE * blocks), blocks - 1 - shortest))]
    rows = {
        Kind.STEP: lambda change: (place >= change).astype(np.float64),
        Kind.WARM_UP: lambda knot: np.minimum(place, knot).astype(np.float64),
        Kind.LINE: lambda knot: np.maximum(place - knot, 0).astype(np.float64),
    }
    shapes = np.array([rows[kind](at) for kind, at in named])
    shapes -= shapes.mean(axis=1, keepdims=True)
    return shapes / np.linalg.norm(shapes, axis=1, keepdims=True), tuple(named)


def wander_of(courses: Floats, variance: float, degrees: float, error_rate: float) -> Floats | None:
    """How heats leave their level in ways of their own, or None if they do not: (H, B), their slowest two cosines.

    What all heats share is left out, and so is the worst heat when it comes to significance, since one heat's event is
    no habit; that makes the test a careful one (F test of the low frequencies: Müller and Watson, "Low-frequency
    econometrics", 2017, section 3).

    Args:
        courses: (H, B), in logarithms.
        variance: `Noise.within` of the contender.
        degrees: `Noise.degrees_within`.
        error_rate: the share of steady contenders that may be said to wander.
    """
    heats, blocks = courses.shape
    if heats == 1:
        return None
    place = (np.arange(blocks) + 0.5) / blocks
    slow = np.sqrt(2 / blocks) * np.cos(np.pi * np.outer((1, 2), place))  # (2, B), of unit length and mean 0
    strength = courses @ slow.T  # (H, 2)
    strength = strength - np.median(strength, axis=0)  # which one heat alone does not move
    energy = np.sort((strength**2).sum(axis=1))[:-1]
    limit = special.fdtri(2 * len(energy), degrees, 1 - error_rate)
    return strength @ slow if energy.mean() / 2 > limit * variance else None


def penalty(blocks: int, degrees: Floats, error_rate: float, shortest: int = 1) -> Floats:
    """The squared t value that a change must exceed, so that flat courses have one at most at this rate (Bonferroni).

    Args:
        blocks: B, the length of a course.
        degrees: degrees of freedom of the noise's variance, of any shape, which is that of the result.
        error_rate: the share of flat courses in which a change may be found.
        shortest: the fewest blocks of a level.
    """
    tests = len(_templates(blocks, shortest)[1])
    return np.asarray(special.stdtrit(degrees, 1 - error_rate / (2 * tests)) ** 2)


def partition(courses: Floats, penalties: Floats, shortest: int = 1) -> list[list[int]]:
    """The segmentation of each course with the lowest squared error plus penalty per change point.

    Args:
        courses: (S, B).
        penalties: (S,), in units of the squared course.
        shortest: the fewest blocks of a segment.

    Returns:
        For each course the first block of every segment but the first, ascending.
    """
    count, blocks = courses.shape
    start = np.zeros((count, 1))
    sums, squares = (np.concatenate([start, np.cumsum(each, axis=1)], axis=1) for each in (courses, courses**2))
    lowest = np.full((count, blocks + 1), np.inf)
    lowest[:, 0] = 0.0  # that the first segment pays the penalty too is the same for all segmentations
    previous = np.zeros((count, blocks + 1), dtype=np.int64)
    for end in range(shortest, blocks + 1):
        begin = np.arange(end - shortest + 1)
        error = squares[:, [end]] - squares[:, begin] - (sums[:, [end]] - sums[:, begin]) ** 2 / (end - begin)
        cost = lowest[:, begin] + error + penalties[:, None]
        previous[:, end] = cost.argmin(axis=1)
        lowest[:, end] = cost[np.arange(count), previous[:, end]]
    return [_trace(row) for row in previous.tolist()]


def _trace(previous: Sequence[int]) -> list[int]:
    """The change points, from where the last segment of every prefix begins."""
    changes, end = [], len(previous) - 1
    while (end := previous[end]) > 0:
        changes.append(end)
    return changes[::-1]


def shapes_of(courses: Floats, variances: Floats, penalties: Floats, shortest: int = 1) -> list[Shape | None]:
    """The shape of each course, or None where it is flat.

    Args:
        courses: (S, B), in logarithms.
        variances: (S,) long-run variances of a course's blocks.
        penalties: (S,), of `penalty`.
        shortest: the fewest blocks of a level.
    """
    scaled = (courses - courses.mean(axis=1, keepdims=True)) / np.sqrt(variances)[:, None]
    templates, named = _templates(courses.shape[1], shortest)
    projections = scaled @ templates.T  # (S, T)
    rising_warm_up = np.array([kind is Kind.WARM_UP for kind, _ in named]) & (projections > 0)
    gains = np.where(rising_warm_up, 0.0, projections**2)
    shapes: list[Shape | None] = []
    for i, changes in enumerate(partition(scaled, penalties, shortest)):
        best = int(gains[i].argmax())
        levels = _levels(scaled[i], changes)
        one = gains[i, best] - penalties[i]
        several = float(levels @ levels) - len(changes) * penalties[i] if len(changes) > 1 else -np.inf
        unit = float(np.sqrt(variances[i]))
        if max(one, several) <= 0:
            shapes.append(None)
        elif one >= several or gains[i, best] >= EXPLAINS * float(levels @ levels):
            shapes.append(_single(*named[best], unit * projections[i, best] * templates[best]))
        else:
            early = changes[-1] <= EARLY * len(levels) and bool(np.all(np.diff(levels) <= 0))
            shapes.append(Shape(Kind.WARM_UP if early else Kind.LEVELS, changes[-1], len(changes), unit * levels))
    return shapes


def _single(kind: Kind, change: int, fit: Floats) -> Shape:
    """A shape with one coefficient; a step down that comes early is the end of a warm-up."""
    if kind is Kind.STEP and change <= EARLY * len(fit) and fit[-1] < fit[0]:
        kind = Kind.WARM_UP
    return Shape(kind, change, int(kind is not Kind.LINE), fit)


def _levels(course: Floats, changes: Sequence[int]) -> Floats:
    """The mean of every segment in the place of its blocks: (B,)."""
    starts = np.array([0, *changes], dtype=np.int64)
    lengths = np.diff([*starts, len(course)])
    return np.asarray(np.repeat(np.add.reduceat(course, starts) / lengths, lengths))


def explained(course: Floats) -> tuple[Floats, tuple[tuple[Kind, int], ...]]:
    """The share of a course's energy, (B,) with mean 0, that each shape with one coefficient explains: (T,)."""
    templates, named = _templates(len(course), 1)
    return (templates @ course) ** 2 / float(course @ course), named


def shown(fit: Floats, own: Floats) -> bool:
    """Whether a contender's own times show enough of what was fitted to its relative ones; both of one shape."""
    return float((fit * own).sum()) >= OWN_SHARE * float((fit**2).sum())
