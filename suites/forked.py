"""A process forked from this one, with a pipe to it, and what is known of its end.

pytest's process has imported the framework and touched no device; a process forked from it starts at once, and whatever
happens there ends that process alone.
"""

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection

from benchmarks.harness.channel import die_with_parent
from suites.watch import own_frames


class Forked:
    """A forked process.

    Args:
        run: what it does, with its end of the pipe and the descriptor of its log; when that returns, it ends.
        scratch: the folder for its temporary files, which a process that ends at once does not remove itself.
        duplex: whether messages go both ways, and not only from it to here.

    Attributes:
        pid: its number; 0 once it has ended.
        pipe: our end.
    """

    def __init__(
        self, run: Callable[[Connection, int], object], scratch: str | None = None, duplex: bool = False
    ) -> None:
        self.pipe, theirs = multiprocessing.Pipe(duplex)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                die_with_parent(parent)
                self.pipe.close()
                if scratch is not None:
                    tempfile.tempdir = os.environ["TMPDIR"] = scratch
                run(theirs, self._log.fileno())
                status = 0
            finally:
                os._exit(status)  # taking a framework down in good order takes seconds, and nothing needs order
        theirs.close()

    def signal(self, number: int) -> None:
        """Send it a signal; upon SIGABRT a process with faulthandler says in its log where it is, and ends."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self) -> tuple[str, list[str]]:
        """Wait for its end: how that came, and in which lines of the project or of a user's, the innermost first."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        self.pipe.close()
        self._log.seek(0)
        frames = own_frames(self._log.read().decode(errors="replace"))
        self._log.close()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return how, frames

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.pid:
            self.signal(signal.SIGKILL)
            self.wait()
