"""One run folder as a chapter of a history: what was timed, what held, when, at which revision, on what.

Its tables are those of a report, and three more, of which a history is made: ``runs`` has one row, ``points`` one per
contender and ``outcomes`` one per property and claim. Every row says of which run it is, so that those of thousands of
runs can stand in one table.
"""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from reports.store.files import RunFolderError
from reports.store.run_folder import Row, canonical_hash
from reports.tables import frames, outcomes, sides
from reports.tables.across import ASKED as TIMED
from reports.tables.across import KERNELS
from reports.tables.comparisons import AGAIN, CONTROLS
from reports.tables.frames import records
from reports.tables.memory import memory_of
from reports.tables.places import machine_name

RUN_COLUMNS = (
    *("run", "name", "started", "when", "revision", "dirty", "machine", "environment", "machine_name", "scale"),
    *("finished", "floor", "settings", "titles"),
)
"""``run`` tells it from other runs, however many rows it has got since; ``when`` is when it was written last.

``finished`` says whether its last session ended by itself. ``floor`` is the smallest ratio that its races could tell
from noise, or missing without an A/A race. ``settings`` is a JSON list of ``[kind, name, text]``, and ``titles`` a JSON
object of what techniques are called.
"""

NUMBERS = ("seconds", *KERNELS, "ratio", "memory_bytes")
POINT_COLUMNS = (
    *("run", *TIMED, "heats", "baseline"),
    *(f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")),
    *("source", "when", "key", "command"),
)
"""``ratio`` is to ``baseline``, within the race; the numbers of `KERNELS` are in steps of the race's own kernel."""

OUTCOME_COLUMNS = ("run", *outcomes.ASKED, "statement", "outcome", "detail", "source", "command")

OF_HISTORY = {"runs": RUN_COLUMNS, "points": POINT_COLUMNS, "outcomes": OUTCOME_COLUMNS}
"""The tables of which a history is made."""

COMPLETE = (0, 1, 5)
"""Exit codes of a session that did all it was asked for: passed, something failed, nothing to do."""


def read(folder: Path, name: str) -> dict[str, pd.DataFrame]:
    """The tables of a run folder, each row with its run.

    Args:
        folder: where it lies.
        name: what it is called.
    """
    tables = frames.read([folder])
    facts = tables.runs[0].facts
    held = [row["when"] for kind in ("conformance", "trials", "timings") for row in records(tables[kind])]
    run = _run(facts, name, folder, max((_time(when, folder) for when in held), default=""))
    run |= {"floor": max(tables.floors.values(), default=None), "titles": json.dumps(tables.titles)}
    beside = {row["key"]: row for kind in ("ratios", "noise") for row in records(tables[kind])}
    points = [
        _point(row, beside.get(row["key"], {}))
        for row in records(tables["timings"])
        if row["implementation"] not in (*CONTROLS, AGAIN)
    ]
    came_to = [
        dict(zip(outcomes.ASKED, key, strict=True)) | row
        for key, row in outcomes.outcomes_of(tables).items()
        if row["outcome"] != outcomes.NOT_RUN
    ]
    rows = {"runs": [run], "points": points, "outcomes": came_to}
    found = {title: pd.DataFrame(rows[title], columns=list(columns)) for title, columns in OF_HISTORY.items()}
    found |= {title: frame for title, frame in tables.frames.items() if title != "provenance"}
    return {title: frame.assign(run=run["run"]) for title, frame in found.items()}


def _run(facts: Row, name: str, folder: Path, newest: str) -> Row:
    sessions = sorted(facts["sessions"], key=lambda session: str(session["started"]))
    began = sessions[0]["started"] if sessions else facts["created"]
    last = sessions[-1] if sessions else {}
    ended = _time(last["finished"], folder) if last.get("finished") else ""
    git = facts.get("git") or {}
    settings = [[*key, fact.text] for key, fact in sides.facts_of(facts).items() if key[0] in SETTINGS]
    same = {"created": facts["created"], "first": sessions[:1] and [sessions[0]["started"], sessions[0]["arguments"]]}
    return {
        "run": canonical_hash(same | {name: facts[name] for name in ("machine_hash", "environment_hash")}),
        "name": name,
        "started": _time(began, folder),
        "when": max(ended, newest) or _time(began, folder),
        "revision": git.get("revision"),
        "dirty": bool(git.get("dirty")),
        "machine": facts["machine_hash"],
        "environment": facts["environment_hash"],
        "machine_name": machine_name(facts["machine"]),
        "scale": facts["scale"],
        "finished": bool(ended) and last.get("exit") in COMPLETE and newest <= ended,  # a killed one leaves rows alone
        "settings": json.dumps(settings),
    }


SETTINGS = (sides.HARDWARE, sides.ENVIRONMENT, sides.SETTINGS)


def _time(text: Any, folder: Path) -> str:
    """A time in UTC, so that times can be put in order as they are written."""
    try:
        time = datetime.fromisoformat(str(text))
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise RunFolderError(
            f"{folder / 'run.json'}, created or sessions: expected a time like 2026-01-31T12:00:00+00:00, "
            f"got {str(text)[:40]!r}; mend it"
        ) from None


def _point(row: Row, beside: Row) -> Row:
    """What is followed of a timing; a number that a logarithm cannot be taken of is missing."""
    found = {name: row.get(name) for name in POINT_COLUMNS if name in row}
    found |= {"seconds_low": row["low"], "seconds_high": row["high"], "baseline": beside.get("baseline")}
    found |= {"ratio": beside.get("ratio"), "ratio_low": beside.get("low"), "ratio_high": beside.get("high")}
    found |= {"memory_bytes_low": row["memory_low"], "memory_bytes_high": row["memory_high"]}
    found["memory_bytes"] = memory_of(row)
    for name in NUMBERS:
        for end in ("", "_low", "_high"):
            value = found[name + end]
            found[name + end] = float(value) if value is not None and math.isfinite(value) and value > 0 else None
    return found
