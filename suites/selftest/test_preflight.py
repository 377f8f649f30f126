"""A user's module is looked at before anything else: one line says what is wrong, and nothing tested is no success."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suites.implementations import ROOT, implementation, techniques
from suites.preflight import check, contract

MODULES = {
    "needs_more": "import no_such_library\n",
    "is_cut": "def cosine(step:\n",
    "raises": "raise RuntimeError('no licence\\nsecond line')\n",
    "ends": "import os\nos._exit(3)\n",
    "crashes": "import ctypes\nctypes.string_at(0)\n",
    "misspells": "def cosines(step, *, peak, steps, floor=0.0): ...\ndef smooth(): ...\n",
    "is_another": "import json\n",
    "offers_little": "class Schedule: ...\n",
    "is_lenient": """
import reference.schedules as r
def cosine(step, *, peak, steps, floor=0.0):
    if steps != int(steps) or steps <= 0:
        raise TypeError("no steps")
    return r.cosine(step, peak=peak, steps=steps, floor=floor)
""",
    "is_right": "from reference.schedules import *\n",
}
SAID = {
    "needs_more": r"it cannot be imported: ModuleNotFoundError: No module named 'no_such_library' \(.*, line 1\)$",
    "is_cut": r"it cannot be imported: SyntaxError: ",
    "raises": r"it cannot be imported: RuntimeError: no licence \(.*, line 1\)$",
    "ends": "it cannot be imported: its import ended the process",
    "crashes": "it cannot be imported: its import ended the process",
    "misspells": "it has none of the names of the contract, reference/schedules.py: .* has: cosines, smooth",
    "is_another": "it has none of the names of the contract, .*nearest that it has: none",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in MODULES.items():
        (tmp_path / f"{name}_here.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", SAID)
def test_a_module_that_cannot_work_is_refused_in_one_line(name: str) -> None:
    """Wrong variant: every property fails, or is skipped, one after the other."""
    with pytest.raises(pytest.UsageError, match=SAID[name]) as error:
        check(implementation("schedules", f"{name}_here"))
    assert str(error.value).startswith(f"--implementation schedules={name}_here: ")
    assert "\n" not in str(error.value)


@pytest.mark.isolated("keras")
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", MODULES.keys() - SAID.keys())
def test_a_module_that_offers_something_is_tested(name: str) -> None:
    check(implementation("schedules", f"{name}_here"))


def test_every_technique_has_a_contract() -> None:
    """Wrong variant: names that come from the reference's parts are not seen."""
    assert all(contract(technique) for technique in techniques())
    assert {"Schedule", "cosine", "RangeTest"} <= set(contract("schedules"))


def session(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "suites/properties/test_schedules.py",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500)


def test_what_is_lenient_fails_nothing_and_is_named(folder: Path) -> None:
    """Wrong variant: a refusal by another error than ValueError makes the session fail."""
    done = session(
        folder, "--implementation", "schedules=is_lenient_here", "-k", "impossible_schedules or cosine_follows"
    )
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-2000:]
    assert (
        "test_impossible_schedules_are_refused[is_lenient_here-float32]: more lenient than the contract, which is not "
        "wrong: a cosine of no steps, " in done.stdout
    )
    assert "answered with TypeError, in the contract with ValueError" in done.stdout


def test_nothing_tested_is_no_success(folder: Path) -> None:
    """Wrong variant: 43 skipped, exit 0."""
    chosen = ["--implementation", "schedules=offers_little_here", "-k", "cosine"]
    done = session(folder, *chosen)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-2000:]
    assert "schedules=offers_little_here: nothing of it was tested: all" in done.stdout
    refused = session(folder, "--implementation", "schedules=is_another_here")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert refused.stderr.startswith("ERROR: --implementation schedules=is_another_here: it has none of the names")
    assert "passed" not in refused.stdout
