"""What must be true of dot-product attention, whoever wrote it (reference/dot_product_attention.py is the contract).

Each property asks for no more than it needs, so that a function without masks, without weights to return, or without a
form by blocks is tested as far as it goes.
"""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.dot_product_attention_cases import (
    CROSS,
    FULLY_MASKED,
    HEADS,
    INPUTS,
    SELF,
    SMALL,
    SMALL_MASKED,
    SQUARE,
    Case,
    LayerCase,
    attend,
    build,
    call,
    cases,
    dtype_of,
    exact_gradients,
    forms,
    gradients,
    layer_cases,
    offers,
    output_of,
    rounding,
    run_layer,
    shaped,
    weights_of,
    widest,
)
from suites.properties.dot_product_attention_memory import largest_intermediate
from suites.properties.gradients import input_gradient
from suites.properties.numerics import assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import dot_product_attention as oracle
from suites.subjects import Subject

# The formula


@example(case=SMALL)
@given(case=cases())
def test_output_follows_the_formula(subject: Subject, case: Case) -> None:
    """The output is softmax(Q K' / sqrt(H)) V, head by head, up to rounding."""
    assert_within(output_of(subject, case), case.truth.output, rounding(subject, case).output, "output")


@example(case=HEADS)
@example(case=HEADS.but(scale=0.0))
@given(case=cases(masked=True, scaled=True))
def test_mask_and_scale_follow_the_formula(subject: Subject, case: Case) -> None:
    """With a mask and a scale, the output is that of the formula, up to rounding."""
    assert_within(output_of(subject, case), case.truth.output, rounding(subject, case).output, "output")


@example(case=HEADS)
@given(case=cases(masked=True))
def test_weights_follow_the_formula(subject: Subject, case: Case) -> None:
    """Returned weights are those of the formula, up to rounding."""
    assert_within(weights_of(subject, case), case.truth.weights, rounding(subject, case).weights, "weights")


OTHER_SIZE = SMALL.but(values=SMALL.values[..., :1])


def test_values_may_have_a_size_of_their_own(subject: Subject) -> None:
    """The size H_v of the values need not be that of queries and keys."""
    output = output_of(subject, OTHER_SIZE)
    assert_within(output, OTHER_SIZE.truth.output, rounding(subject, OTHER_SIZE).output, "output")


def test_scores_have_the_variance_of_one_product(subject: Subject) -> None:
    """For standard normal queries and keys the scores have variance 1, whatever H is: that is what sqrt(H) is for."""
    random = np.random.default_rng(0)
    for head in (4, 64):
        query, keys = (random.standard_normal((1, 64, 4, head)) for _ in range(2))
        case = Case(query, keys, np.zeros(query.shape))
        weights = shaped(attend(subject, case, dtype="float32", return_weights=True)[1], (1, 4, 64, 64), "weights")
        variance = np.log(weights).var(-1, ddof=1).mean()  # a row's log-sum-exp is the same for all of its scores
        # Of a row it has the mean |q_t|^2 / H, whose variance over 256 queries is 2 / (256 H); and 256 rows of 64 each.
        deviation = np.sqrt(2 / (256 * head) + 2 / (256 * 63) + 2 / (4 * 64 * head))
        check(
            abs(variance - 1) < 5 * deviation,
            f"variance {variance:.4f} at H = {head}, expected 1 +- {5 * deviation:.2f}",
        )


# The weights are a distribution over the source


@example(case=SMALL)
@given(case=cases())
def test_weights_are_a_distribution(subject: Subject, case: Case) -> None:
    """Weights are not negative, and those of each query and head sum to 1."""
    weights, bound = weights_of(subject, case), gamma(case.keys.shape[1] + 4, subject.compute_dtype)
    check((weights >= 0).all(), f"negative weights: {weights.tolist()}")
    assert_within(weights.sum(-1), np.ones(weights.shape[:-1]), bound, "sum of the weights")


