"""Say whether run folders may be sent in: rows that are right, sizes within limits, no stray file, nothing private."""

import argparse
import json
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a run folder, such as community/epyc/2026-11"
    )
    parser.add_argument("--copy", type=Path, metavar="DIR", help="first copy what belongs of RUN there, and check that")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of a run folder instead")


def run(options: argparse.Namespace) -> int:
    """Print a line per fault, or that a folder is right; returns 0, or 2 where there is a fault."""
    from reports.store import check
    from reports.store.files import RunFolderError, printable

    if options.schema:
        sys.stdout.write(json.dumps(check.json_schema(), indent=2) + "\n")
        return 0
    if not options.runs or (options.copy and len(options.runs) > 1):
        raise RunFolderError("check takes a run folder, such as results/quick, or several; with --copy, one")
    runs = options.runs
    if options.copy:
        check.copy(runs[0], options.copy)
        runs = [options.copy]
    code = 0
    for path in runs:
        faults = check.faults(path)
        sys.stdout.writelines(f"{fault}\n" for fault in faults or [printable(f"{path}: right, and may be sent in")])
        code = 2 if faults else code
    return code
