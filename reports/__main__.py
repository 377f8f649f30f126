"""``python -m reports results/run [results/other ...]``: read run folders, write the report, say where it lies."""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.cards import Card

PAGE = "index.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a report; returns 0, or 2 when a folder cannot be read or the report not be written.

    The report's path is the last line printed.
    """
    options = _parser().parse_args(arguments)
    from reports.files import refuse_link
    from reports.run_folder import RunFolder, RunFolderError  # not for --help: its schema takes a tenth of a second

    try:
        for path in options.runs:
            RunFolder.open(path)  # refuse before anything heavy is imported
        output = options.output or options.runs[0] / "report"
        if not options.output:
            refuse_link(output)  # a folder that came from elsewhere does not say where to write
        return _report(options.runs, output)
    except RunFolderError as error:
        sys.stderr.write(f"python -m reports: {error}\n")
        return 2


def _report(runs: Sequence[Path], output: Path) -> int:
    from reports.files import write_whole
    from reports.page import Page, render_page  # pandas and matplotlib take a second: not for --help
    from reports.tables import read

    tables = read(runs)
    write_whole(output, {**tables.files(), PAGE: render_page(tables).encode()})
    for note in tables.notes:
        sys.stderr.write(f"python -m reports: {note}\n")
    _summarize(Page(tables).cards)
    sys.stdout.write(
        f"What would decide the undecided, what was left out, and the command behind every number:\n{output / PAGE}\n"
    )
    return 0


def _summarize(cards: "Sequence[Card]") -> None:
    """Say what the cards say, one line a technique."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for card in cards:
        line = Text(f"{card.title}: {card.verdict}", style="bold").append(f". {card.line}", style="not bold")
        console.print(line, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports", description="Make one HTML report of one or more run folders."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, such as results/quick")
    parser.add_argument("--output", type=Path, help="where the report goes (default: RUN/report, of the first run)")
    return parser


if __name__ == "__main__":
    gc.disable()  # a process that ends soon has nothing to collect, and looking for it takes a tenth of its time
    sys.exit(main())
