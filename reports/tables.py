"""Run folders in, tidy tables out: one frame per kind of row, merged over runs and machines.

Of the rows that were asked the same thing on the same machine and environment, sources aside, the newest counts: a row
measured again after an edit replaces the old one. Rows of different machines stay apart; their ``place`` tells them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from reports import comparisons, conditions, rates, scaling, training
from reports.places import Run, machine_of, names_of
from reports.run_folder import Row, RunFolder
from reports.scaling import Exponent
from reports.statistics import Rounds, step_time

ASKED = ("technique", "implementation", "backend", "precision", "device", "scale")
"""What every kind of row is asked; timings may have a variation besides."""
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
        "seconds",
    ),
    "timings": (
        *("place", *ASKED, "variation", "workload", "parameters", "operation", "seed", "race"),
        *("seconds", "low", "high", "basis", "heats", "rounds", "loops", "items", "first_call_s", "build_s", "traces"),
        *("memory_bytes", "baseline_bytes", "device_memory_bytes", "joules"),
        *rates.COLUMNS,
        *("properties_failed", "properties_run", "why_faster"),
    ),
    "ratios": comparisons.RATIO_COLUMNS,
    "precision": comparisons.RATIO_COLUMNS,
    "noise": comparisons.RATIO_COLUMNS,
    "claims": comparisons.CLAIM_COLUMNS,
    "steadiness": conditions.STEADINESS_COLUMNS,
    "conditions": conditions.CONDITION_COLUMNS,
    "host": conditions.HOST_COLUMNS,
    "exponents": (
        *("quantity", "place", "technique", "device", "scale", "precision", "operation", "contender", "parameter"),
        *("setting", "estimate", "low", "high", "first", "last", "sizes", "controlled", "sentence"),
    ),
    "training": training.TRAINING_COLUMNS,
    "trials": ("place", *ASKED, "claim", "arm", "condition", "seed", "metric", "value", "seconds"),
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
    "provenance": ("place", "run", "kind", "technique", "row"),
}
COLUMNS |= {name: (*COLUMNS[name], *KEPT) for name in ("conformance", "timings", "trials", "failures", "provenance")}


@dataclass(frozen=True)
class Tables:
    """Everything that the report says, as data.

    Attributes:
        runs: the run folders, in the order given.
        frames: the tables by name, with the columns of `COLUMNS`.
        titles: the techniques' titles by name.
        claims: the definition of every claim that has trials, by (technique, claim).
        floors: by machine, the smallest ratio that its A/A races could tell from noise.
    """

    runs: Sequence[Run]
    frames: dict[str, pd.DataFrame]
    titles: dict[str, str]
    claims: dict[tuple[str, str], Row] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def write(self, folder: Path) -> list[Path]:
        """Write every table as CSV and as Parquet; returns the paths."""
        paths = []
        for name, frame in self.frames.items():
            paths += [folder / f"{name}.csv", folder / f"{name}.parquet"]
            frame.to_csv(paths[-2], index=False)
            frame.to_parquet(paths[-1], index=False)
        return paths


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
    trials = _latest((run, row) for run, folder in both for row in folder.trials())
    timed = [(run, folder.timings_file()) for run, folder in both]
    entries = _latest(
        (run, entry["extra_info"] | {"data": entry["stats"]["data"]})
        for run, file in timed
        for entry in file.get("benchmarks", [])
    )
    failures = _unfinished(timed, entries)
    readings = {
        (run.place, race): held["readings"] for run, file in timed for race, held in file.get("races", {}).items()
    }

    conformance = [_property_row(run, row) for run, row in properties]
    verdicts = _count_failures(conformance)
    samples = [(_timing_row(run, row, verdicts), _rounds(row)) for run, row in entries]
    rates.add_rates(samples)
    ratios = comparisons.ratios(samples)
    steadiness, watched = conditions.of_races(samples, readings)
    exponents = [*scaling.exponents(samples), *scaling.memory_exponents(row for row, _ in samples)]
    definitions = {(row["asked"]["technique"], row["asked"]["claim"]): row["definition"] for _, row in trials}
    trial_rows = [line for run, row in trials for line in _trial_rows(run, row)]
    tables = {
        "conformance": conformance,
        "timings": [row for row, _ in samples],
        "ratios": ratios.implementations,
        "precision": ratios.precisions,
        "noise": ratios.again,
        "steadiness": steadiness,
        "conditions": watched,
        "host": [row for run in {run.path: run for run in runs}.values() for row in conditions.of_host(run)],
        "exponents": [_exponent_row(exponent) for exponent in exponents],
        "training": training.courses(_trial(run, row) | {"series": row.get("series")} for run, row in trials),
        "claims": comparisons.claims(trial_rows, definitions),
        "trials": trial_rows,
        "failures": [_failure_row(run, row) for run, row in failures],
        "provenance": [
            *(_provenance_row("timing", run, row) for run, row in entries),
            *(_provenance_row("failure", run, row) for run, row in failures),
            *(_provenance_row("trial", run, row) for run, row in trials),
            *(_provenance_row("property", run, row) for run, row in properties),
        ],
    }
    frames = {name: pd.DataFrame(rows, columns=list(COLUMNS[name])) for name, rows in tables.items()}
    titles = {name: facts.get("title", name) for run in runs for name, facts in run.facts.get("techniques", {}).items()}
    return Tables(runs, frames, titles, definitions, ratios.floors)


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


def _common(run: Run, row: Row) -> Row:
    asked = row["asked"]
    return (
        {"place": run.place, "source": asked.get("source")}
        | {name: asked.get(name) for name in ASKED}
        | {name: row.get(name) for name in ("when", "key", "command")}
    )


def _property_row(run: Run, row: Row) -> Row:
    known = row.get("known") or {}
    beside = {name: row.get(name) for name in ("statement", "outcome", "message", "example", "seconds")}
    return (
        _common(run, row)
        | beside
        | {"property": row["asked"]["property"]}
        | {
            "known": known.get("reason"),
            "link": known.get("link") or None,
        }
    )


def _count_failures(conformance: Iterable[Row]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Properties failed and properties run (not counting what is not provided), by contender."""
    counts: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in conformance:
        failed, run = counts.get(_contender(row), (0, 0))
        counts[_contender(row)] = failed + (row["outcome"] == "failed"), run + (row["outcome"] != "not provided")
    return counts


