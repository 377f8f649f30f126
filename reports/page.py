"""The page: tables in, one self-contained HTML file out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reports import figures, words
from reports.comparisons import WITHOUT, inverse
from reports.headlines import Headline, gain_words, headlines
from reports.plots import Plot, render
from reports.run_folder import Row
from reports.tables import Tables
from reports.whiskers import Whiskers

HERE = Path(__file__).parent
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
            return f"all {run} pass"
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
    """The conformance of one technique: cells by contender and precision."""

    technique: str
    title: str
    lines: Sequence[tuple[str, dict[str, Cell]]]


@dataclass(frozen=True)
class Group:
    """The rows of one workload and operation, with the contenders that did not finish."""

    workload: str
    operation: str
    parameters: str
    place: str
    rows: Sequence[Row]
    failures: Sequence[Row]


@dataclass(frozen=True)
class Section:
    """One technique's groups and plots in a section, and the common scale of its whiskers."""

    technique: str
    title: str
    groups: Sequence[Group]
    plots: Sequence[tuple[Plot, Markup]]
    whiskers: Whiskers


@dataclass(frozen=True)
class Claim:
    """One claim in one setting."""

    definition: Row
    setting: str
    verdict: str
    contrasts: Sequence[Row]
    plots: Sequence[tuple[Plot, Markup]]


class Page:
    """Turns tables into the things that the templates print."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.rows = {name: figures.records(frame) for name, frame in tables.frames.items()}
        self._plots = 0
        self._anchors = {
            (row["place"], row["kind"], row["key"]): f"r{number}" for number, row in enumerate(self.rows["provenance"])
        }

    @property
    def headlines(self) -> list[Headline]:
        """One per technique and machine."""
        places = [run.place for run in self.tables.runs]
        wanted = ("conformance", "timings", "ratios", "precision", "claims", "failures")
        return headlines({name: self.rows[name] for name in wanted}, self.tables.titles, places)

    @property
    def places(self) -> list[str]:
        """The machines, in the order of the run folders."""
        return list(dict.fromkeys(run.place for run in self.tables.runs))

    @property
    def precisions(self) -> list[str]:
        """Every precision with a property, float32 first."""
        found = {row["precision"] for row in self.rows["conformance"]}
        return sorted(found, key=words.precision_order)

    def anchor(self, kind: str, row: Row) -> str:
        """Where on the page the command of a row stands."""
        return self._anchors[row["place"], kind, row["key"]]

    def title(self, technique: str) -> str:
        """A technique's title."""
        return self.tables.titles.get(technique, technique)

    def conformance(self) -> list[Conformance]:
        """The conformance table, by technique."""
        by_technique = _grouped(self.rows["conformance"], ("technique",))
        found, number = [], 0
        for (technique,), rows in by_technique.items():
            lines = []
            for (_, place), of_contender in _grouped(rows, (words.contender, "place")).items():
                name = words.contender(of_contender[0]) + words.machine_letter({"place": place})
                cells = {}
                for (precision,), checked in _grouped(of_contender, ("precision",)).items():
                    number += 1
                    worst_first = sorted(checked, key=lambda row: (OUTCOMES.index(row["outcome"]), row["property"]))
                    cells[precision] = Cell(f"c{number}", f"{self.title(technique)}: {name}", precision, worst_first)
                lines.append((name, cells))
            lines.sort(key=lambda line: not line[0].startswith("reference"))
            found.append(Conformance(technique, self.title(technique), lines))
        return sorted(found, key=lambda conformance: conformance.technique)

    def timings(self) -> list[Section]:
        """Timings by technique, grouped by workload and operation."""
        over: dict[tuple[str, str], Row] = {}  # the reference, at the same precision
        cost: dict[tuple[str, str], Row] = {}
        for ratio in self.rows["ratios"]:
            if ratio["baseline"] == WITHOUT:
                cost[ratio["place"], ratio["key"]] = ratio
                over[ratio["place"], ratio["baseline_key"]] = inverse(ratio)
            else:
                over[ratio["place"], ratio["key"]] = ratio
        places = [(row, (row["place"], row["key"])) for row in self.rows["timings"]]
        rows = [row | {"ratio": over.get(key), "cost": cost.get(key)} for row, key in places]
        sections = []
        for technique in self._techniques("timings", "failures"):
            of_technique = [row for row in rows if row["technique"] == technique]
            failed = [row for row in self.rows["failures"] if row["technique"] == technique]
            ratios = [row for row in self.rows["ratios"] if row["technique"] == technique]
            title = self.title(technique)
            plots: list[Plot] = [*figures.cost_forests(ratios, title), *figures.scaling(of_technique, title)]
            shown = [row["ratio"] for row in of_technique if row["ratio"]]
            sections.append(
                Section(technique, title, _groups(of_technique, failed), self._draw(plots), Whiskers.of(shown))
            )
        return sections

    def precision(self) -> list[Section]:
        """Precision effects by technique, grouped by workload and operation."""
        sections = []
        for technique in self._techniques("precision"):
            rows = [row for row in self.rows["precision"] if row["technique"] == technique]
            title = self.title(technique)
            drawn = self._draw(figures.precision_forests(rows, title))
            sections.append(Section(technique, title, _groups(rows, []), drawn, Whiskers.of(rows)))
        return sections

    def claims(self) -> list[Claim]:
        """The claims, each in every setting in which its trials ran."""
        names = ("place", "technique", "claim", "implementation", "backend", "precision", "device", "scale")
        contrasts = _grouped(self.rows["claims"], names)
        found = []
        for key, trials in _grouped(self.rows["trials"], names).items():
            definition = self.tables.claims[key[1], key[2]]
            rows = [row | {"words": gain_words(row)} for row in contrasts.get(key, [])]
            setting = ", ".join([words.contender(trials[0]), trials[0]["precision"], f"{trials[0]['scale']} scale"])
            seeds = {row["seed"] for row in trials}
            setting += f", {words.plural(len(seeds), 'seed')}{words.machine_letter(trials[0])}"
            verdict = rows[0]["verdict"] if rows else "undecided"
            found.append(
                Claim(definition, setting, verdict, rows, self._draw(figures.claim_curves(trials, definition)))
            )
        return found

    def provenance(self) -> dict[str, list[Row]]:
        """Every row with its command, by kind."""
        grouped = _grouped([row | {"anchor": f"r{i}"} for i, row in enumerate(self.rows["provenance"])], ("kind",))
        return {kind: rows for (kind,), rows in grouped.items()}

    def _techniques(self, *names: str) -> list[str]:
        return sorted({row["technique"] for name in names for row in self.rows[name]})

    def _draw(self, plots: Iterable[Plot]) -> list[tuple[Plot, Markup]]:
        drawn = []
        for plot in plots:
            self._plots += 1
            drawn.append((plot, Markup(render(plot, f"p{self._plots}"))))
        return drawn


