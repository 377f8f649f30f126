"""Wrong variants of additive attention, among them all that the guide's sketch gets wrong."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

import reference.additive_attention as reference
from suites.selftest import variants
from suites.selftest.variants import Variant, override

Attention = Callable[..., tuple[Any, Any]]
BOTH = ("float32", "mixed_float16")


def layer_of(function: Attention) -> type[keras.layers.Layer]:
    """The reference's layer around another function."""

    class AdditiveAttention(reference.AdditiveAttention):
        def call(
            self, query: Any, values: Any, keys: Any = None, mask: Any = None, return_attention_scores: bool = False
        ) -> Any:
            kernels = {"query_kernel": self.query_kernel, "key_kernel": self.key_kernel, "scale": self.scale}
            context, weights = function(query, values, keys, mask, **kernels)
            return (context, weights) if return_attention_scores else context

    return AdditiveAttention


def wrong(function: Attention) -> SimpleNamespace:
    """The reference with another function, alone and in the layer."""
    return override(reference, additive_attention=function, AdditiveAttention=layer_of(function))


def changed(**changes: Callable[[dict[str, Any]], Any]) -> SimpleNamespace:
    """The reference called with some of its arguments replaced by what is computed from all of them."""

    def function(query: Any, values: Any, keys: Any = None, mask: Any = None, **kernels: Any) -> tuple[Any, Any]:
        given = {"query": query, "values": values, "keys": keys, "mask": mask, **kernels}
        return reference.additive_attention(**{**given, **{name: change(given) for name, change in changes.items()}})

    return wrong(function)


def assembled(
    scores: Callable[..., Any] = reference.additive_scores,
    softmax: Callable[..., Any] = reference.masked_softmax,
    clear: bool = True,
) -> SimpleNamespace:
    """The reference's steps, with another score or another softmax; without its checks of shapes."""

    def function(
        query: Any,
        values: Any,
        keys: Any = None,
        mask: Any = None,
        *,
        query_kernel: Any,
        key_kernel: Any,
        scale: Any,
    ) -> tuple[Any, Any]:
        query, values = ops.convert_to_tensor(query), ops.convert_to_tensor(values)
        keys, one_query = (values if keys is None else keys), len(query.shape) == 2
        query = ops.expand_dims(query, 1) if one_query else query
        if mask is not None:
            mask = ops.expand_dims(mask, 1) if len(mask.shape) == 2 else ops.convert_to_tensor(mask)
            attended = ops.expand_dims(ops.any(mask, axis=1), -1)
            keys, values = (ops.where(attended, each, 0) if clear else each for each in (keys, values))
        projected = [
            ops.matmul(tensor, ops.cast(kernel, tensor.dtype))
            for tensor, kernel in ((query, query_kernel), (keys, key_kernel))
        ]
        weights = softmax(scores(*projected, scale), mask)
        context = ops.matmul(ops.cast(weights, values.dtype), values)
        return (ops.squeeze(context, 1), ops.squeeze(weights, 1)) if one_query else (context, weights)

    return wrong(function)


# Scores


def scores_without_tanh(query: Any, keys: Any, scale: Any) -> Any:
    """The tanh is left out."""
    return ops.sum(scale * (ops.expand_dims(query, 2) + ops.expand_dims(keys, 1)), axis=-1)


def scores_in_compute_dtype(query: Any, keys: Any, scale: Any) -> Any:
    """All in the dtype of the projections, as a layer under a mixed policy does unasked."""
    scale = ops.cast(scale, query.dtype)
    return ops.sum(scale * ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1)), axis=-1)


def scores_by_position(query: Any, keys: Any, scale: Any) -> Any:
    """Later positions score higher."""
    scores = reference.additive_scores(query, keys, scale)
    return scores + 0.1 * ops.arange(scores.shape[-1], dtype=scores.dtype)


def scores_of_earlier_queries_too(query: Any, keys: Any, scale: Any) -> Any:
    """A query also counts in those that follow it."""
    return ops.cumsum(reference.additive_scores(query, keys, scale), axis=1)


# Softmax


def softmax_in_float16(scores: Any, mask: Any) -> Any:
    """In the compute dtype of mixed_float16."""
    return reference.masked_softmax(ops.cast(scores, "float16"), mask)


