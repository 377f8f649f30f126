"""Which numbers of the tables each plot shows."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

import numpy as np

from reports.plots.kinds import Curve, Curves, Dot, Forest
from reports.store.run_folder import Row
from reports.tables.comparisons import AGAIN, CONTROLS, PLAIN, REFERENCE
from reports.words import contender, machine_letter
from reports.words import operation as operation_words

SCALING_POINTS = 3
"""A parameter is an axis when it takes at least so many values while all others stay as they are."""


def cost_forests(ratios: Sequence[Row], title: str) -> Iterator[Forest]:
    """What the technique costs, and what its peers take beside the reference, in the plainest precision run."""
    precision = plainest(row["precision"] for row in ratios)
    rows = [row for row in ratios if row["precision"] == precision]
    described = f"Ratio of seconds per step with its 95% interval, {precision}, by workload."
    return _forests(rows, f"{title}, cost and peers", described, lambda row: f"{contender(row)} / {row['baseline']}")


def precision_forests(precision: Sequence[Row], title: str) -> Iterator[Forest]:
    """Every mixed precision over float32, reference only."""
    rows = [row for row in precision if row["implementation"] == REFERENCE]
    described = "Ratio of the reference's seconds per step to its own in float32, with its 95% interval, by workload."
    return _forests(rows, f"{title}, mixed over float32", described, lambda row: row["precision"])


def _forests(rows: Sequence[Row], title: str, description: str, series: Callable[[Row], str]) -> Iterator[Forest]:
    """One plot per operation and scale."""
    scales = {row["scale"] for row in rows}
    for name, scale in dict.fromkeys((row["operation"], row["scale"]) for row in rows):
        dots = [
            Dot(row["workload"], series(row) + machine_letter(row), row["ratio"], row["low"], row["high"])
            for row in rows
            if (row["operation"], row["scale"]) == (name, scale) and row["ratio"] is not None
        ]
        suffix = f", {scale} scale" if len(scales) > 1 else ""
        if dots:
            yield Forest(f"{title}: {operation_words(name)}{suffix}", description, dots)


def plainest(precisions: Iterable[str]) -> str:
    """float32 where it was run, else the first in alphabetical order."""
    found = sorted(set(precisions))
    return PLAIN if PLAIN in found or not found else found[0]


def scaling(timings: Sequence[Row], title: str) -> Iterator[Curves]:
    """Seconds per step over each parameter that varies on its own, one plot per operation, logarithmic both ways."""
    precision = plainest(row["precision"] for row in timings)
    drawn = [
        row
        for row in timings
        if row["precision"] == precision and row["seconds"] is not None
        if row["implementation"] not in (*CONTROLS, AGAIN)  # the first do not grow, and the other is the reference
    ]
    rows = [(row, json.loads(row["parameters"])) for row in drawn]
    names = dict.fromkeys(name for _, parameters in rows for name in parameters)
    for name in names:
        families: dict[tuple[str, str, str], dict[str, list[tuple[float, Row]]]] = {}
        for row, parameters in rows:
            value = parameters.get(name)
            others = {key: other for key, other in parameters.items() if key != name}
            family = row["operation"], row["scale"], json.dumps(others)
            if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                label = contender(row) + machine_letter(row)
                families.setdefault(family, {}).setdefault(label, []).append((value, row))
        for (operation, _, _), lines in families.items():
            curves = [_scaling_curve(label, points) for label, points in lines.items()]
            curves = [curve for curve in curves if len(set(curve.x)) >= SCALING_POINTS]
            if curves:
                axis = name.replace("_", " ")
                described = f"Time per step over {axis}, {precision}, both axes logarithmic, with 95% intervals."
                heading = f"{title}: {operation_words(operation)} over {axis}"
                yield Curves(heading, described, axis, "milliseconds per step", curves, log_x=True, log_y=True)


def _scaling_curve(label: str, points: list[tuple[float, Row]]) -> Curve:
    points = sorted(points, key=lambda point: point[0])
    times = [1e3 * row["seconds"] for _, row in points]
    ends = [(1e3 * row["low"], 1e3 * row["high"]) for _, row in points]
    intervals = [pair if math.isfinite(pair[1]) else (time, time) for pair, time in zip(ends, times, strict=True)]
    return Curve(label, [x for x, _ in points], times, intervals)


def drift(timings: Sequence[Row]) -> Iterator[Curves]:
    """The control kernels of one machine over the run, one plot per device: what moves here is the machine."""
    controls = [row for row in timings if row["implementation"] in CONTROLS and row["seconds"]]
    for device in dict.fromkeys(row["device"] for row in controls):
        rows = sorted((row for row in controls if row["device"] == device), key=lambda row: row["when"])
        times = [datetime.fromisoformat(row["when"]) for row in rows]
        minutes = [(time - times[0]).total_seconds() / 60 for time in times]
        unit, size = next(((unit, size) for unit, size in _SPANS if minutes[-1] >= 3 * size), _SPANS[-1])
        series: dict[str, list[tuple[float, Row]]] = {}
        for minute, row in zip(minutes, rows, strict=True):
            precision = f", {row['precision']}" if row["implementation"] == CONTROLS[0] else ""
            series.setdefault(contender(row) + precision, []).append((minute / size, row))
        if max(len({x for x, _ in points}) for points in series.values()) > 1:
            curves = [_drift_curve(name, points) for name, points in series.items()]
            described = "Step time of the control kernels in each race, over their median of all races."
            title = "The machine over the run" + (f", {device}" if device != "cpu" else "")
            yield Curves(title, described, f"{unit} since the first race", "times the median", curves)


_SPANS = (("days", 1440), ("hours", 60), ("minutes", 1))


def _drift_curve(name: str, points: Sequence[tuple[float, Row]]) -> Curve:
    usual = float(np.median([row["seconds"] for _, row in points]))
    return Curve(name, [x for x, _ in points], [row["seconds"] / usual for _, row in points])
