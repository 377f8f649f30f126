"""The preloaded server: a process that has imported the framework, touched no device, and forks workers on request.

Importing a framework costs seconds, forking a process that has imported it a fraction of one. The server must not
create tensors: a device context does not survive a fork.
"""

import argparse
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any, NoReturn

from benchmarks.harness import devices, worker
from benchmarks.harness.channel import die_with_parent
from suites.implementations import ROOT

MESSAGE_BYTES = 4096


def main() -> None:
    """Import the framework, say so, and serve until the coordinator's end of the socket closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--descriptor", type=int, required=True, help="the inherited socket to the coordinator")
    parser.add_argument("--parent", type=int, required=True, help="the coordinator's process id")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the coordinator decides
    control = socket.socket(fileno=arguments.descriptor)
    started = time.perf_counter()
    preload(os.environ["KERAS_BACKEND"])
    _reply(control, {"ready": True, "import_s": time.perf_counter() - started})
    serve(control)
    os._exit(0)  # taking a framework down in good order takes seconds, and there is nothing to put in order


def preload(backend: str) -> None:
    """Import and read what every worker needs; afterwards a fork has it for nothing.

    Raises:
        RuntimeError: something of it has touched a device, and is named.
    """
    benches = [f"benchmarks.{path.stem}" for path in sorted((ROOT / "benchmarks").glob("bench_*.py"))]
    for name in (backend, "keras", "benchmarks.steps", *benches):
        module = importlib.import_module(name)
        if name in benches and hasattr(module, "preload"):
            module.preload()
        if devices.touched(backend):
            raise RuntimeError(
                f"{name} has touched a device while it was imported, or in its preload(): a device's context does not "
                f"survive a fork. Create tensors, layers and random numbers in model(), batch() or step()"
            )
    # A worker's collections then pass over what the frameworks brought: a quarter of a second each, and shared pages.
    gc.collect()
    gc.freeze()


def serve(control: socket.socket) -> None:
    """Answer requests: ``fork`` a worker onto the descriptors sent along, or ``reap`` one that has ended."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
        if not data:
            return
        request = json.loads(data)
        if request["do"] == "fork":
            pid = _fork(control, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            _reply(control, {"pid": pid})
        else:
            _reply(control, {"status": _reap(request["pid"], request["timeout_s"])})


def _fork(control: socket.socket, channel: int, log: int) -> int:
    server = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        control.close()
        _work(server, channel, log)
    return pid


def _work(server: int, channel: int, log: int) -> NoReturn:
    """Become a worker; never return into the server's loop."""
    status = 1
    try:
        die_with_parent(server)
        os.dup2(log, 1)
        os.dup2(log, 2)
        worker.main(channel)
        status = 0
    except BaseException:  # noqa: BLE001 - the log is what the coordinator reads when a worker is gone
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _reap(pid: int, timeout_s: float) -> int | None:
    """The exit status of a child, negative for a signal; ``None`` while it runs on."""
    deadline = time.monotonic() + timeout_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)


def _reply(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
