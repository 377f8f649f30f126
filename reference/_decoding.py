"""Decoding: write a sequence token by token with a trained Transformer, each time going on from what is written so far.

The problem. There are V^L sequences of L tokens, and the likeliest cannot be found by looking at all. A greedy search
takes the likeliest token each time, and so may miss a sequence that begins less well; a beam search keeps the K best
beginnings. Log P falls with every token, so that short sequences would win; hence hypotheses are compared by

    score(tokens) = log P(tokens) / ((5 + length) / 6)^alpha              Wu et al. 2016, arXiv:1609.08144, equation 14

Shapes: B batch, S source length, K beams, L length to decode, V vocabulary. While they are written, tokens are
`(B, K, 1 + L)`: column 0 is what decoding starts from, and `PAD` stands where nothing is written yet.
"""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from reference._transformer_blocks import Cache, Tensor

PAD, START, END = 0, 1, 2
"""The first tokens of every vocabulary: filler after the end, what a decoder is started with, and the end."""


class Decoder(Protocol):
    """What can be decoded from: a `Transformer`, or a `DecoderOnly`."""

    vocabulary: int

    def begin(self, source: Tensor, length: int) -> tuple[Tensor, int, list[Cache]]:
        """The tokens `(B,)` to start from, how many precede them, and a cache with room for `length` more."""

    def step(self, tokens: Tensor, position: Tensor, cache: list[Cache]) -> tuple[Tensor, list[Cache]]:
        """Logits `(B, 1, V)` of what follows tokens `(B, 1)`, and the cache with these in it."""


def length_penalty(length: Tensor, alpha: float) -> Tensor:
    """((5 + length) / 6)^alpha; `END` counts in the length."""
    return ((5.0 + length) / 6.0) ** alpha


def beam_decode(
    model: Decoder, source: Tensor, length: int, beams: int = 4, alpha: float = 0.6
) -> tuple[Tensor, Tensor]:
    """Keep, at every length, the K hypotheses of the best score: log P(tokens) / `length_penalty`.

    One that has ended keeps its score, and its place until K better ones are found. A single beam is a greedy search,
    and as many as there are hypotheses an exhaustive one; in between, more beams may also end with a lower score.

    Args:
        model: a `Transformer`, or a `DecoderOnly`, whose source is a prompt without padding.
        source: integers `(B, S)`.
        length: L, how many tokens to write at most.
        beams: K.
        alpha: of the length penalty; the paper has 4 beams and 0.6 (Vaswani et al. 2017, section 6.1).

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
    batch, columns = ops.shape(first)[0], ops.arange(length + 1)

    def write(i: Tensor, tokens: Tensor, log_p: Tensor, cache: list[Cache]) -> tuple[Any, ...]:
        last = ops.reshape(ops.take(tokens, i, axis=2), (-1, 1))  # (B K, 1)
        logits, cache = model.step(last, position + i, cache)  # (B K, 1, V)
        of_next = ops.reshape(ops.log_softmax(logits), (batch, beams, model.vocabulary))
        parent, new, log_p = best_continuations(tokens, log_p, of_next, alpha)
        rows = ops.reshape(ops.expand_dims(ops.arange(batch) * beams, 1) + parent, (-1,))  # (B K,)
        cache = keras.tree.map_structure(lambda t: ops.take(t, rows, axis=0), cache)
        tokens = ops.take_along_axis(tokens, parent[..., None], axis=1)
        return i + 1, ops.where(columns == i + 1, new[..., None], tokens), log_p, cache

    # All beams begin alike, so that only one of them may count.
    begun = ops.cast(first[:, None, None], "int32") * ops.cast(columns == 0, "int32")  # (B, 1, 1 + L)
    log_p = ops.where(ops.arange(beams) == 0, ops.zeros((batch, beams)), -np.inf)
    _, tokens, log_p, _ = ops.while_loop(
        lambda i, tokens, *_: ops.logical_and(i < length, ~ops.all(ended(tokens))),
        write,
        (0, ops.repeat(begun, beams, axis=1), log_p, cache),
    )
    return tokens[..., 1:], log_p / length_penalty(written(tokens), alpha)


def best_continuations(tokens: Tensor, log_p: Tensor, of_next: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of K hypotheses, each continued by each of V tokens, the K with the best scores.

    Args:
        tokens: `(B, K, 1 + L)`.
        log_p: of the hypotheses, `(B, K)`.
        of_next: log P of every token after each of them, `(B, K, V)`.
        alpha: of the length penalty.

    Returns:
        Which hypothesis each one continues, by which token, and its log P; all `(B, K)`, the best first.
    """
    beams, vocabulary = of_next.shape[1:]
    # After its end a hypothesis goes on with PAD for certain, before it never.
    done, is_pad = ended(tokens), ops.arange(vocabulary) == PAD
    of_next = ops.where(done[..., None] == is_pad, ops.where(is_pad, 0.0, of_next), -np.inf)  # (B, K, V)
    totals = ops.expand_dims(log_p, -1) + of_next
    penalty = length_penalty(written(tokens) + ops.cast(~done, "float32"), alpha)  # (B, K)
    scores = totals / ops.expand_dims(penalty, -1)
    _, best = ops.top_k(ops.reshape(scores, (-1, beams * vocabulary)), beams)  # (B, K), indices of K V
    log_p = ops.take_along_axis(ops.reshape(totals, (-1, beams * vocabulary)), best, axis=1)
    return best // vocabulary, ops.cast(best % vocabulary, "int32"), log_p


def ended(tokens: Tensor) -> Tensor:
    """Whether a hypothesis has come to its end: `(B, K, 1 + L)` to `(B, K)`."""
    return ops.any(tokens[..., 1:] == END, axis=-1)


def written(tokens: Tensor) -> Tensor:
    """How many tokens a hypothesis has, `END` among them: `(B, K, 1 + L)` to `(B, K)` float32."""
    return ops.sum(ops.cast(tokens[..., 1:] != PAD, "float32"), axis=-1)


def greedy_decode(model: Decoder, source: Tensor, length: int) -> Tensor:
    """Write the likeliest token, again and again: `beam_decode` with one beam, whose tokens it returns, `(B, L)`."""
    tokens, _ = beam_decode(model, source, length, beams=1)
    return ops.squeeze(tokens, 1)