@example(case=SMALL)
@given(case=cases())
def test_output_lies_among_the_values(subject: Subject, case: Case) -> None:
    """Each coordinate of the output lies between the least and the greatest of the values there."""
    low, high = case.values.min(1)[:, None], case.values.max(1)[:, None]  # (B, 1, N, H_v)
    bound = np.abs(case.values).max(1)[:, None] * 2 * gamma(case.keys.shape[1] + 4, subject.compute_dtype)
    middle, reach = np.broadcast_arrays((low + high) / 2, output_of(subject, case))[0], (high - low) / 2 + bound
    assert_within(output_of(subject, case), middle, reach, "output, from the values' middle")


@example(case=SMALL)
@given(case=cases())
def test_equal_keys_share_equally(subject: Subject, case: Case) -> None:
    """Where all keys are equal, the output is the mean of the values."""
    case = case.but(keys=np.repeat(case.keys[:, :1], case.keys.shape[1], axis=1))
    mean = np.repeat(case.values.mean(1, keepdims=True), case.query.shape[1], axis=1)
    assert_within(output_of(subject, case), mean, rounding(subject, case).output, "output")


@example(case=SMALL)
@given(case=cases())
def test_a_duplicate_takes_a_fair_share(subject: Subject, case: Case) -> None:
    """When a position is repeated, it and its copy have equal weights; all others shrink in proportion."""
    twice = [*range(case.keys.shape[1]), 0]
    doubled = case.but(keys=case.keys[:, twice], values=case.values[:, twice])
    before = weights_of(subject, case)
    expected = before[..., twice] / (1 + before[..., :1])
    bound = rounding(subject, doubled).weights + 2 * rounding(subject, case).weights.max()
    assert_within(weights_of(subject, doubled), expected, bound, "weights after repeating position 0")


@example(case=SMALL, shift=1.0)
@given(case=cases(), shift=st.sampled_from((-1.0, 0.5)))
def test_a_shift_of_all_keys_changes_nothing(subject: Subject, case: Case, shift: float) -> None:
    """The same vector added to every key adds the same to all scores of a query, and leaves the output as it was."""
    other = case.but(keys=case.keys + shift)
    bound = rounding(subject, case).output + rounding(subject, other).output
    assert_within(output_of(subject, other), output_of(subject, case), bound, f"output with {shift} added to the keys")


@example(case=SMALL)
@given(case=cases())
def test_a_common_rotation_changes_nothing(subject: Subject, case: Case) -> None:
    """Axes that are exchanged and mirrored in queries and keys alike leave the output as it was."""
    other = case.but(query=-case.query[..., ::-1], keys=-case.keys[..., ::-1])
    bound = 2 * rounding(subject, case).output
    assert_within(output_of(subject, other), output_of(subject, case), bound, "output with rotated queries and keys")


# Order, and who sees whom


@example(case=HEADS.but(scale=None))
@given(case=cases(masked=True))
def test_order_of_the_source_is_irrelevant(subject: Subject, case: Case) -> None:
    """Reversing keys, values and mask together leaves the output as it was."""
    assert case.mask is not None
    other = case.but(keys=case.keys[:, ::-1], values=case.values[:, ::-1], mask=case.mask[..., ::-1])
    bound = 2 * rounding(subject, case).output
    assert_within(output_of(subject, other), output_of(subject, case), bound, "output with the source reversed")


@example(case=SMALL)
@given(case=cases())
def test_order_of_the_queries_carries_over(subject: Subject, case: Case) -> None:
    """Reversing the queries reverses the outputs."""
    output, bound = output_of(subject, case), 2 * rounding(subject, case).output
    reverse = output_of(subject, case.but(query=case.query[:, ::-1]))
    assert_within(reverse, output[:, ::-1], bound[:, ::-1], "outputs of the queries in reverse")


