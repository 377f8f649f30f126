"""Several run folders of one machine and environment as one.

For the parts of a session that ran apart, ``--shard 1/3`` to ``3/3``. Rows are kept whole; of rows that were asked the
same with the same sources, the newest counts. Folders of different machines stay apart: a report, which compares
nothing between them, takes them side by side (``python -m reports report RUN RUN``).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reports.store.run_folder import MUTANTS, PROPERTIES, TRIALS, Row, RunFolder, RunFolderError, foreign, own


def merge(out: Path, folders: Sequence[RunFolder]) -> None:
    """Write a new run folder with the rows of others.

    Raises:
        RunFolderError: they are of several machines or environments, or ``out`` exists, or one cannot be read.
    """
    if out.exists():
        raise RunFolderError(f"{out} exists; name a new folder")
    runs = [folder.run for folder in folders]
    first = runs[0]
    for layer in ("machine", "environment"):
        for folder, run in zip(folders, runs, strict=True):
            if run[f"{layer}_hash"] != first[f"{layer}_hash"]:
                beside = " ".join(str(each.path) for each in folders)
                raise RunFolderError(
                    f"{folder.path} was measured in another {layer} than {folders[0].path}; what cannot be merged can "
                    f"be read side by side: python -m reports report {beside}"
                )
    rows = {name: _newest(row for folder in folders for row in folder.rows(name)) for name in _FILES}
    timings = [folder.timings_file() for folder in folders]
    facts = {name: value for name, value in first.items() if name not in ("format", "created", "sessions")}
    facts["fingerprints"] = {place: f for run in runs for place, f in (run.get("fingerprints") or {}).items()}
    merged = RunFolder.resume(out, facts)
    for name, found in rows.items():
        for row in found:
            merged.append(name, row)
    if any(timings):
        merged.write_timings(_timings([file for file in timings if file]))
    sessions = sorted((each for run in runs for each in run["sessions"]), key=lambda session: str(session["started"]))
    merged.write_run({**merged.run, "created": min(run["created"] for run in runs), "sessions": sessions})


_FILES = (PROPERTIES, TRIALS, MUTANTS)


def _newest(rows: Iterable[Row]) -> list[Row]:
    """Of each key the newest row, in the order of time."""
    found = {row["key"]: row for row in sorted(rows, key=lambda row: str(row["when"]))}
    return sorted(found.values(), key=lambda row: str(row["when"]))


def _timings(files: Sequence[Row]) -> dict[str, Any]:
    entries = sorted((e for file in files for e in own(file)), key=lambda entry: str(entry["extra_info"]["when"]))
    held = {entry["extra_info"]["key"]: entry for entry in entries}
    failures = _newest(row for file in files for row in file.get("failures", []) if row["key"] not in held)
    races = {name: race for file in files for name, race in file.get("races", {}).items()}
    others = [entry for file in files for entry in foreign(file)]
    return {**files[0], "benchmarks": [*held.values(), *others], "failures": failures, "races": races}
