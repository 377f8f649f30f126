"""The run folder: plain files in which a run's results are written as they come, and from which reports are made.

The format is described in ``ARCHITECTURE.md`` and known only here and in ``reports/store/schema.py``, by which every
row is checked where it is written and where it is read. Rows are never rewritten: JSON lines are appended and forced to
disk one by one, and ``timings.json`` is replaced atomically, so that a run killed at any moment loses nothing that it
had measured. One session writes a folder at a time.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic_core import from_json

from reports.store import run_schema, schema
from reports.store.files import (
    LOCK,
    UNFINISHED,
    Lock,
    RunFolderError,
    append_line,
    read,
    refuse_link,
    tidy,
    told,
    whole_lines,
    write_whole,
)

FORMAT = 1
PROPERTIES = "properties.jsonl"
TRIALS = "trials.jsonl"
MUTANTS = "mutants.jsonl"
TIMINGS = "timings.json"
RUN = "run.json"
RACES = "races"

Row = dict[str, Any]


def now() -> str:
    """The present time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def canonical_hash(value: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of(asked: Mapping[str, Any]) -> str:
    """The content address of a row: a hash of what was asked, and of nothing else."""
    return canonical_hash(dict(asked))


def storable(value: Any) -> Any:
    """The value with what JSON cannot hold replaced, however deep.

    Numbers that are not finite become ``None``; half of a pair of surrogates, which no file can hold as text, its
    escape.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `open` it to read, `resume` it to write."""

    path: Path
    _lock: Lock | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """A run folder to read.

        Raises:
            RunFolderError: there is no run here, or it is of a format that this version does not know.
        """
        folder = cls(Path(path))
        if read(folder.path / RUN) is None:
            raise RunFolderError(
                f"{path} is not a run folder: it has no {RUN}. Make one with `tox run -e report`, "
                f"or name the folder that `--results` was given."
            )
        folder.run  # noqa: B018 - it says what is wrong with it
        return folder

    @classmethod
    def resume(cls, path: str | Path, facts: Mapping[str, Any]) -> Self:
        """A run folder to write: made when it is new, continued when it was begun on this machine and environment.

        Args:
            path: the folder.
            facts: the fields of ``run.json`` but ``format``, ``created`` and ``sessions``.

        Raises:
            RunFolderError: another session writes it; it holds results of another machine or environment, or other
                files, or what cannot be read.
        """
        path = Path(path)
        with told(path):
            if (
                read(path / RUN) is None
                and path.exists()
                and (not path.is_dir() or any(map(_is_no_remains, path.iterdir())))
            ):
                raise RunFolderError(f"{path} exists and is not a run folder; choose another with --results")
            folder = cls(path, Lock.of(path, now()))
            tidy(path, (RUN, TIMINGS))
        if read(path / RUN) is None:
            folder.write_run({"format": FORMAT, "created": now(), **facts, "sessions": []})
            return folder
        known = folder.run
        for layer in ("machine", "environment"):
            if known[f"{layer}_hash"] != facts[f"{layer}_hash"]:
                changes = _differences(known[layer], facts[layer])
                raise RunFolderError(
                    f"{path} was measured in another {layer} ({changes}). "
                    f"Choose a new folder with --results, or delete this one."
                )
        folder.check()
        folder._drop_recorded_journals()
        folder.write_run({**known, **facts, "created": known["created"]})
        return folder

    def check(self) -> None:
        """Read all of it, so that damage is told before anything is measured.

        Raises:
            RunFolderError: something cannot be read, or is a symbolic link.
        """
        for name in (RUN, PROPERTIES, TRIALS, TIMINGS, RACES, *self.journals()):
            refuse_link(self.path / name)
        for name in (PROPERTIES, TRIALS, *self.journals()):
            self.rows(name)
        self.timings_file()

    def journals(self) -> list[str]:
        """The names of the journals of races that are under way, or were when their session was killed."""
        return sorted(f"{RACES}/{path.name}" for path in (self.path / RACES).glob("*.jsonl"))

    def _drop_recorded_journals(self) -> None:
        """Remove the journals whose rounds `TIMINGS` all holds: a kill came between its writing and their removal."""
        file = self.timings_file()
        held = {(e["extra_info"]["key"], heat) for e in own(file) for heat in e["extra_info"]["heat"]}
        held |= {(row["key"], each["heat"]) for row in file.get("failures", []) for each in row.get("rounds") or []}
        for name in self.journals():
            journal = self.rows(name)
            if {(key, row["heat"]) for row in journal for key, *_ in row.get("rounds", [])} <= held:
                (self.path / name).unlink()
        races = self.path / RACES
        if races.is_dir() and not any(races.iterdir()):
            races.rmdir()

    @property
    def run(self) -> Row:
        """``run.json``: the machine, the environment and the sessions."""
        path = self.path / RUN
        run = parse(read(path) or b"", f"{path}")
        found = run.get("format") if isinstance(run, dict) else None
        if isinstance(run, dict) and (found != FORMAT or isinstance(found, bool)):
            raise RunFolderError(f"{path} has run format {found!r}; this version of Touchstone reads format {FORMAT}")
        _require(run_schema.Run, run, f"{path}")
        return dict(run)

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Replace ``run.json`` atomically."""
        kept = storable(run)
        _require(run_schema.Run, kept, f"{self.path / RUN}")
        write_whole(self.path, {RUN: (json.dumps(kept, indent=2) + "\n").encode()})

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Add one row to a file of JSON lines, or to a race's journal, and force it to disk.

        Raises:
            NotWrittenError: there is no room, or no permission.
            RunFolderError: the row is not one of its kind; nothing is written.
        """
        kept, path = storable(row), self.path / name
        _require(model_of(name), kept, f"{path}, new row")
        if path.parent != self.path:  # the folder itself may be a link, which whoever named it has made
            refuse_link(path.parent)
        append_line(path, (json.dumps(kept, separators=(",", ":"), allow_nan=False) + "\n").encode())

    def rows(self, name: str) -> list[Row]:
        """The rows of a JSON-lines file; a line torn by a kill, which can only be the last, is left out."""
        path, model = self.path / name, model_of(name)
        rows = []
        for number, line in enumerate(whole_lines(read(path) or b"").split(b"\n")[:-1], start=1):
            where = f"{path}, line {number}"
            rows.append(parse(line, where, "remove that line"))
            _require(model, rows[-1], where)
        return rows

    def properties(self) -> list[Row]:
        """One row per property, implementation, precision, backend and device, oldest first."""
        return self.rows(PROPERTIES)

    def trials(self) -> list[Row]:
        """One row per seeded training run of one arm, oldest first."""
        return self.rows(TRIALS)

    def mutants(self) -> list[Row]:
        """One row per mutant of a reference that its properties were tried on, oldest first."""
        return self.rows(MUTANTS)

    def timings_file(self) -> Row:
        """``timings.json`` whole, or an empty object where nothing has been timed."""
        path = self.path / TIMINGS
        content = read(path)
        if content is None:
            return {}
        file = parse(content, f"{path}")
        _check_timings(file, path)
        return dict(file)

    def timings(self) -> list[Row]:
        """The timed contenders, as pytest-benchmark entries with all samples."""
        return own(self.timings_file())

    def failures(self) -> list[Row]:
        """The contenders that did not finish, each with its reason."""
        return list(self.timings_file().get("failures", []))

    def write_timings(self, timings: Mapping[str, Any]) -> None:
        """Replace ``timings.json`` atomically."""
        kept = storable(timings)
        _check_timings(kept, self.path / TIMINGS)
        write_whole(self.path, {TIMINGS: (json.dumps(kept, indent=1, allow_nan=False) + "\n").encode()})

    def notes(self, timings: Mapping[str, Any]) -> list[str]:
        """What is left out of what is read, a sentence each; given what `timings_file` holds."""
        notes = []
        for name in (PROPERTIES, TRIALS, MUTANTS):
            content = read(self.path / name) or b""
            if content != whole_lines(content):
                notes.append(
                    f"{self.path / name}: the last line is unfinished and is left out; its session was killed while it "
                    f"wrote, or is writing now."
                )
        if others := foreign(timings):
            names = ", ".join(str(entry.get("name")) for entry in others[:3]) + (" ..." if len(others) > 3 else "")
            entries = "1 entry is" if len(others) == 1 else f"{len(others)} entries are"
            notes.append(f"{self.path / TIMINGS}: {entries} of no contender and left out ({names}).")
        return notes

    def keys(self) -> set[str]:
        """The keys of all rows that need not be measured again; contenders and trials that failed are tried again."""
        rows, file = self.properties() + self.mutants(), self.timings_file()
        rows += [row for row in self.trials() if row.get("outcome", "trained") == "trained"]
        rows += [row for row in file.get("failures", []) if row.get("outcome") == "not provided"]  # nothing went wrong
        return {row["key"] for row in rows} | {entry["extra_info"]["key"] for entry in own(file)}


def own(timings: Mapping[str, Any]) -> list[Row]:
    """The entries of a ``timings.json`` that are contenders."""
    return [entry for entry in timings.get("benchmarks", []) if not schema.is_foreign(entry)]


def foreign(timings: Mapping[str, Any]) -> list[Row]:
    """The entries that pytest-benchmark wrote for somebody else."""
    return [entry for entry in timings.get("benchmarks", []) if schema.is_foreign(entry)]


def _is_no_remains(path: Path) -> bool:
    """Whether a session that was killed when it began cannot have left this behind."""
    return path.name != LOCK and not path.name.startswith(UNFINISHED)


def model_of(name: str) -> type[schema.Model]:
    """What a row of a file of JSON lines must be."""
    models: dict[str, type[schema.Model]] = {
        PROPERTIES: schema.Property,
        TRIALS: schema.Trial,
        MUTANTS: schema.Mutant,
    }
    return models.get(name, schema.JournalEntry)


_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)
"""An escape of JSON; of a lone surrogate where the group matches."""


