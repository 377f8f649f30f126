"""What must be true of additive attention, whoever wrote it (reference/additive_attention.py is the contract).

Each property asks for no more than it needs, so that a layer without masks, without keys of its own, or without
returned weights is tested as far as it goes.
"""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.additive_attention_cases import (
    ANY,
    ONE,
    SEVERAL,
    SMALL,
    SMALL_FULL,
    SMALL_MASKED,
    SMALL_STEPS,
    SMALL_STEPS_MASKED,
    Case,
    as_tensor,
    attend,
    attend_by_function,
    build,
    call,
    cases,
    context_of,
    gradient,
    kernel_gradients,
    rounding,
    weights_of,
)
from suites.properties.checks import check
from suites.properties.numerics import assert_equal, assert_within, float64, gamma
from suites.properties.oracles import additive_attention as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject


def sum_bound(case: Case, subject: Subject) -> float:
    """How far weights of a row may sum from 1: each is rounded in exp, sum, quotient and cast."""
    return gamma(case.values.shape[1] + 4, subject.compute_dtype)


# The formula


APART = SMALL.but(
    query=np.array([[0.0]]),
    values=np.array([[[-1.0], [1.0]]]),
    query_kernel=np.ones((1, 4)),
    key_kernel=np.ones((1, 4)),
    scale=np.ones(4),
)
"""At query 0 the keys alone decide; query 64 saturates every tanh, so that all scores are nearly equal."""


@given(case=st.just(APART))
def test_query_decides(subject: Subject, case: Case) -> None:
    """Different queries over the same values give different contexts."""
    other = case.but(query=np.array([[64.0]]))
    here, there = context_of(subject, case).tolist(), context_of(subject, other).tolist()
    check(here != there, f"the query has no effect: {case.query.tolist()} and {other.query.tolist()} both give {here}")


@example(case=SMALL_STEPS)
@example(case=SMALL)
@given(case=cases(ANY))
def test_context_follows_the_formula(subject: Subject, case: Case) -> None:
    """The context is sum softmax(v . tanh(q W_q + k W_k)) value, up to rounding, with the values as keys."""
    truth, bound = oracle.attention(**case.arguments), rounding(subject, case)
    assert_within(context_of(subject, case, contract=True), truth.context, bound.context, "context")


@example(case=SMALL_FULL)
@given(case=cases(ANY, keyed=True, masked=True))
def test_keys_mask_and_weights_follow_the_formula(subject: Subject, case: Case) -> None:
    """With keys and a mask of their own, context and returned weights are those of the formula, up to rounding."""
    truth, bound = oracle.attention(**case.arguments), rounding(subject, case)
    context, weights = attend(subject, case, contract=True, with_weights=True)
    assert_within(weights, truth.weights, bound.weights, "weights")
    assert_within(context, truth.context, bound.context, "context")


@example(case=SMALL_FULL)
@given(case=cases(ANY, keyed=True, masked=True))
def test_function_equals_layer(subject: Subject, case: Case) -> None:
    """The pure function and the layer compute the same context and weights, bit for bit."""
    by_function = attend_by_function(subject, case)
    by_layer = call(build(subject, case, contract=True), **case.inputs, return_attention_scores=True)
    assert_equal(by_layer[0], by_function[0], "context of the layer against that of the function")
    assert_equal(by_layer[1], by_function[1], "weights of the layer against those of the function")


@example(case=SMALL)
@given(case=cases(ONE))
def test_one_query_is_a_sequence_of_one(subject: Subject, case: Case) -> None:
    """A query of shape (B, D_q) gives what the query (B, 1, D_q) gives, without the axis of length 1."""
    sequence = context_of(subject, case.but(query=case.query[:, None]))
    assert_within(context_of(subject, case), sequence[:, 0], 2 * rounding(subject, case).context, "context")


# The weights are a distribution over the source


@example(case=SMALL_STEPS)
@example(case=SMALL)
@given(case=cases(ANY))
def test_weights_are_a_distribution(subject: Subject, case: Case) -> None:
    """Weights are not negative, and those of each query sum to 1."""
    weights = weights_of(subject, case)
    check((weights >= 0).all(), f"negative weights: {weights.tolist()}")
    assert_within(weights.sum(-1), np.ones(weights.shape[:-1]), sum_bound(case, subject), "sum of the weights")