def _contender(row: Row) -> tuple[str, ...]:
    """What properties and timings have in common, down to the implementation's sources as they were that day."""
    names = ("place", "technique", "implementation", "backend", "precision", "device")
    return (*(row[name] for name in names), str(row["source"]).rpartition("-")[2])


def _rounds(row: Row) -> Rounds:
    return Rounds.of(row["race"], row["data"], row["heat"], row["block"])


def _workload(asked: Row) -> Row:
    parameters = json.dumps(asked.get("parameters") or {}, sort_keys=True)
    variation = ", ".join(f"{name}={value}" for name, value in sorted((asked.get("variation") or {}).items()))
    found = {name: asked.get(name) for name in ("workload", "operation", "seed")}
    return found | {"parameters": parameters, "variation": variation}


def _timing_row(run: Run, row: Row, verdicts: dict[tuple[str, ...], tuple[int, int]]) -> Row:
    common = _common(run, row)
    rounds = _rounds(row)
    time = step_time(rounds)
    memory = row.get("memory") or {}
    cost = row.get("cost") or {}
    baseline, peak = memory.get("baseline_bytes"), memory.get("peak_bytes")
    net = _net(peak, baseline)
    by_heat = [_net(each, baseline) for each in memory.get("peak_bytes_by_heat") or []]
    failed, checked = verdicts.get(_contender(common), (None, None))
    return (
        common
        | _workload(row["asked"])
        | {name: row.get(name) for name in ("loops", "items", "first_call_s", "build_s", "traces")}
        | {name: cost.get(name) for name in ("multiply_adds", "bytes")}
        | {"seconds": time.estimate, "low": time.low, "high": time.high, "basis": time.basis}
        | {"heats": len(set(rounds.heat.tolist())), "rounds": len(rounds.seconds)}
        | {"memory_bytes": net, "baseline_bytes": baseline, "device_memory_bytes": memory.get("device_peak_bytes")}
        | {"joules": float(np.median(row["joules"])) if row.get("joules") else None, "race": row["race"]}
        | {"properties_failed": failed, "properties_run": checked, "why_faster": row.get("why_faster")}
        | {"memory_by_heat": by_heat, "warm_up": row.get("warm_up")}
    )


def _net(peak: float | None, baseline: float | None) -> float | None:
    """Memory above the baseline. A peak never falls: one that did not rise measures nothing, and is not zero."""
    return peak - baseline if peak is not None and baseline is not None and peak > baseline else None


def _failure_row(run: Run, row: Row) -> Row:
    return (
        _common(run, row)
        | _workload(row["asked"])
        | {
            "outcome": row.get("outcome", "failed"),
            "phase": row.get("phase"),
            "reason": row.get("reason"),
            "rounds": len(row.get("rounds") or []),
        }
    )


def _trial(run: Run, row: Row) -> Row:
    asked = row["asked"]
    condition = json.dumps(asked.get("condition") or {}, sort_keys=True)
    return _common(run, row) | {name: asked.get(name) for name in ("claim", "arm", "seed")} | {"condition": condition}


def _trial_rows(run: Run, row: Row) -> Iterator[Row]:
    """One line per metric of a trial; a metric that was not finite is kept, as missing."""
    for metric, value in row["metrics"].items():
        yield _trial(run, row) | {"seconds": row.get("seconds"), "metric": metric, "value": value}


def _exponent_row(exponent: Exponent) -> Row:
    points = {"first": exponent.points[0], "last": exponent.points[-1], "sizes": len(exponent.points)}
    return vars(exponent) | points | {"sentence": exponent.sentence}


def _provenance_row(kind: str, run: Run, row: Row) -> Row:
    asked = row["asked"]
    names = ("property", "claim", "arm", "workload", "operation", "implementation", "backend", "precision", "device")
    words = [str(asked[name]) for name in names if name in asked]
    words += [f"{name} {value}" for name, value in (asked.get("condition") or {}).items()]
    words += [f"seed {asked['seed']}"] if kind == "trial" else []
    return _common(run, row) | {"run": str(run.path), "kind": kind, "row": " · ".join(words)}
