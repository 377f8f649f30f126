"""The small dot-and-interval drawings inside table cells: positions on a logarithmic scale that a table shares."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reports.store.run_folder import Row

WIDTH, MARGIN = 100, 4
MOST = 16.0
"""Ratios beyond this, either way, are drawn at the end of the scale: one failure must not flatten all other rows."""


@dataclass(frozen=True)
class Whiskers:
    """A logarithmic scale of ratios that includes 1; positions are in [0, `WIDTH`]."""

    low: float
    high: float

    @classmethod
    def of(cls, ratios: Iterable[Row]) -> "Whiskers":
        """The scale that holds these ratios and their intervals."""
        ends = [row[name] for row in ratios for name in ("low", "ratio", "high") if row[name]]
        inside = [min(max(end, 1 / MOST), MOST) for end in ends if math.isfinite(end)]
        return cls(min([*inside, 0.9]), max([*inside, 1.1]))

    def at(self, ratio: float | None) -> str:
        """The position of a ratio, cut off at the ends of the scale."""
        inside = min(max(ratio or self.low, self.low), self.high)
        share = math.log(inside / self.low) / math.log(self.high / self.low)
        return f"{MARGIN + share * (WIDTH - 2 * MARGIN):.1f}"
