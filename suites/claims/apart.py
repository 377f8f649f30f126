"""What is computed in a process of its own, forked from one that has touched no device, and how much memory it takes.

What an allocator keeps for later would hide what the next one takes. So each measurement of memory has a process of its
own, and a trial that measures it computes nothing itself.
"""

import gc
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from benchmarks.harness.worker import peak_bytes, resident_bytes
from suites.forked import Forked
from suites.implementations import NotProvided

Result = TypeVar("Result")

CLEAR = Path("/proc/self/clear_refs")


def in_a_process(function: Callable[[], Result]) -> Result:
    """What a function returns, run in a forked process.

    Raises:
        RuntimeError: it raised something, or its process ended.
    """

    def run(pipe: Connection, _log: int) -> None:
        try:
            pipe.send_bytes(pickle.dumps((function(), "")))
        except BaseException:  # noqa: BLE001 - told to the other process, which raises it
            pipe.send_bytes(pickle.dumps((None, traceback.format_exc(limit=-2))))

    process = Forked(run)
    try:
        result, error = pickle.loads(process.pipe.recv_bytes())
    except EOFError:
        result, error = None, "its process sent nothing"
    how, _ = process.wait()
    if error:
        raise RuntimeError(f"{error} (it {how})")
    return result


def peak_of(function: Callable[[], object]) -> int:
    """The most memory that is in use while a function runs, beyond what was in use before, in bytes.

    Raises:
        NotProvided: this system does not say; Linux does.
    """
    gc.collect()
    before = resident_bytes()
    if before is None or not CLEAR.exists():
        raise NotProvided("the peak of a process's memory can be read on Linux only")
    CLEAR.write_text("5")  # sets the mark of the peak back to what is in use now
    function()
    return max(0, (peak_bytes() or 0) - before)
