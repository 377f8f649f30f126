"""The examples of examples/README.md do what it says, run as it says."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from suites.implementations import ROOT

GUIDE, OWN = "examples.guide_attention", "my_attention"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """The properties by implementation and outcome."""
    folder = tmp_path_factory.mktemp("examples") / "run"
    command = [sys.executable, "-m", "pytest", "suites/properties/test_additive_attention.py", "-p", "no:cacheprovider"]
    command += ["--results", str(folder), "-q"]
    for name in (GUIDE, OWN):
        command += ["--implementation", f"additive_attention={name}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "examples" / "own_package" / "src")}
    session = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert session.returncode == pytest.ExitCode.TESTS_FAILED, session.stdout[-3000:]
    assert "the query has no effect" in session.stdout
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in Path(folder / "properties.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["asked"]["implementation"]][row["outcome"]].add(row["asked"]["property"])
    return found


def test_the_sketch_of_the_guides_ignores_its_query(outcomes: dict[str, dict[str, set[str]]]) -> None:
    assert "query_decides" in outcomes[GUIDE]["failed"]


def test_the_package_passes_all_that_it_provides(outcomes: dict[str, dict[str, set[str]]]) -> None:
    assert outcomes[OWN]["failed"] == set()
    assert outcomes[OWN]["not provided"] == {
        "function_equals_layer",
        "common_dtype_comes_out",
    }
