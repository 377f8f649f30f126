"""Plain files that lose nothing, whenever the process that writes them ends, and whether or not the disk is full.

What goes wrong with a file is told in one line, which names it and says what to do.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

try:
    import fcntl
except ImportError:  # Windows has none: there, that a folder has one writer is up to its users
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished-"
"""How the folders begin in which files lie until all of them are whole."""

LOCK = ".lock"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class RunFolderError(Exception):
    """A run folder is missing, in use, of another format or another machine's, or holds what cannot be read.

    Its message is one line, whatever it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text that changes nothing of a terminal, on one line, whatever it quotes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class NotWrittenError(RunFolderError):
    """What was measured could not be written; all that was written before is still there."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell in one line what the system refuses to write."""
    try:
        yield
    except OSError as error:
        raise NotWrittenError(
            f"{path} could not be written: {error.strerror or error}. What was written before is safe: make room or "
            f"mend this, and run the same command again"
        ) from None


def refuse_link(path: Path) -> None:
    """Refuse to write through a symbolic link: it may lead anywhere.

    Raises:
        RunFolderError: the path is a link.
    """
    if path.is_symlink():
        raise RunFolderError(f"{path} is a symbolic link, and nothing is written through one; put a plain file there")


def read(path: Path) -> bytes | None:
    """What is in a file; ``None`` where nothing has this name.

    Raises:
        RunFolderError: what has this name is no plain file, or cannot be read.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise RunFolderError(f"{path} cannot be read: expected a plain file; move it away")
        return path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}; mend it, or move it away") from None


def write_whole(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files of a folder so that a reader, or a crash, sees the old or the new ones, and none by half.

    All are written beside their places first, so that a full disk changes nothing; then each takes its place.

    Raises:
        NotWrittenError: there is no room, or no permission.
    """
    for name in files:
        refuse_link(folder / name)
    with told(folder / next(iter(files))):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as beside:
            for name, content in files.items():
                with (Path(beside) / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for name in files:
                (Path(beside) / name).replace(folder / name)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file and force it to disk: all of it, or nothing.

    Lines of several processes never mix. A last line that a kill has torn makes place for this one.

    Raises:
        NotWrittenError: there is no room, or no permission.
    """
    refuse_link(path)
    with told(path):
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_LINK, 0o644)
        try:
            if fcntl is not None:
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
            end, length = _end_of_lines(descriptor), len(line)
            os.ftruncate(descriptor, end)
            try:
                while line:
                    line = line[os.write(descriptor, line) :]
                os.fsync(descriptor)
            except BaseException as error:
                # A Ctrl-C may come when the line is there already, and whoever reads has seen it: then it stays.
                if isinstance(error, OSError) or os.fstat(descriptor).st_size != end + length:
                    os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)  # releases the lock


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line of a file ends."""
    size = os.fstat(descriptor).st_size
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    return len(whole_lines(os.pread(descriptor, size, 0)))


def whole_lines(content: bytes) -> bytes:
    """A file's content without an unfinished last line."""
    return content[: content.rfind(b"\n") + 1]


class Lock:
    """That this process is the only one to write a folder, for as long as this object lives.

    The system releases it with the process, however that ends. A record lock is the process's own: those that were
    forked from it do not keep it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o644)

    @classmethod
    def of(cls, folder: Path, now: str) -> "Lock":
        """Lock a folder.

        Raises:
            RunFolderError: another process writes it, which is named.
        """
        path = folder / LOCK
        refuse_link(path)
        with told(path):
            folder.mkdir(parents=True, exist_ok=True)
            if path.exists() and (held := _HELD.get(_identity(path))):
                return held  # to open the file once more and close it would release the lock
            lock = cls(path)
            lock._take(folder, now)
            _HELD[_identity(path)] = lock
            return lock

    def _take(self, folder: Path, now: str) -> None:
        if fcntl is not None:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                holder = os.read(self._descriptor, 100).decode(errors="replace").strip() or "another process"
                raise RunFolderError(
                    f"{folder} is being written by another session ({holder}); wait until it has ended, or choose "
                    f"another folder with --results"
                ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()}, since {now}\n".encode())

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


_HELD: "WeakValueDictionary[tuple[int, int], Lock]" = WeakValueDictionary()
"""The locks of this process, by what `_identity` says of their files."""


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def tidy(folder: Path, replaced: tuple[str, ...]) -> None:
    """Remove what sessions left in a folder that were killed while they replaced files. Only its one writer may.

    Args:
        folder: the folder.
        replaced: names of files beside which earlier versions wrote ``.NAME.xxxxxxxx``.
    """
    for path in folder.iterdir():
        if path.name.startswith(UNFINISHED) and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        if any(path.name.startswith(f".{name}.") and len(path.name) == len(name) + 10 for name in replaced):
            path.unlink()
