"""Steady-state verdicts: what was planted is found and rightly named, and what is steady is left alone."""

import functools
import itertools
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from reports.statistics import change_points, courses
from reports.statistics.change_points import partition
from reports.statistics.intervals import Floats, Rounds
from reports.statistics.modality import critical_dip, dip
from reports.tables import steadiness
from reports.tables.steadiness import MachineVerdict, Steadiness, Verdict, of_race

HEATS, ROUNDS, CONTENDERS = 3, 40, 6
Fault = Callable[[np.random.Generator, int, int], Floats]
"""From heats and rounds per heat, what is added to the log times: (heats, rounds)."""


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Normal noise of unit size; times are lognormal."""
    return rng.normal(size=shape)


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> Floats:
    """Noise of unit size whose rounds resemble the one before."""
    fresh = rng.normal(size=(*shape[:-1], shape[-1] + 20)) * math.sqrt(1 - correlation**2)
    for i in range(1, fresh.shape[-1]):
        fresh[..., i] += correlation * fresh[..., i - 1]
    return fresh[..., 20:]


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Exponential noise: most rounds near the shortest."""
    return rng.exponential(size=shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student's t with three degrees of freedom."""
    return rng.standard_t(3, size=shape) / math.sqrt(3)


Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]

NOISES: dict[str, Noise] = {
    "preempted": normal,  # `race` adds outliers
    "autoregressive 0.3": functools.partial(autoregressive, correlation=0.3),
    "autoregressive 0.5": functools.partial(autoregressive, correlation=0.5),
    "skewed": skewed,
    "heavy tails": heavy_tailed,
}


