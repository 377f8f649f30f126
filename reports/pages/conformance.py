"""The conformance matrix of a technique: a row per property, a column per implementation and precision."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports import words
from reports.pages import cut
from reports.pages.groups import grouped
from reports.store.run_folder import Row
from reports.tables.comparisons import REFERENCE

MOST_CELLS = 4000
"""What a page holds of all techniques."""

OUTCOMES = ("failed", "not provided", "lenient", "passed")


@dataclass(frozen=True)
class Cell:
    """One property on one implementation at one precision; and the row that explains it: a like cell's, or its own."""

    column: str
    row: Row
    told: Row

    @property
    def state(self) -> str:
        """``fail``, ``known`` where a failure is declared, ``none`` if nothing is provided, ``lenient`` or ``pass``."""
        if self.row["outcome"] == "failed":
            return "fail" if self.row["known"] is None else "known"
        return {"passed": "pass", "lenient": "lenient"}.get(self.row["outcome"], "none")

    @property
    def effort(self) -> str:
        """How hard was looked: examples tried, those discarded, and the worst error as a share of its bound."""
        if self.row["examples"] is None:
            return ""
        discarded = f" (−{self.row['discarded']:.0f})" if self.row["discarded"] else ""
        worst = self.row["worst_error"]
        share = "" if worst is None else " · exact" if worst == 0 else f" · {words.percent(worst)}"
        return f"{self.row['examples']:.0f}{discarded}{share}"


@dataclass(frozen=True)
class Column:
    """One implementation at one precision, and all its properties."""

    name: str
    precision: str
    rows: Sequence[Row]

    @property
    def counts(self) -> dict[str, int]:
        """How many properties there are of each outcome."""
        return {outcome: sum(row["outcome"] == outcome for row in self.rows) for outcome in OUTCOMES}

    @property
    def known(self) -> int:
        """How many of the failures are declared as known."""
        return sum(row["outcome"] == "failed" and row["known"] is not None for row in self.rows)

    @property
    def state(self) -> str:
        """As that of a cell: the worst of them."""
        counts = self.counts
        if counts["failed"]:
            return "fail" if counts["failed"] > self.known else "known"
        return "pass" if counts["passed"] else "lenient" if counts["lenient"] else "none"

    @property
    def words(self) -> str:
        """What the head of the column says."""
        counts = self.counts
        run = counts["passed"] + counts["failed"] + counts["lenient"]
        if not run:
            return "not provided"
        if counts["passed"] == run:
            return words.all_pass(run)
        new = counts["failed"] - self.known
        said = [f"{new} of {run} {'fails' if new == 1 else 'fail'}"] * bool(new)
        said += [words.plural(self.known, "known defect")] * bool(self.known)
        said += [f"{counts['lenient']} lenient"] * bool(counts["lenient"])
        return ", ".join([f"{counts['passed']} of {run} pass"] * (not counts["failed"]) + said)


@dataclass(frozen=True)
class Line:
    """One property: what it says, the wrong variants that it catches, and a cell, or nothing, per column."""

    name: str
    statement: str
    catches: Sequence[str]
    cells: Sequence[Cell | None]

    @property
    def differ(self) -> bool:
        """Whether implementations do not all do the same here."""
        return len({cell.row["outcome"] for cell in self.cells if cell}) > 1

    @property
    def rank(self) -> tuple[bool, bool, str]:
        """A sort key: where some fail first, then where some provide nothing, then where all agree."""
        failed = any(cell and cell.row["outcome"] == "failed" for cell in self.cells)
        return not failed, not self.differ, self.name


@dataclass(frozen=True)
class Matrix:
    """The conformance of one technique; `shown` are the lines that are on the page."""

    technique: str
    title: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    shown: Sequence[Line]

    @property
    def heads(self) -> list[tuple[str, int]]:
        """The implementations, each with the number of its columns."""
        return [(name, len(columns)) for (name,), columns in grouped(map(vars, self.columns), ("name",)).items()]

    @property
    def differing(self) -> int:
        """On how many properties implementations differ."""
        return sum(line.differ for line in self.lines)

    @property
    def opened(self) -> list[tuple[Cell, list[str]]]:
        """The cells with something behind them, failures and reasons why something is not provided.

        What is the same in other columns is said once, with all of these.
        """
        found: dict[int, tuple[Cell, list[str]]] = {}
        for cell in (cell for line in self.shown for cell in line.cells if cell and cell.state != "pass"):
            columns = found.setdefault(id(cell.told), (cell, []))[1]
            columns += [cell.column] * (cell.column not in columns)
        return list(found.values())

    @property
    def cut(self) -> str:
        """What the page leaves to its table."""
        return cut.told(len(self.shown), len(self.lines), "properties", "those that fail or differ", "conformance.csv")


def conformance(
    rows: Iterable[Row], title: Callable[[str], str], caught: Mapping[str, Mapping[str, Sequence[str]]]
) -> list[Matrix]:
    """The matrices, by technique.

    Args:
        rows: of the conformance table.
        title: gives a technique's title.
        caught: by technique and property, the wrong variants that it catches.
    """
    found: list[tuple[str, list[Column], list[Line]]] = []
    for (technique,), of_technique in sorted(grouped(rows, ("technique",)).items()):
        by_column = grouped(of_technique, (_name, "precision"))
        columns = [Column(name, precision, checked) for (name, precision), checked in by_column.items()]
        columns.sort(key=_reading_order)
        lines: list[Line] = []
        told: dict[tuple[object, ...], Row] = {}
        for (name,), checked in grouped(of_technique, ("property",)).items():
            cells = {(_name(row), row["precision"]): row for row in checked}
            said = next((row["statement"] for row in checked if row["statement"]), name.replace("_", " "))
            beside = [_cell(column, cells.get((column.name, column.precision)), told) for column in columns]
            lines.append(Line(name, said, caught.get(technique, {}).get(name, ()), beside))
        found.append((technique, columns, sorted(lines, key=lambda line: line.rank)))
    shares = cut.fair([len(columns) * len(lines) for _, columns, lines in found], MOST_CELLS)
    return [
        Matrix(technique, title(technique), columns, lines, lines[: max(1, share // len(columns))])
        for (technique, columns, lines), share in zip(found, shares, strict=True)
    ]


def _cell(column: Column, row: Row | None, told: dict[tuple[object, ...], Row]) -> Cell | None:
    """A cell; `told` holds what was said before, by what it is about."""
    if row is None:
        return None
    what = ("message",) if row["outcome"] == "not provided" else ("property", "known", "link")
    about = (column.name, row["outcome"], *(row[name] for name in what))
    alone = row["outcome"] == "failed" and row["known"] is None  # nobody expected this: each tells its own example
    return Cell(f"{column.name}, {column.precision}", row, row if alone else told.setdefault(about, row))


def _name(row: Row) -> str:
    return words.contender(row) + words.machine_letter(row)


def _reading_order(column: Column) -> tuple[bool, str, tuple[int, str]]:
    return not column.name.startswith(REFERENCE), column.name, words.precision_order(column.precision)
