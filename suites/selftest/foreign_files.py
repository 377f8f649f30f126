"""Invented files of pytest-benchmark, as projects have them that know nothing of Touchstone; and the same, broken."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reports.store.run_folder import Row
from suites.selftest.broken_folders import BYTES, GONE, PLACES, VALUES, replaced

STATISTICS = ("min", "max", "mean", "stddev", "median", "iqr", "rounds")


def entry(
    fullname: str, seconds: float, rounds: int = 40, seed: int = 0, *, samples: bool = True, **beside: Any
) -> Row:
    """A benchmark whose rounds vary by a percent."""
    data = seconds * np.exp(np.random.default_rng(seed).normal(0, 0.01, rounds))
    stats: Row = {name: float(getattr(np, name)(data)) for name in ("min", "max", "mean", "median")}
    stats |= {"stddev": float(data.std(ddof=1)) if rounds > 1 else 0.0, "rounds": rounds, "iterations": 1}
    stats["iqr"] = float(np.subtract(*np.percentile(data, (75, 25))))
    stats |= {"ops": 1 / stats["mean"], "outliers": "1;2"}
    if samples:
        stats["data"] = data.tolist()
    name = fullname.rpartition("::")[2]
    return {"group": None, "name": name, "fullname": fullname, "params": None, "stats": stats} | beside


def file(*entries: Row, version: str = "5.3.1", commit: str = "0" * 40, **beside: Any) -> Row:
    """A file as pytest-benchmark writes it."""
    cpu = {"brand_raw": "Invented CPU", "count": 4, "flags": ["a", "b"]}
    python = {"python_implementation": "CPython", "python_version": "3.12.1"}
    machine = {"node": "secret-host", "machine": "x86_64", "system": "Linux", "release": "6.1", "cpu": cpu} | python
    return {
        "machine_info": machine,
        "commit_info": {"id": commit, "branch": "main", "dirty": False, "project": "theirs"},
        "benchmarks": list(entries),
        "datetime": "2026-11-01T10:00:00.123456+00:00",
        "version": version,
    } | beside


def every_kind() -> Row:
    """All that a file can hold: plain and parametrised, grouped and not, one sample, no samples, a GPU's statistics."""
    sizes = [
        entry(f"bench/test_a.py::test_sort[{size}]", 1e-6 * size, seed=size, params={"size": size}, group="sorting")
        for size in (10, 100, 1000)
    ]
    gpu = entry("bench/test_a.py::test_kernel", 2e-3, extra_info={"gpu": "H200", "batch": 8})
    gpu["stats"] |= {"gpu_mem": 1024, "gpu_util": 0.5}
    one = entry("bench/test_a.py::test_once", 0.5, rounds=1)
    summed = entry("bench/test_b.py::test_once", 0.25, samples=False)
    return file(*sizes, gpu, one, summed)


def write(path: Path, content: Row) -> Path:
    """As a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def damages() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Every damage to a file that `every_kind` has made: its bytes, its place, and each field by each value."""
    yield from BYTES.items()
    yield from PLACES.items()
    whole = every_kind()
    for value in (*VALUES, math.inf, "$\\frac{$", "<script>alert(1)</script>", "a\0\x1b[31m\nb", "x" * 100_000):
        told = "gone" if value is GONE else ascii(value)[:30]
        for where in _places(whole, ()):
            yield f"{'.'.join(map(str, where))} is {told}", replaced(where, value)


def _places(value: Any, where: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Each field within a value, and of each list the first and the last."""
    if where:
        yield where
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, list) and value:
        parts = [(0, value[0]), (len(value) - 1, value[-1])][: len(value)]
    if isinstance(value, dict):
        parts = list(value.items())
    for name, item in parts:
        yield from _places(item, (*where, name))


def twice_as_slow(content: Row) -> Row:
    """The same file, in which every benchmark takes twice as long."""
    slow = copy.deepcopy(content)
    for each in slow["benchmarks"]:
        stats = each["stats"]
        stats |= {name: stats[name] * 2 for name in ("min", "max", "mean", "median", "stddev", "iqr")}
        if "data" in stats:
            stats["data"] = [value * 2 for value in stats["data"]]
    return slow
