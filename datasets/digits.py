"""Handwritten digits: 1,797 real grey images of 8×8 pixels in ten classes.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI, 1998), as scikit-learn installs
it. Its makers counted the ink in the 4×4 cells of 32×32 bitmaps, so a pixel is an integer from 0 to 16, and repeating
each pixel 4×4 times restores the size, though not the detail, of the original bitmaps.
"""

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.images import ImageSplit, LabelledImages, scaled, split_rows
from datasets.verified import DatasetError, read_verified

CLASSES = 10
SIDE = 8
LEVELS = 16
"""The largest pixel value: all 16 points of a cell are ink."""

SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
REMEDY = "python -m pip install --force-reinstall --no-deps scikit-learn"


def installed_file() -> Path:
    """Where scikit-learn keeps the digits; scikit-learn itself is not imported, which would cost a second.

    Raises:
        DatasetError: if scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DatasetError(f"scikit-learn, which holds the digits, is not installed; to get it: {REMEDY}")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


@functools.cache
def _table(path: Path) -> NDArray[np.uint8]:
    """``(1797, 65)``: 64 pixels, row by row, and the label."""
    text = read_verified(path, SHA256, REMEDY).decode("ascii")
    table = np.loadtxt(text.splitlines(), delimiter=",").astype(np.uint8)
    table.flags.writeable = False
    return table


def load(path: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Load all digits as they were published.

    Args:
        path: the file to read; by default the one in the installed scikit-learn.

    Returns:
        Images ``(1797, 8, 8, 1)`` uint8 from 0 to 16, and labels ``(1797,)`` uint8 from 0 to 9. Both are read-only.

    Raises:
        DatasetError: if the file is missing or altered.
    """
    table = _table(path or installed_file())
    return table[:, :-1].reshape(-1, SIDE, SIDE, 1), table[:, -1]


def enlarge(images: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat each pixel ``factor`` times down and across: ``(N, H, W, C)`` to ``(N, factor·H, factor·W, C)``."""
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def split(*, side: int = SIDE, channels: int = 1, validation: int = 360, seed: int = 0) -> ImageSplit:
    """Split the digits into a training and a validation part; the same arguments give the same parts.

    The published file has no writer's number, so the same writer may occur in both parts: accuracies are comparable
    with each other, but too high as estimates for unseen writers.

    Args:
        side: height and width in pixels, a multiple of 8. ``side=32`` gives real digits *enlarged* by repeating
            pixels, the size of CIFAR images without their detail.
        channels: copies of the grey channel.
        validation: number of images held out.
        seed: seed of the shuffle.

    Returns:
        Images ``(N, side, side, channels)`` float32 from 0 to 1 and labels ``(N,)`` int32, in shuffled order.

    Raises:
        DatasetError: if the file is missing or altered.
        ValueError: if ``side`` is not a positive multiple of 8, or ``validation`` leaves a part empty.
    """
    pixels, labels = load()
    if side < SIDE or side % SIDE:
        raise ValueError(f"side must be a positive multiple of {SIDE}, got {side}")
    train, held_out = split_rows(len(labels), train=None, validation=validation, seed=seed)

    def part(rows: NDArray[np.int64]) -> LabelledImages:
        grey = enlarge(pixels[rows], side // SIDE)  # (n, side, side, 1)
        return scaled(grey.repeat(channels, axis=3), labels[rows], LEVELS)

    return ImageSplit(train=part(train), validation=part(held_out))
