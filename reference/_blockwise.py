"""Dot-product attention by blocks: the same result in memory that grows with T + S, not with T x S.

The problem. Attention at once has T x S weights, too many for a long sequence. But a softmax need not see all scores at
once: of those so far it is enough to know the largest, m, and d = sum_s exp(e_ts - m). So one block of keys can follow
the other, with the sum of values that goes with d (Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3; Rabe and
Staats 2021, arXiv:2112.05682). For the gradient each block is computed again (Dao et al. 2022, arXiv:2205.14135,
appendix B.4); from the forward pass it needs the output, and m + log d of each query.

Shapes: B batch, T query length, S source length, N heads, H head size, H_v that of the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from reference._scores import (
    LOWEST_SCORE,
    Tensor,
    attended_positions,
    checked,
    cleared,
    common_dtypes,
    dot_products,
    heads_first,
    part_of,
    scale_of,
)


def blockwise_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    offset: int | Tensor = 0,
    scale: float | None = None,
    block: int = 128,
) -> Tensor:
    """`dot_product_attention` in memory that grows with T + S, not with T x S, for its gradient too.

    At no time are there scores of more than `block` keys, so that the weights cannot be returned. All runs in float32
    at least. It can be differentiated once.

    Args:
        query: `(B, T, N, H)`; this and the next six are as in `dot_product_attention`.
        keys: `(B, S, N, H)`.
        values: `(B, S, N, H_v)`.
        mask: bool, True = attend.
        causal: whether query t attends to positions s <= t + `offset` only.
        offset: by how many positions the queries start later than the keys.
        scale: of the scores.
        block: how many keys are scored at once. S need not be a multiple of it.

    Returns:
        The output, `(B, T, N, H_v)`, in the common dtype of query, keys and values.

    Raises:
        ValueError: a shape does not fit the others, the mask is not bool, or the block is not positive.
    """
    if block < 1:
        raise ValueError(f"`block` must be at least 1 key; it is {block}")
    query, keys, values, mask = checked(query, keys, values, mask)
    dtype, wide = common_dtypes(query, keys, values)

    @ops.custom_gradient
    def attend(*inputs: Tensor) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
        # TensorFlow's eager tape would keep all scores in spite of the gradient below, if it saw what follows.
        query, keys, values = (heads_first(ops.stop_gradient(each)) for each in inputs)
        source = Blocks(keys, values, mask, causal, offset, ops.shape(query)[2], block)
        output, log_total = blockwise_forward(query, source)

        def gradient(*arguments: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
            # Keras hands the upstream gradient over by position on TensorFlow and JAX, by name on torch.
            upstream = heads_first(arguments[0] if upstream is None else upstream)
            return tuple(map(heads_first, blockwise_gradient(query, source, output, log_total, upstream)))

        return heads_first(output), gradient

    query = ops.cast(query, wide) * scale_of(query, scale)
    return ops.cast(attend(query, ops.cast(keys, wide), ops.cast(values, wide)), dtype)


@dataclass(frozen=True)
class Blocks:
    """Keys `(B, N, S, H)` and values `(B, N, S, H_v)`, to be attended to `size` at a time, and who may attend."""

    keys: Tensor
    values: Tensor
    mask: Tensor | None
    causal: bool
    offset: int | Tensor
    steps: int | Tensor  # T
    size: int

    def at(self, start: int | Tensor, size: int | Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values from `start` to `start + size`, and where each query may attend to them."""
        allowed = attended_positions(self.mask, self.causal, self.offset, self.steps, start, size)
        keys, values = part_of(self.keys, 2, start, size), part_of(self.values, 2, start, size)
        return cleared(keys, allowed), cleared(values, allowed), allowed

    def fold(self, step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`state = step(state, start, size)` for one block after the other, the last of which may be shorter.

        A loop of the backend, not of Python: left to itself a compiler runs all blocks at once, with all their scores.
        """
        source = ops.shape(self.keys)[2]
        whole, rest = source // self.size, source % self.size  # integers, or tensors where S is not known yet
        if not isinstance(whole, int) or whole > 0:
            state = ops.fori_loop(0, whole, lambda i, state: step(state, i * self.size, self.size), state)
        if not isinstance(rest, int) or rest > 0:
            state = step(state, source - rest, rest)
        return state


def blockwise_forward(query: Tensor, source: Blocks) -> tuple[Tensor, Tensor]:
    """Output `(B, N, T, H_v)`, and log sum_s exp(e_ts) `(B, N, T, 1)`, by a running softmax."""

    def step(state: tuple[Tensor, ...], start: int | Tensor, size: int | Tensor) -> tuple[Tensor, ...]:
        keys, values, allowed = source.at(start, size)
        return running_softmax(state, dot_products(query, keys), values, allowed)

    batch, heads, steps, _ = ops.shape(query)
    column, outputs = (batch, heads, steps, 1), (batch, heads, steps, ops.shape(source.values)[3])
    state = (
        ops.full(column, LOWEST_SCORE, query.dtype),
        ops.zeros(column, query.dtype),
        ops.zeros(outputs, query.dtype),
    )
    largest, total, summed = source.fold(step, state)
    attends = largest > LOWEST_SCORE  # a row that is masked throughout has summed what it may not see
    total = ops.where(attends, total, 1)
    return ops.where(attends, summed / total, 0), largest + ops.log(total)


def running_softmax(
    state: tuple[Tensor, ...], scores: Tensor, values: Tensor, allowed: Tensor | None
) -> tuple[Tensor, ...]:
    """Take one block into a softmax under way (Milakov and Gimelshein 2018, algorithm 3, lines 4 and 5).

    The state is the largest score so far m, the total d = sum_s exp(e_ts - m), both `(B, N, T, 1)`, and the sum of
    values that goes with it, `(B, N, T, H_v)`; both sums shrink by exp(m - m') when m grows to m'. What a row sums
    while all is masked, m being the score that stands for that, shrinks to nothing at the first score that is not.
    """
    largest, total, summed = state
    if allowed is not None:
        scores = ops.where(allowed, scores, LOWEST_SCORE)
    grown = ops.maximum(largest, ops.max(scores, axis=-1, keepdims=True))
    shrink, powers = ops.exp(largest - grown), ops.exp(scores - grown)
    total = total * shrink + ops.sum(powers, axis=-1, keepdims=True)
    return grown, total, summed * shrink + ops.matmul(powers, values)


def blockwise_gradient(
    query: Tensor, source: Blocks, output: Tensor, log_total: Tensor, upstream: Tensor
) -> tuple[Tensor, ...]:
    """Gradients to the scaled query, the keys and the values (Dao et al. 2022, appendix B.4), from dO = `upstream`.

    With weights P = exp(E - log sum exp E) and dP = dO V', the softmax gives dE = P (dP - delta), where delta_t =
    sum_s P_ts dP_ts = dO_t . O_t needs no weights. Then dQ = dE K, dK = dE' Q and dV = P' dO.
    """
    delta = ops.sum(upstream * output, axis=-1, keepdims=True)  # (B, N, T, 1)

    def step(state: tuple[Tensor, ...], start: int | Tensor, size: int | Tensor) -> tuple[Tensor, ...]:
        keys, values, allowed = source.at(start, size)
        weights = ops.exp(dot_products(query, keys) - log_total)  # (B, N, T, size)
        weights = weights if allowed is None else ops.where(allowed, weights, 0)
        to_scores = weights * (dot_products(upstream, values) - delta)
        to_query, to_keys, to_values = state
        return (
            to_query + ops.matmul(to_scores, keys),
            ops.slice_update(to_keys, (0, 0, start, 0), transposed_product(to_scores, query)),
            ops.slice_update(to_values, (0, 0, start, 0), transposed_product(weights, upstream)),
        )

    return source.fold(step, tuple(ops.zeros_like(each) for each in (query, source.keys, source.values)))


def transposed_product(weights: Tensor, rows: Tensor) -> Tensor:
    """sum_t w_ts r_t: `(B, N, T, S)` and `(B, N, T, H)` to `(B, N, S, H)`."""
    return ops.matmul(ops.transpose(weights, (0, 1, 3, 2)), rows)
