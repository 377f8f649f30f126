"""Get a data set that is too large to be committed.

    python -m datasets.fetch fashion-mnist         # Debian's package by apt-get, or else Keras's download
    python -m datasets.fetch fashion-mnist dataset-fashion-mnist_*.deb             # from a package that lies here
    python -m datasets.fetch cifar-10              # Keras's download
    python -m datasets.fetch cifar-10 cifar-10-python.tar.gz                       # from an archive that lies here

It goes to ``$TOUCHSTONE_DATA``, by default ``~/.cache/touchstone``. Nothing is installed, no root is needed, and
nothing is kept unless its SHA-256 is right.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from datasets import cifar10, debian, fashion
from datasets.places import data_home
from datasets.verified import DatasetError, read_verified

DEBIAN_PACKAGE = "dataset-fashion-mnist"


def store(path: Path, contents: bytes) -> None:
    """Write a file whole or not at all, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as folder:
        unfinished = Path(folder) / path.name
        unfinished.write_bytes(contents)
        unfinished.replace(path)


def keras_download(name: str, folder: Path) -> Path:
    """Have Keras download one of its data sets and return the folder in which it then lies.

    Keras runs in a process of its own, so that no data set ever imports a framework here.

    Args:
        name: a module of ``keras.datasets``.
        folder: an empty folder, where Keras shall keep it.

    Raises:
        DatasetError: if Keras is missing or cannot get it; the message is one line.
    """
    installed = [backend for backend in ("tensorflow", "jax", "torch") if importlib.util.find_spec(backend)]
    backend = os.environ.get("KERAS_BACKEND") or next(iter(installed), "tensorflow")
    environment = os.environ | {"KERAS_HOME": str(folder), "KERAS_BACKEND": backend}
    code = f"import keras; keras.datasets.{name}.load_data()"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        complaint = (run.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise DatasetError(f"keras.datasets.{name} cannot be downloaded: {complaint}")
    return folder / "datasets"


def keep_fashion_mnist(files: dict[str, bytes]) -> Path:
    """Keep Fashion-MNIST's four files, by name, and return the folder in which they lie then.

    Raises:
        DatasetError: if one is missing or not the expected one; nothing is kept then.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, sha256 in fashion.SHA256.items():
            file = Path(folder) / name
            if name in files:
                file.write_bytes(files[name])
            read_verified(file, sha256, fashion.REMEDY)
    target = data_home() / fashion.NAME
    for name in fashion.SHA256:
        store(target / name, files[name])
    return target


def fashion_mnist(package: Path | None = None) -> Path:
    """Get Fashion-MNIST and return the folder in which it lies then.

    Args:
        package: Debian's package; if None, it is downloaded, or Keras's copy where that is not possible.

    Raises:
        DatasetError: if there is none, or it is not the expected one; nothing is kept then.
    """
    under = fashion.DEBIAN_FOLDER.as_posix()
    if package is not None:
        return keep_fashion_mnist(debian.files(package, under))
    with tempfile.TemporaryDirectory() as folder:
        try:
            return keep_fashion_mnist(debian.files(debian.download(DEBIAN_PACKAGE, Path(folder)), under))
        except DatasetError as error:
            sys.stderr.write(f"{error}; trying keras.datasets\n")
        place = keras_download("fashion_mnist", Path(folder)) / fashion.NAME
        return keep_fashion_mnist({file.name: file.read_bytes() for file in place.iterdir()})


def cifar_10(archive: Path | None = None) -> Path:
    """Get CIFAR-10 and return the file in which it lies then.

    Args:
        archive: its publisher's archive; if None, Keras downloads it.

    Raises:
        DatasetError: if there is none, or it is not the expected one; nothing is kept then.
    """
    target = data_home() / cifar10.NAME / cifar10.ARCHIVE
    with tempfile.TemporaryDirectory() as folder:
        source = archive or keras_download("cifar10", Path(folder)) / cifar10.KERAS_ARCHIVE
        store(target, read_verified(source, cifar10.SHA256, cifar10.REMEDY, decompress=False))
    return target


SETS = {fashion.NAME: fashion_mnist, cifar10.NAME: cifar_10}
"""What can be fetched, and how; each takes the file to take it from."""


def main() -> None:
    """Run the command line; what cannot be got ends it with one line and exit code 1."""
    parser = argparse.ArgumentParser(description="Get a data set that is too large to be committed.")
    parser.add_argument("name", choices=SETS)
    parser.add_argument("file", type=Path, nargs="?", help="the package or archive; downloaded if left out")
    arguments = parser.parse_args()
    try:
        place = SETS[arguments.name](arguments.file)
    except DatasetError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{place}\n")


if __name__ == "__main__":
    main()