TWO_BY_TWO = SMALL.but(
    **dict.fromkeys(INPUTS, np.array([[[[1.0], [-1.0]], [[2.0], [0.5]]], [[[-2.0], [1.5]], [[0.25], [1.0]]]]))
)
"""B = T = S = N = 2."""


@example(case=TWO_BY_TWO)
@given(case=cases())
def test_batch_entries_and_heads_do_not_mix(subject: Subject, case: Case) -> None:
    """The output of a batch entry and head is the one that they have alone."""
    together, bound = output_of(subject, case), 2 * rounding(subject, case).output
    for b, n in np.ndindex(case.query.shape[0], case.query.shape[2]):
        entry, head = slice(b, b + 1), slice(n, n + 1)
        alone = output_of(subject, case.but(**{name: getattr(case, name)[entry, :, head] for name in INPUTS}))
        assert_within(alone, together[entry, :, head], bound[entry, :, head], f"output of entry {b}, head {n} alone")


PACKED = SMALL.but(mask=np.array([[[True, False, False], [False, True, True]]]))
"""Two sequences in one: the first query and key, and the rest."""


def test_packed_sequences_are_separate(subject: Subject) -> None:
    """Under a block-diagonal mask every sequence has the output that it has alone."""
    together, bound = output_of(subject, PACKED), 2 * rounding(subject, PACKED).output
    for rows, columns in ((slice(0, 1), slice(0, 1)), (slice(1, 2), slice(1, 3))):
        alone = Case(PACKED.query[:, rows], PACKED.keys[:, columns], PACKED.values[:, columns])
        assert_within(output_of(subject, alone), together[:, rows], bound[:, rows], "output of a sequence alone")


# Masks


@example(case=FULLY_MASKED)
@given(case=cases(masked=True, empty=True))
def test_masked_weights_are_exactly_zero(subject: Subject, case: Case) -> None:
    """A masked position has weight 0, not merely a small one, also where a query has nothing else to attend to."""
    weights = weights_of(subject, case)
    check((weights[~case.attended] == 0).all(), f"weights {weights.tolist()} under the mask {case.attended.tolist()}")


def unseen_by_all(case: Case) -> np.ndarray:
    """The positions that no query attends to: (B, S)."""
    return ~np.any(case.attended, axis=(1, 2))


def filled(case: Case, unseen: np.ndarray, number: float) -> Case:
    """The case with a number in keys and values where `unseen`, `(B, S)`."""
    place = unseen[..., None, None]
    return case.but(keys=np.where(place, number, case.keys), values=np.where(place, number, case.values))


@example(case=SMALL_MASKED, far=64.0)
@given(case=cases(masked=True), far=st.sampled_from((-64.0, 64.0)))
def test_masked_positions_do_not_matter(subject: Subject, case: Case, far: float) -> None:
    """Finite numbers where no query attends have no effect on the output, bit for bit, and no gradient."""
    unseen = unseen_by_all(case)
    output = output_of(subject, case)
    assert_equal(output_of(subject, filled(case, unseen, far)), output, f"output with {far} in the padding")
    found = gradients(subject, case)
    for name in ("keys", "values"):
        check(
            (found[name][unseen] == 0).all(),
            f"gradient to the {name}, {found[name].tolist()}, is not 0 where masked",
        )


@example(case=SMALL_MASKED, poison=np.nan)
@given(case=cases(masked=True), poison=st.sampled_from((np.nan, np.inf)))
def test_padding_may_hold_nan(subject: Subject, case: Case, poison: float) -> None:
    """NaN and infinity at positions that no query attends to reach neither the output nor a gradient."""
    poisoned = filled(case, unseen_by_all(case), poison)
    output = output_of(subject, case)
    assert_equal(output_of(subject, poisoned), output, f"output with {poison} in the padding")
    for name, found in gradients(subject, poisoned).items():
        check(np.isfinite(found).all(), f"gradient to the {name}: {found.tolist()}")


