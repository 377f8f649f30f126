"""Rerun trials of a run folder and say whether they come out the same: ``python -m suites.claims.reproduce RUN [KEY]``.

Example: ``tox run -e reproduce -- results/quick`` reruns all trials of a folder, and says of each whether it is

- *bit-identical*: the digest of its weights and all its metrics are what they were;
- *within noise*: no metric has moved by what matters to the claim, or by more than its seeds differ, twice over;
- *measured again*: it has, and its claim measures time or memory, which no run repeats;
- *different*.

What has changed since is named first: packages, the processor, the sources; and whether this machine computes the same
bits at all, by a small training run whose digest stands in ``run.json``.
"""

import argparse
import importlib
import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness import machine
from reports.store.run_folder import Row, RunFolder, RunFolderError
from suites.claims.apart import in_a_process
from suites.claims.claim import Claim, Outcome, Trial
from suites.claims.pool import Failure, Job, Pool, Train, preload
from suites.claims.training import fingerprint
from suites.implementations import implementation
from suites.isolation import default_workers

Verdict = Literal["bit-identical", "within noise", "measured again", "different", "not run"]

IDENTICAL: Verdict = "bit-identical"
NOISE = 2.0
"""How many times the range of its seeds a metric may be away from what it was: those that measure time never repeat."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per trial; 0 if none is different, 1 if one is, 2 where nothing can be rerun."""
    parser = argparse.ArgumentParser(prog="python -m suites.claims.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder, such as results/quick")
    parser.add_argument("keys", nargs="*", metavar="KEY", help="keys of rows, or how they begin (default: all trials)")
    parser.add_argument("--workers", type=int, default=default_workers(), help="how many trials at the same time")
    options = parser.parse_args(arguments)
    try:
        folder = RunFolder.open(options.run)
        rows = chosen(folder, options.keys)
        settle(rows)
    except (RunFolderError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is its output
        return 2
    for line in changes(folder.run, rows):
        print(f"changed: {line}")  # noqa: T201
    counts: Counter[str] = Counter()
    for row, verdict, why in rerun(rows, folder.trials(), options.workers):
        counts[verdict] += 1
        print(f"{verdict:13}  {row['key']}  {trial_of(row)}{': ' * bool(why)}{why}", flush=True)  # noqa: T201
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))  # noqa: T201
    return int(counts["different"] > 0)


def chosen(folder: RunFolder, keys: Sequence[str]) -> list[Row]:
    """The newest rows of finished trials, or those whose keys begin as given.

    Raises:
        ValueError: there are none.
    """
    rows = {row["key"]: row for row in folder.trials() if row.get("outcome", "trained") == "trained"}
    found = [row for key, row in rows.items() if not keys or key.startswith(tuple(keys))]
    for key in keys:
        if not any(row["key"].startswith(key) for row in found):
            raise ValueError(f"{folder.path}: no trial has a key that begins with {key!r}; trials.jsonl holds the keys")
    if not found:
        raise ValueError(f"{folder.path} holds no trials; tox run -e test -- suites/claims --results {folder.path}")
    return found


def settle(rows: Sequence[Row]) -> None:
    """Choose the framework's backend and device, before anything imports it.

    Raises:
        ValueError: the rows are of several.
    """
    places = {(row["asked"]["backend"], row["asked"]["device"]) for row in rows}
    if len(places) > 1:
        raise ValueError(f"these trials ran on {sorted(places)}: name the keys of one backend and device at a time")
    ((backend, device),) = places
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"] = "-1", "cpu"


def trial_of(row: Row) -> Trial:
    """The trial that a row is of."""
    asked = row["asked"]
    chosen_implementation = implementation(asked["technique"], asked["implementation"])
    told = {
        name: asked[name] for name in ("claim", "arm", "condition", "seed", "precision", "backend", "device", "scale")
    }
    beside = {"purpose": asked.get("purpose", "judge"), "rate": asked.get("rate")}
    return Trial(implementation=chosen_implementation, **told, **beside)


def module_of(row: Row) -> str:
    """The claim's module."""
    return f"suites.claims.test_{row['asked']['claim']}"


def claim_of(row: Row) -> Claim:
    """The claim, as it is declared now."""
    claim: Claim = importlib.import_module(module_of(row)).CLAIM
    return claim


