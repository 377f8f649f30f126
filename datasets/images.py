"""What all sets of images have in common: images with their labels, and how they are split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledImages:
    """Images and what they show.

    Attributes:
        images: ``(N, height, width, C)`` float32 from 0 to 1.
        labels: ``(N,)`` int32 from 0 to 9.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class ImageSplit:
    """A training and a validation part without an image in common."""

    train: LabelledImages
    validation: LabelledImages


def scaled(pixels: NDArray[np.uint8], labels: NDArray[np.uint8], largest: int = 255) -> LabelledImages:
    """Images ``(N, H, W, C)`` uint8 from 0 to ``largest`` as float32 from 0 to 1, with their labels ``(N,)``."""
    return LabelledImages(pixels.astype(np.float32) / np.float32(largest), labels.astype(np.int32))


def split_rows(
    count: int, *, train: int | None, validation: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows of ``count`` to train on and which to hold out, in shuffled order.

    Args:
        count: number of rows.
        train: number of rows to train on; all that remain if None. A smaller number takes a prefix of the same
            shuffled order, so that growing it only adds rows.
        validation: number of rows held out; they depend on it and on the seed alone.
        seed: seed of the shuffle.

    Returns:
        The rows to train on, ``(train,)``, and those held out, ``(validation,)``, int64, without one in common.

    Raises:
        ValueError: if a part would be empty or there are fewer rows than asked for.
    """
    if not 0 < validation < count:
        raise ValueError(f"validation must be from 1 to {count - 1}, got {validation}")
    if train is not None and not 0 < train <= count - validation:
        raise ValueError(f"train must be from 1 to {count - validation}, got {train}")
    order = np.random.default_rng(seed).permutation(count)
    stop = None if train is None else validation + train
    return order[validation:stop], order[:validation]
