"""Layers of attention as libraries have them, without the contract's function, for `test_lone_layers`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

from reference.dot_product_attention import MultiHeadAttention, dot_product_attention


class WithoutWeights(MultiHeadAttention):
    """Returns the output alone."""

    def call(  # type: ignore[override]
        self,
        query: Any,
        values: Any = None,
        keys: Any = None,
        mask: Any = None,
        causal: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the output."""
        return super().call(query, values, keys, mask, causal, training=training)

    def compute_output_spec(self, query: Any, *_: Any, **__: Any) -> Any:
        """As the query."""
        return keras.KerasTensor(query.shape, dtype=self.compute_dtype)


class Fused(keras.layers.Layer):
    """One matrix for query, keys and values, and no bias."""

    def __init__(self, heads: int, head_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(heads, head_size) < 1:
            raise ValueError("needs a head, of a size of at least 1")
        self.sizes = (heads, head_size)

    def build(self, query_shape: Any, *_: Any) -> None:
        """Create both matrices."""
        size, inner = query_shape[-1], self.sizes[0] * self.sizes[1]
        self.inputs_kernel = self.add_weight(shape=(size, 3 * inner))
        self.output_kernel = self.add_weight(shape=(inner, size))

    def call(self, query: Any, values: Any = None, mask: Any = None, causal: bool = False) -> Any:
        """Return the output."""
        values = query if values is None else values
        size, inner = query.shape[-1], self.sizes[0] * self.sizes[1]
        kernels = ops.reshape(ops.cast(self.inputs_kernel, self.compute_dtype), (size, 3, *self.sizes))
        tensors = (ops.cast(each, self.compute_dtype) for each in (query, values, values))
        q, k, v = [ops.tensordot(each, kernels[:, i], axes=1) for i, each in enumerate(tensors)]
        found = dot_product_attention(q, k, v, mask, causal=causal)
        joined = ops.reshape(found, (*ops.shape(found)[:2], inner))
        return ops.matmul(joined, ops.cast(self.output_kernel, self.compute_dtype))

    def compute_mask(self, query: Any, previous_mask: Any = None) -> None:
        """No mask goes on."""


class Leaking(WithoutWeights):
    """Adds -1e4 where a mask is False, as half precision is often made to hold it: what lies lower gets through."""

    def attend(self, query: Any, keys: Any, values: Any, mask: Any = None, *options: Any, **named: Any) -> Any:
        """Return what the heads find."""
        if mask is None:
            return super().attend(query, keys, values, mask, *options, **named)
        mask = {2: lambda: mask[:, None, None], 3: lambda: mask[:, None]}.get(mask.ndim, lambda: mask)()
        scores = ops.einsum("btnh,bsnh->bnts", query, keys) * self.head_size**-0.5
        weights = ops.softmax(scores + ops.cast(ops.where(mask, 0.0, -1e4), scores.dtype))
        return self._project(ops.einsum("bnts,bsnh->btnh", weights, values), self.output_kernel, self.output_bias, 2)


class SelfOnly(Fused):
    """Attends to its query, and to nothing else."""

    def call(self, query: Any, mask: Any = None, causal: bool = False) -> Any:  # type: ignore[override]
        """Return the output."""
        return super().call(query, None, mask, causal)


SELF_ONLY = SimpleNamespace(MultiHeadAttention=SelfOnly)
ALONE = SimpleNamespace(MultiHeadAttention=MultiHeadAttention)
WITHOUT_WEIGHTS = SimpleNamespace(MultiHeadAttention=WithoutWeights)
FUSED = SimpleNamespace(MultiHeadAttention=Fused)
LEAKING = SimpleNamespace(MultiHeadAttention=Leaking)
