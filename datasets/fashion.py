"""Fashion-MNIST: 70,000 real grey images of 28×28 pixels of articles of clothing, in ten classes of equal size.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017,
arXiv:1708.07747; the copyright is Zalando's, the licence MIT. Its authors divided it into 60,000 images to train on and
10,000 to test with. The four files, 31 MB, are not committed: ``python -m datasets.fetch fashion-mnist`` gets them.
"""

import functools
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets.images import ImageSplit, LabelledImages, scaled, split_rows
from datasets.places import data_home, first_that_holds, keras_datasets
from datasets.verified import DatasetError, read_verified

NAME = "fashion-mnist"
REMEDY = f"python -m datasets.fetch {NAME}"

CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
"""What label ``i`` stands for."""

SIDE = 28

Part = Literal["train", "test"]

FILES: dict[Part, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
"""The file with the images and the file with the labels of each published part."""

SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of the decompressed contents of each file."""

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

_UNSIGNED_BYTES = 0x08  # the IDX format's code for uint8


def folders() -> tuple[Path, ...]:
    """Where the files are looked for, in this order: our own folder, Debian's, and Keras's."""
    return data_home() / NAME, DEBIAN_FOLDER, keras_datasets() / NAME


def installed_folder() -> Path:
    """The first of the folders that holds all four files.

    Raises:
        DatasetError: if there is none.
    """
    files = [name for pair in FILES.values() for name in pair]
    return first_that_holds(files, folders(), "Fashion-MNIST", REMEDY)


def parse_idx(contents: bytes) -> NDArray[np.uint8]:
    """The array in a file of the IDX format: two zeros, a type, the number of axes, sizes as big-endian int32, values.

    Args:
        contents: a whole file, decompressed.

    Returns:
        Its values, in the shape that it says; read-only.

    Raises:
        ValueError: if the file is not of this format, holds anything but unsigned bytes, or has another length than
            its shape.
    """
    if len(contents) < 4 or contents[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise ValueError(f"not an IDX file of unsigned bytes: it begins with {contents[:4].hex()}")
    axes = contents[3]
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(contents[i : i + 4], "big") for i in range(4, start, 4))
    if len(contents) != start + int(np.prod(shape)):
        raise ValueError(f"an IDX file of shape {shape} has {len(contents)} bytes")
    return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)


@functools.cache
def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return parse_idx(read_verified(path, SHA256[path.name], REMEDY))
    except ValueError as error:
        raise DatasetError(f"{path}: {error}; to get the right one: {REMEDY}") from error


def load(part: Part = "train", folder: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Load one of the two parts as they were published.

    Args:
        part: ``"train"``, 60,000 images, 6,000 of each class; or ``"test"``, 10,000 images, 1,000 of each class.
        folder: where the files lie; by default the first of ``folders()`` that holds all four.

    Returns:
        Images ``(N, 28, 28, 1)`` uint8 from 0 to 255, and labels ``(N,)`` uint8 from 0 to 9. Both are read-only.

    Raises:
        DatasetError: if the files are missing or altered.
    """
    place = folder or installed_folder()
    images, labels = (_read(place / name) for name in FILES[part])
    return images[..., np.newaxis], labels


def split(*, train: int | None = None, validation: int = 5000, seed: int = 0) -> ImageSplit:
    """Split the published training part into a training and a validation part; the same arguments give the same parts.

    The published test part is in neither of them: ``official_test`` gives it. No two of the images are identical, and
    hardly any are nearly so (see ``README.md``), so images are split one by one.

    Args:
        train: number of images to train on; all that remain if None. A smaller number takes a prefix of the same
            shuffled order, so that growing it only adds images.
        validation: number of images held out.
        seed: seed of the shuffle.

    Returns:
        Images ``(N, 28, 28, 1)`` float32 from 0 to 1 and labels ``(N,)`` int32, in shuffled order.

    Raises:
        DatasetError: if the files are missing or altered.
        ValueError: if a part would be empty or there are fewer images than asked for.
    """
    images, labels = load("train")
    rows, held_out = split_rows(len(labels), train=train, validation=validation, seed=seed)
    return ImageSplit(train=scaled(images[rows], labels[rows]), validation=scaled(images[held_out], labels[held_out]))


def official_test() -> LabelledImages:
    """The published test part, in its published order: what a finished model is tested with, once.

    Returns:
        Images ``(10000, 28, 28, 1)`` float32 from 0 to 1 and labels ``(10000,)`` int32.

    Raises:
        DatasetError: if the files are missing or altered.
    """
    return scaled(*load("test"))
