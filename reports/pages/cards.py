"""What a machine says about each technique: what it brings, what it costs, whether it pays. One card each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reports import words
from reports.pages.answers import Answer, Rows, answers
from reports.statistics.verdicts import Pays
from reports.store.run_folder import Row
from reports.tables.comparisons import REFERENCE


@dataclass(frozen=True)
class Card:
    """The answers of one technique on one machine.

    Attributes:
        place, technique, title: where, and what.
        answers: one per promise; of mixed precision, one per precision.
        warning: what makes its numbers worthless, in a sentence; empty where nothing does.
        trust: what the properties say of its reference, in a sentence.
    """

    place: str
    technique: str
    title: str
    answers: Sequence[Answer]
    warning: str
    trust: str

    @property
    def kind(self) -> str:
        """``good`` where it pays for anything, ``bad`` where it pays for nothing, ``open`` where that is undecided."""
        found = {answer.pays for answer in self.answers}
        if found & {Pays.PAYS, Pays.IN_MEMORY}:
            return "good"
        return "bad" if found == {Pays.NOT} else "open"

    @property
    def verdict(self) -> str:
        """The answers in a few words."""
        return "; ".join(f"{each.label}: {each.pays}" if each.label else str(each.pays) for each in self.answers)

    @property
    def line(self) -> str:
        """What it brings and costs, on one line; what would decide it, and with which command, is on the page."""
        said = [f"{each.label}: {each.line}" if len(self.answers) > 1 else each.line for each in self.answers]
        return " ".join(part for part in (self.warning, *said) if part)


def cards(
    tables: Mapping[str, Sequence[Row]],
    titles: Mapping[str, str],
    promises: Mapping[str, Sequence[Row]],
    places: Iterable[str],
) -> list[Card]:
    """One card per technique that has any row, on each machine that has any."""
    found = []
    for place in dict.fromkeys(places):
        here = {name: [row for row in rows if row["place"] == place] for name, rows in tables.items()}
        named = {row["technique"] for name, rows in here.items() if name != "left_out" for row in rows}
        for technique in sorted(named):
            rows = {
                name: [row for row in rows if name == "left_out" or row["technique"] == technique]
                for name, rows in here.items()
            }
            title = titles.get(technique, technique)
            found.append(_card(place, technique, title, promises.get(technique, ()), rows))
    return found


def _card(place: str, technique: str, title: str, promises: Sequence[Row], rows: Rows) -> Card:
    checked = [row for row in rows["conformance"] if row["implementation"] == REFERENCE]
    failed = sorted({row["property"] for row in checked if row["outcome"] == "failed"})
    found = [answer for promise in promises for answer in answers(technique, promise, rows)] or [NO_PROMISE]
    warning = ""
    if failed:
        warning = f"Its reference fails {words.properties(len(failed))} ({', '.join(failed)}): rely on no number of it."
        reason = f"Its reference fails {words.properties(len(failed))}; these have to pass first."
        found = [replace(each, pays=Pays.UNDECIDED, decides=reason, command="") for each in found]
    return Card(place, technique, title, found, warning, _trust(checked, failed))


NO_PROMISE = Answer(
    Pays.UNDECIDED,
    "",
    "Not known: this run folder names no promise of it.",
    "Its times are among the timings.",
    "A run of this version of Touchstone names what decides it.",
)
"""The answer for run folders of older versions."""


def _trust(checked: Sequence[Row], failed: Sequence[str]) -> str:
    if not checked:
        return "The properties of its reference were not run."
    count = len({row["property"] for row in checked})
    precisions = words.plural(len({row["precision"] for row in checked}), "precision")
    if failed:
        return f"Its reference fails {len(failed)} of {words.properties(count)}, in {precisions}."
    passed = "its one property" if count == 1 else f"all {words.properties(count)}"
    return f"Its reference passes {passed} in {precisions}."
