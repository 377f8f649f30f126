"""Run folders of invented numbers as large as wanted, to measure what a report of them takes.

``python -m suites.selftest.large_runs RUN POINTS`` writes a run folder with at least so many points: checked
properties, trials and timed rounds, in the proportions of a run of all techniques at standard scale (20,000 points are
about 2,000 properties, 500 trials and 20,000 rounds of 700 contenders). What is larger has more of each, and longer
races.
"""

import argparse
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from reports.store.run_folder import PROPERTIES, TRIALS, Row, RunFolder
from suites.selftest import synthetic_races as races
from suites.selftest.synthetic_rows import PRECISIONS, row_of, setting
from suites.selftest.synthetic_run import begin, claim_definition, property_row, training

STANDARD = 20_000
TECHNIQUES, IMPLEMENTATIONS = 13, ("reference", "keras", "tensorflow")
PER_TECHNIQUE = {"properties": 17, "claims": 2, "seeds": 5, "workloads": 2, "blocks": 4}
"""Of a standard run."""


def write(path: Path, points: int) -> RunFolder:
    """Write a run folder of at least so many points."""
    times = points / STANDARD
    folder = begin(path)
    names = [f"technique_{number:02d}" for number in range(TECHNIQUES)]
    facts = folder.run["techniques"]["residual"] | {"promises": []}
    folder.write_run(folder.run | {"techniques": {name: facts | {"title": name.replace("_", " ")} for name in names}})
    _write(path / PROPERTIES, itertools.chain.from_iterable(_properties(name, times) for name in names))
    _write(path / TRIALS, itertools.chain.from_iterable(_trials(name, times) for name in names))
    rng = np.random.default_rng(0)
    entries = [entry for name in names for entry in _timings(rng, name, times)]
    conditions = races.conditions(entries)
    folder.write_timings({"benchmarks": entries, "failures": [], "races": conditions, "version": "5.3.1"})
    return folder


def _write(path: Path, rows: Iterable[Row]) -> None:
    """All rows at once: to force each of a million to disk would take hours."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def _properties(technique: str, times: float) -> Iterator[Row]:
    for number in range(round(PER_TECHNIQUE["properties"] * times)):
        for implementation in IMPLEMENTATIONS:
            for precision in PRECISIONS:
                asked = setting(technique, implementation, precision)
                fails = implementation == "keras" and number % 8 == 0
                beside = {"known": {"reason": "adds a large number", "link": None}} if fails else {}
                yield property_row(asked, f"property_{number:05d}", "failed" if fails else None, **beside)


def _trials(technique: str, times: float) -> Iterator[Row]:
    """Two arms at two depths; a larger run has more seeds."""
    for claim in range(PER_TECHNIQUE["claims"]):
        for seed in range(round(PER_TECHNIQUE["seeds"] * times)):
            for depth, (arm, loss) in itertools.product((8, 44), {"plain": 0.7, "residual": 0.2}.items()):
                asked = setting(technique, "reference", "float32")
                asked |= {"claim": f"claim_{claim}", "arm": arm, "condition": {"depth": depth}, "seed": seed}
                last = loss + 0.01 * (seed % 7) + 0.001 * depth
                yield row_of(asked) | {
                    "metrics": {"loss": last, "gradient": 1 / last},
                    "series": {"training_loss": training(last, False, steps=20)},
                    "seconds": 3.5,
                    "definition": claim_definition(),
                }


def _timings(rng: np.random.Generator, technique: str, times: float) -> Iterator[Row]:
    """Races of all implementations; of a larger run, more of them and longer ones."""
    share = math.sqrt(times)
    contenders: dict[races.Named, float] = {
        (name, precision): 0.01 for name in IMPLEMENTATIONS for precision in PRECISIONS
    }
    contenders |= {("again", "float32"): 0.01, ("without", "float32"): 0.008, ("keras", "float32"): 0.012}
    contenders |= {("control-matmul", "float32"): 0.002, ("control-copy", "float32"): 0.009}
    for number in range(round(PER_TECHNIQUE["workloads"] * share)):
        for operation in ("train", "inference"):
            shape = {"size": 2 ** (number % 16), "number": number}
            blocks = round(PER_TECHNIQUE["blocks"] * share)
            yield from races.race(rng, technique, f"work-{number}", shape, operation, contenders, blocks=blocks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="the new run folder")
    parser.add_argument("points", type=int, metavar="POINTS", help="how many, such as 20000")
    options = parser.parse_args()
    write(options.run, options.points)
