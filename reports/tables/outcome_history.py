"""What held, run by run: properties and claims that broke or were mended, when, and by which commits.

Only like is compared with like. A row's source says which property, or claim, it is of; where that changed, another
question was asked, and the answer is no regression. A run that was stopped before its end replaces nothing: of each row
the last complete run counts, until a later one is complete.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.store.run_folder import Row
from reports.tables import outcomes
from reports.tables.frames import records
from reports.tables.history import Runs, between

GOOD = {"passed", "lenient", "reproduced"}
BAD = {"failed", "known defect", "contradicted", "no difference"}

BROKE, MENDED, TURNED = "broke", "mended", "changed"
NEW, REDEFINED, GONE = "new", "asked otherwise", "not run any more"

CHANGE_COLUMNS = (
    *("state", *outcomes.ASKED, "machine", "statement", "before_outcome", "outcome", "detail", "before", "run"),
    *("before_started", "started", "revision", "range", "environment_changed", "command"),
)
"""``state`` is `BROKE`, `MENDED` or `TURNED` where the same was asked, and `NEW`, `REDEFINED` or `GONE` otherwise."""

NOW_COLUMNS = (
    *(*outcomes.ASKED, "machine", "statement", "outcome", "since", "run", "started", "revision", "stopped_since"),
)
"""``run`` is the last complete one that held the row; ``stopped_since`` counts those after it that were stopped."""


def changes(runs: Runs, table: pd.DataFrame) -> list[Row]:
    """Rows with `CHANGE_COLUMNS`, oldest first."""
    by_run = runs.by_run
    found: list[Row] = []
    latest = _latest(runs, table)
    for key, rows in _complete(runs, table).items():
        first, last = by_run[rows[0]["run"]], by_run[rows[-1]["run"]]
        if first["order"] > latest[_suite(key)][0]:  # others of its kind were run before it
            found.append(_row(key, NEW, None, rows[0], by_run))
        for before, after in itertools.pairwise(rows):
            if _question(before) != _question(after):
                found.append(_row(key, REDEFINED, before, after, by_run))
            elif before["outcome"] != after["outcome"]:
                found.append(_row(key, _state(before["outcome"], after["outcome"]), before, after, by_run))
        if last["order"] < latest[_suite(key)][1]:
            found.append(_row(key, GONE, rows[-1], None, by_run))
    return sorted(found, key=lambda row: row["started"])


def now(runs: Runs, table: pd.DataFrame) -> list[Row]:
    """Rows with `NOW_COLUMNS`: what each came to in the last complete run that held it, and since when it does."""
    by_run = runs.by_run
    found = []
    for key, rows in _complete(runs, table).items():
        last, since = rows[-1], rows[-1]
        for row in reversed(rows):
            if row["outcome"] != last["outcome"] or _question(row) != _question(last):
                break
            since = row
        run = by_run[last["run"]]
        stopped = [each for each in runs.rows if not each["finished"] and each["order"] > run["order"]]
        found.append(
            dict(zip(("machine", *outcomes.ASKED), key, strict=True))
            | {"machine": run["machine_name"], "statement": last["statement"], "outcome": last["outcome"]}
            | {"since": by_run[since["run"]]["started"], "run": run["name"], "started": run["started"]}
            | {"revision": run["revision"], "stopped_since": len(stopped)}
        )
    return found


def _complete(runs: Runs, table: pd.DataFrame) -> Mapping[tuple[Any, ...], list[Row]]:
    """The rows of complete runs by machine and what was asked, in the order of runs, at most one per run."""
    by_run = runs.by_run
    whole = [row for row in records(table) if by_run[row["run"]]["finished"]]
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in sorted(whole, key=lambda row: by_run[row["run"]]["order"]):
        of_key = found.setdefault((by_run[row["run"]]["machine"], *(row[name] for name in outcomes.ASKED)), [])
        if of_key and of_key[-1]["run"] == row["run"]:
            of_key.pop()
        of_key.append(row)
    return found


def _latest(runs: Runs, table: pd.DataFrame) -> Mapping[tuple[Any, ...], tuple[int, int]]:
    """The first and the last complete run in which anything of an implementation's suite was run."""
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for key, rows in _complete(runs, table).items():
        orders = [runs.by_run[row["run"]]["order"] for row in (rows[0], rows[-1])]
        first, last = found.get(_suite(key), (orders[0], orders[1]))
        found[_suite(key)] = min(first, orders[0]), max(last, orders[1])
    return found


def _suite(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """All of a key but the name of the property or claim."""
    asked = dict(zip(("machine", *outcomes.ASKED), key, strict=True))
    return tuple(value for name, value in asked.items() if name != "name")


def _question(row: Row) -> str:
    """What was asked: the digest of the property or claim itself, without that of the implementation."""
    return str(row["source"]).partition("-")[0]


def _state(before: str, after: str) -> str:
    if before in GOOD and after in BAD:
        return BROKE
    return MENDED if before in BAD and after in GOOD else TURNED


def _row(key: tuple[Any, ...], state: str, before: Row | None, after: Row | None, by_run: Mapping[str, Row]) -> Row:
    shown = after or before or {}
    then, since = (by_run[each["run"]] if each else None for each in (before, after))
    at = since or then or {}
    return (
        dict(zip(("machine", *outcomes.ASKED), key, strict=True))
        | {"machine": at["machine_name"], "state": state, "statement": shown["statement"]}
        | {"before_outcome": before and before["outcome"], "outcome": after and after["outcome"]}
        | {"detail": after and after["detail"], "command": shown["command"]}
        | {"before": then and then["name"], "before_started": then and then["started"], "run": since and since["name"]}
        | {"started": at["started"], "revision": at["revision"]}
        | {"range": between(then, since) if then and since else ""}
        | {"environment_changed": bool(then and since and then["environment"] != since["environment"])}
    )


def of_state(rows: Sequence[Row], *states: str) -> list[Row]:
    """The rows of some states."""
    return [row for row in rows if row["state"] in states]
