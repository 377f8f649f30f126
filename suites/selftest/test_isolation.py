"""What an implementation does to its process, it does to that alone: its properties say so, and the others run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from suites.implementations import ROOT

SURVIVED = "weights_are_a_distribution"
PROPERTIES = ("query_decides", SURVIVED)
SAID = {
    "raises_in_call": "ValueError: in AdditiveAttention.call(): this went wrong on purpose",
    "hangs_in_call": "ProcessDied: the process did nothing for 12 s and did not come back, and was ended",
    "spins_in_call": "ProcessDied: the process worked for 12 s of processor time and did not come back, and was ended",
    "crashes_in_call": "ProcessDied: the process was killed by SIGSEGV",
    "exits_in_call": "ProcessDied: the process ended with status 3",
}
"""How the message of a property begins or what it contains, by contender."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of one session in which all of them and the reference are tested, by contender and property."""
    folder = tmp_path_factory.mktemp("isolation") / "run"
    command = [sys.executable, "-m", "pytest", "suites/properties/test_additive_attention.py", "-p", "no:cacheprovider"]
    command += ["-k", " or ".join(PROPERTIES), "--results", str(folder), "--time-limit", "12", "--workers", "2", "-q"]
    for name in ("reference", *(f"suites.selftest.misbehaving:{name}" for name in SAID)):
        command += ["--implementation", f"additive_attention={name}"]
    session = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert session.returncode == pytest.ExitCode.TESTS_FAILED, session.stdout[-3000:]
    assert "INTERNALERROR" not in session.stdout + session.stderr
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(folder) in (p.info["cmdline"] or [])]
    lines = [json.loads(line) for line in Path(folder / "properties.jsonl").read_text(encoding="utf-8").splitlines()]
    return {(row["asked"]["implementation"].rpartition(":")[2], row["asked"]["property"]): row for row in lines}


@pytest.mark.parametrize("contender", SAID)
def test_every_property_says_what_happened(contender: str, rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for name in PROPERTIES:
        row = rows[contender, name]
        assert row["outcome"] == "failed"
        assert SAID[contender] in row["message"]
    if contender in ("hangs_in_call", "spins_in_call", "crashes_in_call"):
        assert "misbehaving.py" in rows[contender, SURVIVED]["message"], "where it hung or crashed is named"


def test_the_others_are_not_touched(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert {rows["reference", name]["outcome"] for name in PROPERTIES} == {"passed"}
    assert len(rows) == len(PROPERTIES) * (len(SAID) + 1)


def test_the_rows_say_how_hard_was_looked(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Wrong variants: counts kept in the process that ends; those of one property in the row of the next."""
    drawn, fixed = rows["reference", SURVIVED], rows["reference", "query_decides"]
    assert drawn["examples"] >= 10, "as many as Hypothesis draws, and those that are written down"
    assert 0 < drawn["worst_error"] <= 1
    assert (fixed["examples"], fixed["discarded"], fixed["worst_error"]) == (1, 0, None)
    assert "examples" not in rows["crashes_in_call", SURVIVED]


def test_what_stops_the_session_stops_it_from_within_a_process_too(tmp_path: Path) -> None:
    """It had ended that process alone, which then counted as one that its item had not survived."""
    tests = (
        "import pytest\n@pytest.mark.isolated\ndef test_stop(): pytest.exit('enough is enough')\n\ndef test_b(): pass\n"
    )
    (tmp_path / "test_stop.py").write_text(tests, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "conftest", "-p", "no:cacheprovider", "-q"]
    command += [str(tmp_path / "test_stop.py")]
    session = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, session.stdout + session.stderr
    assert "Exit: enough is enough" in session.stdout
    assert "ProcessDied" not in session.stdout
    assert "passed" not in session.stdout


def test_a_warning_is_shown_and_is_no_failure() -> None:
    """Wrong variants: it is an error, and the property a failed one; it stays in the process of the property."""
    command = [sys.executable, "-m", "pytest", "suites/properties/test_additive_attention.py", "-p", "no:cacheprovider"]
    command += ["--implementation", "additive_attention=suites.selftest.misbehaving:warns_in_call", "-k", SURVIVED]
    command += ["--precision", "float32,mixed_float16,mixed_bfloat16"]
    session = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert session.returncode == 0, session.stdout[-3000:]
    assert session.stdout.count("DeprecationWarning: this is the old way") == 1
    assert "3 passed" in session.stdout
    assert ", 3 warnings in" in session.stdout, "each process tells its own, and no other's again"


def test_what_a_file_has_set_up_is_gone_when_the_next_one_begins(tmp_path: Path) -> None:
    """Wrong variant: pytest's process never hears that the file's last item, which ran elsewhere, was its last."""
    (tmp_path / "test_first.py").write_text(
        "import pytest\ndef test_here(): ...\n@pytest.mark.isolated('x')\ndef test_apart(): ...\n"
    )
    (tmp_path / "test_second.py").write_text("def test_here(): ...\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    session = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=500
    )
    assert "3 passed" in session.stdout, session.stdout[-3000:] + session.stderr[-2000:]


def test_a_kill_leaves_no_temporary_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "suites/properties/test_additive_attention.py", "-p", "no:cacheprovider"]
    session = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL)
    # The folder comes first, then the process that removes it.
    wait_until(lambda: any(tmp_path.iterdir()) and bool(psutil.Process(session.pid).children()))
    session.kill()
    session.wait()
    wait_until(lambda: not any(tmp_path.iterdir()))


def wait_until(happens: Callable[[], bool]) -> None:
    """Wait until something happens, a minute at most."""
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)
