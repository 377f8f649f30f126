"""How hard a property looked: examples, what was discarded, and the worst error as a share of its bound."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st

from suites.properties import numerics
from suites.properties.effort import counted

DRAWN = settings(
    max_examples=20,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def test_examples_and_discarded_ones_are_counted() -> None:
    """Wrong variants: explicit examples left out; what was discarded counted as tried."""
    tried: list[int] = []

    @DRAWN
    @example(-1)
    @given(st.integers(0, 1000))
    def property_(number: int) -> None:
        assume(number % 2 == 1)
        tried.append(number)

    with counted(property_) as effort:
        property_()
    assert effort.examples == len(tried) > 20
    assert effort.discarded > 0


def test_shrinking_looks_for_nothing_new() -> None:
    """Wrong variant: the hundreds of smaller examples on which a failure is tried again."""

    @DRAWN
    @given(st.integers(0, 1000))
    def property_(number: int) -> None:
        assert number < 10

    with counted(property_) as effort, pytest.raises(AssertionError):
        property_()
    assert 0 < effort.examples <= 20


def test_what_draws_nothing_was_tried_once() -> None:
    with counted(test_what_draws_nothing_was_tried_once) as effort:
        pass
    assert (effort.examples, effort.discarded, effort.worst_error) == (1, 0, None)


@pytest.mark.parametrize(
    ("actual", "bound", "expected"),
    [
        ([1.0, 2.1], [0.1, 0.4], 0.25),
        ([1.0, 2.0], 0.0, 0.0),  # wrong variant: 0/0
        ([1.0, 2.1], [0.0, 0.2], 0.5),
        ([1.0, 2.5], [0.1, 0.0], np.inf),
        ([1.0, np.nan], 0.1, np.inf),  # wrong variant: the largest of what is comparable
        ([1.0, 2.5], np.inf, 0.0),
    ],
)
def test_the_worst_error_is_a_share_of_its_bound(
    actual: list[float], bound: float | list[float], expected: float
) -> None:
    with counted(None) as effort:
        try:
            numerics.assert_within(np.array(actual), np.array([1.0, 2.0]), bound, "numbers")
        except AssertionError:
            assert expected > 1
        numerics.assert_within(np.zeros(0), np.zeros(0), 0.0, "nothing")
    assert effort.worst_error == pytest.approx(expected)


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (2.5, 2.0, "loss: got 2.5, expected 2 +- 0.1"),  # wrong: at [] got 2.5; 1 of 1 elements
        ([2.5, 2.0], [2.0, 2.0], "loss: at [0] got 2.5, expected 2 +- 0.1; 1 of 2 elements are outside the bound"),
        ([[2.0, 9.0]], [[2.0, 2.0]], "loss: at [0, 1] got 9, expected 2 +- 0.1; 1 of 2 elements are outside the bound"),
    ],
)
def test_a_wrong_number_is_named_without_a_place_and_a_wrong_element_with_it(
    actual: Any, expected: Any, message: str
) -> None:
    with pytest.raises(AssertionError) as failure:
        numerics.assert_within(np.array(actual), np.array(expected), 0.1, "loss")
    assert str(failure.value) == message