def softmax_over_queries(scores: Any, mask: Any) -> Any:
    """Over T in place of S."""
    return ops.softmax(scores if mask is None else ops.where(mask, scores, reference.LOWEST_SCORE), axis=1)


def softmax_with_minus_1e9(scores: Any, mask: Any) -> Any:
    """The mask adds -1e9."""
    return ops.softmax(scores if mask is None else ops.where(mask, scores, scores - 1e9), axis=-1)


def softmax_with_infinity(scores: Any, mask: Any) -> Any:
    """Masked scores are -inf, so that a row of them has no largest."""
    return ops.softmax(scores if mask is None else ops.where(mask, scores, -float("inf")), axis=-1)


def softmax_without_zeroing(scores: Any, mask: Any) -> Any:
    """Masked scores are the lowest number, so that a row of them is uniform."""
    return ops.softmax(scores if mask is None else ops.where(mask, scores, reference.LOWEST_SCORE), axis=-1)


def softmax_then_mask(scores: Any, mask: Any) -> Any:
    """Masked weights are cut out of a distribution over all."""
    weights = ops.softmax(scores, axis=-1)
    return weights if mask is None else ops.where(mask, weights, 0)


def powers_only(scores: Any, mask: Any) -> Any:
    """Never divided by their sum."""
    return ops.exp(scores) if mask is None else ops.where(mask, ops.exp(scores), 0)


def softmax_without_gradient(scores: Any, mask: Any) -> Any:
    """Nothing is learned about where to attend."""
    return ops.stop_gradient(reference.masked_softmax(scores, mask))


# Around them


def query_axis_kept(*arguments: Any, **kernels: Any) -> tuple[Any, Any]:
    """A single query comes back with an axis of length 1."""
    context, weights = reference.additive_attention(*arguments, **kernels)
    return (ops.expand_dims(context, 1), weights) if len(context.shape) == 2 else (context, weights)


def clears_in_place(query: Any, values: Any, keys: Any = None, mask: Any = None, **kernels: Any) -> tuple[Any, Any]:
    """What no query may attend to is cleared where the caller keeps it."""
    if isinstance(values, np.ndarray) and mask is not None:
        values[~(mask if mask.ndim == 2 else mask.any(1))] = 0
    return reference.additive_attention(query, values, keys, mask, **kernels)


def context_in_float32(*arguments: Any, **kernels: Any) -> tuple[Any, Any]:
    """The context leaves the compute dtype."""
    context, weights = reference.additive_attention(*arguments, **kernels)
    return ops.cast(context, "float32"), weights


class Biased(reference.AdditiveAttention):
    """A layer whose projection of the query has a bias, as that of `keras.layers.Dense` has unless it is told."""

    def build(self, query_shape: Any, values_shape: Any, keys_shape: Any = None) -> None:
        super().build(query_shape, values_shape, keys_shape)
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")


class Forgetful(reference.AdditiveAttention):
    """A layer whose configuration lacks its size."""

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["units"]
        return config


def first_mask(given: dict[str, Any]) -> Any:
    """The mask of the first batch entry, for all."""
    mask = given["mask"]
    return mask if mask is None else ops.broadcast_to(mask[:1], mask.shape)


def inverted(given: dict[str, Any]) -> Any:
    """True where masked."""
    return None if given["mask"] is None else ops.logical_not(given["mask"])


def mean_of_batch(given: dict[str, Any]) -> Any:
    """The keys of all batch entries, averaged."""
    keys = given["values"] if given["keys"] is None else given["keys"]
    return ops.broadcast_to(ops.mean(keys, axis=0, keepdims=True), keys.shape)


def projected(given: dict[str, Any]) -> Any:
    """The values, multiplied with the key kernel."""
    return ops.matmul(given["values"], ops.cast(given["key_kernel"], given["values"].dtype))


def repeated_for_queries(given: dict[str, Any]) -> Any:
    """The values, repeated where there is one batch entry of them and more of queries."""
    query, values = given["query"], given["values"]
    return ops.repeat(values, query.shape[0], axis=0) if values.shape[0] == 1 else values


def edited(old: str, new: str) -> ModuleType:
    """The reference with this text of its source, which occurs once, replaced by another."""
    return variants.edited(reference, old=old, new=new)