def changes(run: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[str]:
    """What is not as it was when the folder was written, in a line each."""
    for title, before, now in (
        ("machine", run.get("machine", {}), machine.machine()),
        ("environment", run.get("environment", {}), machine.environment()),
    ):
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                yield f"{title}, {name}: it was {before.get(name, 'not there')}, and is {now.get(name, 'not there')}"
    sources = {
        module_of(row) for row in rows if trial_of(row).asked(module_of(row))["source"] != row["asked"]["source"]
    }
    for module in sorted(sources):
        yield f"sources of {module} or of its implementation"
    preload(rows[0]["asked"]["backend"])
    for place in sorted({f"{row['asked']['backend']}/{row['asked']['device']}" for row in rows}):
        before = run.get("fingerprints", {}).get(place)
        backend, device = place.split("/")
        if before is not None and before != in_a_process(lambda backend=backend: fingerprint(backend)):  # type: ignore[misc]
            yield f"what {backend} computes on this {device}, bit for bit: a small training run ends with other weights"


def rerun(rows: Sequence[Row], all_rows: Sequence[Row], workers: int) -> Iterator[tuple[Row, Verdict, str]]:
    """Each row with its verdict and, where it is not identical, why."""
    for alone in (False, True):  # nothing runs beside what measures time
        together = [row for row in rows if claim_of(row).alone is alone]
        yield from _together(together, all_rows, 1 if alone else workers)


def _together(rows: Sequence[Row], all_rows: Sequence[Row], workers: int) -> Iterator[tuple[Row, Verdict, str]]:
    pool = Pool(workers, limit_s=300.0)
    by_trial = {trial_of(row): row for row in rows}
    waiting = [
        Job(trial, _train(module_of(row)), (module_of(row), *_lane(row)), claim_of(row).alone)
        for trial, row in by_trial.items()
    ]
    try:
        while waiting or pool.busy():
            while waiting and pool.free():
                first = [job for job in waiting if job.lane == waiting[0].lane]
                waiting.remove(pool.start(first))
            for done in pool.wait(1.0):
                row = by_trial[done.trial]
                yield row, *compared(row, done.result, _spread(row, all_rows))
    finally:
        pool.close()


def _train(module: str) -> Train:
    train: Train = importlib.import_module(module).train
    return train


def _lane(row: Row) -> tuple[Any, ...]:
    asked = row["asked"]
    return asked["claim"], asked["arm"], tuple(asked["condition"].items()), asked.get("rate")


def _spread(row: Row, rows: Sequence[Row]) -> dict[str, float]:
    """By metric, how far the other seeds of a trial's arm, condition and rate are from each other at most."""
    others = [each for each in rows if _lane(each) == _lane(row) and each["key"] != row["key"]]
    values: dict[str, list[float]] = defaultdict(list)
    for each in others:
        for name, value in each["metrics"].items():
            if value is not None:
                values[name].append(value)
    return {name: max(found) - min(found) for name, found in values.items()}


def compared(row: Row, result: Outcome | Failure, spread: Mapping[str, float]) -> tuple[Verdict, str]:
    """How a rerun came out beside its row, and what differs."""
    if isinstance(result, Failure):
        return ("not run" if result.outcome == "not run" else "different"), result.reason
    claim = claim_of(row)
    metrics = result.complete(claim.metrics)
    before = {name: math.nan if value is None else value for name, value in row["metrics"].items()}
    moved = [
        f"{name} was {before.get(name, math.nan):g}, and is {value:g}"
        for name, value in metrics.items()
        if not (value == before.get(name) or (math.isnan(value) and math.isnan(before.get(name, 0.0))))
    ]
    if not moved and result.digest == row.get("digest", ""):
        return IDENTICAL, ""
    matters = {each.metric: each.margin for each in claim.contrasts if each.scale == "difference"}
    within = all(
        abs(value - before.get(name, math.nan)) <= max(NOISE * spread.get(name, 0.0), matters.get(name, 0.0))
        for name, value in metrics.items()
    )
    beyond: Verdict = "different" if claim.exact else "measured again"
    return ("within noise" if within else beyond), "; ".join(moved) or "the weights at the end"


if __name__ == "__main__":
    sys.exit(main())
