"""Benchmarks of other projects as tables: one row per benchmark and file, with what it is beside the first file.

No races are made of them: they took no turns, no A/A pair says how noisy their machine was, and nothing is known of the
code. What can be said is how long each took, with an interval where its samples are there; and, of several files, how
many times as long as in the first one, with an interval that is as wide as that ignorance.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics import across
from reports.statistics.intervals import Interval, Rounds, step_time, t_quantile
from reports.store.pytest_benchmark import STATISTICS, Benchmark, File, load
from reports.store.run_folder import Row
from reports.tables.frames import files_of
from reports.tables.places import letters

COLUMNS = {
    "files": (
        *("file", "path", "when", "version", "commit", "branch", "dirty", "project", "processor", "cores"),
        *("system", "python", "machine", "benchmarks", "left_out"),
    ),
    "benchmarks": (
        *("file", "group", "fullname", "name", "family", "params", "seconds", "estimator", "low", "high", "basis"),
        *("rounds", "per_second", *(name for name in STATISTICS if name != "ops"), "extra"),
        *("ratio", "ratio_low", "ratio_high", "verdict"),
    ),
    "absent": ("file", "group", "fullname", "name"),
}

MEDIAN, MEAN = "median", "mean"

FLOORS = (across.FLOOR_UNKNOWN, across.FLOOR_UNKNOWN)
"""Neither file holds an A/A race: each counts as off by as much as is usual."""


@dataclass(frozen=True)
class Foreign:
    """What files of other projects hold.

    Attributes:
        files: as they were read, the first of which is what the others are compared with.
        frames: the tables by name, with `COLUMNS`; ``absent`` are benchmarks that a file lacks and another has.
        notes: what was left out, a sentence each.
    """

    files: Sequence[File]
    frames: Mapping[str, pd.DataFrame]
    notes: Sequence[str]

    def tables(self) -> dict[str, bytes]:
        """Every table as CSV and as Parquet, by the name of its file."""
        return files_of(self.frames)


def read_foreign(paths: Iterable[Path]) -> Foreign:
    """Read JSON of pytest-benchmark into tables.

    Raises:
        RunFolderError: a file cannot be read, or there is none.
    """
    files, notes = load(paths)
    named = [f"{file.path}: {note}" for file in files for note in file.notes]
    rows = _benchmarks(files)
    tables = {"files": _files(files), "benchmarks": rows, "absent": _absent(rows, len(files))}
    frames = {name: pd.DataFrame(found, columns=list(COLUMNS[name])) for name, found in tables.items()}
    return Foreign(files, frames, [*notes, *named])


def _files(files: Sequence[File]) -> list[Row]:
    rows = []
    for letter, file in zip(letters(), files, strict=False):
        machine, commit = file.machine, file.commit
        known = {name: _told(machine.get(name)) for name in ("processor", "cores", "system", "python")}
        others = {name: value for name, value in machine.items() if name not in known}
        rows.append(
            {"file": letter, "path": str(file.path), "when": file.when, "version": file.version}
            | {"commit": _told(commit.get("id")), "dirty": commit.get("dirty") is True}
            | {name: _told(commit.get(name)) for name in ("branch", "project")}
            | known
            | {"machine": json.dumps(others), "benchmarks": len(file.benchmarks), "left_out": len(file.notes)}
        )
    return rows


def _told(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _benchmarks(files: Sequence[File]) -> list[Row]:
    """All rows, by group and by benchmark, as they first come; one row per file that has it."""
    measured = [
        (letter, each, _time(each)) for letter, file in zip(letters(), files, strict=False) for each in file.benchmarks
    ]
    first = {each.fullname: time for letter, each, time in measured if letter == "A"}
    rows = [_row(letter, each, time) for letter, each, time in measured]
    bearers = Counter(name for name, _ in {(row["name"], row["fullname"]) for row in rows})
    for row in rows:
        row["name"] = row["name"] if bearers[row["name"]] == 1 else row["fullname"]
    compared = [
        (row, _ratio(time, first[each.fullname]))
        for row, (letter, each, time) in zip(rows, measured, strict=True)
        if letter != "A" and each.fullname in first
    ]
    known = [(row, ratio) for row, ratio in compared if ratio is not None]
    for (row, ratio), (verdict, _) in zip(known, across.verdicts([ratio for _, ratio in known]), strict=True):
        row |= {"ratio": ratio.estimate, "ratio_low": ratio.low, "ratio_high": ratio.high, "verdict": verdict.value}
    groups = list(dict.fromkeys(row["group"] for row in rows))
    families = list(dict.fromkeys((row["group"], row["family"]) for row in rows))
    group_at = {group: number for number, group in enumerate(groups)}
    family_at = {family: number for number, family in enumerate(families)}
    return sorted(
        rows, key=lambda row: (group_at[row["group"]], family_at[row["group"], row["family"]], _by_params(row))
    )


def _row(letter: str, benchmark: Benchmark, time: Interval) -> Row:
    statistics = dict(benchmark.statistics)
    seconds = time.estimate
    return (
        dict.fromkeys(COLUMNS["benchmarks"])
        | {"file": letter, "group": benchmark.group, "fullname": benchmark.fullname, "name": benchmark.name}
        | {"family": family(benchmark.fullname), "params": json.dumps(benchmark.params)}
        | {"seconds": seconds, "estimator": MEDIAN if benchmark.samples or MEDIAN in statistics else MEAN}
        | {"low": time.low, "high": time.high, "basis": time.basis, "rounds": benchmark.rounds}
        | {"per_second": statistics.pop("ops", None) or _inverse(statistics.get("mean", seconds))}
        | statistics
        | {"extra": json.dumps(benchmark.extra)}
    )


def _inverse(seconds: float) -> float | None:
    return 1 / seconds if seconds else None


def family(fullname: str) -> str:
    """What benchmarks share that differ by their parameters alone: ``test_sort`` of ``test_sort[10]``."""
    return fullname.partition("[")[0] if fullname.endswith("]") else fullname


def _by_params(row: Row) -> tuple[Any, ...]:
    """By parameters, numbers by their size; then by name, and by file."""
    values = json.loads(row["params"]).items()
    keys = [(name, 0, float(value), "") if numeric(value) else (name, 1, 0.0, str(value)) for name, value in values]
    return (*keys, ("", 2, 0.0, row["fullname"])), (len(row["file"]), row["file"])


def numeric(value: Any) -> bool:
    """Whether a parameter's value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _time(benchmark: Benchmark) -> Interval:
    """How long a call takes, with an interval of the median where the samples are there, or what says how they vary."""
    samples, statistics = benchmark.samples, benchmark.statistics
    if samples:
        ones = np.ones(len(samples), np.int64)
        return step_time(Rounds.of("", samples, benchmark.heats or ones, ones))
    seconds, rounds = statistics.get(MEDIAN, statistics.get(MEAN, math.nan)), benchmark.rounds or 0
    if MEDIAN in statistics and "iqr" in statistics:
        return _from_spread(seconds, MEDIAN_ERROR * statistics["iqr"], rounds, QUARTILES)
    if MEDIAN not in statistics and "stddev" in statistics:
        return _from_spread(seconds, statistics["stddev"], rounds, DEVIATION)
    return Interval(seconds, -math.inf, math.inf, 1.0, rounds, "")


