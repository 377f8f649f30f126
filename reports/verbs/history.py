"""Show runs over time: which benchmark moved, when, at which revision, and what broke or was mended."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PAGE = "index.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="FOLDER",
        help="run folders, or folders that hold some at any depth, or an address such as s3://bucket/nights",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the page goes (default: results/history)")
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="keep all rows here as Parquet; the page then has all runs that are kept, also those named before",
    )
    parser.add_argument(
        "--sql",
        metavar="QUERY",
        help='ask the store and print the answer, as in "SELECT revision, seconds FROM points ORDER BY started"',
    )


def run(options: argparse.Namespace) -> int:
    """Write the page and its tables, or answer a question; the page's path is the last line printed."""
    from reports.store.files import RunFolderError

    if options.sql and not options.store:
        raise RunFolderError("--sql asks a store; name one with --store")
    if not options.runs and not options.store:
        raise RunFolderError("history: name a folder that holds run folders, or a --store that holds their rows")
    if options.store:
        _add(options.runs, options.store)
    if options.sql:
        return _answer(options.store, options.sql)
    from reports.pages.history import History, render_page
    from reports.store.files import printable, write_whole
    from reports.tables.frames import files_of

    page = History(_kept(options.store) if options.store else _read(options.runs))
    output = options.output or Path("results") / "history"
    write_whole(output, {**files_of(page.frames()), PAGE: render_page(page).encode()})
    sys.stdout.writelines(f"{printable(line)}\n" for line in [*page.sentences, f"{output / PAGE}"])
    return 0


def _read(sources: Sequence[str]) -> "dict[str, pd.DataFrame]":
    """The tables of which a history is made, of the run folders in some places."""
    import pandas as pd

    from reports.store import archive
    from reports.tables import chapters

    with archive.found(sources) as runs:
        whole = (chapters.read(path, name) for name, path in runs)
        read = [[chapter[name] for name in chapters.OF_HISTORY] for chapter in whole]
    parts = zip(chapters.OF_HISTORY, zip(*read, strict=True), strict=True)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts}


def _kept(store: Path) -> "dict[str, pd.DataFrame]":
    """The same tables of all runs that a store holds."""
    from reports.store.warehouse import Warehouse
    from reports.tables import chapters

    return Warehouse(store).tables(chapters.OF_HISTORY)


def _add(sources: Sequence[str], store: Path) -> None:
    """Add run folders to a store; those that it holds as they are now are not read again."""
    from reports.store import archive
    from reports.store.warehouse import Warehouse, content_of
    from reports.tables import chapters

    warehouse = Warehouse(store)
    with archive.found(sources) as runs:
        for name, path in runs:
            content = content_of(path)
            if not warehouse.holds(content):
                warehouse.add(content, chapters.read(path, name))


def _answer(store: Path, question: str) -> int:
    """Print what a query gives, as a table."""
    from reports.store.files import printable
    from reports.store.warehouse import Warehouse

    found = Warehouse(store).answer(question)
    texts = found.map(lambda value: "" if value is None else printable(str(value))) if len(found) else found
    lines = texts.to_string(index=False, na_rep="", max_colwidth=None) if len(found) else "no rows"
    sys.stdout.write(f"{lines}\n")
    return 0
