"""What all sets of sequences have in common: the first symbols of their vocabularies, and padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PAD, START, END = 0, 1, 2
"""Symbols in front of every vocabulary: filler, start of a sequence, end of a sequence."""


def padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """``(N, longest)`` int32, filled up with ``PAD`` on the right.

    Args:
        rows: N sequences of symbols, at least one.

    Raises:
        ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("nothing to encode: expected at least one entry")
    array = np.full((len(rows), max(map(len, rows))), PAD, np.int32)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array
