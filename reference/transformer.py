"""Transformer: translate or continue sequences by attention alone.

The problem. A recurrent network reads a sequence position by position: it cannot be trained on all positions at once,
and what two distant positions have to say to each other passes through everything between them. The cure (Vaswani et
al. 2017, arXiv:1706.03762): every position attends to every other one directly. What order there is comes in by adding
a vector per position to the embedded tokens, and blocks of two or three sublayers f are stacked:

    PE(p, 2i) = sin(p / 10000^(2i/D))     PE(p, 2i+1) = cos(p / 10000^(2i/D))         positions, section 3.5
    x <- LayerNorm(x + Dropout(f(x)))                                                 post-norm, sections 3.1 and 5.4
    x <- x + Dropout(f(LayerNorm(x)))                                                 pre-norm, arXiv:2002.04745
    f(x) = max(0, x W_1 + b_1) W_2 + b_2                                              feed-forward, equation 2
    f(x) = MultiHead(x, x, x), or MultiHead(x, memory, memory) in a decoder           attention, section 3.2

Tokens are embedded by the rows of one matrix E, times sqrt(D), for source and target alike, and the logits are x E^T
(section 3.4). An encoder sees the whole source; a decoder sees the target so far, so that it learns all positions of a
target at once (teacher forcing) and writes one token at a time, with the keys and values of those before in a cache.

Shapes: B batch, S source length, T target length, D model size, F feed-forward size, N heads, H = D / N head size,
V vocabulary, L length to decode, K beams. Masks are bool, True = attend; padding comes after the tokens.

Deviations from the paper: biases in the attention on request; pre-norm on request, with a LayerNorm after the last
block; the epsilon of LayerNorm, which the paper does not state, is 1e-5; E starts from a normal distribution of
variance 1/D, so that embedded tokens have variance 1, and kernels from Glorot's uniform one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from reference.dot_product_attention import MultiHeadAttention

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array, a keras.Variable
Shape = tuple[int | None, ...]
Cache = dict[str, Any]  # keys and values that a decoder has computed already

PAD, START, END = 0, 1, 2
"""The first tokens of every vocabulary: filler after the end, what a decoder is started with, and the end."""

EPSILON = 1e-5
"""Of every LayerNorm."""


@dataclasses.dataclass(frozen=True)
class Size:
    """A row of the paper's table 3: N layers per stack, D, F, heads, and the rate of dropout."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    dropout: float = 0.1


SIZES = {"base": Size(6, 512, 2048, 8, 0.1), "big": Size(6, 1024, 4096, 16, 0.3)}


def parameter_count(
    size: Size, vocabulary: int, *, decoder_only: bool = False, norm_first: bool = False, use_bias: bool = False
) -> int:
    """Parameters of a `Transformer` or, with `decoder_only`, of a `DecoderOnly`.

    Base with the 37,000 tokens of section 5.1 has 63,045,632, where table 3 says 65 million; big has 214,171,648
    against 213 million.
    """
    d, norm = size.width, 2 * size.width
    attention = 4 * d * d + (4 * d if use_bias else 0)  # queries, keys, values and output
    feed_forward = (d * size.feed_forward + size.feed_forward) + (size.feed_forward * d + d)
    one_attention = attention + feed_forward + 2 * norm
    block = one_attention if decoder_only else one_attention + (one_attention + attention + norm)  # encoder and decoder
    last_norms = norm * (1 if decoder_only else 2) if norm_first else 0
    return vocabulary * d + size.layers * block + last_norms


