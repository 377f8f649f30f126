"""What must be true of additive attention, whoever wrote it (reference/additive_attention.py is the contract)."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.attention_cases import (
    PLAIN,
    SMALL,
    SMALL_STEPS,
    Case,
    attend,
    attend_by_function,
    build,
    call,
    cases,
    gradient,
    masked_cases,
    rounding,
)
from suites.properties.numerics import assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import additive_attention as oracle
from suites.subjects import Subject

STEPS = (None, 1, 2, 3)


def sum_bound(case: Case, subject: Subject) -> float:
    """How far weights of a row may sum from 1: each is rounded in exp, sum, quotient and cast."""
    return gamma(case.values.shape[1] + 4, subject.compute_dtype)


def assert_same_context(subject: Subject, first: Case, second: Case, what: str) -> None:
    """Two cases whose contexts are equal but for rounding."""
    bound = rounding(subject, first).context + rounding(subject, second).context
    assert_within(attend(subject, second), to_numpy(attend(subject, first)), bound, what)


# The formula


@example(case=SMALL_STEPS)
@example(case=SMALL)
@given(case=cases(steps=STEPS))
def test_matches_the_formula(subject: Subject, case: Case) -> None:
    """Context and weights equal softmax(v . tanh(q W_q + k W_k)), applied to the values, up to rounding."""
    truth, bound = oracle.attention(**case.arguments), rounding(subject, case)
    context, weights = attend(subject, case, contract=True, with_weights=True)
    assert_within(weights, truth.weights, bound.weights, "weights")
    assert_within(context, truth.context, bound.context, "context")


@example(case=SMALL_STEPS)
@given(case=cases(steps=STEPS))
def test_function_equals_layer(subject: Subject, case: Case) -> None:
    """The pure function and the layer compute the same context and weights, bit for bit."""
    by_function = attend_by_function(subject, case)
    by_layer = call(build(subject, case, contract=True), **case.inputs, return_attention_scores=True)
    assert_equal(by_layer[0], by_function[0], "context of the layer against that of the function")
    assert_equal(by_layer[1], by_function[1], "weights of the layer against those of the function")


def test_query_decides(subject: Subject) -> None:
    """Different queries over the same values give different contexts."""
    # With the zero query the keys alone decide; the other saturates every tanh, so that all scores are nearly equal.
    ones = np.ones((2, 4))
    case = PLAIN.but(query=np.zeros((1, 2)), values=np.array([[[-1.0, -1.0], [1.0, 1.0]]]), query_kernel=ones)
    case = case.but(key_kernel=ones, scale=np.ones(4))
    first = to_numpy(attend(subject, case))
    second = to_numpy(attend(subject, case.but(query=np.full((1, 2), 64.0))))
    assert not np.array_equal(first, second), (
        f"the query has no effect: over the values {case.values.tolist()}, the queries {case.query.tolist()} and "
        f"[[64.0, 64.0]] both give the context {first.tolist()}"
    )


@example(case=SMALL)
@given(case=cases())
def test_one_query_is_a_sequence_of_one(subject: Subject, case: Case) -> None:
    """A query of shape (B, D_q) gives what the query (B, 1, D_q) gives, without the axis of length 1."""
    mask = case.mask if case.mask is None else case.mask[:, None]
    sequence = to_numpy(attend(subject, case.but(query=case.query[:, None], mask=mask)))
    expected = (*case.query.shape[:1], 1, case.values.shape[2])
    assert sequence.shape == expected, f"context of a query (B, 1, D_q): shape {sequence.shape}, expected {expected}"
    assert_within(attend(subject, case), sequence[:, 0], 2 * rounding(subject, case).context, "context")


# The weights are a distribution over the source


@example(case=SMALL_STEPS)
@given(case=cases(steps=STEPS))
def test_weights_are_a_distribution(subject: Subject, case: Case) -> None:
    """Weights are not negative, and those of each query sum to 1."""
    weights = to_numpy(attend(subject, case, with_weights=True)[1])
    assert weights.shape == case.attended.shape, f"weights: shape {weights.shape}, expected {case.attended.shape}"
    assert (weights >= 0).all(), f"negative weights: {weights.tolist()}"
    assert_within(weights.sum(-1), np.ones(weights.shape[:-1]), sum_bound(case, subject), "sum of the weights")


@example(case=PLAIN)
@given(case=cases(plain=True))
def test_context_lies_among_the_values(subject: Subject, case: Case) -> None:
    """Each coordinate of the context lies between the least and the greatest of the values there."""
    low, high = case.values.min(1), case.values.max(1)  # (B, D_v)
    bound = np.abs(case.values).max(1) * 2 * sum_bound(case, subject)
    assert_within(attend(subject, case), (low + high) / 2, (high - low) / 2 + bound, "context, from the values' middle")


STEEP = SMALL.but(query_kernel=np.array([[0.0]]), key_kernel=np.array([[4.0]]), scale=np.array([0.25]))


@example(case=STEEP)
@given(case=cases(steps=STEPS))
def test_no_attended_position_is_ignored(subject: Subject, case: Case) -> None:
    """Scores are at most ||v||_1 in size, so no attended weight is under exp(-2 ||v||_1) / S."""
    weights = to_numpy(attend(subject, case, contract=True, with_weights=True)[1])
    floor = np.exp(-2 * np.abs(case.scale).sum()) / case.attended.sum(-1, keepdims=True)
    below = case.attended & ~(weights + rounding(subject, case).weights >= floor)
    assert not below.any(), (
        f"weights {weights.tolist()} under the floor {floor.tolist()} at {np.argwhere(below).tolist()}"
    )


@example(case=SMALL)
@given(case=cases(steps=STEPS))
def test_zero_scale_gives_the_mean(subject: Subject, case: Case) -> None:
    """With v = 0 all scores are equal, and the context is the mean of the attended values."""
    case = case.but(scale=np.zeros_like(case.scale))
    attended = case.attended / case.attended.sum(-1, keepdims=True)
    mean = np.stack([row @ values for row, values in zip(attended, case.values, strict=True)])
    assert_within(attend(subject, case, contract=True), mean, rounding(subject, case).context, "context")


@example(case=SMALL)
@given(case=cases(steps=STEPS).filter(lambda case: case.keys is not None))
def test_equal_keys_share_equally(subject: Subject, case: Case) -> None:
    """Positions with equal keys have equal weights, whatever their values are."""
    case = case.but(keys=np.repeat(case.source_keys[:, :1], case.values.shape[1], axis=1))
    weights = attend(subject, case, with_weights=True)[1]
    uniform = case.attended / case.attended.sum(-1, keepdims=True)
    assert_within(weights, uniform, rounding(subject, case).weights, "weights")


@example(case=SMALL)
@given(case=cases(steps=STEPS))
def test_a_duplicate_takes_a_fair_share(subject: Subject, case: Case) -> None:
    """When a position is repeated, it and its copy have equal weights; all others shrink in proportion."""
    twice = [*range(case.values.shape[1]), 0]
    keys = case.keys if case.keys is None else case.keys[:, twice]
    mask = case.mask if case.mask is None else case.mask[..., twice]
    doubled = case.but(values=case.values[:, twice], keys=keys, mask=mask)
    before = to_numpy(attend(subject, case, with_weights=True)[1])
    expected = before[..., twice] / (1 + before[..., :1])
    bound = rounding(subject, doubled).weights + 2 * rounding(subject, case).weights.max()
    assert_within(attend(subject, doubled, with_weights=True)[1], expected, bound, "weights after repeating position 0")


# Order, and who sees whom


@example(case=SMALL)
@given(case=cases(steps=STEPS))
def test_order_of_the_source_is_irrelevant(subject: Subject, case: Case) -> None:
    """Reversing values, keys and mask together leaves the context as it was."""
    keys = case.keys if case.keys is None else case.keys[:, ::-1]
    mask = case.mask if case.mask is None else case.mask[..., ::-1]
    assert_same_context(subject, case, case.but(values=case.values[:, ::-1], keys=keys, mask=mask), "context")


@example(case=SMALL_STEPS)
@given(case=cases(steps=(2, 3)))
def test_order_of_the_queries_carries_over(subject: Subject, case: Case) -> None:
    """Reversing the queries (and their masks) reverses the contexts."""
    mask = case.mask[:, ::-1] if case.mask is not None and case.mask.ndim == 3 else case.mask
    reverse = case.but(query=case.query[:, ::-1], mask=mask)
    bound = 2 * rounding(subject, case).context
    assert_within(to_numpy(attend(subject, reverse))[:, ::-1], to_numpy(attend(subject, case)), bound, "context")


@example(case=SMALL)
@given(case=cases(steps=STEPS).filter(lambda case: len(case.query) == 2))
def test_batch_entries_do_not_mix(subject: Subject, case: Case) -> None:
    """The context of a batch entry is the one that it has alone."""
    together = to_numpy(attend(subject, case))
    for entry in range(2):
        alone = {name: array[entry : entry + 1] for name, array in case.inputs.items()}
        alone_case = case.but(**alone)
        bound = 2 * rounding(subject, alone_case).context
        assert_within(
            attend(subject, alone_case), together[entry : entry + 1], bound, f"context of entry {entry} alone"
        )


# Masks


@example(case=SMALL_STEPS)
@example(case=SMALL)
@given(case=masked_cases())
def test_masked_weights_are_exactly_zero(subject: Subject, case: Case) -> None:
    """A masked position has weight 0, not merely a small one."""
    weights = to_numpy(attend(subject, case, with_weights=True)[1])
    assert weights.shape == case.attended.shape, f"weights: shape {weights.shape}, expected {case.attended.shape}"
    assert (weights[~case.attended] == 0).all(), f"weights {weights.tolist()} under the mask {case.attended.tolist()}"


@example(case=SMALL, far=64.0)
@given(case=masked_cases(steps=(None,)), far=st.sampled_from((-64.0, 64.0)))
def test_masked_values_do_not_matter(subject: Subject, case: Case, far: float) -> None:
    """Whatever finite numbers stand at masked positions, in values and in keys, the context is the same bits."""
    masked = ~case.attended[..., None]
    keys = case.keys if case.keys is None else np.where(masked, -far, case.keys)
    other = case.but(values=np.where(masked, far, case.values), keys=keys)
    assert_equal(attend(subject, other), attend(subject, case), f"context with {far} at the masked positions")


@example(case=SMALL, poison=np.nan)
@given(case=masked_cases(steps=(None,)), poison=st.sampled_from((np.nan, np.inf)))
def test_padding_may_hold_nan(subject: Subject, case: Case, poison: float) -> None:
    """NaN and infinity at positions that no query attends to reach neither the context nor a gradient."""
    masked = ~case.attended[..., None]
    keys = case.keys if case.keys is None else np.where(masked, poison, case.keys)
    poisoned = case.but(values=np.where(masked, poison, case.values), keys=keys)
    context = to_numpy(attend(subject, case))
    assert_equal(attend(subject, poisoned), context, f"context with {poison} at the masked positions")
    found = gradient(subject, poisoned, "values", np.ones_like(context))
    assert np.isfinite(found).all(), f"gradient to the values: {found.tolist()}"


@example(case=SMALL)
@given(case=masked_cases(steps=(None,)))
def test_one_attended_position_gives_its_value(subject: Subject, case: Case) -> None:
    """With all but one position masked, the context is the value there."""
    for position in range(case.values.shape[1]):
        alone = np.zeros(case.values.shape[:2], bool)
        alone[:, position] = True
        bound = np.abs(case.values[:, position]) * sum_bound(case, subject)
        context = attend(subject, case.but(mask=alone))
        assert_within(context, case.values[:, position], bound, f"context where only position {position} is attended")


@example(case=SMALL)
@given(case=masked_cases(steps=(None,)))
def test_masked_padding_changes_nothing(subject: Subject, case: Case) -> None:
    """Appending masked positions leaves the context as it was."""

    def padded(array: Any, fill: Any) -> Any:
        return array if array is None else np.pad(array, [(0, 0), (0, 2), (0, 0)][: array.ndim], constant_values=fill)

    longer = case.but(values=padded(case.values, 4.0), keys=padded(case.keys, -4.0), mask=padded(case.mask, False))
    assert_same_context(subject, case, longer, "context after padding")


@example(case=SMALL_STEPS)
@given(case=masked_cases())
def test_fully_masked_row_gives_zeros(subject: Subject, case: Case) -> None:
    """A query with nothing to attend to has zero weights, a zero context and finite gradients."""
    mask = np.array(case.mask)
    mask[0, ...] = False
    case = case.but(mask=mask)
    context, weights = attend(subject, case, with_weights=True)
    assert_equal(to_numpy(weights)[0], np.zeros(case.attended[0].shape), "weights where all is masked")
    assert_equal(to_numpy(context)[0], np.zeros(to_numpy(context)[0].shape), "context where all is masked")
    for name in ("query", "values"):
        found = gradient(subject, case, name, np.ones(context.shape))
        assert np.isfinite(found).all(), f"gradient to the {name} is not finite: {found.tolist()}"


@example(case=SMALL)
@given(case=masked_cases(steps=(None,)))
def test_no_gradient_reaches_masked_values(subject: Subject, case: Case) -> None:
    """The gradient with respect to masked values, and to their keys, is exactly zero."""
    cotangent = np.ones((*case.query.shape[:-1], case.values.shape[2]))
    for name in ("values", "keys") if case.keys is not None else ("values",):
        found = gradient(subject, case, name, cotangent)
        assert (found[~case.attended] == 0).all(), f"gradient to the {name} under the mask: {found.tolist()}"


# Numbers


def test_large_scores_do_not_leak(subject: Subject) -> None:
    """A masked position has weight 0 even where its score exceeds all others by as much as the precision allows."""
    large = 1.5 * 2.0**15 if subject.compute_dtype == "float16" else 2.0**30
    case = SMALL.but(
        query=np.zeros((1, 1)),
        values=np.array([[[1.0], [2.0]]]),
        keys=np.array([[[-4.0], [4.0]]]),
        mask=np.array([[True, False]]),
        scale=np.array([large]),
    )
    assert_equal(attend(subject, case, contract=True), np.array([[1.0]]), f"context with scores of -+{large:g}")


def test_scores_are_computed_in_float32(subject: Subject) -> None:
    """Scores that differ in float32 but collide in float16 and bfloat16 still tell positions apart."""
    # 8192 tanh(4) = 8186.5 and 8192 tanh(4.125) = 8187.7; float16 is spaced by 4 there, and bfloat16 by 32.
    case = SMALL.but(
        query=np.zeros((1, 1)),
        values=np.array([[[0.0], [1.0]]]),
        keys=np.array([[[4.0], [4.125]]]),
        mask=None,
        scale=np.array([8192.0]),
    )
    # The projections 0 * 1 + 4 * 1 and 4.125 * 1 are exact; their error analysis in float32 covers them.
    bound = oracle.rounding(**case.arguments, dtype="float32").context + 2 * gamma(3, subject.compute_dtype)
    truth = oracle.attention(**case.arguments).context
    assert_within(attend(subject, case, contract=True), truth, bound, "context")


@example(case=SMALL_STEPS)
@given(case=cases(steps=(None, 2)))
def test_gradient_is_right_in_float64(subject: Subject, case: Case) -> None:
    """In float64 the gradients to query, values and keys equal those of the formula."""
    shape = (*case.query.shape[:-1], case.values.shape[2])
    cotangent = (np.arange(np.prod(shape)) % 7 - 3.0).reshape(shape)
    # Every term of a gradient is a product of numbers of these sizes (tanh, its slope and the weights are at most 1).
    size = case.values.size * cotangent.size * 4 * 3 * max(1.0, np.abs(case.scale).sum())
    for name in ("query", "values", "keys") if case.keys is not None else ("query", "values"):
        found = gradient(subject, case, name, cotangent, dtype="float64")
        truth = oracle.gradient(case.arguments, cotangent, name)
        assert_within(found, truth, size * gamma(256, "float64"), f"gradient to the {name}")


def test_dtypes_follow_the_policy(subject: Subject) -> None:
    """The context has the compute dtype and the weights of the layer stay in float32."""
    layer = build(subject, PLAIN)
    context = keras.backend.standardize_dtype(call(layer, **PLAIN.inputs).dtype)
    assert context == subject.compute_dtype, f"context in {context}, expected {subject.compute_dtype}"
    variables = {keras.backend.standardize_dtype(variable.dtype) for variable in layer.weights}
    assert variables == {"float32"}, f"weights of the layer in {sorted(variables)}, expected float32"


# The layer as a citizen of Keras


def test_model_survives_saving(subject: Subject) -> None:
    """A functional model with the layer computes the same after saving and loading."""
    layer = build(subject, PLAIN)
    inputs = [keras.Input(array.shape[1:]) for array in PLAIN.inputs.values()]
    model = keras.Model(inputs, layer(*inputs))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        custom_objects = {type(layer).__name__: type(layer)}
        loaded = keras.saving.load_model(Path(folder) / "model.keras", custom_objects=custom_objects)
    arrays = [array.astype("float32") for array in PLAIN.inputs.values()]
    assert_equal(loaded(arrays), to_numpy(model(arrays)), "context after loading")


MISFITS: dict[str, dict[str, Any]] = {
    "a query of rank 1": {"query": np.zeros(1)},
    "values of rank 2": {"values": np.zeros((2, 3))},
    "another number of keys than of values": {"keys": np.zeros((2, 2, 1))},
    "another batch size": {"values": np.zeros((1, 3, 1)), "keys": None, "mask": None},
    "a mask of numbers": {"mask": np.ones((2, 3))},
    "a mask of another length": {"mask": np.ones((2, 2), bool)},
    "a mask for every query where there is one": {"mask": np.ones((2, 1, 3), bool)},
}


def test_misfits_are_refused(subject: Subject) -> None:
    """Arguments of the wrong rank, size or mask type raise ValueError instead of broadcasting."""
    for what, change in MISFITS.items():
        try:
            attend_by_function(subject, SMALL.but(**change))
        except ValueError:
            continue
        pytest.fail(f"{what} was accepted", pytrace=False)