@example(case=SMALL)
@given(case=cases())
def test_one_attended_position_gives_its_value(subject: Subject, case: Case) -> None:
    """With all but one position masked, the output is the value there."""
    for position in range(case.keys.shape[1]):
        alone = np.zeros(case.keys.shape[:2], bool)
        alone[:, position] = True
        value = np.repeat(case.values[:, position : position + 1], case.query.shape[1], axis=1)
        bound = np.abs(value) * gamma(case.keys.shape[1] + 4, subject.compute_dtype)
        output = output_of(subject, case.but(mask=alone))
        assert_within(output, value, bound, f"output where only position {position} is attended")


@example(case=SMALL_MASKED)
@given(case=cases(masked=True))
def test_masked_padding_changes_nothing(subject: Subject, case: Case) -> None:
    """Appending masked positions leaves the output as it was."""
    assert case.mask is not None
    keys, values = (
        np.pad(each, ((0, 0), (0, 2), (0, 0), (0, 0)), constant_values=2.0) for each in (case.keys, case.values)
    )
    longer = case.but(keys=keys, values=values, mask=np.pad(case.mask, [(0, 0)] * (case.mask.ndim - 1) + [(0, 2)]))
    bound = rounding(subject, case).output + rounding(subject, longer).output
    assert_within(output_of(subject, longer), output_of(subject, case), bound, "output after padding")


@example(case=FULLY_MASKED)
@given(case=cases(masked=True, empty=True))
def test_fully_masked_row_gives_zeros(subject: Subject, case: Case) -> None:
    """A query with nothing to attend to has a zero output, and leaves all gradients finite."""
    empty = np.swapaxes(~np.any(case.attended, axis=-1), 1, 2)  # (B, T, N)
    output = output_of(subject, case)
    assert_equal(output[empty], np.zeros_like(output[empty]), "output where all is masked")
    for name, found in gradients(subject, case).items():
        check(np.isfinite(found).all(), f"gradient to the {name} is not finite: {found.tolist()}")


# Causality


@example(case=SQUARE)
@example(case=SMALL.but(causal=True))
@given(case=cases(causal=True))
def test_causal_is_aligned_at_the_top_left(subject: Subject, case: Case) -> None:
    """Causal means that query t attends to the positions s <= t, however many keys there are."""
    bound = rounding(subject, case).output
    assert_within(output_of(subject, case), case.truth.output, bound, "output")


@example(case=SMALL.but(causal=True, offset=1))
@given(case=cases(masked=True, empty=True, causal=True, offset=True))
def test_offset_moves_the_triangle(subject: Subject, case: Case) -> None:
    """With an offset query t attends to the positions s <= t + offset, and of these to what the mask leaves."""
    bound = rounding(subject, case).output
    assert_within(output_of(subject, case), case.truth.output, bound, "output")


@example(case=SQUARE)
@given(case=cases(causal=True))
def test_the_future_does_not_matter(subject: Subject, case: Case) -> None:
    """Whatever finite numbers stand in keys and values after t, the outputs up to t are the same, bit for bit."""
    output = output_of(subject, case)
    for t in range(case.query.shape[1]):
        later = np.broadcast_to(np.arange(case.keys.shape[1]) > t, case.keys.shape[:2])
        other = output_of(subject, filled(case, later, 64.0))
        assert_equal(other[:, : t + 1], output[:, : t + 1], f"outputs up to {t} with 64 in keys and values after it")


def layer_options(subject: Subject) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """All combinations of what the layer is made with and called with that may send it down another path."""
    made: list[dict[str, Any]] = [{}, {"dropout": 0.5}, {"block": 2}]
    called: list[dict[str, Any]] = [
        {"return_attention_scores": scores, "training": training}
        for scores in (False, True)
        for training in (False, True)
    ]
    made = [options for options in made if all(offers(subject, name) for name in options)]
    return [(a, b) for a in made for b in called if not ("block" in a and b["return_attention_scores"])]


