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
    tables = _tables(options.runs, options.store)
    if options.sql:
        return _answer(options.store, options.sql)
    from reports.pages.history import History, render_page
    from reports.store.files import printable, write_whole
    from reports.tables.frames import files_of

    page = History(tables)
    output = options.output or Path("results") / "history"
    write_whole(output, {**files_of(page.frames()), PAGE: render_page(page).encode()})
    sys.stdout.writelines(f"{printable(line)}\n" for line in [*page.sentences, f"{output / PAGE}"])
    return 0


def _tables(sources: Sequence[str], store: Path | None) -> "dict[str, pd.DataFrame]":
    """The tables that a history is made of; what a store lacks of them is added."""
    import pandas as pd

    from reports.store import archive
    from reports.tables import chapters

    if store is None:
        with archive.found(sources) as runs:
            read = [chapters.read(path, name) for name, path in runs]
        return {name: pd.concat([each[name] for each in read], ignore_index=True) for name in chapters.OF_HISTORY}
    from reports.store.warehouse import Warehouse, content_of

    warehouse = Warehouse(store)
    with archive.found(sources) as runs:
        for name, path in runs:
            content = content_of(path)
            if not warehouse.holds(content):
                warehouse.add(content, chapters.read(path, name))
    return warehouse.tables(chapters.OF_HISTORY)


def _answer(store: Path, question: str) -> int:
    """Print what a query gives, as a table."""
    from reports.store.files import printable
    from reports.store.warehouse import Warehouse

    found = Warehouse(store).answer(question)
    texts = found.map(lambda value: "" if value is None else printable(str(value))) if len(found) else found
    lines = texts.to_string(index=False, na_rep="", max_colwidth=None) if len(found) else "no rows"
    sys.stdout.write(f"{lines}\n")
    return 0
