"""One progress bar for a long run: how far it is, what it is doing, and when it will be done."""

import os
import sys
import time
from collections.abc import Generator
from typing import Any

import pytest
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

WIDTH = 36
"""Characters of what is being done, so that the bar and its times fit a terminal of 80 columns."""


class Progress:
    """Replaces pytest's letter per item; where the output is no terminal, prints one line per file instead."""

    def __init__(self, config: pytest.Config) -> None:
        config.option.verbose = min(config.option.verbose, -1)
        # A descriptor of its own: while a test runs, pytest redirects the ordinary one to capture what it prints.
        self.console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8"))
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn())
        self.bar = Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task("collecting", total=None)
        self.file = ""
        self.started = time.monotonic()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Show the bar while the items run."""
        self.bar.update(self.task, total=len(session.items))
        if self.console.is_terminal:
            self.bar.start()
        try:
            return (yield)
        finally:
            self.bar.stop()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which item has begun."""
        file, _, name = nodeid.partition("::")
        self.bar.update(self.task, description=name.removeprefix("test_")[:WIDTH])
        if file != self.file and not self.console.is_terminal:
            task = self.bar.tasks[self.task]
            done = f"{task.completed:.0f} of {task.total or 0:.0f} done in {time.monotonic() - self.started:.0f} s"
            self.console.print(f"{file} ... ({done})", markup=False, highlight=False, soft_wrap=True)
            self.console.file.flush()
        self.file = file

    def describe(self, what: str) -> None:
        """Say what a long item is doing."""
        self.bar.update(self.task, description=what[:WIDTH])

    def pytest_runtest_logfinish(self) -> None:
        """Count an item as done."""
        self.bar.advance(self.task)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letters: the bar says how far the run is, a failure gets a line, and the summary has the rest."""
        if report.failed and report.when == "call":
            self.console.print(f"FAILED {report.nodeid}", style="red", markup=False, highlight=False, soft_wrap=True)
            return "failed", "", "FAILED"
        if hasattr(report, "wasxfail"):
            return ("xfailed", "", "XFAIL") if report.skipped else ("xpassed", "", "XPASS")
        if report.skipped:
            return "skipped", "", "SKIPPED"
        return ("passed", "", "PASSED") if report.when == "call" else None
