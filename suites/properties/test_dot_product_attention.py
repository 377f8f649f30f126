"""What must be true of dot-product attention, whoever wrote it (reference/dot_product_attention.py is the contract).

Each property asks for no more than it needs, so that a function without masks or without weights to return is tested as
far as it goes. Attention by blocks, and the layer of several heads, have files of their own.
"""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.dot_product_attention_cases import (
    FULLY_MASKED,
    HEADS,
    INPUTS,
    SMALL,
    SMALL_MASKED,
    SQUARE,
    Case,
    attend,
    cases,
    dtype_of,
    exact_gradients,
    filled,
    gradients,
    output_of,
    rounding,
    shaped,
    unseen_by_all,
    weights_of,
    widest,
)
from suites.properties.dot_product_attention_layer_cases import SELF, build, fitting
from suites.properties.dot_product_attention_layers import function_of, functions_of
from suites.properties.numerics import assert_equal, assert_within, gamma
from suites.properties.oracles import dot_product_attention as oracle
from suites.properties.refusals import refused
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


@example(case=SMALL.but(values=SMALL.values[..., :1]))
@given(case=cases(sized=True) | cases(sized=True, masked=True))
def test_values_may_have_a_size_of_their_own(subject: Subject, case: Case) -> None:
    """The size H_v of the values need not be that of queries and keys."""
    assert_within(output_of(subject, case), case.truth.output, rounding(subject, case).output, "output")


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


# Numbers


def test_large_scores_do_not_leak(subject: Subject) -> None:
    """A masked position has weight 0 even where its score exceeds all others by as much as the precision allows."""
    large = 128.0 if subject.compute_dtype == "float16" else 2.0**16  # scores of -+ large^2
    case = Case(
        query=np.full((1, 1, 1, 1), large),
        keys=np.array([-large, large]).reshape(1, 2, 1, 1),
        values=np.array([1.0, 2.0]).reshape(1, 2, 1, 1),
    )
    low = case.but(keys=-np.abs(case.keys), values=np.ones((1, 2, 1, 1)))
    for by in functions_of(subject):
        sizes: tuple[dict[str, int], ...] = ({},) if by == "dot_product_attention" else ({}, {"block": 1})
        hidden: tuple[dict[str, Any], ...] = ({"mask": np.array([[True, False]])}, {"causal": True})
        for size, masked in itertools.product(sizes, hidden):
            found = output_of(subject, case.but(**masked), by=by, **size)
            what = f"output by {by} with scores of -+{large**2:g}, {masked}, {size}"
            assert_equal(found, np.ones((1, 1, 1, 1)), what)
        for size in sizes:
            assert_equal(output_of(subject, low, by=by, **size), np.ones((1, 1, 1, 1)), f"where all are -{large**2:g}")


def test_scores_are_computed_in_float32(subject: Subject) -> None:
    """Scores that differ in float32 but collide in float16 and bfloat16 still tell positions apart."""
    # 64 * 128 = 8192 and 8192 + 1; float16 is spaced by 8 there, and bfloat16 by 64.
    case = Case(
        query=np.array([64.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 4),
        keys=np.array([[128.0, 0.0, 0.0, 0.0], [128.0, 1.0, 0.0, 0.0]]).reshape(1, 2, 1, 4),
        values=np.repeat([0.0, 1.0], 4).reshape(1, 2, 1, 4),
    )
    for by in functions_of(subject):
        # All products are exact, and so is their half; the weight, rounded once and more, lies in [0, 1].
        bound = oracle.rounding(**case.arguments, dtype="float32").output + 2 * gamma(3, subject.compute_dtype)
        assert_within(output_of(subject, case, by=by), case.truth.output, bound, "output")


@pytest.mark.structure
def test_dtype_of_the_inputs_comes_out(subject: Subject) -> None:
    """Inputs of every floating-point dtype are taken, and the output has their dtype."""
    for dtype, by in itertools.product(("float16", "bfloat16", "float32", widest()), functions_of(subject)):
        found = dtype_of(attend(subject, SMALL, dtype=dtype, by=by))
        check(found == dtype, f"output in {found} from inputs in {dtype}")


@pytest.mark.structure
@example(case=HEADS)
@given(case=cases(masked=True, scaled=True))
def test_gradient_follows_the_formula(subject: Subject, case: Case) -> None:
    """The gradients to query, keys and values are those of the formula, up to rounding in the widest dtype there is."""
    for what, found, truth, bound in exact_gradients(subject, case):
        assert_within(found, truth, bound, what)


# What goes in


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """NumPy arrays that are passed in hold the same numbers afterwards."""
    arrays = {name: getattr(HEADS, name).astype("float32") for name in (*INPUTS, "mask")}
    copies = {name: array.copy() for name, array in arrays.items()}
    for by in functions_of(subject):
        function_of(subject, by)(**{**arrays, "mask": arrays["mask"].astype(bool)})
    if subject.provides("MultiHeadAttention"):
        build(subject, fitting(subject, SELF))(query := SELF.query.astype("float32"))
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
    "a mask for another batch size": {"mask": np.ones((2, 3), bool)},
    "a mask for another number of heads": {"mask": np.ones((1, 2, 2, 3), bool)},
    "a mask of one axis": {"mask": np.ones(3, bool)},
}


@pytest.mark.structure
def test_misfits_are_refused(subject: Subject) -> None:
    """Arguments of the wrong rank, size or mask type are answered with ValueError, and never broadcast."""
    for by, (what, change) in itertools.product(functions_of(subject), MISFITS.items()):
        refused(f"{what} by {by}", attend, subject, SMALL.but(**change), by=by)
