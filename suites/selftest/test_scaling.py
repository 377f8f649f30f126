"""How time and memory grow with a size: planted exponents come back, as often as their intervals promise."""

import importlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.plots import figures
from reports.statistics.intervals import Floats, Interval, Rounds, t_interval
from reports.store.run_folder import Row
from reports.tables.comparisons import Sample
from reports.tables.scaling import Exponent, exponents, memory_exponents, slope, sweeps
from suites.implementations import techniques

SIZES = (512, 1024, 2048, 4096)
POWER = 1.9
ROUNDS = 16


def row(size: int, implementation: str = "reference", **fields: Any) -> Row:
    """A row of the table of timings."""
    usual = {"place": "a CPU", "technique": "attention", "device": "cpu", "scale": "quick", "precision": "float32"}
    usual |= {"operation": "train", "backend": "tensorflow", "variation": "", "implementation": implementation}
    return usual | {"parameters": json.dumps({"length": size, "batch": 1})} | fields


def rounds(rng: np.random.Generator, race: str, seconds: float, heats: int, process: float = 0.02) -> Rounds:
    """Noise of processes and rounds, and one round of a hundred that was preempted for up to some times as long."""
    count = heats * ROUNDS
    noise = rng.normal(0, 0.015, count) + np.where(rng.random(count) < 0.01, rng.exponential(1.0, count), 0)
    noise += rng.normal(0, process, heats).repeat(ROUNDS)
    heat, block = np.arange(heats).repeat(ROUNDS), np.tile(np.arange(ROUNDS // 2).repeat(2), heats)
    return Rounds.of(race, seconds * np.exp(noise), heat, block)


def sweep(
    rng: np.random.Generator,
    heats: Sequence[int] = (3, 3, 3, 3),
    process: Sequence[float] = (0.02,) * 4,
    drift: float = 0.0,
    control: bool = False,
) -> list[Sample]:
    """Races of all sizes, each on a machine that is slower or faster than before; and its control kernel."""
    samples = []
    for size, count, spread in zip(SIZES, heats, process, strict=True):
        race, slowness = f"race of {size}", math.exp(rng.normal(0, drift))
        seconds = 1e-3 * (size / SIZES[0]) ** POWER
        samples.append((row(size), rounds(rng, race, slowness * seconds, count, spread)))
        if control:
            samples.append((row(size, "control-matmul"), rounds(rng, race, slowness * 1e-3, count, spread)))
    return samples


Estimator = Callable[[list[Sample]], tuple[float, float, float]]


def ours(samples: list[Sample]) -> tuple[float, float, float]:
    """Estimate and ends."""
    (found,) = exponents(samples)
    return found.estimate, found.low, found.high


def simulate(estimate: Estimator, runs: int = 1200, **noise: Any) -> tuple[float, float]:
    """The share of intervals that hold the planted exponent, and the error of the estimates (root mean square)."""
    rng, held, errors = np.random.default_rng(20261122), 0, []
    for _ in range(runs):
        middle, low, high = estimate(sweep(rng, **noise))
        held += low <= POWER <= high
        errors.append(middle - POWER)
    return held / runs, float(np.sqrt(np.mean(np.square(errors))))


NOISES: dict[str, dict[str, Any]] = {
    "three heats": {},
    "more noise at small sizes": {"process": (0.05, 0.03, 0.02, 0.01)},
    "more noise at the largest": {"process": (0.01, 0.01, 0.01, 0.03)},
    "races of different length": {"heats": (3, 5, 8, 4)},
    "a machine that drifts between races": {"drift": 0.08, "control": True},
}


@pytest.mark.parametrize("noise", NOISES)
def test_intervals_hold_the_planted_exponent_as_often_as_they_promise(noise: str) -> None:
    """95 ± 2%. Wrong variants: those of the next three tests; a normal quantile in place of Student's."""
    held, _ = simulate(ours, **NOISES[noise])
    assert 0.93 <= held <= 0.97


def pooled(samples: list[Sample]) -> tuple[float, float, float]:
    """The wrong variant: every round a unit of its own."""
    sizes = np.concatenate([np.full(len(r.seconds), json.loads(row["parameters"])["length"]) for row, r in samples])
    line = stats.linregress(np.log(sizes), np.log(np.concatenate([r.seconds for _, r in samples])))
    half = line.stderr * stats.t.ppf(0.975, len(sizes) - 2)
    return line.slope, line.slope - half, line.slope + half


def test_rounds_taken_as_independent_promise_too_much() -> None:
    """What makes the unit of replication the heat."""
    assert simulate(pooled, runs=300)[0] < 0.85


def in_seconds(samples: list[Sample]) -> tuple[float, float, float]:
    """The wrong variant: least squares in seconds and not in their logarithms, heat by heat, by Newton's method."""
    x = np.log([json.loads(row["parameters"])["length"] / SIZES[-1] for row, _ in samples])
    slopes = []
    for heat in range(3):
        y = np.array([np.median(r.seconds[r.heat == heat]) for _, r in samples])
        power, scale = POWER, y[-1]
        for _ in range(6):
            fitted = scale * np.exp(power * x)
            columns = np.stack([fitted / scale, fitted * x], axis=1)
            change = np.linalg.lstsq(columns, y - fitted)[0]
            scale, power = scale + change[0], power + change[1]
        slopes.append(power)
    found = t_interval(slopes, "heats")
    return found.estimate, found.low, found.high


def test_a_fit_in_seconds_errs_more() -> None:
    """It hangs on the two largest sizes, since noise is a share of the time."""
    assert simulate(in_seconds, runs=300)[1] > 1.5 * simulate(ours, runs=300)[1]


def test_drift_between_races_is_taken_out_by_their_controls() -> None:
    """Wrong variant: seconds of races that ran at different times, compared as if the machine had stayed the same."""
    held, error = simulate(ours, runs=300, drift=0.08)
    assert held < 0.6
    assert error > 3 * simulate(ours, runs=300, drift=0.08, control=True)[1]


def test_a_sweep_with_a_race_without_control_says_so() -> None:
    """Wrong variant: some sizes in seconds and others relative to a control, on one line."""
    rng = np.random.default_rng(1)
    with_controls = sweep(rng, control=True)
    assert exponents(with_controls)[0].controlled
    (mixed,) = exponents(with_controls[:-1])
    assert not mixed.controlled
    assert mixed.estimate == pytest.approx(POWER, abs=0.1)


def exact(implementation: str, times: dict[int, float], **fields: Any) -> list[Sample]:
    """Three heats that take exactly as long as each other."""
    found = []
    for size, seconds in times.items():
        count = np.arange(6)
        same = Rounds.of(f"{implementation} {size}", np.full(6, seconds), count // 2, count % 2)
        found.append((row(size, implementation, **fields), same))
    return found


def test_an_overhead_is_left_behind() -> None:
    """The slope is taken over the upper end. Wrong variant: over all sizes, which says 1.2 of what is quadratic."""
    sizes = [2**power for power in range(4, 13)]
    (found,) = exponents(exact("reference", {size: 1.0 + (size / 256) ** 2 for size in sizes}))
    assert list(found.points) == [512, 1024, 2048, 4096]
    assert 1.85 < found.estimate < 2  # at 512 the overhead is still a fifth
    whole = slope(sizes, [t_interval(np.log([1.0 + (size / 256) ** 2] * 3), "heats") for size in sizes])
    assert whole.estimate < 1.3


def test_far_apart_sizes_still_count_three() -> None:
    """Wrong variant: a line through two points, on which nothing could lie beside it."""
    (found,) = exponents(exact("reference", {size: size**1.5 for size in (16, 256, 4096, 65536)}))
    assert list(found.points) == [256, 4096, 65536]
    assert found.estimate == pytest.approx(1.5)


def test_only_what_varies_alone_is_swept() -> None:
    """Wrong variants: the batch that shrinks as the length grows; two sizes; controls and A/A races as contenders."""
    samples = exact("reference", {size: float(size) for size in SIZES})
    assert [found.contender for found in exponents([*samples, *exact("again", dict.fromkeys(SIZES, 1.0))])] == [
        "reference"
    ]
    (found,) = sweeps(samples)
    assert (found.parameter, found.setting, len(found.lines)) == ("length", '{"batch": 1}', 1)
    shrinking = [
        (r | {"parameters": json.dumps({"length": size, "batch": 4096 // size})}, times)
        for size, (r, times) in zip(SIZES, samples, strict=True)
    ]
    assert exponents(shrinking) == []
    assert exponents(samples[:2]) == []


def test_workloads_sweep_length_depth_batch_and_data() -> None:
    """Wrong variant: workloads that grow two sizes at a time, of which no exponent can be taken."""
    swept = set()
    for technique in techniques():
        for workload in importlib.import_module(f"benchmarks.bench_{technique}").WORKLOADS:
            for operation in workload.operations.get("standard", ()):
                sizes = json.dumps(dict(workload.parameters))
                swept.add((technique, operation, sizes))
    samples = [
        (row(0, technique=name, operation=operation, parameters=sizes), None) for name, operation, sizes in swept
    ]
    found = {(line[0][1]["technique"], sweep.parameter) for sweep in sweeps(samples) for line in sweep.lines}
    promised = {
        ("dot_product_attention", "length"),
        ("additive_attention", "source"),
        ("checkpointing", "dense"),  # layers
        ("residual", "batch"),
        ("input_pipelines", "batch"),  # the elements of an epoch
    }
    assert found >= promised


def test_neither_controls_nor_the_reference_again_are_drawn_over_a_size() -> None:
    """Wrong variant: flat lines through the control kernels of all races."""
    kinds = ("reference", "again", "control-matmul", "control-copy")
    rows = [row(size, kind, seconds=1.0, low=0.9, high=1.1) for kind in kinds for size in SIZES]
    (plot,) = figures.scaling(rows, "Attention")
    assert [curve.name for curve in plot.curves] == ["reference"]


def test_contenders_precisions_operations_and_machines_are_told_apart() -> None:
    """Wrong variant: one line through the points of two contenders."""
    kinds = [
        ("reference", 1.0, {}),
        ("keras", 2.0, {}),
        ("reference", 3.0, {"precision": "mixed_float16"}),
        ("reference", 4.0, {"operation": "inference"}),
        ("reference", 5.0, {"place": "another CPU"}),
        ("reference", 6.0, {"backend": "torch"}),
    ]
    samples = [
        sample
        for name, power, fields in kinds
        for sample in exact(name, {size: size**power for size in SIZES}, **fields)
    ]
    found = exponents(samples)
    assert sorted(each.estimate for each in found) == pytest.approx([1, 2, 3, 4, 5, 6])
    assert [each.contender for each in found if round(each.estimate) == 6] == ["reference @ torch"]


def peaks(power: float, spread: float = 0.01, heats: int = 3) -> list[Row]:
    """Net peaks of a contender's processes at all sizes."""
    rng = np.random.default_rng(7)
    return [
        row(size, memory_by_heat=(2**20 * size**power * np.exp(rng.normal(0, spread, heats))).tolist())
        for size in SIZES
    ]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_memory_grows_as_planted(power: float) -> None:
    """Of checkpointing, of attention by blocks and of whole attention. Wrong variant: bytes in place of logarithms."""
    (found,) = memory_exponents(peaks(power))
    assert found.quantity == "memory"
    assert found.low < power < found.high
    assert found.high - found.low < 0.1


def test_one_peak_gives_no_interval_and_none_no_exponent() -> None:
    """Wrong variants: an interval of width zero; a peak that was not measured taken for zero bytes."""
    (found,) = memory_exponents([row(size, memory_bytes=size**2) for size in SIZES])
    assert found.estimate == pytest.approx(2)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert memory_exponents([row(size, memory_bytes=None) for size in SIZES]) == []
    (found,) = memory_exponents([row(size, memory_bytes=None if size == 512 else size) for size in SIZES])
    assert list(found.points) == [1024, 2048, 4096]


def test_a_single_heat_gives_no_interval() -> None:
    """Wrong variant: the interval over rounds, which does not hold what processes differ by."""
    (found,) = exponents(sweep(np.random.default_rng(2), heats=(3, 1, 3, 3)))
    assert found.estimate == pytest.approx(POWER, abs=0.2)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_rounds_that_are_all_unusable_are_left_out() -> None:
    """Wrong variant: a slope that is NaN."""
    samples = sweep(np.random.default_rng(3))
    nothing = Rounds.of("race of 512", [None], [0], [0])
    (found,) = exponents([(samples[0][0], nothing), *samples[1:]])
    assert list(found.points) == [1024, 2048, 4096]


def test_slope_is_that_of_the_line_of_least_squares() -> None:
    """Wrong variant: the line from the first point to the last."""
    values: Floats = np.array([0.3, 1.9, 2.2, 4.6])
    found = slope(SIZES, [Interval(value, value - 0.1, value + 0.1, 1.0, 3, "heats") for value in values])
    assert found.estimate == pytest.approx(stats.linregress(np.log(SIZES), values).slope)
    # Errors of the means are alike: the slope's is theirs over the root of the sum of squares of x, on 3 x 2 degrees or
    # fewer.
    x = np.log(SIZES) - np.log(SIZES).mean()
    error = 0.1 / stats.t.ppf(0.975, 2) / math.sqrt(x @ x)
    assert stats.t.ppf(0.975, 8) * error <= found.high - found.estimate <= stats.t.ppf(0.975, 2) * error


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.85, 2.01, "time grows with source length to the power 1.93 [1.85, 2.01] from 512 to 4,096"),
        (-math.inf, math.inf, "time grows with source length to the power 1.93 (no interval) from 512 to 4,096"),
    ],
)
def test_an_exponent_can_be_said(low: float, high: float, expected: str) -> None:
    """Wrong variant: sizes as 4.096e+03, an interval of infinities."""
    found = Exponent(
        *("time", "a CPU", "attention", "cpu", "quick", "float32", "train", "reference", "source_length", "{}"),
        *(1.93, low, high, (512.0, 4096.0), True),
    )
    assert found.sentence == expected
