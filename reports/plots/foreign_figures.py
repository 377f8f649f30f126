"""Plots of other projects' benchmarks: by group, and over a parameter that is a number."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from reports.plots.figures import SCALING_POINTS
from reports.plots.kinds import Curve, Curves, Dot, Forest, Plot
from reports.store.run_folder import Row
from reports.tables.foreign import numeric

LINES, SERIES = 24, 6
"""What a plot can hold; the table beside it has everything."""

LABEL = 26
"""Characters of a name beside a plot. Its end is kept, where parameters stand."""

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def group_plot(rows: Sequence[Row], title: str, files: Sequence[str]) -> Iterator[Plot]:
    """How long the benchmarks of a group take; of several files, how many times as long as in the first one."""
    if len(files) > 1:
        drawn = [row for row in rows if row["ratio"] is not None and row["file"] in files[-SERIES:]]
        drawn.sort(key=lambda row: -abs(math.log(row["ratio"])))
        kept, more = _first(drawn)
        kept.sort(key=rows.index)
        labels = _labels(kept)
        dots = [
            Dot(
                labels[row["fullname"]],
                f"{row['file']} / {files[0]}",
                *_ends(row, "ratio", "ratio_low", "ratio_high", 1),
            )
            for row in kept
        ]
        described = f"Time beside file {files[0]}, with its interval: left of 1 is faster than there."
        if dots:
            yield Forest(f"{title}: how many times as long?", described + _told(more, "those that differ most"), dots)
        return
    drawn = [row for row in rows if row["seconds"] > 0]
    kept, more = _first(drawn)
    if not kept:
        return
    unit, size = _unit(row["seconds"] for row in kept)
    labels = _labels(kept)
    dots = [Dot(labels[row["fullname"]], row["estimator"], *_ends(row, "seconds", "low", "high", size)) for row in kept]
    described = (
        f"Time of a call, on a logarithmic axis, with its interval where samples were kept.{_told(more, 'the first')}"
    )
    yield Forest(f"{title}: how long does a call take?", described, dots, f" {unit}")


def over_files(rows: Sequence[Row], files: Sequence[str]) -> Iterator[Curves]:
    """Of three files and more: how times went from file to file, of the benchmarks that moved the most."""
    if len(files) < SCALING_POINTS:
        return
    courses: dict[str, dict[int, Row]] = {}
    for row in rows:
        if row["ratio"] is not None:
            courses.setdefault(row["fullname"], {})[files.index(row["file"]) + 1] = row
    moved = sorted(courses, key=lambda name: -max(abs(math.log(row["ratio"])) for row in courses[name].values()))
    shown = [name for name in courses if name in set(moved[:SERIES])]
    labels = _labels(next(iter(courses[name].values())) for name in shown)
    curves = []
    for name in shown:
        course = sorted(courses[name].items())
        times = [_ends(row, "ratio", "ratio_low", "ratio_high", 1) for _, row in course]
        ends = [(low, high) if math.isfinite(low) else (y, y) for y, low, high in times]
        curves.append(Curve(labels[name], [1, *(x for x, _ in course)], [1, *(y for y, *_ in times)], [(1, 1), *ends]))
    if curves:
        more = _told(len(moved) - len(shown), "those that moved the most")
        described = f"Time beside file {files[0]}, with its interval, in the order in which the files were named.{more}"
        yield Curves("How did times go from file to file?", described, "file", f"times file {files[0]}", curves)


def _first(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The rows of as many benchmarks as a plot can hold, and how many more there are."""
    names = list(dict.fromkeys(row["fullname"] for row in rows))
    kept = set(names[:LINES])
    return [row for row in rows if row["fullname"] in kept], len(names) - len(kept)


def _told(more: int, which: str) -> str:
    return f" Drawn are {which}; {more} more are in the table." if more else ""


def _ends(row: Row, estimate: str, low: str, high: str, size: float) -> tuple[float, float, float]:
    ends = (row[low], row[high])
    known = all(math.isfinite(end) and end > 0 for end in ends)
    return row[estimate] / size, *((end / size) if known else math.nan for end in ends)


def _unit(seconds: Iterable[float]) -> tuple[str, float]:
    most = max(seconds)
    return next(((unit, size) for size, unit in UNITS if most >= size), ("ns", 1e-9))


def _labels(rows: Iterable[Row]) -> dict[str, str]:
    """What the lines are called, by the benchmark's identity: short, and no two alike."""
    names = {row["fullname"]: row["name"] for row in rows}
    short = {full: name if len(name) <= LABEL else f"…{name[1 - LABEL :]}" for full, name in names.items()}
    seen: Counter[str] = Counter()
    for full, name in short.items():
        seen[name] += 1
        short[full] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return short


def over_parameters(rows: Sequence[Row], files: Sequence[str]) -> Iterator[Curves]:
    """Time over each parameter that is a number and varies while the others stay, one plot per family."""
    timed = [(row, json.loads(row["params"])) for row in rows if row["seconds"] > 0]
    for family in dict.fromkeys(row["family"] for row, _ in timed):
        of_family = [(row, params) for row, params in timed if row["family"] == family]
        for axis in dict.fromkeys(name for _, params in of_family for name in params):
            lines: dict[str, list[tuple[float, Row]]] = {}
            for row, params in of_family:
                if numeric(params.get(axis)):
                    others = ", ".join(f"{name} {value}" for name, value in params.items() if name != axis)
                    of_file = f"file {row['file']}" if len(files) > 1 else ""
                    label = ", ".join(filter(None, (others, of_file))) or "time"
                    lines.setdefault(label, []).append((float(params[axis]), row))
            lines = {name: at for name, at in lines.items() if len({x for x, _ in at}) >= SCALING_POINTS}
            if lines:
                yield _curves(family.rpartition("::")[2], axis, lines)


def _curves(family: str, axis: str, lines: dict[str, list[tuple[float, Row]]]) -> Curves:
    shown = dict(list(lines.items())[:SERIES])
    unit, size = _unit(row["seconds"] for at in shown.values() for _, row in at)
    curves = []
    for name, at in shown.items():
        at.sort(key=lambda point: point[0])
        times = [_ends(row, "seconds", "low", "high", size) for _, row in at]
        ends = [(low, high) if math.isfinite(low) else (y, y) for y, low, high in times]
        curves.append(Curve(name[:LABEL], [x for x, _ in at], [y for y, *_ in times], ends))
    positive = all(x > 0 for curve in curves for x in curve.x)
    more = len(lines) - len(shown)
    described = f"Time of a call over {axis}, with intervals where samples were kept." + (
        f" Drawn are the first; {more} more are in the table." if more else ""
    )
    return Curves(f"{family}: how does it grow with {axis}?", described, axis, unit, curves, log_x=positive, log_y=True)