def sinusoidal_positions(length: int, size: int, start: int = 0) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i/D)) and PE(p, 2i+1) = cos(the same) for p from `start`: `(length, size)` float32.

    The angles are computed in float64, whatever the precision of the network: those of float16 are off by whole turns.

    Raises:
        ValueError: an odd size, or a negative length or start.
    """
    if size < 2 or size % 2 or length < 0 or start < 0:
        expected = "expected `length` >= 0, `start` >= 0 and an even `size` for pairs of sine and cosine"
        raise ValueError(f"{expected}; got {length}, {start} and {size}")
    angles = np.arange(start, start + length)[:, None] / 10000.0 ** (np.arange(0, size, 2) / size)  # (T, D/2)
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (T, D/2, 2)
    return ops.convert_to_tensor(pairs.reshape(length, size), dtype="float32")


def add_and_norm(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: Any, drop: Any, norm_first: bool) -> Tensor:
    """LayerNorm(x + Dropout(f(x))), or x + Dropout(f(LayerNorm(x))) with `norm_first`: `(B, T, D)` to the same."""
    if norm_first:
        return x + drop(sublayer(norm(x)))
    return norm(x + drop(sublayer(x)))


def label_smoothed_loss(targets: Tensor, logits: Tensor, smoothing: float = 0.1, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy between q = (1 - smoothing) onehot(target) + smoothing / V and softmax(logits), section 5.4.

    Args:
        targets: `(B, T)` integers.
        logits: `(B, T, V)`; computed on in float32 at least.
        smoothing: the share of q that is spread evenly over all V classes (Szegedy et al. 2016, arXiv:1512.00567).
        mask: bool `(B, T)`, True where a target counts; all if None. No target at all gives a loss of 0.

    Returns:
        A scalar. It is at least the entropy of q.

    Raises:
        ValueError: shapes that do not fit, a mask that is not bool, or a smoothing outside of [0, 1).
    """
    targets, logits = ops.convert_to_tensor(targets), ops.convert_to_tensor(logits)
    mask = ops.ones_like(targets, dtype="bool") if mask is None else ops.convert_to_tensor(mask)
    if not 0 <= smoothing < 1:
        raise ValueError(f"`smoothing` must lie in [0, 1); it is {smoothing}")
    if len(targets.shape) != 2 or tuple(logits.shape[:-1]) != tuple(targets.shape) or mask.shape != targets.shape:
        found = f"{tuple(targets.shape)}, {tuple(logits.shape)} and {tuple(mask.shape)}"
        raise ValueError(f"targets, logits and mask must have shapes (B, T), (B, T, V) and (B, T); they have {found}")
    if keras.backend.standardize_dtype(mask.dtype) != "bool":
        raise ValueError(f"`mask` must be bool, True where a target counts; its dtype is {mask.dtype}")
    logits = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
    log_p = ops.log_softmax(logits, axis=-1)  # (B, T, V)
    of_target = ops.squeeze(ops.take_along_axis(log_p, ops.expand_dims(targets, -1), axis=-1), -1)  # (B, T)
    losses = -(1 - smoothing) * of_target - smoothing * ops.mean(log_p, axis=-1)  # (B, T)
    count = ops.maximum(ops.sum(ops.cast(mask, losses.dtype)), 1)
    return ops.sum(ops.where(mask, losses, 0)) / count


