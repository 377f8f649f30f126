"""Reading a data file only if it is the one that was meant."""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".xz": lzma.decompress}


class DatasetError(RuntimeError):
    """A data file is missing or is not the one that was meant; the message, one line, says how to get the right one."""


def read_verified(path: Path, sha256: str, remedy: str, *, decompress: bool = True) -> bytes:
    """Read a file and return its contents, provided that they are the expected ones.

    The digest is of the *decompressed* contents, because compressing the same contents with another release of a
    library may give other bytes.

    Args:
        path: a ``.gz`` or ``.xz`` file; any file if it is not to be decompressed.
        sha256: hexadecimal SHA-256 of the contents.
        remedy: a command that puts the right file in place.
        decompress: False for an archive whose publisher gives the digest of the file as it is.

    Returns:
        The contents, decompressed unless asked otherwise.

    Raises:
        DatasetError: if the file is missing, cannot be read, is damaged, or has other contents.
    """
    expected = f"expected contents with SHA-256 {sha256}; to get them: {remedy}"
    try:
        stored = path.read_bytes()
        contents = _DECOMPRESS[path.suffix](stored) if decompress else stored
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing; {expected}") from None
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is damaged ({error}); {expected}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); {expected}") from error
    found = hashlib.sha256(contents).hexdigest()
    if found != sha256:
        raise DatasetError(f"{path} was altered: its contents have SHA-256 {found}; {expected}")
    return contents
