"""Dot-product attention: let every position look at every other, in one matrix product.

The problem. A recurrent network passes what it read through as many steps as lie between two positions, one after the
other. Additive attention looks back directly, but its score network needs a tensor of T x S x U numbers. Scoring with a
dot product needs T x S, and is a matrix product (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1, equation 1):

    attention(Q, K, V) = softmax(Q K' / sqrt(H)) V

For q and k of independent standard normal numbers q . k has variance H; over sqrt(H) it has variance 1, and the softmax
does not saturate as heads grow (footnote 4). Several heads attend to different things (section 3.2.2):

    multi_head(Q, K, V) = concat(head_1, ..., head_N) W_O,   head_n = attention(Q W_n^Q, K W_n^K, V W_n^V)

T x S weights are still too many for a long sequence: `reference/_blockwise.py` has the same result one block of keys
after the other, in memory that grows with T + S. What both share, the scores and who may attend to whom, stands in
`reference/_scores.py`.

Shapes: B batch, T query length, S source length, N heads, H head size, H_v that of the values, D model size.

Deviations from the paper: a row without any position to attend to gives zeros (there it is undefined); scores and
softmax are in float32 at least; projections have a bias unless `use_bias=False`; dropout on the weights is possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from reference._blockwise import blockwise_attention
from reference._scores import (
    LOWEST_SCORE,
    Tensor,
    attended_positions,
    checked,
    cleared,
    common_dtypes,
    dot_products,
    heads_first,
    scale_of,
)

Shape = tuple[int | None, ...]


def dot_product_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    offset: int | Tensor = 0,
    scale: float | None = None,
    return_weights: bool = False,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend to `values` where `keys` answer `query`: softmax(scale Q K') V.

    Scores and softmax run in float32 at least, whatever the inputs are; the weighted sum runs in their common dtype. A
    masked position has weight exactly zero, a row without any position to attend to a zero output. A value and its key
    that no query may attend to are cleared first: even NaN there reaches neither the output nor a gradient.

    Args:
        query: `(B, T, N, H)`, floating point.
        keys: `(B, S, N, H)`.
        values: `(B, S, N, H_v)`.
        mask: bool, True = attend. `(B, S)`, `(B, T, S)` or `(B, N, T, S)`, where B, N and T may be 1. All True if None.
        causal: whether query t attends to positions s <= t + `offset` only.
        offset: by how many positions the queries start later than the keys. At 0 the triangle is aligned at the top
            left, as in Keras, torch and JAX; at S - T the last query sees all keys, as cached decoding needs.
        scale: of the scores; `H ** -0.5` if None.
        return_weights: whether to return the weights too.
        dropout: what the weights pass through on their way to the sum; those that are returned do not.

    Returns:
        The output, `(B, T, N, H_v)`, in the common dtype of query, keys and values; with `return_weights` also the
        weights, `(B, N, T, S)`, in float32 (float64 where the inputs are, which Keras keeps on TensorFlow only).

    Raises:
        ValueError: a shape does not fit the others, or the mask is not bool.
    """
    query, keys, values, mask = checked(query, keys, values, mask)
    dtype, wide = common_dtypes(query, keys, values)
    allowed = attended_positions(mask, causal, offset, ops.shape(query)[1], 0, ops.shape(keys)[1])
    query, keys, values = (heads_first(each) for each in (query, keys, values))  # (B, N, T or S, H)
    keys, values = cleared(keys, allowed), cleared(values, allowed)

    scores = dot_products(ops.cast(query, wide) * scale_of(query, scale), ops.cast(keys, wide))
    weights = masked_softmax(scores, allowed)  # (B, N, T, S)
    passed = weights if dropout is None else dropout(weights)
    output = ops.matmul(ops.cast(passed, dtype), ops.cast(values, dtype))  # (B, N, T, H_v)
    output = heads_first(attending_rows(output, allowed))  # (B, T, N, H_v)
    return (output, attending_rows(weights, allowed)) if return_weights else output


def masked_softmax(scores: Tensor, allowed: Tensor | None) -> Tensor:
    """Softmax over the last axis; zero where `allowed` is False, but in a row that has nothing else, which is uniform.

    Adding -1e9 instead, as is often done, turns into -inf in float16, then into NaN for a row that is masked
    throughout, and leaks wherever scores differ by more than that number.
    """
    return ops.softmax(scores if allowed is None else ops.where(allowed, scores, LOWEST_SCORE), axis=-1)


def attending_rows(rows: Tensor, allowed: Tensor | None) -> Tensor:
    """Outputs or weights `(B, N, T, ...)`, zero for a query without any position to attend to."""
    return rows if allowed is None else ops.where(ops.any(allowed, axis=-1, keepdims=True), rows, 0)


