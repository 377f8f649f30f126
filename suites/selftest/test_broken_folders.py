"""Whatever a run folder has become, reading it ends with a report or with one line, and resuming it with one line."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import machine
from reports.__main__ import main
from reports.store.run_folder import PROPERTIES, RUN, TIMINGS, TRIALS, Row, RunFolder, RunFolderError, canonical_hash
from suites.implementations import ROOT
from suites.selftest import broken_folders
from suites.selftest.broken_folders import FILES, Damage, broken, damages

SHARE = 48
"""One in so many of the damages to fields is tried; those to bytes, lines and places all are."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return broken_folders.whole_folder(tmp_path_factory.mktemp("whole") / "run").path


def chosen(whole: Path, file: str) -> list[Damage]:
    """The same damages every time, spread over all fields and values."""
    of_file = [damage for damage in damages(whole) if damage.file == file]
    drawn = [int.from_bytes(hashlib.sha256(damage.name.encode()).digest()[:8]) % SHARE for damage in of_file]
    return [damage for damage, at in zip(of_file, drawn, strict=True) if not _of_a_field(damage) or at == 0]


def _of_a_field(damage: Damage) -> bool:
    return " is " in damage.name or damage.name.endswith((") cut", ") doubled"))


def facts_of(folder: RunFolder) -> Row:
    return {name: value for name, value in folder.run.items() if name not in ("format", "created", "sessions")}


