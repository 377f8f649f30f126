"""JSON of pytest-benchmark, as other projects have it: from ``--benchmark-json``, or from its storage folder.

The files that are around differ more than the versions of their format do: some keep every sample and some only what
was computed of them, groups may be null, plugins add statistics, and programs that imitate the format leave half of it
out. So a file is read by what it holds. Nothing is asked of it but a list of benchmarks; of a benchmark nothing but a
name and a time. What cannot be used is left out, and a note says what and why.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reports.store.files import RunFolderError, read
from reports.store.run_folder import Row, parse

SHORTEST, LONGEST = 1e-12, 1e9
"""Seconds between which a time can lie that a clock has shown; it may also be too short for the clock, which is 0."""

NAME, TEXT = 1000, 120
"""Characters: a longer name is no name, and of a longer text the rest is left out."""

FACTS = 12
"""Of what else a plugin has recorded of a benchmark or a machine, so many are shown."""

NOTHING = ("", "unknown", "(unknown)", "unversioned")
"""What pytest-benchmark writes for what it does not know."""

STATISTICS = ("min", "max", "mean", "stddev", "median", "iqr", "ops")
"""What the format has of a benchmark, beside its samples and their number."""

_OF_THE_FORMAT = {*STATISTICS, "rounds", "iterations", "data", "total", "outliers", "iqr_outliers", "stddev_outliers"}
_OF_THE_FORMAT |= {"q1", "q3", "ld15iqr", "hd15iqr"}


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of a file.

    Attributes:
        fullname: its identity: what pytest calls it, from the file's path to its parameters.
        name: the last part of that.
        group: the group it was put in, or ``""``.
        params: its parameters by name; what is no number, text or truth value is told as text.
        samples: (R,) seconds per call, one per round; empty where the file keeps none, or not all.
        heats: (R,) the process in which each round ran, where that is known; else empty.
        rounds: how many rounds there were, or ``None``.
        statistics: those of `STATISTICS` that the file has, in seconds; ``ops`` per second.
        extra: what else was recorded of it, by name.
    """

    fullname: str
    name: str
    group: str
    params: Row
    samples: Sequence[float]
    heats: Sequence[int]
    rounds: int | None
    statistics: Mapping[str, float]
    extra: Row


@dataclass(frozen=True)
class File:
    """One file, which is one run of a project's benchmarks.

    Attributes:
        path: where it lies.
        when: when it was measured, as it says, or ``""``.
        version: of pytest-benchmark, or ``""``.
        machine: what it says of its machine, but for the host's name.
        commit: what it says of the revision.
        benchmarks: those that can be used.
        notes: what was left out, a sentence each.
    """

    path: Path
    when: str
    version: str
    machine: Row
    commit: Row
    benchmarks: Sequence[Benchmark]
    notes: Sequence[str]


def load(paths: Iterable[Path]) -> tuple[list[File], list[str]]:
    """Read files, and all below folders, in the order given; those of a folder in the order of their names.

    Returns:
        The files, and a sentence for each file of a folder that is no JSON of pytest-benchmark.

    Raises:
        RunFolderError: a file that was named cannot be read, or there is none.
    """
    files: list[File] = []
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            files.append(load_file(path))
            continue
        for found in _below(path):
            try:
                files.append(load_file(found))
            except RunFolderError as error:
                notes.append(f"Left out: {error}.")
    if not files:
        named = ", ".join(map(str, paths))
        raise RunFolderError(
            f"{named}: holds no JSON of pytest-benchmark. Make some with `pytest --benchmark-json=FILE.json`"
            + (f". {notes[0]}" if notes else "")
        )
    return files, notes


def _below(folder: Path) -> list[Path]:
    """The JSON files below a folder; symbolic links are not followed."""
    found = (path for path in folder.rglob("*.json") if not path.is_symlink() and path.is_file())
    return sorted(found)


def load_file(path: Path) -> File:
    """Read one file.

    Raises:
        RunFolderError: it is not there, is no JSON, or holds no benchmark that can be used.
    """
    content = read(path)
    if content is None:
        raise RunFolderError(f"{path}: there is no such file. Make one with `pytest --benchmark-json={path}`")
    whole = parse(content.removeprefix(b"\xef\xbb\xbf"), f"{path}", allow_inf_nan=True)
    entries = whole.get("benchmarks") if isinstance(whole, dict) else None
    if not isinstance(entries, list):
        raise RunFolderError(
            f'{path}: no JSON of pytest-benchmark, which has a list "benchmarks"; name a file that '
            f"`pytest --benchmark-json` wrote"
        )
    notes: list[str] = []
    benchmarks: dict[str, Benchmark] = {}
    for number, entry in enumerate(entries):
        try:
            found = _benchmark(entry, notes)
        except ValueError as error:
            notes.append(f"benchmarks.{number} is left out: {error}.")
            continue
        if found.fullname in benchmarks:
            notes.append(f"benchmarks.{number} is left out: {_cut(found.fullname)} is there already.")
        else:
            benchmarks[found.fullname] = found
    if not benchmarks:
        more = f": {notes[0]}" if notes else ", its list is empty."
        raise RunFolderError(f"{path}: holds no benchmark that can be shown{more}")
    return File(
        path,
        _when(whole.get("datetime")),
        _text(whole.get("version")),
        _machine(_object(whole.get("machine_info"))),
        _facts(_object(whole.get("commit_info"))),
        list(benchmarks.values()),
        notes,
    )


