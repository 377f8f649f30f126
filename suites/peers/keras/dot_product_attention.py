"""`keras.ops.dot_product_attention` and `keras.layers.MultiHeadAttention` behind the contract's names."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from suites.implementations import KnownDefect

MIXED = ("mixed_float16", "mixed_bfloat16")

FLOAT32_SCALE = KnownDefect("The default scale, `H ** -0.5`, is rounded to float32.", backends=("tensorflow",))

KNOWN_DEFECTS = {
    "float64_stays_float64": FLOAT32_SCALE,
    "gradient_follows_the_formula": FLOAT32_SCALE,
    "gradient_with_options_follows_the_formula": FLOAT32_SCALE,
    "gradient_reaches_every_weight": KnownDefect(
        "The softmax of the attention runs in float32 under a float64 policy, too.", backends=("tensorflow", "jax")
    ),
    "contradictions_are_refused": KnownDefect("A dropout of less than 0, or NaN, is taken for none."),
    "mask_of_the_input_is_taken": KnownDefect(
        "The mask that Keras finds counts for the queries, too: a padded one, all of whose scores are masked then, "
        "gets the mean of all values; and the mask goes on with the output."
    ),
    "fully_masked_row_gives_zeros": KnownDefect(
        "A row masked throughout attends to everything: its scores are all the same large negative number."
    ),
    "offset_moves_the_triangle": KnownDefect(
        "There is no offset; without one, a row masked throughout attends to everything, as above."
    ),
    "asking_for_weights_changes_nothing": KnownDefect(
        "The layer has two paths: a row masked throughout gives the mean of the values on one, and zeros on the other, "
        "which is taken where weights are returned or dropped."
    ),
    "padding_may_hold_nan": KnownDefect("Masked values are multiplied by a weight of zero, and 0 * NaN is NaN."),
    "scores_are_computed_in_float32": KnownDefect(
        "Scores are computed in the dtype of the inputs, in which large ones collide.",
        precisions=MIXED,
        backends=("tensorflow",),
    ),
    "layer_follows_the_policy": KnownDefect("Weights are returned in the compute dtype.", precisions=MIXED),
    "misfits_are_refused": KnownDefect(
        "Sizes are not compared: a mask of length 1 is broadcast over the keys, on JAX and torch a mask of numbers, or "
        "values for more heads or batch entries, are taken too; what TensorFlow refuses it answers with an error that "
        "is no ValueError."
    ),
    "values_may_have_a_size_of_their_own": KnownDefect(
        "JAX's function, which is called there, asks for values of the size of the keys.", backends=("jax",)
    ),
}

WHY_FASTER = {
    "torch": "Scores, softmax and weighted sum are one fused kernel. The reference takes them one after the other, "
    "so that each can be read and its weights returned."
}
"""Why it is faster than the reference, by backend, where a race says that it is."""


def dot_product_attention(
    query: Any, keys: Any, values: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None
) -> Any:
    """Return the output; a mask has four axes in Keras."""
    if mask is not None and len(mask.shape) < 4:
        mask = ops.convert_to_tensor(mask)
        mask = mask[:, None] if len(mask.shape) == 3 else mask[:, None, None]
    return ops.dot_product_attention(query, keys, values, mask=mask, scale=scale, is_causal=causal)


@keras.saving.register_keras_serializable(package="touchstone_peers_keras")
class MultiHeadAttention(keras.layers.Layer):
    """`keras.layers.MultiHeadAttention`; arguments as in `reference.dot_product_attention`."""

    def __init__(
        self, heads: int, head_size: int, *, dropout: float = 0.0, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(
            heads, head_size, dropout=dropout, use_bias=use_bias, dtype=self.dtype_policy
        )

    def build(self, query_shape: Any, values_shape: Any = None, keys_shape: Any = None) -> None:
        """Build Keras's layer."""
        values_shape = values_shape or query_shape
        self.attention.build(query_shape, values_shape, keys_shape or values_shape)

    def call(
        self,
        query: Any,
        values: Any = None,
        keys: Any = None,
        mask: Any = None,
        causal: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the output, or the output and the weights."""
        if mask is not None and len(mask.shape) == 2:
            mask = mask[:, None]  # (B, 1, S)
        return self.attention(
            query,
            query if values is None else values,
            keys,
            attention_mask=mask,
            use_causal_mask=causal,
            return_attention_scores=return_attention_scores,
            training=training,
        )

    def compute_mask(self, query: Any, previous_mask: Any = None) -> None:
        """No mask goes on with the output."""

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        own = self.attention.get_config()
        names = {"heads": "num_heads", "head_size": "key_dim", "dropout": "dropout", "use_bias": "use_bias"}
        return {**super().get_config(), **{name: own[theirs] for name, theirs in names.items()}}
