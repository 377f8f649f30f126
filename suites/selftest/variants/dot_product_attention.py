"""Wrong variants of dot-product attention, among them all that the guide's sketch gets wrong."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

import reference.dot_product_attention as reference
from reference import _blockwise, _scores
from suites.selftest import variants
from suites.selftest.variants import Variant

HALF = ("mixed_float16",)
BOTH = ("float32", "mixed_float16")


changed = functools.partial(variants.changed, _scores, _blockwise, reference)
edited = functools.partial(variants.edited, _scores, _blockwise, reference)


def function(change: Callable[..., dict[str, Any]]) -> ModuleType:
    """The reference with some arguments of its function replaced by what is computed from all of them."""

    def dot_product_attention(query: Any, keys: Any, values: Any, mask: Any = None, **options: Any) -> Any:
        given = {"query": query, "keys": keys, "values": values, "mask": mask, **options}
        return reference.dot_product_attention(**{**given, **change(**given)})

    return changed(dot_product_attention=dot_product_attention)


# The whole function


def as_the_guide_has_it(
    query: Any, keys: Any, values: Any, mask: Any = None, return_weights: bool = False, scale: Any = None
) -> Any:
    """The scale is float32 whatever the inputs are; -1e9 is added where the mask is False."""
    query, keys, values = (tf.transpose(each, (0, 2, 1, 3)) for each in (query, keys, values))
    size = tf.cast(tf.shape(keys)[-1], tf.float32)
    scores = tf.matmul(query, keys, transpose_b=True) / (tf.sqrt(size) if scale is None else 1 / scale)
    if mask is not None:
        scores += (1 - tf.cast(mask, scores.dtype)) * -1e9
    weights = tf.nn.softmax(scores)
    output = tf.transpose(tf.matmul(weights, values), (0, 2, 1, 3))
    return (output, weights) if return_weights else output


def scaled_after_the_mask(
    query: Any, keys: Any, values: Any, mask: Any = None, scale: Any = None, **options: Any
) -> Any:
    """The mask's number is scaled along with the scores."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    late = changed(masked_softmax=lambda scores, allowed: softmax_scaled(scores, allowed, scale))
    return late.dot_product_attention(query, keys, values, mask, scale=1.0, **options)


def softmax_scaled(scores: Any, allowed: Any, scale: float) -> Any:
    """Of scores that are masked already."""
    return ops.softmax((scores if allowed is None else ops.where(allowed, scores, _scores.LOWEST_SCORE)) * scale)


def in_place(query: Any, *arguments: Any, **options: Any) -> Any:
    """An array that is passed in is scaled where it lies."""
    if isinstance(query, np.ndarray):
        query *= 0.5
    return reference.dot_product_attention(query, *arguments, **options)


def weights_of_the_first_head(*arguments: Any, return_weights: bool = False, **options: Any) -> Any:
    """All heads are said to attend as the first does."""
    output, weights = reference.dot_product_attention(*arguments, return_weights=True, **options)
    return (output, ops.broadcast_to(weights[:, :1], weights.shape)) if return_weights else output


# Scores


def by_position(query: Any, keys: Any) -> Any:
    """Later positions score higher."""
    scores = _scores.dot_products(query, keys)
    return scores + 0.5 * ops.arange(scores.shape[-1], dtype=scores.dtype)


def of_earlier_queries_too(query: Any, keys: Any) -> Any:
    """A query also counts in those that follow it."""
    return ops.cumsum(_scores.dot_products(query, keys), axis=2)


def by_direction(query: Any, keys: Any) -> Any:
    """Keys are brought to length 1."""
    return _scores.dot_products(query, keys / (ops.norm(keys, axis=-1, keepdims=True) + 1e-6))


def with_preferred_axes(query: Any, keys: Any) -> Any:
    """Some axes of a head count more than others."""
    return _scores.dot_products(query * ops.arange(1, query.shape[-1] + 1, dtype=query.dtype), keys)


# Softmax


def softmax_over(axis: int) -> Callable[[Any, Any], Any]:
    """Over another axis than that of the source."""

    def softmax(scores: Any, allowed: Any) -> Any:
        masked = scores if allowed is None else ops.where(allowed, scores, _scores.LOWEST_SCORE)
        weights = ops.exp(masked - ops.max(masked, axis=axis, keepdims=True))
        return weights / ops.sum(weights, axis=axis, keepdims=True)

    return softmax


def softmax_with_infinity(scores: Any, allowed: Any) -> Any:
    """Masked scores are -inf, so that a row of them has no largest."""
    return ops.softmax(scores if allowed is None else ops.where(allowed, scores, -float("inf")))


