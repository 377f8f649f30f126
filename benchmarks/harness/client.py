"""The coordinator's side of the server and its workers."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from benchmarks.harness.channel import Channel, Message, socket_pair
from benchmarks.harness.scratch import Scratch
from suites.implementations import ROOT

START_LIMIT_S = 300.0
"""After this long without a word the framework's import counts as hanging."""
REPLY_BYTES = 4096
LOG_TAIL_BYTES = 2000


class WorkerError(Exception):
    """A contender's process could not start, crashed, was killed, ran out of memory, raised, or passed its time limit.

    Attributes:
        phase: what it had been asked to do.
        not_provided: the implementation lacks something that the workload needs; nothing went wrong.
    """

    def __init__(self, reason: str, phase: str, not_provided: bool = False) -> None:
        super().__init__(reason)
        self.phase = phase
        self.not_provided = not_provided


class TimeLimitError(WorkerError):
    """A contender's process did not answer in time, and was ended."""


@dataclass(frozen=True)
class Site:
    """Where contenders run that can share a preloaded process.

    Attributes:
        backend, device: of Keras.
        python: the path of another interpreter, with its own versions of the framework; this one if empty.
        tree: a folder with another revision's package ``reference``; this checkout's if empty.
    """

    backend: str
    device: str
    python: str = ""
    tree: str = ""

    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        # Another interpreter finds its own libraries; this one's would break it, or be measured in their place.
        paths = [] if self.python else [path for path in sys.path if path]
        paths = [*filter(None, [self.tree]), str(ROOT), *paths]
        if self.python and (given := os.environ.get("PYTHONPATH")):
            paths.append(given)
        environment = {**os.environ, "KERAS_BACKEND": self.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        if self.device == "cpu":
            return environment | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
        return environment | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # idle contenders must not crowd each other


class Server:
    """A preloaded process for one site. It starts at once and imports in the background."""

    def __init__(self, site: Site) -> None:
        ours, theirs = socket_pair()
        self._control = socket.socket(fileno=ours)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self._scratch = Scratch()
        command = [site.python or sys.executable, "-m", "benchmarks.harness.server"]
        command += ["--descriptor", str(theirs), "--parent", str(os.getpid())]
        self._process = subprocess.Popen(
            command,
            cwd=site.tree or ROOT,  # where Python looks first
            env={**site.environment(), "TMPDIR": str(self._scratch.path)},
            pass_fds=[theirs, *self._scratch.held],  # its folder stays for as long as it, or one of its workers, does
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        os.close(theirs)
        self._ready = False
        self.import_s = 0.0

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait for the framework's import.

        Raises:
            WorkerError: the server ended or hung before it was ready, with what it printed last.
        """
        if not self._ready:
            self.import_s = float(self._read(START_LIMIT_S)["import_s"])
            self._ready = True

    def fork(self) -> "Worker":
        """A new worker, forked from the preloaded process.

        Raises:
            WorkerError: the server is gone.
        """
        self.wait_until_ready()
        ours, theirs = socket_pair()
        log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        channel = Channel(ours)
        with contextlib.suppress(BrokenPipeError):  # a server that is gone has no reply either, and that is explained
            socket.send_fds(self._control, [b'{"do": "fork"}'], [theirs, log.fileno()])
        os.close(theirs)
        try:
            pid = int(self._read(START_LIMIT_S)["pid"])
        except WorkerError:
            channel.close()
            log.close()
            raise
        return Worker(self, pid, channel, log)

    def reap(self, pid: int, timeout_s: float) -> int | None:
        """The exit status of a worker, negative for a signal; ``None`` while it runs on or if the server is gone."""
        with contextlib.suppress(BrokenPipeError):
            self._control.sendall(json.dumps({"do": "reap", "pid": pid, "timeout_s": timeout_s}).encode())
        try:
            status = self._read(timeout_s + START_LIMIT_S)["status"]
        except WorkerError:
            return None
        return None if status is None else int(status)

    def close(self) -> None:
        """End the server and, with it, its workers. There is nothing to put in order, and an import can be long."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._scratch.close()

    def _read(self, timeout_s: float) -> Message:
        self._control.settimeout(timeout_s)
        try:
            data = self._control.recv(REPLY_BYTES)
        except (TimeoutError, ConnectionResetError):
            data = b""
        if not data:
            self._process.kill()
            self._process.wait()
            raise WorkerError(f"the preloaded server ended or hung: {tail(self._log) or 'it printed nothing'}", "start")
        return dict(json.loads(data))


class Worker:
    """A contender's process, as the coordinator sees it."""

    def __init__(self, server: Server, pid: int, channel: Channel, log: IO[bytes]) -> None:
        self.pid, self.server_pid = pid, server.pid
        self._server, self._channel, self._log = server, channel, log
        self._phase = "start"
        self._gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, action: str, **arguments: Any) -> None:
        """Ask for an action without waiting for its reply."""
        self._phase = action
        try:
            self._channel.send({"do": action, **arguments})
        except BrokenPipeError:
            raise WorkerError(self._end(), self._phase) from None

    def receive(self, limit_s: float) -> Message:
        """The reply to the last action.

        Raises:
            WorkerError: there is none, or it is an error.
        """
        try:
            reply = self._channel.receive(limit_s)
        except TimeoutError:
            self._kill()
            raise TimeLimitError(f"no answer within the time limit of {limit_s:g} s", self._phase) from None
        except EOFError:
            raise WorkerError(self._end(), self._phase) from None
        if "error" in reply:
            raise WorkerError(str(reply["error"]), self._phase, bool(reply.get("not_provided")))
        return reply

    def ask(self, action: str, limit_s: float, **arguments: Any) -> Message:
        """Ask for an action and wait for its reply."""
        self.send(action, **arguments)
        return self.receive(limit_s)

    def close(self) -> None:
        """End the process and release what belongs to it."""
        self._channel.close()
        if not self._gone and self._server.alive:
            self._kill()
        self._log.close()

    def _kill(self) -> None:
        self._gone = True
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._server.reap(self.pid, timeout_s=5.0)

    def _end(self) -> str:
        """Why the process is gone, or at least does not listen any more."""
        status = self._server.reap(self.pid, timeout_s=5.0)
        self._gone = status is not None
        if status is None:
            reason = "its process has closed its connection" if self._server.alive else "the preloaded server is gone"
        elif status == -signal.SIGKILL:
            reason = "killed by SIGKILL, as the system does when memory runs out"
        elif status < 0:
            reason = f"killed by {signal.Signals(-status).name}"
        else:
            reason = f"its process exited with status {status}"
        printed = tail(self._log)
        return f"{reason}; its last output: {printed}" if printed else reason


def tail(log: IO[bytes]) -> str:
    """The last lines of a log file."""
    log.flush()
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return log.read().decode(errors="replace").strip()[-500:]