@keras.saving.register_keras_serializable(package="touchstone")
class MultiHeadAttention(keras.layers.Layer):
    """Attention by several heads, each on its own projection, under the dtype policy of the layer.

    The weights are, in this order, kernel and bias of the projections of query, keys and values, `(D, N, H)` and
    `(N, H)`, and of the output, `(N, H, D)` and `(D,)`: as in Keras. Kernels start from Glorot's uniform distribution,
    each as the matrix that it is, D x N H, and biases at zero. Masks are given explicitly; one that Keras finds
    on the only argument of a self-attention is taken as that of the source.

    `project_query`, `project_source` and `attend` are the three steps of a call, for decoding that keeps the keys and
    values of earlier steps.

    Args:
        heads: N.
        head_size: H.
        dropout: the rate at which weights are dropped in training.
        use_bias: whether the four projections have one.
        block: how many keys are scored at once, by `blockwise_attention`; all, by `dot_product_attention`, if None.
        **kwargs: of `keras.layers.Layer`: name, dtype, trainable.

    Call arguments:
        query: `(B, T, D)`, floating point.
        values: `(B, S, D_v)`; the query if None, which is self-attention.
        keys: `(B, S, D_k)`; the values if None.
        mask, causal, offset: as in `dot_product_attention`.
        return_attention_scores: whether to return the weights too, as they are before dropout.
        training: whether weights are dropped.

    Returns:
        `(B, T, D)` in the compute dtype; with `return_attention_scores` also the weights, `(B, N, T, S)`, in float32
        (float64 under that policy).

    Raises:
        ValueError: a size is not positive, `dropout` lies outside of [0, 1], or `block` is given together with what
            needs the weights whole.

    Example:
        >>> words = np.ones((2, 5, 16), "float32")
        >>> MultiHeadAttention(heads=4, head_size=4)(words, causal=True).shape
        TensorShape([2, 5, 16])
    """

    def __init__(
        self,
        heads: int,
        head_size: int,
        *,
        dropout: float = 0.0,
        use_bias: bool = True,
        block: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, size in (("heads", heads), ("head_size", head_size), ("block", 1 if block is None else block)):
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1; it is {size}")
        if block is not None and dropout:
            raise ValueError("dropout needs the weights whole, and `block` never has them: leave out one of the two")
        self.heads, self.head_size, self.use_bias, self.block = heads, head_size, use_bias, block
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, query_shape: Shape, values_shape: Shape | None = None, keys_shape: Shape | None = None) -> None:
        """Create the weights for the last axes of query, values and keys."""
        values_shape = values_shape or query_shape
        size, heads = query_shape[-1], (self.heads, self.head_size)
        self.query_kernel, self.query_bias = self._weights("query", (size,), heads)
        self.key_kernel, self.key_bias = self._weights("key", ((keys_shape or values_shape)[-1],), heads)
        self.value_kernel, self.value_bias = self._weights("value", (values_shape[-1],), heads)
        self.output_kernel, self.output_bias = self._weights("output", heads, (size,))

    def _weights(self, name: str, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Tensor, Tensor | None]:
        """A kernel drawn as the matrix that it is (of Keras's own initializers each takes N for an axis of space)."""

        def initializer(shape: Shape, dtype: Any = None) -> Tensor:
            matrix = (math.prod(inputs), math.prod(outputs))
            return ops.reshape(keras.initializers.GlorotUniform()(matrix, dtype), shape)

        kernel = self.add_weight(shape=(*inputs, *outputs), initializer=initializer, name=f"{name}_kernel")
        bias = self.add_weight(shape=outputs, initializer="zeros", name=f"{name}_bias") if self.use_bias else None
        return kernel, bias

    def project_query(self, query: Tensor) -> Tensor:
        """Q W^Q + b: `(B, T, D)` to `(B, T, N, H)`."""
        return self._project(query, self.query_kernel, self.query_bias)

    def project_source(self, values: Tensor, keys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """K W^K + b and V W^V + b: `(B, S, D_k)` and `(B, S, D_v)` to `(B, S, N, H)` each."""
        keys = values if keys is None else keys
        return (
            self._project(keys, self.key_kernel, self.key_bias),
            self._project(values, self.value_kernel, self.value_bias),
        )

    def attend(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        offset: int | Tensor = 0,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """What the heads find, `(B, T, N, H)`, brought together by W^O: `(B, T, D)`; arguments are projected ones."""
        options: dict[str, Any] = {"causal": causal, "offset": offset}
        if self.block is not None:
            if return_attention_scores:
                raise ValueError("attention by blocks never has the weights whole: leave out `block` to have them")
            found = blockwise_attention(query, keys, values, mask, block=self.block, **options)
            return self._project(found, self.output_kernel, self.output_bias, axes=2)
        found = dot_product_attention(
            query,
            keys,
            values,
            mask,
            return_weights=return_attention_scores,
            dropout=lambda weights: self.dropout(weights, training=training),
            **options,
        )
        found, *weights = found if return_attention_scores else (found,)
        output = self._project(found, self.output_kernel, self.output_bias, axes=2)
        return (output, *weights) if return_attention_scores else output

    def _project(self, tensor: Tensor, kernel: Tensor, bias: Tensor | None, axes: int = 1) -> Tensor:
        tensor, kernel = ops.cast(tensor, self.compute_dtype), ops.cast(kernel, self.compute_dtype)
        product = ops.tensordot(tensor, kernel, axes=axes)
        return product if bias is None else product + ops.cast(bias, self.compute_dtype)

    def call(
        self,
        query: Tensor,
        values: Tensor | None = None,
        keys: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        offset: int | Tensor = 0,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the output, or the output and the weights."""
        projected = self.project_query(query), *self.project_source(query if values is None else values, keys)
        return self.attend(*projected, mask, causal, offset, return_attention_scores, training)

    def compute_output_shape(self, query_shape: Shape, *_: Any, **__: Any) -> Shape:
        """The output has the shape of the query."""
        return query_shape

    def compute_output_spec(
        self,
        query: Tensor,
        values: Tensor | None = None,
        *_: Any,
        return_attention_scores: bool = False,
        **__: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Shapes and dtypes, without a trace of `call`, which on JAX would have to know T and S."""
        output = keras.KerasTensor(query.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        (batch, steps, _), source = query.shape, (query if values is None else values).shape[1]
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        return output, keras.KerasTensor((batch, self.heads, steps, source), dtype=dtype)

    def compute_mask(self, query: Tensor, previous_mask: Tensor | None = None) -> None:
        """No mask goes on with the output: whoever reads it gives its own."""

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        sizes = {"heads": self.heads, "head_size": self.head_size, "block": self.block}
        return {**super().get_config(), **sizes, "dropout": self.dropout.rate, "use_bias": self.use_bias}
