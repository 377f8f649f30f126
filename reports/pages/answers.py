"""Whether a promise of a technique is kept here: what it brings, what it costs, and whether it pays.

A promise is a row of ``run.json``, as ``suites/promises.py`` declares it. It is answered by intervals alone: what a run
cannot tell is undecided, and the answer says what would decide it.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reports import words
from reports.pages.gains import gain_words
from reports.pages.ratio_words import memory_words, time_words
from reports.plots.figures import plainest
from reports.statistics import verdicts
from reports.statistics.verdicts import TOO_DEAR, Effect, Memory, Pays, Speed, Verdict
from reports.store.run_folder import Row
from reports.tables import claims, left_out
from reports.tables.comparisons import PLAIN, REFERENCE, WITHOUT
from reports.tables.memory import memory_of

Rows = Mapping[str, Sequence[Row]]
"""The tables of one technique on one machine, by name."""

SCALES = ("quick", "standard", "paper")
"""In their order: of a claim that was rerun at several scales, the largest counts."""


@dataclass(frozen=True)
class Answer:
    """The answer to one promise.

    Attributes:
        pays: the answer.
        promise: the promise, in a sentence.
        brings, costs: sentences.
        decides: what would decide it, in a sentence; empty where it is decided.
        command: the command that does so; empty where there is none.
        notes: what else has to be known, in sentences.
        label: the part of the technique, or the precision, that it is about; empty where there is one answer only.
    """

    pays: Pays
    promise: str
    brings: str
    costs: str
    decides: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    label: str = ""

    @property
    def line(self) -> str:
        """What it brings and costs, in one line."""
        return " ".join(part for part in (self.brings, self.costs) if part)


def answers(technique: str, promise: Row, rows: Rows) -> list[Answer]:
    """The answers to a promise of a technique: one for each mixed precision where it is about these, else one."""
    races = promise["races"]
    if not races or races["over"] == WITHOUT:
        found = _of_races(races, rows["ratios"], WITHOUT) if races else []
        precision = plainest(row["precision"] for row in found)
        by_label = {promise["label"]: [row for row in found if row["precision"] == precision]}
    else:
        found = _of_races(races, rows["precision"], REFERENCE)
        precisions = sorted({row["precision"] for row in found}, key=words.precision_order)
        by_label = {precision: [row for row in found if row["precision"] == precision] for precision in precisions}
    kinds = {"speed": _of_speed, "memory": _of_memory, "quality": _of_claim, "safety": _of_properties}
    found_answers = []
    for label, ratios in (by_label or {promise["label"]: []}).items():
        answer = replace(kinds[promise["kind"]](promise, rows, ratios), label=label)
        found_answers.append(_with_notes(answer, technique, promise, rows, ratios))
    return found_answers


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


def _nothing(answer: Answer) -> Answer:
    """The answer, where what was promised is not there: a number alone would not say so."""
    if answer.pays is not Pays.NOT:
        return answer
    return replace(answer, brings=f"Nothing here. {answer.brings}")


def _effect(row: Row) -> Effect:
    dear = True if row["low"] > TOO_DEAR else False if row["high"] < TOO_DEAR else None
    return Effect(Speed(row["verdict"]), Memory(row["memory_verdict"]), dear, no_saving=row["low"] >= 1)


def _of_speed(promise: Row, _rows: Rows, ratios: Sequence[Row]) -> Answer:
    if not ratios:
        return _not_raced(promise)
    races, effects = promise["races"], [_effect(row) for row in ratios]
    costs = memory_words(ratios, races, whole=False)
    answer = _nothing(Answer(verdicts.of_speed(effects), promise["statement"], time_words(ratios, races), costs))
    if {effect.time for effect in effects} >= {Speed.FASTER, Speed.SLOWER}:
        return _undecided(answer, promise, "It depends on the workload: a race of yours decides it.")
    return _undecided(answer, promise, "This run cannot tell; more heats, or larger workloads, decide it.")


def _of_memory(promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    """Of several workloads the largest decides: memory is promised to those who run short of it."""
    if not ratios:
        return _not_raced(promise)
    races = promise["races"]
    taken = {row["key"]: memory_of(row) or 0.0 for row in rows["timings"]}
    largest = max(ratios, key=lambda row: taken.get(row["baseline_key"], 0.0))
    size = words.mebibytes(taken.get(largest["baseline_key"]))
    effect = _effect(largest)
    brings, costs = memory_words(ratios, races), time_words(ratios, races, whole=False)
    notes = (f"Decided on {largest['workload']}, the largest raced, where {races['instead']} takes {size}.",)
    answer = Answer(verdicts.of_memory(effect), promise["statement"], brings, costs, notes=notes)
    if effect.memory is Memory.LESS and effect.dear:
        too_dear = f"More than {TOO_DEAR:g} times the time is too dear: the batch in parts would save memory for less."
        return replace(answer, notes=(*notes, too_dear))
    if effect.memory is Memory.LESS:
        return _undecided(answer, promise, "It saves memory; whether that takes time, more heats decide.")
    return _undecided(_nothing(answer), promise, "This run cannot tell; more heats, or larger workloads, decide it.")


def _not_raced(promise: Row) -> Answer:
    answer = Answer(Pays.UNDECIDED, promise["statement"], "Not known: none of its races was run.", "Not known.")
    return _undecided(answer, promise, "Its races decide it.")


def _undecided(answer: Answer, promise: Row, decides: str, by: str = "races") -> Answer:
    """The answer, with what would decide it where it is open."""
    if answer.pays is not Pays.UNDECIDED:
        return answer
    return replace(answer, decides=decides, command=promise["commands"].get(by, ""))


def _of_claim(promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    contrasts = [
        row
        for row in claims.headline(rows["claims"])
        if (row["claim"], row["implementation"]) == (promise["claim"], REFERENCE)
    ]
    furthest = max((SCALES.index(row["scale"]) for row in contrasts), default=0)
    contrasts = [row for row in contrasts if row["scale"] == SCALES[furthest]]
    verdict = Verdict(contrasts[0]["verdict"]) if contrasts else Verdict.UNDECIDED
    if contrasts:
        telling = next((row for row in contrasts if row["contrast_verdict"] == verdict), contrasts[0])
        said = "shows no difference" if verdict == Verdict.NO_DIFFERENCE else f"is {verdict}"
        brings = f"The claim “{telling['statement'].rstrip('.')}” {said}: {gain_words(telling)}."
    else:
        brings = f"Not known: {'no claim of it was rerun' if promise['claim'] else 'no claim tests it yet'}."
    found = {Verdict.REPRODUCED: True, Verdict.CONTRADICTED: False, Verdict.NO_DIFFERENCE: False}.get(verdict)
    small = found is False and SCALES[furthest] == SCALES[0]  # what shows in seconds is there; what does not, may be
    shown = None if small else found
    answer = _with_cost(promise, ratios, shown, brings)
    if shown:
        return answer
    if not promise["claim"]:
        wanted = "training on real data with and without it, on several seeds"
        return _undecided(answer, promise, f"A claim would decide it, {wanted}; it is still to be written.", "claim")
    decides = "More seeds decide it." if contrasts else "Its claim decides it."
    if small:
        decides = "Seconds of training are too short to say no: standard scale decides it."
    return _undecided(answer, promise, decides, "claim")


def _of_properties(promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    wanted = promise["properties"]
    outcomes: dict[str, set[str]] = {name: set() for name in wanted}
    for row in rows["conformance"]:
        if row["implementation"] == REFERENCE and row["property"] in outcomes:
            outcomes[row["property"]].add(row["outcome"])
    passed = [name for name in wanted if outcomes[name] == {"passed"}]
    names = ", ".join(name.replace("_", " ") for name in passed) or "none of them was run"
    brings = f"{len(passed)} of the {words.properties(len(wanted))} that stand for it hold: {names}."
    shown = True if len(passed) == len(wanted) else None
    answer = _with_cost(promise, ratios, shown, brings)
    return answer if shown else _undecided(answer, promise, "Its properties decide it.", "properties")


def _with_cost(promise: Row, ratios: Sequence[Row], shown: bool | None, brings: str) -> Answer:
    """The answer to a promise that no ratio decides, with what it costs."""
    races, costs = promise["races"], promise["costs"]
    if races:
        costs = time_words(ratios, races) if ratios else f"Not known: it was not timed beside {races['instead']}."
    if any(row["memory_verdict"] in (Memory.MORE, Memory.LESS) for row in ratios):
        costs += f" {memory_words(ratios, races, whole=False)}"
    pays = verdicts.of_benefit(shown, bool(ratios) or not races)
    answer = Answer(pays, promise["statement"], brings, costs)
    return _undecided(answer, promise, "It does what it promises; what that costs, its races say.")


def _with_notes(answer: Answer, technique: str, promise: Row, rows: Rows, ratios: Sequence[Row]) -> Answer:
    """The answer, with why a step is so slow, and what of its evidence was left out for lack of time."""
    timings = {row["key"]: row for row in rows["timings"]}
    profiles = ((row["workload"], timings.get(row["key"], {}).get("profile")) for row in ratios)
    notes = [*answer.notes, *(f"Why so slow on {workload}: {profile}." for workload, profile in profiles if profile)]
    missing = [row for row in rows["left_out"] if left_out.concerns(row, technique, promise)]
    notes += [f"Left out of this run for lack of time: {row['name']}." for row in missing]
    unwritten = promise["kind"] == "quality" and not promise["claim"]  # no command decides that
    deciding = missing and answer.pays is Pays.UNDECIDED and not unwritten
    command = missing[0]["command"] if deciding else answer.command
    return replace(answer, notes=tuple(notes), command=command)
