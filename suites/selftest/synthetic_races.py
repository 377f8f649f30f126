"""Races of invented numbers, with what is planted in them. No number here was measured."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np

from reports.statistics.intervals import Floats
from reports.store.run_folder import Row
from suites.selftest.synthetic_rows import PRECISIONS, USUAL, WHEN, Machine, row_of, setting

STEP_S = {"train": 0.031, "inference": 0.009, "gradient": 0.024}
SPEED = {"float32": 1.0, "mixed_float16": 2.4, "mixed_bfloat16": 0.8}
NETWORKS = {"residual": {"reference": 1.0, "keras": 1.3, "without": 0.9}}
ATTENTION = {"additive_attention": {"reference": 1.0, "keras": 0.95, "without": 0.4}}
ONE_THREAD = 1.6
"""The ratio of the reference on one thread to itself, where it ran so."""

MATMUL_S, COPY_S = 0.002, 0.009
MATMUL_RATE, COPY_RATE = 512**3 / MATMUL_S, (1 << 27) / COPY_S
SHARES = 0.5, 0.25
"""Of the rates of the matrix product and of memory, what the reference of the residual networks reaches in float32."""

WATTS = 30.0
NEIGHBOUR = "other processes kept 1.3 of 2 cores busy; the hypervisor gave 4% of the CPU time to others"

Named = tuple[str, ...]
"""A contender of a race: implementation, precision, and ``name=value`` where it runs in another way."""

MACHINE: Named = ("machine",)

LONG: dict[tuple[str, str], Row] = {
    ("resnet20-digits", "train"): {
        "blocks": 12,
        "wander": 0.0,
        "courses": {("keras", "float32"): np.tile(0.01 * (np.arange(12) - 5.5), (4, 1))},
    },
    ("resnet20-images32", "train"): {
        "blocks": 12,
        "wander": 0.0,
        "courses": {MACHINE: math.log(1.15) * (np.arange(48).reshape(4, 12) >= 18)},
    },
}
"""The long races: in one Keras gets 1% slower with every block, in the other the machine does by 15%, once and for all,
from the seventh block of the second heat on."""


def timing_entries(machine: Machine = USUAL) -> Iterator[Row]:
    """Residual training on two workloads, attention at seven source lengths, a race a minute.

    The two races of residual training are `LONG`.
    """
    workloads = {
        ("residual", "resnet20-digits"): {"depth": 20, "batch": 32},
        ("residual", "resnet20-images32"): {"depth": 20, "batch": 64},
        **{
            ("additive_attention", f"source-{n}"): {"source": n, "batch": 16} for n in (16, 32, 64, 128, 256, 512, 1024)
        },
    }
    rng, began = np.random.default_rng(machine.seed), datetime.fromisoformat(WHEN)
    for (technique, workload), parameters in workloads.items():
        cost = 1.0 + parameters.get("source", 200) / 100
        for operation, step in STEP_S.items():
            usual = machine.slowness * cost * step
            times: dict[Named, float] = {
                (implementation, precision): usual * ratio * SPEED[precision]
                for implementation, ratio in (NETWORKS | ATTENTION)[technique].items()
                for precision in PRECISIONS
            }
            if operation != "gradient":
                times["again", "float32"] = usual
            times |= controls(machine)
            if workload == "resnet20-digits":
                times[("reference", "float32", "threads=1")] = usual * ONE_THREAD
            long = LONG.get((workload, operation), {})
            for entry in race(rng, technique, workload, parameters, operation, times, **long):
                entry["extra_info"]["when"] = began.isoformat()
                yield entry
            began += timedelta(minutes=1)


def controls(machine: Machine) -> dict[Named, float]:
    """The control kernels' seconds: a matrix product in each precision, and moving memory."""
    products: dict[Named, float] = {
        ("control-matmul", each): machine.slowness * MATMUL_S * SPEED[each] for each in PRECISIONS
    }
    return products | {("control-copy", "float32"): machine.slowness * COPY_S}


