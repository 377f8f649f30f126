"""Which numbers of a claim's trials each plot shows: by learning rate, by the claim's axis, and by step and time."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from reports.plots.kinds import Curve, Curves, finite
from reports.statistics.profiles import CONDITIONS, profile
from reports.store.run_folder import Row
from reports.words import setting, significant


def claim_plots(
    trials: Sequence[Row], training: Sequence[Row], contrasts: Sequence[Row], definition: Row
) -> Iterator[Curves]:
    """All plots of one rerun of a claim; the one that experts look for first comes first.

    Args:
        trials: one row per metric of a trial.
        training: one row per arm, series and step.
        contrasts: those that its card quotes, which say at which rate each arm is judged.
        definition: of the claim.
    """
    yield from rate_curves(trials, definition)
    judged = [row for row in trials if row["purpose"] == "judge"]
    yield from axis_curves(judged, definition)
    yield from profile_curves(judged, definition)
    yield from training_curves(training, _rates(contrasts), definition)


def _rates(contrasts: Sequence[Row]) -> dict[tuple[str, str], float | None]:
    """By arm and condition, the rate at which it is judged."""
    sides = ((row[side], row["condition"], row[f"{side}_rate"]) for row in contrasts for side in ("arm", "baseline"))
    return {(arm, condition): rate for arm, condition, rate in sides}


def rate_curves(trials: Sequence[Row], definition: Row) -> Iterator[Curves]:
    """The metric that tunes over the learning rate: the arms' means, and the range of the seeds that tune."""
    rates, metric = definition.get("rates"), definition.get("tuned_by")
    if not rates:
        return
    for condition in dict.fromkeys(row["condition"] for row in trials if row["purpose"] == "tune"):
        rows = [
            row
            for row in trials
            if (row["purpose"], row["metric"], row["condition"]) == ("tune", metric, condition)
            and row["value"] is not None
        ]
        curves = []
        for arm in _arms(rows, definition):
            points: dict[float, list[float]] = {}
            for row in rows:
                if row["arm"] == arm:
                    points.setdefault(row["rate"], []).append(row["value"])
            x = sorted(points)
            ranges = [(min(points[rate]), max(points[rate])) for rate in x]
            curves.append(Curve(arm, x, [float(np.mean(points[rate])) for rate in x], ranges))
        if not curves or max(len(curve.x) for curve in curves) < 2:
            continue
        facts = definition["metrics"][metric]
        described = (
            f"{_first_upper(facts['title'])} by learning rate at {setting(condition)}, {facts['better']} is better:"
        )
        described += " mean and range of the seeds that tune, which never judge. As published, all arms have "
        described += f"{significant(rates['published'])}."
        log_y = _wide([y for curve in curves for y in curve.y])
        heading = "Which learning rate suits which arm"
        yield Curves(heading, described, "learning rate", facts.get("unit") or "", curves, True, log_y, bands=True)


def training_curves(
    training: Sequence[Row], rates: Mapping[tuple[str, str], float | None], definition: Row
) -> Iterator[Curves]:
    """Every series of a claim's trials at the furthest condition that is judged, by step and by time of training.

    Each arm at the rate at which it is judged: medians, and ranges over seeds.
    """
    axis = definition["axis"]
    at = {condition: json.loads(condition).get(axis) for _, condition in rates}
    furthest = max((c for c, x in at.items() if isinstance(x, int | float)), key=lambda c: (at[c], c), default=None)
    judged = [r for r in training if (r["arm"], r["condition"]) in rates and r["condition"] == furthest]
    here = [row for row in judged if row["rate"] == rates[row["arm"], row["condition"]]]
    for name in dict.fromkeys(row["series"] for row in here):
        rows = [row for row in here if row["series"] == name and row["median"] is not None]
        lost = list(dict.fromkeys(row["arm"] for row in here if row["series"] == name and row["unusable"]))
        for by, x_title in (("step", "step"), ("clock", "seconds of processor time")):
            timed = [row for row in rows if row[by] is not None]
            curves = [_course([row for row in timed if row["arm"] == arm], arm, by) for arm in _arms(timed, definition)]
            if not curves or max(len(curve.x) for curve in curves) < 2:
                continue
            low, high = min(row["low"] for row in timed), max(row["high"] for row in timed)
            described = f"Median over seeds and their range, by {x_title} of training, at {setting(str(furthest))}."
            described += f" Seeds that were no longer finite are left out ({', '.join(lost)})." * bool(lost)
            title = f"{_first_upper(name.replace('_', ' '))} after equal {'steps' if by == 'step' else 'time'}"
            yield Curves(title, described, x_title, "", curves, log_y=low > 0 and high > 100 * low, bands=True)


MOST_POINTS, MOST_SEEDS = 50, 25
"""Of a curve, and at each place of one: a plot is not wide enough for more."""


def _course(rows: Sequence[Row], arm: str, by: str) -> Curve:
    rows = [*rows[: -1 : math.ceil(len(rows) / MOST_POINTS) or 1], *rows[-1:]]
    return Curve(
        arm,
        [row[by] for row in rows],
        [row["median"] for row in rows],
        [(row["low"], row["high"]) for row in rows],
    )


