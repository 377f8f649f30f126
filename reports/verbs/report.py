"""Make one HTML report of one or more run folders."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.pages.cards import Card

PAGE = "index.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, such as results/quick")
    parser.add_argument("--output", type=Path, help="where the report goes (default: RUN/report, of the first run)")


def run(options: argparse.Namespace) -> int:
    """Write the page and its tables; the page's path is the last line printed."""
    from reports.store.files import refuse_link, write_whole
    from reports.store.run_folder import RunFolder

    for path in options.runs:
        RunFolder.open(path)  # refuse before anything heavy is imported
    output = options.output or options.runs[0] / "report"
    if not options.output:
        refuse_link(output)  # a folder that came from elsewhere does not say where to write
    from reports.pages.report import Page, render_page
    from reports.tables.frames import read

    tables = read(options.runs)
    page = Page(tables)
    write_whole(output, {**tables.files(), PAGE: render_page(tables, page).encode()})
    for note in tables.notes:
        sys.stderr.write(f"python -m reports: {note}\n")
    _summarize(page.cards)
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
