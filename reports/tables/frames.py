"""Run folders in, tidy tables out: one frame per kind of row, merged over runs and machines.

Of the rows that were asked the same thing on the same machine and environment, sources aside, the newest counts: a row
measured again after an edit replaces the old one. Rows of different machines stay apart; their ``place`` tells them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from reports.store.fields import LARGEST
from reports.store.run_folder import Row, RunFolder, own
from reports.tables import claims, comparisons, conditions, left_out, rates, rows, scaling, training
from reports.tables.places import Run, machine_of, names_of
from reports.tables.rows import ASKED

KEPT = ("when", "key", "command", "source")

COLUMNS = {
    "conformance": (
        "place",
        *ASKED,
        "property",
        "statement",
        "outcome",
        "known",
        "link",
        "message",
        "example",
        *("seconds", "examples", "discarded", "worst_error"),
    ),
    "timings": (
        *("place", *ASKED, "variation", "workload", "parameters", "operation", "seed", "race", "apart"),
        *("seconds", "low", "high", "basis", "heats", "rounds", "loops", "items", "first_call_s", "build_s", "traces"),
        *("memory_bytes", "memory_low", "memory_high", "baseline_bytes", "device_memory_bytes"),
        *("joules", "joules_low", "joules_high"),
        *rates.COLUMNS,
        *("properties_failed", "properties_known", "properties_run", "why_faster", "profile", "stopped", "checked"),
    ),
    "ratios": comparisons.RATIO_COLUMNS,
    "precision": comparisons.RATIO_COLUMNS,
    "noise": comparisons.RATIO_COLUMNS,
    "claims": claims.CLAIM_COLUMNS,
    "tuning": claims.TUNING_COLUMNS,
    "steadiness": conditions.STEADINESS_COLUMNS,
    "conditions": conditions.CONDITION_COLUMNS,
    "host": conditions.HOST_COLUMNS,
    "exponents": (
        *("quantity", "place", "technique", "device", "scale", "precision", "operation", "contender", "parameter"),
        *("setting", "estimate", "low", "high", "first", "last", "sizes", "controlled", "sentence"),
    ),
    "training": training.TRAINING_COLUMNS,
    "trials": (
        *("place", *ASKED, "claim", "arm", "condition", "purpose", "rate", "seed", "metric", "value", "seconds"),
        *("outcome", "reason"),
    ),
    "failures": (
        "place",
        *ASKED,
        "variation",
        "workload",
        "parameters",
        "operation",
        "seed",
        "outcome",
        "phase",
        "reason",
        "rounds",
    ),
    "left_out": left_out.COLUMNS,
    "mutants": ("place", *ASKED, "mutant", *rows.OF_MUTANTS),
    "provenance": ("place", "run", "kind", "technique", "row"),
}
COLUMNS |= {
    name: (*COLUMNS[name], *KEPT) for name in ("conformance", "timings", "trials", "failures", "mutants", "provenance")
}


@dataclass(frozen=True)
class Tables:
    """Everything that the report says, as data.

    Attributes:
        runs: the run folders, in the order given.
        frames: the tables by name, with the columns of `COLUMNS`.
        titles: the techniques' titles by name.
        promises: what each technique promises, by name, as ``suites/promises.py`` declares it.
        caught: by technique and property, the wrong variants that the property catches.
        claims: the definition of every claim that has trials, by (technique, claim).
        floors: by machine, the smallest ratio that its A/A races could tell from noise.
        notes: what of the folders was left out, a sentence each.
    """

    runs: Sequence[Run]
    frames: dict[str, pd.DataFrame]
    titles: dict[str, str]
    promises: dict[str, list[Row]]
    caught: dict[str, dict[str, list[str]]]
    claims: dict[tuple[str, str], Row] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def files(self) -> dict[str, bytes]:
        """Every table as CSV and as Parquet, by the name of its file."""
        return files_of(self.frames)


def files_of(frames: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Tables as CSV and as Parquet, by the name of their file."""
    files = {}
    for name, frame in frames.items():
        files[f"{name}.csv"] = frame.to_csv(index=False).encode()
        files[f"{name}.parquet"] = frame.to_parquet(index=False)
    return files


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as plain objects, with ``None`` for what is missing."""
    return list(pa.Table.from_pandas(frame, preserve_index=False).to_pylist())


def read(paths: Iterable[Path]) -> Tables:
    """Read run folders into tables.

    Raises:
        RunFolderError: a path is not a run folder of this format, or a file in it cannot be read.
    """
    folders = [RunFolder.open(path) for path in paths]
    places = names_of([folder.run for folder in folders])
    runs = [Run(folder.path, places[machine_of(folder.run)], folder.run) for folder in folders]
    both = list(zip(runs, folders, strict=True))
    properties = _latest((run, row) for run, folder in both for row in folder.properties())
    trials = _latest((run, _usable(row)) for run, folder in both for row in folder.trials())
    mutants = _latest((run, row) for run, folder in both for row in folder.mutants())
    timed = [(run, folder.timings_file()) for run, folder in both]
    entries = _latest(
        (run, entry["extra_info"] | {"data": entry["stats"]["data"]}) for run, file in timed for entry in own(file)
    )
    failures = _unfinished(timed, entries)
    kinds = {"timing": entries, "failure": failures, "trial": trials, "property": properties, "mutant": mutants}
    held = {row["key"] for found in kinds.values() for _, row in found}
    readings = {
        (run.place, race): held["readings"] for run, file in timed for race, held in file.get("races", {}).items()
    }

    conformance = [rows.property_row(run, row) for run, row in properties]
    verdicts = rows.count_failures(conformance)
    samples = [(rows.timing_row(run, row, verdicts), rows.rounds(row)) for run, row in entries]
    rates.add_rates(samples)
    ratios = comparisons.ratios(samples)
    steadiness, watched = conditions.of_races(samples, readings)
    exponents = [*scaling.exponents(samples), *scaling.memory_exponents(row for row, _ in samples)]
    definitions = {(row["asked"]["technique"], row["asked"]["claim"]): row["definition"] for _, row in trials}
    whole_trials = [rows.whole_trial(run, row) for run, row in trials]
    contrasts, tuned = claims.claims(whole_trials, definitions)
    tables = {
        "conformance": conformance,
        "timings": [row for row, _ in samples],
        "ratios": ratios.implementations,
        "precision": ratios.precisions,
        "noise": ratios.again,
        "steadiness": steadiness,
        "conditions": watched,
        "host": [row for run in {run.path: run for run in runs}.values() for row in conditions.of_host(run)],
        "exponents": [rows.exponent_row(exponent) for exponent in exponents],
        "training": training.courses(whole_trials),
        "claims": contrasts,
        "tuning": tuned,
        "trials": [line for run, row in trials for line in rows.trial_rows(run, row)],
        "failures": [rows.failure_row(run, row) for run, row in failures],
        "left_out": left_out.left_out(runs, held),
        "mutants": [rows.mutant_row(run, row) for run, row in mutants],
        "provenance": [rows.provenance_row(kind, run, row) for kind, found in kinds.items() for run, row in found],
    }
    frames = {name: pd.DataFrame(rows, columns=list(COLUMNS[name])) for name, rows in tables.items()}
    titles, promises, caught = _declared(runs)
    notes = [note for folder, (_, file) in zip(folders, timed, strict=True) for note in folder.notes(file)]
    notes = list(dict.fromkeys(notes))
    return Tables(runs, frames, titles, promises, caught, definitions, ratios.floors, notes)


def _declared(
    runs: Iterable[Run],
) -> tuple[dict[str, str], dict[str, list[Row]], dict[str, dict[str, list[str]]]]:
    """By technique: its title, its promises, and which property catches which wrong variants, as runs declare them."""
    techniques = {name: facts for run in runs for name, facts in run.facts.get("techniques", {}).items()}
    titles = {name: facts.get("title", name) for name, facts in techniques.items()}
    promises = {name: facts.get("promises", []) for name, facts in techniques.items()}
    return titles, promises, {name: facts.get("caught", {}) for name, facts in techniques.items()}


def _usable(trial: Row) -> Row:
    """A trial of numbers that can be computed with: one that is larger than any has diverged, and counts as missing."""

    def usable(value: float | None) -> float | None:
        return float(value) if value is not None and abs(value) <= LARGEST else None

    series = {name: [usable(value) for value in values] for name, values in (trial.get("series") or {}).items()}
    return trial | {"metrics": {name: usable(value) for name, value in trial["metrics"].items()}, "series": series}


def _unfinished(timed: Iterable[tuple[Run, Row]], entries: Iterable[tuple[Run, Row]]) -> list[tuple[Run, Row]]:
    """The failures of contenders that no later attempt finished."""
    finished = {_identity(run, row) for run, row in entries}
    failures = _latest((run, row) for run, file in timed for row in file.get("failures", []))
    return [(run, row) for run, row in failures if _identity(run, row) not in finished]


def _identity(run: Run, row: Row) -> tuple[str, str]:
    asked = {name: value for name, value in row["asked"].items() if name != "source"}
    return run.place, json.dumps(asked, sort_keys=True)


def _latest(rows: Iterable[tuple[Run, Row]]) -> list[tuple[Run, Row]]:
    newest: dict[tuple[str, str], tuple[Run, Row]] = {}
    for run, row in sorted(rows, key=lambda pair: pair[1]["when"]):  # stable: later lines win within a second
        newest[_identity(run, row)] = run, row
    return list(newest.values())
