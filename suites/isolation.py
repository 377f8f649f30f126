"""Items that run in processes of their own: whatever an implementation does, it ends its own process and no more.

pytest's process has imported the framework, by collecting, and has touched no device; a process forked from it starts
at once. Items marked ``isolated`` run there: those of one group (an implementation at a precision) one after the other,
and several groups at the same time. An item whose process dies, or does not come back in time, fails with the reason,
and the rest of its group goes on in a new process. Reports reach pytest as if it had run the items itself.
"""

import faulthandler
import functools
import gc
import itertools
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest

from benchmarks.harness import devices
from benchmarks.harness.scratch import Scratch
from suites.forked import Forked
from suites.minutes import Minutes
from suites.watch import Watch

FRAMES = 8
"""Lines of a dead process's own code that are shown."""

LOOK_S = 1.0
"""Seconds from one look at the processes to the next."""

GRACE_S = 10.0
"""Seconds that a process has to say where it hangs."""


class ProcessDied(Exception):  # noqa: N818 - a fact about an item's process
    """The process of an item ended, or was ended, before the item did."""


def workers(config: pytest.Config) -> int:
    """How many processes run at the same time; none where items run in pytest's own, as for a debugger."""
    option = config.option
    if sys.platform != "linux" or option.usepdb or option.trace or option.capture == "no" or option.collectonly:
        return 0
    return 1 if option.device == "gpu" else int(option.workers)  # frameworks take a whole GPU for themselves


def default_workers() -> int:
    """One per core that this process may use, up to eight: each may take a gigabyte."""
    return min(8, devices.cores()) if sys.platform == "linux" else 1


@dataclass(frozen=True)
class Warned:
    """A warning that was recorded in an item's process; its own category need not be known to pytest's process."""

    told: str
    filename: str
    lineno: int
    nodeid: str

    def tell(self, config: pytest.Config) -> None:
        """Let pytest show it at the end.

        Not by its hook: that is played again to each plugin that comes later, and so in every process from then on.
        """
        message = warnings.WarningMessage(self.told, UserWarning, self.filename, self.lineno)
        reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        reporter.pytest_warning_recorded(warning_message=message, nodeid=self.nodeid)


