"""What must be true of dot-product attention by blocks, which never has all of its scores at once."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.dot_product_attention_cases import (
    FULLY_MASKED,
    HEADS,
    SMALL,
    SMALL_MASKED,
    Case,
    cases,
    exact_gradients,
    filled,
    gradients,
    output_of,
    rounding_of_blocks,
    unseen_by_all,
)
from suites.properties.dot_product_attention_memory import largest_intermediate
from suites.properties.numerics import assert_within
from suites.subjects import Subject

CANCELLING = Case(
    query=np.ones((1, 1, 1, 1)),
    keys=np.array([0.0, -0.5]).reshape(1, 2, 1, 1),
    values=np.array([0.625, -1.0]).reshape(1, 2, 1, 1),
)
"""Values that all but cancel, so that little is left beside what is rounded on the way."""


@example(case=HEADS, block=2)
@example(case=CANCELLING, block=2)
@example(case=SMALL.but(keys=16 * SMALL.keys), block=1)
@example(case=SMALL.but(values=SMALL.values[..., :1]), block=2)
@given(case=cases(masked=True, empty=True, scaled=True, causal=True, offset=True, sized=True), block=st.integers(1, 3))
def test_blockwise_follows_the_formula(subject: Subject, case: Case, block: int) -> None:
    """By blocks of any size, which need not divide S, the output is that of the formula, up to rounding in float32."""
    bound = rounding_of_blocks(subject, case, block)
    output = output_of(subject, case, by="blockwise_attention", block=block)
    assert_within(output, case.truth.output, bound, f"output by blocks of {block}")


def test_blockwise_padding_may_hold_nan(subject: Subject) -> None:
    """By blocks, NaN where no query attends and rows masked throughout reach neither output nor gradient."""
    for case in (SMALL_MASKED, FULLY_MASKED, SMALL.but(causal=True)):
        poisoned = filled(case, unseen_by_all(case), np.nan)
        output = output_of(subject, poisoned, by="blockwise_attention", block=2)
        bound = rounding_of_blocks(subject, case, 2)
        assert_within(output, case.truth.output, bound, "output by blocks with NaN in the padding")
        for name, found in gradients(subject, poisoned, by="blockwise_attention", block=2).items():
            check(np.isfinite(found).all(), f"gradient to the {name}: {found.tolist()}")


@pytest.mark.structure
@example(case=HEADS, block=2)
@example(case=SMALL, block=2)  # nothing is hidden
@given(case=cases(masked=True, empty=True, scaled=True, causal=True, offset=True, sized=True), block=st.integers(1, 3))
def test_blockwise_gradient_follows_the_formula(subject: Subject, case: Case, block: int) -> None:
    """The gradients by blocks are those of the formula, up to rounding in the widest dtype there is."""
    for what, found, truth, bound in exact_gradients(subject, case, by="blockwise_attention", block=block):
        assert_within(found, truth, bound, f"{what} by blocks of {block}")


@pytest.mark.structure
def test_blockwise_memory_grows_linearly(subject: Subject) -> None:
    """No tensor on the way to the output by blocks, or to its gradient, has more than a multiple of T + S elements."""
    short, long = (largest_intermediate(subject, length, block=16) for length in (128, 256))
    check(long <= 2 * short, f"the largest tensor has {short} elements at T = S = 128, and {long} at 256")
