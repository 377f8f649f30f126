"""One progress bar for a long run: how far it is, what it is doing, and when it will be done."""

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


class Progress:
    """Replaces pytest's letter per item; where the output is no terminal, prints one line per file instead."""

    def __init__(self, config: pytest.Config) -> None:
        config.option.verbose = min(config.option.verbose, -1)
        self.console = Console(stderr=False)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.bar = Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task("collecting", total=None)
        self.file = ""
        self.failed = 0

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
        self.bar.update(self.task, description=f"{file.rpartition('/')[2]} {name}"[:60])
        if file != self.file and not self.console.is_terminal:
            self.console.print(f"{file} ...", highlight=False)
        self.file = file

    def describe(self, what: str) -> None:
        """Say what a long item is doing."""
        self.bar.update(self.task, description=what[:60])

    def pytest_runtest_logfinish(self) -> None:
        """Count an item as done."""
        self.bar.advance(self.task)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letters: the bar says how far the run is, and the summary names what failed."""
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            return "passed", "", ""
        return None