class Group:
    """Items that run in one process, one after the other; in another one after an item that the first did not survive.

    Attributes:
        items: in their order.
        stretch: a number that groups share between which nothing runs in pytest's own process.
        scratch: the folder for temporary files, which a process that ends at once does not remove itself.
        reports: of each item, as plain objects; the reason where its process died.
        done: how many items are through.
        process: the one that is running, or ``None``.
        hung: how it hangs, once it was told to end for that.
    """

    def __init__(self, items: list[pytest.Item], stretch: int, scratch: str) -> None:
        self.items, self.stretch, self.scratch = items, stretch, scratch
        self.reports: list[list[dict[str, Any] | ProcessDied]] = [[] for _ in items]
        self.done = 0
        self.process: Forked | None = None
        self.hung, self.told = "", 0.0

    def start(self) -> None:
        """Fork a process for the items that are left."""
        self.process = Forked(lambda pipe, log: run(self.items[self.done :], pipe, log), self.scratch)
        self.watch = Watch(self.process.pid, self.items[0].config.option.time_limit)

    def look(self) -> None:
        """End the process if its item hangs; what it was doing is then in its log."""
        if self.process is None:
            return
        if self.hung and time.monotonic() > self.told + GRACE_S:
            self.process.signal(signal.SIGKILL)
        elif not self.hung and (how := self.watch.hanging()):
            self.hung, self.told = how, time.monotonic()
            self.process.signal(signal.SIGABRT)

    def receive(self) -> None:
        """Take a message from the process: a report, a warning, that an item is through, why to stop, or its end."""
        assert self.process is not None
        try:
            message = pickle.loads(self.process.pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            self._end()
            return
        if message is None:
            self.done += 1
            self.watch.begin()
        elif isinstance(message, str):
            pytest.exit(message)
        elif isinstance(message, Warned):
            message.tell(self.items[0].config)
        else:
            self.reports[self.done].append(message)

    def _end(self) -> None:
        assert self.process is not None
        how, frames = self.process.wait()
        self.process = None
        if self.hung:
            how, self.hung = f"{self.hung}, and was ended", ""
        if self.done < len(self.items):
            self.reports[self.done].append(ProcessDied("\n".join([f"the process {how}", *frames[:FRAMES]])))
            self.done += 1

    def kill(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process = None


def run(items: list[pytest.Item], pipe: Connection, log: int) -> NoReturn:
    """In a forked process: run the items as pytest does, and send home what it would have been told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; pytest's process decides
    config = items[0].config
    _be_quiet(config)
    config.pluginmanager.register(Relay(config, pipe))
    faulthandler.enable(log)
    # pytest's process has set up the folders of its own next item, which need not be this group's.
    items[0].session._setupstate.teardown_exact(items[0])
    for item, following in itertools.pairwise([*items, None]):
        assert item is not None
        try:
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except pytest.exit.Exception as stop:  # it is the session that is to stop, and not this process alone
            pipe.send_bytes(pickle.dumps(str(stop)))
            os._exit(0)
        pipe.send_bytes(pickle.dumps(None))
    os._exit(0)  # taking a framework down in good order takes seconds, and there is nothing to put in order


def _be_quiet(config: pytest.Config) -> None:
    """Print nothing, and capture what an item prints in files of this process's own."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    capture.start_global_capturing()
    capture.suspend_global_capture()
    for name in (Isolation.NAME, "touchstone-progress"):
        config.pluginmanager.unregister(name=name)


class Relay:
    """In a forked process: sends every report home."""

    def __init__(self, config: pytest.Config, pipe: Connection) -> None:
        self.config, self.pipe = config, pipe
        self.warned: set[tuple[str, tuple[str, int]]] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send one report."""
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.pipe.send_bytes(pickle.dumps(data))

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str, nodeid: str) -> None:
        """Send one warning, which pytest shows at the end; the same of the same line is sent once."""
        told = f"{warning_message.category.__name__}: {warning_message.message}"
        place = warning_message.filename, warning_message.lineno
        if when == "runtest" and (told, place) not in self.warned:  # and not what was before this process was
            self.warned.add((told, place))
            self.pipe.send_bytes(pickle.dumps(Warned(told, *place, nodeid)))


class Isolation:
    """The plugin of pytest's own process; registered where `workers` is not zero."""

    NAME = "touchstone-isolation"

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.scratch = Scratch()
        self.groups: list[Group] = []
        self.place: dict[pytest.Item, tuple[Group, int]] = {}
        self.looked = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Form the groups: items that follow each other and name the same group."""
        for stretch, (name, found) in enumerate(itertools.groupby(session.items, lambda item: group_of(item) is None)):
            if name:
                continue
            for _, items in itertools.groupby(found, group_of):
                group = Group(list(items), stretch, str(self.scratch.path))
                self.groups.append(group)
                self.place |= {item: (group, index) for index, item in enumerate(group.items)}
        gc.collect()
        gc.freeze()  # so that the collections of a forked process pass over what is here, and leave its pages shared

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Pass on what an item's process reports."""
        if item not in self.place:
            return None
        group, index = self.place[item]
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        while group.done <= index:
            if group.process is None and self._is_over(item):
                group.done += 1
                continue
            self._start_from(group)
            running = {each.process.pipe: each for each in self.groups if each.process is not None}
            for pipe in wait(list(running), LOOK_S):
                running[pipe].receive()  # type: ignore[index]
            if time.monotonic() > self.looked + LOOK_S:
                self.looked = time.monotonic()
                for each in running.values():
                    each.look()
        for report in self._reports(item, group.reports[index]):
            item.ihook.pytest_runtest_logreport(report=report)
        if not group.reports[index]:
            minutes: Any = self.config.pluginmanager.get_plugin(Minutes.NAME)
            minutes.leave_out(item)  # nobody else leaves an item out
        group.reports[index] = []
        # What an item of the same file has set up here, the next one may have no use for.
        item.session._setupstate.teardown_exact(nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _is_over(self, item: pytest.Item) -> bool:
        """Whether there is no time left for an item."""
        minutes: Any = self.config.pluginmanager.get_plugin(Minutes.NAME)
        return minutes is not None and minutes.over(item)

    def _start_from(self, current: Group) -> None:
        """Start this group and those that follow it, as many as may run at the same time."""
        free = workers(self.config) - sum(group.process is not None for group in self.groups)
        for group in self.groups[self.groups.index(current) :]:
            if free <= 0 or group.stretch != current.stretch:
                return
            if group.process is None and group.done < len(group.items) and not self._is_over(group.items[group.done]):
                group.start()
                free -= 1

    def _reports(self, item: pytest.Item, received: list[dict[str, Any] | ProcessDied]) -> Iterator[Any]:
        for each in received:
            if isinstance(each, ProcessDied):
                call = pytest.CallInfo.from_call(functools.partial(_raise, each), "call")
                yield item.ihook.pytest_runtest_makereport(item=item, call=call)
            else:
                yield self.config.hook.pytest_report_from_serializable(config=self.config, data=each)

    def pytest_sessionfinish(self) -> None:
        """End what is left when the session stops early."""
        for group in self.groups:
            group.kill()
        self.scratch.close()


def _raise(error: Exception) -> NoReturn:
    raise error


def group_of(item: pytest.Item) -> tuple[str, str] | None:
    """The group of an item marked ``isolated(name)``: those with the same name in the same file; else ``None``."""
    mark = item.get_closest_marker("isolated")
    return None if mark is None else (str(item.path), str(mark.args[0]) if mark.args else "")
