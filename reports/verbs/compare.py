"""Compare run folders of any machines and versions: what differs, row by row, beside one of them."""

import argparse
import sys
from pathlib import Path

PAGE = "index.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, such as results/quick")
    parser.add_argument("--output", type=Path, help="where the page goes (default: RUN/compare, of the first run)")
    parser.add_argument(
        "--baseline", type=Path, metavar="RUN", help="the run that all others are compared with (default: the first)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page and its tables; the page's path is the last line printed."""
    from reports.store.files import RunFolderError, printable, refuse_link, write_whole
    from reports.store.run_folder import RunFolder

    for path in options.runs:
        RunFolder.open(path)  # refuse before anything heavy is imported
    at = [path.resolve() for path in options.runs]
    if options.baseline and options.baseline.resolve() not in at:
        raise RunFolderError(f"{options.baseline} is none of the runs that are compared; give it among them, too")
    output = options.output or options.runs[0] / "compare"
    if not options.output:
        refuse_link(output)  # a folder that came from elsewhere does not say where to write
    from reports.pages.compare import Comparison, render_page
    from reports.tables import sides
    from reports.tables.frames import files_of

    compared = sides.read(options.runs)
    comparison = Comparison(compared, compared[at.index(options.baseline.resolve()) if options.baseline else 0])
    write_whole(output, {**files_of(comparison.frames()), PAGE: render_page(comparison).encode()})
    for note in (note for side in compared for note in side.tables.notes):
        sys.stderr.write(f"python -m reports: {printable(note)}\n")
    named = [f"{side.name}{' (the baseline)' * (side is comparison.baseline)}" for side in compared]
    sys.stdout.writelines(f"{printable(line)}\n" for line in [*named, *comparison.sentences, f"{output / PAGE}"])
    return 0
