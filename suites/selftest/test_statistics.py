"""The report's statistics: against scipy, against what was planted, and against the mistakes that are easily made."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.intervals import (
    Interval,
    Rounds,
    false_discovery,
    moderate,
    slower_share,
    step_ratio,
    step_time,
    t_interval,
)

HEATS, BLOCKS = 4, 3
finite = st.floats(-1e3, 1e3)
samples = st.lists(finite, min_size=2, max_size=12).filter(lambda values: np.std(values) > 1e-3)
quick = settings(max_examples=60, deadline=None)


def race(rng: np.random.Generator, ratio: float, noise: float = 0.01, drift: float = 1.0) -> tuple[Rounds, Rounds]:
    """Two contenders in A B B A blocks: noise of heat, block and round, and a drift that both share."""
    times: tuple[list[float], list[float]] = [], []
    for _ in range(HEATS):
        level = rng.normal(0, 0.02, size=2)
        for _ in range(BLOCKS):
            start, slope = rng.normal(0, 0.3), rng.normal(0, 0.2)
            for turn, who in enumerate((0, 1, 1, 0)):
                late = level[who] + drift * (start + slope * turn) + rng.normal(0, noise)
                times[who].append((ratio if who == 0 else 1.0) * math.exp(late))
    heat, block = np.repeat(np.arange(HEATS), BLOCKS * 2), np.tile(np.repeat(np.arange(BLOCKS), 2), HEATS)
    return Rounds.of("race", times[0], heat, block), Rounds.of("race", times[1], heat, block)


def close(first: Interval, second: Interval) -> bool:
    """Whether two intervals agree to rounding."""
    pairs = ((first.estimate, second.estimate), (first.low, second.low), (first.high, second.high), (first.p, second.p))
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in pairs)


@quick
@given(samples)
def test_t_interval_is_that_of_scipy(values: list[float]) -> None:
    """Wrong variant: the population's standard deviation (ddof 0), or a normal quantile in place of Student's."""
    ours, theirs = t_interval(values, "seeds"), stats.ttest_1samp(values, 0.0)
    interval = theirs.confidence_interval(0.95)
    assert ours.estimate == pytest.approx(np.mean(values), abs=1e-9)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_false_discovery_control_is_that_of_scipy(p_values: list[float]) -> None:
    """Wrong variant: p * n / rank without the running minimum, or ranks counted from the wrong end."""
    np.testing.assert_allclose(false_discovery(p_values), stats.false_discovery_control(p_values), rtol=1e-12)


@pytest.mark.parametrize("values", [[], [0.3]])
def test_too_few_values_give_an_estimate_without_an_interval(values: list[float]) -> None:
    """Wrong variant: an interval of width zero around a single value, which would make any difference significant."""
    interval = t_interval(values, "seeds")
    assert not interval.known
    assert interval.p == 1.0
    assert interval.units == len(values)


@quick
@given(st.integers(0, 10_000), st.floats(0.2, 5.0))
def test_ratio_scales_with_the_contender_and_inverts_when_the_two_are_exchanged(seed: int, factor: float) -> None:
    """Wrong variant: arithmetic means of ratios, which do not invert; or differences in seconds, which do not scale."""
    contender, baseline = race(np.random.default_rng(seed), 1.3)
    ratio = step_ratio(contender, baseline)
    scaled = step_ratio(Rounds("race", contender.seconds * factor, contender.heat, contender.block), baseline)
    assert close(
        scaled, Interval(ratio.estimate * factor, ratio.low * factor, ratio.high * factor, scaled.p, 4, "heats")
    )
    inverse = Interval(1 / ratio.estimate, 1 / ratio.high, 1 / ratio.low, ratio.p, 4, "heats")
    assert close(step_ratio(baseline, contender), inverse)


@quick
@given(st.integers(0, 10_000))
def test_ratio_does_not_depend_on_the_order_in_which_blocks_are_listed(seed: int) -> None:
    """Wrong variant: pairing rounds by their place in the list in place of heat and block."""
    contender, baseline = race(np.random.default_rng(seed), 1.1)
    firsts = 2 * np.random.default_rng(seed + 1).permutation(len(contender.seconds) // 2)
    order = np.stack([firsts, firsts + 1], axis=1).ravel()
    shuffled = Rounds("race", contender.seconds[order], contender.heat[order], contender.block[order])
    assert close(step_ratio(shuffled, baseline), step_ratio(contender, baseline))
    assert close(step_time(shuffled), step_time(contender))


@quick
@given(st.integers(0, 10_000))
def test_drift_that_is_linear_over_a_block_leaves_the_ratio_alone(seed: int) -> None:
    """Wrong variant: medians over all rounds of each contender, or of the ways out only."""
    contender, baseline = race(np.random.default_rng(seed), 1.2, noise=0.0)
    steady = race(np.random.default_rng(seed), 1.2, noise=0.0, drift=0.0)
    assert close(step_ratio(contender, baseline), step_ratio(*steady))


def coverage(units_are_blocks: bool, races: int = 1500) -> float:
    """The share of intervals that hold the true ratio, in races whose processes differ by 2%."""
    rng, held = np.random.default_rng(20261122), 0
    for _ in range(races):
        contender, baseline = race(rng, 1.05)
        if units_are_blocks:  # the wrong variant: every block is made a heat of its own
            one_heat_per_block = [contender.heat * BLOCKS + contender.block, baseline.heat * BLOCKS + baseline.block]
            contender = Rounds("race", contender.seconds, one_heat_per_block[0], contender.block)
            baseline = Rounds("race", baseline.seconds, one_heat_per_block[1], baseline.block)
        interval = step_ratio(contender, baseline)
        held += interval.low <= 1.05 <= interval.high
    return held / races


def test_intervals_hold_the_true_ratio_as_often_as_they_promise() -> None:
    """Bounds: the central 1 - 1e-6 of the binomial distribution at 95%. Wrong variant: blocks taken as independent."""
    low, high = stats.binom.interval(1 - 1e-6, 1500, 0.95)
    assert low / 1500 <= coverage(units_are_blocks=False) <= high / 1500
    assert coverage(units_are_blocks=True) < low / 1500


def test_intervals_of_the_time_hold_the_true_time_as_often_as_they_promise() -> None:
    """Wrong variant: an interval over rounds where there are several heats."""
    rng, held, races = np.random.default_rng(5), 0, 1500
    for _ in range(races):
        level = np.repeat(rng.normal(0, 0.05, size=5), 9)
        rounds = Rounds.of(
            "race", 0.01 * np.exp(level + rng.normal(0, 0.01, size=45)), np.repeat(np.arange(5), 9), np.zeros(45)
        )
        interval = step_time(rounds)
        held += interval.low <= 0.01 <= interval.high
    low, high = stats.binom.interval(1 - 1e-6, races, 0.95)
    assert low <= held <= high


@pytest.mark.parametrize("count", [6, 9, 25, 60])
def test_one_heat_gives_an_interval_of_the_median_that_is_wide_enough(count: int) -> None:
    """Distribution-free, so coverage is at least 95%. Wrong variant: order statistics one rank too far inside."""
    rng, races = np.random.default_rng(count), 2000
    held = 0
    for _ in range(races):
        interval = step_time(one_heat(rng.exponential(size=count)))
        held += interval.low <= math.log(2) <= interval.high
    assert held >= stats.binom.ppf(1e-6, races, 0.95)
    assert interval.basis == "rounds"
    inside = np.sort(rng.exponential(size=count))
    rank = int(np.searchsorted(inside, step_time(one_heat(inside)).low)) + 1  # counted from 1
    assert stats.binom.cdf(rank - 1, count, 0.5) <= 0.025 < stats.binom.cdf(rank, count, 0.5)


def one_heat(seconds: NDArray[np.float64]) -> Rounds:
    """Rounds of a single process."""
    return Rounds.of("race", seconds, np.zeros(len(seconds)), np.zeros(len(seconds)))


def test_one_heat_falls_back_to_blocks_and_says_so() -> None:
    """Wrong variant: the same words for an interval that does not hold what processes differ by."""
    contender, baseline = (each.only([0]) for each in race(np.random.default_rng(1), 1.2))
    interval = step_ratio(contender, baseline)
    assert (interval.basis, interval.units) == ("blocks", 2 * BLOCKS), "the ways of its blocks"
    assert interval.known


@pytest.mark.parametrize("compare", [step_ratio, slower_share])
def test_contenders_of_different_races_are_not_compared(compare: Callable[[Rounds, Rounds], object]) -> None:
    """Wrong variant: pairing block 0 of one race with block 0 of another, which had other weather."""
    contender, baseline = race(np.random.default_rng(1), 1.2)
    elsewhere = Rounds("another race", baseline.seconds, baseline.heat, baseline.block)
    with pytest.raises(ValueError, match="what took no turns is not compared"):
        compare(contender, elsewhere)


def test_unusable_rounds_are_missing_and_not_zero() -> None:
    """Wrong variant: a null in the file read as 0 s, whose logarithm spoils the whole contender."""
    rounds = Rounds.of("race", [0.01, None, 0.012, math.inf, 0.0, -1.0], [0] * 6, [0] * 6)
    assert rounds.seconds.tolist() == [0.01, 0.012]
    assert step_time(rounds).estimate == pytest.approx(0.011)
    assert math.isnan(step_time(Rounds.of("race", [], [], [])).estimate)


def heats_of_many_races(rng: np.random.Generator, races: int, heats: int) -> list[Interval]:
    """Plain intervals of races whose processes vary differently: by 2% or so, inverse chi-square with 5 degrees."""
    spread = 0.02 * np.sqrt(5 / rng.chisquare(5, size=races))
    return [t_interval(math.log(1.05) + rng.normal(0, each, size=heats), "heats").exp() for each in spread]


def test_moderated_intervals_are_honest_and_much_narrower() -> None:
    """Bounds as above. Wrong variants: one pooled variance for all races; the prior's degrees of freedom not added."""
    rng, races, runs = np.random.default_rng(11), 30, 80
    plain = [heats_of_many_races(rng, races, heats=3) for _ in range(runs)]
    moderated = [interval for run in plain for interval in moderate(run)]
    held = sum(interval.low <= 1.05 <= interval.high for interval in moderated)
    low, high = stats.binom.interval(1 - 1e-6, races * runs, 0.95)
    assert low <= held <= high
    found = sum(interval.low > 1 for interval in moderated), sum(interval.low > 1 for run in plain for interval in run)
    assert found[0] > 1.5 * found[1]  # a slowdown of 5% is seen more often
    estimates = [interval.estimate for run in plain for interval in run]
    np.testing.assert_allclose([interval.estimate for interval in moderated], estimates, rtol=1e-12)


