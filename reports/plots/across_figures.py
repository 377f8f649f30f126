"""What is drawn of sides beside their baseline: how many rows are within a factor of it, and each workload's ratio."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from reports.plots.figures import plainest
from reports.plots.kinds import Curve, Curves, Dot, Forest
from reports.statistics.across import within
from reports.statistics.intervals import Interval
from reports.store.run_folder import Row
from reports.tables.comparisons import REFERENCE
from reports.tables.sides import Side
from reports.words import operation as operation_words

POINTS = 61
WIDEST = 16.0
"""Levels go no further than this factor either way."""


def profile(rows: Sequence[Row], sides: Sequence[Side], baseline: Side) -> Iterator[Curves]:
    """The share of rows within a factor of the baseline, a curve per side; a row that a side failed is never within."""
    ratios = {side.letter: _ratios(rows, side) for side in sides if side is not baseline}
    found = {letter: each for letter, each in ratios.items() if any(ratio is not None for ratio in each)}
    ends = [abs(math.log(ratio.estimate)) for each in found.values() for ratio in each if ratio]
    if not ends:
        return
    reach = min(max(*ends, math.log(1.1)) * 1.05, math.log(WIDEST))
    levels = np.exp(np.linspace(-reach, reach, POINTS)).tolist()
    curves = [Curve(letter, levels, *within(each, levels)) for letter, each in found.items()]
    counts = " and ".join(f"{len(each)} rows on {letter}" for letter, each in found.items())
    yield Curves(
        f"How many rows are at most so many times as slow as on {baseline.letter}?",
        f"The share of rows, with the share if all lay at either end of their intervals: {counts}. Left of 1 is faster "
        f"than {baseline.letter}. What a side failed counts, and never gets there.",
        f"times as long as on {baseline.letter}",
        "share of rows",
        curves,
        log_x=True,
        bands=True,
    )


def _ratios(rows: Sequence[Row], side: Side) -> list[Interval | None]:
    """A side's ratios, and ``None`` for what it failed and the baseline did not."""
    found: list[Interval | None] = []
    for row in rows:
        if row["side"] == side.name and row["time_ratio"] is not None:
            found.append(Interval(row["time_ratio"], row["time_ratio_low"], row["time_ratio_high"], 1.0, 2, "sides"))
        elif row["side"] == side.name and row["baseline_seconds"] and row["reason"].startswith("failed"):
            found.append(None)
    return found


def ratio_forests(rows: Sequence[Row], title: str, sides: Sequence[Side], baseline: Side) -> Iterator[Forest]:
    """The reference's time beside the baseline by workload, in the plainest precision, one plot per operation."""
    letters = {side.name: side.letter for side in sides}
    shown = [row for row in rows if row["implementation"] == REFERENCE and not row["variation"]]
    shown = [row for row in shown if row["time_ratio"] is not None]
    precision = plainest(row["precision"] for row in shown)
    for operation in dict.fromkeys(row["operation"] for row in shown):
        dots = [
            Dot(
                row["workload"],
                letters[row["side"]] + (f", {row['device']}" if row["device"] != "cpu" else ""),
                *(row[f"time_{name}"] for name in ("ratio", "ratio_low", "ratio_high")),
            )
            for row in shown
            if (row["operation"], row["precision"]) == (operation, precision)
        ]
        if dots:
            yield Forest(
                f"{title}: is the {operation_words(operation)} faster than on {baseline.letter}?",
                f"The reference's seconds per step over those on {baseline.letter}, {precision}, with 95% intervals, "
                f"noise floors included. Below 1 is faster.",
                dots,
            )
