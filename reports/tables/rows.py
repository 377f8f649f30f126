"""Rows of run folders as lines of the report's tables."""

import json
from collections.abc import Iterable, Iterator

from reports import words
from reports.statistics.intervals import Rounds, step_time
from reports.store.run_folder import Row
from reports.tables.memory import memory_interval
from reports.tables.places import Run
from reports.tables.scaling import Exponent

ASKED = ("technique", "implementation", "backend", "precision", "device", "scale")
"""What every kind of row is asked; timings may have a variation besides."""


def common(run: Run, row: Row) -> Row:
    """What all lines have."""
    asked = row["asked"]
    return (
        {"place": run.place, "source": asked.get("source")}
        | {name: asked.get(name) for name in ASKED}
        | {name: row.get(name) for name in ("when", "key", "command")}
    )


def property_row(run: Run, row: Row) -> Row:
    """One property of one implementation."""
    known = row.get("known") or {}
    names = ("statement", "outcome", "message", "example", "seconds", "examples", "discarded", "worst_error")
    beside = {name: row.get(name) for name in names}
    if beside["worst_error"] is not None:
        beside["worst_error"] = float(beside["worst_error"])  # JSON may hold a whole number larger than any table does
    return (
        common(run, row)
        | beside
        | {"property": row["asked"]["property"]}
        | {
            "known": known.get("reason"),
            "link": known.get("link") or None,
        }
    )


OF_MUTANTS = ("file", "line", "operator", "code", "old", "new", "killer", "of", "equivalent")


def mutant_row(run: Run, row: Row) -> Row:
    """One mutant of a reference."""
    return common(run, row) | {name: row[name] for name in OF_MUTANTS} | {"mutant": row["asked"]["mutant"]}


