"""What is computed in a process of its own, forked from one that has touched no device, and how much memory it takes.

What an allocator keeps for later would hide what the next one takes. So each measurement of memory has a process of its
own, and a trial that measures it computes nothing itself.
"""

import gc
import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from suites.implementations import NotProvided

Result = TypeVar("Result")

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_a_process(function: Callable[[], Result]) -> Result:
    """What a function returns, run in a forked process.

    Raises:
        RuntimeError: it raised something, or its process ended.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            theirs.send_bytes(pickle.dumps((function(), "")))
        except BaseException:  # noqa: BLE001 - told to the other process, which raises it
            theirs.send_bytes(pickle.dumps((None, traceback.format_exc(limit=-2))))
        os._exit(0)
    theirs.close()
    try:
        result, error = pickle.loads(ours.recv_bytes())
    except EOFError:
        result, error = None, "its process ended"
    finally:
        os.waitpid(pid, 0)
        ours.close()
    if error:
        raise RuntimeError(error)
    return result


def peak_bytes(function: Callable[[], object]) -> int:
    """The most memory that is in use while a function runs, beyond what was in use before, in bytes.

    Raises:
        NotProvided: this system does not say; Linux does.
    """
    if not CLEAR.exists():
        raise NotProvided("the peak of a process's memory can be read on Linux only")
    gc.collect()
    CLEAR.write_text("5")  # sets the mark of the peak back to what is in use now
    before = _status("VmRSS")
    function()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
