"""Runs over time: a line per benchmark, where its level changed, and what machines and environments did meanwhile.

A line is what was asked of one machine: a workload's operation by one contender. Its times are followed in steps of the
matrix product that ran in the same race, since a machine that is busier tonight is slower at both; where a race had no
such kernel, in moves through memory, or else in seconds. Changes are sought within one environment only: across another
package, times are of two programs.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics import levels
from reports.statistics.across import FLOOR_UNKNOWN
from reports.statistics.intervals import t_quantile
from reports.statistics.levels import Levels, Series
from reports.statistics.verdicts import MARGIN
from reports.store.run_folder import Row, canonical_hash
from reports.tables import sides
from reports.tables.across import ASKED
from reports.tables.comparisons import REFERENCE
from reports.tables.frames import records
from reports.tables.memory import PAGE

TIME, MEMORY = "time", "memory"
CALLED = {TIME: ("slower", "faster"), MEMORY: ("more memory", "less memory")}
"""What a new level is called that is above the old one, or below."""

UNITS = {"in_matmuls": "matrix products", "in_copies": "moves through memory", "seconds": "seconds"}
"""In which a time is followed: the first of them that most runs of a line know."""

MOST = 0.9

CHANGE_COLUMNS = (
    *("measure", "verdict", "ratio", "low", "high", "p", "q", "machine", *ASKED, "unit", "seconds_before", "seconds"),
    *("before", "before_started", "before_revision", "run", "started", "revision", "range", "sources", "command"),
    "line",
)
"""A new level: over the old one, since which run, and what lies between the last run before and the first after."""

EVENT_COLUMNS = ("event", "run", "started", "revision", "machine", "kind", "setting", "before", "after")
LINE_COLUMNS = (
    *("line", "measure", "machine", *ASKED, "unit", "run", "started", "revision", "environment"),
    *("value", "low", "high", "level", "band_low", "band_high", "seconds", "ratio", "baseline"),
)
"""A point of a line. Its level and the band around it are those of its segment: where a run lies in 95% of cases."""


@dataclass(frozen=True)
class Segment:
    """The points of a line that were measured in one environment.

    Attributes:
        points: in the order of runs.
        values: of the points, in the unit of the line, not as logarithms.
        found: its levels, as logarithms.
        floor: the smallest factor that counts as a change.
    """

    points: Sequence[Row]
    values: Sequence[float]
    found: Levels
    floor: float

    @property
    def reach(self) -> float:
        """How far from its level a run may lie, as a logarithm: by chance, or by the noise floor of its machine."""
        spread = self.found.spread
        return max(math.log(self.floor), spread) if math.isfinite(spread) else math.log(self.floor)


@dataclass(frozen=True)
class Line:
    """One benchmark over time.

    Attributes:
        asked: what was asked, by `ASKED`.
        measure: `TIME` or `MEMORY`.
        column: of the points, that is followed.
        machine: the hash of the machine.
        segments: by environment, in the order in which these were first used.
        changes: rows with `CHANGE_COLUMNS`.
    """

    asked: Row
    measure: str
    column: str
    machine: str
    segments: Sequence[Segment]
    changes: Sequence[Row]

    @property
    def anchor(self) -> str:
        """What a link to it ends in."""
        return f"l-{canonical_hash([self.asked, self.measure, self.machine])}"

    @property
    def unit(self) -> str:
        """What its numbers are."""
        return "bytes" if self.measure == MEMORY else UNITS[self.column]

    @property
    def points(self) -> list[Row]:
        """All its points, in the order of runs."""
        return sorted((point for each in self.segments for point in each.points), key=lambda point: point["order"])


@dataclass(frozen=True)
class Runs:
    """The runs of a history, oldest first, each once, and what changed around them."""

    rows: Sequence[Row]

    @classmethod
    def of(cls, runs: pd.DataFrame) -> "Runs":
        """Runs from a table with ``reports.tables.chapters.RUN_COLUMNS``; of a run that has grown, what it is now."""
        newest = {row["run"]: row for row in sorted(records(runs), key=lambda row: row["when"])}
        ordered = sorted(newest.values(), key=lambda row: (row["started"], row["run"]))
        return cls([row | {"order": order} for order, row in enumerate(ordered)])

    @property
    def by_run(self) -> Mapping[str, Row]:
        """Runs by what tells them."""
        return {row["run"]: row for row in self.rows}

    def events(self) -> list[Row]:
        """Rows with `EVENT_COLUMNS`: what a new machine or environment differs in from the run before it."""
        found: list[Row] = []
        known: dict[str, set[str]] = {}
        last: dict[str, Row] = {}
        for before, run in zip([None, *self.rows], self.rows, strict=False):
            environments = known.setdefault(run["machine"], set())
            if before is not None and run["environment"] not in environments:
                event = "environment" if environments else "machine"
                other = last.get(run["machine"], before)
                shown = {name: run[name] for name in ("run", "started", "revision")} | {"event": event}
                found += [shown | {"machine": run["machine_name"]} | each for each in _differences(other, run)]
            environments.add(run["environment"])
            last[run["machine"]] = run
        return found


def _differences(before: Row, after: Row) -> list[Row]:
    texts = [{(kind, name): text for kind, name, text in json.loads(run["settings"])} for run in (before, after)]
    pairs = {key: [each.get(key, sides.NONE) for each in texts] for key in dict.fromkeys([*texts[0], *texts[1]])}
    found = [
        {"kind": kind, "setting": name, "before": old, "after": new}
        for (kind, name), (old, new) in pairs.items()
        if old != new
    ]
    unseen = {"kind": "", "setting": "something that is not recorded", "before": "", "after": ""}
    return found or [unseen]


def between(before: Row, after: Row) -> str:
    """The commits after one run and up to another, as ``git log`` takes them, or why there are none."""
    if not (before["revision"] and after["revision"]):
        return "revision not known"
    changed = ", with uncommitted changes" if before["dirty"] or after["dirty"] else ""
    if before["revision"] == after["revision"]:
        return f"the same revision, {after['revision'][:9]}{changed}"
    return f"{before['revision'][:9]}..{after['revision'][:9]}{changed}"


def lines(runs: Runs, points: pd.DataFrame) -> list[Line]:
    """Every benchmark over time, time before memory, with changes that are sure over all of them together."""
    by_run = runs.by_run
    grouped: dict[tuple[Any, ...], list[Row]] = {}
    seen: set[tuple[Any, ...]] = set()
    for point in sorted(records(points), key=lambda row: (by_run[row["run"]]["order"], row["when"])):
        run = by_run[point["run"]]
        key = (run["machine"], *(point[name] for name in ASKED))
        if (*key, point["when"]) not in seen:  # the same measurement, in two folders, since `merge` copies rows
            seen.add((*key, point["when"]))
            shared = {name: run[name] for name in ("order", "environment", "started", "revision", "floor")}
            of_key = grouped.setdefault(key, [])
            if of_key and of_key[-1]["run"] == point["run"]:
                of_key.pop()  # measured again in one run: the newest counts
            of_key.append(point | shared)
    drafts = [
        (key, measure, column, segments)
        for measure in (TIME, MEMORY)
        for key, of_key in sorted(grouped.items(), key=lambda item: _reading_order(item[0]))
        if (column := _column(of_key, measure))
        for segments in [_segments([point for point in of_key if point[column]])]
    ]
    series = [
        _series(segment, column, (key[0], segment[0]["environment"], measure))
        for key, measure, column, segments in drafts
        for segment in segments
    ]
    found = iter(zip(series, levels.find(series), strict=True))
    return [_line(key, measure, column, segments, found, by_run) for key, measure, column, segments in drafts]


def _reading_order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    row = dict(zip(("machine", *ASKED), key, strict=True))
    race = tuple(str(row[name]) for name in ("technique", "workload", "parameters", "operation", "scale"))
    return *race, row["implementation"] != REFERENCE, str(key)


def _column(points: Sequence[Row], measure: str) -> str | None:
    """What is followed of some points."""
    for column in ("memory_bytes",) if measure == MEMORY else UNITS:
        if sum(point[column] is not None for point in points) >= MOST * len(points):
            return column
    return None


def _segments(points: Sequence[Row]) -> list[list[Row]]:
    """Points by environment: of a machine that goes back to an old one, or changes every night, too."""
    found: dict[str, list[Row]] = {}
    for point in points:
        found.setdefault(point["environment"], []).append(point)
    return list(found.values())


def _series(points: Sequence[Row], column: str, kin: tuple[str, ...]) -> Series:
    values = np.array([point[column] for point in points])
    known = [point["floor"] for point in points if point["floor"] is not None]
    floor = float(np.median(known)) if known else FLOOR_UNKNOWN
    memory = column == "memory_bytes"
    errors = [_error(point, column) for point in points]
    if memory:  # which may be the same to the byte, and is a whole number of pages
        errors = np.fmax(errors, PAGE / values).tolist()
    return Series(np.log(values), np.array(errors), MARGIN if memory else max(1.0, floor), kin)


def _error(point: Row, column: str) -> float:
    """The standard error that a point knows of itself; NaN where it does not."""
    low, high = point[f"{column}_low"], point[f"{column}_high"]
    if low is None or high is None or (point["heats"] or 0) < 2:
        return math.nan
    return math.log(high / low) / 2 / t_quantile(point["heats"] - 1)


def _line(
    key: tuple[Any, ...],
    measure: str,
    column: str,
    segments: Sequence[Sequence[Row]],
    found: Iterable[tuple[Series, Levels]],
    by_run: Mapping[str, Row],
) -> Line:
    asked = dict(zip(ASKED, key[1:], strict=True))
    whole = [
        Segment(points, [point[column] for point in points], result, series.floor)
        for points, (series, result) in zip(segments, found, strict=False)
    ]
    line = Line(asked, measure, column, key[0], whole, [])
    changes = [_change(line, each, number, by_run) for each in whole for number in range(len(each.found.changes))]
    return Line(asked, measure, column, key[0], whole, sorted(changes, key=lambda change: change["started"]))


def _change(line: Line, segment: Segment, number: int, by_run: Mapping[str, Row]) -> Row:
    change = segment.found.changes[number]
    places = [0, *(each.place for each in segment.found.changes), len(segment.points)]
    old, new = (segment.points[places[i] : places[i + 1]] for i in (number, number + 1))
    before, after = old[-1], new[0]
    then, since = by_run[before["run"]], by_run[after["run"]]
    ratio = change.ratio
    sources = sides.changed_sources(after["source"], before["source"], "workload")
    return {
        "measure": line.measure,
        "verdict": CALLED[line.measure][ratio.estimate < 1],
        "ratio": ratio.estimate,
        "low": ratio.low,
        "high": ratio.high,
        "p": ratio.p,
        "q": change.q,
        "machine": since["machine_name"],
        "unit": line.unit,
        **line.asked,
        "seconds_before": _middle(old),
        "seconds": _middle(new),
        "before": then["name"],
        "before_started": then["started"],
        "before_revision": then["revision"],
        "run": since["name"],
        "started": since["started"],
        "revision": since["revision"],
        "range": between(then, since),
        "sources": " and ".join(sources),
        "command": after["command"],
        "line": line.anchor,
    }


def _middle(points: Sequence[Row]) -> float:
    return float(np.median([point["seconds"] for point in points]))


def size(change: Row) -> float:
    """How large a change is, up or down: a factor of at least 1."""
    return max(change["ratio"], 1 / change["ratio"])


def line_rows(line: Line, by_run: Mapping[str, Row]) -> list[Row]:
    """Rows with `LINE_COLUMNS`."""
    rows = []
    for segment in line.segments:
        for point, value, level in zip(segment.points, segment.values, segment.found.levels.tolist(), strict=True):
            run = by_run[point["run"]]
            found = {"line": line.anchor, "measure": line.measure, "unit": line.unit, "value": value, **line.asked}
            found |= {"low": point[f"{line.column}_low"], "high": point[f"{line.column}_high"]}
            found |= {"level": math.exp(level), "machine": run["machine_name"], "run": run["name"]}
            found |= {"band_low": math.exp(level - segment.reach), "band_high": math.exp(level + segment.reach)}
            rows.append(found | {name: point[name] for name in LINE_COLUMNS if name in point and name not in found})
    return rows