def race(
    rng: np.random.Generator,
    technique: str,
    workload: str,
    parameters: Row,
    operation: str,
    times: Mapping[Named, float],
    heats: int = 4,
    blocks: int = 3,
    wander: float = 0.2,
    courses: Mapping[Named, Floats] = MappingProxyType({}),
) -> Iterator[Row]:
    """One race: palindromic blocks under a drift that all contenders share, and noise of process, block and round.

    By how much a contender is slower than its time, as a logarithm, is in its course, (heats, blocks); what all of them
    are, in that of `MACHINE`.
    """
    samples: dict[Named, list[tuple[float, int, int]]] = {name: [] for name in times}
    for heat in range(heats):
        process = {name: rng.normal(0, 0.006) for name in times}
        for block in range(blocks):
            turns = [*times, *reversed(list(times))]
            start = wander * rng.normal()
            for turn, name in enumerate(turns):
                drift = start + wander / 2 * turn / len(turns)
                drift += sum(courses[each][heat, block] for each in (name, MACHINE) if each in courses)
                seconds = times[name] * math.exp(drift + process[name] + rng.normal(0, 0.01))
                samples[name].append((seconds, heat, block))
    for (implementation, precision, *way), rounds in samples.items():
        asked = setting(technique, implementation, precision)
        asked |= {"workload": workload, "parameters": parameters, "operation": operation, "seed": 0}
        asked |= {"variation": dict(each.split("=") for each in way)} if way else {}
        beside: Row = {"joules": [WATTS * seconds for seconds, _, _ in rounds]} if technique == "residual" else {}
        if work := work_of(asked, times):
            beside["cost"] = work
        yield timing_entry(asked, rounds, **beside)


def work_of(asked: Row, times: Mapping[Named, float]) -> Row:
    """The controls' work, and that of residual networks: in float32, `SHARES` of the rates for the reference."""
    if asked["implementation"] == "control-matmul":
        return {"multiply_adds": 512**3, "bytes": 3 * 512**2 * 4}
    if asked["implementation"] == "control-copy":
        return {"multiply_adds": 0, "bytes": 1 << 27}
    if asked["technique"] != "residual" or ("control-matmul", "float32") not in times:
        return {}
    own, product, copy = (times[name, "float32"] for name in ("reference", "control-matmul", "control-copy"))
    return {
        "multiply_adds": int(SHARES[0] * 512**3 * own / product),
        "bytes": int(SHARES[1] * (1 << 27) * own / copy),
    }


def conditions(entries: Iterable[Row]) -> Row:
    """Readings of every race's blocks: quiet, but for a neighbour in two blocks of one race."""
    races: Row = {}
    for entry in entries:
        info = entry["extra_info"]
        busy = {(1, 3), (1, 4)} if info["race"] == "residual-resnet20-images32-train" else set()
        readings = [
            {"heat": heat, "block": block, "seconds": 0.2, "cores": 2.0, "load1": 1.2}
            | {"steal": 0.04 if (heat, block) in busy else 0.0, "others": 0.65 if (heat, block) in busy else 0.02}
            | ({"disturbed": NEIGHBOUR} if (heat, block) in busy else {})
            for heat, block in dict.fromkeys(zip(info["heat"], info["block"], strict=True))
        ]
        races.setdefault(info["race"], {"readings": readings})
    return races


def timing_entry(asked: Row, rounds: list[tuple[float, int, int]], **beside: Any) -> Row:
    """One entry as pytest-benchmark writes it, with the extra fields of the harness."""
    seconds, heat, block = (list(column) for column in zip(*rounds, strict=True))
    group = f"{asked['technique']}/{asked['workload']}/{asked['operation']}"
    rose = (600 if asked["precision"] == "float32" else 450) << 20
    peak = None if asked["operation"] == "inference" else rose
    info = row_of(asked) | {
        "race": group.replace("/", "-"),
        "heat": heat,
        "block": block,
        "loops": 3,
        "build_s": 1.2,
        "first_call_s": 2.3,
        "traces": 1,
        "warm_up": [0.4, 0.1, 0.1, 0.1],
        "memory": {
            "baseline_bytes": 320 << 20,
            "peak_bytes": peak,
            "peak_bytes_by_heat": [peak] * len(set(heat)) if peak else [],
            "device_peak_bytes": None,
        },
        "items": 32,
    }
    varied = "".join(f"-{name}={value}" for name, value in (asked.get("variation") or {}).items())
    name = f"{group}[{asked['implementation']}-{asked['precision']}{varied}]"
    return {"group": group, "name": name, "fullname": name, "stats": {"data": seconds}, "extra_info": info | beside}
