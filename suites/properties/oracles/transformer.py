"""The Transformer in float64 NumPy, and how far a right implementation may be from it.

The formulas are written once, over affine forms: a value, and next to it what rounding may have done to it so far for
an implementation that takes the steps of the formula one by one in a given dtype. Steps taken in a wider dtype only
make the errors smaller. The truth is the value, whatever the dtype.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suites.properties.affine import Affine, Machine, concatenated, layer_norm, relu, softmax
from suites.properties.numerics import LIBM_ULPS, gamma

EPSILON = 1e-5
"""Of LayerNorm; the paper does not state it."""

PAD, END = 0, 2


def positions(length: int, size: int, start: int = 0) -> np.ndarray:
    """PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i+1) = cos(the same), `(length, size)`: section 3.5, entry by entry."""
    table = np.zeros((length, size))
    for row, i in itertools.product(range(length), range(size // 2)):
        angle = (start + row) / 10000 ** (2 * i / size)
        table[row, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    return table


def attention(x: Affine, source: Affine, mask: np.ndarray, weights: Iterator[np.ndarray], use_bias: bool) -> Affine:
    """MultiHead(x, source, source) of section 3.2.2, head by head: `(T, D)`, `(S, D)`, bool `(T, S)` to `(T, D)`."""
    exactly = x.machine.exactly
    kernels = [(next(weights), next(weights) if use_bias else None) for _ in range(4)]

    def projected(t: Affine, which: int, head: int) -> Affine:
        kernel, bias = kernels[which]
        product = t @ exactly(kernel[:, head])
        return product if bias is None else product + exactly(bias[head])

    kernel, bias = kernels[3]  # (N, H, D), (D,)
    heads, head_size, _ = kernel.shape
    found = []
    for head in range(heads):
        query, keys, values = (projected(t, which, head) for which, t in enumerate((x, source, source)))
        scores = (query @ keys.transposed) * exactly(np.asarray(head_size**-0.5)).rounded()
        found.append(softmax(scores, mask) @ values)
    output = concatenated(found) @ exactly(kernel.reshape(heads * head_size, -1))
    return output if bias is None else output + exactly(bias)


def feed_forward(x: Affine, weights: Iterator[np.ndarray]) -> Affine:
    """max(0, x W_1 + b_1) W_2 + b_2, equation 2."""
    kernel, bias, other_kernel, other_bias = (x.machine.exactly(next(weights)) for _ in range(4))
    return relu(x @ kernel + bias) @ other_kernel + other_bias


def normalised(x: Affine, scale: np.ndarray, shift: np.ndarray) -> Affine:
    """LayerNorm (Ba et al. 2016, arXiv:1607.06450) with its gamma and beta."""
    return layer_norm(x, EPSILON) * x.machine.exactly(scale) + x.machine.exactly(shift)


@dataclass(frozen=True)
class Kind:
    """What kind of blocks there are: pre-norm or post-norm, with or without biases in the attention."""

    norm_first: bool = False
    use_bias: bool = True


def block(
    x: Affine,
    weights: Iterator[np.ndarray],
    kind: Kind,
    mask: np.ndarray,
    memory: Affine | None = None,
    memory_mask: np.ndarray | None = None,
) -> Affine:
    """One batch entry through an encoder block, or through a decoder block where its mask is causal: `(T, D)`.

    The weights come in the contract's order: attention, LayerNorm, attention to the memory, LayerNorm, feed-forward,
    LayerNorm.
    """

    def around(x: Affine, sublayer: Callable[[Affine, Iterator[np.ndarray]], Affine], size: int) -> Affine:
        *own, scale, shift = itertools.islice(weights, size + 2)
        if kind.norm_first:
            return x + sublayer(normalised(x, scale, shift), iter(own))
        return normalised(x + sublayer(x, iter(own)), scale, shift)

    size = 8 if kind.use_bias else 4
    x = around(x, lambda y, own: attention(y, y, mask, own, kind.use_bias), size)
    if memory is not None:
        assert memory_mask is not None
        x = around(x, lambda y, own: attention(y, memory, memory_mask, own, kind.use_bias), size)
    return around(x, feed_forward, 4)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a right implementation computes, and how far rounding may take it from that."""

    value: np.ndarray
    error: np.ndarray


def stacked(entries: list[Affine]) -> Truth:
    """A batch of results."""
    return Truth(np.stack([entry.value for entry in entries]), np.stack([entry.error for entry in entries]))


def blocks(
    x: np.ndarray,
    weights: Sequence[np.ndarray],
    kind: Kind,
    mask: np.ndarray,
    memory: np.ndarray | None = None,
    memory_mask: np.ndarray | None = None,
    dtype: str | None = None,
) -> Truth:
    """`block` for a batch: x `(B, T, D)`, bool mask `(B, T, T)`, memory `(B, S, D)`, its mask `(B, T, S)`.

    Input and weights must be exact in the dtype; without one nothing rounds.
    """
    entries = []
    for b in range(len(x)):
        exactly = Machine(dtype).exactly
        its_mask = None if memory_mask is None else memory_mask[b]
        other = None if memory is None else exactly(memory[b])
        entries.append(block(exactly(x[b]), iter(weights), kind, mask[b], other, its_mask))
    return stacked(entries)


