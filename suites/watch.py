"""Whether a process hangs. Hanging is to get nowhere; how slow a busy machine makes it is another matter."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from suites.implementations import ROOT

IDLE_SHARE = 0.01
"""Of the time that passes: a process whose threads together work less than this waits for something."""


def thread_seconds(pid: int) -> Mapping[int, float]:
    """Processor time of each thread of a process, in seconds; none if it is gone."""
    try:
        return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(pid).threads()}
    except psutil.Error:
        return {}


def own_frames(told: str) -> list[str]:
    """Of what faulthandler has said of a process, the lines of the project or of a user, the innermost first."""
    library = str(Path(os.__file__).parent)
    lines = told.replace(f"{ROOT}{os.sep}", "").splitlines()
    return [line for line in lines if line.lstrip().startswith("File") and library not in line]


class Watch:
    """Looks at a process while it works on something, and says when that is hanging.

    It hangs if one of its threads has worked for longer than the limit, in processor time, which passes no faster on a
    busy machine; or if for as long none of them has done anything.

    Args:
        pid: of the process.
        limit_s: the limit, in seconds.
        seconds: of each thread of a process; by default, as the system counts them.
        clock: wall-clock time, in seconds.
    """

    def __init__(
        self,
        pid: int,
        limit_s: float,
        seconds: Callable[[int], Mapping[int, float]] = thread_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pid, self.limit_s, self._seconds, self._clock = pid, limit_s, seconds, clock
        self.begin()

    def begin(self) -> None:
        """Something new is worked on from now on."""
        self._before = dict(self._seconds(self.pid))
        self._idle_since, self._worked = self._clock(), sum(self._before.values())

    def hanging(self) -> str | None:
        """How it hangs, if it does."""
        threads, now = self._seconds(self.pid), self._clock()
        worked = max((seconds - self._before.get(thread, 0.0) for thread, seconds in threads.items()), default=0.0)
        if worked > self.limit_s:
            return f"worked for {self.limit_s:g} s of processor time and did not come back"
        total = sum(threads.values())
        if total - self._worked > IDLE_SHARE * (now - self._idle_since):
            self._idle_since, self._worked = now, total
        elif now - self._idle_since > self.limit_s:
            return f"did nothing for {self.limit_s:g} s and did not come back"
        return None
