"""Where data that are too large to be committed lie on this machine."""

import os
from collections.abc import Sequence
from pathlib import Path

from datasets.verified import DatasetError


def data_home() -> Path:
    """The folder in which each fetched set has a folder of its own.

    It is the environment variable ``TOUCHSTONE_DATA``, or ``~/.cache/touchstone`` where that is unset or empty.
    """
    return Path(os.environ.get("TOUCHSTONE_DATA") or "~/.cache/touchstone").expanduser()


def keras_datasets() -> Path:
    """The folder into which Keras downloads its data sets: ``datasets`` in ``KERAS_HOME``, or in ``~/.keras``."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def first_that_holds(files: Sequence[str], folders: Sequence[Path], title: str, remedy: str) -> Path:
    """The first of the folders in which all the files lie.

    Args:
        files: names of files.
        folders: where to look, in this order.
        title: what the data set is called.
        remedy: a command that gets it.

    Raises:
        DatasetError: if no folder holds them all.
    """
    for folder in folders:
        if all((folder / name).is_file() for name in files):
            return folder
    looked = ", ".join(map(str, folders))
    raise DatasetError(f"{title} is missing (looked in {looked}); to get it: {remedy}")
