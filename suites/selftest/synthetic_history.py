"""The run folders of fifty invented nights, with what is planted in them. No number here was measured.

``python -m suites.selftest.synthetic_history FOLDER`` writes them; ``STORE --rows 1000000`` writes a store of so many
points instead. Three changes are planted (`PLANTED`), one of the
environment, a property that breaks and is mended, one that is new, one that is asked otherwise, a claim that turns, and
a night that was stopped. Everything else is noise, as real nights have it: the machine is faster or slower by 5% as a
whole, each contender by 2% of its own; heats differ by 0.6%, rounds by 1%.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from reports.store.files import write_whole
from reports.store.run_folder import PROPERTIES, TRIALS, Row, RunFolder
from reports.store.warehouse import Warehouse
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import USUAL, row_of, setting

NIGHTS = 50
BEGAN = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
BEFORE, AFTER = "2.21.0", "2.22.0"
UPGRADED = 38
"""The first night with another TensorFlow, with which all is 6% faster, and takes a tenth less memory."""

WORKLOADS = (("residual", "resnet20-digits"), ("additive_attention", "source-64"))
OPERATIONS = ("train", "inference")
PRECISIONS = ("float32", "mixed_float16")


@dataclass(frozen=True)
class Planted:
    """A change: from which night on, of what, and to how much of what it was."""

    night: int
    measure: str
    technique: str
    operation: str
    implementation: str
    precision: str
    ratio: float


PLANTED = (
    Planted(18, "time", "residual", "train", "keras", "float32", 1.12),
    Planted(24, "memory", "residual", "train", "reference", "mixed_float16", 1.30),
    Planted(31, "time", "additive_attention", "inference", "reference", "float32", 0.80),
)

BROKEN, MENDED = 12, 15
"""The reference's ``counts_are_exact`` fails in between."""
REDEFINED = 20
"""From this night on, ``strides_halve`` asks for more, which Keras does not keep."""
NEW = 26
"""The first night with ``rows_sum_to_one``, which Keras does not keep either."""
TURNED = 33
"""From this night on, the claim's arms are alike."""
STOPPED = 44
"""A night that was killed: everything failed until then."""


def revision(night: int) -> str:
    """The commit of a night."""
    return hashlib.sha1(f"night {night}".encode()).hexdigest()


def write(folder: Path, nights: int = NIGHTS) -> list[Path]:
    """Write the run folders of the first nights."""
    return [_night(folder / f"{BEGAN + timedelta(days=night):%Y/%m/%d}", night).path for night in range(nights)]


def _night(path: Path, night: int) -> RunFolder:
    folder = synthetic.begin(path)
    began = BEGAN + timedelta(days=night)
    tensorflow = AFTER if night >= UPGRADED else BEFORE
    session = {"started": began.isoformat(), "finished": (began + timedelta(hours=1)).isoformat(), "exit": 0}
    folder.write_run(
        folder.run
        | {"created": began.isoformat(), "git": {"revision": revision(night), "dirty": False}}
        | {"environment": folder.run["environment"] | {"tensorflow-cpu": tensorflow}, "environment_hash": tensorflow}
        | {"sessions": [] if night == STOPPED else [session | {"arguments": ["--scale", "quick"]}]}
    )
    rng = np.random.default_rng([night, 17])
    entries = list(_timings(rng, night))
    for entry in entries:
        entry["extra_info"]["when"] = began.isoformat()
    folder.write_timings({"benchmarks": entries, "failures": [], "races": {}, "version": "5.3.1"})
    for name, rows in ((PROPERTIES, _properties(night)), (TRIALS, _trials(rng, night))):
        lines = "".join(json.dumps(row | {"when": began.isoformat()}) + "\n" for row in rows)
        write_whole(folder.path, {name: lines.encode()})
    return folder


def _factor(night: int, measure: str, technique: str, operation: str, name: races.Named) -> float:
    """What is planted for a contender that night; the reference again is the reference."""
    implementation = "reference" if name[0] == "again" else name[0]
    here = (measure, technique, operation, implementation, name[1])
    found = 1.0
    for each in PLANTED:
        if night >= each.night and here == (
            *(each.measure, each.technique, each.operation, each.implementation, each.precision),
        ):
            found *= each.ratio
    return found


