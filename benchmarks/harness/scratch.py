"""A folder for temporary files that is removed whatever becomes of the process that uses it."""

import subprocess
import sys
import tempfile
from pathlib import Path

REMOVER = """
trap "" PIPE
folder=$(mktemp -d "$1/touchstone-XXXXXXXX") || exit
echo "$folder"
cat >/dev/null
rm -rf "$folder"
"""
"""It makes the folder itself, so that there is no moment at which a kill would leave one behind."""


class Scratch:
    """A new folder for temporary files, `path`. Where there is no `sh`, only an orderly end removes it.

    Processes are killed, and frameworks put files aside that only an orderly end removes. A process of its own sees its
    pipe close, whatever becomes of this one, and removes the folder. Who has inherited the descriptors `held` keeps it.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._remover: subprocess.Popen[str] | None = None
        if sys.platform == "win32":
            self._folder = tempfile.TemporaryDirectory(prefix="touchstone-", ignore_cleanup_errors=True)
            self.path = Path(self._folder.name)
            return
        command = ["sh", "-c", REMOVER, "sh", tempfile.gettempdir()]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
        self._remover = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        assert self._remover is not None
        assert self._remover.stdout is not None
        self.path = Path(self._remover.stdout.readline().rstrip("\n"))

    @property
    def held(self) -> list[int]:
        """The descriptors to hand on to a process that uses the folder too."""
        stdin = self._remover.stdin if self._remover is not None else None
        return [stdin.fileno()] if stdin is not None else []

    def close(self) -> None:
        """Remove the folder and what is in it."""
        if self._folder is not None:
            self._folder.cleanup()
        elif self._remover is not None:
            self._remover.communicate()
