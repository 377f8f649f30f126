"""Run folders of invented numbers, for the tests of the reports. No number here was measured.

The folders are written through `RunFolder`, as real ones are. What is planted (ratios, failures, verdicts) is known, so
that the tests can ask for it back; noise has the levels that real runs have: processes, then blocks, then rounds.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reports.store.run_folder import PROPERTIES, TRIALS, Row, RunFolder, key_of
from suites import promises
from suites.selftest.synthetic_races import conditions, timing_entries
from suites.selftest.synthetic_rows import PRECISIONS, USUAL, WHEN, Machine, row_of, setting

HOST = (
    {"name": "steal time", "state": "noisy", "found": "3% of the CPU time", "advice": "Take cores of your own."},
    {"name": "swap", "state": "good", "found": "none in use", "advice": ""},
    {"name": "turbo", "state": "unknown", "found": "not readable here", "advice": ""},
)
PROPERTIES_OF = {
    "residual": ("counts_are_exact", "zero_last_scale_is_identity", "logits_are_float32", "strides_halve"),
    "additive_attention": (
        "masked_weights_are_zero",
        "fully_masked_row_gives_zeros",
        "query_matters",
        "rows_sum_to_one",
    ),
}


def write_run(path: Path, machine: Machine = USUAL, *, parts: str = "properties timings failures trials") -> RunFolder:
    """Write a whole run, or only some of its parts; the same machine always gives the same numbers."""
    folder = begin(path, machine)
    if "properties" in parts:
        for row in property_rows():
            folder.append(PROPERTIES, row)
    if "trials" in parts:
        for row in trial_rows(machine.seed):
            folder.append(TRIALS, row)
    entries = list(timing_entries(machine)) if "timings" in parts else []
    failures = [failure_row()] if "failures" in parts else []
    if entries or failures:
        kept = {"benchmarks": entries, "failures": failures, "races": conditions(entries), "version": "5.3.1"}
        folder.write_timings(kept)
    return folder


def begin(path: Path, machine: Machine = USUAL) -> RunFolder:
    """An empty run folder of an invented machine."""
    facts = {
        "scale": "quick",
        "machine": {
            "processor": machine.name,
            "cores": 2,
            "architecture": "x86_64",
            "memory_bytes": 8 << 30,
            "gpus": [],
        },
        "environment": {"system": "Linux 6.1", "python": "3.11.2", "tensorflow-cpu": "2.21.0", "keras": "3.15.1"},
        "machine_hash": key_of({"name": machine.name}),
        "environment_hash": "e" * 16,
        "host": list(HOST),
        "lock_hash": "10c4" * 4,
        "git": {"revision": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "techniques": {
            "residual": {"title": "Residual networks", **promises.facts("residual")},
            "additive_attention": {"title": "Additive attention", **promises.facts("additive_attention")},
        },
    }
    folder = RunFolder.resume(path, facts)
    session = {"started": WHEN, "finished": "2026-11-22T10:05:30+00:00", "exit": 0, "arguments": ["--scale", "quick"]}
    folder.write_run({**folder.run, "sessions": [session]})
    return folder


def property_rows() -> Iterator[Row]:
    """Everything passes but two known defects of Keras, one of them at all precisions, and what Keras does not have."""
    for technique, names in PROPERTIES_OF.items():
        for implementation in ("reference", "keras"):
            for precision in PRECISIONS:
                for name in names:
                    yield property_row(setting(technique, implementation, precision), name)


def property_row(asked: Row, name: str, outcome: str | None = None, **beside: Any) -> Row:
    """One property's row; the outcome is planted by name unless it is given."""
    broken: dict[str, Any] = {"message": "", "example": "", "known": None}
    if asked["implementation"] == "keras" and name == "fully_masked_row_gives_zeros":
        outcome = outcome or "failed"
        broken = {
            "message": "AssertionError: the weights of a fully masked row are 0.5, 0.5; expected 0, 0",
            "example": "query=array([[0.]]), value=array([[1.], [3.]]), mask=array([[False, False]])",
            "known": {"reason": "adds a large negative number", "link": "https://github.com/keras-team/keras/issues/1"},
        }
    if asked["implementation"] == "keras" and name == "strides_halve":
        outcome = outcome or "not provided"
        broken["message"] = "keras does not provide ResidualBlock"
    if asked["implementation"] == "keras" and name == "logits_are_float32" and asked["precision"] == "mixed_float16":
        outcome, broken["message"] = outcome or "failed", "AssertionError: logits are float16"
    statement = name.replace("_", " ").capitalize() + "."
    return (
        row_of(asked | {"property": name})
        | {"outcome": outcome or "passed", "statement": statement, "seconds": 0.4}
        | {"examples": 12, "discarded": 3, "worst_error": 0.4}
        | broken
        | beside
    )


def failure_row() -> Row:
    """A contender that was killed."""
    asked = setting("residual", "keras", "float32")
    asked |= {"workload": "resnet50-images224", "parameters": {"depth": 50}, "operation": "train", "seed": 0}
    reason = "killed by signal 9 (out of memory?) after 12.1 s"
    return row_of(asked) | {"reason": reason, "phase": "first call", "race": "r", "rounds": []}


def claim_definition() -> Row:
    """The claim of the residual networks, as the suites define it."""
    lower = {"title": "training loss", "unit": "nats", "better": "lower"}
    higher = {"title": "first-layer gradient norm", "unit": "", "better": "higher"}
    return {
        "statement": "Shortcuts let gradient and information through deep networks.",
        "source": "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 1",
        "axis": "depth",
        "metrics": {"loss": lower, "gradient": higher},
        "contrasts": [
            {
                "metric": "loss",
                "arm": "residual",
                "baseline": "plain",
                "condition": {"depth": 44},
                "scale": "difference",
                "margin": 0.1,
            },
            {
                "metric": "gradient",
                "arm": "residual",
                "baseline": "plain",
                "condition": {"depth": 44},
                "scale": "ratio",
                "margin": 2.0,
            },
        ],
    }


def trial_rows(seed: int = 0, seeds: int = 5) -> Iterator[Row]:
    """Plain networks that get worse with depth and residual ones that do not; one plain network diverges."""
    rng = np.random.default_rng([seed, 7])
    for depth in (8, 20, 32, 44):
        for arm in ("plain", "residual"):
            for trial in range(seeds):
                loss = 0.2 + (0.012 * depth if arm == "plain" else -0.001 * depth) + rng.normal(0, 0.02)
                gradient = math.exp((-0.08 * depth if arm == "plain" else 0.01 * depth) + rng.normal(0, 0.2))
                diverged = arm == "plain" and depth == 44 and trial == 3
                asked = setting("residual", "reference", "float32")
                asked |= {"claim": "shortcuts_carry_signal", "arm": arm, "condition": {"depth": depth}, "seed": trial}
                yield row_of(asked) | {
                    "metrics": {"loss": math.nan if diverged else loss, "gradient": gradient},
                    "series": {"training_loss": training(loss, diverged)},
                    "seconds": 3.5,
                    "definition": claim_definition(),
                }


def training(last: float, diverges: bool, steps: int = 40) -> list[float]:
    """A loss that falls from 2.3 to its last value, or is lost half way."""
    course = [last + (2.3 - last) * math.exp(-step / 6) for step in range(steps)]
    return [math.nan if diverges and step >= steps // 2 else loss for step, loss in enumerate(course)]
