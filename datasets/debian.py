"""Debian packages without Debian: downloaded with apt-get, read with the standard library alone, never installed."""

import io
import lzma
import subprocess
import tarfile
import zlib
from pathlib import Path

from datasets.verified import DatasetError

_MAGIC = b"!<arch>\n"
_HEADER = 60  # name 16, time 12, owner 6, group 6, mode 8, size 10, end mark 2


def download(package: str, folder: Path) -> Path:
    """Download a package into ``folder`` with apt-get, which needs no root for that, and return its file.

    Raises:
        DatasetError: if there is no apt-get here, or it cannot get the package; the message is one line.
    """
    try:
        run = subprocess.run(
            ["apt-get", "download", "--quiet", package], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise DatasetError(f"{package} cannot be downloaded: this system has no apt-get") from None
    found = sorted(folder.glob(f"{package}_*.deb"))
    if run.returncode or not found:
        complaint = (run.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise DatasetError(f"apt-get cannot download {package}: {complaint}")
    return found[0]


def data_member(package: bytes) -> bytes:
    """The tar archive of a package's files: the member ``data.tar.*`` of the ar archive that a ``.deb`` is.

    Raises:
        ValueError: if the bytes are no Debian package.
    """
    if not package.startswith(_MAGIC):
        raise ValueError("not a Debian package")
    at = len(_MAGIC)
    while at + _HEADER <= len(package):
        header = package[at : at + _HEADER]
        size = int(header[48:58])
        at += _HEADER
        if header.startswith(b"data.tar") and at + size <= len(package):
            return package[at : at + size]
        at += size + size % 2  # members begin at even places
    raise ValueError("its data are missing or cut off")


def files(package: Path, under: str) -> dict[str, bytes]:
    """The files of a package below one folder.

    Args:
        package: a ``.deb`` file, compressed with xz, gzip or bzip2.
        under: the folder as it would be once installed, without a slash in front: ``"usr/share/sword"``.

    Returns:
        The contents of each file, by its path below that folder.

    Raises:
        DatasetError: if it cannot be read or is no such package.
    """
    start = f"./{under.strip('/')}/"
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data_member(package.read_bytes()))) as tar:
            for member in tar:
                if member.isfile() and member.name.startswith(start) and (file := tar.extractfile(member)):
                    found[member.name.removeprefix(start)] = file.read()
    except OSError as error:
        raise DatasetError(f"{package} cannot be read: {error.strerror or error}") from error
    except (ValueError, tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DatasetError(f"{package} is no Debian package that can be read: {error}") from error
    return found