def race(
    rng: np.random.Generator,
    fault: Fault | None = None,
    machine: Fault | None = None,
    noise: str = "preempted",
    size: tuple[float, float] = (0.01, 0.03),
    contenders: int = CONTENDERS,
    heats: int = HEATS,
    rounds: int = ROUNDS,
) -> list[Rounds]:
    """Contenders in lockstep, the first one with the fault; noise of 1 to 3% and processes that differ by 2%."""
    shape = (heats, rounds)
    heat, block = np.repeat(np.arange(heats), rounds), np.tile(np.arange(rounds) // 2, heats)
    course = machine(rng, *shape) if machine else np.cumsum(rng.normal(0, 0.003, shape), axis=1)
    entries = []
    for k in range(contenders):
        logs = rng.uniform(*size) * NOISES[noise](rng, shape) + rng.normal(0, 0.02, (heats, 1)) + course
        logs += (rng.random(shape) < 0.01) * rng.uniform(0, math.log(10), shape) if noise == "preempted" else 0.0
        logs += fault(rng, *shape) if fault and k == 0 else 0.0
        entries.append(Rounds.of("race", 0.01 * np.exp(logs.ravel()), heat, block))
    return entries


def drift(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Slower by 0.5% with every round."""
    return np.tile(math.log(1.005) * np.arange(rounds), (heats, 1))


def late_drift(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Slower by 1% with every round from half way on."""
    return np.tile(math.log(1.01) * np.maximum(np.arange(rounds) - rounds // 2, 0), (heats, 1))


def step(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Slower by 5% from half way on."""
    return np.tile(np.where(np.arange(rounds) < rounds // 2, 0.0, math.log(1.05)), (heats, 1))


def step_by_calls(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Slower by 10% from half way on, and a little earlier in the first heat, whose warm-up had more calls."""
    places = np.where(np.arange(heats) == 0, 2 * rounds // 5, rounds // 2)
    return np.where(np.arange(rounds) < places[:, None], 0.0, math.log(1.1))


def warm_up(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Slower by 20% at first, and by nothing after a quarter of the rounds."""
    return np.tile(math.log(1.2) * np.clip(1 - 4 * np.arange(rounds) / rounds, 0, 1), (heats, 1))


def bimodal(rng: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Rounds take one of two times, 10% apart."""
    return np.where(rng.random((heats, rounds)) < 0.5, 0.0, math.log(1.1))


def walk(rng: np.random.Generator, heats: int, rounds: int) -> Floats:
    """A random walk of 3% a round, which settles nowhere."""
    return np.cumsum(rng.normal(0, 0.03, (heats, rounds)), axis=1)


def machine_drift(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """The machine gets slower by 20% over every heat."""
    return np.tile(np.linspace(0, math.log(1.2), rounds), (heats, 1))


def machine_step(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """The machine gets slower by 10% in the middle of the second heat, and stays so."""
    return np.where(np.arange(heats * rounds) < rounds + rounds // 2, 0.0, math.log(1.1)).reshape(heats, rounds)


def neighbour(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """Somebody else is busy in rounds 10 to 19 of the second heat: 30%."""
    place = np.arange(heats * rounds).reshape(heats, rounds) - rounds
    return np.where((place >= 10) & (place < 20), math.log(1.3), 0.0)


def flat(_: np.random.Generator, heats: int, rounds: int) -> Floats:
    """A machine that does not move."""
    return np.zeros((heats, rounds))


def in_one_heat(fault: Fault) -> Fault:
    """The fault in the second heat only."""
    return lambda rng, heats, rounds: fault(rng, heats, rounds) * (np.arange(heats) == 1)[:, None]


def judge(seeds: int, **planted: object) -> tuple[list[Steadiness], list[Steadiness], Counter[MachineVerdict]]:
    """The verdicts on the first contender, on all others, and on the machine, over many races."""
    first, others, machines = [], [], Counter[MachineVerdict]()
    for seed in range(seeds):
        verdicts, machine = of_race(race(np.random.default_rng(seed), **planted))  # type: ignore[arg-type]
        first.append(verdicts[0])
        others += verdicts[1:]
        machines[machine.verdict] += 1
    return first, others, machines


def share(found: list[Steadiness], verdict: Verdict) -> float:
    """How many of the verdicts are that one."""
    return sum(each.verdict is verdict for each in found) / len(found)


def accused(found: list[Steadiness]) -> int:
    """How many of the verdicts are not "steady"."""
    return sum(each.verdict is not Verdict.STEADY for each in found)


def most(count: int) -> int:
    """How many of steady contenders may be accused, if one in a hundred is: the upper end of all but one in 10^4."""
    return int(stats.binom.ppf(1 - 1e-4, count, 0.01))


FAULTS = [
    pytest.param(drift, Verdict.DRIFTING, (0.01, 0.03), id="drift"),
    pytest.param(late_drift, Verdict.DRIFTING, (0.01, 0.03), id="late drift"),
    pytest.param(step, Verdict.STEPPED, (0.01, 0.03), id="step"),
    pytest.param(warm_up, Verdict.WARMING_UP, (0.01, 0.03), id="warm-up"),
    pytest.param(bimodal, Verdict.BIMODAL, (0.01, 0.02), id="bimodal"),
]


@pytest.mark.parametrize(("fault", "verdict", "size"), FAULTS)
def test_a_planted_fault_is_found_and_rightly_named(fault: Fault, verdict: Verdict, size: tuple[float, float]) -> None:
    """At three heats of 40 rounds. Wrong variant: what every heat shows taken for the event of one.

    Levels 10% apart are told from one level by the valley between them, which noise of 1 to 2% leaves open and noise
    of 3% fills: there one in six is found, and at 2.5% two in three.
    """
    first, others, _ = judge(100, fault=fault, size=size)
    assert share(first, verdict) >= 0.95
    assert {each.heat for each in first if each.verdict is verdict} == {None}
    assert accused(others) <= most(len(others))


@pytest.mark.parametrize(("fault", "verdict", "size"), FAULTS)
def test_at_quick_scale_less_is_found_and_no_more_is_accused(
    fault: Fault, verdict: Verdict, size: tuple[float, float]
) -> None:
    """Three heats of 16 rounds. Wrong variant: the race's limits for any length.

    Found there: a drift of 0.5% a round, and one of 1% from half way on, in half of the seeds, a step of 5% in two
    thirds, a warm-up in nine of ten, levels 10% apart in four of five where the noise is 2% at most.
    """
    first, others, _ = judge(60, fault=fault, size=size, rounds=16)
    assert share(first, verdict) > 1 / 3
    assert share(first, verdict) + share(first, Verdict.STEADY) > 0.9  # what is not found is not misnamed
    assert accused(others) <= most(len(others))


def test_a_step_that_heats_take_at_other_places_is_one_step() -> None:
    """Wrong variant: the mean of the heats has two steps, is named by several levels, and the rounds are bimodal."""
    first, _, _ = judge(60, fault=step_by_calls, rounds=80)
    assert share(first, Verdict.STEPPED) >= 0.95
    assert np.median([each.ratio for each in first]) == pytest.approx(1.1, abs=0.02)


def test_a_drift_of_sixty_rounds_is_found_in_its_size() -> None:
    """Wrong variant: the rate per block called a rate per round, which is twice as much."""
    (found, *_), _ = of_race(race(np.random.default_rng(1), fault=drift, rounds=60))
    assert found.verdict is Verdict.DRIFTING
    assert found.ratio == pytest.approx(1.005**58, rel=0.03)  # from the first block's middle to the last one's
    assert re.match(r"Drifting: 0\.5\d?% slower with every round, ", found.sentence)


def test_places_and_sizes_are_those_that_were_planted() -> None:
    """Wrong variant: the last block of the old level for the first of the new one; the inverse ratio."""
    quiet = {"size": (0.002, 0.004), "machine": flat}
    (stepped, *_), _ = of_race(race(np.random.default_rng(2), fault=step, **quiet))  # type: ignore[arg-type]
    assert (stepped.verdict, stepped.heat, stepped.block) == (Verdict.STEPPED, None, ROUNDS // 4)
    assert stepped.ratio == pytest.approx(1.05, rel=0.01)
    (late, *_), _ = of_race(race(np.random.default_rng(2), fault=late_drift, **quiet))  # type: ignore[arg-type]
    assert late.verdict is Verdict.DRIFTING
    assert late.block in (ROUNDS // 4 - 1, ROUNDS // 4)
    assert late.ratio == pytest.approx(1.01 ** (ROUNDS // 2), rel=0.02)
    assert late.sentence.startswith("Drifting: 1% slower with every round from block 1")
    (warming, *_), _ = of_race(race(np.random.default_rng(2), fault=warm_up, **quiet))  # type: ignore[arg-type]
    assert warming.verdict is Verdict.WARMING_UP
    assert warming.block in (4, 5)
    assert warming.ratio == pytest.approx(1 / 1.2, rel=0.05)
    (two, *_), _ = of_race(race(np.random.default_rng(2), fault=bimodal, **quiet))  # type: ignore[arg-type]
    assert two.ratio == pytest.approx(1.1, rel=0.01)


def test_what_one_heat_shows_is_an_event_of_that_heat() -> None:
    """Wrong variant: the mean course taken for what all heats show, which in long heats is significant as well."""
    for rounds in (ROUNDS, 6 * ROUNDS):
        first, _, _ = judge(20, fault=in_one_heat(step), size=(0.005, 0.01), machine=flat, rounds=rounds)
        assert share(first, Verdict.STEPPED) >= 0.9
        assert {each.heat for each in first if each.verdict is Verdict.STEPPED} == {1}


def test_a_random_walk_never_gets_steady() -> None:
    """Six heats of 60 rounds. Wrong variant: the correlation of a walk taken for that of noise, without a bound."""
    first, _, _ = judge(40, fault=walk, heats=6, rounds=60)
    assert share(first, Verdict.NEVER_STEADY) >= 0.6
    assert share(first, Verdict.STEADY) <= 0.05


@pytest.mark.parametrize("noise", NOISES)
def test_at_most_one_in_a_hundred_steady_contenders_is_called_anything_else(noise: str) -> None:
    """600 contenders of each kind of noise. Wrong variants: see the next test."""
    first, others, machines = judge(100, noise=noise, machine=flat)
    assert accused([*first, *others]) <= most(100 * CONTENDERS)
    assert machines[MachineVerdict.STEADY] >= 98


def test_all_kinds_of_noise_together_keep_the_promise() -> None:
    """3,000 steady contenders on a machine that walks. Wrong variants: see the next test."""
    found = [judge(100, noise=noise) for noise in NOISES]
    verdicts = [each for first, others, _ in found for each in [*first, *others]]
    assert accused(verdicts) <= 0.01 * len(verdicts)


def test_limits_that_forget_significance_or_correlation_accuse_the_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong variants themselves: size alone decides; blocks taken as independent; a lower dip."""
    with monkeypatch.context() as patch:
        patch.setattr(change_points, "penalty", lambda _blocks, degrees, *_, **__: np.zeros_like(degrees))
        assert accused(judge(20)[0]) > 10
    strong = {"noise": "autoregressive 0.5", "machine": flat}
    with monkeypatch.context() as patch:
        patch.setattr(change_points, "LEAST_CORRELATION", 0.0)
        patch.setattr(change_points, "MOST_CORRELATION", 0.0)
        first, others, _ = judge(60, **strong)
        assert accused([*first, *others]) > most(60 * CONTENDERS)
    with monkeypatch.context() as patch:
        patch.setattr(steadiness, "critical_dip", lambda count: 0.8 * critical_dip(count))
        first, others, _ = judge(60, machine=flat)
        assert accused([*first, *others]) > most(60 * CONTENDERS)


@pytest.mark.parametrize("machine", [machine_drift, machine_step, neighbour])
@pytest.mark.parametrize("contenders", [2, 3, 6])
def test_the_machine_is_not_blamed_on_a_contender(machine: Fault, contenders: int) -> None:
    """Wrong variant: the next test's."""
    first, others, _ = judge(200 // contenders, machine=machine, contenders=contenders)
    assert accused([*first, *others]) <= most(len(first) + len(others))


def test_without_the_others_course_the_machine_is_blamed_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong variant itself: contenders judged by their own times."""
    monkeypatch.setattr(courses, "others_median", lambda values, _axis: np.zeros_like(values))
    first, _, _ = judge(20, machine=machine_drift)
    assert share(first, Verdict.DRIFTING) == 1


@pytest.mark.parametrize("contenders", [2, 3])
def test_a_contender_is_not_blamed_for_its_few_opponents(contenders: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to one that drifts, the others drift the other way. Wrong variant: relative times alone."""
    planted = {"fault": drift, "contenders": contenders, "machine": flat}
    first, others, _ = judge(60, **planted)
    assert share(first, Verdict.DRIFTING) >= 0.95
    assert accused(others) <= most(len(others))
    for module in (steadiness, change_points):
        monkeypatch.setattr(module, "OWN_SHARE", -math.inf)
    assert accused(judge(60, **planted)[1]) > len(others) / 2


MACHINES = [
    pytest.param(flat, MachineVerdict.STEADY, (), 1.0, id="steady"),
    pytest.param(machine_drift, MachineVerdict.DRIFTED, (), 1.2, id="drift"),
    pytest.param(machine_step, MachineVerdict.STEPPED, ((1, 10),), 1.1, id="step"),
    pytest.param(neighbour, MachineVerdict.BUSY, tuple((1, block) for block in range(5, 10)), 1.3, id="neighbour"),
]


@pytest.mark.parametrize(("machine", "verdict", "blocks", "ratio"), MACHINES)
def test_the_machines_course_is_named_with_its_places(
    machine: Fault, verdict: MachineVerdict, blocks: tuple[tuple[int, int], ...], ratio: float
) -> None:
    """Wrong variants: heats centred by their mean before a burst is measured; a step's place counted over all heats."""
    assert judge(40, machine=machine)[2][verdict] >= 38
    _, found = of_race(race(np.random.default_rng(3), machine=machine, size=(0.002, 0.004)))
    assert (found.verdict, found.blocks) == (verdict, blocks)
    assert found.ratio == pytest.approx(ratio, rel=0.02)
    if verdict is MachineVerdict.BUSY:
        assert found.sentence.endswith("blocks 6–10 of heat 2.")


def test_one_contenders_fault_is_not_the_machines() -> None:
    """Wrong variant: the mean over contenders for the machine's course, or what fewer than most of them show."""
    for contenders in (2, 3, 6):
        machines = judge(40, fault=drift, contenders=contenders, machine=flat)[2]
        assert machines[MachineVerdict.STEADY] >= 38


def test_what_does_not_matter_is_steady_however_sure_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 1% under noise of 0.1%. Wrong variant: significance alone."""
    entries = race(np.random.default_rng(4), fault=lambda *asked: 0.2 * step(*asked), size=(0.001, 0.001), machine=flat)
    assert of_race(entries)[0][0].verdict is Verdict.STEADY
    monkeypatch.setattr(steadiness, "MATTERS", 1.001)
    assert of_race(entries)[0][0].verdict is Verdict.STEPPED


def test_neither_units_nor_the_order_of_rounds_in_a_block_matter() -> None:
    """Wrong variant: logarithms of seconds compared with a threshold; rounds taken in the order of the file."""
    for fault in (None, step, bimodal):
        entries = race(np.random.default_rng(5), fault=fault)
        order = np.random.default_rng(6).permutation(len(entries[0].seconds))
        turned = [Rounds(r.race, 1000 * r.seconds[order], r.heat[order], r.block[order]) for r in entries]
        for ours, theirs in zip(of_race(entries)[0], of_race(turned)[0], strict=True):
            assert (ours.verdict, ours.sentence) == (theirs.verdict, theirs.sentence)
            assert ours.ratio == pytest.approx(theirs.ratio)


def cut(rounds: Rounds, kept: NDArray[np.bool_]) -> Rounds:
    """Only some of the rounds."""
    return Rounds(rounds.race, rounds.seconds[kept], rounds.heat[kept], rounds.block[kept])


def test_races_with_holes_are_judged_by_what_is_common() -> None:
    """Wrong variants: a heat that was cut short sets the length of all; one contender's failure silences the rest."""
    entries = race(np.random.default_rng(7), fault=step)
    short = [cut(r, (r.heat != 1) | (r.block < 7)) for r in entries]  # the second heat ran out of time
    assert of_race(short)[0][0].verdict is Verdict.STEPPED
    failed = [*entries[:-1], cut(entries[-1], entries[-1].block < 2)]
    verdicts = of_race(failed)[0]
    assert (verdicts[0].verdict, verdicts[-1].verdict) == (Verdict.STEPPED, Verdict.TOO_FEW)
    assert math.isnan(verdicts[-1].ratio)
    later = [*entries[:-1], cut(entries[-1], entries[-1].heat > 0)]  # tried again after it had failed once
    assert {each.verdict for each in of_race(later)[0]} <= {Verdict.STEPPED, Verdict.STEADY}
    gap = [*entries[:-1], cut(entries[-1], entries[-1].block != 9)]
    assert of_race(gap)[0][-1].verdict is Verdict.TOO_FEW
    assert of_race(gap)[0][0].verdict is Verdict.STEPPED


def test_few_rounds_few_heats_and_one_contender_say_so() -> None:
    """Wrong variants: "steady" where nothing could have been found; a lone contender's drift blamed without a word."""
    few, machine = of_race([cut(r, r.block < 2) for r in race(np.random.default_rng(8))])
    assert {each.verdict for each in few} == {Verdict.TOO_FEW}
    assert machine.verdict is MachineVerdict.UNKNOWN
    assert of_race([])[0] == []
    assert of_race([Rounds.of("race", [], [], [])])[0][0].verdict is Verdict.TOO_FEW
    (alone,), machine = of_race(race(np.random.default_rng(9), fault=drift, contenders=1))
    assert (alone.verdict, machine.verdict) == (Verdict.DRIFTING, MachineVerdict.UNKNOWN)
    assert "ran alone" in alone.sentence
    (one_heat, *_), _ = of_race(race(np.random.default_rng(10), fault=drift, heats=1, rounds=60))
    assert (one_heat.verdict, one_heat.heat) == (Verdict.DRIFTING, 0)


def test_a_clock_without_noise_is_steady() -> None:
    """Wrong variant: a division by a noise of zero."""
    heat, block = np.repeat([0, 1], 16), np.tile(np.arange(16) // 2, 2)
    entries = [Rounds.of("race", np.full(32, seconds), heat, block) for seconds in (0.01, 0.02, 0.01)]
    assert {each.verdict for each in of_race(entries)[0]} == {Verdict.STEADY}


def test_warm_up_calls_are_counted_until_they_settle() -> None:
    """Wrong variant: the first change point in place of the last; calls that are missing counted as settled."""
    rng = np.random.default_rng(11)
    entries = race(rng, contenders=3)
    calls = np.concatenate([[1.0, 0.3], np.full(4, 0.02), np.full(30, 0.01)]) * np.exp(rng.normal(0, 0.02, 36))
    found, _ = of_race(entries, warm_up=[calls.tolist(), (0.01 * np.exp(rng.normal(0, 0.02, 30))).tolist(), []])
    assert [each.settled_after for each in found] == [6, 0, None]
    assert [replace(each, settled_after=None) for each in found] == of_race(entries)[0]


def stairs(rng: np.random.Generator, blocks: int) -> Floats:
    """Forty courses of five levels each, under noise of unit size: (40, blocks)."""
    levels = np.repeat(rng.normal(0, 3, (40, 5)), -(-blocks // 5), axis=1)[:, :blocks]
    return np.asarray(levels + rng.normal(size=(40, blocks)))


def test_segments_are_those_of_ruptures() -> None:
    """Wrong variants: greedy splits, or segments that are too short."""
    from ruptures import KernelCPD  # takes a second

    rng = np.random.default_rng(12)
    for blocks, shortest in itertools.product((8, 20, 47), (1, 2)):
        course, limits = stairs(rng, blocks), rng.uniform(2, 20, 40)
        for row, limit, changes in zip(course, limits, partition(course, limits, shortest), strict=True):
            theirs = KernelCPD("linear", min_size=shortest, jump=1).fit(row).predict(pen=float(limit))
            assert changes == theirs[:-1]


def test_segments_cost_the_least_of_all() -> None:
    """By brute force. Wrong variant: PELT's pruning with a shortest segment of 3, which can lose the optimum."""
    rng = np.random.default_rng(15)
    course, limits, shortest = stairs(rng, 8), rng.uniform(2, 20, 40), 3

    def cost(row: Floats, limit: float, changes: tuple[int, ...]) -> float:
        return sum(float(each.var()) * len(each) for each in np.split(row, changes)) + limit * len(changes)

    allowed: list[tuple[int, ...]] = [(), *((change,) for change in range(shortest, 8 - shortest + 1))]
    for row, limit, changes in zip(course, limits, partition(course, limits, shortest), strict=True):
        costs = [cost(row, float(limit), each) for each in allowed]
        assert tuple(changes) == allowed[int(np.argmin(costs))]


def excess_mass(values: Floats) -> float:
    """Twice the dip by brute force: how much more mass two intervals have over a uniform level than one can have.

    Müller and Sawitzki, "Excess mass estimates and tests for multimodality", JASA 86, 1991: the dip is half of the
    largest difference over all levels, which is reached at a level where two single intervals tie.
    """
    x = np.sort(values)
    spans = [(i, j) for i in range(len(x)) for j in range(i, len(x))]
    mass = np.array([(j - i + 1) / len(x) for i, j in spans])
    length = np.array([x[j] - x[i] for i, j in spans])
    apart = np.array([[b[0] > a[1] for b in spans] for a in spans])
    with np.errstate(divide="ignore", invalid="ignore"):
        ties = (mass[:, None] - mass) / (length[:, None] - length)
    largest = 0.0
    for level in np.unique(ties[np.isfinite(ties) & (ties > 0)]):
        one = mass - level * length
        two = np.where(apart, one[:, None] + one, -np.inf).max()
        largest = max(largest, float(two - one.max()))
    return largest


def test_the_dip_is_half_of_the_excess_mass() -> None:
    """Wrong variant: the distance from the uniform distribution, or one round of the modal interval only."""
    rng = np.random.default_rng(13)
    for i in range(12):
        values = np.concatenate([rng.normal(0, 1, 4 + i % 3), rng.normal(4 * (i % 2), 0.5, 4)])
        assert dip(values) == pytest.approx(max(excess_mass(values) / 2, 1 / (2 * len(values))), abs=1e-9)
    assert dip(np.arange(10.0)) == pytest.approx(1 / 20)
    assert dip(np.array([0.0] * 50 + [1.0] * 50)) == pytest.approx(1 / 4, abs=0.01)
    assert dip(np.ones(10)) == pytest.approx(1 / 20)


@pytest.mark.parametrize("count", [48, 120])
def test_the_critical_dip_is_that_of_normal_noise(count: int) -> None:
    """One in 400; levels five deviations apart are found. Wrong variant: uniform samples' table, which finds few."""
    rng = np.random.default_rng(count)
    exceeded = sum(dip(rng.normal(size=count)) > critical_dip(count) for _ in range(1500))
    assert exceeded <= stats.binom.ppf(1 - 1e-4, 1500, 0.0025)
    pairs = [np.append(rng.normal(size=count // 2), rng.normal(5, 1, count // 2)) for _ in range(200)]
    assert sum(dip(pair) > critical_dip(count) for pair in pairs) >= {48: 120, 120: 196}[count]


def test_verdicts_of_twenty_thousand_rounds_take_well_under_a_second() -> None:
    """100 races of 6 contenders: 0.4 s of CPU time where this was written. Wrong variant: PELT in plain Python."""
    rng = np.random.default_rng(14)
    races = [race(rng, rounds=12) for _ in range(100)]
    started = time.process_time()
    for entries in races:
        of_race(entries)
    assert time.process_time() - started < 1.0