QUARTILES, DEVIATION = "quartiles", "standard deviation"
"""The bases of intervals of benchmarks whose samples nobody kept."""

LEAST_ROUNDS = 6
"""Of fewer, no interval of a median holds 95%, whatever the samples."""

MEDIAN_ERROR = math.sqrt(math.pi / 2) / 1.349
"""The standard error of a median is so many times the quartiles' distance, over the root of the number of samples.

So for samples that are normal in their middle half (McGill, Tukey and Larsen, "Variations of box plots", American
Statistician 32, 1978), whatever their tails are.
"""


def _from_spread(seconds: float, spread: float, rounds: int, basis: str) -> Interval:
    """An interval of a time, by the error of its logarithm, which keeps it positive."""
    if rounds < LEAST_ROUNDS or not seconds > 0:
        return Interval(seconds, -math.inf, math.inf, 1.0, rounds, basis)
    reach = t_quantile(rounds - 1.0) * min(spread / seconds / math.sqrt(rounds), 1.0)
    return Interval(seconds, seconds * math.exp(-reach), seconds * math.exp(reach), 1.0, rounds, basis)


def _ratio(time: Interval, first: Interval) -> Interval | None:
    """How many times as long as in the first file; ``None`` where one of them is too short for its clock."""
    own, others = _estimate(time), _estimate(first)
    return across.ratio(own, others, FLOORS) if own and others else None


def _estimate(time: Interval) -> across.Estimate | None:
    if not time.estimate > 0:
        return None
    degrees = max(1.0, time.units - 1.0)
    known = time.known and time.low > 0
    error = math.log(time.high / time.low) / 2 / t_quantile(degrees) if known else math.inf
    return across.Estimate(math.log(time.estimate), error, degrees)


def _absent(rows: Sequence[Row], files: int) -> list[Row]:
    """The benchmarks that a file lacks, though another has them: nothing vanishes without a word."""
    held = {(row["file"], row["fullname"]) for row in rows}
    each = {row["fullname"]: row for row in rows}
    return [
        {"file": letter} | {name: row[name] for name in ("group", "fullname", "name")}
        for row in each.values()
        for letter, _ in zip(letters(), range(files), strict=False)
        if (letter, row["fullname"]) not in held
    ]
