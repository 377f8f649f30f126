"""How much time and memory a technique takes beside what it is compared with, in sentences.

Who is compared with what, a promise says: ``attention over {source} annotations`` and ``a decoder that only sees their
mean``, see ``suites/promises.py``.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reports import words
from reports.store.run_folder import Row


@dataclass(frozen=True)
class Measured:
    """A ratio of time or of memory, and the row that it stands in."""

    row: Row
    ratio: float
    low: float
    high: float
    verdict: str

    def __str__(self) -> str:
        return f"{words.factor(self.ratio)} {words.factor_interval(self.low, self.high)}"

    @property
    def note(self) -> str:
        """What a reader has to know of the number, in brackets."""
        notes = {"equivalent": " (no difference that matters)", "undecided": " (too uncertain to call it a difference)"}
        return notes.get(self.verdict, "")


def time_words(ratios: Sequence[Row], races: Row, whole: bool = True) -> str:
    """How long a step takes; `whole` says beside what, else the sentence follows one that has said it."""
    measured = [Measured(row, row["ratio"], row["low"], row["high"], row["verdict"]) for row in ratios]
    return _beside(measured, races, "takes", "time", whole) or "Its time was not measured."


def memory_words(ratios: Sequence[Row], races: Row, whole: bool = True) -> str:
    """How much memory a step needs, in the same words."""
    measured = [
        Measured(row, row["memory_ratio"], row["memory_low"], row["memory_high"], row["memory_verdict"])
        for row in ratios
        if row["memory_ratio"] is not None
    ]
    return _beside(measured, races, "needs", "memory", whole) or "Its memory was not measured."


def _beside(measured: Sequence[Measured], races: Row, verb: str, quantity: str, whole: bool) -> str:
    """Of the least and the greatest ratio: who takes how many times the time, or the memory, of what."""
    if not measured:
        return ""
    first, *_, last = sorted([measured[0], *measured], key=lambda each: each.ratio)
    if whole:
        said = f"{_subject(races, first.row)} {verb} {first} the {quantity} of {races['instead']}{first.note}"
        more = f"; {_subject(races, last.row)} {verb} {last}{last.note}"
    else:
        told = "workload" if first.row["workload"] != last.row["workload"] else "operation"
        on = f" on {first.row[told]}" if len(measured) > 1 else ""
        said = f"it {verb} {first} the {quantity}{on}{first.note}"
        more = f", and {last} on {last.row[told]}{last.note}"
    return f"{said[:1].upper()}{said[1:]}{more if len(measured) > 1 else ''}."


def _subject(races: Row, row: Row) -> str:
    """Who takes the time: the words of the promise, with a workload's sizes."""
    sizes = json.loads(row["parameters"]) | {name: row[name] for name in ("workload", "precision", "operation")}
    return re.sub(r"{(\w+)}", lambda found: str(sizes.get(found[1], found[1])), races["does"])
