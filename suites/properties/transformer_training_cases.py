"""Blocks and networks of which one sublayer adds something, so that what training drops can be read off the output."""

from typing import Any

import numpy as np

from suites.properties.transformer_block_cases import BlockCase
from suites.properties.transformer_cases import START, NetworkCase

RATE, FACTOR = 0.75, 4.0
"""Of dropout, and by what is multiplied what stays: a power of two, which is exact."""

READ = BlockCase(batch=2, length=16, width=16, norm_first=True)
READ_CROSS = READ.but(decoder=True, source=2)
PART = (1.0, 2.0, 3.0, 5.0)
"""What one sublayer adds where LayerNorm follows, which takes out what is the same in all entries."""
NARROW = BlockCase(batch=2, length=8)
NARROW_CROSS = NARROW.but(decoder=True, source=2)


def ends(case: BlockCase) -> list[int]:
    """Where the last bias of each sublayer stands among the weights; the kernel that it belongs to is before it."""
    return [7, 17, 23] if case.source else [7, 13]


def norms(case: BlockCase) -> list[int]:
    """Where gamma of each sublayer's LayerNorm stands among the weights."""
    return [end + 1 for end in ends(case)]


def adding(case: BlockCase, adds: dict[int, Any]) -> list[np.ndarray]:
    """Weights with which a sublayer, by its number, adds these constants, and all others add nothing."""
    weights = list(case.weights)
    for number, end in enumerate(ends(case)):
        weights[end - 1] = np.zeros_like(weights[end - 1])
        weights[end] = np.zeros_like(weights[end]) + adds.get(number, 0.0)
    return weights


ROWS, COLUMNS, LAYERS = 8, 32, 2
_TOKENS = tuple(tuple(row) for row in np.random.default_rng(0).integers(START, 7, (ROWS, COLUMNS)).tolist())
DROPPING = NetworkCase(target=_TOKENS, source=_TOKENS, layers=LAYERS, use_bias=True)
DROPPING_WORDS = DROPPING.but(source=None)


def alive_in(case: NetworkCase, block: int | None) -> list[np.ndarray]:
    """Weights of a post-norm network in which nothing but the embedding, or one block's feed-forward, adds anything.

    Blocks are counted through encoder and decoder. What comes before such a feed-forward ends in a LayerNorm whose
    gamma and beta are 0, so that its output is 0 where all of what it adds is dropped, as is the logits' row there.
    """
    weights: list[np.ndarray] = []
    kinds = [BlockCase(), BlockCase(decoder=True, source=1)] if case.source else [BlockCase(decoder=True)]
    for number, kind in enumerate(kind for kind in kinds for _ in range(case.layers)):
        own = adding(kind.but(width=case.width), {len(ends(kind)) - 1: PART} if number == block else {})
        for gamma in norms(kind):
            own[gamma], own[gamma + 1] = np.ones(case.width), np.zeros(case.width)
        if number == block:
            own[norms(kind)[-2]] = np.zeros(case.width)
        weights += own
    return [case.weights[0], *weights]
