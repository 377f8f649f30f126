"""How the machine ran during a race: what its contenders have in common, fitted first and then named."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from reports.statistics import change_points
from reports.statistics.change_points import ERROR_RATE, OWN_SHARE, Kind, Noise, Shape
from reports.statistics.courses import Race, without_outliers
from reports.statistics.intervals import Floats
from reports.words import factor

MACHINE_MATTERS = 1.05
"""The same of the machine's course. It is taken out of every comparison, and so matters less."""

_EXPLAINS = 0.8  # of the machine's course, by a line or a step, else the machine was disturbed


class MachineVerdict(StrEnum):
    """How the machine ran, by all contenders of a race."""

    STEADY = "machine steady"
    DRIFTED = "machine drifted"
    STEPPED = "machine stepped"
    BUSY = "busy neighbour"
    UNKNOWN = "machine not told from its contenders"


@dataclass(frozen=True)
class MachineCourse:
    """What the contenders of a race have in common.

    Attributes:
        verdict: in a few plain words.
        ratio: last level over first; of a busy neighbour the slowest over the usual level; 1 for steady, NaN if
            unknown.
        blocks: heat and block, as in `Rounds`: where a step begins, or all in which a neighbour was busy.
        sentence: the same for the report; heats and blocks count from 1 there.
    """

    verdict: MachineVerdict
    ratio: float
    blocks: tuple[tuple[int, int], ...]
    sentence: str


def of_machine(race: Race, noise: Noise) -> MachineCourse:
    """Name what all contenders have in common: their median course within heats, and how heats differ."""
    count, heats, blocks = race.own.shape
    if count == 1:
        sentence = "One contender alone does not tell its own course from the machine's."
        return MachineCourse(MachineVerdict.UNKNOWN, math.nan, (), sentence)
    own = without_outliers(race.own, witnesses=0)
    course = np.median(own - np.median(own, axis=-1, keepdims=True), axis=0)
    error = math.pi / 2 / count * float(noise.within.mean())  # the asymptotic variance of a median
    limit = change_points.penalty(
        blocks, np.array([count * noise.degrees_within.mean()]), ERROR_RATE / heats, shortest=2
    )
    shapes = change_points.shapes_of(course, np.full(heats, error), np.repeat(limit, heats), shortest=2)
    common = [shape if shape is not None and _by_most(shape, own[:, h]) else None for h, shape in enumerate(shapes)]
    fitted = np.stack([np.zeros(blocks) if shape is None else shape.fit - np.median(shape.fit) for shape in common])
    fitted += _heat_levels(own)[:, None]
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


def _named(race: Race, fitted: Floats, shapes: Sequence[Shape | None]) -> MachineCourse:
    """A name for the machine's fitted course, (H, B): the simplest that explains most of it."""
    blocks = fitted.shape[1]
    course = fitted.ravel() - fitted.mean()
    energy = float(course @ course)
    if energy == 0:
        return MachineCourse(MachineVerdict.STEADY, 1.0, (), "The machine was steady.")
    gains, named = change_points.explained(course)
    best = int(gains.argmax())
    kind, change = named[best]
    kind = kind if gains[best] >= _EXPLAINS else Kind.LEVELS
    moved = [(h, shape) for h, shape in enumerate(shapes) if shape is not None]
    first, last = 0, len(course)
    if len(moved) == 1 and moved[0][1].kind is Kind.STEP:  # what one step leaves behind in later heats may be hidden
        first = moved[0][0] * blocks
        kind, change, last = Kind.STEP, first + moved[0][1].change, first + blocks
    lines = [shape.fit[-1] - shape.fit[0] for _, shape in moved if shape.kind is Kind.LINE]
    each_heat = len(lines) == len(shapes) and len({line > 0 for line in lines}) == 1
    if kind is Kind.STEP:
        ratio = math.exp(course[change:last].mean() - course[first:change].mean())
        place = race.heats[change // blocks], change % blocks
        sentence = f"The machine stepped to {factor(ratio)} the time at block {place[1] + 1} of heat {place[0] + 1}."
        return MachineCourse(MachineVerdict.STEPPED, ratio, (place,), sentence)
    if each_heat or kind is Kind.LINE:
        change_of_all = float(np.mean(lines)) if each_heat else float(course[-1] - course[0])
        ratio, over = math.exp(change_of_all), "each heat" if each_heat else "the race"
        way = "slower" if ratio > 1 else "faster"
        sentence = f"The machine drifted {100 * abs(ratio - 1):.2g}% {way} over {over}."
        return MachineCourse(MachineVerdict.DRIFTED, ratio, (), sentence)
    usual = float(np.quantile(course, 0.25))
    disturbed = np.flatnonzero(course > usual + math.log(MACHINE_MATTERS) / 2)
    busy = [(race.heats[i // blocks], i % blocks) for i in disturbed.tolist()]
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