@example(case=SMALL)
@given(case=cases(ONE))
def test_context_lies_among_the_values(subject: Subject, case: Case) -> None:
    """Each coordinate of the context lies between the least and the greatest of the values there."""
    low, high = case.values.min(1), case.values.max(1)  # (B, D_v)
    bound = np.abs(case.values).max(1) * 2 * sum_bound(case, subject)
    assert_within(
        context_of(subject, case), (low + high) / 2, (high - low) / 2 + bound, "context, from the values' middle"
    )


STEEP = SMALL.but(query_kernel=np.array([[0.0]]), key_kernel=np.array([[4.0]]), scale=np.array([0.25]))


@example(case=STEEP)
@given(case=cases(ANY))
def test_no_position_is_ignored(subject: Subject, case: Case) -> None:
    """Scores are at most ||v||_1 in size, so no weight is under exp(-2 ||v||_1) / S."""
    weights = weights_of(subject, case, contract=True)
    floor = np.exp(-2 * np.abs(case.scale).sum()) / case.values.shape[1]
    check((weights + rounding(subject, case).weights >= floor).all(), f"weights {weights.tolist()} under {floor:.6g}")


@example(case=SMALL)
@given(case=cases(ANY))
def test_zero_scale_gives_the_mean(subject: Subject, case: Case) -> None:
    """With v = 0 all scores are equal, and the context is the mean of the values."""
    case = case.but(scale=np.zeros_like(case.scale))
    mean = oracle.attention(**case.arguments).context
    assert_within(context_of(subject, case, contract=True), mean, rounding(subject, case).context, "context")


@example(case=SMALL_FULL)
@given(case=cases(ANY, keyed=True))
def test_equal_keys_share_equally(subject: Subject, case: Case) -> None:
    """Positions with equal keys have equal weights, whatever their values are."""
    case = case.but(keys=np.repeat(case.source_keys[:, :1], case.values.shape[1], axis=1))
    uniform = case.attended / case.attended.sum(-1, keepdims=True)
    assert_within(weights_of(subject, case), uniform, rounding(subject, case).weights, "weights")


@example(case=SMALL)
@given(case=cases(ANY))
def test_a_duplicate_takes_a_fair_share(subject: Subject, case: Case) -> None:
    """When a position is repeated, it and its copy have equal weights; all others shrink in proportion."""
    twice = [*range(case.values.shape[1]), 0]
    doubled = case.but(values=case.values[:, twice])
    before = weights_of(subject, case)
    expected = before[..., twice] / (1 + before[..., :1])
    bound = rounding(subject, doubled).weights + 2 * rounding(subject, case).weights.max()
    assert_within(weights_of(subject, doubled), expected, bound, "weights after repeating position 0")


# Order, and who sees whom


@example(case=SMALL_FULL)
@given(case=cases(ANY, keyed=True, masked=True))
def test_order_of_the_source_is_irrelevant(subject: Subject, case: Case) -> None:
    """Reversing values, keys and mask together leaves the context as it was."""
    assert case.keys is not None
    assert case.mask is not None
    other = case.but(values=case.values[:, ::-1], keys=case.keys[:, ::-1], mask=case.mask[..., ::-1])
    bound = 2 * rounding(subject, case).context
    assert_within(context_of(subject, other), context_of(subject, case), bound, "context")


@example(case=SMALL_STEPS)
@given(case=cases(SEVERAL))
def test_order_of_the_queries_carries_over(subject: Subject, case: Case) -> None:
    """Reversing the queries reverses the contexts."""
    contexts, bound = context_of(subject, case), 2 * rounding(subject, case).context
    reverse = context_of(subject, case.but(query=case.query[:, ::-1]))
    assert_within(reverse, contexts[:, ::-1], bound[:, ::-1], "contexts of the queries in reverse")


@example(case=SMALL)
@given(case=cases(ONE).filter(lambda case: len(case.query) == 2))
def test_batch_entries_do_not_mix(subject: Subject, case: Case) -> None:
    """The context of a batch entry is the one that it has alone."""
    together = context_of(subject, case)
    for entry in (slice(0, 1), slice(1, 2)):
        alone = case.but(query=case.query[entry], values=case.values[entry])
        bound = 2 * rounding(subject, alone).context
        assert_within(context_of(subject, alone), together[entry], bound, f"context of entry {entry.start} alone")


