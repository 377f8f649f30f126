"""The conformance table: a cell for each contender and precision, with the properties behind it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reports import words
from reports.groups import grouped
from reports.run_folder import Row

OUTCOMES = ("failed", "not provided", "passed")


@dataclass(frozen=True)
class Cell:
    """One contender's properties at one precision: a cell of the conformance table, and the list behind it."""

    anchor: str
    name: str
    precision: str
    rows: Sequence[Row]

    @property
    def counts(self) -> dict[str, int]:
        """How many properties passed, failed, and are not provided."""
        return {outcome: sum(row["outcome"] == outcome for row in self.rows) for outcome in OUTCOMES}

    @property
    def missed(self) -> list[Row]:
        """The properties that failed or are not provided, the failures first."""
        return [row for row in self.rows if row["outcome"] != "passed"]

    @property
    def passed(self) -> str:
        """The names of those that passed."""
        return ", ".join(row["property"].replace("_", " ") for row in self.rows if row["outcome"] == "passed")

    @property
    def known(self) -> int:
        """How many of the failures are declared as known."""
        return sum(row["outcome"] == "failed" and row["known"] is not None for row in self.rows)

    @property
    def state(self) -> str:
        """``fail``, ``pass``, or ``none`` where nothing is provided."""
        counts = self.counts
        return "fail" if counts["failed"] else "pass" if counts["passed"] else "none"

    @property
    def words(self) -> str:
        """What the cell says."""
        counts, run = self.counts, self.counts["passed"] + self.counts["failed"]
        if not run:
            return "not provided"
        if not counts["failed"]:
            return words.all_pass(run)
        return f"{counts['failed']} of {run} {'fails' if counts['failed'] == 1 else 'fail'}"

    @property
    def note(self) -> str:
        """What has to be said beside the count."""
        absent = self.counts["not provided"]
        notes = [f"{self.known} known"] * bool(self.known)
        notes += [f"{absent} not provided"] * bool(absent and absent < len(self.rows))
        return ", ".join(notes)


@dataclass(frozen=True)
class Conformance:
    """The conformance of one technique: cells by contender and precision; and what each property says, by its name."""

    technique: str
    title: str
    lines: Sequence[tuple[str, dict[str, Cell]]]
    statements: Sequence[tuple[str, str]]


def conformance(rows: Iterable[Row], title: Callable[[str], str]) -> list[Conformance]:
    """The conformance table, by technique; `title` gives a technique's title."""
    found, number = [], 0
    for (technique,), of_technique in grouped(rows, ("technique",)).items():
        lines = []
        for (_, place), of_contender in grouped(of_technique, (words.contender, "place")).items():
            name = words.contender(of_contender[0]) + words.machine_letter({"place": place})
            cells = {}
            for (precision,), checked in grouped(of_contender, ("precision",)).items():
                number += 1
                worst_first = sorted(checked, key=lambda row: (OUTCOMES.index(row["outcome"]), row["property"]))
                cells[precision] = Cell(f"c{number}", f"{title(technique)}: {name}", precision, worst_first)
            lines.append((name, cells))
        lines.sort(key=lambda line: not line[0].startswith("reference"))
        said = {row["property"].replace("_", " "): row["statement"] or "" for row in of_technique}
        found.append(Conformance(technique, title(technique), lines, sorted(said.items())))
    return sorted(found, key=lambda each: each.technique)