def parse(content: bytes, where: str, remedy: str = "mend it, or put a copy in its place", **allowed: bool) -> Any:
    """What JSON says. Lone surrogates, which rows of earlier versions may have, become their escapes as text.

    Args:
        content: of a file or a line.
        where: names it.
        remedy: what to do where it is no JSON.
        **allowed: ``allow_inf_nan=True`` for what other programs wrote.
    """
    if rb"\u" in content:
        content = _ESCAPE.sub(lambda found: b"\\" * bool(found[1]) + found[0], content)
    try:
        return from_json(content, **{"allow_inf_nan": False} | allowed)
    except ValueError as error:
        at = str(error).replace("at line 1 column", "at column")
        raise RunFolderError(f"{where}: no JSON, {at}; {remedy}") from None


def _require(model: type[schema.Model], value: Any, where: str) -> None:
    if found := schema.fault(model, value):
        raise RunFolderError(f"{where}: {found}; mend it, or remove it")


def _check_timings(file: Any, path: Path) -> None:
    _require(schema.TimingsFile, file, f"{path}")
    for name, model, rows in (
        ("benchmarks", schema.Timing, file.get("benchmarks", [])),
        ("failures", schema.Failure, file.get("failures", [])),
    ):
        for number, row in enumerate(rows):
            if name == "failures" or not schema.is_foreign(row):
                _require(model, row, f"{path}, {name}.{number}")


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = [
        f"{name}: {before.get(name)!r} there, {after.get(name)!r} here"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return "; ".join(changed[:3]) + (" ..." if len(changed) > 3 else "")