# Masks


@example(case=SMALL_STEPS_MASKED)
@example(case=SMALL_MASKED)
@given(case=cases(ANY, masked=True))
def test_masked_weights_are_exactly_zero(subject: Subject, case: Case) -> None:
    """A masked position has weight 0, not merely a small one."""
    weights = weights_of(subject, case)
    check((weights[~case.attended] == 0).all(), f"weights {weights.tolist()} under the mask {case.attended.tolist()}")


@example(case=SMALL_MASKED, far=64.0)
@given(case=cases(ONE, masked=True), far=st.sampled_from((-64.0, 64.0)))
def test_masked_values_do_not_matter(subject: Subject, case: Case, far: float) -> None:
    """Whatever finite numbers stand at masked positions, the context is the same, bit for bit."""
    other = case.but(values=np.where(case.attended[..., None], case.values, far))
    assert_equal(context_of(subject, other), context_of(subject, case), f"context with {far} at the masked positions")


UNSEEN = SMALL_FULL.but(mask=SMALL_FULL.attended & np.array([True, True, False]))
"""Position 2 is masked for every query, by a mask of its own for each, and has a key of its own."""


@example(case=UNSEEN, poison=np.nan)
@example(case=SMALL_MASKED, poison=np.nan)
@given(case=cases(ANY, masked=True) | cases(ANY, masked=True, keyed=True), poison=st.sampled_from((np.nan, np.inf)))
def test_padding_may_hold_nan(subject: Subject, case: Case, poison: float) -> None:
    """NaN and infinity at positions that no query attends to reach neither the context nor a gradient."""
    seen = np.asarray(case.attended if case.query.ndim == 2 else case.attended.any(1))  # (B, S)
    filled = {
        name: np.where(seen[..., None], array, poison)
        for name, array in (("values", case.values), ("keys", case.keys))
        if array is not None
    }
    poisoned, context = case.but(**filled), context_of(subject, case)
    assert_equal(context_of(subject, poisoned), context, f"context with {poison} at the masked positions")
    cotangent = np.ones_like(context)
    found = {name: gradient(subject, poisoned, name, cotangent) for name in ("query", *filled)}
    for name, each in (found | kernel_gradients(subject, poisoned, cotangent)).items():
        check(np.isfinite(each).all(), f"gradient to the {name}: {each.tolist()}")


@example(case=SMALL_MASKED)
@given(case=cases(ONE, masked=True))
def test_one_attended_position_gives_its_value(subject: Subject, case: Case) -> None:
    """With all but one position masked, the context is the value there."""
    for position in range(case.values.shape[1]):
        alone = np.zeros(case.values.shape[:2], bool)
        alone[:, position] = True
        bound = np.abs(case.values[:, position]) * sum_bound(case, subject)
        context = context_of(subject, case.but(mask=alone))
        assert_within(context, case.values[:, position], bound, f"context where only position {position} is attended")


@example(case=SMALL_MASKED)
@given(case=cases(ONE, masked=True))
def test_masked_padding_changes_nothing(subject: Subject, case: Case) -> None:
    """Appending masked positions leaves the context as it was."""
    assert case.mask is not None
    values = np.pad(case.values, ((0, 0), (0, 2), (0, 0)), constant_values=4.0)
    longer = case.but(values=values, mask=np.pad(case.mask, ((0, 0), (0, 2))))
    bound = rounding(subject, case).context + rounding(subject, longer).context
    assert_within(context_of(subject, longer), context_of(subject, case), bound, "context after padding")


def first_row_masked(case: Case) -> tuple[Case, tuple[int, ...]]:
    """The case with the first row of its mask all False, and the index of that row."""
    assert case.mask is not None
    row = (0,) * (case.mask.ndim - 1)
    mask = case.mask.copy()
    mask[row] = False
    return case.but(mask=mask), row


LOW_SCORES = SMALL_STEPS_MASKED.but(scale=np.array([-64.0]))
"""Scores under -16, from which float16 cannot subtract 65504."""


