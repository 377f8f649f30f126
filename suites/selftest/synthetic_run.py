"""Run folders of invented numbers, for the tests of the reports. No number here was measured.

The folders are written through `RunFolder`, as real ones are. What is planted (ratios, failures, verdicts) is known, so
that the tests can ask for it back; noise has the levels that real runs have: processes, then blocks, then rounds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.run_folder import PROPERTIES, TRIALS, Row, RunFolder, key_of

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
WHEN = "2026-11-22T10:00:00+00:00"

STEP_S = {"train": 0.031, "inference": 0.009, "gradient": 0.024}
SPEED = {"float32": 1.0, "mixed_float16": 2.4, "mixed_bfloat16": 0.8}
NETWORKS = {"residual": {"reference": 1.0, "keras": 1.3, "without": 0.9}}
ATTENTION = {"additive_attention": {"reference": 1.0, "keras": 0.95, "without": 0.4}}
PROPERTIES_OF = {
    "residual": ("counts_are_exact", "zero_last_scale_is_identity", "logits_are_float32", "strides_halve"),
    "additive_attention": (
        "masked_weights_are_zero",
        "fully_masked_row_gives_zeros",
        "query_matters",
        "rows_sum_to_one",
    ),
}


@dataclass(frozen=True)
class Machine:
    """An invented machine."""

    name: str = "Invented CPU @ 2.00GHz"
    slowness: float = 1.0
    seed: int = 0


def write_run(
    path: Path, machine: Machine = Machine(), *, parts: str = "properties timings failures trials"
) -> RunFolder:
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
        folder.write_timings({"benchmarks": entries, "failures": failures, "version": "5.3.1"})
    return folder


def begin(path: Path, machine: Machine = Machine()) -> RunFolder:
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
        "lock_hash": "10c4" * 4,
        "git": {"revision": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "techniques": {
            "residual": {"title": "Residual networks"},
            "additive_attention": {"title": "Additive attention"},
        },
    }
    folder = RunFolder.resume(path, facts)
    session = {"started": WHEN, "finished": "2026-11-22T10:05:30+00:00", "exit": 0, "arguments": ["--scale", "quick"]}
    folder.write_run({**folder.run, "sessions": [session]})
    return folder


def row_of(asked: Row, when: str = WHEN) -> Row:
    """The four fields that all rows share."""
    command = f"python -m pytest suites --select {key_of(asked)} --precision {asked.get('precision')}"
    return {"key": key_of(asked), "asked": asked, "when": when, "command": command}


def setting(technique: str, implementation: str, precision: str) -> Row:
    """The fields that what is asked has in every kind of row."""
    return {
        "technique": technique,
        "implementation": implementation,
        "backend": "tensorflow",
        "precision": precision,
        "device": "cpu",
        "scale": "quick",
        "source": "5" * 16,
    }


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
        | broken
        | beside
    )


def timing_entries(machine: Machine = Machine()) -> Iterator[Row]:
    """Residual training on two workloads, attention at six source lengths."""
    workloads = {
        ("residual", "resnet20-digits"): {"depth": 20, "batch": 32},
        ("residual", "resnet20-images32"): {"depth": 20, "batch": 64},
        **{
            ("additive_attention", f"length-{n}"): {"source_length": n, "batch": 16}
            for n in (16, 32, 64, 128, 256, 512, 1024)
        },
    }
    rng = np.random.default_rng(machine.seed)
    for (technique, workload), parameters in workloads.items():
        cost = 1.0 + parameters.get("source_length", 200) / 100
        for operation, step in STEP_S.items():
            times = {
                (implementation, precision): machine.slowness * cost * step * ratio * SPEED[precision]
                for implementation, ratio in (NETWORKS | ATTENTION)[technique].items()
                for precision in PRECISIONS
            }
            yield from race(rng, technique, workload, parameters, operation, times)


def race(
    rng: np.random.Generator,
    technique: str,
    workload: str,
    parameters: Row,
    operation: str,
    times: dict[tuple[str, str], float],
    heats: int = 4,
    blocks: int = 3,
) -> Iterator[Row]:
    """One race: palindromic blocks under a drift that all contenders share, and noise of process, block and round."""
    samples: dict[tuple[str, str], list[tuple[float, int, int]]] = {name: [] for name in times}
    for heat in range(heats):
        process = {name: rng.normal(0, 0.006) for name in times}
        for block in range(blocks):
            turns = [*times, *reversed(times)]
            start = 0.2 * rng.normal()
            for turn, name in enumerate(turns):
                drift = start + 0.1 * turn / len(turns)
                seconds = times[name] * math.exp(drift + process[name] + rng.normal(0, 0.01))
                samples[name].append((seconds, heat, block))
    for (implementation, precision), rounds in samples.items():
        asked = setting(technique, implementation, precision)
        asked |= {"workload": workload, "parameters": parameters, "operation": operation, "seed": 0}
        yield timing_entry(asked, rounds)


def timing_entry(asked: Row, rounds: list[tuple[float, int, int]], **beside: Any) -> Row:
    """One entry as pytest-benchmark writes it, with the extra fields of the harness."""
    seconds, heat, block = (list(column) for column in zip(*rounds, strict=True))
    group = f"{asked['technique']}/{asked['workload']}/{asked['operation']}"
    peak = (600 if asked["precision"] == "float32" else 450) << 20
    info = row_of(asked) | {
        "race": group.replace("/", "-"),
        "heat": heat,
        "block": block,
        "loops": 3,
        "build_s": 1.2,
        "first_call_s": 2.3,
        "traces": 1,
        "memory": {"baseline_bytes": 320 << 20, "peak_bytes": None if asked["operation"] == "inference" else peak},
        "items": 32,
    }
    name = f"{group}[{asked['implementation']}-{asked['precision']}]"
    return {"group": group, "name": name, "fullname": name, "stats": {"data": seconds}, "extra_info": info | beside}


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
                asked |= {"claim": "shortcuts_carry", "arm": arm, "condition": {"depth": depth}, "seed": trial}
                yield row_of(asked) | {
                    "metrics": {"loss": math.nan if diverged else loss, "gradient": gradient},
                    "series": {"loss": [2.3, 1.1, loss]},
                    "seconds": 3.5,
                    "definition": claim_definition(),
                }