@keras.saving.register_keras_serializable(package="touchstone")
class TokenEmbedding(keras.layers.Layer):
    """Tokens to vectors, sqrt(D) times the rows of a matrix E; and vectors to logits, x E^T (section 3.4).

    Args:
        vocabulary: V.
        size: D.
        **kwargs: of `keras.layers.Layer`: name, dtype, trainable.
    """

    def __init__(self, vocabulary: int, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if vocabulary < 1 or size < 1:
            raise ValueError(f"`vocabulary` and `size` must be at least 1; they are {vocabulary} and {size}")
        self.vocabulary, self.size = vocabulary, size

    def build(self, _tokens_shape: Shape | None = None) -> None:
        """Create E, `(V, D)`; it is not cast to the compute dtype, since the logits are float32."""
        narrow, shape = keras.initializers.RandomNormal(stddev=self.size**-0.5), (self.vocabulary, self.size)
        self.matrix = self.add_weight(shape=shape, initializer=narrow, name="matrix", autocast=False)

    def call(self, tokens: Tensor) -> Tensor:
        """Embed integers `(B, T)` as vectors `(B, T, D)` in the compute dtype."""
        if "int" not in keras.backend.standardize_dtype(tokens.dtype):
            raise ValueError(f"tokens must be integers; their dtype is {tokens.dtype}")
        return ops.cast(ops.take(self.matrix, tokens, axis=0) * self.size**0.5, self.compute_dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Logits x E^T, `(B, T, D)` to `(B, T, V)`, in float32 at least."""
        return ops.matmul(ops.cast(x, self.matrix.dtype), ops.transpose(self.matrix))

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), "vocabulary": self.vocabulary, "size": self.size}


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
        return attention, _layer_norm(x_shape, self.dtype_policy)

    def _build_feed_forward(self, x_shape: Shape) -> None:
        self.expand = keras.layers.Dense(self.feed_forward, activation="relu", dtype=self.dtype_policy)
        self.contract = keras.layers.Dense(x_shape[-1], dtype=self.dtype_policy)
        self.expand.build(x_shape)
        self.contract.build((*x_shape[:-1], self.feed_forward))
        self.feed_forward_norm = _layer_norm(x_shape, self.dtype_policy)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        names = ("heads", "feed_forward", "dropout", "norm_first", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _layer_norm(shape: Shape, dtype: Any) -> keras.Layer:
    norm = keras.layers.LayerNormalization(epsilon=EPSILON, dtype=dtype)
    norm.build(shape)
    return norm


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


class _Network(keras.Model):
    """Tokens to vectors with positions, a stack of decoder blocks, and vectors to float32 logits."""

    def __init__(
        self,
        vocabulary: int,
        size: Size | Mapping[str, Any],
        *,
        norm_first: bool = False,
        use_bias: bool = False,
        max_length: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = size if isinstance(size, Size) else Size(**size)
        self.options = {"norm_first": norm_first, "use_bias": use_bias}
        self.vocabulary, self.max_length = vocabulary, max_length
        self.positions = ops.convert_to_numpy(sinusoidal_positions(max_length, self.size.width))
        self.embedding = TokenEmbedding(vocabulary, self.size.width, dtype=self.dtype_policy)
        self.embedding.build()
        self.drop = keras.layers.Dropout(self.size.dropout, dtype=self.dtype_policy)
        self.built = True  # all sizes are known

    def _stack(self, kind: type[EncoderBlock], inputs: int = 1) -> list[Any]:
        """Blocks for one or two inputs, and what comes after the last of them: pre-norm's LayerNorm, or nothing."""
        size, shapes = self.size, [(None, None, self.size.width)] * inputs
        options = {"dropout": size.dropout, "dtype": self.dtype_policy, **self.options}
        blocks = [kind(size.heads, size.feed_forward, **options) for _ in range(size.layers)]
        for block in blocks:
            block.build(*shapes)
        unchanged = keras.layers.Identity(dtype=self.dtype_policy)
        last = _layer_norm(shapes[0], self.dtype_policy) if self.options["norm_first"] else unchanged
        return [*blocks, last]

    def embed(self, tokens: Tensor, position: Tensor = 0, training: bool | None = None) -> Tensor:
        """Tokens `(B, T)`, the first of them at `position`, as vectors `(B, T, D)`; with dropout (section 5.4)."""
        if (tokens.shape[1] or 0) > self.max_length:
            raise ValueError(f"{tokens.shape[1]} positions are more than `max_length`, {self.max_length}")
        x = self.embedding(tokens)
        positions = ops.take(self.positions, position + ops.arange(ops.shape(tokens)[1]), axis=0)  # (T, D)
        return self.drop(x + ops.cast(positions, x.dtype), training=training)

    def decode(
        self, target: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """Logits `(B, T, V)` of what follows each position of a target `(B, T)`, given a memory and its mask."""
        *blocks, last = self.decoder
        x = self.embed(target, training=training)
        for block in blocks:
            x = block(x, memory, memory_mask=mask, training=training)
        return self.embedding.logits(last(x))

    def step(self, tokens: Tensor, position: Tensor, cache: list[Cache]) -> tuple[Tensor, list[Cache]]:
        """Logits as by `decode` for tokens `(B, T)` that `position` others precede, and a cache with them in it."""
        *blocks, last = self.decoder
        x, cache = self.embed(tokens, position), list(cache)
        for i, block in enumerate(blocks):
            x, cache[i] = block(x, cache=cache[i], position=position)
        return self.embedding.logits(last(x)), cache

    def new_cache(self, batch: Tensor, length: int, *memory_and_mask: Tensor) -> list[Cache]:
        """A cache of every block."""
        if length > self.max_length:
            raise ValueError(f"{length} positions are more than `max_length`, {self.max_length}")
        return [block.new_cache(batch, length, *memory_and_mask) for block in self.decoder[:-1]]

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        own = {"vocabulary": self.vocabulary, "size": dataclasses.asdict(self.size), "max_length": self.max_length}
        return {**super().get_config(), **own, **self.options}


@keras.saving.register_keras_serializable(package="touchstone")
class DecoderOnly(_Network):
    """A language model: tokens `(B, T)` to logits `(B, T, V)` of what follows each; arguments as of `Transformer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decoder = self._stack(DecoderBlock)

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """Padding changes nothing before it, since no position sees what comes later."""
        return self.decode(tokens, training=training)

    def begin(self, prompt: Tensor, length: int) -> tuple[Tensor, int, list[Cache]]:
        """The last tokens `(B,)` of a prompt `(B, P)` without padding, how many precede them, and a cache of these."""
        before = prompt.shape[1] - 1
        cache = self.new_cache(ops.shape(prompt)[0], before + length)
        if before:
            _, cache = self.step(prompt[:, :-1], 0, cache)
        return prompt[:, -1], before, cache


@keras.saving.register_keras_serializable(package="touchstone")
class Transformer(_Network):
    """The paper's network: a source `(B, S)` and a target `(B, T)` to logits `(B, T, V)` of what follows in the target.

    Its weights are E, those of the encoder's blocks and those of the decoder's, each with a last LayerNorm in pre-norm.

    Args:
        vocabulary: V, of source and target together.
        size: a row of `SIZES` or one like it, or such a row as a dictionary.
        norm_first, use_bias: as in `EncoderBlock`.
        max_length: how many positions there are, at most, in a source or a target.
        **kwargs: of `keras.Model`: name, dtype.

    Example:
        >>> model = Transformer(100, Size(layers=2, width=16, feed_forward=32, heads=4))
        >>> model((np.array([[5, 7, 0]]), np.array([[START, 9]]))).shape
        TensorShape([1, 2, 100])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.encoder, self.decoder = self._stack(EncoderBlock), self._stack(DecoderBlock, inputs=2)

    def call(self, inputs: tuple[Tensor, Tensor], training: bool | None = None) -> Tensor:
        """Padding of the source is masked, and that of the target, at its end, is where no token sees it."""
        source, target = inputs
        return self.decode(target, self.encode(source, training), source != PAD, training)

    def encode(self, source: Tensor, training: bool | None = None) -> Tensor:
        """The memory `(B, S, D)` of a source `(B, S)`."""
        *blocks, last = self.encoder
        x = self.embed(source, training=training)
        for block in blocks:
            x = block(x, mask=source != PAD, training=training)
        return last(x)

    def begin(self, source: Tensor, length: int) -> tuple[Tensor, int, list[Cache]]:
        """`START` for every row, how many tokens precede it, and a cache with what the decoder needs of the source."""
        batch = ops.shape(source)[0]
        return ops.full((batch,), START), 0, self.new_cache(batch, length, self.encode(source), source != PAD)


def length_penalty(length: Tensor, alpha: float) -> Tensor:
    """((5 + length) / 6)^alpha (Wu et al. 2016, arXiv:1609.08144, equation 14); `END` counts in the length."""
    return ((5.0 + length) / 6.0) ** alpha


def beam_decode(
    model: DecoderOnly | Transformer, source: Tensor, length: int, beams: int = 4, alpha: float = 0.6
) -> tuple[Tensor, Tensor]:
    """Keep, at every length, the K hypotheses of the best score: log P(tokens) / `length_penalty`.

    One that has ended keeps its score, and its place until K better ones are found. A single beam is a greedy search,
    and as many as there are hypotheses an exhaustive one; in between, more beams may also end with a lower score.

    Args:
        model: a `Transformer`, or a `DecoderOnly`, whose source is a prompt without padding.
        source: integers `(B, S)`.
        length: L, how many tokens to write at most.
        beams: K.
        alpha: of the length penalty; the paper has 4 beams and 0.6 (section 6.1).

    Returns:
        int32 `(B, K, L)`, the best hypothesis first: what follows `START` or the prompt, with `PAD` after `END` and
        nowhere else; and the scores, float32 `(B, K)`, -inf where there are fewer than K hypotheses.

    Raises:
        ValueError: no beam, or more positions than the model has.
    """
    if beams < 1:
        raise ValueError(f"`beams` must be at least 1; it is {beams}")
    first, position, cache = model.begin(ops.convert_to_tensor(source), length)
    cache = keras.tree.map_structure(lambda t: ops.repeat(t, beams, axis=0), cache)
    batch, vocabulary = ops.shape(first)[0], model.vocabulary

    def ended(tokens: Tensor) -> Tensor:  # (B, K)
        return ops.any(tokens[..., 1:] == END, axis=-1)

    def size(tokens: Tensor) -> Tensor:  # (B, K)
        return ops.sum(ops.cast(tokens[..., 1:] != PAD, "float32"), axis=-1)

    def write(i: Tensor, tokens: Tensor, log_p: Tensor, cache: list[Cache]) -> tuple[Any, ...]:
        last = ops.reshape(ops.take(tokens, i, axis=2), (-1, 1))  # (B K, 1)
        logits, cache = model.step(last, position + i, cache)  # (B K, 1, V)
        of_next = ops.reshape(ops.log_softmax(logits), (batch, beams, vocabulary))
        # After its end a hypothesis goes on with PAD for certain, before it never.
        done, is_pad = ended(tokens), ops.arange(vocabulary) == PAD
        of_next = ops.where(done[..., None] == is_pad, ops.where(is_pad, 0.0, of_next), -np.inf)  # (B, K, V)
        totals = ops.expand_dims(log_p, -1) + of_next
        penalty = length_penalty(size(tokens) + ops.cast(~done, "float32"), alpha)
        scores = totals / ops.expand_dims(penalty, -1)
        _, best = ops.top_k(ops.reshape(scores, (batch, -1)), beams)  # (B, K), indices of K V
        parent, new = best // vocabulary, ops.cast(best % vocabulary, "int32")  # (B, K)
        rows = ops.reshape(ops.expand_dims(ops.arange(batch) * beams, 1) + parent, (-1,))  # (B K,)
        cache = keras.tree.map_structure(lambda t: ops.take(t, rows, axis=0), cache)
        tokens = ops.take_along_axis(tokens, parent[..., None], axis=1)
        tokens = ops.where(ops.arange(length + 1) == i + 1, new[..., None], tokens)
        return i + 1, tokens, ops.take_along_axis(ops.reshape(totals, (batch, -1)), best, axis=1), cache

    # Column 0 of the tokens is what decoding starts from. All beams begin alike, so that only one of them may count.
    begun = ops.cast(first[:, None, None], "int32") * ops.cast(ops.arange(length + 1) == 0, "int32")  # (B, 1, 1 + L)
    log_p = ops.where(ops.arange(beams) == 0, ops.zeros((batch, beams)), -np.inf)
    _, tokens, log_p, _ = ops.while_loop(
        lambda i, tokens, *_: ops.logical_and(i < length, ~ops.all(ended(tokens))),
        write,
        (0, ops.repeat(begun, beams, axis=1), log_p, cache),
    )
    return tokens[..., 1:], log_p / length_penalty(size(tokens), alpha)


def greedy_decode(model: DecoderOnly | Transformer, source: Tensor, length: int) -> Tensor:
    """Write the likeliest token, again and again: `beam_decode` with one beam, whose tokens it returns, `(B, L)`."""
    tokens, _ = beam_decode(model, source, length, beams=1)
    return ops.squeeze(tokens, 1)
