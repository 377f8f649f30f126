"""Which numbers of the tables each plot shows."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from reports.comparisons import AGAIN, CONTROLS, PLAIN, REFERENCE
from reports.plot_kinds import Curve, Curves, Dot, Forest, finite
from reports.run_folder import Row
from reports.words import contender, machine_letter, setting
from reports.words import operation as operation_words

SCALING_POINTS = 3
"""A parameter is an axis when it takes at least so many values while all others stay as they are."""


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as plain objects, with ``None`` for what is missing."""
    return list(pa.Table.from_pandas(frame, preserve_index=False).to_pylist())


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


def training_curves(training: Sequence[Row], definition: Row) -> Iterator[Curves]:
    """Every series of a claim's trials by step, at the furthest condition: the arms' medians and ranges over seeds."""
    axis = definition["axis"]
    at = {condition: json.loads(condition).get(axis) for condition in {row["condition"] for row in training}}
    furthest = max((c for c, x in at.items() if isinstance(x, int | float)), key=lambda c: (at[c], c), default=None)
    here = [row for row in training if row["condition"] == furthest]
    for name in dict.fromkeys(row["series"] for row in here):
        rows = [row for row in here if row["series"] == name and row["median"] is not None]
        curves = [
            Curve(
                arm,
                [row["step"] for row in rows if row["arm"] == arm],
                [row["median"] for row in rows if row["arm"] == arm],
                [(row["low"], row["high"]) for row in rows if row["arm"] == arm],
            )
            for arm in _arms(rows)
        ]
        lost = [row["arm"] for row in here if row["series"] == name and row["unusable"]]
        if not curves or max(len(curve.x) for curve in curves) < 2:
            continue
        low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
        words = name.replace("_", " ")
        described = f"Median over seeds and their range, by step of training, at {setting(str(furthest))}."
        described += f" Seeds that were no longer finite are left out ({', '.join(dict.fromkeys(lost))})." * bool(lost)
        title = f"{words[:1].upper()}{words[1:]} while training"
        yield Curves(title, described, "step", "", curves, log_y=low > 0 and high > 100 * low, bands=True)


def claim_curves(trials: Sequence[Row], definition: Row) -> Iterator[Curves]:
    """Each metric of a claim over its axis: the arms' medians as lines, every seed as a point."""
    axis = definition["axis"]
    by_ratio = {contrast["metric"] for contrast in definition["contrasts"] if contrast["scale"] == "ratio"}
    for metric, facts in definition["metrics"].items():
        rows = [row for row in trials if row["metric"] == metric and axis in json.loads(row["condition"])]
        curves = [finite(_arm([row for row in rows if row["arm"] == arm], arm, axis)) for arm in _arms(rows)]
        if not any(curve.x for curve in curves):
            continue
        values = [y for curve in curves for _, y in curve.observations]
        log_y = min(values) > 0 and (metric in by_ratio or max(values) > 100 * min(values))
        missing = sum(len(curve.missing) for curve in curves)
        title = facts["title"][:1].upper() + facts["title"][1:]
        described = (
            f"{title} over {axis} by arm; {facts['better']} is better. Every seed is a point, lines join medians."
        )
        described += f" A cross at the top marks a seed that was not finite ({missing} in all)." if missing else ""
        yield Curves(title, described, axis, facts.get("unit") or "", curves, log_y=log_y)


def _arms(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))


def _arm(rows: Sequence[Row], name: str, axis: str) -> Curve:
    positions = [json.loads(row["condition"])[axis] for row in rows]
    points = [(x, row["value"]) for x, row in zip(positions, rows, strict=True)]
    x_values = sorted(set(positions))
    finite_values = {x: [y for at, y in points if at == x and y is not None] for x in x_values}
    medians = [float(np.median(finite_values[x])) if finite_values[x] else math.nan for x in x_values]
    observations = [(x, y) for x, y in points if y is not None]
    return Curve(name, x_values, medians, observations=observations, missing=[x for x, y in points if y is None])