def all_rows(rows: Any, allowed: Any) -> Any:  # noqa: ARG001
    """Nothing is done about rows that are masked throughout."""
    return rows


def softmax_with_minus_1e9(scores: Any, allowed: Any) -> Any:
    """The mask adds -1e9, which is -inf in float16."""
    return ops.softmax(scores if allowed is None else scores + ops.where(allowed, 0.0, ops.cast(-1e9, scores.dtype)))


def softmax_in_float16_with_minus_1e9(scores: Any, allowed: Any) -> Any:
    """In the compute dtype of mixed_float16."""
    return softmax_with_minus_1e9(ops.cast(scores, "float16"), allowed)


def softmax_then_mask(scores: Any, allowed: Any) -> Any:
    """Masked weights are cut out of a distribution over all."""
    weights = ops.softmax(scores)
    return weights if allowed is None else ops.where(allowed, weights, 0)


def powers_only(scores: Any, allowed: Any) -> Any:
    """Never divided by their sum."""
    return ops.exp(scores) if allowed is None else ops.where(allowed, ops.exp(scores), 0)


def softmax_without_gradient(scores: Any, allowed: Any) -> Any:
    """Nothing is learned about where to attend."""
    return ops.stop_gradient(reference.masked_softmax(scores, allowed))


# Who may attend to whom


def positions(change: Callable[..., dict[str, Any]]) -> ModuleType:
    """The reference with some of mask, causal and offset replaced by what is computed from them."""

    def attended(mask: Any, causal: Any, offset: Any, length: Any, start: Any, size: Any) -> Any:
        given = {"mask": mask, "causal": causal, "offset": offset, **change(mask, causal, offset)}
        return _scores.attended_positions(given["mask"], given["causal"], given["offset"], length, start, size)

    return changed(attended_positions=attended)


# By blocks


def running(keep_total: bool, keep_sum: bool) -> Callable[..., tuple[Any, ...]]:
    """A running softmax in which one of the two sums does not shrink as the largest score grows."""

    def running_softmax(state: tuple[Any, ...], *block: Any) -> tuple[Any, ...]:
        grown = _blockwise.running_softmax(state, *block)[0]
        back = ops.exp(grown - state[0])  # undoes the shrinking
        started = ops.where(state[0] > _scores.LOWEST_SCORE, back, 1)
        largest, total, summed = state
        kept = largest, total * started if keep_total else total, summed * started if keep_sum else summed
        return _blockwise.running_softmax(kept, *block)

    return running_softmax


def rows_of_all_values(query: Any, source: Any) -> tuple[Any, Any]:
    """What a row has summed while all is masked stays."""
    output, log_total = _blockwise.blockwise_forward(query, source)
    mean = ops.mean(source.values, axis=2, keepdims=True)
    return ops.where(log_total > _scores.LOWEST_SCORE / 2, output, mean), log_total


def counted_from_zero(mask: Any, causal: Any, offset: Any, length: Any, start: Any, size: Any) -> Any:
    """The triangle starts anew in every block."""
    triangle = _scores.attended_positions(None, causal, offset, length, 0, size)
    given = _scores.attended_positions(mask, False, 0, length, start, size)
    return triangle if given is None else given if triangle is None else ops.logical_and(given, triangle)


class WithoutTail(_blockwise.Blocks):
    """What is left over after the last whole block is lost."""

    def fold(self, step: Callable[..., Any], state: Any) -> Any:
        length = self.keys.shape[2]
        for start in range(0, length - length % self.size if length > self.size else length, self.size):
            state = step(state, start, min(self.size, length))
        return state


def gradient_without_delta(query: Any, source: Any, output: Any, log_total: Any, upstream: Any) -> Any:
    """As if the sum of a row did not depend on its scores."""
    return _blockwise.blockwise_gradient(query, source, ops.zeros_like(output), log_total, upstream)


def all_at_once(*arguments: Any, block: int = 128, **options: Any) -> Any:  # noqa: ARG001
    """The whole under the name of the blockwise one."""
    return reference.dot_product_attention(*arguments, **options)


# A line at a time


def sentinel(number: float) -> ModuleType:
    """By blocks, this number stands for what is masked, and for nothing yet."""
    place = "@dataclass(frozen=True)\nclass Blocks"
    return edited(old=place, new=f"LOWEST_SCORE = {number}\n\n\n{place}")


FORMULA = ("output_follows_the_formula", "mask_and_scale_follow_the_formula", "weights_follow_the_formula")

