"""Layers of several heads, and attention in training, with plausible mistakes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from keras import ops

import reference.dot_product_attention as reference
from suites.selftest.variants import Variant
from suites.selftest.variants.dot_product_attention import BOTH, HALF, changed, edited


def layer(**methods: Callable[..., Any]) -> ModuleType:
    """The reference with a layer that has other methods; each is given the reference's own first."""

    def method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        own = getattr(reference.MultiHeadAttention, name)
        if name == "__init__":  # as a plain function: Keras reads signatures of constructors
            return lambda self, heads, size, dropout=0.0, use_bias=True, block=None, **others: function(
                own, self, heads, size, dropout=dropout, use_bias=use_bias, block=block, **others
            )
        return lambda self, *arguments, **options: function(own, self, *arguments, **options)

    wrong = {name: method(name, function) for name, function in methods.items()}
    return changed(MultiHeadAttention=type("MultiHeadAttention", (reference.MultiHeadAttention,), wrong))


def mixed_heads(own: Any, self: Any, tensor: Any, kernel: Any, bias: Any, axes: int = 1) -> Any:
    """N and H are exchanged on the way into the output projection."""
    return own(self, ops.reshape(ops.swapaxes(tensor, 2, 3), tensor.shape) if axes == 2 else tensor, kernel, bias, axes)


def causal_on_one_path(
    own: Any,
    self: Any,
    query: Any,
    keys: Any,
    values: Any,
    mask: Any,
    causal: bool,
    offset: Any,
    scores: bool,
    training: Any,
) -> Any:
    """The triangle is forgotten where weights are dropped or returned."""
    causal = causal and not scores and not self.dropout.rate
    return own(self, query, keys, values, mask, causal, offset, scores, training)


def always_in_training(
    own: Any,
    self: Any,
    query: Any,
    keys: Any,
    values: Any,
    mask: Any,
    causal: bool,
    offset: Any,
    scores: bool,
    training: Any,
) -> Any:
    """Weights are dropped in inference too."""
    del training
    return own(self, query, keys, values, mask, causal, offset, scores, True)


def dropout_on_the_output(
    own: Any,
    self: Any,
    query: Any,
    keys: Any,
    values: Any,
    mask: Any,
    causal: bool,
    offset: Any,
    scores: bool,
    training: Any,
) -> Any:
    """Whole outputs are dropped, not weights."""
    found = own(self, query, keys, values, mask, causal, offset, scores, False)
    kept = self.dropout(ops.ones_like(found[..., :1]), training=training)
    return found * kept


def mask_lost_by_blocks(own: Any, self: Any, query: Any, keys: Any, values: Any, mask: Any, *others: Any) -> Any:
    """The padding is attended to where attention is by blocks."""
    return own(self, query, keys, values, None if self.block else mask, *others)


def uniform_without_weights(
    own: Any,
    self: Any,
    query: Any,
    keys: Any,
    values: Any,
    mask: Any,
    causal: bool,
    offset: Any,
    scores: bool,
    *rest: Any,
) -> Any:
    """Where no weights are asked for, a row masked throughout attends to everything."""
    if not scores and mask is not None:
        mask = ops.logical_or(mask, ops.logical_not(ops.any(mask, -1, keepdims=True)))
    return own(self, query, keys, values, mask, causal, offset, scores, *rest)


def weights_in_half(own: Any, self: Any, *arguments: Any, **options: Any) -> Any:
    """Attention weights are returned in the compute dtype."""
    found = own(self, *arguments, **options)
    return (found[0], ops.cast(found[1], self.compute_dtype)) if isinstance(found, tuple) else found


def first_source_kept(own: Any, self: Any, values: Any, keys: Any = None) -> Any:
    """What is made of a source is kept by its shape."""
    kept = self.__dict__.setdefault("kept", {})
    return kept.setdefault(tuple(values.shape), own(self, values, keys))