@pytest.mark.structure
def test_no_gradient_reaches_the_future(subject: Subject) -> None:
    """In causal self-attention no output has a gradient to a later input, whatever other options are set."""
    causal, later = SELF.but(causal=True), np.arange(3)[:, None] > np.arange(3)
    for made, called in layer_options(subject):
        layer = build(subject, causal, **made)
        for t in range(2):  # nothing comes after the third

            def output(query: Any, layer: Any = layer, called: dict[str, Any] = called) -> Any:
                found = layer(query, causal=True, **called)
                return found[0] if called["return_attention_scores"] else found

            cotangent = np.zeros(SELF.query.shape)
            cotangent[:, t] = 1
            found = to_numpy(input_gradient(output, ops.convert_to_tensor(SELF.query, "float32"), cotangent))
            what = f"with {made | called}, output {t} has the gradient {found[0].tolist()}"
            check((found[:, later[:, t]] == 0).all(), what)


# Numbers


def test_large_scores_do_not_leak(subject: Subject) -> None:
    """A masked position has weight 0 even where its score exceeds all others by as much as the precision allows."""
    large = 128.0 if subject.compute_dtype == "float16" else 2.0**16  # scores of -+ large^2
    case = Case(
        query=np.full((1, 1, 1, 1), large),
        keys=np.array([-large, large]).reshape(1, 2, 1, 1),
        values=np.array([1.0, 2.0]).reshape(1, 2, 1, 1),
        mask=np.array([[True, False]]),
    )
    assert_equal(output_of(subject, case), np.ones((1, 1, 1, 1)), f"output with scores of -+{large**2:g}")


