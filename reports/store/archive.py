"""Run folders that lie in other folders, at any depth, here or at an address such as ``s3://bucket/nights``."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reports.store.files import RunFolderError
from reports.store.run_folder import MUTANTS, PROPERTIES, RUN, TIMINGS, TRIALS

FILES = (RUN, PROPERTIES, TRIALS, MUTANTS, TIMINGS)
"""What of a run folder is copied from elsewhere, and what its content is."""


@contextmanager
def found(sources: Sequence[str]) -> Iterator[list[tuple[str, Path]]]:
    """The run folders in some places, each once: what it is called and where it lies meanwhile.

    Args:
        sources: run folders, folders of them, or addresses that pyarrow knows; ``fsspec+`` before any other that the
            library fsspec knows, such as ``fsspec+sftp://host/nights``.

    Raises:
        RunFolderError: a place is none, or there is no run folder in it.
    """
    with tempfile.TemporaryDirectory(prefix="touchstone-") as copies:
        runs: dict[str, tuple[str, Path]] = {}
        for number, source in enumerate(sources):
            here = _copied(source, Path(copies) / str(number)) if "://" in source else _here(Path(source))
            if not here:
                raise RunFolderError(f"{source}: there is no run folder in it, at no depth; a run folder has a {RUN}")
            runs |= here
        yield list(runs.values())


def _here(source: Path) -> dict[str, tuple[str, Path]]:
    """Run folders in a folder, by their real paths. Links are not followed: one may lead round in a circle."""
    if not source.is_dir():
        raise RunFolderError(f"{source} is no folder; name one that holds run folders")

    def fail(error: OSError) -> None:
        raise RunFolderError(f"{error.filename} cannot be read: {error.strerror}; mend it, or move it away")

    runs: dict[str, tuple[str, Path]] = {}
    for folder, folders, files in os.walk(source, onerror=fail):
        folders.sort()
        if RUN in files:
            folders.clear()  # what lies in a run folder is its own
            path = Path(folder)
            runs.setdefault(str(path.resolve()), (str(path), path))
    return runs


def _copied(source: str, folder: Path) -> dict[str, tuple[str, Path]]:
    """Copies of the run folders at an address. Of files only those of the known names are asked for."""
    from pyarrow import ArrowException, fs

    runs: dict[str, tuple[str, Path]] = {}
    try:
        system, root = fs.FileSystem.from_uri(source)
        entries = system.get_file_info(fs.FileSelector(root, recursive=True))
        parents = sorted(entry.path.rpartition("/")[0] for entry in entries if entry.base_name == RUN)
        held = {entry.path for entry in entries if entry.is_file}
        for number, parent in enumerate(parents):
            copy = folder / str(number)  # whatever it is called there, nothing is written outside
            copy.mkdir(parents=True)
            for name in FILES:
                if f"{parent}/{name}" in held:
                    with system.open_input_stream(f"{parent}/{name}") as stream:
                        (copy / name).write_bytes(stream.read())
            name = f"{source.partition('://')[0]}://{parent}"
            runs[name] = name, copy
    except (OSError, ValueError, ArrowException, ImportError) as error:
        raise RunFolderError(f"{source} cannot be read: {str(error).strip() or type(error).__name__}") from None
    return runs