def causal_for_ever(
    own: Any, self: Any, query: Any, keys: Any, values: Any, mask: Any, causal: bool, *others: Any
) -> Any:
    """The triangle stays."""
    self.__dict__["stays"] = causal or self.__dict__.get("stays", False)
    return own(self, query, keys, values, mask, self.__dict__["stays"], *others)


DROPPED = "dropout=lambda weights: self.dropout(weights, training=training),"


def with_dropout(expression: str) -> ModuleType:
    """The reference whose layer passes its weights through this."""
    return edited(old=DROPPED, new=f"dropout=lambda weights: {expression},")


def drawn(expression: str) -> ModuleType:
    """The reference whose kernels are drawn by this."""
    return edited(old="keras.initializers.GlorotUniform()(matrix, dtype)", new=expression)


def without(name: str) -> ModuleType:
    """The reference whose layer forgets an option in its configuration."""
    return layer(get_config=lambda own, self: {k: v for k, v in own(self).items() if k != name})


def clamped(own: Any, *arguments: Any, dropout: Any, **others: Any) -> None:
    """What is no rate is brought into the range of rates."""
    own(*arguments, dropout=min(max(0.0, dropout), 1.0), **others)


VARIANTS = (
    Variant(
        "heads_mixed",
        "heads and their axes are exchanged before the output projection",
        ("layer_follows_the_formula", "order_of_the_heads_is_irrelevant"),
        layer(_project=mixed_heads),
        BOTH,
    ),
    Variant(
        "keys_and_values_exchanged",
        "the keys are averaged by scores of the values",
        ("layer_follows_the_formula", "layer_attends_to_a_source"),
        layer(project_source=lambda own, self, values, keys=None: own(self, values, keys)[::-1]),
        BOTH,
    ),
    Variant(
        "causal_on_one_path",
        "the triangle is forgotten where weights are dropped or returned",
        ("no_gradient_reaches_the_future",),
        layer(attend=causal_on_one_path),
    ),
    Variant(
        "dropout_in_inference",
        "weights are dropped in inference too",
        ("dropout_acts_on_the_weights",),
        layer(attend=always_in_training),
        BOTH,
    ),
    Variant(
        "dropout_on_the_output",
        "outputs are dropped, not weights",
        ("dropout_acts_on_the_weights",),
        layer(attend=dropout_on_the_output),
        BOTH,
    ),
    Variant(
        "mask_lost_by_blocks",
        "the layer forgets the mask where it attends by blocks",
        ("layer_by_blocks_follows_the_formula",),
        layer(attend=mask_lost_by_blocks),
        BOTH,
    ),
    Variant(
        "paths_disagree",
        "a row masked throughout has another output where weights are asked for",
        ("asking_for_weights_changes_nothing",),
        layer(attend=uniform_without_weights),
        BOTH,
    ),
    Variant(
        "weights_in_half",
        "the layer returns weights in the compute dtype",
        ("layer_follows_the_policy",),
        layer(attend=weights_in_half),
        HALF,
    ),
    Variant(
        "bias_always",
        "there are biases in spite of `use_bias=False`",
        ("parameters_are_counted_as_in_the_paper",),
        layer(__init__=lambda own, *arguments, use_bias, **others: own(*arguments, use_bias=True, **others)),  # noqa: ARG005
    ),
    Variant(
        "dropout_forgotten",
        "the configuration lacks the rate of dropout",
        ("model_survives_saving",),
        layer(get_config=lambda own, self: {k: v for k, v in own(self).items() if k != "dropout"}),
    ),
    Variant(
        "contradiction_accepted",
        "a layer by blocks accepts dropout, and leaves it out",
        ("contradictions_are_refused",),
        layer(
            __init__=lambda own, *arguments, dropout, block, **others: own(
                *arguments, dropout=0.0 if block else dropout, block=block, **others
            )
        ),
    ),
    Variant(
        "weights_after_dropout",
        "in training the returned weights are those after dropout",
        ("dropout_is_anew_and_at_its_rate",),
        edited(old="(output, attending_rows(weights, allowed))", new="(output, attending_rows(passed, allowed))"),
    ),
    Variant(
        "dropout_backward_factor",
        "the backward pass of dropout multiplies by the rate in place of dividing by 1 - rate",
        ("gradient_in_training_follows_what_is_dropped",),
        with_dropout(
            "(lambda kept, c: weights * kept * c + ops.stop_gradient(weights * kept * (1 - c)))("
            "self.dropout(ops.ones_like(weights), training=training), "
            "self.dropout.rate * (1 - self.dropout.rate) if training else 1)"
        ),
    ),
    Variant(
        "dropout_not_in_the_gradient",
        "the backward pass knows nothing of what was dropped",
        ("gradient_in_training_follows_what_is_dropped",),
        with_dropout("weights + ops.stop_gradient(self.dropout(weights, training=training) - weights)"),
    ),
    Variant(
        "dropout_drops_the_same_in_every_step",
        "dropout has a seed of its own for every call",
        ("dropout_is_anew_and_at_its_rate",),
        with_dropout("keras.random.dropout(weights, self.dropout.rate, seed=1) if training else weights"),
    ),
    Variant(
        "dropout_drops_whole_rows",
        "a query's weights are dropped together",
        ("dropout_is_anew_and_at_its_rate", "dropout_acts_on_the_weights"),
        with_dropout("weights * self.dropout(ops.ones_like(weights[..., :1]), training=training)"),
    ),
    Variant(
        "dropout_keeps_its_rate",
        "the rate is taken for the chance to be kept",
        ("dropout_is_anew_and_at_its_rate",),
        with_dropout(
            "keras.random.dropout(weights, 1 - self.dropout.rate, seed=self.dropout.seed_generator)"
            " if training and self.dropout.rate else weights"
        ),
    ),
    Variant(
        "training_needs_weights",
        "dropout is off where weights are asked for",
        ("dropout_is_anew_and_at_its_rate",),
        with_dropout("self.dropout(weights, training=training and not return_attention_scores)"),
    ),
    Variant(
        "impossible_rates_accepted",
        "a rate of dropout that is negative, above 1, or NaN is clamped",
        ("contradictions_are_refused",),
        layer(__init__=clamped),
    ),
    Variant(
        "fans_of_a_packed_matrix",
        "Glorot's fans are those of Q, K and V packed in one matrix (D, 3 N H)",
        ("layer_is_born_as_agreed",),
        drawn("keras.initializers.GlorotUniform()((matrix[0], 3 * matrix[1]), dtype)[:, : matrix[1]]"),
    ),
    Variant(
        "all_projections_start_alike",
        "one seeded initializer serves queries, keys and values",
        ("layer_is_born_as_agreed",),
        drawn("keras.initializers.GlorotUniform(seed=1)(matrix, dtype)"),
    ),
    Variant(
        "kernels_start_normal",
        "kernels start with Glorot's variance from a normal distribution",
        ("layer_is_born_as_agreed",),
        drawn("keras.initializers.GlorotNormal()(matrix, dtype)"),
    ),
    Variant(
        "kernels_start_at_zero",
        "kernels start at zero, and never leave it",
        ("layer_is_born_as_agreed",),
        drawn("ops.zeros(matrix, dtype)"),
    ),
    Variant(
        "output_kernel_lost_without_bias",
        "without biases the heads are added up, not projected",
        ("layer_may_have_no_bias",),
        edited(
            old="product = ops.tensordot(tensor, kernel, axes=axes)",
            new="kernel = kernel if bias is not None or axes == 1 else ops.ones_like(kernel)\n"
            "        product = ops.tensordot(tensor, kernel, axes=axes)",
        ),
    ),
    Variant(
        "values_default_to_the_keys",
        "values are the keys where keys alone are given",
        ("layer_takes_any_options",),
        edited(
            old="*self.project_source(query if values is None else values, keys)",
            new="*self.project_source((query if keys is None else keys) if values is None else values, keys)",
        ),
    ),
    Variant(
        "training_by_default",
        "weights are dropped where nothing says whether it is training",
        ("dropout_acts_on_the_weights",),
        with_dropout("self.dropout(weights, training=training is not False)"),
    ),
    Variant(
        "weights_promised_in_half",
        "the symbolic weights have the compute dtype",
        ("symbolic_outputs_are_those_computed",),
        edited(
            old='dtype = keras.backend.result_type(self.compute_dtype, "float32")\n        return output',
            new="dtype = self.compute_dtype\n        return output",
        ),
    ),
    Variant(
        "biases_start_at_one",
        "biases start at ones",
        ("layer_is_born_as_agreed",),
        edited(old='initializer="zeros", name', new='initializer="ones", name'),
    ),
    Variant(
        "query_bias_frozen",
        "the bias of the queries is not trained",
        ("gradient_reaches_every_weight",),
        edited(
            old='self._weights("query", (size,), heads)',
            new='self._weights("query", (size,), heads)\n        self.query_bias.trainable = False',
        ),
    ),
    Variant(
        "key_kernel_detached",
        "no gradient reaches the kernel of the keys",
        ("gradient_reaches_every_weight", "gradient_in_training_follows_what_is_dropped"),
        edited(
            old="self._project(keys, self.key_kernel,", new="self._project(keys, ops.stop_gradient(self.key_kernel),"
        ),
    ),
    Variant(
        "offset_lost_by_blocks_in_the_layer",
        "the layer forgets the offset where it attends by blocks",
        ("layer_by_blocks_follows_the_formula", "decoding_with_a_cache_equals_the_whole"),
        edited(old="block=self.block, **options)", new="block=self.block, causal=causal)"),
        BOTH,
    ),
    Variant(
        "causal_lost_beside_a_mask",
        "the layer forgets causality where there is a mask",
        ("layer_takes_any_options",),
        edited(old='{"causal": causal, "offset"', new='{"causal": causal and mask is None, "offset"'),
    ),
    Variant(
        "keys_default_to_the_query",
        "keys are the query where values alone are given",
        ("layer_takes_any_options",),
        edited(
            old="query if values is None else values, keys)\n        return self.attend",
            new="query if values is None else values, query if keys is None else keys)\n        return self.attend",
        ),
        BOTH,
    ),
    Variant(
        "keras_mask_not_taken",
        "the mask that Keras finds on the argument of a self-attention is not taken",
        ("mask_of_the_input_is_taken",),
        layer(__call__=lambda own, self, query, *arguments, **options: own(self, query * 1.0, *arguments, **options)),
    ),
    Variant(
        "keras_mask_goes_on",
        "the mask of the query goes on with the output",
        ("mask_of_the_input_is_taken",),
        layer(compute_mask=lambda own, self, query, previous_mask=None: previous_mask),  # noqa: ARG005
    ),
    Variant(
        "block_forgotten",
        "the configuration lacks the block",
        ("a_layers_double_is_born_and_drops_alike",),
        without("block"),
    ),
    Variant(
        "use_bias_forgotten",
        "the configuration does not say that there are no biases",
        ("a_layers_double_is_born_and_drops_alike",),
        without("use_bias"),
    ),
    Variant(
        "first_keys_kept",
        "a layer keeps keys and values of the first source of a shape, as decoders do, and takes them for any other",
        ("layer_keeps_nothing_of_a_call",),
        layer(project_source=first_source_kept),
        BOTH,
    ),
    Variant(
        "triangle_kept",
        "a layer that once was causal stays so",
        ("layer_keeps_nothing_of_a_call",),
        layer(attend=causal_for_ever),
        BOTH,
    ),
)
