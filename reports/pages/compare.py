"""The page that compares run folders: sides in, one self-contained HTML file out."""

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from reports import words
from reports.pages import html
from reports.pages.groups import Group, by_race, grouped
from reports.pages.reruns import Drawn
from reports.plots import across_figures
from reports.plots.kinds import Plot
from reports.plots.svg import render
from reports.plots.whiskers import Whiskers
from reports.statistics import across as statistics
from reports.statistics.across import There
from reports.store.run_folder import Row, canonical_hash
from reports.tables import across, outcomes, sides
from reports.tables.rates import MATMUL
from reports.tables.sides import Difference, Side

CANNOT, ALIKE = There.UNKNOWN.value, There.ALIKE.value


@dataclass(frozen=True)
class Section:
    """One technique's rows, the scale of the whiskers of their times, and its plots."""

    technique: str
    title: str
    groups: Sequence[Group]
    whiskers: Whiskers
    plots: Drawn


class Comparison:
    """Everything that the page says of some sides beside one of them."""

    def __init__(self, compared: Sequence[Side], baseline: Side) -> None:
        self.sides, self.baseline = compared, baseline
        self.others = [side for side in compared if side is not baseline]
        self.speeds = across.speeds(compared, baseline)
        self.machines = across.machines(compared, baseline)
        self.precisions = across.precisions(compared)
        self.outcomes = outcomes.outcomes(compared)
        self.differences: Sequence[Difference] = sides.differences(compared)
        self.letters = {side.name: side.letter for side in compared}

    def frames(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        settings = [
            {"kind": each.kind, "setting": each.name, "side": side.name, "value": text}
            for each in self.differences
            for side, text in zip(self.sides, each.texts, strict=True)
        ]
        tables: dict[str, tuple[Sequence[Row], Sequence[str]]] = {
            "settings": (settings, ("kind", "setting", "side", "value")),
            "ratios": (self.speeds, across.COLUMNS),
            "machines": (self.machines, across.KERNEL_COLUMNS),
            "precisions": (self.precisions, across.PRECISION_COLUMNS),
            "outcomes": (self.outcomes, outcomes.COLUMNS),
        }
        return {name: pd.DataFrame(rows, columns=list(columns)) for name, (rows, columns) in tables.items()}

    def title(self, technique: str) -> str:
        """A technique's title."""
        return next(
            (side.tables.titles[technique] for side in self.sides if technique in side.tables.titles), technique
        )

    def measured(self, measure: str) -> bool:
        """Whether any two sides can be compared by this."""
        return any(row[f"{measure}_ratio"] is not None for row in self.speeds)

    @property
    def settings(self) -> str:
        """What all sides share, in a sentence."""
        same = [f"{sides.title(fact.name)} {fact.text}" for fact in sides.equal(self.sides)]
        return f"The same on all sides: {'; '.join(same)}." if same else "There is no setting that all sides share."

    @functools.cached_property
    def sections(self) -> list[Section]:
        """The rows by technique, each with what its cells need."""
        found = []
        for (technique,), rows in sorted(grouped(self.speeds, ("technique",)).items()):
            shown = [row | self._cells(row) for row in rows]
            scale = Whiskers.of(row["time"] for row in shown if row["time"])
            title = self.title(technique)
            plots = across_figures.ratio_forests(rows, title, self.sides, self.baseline)
            drawn = _draw(plots, f"{technique}-")
            found.append(Section(technique, title, by_race(shown, []), scale, drawn))
        return found

    def _cells(self, row: Row) -> Row:
        cells: Row = {name: _ratio(row, name) for name in across.MEASURES}
        letter = self.letters[row["side"]]
        verdicts = {row[f"{name}_verdict"] for name in across.MEASURES} - {None, CANNOT, ALIKE}
        lacks = (row["seconds"] is None) != (row["baseline_seconds"] is None)
        anchor = canonical_hash({name: row[name] for name in across.ASKED} | {"side": letter})
        return cells | {"place": "", "letter": letter, "different": bool(verdicts) or lacks, "anchor": f"t-{anchor}"}

    def kernels(self) -> tuple[list[Row], Whiskers]:
        """What the machines themselves reach, and the scale of its whiskers."""
        rows = [row | {"time": _ratio(row, "time"), "letter": self.letters[row["side"]]} for row in self.machines]
        return rows, Whiskers.of(row["time"] for row in rows if row["time"])

    def profile(self) -> Drawn:
        """How many rows are within a factor of the baseline."""
        return _draw(across_figures.profile(self.speeds, self.sides, self.baseline), "profile-")

    def pays(self) -> list[tuple[str, str, list[Group]]]:
        """What each precision brings on each side: by technique, rows with one cell per side."""
        found = []
        for (technique,), rows in sorted(grouped(self.precisions, ("technique",)).items()):
            lines = []
            for lines_of_sides in grouped(rows, across.PRECISION_ASKED).values():
                cells = [row | {"cell": row if row["ratio"] is not None else None} for row in lines_of_sides]
                lines.append(cells[0] | {"place": "", "variation": "", "cells": cells})
            found.append((technique, self.title(technique), by_race(lines, [])))
        return found

    def told_apart(self) -> list[tuple[Row, list[Row]]]:
        """The properties and claims that come to something else on different sides, each with its row per side."""
        rows = [row for row in self.outcomes if row["state"] == outcomes.DIFFERS]
        found = grouped(rows, outcomes.ASKED).values()
        return [(lines[0] | {"anchor": f"o-{_digest(lines[0])}"}, lines) for lines in found]

    def lacking(self) -> list[tuple[str, int]]:
        """How many properties and claims were run on some sides only: what and where, in words."""
        rows = [row for row in self.outcomes if row["state"] == outcomes.LACKING]
        found: Counter[str] = Counter()
        for lines in grouped(rows, outcomes.ASKED).values():
            ran = " and ".join(self.letters[row["side"]] for row in lines if row["outcome"] != outcomes.NOT_RUN)
            first = lines[0]
            kind = {"property": "properties", "claim": "claims"}[first["kind"]]
            who = f"{self.title(first['technique'])}: {kind} of {words.contender(first)}, {first['precision']}"
            found[f"{who}, {first['scale']} scale, on {ran} only" if ran else f"{who}, without data anywhere"] += 1
        return list(found.items())

    def count(self, state: str) -> int:
        """How many properties and claims are in a state."""
        return sum(row["state"] == state for row in self.outcomes) // len(self.sides)

    @functools.cached_property
    def sentences(self) -> list[str]:
        """What there is to say in a few plain sentences."""
        said = [line for side in self.others for line in (self._differ(side), *self._speed(side))]
        return [*said, *self._pay(), self._outcomes()]

    def _differ(self, side: Side) -> str:
        """In what a side differs from the baseline."""
        told = [each for each in sides.differences([self.baseline, side]) if each.name not in sides.NEVER_TIMED]
        hardware = [each.title for each in told if each.kind == sides.HARDWARE]
        others = [each for each in told if each.kind in (sides.ENVIRONMENT, sides.SETTINGS, sides.SOURCES)]
        changes = [f"hardware ({_listed(hardware)})"] if hardware else []
        changes += [f"{each.title} {each.texts[0]} → {each.texts[1]}" for each in others]
        between = f"{side.letter} and {self.baseline.letter}"
        return f"{between} differ in {_listed(changes)}." if changes else f"{between} differ in nothing known but time."

    def _speed(self, side: Side) -> list[str]:
        rows = [row for row in self.speeds if row["side"] == side.name]
        if not rows:
            return [f"Nothing was timed on {side.letter} or on {self.baseline.letter}."]
        there, base = side.letter, self.baseline.letter
        both = [row for row in rows if row["time_verdict"]]
        lacking = [(row["seconds"] is None) - (row["baseline_seconds"] is None) for row in rows]
        said = [f"Of {words.plural(len(rows), 'row')}, {len(both)} were timed on both {there} and {base}"]
        alone = [f"{lacking.count(-1)} on {there} alone"] * (-1 in lacking)
        alone += [f"{lacking.count(1)} on {base} alone"] * (1 in lacking)
        neither = sum(row["seconds"] is None and row["baseline_seconds"] is None for row in rows)
        alone += [f"{neither} on neither"] * bool(neither)
        sentences = [", ".join([*said, *alone]) + "."]
        if both:
            sentences.append(f"On {there}, {_counted([row['time_verdict'] for row in both], 'time')}.")
        if used := [row["use_verdict"] for row in rows if row["use_verdict"]]:
            sentences.append(f"In steps of each machine's own kernel, {_counted(used, 'use')}.")
        sentences += [self._machine(row) for row in self.machines if row["side"] == side.name]
        if changed := sum(bool(row["programs"]) for row in rows):
            sentences.append(f"In {words.plural(changed, 'row')} the sources differ: these ratios are of two programs.")
        return sentences

    def _machine(self, row: Row) -> str:
        """What a control kernel took on a side beside the baseline."""
        kernel = f"the matrix product in {row['precision']}" if row["implementation"] == MATMUL else "moving memory"
        letter, device = self.letters[row["side"]], "" if row["device"] == "cpu" else f" on the {row['device']}"
        ratio = (
            f"{words.factor(row['time_ratio'])} {words.factor_interval(row['time_ratio_low'], row['time_ratio_high'])}"
        )
        return (
            f"On {letter}, {kernel}{device} takes {ratio} as long as on {self.baseline.letter}: {row['time_verdict']}."
        )

    def _pay(self) -> list[str]:
        said = []
        for (precision,), rows in grouped((row for row in self.precisions if row["differs"]), ("precision",)).items():
            ways = Counter(
                (_letters(self, lines, pays=True), _letters(self, lines, pays=False))
                for lines in grouped(rows, across.PRECISION_ASKED).values()
            )
            said += [
                f"{precision} pays on {pays} and not on {not_} in {words.plural(count, 'row')}."
                for (pays, not_), count in ways.items()
            ]
        if not said and self.precisions:
            return ["No precision is known to pay on one side and not on another."]
        return said

    def _outcomes(self) -> str:
        differ, equal = self.count(outcomes.DIFFERS), self.count(outcomes.EQUAL)
        lacking = self.count(outcomes.LACKING)
        return (
            f"Of the properties and claims, {differ or 'none'} {'come' if differ != 1 else 'comes'} to something else, "
            f"{equal} to the same, and {lacking} {'were' if lacking != 1 else 'was'} not run on all sides."
        )


def _letters(comparison: Comparison, lines: Iterable[Row], pays: bool) -> str:
    known = [row for row in lines if row["pays"] not in ("cannot tell", "not run")]
    return " and ".join(comparison.letters[row["side"]] for row in known if (row["pays"] == "pays") == pays)


def _digest(row: Row) -> str:
    return canonical_hash({name: row[name] for name in outcomes.ASKED})


def _counted(verdicts: Sequence[str], measure: str) -> str:
    """How many rows have which verdict: ``all 12 are faster there``; ``1 is faster there and of 3 one cannot tell``."""
    counts = Counter(verdicts)
    numbers = {name: f"{'all ' * (len(counts) == 1 and count > 1)}{count}" for name, count in counts.items()}
    told = [
        f"{numbers[name]} {'is' if counts[name] == 1 else 'are'} {name}"
        for name in (*across.MEASURES[measure].values(), ALIKE)
        if counts[name]
    ]
    return _listed([*told, *([f"of {numbers[CANNOT]} one cannot tell"] if counts[CANNOT] else [])])


def _listed(names: Sequence[str]) -> str:
    """Names with commas and an ``and``; of many the first few."""
    shown = [*names[:SHOWN], f"{len(names) - SHOWN} more"] if len(names) > SHOWN + 1 else list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


SHOWN = 5


def _ratio(row: Row, measure: str) -> Row | None:
    """A ratio as the cells of tables have it; ``None`` where there is none."""
    if row[f"{measure}_ratio"] is None:
        return None
    names = {"ratio": "ratio", "low": "ratio_low", "high": "ratio_high", "verdict": "verdict", "q": "q"}
    found = {name: row[f"{measure}_{given}"] for name, given in names.items()}
    return found | {"units": 2 if math.isfinite(found["high"]) else 1, "basis": "sides"}  # one without an interval


def _draw(plots: Iterable[Plot], name: str) -> Drawn:
    return [(plot, Markup(render(plot, f"{name}{number}"))) for number, plot in enumerate(plots)]


def render_page(comparison: Comparison) -> str:
    """The whole page as text."""
    return html.render(
        "compare.html.j2",
        page=comparison,
        runs=comparison.sides,
        about=statistics.ABOUT,
        floor_unknown=statistics.FLOOR_UNKNOWN,
    )