@pytest.mark.parametrize("verb", ["compare", "history"])
@pytest.mark.parametrize("file", FILES)
def test_beside_a_broken_folder_a_verb_ends_with_a_page_or_one_line(
    whole: Path, file: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: a traceback at a number that is none, a page of what was refused."""
    of_file = [damage for damage in damages(whole) if damage.file == file]
    ended: dict[int, int] = {}
    for damage in of_file[:: max(1, len(of_file) // 12)]:
        path = broken(whole, tmp_path / "run", damage)
        code = main([verb, str(whole), str(path), "--output", str(tmp_path / "out")])
        said = capsys.readouterr().err
        ended[code] = ended.get(code, 0) + 1
        assert code in (0, 2), damage.name
        if code == 2:
            assert said.count("\n") == 1, damage.name
            assert f"{path}" in said, damage.name
            assert verb == "history" or f"{path / file}" in said, damage.name  # which names what it looked for
    assert ended[2] > 2


@pytest.mark.parametrize("file", FILES)
def test_a_broken_folder_is_shown_or_refused_in_one_line(
    whole: Path, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = facts_of(RunFolder(whole))
    ended: dict[int, int] = {}
    for damage in chosen(whole, file):
        path = broken(whole, tmp_path / "run", damage)
        code = main([str(path), "--output", str(tmp_path / "report")])
        said = capsys.readouterr().err
        ended[code] = ended.get(code, 0) + 1
        if code == 2:
            assert said.count("\n") == 1, damage.name
            assert f"{path / file}" in said, damage.name
        else:
            assert code == 0, damage.name
        with contextlib.suppress(RunFolderError):
            RunFolder.resume(path, facts)
    assert ended[2] > 20
    assert ended[0] > 5 or file == "run.json"


def test_a_session_refuses_a_damaged_folder_in_one_line(whole: Path, tmp_path: Path) -> None:
    """It had ended in an INTERNALERROR of a hundred lines, after everything was collected."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    run = RunFolder(path).run
    hardware, software = machine.machine(), machine.environment()
    hashes = {"machine_hash": canonical_hash(hardware), "environment_hash": canonical_hash(software)}
    RunFolder(path).write_run(run | {"machine": hardware, "environment": software} | hashes)
    with (path / PROPERTIES).open("ab") as file:
        file.write(b"null\n")
    command = [sys.executable, "-m", "pytest", "suites/properties/test_residual.py", "--results", str(path), "-q"]
    session = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert session.returncode == pytest.ExitCode.USAGE_ERROR, session.stdout + session.stderr
    lines = [line for line in session.stderr.splitlines() if line]
    assert lines == [f"ERROR: {path / PROPERTIES}, line 9: expected an object; mend it, or remove it"]


def test_every_field_that_a_report_needs_is_missed(whole: Path, tmp_path: Path) -> None:
    """A field that is gone, or of another type, is named; that of an optional one is not."""
    said = {}
    for field, value in (("extra_info.key", 3), ("extra_info.race", None), ("stats.data", [0.1, -0.1]), ("stats", 1)):
        where: tuple[object, ...] = ("benchmarks", 0, *field.split("."))
        path = broken(whole, tmp_path / "run", Damage("", TIMINGS, broken_folders.replaced(where, value)))
        with pytest.raises(RunFolderError) as error:
            RunFolder(path).timings()
        said[field] = str(error.value)
        assert f"{path / TIMINGS}, benchmarks.0: {field}" in said[field]
    assert "stats.data.1: Input should be greater than or equal to 0" in said["stats.data"]


@pytest.mark.parametrize("sample", ["NaN", "null", "0", "-0.5", "1e300"])
def test_a_time_that_no_clock_shows_is_refused(whole: Path, tmp_path: Path, sample: str) -> None:
    """It had become an interval from 0 to infinity, without a word."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    text = (path / TIMINGS).read_text(encoding="utf-8")
    first = repr(RunFolder(whole).timings()[0]["stats"]["data"][0])
    (path / TIMINGS).write_text(text.replace(first, sample, 1), encoding="utf-8")
    assert first in text
    assert main([str(path)]) == 2


def test_a_line_separator_within_a_row_ends_no_line(whole: Path, tmp_path: Path) -> None:
    """It had dropped every row behind it."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    content = (path / PROPERTIES).read_text(encoding="utf-8")
    for character in ("\u2028", "\u2029", "\x85"):
        content = content.replace('"statement":"', f'"statement":"{character}', 1)
    (path / PROPERTIES).write_text(content, encoding="utf-8")
    assert len(RunFolder(path).properties()) == len(RunFolder(whole).properties())


def test_entries_of_other_programs_are_left_out_with_a_note_and_kept(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pytest-benchmark compares them all, so somebody may have put theirs there."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    folder = RunFolder(path)
    file = folder.timings_file()
    others: list[Row] = [
        {"name": "test_mine", "fullname": "test_mine", "stats": {"mean": 0.1}, "extra_info": {}},
        {"name": "test_yours", "stats": {}, "extra_info": {"branch": "main"}},
    ]
    folder.write_timings(file | {"benchmarks": [others[0], *file["benchmarks"], others[1]]})
    assert folder.timings() == file["benchmarks"]
    assert main([str(path)]) == 0
    note = "2 entries are of no contender and left out (test_mine, test_yours)"
    assert capsys.readouterr().err.count(note) == 1
    assert note in (path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_folder_of_the_first_version_is_read_and_continued(whole: Path, tmp_path: Path) -> None:
    """It knew fewer fields, and its journals no joules."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    run, timings = json.loads((path / RUN).read_text(encoding="utf-8")), RunFolder(whole).timings_file()
    del run["host"]
    run["techniques"] = {name: {"title": facts["title"]} for name, facts in run["techniques"].items()}
    run["sessions"] = [{name: run["sessions"][0][name] for name in ("started", "finished", "exit", "arguments")}]
    (path / RUN).write_text(json.dumps(run), encoding="utf-8")
    rows = [{k: v for k, v in row.items() if k not in LATER} for row in RunFolder(whole).properties()]
    (path / PROPERTIES).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for entry in timings["benchmarks"]:
        info = entry["extra_info"]
        info["memory"] = {name: info["memory"][name] for name in ("peak_bytes", "baseline_bytes")}
        entry["extra_info"] = {name: value for name, value in info.items() if name not in LATER} | {"retraces": 0}
    kept = {"benchmarks": timings["benchmarks"], "failures": timings["failures"], "version": "5.1"}
    (path / TIMINGS).write_text(json.dumps(kept), encoding="utf-8")
    (path / "races").mkdir()
    journal = [{"heat": 0, "block": 0, "rounds": [["k", 0.1]]}, {"heat": 0, "facts": {"k": {"traces": 1}}}]
    (path / "races" / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in journal), encoding="utf-8")
    folder = RunFolder.resume(path, facts_of(RunFolder(path)))
    assert folder.rows("races/r.jsonl") == journal
    assert (folder.timings(), folder.properties()) == (timings["benchmarks"], rows)
    assert main([str(path)]) == 0


LATER = (
    "examples",
    "discarded",
    "worst_error",
    "joules",
    "warm_up",
    "cost",
    "profile",
    "stopped",
    "why_faster",
    "call_s",
)
"""Fields that the first version did not write."""


def test_a_metric_beyond_all_numbers_has_diverged(whole: Path, tmp_path: Path) -> None:
    """It had overflowed in the middle of an interval."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    folder = RunFolder(path)
    (path / TRIALS).unlink()
    for row in RunFolder(whole).trials():
        folder.append(TRIALS, row | {"metrics": {"loss": 1e300, "gradient": -1e300}, "series": {"loss": [1e300, 1.0]}})
    assert main([str(path)]) == 0


def test_a_row_that_is_none_of_its_kind_is_not_written(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    folder, before = RunFolder(path), (path / PROPERTIES).read_bytes()
    row = folder.properties()[0]
    with pytest.raises(RunFolderError, match=r"new row: outcome: Input should be 'passed', 'lenient', 'failed'"):
        folder.append(PROPERTIES, row | {"outcome": "perhaps"})
    assert (path / PROPERTIES).read_bytes() == before
