"""Sides compared row by row with one of them, which stays the same whatever is shown: the baseline.

A row is what was asked: a workload's operation by one contender on one device. Of each it is told how many times as
long as on the baseline it takes elsewhere, as measured and in steps of each machine's own control kernel; the latter
tells a slower machine from an implementation that uses it less well. What one side lacks stays in, with its reason.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

from reports.statistics import across
from reports.statistics.across import Estimate, There
from reports.statistics.intervals import Interval, t_interval
from reports.statistics.verdicts import MARGIN
from reports.store.run_folder import Row
from reports.tables import sides
from reports.tables.comparisons import AGAIN, CONTROLS
from reports.tables.frames import records
from reports.tables.memory import memory_of
from reports.tables.sides import Side

ASKED = (
    *("technique", "workload", "parameters", "operation", "implementation", "backend", "precision", "variation"),
    *("device", "scale", "seed"),
)
"""What tells one row from another. Its sources may differ, which is told."""

FACTS = (
    *("seconds", "low", "high", "heats", "share", "in_kernels", "memory_bytes", "joules", "source", "command"),
    "reason",
)
"""What a row holds of either side; of the baseline with ``baseline_`` before it."""

FOUND = ("ratio", "ratio_low", "ratio_high", "p", "q", "verdict")
MEASURES = {
    "time": {There.FASTER: "faster there", There.SLOWER: "slower there"},
    "use": {There.FASTER: "used better there", There.SLOWER: "used worse there"},
    "memory": {There.FASTER: "less there", There.SLOWER: "more there"},
    "energy": {There.FASTER: "less there", There.SLOWER: "more there"},
}
"""What is compared, and what less and more of it is called: seconds; steps of the machine's own kernel that a step
lasts, which is how well it is used; bytes; joules."""

COLUMNS = (
    *("side", "baseline", *ASKED, "kernel", "differs", "programs"),
    *(*FACTS, *(f"baseline_{name}" for name in FACTS)),
    *(f"{measure}_{name}" for measure in MEASURES for name in FOUND),
)
"""``programs`` names the sources that differ, so that the ratio is of two different programs. `FOUND` is missing where
either side has no number."""

KERNEL_COLUMNS = (
    *("side", "baseline", "implementation", "precision", "device", "seconds", "races", "baseline_seconds"),
    *("baseline_races", *(f"time_{name}" for name in FOUND)),
)

KERNELS = {"in_matmuls": "matmul_share", "in_copies": "memory_share"}
"""In steps of which kernel a row is measured, and the share of its rate that the row reaches."""

_NO_NUMBER = Interval(math.nan, -math.inf, math.inf, 1.0, 0, "heats")


def speeds(compared: Sequence[Side], baseline: Side) -> list[Row]:
    """Rows with `COLUMNS`: what the baseline or another side timed or failed, for each of the other sides.

    False discoveries are controlled over all rows, for each measure on its own.
    """
    base = _Measured(baseline)
    rows = []
    for side in compared:
        if side is not baseline:
            own = _Measured(side)
            changes = functools.cache(functools.partial(sides.causes, side, baseline))
            for key in dict.fromkeys((*base.rows, *own.rows)):
                line = {"side": side.name, "baseline": baseline.name} | dict(zip(ASKED, key, strict=True))
                line |= _beside(own, base, key)
                programs = (
                    sides.changed_sources(line["source"], line["baseline_source"], "workload") if _both(line) else []
                )
                line["programs"] = " and ".join(programs)
                line["differs"] = sides.said(changes(line["backend"], line["device"]), programs)
                rows.append(line)
    for measure in MEASURES:
        _judge(rows, measure)
    return rows


def _both(line: Row) -> bool:
    return line["seconds"] is not None and line["baseline_seconds"] is not None


class _Measured:
    """What one side timed or failed, by what was asked, with an estimate of each measure."""

    def __init__(self, side: Side) -> None:
        self.side = side
        timed = [row for row in records(side.tables["timings"]) if row["implementation"] not in (*CONTROLS, AGAIN)]
        failed = [row for row in records(side.tables["failures"]) if row["implementation"] not in (*CONTROLS, AGAIN)]
        self.rows = {_key(row): row for row in timed}
        for row in failed:
            self.rows.setdefault(_key(row), row)
        found = {
            "time": [_interval(row, row["seconds"], row["low"], row["high"]) for row in timed],
            "memory": [_memory(row) for row in timed],
            "energy": [_interval(row, row["joules"], row["joules_low"], row["joules_high"]) for row in timed],
        }
        for kernel in KERNELS:
            names = (kernel, f"{kernel}_low", f"{kernel}_high")
            found[kernel] = [_interval(row, *(row[name] for name in names)) for row in timed]
        keys = [_key(row) for row in timed]
        self.estimates = {
            measure: dict(zip(keys, across.estimates(intervals), strict=True)) for measure, intervals in found.items()
        }
        self._left_out = [
            row["name"].replace("/", "-") for row in records(side.tables["left_out"]) if row["kind"] == "race"
        ]

    def estimate(self, measure: str, key: tuple[Any, ...]) -> Estimate | None:
        """What it knows of a row."""
        return self.estimates[measure].get(key)

    def facts(self, key: tuple[Any, ...], kernel: str | None) -> Row:
        """`FACTS` of a row."""
        row = self.rows.get(key)
        if row is None or "seconds" not in row:
            asked = dict(zip(ASKED, key, strict=True))
            race = f"{asked['technique']}-{asked['workload']}-{asked['operation']}"
            missing = "left out for lack of time" if any(race in name for name in self._left_out) else "not run"
            reason = missing if row is None else f"{row['outcome']}: {row['reason']}"
            return (
                dict.fromkeys(FACTS)
                | {name: (row or {}).get(name) for name in ("source", "command")}
                | {"reason": reason}
            )
        beside = {"share": row[KERNELS[kernel]] if kernel else None, "in_kernels": row[kernel] if kernel else None}
        return {name: row.get(name) for name in FACTS} | beside | {"memory_bytes": memory_of(row), "reason": ""}


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ASKED)


def _interval(row: Row, estimate: float | None, low: float | None, high: float | None) -> Interval:
    """A number of a row of timings with its interval; one of a single heat says nothing about others."""
    if estimate is None:
        return _NO_NUMBER
    if row["heats"] < 2 or low is None or high is None or not (low > 0 and math.isfinite(high)):
        return Interval(estimate, -math.inf, math.inf, 1.0, 1, "a heat")
    return Interval(estimate, low, high, 1.0, row["heats"], "heats")


def _memory(row: Row) -> Interval:
    """The memory of a row: the middle of its interval over heats, where there is one, and not the most of all heats."""
    low, high = (row["memory_low"], row["memory_high"]) if row["device"] == "cpu" else (None, None)
    if low is None or high is None or not (low > 0 and math.isfinite(high)):
        return _interval(row, memory_of(row), None, None)
    return _interval(row, math.sqrt(low) * math.sqrt(high), low, high)


def _beside(own: _Measured, base: _Measured, key: tuple[Any, ...]) -> Row:
    """The facts of both sides, and ratios, still as intervals, where both have a number."""
    pairs = {name: (own.estimate(name, key), base.estimate(name, key)) for name in ("time", "memory", "energy")}
    kernel = _kernel(own, base, key)
    if kernel:
        pairs["use"] = own.estimate(kernel, key), base.estimate(kernel, key)
    line: Row = {"kernel": kernel} | own.facts(key, kernel)
    line |= {f"baseline_{name}": value for name, value in base.facts(key, kernel).items()}
    for measure in MEASURES:
        mine, theirs = pairs.get(measure, (None, None))
        floors = (MARGIN, 1.0) if measure == "memory" else (own.side.floor, base.side.floor)  # less is no saving
        line[measure] = across.ratio(mine, theirs, floors) if mine and theirs else None
    return line


def _kernel(own: _Measured, base: _Measured, key: tuple[Any, ...]) -> str | None:
    """In steps of which kernel both are measured: the one that the baseline comes nearer to, the product otherwise."""
    known = [name for name in KERNELS if own.estimate(name, key) and base.estimate(name, key)]
    row = base.rows.get(key, {})
    return max(known, key=lambda name: row[KERNELS[name]] or 0.0, default=None)


def _judge(rows: Sequence[Row], measure: str) -> None:
    """Replace the intervals of a measure by what they say, with false discoveries controlled over all rows."""
    known: list[tuple[Row, Interval]] = []
    for row in rows:
        ratio = row.pop(measure)
        row.update(dict.fromkeys(f"{measure}_{name}" for name in FOUND))
        if ratio is not None:
            known.append((row, ratio))
    for (row, ratio), (verdict, q) in zip(known, across.verdicts([ratio for _, ratio in known]), strict=True):
        found = (ratio.estimate, ratio.low, ratio.high, ratio.p, q, MEASURES[measure].get(verdict, verdict.value))
        row |= {f"{measure}_{name}": value for name, value in zip(FOUND, found, strict=True)}


def machines(compared: Sequence[Side], baseline: Side) -> list[Row]:
    """Rows with `KERNEL_COLUMNS`: how long the control kernels take on each machine, over all races of a side.

    A race is a unit here: what differs from one to the next is what the machine does over the time of a run.
    """
    base = _kernels(baseline)
    rows = []
    for side in compared:
        if side is not baseline:
            for key, own in _kernels(side).items():
                name, precision, device, _ = key
                if other := base.get(key):
                    line = {"side": side.name, "baseline": baseline.name, "implementation": name}
                    line |= {"precision": precision, "device": device, "seconds": own.estimate, "races": own.units}
                    line |= {"baseline_seconds": other.estimate, "baseline_races": other.units}
                    (mine,), (theirs,) = across.estimates([own]), across.estimates([other])
                    line["time"] = across.ratio(mine, theirs, (side.floor, baseline.floor)) if mine and theirs else None
                    rows.append(line)
    _judge(rows, "time")
    return rows


def _kernels(side: Side) -> dict[tuple[Any, ...], Interval]:
    """Seconds of each control kernel of one size, over races."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for row in records(side.tables["timings"]):
        if row["implementation"] in CONTROLS and row["seconds"]:
            key = (row["implementation"], row["precision"], row["device"], (row["multiply_adds"], row["bytes"]))
            found.setdefault(key, []).append(math.log(row["seconds"]))
    return {key: t_interval(logs, "heats").exp() for key, logs in found.items()}