def _grouped(rows: Iterable[Row], by: Sequence[Any]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by some of their fields, or functions of them, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(name(row) if callable(name) else row[name] for name in by), []).append(row)
    return groups


def _groups(rows: Sequence[Row], failures: Sequence[Row]) -> list[Group]:
    race = ("place", "workload", "parameters", "operation", "scale")
    timed, failed = _grouped(rows, race), _grouped(failures, race)
    groups = []
    for key in dict.fromkeys([*timed, *failed]):
        place, workload, parameters, operation, scale = key
        setting = ", ".join(part for part in (words.setting(parameters), f"{scale} scale") if part)
        order = sorted(timed.get(key, []), key=_reading_order)
        groups.append(Group(workload, words.operation(operation), setting, place, order, failed.get(key, [])))
    return groups


def _reading_order(row: Row) -> tuple[Any, ...]:
    """The reference first and "without" last; float32 before the mixed precisions."""
    rank = {"reference": 0, WITHOUT: 2}.get(row["implementation"], 1)
    return words.precision_order(row["precision"]), rank, row["implementation"], row["backend"]


def render_page(tables: Tables) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for name in (
        "seconds",
        "seconds_interval",
        "mebibytes",
        "factor",
        "factor_interval",
        "setting",
        "properties",
        "three_digits",
    ):
        environment.filters[name] = getattr(words, name)
    page = Page(tables)
    return environment.get_template("page.html.j2").render(
        page=page,
        tables=tables,
        words=words,
        style=Markup((HERE / "templates" / "style.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "templates" / "script.js").read_text(encoding="utf-8")),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
