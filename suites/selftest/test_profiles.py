"""Arms over several conditions, against counts by hand."""

import math

import pytest

from reports.statistics.profiles import improvement, profile


def test_probability_of_improvement() -> None:
    """Wrong variants: a mean over all runs, in which the condition with most of them speaks; ties as wins."""
    arm = {"a": [1.0, 1.0], "b": [5.0] * 8}
    baseline = {"a": [2.0, 3.0], "b": [4.0, 5.0, 5.0, 5.0]}
    found = improvement(arm, baseline, lower_is_better=True)
    assert found is not None
    assert found.share == pytest.approx((1.0 + 0.5 * 0.75) / 2)
    assert found.conditions == 2
    assert 0.5 <= found.low <= found.share <= found.high <= 0.75
    turned = improvement(arm, baseline, lower_is_better=False)
    assert turned is not None
    assert turned.share == pytest.approx(1 - found.share)
    assert improvement({"a": [1.0]}, baseline, lower_is_better=True) is None


def test_a_run_that_was_lost_is_worse_than_any() -> None:
    """Wrong variant: NaN compares as false, and so as no better and no worse."""
    arm, baseline = {"a": [1.0], "b": [1.0]}, {"a": [math.nan], "b": [math.inf]}
    found = improvement(arm, baseline, lower_is_better=True)
    assert found is not None
    assert found.share == 1.0
    assert profile({"a": [1.0, math.nan], "b": [1.0, 1.0]}, [0.0, 1.0, 2.0], lower_is_better=True)[0] == [0, 0.75, 0.75]


def test_performance_profile() -> None:
    shares, bands = profile({"a": [1.0, 3.0], "b": [3.0]}, [0.5, 1.0, 3.0], lower_is_better=True)
    assert shares == [0.0, 0.25, 1.0]
    assert bands[-1] == (1.0, 1.0)
    assert bands[1] == (0.0, 0.5)
    assert profile({"a": [1.0, 3.0]}, [2.0], lower_is_better=False)[0] == [0.5]
