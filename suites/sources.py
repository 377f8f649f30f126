"""``python -m suites.sources``: which files decide what is measured of each technique, as JSON.

Example: ``{"schedules": {"reference": ["reference/schedules.py"], "properties": {"suites/properties/test_schedules.py":
["reference/schedules.py", ...]}, "claims": {...}, "races": "benchmarks/bench_schedules.py"}}``. Where none of a
technique's files differ between two revisions, neither can anything that is measured of it.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suites.implementations import ROOT, implementation, source_files, techniques
from suites.properties import modules_of


def sources() -> dict[str, dict[str, Any]]:
    """By technique: the files of its reference; and those behind each file of properties and each claim, by the file.

    ``races`` is the file with its workloads.
    """
    claims = sorted((ROOT / "suites" / "claims").glob("test_*.py"))
    found: dict[str, dict[str, Any]] = {}
    for technique in techniques():
        reference = _files([implementation(technique, "reference").module])
        own = [path for path in claims if f'technique="{technique}"' in path.read_text(encoding="utf-8")]
        found[technique] = {
            "reference": reference,
            "properties": {
                _told(source_files(module)[module]): sorted({*_files([module]), *reference})
                for module in modules_of(technique)
            },
            "claims": {
                _told(path): sorted(
                    {*_files([f"suites.claims.{path.stem}"], without="suites.claims.trials"), *reference}
                )
                for path in own
            },
            "races": f"benchmarks/bench_{technique}.py",
        }
    return found


def _files(modules: Iterable[str], without: str = "") -> list[str]:
    return sorted(map(_told, source_files(*modules, without=without).values()))


def _told(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    json.dump(sources(), sys.stdout, indent=1)