PRECISION_ASKED = tuple(name for name in ASKED if name != "variation")
PRECISION_COLUMNS = ("side", *PRECISION_ASKED, "ratio", "low", "high", "verdict", "pays", "differs")
PAYS = {
    "faster": "pays",
    "slower": "costs time",
    "equivalent": "makes no difference",
    "undecided": "cannot tell",
}
"""What a precision's time beside float32 amounts to, by the verdict of the race in which both took turns."""


def precisions(compared: Sequence[Side]) -> list[Row]:
    """Rows with `PRECISION_COLUMNS`: what each mixed precision takes beside float32, on each side, in races there.

    ``differs`` tells whether it pays on one side, and does not on another.
    """
    found = {
        side.letter: {tuple(row[name] for name in PRECISION_ASKED): row for row in records(side.tables["precision"])}
        for side in compared
    }
    rows = []
    for key in dict.fromkeys(key for of_side in found.values() for key in of_side):
        lines = []
        for side in compared:
            row = found[side.letter].get(key, {})
            line = {"side": side.name} | dict(zip(PRECISION_ASKED, key, strict=True))
            line |= {name: row.get(name) for name in ("ratio", "low", "high", "verdict")}
            lines.append(line | {"pays": PAYS.get(str(row.get("verdict")), "not run")})
        pays = {line["pays"] == "pays" for line in lines if line["pays"] not in ("cannot tell", "not run")}
        rows += [line | {"differs": len(pays) > 1} for line in lines]
    return rows
