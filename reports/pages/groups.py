"""Rows put together for the page: by any of their fields, and by race."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports import words
from reports.statistics.verdicts import Speed
from reports.store.run_folder import Row
from reports.tables.comparisons import AGAIN, CONTROLS, REFERENCE, WITHOUT

DIFFERENT = (Speed.SLOWER, Speed.FASTER)

_READ = (REFERENCE, AGAIN, "", WITHOUT, *CONTROLS)
"""The order in which the implementations of a race are read, with all others in the empty place."""


@dataclass(frozen=True)
class Group:
    """The rows of one workload and operation, with the contenders that gave no result."""

    workload: str
    operation: str
    parameters: str
    place: str
    rows: Sequence[Row]
    failures: Sequence[Row]

    def __len__(self) -> int:
        return len(self.rows) + len(self.failures)

    @property
    def differs(self) -> bool:
        """Whether anything failed, or is slower or faster than what it is compared with."""
        ratios = [row["ratio"] if isinstance(row["ratio"], dict) else row for row in self.rows]
        return bool(self.failures) or any(ratio.get("verdict") in DIFFERENT for ratio in ratios)

    @property
    def contenders(self) -> list[Row]:
        """The rows but those of control kernels."""
        return [row for row in self.rows if row["implementation"] not in CONTROLS]

    @property
    def controls(self) -> list[Row]:
        """The rows of control kernels."""
        return [row for row in self.rows if row["implementation"] in CONTROLS]


def grouped(rows: Iterable[Row], by: Sequence[Any]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by some of their fields, or functions of them, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(name(row) if callable(name) else row[name] for name in by), []).append(row)
    return groups


def by_race(rows: Sequence[Row], failures: Sequence[Row]) -> list[Group]:
    """Rows and failures by workload, operation, scale and place, in reading order."""
    race = ("place", "workload", "parameters", "operation", "scale")
    timed, failed = grouped(rows, race), grouped(failures, race)
    groups = []
    for key in dict.fromkeys([*timed, *failed]):
        place, workload, parameters, operation, scale = key
        setting = ", ".join(part for part in (words.setting(parameters), f"{scale} scale") if part)
        order = sorted(timed.get(key, []), key=_reading_order)
        groups.append(Group(workload, words.operation(operation), setting, place, order, failed.get(key, [])))
    return groups


def _reading_order(row: Row) -> tuple[Any, ...]:
    """The reference first, "without" and the controls last; float32 before the mixed precisions; the usual way first.

    Controls are the machine's, not a precision's: each stands with its like of the other precisions.
    """
    name = row["implementation"]
    rank = _READ.index(name if name in _READ else "")
    control = rank if name in CONTROLS else 0
    return control, words.precision_order(row["precision"]), rank, name, row["backend"], row["variation"]
