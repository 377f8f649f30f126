"""Write a run folder as others read it: trackers, CSV, Parquet, Markdown, LaTeX, and figures as SVG, PDF and PNG."""

import argparse
import sys
from pathlib import Path

FORMATS = ("github-action-benchmark", "bencher", "csv", "parquet", "markdown", "latex", "svg", "pdf", "png")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, such as results/quick")
    parser.add_argument("--format", action="append", choices=FORMATS, help="may be given again (default: all)")
    parser.add_argument("--output", type=Path, help="where the files go (default: RUN/export)")


def run(options: argparse.Namespace) -> int:
    """Write the files; their folder is the last line printed."""
    from reports.store.files import refuse_link, write_whole
    from reports.store.run_folder import RunFolder

    RunFolder.open(options.run)  # refuse before anything heavy is imported
    output = options.output or options.run / "export"
    if not options.output:
        refuse_link(output)  # a folder that came from elsewhere does not say where to write
    from reports import words
    from reports.pages.exports import export
    from reports.tables.frames import read

    files = export(read([options.run]), options.format or FORMATS)
    if files:
        write_whole(output, files)
    sys.stdout.write(f"{words.plural(len(files), 'file')}:\n{output}\n")
    return 0
