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
The blocks are in `reference/_transformer_blocks.py`, and how to write with a decoder in `reference/_decoding.py`.

Shapes: B batch, S source length, T target length, D model size, F feed-forward size, N heads, H = D / N head size,
V vocabulary, L length to decode, K beams. Masks are bool, True = attend; padding comes after the tokens.

Deviations from the paper: biases in the attention on request; pre-norm on request, with a LayerNorm after the last
block; the epsilon of LayerNorm, which the paper does not state, is 1e-5; E starts from a normal distribution of
variance 1/D, so that embedded tokens have variance 1, and kernels from Glorot's uniform one, each as the matrix that it
is; biases and betas start at zero, gammas at one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from reference._decoding import END, PAD, START, beam_decode, greedy_decode, length_penalty  # noqa: F401 - the contract's
from reference._transformer_blocks import Cache, DecoderBlock, EncoderBlock, Shape, Tensor, layer_norm


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
        ValueError: an odd size or none, or a negative length or start.
    """
    if size < 2 or size % 2 or length < 0 or start < 0:
        expected = "expected `length` >= 0, `start` >= 0 and an even `size` for pairs of sine and cosine"
        raise ValueError(f"{expected}; got {length}, {start} and {size}")
    angles = np.arange(start, start + length)[:, None] / 10000.0 ** (np.arange(0, size, 2) / size)  # (T, D/2)
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (T, D/2, 2)
    return ops.convert_to_tensor(pairs.reshape(length, size), dtype="float32")


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
        """Embed integers `(B, T)` of any dtype as vectors `(B, T, D)` in the compute dtype."""
        if "int" not in keras.backend.standardize_dtype(tokens.dtype):
            raise ValueError(f"tokens must be integers; their dtype is {tokens.dtype}")
        rows = ops.take(self.matrix, ops.cast(tokens, "int32"), axis=0)  # TensorFlow takes by no unsigned index
        return ops.cast(rows * self.size**0.5, self.compute_dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Logits x E^T, `(B, T, D)` to `(B, T, V)`, in float32 at least."""
        return ops.matmul(ops.cast(x, self.matrix.dtype), ops.transpose(self.matrix))

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), "vocabulary": self.vocabulary, "size": self.size}


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
        last = layer_norm(shapes[0], self.dtype_policy) if self.options["norm_first"] else unchanged
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

    def compute_output_spec(self, tokens: Any, *_: Any, **__: Any) -> Tensor:
        """Shape and dtype of the logits, without a trace of `call`, which on JAX would have to know the lengths."""
        target = tokens[-1] if isinstance(tokens, tuple | list) else tokens
        return keras.KerasTensor((*target.shape, self.vocabulary), dtype=self.embedding.matrix.dtype)

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

    Raises:
        ValueError: sizes that do not fit each other, tokens that are not integers, or more of them than positions.

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
