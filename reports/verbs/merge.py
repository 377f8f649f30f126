"""Join run folders of one machine and environment into a new one."""

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("out", type=Path, metavar="OUT", help="the new run folder")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run folder to take rows from")


def run(options: argparse.Namespace) -> int:
    """Write the new run folder, and print its path."""
    from reports.store.merge import merge
    from reports.store.run_folder import RunFolder

    merge(options.out, [RunFolder.open(path) for path in options.runs])
    sys.stdout.write(f"{options.out}\n")
    return 0
