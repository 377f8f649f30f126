"""Whole run folders broken in many ways: each file by its bytes, lines and place, and each row field by field."""

import copy
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.store.run_folder import PROPERTIES, RUN, TIMINGS, TRIALS, Row, RunFolder, key_of
from suites.selftest import synthetic_races as races
from suites.selftest.synthetic_run import begin, failure_row, property_rows, trial_rows

FILES = (RUN, PROPERTIES, TRIALS, TIMINGS)
GONE = object()
"""In the place of a value: leave the field out."""
VALUES: tuple[Any, ...] = (
    *(GONE, None, True, -1, 0, 0.5, 1e300, 10**30, math.nan, "", "text", "\ud800", "2026-01-01"),
    *([], [None], ["a", 1], {}, {"a": None}, {"a": {"b": []}}, {"\ud800\n": 1}),
)
"""What a field is replaced by."""


PROMISE: Row = {
    "kind": "speed",
    "statement": "It is faster.",
    "label": "",
    "races": {
        "workloads": ["resnet*"],
        "operations": ["train"],
        "does": "{workload}",
        "instead": "it",
        "over": "without",
    },
    "claim": "shortcuts_carry",
    "properties": ["counts_are_exact"],
    "costs": "",
    "commands": {"races": "tox run -e test"},
}


@dataclass(frozen=True)
class Damage:
    """One way to break a folder.

    Attributes:
        name: of the file and of what happens to it.
        file: its name alone.
        do: breaks the file, given its path.
    """

    name: str
    file: str
    do: Callable[[Path], None]


def whole_folder(path: Path) -> RunFolder:
    """A small right folder with every kind of row, of which each field occurs."""
    folder = begin(path)
    run = folder.run
    left_out = {"kind": "race", "name": "a", "keys": ["k"], "command": "pytest"}
    run["sessions"][0] |= {"minutes": 3.5, "left_out": [left_out]}
    run["techniques"]["residual"]["caught"] = {"counts_are_exact": ["counts_wrongly"]}
    run["techniques"]["residual"]["promises"] = [PROMISE]
    folder.write_run(run)
    for row in list(property_rows())[:24:3]:
        folder.append(PROPERTIES, row | {"examples": 10, "discarded": 1, "worst_error": 0.25})
    for row in trial_rows(seeds=2):
        folder.append(TRIALS, row)
        for rate in (0.1, 0.3) if row["asked"]["condition"] == {"depth": 44} else ():
            for purpose in ("judge", "tune"):
                folder.append(TRIALS, _tuned(row, rate, purpose))
    times = {(name, "float32"): 0.02 for name in ("reference", "again", "keras", "without")} | {
        ("reference", "mixed_float16"): 0.01,
        ("reference", "float32", "threads=1"): 0.03,
        ("control-matmul", "float32"): 0.002,
        ("control-copy", "float32"): 0.009,
    }
    rng = np.random.default_rng(0)
    entries: list[Row] = []
    for depth in (20, 32, 44):
        asked = "residual", f"resnet{depth}", {"depth": depth}, "train"
        entries += races.race(rng, *asked, times, heats=3, blocks=2)
    entries[0]["extra_info"] |= {
        "stopped": "its ratio is plain",
        "why_faster": "it is fused",
        "start_s": 0.1,
        "call_s": 0.1,
    }
    entries[0]["extra_info"]["profile"] = {"operations": [{"name": "conv", "share": 0.5, "dtype": "float32"}]}
    failure = failure_row() | {"rounds": [{"heat": 0, "block": 0, "seconds": 0.1, "joules": None}]}
    folder.write_timings({"benchmarks": entries, "failures": [failure], "races": races.conditions(entries)})
    return folder


def _tuned(row: Row, rate: float, purpose: str) -> Row:
    """A trial of a claim that tunes, of which each field occurs."""
    points = len(row["series"]["training_loss"])
    definition = row["definition"] | {
        "arms": {"plain": "no shortcuts", "residual": "shortcuts"},
        "rates": {"published": 0.1, "grid": [0.1, 0.3]},
        "tuned_by": "loss",
        "fixed": {"batch": "64"},
        "least_seeds": 2,
    }
    law = definition["contrasts"][0] | {"baseline": 0.5, "expects": "equal"}
    definition["contrasts"] = [*definition["contrasts"], law]
    definition["metrics"] = definition["metrics"] | {"training_loss": {"title": "t", "better": "lower", "last": 2}}
    asked = row["asked"] | {"claim": "tuned", "rate": rate, "purpose": purpose}
    return row | {
        "key": key_of(asked),
        "asked": asked,
        "metrics": row["metrics"] | {"training_loss": 0.5},
        "steps": list(range(1, points + 1)),
        "clock": [0.1 * step for step in range(points)],
        "digest": "d",
        "outcome": "trained",
        "reason": "",
        "processor": "Invented",
        "definition": definition,
    }


