"""Whether a promise of a technique is kept here: what it brings, what it costs, and whether it pays.

A promise is a row of ``run.json``, as ``suites/promises.py`` declares it. It is answered by intervals alone: what a run
cannot tell is undecided, and the answer says what would decide it.
"""

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reports import left_out, verdicts, words
from reports.comparisons import PLAIN, REFERENCE, WITHOUT
from reports.figures import plainest
from reports.gains import gain_words
from reports.run_folder import Row
from reports.verdicts import TOO_DEAR, Effect, Memory, Pays, Speed, Verdict

Rows = Mapping[str, Sequence[Row]]
"""The tables of one technique on one machine, by name."""


@dataclass(frozen=True)
class Answer:
    """The answer to one promise.

    Attributes:
        label: the part of the technique, or the precision, that it is about; empty where there is one answer only.
        promise: the promise, in a sentence.
        pays: the answer.
        brings, costs: sentences.
        decides: what would decide it, in a sentence; empty where it is decided.
        command: the command that does so; empty where there is none.
        notes: what else has to be known, in sentences.
    """

    label: str
    promise: str
    pays: Pays
    brings: str
    costs: str
    decides: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """All of it in one line."""
        parts = (self.brings, self.costs, *self.notes, self.decides)
        return " ".join(part for part in parts if part) + (f" {self.command}" if self.command else "")


def answers(technique: str, promise: Row, rows: Rows) -> list[Answer]:
    """The answers to a promise of a technique: one for each mixed precision where it is about these, else one."""
    races = promise["races"]
    if not races or races["over"] == WITHOUT:
        found = _of_races(races, rows["ratios"], WITHOUT) if races else []
        precision = plainest(row["precision"] for row in found)
        return [
            _answer(technique, promise, rows, [row for row in found if row["precision"] == precision], promise["label"])
        ]
    found = _of_races(races, rows["precision"], REFERENCE)
    precisions = sorted({row["precision"] for row in found}, key=words.precision_order)
    by_precision = {precision: [row for row in found if row["precision"] == precision] for precision in precisions}
    return [
        _answer(technique, promise, rows, each, name) for name, each in (by_precision or {promise["label"]: []}).items()
    ]


def _of_races(races: Row, ratios: Iterable[Row], baseline: str) -> list[Row]:
    """The reference's ratios in the races of a promise."""
    return [
        row
        for row in ratios
        if (row["implementation"], row["baseline"], row["variation"]) == (REFERENCE, baseline, "")
        and row["ratio"] is not None
        and row["operation"] in races["operations"]
        and any(fnmatch.fnmatchcase(row["workload"], pattern) for pattern in races["workloads"])
        and (baseline == WITHOUT or row["baseline_precision"] == PLAIN)
    ]


def _answer(technique: str, promise: Row, rows: Rows, ratios: Sequence[Row], label: str) -> Answer:
    match promise["kind"]:
        case "speed" | "memory":
            answer = _of_effects(promise, rows, ratios)
        case "quality":
            answer = _of_claim(promise, rows, ratios)
        case _:
            answer = _of_properties(promise, rows, ratios)
    return _with_notes(replace(answer, label=label), technique, promise, rows, ratios)


