"""CIFAR-10: 60,000 real colour images of 32×32 pixels in ten classes of equal size.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. It was published without a licence, so it is
never committed: ``python -m datasets.fetch cifar-10`` has Keras download the archive, 170 MB. The archive is read as it
is, and only if its SHA-256 is the one that Keras's own source gives for it.

**This loader has never met the real archive**: where it was written there was no way to download it. It was tested with
an invented archive of the same format; the counts are those that the publisher states, checked on every load.
"""

import functools
import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datasets.images import ImageSplit, LabelledImages, scaled, split_rows
from datasets.places import data_home, first_that_holds, keras_datasets
from datasets.verified import DatasetError, read_verified

NAME = "cifar-10"
REMEDY = f"python -m datasets.fetch {NAME}"

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""What label ``i`` stands for."""

SIDE = 32
CHANNELS = 3

ARCHIVE = "cifar-10-python.tar.gz"
"""The archive under the name that its publisher gave it."""

KERAS_ARCHIVE = "cifar-10-batches-py-target_archive"
"""The same archive under the name by which Keras 3 keeps it."""

SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
"""Of the archive, not of what it holds; from ``keras/src/datasets/cifar10.py``."""

Part = Literal["train", "test"]

BATCHES: dict[Part, tuple[str, ...]] = {
    "train": tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
    "test": ("cifar-10-batches-py/test_batch",),
}
"""The members of the archive that make up each published part."""

COUNTS: dict[Part, int] = {"train": 50_000, "test": 10_000}
"""Images in each published part, a tenth of them in each class."""

# What is needed to rebuild an array, under the names that Python 2 and NumPy 1 gave it. An array tells which function
# rebuilds it, whatever NumPy calls it today.
_ARRAY_PARTS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, lists, numbers and byte strings, and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ARRAY_PARTS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}") from None


def folders() -> tuple[Path, ...]:
    """Where the archive is looked for, in this order: our own folder, and Keras's."""
    return data_home() / NAME, keras_datasets()


def installed_file() -> Path:
    """The archive, under its publisher's name or under Keras's.

    Raises:
        DatasetError: if it is in none of the folders.
    """
    ours, keras = folders()
    if (ours / ARCHIVE).is_file():
        return ours / ARCHIVE
    return first_that_holds([KERAS_ARCHIVE], [ours, keras], "CIFAR-10", REMEDY) / KERAS_ARCHIVE


def parse_batch(contents: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images and labels of one batch, a Python 2 pickle of a dict with ``data`` and ``labels``.

    Args:
        contents: one member of the archive.

    Returns:
        Images ``(N, 32, 32, 3)`` and labels ``(N,)``, both uint8.

    Raises:
        ValueError: if it is no such pickle, or holds anything but arrays, lists, numbers and strings.
    """
    try:
        batch = _ArrayUnpickler(io.BytesIO(contents), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a batch of CIFAR-10: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), CHANNELS * SIDE * SIDE):
        raise ValueError(f"not a batch of CIFAR-10: {len(labels)} labels, pixels {pixels.shape} {pixels.dtype}")
    planes = pixels.reshape(-1, CHANNELS, SIDE, SIDE)  # the red plane first, row by row
    return planes.transpose(0, 2, 3, 1), labels.astype(np.uint8)


def parse_archive(archive: bytes, part: Part) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images and labels of one part, read from the publisher's archive without unpacking it.

    Args:
        archive: a whole ``cifar-10-python.tar.gz``.
        part: which of its batches.

    Returns:
        Images ``(N, 32, 32, 3)`` and labels ``(N,)``, both uint8 and read-only.

    Raises:
        ValueError: if it is no such archive.
    """
    batches = []
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for name in BATCHES[part]:
                member = tar.extractfile(name)
                if member is None:
                    raise ValueError(f"not the archive of CIFAR-10: {name} is no file")
                batches.append(parse_batch(member.read()))
    except (tarfile.TarError, EOFError, KeyError, zlib.error) as error:
        raise ValueError(f"not the archive of CIFAR-10: {error}") from error
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


@functools.cache
def _read(path: Path, part: Part) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    archive = read_verified(path, SHA256, REMEDY, decompress=False)
    try:
        images, labels = parse_archive(archive, part)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}; to get the right one: {REMEDY}") from error
    counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
    if counts != [COUNTS[part] // len(CLASSES)] * len(CLASSES):
        raise DatasetError(f"{path}: the images per class of the {part} part are {counts}; to get it anew: {REMEDY}")
    return images, labels


def load(part: Part = "train", path: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Load one of the two parts as they were published.

    Args:
        part: ``"train"``, 50,000 images, 5,000 of each class; or ``"test"``, 10,000 images, 1,000 of each class.
        path: the archive; by default the one that ``installed_file`` finds.

    Returns:
        Images ``(N, 32, 32, 3)`` uint8 from 0 to 255, and labels ``(N,)`` uint8 from 0 to 9. Both are read-only.

    Raises:
        DatasetError: if the archive is missing or altered.
    """
    return _read(path or installed_file(), part)


def split(*, train: int | None = None, validation: int = 5000, seed: int = 0) -> ImageSplit:
    """Split the published training part into a training and a validation part; the same arguments give the same parts.

    The published test part is in neither of them: ``official_test`` gives it. The archive does not say which photos
    show the same scene, so images are split one by one.

    Args:
        train: number of images to train on; all that remain if None. A smaller number takes a prefix of the same
            shuffled order, so that growing it only adds images.
        validation: number of images held out.
        seed: seed of the shuffle.

    Returns:
        Images ``(N, 32, 32, 3)`` float32 from 0 to 1 and labels ``(N,)`` int32, in shuffled order.

    Raises:
        DatasetError: if the archive is missing or altered.
        ValueError: if a part would be empty or there are fewer images than asked for.
    """
    images, labels = load("train")
    rows, held_out = split_rows(len(labels), train=train, validation=validation, seed=seed)
    return ImageSplit(scaled(images[rows], labels[rows]), scaled(images[held_out], labels[held_out]))


def official_test() -> LabelledImages:
    """The published test part, in its published order: what a finished model is tested with, once.

    Returns:
        Images ``(10000, 32, 32, 3)`` float32 from 0 to 1 and labels ``(10000,)`` int32.

    Raises:
        DatasetError: if the archive is missing or altered.
    """
    return scaled(*load("test"))
