"""Messages between the coordinator, the server and the workers: JSON objects over Unix sockets.

A socket whose other end has gone reads as its end, so that nobody outlives the coordinator: the server and every idle
worker stop by themselves. On Linux the kernel also kills a busy worker when its parent dies.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from multiprocessing.connection import Connection
from typing import Any

Message = dict[str, Any]
PR_SET_PDEATHSIG = 1


class Channel:
    """One end of a connection that carries JSON objects."""

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)

    def send(self, message: Message) -> None:
        """Send one message; raises BrokenPipeError where the other end has gone."""
        self._connection.send_bytes(json.dumps(message).encode())

    def receive(self, timeout_s: float | None = None) -> Message:
        """The next message.

        Raises:
            TimeoutError: none came in time.
            EOFError: the other end has gone.
        """
        if not self._connection.poll(timeout_s):
            raise TimeoutError
        try:
            return dict(json.loads(self._connection.recv_bytes()))
        except ConnectionResetError:
            raise EOFError from None

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


def socket_pair() -> tuple[int, int]:
    """The descriptors of two connected sockets: one to keep, one to hand on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return ours.detach(), theirs.detach()


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent, whose id is given, dies; where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)
