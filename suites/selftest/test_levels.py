"""Changes of level in series of runs: how often they are found, dated right, and called where there is none."""

import math

import numpy as np
import pytest

from reports.statistics.intervals import Floats
from reports.statistics.levels import LEAST, SHORTEST, Series, find

RUNS = 50


def table(seed: int, *, tails: float = 0.0, alike: float = 0.0) -> tuple[list[Floats], Floats]:
    """200 series without a change, and the standard deviation of each: of several levels of noise, as benchmarks are.

    Args:
        seed: of the numbers.
        tails: degrees of freedom of Student's t, or 0 for normal noise.
        alike: the correlation of neighbouring runs.
    """
    rng = np.random.default_rng(seed)
    spreads = 0.02 * np.exp(rng.normal(0, 0.4, 200))
    noise = rng.standard_t(tails, (200, RUNS)) * math.sqrt(1 - 2 / tails) if tails else rng.normal(0, 1, (200, RUNS))
    for run in range(1, RUNS):
        noise[:, run] = alike * noise[:, run - 1] + math.sqrt(1 - alike**2) * noise[:, run]
    return list(noise * spreads[:, None]), spreads


def series(values: Floats, floor: float = 1.0) -> Series:
    """A series of which no run knows its own error."""
    return Series(values, np.full(len(values), np.nan), floor, "kin")


@pytest.mark.parametrize("noise", [{}, {"tails": 4.0}, {"alike": 0.3}], ids=["normal", "heavy", "alike"])
def test_tables_without_a_change_show_none(noise: dict[str, float]) -> None:
    """At most 5% of tables of 200 series have one: 3 of 20, by chance, once in 13.

    Wrong variants: p-values without a correction for the places looked at, or for the number of series; a variance as
    if neighbours were independent.
    """
    wrong = sum(any(each.changes for each in find([series(v) for v in table(seed, **noise)[0]])) for seed in range(20))
    assert wrong <= 2


def test_what_one_series_alone_shows_may_be_chance_among_many() -> None:
    """Wrong variant: no control over all series, so that the longer a page, the more it shows."""
    values, spreads = table(12)
    crowd = [Series(each, np.full(RUNS, np.nan), 1.0, number) for number, each in enumerate(values[1:])]
    apart = 0
    for size in np.linspace(0.5, 3.0, 26):
        shifted = values[0] + np.where(np.arange(RUNS) < RUNS // 2, 0.0, size * spreads[0])
        alone, first, *_ = find([series(shifted)]) + find([series(shifted), *crowd])
        apart += bool(alone.changes) and not first.changes
        assert not (first.changes and not alone.changes)
    assert apart >= 2


def test_planted_changes_are_found_and_dated() -> None:
    """Of three half-widths of the noise band, nearly all to the very run.

    Wrong variants: off by one; the old level's last run; the sign lost.
    """
    found = exact = false = planted = 0
    for seed in range(3):
        values, spreads = table(100 + seed)
        rng = np.random.default_rng(seed)
        places = {number: int(rng.integers(LEAST, RUNS - LEAST)) for number in range(0, 200, 10)}
        for number, place in places.items():
            values[number][place:] += 3 * 1.96 * spreads[number]
        for number, levels in enumerate(find([series(each) for each in values])):
            if number in places:
                planted += 1
                found += any(change.ratio.estimate > 1 for change in levels.changes)
                exact += any(change.place == places[number] for change in levels.changes)
                false += max(0, len(levels.changes) - 1)
            else:
                false += len(levels.changes)
    assert planted == 60
    assert found >= 59
    assert exact >= 58
    assert false <= 2


def test_a_change_and_its_contrary_are_both_found() -> None:
    """Wrong variant: a single split, in which a rise and a fall close to each other cancel."""
    values, spreads = table(7)
    values[0][20:26] += 8 * spreads[0]
    places = [change.place for change in find([series(each) for each in values])[0].changes]
    assert places == [20, 26]


def test_bad_nights_are_no_change_and_hide_none() -> None:
    """Wrong variants: a single wild run, at the end too, as a level; its square in the noise, in which all drowns."""
    values, spreads = table(8)
    for number in range(1, 100):
        values[number][(number * 7) % RUNS] += 30 * spreads[number]
    values[0][30] += 60 * spreads[0]
    values[0][20:] += 8 * spreads[0]
    levels = find([series(each) for each in values])
    assert [number for number, each in enumerate(levels) if each.changes] == [0]
    assert [change.place for change in levels[0].changes] == [20]


def test_what_is_below_the_floor_is_none() -> None:
    """Wrong variants: significant, so it is told; one below it that splits another which is above."""
    values, _ = table(9)
    values = [each / 10 for each in values]
    values[0][20:] += math.log(1.04)
    values[1][20:] += math.log(1.04)
    values[1][35:] += math.log(1.20)
    levels = find([series(each, floor=1.05) for each in values])
    assert [number for number, each in enumerate(levels) if each.changes] == [1]
    assert [change.place for change in levels[1].changes] == [35]


def test_levels_of_too_few_runs_are_none_and_a_few_will_do() -> None:
    """Wrong variants: two runs as a level; a history that needs a month to tell anything."""
    values = [each[:10].copy() for each in table(10)[0]]
    values[0][-SHORTEST + 1 :] += 1.0
    values[1][-SHORTEST:] += 1.0
    levels = find([series(each) for each in values] + [series(np.zeros(LEAST - 1)), series(np.zeros(0))])
    assert [number for number, each in enumerate(levels) if each.changes] == [1]
    assert math.isnan(levels[-2].spread)


def test_the_same_to_the_byte_is_steady_until_it_is_not() -> None:
    """As memory is. Wrong variants: a division by no noise; a page of memory more as a change."""
    values = [np.full(RUNS, math.log(6e8)) for _ in range(20)]
    values[0][25:] += math.log(1.3)
    values[1][25:] += 1e-5
    errors = np.full(RUNS, 4096 / 6e8)
    levels = find([Series(each, errors, 1.05, "memory") for each in values])
    assert [[change.place for change in each.changes] for each in levels[:3]] == [[25], [], []]


def test_the_same_runs_give_the_same_changes_in_any_order() -> None:
    """Wrong variant: numbers drawn at random."""
    values, spreads = table(11)
    for number in range(0, 200, 20):
        values[number][25:] += 6 * spreads[number]
    once = find([series(each) for each in values])
    turned = find([series(each) for each in values[::-1]])[::-1]
    assert [each.changes for each in once] == [each.changes for each in find([series(v) for v in values])]
    assert [[c.place for c in each.changes] for each in once] == [[c.place for c in each.changes] for each in turned]
