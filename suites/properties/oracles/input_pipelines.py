"""The truth about input pipelines: plain Python loops, and SplitMix64 with Python's integers.

Written from Steele, Lea and Flood (OOPSLA 2014) and the definitions in the contract's docstrings, with no code of the
reference. What is drawn and moved is exact; the noise is a float64 truth with a bound on its rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from suites.properties.numerics import UNIT_ROUNDOFF

WORD = 2**64


def batches(elements: Sequence[Any], batch: int, drop_remainder: bool = False) -> list[list[Any]]:
    """One after the other into batches; the last one may be smaller, or is dropped for that."""
    cut = [list(elements[start : start + batch]) for start in range(0, len(elements), batch)]
    return [rows for rows in cut if len(rows) == batch or not drop_remainder]


def interleaved(files: Sequence[Sequence[Any]]) -> list[Any]:
    """One record of each file in turn, for as long as a file has any."""
    turns = range(max(map(len, files)))
    return [records[turn] for turn in turns for records in files if turn < len(records)]


def bucket_of(length: int, boundaries: Sequence[int]) -> int:
    """How many of the boundaries a length has reached."""
    return sum(length >= boundary for boundary in boundaries)


def padded(sequences: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens int32 and mask bool, each row as long as the longest."""
    width = max(map(len, sequences))
    tokens = [[*sequence, *[0] * (width - len(sequence))] for sequence in sequences]
    mask = [[position < len(sequence) for position in range(width)] for sequence in sequences]
    return np.array(tokens, np.int32), np.array(mask)


# SplitMix64


def value(state: int, number: int) -> int:
    """Value `number`, counted from 0, of SplitMix64 from this state."""
    word = (state + (number + 1) * 0x9E3779B97F4A7C15) % WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % WORD
    return word ^ (word >> 31)


def keys(seed: int, epoch: int, indices: Iterable[int]) -> np.ndarray:
    """The keys of elements in an epoch, uint64."""
    state = value(value(0, seed), epoch)
    return np.array([value(state, index) for index in indices], np.uint64)


def numbers(key: int, count: int) -> np.ndarray:
    """Float64 numbers in [0, 1) of 24 bits, two of each value: from its lower half, then from its upper half."""
    words = [value(int(key), number) for number in range(count)]
    halves = [half for word in words for half in (word % 2**32, word // 2**32)]
    return np.array([half // 2**8 / 2**24 for half in halves[:count]])


def augmented(image: np.ndarray, key: int, flip: bool, shift: int, noise: float) -> np.ndarray:
    """One image `(H, W, C)`, mirrored, moved and disturbed as its key says; float64."""
    height, width, channels = image.shape
    drawn = numbers(key, 3 + image.size)
    if flip and drawn[0] < 0.5:
        image = image[:, ::-1]
    down, right = (int(np.floor(each * (2 * shift + 1))) - shift for each in drawn[1:3])
    change = noise * (2 * drawn[3:] - 1).reshape(height, width, channels)
    return moved(image, down, right) + change


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """One image `(H, W, C)` moved by whole pixels, with zeros where nothing was."""
    result = np.zeros_like(image)
    height, width = image.shape[:2]
    for row in range(max(0, down), min(height, height + down)):
        for column in range(max(0, right), min(width, width + right)):
            result[row, column] = image[row - down, column - right]
    return result


def rounding(truth: np.ndarray, noise: float, dtype: str) -> np.ndarray:
    """How far a result may be off: `noise` itself, its product with a number and the sum are each rounded once.

    2 u - 1 is exact in float32 (a multiple of 2**-23 of size at most 1); in a shorter dtype it is rounded once more.
    """
    unit = UNIT_ROUNDOFF[dtype]
    change = noise * ((1 + unit) ** 3 - 1)
    return change + (np.abs(truth) + change) * unit
