"""Make a page of any project's pytest-benchmark JSON; several files are compared with the first."""

import argparse
import sys
from pathlib import Path

OUTPUT = Path("touchstone-report")
PAGE = "index.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    what = "a file that --benchmark-json wrote, or a folder of such, as .benchmarks"
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=what)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the page goes (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Write the page and its tables; the page's path is the last line printed."""
    from reports.store.files import printable, write_whole
    from reports.store.pytest_benchmark import load

    load(options.files)  # refuse before anything heavy is imported
    from reports import words
    from reports.pages.foreign import ForeignPage, render_foreign
    from reports.tables.foreign import read_foreign

    foreign = read_foreign(options.files)
    write_whole(options.output, {**foreign.tables(), PAGE: render_foreign(foreign).encode()})
    for note in foreign.notes:
        sys.stderr.write(f"python -m reports: {printable(note)}\n")
    page = ForeignPage(foreign)
    sys.stdout.writelines(f"{printable(sentence)}\n" for sentence in page.findings())
    what = f"{words.plural(page.count, 'benchmark')} of {words.plural(len(page.files), 'file')}"
    sys.stdout.write(f"{what}:\n{options.output / PAGE}\n")
    return 0