def _timings(rng: np.random.Generator, night: int) -> Iterator[Row]:
    tonight = np.exp(rng.normal(0, 0.05)) * (0.94 if night >= UPGRADED else 1.0)
    networks = races.NETWORKS | races.ATTENTION
    for technique, workload in WORKLOADS:
        for operation in OPERATIONS:
            times: dict[races.Named, float] = {
                (implementation, precision): races.STEP_S[operation] * ratio * races.SPEED[precision]
                for implementation, ratio in networks[technique].items()
                for precision in PRECISIONS
            }
            times["again", "float32"] = races.STEP_S[operation]
            own = {name: np.exp(rng.normal(0, 0.02)) for name in times}
            own["again", "float32"] = own["reference", "float32"]
            times = {
                name: seconds * own[name] * _factor(night, "time", technique, operation, name)
                for name, seconds in times.items()
            } | {name: seconds for name, seconds in races.controls(USUAL).items() if name[1] in PRECISIONS}
            times = {name: seconds * tonight for name, seconds in times.items()}
            for entry in races.race(rng, technique, workload, {"batch": 32}, operation, times):
                _remember(entry["extra_info"], rng, night)
                yield entry


def _remember(info: Row, rng: np.random.Generator, night: int) -> None:
    """Memory that varies: from night to night by 1%, from heat to heat by a tenth of that."""
    asked, memory = info["asked"], info["memory"]
    if memory["peak_bytes"] is None:
        return
    name = (asked["implementation"], asked["precision"])
    rose = (600 << 20) * _factor(night, "memory", asked["technique"], asked["operation"], name)
    rose *= float(np.exp(rng.normal(0, 0.01))) * (0.9 if night >= UPGRADED else 1.0)
    heats = [int(memory["baseline_bytes"] + rose * np.exp(rng.normal(0, 0.001))) for _ in memory["peak_bytes_by_heat"]]
    info["memory"] = memory | {"peak_bytes": max(heats), "peak_bytes_by_heat": heats}


def _digest(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode()).hexdigest()[:16]


def _properties(night: int) -> Iterator[Row]:
    for technique, names in synthetic.PROPERTIES_OF.items():
        for implementation in ("reference", "keras"):
            for precision in PRECISIONS:
                for name in names:
                    if name == "rows_sum_to_one" and night < NEW:
                        continue
                    version = 2 if name == "strides_halve" and night >= REDEFINED else 1
                    source = f"{_digest(name, version)}-{_digest(implementation, night // 10)}"
                    asked = setting(technique, implementation, precision) | {"source": source}
                    yield synthetic.property_row(asked, name, _outcome(night, implementation, name), known=None)


def _outcome(night: int, implementation: str, name: str) -> str:
    fails = (
        night == STOPPED
        or (implementation == "reference" and name == "counts_are_exact" and BROKEN <= night < MENDED)
        or (implementation == "keras" and name == "strides_halve" and night >= REDEFINED)
        or (implementation == "keras" and name == "rows_sum_to_one")
    )
    return "failed" if fails else "passed"


def _trials(rng: np.random.Generator, night: int) -> Iterator[Row]:
    """Three seeds of both arms of the claim, at the depth that decides."""
    for arm in ("plain", "residual"):
        worse = arm == "plain" and night < TURNED
        for seed in range(3):
            asked = setting("residual", "reference", "float32") | {
                "source": f"{_digest('claim')}-{_digest('reference')}"
            }
            asked |= {"claim": "shortcuts_carry_signal", "arm": arm, "condition": {"depth": 44}, "seed": seed}
            loss, gradient = (
                (0.7 if worse else 0.2) + rng.normal(0, 0.01),
                (0.03 if worse else 1.0) + rng.normal(0, 0.002),
            )
            yield row_of(asked) | {
                "metrics": {"loss": float(loss), "gradient": float(gradient)},
                "seconds": 3.5,
                "definition": synthetic.claim_definition(),
            }


def write_store(folder: Path, rows: int, nights: int = 200) -> None:
    """A store of so many points, an equal number every night, for measuring how long a question takes."""
    warehouse, each = Warehouse(folder), rows // nights
    for night in range(nights):
        rng = np.random.default_rng([night, 23])
        began = (BEGAN + timedelta(days=night)).isoformat()
        run = {"run": f"{night:016x}", "started": began, "when": began, "revision": revision(night)}
        run |= {"machine": "m" * 16, "environment": "e" * 16}
        names = [f"workload-{number}" for number in range(each)]
        points = pd.DataFrame({"workload": names, "seconds": rng.lognormal(-3, 1, each), "when": began})
        points["key"] = [hashlib.sha1(f"{night} {name}".encode()).hexdigest()[:16] for name in names]
        warehouse.add(f"{night:032x}", {"runs": pd.DataFrame([run]), "points": points})


if __name__ == "__main__":
    match sys.argv[1:]:
        case [runs]:
            sys.stdout.write(f"{len(write(Path(runs)))} run folders in {runs}\n")
        case [store, "--rows", rows]:
            write_store(Path(store), int(rows))
        case _:
            sys.exit("python -m suites.selftest.synthetic_history FOLDER | STORE --rows NUMBER")