def test_scores_are_computed_in_float32(subject: Subject) -> None:
    """Scores that differ in float32 but collide in float16 and bfloat16 still tell positions apart."""
    # 64 * 128 = 8192 and 8192 + 1; float16 is spaced by 8 there, and bfloat16 by 64.
    case = Case(
        query=np.array([64.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 4),
        keys=np.array([[128.0, 0.0, 0.0, 0.0], [128.0, 1.0, 0.0, 0.0]]).reshape(1, 2, 1, 4),
        values=np.repeat([0.0, 1.0], 4).reshape(1, 2, 1, 4),
    )
    for by in forms(subject):
        # All products are exact, and so is their half; the weight, rounded once and more, lies in [0, 1].
        bound = oracle.rounding(**case.arguments, dtype="float32").output + 2 * gamma(3, subject.compute_dtype)
        assert_within(output_of(subject, case, by=by), case.truth.output, bound, "output")


@pytest.mark.structure
def test_dtype_of_the_inputs_comes_out(subject: Subject) -> None:
    """Inputs of every floating-point dtype are taken, and the output has their dtype."""
    for dtype, by in itertools.product(("float16", "bfloat16", "float32", widest()), forms(subject)):
        found = dtype_of(attend(subject, SMALL, dtype=dtype, by=by))
        check(found == dtype, f"output in {found} from inputs in {dtype}")


@pytest.mark.structure
@example(case=HEADS)
@given(case=cases(masked=True, scaled=True))
def test_gradient_follows_the_formula(subject: Subject, case: Case) -> None:
    """The gradients to query, keys and values are those of the formula, up to rounding in the widest dtype there is."""
    for what, found, truth, bound in exact_gradients(subject, case):
        assert_within(found, truth, bound, what)


# By blocks


@example(case=HEADS, block=2)
@example(case=SMALL.but(keys=16 * SMALL.keys), block=1)
@given(case=cases(masked=True, empty=True, scaled=True, causal=True, offset=True), block=st.integers(1, 3))
def test_blockwise_follows_the_formula(subject: Subject, case: Case, block: int) -> None:
    """By blocks of any size, which need not divide S, the output is that of the formula, up to rounding."""
    bound = rounding(subject, case, blocks=-(-case.keys.shape[1] // block)).output
    output = output_of(subject, case, by="blockwise_attention", block=block)
    assert_within(output, case.truth.output, bound, f"output by blocks of {block}")


def test_blockwise_padding_may_hold_nan(subject: Subject) -> None:
    """By blocks, NaN where no query attends and rows masked throughout reach neither output nor gradient."""
    for case in (SMALL_MASKED, FULLY_MASKED, SMALL.but(causal=True)):
        poisoned = filled(case, unseen_by_all(case), np.nan)
        output, bound = (
            output_of(subject, poisoned, by="blockwise_attention", block=2),
            rounding(subject, case, blocks=2),
        )
        assert_within(output, case.truth.output, bound.output, "output by blocks with NaN in the padding")
        for name, found in gradients(subject, poisoned, by="blockwise_attention", block=2).items():
            check(np.isfinite(found).all(), f"gradient to the {name}: {found.tolist()}")


@pytest.mark.structure
@example(case=HEADS, block=2)
@given(case=cases(masked=True, empty=True, scaled=True, causal=True, offset=True), block=st.integers(1, 3))
def test_blockwise_gradient_follows_the_formula(subject: Subject, case: Case, block: int) -> None:
    """The gradients by blocks are those of the formula, up to rounding in the widest dtype there is."""
    for what, found, truth, bound in exact_gradients(subject, case, by="blockwise_attention", block=block):
        assert_within(found, truth, bound, f"{what} by blocks of {block}")


@pytest.mark.structure
def test_blockwise_memory_grows_linearly(subject: Subject) -> None:
    """No tensor on the way to the output by blocks, or to its gradient, has more than a multiple of T + S elements."""
    short, long = (largest_intermediate(subject, length, block=16) for length in (128, 256))
    check(long <= 2 * short, f"the largest tensor has {short} elements at T = S = 128, and {long} at 256")


# The layer


@example(case=SELF)
@given(case=layer_cases())
def test_layer_follows_the_formula(subject: Subject, case: LayerCase) -> None:
    """Self-attention is concat(head_1, ..., head_N) W_O with heads of attention on projections, up to rounding."""
    truth, bound = case.solution(subject.compute_dtype)
    assert_within(run_layer(subject, case), truth.output, bound.output, "output of the layer")


@example(case=CROSS)
@given(case=layer_cases(cross=True))
def test_layer_attends_to_a_source(subject: Subject, case: LayerCase) -> None:
    """With values, keys and a mask, output and returned weights are those of the formula, up to rounding."""
    truth, bound = case.solution(subject.compute_dtype)
    output, weights = call(build(subject, case), case.inputs, return_attention_scores=True, **case.options)
    assert_within(weights, truth.weights, bound.weights, "weights")
    assert_within(output, truth.output, bound.output, "output of the layer")


EMPTY_ROW = CROSS.but(mask=np.array([[[False, False, False], [True, True, False]]]))


def test_asking_for_weights_changes_nothing(subject: Subject) -> None:
    """The output is the same whether the weights are returned or not, also where a query has nothing to attend to."""
    layer = build(subject, EMPTY_ROW)
    alone = to_numpy(call(layer, EMPTY_ROW.inputs, **EMPTY_ROW.options))
    output, _ = call(layer, EMPTY_ROW.inputs, return_attention_scores=True, **EMPTY_ROW.options)
    bound = 2 * EMPTY_ROW.solution(subject.compute_dtype)[1].output
    assert_within(output, alone, bound, "output that comes with weights, against that which comes alone")


@example(case=CROSS)
@given(case=layer_cases(cross=True))
def test_layer_by_blocks_follows_the_formula(subject: Subject, case: LayerCase) -> None:
    """A layer that attends by blocks has the output of the formula, up to rounding."""
    truth, bound = case.solution(subject.compute_dtype, blocks=2)
    assert_within(run_layer(subject, case, block=2), truth.output, bound.output, "output of the layer by blocks")


@example(case=SELF)
@given(case=layer_cases())
def test_order_of_the_heads_is_irrelevant(subject: Subject, case: LayerCase) -> None:
    """Reversing the heads in all weights, rows of the output kernel included, leaves the output as it was."""
    query, key, value, output = (case.weights[i : i + 2] for i in (0, 2, 4, 6))
    inner = [array[..., ::-1, :] for array in (*query, *key, *value)]
    reverse = case.but(weights=(*inner, output[0][::-1], output[1]))
    bound = 2 * case.solution(subject.compute_dtype)[1].output
    assert_within(run_layer(subject, reverse), run_layer(subject, case), bound, "output with the heads reversed")


def transparent(size: int) -> tuple[np.ndarray, ...]:
    """The weights of one head of this size that projects nothing."""
    kernel, bias = np.eye(size), np.zeros(size)
    return (*(each for _ in INPUTS for each in (kernel[:, None], bias[None])), kernel[None], bias)


def test_dropout_acts_on_the_weights(subject: Subject) -> None:
    """In training each weight is dropped or divided by the chance that it is not; in inference all are as they were."""
    # One head that projects nothing, over one-hot values: the output of a query is its row of weights.
    random = np.random.default_rng(0)
    query, keys = random.integers(-8, 9, (1, 16, 4)) / 8, random.integers(-8, 9, (1, 4, 4)) / 8
    case = LayerCase(query, np.eye(4)[None], keys, transparent(4))
    layer = build(subject, case, dropout=0.5)
    kept, passed = (to_numpy(call(layer, case.inputs, training=training)) for training in (False, True))
    truth, bound = case.solution(subject.compute_dtype)
    assert_within(kept, truth.output, bound.output, "output in inference")
    dropped = passed == 0
    mixed = dropped.any(-1) & ~dropped.all(-1)
    check(mixed.any(), f"at rate 0.5 {dropped.sum()} of {dropped.size} weights are dropped, and no row in part")
    assert_within(passed, np.where(dropped, 0, 2 * truth.output), 2 * bound.output, "output in training")


def test_decoding_with_a_cache_equals_the_whole(subject: Subject) -> None:
    """Position by position, with the projected keys and values of those before, the outputs are those of the whole."""
    case = SELF.but(causal=True)
    whole, bound = run_layer(subject, case), 2 * case.solution(subject.compute_dtype)[1].output
    layer, words = build(subject, case), ops.cast(case.query, "float32")
    for name in ("project_query", "project_source", "attend"):
        if not hasattr(layer, name):
            subject.__getattr__(f"MultiHeadAttention.{name}")
    keys, values = layer.project_source(words)
    for t in range(3):
        step = layer.attend(layer.project_query(words[:, t : t + 1]), keys, values, causal=True, offset=t)
        assert_within(step, whole[:, t : t + 1], bound[:, t : t + 1], f"output {t}")


@pytest.mark.structure
def test_parameters_are_counted_as_in_the_paper(subject: Subject) -> None:
    """There are N H (2 D + D_k + D_v) parameters in the kernels and 3 N H + D in the biases."""
    for use_bias in (True, False) if offers(subject, "use_bias") else (True,):
        layer = subject.MultiHeadAttention(2, 2, use_bias=use_bias)
        call(layer, CROSS.inputs)
        found, expected = layer.count_params(), 4 * (2 * 4 + 3 + 1) + use_bias * (3 * 4 + 4)
        check(found == expected, f"{found} parameters with use_bias={use_bias}, expected {expected}")


def test_layer_follows_the_policy(subject: Subject) -> None:
    """The output has the compute dtype, the weights of attention and of the layer stay in float32."""
    layer = build(subject, SELF)
    output, weights = call(layer, SELF.inputs, return_attention_scores=True)
    found = [dtype_of(each) for each in (output, weights, *layer.weights)]
    expected = [subject.compute_dtype, "float32", *["float32"] * 8]
    check(found == expected, f"output, attention and weights of the layer in {found}, expected {expected}")


@pytest.mark.structure
def test_model_survives_saving(subject: Subject) -> None:
    """A functional model over any length has the shape it says, and does the same after saving and loading."""
    offered = {"dropout": 0.5, "use_bias": False}
    options = {name: value for name, value in offered.items() if offers(subject, name)}
    layer = subject.MultiHeadAttention(2, 2, **options)
    words = keras.Input((None, 4))
    model = keras.Model(words, layer(words, causal=True))
    check(model.output_shape == (None, None, 4), f"shape {model.output_shape}, expected (None, None, 4)")
    with tempfile.TemporaryDirectory() as folder:
        model.save(path := Path(folder) / "model.keras")
        loaded = keras.saving.load_model(path, custom_objects={type(layer).__name__: type(layer)})
    array = np.arange(24.0, dtype="float32").reshape(2, 3, 4) % 5
    output = to_numpy(model(array))
    assert_equal(loaded(array), output, "output after loading")
    if "dropout" in options:  # a weight that stays is doubled, so that nothing stays near what it was
        change = np.abs(to_numpy(loaded(array, training=True)) - output).max()
        check(change > 1e-3 * np.abs(output).max(), "no weight is dropped in training after loading")


# What goes in


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """NumPy arrays that are passed in hold the same numbers afterwards."""
    arrays = {name: getattr(HEADS, name).astype("float32") for name in (*INPUTS, "mask")}
    copies = {name: array.copy() for name, array in arrays.items()}
    for by in forms(subject):
        getattr(subject, by)(**{**arrays, "mask": arrays["mask"].astype(bool)})
    if subject.provides("MultiHeadAttention"):
        build(subject, SELF)(query := SELF.query.astype("float32"))
        assert_equal(query, SELF.query, "query of the layer after the call")
    for name, array in arrays.items():
        assert_equal(array, copies[name], f"{name} after the call")


MISFITS: dict[str, dict[str, Any]] = {
    "a query of rank 3": {"query": np.zeros((1, 2, 2))},
    "keys of another length than the values": {"keys": np.zeros((1, 2, 1, 2))},
    "keys of another size than the query": {"keys": np.zeros((1, 3, 1, 1))},
    "values of another batch size": {"values": np.zeros((2, 3, 1, 1))},
    "values of another number of heads": {"values": np.zeros((1, 3, 2, 1))},
    "a mask of numbers": {"mask": np.ones((1, 3))},
    "a mask of another length than the keys": {"mask": np.ones((1, 1), bool)},
    "a mask for another number of queries": {"mask": np.ones((1, 3, 3), bool)},
}


@pytest.mark.structure
def test_misfits_are_refused(subject: Subject) -> None:
    """Arguments of the wrong rank, size or mask type are answered with ValueError, and never broadcast."""
    for by, (what, change) in itertools.product(forms(subject), MISFITS.items()):
        try:
            attend(subject, SMALL.but(**change), by=by)
        except ValueError:
            continue
        check(False, f"{what} was accepted by {by}")


@pytest.mark.structure
def test_contradictions_are_refused(subject: Subject) -> None:
    """No heads, dropout by blocks, and weights by blocks are answered with ValueError."""
    attempts = {
        "no heads": lambda: subject.MultiHeadAttention(0, 2),
        "dropout on weights that are never whole": lambda: subject.MultiHeadAttention(2, 2, dropout=0.5, block=2),
        "weights that are never whole": lambda: call(
            build(subject, SELF, block=2), SELF.inputs, return_attention_scores=True
        ),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
        except ValueError:
            continue
        check(False, f"{what}: accepted")
