"""Error rates of the statistics, by simulation: coverage with and without stopping early, false alarms, and the floor.

Noise has the levels of real runs: processes that differ, blocks of which one takes after the one before, rounds that
are skewed or disturbed. What is simulated goes through the very functions that a race and a report call.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from reports.statistics.intervals import (
    HEATS_BEYOND,
    LEAST_HEATS,
    Interval,
    Rounds,
    false_discovery,
    known_well_enough,
    moderate,
    noise_floor,
    slower_share,
    step_ratio,
    t_interval,
)
from reports.statistics.verdicts import MARGIN, Speed, of_ratio

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int, int]], Floats]
TRUE = 1.2
BLOCKS = 6


def normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Processes that differ by 2%, rounds by 3%."""
    return rng.normal(0, 0.02, shape[:1])[:, None, None] + rng.normal(0, 0.03, shape)


def autocorrelated(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Blocks that take after the one before: AR(1) with coefficient 0.9."""
    course = np.zeros(shape[:2])
    for block in range(shape[1]):
        course[:, block] = 0.9 * course[:, block - 1] * (block > 0) + rng.normal(0, 0.03, shape[0])
    return course[:, :, None] + rng.normal(0, 0.01, shape)


def skewed(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Rounds and processes that are late, and never early."""
    return rng.exponential(0.02, shape[:1])[:, None, None] + rng.exponential(0.05, shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Student's t with 3 degrees of freedom, and one round in 50 that is interrupted for up to ten times as long."""
    interrupted = np.where(rng.random(shape) < 0.02, rng.uniform(0, math.log(10), shape), 0)
    return 0.01 * rng.standard_t(3, shape[:1])[:, None, None] + 0.02 * rng.standard_t(3, shape) + interrupted


NOISES = (normal, autocorrelated, skewed, heavy_tailed)


def race(rng: np.random.Generator, noise: Noise, heats: int, ratio: float = TRUE) -> tuple[Rounds, Rounds]:
    """Two contenders of one race, with so many heats."""
    shape = heats, BLOCKS, 2
    heat, block = (each.ravel() for each in np.indices(shape)[:2])
    times = [np.exp(math.log(factor) + noise(rng, shape)).ravel() for factor in (ratio, 1.0)]
    contender, baseline = (Rounds("race", seconds, heat, block) for seconds in times)
    return contender, baseline


def coverage(intervals: list[Interval], ratio: float = TRUE) -> float:
    """The share of intervals that hold the true ratio."""
    return float(np.mean([each.low <= ratio <= each.high for each in intervals]))


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.__name__)
def test_intervals_cover_the_truth_in_95_of_100_races(noise: Noise) -> None:
    """Wrong variants: rounds or blocks as if they were independent; a normal quantile in place of Student's."""
    rng = np.random.default_rng(0)
    races = [race(rng, noise, heats=5) for _ in range(1500)]
    assert coverage([step_ratio(*each) for each in races]) == pytest.approx(0.95, abs=0.02)
    by_round = [t_of_rounds(*each) for each in races[:300]]
    if noise is not heavy_tailed:  # whose interruptions hide how processes differ
        assert coverage(by_round) < 0.93, "the wrong variant would not be noticed"


def t_of_rounds(contender: Rounds, baseline: Rounds) -> Interval:
    """The wrong variant: every block counts as an independent unit."""
    one_heat = np.zeros_like(contender.heat)
    numbers = contender.heat * BLOCKS + contender.block
    return step_ratio(
        Rounds("race", contender.seconds, one_heat, numbers), Rounds("race", baseline.seconds, one_heat, numbers)
    )


def host(rng: np.random.Generator, heats: int, ratio: float, jump: float, slope: float) -> tuple[Rounds, Rounds]:
    """A race (A B B A) on a host that is slower by `jump` for five turns in ten or so, and drifts by `slope` a turn."""
    turns = heats, BLOCKS, 4
    slow = np.cumsum(rng.random(turns).reshape(heats, -1) < 0.2, axis=1).reshape(turns) % 2
    times = np.exp(jump * slow + slope * np.arange(4) + rng.normal(0, 0.02, turns))
    times[..., [0, 3]] *= ratio
    heat, block = (each.ravel() for each in np.indices((heats, BLOCKS, 2))[:2])
    first, second = (Rounds("race", times[..., places].ravel(), heat, block) for places in ([0, 3], [1, 2]))
    return first, second


@pytest.mark.parametrize(("jump", "slope"), [(0.3, 0.0), (0.0, 0.03), (0.3, 0.03)])
def test_intervals_cover_the_truth_on_a_host_that_changes_its_speed(jump: float, slope: float) -> None:
    """Wrong variant: only the ways out are compared, so that a drift is taken for a difference."""
    rng = np.random.default_rng(9)
    races = [host(rng, 5, TRUE, jump, slope) for _ in range(1000)]
    assert coverage([step_ratio(*each) for each in races]) == pytest.approx(0.95, abs=0.02)
    if slope:
        outs = [[way_out(first), way_out(second)] for first, second in races]
        assert coverage([step_ratio(*each) for each in outs]) < 0.93, "the wrong variant would not be noticed"


def way_out(rounds: Rounds) -> Rounds:
    """Every block's first round."""
    return Rounds(rounds.race, rounds.seconds[::2], rounds.heat[::2], rounds.block[::2])


def test_what_a_change_of_speed_disturbs_is_a_way_of_a_block() -> None:
    """Wrong variant: medians over blocks, of which twice as many are disturbed, so that heats differ by more."""
    rng = np.random.default_rng(10)
    ways, blocks = [], []
    for contender, baseline in [host(rng, 4, 1.0, jump=0.3, slope=0.0) for _ in range(300)]:
        ways.append(math.log(step_ratio(contender, baseline).estimate))
        logs = np.log(contender.seconds / baseline.seconds).reshape(4, BLOCKS, 2)
        blocks.append(np.median(logs.mean(axis=2), axis=1).mean())
    assert np.var(ways) < 0.5 * np.var(blocks)


def stopped(contender: Rounds, baseline: Rounds, narrow: float, beyond: int = HEATS_BEYOND) -> Interval:
    """The interval at which a race of at most these heats would end."""
    most = len(np.unique(contender.heat))
    for heats in range(LEAST_HEATS, most + 1):
        first, second = (each.only(np.arange(heats)) for each in (contender, baseline))
        if beyond == HEATS_BEYOND:
            enough = known_well_enough(first, second, narrow)
        else:
            enough = step_ratio(first, second).reach <= narrow
        if enough:
            break
    return step_ratio(first, second)


@pytest.mark.parametrize("narrow", [0.01, 0.02, 0.05])
def test_intervals_cover_the_truth_when_races_stop_as_soon_as_they_are_narrow(narrow: float) -> None:
    """Wrong variant: stopping at the first narrow interval, which is narrow by chance as often as not."""
    rng = np.random.default_rng(1)
    races = [race(rng, normal, heats=20) for _ in range(600)]
    ends = [stopped(*each, narrow) for each in races]
    assert coverage(ends) == pytest.approx(0.95, abs=0.02)
    if narrow == 0.02:
        assert len({each.units for each in ends}) > 5, "races stop at different times"
        assert coverage([stopped(*each, narrow, beyond=0) for each in races]) < 0.93, "the wrong variant would not show"


def test_stopping_favours_no_verdict() -> None:
    """Of identical contenders 5% are called different whenever races stop. Wrong variant: stopping once one is."""
    rng = np.random.default_rng(2)
    ends = [stopped(*race(rng, normal, heats=20, ratio=1.0), narrow=0.02) for _ in range(600)]
    outside = [each for each in ends if each.p < 0.05]
    assert len(outside) / len(ends) < 0.07
    assert 0.3 < np.mean([each.estimate > 1 for each in outside]) < 0.7


def test_moderated_intervals_cover_the_truth_in_tables_of_three_heats() -> None:
    """Wrong variant: one variance for all, where some contenders vary ten times as much as others."""
    rng = np.random.default_rng(3)

    def scaled(factor: float) -> Noise:
        return lambda rng, shape: factor * normal(rng, shape)

    covered = []
    for _ in range(40):
        factors = rng.lognormal(0, 0.7, 25)
        table = [step_ratio(*race(rng, scaled(factor), heats=3)) for factor in factors]
        covered.append(coverage(moderate(table)))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("blocks", [1, 2, 6])
def test_a_ratio_of_one_heat_beside_others_of_three_covers_the_truth(blocks: int) -> None:
    """As of contenders whose ratio was plain after a few rounds. Wrong variant: their blocks' interval, as it is."""
    rng = np.random.default_rng(blocks)
    moderated, alone = [], []
    for _ in range(300):
        contender, baseline = race(rng, normal, heats=1)
        kept = contender.block < blocks
        few = Rounds("race", contender.seconds[kept], contender.heat[kept], contender.block[kept])
        alone.append(step_ratio(few, baseline))
        moderated.append(moderate([step_ratio(*race(rng, normal, heats=3)) for _ in range(20)] + [alone[-1]])[-1])
    assert {each.basis for each in moderated} == {"a heat"}
    assert coverage(moderated) >= 0.94
    assert blocks == 1 or coverage(alone) < 0.92


def test_a_table_of_identical_contenders_holds_a_false_alarm_in_one_of_thirty_reports() -> None:
    """Wrong variant: every ratio is tested at 5% on its own, so that most tables of 40 hold one."""
    rng = np.random.default_rng(4)
    alarms, uncontrolled = 0, 0
    for _ in range(100):
        table = moderate([step_ratio(*race(rng, normal, heats=4, ratio=1.0)) for _ in range(40)])
        q_values = false_discovery([each.p for each in table]).tolist()
        verdicts = {of_ratio(ratio, q) for ratio, q in zip(table, q_values, strict=True)}
        alarms += bool(verdicts & {Speed.FASTER, Speed.SLOWER})
        uncontrolled += any(each.p < 0.05 for each in table)
    assert alarms <= 8  # of 100 at 3%, more once in 200 (binomial)
    assert uncontrolled > 60


def test_fewer_than_one_in_a_hundred_identical_pairs_are_called_different_beside_many_that_are() -> None:
    """Wrong variant: 5% of all findings may be false, which is more than 1% of the equal where a third is not."""
    rng = np.random.default_rng(6)
    called, called_at_5, found = 0, 0, 0
    for _ in range(150):
        ratios = [1.0] * 20 + [1.1] * 10
        table = moderate([step_ratio(*race(rng, normal, heats=4, ratio=ratio)) for ratio in ratios])
        q_values = false_discovery([each.p for each in table]).tolist()
        verdicts = [of_ratio(ratio, q) for ratio, q in zip(table, q_values, strict=True)]
        called += sum(each in (Speed.SLOWER, Speed.FASTER) for each in verdicts[:20])
        called_at_5 += sum(q <= 0.05 for q in q_values[:20])
        found += verdicts[20:].count(Speed.SLOWER)
    assert called <= 30 < called_at_5
    assert found > 1400


def test_one_more_identical_pair_stays_below_the_floor_in_95_of_100_runs() -> None:
    """Wrong variants: the largest ratio seen, or twice the spread, whatever the number of races."""
    rng = np.random.default_rng(5)
    for races in (1, 2, 3, 11, 24):
        heats = rng.normal(0, 0.04, (3000, races + 1, 4))
        runs = [[t_interval(each, "heats").exp() for each in run] for run in heats]
        within = [max(run[-1].estimate, 1 / run[-1].estimate) <= noise_floor(run[:-1]) for run in runs]
        assert 0.94 < np.mean(within) < 0.995


def test_the_floor_of_one_race_is_what_its_interval_reaches() -> None:
    """Wrong variant: the spread of one value, which is twelve times its size and can be nothing or a quarter."""
    narrow, single = Interval(1.004, 0.984, 1.023, 0.6, 5, "heats"), Interval(1.01, -math.inf, math.inf, 1, 1, "blocks")
    assert noise_floor([narrow]) == 1.023
    lucky = Interval(1.00005, 0.9915, 1.0087, 0.99, 7, "heats")
    assert noise_floor([lucky]) == pytest.approx(1.0087, abs=2e-4), "its spread would say 0.1%"
    assert noise_floor([single]) == pytest.approx(1.01 ** (12.706 * 1.4826), rel=1e-3)


def test_a_disturbed_race_does_not_raise_the_floor_of_all() -> None:
    """Wrong variant: the root mean square, which one race that took twice as long moves to 50%."""
    heats = np.random.default_rng(8).normal(0, 0.02, (20, 4))
    quiet, mirrored = ([t_interval(sign * each, "heats").exp() for each in heats] for sign in (1, -1))
    assert noise_floor([*quiet, Interval(2.0, 1.9, 2.1, 0.0, 4, "heats")]) < 1.05
    assert noise_floor(mirrored) == pytest.approx(noise_floor(quiet))


def test_no_verdict_undercuts_the_floor() -> None:
    """Wrong variants: the floor is stated and not heeded; or equivalence is found by a run that could not see it."""
    different, same = Interval(1.03, 1.02, 1.04, 1e-9, 9, "heats"), Interval(1.0, 0.99, 1.01, 0.9, 9, "heats")
    assert of_ratio(different, 1e-9, floor=1.02) == Speed.SLOWER
    assert of_ratio(different, 1e-9, floor=1.031) == Speed.EQUIVALENT
    assert of_ratio(different, 1e-9, floor=1.06) == Speed.UNDECIDED
    assert of_ratio(same, 1.0, floor=MARGIN) == Speed.EQUIVALENT
    assert of_ratio(same, 1.0, floor=MARGIN + 0.001) == Speed.UNDECIDED
    faster = Interval(1 / 1.03, 1 / 1.04, 1 / 1.02, 1e-9, 9, "heats")
    assert of_ratio(faster, 1e-9, floor=1.02) == Speed.FASTER


def test_the_share_of_slower_blocks_is_an_effect_size() -> None:
    """Wrong variant: rounds compared without their blocks, so that drift hides every difference."""
    rng = np.random.default_rng(7)
    heat, block = (each.ravel() for each in np.indices((4, BLOCKS, 2))[:2])
    drift = np.exp(np.linspace(0, 3, len(heat) // 2).repeat(2))
    seconds = drift * np.exp(rng.normal(0, 0.001, len(heat)))
    usual, slower = Rounds("race", seconds, heat, block), Rounds("race", seconds * 1.02, heat, block)
    assert slower_share(slower, usual) == 1.0
    assert slower_share(usual, slower) == 0.0
    assert slower_share(usual, usual) == 0.5
