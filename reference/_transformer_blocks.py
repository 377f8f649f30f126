"""Blocks of the Transformer: two or three sublayers, each with a way around it.

An encoder block is self-attention, then feed-forward; a decoder block sees only what is before it, and attends to the
memory of an encoder in between. What they compute stands at the top of `reference/transformer.py`.

Shapes: B batch, S length of a memory, T target length, D model size, F feed-forward size, N heads, H = D / N head size,
L length of a cache. Masks are bool, True = attend.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from reference.dot_product_attention import MultiHeadAttention

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array, a keras.Variable
Shape = tuple[int | None, ...]
Cache = dict[str, Any]  # keys and values that a decoder has computed already

EPSILON = 1e-5
"""Of every LayerNorm."""


def add_and_norm(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: Any, drop: Any, norm_first: bool) -> Tensor:
    """LayerNorm(x + Dropout(f(x))), or x + Dropout(f(LayerNorm(x))) with `norm_first`: `(B, T, D)` to the same."""
    if norm_first:
        return x + drop(sublayer(norm(x)))
    return norm(x + drop(sublayer(x)))


@keras.saving.register_keras_serializable(package="touchstone")
class EncoderBlock(keras.layers.Layer):
    """Self-attention, then feed-forward, each inside of `add_and_norm`.

    The weights are, in this order, those of the attention (kernel, and with `use_bias` bias, of queries, keys, values
    and output, as in `MultiHeadAttention`), gamma and beta of its LayerNorm, W_1 `(D, F)`, b_1, W_2 `(F, D)`, b_2, and
    gamma and beta of their LayerNorm.

    Args:
        heads: N, which must divide D.
        feed_forward: F.
        dropout: rate at which what a sublayer adds is dropped in training; nothing else is.
        norm_first: pre-norm, in place of the paper's post-norm.
        use_bias: whether the attention has biases; the paper's has none.
        **kwargs: of `keras.layers.Layer`: name, dtype, trainable.

    Raises:
        ValueError: heads that do not divide D, a size that is not positive, or a rate outside of [0, 1].
    """

    def __init__(
        self,
        heads: int,
        feed_forward: int,
        *,
        dropout: float = 0.1,
        norm_first: bool = False,
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if heads < 1 or feed_forward < 1:
            raise ValueError(f"`heads` and `feed_forward` must be at least 1; they are {heads} and {feed_forward}")
        self.heads, self.feed_forward, self.dropout = heads, feed_forward, dropout
        self.norm_first, self.use_bias = norm_first, use_bias
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True  # a padded position stays one

    def build(self, x_shape: Shape) -> None:
        """Create the sublayers for x `(B, T, D)`."""
        self.attention, self.attention_norm = self._attention(x_shape, x_shape)
        self._build_feed_forward(x_shape)

    def call(self, x: Tensor, mask: Tensor | None = None, training: bool | None = None) -> Tensor:
        """Return `(B, T, D)` for x `(B, T, D)`; the mask is `(B, T)` or `(B, T, T)`, True = attend."""
        x = self._around(x, lambda y: self.attention(y, mask=mask), self.attention_norm, training)
        return self._around(x, self._feed_forward, self.feed_forward_norm, training)

    def _around(self, x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: Any, training: bool | None) -> Tensor:
        drop = functools.partial(self.drop, training=training)
        return add_and_norm(x, sublayer, norm, drop, self.norm_first)

    def _feed_forward(self, x: Tensor) -> Tensor:
        """max(0, x W_1 + b_1) W_2 + b_2: `(B, T, D)` to `(B, T, F)` and back."""
        return self.contract(self.expand(x))

    def _attention(self, x_shape: Shape, source_shape: Shape) -> tuple[MultiHeadAttention, keras.Layer]:
        """An attention from x to a source, and its LayerNorm."""
        width, heads = x_shape[-1], self.heads
        if width is None or width % heads:
            raise ValueError(f"the last axis of x, D, must be a multiple of the {heads} heads; it is {width}")
        attention = MultiHeadAttention(heads, width // heads, use_bias=self.use_bias, dtype=self.dtype_policy)
        attention.build(x_shape, source_shape)
        return attention, layer_norm(x_shape, self.dtype_policy)

    def _build_feed_forward(self, x_shape: Shape) -> None:
        self.expand = keras.layers.Dense(self.feed_forward, activation="relu", dtype=self.dtype_policy)
        self.contract = keras.layers.Dense(x_shape[-1], dtype=self.dtype_policy)
        self.expand.build(x_shape)
        self.contract.build((*x_shape[:-1], self.feed_forward))
        self.feed_forward_norm = layer_norm(x_shape, self.dtype_policy)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        names = ("heads", "feed_forward", "dropout", "norm_first", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="touchstone")
class DecoderBlock(EncoderBlock):
    """An `EncoderBlock` whose positions see only themselves and those before, and a memory if there is one.

    Built with a memory `(B, S, D)`, it attends to that between the self-attention and the feed-forward; there stand
    the weights of this attention and its LayerNorm, too. Without one it is a block of a language model.
    """

    def build(self, x_shape: Shape, memory_shape: Shape | None = None) -> None:
        """Create the sublayers for x `(B, T, D)` and a memory `(B, S, D)`, or none."""
        self.attention, self.attention_norm = self._attention(x_shape, x_shape)
        self.has_memory = memory_shape is not None
        if memory_shape is not None:
            self.memory_attention, self.memory_norm = self._attention(x_shape, memory_shape)
        self._build_feed_forward(x_shape)

    def call(  # type: ignore[override]
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
        position: Tensor = 0,
        training: bool | None = None,
    ) -> Any:
        """Return `(B, T, D)`; with a cache also the cache, in which x then is.

        Args:
            x: `(B, T, D)`.
            memory: `(B, S, D)`; None with a cache, which holds what is made of it.
            mask: `(B, T)` or `(B, T, T)`, True = attend, on top of causality; None with a cache.
            memory_mask: `(B, S)` or `(B, T, S)`; None with a cache.
            cache: from `new_cache`, or from the call before.
            position: with a cache, how many positions precede x: an integer or a scalar tensor.
            training: whether dropout is on.
        """
        cache = None if cache is None else dict(cache)
        if self.has_memory != (memory is not None if cache is None else "memory" in cache):
            raise ValueError("a decoder block is called with a memory if, and only if, it was built with one")

        def look_back(y: Tensor) -> Tensor:  # (B, T, D)
            query, source = self.attention.project_query(y), self.attention.project_source(y)  # (B, T, N, H)
            if cache is not None:
                old, at = cache["target"], [0, position, 0, 0]
                source = cache["target"] = tuple(map(ops.slice_update, old, (at, at), source))  # (B, L, N, H)
            return self.attention.attend(query, *source, mask, causal=True, offset=position)

        def look_across(y: Tensor) -> Tensor:  # (B, T, D)
            attention = self.memory_attention
            source = (*attention.project_source(memory), memory_mask) if cache is None else cache["memory"]
            return attention.attend(attention.project_query(y), *source)

        x = self._around(x, look_back, self.attention_norm, training)
        if self.has_memory:
            x = self._around(x, look_across, self.memory_norm, training)
        x = self._around(x, self._feed_forward, self.feed_forward_norm, training)
        return x if cache is None else (x, cache)

    def new_cache(self, batch: Tensor, length: int, *memory_and_mask: Tensor) -> Cache:
        """Room for keys and values of `length` positions; and those of a memory `(B, S, D)`, with its mask `(B, S)`."""
        room = ops.zeros((batch, length, self.attention.heads, self.attention.head_size), dtype=self.compute_dtype)
        if not self.has_memory:
            return {"target": (room, room)}
        memory, mask = memory_and_mask
        return {"target": (room, room), "memory": (*self.memory_attention.project_source(memory), mask)}


def layer_norm(shape: Shape, dtype: Any) -> keras.Layer:
    """A LayerNorm over the last axis, built."""
    norm = keras.layers.LayerNormalization(epsilon=EPSILON, dtype=dtype)
    norm.build(shape)
    return norm