VARIANTS = (
    Variant(
        "scale_in_float32",
        "the scale is cast to float32 whatever the inputs are, and float16 inputs fail",
        ("output_follows_the_formula", "dtype_of_the_inputs_comes_out"),
        changed(dot_product_attention=as_the_guide_has_it),
        HALF,
        raises=TypeError,
    ),
    Variant(
        "mask_adds_minus_1e9",
        "the mask adds -1e9",
        ("fully_masked_row_gives_zeros", "large_scores_do_not_leak"),
        changed(masked_softmax=softmax_with_minus_1e9, attending_rows=all_rows),
    ),
    Variant(
        "mask_adds_infinity_in_float16",
        "the mask adds -1e9 in float16, where that is -inf, and a row of it NaN",
        ("fully_masked_row_gives_zeros", "scores_are_computed_in_float32"),
        changed(masked_softmax=softmax_in_float16_with_minus_1e9, attending_rows=all_rows),
        HALF,
    ),
    Variant(
        "scaled_after_the_mask",
        "the mask's number is scaled along with the scores, and a scale of 0 lifts it",
        ("mask_and_scale_follow_the_formula",),
        changed(dot_product_attention=scaled_after_the_mask),
        BOTH,
    ),
    Variant(
        "scale_lost",
        "the scores are not divided by sqrt(H)",
        ("output_follows_the_formula", "scores_have_the_variance_of_one_product", "layer_follows_the_formula"),
        changed(scale_of=lambda query, scale: 1.0 if scale is None else scale),  # noqa: ARG005
    ),
    Variant(
        "softmax_over_queries",
        "the softmax runs over the queries",
        ("weights_are_a_distribution", *FORMULA),
        changed(masked_softmax=softmax_over(2)),
        BOTH,
    ),
    Variant(
        "softmax_over_heads",
        "the softmax runs over the heads",
        ("batch_entries_and_heads_do_not_mix",),
        changed(masked_softmax=softmax_over(1)),
        BOTH,
    ),
    Variant(
        "mask_ignored",
        "the mask is accepted and ignored",
        ("masked_weights_are_exactly_zero", "masked_positions_do_not_matter"),
        positions(lambda mask, causal, offset: {"mask": None}),  # noqa: ARG005
        BOTH,
    ),
    Variant(
        "mask_inverted",
        "True means masked",
        ("masked_weights_are_exactly_zero", "one_attended_position_gives_its_value"),
        positions(lambda mask, causal, offset: {"mask": None if mask is None else ops.logical_not(mask)}),  # noqa: ARG005
        BOTH,
    ),
    Variant(
        "one_mask_for_all_queries",
        "every query gets the mask of the first",
        ("packed_sequences_are_separate",),
        positions(lambda mask, causal, offset: {"mask": None if mask is None else mask[:, :, :1]}),  # noqa: ARG005
        BOTH,
    ),
    Variant(
        "causal_off_by_one",
        "a query sees the position after it",
        ("causal_is_aligned_at_the_top_left", "the_future_does_not_matter", "no_gradient_reaches_the_future"),
        positions(lambda mask, causal, offset: {"offset": offset + 1}),  # noqa: ARG005
        BOTH,
    ),
    Variant(
        "causal_without_itself",
        "a query does not see its own position",
        ("causal_is_aligned_at_the_top_left",),
        positions(lambda mask, causal, offset: {"offset": offset - 1}),  # noqa: ARG005
        BOTH,
    ),
    Variant(
        "causal_at_the_bottom_right",
        "the triangle is aligned at the bottom right, where the last query sees all keys",
        ("causal_is_aligned_at_the_top_left",),
        function(lambda keys, query, offset=0, **_: {"offset": offset + keys.shape[1] - query.shape[1]}),
        BOTH,
    ),
    Variant(
        "offset_ignored",
        "the offset is accepted and ignored",
        ("offset_moves_the_triangle", "decoding_with_a_cache_equals_the_whole"),
        positions(lambda mask, causal, offset: {"offset": 0}),  # noqa: ARG005
    ),
    Variant(
        "nan_where_all_is_masked",
        "masked scores are -inf, and the softmax of a row of them is NaN",
        ("fully_masked_row_gives_zeros", "masked_weights_are_exactly_zero"),
        changed(masked_softmax=softmax_with_infinity, attending_rows=all_rows),
        BOTH,
    ),
    Variant(
        "uniform_where_all_is_masked",
        "a row masked throughout attends to everything",
        ("fully_masked_row_gives_zeros", "masked_weights_are_exactly_zero"),
        changed(attending_rows=all_rows),
        BOTH,
    ),
    Variant(
        "masked_after_softmax",
        "masked weights are cut out of a distribution over all, and the rest does not sum to 1",
        ("one_attended_position_gives_its_value", "masked_padding_changes_nothing"),
        changed(masked_softmax=softmax_then_mask),
        BOTH,
    ),
    Variant(
        "padding_kept",
        "masked values are multiplied by zero, and 0 * NaN is NaN",
        ("padding_may_hold_nan", "blockwise_padding_may_hold_nan"),
        changed(cleared=lambda source, allowed: source),  # noqa: ARG005
        BOTH,
    ),
    Variant(
        "weights_not_normalised",
        "the weights are exp(score)",
        ("weights_are_a_distribution", "output_lies_among_the_values"),
        changed(masked_softmax=powers_only),
        BOTH,
    ),
    Variant(
        "position_scored",
        "later positions score higher",
        ("order_of_the_source_is_irrelevant", "equal_keys_share_equally", "a_duplicate_takes_a_fair_share"),
        changed(dot_products=by_position),
        BOTH,
    ),
    Variant(
        "queries_accumulate",
        "the score of a query counts for all later ones",
        ("order_of_the_queries_carries_over",),
        changed(dot_products=of_earlier_queries_too),
        BOTH,
    ),
    Variant(
        "keys_normalised",
        "only the direction of a key counts",
        ("a_shift_of_all_keys_changes_nothing",),
        changed(dot_products=by_direction),
        BOTH,
    ),
    Variant(
        "axes_weighted",
        "some axes of a head count more than others",
        ("a_common_rotation_changes_nothing",),
        changed(dot_products=with_preferred_axes),
        BOTH,
    ),
    Variant(
        "scores_in_compute_dtype",
        "scores and softmax run in the dtype of the inputs",
        ("scores_are_computed_in_float32",),
        changed(common_dtypes=lambda *tensors: (tensors[0].dtype, tensors[0].dtype)),
        ("mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "output_in_float32",
        "the output leaves the dtype of the inputs",
        ("dtype_of_the_inputs_comes_out",),
        changed(common_dtypes=lambda *tensors: (_scores.common_dtypes(*tensors)[1],) * 2),
    ),
    Variant(
        "gradient_stopped",
        "no gradient flows through the weights",
        ("gradient_follows_the_formula",),
        changed(masked_softmax=softmax_without_gradient),
    ),
    Variant(
        "weights_of_the_first_head",
        "the first head's weights are returned for all",
        ("weights_follow_the_formula", "layer_attends_to_a_source"),
        changed(dot_product_attention=weights_of_the_first_head),
    ),
    Variant(
        "arguments_scaled_in_place",
        "the query that is passed in is scaled where it lies",
        ("arguments_are_left_as_they_were",),
        changed(dot_product_attention=in_place),
    ),
    Variant(
        "mask_cut",
        "a mask for more queries than there are is cut",
        ("misfits_are_refused",),
        function(
            lambda query, mask, **_: {
                "mask": mask[:, : query.shape[1]] if mask is not None and mask.ndim == 3 else mask
            }
        ),
    ),
    Variant(
        "running_total_kept",
        "the running total does not shrink as the largest score grows",
        ("blockwise_follows_the_formula",),
        changed(running_softmax=running(keep_total=True, keep_sum=False)),
        BOTH,
    ),
    Variant(
        "running_sum_kept",
        "the running sum of values does not shrink as the largest score grows",
        ("blockwise_follows_the_formula",),
        changed(running_softmax=running(keep_total=False, keep_sum=True)),
        BOTH,
    ),
    Variant(
        "masked_rows_by_blocks",
        "by blocks, a row that is masked throughout gets the mean of all values",
        ("blockwise_follows_the_formula",),
        changed(blockwise_forward=rows_of_all_values),
        BOTH,
    ),
    Variant(
        "triangle_in_every_block",
        "the positions of the keys are counted from the beginning of their block",
        ("blockwise_follows_the_formula",),
        changed(attended_positions=counted_from_zero),
        BOTH,
    ),
    Variant(
        "values_cut",
        "values are brought to the size of the keys",
        ("values_may_have_a_size_of_their_own",),
        function(lambda keys, values, **_: {"values": ops.broadcast_to(values, keys.shape)}),
        BOTH,
    ),
    Variant(
        "tail_lost",
        "positions after the last whole block are lost",
        ("blockwise_follows_the_formula", "blockwise_gradient_follows_the_formula"),
        changed(Blocks=WithoutTail),
    ),
    Variant(
        "delta_lost",
        "the gradient by blocks lacks the term of the softmax's sum",
        ("blockwise_gradient_follows_the_formula",),
        changed(blockwise_gradient=gradient_without_delta),
    ),
    Variant(
        "blocks_all_at_once",
        "attention by blocks has all scores at once",
        ("blockwise_memory_grows_linearly",),
        changed(blockwise_attention=all_at_once),
    ),
    Variant(
        "finite_sentinel_by_blocks",
        "by blocks -5e4 stands for what is masked: a row whose scores all lie below it gives zeros",
        ("large_scores_do_not_leak",),
        sentinel(-5e4),
    ),
    Variant(
        "finite_sentinel_by_blocks_1e9",
        "by blocks -1e9 stands for what is masked",
        ("large_scores_do_not_leak",),
        sentinel(-1e9),
        ("float32", "mixed_bfloat16"),
    ),
    Variant(
        "mask_lost_beside_causality",
        "the mask is forgotten where attention is causal",
        ("options_together_follow_the_formula", "gradient_with_options_follows_the_formula"),
        edited(
            old="triangle[None, None] if allowed is None else ops.logical_and(allowed, triangle)",
            new="triangle[None, None]",
        ),
        BOTH,
    ),
    Variant(
        "values_of_the_keys_size_by_blocks",
        "by blocks the output is made in the size of the keys",
        ("blockwise_follows_the_formula",),
        edited(old="ops.shape(source.values)[3]", new="ops.shape(source.keys)[3]"),
    ),
    Variant(
        "sums_by_blocks_in_half",
        "by blocks the running sum of values is kept in float16",
        ("blockwise_follows_the_formula",),
        edited(
            old="summed * shrink + ops.matmul(powers, values)",
            new='ops.cast(ops.cast(summed * shrink + ops.matmul(powers, values), "float16"), summed.dtype)',
        ),
        HALF,
    ),
    Variant(
        "weights_by_blocks_in_half",
        "by blocks the powers are rounded to float16 before they meet the values",
        ("blockwise_follows_the_formula",),
        edited(
            old="ops.matmul(powers, values)",
            new='ops.matmul(ops.cast(ops.cast(powers, "float16"), powers.dtype), values)',
        ),
        HALF,
    ),
    Variant(
        "broadcast_masks_refused",
        "a mask whose N, B or T is 1 where there are more is refused",
        ("mask_and_scale_follow_the_formula", "options_together_follow_the_formula"),
        edited(old='if size is None or (name == "mask" and letter != "S" and size == 1):', new="if size is None:"),
        raises=ValueError,
    ),
    Variant(
        "offset_must_be_an_integer",
        "an offset that is a tensor fails in a graph",
        ("offset_may_be_a_tensor",),
        edited(old="ops.arange(length) + offset", new="ops.arange(length) + int(offset)"),
        raises=TypeError,
    ),
    Variant(
        "offset_read_while_tracing",
        "a graph keeps the offset of the first call",
        ("offset_may_be_a_tensor",),
        positions(lambda mask, causal, offset: {"offset": offset if isinstance(offset, int) else 1}),  # noqa: ARG005
    ),
    Variant(
        "length_must_be_known",
        "the number of keys must be known while tracing",
        ("lengths_need_not_be_known", "a_model_of_any_length_follows_the_formula"),
        edited(old="ops.shape(query)[1], 0, ops.shape(keys)[1])", new="query.shape[1], 0, keys.shape[1])"),
        raises=Exception,
    ),
    Variant(
        "length_must_be_known_by_blocks",
        "by blocks the number of keys must be known while tracing",
        ("lengths_need_not_be_known", "a_model_of_any_length_follows_the_formula"),
        edited(old="source = ops.shape(self.keys)[2]", new="source = self.keys.shape[2]"),
        raises=TypeError,
    ),
    Variant(
        "dtype_of_the_query",
        "the output has the query's dtype, not the common one",
        ("common_dtype_comes_out",),
        changed(common_dtypes=lambda *tensors: _scores.common_dtypes(tensors[0])),
    ),
    Variant(
        "values_rounded_to_the_querys_dtype",
        "the values are rounded to the query's dtype on their way",
        ("common_dtype_comes_out",),
        function(lambda query, values, **_: {"values": ops.cast(ops.cast(values, query.dtype), values.dtype)}),
    ),
    Variant(
        "float64_in_float32",
        "scores and softmax run in float32 under float64 too",
        ("float64_stays_float64", "gradient_follows_the_formula"),
        changed(
            common_dtypes=lambda *tensors: (_scores.common_dtypes(*tensors)[0], "float32"),
        ),
    ),
)