def _of_effects(promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    of_memory, races = promise["kind"] == "memory", promise["races"]
    if not ratios:
        answer = Answer("", promise["statement"], Pays.UNDECIDED, "Not known: none of its races was run.", "Not known.")
        return replace(answer, decides="Its races decide it.", command=promise["commands"]["races"])
    effects = [Effect(Speed(row["verdict"]), Memory(row["memory_verdict"]), row["low"] > TOO_DEAR) for row in ratios]
    time, memory = time_words(ratios, races, not of_memory), memory_words(ratios, races, of_memory)
    if not of_memory:
        answer = Answer("", promise["statement"], verdicts.of_speed(effects), time, memory)
        depends = {effect.time for effect in effects} >= {Speed.FASTER, Speed.SLOWER}
    else:
        # Memory is promised to those who run short of it: a small workload, where little can be saved, decides nothing.
        taken = {row["key"]: row["memory_bytes"] or 0.0 for row in rows["timings"]}
        largest = max(range(len(ratios)), key=lambda i: taken.get(ratios[i]["baseline_key"], 0.0))
        bytes_ = taken.get(ratios[largest]["baseline_key"])
        decided = f"Decided on {ratios[largest]['workload']}, which takes {words.mebibytes(bytes_)} otherwise."
        pays = verdicts.of_memory(effects[largest])
        answer = Answer("", promise["statement"], pays, memory, time, notes=(decided,))
        effects, depends = [effects[largest]], False
    if answer.pays is not Pays.UNDECIDED:
        return answer
    if depends:
        decides = "It depends on the workload: a race of yours decides it."
    elif any(effect.memory is Memory.LESS for effect in effects) and of_memory:
        decides = "It saves memory; whether that takes time, more heats decide."
    else:
        decides = "This run cannot tell; more heats, or larger workloads, decide it."
    return replace(answer, decides=decides, command=promise["commands"]["races"])


def _of_claim(promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    contrasts = [
        row for row in rows["claims"] if (row["claim"], row["implementation"]) == (promise["claim"], REFERENCE)
    ]
    verdict = Verdict(contrasts[0]["verdict"]) if contrasts else Verdict.UNDECIDED
    shown = {Verdict.REPRODUCED: True, Verdict.CONTRADICTED: False}.get(verdict)
    if contrasts:
        said = contrasts[0]["statement"].rstrip(".")
        brings = f"The claim “{said}” is {verdict}: {gain_words(contrasts[0])}."
    else:
        brings = "Not known: no claim of it was rerun." if promise["claim"] else "Not known: no claim tests it yet."
    answer = _with_cost(promise, ratios, shown, brings)
    if answer.pays is not Pays.UNDECIDED or shown:
        return answer
    if not promise["claim"]:
        decides = (
            "A claim would: training on real data with and without it, on several seeds. It is still to be written."
        )
        return replace(answer, decides=decides, command="")
    more = "More seeds decide it." if contrasts else "Its claim decides it."
    return replace(answer, decides=more, command=promise["commands"]["claim"])


def _of_properties(promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    wanted = promise["properties"]
    outcomes: dict[str, set[str]] = {name: set() for name in wanted}
    for row in rows["conformance"]:
        if row["implementation"] == REFERENCE and row["property"] in outcomes:
            outcomes[row["property"]].add(row["outcome"])
    passed = [name for name in wanted if outcomes[name] == {"passed"}]
    names = ", ".join(name.replace("_", " ") for name in passed)
    held = (
        f"{len(passed)} of {words.properties(len(wanted))} that stand for it {'holds' if len(wanted) == 1 else 'hold'}"
    )
    brings = f"{held}: {names}." if passed else f"Not known: none of {words.properties(len(wanted))} was shown to hold."
    shown = True if len(passed) == len(wanted) else None
    answer = _with_cost(promise, ratios, shown, brings)
    if answer.pays is not Pays.UNDECIDED or shown:
        return answer
    return replace(answer, decides="Its properties decide it.", command=promise["commands"]["properties"])


def _with_cost(promise: Row, ratios: Sequence[Row], shown: bool | None, brings: str) -> Answer:
    """The answer to a promise that no ratio decides, which says what it costs."""
    races = promise["races"]
    costs = (
        time_words(ratios, races)
        if ratios
        else promise["costs"] or f"Not known: it was not timed beside {races['instead']}."
    )
    if ratios and any(row["memory_verdict"] in (Memory.MORE, Memory.LESS) for row in ratios):
        costs += f" {memory_words(ratios, races)}"
    pays = verdicts.of_benefit(shown, bool(ratios) or not races)
    answer = Answer("", promise["statement"], pays, brings, costs)
    if pays is Pays.UNDECIDED and shown:
        command = promise["commands"]["races"]
        return replace(answer, decides="Its benefit is shown; what it costs was not raced.", command=command)
    return answer


def _with_notes(answer: Answer, technique: str, promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    """The answer, with why a step is so slow, and what of its evidence was left out for lack of time."""
    timings = {row["key"]: row for row in rows["timings"]}
    notes = list(answer.notes) + [
        f"Why so slow: {timings[row['key']]['profile']} ({row['workload']}, {row['precision']})."
        for row in ratios
        if timings.get(row["key"], {}).get("profile")
    ]
    missing = [row for row in rows["left_out"] if left_out.concerns(row, technique, promise)]
    notes += [f"Left out of this run for lack of time: {row['name']}." for row in missing]
    command = missing[0]["command"] if missing and answer.pays is Pays.UNDECIDED else answer.command
    return replace(answer, notes=tuple(notes), command=command)


def time_words(ratios: Sequence[Row], races: Row, whole: bool = True) -> str:
    """How long a step takes; `whole` says beside what, else the sentence follows one that has said it."""
    ends = [Measured(row, row["ratio"], row["low"], row["high"], row["verdict"]) for row in ratios]
    return _beside(ends, races, "takes", "time", whole) or "Its time was not measured."


def memory_words(ratios: Sequence[Row], races: Row, whole: bool = True) -> str:
    """How much memory a step needs, in the same words."""
    ends = [
        Measured(row, row["memory_ratio"], row["memory_low"], row["memory_high"], row["memory_verdict"])
        for row in ratios
        if row["memory_ratio"] is not None
    ]
    return _beside(ends, races, "needs", "memory", whole) or "Its memory was not measured."


@dataclass(frozen=True)
class Measured:
    """A ratio of time or of memory, and the row that it stands in."""

    row: Row
    ratio: float
    low: float
    high: float
    verdict: str

    def __str__(self) -> str:
        notes = {"equivalent": " (no difference that matters)", "undecided": " (too uncertain to call it a difference)"}
        return f"{words.factor(self.ratio)} {words.factor_interval(self.low, self.high)}{notes.get(self.verdict, '')}"


def _beside(measured: Sequence[Measured], races: Row, verb: str, quantity: str, whole: bool) -> str:
    """Of the least and the greatest ratio: who takes how many times the time, or the memory, of what."""
    if not measured:
        return ""
    first, *_, last = sorted([measured[0], *measured], key=lambda each: each.ratio)
    several = len(measured) > 1
    if whole:
        said = f"{_subject(races, first.row)} {verb} {first} the {quantity} of {races['instead']}"
        more = f"; {_subject(races, last.row)} {verb} {last}"
    else:
        told = "workload" if first.row["workload"] != last.row["workload"] else "operation"
        said = f"it {verb} {first} the {quantity}" + f" on {first.row[told]}" * several
        more = f", and {last} on {last.row[told]}"
    return f"{words.sentence(said)}{more if several else ''}."


def _subject(races: Row, row: Row) -> str:
    """Who takes the time: the words of the promise, with a workload's sizes."""
    sizes = json.loads(row["parameters"]) | {name: row[name] for name in ("workload", "precision", "operation")}
    return re.sub(r"{(\w+)}", lambda found: str(sizes.get(found[1], found[1])), races["does"])
