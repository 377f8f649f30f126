"""The run folder: plain files in which a run's results are written as they come, and from which reports are made.

The format is described in ``ARCHITECTURE.md`` and known only here. Rows are never rewritten: JSON lines are appended
and forced to disk one by one, and ``timings.json`` is replaced atomically, so that a run killed at any moment loses
nothing that it had measured. Only the standard library is imported.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

FORMAT = 1
PROPERTIES = "properties.jsonl"
TRIALS = "trials.jsonl"
TIMINGS = "timings.json"
RUN = "run.json"

Row = dict[str, Any]


class RunFolderError(Exception):
    """A run folder is missing, of another format or another machine's, or holds a line that cannot be read."""


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


def finite_or_null(value: Any) -> Any:
    """The value with every float that JSON cannot hold (NaN, infinities) replaced by ``None``, however deep."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return value


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `open` it to read, `resume` it to write."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """A run folder to read.

        Raises:
            RunFolderError: there is no run here, or it is of a format that this version does not know.
        """
        folder = cls(Path(path))
        if not (folder.path / RUN).is_file():
            raise RunFolderError(
                f"{path} is not a run folder: it has no {RUN}. Make one with `tox run -e report`, "
                f"or name the folder that `--results` was given."
            )
        found = folder.run.get("format")
        if found != FORMAT:
            raise RunFolderError(f"{path} has run format {found!r}; this version of Touchstone reads format {FORMAT}")
        return folder

    @classmethod
    def resume(cls, path: str | Path, facts: Mapping[str, Any]) -> Self:
        """A run folder to write: made when it is new, continued when it was begun on this machine and environment.

        Args:
            path: the folder.
            facts: the fields of ``run.json`` but ``format``, ``created`` and ``sessions``.

        Raises:
            RunFolderError: the folder holds results of another machine or environment, or other files.
        """
        folder = cls(Path(path))
        if (folder.path / RUN).is_file():
            known = cls.open(path).run
            for layer in ("machine", "environment"):
                if known[f"{layer}_hash"] != facts[f"{layer}_hash"]:
                    changes = _differences(known[layer], facts[layer])
                    raise RunFolderError(
                        f"{path} was measured in another {layer} ({changes}). "
                        f"Choose a new folder with --results, or delete this one."
                    )
            folder.write_run({**known, **facts, "created": known["created"]})
            for path in folder.path.glob("**/*.jsonl"):  # the journals of races too
                _drop_torn_line(path)
            return folder
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise RunFolderError(f"{path} exists and is not a run folder; choose another with --results")
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_run({"format": FORMAT, "created": now(), **facts, "sessions": []})
        return folder

    @property
    def run(self) -> Row:
        """``run.json``: the machine, the environment and the sessions."""
        return dict(json.loads((self.path / RUN).read_text(encoding="utf-8")))

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Replace ``run.json`` atomically."""
        write_atomically(self.path / RUN, json.dumps(run, indent=2) + "\n")

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Add one row to ``properties.jsonl``, ``trials.jsonl`` or a race's journal, and force it to disk."""
        line = json.dumps(finite_or_null(row), separators=(",", ":"), allow_nan=False) + "\n"
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("ab", buffering=0) as file:  # one write, so that lines of several processes never mix
            file.write(line.encode())
            os.fsync(file.fileno())

    def rows(self, name: str) -> list[Row]:
        """The rows of a JSON-lines file; a line torn by a kill, which can only be the last, is left out."""
        return list(_lines(self.path / name))

    def properties(self) -> list[Row]:
        """One row per property, implementation, precision, backend and device, oldest first."""
        return self.rows(PROPERTIES)

    def trials(self) -> list[Row]:
        """One row per seeded training run of one arm, oldest first."""
        return self.rows(TRIALS)

    def timings_file(self) -> Row:
        """``timings.json`` whole, or an empty object where nothing has been timed."""
        path = self.path / TIMINGS
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def timings(self) -> list[Row]:
        """The timed contenders, as pytest-benchmark entries with all samples."""
        return list(self.timings_file().get("benchmarks", []))

    def failures(self) -> list[Row]:
        """The contenders that did not finish, each with its reason."""
        return list(self.timings_file().get("failures", []))

    def write_timings(self, timings: Mapping[str, Any]) -> None:
        """Replace ``timings.json`` atomically."""
        write_atomically(self.path / TIMINGS, json.dumps(finite_or_null(timings), indent=1, allow_nan=False) + "\n")

    def keys(self) -> set[str]:
        """The keys of all rows that need not be measured again; contenders that failed are tried again."""
        rows = self.properties() + self.trials()
        rows += [row for row in self.failures() if row.get("outcome") == "not provided"]  # nothing went wrong
        return {row["key"] for row in rows} | {entry["extra_info"]["key"] for entry in self.timings()}


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old text or the new one and never a mixture."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        written = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            written.chmod(0o644)
            written.replace(path)
        except BaseException:
            written.unlink(missing_ok=True)
            raise


def _lines(path: Path) -> Iterator[Row]:
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            return  # torn: the process was killed while it wrote this line
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise RunFolderError(f"{path}, line {number}, is not JSON ({error}); remove that line") from None


def _drop_torn_line(path: Path) -> None:
    """Remove the unfinished last line that a kill may leave, so that the next row starts on a line of its own."""
    whole = path.read_bytes().rpartition(b"\n")
    if whole[2]:
        with path.open("rb+") as file:
            file.truncate(len(whole[0]) + len(whole[1]))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = [
        f"{name}: {before.get(name)!r} there, {after.get(name)!r} here"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return "; ".join(changed[:3]) + (" ..." if len(changed) > 3 else "")