def count_failures(conformance: Iterable[Row]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """By contender: properties failed, those of them that are declared as known, and properties run.

    What is not provided was not run.
    """
    counts: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for row in conformance:
        failed, known, run = counts.get(_contender(row), (0, 0, 0))
        fails = row["outcome"] == "failed"
        counts[_contender(row)] = (
            failed + fails,
            known + (fails and row["known"] is not None),
            run + (row["outcome"] != "not provided"),
        )
    return counts


def _contender(row: Row) -> tuple[str, ...]:
    """What properties and timings have in common, down to the implementation's sources as they were that day."""
    names = ("place", "technique", "implementation", "backend", "precision", "device")
    return (*(row[name] for name in names), str(row["source"]).rpartition("-")[2])


def rounds(row: Row) -> Rounds:
    """The rounds of a timing."""
    return Rounds.of(row["race"], row["data"], row["heat"], row["block"])


def _workload(asked: Row) -> Row:
    parameters = json.dumps(asked.get("parameters") or {}, sort_keys=True)
    variation = ", ".join(f"{name}={value}" for name, value in sorted((asked.get("variation") or {}).items()))
    found = {name: asked.get(name) for name in ("workload", "operation", "seed")}
    return found | {"parameters": parameters, "variation": variation}


def timing_row(run: Run, row: Row, verdicts: dict[tuple[str, ...], tuple[int, int, int]]) -> Row:
    """One timed contender; `verdicts` counts its properties, see `count_failures`."""
    shared = common(run, row)
    timed = rounds(row)
    time = step_time(timed)
    memory = row.get("memory") or {}
    cost = row.get("cost") or {}
    baseline, peak = memory.get("baseline_bytes"), memory.get("peak_bytes")
    net = _net(peak, baseline)
    by_heat = [_net(each, baseline) for each in memory.get("peak_bytes_by_heat") or []]
    space = memory_interval(by_heat)
    energy = step_time(Rounds.of(row["race"], row["joules"], row["heat"], row["block"])) if row.get("joules") else None
    failed, known, checked = verdicts.get(_contender(shared), (None, None, None))
    return (
        shared
        | _workload(row["asked"])
        | {name: row.get(name) for name in ("loops", "items", "first_call_s", "build_s", "traces")}
        | {name: cost.get(name) for name in ("multiply_adds", "bytes")}
        | {"seconds": time.estimate, "low": time.low, "high": time.high, "basis": time.basis}
        | {"heats": len(set(timed.heat.tolist())), "rounds": len(timed.seconds)}
        | {"memory_bytes": net, "baseline_bytes": baseline, "device_memory_bytes": memory.get("device_peak_bytes")}
        | {"memory_low": space.low, "memory_high": space.high}
        | {"joules": None, "joules_low": None, "joules_high": None, "race": row["race"]}
        | ({"joules": energy.estimate, "joules_low": energy.low, "joules_high": energy.high} if energy else {})
        | {"properties_failed": failed, "properties_known": known, "properties_run": checked}
        | {"why_faster": row.get("why_faster"), "profile": profile_words(row)}
        | {name: row.get(name) for name in ("stopped", "checked")}
        | {"memory_by_heat": by_heat, "warm_up": row.get("warm_up")}
    )


def profile_words(row: Row) -> str | None:
    """What takes most of a step, in words, where that was looked into: as few operations as make up most of it."""
    named: list[str] = []
    share, dtypes = 0.0, set()
    for operation in (row.get("profile") or {}).get("operations") or []:
        if share < MOST and len(named) < 3:
            named.append(operation["name"])
            share += operation["share"]
            dtypes.add(operation.get("dtype"))
    if not named:
        return None
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    said = f"{words.percent(share)} of the step is {' and '.join(named)}" + (f" in {dtype}" if dtype else "")
    slow = dtype in ("float16", "bfloat16") and row["asked"]["device"] == "cpu"
    return said + (", for which this processor seems to have no fast kernel" if slow else "")


MOST = 0.8
"""Of a step: the operations that make up so much of it explain it."""


def _net(peak: float | None, baseline: float | None) -> float | None:
    """Memory above the baseline. A peak never falls: one that did not rise measures nothing, and is not zero."""
    return peak - baseline if peak is not None and baseline is not None and peak > baseline else None


def failure_row(run: Run, row: Row) -> Row:
    """A contender that did not finish."""
    return (
        common(run, row)
        | _workload(row["asked"])
        | {
            "outcome": row.get("outcome", "failed"),
            "phase": row.get("phase"),
            "reason": row.get("reason"),
            "rounds": len(row.get("rounds") or []),
        }
    )


def trial(run: Run, row: Row) -> Row:
    """What tells a trial from others."""
    asked = row["asked"]
    condition = json.dumps(asked.get("condition") or {}, sort_keys=True)
    told = {name: asked.get(name) for name in ("claim", "arm", "seed", "rate")} | {"condition": condition}
    return common(run, row) | told | {"purpose": asked.get("purpose", "judge")}


def whole_trial(run: Run, row: Row) -> Row:
    """A trial with all its numbers."""
    numbers = {name: row.get(name) or [] for name in ("steps", "clock")} | {"series": row.get("series") or {}}
    return trial(run, row) | numbers | {"metrics": row["metrics"], "outcome": row.get("outcome", "trained")}


def trial_rows(run: Run, row: Row) -> Iterator[Row]:
    """One line per metric of a trial; a metric that was not finite is kept, as missing."""
    kept = {name: row.get(name) for name in ("seconds", "reason")} | {"outcome": row.get("outcome", "trained")}
    for metric, value in (row["metrics"] or {"": None}).items():  # one that failed has no metric, and one line
        yield trial(run, row) | kept | {"metric": metric, "value": value}


def exponent_row(exponent: Exponent) -> Row:
    """A fitted power."""
    points = {"first": exponent.points[0], "last": exponent.points[-1], "sizes": len(exponent.points)}
    return vars(exponent) | points | {"sentence": exponent.sentence}


def provenance_row(kind: str, run: Run, row: Row) -> Row:
    """Where a row comes from, and what it is, in words."""
    asked = row["asked"]
    names = ("property", "claim", "arm", "workload", "operation", "implementation", "backend", "precision", "device")
    words = [str(asked[name]) for name in names if name in asked]
    words += [f"{name} {value}" for name, value in (asked.get("condition") or {}).items()]
    words += [f"rate {asked['rate']:g}"] if asked.get("rate") is not None else []
    words += [f"{'tuning ' * (asked.get('purpose') == 'tune')}seed {asked['seed']}"] if kind == "trial" else []
    return common(run, row) | {"run": str(run.path), "kind": kind, "row": " · ".join(words)}