def network(
    source: np.ndarray | None,
    target: np.ndarray,
    weights: Sequence[np.ndarray],
    kind: Kind,
    layers: int,
    dtype: str | None = None,
) -> Truth:
    """Logits `(B, T, V)` of an encoder-decoder for tokens `(B, S)` and `(B, T)`, or of a decoder alone."""
    rows = range(len(target))
    return stacked(
        [_network(None if source is None else source[b], target[b], weights, kind, layers, dtype) for b in rows]
    )


def _network(
    source: np.ndarray | None,
    target: np.ndarray,
    arrays: Sequence[np.ndarray],
    kind: Kind,
    layers: int,
    dtype: str | None,
) -> Affine:
    (matrix, *rest), exactly = arrays, Machine(dtype).exactly
    weights = iter(rest)

    def embedded(tokens: np.ndarray) -> Affine:
        size = matrix.shape[1]
        scaled = exactly(matrix[tokens]) * exactly(np.asarray(size**0.5)).rounded()
        return scaled.rounded() + exactly(positions(len(tokens), size)).rounded(roundings=2)

    def through(x: Affine, mask: np.ndarray, *memory: Any) -> Affine:
        for _ in range(layers):
            x = block(x, weights, kind, mask, *memory)
        return normalised(x, next(weights), next(weights)) if kind.norm_first else x

    causal = np.tri(len(target), dtype=bool)
    if source is None:
        x = through(embedded(target), causal)
    else:
        kept = source != PAD
        memory = through(embedded(source), np.broadcast_to(kept, (len(source), len(source))))
        x = through(embedded(target), causal, memory, np.broadcast_to(kept, (len(target), len(source))))
    return x @ exactly(matrix.T)


def smoothed_loss(
    targets: np.ndarray, logits: np.ndarray, smoothing: float, mask: np.ndarray, dtype: str = "float32"
) -> Truth:
    """Mean over the mask of -sum_k q_k log softmax(logits)_k with q = (1 - smoothing) onehot + smoothing / V."""
    vocabulary = logits.shape[-1]
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))  # (B, T, V)
    q = (1 - smoothing) * np.eye(vocabulary)[targets] + smoothing / vocabulary
    count = max(1, mask.sum())
    loss = -(q * log_p).sum(-1)[mask].sum() / count
    # log p is off by the rounding of logits, of their differences, of the powers and of the logarithm, each relative to
    # numbers of the size of the logits or of the log p; then come two sums.
    roundings = vocabulary + 4 * LIBM_ULPS + 8
    sizes = np.abs(log_p) + np.abs(shifted) + np.abs(logits).max(-1, keepdims=True) + 1
    each = gamma(roundings, dtype) * sizes  # (B, T, V)
    error = (q * each).sum(-1)[mask].sum() / count
    error += gamma(vocabulary + mask.size + 4, dtype) * (q * sizes).sum(-1)[mask].sum() / count
    return Truth(np.asarray(loss), np.asarray(error))


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / (5 + 1))^alpha, Wu et al. 2016, equation 14."""
    return float((5 + length) ** alpha / (5 + 1) ** alpha)


def hypotheses(vocabulary: int, length: int) -> list[tuple[int, ...]]:
    """Everything that can be written in `length` tokens: ended by `END`, or not ended; without `PAD`."""
    symbols = [token for token in range(vocabulary) if token not in (PAD, END)]
    ended = [(*before, END) for size in range(length) for before in itertools.product(symbols, repeat=size)]
    return [*ended, *itertools.product(symbols, repeat=length)]


@dataclass(frozen=True)
class Found:
    """What a search has found: hypotheses, the best first, their scores, and how close its closest choice was."""

    hypotheses: list[tuple[int, ...]]
    scores: list[float]
    margin: float


def plain_search(
    log_p: Callable[[tuple[int, ...]], np.ndarray], vocabulary: int, length: int, beams: int, alpha: float
) -> Found:
    """Beam search over lists: at every length the K best of all that go on by one token, and of those at their end.

    Args:
        log_p: of every token, `(V,)`, after what is written so far.
        vocabulary: V.
        length: L.
        beams: K.
        alpha: of the length penalty.
    """
    kept: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    margin = np.inf

    def score(hypothesis: tuple[float, tuple[int, ...]]) -> float:
        return hypothesis[0] / length_penalty(len(hypothesis[1]), alpha)

    for _ in range(length):
        going_on = [(total, tokens, log_p(tokens)) for total, tokens in kept if END not in tokens]
        grown = [(t + p[token], (*w, token)) for t, w, p in going_on for token in range(vocabulary) if token != PAD]
        grown = sorted([*grown, *(each for each in kept if END in each[1])], key=score, reverse=True)
        kept = grown[:beams]
        margin = min([margin, *-np.diff([score(each) for each in grown[: beams + 1]])])
    return Found([tokens for _, tokens in kept], [score(each) for each in kept], margin)


def gradient(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """Gradient of `sum(cotangent * function(x))` at an array, by complex steps.

    `Im f(x + ih) / h` has no cancellation, so that a tiny h makes it exact up to rounding (Squire and Trapp 1998,
    SIAM Review 40(1)).
    """
    step = 1e-30
    result = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1j * step
        result[index] = np.sum(cotangent * function(moved)).imag / step
    return result