def _benchmark(entry: Any, notes: list[str]) -> Benchmark:
    """One entry.

    Raises:
        ValueError: it has no name, or no time.
    """
    if not isinstance(entry, dict):
        raise ValueError("expected an object")
    fullname = entry.get("fullname") or entry.get("name")
    if not isinstance(fullname, str) or not fullname.strip() or len(fullname) > NAME:
        raise ValueError(f"expected a fullname of at most {NAME} characters")
    stats = entry.get("stats")
    if not isinstance(stats, dict):
        raise ValueError("expected stats, an object")
    name, group = entry.get("name"), entry.get("group")
    samples, why = _samples(stats)
    if why:
        notes.append(f"The samples of {_cut(fullname)} are left out: {why}.")
    statistics = {each: float(stats[each]) for each in STATISTICS if _is_number(stats.get(each))}
    if not samples and not {"median", "mean"} & {each for each in statistics if _is_time(statistics[each])}:
        raise ValueError(f"{_cut(fullname)} has no time: expected a median or a mean in seconds")
    info = _object(entry.get("extra_info"))
    touchstone = {"key", "asked", "race"} <= info.keys()
    heats: Any = info.get("heat") if touchstone else []
    if not isinstance(heats, list) or len(heats) != len(samples) or not all(map(_is_count, heats)):
        heats = []
    beside = {key: value for key, value in stats.items() if key not in _OF_THE_FORMAT}
    return Benchmark(
        fullname,
        name if isinstance(name, str) and 0 < len(name) <= NAME else fullname,
        _text(group),
        _params(entry),
        samples,
        heats,
        stats["rounds"] if _is_count(stats.get("rounds")) and stats["rounds"] else len(samples) or None,
        {each: value for each, value in statistics.items() if each == "ops" or _is_time(value)},
        {} if touchstone else _facts(beside | info),
    )


def _samples(stats: Row) -> tuple[list[float], str]:
    """The samples of a benchmark, and why there are none although the file has some."""
    data, rounds = stats.get("data"), stats.get("rounds")
    if not isinstance(data, list) or not data:
        return [], ""
    if not all(_is_number(each) and _is_time(each) for each in data):
        return [], "not all are times in seconds"
    if _is_count(rounds) and rounds != len(data):
        return [], f"{len(data)} of them are there, of {rounds} rounds"
    if not all(data):
        return [], f"its timer is too coarse, and shows {Counter(data)[0]} of {len(data)} as 0 s"
    return [float(each) for each in data], ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def _is_time(value: float) -> bool:
    return value == 0 or SHORTEST <= value <= LONGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _params(entry: Row) -> Row:
    params = entry.get("params")
    if isinstance(params, dict):
        return {_cut(str(key)): _plain(value) for key, value in params.items() if key}
    param = entry.get("param")
    return {} if param is None else {"param": _plain(param)}


def _plain(value: Any) -> Any:
    """A value as a table can show it."""
    if isinstance(value, bool) or (_is_number(value) and (isinstance(value, float) or value.bit_length() <= 63)):
        return value
    return _cut(value if isinstance(value, str) else json.dumps(value))


def _facts(given: Row) -> Row:
    """What is plain among facts, and short; empty where it says nothing."""
    plain = ((_cut(str(name)), value) for name, value in given.items() if isinstance(value, str | int | float))
    told = {name: _plain(value) for name, value in plain if value not in NOTHING}
    return dict(list(told.items())[:FACTS])


def _machine(info: Row) -> Row:
    """What tells a machine from others. Its name on its network does not, and is nobody else's business."""
    cpu = _object(info.get("cpu"))
    python = " ".join(filter(None, (_text(info.get("python_implementation")), _text(info.get("python_version")))))
    system = " ".join(filter(None, (_text(info.get("system")), _text(info.get("release")))))
    processor = next(
        filter(None, (_text(cpu.get(name)) for name in ("brand_raw", "brand"))), _text(info.get("processor"))
    )
    known = {"processor": processor, "cores": _plain(cpu.get("count")) if _is_count(cpu.get("count")) else ""}
    known |= {"architecture": _text(info.get("machine")), "system": system, "python": python}
    others = {name: value for name, value in info.items() if name not in _OF_A_MACHINE}
    return _facts(known | {name: value for name, value in others.items() if name not in known})


_OF_A_MACHINE = {"node", "processor", "machine", "system", "release", "cpu"} | {
    f"python_{name}" for name in ("compiler", "implementation", "implementation_version", "version", "build")
}


def _object(value: Any) -> Row:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return _cut(value) if isinstance(value, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"


def _when(value: Any) -> str:
    """A time as it was written, to the second; in the zone of the machine, which old versions do not name."""
    try:
        return datetime.fromisoformat(value).isoformat(" ", "seconds")
    except (TypeError, ValueError):
        return ""