def axis_curves(trials: Sequence[Row], definition: Row) -> Iterator[Curves]:
    """Each metric of a claim over its axis, as published: the arms' medians as lines, every seed as a point."""
    axis, rates = definition["axis"], definition.get("rates") or {}
    by_ratio = {contrast["metric"] for contrast in definition["contrasts"] if contrast["scale"] == "ratio"}
    published = [row for row in trials if row["rate"] == rates.get("published")]
    for metric, facts in definition["metrics"].items():
        rows = [row for row in published if row["metric"] == metric and axis in json.loads(row["condition"])]
        curves = [
            finite(_arm([row for row in rows if row["arm"] == arm], arm, axis)) for arm in _arms(rows, definition)
        ]
        if not any(curve.x for curve in curves):
            continue
        values = [y for curve in curves for _, y in curve.observations]
        log_y = min(values) > 0 and (metric in by_ratio or _wide(values))
        missing = sum(len(curve.missing) for curve in curves)
        title = _first_upper(facts["title"])
        described = f"{title} over {axis} by arm{', as published' if rates else ''}; {facts['better']} is better."
        most = max(Counter(json.loads(row["condition"])[axis] for row in rows if row["arm"] == rows[0]["arm"]).values())
        which = "Every seed is a point" if most <= MOST_SEEDS else f"Of all seeds {MOST_SEEDS} are points"
        described += f" {which}, lines join medians."
        described += f" A cross at the top marks a seed that was not finite ({missing} in all)." if missing else ""
        yield Curves(title, described, axis, facts.get("unit") or "", curves, log_y=log_y)


def by_condition(trials: Sequence[Row], arm: str, metric: str, definition: Row) -> dict[str, list[float]]:
    """A metric of an arm's runs as published, by condition; missing is NaN."""
    published = (definition.get("rates") or {}).get("published")
    found: dict[str, list[float]] = {}
    for row in trials:
        if (row["purpose"], row["arm"], row["metric"], row["rate"]) == ("judge", arm, metric, published):
            found.setdefault(row["condition"], []).append(math.nan if row["value"] is None else row["value"])
    return found


def profile_curves(trials: Sequence[Row], definition: Row) -> Iterator[Curves]:
    """Of the metric of the first contrast: what share of an arm's runs, over all conditions, reaches how much."""
    metric = definition["contrasts"][0]["metric"]
    facts = definition["metrics"][metric]
    runs = {arm: by_condition(trials, arm, metric, definition) for arm in _arms(trials, definition)}
    runs = {arm: found for arm, found in runs.items() if len(found) >= CONDITIONS}
    finite_values = sorted(y for found in runs.values() for each in found.values() for y in each if math.isfinite(y))
    if len(runs) < 2 or not finite_values or finite_values[0] == finite_values[-1]:
        return
    levels = [float(level) for level in np.linspace(finite_values[0], finite_values[-1], 40)]
    lower = facts["better"] == "lower"
    curves = [Curve(arm, levels, *profile(found, levels, lower)) for arm, found in runs.items()]
    described = f"The share of runs whose {facts['title'][:1].lower()}{facts['title'][1:]} is at "
    described += f"{'most' if lower else 'least'} so much, each condition with the same weight, as published; "
    described += "bands from a bootstrap within conditions."
    yield Curves(
        "How many runs reach how much", described, facts.get("unit") or facts["title"], "share", curves, bands=True
    )


def _spread(values: Sequence[float]) -> list[float]:
    """The values, or as many of them as can be told apart, from the smallest to the largest."""
    if len(values) <= MOST_SEEDS:
        return list(values)
    return [sorted(values)[round(place)] for place in np.linspace(0, len(values) - 1, MOST_SEEDS)]


def _wide(values: Sequence[float]) -> bool:
    """Whether numbers are better told apart by their ratios."""
    return min(values) > 0 and max(values) > 100 * min(values)


def _first_upper(title: str) -> str:
    return title[:1].upper() + title[1:]


def _arms(rows: Sequence[Row], definition: Row) -> list[str]:
    """The arms in the order in which the claim names them, so that each has one colour in all plots."""
    found = dict.fromkeys(row["arm"] for row in rows)
    order = [*(definition.get("arms") or {})]
    return sorted(found, key=lambda arm: order.index(arm) if arm in order else len(order))


def _arm(rows: Sequence[Row], name: str, axis: str) -> Curve:
    positions = [json.loads(row["condition"])[axis] for row in rows]
    points = [(x, row["value"]) for x, row in zip(positions, rows, strict=True)]
    x_values = sorted(set(positions))
    finite_values = {x: [y for at, y in points if at == x and y is not None] for x in x_values}
    medians = [float(np.median(finite_values[x])) if finite_values[x] else math.nan for x in x_values]
    observations = [(x, y) for x in x_values for y in _spread(finite_values[x])]
    return Curve(name, x_values, medians, observations=observations, missing=[x for x, y in points if y is None])
