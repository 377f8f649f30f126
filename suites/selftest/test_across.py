"""The statistics of sides that took no turns: intervals that cover the truth, few differences that are not there."""

import math

import numpy as np
import pytest

from reports.statistics import across
from reports.statistics.across import Estimate, There
from reports.statistics.intervals import Interval, Rounds, step_ratio, t_interval

HEATS, ROWS, PAIRS = 4, 20, 150
SPREAD = 0.03
"""Of a heat's logarithm."""


def side(rng: np.random.Generator, logs: list[float], spread: float = SPREAD) -> list[Interval]:
    """What a side measures: each row in a few heats."""
    return [t_interval(log + rng.normal(0, spread, HEATS), "heats").exp() for log in logs]


def test_intervals_cover_the_truth_and_equal_sides_do_not_differ() -> None:
    """Wrong variants: the interval of one side alone, errors added as if they were one's own, floors taken off."""
    rng = np.random.default_rng(0)
    covered, called, found = 0, 0, 0
    for _ in range(PAIRS):
        logs = rng.normal(-4, 1, ROWS).tolist()
        slower = [math.log(1.5) * (row % 2) for row in range(ROWS)]  # every second row is
        a = across.estimates(side(rng, logs))
        b = across.estimates(side(rng, [log + more for log, more in zip(logs, slower, strict=True)]))
        ratios = [across.ratio(y, x, (1.0, 1.0)) for x, y in zip(a, b, strict=True) if x and y]
        covered += sum(each.low <= math.exp(more) <= each.high for each, more in zip(ratios, slower, strict=True))
        verdicts = [verdict for verdict, _ in across.verdicts(ratios)]
        called += sum(verdict in (There.FASTER, There.SLOWER) for verdict in verdicts[::2])
        found += sum(verdict is There.SLOWER for verdict in verdicts[1::2])
    assert covered / (PAIRS * ROWS) == pytest.approx(0.95, abs=0.012)
    assert called / (PAIRS * ROWS / 2) < 0.03
    assert found == PAIRS * ROWS / 2


def test_a_ratio_of_sides_is_never_as_certain_as_one_of_a_race() -> None:
    """Wrong variant: floors left out, so that what drifts between two runs is called a difference."""
    rng = np.random.default_rng(1)
    heat, block = np.repeat(np.arange(6), 4), np.tile([0, 0, 1, 1], 6)
    drift = rng.normal(0, 0.05, 6)[heat]
    a, b = (Rounds.of("r", np.exp(drift + rng.normal(0, 0.002, 24)), heat, block) for _ in range(2))
    inside = step_ratio(a, b)
    outside = across.ratio(Estimate(0.0, SPREAD, 5), Estimate(0.0, SPREAD, 5), (1.02, 1.03))
    assert math.log(outside.high) > math.log(1.02 * 1.03) + 1.9 * SPREAD
    assert outside.reach > inside.reach
    ((verdict, _),) = across.verdicts([across.ratio(Estimate(0.04, 1e-4, 50), Estimate(0.0, 1e-4, 50), (1.02, 1.03))])
    assert verdict is There.ALIKE
    ((verdict, _),) = across.verdicts([across.ratio(Estimate(0.04, 1e-4, 50), Estimate(0.0, 1e-4, 50), (1.0, 1.0))])
    assert verdict is There.SLOWER


def test_one_heat_knows_of_processes_what_the_others_of_its_side_show() -> None:
    """Wrong variants: the interval over rounds, which leaves out how processes differ; one heat trusted like four."""
    rng = np.random.default_rng(2)
    lone = Interval(0.01, 0.00999, 0.01001, 1.0, 100, "rounds")
    several = side(rng, [-4.0] * 12)
    *_, alone = across.estimates([*several, lone])
    assert alone is not None
    assert SPREAD / 1.6 < alone.error < SPREAD * 1.6
    (unknown,) = across.estimates([lone])
    assert unknown is not None
    assert not across.ratio(unknown, alone, (1.0, 1.0)).known
    ((verdict, _),) = across.verdicts([across.ratio(unknown, alone, (1.0, 1.0))])
    assert verdict is There.UNKNOWN


def test_what_is_the_same_in_every_heat_has_no_error_and_what_is_no_number_no_estimate() -> None:
    """Wrong variant: a logarithm of zero, or a division by it."""
    same = t_interval([math.log(4096.0)] * 3, "heats").exp()
    nothing = t_interval([], "heats").exp()
    found, none = across.estimates([same, nothing])
    assert none is None
    assert found is not None
    assert found.log == pytest.approx(math.log(4096))
    assert found.error == 0
    level = across.ratio(found, found, (1.0, 1.0))
    assert (level.low, level.high, level.p) == (1.0, 1.0, 1.0)
    doubled = across.ratio(Estimate(math.log(8192), 0.0, 1.0), found, (1.05, 1.0))
    assert doubled.p == 0.0
    assert doubled.low == pytest.approx(2 / 1.05)


def test_a_profile_is_of_one_side_and_what_failed_is_never_within() -> None:
    """Wrong variants: failures left out of the count; ends of intervals mixed up."""
    ratios = [Interval(0.5, 0.4, 0.6, 1.0, 2, "sides"), Interval(2.0, 1.0, 4.0, 1.0, 2, "sides"), None, None]
    shares, bands = across.within(ratios, [0.45, 0.5, 1.0, 2.0, 1000.0])
    assert shares == [0.0, 0.25, 0.25, 0.5, 0.5]
    assert bands == [(0.0, 0.25), (0.0, 0.25), (0.25, 0.5), (0.25, 0.5), (0.5, 0.5)]


def test_nothing_to_judge_is_no_verdict() -> None:
    """Wrong variant: false-discovery control of an empty table."""
    assert across.verdicts([]) == []
    assert across.estimates([]) == []
