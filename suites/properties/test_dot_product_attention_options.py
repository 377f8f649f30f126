"""What must be true of dot-product attention where several options come together, or come as what they may be."""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.domain import turn
from suites.properties.dot_product_attention_cases import (
    HEADS,
    INPUTS,
    SMALL,
    SQUARE,
    Case,
    attend,
    cases,
    dtype_of,
    exact_gradients,
    output_of,
    rounding,
    widest,
)
from suites.properties.dot_product_attention_layers import function_of, functions_of, quiet
from suites.properties.numerics import assert_within
from suites.properties.oracles import dot_product_attention as oracle
from suites.properties.tracing import traced
from suites.subjects import Subject

ANY = st.one_of(
    *(
        cases(masked=masked, empty=True, causal=causal, offset=causal, scaled=scaled)
        for masked, causal, scaled in itertools.product((False, True), repeat=3)
    )
)
"""With any of the options that a function may have."""


def attends(case: Case) -> bool:
    """Whether every query has something to attend to; not all implementations give zeros where one has not."""
    return bool(case.attended.any(-1).all())


@example(case=HEADS.but(causal=True, offset=1))
@example(case=SMALL.but(causal=True, offset=-1, scale=2.0))
@given(case=ANY)
def test_options_together_follow_the_formula(subject: Subject, case: Case) -> None:
    """Mask, causality, offset and scale together give the output and the weights of the formula, up to rounding."""
    output, weights = attend(subject, case, return_weights=True)
    bound = rounding(subject, case)
    assert_within(output, case.truth.output, bound.output, "output")
    assert_within(weights, case.truth.weights, bound.weights, "weights")
    check(dtype_of(weights) == "float32", f"weights in {dtype_of(weights)}, expected float32")


@pytest.mark.structure
@example(case=HEADS.but(causal=True, offset=1))
@given(case=ANY.filter(attends))
def test_gradient_with_options_follows_the_formula(subject: Subject, case: Case) -> None:
    """The gradients with mask, causality, offset and scale together are those of the formula, up to rounding."""
    for what, found, truth, bound in exact_gradients(subject, case):
        assert_within(found, truth, bound, what)


@pytest.mark.structure
@given(wide=st.sampled_from(INPUTS), narrow=st.sampled_from(("float16", "bfloat16")))
def test_common_dtype_comes_out(subject: Subject, wide: str, narrow: str) -> None:
    """Where one input is float32 and the others are not, the output is, and nothing is rounded to their dtype."""
    case = HEADS.but(**{wide: getattr(HEADS, wide) * (1 + 2.0**-12)})
    tensors = {name: ops.cast(getattr(case, name), "float32" if name == wide else narrow) for name in INPUTS}
    for by in functions_of(subject):
        found = attend(subject, case, by=by, **tensors)
        check(dtype_of(found) == "float32", f"output of {by} in {dtype_of(found)}, where {wide} is float32")
        bound = oracle.rounding(**case.arguments, dtype="float32", blocks=3).output
        assert_within(found, case.truth.output, bound, f"output of {by} where {wide} is float32")


@pytest.mark.structure
def test_float64_stays_float64(subject: Subject) -> None:
    """Inputs in float64 are computed on in float64, where Keras keeps it."""
    for by, case in itertools.product(functions_of(subject), (HEADS, HEADS.but(scale=None))):
        with turn():
            found = output_of(subject, case, by=by, dtype=widest())
            bound = oracle.rounding(**case.arguments, dtype=widest(), blocks=3).output
            assert_within(found, case.truth.output, bound, f"output of {by}")


@pytest.mark.structure
def test_offset_may_be_a_tensor(subject: Subject) -> None:
    """An offset may be a scalar tensor, whose number a compiled graph need not know."""
    for by in functions_of(subject):

        def attention(at: Any, by: str = by) -> Any:
            return attend(subject, SQUARE, by=by, dtype="float32", offset=at)

        compiled = traced(attention)
        for offset, run in itertools.product((-1, 1), (attention, compiled)):
            case = SQUARE.but(offset=offset)
            bound = oracle.rounding(**case.arguments, dtype="float32").output
            found = run(ops.convert_to_tensor(offset, "int32"))
            assert_within(found, case.truth.output, bound, f"output of {by} with the tensor {offset} as offset")


@pytest.mark.structure
def test_lengths_need_not_be_known(subject: Subject) -> None:
    """A compiled graph need not know the lengths of queries and keys, nor how many batch entries there are."""
    wide = SMALL.but(**{name: np.repeat(getattr(SMALL, name), 2, axis=2) for name in INPUTS}, causal=True)
    for by in functions_of(subject):
        block = {} if by == "dot_product_attention" else {"block": 2}
        compiled = traced(functools.partial(function_of(subject, by), causal=True, **block), unknown=(0, 1))
        for source in (3, 1, 2):
            case = wide.but(keys=wide.keys[:, :source], values=wide.values[:, :source])
            tensors = [ops.convert_to_tensor(getattr(case, name), "float32") for name in INPUTS]
            bound = oracle.rounding(**case.arguments, dtype="float32", blocks=2).output
            with quiet():
                found = compiled(*tensors)
            assert_within(found, case.truth.output, bound, f"output of {by} in a graph that knows no lengths")
