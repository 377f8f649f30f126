"""A user's own additive attention: a layer under the name, and with the arguments, of Touchstone's contract.

It knows nothing of Touchstone. It offers no function `additive_attention`: a conformance table says "not provided".
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="my_attention")
class AdditiveAttention(keras.layers.Layer):
    """Scores v . tanh(q W_q + k W_k), softmax over the source, weighted sum of the values."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1, not {units}")
        self.units = units

    def build(self, query_shape: Any, values_shape: Any, keys_shape: Any = None) -> None:
        """Create the weights in the contract's order: query kernel, key kernel, scale."""
        key_size = (keys_shape or values_shape)[-1]
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.key_kernel = self.add_weight(shape=(key_size, self.units), name="key_kernel")
        self.scale = self.add_weight(shape=(self.units,), name="scale", autocast=False)  # scores stay in float32

    def call(
        self, query: Any, values: Any, keys: Any = None, mask: Any = None, return_attention_scores: bool = False
    ) -> Any:
        """The context `(B, D_v)` or `(B, T, D_v)`, and the weights if they are asked for."""
        if one_query := len(query.shape) == 2:
            query = ops.expand_dims(query, 1)
        if mask is None:
            mask = ops.ones(ops.shape(values)[:2], "bool")
        if len(mask.shape) == 2:
            mask = ops.expand_dims(mask, 1)  # (B, 1, S)
        used = ops.expand_dims(ops.any(mask, axis=1), -1)  # (B, S, 1)
        keys = ops.where(used, values if keys is None else keys, 0)
        values = ops.where(used, values, 0)
        projected = ops.expand_dims(query @ self.query_kernel, 2) + ops.expand_dims(keys @ self.key_kernel, 1)
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        scores = ops.einsum("btsu,u->bts", ops.tanh(ops.cast(projected, wide)), self.scale)
        weights = ops.where(mask, ops.softmax(ops.where(mask, scores, -1e38)), 0)
        context = ops.cast(weights, self.compute_dtype) @ values
        if one_query:
            context, weights = ops.squeeze(context, 1), ops.squeeze(weights, 1)
        return (context, weights) if return_attention_scores else context

    def compute_mask(self, query: Any, previous_mask: Any = None) -> None:
        """The mask of the source says nothing about the context."""

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "units": self.units}
