"""`keras.layers.AdditiveAttention` behind the contract's names.

Keras's layer scores queries and keys that are projected already, so that the two projections stand before it here; the
scores, the softmax, the mask and the weighted sum are its own.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from suites.implementations import PRECISIONS, KnownDefect

FULLY_MASKED = KnownDefect(
    "The mask subtracts 1e9 (65504 in float16) from scores: a row masked throughout has weights that sum to 1, or NaN "
    "in float16 where its scores are under -16. Keras asks for one attended position per row."
)

KNOWN_DEFECTS = {
    "fully_masked_row_gives_zeros": FULLY_MASKED,
    "fully_masked_row_has_no_weight": FULLY_MASKED,
    "large_scores_do_not_leak": KnownDefect(
        "The mask subtracts 1e9 (65504 in float16) from scores, which a larger difference of scores outweighs.",
        "https://github.com/keras-team/keras/pull/15390",
        # On torch a dtype does not equal its name: float16 too is given 1e9, which is infinity there and does not leak.
        precisions=PRECISIONS if keras.backend.backend() != "torch" else ("float32", "mixed_bfloat16"),
    ),
    "padding_may_hold_nan": KnownDefect("Masked values are multiplied by a weight of zero, and 0 * NaN is NaN."),
    "weights_are_computed_in_float32": KnownDefect(
        "Weights are returned in the compute dtype.", precisions=("mixed_float16", "mixed_bfloat16")
    ),
    "scores_are_computed_in_float32": KnownDefect(
        "Scores and softmax run in the compute dtype, in which large scores collide.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
}


@keras.saving.register_keras_serializable(package="touchstone_peers_keras")
class AdditiveAttention(keras.layers.Layer):
    """Projections and `keras.layers.AdditiveAttention`; arguments as in `reference.additive_attention`."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:  # the projections stand here, and not in Keras
            raise ValueError(f"`units` must be at least 1; it is {units}")
        self.units = units
        self.attention = keras.layers.AdditiveAttention(dtype=self.dtype_policy)

    def build(self, query_shape: Any, values_shape: Any, keys_shape: Any = None) -> None:
        """Create the kernels, and the scale inside of Keras's layer."""
        key_size = (keys_shape or values_shape)[-1]
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.key_kernel = self.add_weight(shape=(key_size, self.units), name="key_kernel")
        projected = (None, None, self.units)
        self.attention.build([projected, values_shape, projected])

    def call(
        self, query: Any, values: Any, keys: Any = None, mask: Any = None, return_attention_scores: bool = False
    ) -> Any:
        """Return the context, or the context and the weights."""
        one_query = len(query.shape) == 2
        if one_query:
            query = ops.expand_dims(query, 1)  # (B, 1, D_q)
        if mask is not None and len(mask.shape) == 3 and one_query:
            raise ValueError("a mask (B, T, S) needs a query (B, T, D_q)")
        keys = values if keys is None else keys
        inputs = [ops.matmul(query, self.query_kernel), values, ops.matmul(keys, self.key_kernel)]
        found = self.attention(
            inputs,
            mask=None if mask is None else [None, mask],
            return_attention_scores=return_attention_scores,
        )
        if one_query:
            squeezed = tuple(ops.squeeze(each, 1) for each in (found if return_attention_scores else (found,)))
            return squeezed if return_attention_scores else squeezed[0]
        return found

    def compute_mask(self, query: Any, previous_mask: Any = None) -> None:
        """No mask goes on with the context."""

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), "units": self.units}
