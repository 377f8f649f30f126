"""``python -m reports results/run [results/other ...]``: read run folders, write the report, say where it lies."""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.run_folder import RunFolder, RunFolderError

if TYPE_CHECKING:
    from reports.cards import Card

PAGE = "index.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a report; returns 0, or 2 when a folder cannot be read.

    The report's path is the last line printed.
    """
    options = _parser().parse_args(arguments)
    try:
        for path in options.runs:
            RunFolder.open(path)  # refuse before anything heavy is imported
        return _report(options.runs, options.output or options.runs[0] / "report")
    except RunFolderError as error:
        sys.stderr.write(f"python -m reports: {error}\n")
        return 2


def _report(runs: Sequence[Path], output: Path) -> int:
    from reports.page import Page, render_page  # pandas and matplotlib take a second: not for --help
    from reports.tables import read

    tables = read(runs)
    output.mkdir(parents=True, exist_ok=True)
    tables.write(output)
    (output / PAGE).write_text(render_page(tables), encoding="utf-8")
    _summarize(Page(tables).cards)
    sys.stdout.write(f"{output / PAGE}\n")
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
