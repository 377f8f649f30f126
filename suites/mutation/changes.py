"""Which lines of the references a working tree has changed since a revision, as git tells it."""

import re
import subprocess
from pathlib import Path

from suites.implementations import ROOT

_HUNK = re.compile(r"^@@ -\S+ \+(?P<first>\d+)(?:,(?P<count>\d+))? @@")


def changed_lines(revision: str, root: Path = ROOT) -> dict[str, set[int]]:
    """Numbers of new and changed lines, by the name of the file without its folder and ending.

    Raises:
        ValueError: git knows no such revision here.
    """
    command = ["git", "diff", "--unified=0", "--no-color", "--no-ext-diff", revision, "--", "reference"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if told.returncode:
        raise ValueError(f"{revision!r} is no revision that git finds here: {told.stderr.strip() or 'git failed'}")
    found: dict[str, set[int]] = {}
    name = ""
    for line in told.stdout.splitlines():
        if line.startswith("+++ "):
            name = Path(line.removeprefix("+++ b/")).stem
        elif hunk := _HUNK.match(line):
            first, count = int(hunk["first"]), int(hunk["count"] or 1)
            found.setdefault(name, set()).update(range(first, first + count))
    return found