@example(case=LOW_SCORES)
@given(case=cases(ANY, masked=True))
def test_fully_masked_row_gives_zeros(subject: Subject, case: Case) -> None:
    """A query with nothing to attend to has a zero context, and leaves all gradients finite."""
    case, row = first_row_masked(case)
    context = context_of(subject, case)
    assert_equal(context[row], np.zeros_like(context[row]), "context where all is masked")
    for name in ("query", "values"):
        found = gradient(subject, case, name, np.ones_like(context))
        check(np.isfinite(found).all(), f"gradient to the {name} is not finite: {found.tolist()}")


@example(case=LOW_SCORES)
@given(case=cases(ANY, masked=True))
def test_fully_masked_row_has_no_weight(subject: Subject, case: Case) -> None:
    """A query with nothing to attend to has zero weights."""
    case, row = first_row_masked(case)
    weights = weights_of(subject, case)
    assert_equal(weights[row], np.zeros_like(weights[row]), "weights where all is masked")


@example(case=SMALL_MASKED)
@given(case=cases(ONE, masked=True))
def test_no_gradient_reaches_masked_values(subject: Subject, case: Case) -> None:
    """The gradient with respect to masked values is exactly zero."""
    found = gradient(subject, case, "values", np.ones((len(case.query), case.values.shape[2])))
    check((found[~case.attended] == 0).all(), f"gradient to the values {found.tolist()} under the mask")


# Numbers


def test_large_scores_do_not_leak(subject: Subject) -> None:
    """A masked position has weight 0 even where its score exceeds all others by as much as the precision allows."""
    large = 1.5 * 2.0**15 if subject.compute_dtype == "float16" else 2.0**30
    case = SMALL.but(
        query=np.zeros((1, 1)),
        values=np.array([[[1.0], [2.0]]]),
        keys=np.array([[[-4.0], [4.0]]]),
        mask=np.array([[True, False]]),
        key_kernel=np.array([[1.0]]),
        scale=np.array([large]),
    )
    assert_equal(context_of(subject, case, contract=True), np.array([[1.0]]), f"context with scores of -+{large:g}")


def test_scores_are_computed_in_float32(subject: Subject) -> None:
    """Scores that differ in float32 but collide in float16 and bfloat16 still tell positions apart."""
    # 8192 tanh(4) = 8186.5 and 8192 tanh(4.125) = 8187.7; float16 is spaced by 4 there, and bfloat16 by 32.
    case = SMALL.but(
        query=np.zeros((1, 1)),
        values=np.array([[[0.0], [1.0]]]),
        keys=np.array([[[4.0], [4.125]]]),
        key_kernel=np.array([[1.0]]),
        scale=np.array([8192.0]),
    )
    # The projections 0 * 1 + 4 * 1 and 4.125 * 1 are exact; their error analysis in float32 covers them.
    bound = oracle.rounding(**case.arguments, dtype="float32").context + 2 * gamma(3, subject.compute_dtype)
    truth = oracle.attention(**case.arguments).context
    assert_within(context_of(subject, case, contract=True), truth, bound, "context")


@pytest.mark.structure
@example(case=SMALL_FULL)
@given(case=cases(ANY, keyed=True, masked=True))
def test_gradient_is_right_in_float64(subject: Subject, case: Case) -> None:
    """In float64 the gradients to query, values and keys equal those of the formula."""
    shape = (*case.query.shape[:-1], case.values.shape[2])
    cotangent = (np.arange(np.prod(shape)) % 7 - 3.0).reshape(shape)
    # Every term of a gradient is a product of numbers of these sizes (tanh, its slope and the weights are at most 1).
    size = case.values.size * cotangent.size * 4 * 3 * max(1.0, np.abs(case.scale).sum())
    for name in ("query", "values", "keys"):
        with float64():
            found = gradient(subject, case, name, cotangent, dtype="float64")
        truth = oracle.gradient(case.arguments, cotangent, name)
        assert_within(found, truth, size * gamma(256, "float64"), f"gradient to the {name}")


@pytest.mark.structure
@example(case=SMALL_FULL)
@given(case=cases(ANY) | cases(ANY, keyed=True, masked=True))
def test_gradient_reaches_the_kernels(subject: Subject, case: Case) -> None:
    """In float64 the gradients to both kernels and to v equal those of the formula."""
    shape = (*case.query.shape[:-1], case.values.shape[2])
    cotangent = (np.arange(np.prod(shape)) % 7 - 3.0).reshape(shape)
    size = case.values.size * case.query.size * cotangent.size * 4**2 * 3 * max(1.0, np.abs(case.scale).sum())
    with float64():
        found = kernel_gradients(subject, case, cotangent, dtype="float64")
    for name, each in found.items():
        truth = oracle.gradient(case.arguments, cotangent, name)
        assert_within(each, truth, size * gamma(256, "float64"), f"gradient to {name}")


