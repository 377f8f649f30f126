"""The page: tables in, one self-contained HTML file out."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from markupsafe import Markup

from reports import words
from reports.pages import cut, growth, html
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

MOST_ROWS, MOST_PLOTS = 300, 150
"""What a page holds of timings, of ratios of precisions and of commands each, and of plots: less than 1 MB in all."""


@dataclass(frozen=True)
class Section:
    """A technique in a section: groups, plots, the scale of all whiskers, what grows with a size, what is left out."""

    technique: str
    title: str
    groups: Sequence[Group]
    plots: Drawn
    whiskers: Whiskers
    growth: Sequence[str] = ()
    left_out: str = ""

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
        self._places = {
            (row["place"], row["kind"], row["key"]): number for number, row in enumerate(self.rows["provenance"])
        }
        first: dict[tuple[str, str, str], int] = {}
        commands = [(row["place"], row["kind"], row["command"]) for row in self.rows["provenance"]]
        self._together = [first.setdefault(command, number) for number, command in enumerate(commands)]
        self._linked: set[int] = set()

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

    def place(self, kind: str, row: Row) -> str:
        """A name for a row that no other has on this page."""
        return f"r{self._places[row['place'], kind, row['key']]}"

    def anchor(self, kind: str, row: Row) -> str:
        """Where on the page the command of a row stands, which is on it from now on."""
        number = self._together[self._places[row["place"], kind, row["key"]]]
        self._linked.add(number)
        return f"r{number}"

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
        for technique, groups, left_out in self._shown(rows, self.rows["failures"], "timings.csv"):
            shown = [row for group in groups for row in group.rows]
            keys = {(row["place"], row["key"]) for row in shown}
            ratios = [row for row in self.rows["ratios"] if (row["place"], row["key"]) in keys]
            title = self.title(technique)
            plots: list[Plot] = [*figures.cost_forests(ratios, title), *figures.scaling(shown, title)]
            whiskers = Whiskers.of([row["ratio"] for row in shown if row["ratio"]])
            grows = growth.sentences(row for row in self.rows["exponents"] if row["technique"] == technique)
            sections.append(Section(technique, title, groups, self._draw(plots), whiskers, grows, left_out))
        return sections

    def _shown(self, rows: Sequence[Row], failures: Sequence[Row], file: str) -> Iterator[tuple[str, list[Group], str]]:
        """By technique: the races that are on the page, and what it leaves to a table."""
        timed, failed = grouped(rows, ("technique",)), grouped(failures, ("technique",))
        races = {key: by_race(timed.get(key, []), failed.get(key, [])) for key in sorted({*timed, *failed})}
        shares = cut.fair([sum(map(len, groups)) for groups in races.values()], MOST_ROWS)
        for ((technique,), groups), share in zip(races.items(), shares, strict=True):
            shown = cut.kept(groups, share, lambda group: group.differs, len)
            yield technique, shown, cut.told(len(shown), len(groups), "races", "those in which something differs", file)

    def precision(self) -> list[Section]:
        """Precision effects by technique, grouped by workload and operation."""
        sections = []
        for technique, groups, left_out in self._shown(self.rows["precision"], [], "precision.csv"):
            rows = [row for group in groups for row in group.rows]
            title = self.title(technique)
            drawn = self._draw(figures.precision_forests(rows, title))
            sections.append(Section(technique, title, groups, drawn, Whiskers.of(rows), left_out=left_out))
        return sections

    @functools.cached_property
    def reruns(self) -> list[Rerun]:
        """The claims, each in every setting in which its trials ran."""
        return list(reruns(self.rows, self.tables.claims, self.title, self._draw))

    def provenance(self) -> dict[str, list[Row]]:
        """Commands by kind, those of trials and all that were linked to by now; rows of one command are one."""
        rows: dict[int, list[Row]] = {}
        for number, row in zip(self._together, self.rows["provenance"], strict=True):
            if number in self._linked or row["kind"] == "trial":
                rows.setdefault(number, []).append(row | {"anchor": f"r{number}"})
        linked = [number in self._linked for number in rows]
        shown = cut.kept(list(zip(rows.values(), linked, strict=True)), MOST_ROWS, lambda pair: pair[1])
        return {kind: of for (kind,), of in grouped([_one_row(each) for each, _ in shown], ("kind",)).items()}

    def _techniques(self, *names: str) -> list[str]:
        return sorted({row["technique"] for name in names for row in self.rows[name]})

    def _draw(self, plots: Iterable[Plot]) -> list[tuple[Plot, Markup]]:
        drawn = []
        for plot in islice(plots, MOST_PLOTS - self._plots):
            self._plots += 1
            drawn.append((plot, Markup(render(plot, f"p{self._plots}"))))
        return drawn


def _one_row(rows: Sequence[Row]) -> Row:
    """The rows of one command as one: the words that all have in common, and when the last of them ended."""
    words_of = [row["row"].split(" · ") for row in rows]
    common = set(words_of[0]).intersection(*words_of)
    told = [each for each in words_of[0] if each in common]
    told += [words.plural(len(rows), rows[0]["kind"])] * (len(rows) > 1 or rows[0]["kind"] == "trial")
    return rows[-1] | {"row": " · ".join(told), "when": max(row["when"] for row in rows)}


def render_page(tables: Tables, page: Page | None = None) -> str:
    """The whole page as text."""
    page = page or Page(tables)
    return html.render("page.html.j2", page=page, tables=tables, runs=tables.runs, claim_rate=CLAIM_RATE)
