"""What a machine says about each technique, in a few sentences: the report's head, and its summary on the terminal."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports import verdicts, words
from reports.comparisons import PLAIN, REFERENCE, WITHOUT
from reports.figures import plainest
from reports.run_folder import Row
from reports.verdicts import Speed, Verdict, Worth

TRAINING = "train"


@dataclass(frozen=True)
class Headline:
    """Worth it here, and at what cost?

    Attributes:
        place, technique, title: where, and what.
        worth: the verdict.
        benefit, cost, precision, trust: one sentence each; empty where there is nothing to say.
        failed: how many properties the reference fails.
    """

    place: str
    technique: str
    title: str
    worth: Worth
    benefit: str
    cost: str
    precision: str
    trust: str
    failed: int

    @property
    def line(self) -> str:
        """All of it on one line."""
        return " ".join(part for part in (self.benefit, self.cost, self.precision, self.trust) if part)


def headlines(tables: dict[str, list[Row]], titles: dict[str, str], places: Iterable[str]) -> list[Headline]:
    """One headline per technique that has any row, on each machine that has any."""
    found = []
    for place in dict.fromkeys(places):
        here = {name: [row for row in rows if row["place"] == place] for name, rows in tables.items()}
        named = {row["technique"]: 0 for rows in here.values() for row in rows}
        for technique in sorted(named):
            rows = {name: [row for row in rows if row["technique"] == technique] for name, rows in here.items()}
            found.append(_headline(place, technique, titles.get(technique, technique), rows))
    return found


def _headline(place: str, technique: str, title: str, rows: dict[str, list[Row]]) -> Headline:
    claims = {row["claim"]: Verdict(row["verdict"]) for row in rows["claims"] if row["implementation"] == REFERENCE}
    ratios = _training(row for row in rows["ratios"] if row["baseline"] == WITHOUT and not row["variation"])
    precision = plainest(row["precision"] for row in ratios)
    costs = [row for row in ratios if row["precision"] == precision]
    mixed = _training(row for row in rows["precision"] if row["implementation"] == REFERENCE and not row["variation"])
    checked = [row for row in rows["conformance"] if row["implementation"] == REFERENCE]
    failed = sorted({row["property"] for row in checked if row["outcome"] == "failed"})
    return Headline(
        place,
        technique,
        title,
        verdicts.of_technique(claims.values(), [Speed(row["verdict"]) for row in costs]),
        _benefit(claims, rows["claims"]),
        _cost(costs, precision),
        _mixed(mixed),
        _trust(checked, failed),
        len(failed),
    )


def _training(ratios: Iterable[Row]) -> list[Row]:
    """The ratios of training steps; of whatever else was timed where no training step was."""
    usable = [row for row in ratios if row["ratio"] is not None]
    return [row for row in usable if row["operation"] == TRAINING] or usable


def _benefit(claims: dict[str, Verdict], rows: Sequence[Row]) -> str:
    if not claims:
        return "No claim was rerun: this report says what it takes, and nothing else of what it brings."
    sentences = []
    for claim, verdict in claims.items():
        contrasts = [row for row in rows if row["claim"] == claim and row["implementation"] == REFERENCE]
        sentences.append(
            f"The claim “{contrasts[0]['statement'].rstrip('.')}” is {verdict}: {gain_words(contrasts[0])}."
        )
    return " ".join(sentences)


def gain_words(row: Row) -> str:
    """By how much an arm beats its baseline, in words."""
    pair = f"{row['arm']} over {row['baseline']} in {_lower_first(row['metric_title'])}"
    where = f" at {words.setting(row['condition'])}" if row["condition"] != "{}" else ""
    if row["gain"] is None:
        return f"{pair}: no seed at which both are usable{where}"
    gain, margin, low, high = (words.significant(row[name]) for name in ("gain", "margin", "low", "high"))
    ends = f"[{low}, {high}]" if math.isfinite(row["low"]) and math.isfinite(row["high"]) else "(no interval)"
    unit = f" {row['unit']}" if row["unit"] else ""
    return f"{pair}: gain {gain} {ends}{unit}{where}, where the claim says more than {margin}"


def _lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]


def _cost(costs: Sequence[Row], precision: str) -> str:
    if not costs:
        return "Its cost beside the same work without it was not timed."
    low, high = min(costs, key=lambda row: row["ratio"]), max(costs, key=lambda row: row["ratio"])
    operations = {row["operation"] for row in costs}
    step = "A training step takes" if operations == {TRAINING} else "A step takes"
    suffix = "" if precision == PLAIN else f", in {precision}"
    if words.factor(low["ratio"]) == words.factor(high["ratio"]):
        known = {Speed.EQUIVALENT: ", which is equivalent", Speed.UNDECIDED: ", which this run cannot tell from none"}
        said = known.get(Speed(low["verdict"]), "")
        return f"{step} {_ratio(low)} the time of the same work without it{suffix}{said}."
    names = [row["workload"] + f", {row['operation']}" * (len(operations) > 1) for row in (low, high)]
    return (
        f"{step} from {_ratio(low)} ({names[0]}) to {_ratio(high)} ({names[1]}) the time of the same work without it"
        f"{suffix}."
    )


def _ratio(row: Row) -> str:
    return f"{words.factor(row['ratio'])} {words.factor_interval(row['low'], row['high'])}"


def _mixed(ratios: Sequence[Row]) -> str:
    if not ratios:
        return ""
    parts = []
    for precision in dict.fromkeys(row["precision"] for row in ratios):
        found = sorted(row["ratio"] for row in ratios if row["precision"] == precision)
        ends = dict.fromkeys((words.factor(found[0]), words.factor(found[-1])))
        parts.append(f"{precision} takes {' to '.join(ends)}")
    return f"Beside float32, {' and '.join(parts)} the time."


def _trust(checked: Sequence[Row], failed: Sequence[str]) -> str:
    if not checked:
        return "The properties of its reference were not run."
    if failed:
        return (
            f"Its reference fails {words.properties(len(failed))} ({', '.join(failed)}): rely on none of these numbers."
        )
    count = len({row["property"] for row in checked})
    precisions = len({row["precision"] for row in checked})
    passed = "its one property" if count == 1 else f"all {words.properties(count)}"
    return f"Its reference passes {passed} in {words.plural(precisions, 'precision')}."