def damages(folder: Path) -> Iterator[Damage]:
    """Every damage that this module knows, to a folder that `whole_folder` has made."""
    for file in FILES:
        for what, do in (*BYTES.items(), *PLACES.items()):
            yield Damage(f"{file}: {what}", file, do)
    for file in (PROPERTIES, TRIALS):
        for line in ("null", "[]", "1", '"text"', "{}", "", "{", "\x1c", "[" * 100_000):
            yield Damage(f"{file}: a line {line[:9]!r}", file, _with_line(line))
    yield from _of_fields(RUN, json.loads((folder / RUN).read_text(encoding="utf-8")), ())
    for file in (PROPERTIES, TRIALS):
        rows = [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]
        at = max(range(len(rows)), key=lambda number: len(json.dumps(rows[number])))
        yield from _of_fields(file, rows[at], (at,))
    timings = json.loads((folder / TIMINGS).read_text(encoding="utf-8"))
    yield from _of_fields(TIMINGS, timings, ())


def _of_fields(file: str, value: Any, where: tuple[Any, ...]) -> Iterator[Damage]:
    """Each field, list and first element within a value, replaced by each of `VALUES`; each list cut and doubled."""
    for new in VALUES:
        if where and where != (0,):
            told = "gone" if new is GONE else ascii(new)
            yield Damage(f"{file}: {'.'.join(map(str, where))} is {told}", file, replaced(where, new))
    if isinstance(value, list) and value:
        yield Damage(f"{file}: {where} cut", file, replaced(where, value[:-1]))
        yield Damage(f"{file}: {where} doubled", file, replaced(where, value * 2))
        yield from _of_fields(file, value[0], (*where, 0))
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _of_fields(file, item, (*where, name))


def replaced(where: tuple[Any, ...], new: Any) -> Callable[[Path], None]:
    """Replaces what stands at a place within a file; the first part of a line's place is its number."""

    def do(path: Path) -> None:
        lines = path.suffix == ".jsonl"
        text = path.read_text(encoding="utf-8")
        content = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
        inside = content
        for part in where[:-1]:
            inside = inside[part]
        if new is GONE:
            del inside[where[-1]]
        else:
            inside[where[-1]] = copy.deepcopy(new)
        text = "".join(json.dumps(row) + "\n" for row in content) if lines else json.dumps(content)
        path.write_text(text, encoding="utf-8")

    return do


def _with_line(line: str) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([lines[0], line, *lines[1:], ""]), encoding="utf-8")

    return do


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return do


def _only(content: bytes) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        path.write_bytes(content)

    return do


def _nested(content: bytes) -> bytes:
    """A field of the first object holds thousands of lists, one in the other."""
    return content.replace(b"{", b'{"deep": ' + b"[" * 5000 + b"]" * 5000 + b", ", 1)


BYTES: dict[str, Callable[[Path], None]] = {
    "empty": _only(b""),
    "one byte": _bytes(lambda content: content[:1]),
    "cut by a third": _bytes(lambda content: content[: len(content) // 3]),
    "cut by a byte": _bytes(lambda content: content[:-2]),
    "zeros at the end": _bytes(lambda content: content + b"\0" * 100),
    "a byte order mark": _bytes(lambda content: b"\xef\xbb\xbf" + content),
    "utf-16": _bytes(lambda content: content.decode().encode("utf-16")),
    "latin-1": _bytes(lambda content: content.replace(b'"', b'"\xe9', 1)),
    "a lone surrogate": _bytes(lambda content: content.replace(b'": "', b'": "\\ud800', 1)),
    "nested deeply": _bytes(_nested),
    "only brackets": _only(b"[" * 100_000),
    "null": _only(b"null\n"),
    "a list": _only(b"[]\n"),
    "a number": _only(b"1\n"),
    "a text": _only(b'"text"\n'),
    "NaN": _only(b"NaN\n"),
    "twice": _bytes(lambda content: content + content),
}


def _instead(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        path.unlink()
        make(path)

    return do


PLACES: dict[str, Callable[[Path], None]] = {
    "a folder": _instead(lambda path: path.mkdir()),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "a link to nothing": _instead(lambda path: path.symlink_to("nothing")),
    "a pipe": _instead(os.mkfifo),
}


def broken(whole: Path, path: Path, damage: Damage) -> Path:
    """A copy of a right folder, damaged."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path, ignore=shutil.ignore_patterns(".lock", "report"))
    damage.do(path / damage.file)
    return path
