"""What holds on one side and not on another: properties and claims, each with what it came to on every side."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports import words
from reports.store.run_folder import Row
from reports.tables import claims, sides
from reports.tables.frames import Tables, records
from reports.tables.sides import Side

ASKED = ("kind", "technique", "name", "implementation", "backend", "precision", "device", "scale")
COLUMNS = ("side", *ASKED, "statement", "outcome", "detail", "source", "command", "state", "differs")
"""``state`` is of all sides together: ``differs``, ``equal``, or ``one side only`` where what was run agrees."""

NOT_RUN = "not run"
DIFFERS, EQUAL, LACKING = "differs", "equal", "one side only"


def outcomes(compared: Sequence[Side]) -> list[Row]:
    """Rows with `COLUMNS`: every property and claim on every side."""
    found = [outcomes_of(side.tables) for side in compared]
    rows = []
    for key in dict.fromkeys(key for of_side in found for key in of_side):
        asked = dict(zip(ASKED, key, strict=True))
        lines = [of_side.get(key, {"outcome": NOT_RUN}) for of_side in found]
        ran = [(side, line) for side, line in zip(compared, lines, strict=True) if line["outcome"] != NOT_RUN]
        agree = len({line["outcome"] for _, line in ran}) < 2
        state = DIFFERS if not agree else EQUAL if len(ran) == len(lines) else LACKING
        statement = next((line["statement"] for _, line in ran if line.get("statement")), None)
        differs = _differs(ran, asked) if state == DIFFERS else None
        for side, line in zip(compared, lines, strict=True):
            told = {"side": side.name, **asked, "state": state, "differs": differs, "statement": statement}
            rows.append(dict.fromkeys(COLUMNS) | line | told)
    return rows


def outcomes_of(tables: Tables) -> Mapping[tuple[Any, ...], Row]:
    """What each property and claim of a run came to, by `ASKED`."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in records(tables["conformance"]):
        known = row["outcome"] == "failed" and row["known"] is not None
        beside = {name: row[name] for name in ("statement", "source", "command")}
        beside |= {"outcome": "known defect" if known else row["outcome"], "detail": row["message"]}
        found[_key(row | {"kind": "property", "name": row["property"]})] = beside
    for row in records(tables["trials"]):
        key = _key(row | {"kind": "claim", "name": row["claim"]})
        absent = {"statement": None, "source": row["source"], "command": row["command"], "outcome": NOT_RUN}
        found.setdefault(key, absent | {"detail": row["reason"]})
    quoted = claims.headline(records(tables["claims"]))
    quoted.sort(key=lambda row: row["contrast_verdict"] != row["verdict"])  # a claim's verdict is that of one contrast
    judged: set[tuple[Any, ...]] = set()
    for row in quoted:
        key = _key(row | {"kind": "claim", "name": row["claim"]})
        if key not in judged:
            judged.add(key)
            found[key] |= {"statement": row["statement"], "outcome": row["verdict"]}
            found[key] |= {"detail": _gain(row)} if row["units"] else {}
    return found


def _gain(row: Row) -> str:
    gain, low, high = (words.significant(row[name]) if row[name] is not None else "?" for name in _NUMBERS)
    return f"{row['metric_title']}: {row['arm']} over {row['baseline']} {gain} [{low}, {high}] {row['unit']}".rstrip()


_NUMBERS = ("gain", "low", "high")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ASKED)


def _differs(ran: Sequence[tuple[Side, Row]], asked: Row) -> str:
    """What differs between the first side that ran it and the first whose outcome is another."""
    first, line = ran[0]
    other, another = next(each for each in ran if each[1]["outcome"] != line["outcome"])
    changed = sides.changed_sources(another["source"], line["source"], asked["kind"])
    return sides.said(sides.causes(other, first, asked["backend"], asked["device"]), changed)
