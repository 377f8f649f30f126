"""What services that follow benchmarks over time read: one entry per time, ratio and memory, under a name that stays.

A name holds the whole condition, so that no two contenders share one, and the same contender has the same one in every
run: ``residual/resnet20-digits/train[keras-float32-tensorflow-cpu-quick]``.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports import words
from reports.store.run_folder import Row
from reports.tables.comparisons import WITHOUT
from reports.tables.frames import Tables, records


@dataclass(frozen=True)
class Tracked:
    """One number to follow, of which a smaller one is better.

    Attributes:
        name: of the contender, with its condition.
        measure: what is measured.
        unit: of the value.
        value: a finite number.
        ends: of its 95% interval; ``None`` where there is none.
        interval: the same in words.
        verdict: what it amounts to, or ``""``.
        command: measures it again.
    """

    name: str
    measure: str
    unit: str
    value: float
    ends: tuple[float, float] | None
    interval: str
    verdict: str
    command: str


TIME, MEMORY, RATIO = "seconds per step", "memory in bytes", "times {baseline}"
"""What the measures are called."""

BOUNDED = ", 95% interval"
"""What Bencher's measures are called besides, whether or not an interval is known: a measure keeps its name."""


def tracked(tables: Tables) -> list[Tracked]:
    """All times, ratios and memory of run folders."""
    timings = records(tables["timings"])
    ratios: dict[tuple[str, str], list[Row]] = {}
    for row in [*records(tables["ratios"]), *records(tables["noise"]), *records(tables["precision"])]:
        ratios.setdefault((row["place"], row["key"]), []).append(row)
    names = _names(timings)
    return [
        entry
        for row, name in zip(timings, names, strict=True)
        for entry in _entries(row, name, ratios.get((row["place"], row["key"]), []))
    ]


def _names(rows: Sequence[Row]) -> list[str]:
    """What contenders are called; where two would share a name, their keys tell them apart."""
    names = [_name(row) for row in rows]
    bearers = Counter(names)
    return [f"{name}#{row['key']}" if bearers[name] > 1 else name for name, row in zip(names, rows, strict=True)]


def _name(row: Row) -> str:
    how = [row[name] for name in ("implementation", "precision", "backend", "device", "scale")]
    how += [row["variation"].replace(", ", "-")] if row["variation"] else []
    return f"{row['technique']}/{row['workload']}/{row['operation']}[{'-'.join(how)}]"


def _entries(row: Row, name: str, ratios: Iterable[Row]) -> Iterator[Tracked]:
    """What is known of a contender."""
    said, beside = [], []
    for ratio in ratios:
        baseline = _baseline(row, ratio)
        if _known(ratio["ratio"]):
            said.append(f"{words.factor(ratio['ratio'])} {baseline}: {ratio['verdict']}")
            interval = words.factor_interval(*_numbers(ratio))
            measure = RATIO.format(baseline=baseline)
            beside.append(
                Tracked(name, measure, "×", ratio["ratio"], _ends(ratio), interval, ratio["verdict"], row["command"])
            )
    if _known(row["seconds"]):
        interval = words.seconds_interval(*_numbers(row))
        yield Tracked(name, TIME, "s", row["seconds"], _ends(row), interval, "; ".join(said), row["command"])
    if _known(row["memory_bytes"]):
        yield Tracked(name, MEMORY, "bytes", row["memory_bytes"], None, "no interval", "", row["command"])
    yield from beside


def _baseline(row: Row, ratio: Row) -> str:
    """What a contender is compared with, in words that continue "2.0 times"."""
    if ratio["baseline"] == WITHOUT:
        return "the same without the technique"
    if ratio["baseline_precision"] != row["precision"]:
        return f"the same in {ratio['baseline_precision']}"
    return f"the {ratio['baseline']}" + (" in the usual way" if row["variation"] else "")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _numbers(row: Row) -> tuple[float, float]:
    return tuple(math.nan if row[end] is None else row[end] for end in ("low", "high"))  # type: ignore[return-value]


def _ends(row: Row) -> tuple[float, float] | None:
    low, high = _numbers(row)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def github_action_benchmark(entries: Iterable[Tracked]) -> bytes:
    """The ``customSmallerIsBetter`` of github-action-benchmark."""
    return _json(
        [
            {
                "name": f"{each.name}, {each.measure}",
                "unit": each.unit,
                "value": each.value,
                "range": each.interval,
                "extra": "\n".join(filter(None, (each.verdict, each.command))),
            }
            for each in entries
        ]
    )


def bencher(entries: Iterable[Tracked]) -> bytes:
    """The Bencher Metric Format. Bounds are usually a standard deviation; these are an interval, as the name says."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for each in entries:
        bounds = dict(zip(("lower_value", "upper_value"), each.ends or (), strict=False))
        found.setdefault(each.name, {})[f"{each.measure}{BOUNDED}"] = {"value": each.value, **bounds}
    return _json(found)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
