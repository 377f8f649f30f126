"""The rounds of a race on one grid of heats and blocks, and the contenders' courses on it.

Contenders of a race take turns, so that within a block the machine was the same for all of them. What the others did,
each about its own level, is the machine's course; what is left of a contender is its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import Floats, Rounds

LEAST_BLOCKS = 6
"""Blocks of a heat, which are twice as many rounds, below which nothing is said."""

_NEIGHBOURHOOD, _REACH = 5, 4.0  # blocks of a running median, and how many standard deviations from it may remain
_NORMAL_MAD = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


@dataclass(frozen=True)
class Race:
    """The contenders that can be judged, on the blocks that they have in common.

    Attributes:
        judged: (K,) their places among all contenders.
        heats: (H,) names of the heats.
        own: (K, H, B) mean log seconds per block.
        relative: (K, H, B) the same less the median of the others, without outliers; for a lone contender its own.
        others: (K, H, B) that median, each heat about its own level; 0 for a lone contender.
    """

    judged: list[int]
    heats: list[int]
    own: Floats
    relative: Floats
    others: Floats


def line_up(contenders: Sequence[Rounds]) -> Race | None:
    """Mean log times on a grid of heats and blocks that has no holes, as large as it can be; None if too small."""
    lengths = [{int(h): int(r.block[r.heat == h].max()) + 1 for h in np.unique(r.heat)} for r in contenders]
    lengths = [{h: blocks for h, blocks in heats.items() if blocks >= LEAST_BLOCKS} for heats in lengths]
    most = max((len(heats) for heats in lengths), default=0)
    judged = [k for k, heats in enumerate(lengths) if heats and 2 * len(heats) >= most]
    common = sorted(set.intersection(*(set(lengths[k]) for k in judged))) if judged else []
    if not common:
        return None
    shortest = {h: min(lengths[k][h] for k in judged) for h in common}
    heats = [h for h in common if 2 * shortest[h] >= max(shortest.values())]
    blocks = min(shortest[h] for h in heats)
    own = np.stack([_block_means(contenders[k], heats, blocks) for k in judged])
    whole = np.flatnonzero(np.isfinite(own).all(axis=(1, 2))).tolist()  # nobody who sat out a block within a heat
    if not whole:
        return None
    judged, own = [judged[k] for k in whole], own[whole]
    level = np.median(own, axis=-1, keepdims=True)
    others = others_median(own - level, 0) if len(own) > 1 else np.zeros_like(own)
    return Race(judged, heats, own, without_outliers(own - others, witnesses=1), others)


def _block_means(rounds: Rounds, heats: Sequence[int], blocks: int) -> Floats:
    """(H, B) mean log seconds; NaN where a block has no round."""
    place = np.searchsorted(heats, rounds.heat).clip(max=len(heats) - 1)
    kept = (np.asarray(heats)[place] == rounds.heat) & (rounds.block < blocks)
    codes, size = place[kept] * blocks + rounds.block[kept], len(heats) * blocks
    sums = np.bincount(codes, weights=np.log(rounds.seconds[kept]), minlength=size)
    counts = np.bincount(codes, minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(len(heats), blocks)


def others_median(values: Floats, axis: int) -> Floats:
    """Along an axis of length two or more, the median of all values but the one in whose place it stands."""
    count = values.shape[axis]
    return np.stack([np.median(np.delete(values, i, axis), axis) for i in range(count)], axis)


def without_outliers(courses: Floats, witnesses: int) -> Floats:
    """Draw single blocks back to where their neighbours are, unless most of their witnesses went the same way.

    Hampel's identifier in a running window (Pearson et al., "Generalized Hampel filters", EURASIP Journal on Advances
    in Signal Processing 2016:87), with a second opinion: the middle one of the witnesses, by how far each is off its
    own neighbours, in the same block.

    Args:
        courses: (K, H, B) with at least five blocks.
        witnesses: the axis along which others stand: 1 for what a contender does in each heat, 0 for what all do.
    """
    blocks = courses.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(courses, _NEIGHBOURHOOD, axis=-1)
    nearest = np.clip(np.arange(blocks) - _NEIGHBOURHOOD // 2, 0, blocks - _NEIGHBOURHOOD)
    centre = np.median(windows, axis=-1)[..., nearest]
    off = courses - centre
    reach = _REACH * _NORMAL_MAD * np.median(np.abs(off), axis=(-1, -2), keepdims=True)
    if (count := courses.shape[witnesses]) > 1:
        middle = (count - 2) // 2  # of the others; of two, the one that is less off
        order = np.argsort(np.abs(off), axis=witnesses)
        ranks = np.argsort(order, axis=witnesses)
        others = [np.take_along_axis(off, order.take([i], witnesses), axis=witnesses) for i in (middle, middle + 1)]
        elsewhere = np.where(ranks > middle, *others)
        agreed = np.where(np.abs(off - elsewhere) < np.abs(off), elsewhere, 0.0)
        centre, off = centre + agreed, off - agreed
    return centre + np.clip(off, -reach, reach)