def test_weights_are_computed_in_float32(subject: Subject) -> None:
    """Where projections are exact, returned weights are float32, and right to its rounding, under every precision."""
    case = SMALL_STEPS.but(scale=0.75 * np.array([1 + 2.0**-12]))  # which float16 does not represent
    _, weights = attend(subject, case, contract=True, with_weights=True)
    dtype = keras.backend.standardize_dtype(weights.dtype)
    check(dtype == "float32", f"weights in {dtype}, expected float32")
    truth, bound = oracle.attention(**case.arguments), oracle.rounding(**case.arguments, dtype="float32")
    assert_within(weights, truth.weights, bound.weights, "weights")


def test_dtypes_follow_the_policy(subject: Subject) -> None:
    """The context has the compute dtype and the weights of the layer stay in float32."""
    layer = build(subject, SMALL)
    context = keras.backend.standardize_dtype(call(layer, **SMALL.inputs).dtype)
    check(context == subject.compute_dtype, f"context in {context}, expected {subject.compute_dtype}")
    variables = {keras.backend.standardize_dtype(variable.dtype) for variable in layer.weights}
    check(variables == {"float32"}, f"weights of the layer in {sorted(variables)}, expected float32")


# What goes in


@pytest.mark.structure
@given(wide=st.sampled_from(("query", "values", "keys")), narrow=st.sampled_from(("float16", "bfloat16")))
def test_common_dtype_comes_out(subject: Subject, wide: str, narrow: str) -> None:
    """Where one input is float32 and the others are not, the context is, and nothing is rounded to their dtype."""
    case = SMALL_FULL.but(**{wide: getattr(SMALL_FULL, wide) * (1 + 2.0**-12)})
    tensors = {name: as_tensor(array, "float32" if name == wide else narrow) for name, array in case.inputs.items()}
    kernels = {name: as_tensor(array, "float32") for name, array in case.kernels.items()}
    context, _ = subject.additive_attention(**tensors, **kernels)
    dtype = keras.backend.standardize_dtype(context.dtype)
    check(dtype == "float32", f"context in {dtype}, where {wide} is float32")
    bound = oracle.rounding(**case.arguments, dtype="float32").context
    assert_within(context, oracle.attention(**case.arguments).context, bound, f"context where {wide} is float32")


MISFITS: dict[str, dict[str, Any]] = {
    "a query of rank 1": {"query": np.zeros(1)},
    "values of rank 2": {"values": np.zeros((2, 3))},
    "keys of another length than the values": {"keys": np.zeros((2, 2, 1))},
    "values of another batch size than the query": {"values": np.zeros((1, 3, 1))},
    "a mask of numbers": {"mask": np.ones((2, 3))},
    "a mask of another length than the values": {"mask": np.ones((2, 1), bool)},
    "a mask (B, T, S) for a query without T": {"mask": np.ones((2, 1, 3), bool)},
    "a mask of one row for two batch entries": {"mask": np.ones((1, 3), bool)},
    "a mask of one row for two queries": {"query": SMALL_STEPS.query, "mask": np.ones((2, 1, 3), bool)},
    "a mask of another batch size, for every query": {"query": SMALL_STEPS.query, "mask": np.ones((1, 2, 3), bool)},
    "a mask of four axes": {"query": SMALL_STEPS.query, "mask": np.ones((2, 1, 2, 3), bool)},
    "a kernel for another size of query": {"query_kernel": np.ones((2, 1))},
    "a kernel for another size of key": {"key_kernel": np.ones((2, 1))},
    "kernels of different numbers of units": {"key_kernel": np.ones((1, 2))},
    "a scale for other units than the kernels": {"scale": np.ones(2)},
}


@pytest.mark.structure
def test_misfits_are_refused(subject: Subject) -> None:
    """The function answers arguments of the wrong rank, size or mask type with ValueError, and never broadcasts."""
    for what, change in MISFITS.items():
        refused(what, attend_by_function, subject, SMALL.but(**change))
    refused("a score network of no units", lambda: subject.AdditiveAttention(0))
