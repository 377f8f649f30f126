"""The page: tables in, one self-contained HTML file out."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import words
from reports.pages import growth, html
from reports.pages.cards import Card, cards
from reports.pages.conformance import Matrix, conformance
from reports.pages.groups import Group, by_race, grouped
from reports.pages.mutation import Mutation, mutation
from reports.pages.reruns import Drawn, Rerun, reruns
from reports.pages.sight import Sight, sights
from reports.plots import figures
from reports.plots.roofline import rooflines
from reports.plots.svg import Plot, render
from reports.plots.whiskers import Whiskers
from reports.store.run_folder import Row
from reports.tables.claims import CLAIM_RATE
from reports.tables.comparisons import WITHOUT, inverse
from reports.tables.frames import Tables, records


@dataclass(frozen=True)
class Section:
    """One technique's groups and plots in a section, the common scale of its whiskers, and what grows with a size."""

    technique: str
    title: str
    groups: Sequence[Group]
    plots: Drawn
    whiskers: Whiskers
    growth: Sequence[str] = ()

    def has(self, measured: str) -> bool:
        """Whether any row has this measured."""
        return any(row[measured] is not None for group in self.groups for row in group.rows)

    @property
    def on_device(self) -> bool:
        """Whether any row ran on a device with memory of its own."""
        return self.has("device_memory_bytes") or any(row["device"] != "cpu" for g in self.groups for row in g.rows)


class Page:
    """Turns tables into the things that the templates print."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.rows = {name: records(frame) for name, frame in tables.frames.items()}
        self._plots = 0
        self._anchors = {
            (row["place"], row["kind"], row["key"]): f"r{number}" for number, row in enumerate(self.rows["provenance"])
        }

    @functools.cached_property
    def cards(self) -> list[Card]:
        """One per technique and machine."""
        places = [run.place for run in self.tables.runs]
        wanted = ("conformance", "timings", "ratios", "precision", "claims", "failures", "left_out")
        return cards({name: self.rows[name] for name in wanted}, self.tables.titles, self.tables.promises, places)

    @property
    def places(self) -> list[str]:
        """The machines, in the order of the run folders."""
        return list(dict.fromkeys(run.place for run in self.tables.runs))

    def anchor(self, kind: str, row: Row) -> str:
        """Where on the page the command of a row stands."""
        return self._anchors[row["place"], kind, row["key"]]

    def title(self, technique: str) -> str:
        """A technique's title."""
        return self.tables.titles.get(technique, technique)

    def section(self, name: str, technique: str) -> str:
        """Where a technique stands in a section, or the section where it does not."""
        tables = {"conformance": ("conformance",), "timings": ("timings", "failures")}
        return f"{name}-{technique}" if technique in self._techniques(*tables[name]) else name

    def conformance(self) -> list[Matrix]:
        """The conformance matrices, by technique."""
        return conformance(self.rows["conformance"], self.title, self.tables.caught)

    def mutation(self) -> list[Mutation]:
        """What the properties saw of small changes to each reference."""
        return mutation(self.rows["mutants"], self.title)

    def sights(self) -> list[tuple[Sight, Drawn]]:
        """What could be seen on each machine."""
        return [(each, self._draw(each.drift)) for each in sights(self.rows, self.tables.floors, self.places)]

    def measured(self, name: str) -> bool:
        """Whether any timing has this measured."""
        return any(row[name] is not None for row in self.rows["timings"])

    def rooflines(self) -> Drawn:
        """What all techniques reach beside the machine's own kernels."""
        return self._draw(rooflines(self.rows["timings"]))

    def timings(self) -> list[Section]:
        """Timings by technique, grouped by workload and operation."""
        over: dict[tuple[str, str], Row] = {}  # the reference, at the same precision
        cost: dict[tuple[str, str], Row] = {}
        for ratio in [*self.rows["noise"], *self.rows["ratios"]]:
            if ratio["baseline"] == WITHOUT:
                cost[ratio["place"], ratio["key"]] = ratio
                over[ratio["place"], ratio["baseline_key"]] = inverse(ratio)
            else:
                over[ratio["place"], ratio["key"]] = ratio
        steadiness = {(row["place"], row["key"]): row for row in self.rows["steadiness"]}
        places = [(row, (row["place"], row["key"])) for row in self.rows["timings"]]
        rows = [
            row | {"ratio": over.get(key), "cost": cost.get(key), "steadiness": steadiness[key]} for row, key in places
        ]
        sections = []
        for technique in self._techniques("timings", "failures"):
            of_technique = [row for row in rows if row["technique"] == technique]
            failed = [row for row in self.rows["failures"] if row["technique"] == technique]
            ratios = [row for row in self.rows["ratios"] if row["technique"] == technique]
            title = self.title(technique)
            plots: list[Plot] = [*figures.cost_forests(ratios, title), *figures.scaling(of_technique, title)]
            shown = [row["ratio"] for row in of_technique if row["ratio"]]
            grows = growth.sentences(row for row in self.rows["exponents"] if row["technique"] == technique)
            groups = by_race(of_technique, failed)
            sections.append(Section(technique, title, groups, self._draw(plots), Whiskers.of(shown), grows))
        return sections

    def precision(self) -> list[Section]:
        """Precision effects by technique, grouped by workload and operation."""
        sections = []
        for technique in self._techniques("precision"):
            rows = [row for row in self.rows["precision"] if row["technique"] == technique]
            title = self.title(technique)
            drawn = self._draw(figures.precision_forests(rows, title))
            sections.append(Section(technique, title, by_race(rows, []), drawn, Whiskers.of(rows)))
        return sections

    @functools.cached_property
    def reruns(self) -> list[Rerun]:
        """The claims, each in every setting in which its trials ran."""
        return list(reruns(self.rows, self.tables.claims, self.title, self._draw))

    def provenance(self) -> dict[str, list[Row]]:
        """Rows with their commands, by kind: all that were timed or trained, and the properties that failed.

        All trials of a claim have one command, and one row.
        """
        failed = {row["key"] for row in self.rows["conformance"] if row["outcome"] == "failed"}
        rows = [
            row | {"anchor": f"r{i}"}
            for i, row in enumerate(self.rows["provenance"])
            if row["kind"] not in ("property", "mutant") or row["key"] in failed
        ]
        by_kind = {kind: of_kind for (kind,), of_kind in grouped(rows, ("kind",)).items()}
        if "trial" in by_kind:
            together = grouped(by_kind["trial"], ("place", "command")).values()
            by_kind["trial"] = [_one_row(of_claim) for of_claim in together]
        return by_kind

    def _techniques(self, *names: str) -> list[str]:
        return sorted({row["technique"] for name in names for row in self.rows[name]})

    def _draw(self, plots: Iterable[Plot]) -> list[tuple[Plot, Markup]]:
        drawn = []
        for plot in plots:
            self._plots += 1
            drawn.append((plot, Markup(render(plot, f"p{self._plots}"))))
        return drawn


def _one_row(trials: Sequence[Row]) -> Row:
    """The trials of a claim as one row: the words that all have in common, and when the last of them ended."""
    words_of = [row["row"].split(" · ") for row in trials]
    common = [each for each in words_of[0] if all(each in other for other in words_of)]
    told = " · ".join([*common, words.plural(len(trials), "trial")])
    return trials[-1] | {"row": told, "when": max(row["when"] for row in trials)}


def render_page(tables: Tables) -> str:
    """The whole page as text."""
    return html.render("page.html.j2", page=Page(tables), tables=tables, runs=tables.runs, claim_rate=CLAIM_RATE)
