"""What a session did not measure for lack of time: it is named, with the command that measures it."""

import fnmatch
from collections.abc import Iterable, Set

from reports.store.run_folder import Row
from reports.tables.places import Run

COLUMNS = ("place", "kind", "name", "command")


def left_out(runs: Iterable[Run], held: Set[str]) -> list[Row]:
    """What sessions left out and no other session has measured since, each once.

    Args:
        runs: the run folders.
        held: the keys of the rows that they hold.
    """
    found: dict[tuple[str, ...], Row] = {}
    for run in runs:
        for session in run.facts.get("sessions", []):
            for each in session.get("left_out") or []:
                row = {"place": run.place} | {name: str(each.get(name, "")) for name in COLUMNS[1:]}
                if not each.get("keys") or set(each["keys"]) - held:
                    found.setdefault(tuple(row.values()), row)
    return list(found.values())


def concerns(row: Row, technique: str, promise: Row) -> bool:
    """Whether what was left out is evidence for a promise of a technique."""
    if not (row["name"].startswith(technique) or f"_{technique}" in row["command"] or row["kind"] == "trial"):
        return False
    name, races = row["name"].replace("/", "-"), promise["races"]
    match row["kind"]:
        case "race" if races:
            ways = ((pattern, operation) for pattern in races["workloads"] for operation in races["operations"])
            return any(fnmatch.fnmatchcase(name, f"*{pattern}-{operation}*") for pattern, operation in ways)
        case "trial":
            return bool(promise["claim"]) and promise["claim"] in name.replace("-", "_")
        case "property":
            return any(each in name.replace("-", "_") for each in promise["properties"])
    return False
