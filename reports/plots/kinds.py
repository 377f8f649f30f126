"""The kinds of plots: frozen dataclasses of plain numbers, so that they can be tested without drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Dot:
    """One estimate with its interval, on the line called `label`."""

    label: str
    series: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Forest:
    """Dots and intervals on a logarithmic axis: of ratios, with a line at 1, or of amounts in a unit of their own."""

    title: str
    description: str
    dots: Sequence[Dot]
    unit: str = "×"

    @property
    def labels(self) -> list[str]:
        """The lines from top to bottom."""
        return list(dict.fromkeys(dot.label for dot in self.dots))


@dataclass(frozen=True)
class Curve:
    """A named line through (x, y), with an interval of every y where there is one, and observations around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    intervals: Sequence[tuple[float, float]] = ()
    observations: Sequence[tuple[float, float]] = ()
    missing: Sequence[float] = ()  # x of every observation whose y was not finite

    def points(self) -> list[tuple[float, float]]:
        """Everything that has to fit into the plot."""
        ends = [(x, end) for x, pair in zip(self.x, self.intervals, strict=bool(self.intervals)) for end in pair]
        return [*zip(self.x, self.y, strict=True), *self.observations, *ends]


@dataclass(frozen=True)
class Curves:
    """Curves over one axis; as bands, their intervals are areas and few points are marked."""

    title: str
    description: str
    x_title: str
    y_title: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    bands: bool = False


@dataclass(frozen=True)
class Mark:
    """A contender: x in multiply-adds per byte, y in multiply-adds per second, both positive."""

    series: str
    x: float
    y: float
    emphasised: bool = True


@dataclass(frozen=True)
class Roofline:
    """Marks under the roof of a machine, both axes logarithmic.

    Attributes:
        title, description: of the plot.
        marks: what is under the roof.
        products: multiply-adds per second that the machine reaches, or ``None`` where that is not known.
        memory: bytes per second that it moves, or ``None``.
    """

    title: str
    description: str
    marks: Sequence[Mark]
    products: float | None
    memory: float | None

    @property
    def ridge(self) -> float | None:
        """Multiply-adds per byte from which on memory is no limit."""
        return self.products / self.memory if self.products and self.memory else None

    def roof(self, x: float) -> float | None:
        """Multiply-adds per second that are possible at so many per byte (Williams, Waterman and Patterson 2009)."""
        limits = [self.products, self.memory and self.memory * x]
        return min((limit for limit in limits if limit), default=None)


Plot = Forest | Curves | Roofline


def finite(curve: Curve) -> Curve:
    """The curve without the points that cannot be drawn."""
    kept = [i for i, y in enumerate(curve.y) if math.isfinite(y)]
    return replace(
        curve,
        x=[curve.x[i] for i in kept],
        y=[curve.y[i] for i in kept],
        intervals=[curve.intervals[i] for i in kept] if curve.intervals else (),
    )