def test_few_ratios_and_exact_ones_are_not_moderated() -> None:
    """Wrong variant: a prior learnt from three ratios, or lent to a ratio that had no noise at all."""
    rng = np.random.default_rng(12)
    blocks = t_interval([0.1, 0.2, 0.4], "blocks").exp()
    few = [*heats_of_many_races(rng, 9, heats=3), blocks]
    assert moderate(few) == few
    exact = t_interval([0.1, 0.1], "heats").exp()
    assert moderate([*heats_of_many_races(rng, 12, heats=3), exact])[-1] == exact


def test_a_ratio_of_one_heat_is_as_uncertain_as_its_blocks_and_as_other_heats_at_least() -> None:
    """Wrong variants: the narrower of the two; a ratio of a single block without an interval."""
    rng = np.random.default_rng(13)
    others = heats_of_many_races(rng, 12, heats=3)
    alike, unlike, single = (t_interval(each, "blocks").exp() for each in ([0.1, 0.1001], [0.1, 0.9, 0.5], [6.0]))
    found = moderate([*others, alike, unlike, single])[-3:]
    assert [each.estimate for each in found] == [alike.estimate, unlike.estimate, single.estimate]
    assert {each.basis for each in found} == {"a heat"}
    assert found[0].high / found[0].low > 1.02 > alike.high / alike.low
    assert found[1].reach > 5 * found[0].reach
    assert found[0].reach < found[2].reach < 1


def test_a_plain_ratio_of_one_heat_is_found_beside_others_of_two_that_differ_much_in_their_noise() -> None:
    """Wrong variant: Student's t with the prior's one degree of freedom, by which 1/18 of the time is no difference."""
    rng = np.random.default_rng(14)
    spreads = np.exp(rng.normal(math.log(0.02), 1.0, 30))  # from 0.3% to 15%, as on a machine that others use
    others = [t_interval(rng.normal(0.1, spread, 2), "heats").exp() for spread in spreads]
    plain = t_interval([-2.9, -2.88, -2.92, -2.9], "blocks").exp()
    found = moderate([*others, plain])[-1]
    assert found.basis == "a heat"
    assert found.high < 0.1
    assert found.high / found.low > 1.05, "and no narrower than the others' heats"
    assert found.p < 1e-6