FORMULA = ("context_follows_the_formula", "keys_mask_and_weights_follow_the_formula")

VARIANTS = (
    Variant(
        "query_ignored",
        "the query is accepted and ignored",
        ("query_decides", *FORMULA),
        changed(query=lambda given: ops.zeros_like(given["query"])),
        precisions=BOTH,
    ),
    Variant(
        "mask_ignored",
        "the mask is accepted and ignored",
        ("masked_weights_are_exactly_zero", "masked_values_do_not_matter", "no_gradient_reaches_masked_values"),
        changed(mask=lambda given: None),  # noqa: ARG005
        precisions=BOTH,
    ),
    Variant(
        "softmax_in_float16",
        "the softmax runs in whatever precision the layer runs in",
        ("scores_are_computed_in_float32",),
        assembled(softmax=softmax_in_float16),
        precisions=("mixed_float16",),
    ),
    Variant(
        "scores_in_bfloat16",
        "tanh and scores run in the compute dtype",
        ("scores_are_computed_in_float32",),
        assembled(scores=scores_in_compute_dtype),
        precisions=("mixed_bfloat16",),
    ),
    Variant(
        "mask_adds_minus_1e9",
        "the mask adds -1e9",
        ("fully_masked_row_gives_zeros", "large_scores_do_not_leak"),
        assembled(softmax=softmax_with_minus_1e9),
    ),
    Variant(
        "mask_inverted",
        "True means masked",
        ("masked_weights_are_exactly_zero", "one_attended_position_gives_its_value"),
        changed(mask=inverted),
        precisions=BOTH,
    ),
    Variant(
        "softmax_over_queries",
        "the softmax runs over the queries",
        ("weights_are_a_distribution", *FORMULA),
        assembled(softmax=softmax_over_queries),
        precisions=BOTH,
    ),
    Variant(
        "scale_lost",
        "the scores are sums of the tanh, without v",
        ("zero_scale_gives_the_mean", *FORMULA),
        changed(scale=lambda given: ops.ones_like(given["scale"])),
        precisions=BOTH,
    ),
    Variant(
        "tanh_lost",
        "the scores are linear, and without a bound",
        ("no_position_is_ignored", *FORMULA),
        assembled(scores=scores_without_tanh),
        precisions=BOTH,
    ),
    Variant(
        "keys_and_values_swapped",
        "the keys are averaged by scores of the values",
        ("keys_mask_and_weights_follow_the_formula",),
        changed(
            values=lambda given: given["values"] if given["keys"] is None else given["keys"],
            keys=lambda given: given["values"],
        ),
        precisions=BOTH,
    ),
    Variant(
        "nan_where_all_is_masked",
        "masked scores are -inf, and the softmax of a row of them is NaN",
        ("fully_masked_row_gives_zeros", "fully_masked_row_has_no_weight"),
        assembled(softmax=softmax_with_infinity),
        precisions=BOTH,
    ),
    Variant(
        "uniform_where_all_is_masked",
        "a row masked throughout attends to everything",
        ("fully_masked_row_gives_zeros", "fully_masked_row_has_no_weight"),
        assembled(softmax=softmax_without_zeroing),
        precisions=BOTH,
    ),
    Variant(
        "masked_after_softmax",
        "masked weights are cut out of a distribution over all, and the rest does not sum to 1",
        ("one_attended_position_gives_its_value", "masked_padding_changes_nothing"),
        assembled(softmax=softmax_then_mask),
        precisions=BOTH,
    ),
    Variant(
        "values_projected",
        "the values are projected like the keys",
        ("context_follows_the_formula", "one_attended_position_gives_its_value"),
        changed(values=projected, keys=lambda given: given["values"] if given["keys"] is None else given["keys"]),
        precisions=BOTH,
    ),
    Variant(
        "one_mask_for_the_batch",
        "every batch entry gets the mask of the first",
        ("masked_weights_are_exactly_zero",),
        changed(mask=first_mask),
        precisions=BOTH,
    ),
    Variant(
        "padding_kept",
        "masked values are multiplied by zero, and 0 * NaN is NaN",
        ("padding_may_hold_nan",),
        assembled(clear=False),
        precisions=BOTH,
    ),
    Variant(
        "weights_not_normalised",
        "the weights are exp(score)",
        ("weights_are_a_distribution", "context_lies_among_the_values"),
        assembled(softmax=powers_only),
        precisions=BOTH,
    ),
    Variant(
        "keys_averaged_over_the_batch",
        "batch entries see each other's keys",
        ("batch_entries_do_not_mix",),
        changed(keys=mean_of_batch),
        precisions=BOTH,
    ),
    Variant(
        "position_scored",
        "later positions score higher",
        ("order_of_the_source_is_irrelevant", "equal_keys_share_equally", "a_duplicate_takes_a_fair_share"),
        assembled(scores=scores_by_position),
        precisions=BOTH,
    ),
    Variant(
        "queries_accumulate",
        "the score of a query counts for all later ones",
        ("order_of_the_queries_carries_over",),
        assembled(scores=scores_of_earlier_queries_too),
        precisions=BOTH,
    ),
    Variant(
        "gradient_stopped",
        "no gradient flows through the weights",
        ("gradient_is_right_in_float64",),
        assembled(softmax=softmax_without_gradient),
    ),
    Variant(
        "query_axis_kept",
        "one query comes back as a sequence of one",
        ("one_query_is_a_sequence_of_one",),
        wrong(query_axis_kept),
        precisions=BOTH,
    ),
    Variant(
        "context_in_float32",
        "the context is float32 under a mixed policy",
        ("dtypes_follow_the_policy",),
        wrong(context_in_float32),
        precisions=("mixed_float16",),
    ),
    Variant(
        "function_differs",
        "the function and the layer have different formulas",
        ("function_equals_layer",),
        override(reference, AdditiveAttention=layer_of(assembled(scores=scores_by_position).additive_attention)),
        precisions=BOTH,
    ),
    Variant(
        "batch_broadcast",
        "values of batch size 1 serve queries of any batch size",
        ("misfits_are_refused",),
        changed(values=repeated_for_queries),
    ),
    Variant(
        "query_biased",
        "the projection of the query has a bias",
        ("layer_counts",),
        override(reference, AdditiveAttention=Biased),
    ),
    Variant(
        "cleared_in_place",
        "masked values are cleared in the caller's own array",
        ("arguments_are_left_as_they_were",),
        override(reference, additive_attention=clears_in_place),
    ),
    Variant(
        "units_forgotten",
        "the layer cannot be built from its configuration",
        ("model_survives_saving",),
        override(reference, AdditiveAttention=Forgetful),
        raises=TypeError,
        precisions=BOTH,
    ),
    Variant(
        "weights_returned_in_half",
        "the returned weights have the compute dtype",
        ("weights_are_computed_in_float32",),
        edited(
            "        return (context, weights) if return_attention_scores else context",
            "        weights = ops.cast(weights, self.compute_dtype)\n"
            "        return (context, weights) if return_attention_scores else context",
        ),
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "scale_in_half",
        "v is rounded to the compute dtype before it meets the tanh",
        ("weights_are_computed_in_float32",),
        edited('name="scale", autocast=False)', 'name="scale")'),
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "scale_detached",
        "no gradient reaches v, which never trains",
        ("gradient_reaches_the_kernels",),
        changed(scale=lambda given: ops.stop_gradient(given["scale"])),
    ),
    Variant(
        "query_kernel_detached",
        "no gradient reaches the kernel of the query",
        ("gradient_reaches_the_kernels",),
        changed(query_kernel=lambda given: ops.stop_gradient(given["query_kernel"])),
    ),
    Variant(
        "keys_in_padding_kept",
        "padded values are cleared, but not keys of their own",
        ("padding_may_hold_nan",),
        edited("keys, values = ops.where(attended, keys, 0),", "keys, values = keys,"),
    ),
    Variant(
        "padding_cleared_for_2d_masks_only",
        "with a mask of its own for every query nothing is cleared",
        ("padding_may_hold_nan",),
        edited(
            "attended = ops.expand_dims(ops.any(mask, axis=1), -1)",
            "attended = ops.logical_or(ops.expand_dims(ops.any(mask, axis=1), -1), mask.shape[1] > 1)",
        ),
        precisions=BOTH,
    ),
    Variant(
        "born_dead",
        "kernels and v start at zero, and all gradients are zero for ever",
        ("layer_is_born_as_agreed",),
        edited('glorot = "glorot_uniform"', 'glorot = "zeros"'),
    ),
    Variant(
        "born_alike",
        "both kernels start as the same numbers, from one seeded initializer",
        ("layer_is_born_as_agreed",),
        edited('glorot = "glorot_uniform"', "glorot = keras.initializers.GlorotUniform(seed=1)"),
    ),
    Variant(
        "born_normal",
        "kernels and v start with Glorot's variance from a normal distribution",
        ("layer_is_born_as_agreed",),
        edited('glorot = "glorot_uniform"', 'glorot = "glorot_normal"'),
    ),
    Variant(
        "scale_born_wide",
        "v starts as a matrix of one column does",
        ("layer_is_born_as_agreed",),
        edited(
            "shape=(self.units,), initializer=glorot",
            "shape=(self.units,), initializer=lambda shape, dtype: "
            "keras.initializers.GlorotUniform()((*shape, 1), dtype)[:, 0]",
        ),
    ),
    Variant(
        "needs_static_length",
        "the source's length is read while tracing",
        ("a_model_of_any_length_follows_the_formula",),
        edited(
            "    one_query = len(query.shape) == 2\n",
            "    one_query = len(query.shape) == 2\n"
            "    values = ops.stack([values[:, s] for s in range(values.shape[1])], 1)\n",
        ),
        raises=TypeError,
    ),
    Variant(
        "mask_of_one_row_broadcast",
        "a mask of one row serves any number of batch entries, or of queries",
        ("misfits_are_refused",),
        edited(
            "        for letter, size in zip(form, shape, strict=True):\n",
            "        for letter, size in zip(form, shape, strict=True):\n"
            '            if name == "mask" and letter != "S" and size == 1:\n                continue\n',
        ),
    ),
    Variant(
        "no_units",
        "a score network of no units is accepted",
        ("misfits_are_refused",),
        edited("if units < 1:", "if units < 0:"),
    ),
    Variant(
        "query_mask_follows",
        "the mask of the query goes on with the context",
        ("no_mask_goes_on_with_the_context",),
        edited(
            'says nothing about it."""\n',
            'says nothing about it."""\n'
            "        return previous_mask[0] if isinstance(previous_mask, list) else previous_mask\n",
        ),
    ),
    Variant(
        "source_mask_follows",
        "the mask of the values goes on with the context",
        ("no_mask_goes_on_with_the_context",),
        edited(
            'says nothing about it."""\n',
            'says nothing about it."""\n'
            "        return previous_mask[1] if isinstance(previous_mask, list) else previous_mask\n",
        ),
    ),
    Variant(
        "float64_in_float32",
        "tanh, scores and softmax run in float32 under float64 too",
        ("float64_stays_float64", "gradient_is_right_in_float64"),
        edited('dtype = keras.backend.result_type(projected_query.dtype, "float32")', 'dtype = "float32"'),
    ),
    Variant(
        "name_and_policy_forgotten",
        "the configuration has the units only",
        ("a_layers_double_is_born_alike",),
        edited('return {**super().get_config(), "units": self.units}', 'return {"units": self.units}'),
    ),
    Variant(
        "dtype_of_the_query",
        "the context has the query's dtype, not the common one",
        ("common_dtype_comes_out",),
        edited("result_type(query.dtype, keys.dtype, values.dtype, float)", "result_type(query.dtype, float)"),
    ),
    Variant(
        "first_mask_kept",
        "a layer keeps the first mask for a source of a shape, and takes it for all that follow",
        ("layer_keeps_nothing_of_a_call",),
        edited(
            "            mask,\n            query_kernel=self.query_kernel,",
            '            self.__dict__.setdefault("kept", {}).setdefault(tuple(values.shape), mask),\n'
            "            query_kernel=self.query_kernel,",
        ),
        BOTH,
    ),
    Variant(
        "first_source_kept",
        "a layer keeps the first values of a shape, as if a source were attended to for ever",
        ("layer_keeps_nothing_of_a_call",),
        edited(
            "            values,\n            keys,\n            mask,\n            query_kernel=self",
            '            self.__dict__.setdefault("kept", {}).setdefault(tuple(values.shape), values),\n'
            "            keys,\n            mask,\n            query_kernel=self",
        ),
        BOTH,
    ),
)
