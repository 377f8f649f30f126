"""A benchmark over time as the parts of a drawing: dots, levels with their bands, changes, and new environments.

Templates put the parts into SVG, small in a row of a table, and large where a level changed. All drawings of a page
have the same runs along them, so that what happened in one night stands in one column.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from reports.plots.svg import round_ticks
from reports.tables.history import Line, Segment

SMALLEST_SPAN = math.log(1.10)
"""Of the vertical axis: what varies by less looks as calm as it is."""

MOST_DOTS = 250
"""Of more runs than this, the last ones are drawn; the tables hold all."""


@dataclass(frozen=True)
class Step:
    """A change: where the new level begins, from which height to which, whether it is worse, and its words."""

    x: float
    top: float
    bottom: float
    kind: str
    words: str


@dataclass(frozen=True)
class Drawing:
    """A course in a box of `width` by `height`, as values of the attribute ``d`` of SVG paths.

    Attributes:
        width, height: of the box.
        bands: areas in which runs lie by chance.
        levels: strokes.
        dots: strokes of no length.
        ranges: of dots, what each knows of itself.
        steps: the changes.
        borders: x of each first run of a new environment.
        ticks: y and value of round values in between.
    """

    width: int
    height: int
    bands: str
    levels: str
    dots: str
    ranges: str
    steps: Sequence[Step]
    borders: Sequence[float]
    ticks: Sequence[tuple[float, float]]


def draw(line: Line, count: int, width: int, height: int) -> Drawing:
    """Draw a line.

    Args:
        line: the benchmark.
        count: how many runs the page has, of which each has its place along the drawing.
        width: of the box.
        height: of the box.
    """
    first = max(0, count - MOST_DOTS)
    scale = _Scale.of(line, first, count, width, height)
    bands, levels, dots, ranges, steps, borders = [], [], [], [], [], []
    for number, segment in enumerate(line.segments):
        if number and segment.points[0]["order"] >= first:
            borders.append(scale.x(segment.points[0]["order"] - 0.5))
        for start, end in _stretches(segment):
            at = [point["order"] for point in segment.points[start:end] if point["order"] >= first]
            if at:
                level = float(segment.found.levels[start])
                left, right = scale.x(at[0] - 0.4), scale.x(at[-1] + 0.4)
                top, bottom = scale.y(level + segment.reach), scale.y(level - segment.reach)
                bands.append(f"M{left:g} {top:g}H{right:g}V{bottom:g}H{left:g}z")
                levels.append(f"M{left:g} {scale.y(level):g}H{right:g}")
        for point, value in zip(segment.points, segment.values, strict=True):
            if point["order"] >= first:
                x = scale.x(point["order"])
                dots.append(f"M{x:g} {scale.y(math.log(value)):g}h0")
                low, high = point[f"{line.column}_low"], point[f"{line.column}_high"]
                if low and high:
                    ranges.append(f"M{x:g} {scale.y(math.log(low)):g}V{scale.y(math.log(high)):g}")
        for change in segment.found.changes:
            order = segment.points[change.place]["order"]
            if order >= first:
                top, bottom = sorted(scale.y(float(segment.found.levels[change.place + i])) for i in (-1, 0))
                worse = change.ratio.estimate > 1
                percent = f"{'+' if worse else '−'}{100 * abs(change.ratio.estimate - 1):.0f}%"
                steps.append(Step(scale.x(order - 0.5), top, bottom, "worse" if worse else "better", percent))
    strokes = {"bands": bands, "levels": levels, "dots": dots, "ranges": ranges}
    joined = {name: "".join(each) for name, each in strokes.items()}
    return Drawing(width, height, **joined, steps=steps, borders=borders, ticks=scale.ticks())


def _stretches(segment: Segment) -> list[tuple[int, int]]:
    """The points between changes, as first and last plus one."""
    ends = [0, *(change.place for change in segment.found.changes), len(segment.points)]
    return list(pairwise(ends))


@dataclass(frozen=True)
class _Scale:
    """Runs along the width; logarithms up the height."""

    first: int
    count: int
    low: float
    high: float
    width: int
    height: int

    @classmethod
    def of(cls, line: Line, first: int, count: int, width: int, height: int) -> "_Scale":
        logs = [
            log
            for segment in line.segments
            for point, value, level in zip(segment.points, segment.values, segment.found.levels.tolist(), strict=True)
            if point["order"] >= first
            for log in (math.log(value), level)
        ] or [0.0]
        middle, span = (min(logs) + max(logs)) / 2, max(1.2 * (max(logs) - min(logs)), SMALLEST_SPAN)
        return cls(first, count, middle - span / 2, middle + span / 2, width, height)

    def x(self, order: float) -> float:
        return round((order - self.first + 0.5) / max(1, self.count - self.first) * self.width, 1)

    def y(self, log: float) -> float:
        share = (self.high - log) / (self.high - self.low)
        return round(min(1.0, max(0.0, share)) * self.height, 1)

    def ticks(self) -> list[tuple[float, float]]:
        return [(self.y(math.log(tick)), tick) for tick in round_ticks(math.exp(self.low), math.exp(self.high), 4)]
