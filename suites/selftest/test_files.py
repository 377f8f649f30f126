"""Two writers, a full disk, a kill at any moment, a link in the place of a file: nothing that was written is lost."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reports.__main__ import main
from reports.store.files import LOCK, UNFINISHED, NotWrittenError, append_line, write_whole
from reports.store.run_folder import PROPERTIES, RUN, TIMINGS, TRIALS, Row, RunFolder, RunFolderError
from suites.implementations import ROOT
from suites.recording import SessionFolder
from suites.selftest import synthetic_run as synthetic

resource = pytest.importorskip("resource", reason="Windows lets no file's size be limited")

HOLDER = """
import os, subprocess, sys, time
from reports.store.run_folder import RunFolder
from suites.selftest.synthetic_run import begin
from pathlib import Path
folder = begin(Path(sys.argv[1]))
spawned = subprocess.Popen(["sleep", "600"])
forked = os.fork()
if not forked:
    time.sleep(600)
print(forked, spawned.pid, flush=True)
time.sleep(600)
"""


def facts_of(folder: RunFolder) -> Row:
    return {name: value for name, value in folder.run.items() if name not in ("format", "created", "sessions")}


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: a write that would is cut short, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- two writers


def test_a_second_session_is_refused_until_the_first_is_gone_however_it_ends(tmp_path: Path) -> None:
    """Wrong variant: a lock that processes keep alive which were forked or started from the one that was killed."""
    path = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        children = [psutil.Process(int(pid)) for pid in holder.stdout.readline().split()]
        folder = RunFolder.open(path)
        (path / f".{TIMINGS}.abcd1234").write_text("half", encoding="utf-8")
        try:
            with pytest.raises(RunFolderError, match=rf"by another session \(process {holder.pid}, since .*--results"):
                RunFolder.resume(path, facts_of(folder))
            assert (path / f".{TIMINGS}.abcd1234").exists(), "it may be the other's"
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert all(child.is_running() for child in children)
            RunFolder.resume(path, facts_of(folder)).append(PROPERTIES, next(synthetic.property_rows()))
        finally:
            for child in children:
                child.kill()
    assert not (path / f".{TIMINGS}.abcd1234").exists()
    assert len(folder.properties()) == 1


def test_a_process_that_resumes_twice_keeps_its_lock(tmp_path: Path) -> None:
    """To close any descriptor of a file releases a process's record lock on it."""
    folder = synthetic.begin(tmp_path / "run")
    RunFolder.resume(folder.path, facts_of(folder))  # and is gone again
    code = (
        f"from reports.store.run_folder import RunFolder; RunFolder.resume({str(folder.path)!r}, {facts_of(folder)!r})"
    )
    second = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"is being written by another session (process {os.getpid()}, since" in second.stderr


# --- a full disk


@pytest.mark.parametrize("name", [PROPERTIES, TRIALS])
def test_a_row_that_finds_no_room_leaves_the_rows_before_it_and_room_for_the_next(tmp_path: Path, name: str) -> None:
    """A torn row had been glued to the next one, and reading said to remove the line with both of them."""
    folder = synthetic.begin(tmp_path / "run")
    rows = list(synthetic.property_rows() if name == PROPERTIES else synthetic.trial_rows())
    remaining = iter(rows)
    with full_disk(5000), pytest.raises(NotWrittenError, match=rf"{name} could not be written: File too large"):
        all(folder.append(name, row) is None for row in remaining)  # type: ignore[func-returns-value]
    kept = len(rows) - len(list(remaining)) - 1
    assert 0 < kept < len(rows)
    assert len(folder.rows(name)) == kept
    assert (folder.path / name).read_bytes().endswith(b"\n")
    folder.append(name, rows[kept])
    assert [row["key"] for row in folder.rows(name)] == [row["key"] for row in rows[: kept + 1]]


def test_timings_that_find_no_room_leave_the_old_ones(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path / "run", parts="failures")
    before, file = {path.name for path in folder.path.iterdir()}, folder.timings_file()
    with full_disk(5000), pytest.raises(NotWrittenError):
        folder.write_timings(synthetic.write_run(tmp_path / "large").timings_file())
    assert folder.timings_file() == file
    assert {path.name for path in folder.path.iterdir()} == before


def test_a_report_that_finds_no_room_leaves_the_old_one_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the new tables had stood beside the old page."""
    folder = synthetic.write_run(tmp_path / "run", parts="properties")
    report = folder.path / "report"
    assert main([str(folder.path)]) == 0
    old = {path.name: path.read_bytes() for path in report.iterdir()}
    for row in synthetic.trial_rows():
        folder.append(TRIALS, row)
    capsys.readouterr()
    with full_disk(len(old["index.html"])):
        assert main([str(folder.path)]) == 2
    assert {path.name: path.read_bytes() for path in report.iterdir()} == old
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "could not be written: File too large" in said


def test_a_session_that_finds_no_room_stops_with_one_line_and_is_continued(tmp_path: Path) -> None:
    """Hundreds of failures had come of it, and rows that call right properties wrong."""
    folder = RunFolder(tmp_path / "run")
    command = [sys.executable, "-m", "pytest", "suites/properties/test_additive_attention.py", "-q", "-p"]
    command += ["no:cacheprovider", "--implementation", "additive_attention=reference", "--results", str(folder.path)]

    def session(size: int, *options: str) -> subprocess.CompletedProcess[str]:
        with full_disk(size):
            return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)

    _, limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    session(limit, "--collect-only")
    # Far more than any other file of the session, so that it is this one that finds no room.
    folder.append(PROPERTIES, next(synthetic.property_rows()) | {"message": "long " * 100_000})
    stopped = session((folder.path / PROPERTIES).stat().st_size + 3000)
    _, *first = folder.properties()
    assert stopped.returncode == pytest.ExitCode.INTERRUPTED, stopped.stdout + stopped.stderr
    assert stopped.stdout.count("could not be written: File too large") == 1
    assert "INTERNALERROR" not in stopped.stdout + stopped.stderr
    assert "Traceback" not in stopped.stdout + stopped.stderr
    assert {row["outcome"] for row in first} == {"passed"}
    finished = session(limit)
    assert finished.returncode == 0, finished.stdout
    _, *rows = folder.properties()
    assert rows[: len(first)] == first
    assert len({row["key"] for row in rows}) == len(rows) > len(first)


def test_a_session_says_once_that_it_cannot_write(tmp_path: Path) -> None:
    facts = facts_of(synthetic.begin(tmp_path / "run"))
    folder = SessionFolder.resume(tmp_path / "run", facts)
    timings = synthetic.write_run(tmp_path / "other").timings_file()
    with full_disk(100):
        with pytest.raises(pytest.exit.Exception, match=r"timings\.json could not be written"):
            folder.write_timings(timings)
        folder.write_timings(timings)  # as at the end of the session, which has been told
        folder.write_run(folder.run)
    folder.write_timings(timings)
    assert folder.timings_file() == timings


# --- what a kill leaves behind


def test_resuming_removes_what_a_killed_session_left(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path / "run")
    whole = {path: path.read_bytes() for path in folder.path.iterdir() if path.name != LOCK}
    (folder.path / f"{UNFINISHED}abcd1234").mkdir()
    (folder.path / f"{UNFINISHED}abcd1234" / TIMINGS).write_text("half", encoding="utf-8")
    for name in (TIMINGS, RUN):  # as versions before this one left them
        (folder.path / f".{name}.abcd1234").write_text("half", encoding="utf-8")
    (folder.path / ".notes").write_text("mine", encoding="utf-8")
    RunFolder.resume(folder.path, facts_of(folder))
    assert {path.name for path in folder.path.iterdir()} == {path.name for path in whole} | {LOCK, ".notes"}
    assert [path.read_bytes() for path in whole if path.name != RUN] == [
        content for path, content in whole.items() if path.name != RUN
    ]


def test_a_journal_goes_once_the_timings_hold_all_of_its_rounds(tmp_path: Path) -> None:
    """Wrong variant: gone when they hold its heats, of which another contender's rounds are in the journal alone."""
    folder = synthetic.write_run(tmp_path / "run", parts="timings")
    info = folder.timings()[0]["extra_info"]
    row = {"heat": info["heat"][-1], "block": 0, "rounds": [[info["key"], 0.1, None]]}
    journals = {
        "races/held.jsonl": row,
        "races/heat.jsonl": row | {"heat": 99},
        "races/contender.jsonl": row | {"rounds": [[info["key"], 0.1, None], ["another", 0.1, None]]},
    }
    for name, entry in journals.items():
        folder.append(name, entry)
    RunFolder.resume(folder.path, facts_of(folder))
    assert folder.journals() == ["races/contender.jsonl", "races/heat.jsonl"]
    for name in folder.journals():
        (folder.path / name).unlink()
    RunFolder.resume(folder.path, facts_of(folder))
    assert not (folder.path / "races").exists()


def test_a_session_that_was_killed_when_it_began_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    (path / f"{UNFINISHED}abcd1234").mkdir(parents=True)
    (path / LOCK).write_text("process 1, since then", encoding="utf-8")
    folder = synthetic.begin(path)
    assert {each.name for each in path.iterdir()} == {RUN, LOCK}
    assert folder.properties() == []


# --- links


@pytest.mark.parametrize("name", [RUN, PROPERTIES, TRIALS, TIMINGS, LOCK, "races", "races/0123.jsonl"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    folder = synthetic.write_run(tmp_path / "run")
    facts, link, precious = facts_of(folder), folder.path / name, tmp_path / "precious"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    if name == "races":
        precious.mkdir()
    else:
        there = synthetic.write_run(tmp_path / "like").path / name
        precious.write_bytes(there.read_bytes() if there.exists() else b"")
    before = precious.stat().st_mtime_ns
    link.symlink_to(precious)
    with pytest.raises(RunFolderError, match=rf"{link} is a symbolic link, and nothing is written through one"):
        RunFolder.resume(folder.path, facts)
    for write in (lambda: append_line(link, b"{}\n"), lambda: write_whole(link.parent, {link.name: b"{}"})):
        with pytest.raises(RunFolderError, match="is a symbolic link"):
            write()
    assert precious.stat().st_mtime_ns == before
    assert link.is_symlink()


def test_a_run_folder_may_lie_elsewhere(tmp_path: Path) -> None:
    """It is named by its user, and disks are of different sizes."""
    (tmp_path / "large").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large")
    folder = synthetic.write_run(tmp_path / "run")
    RunFolder.resume(folder.path, facts_of(folder)).append("races/0123.jsonl", {"heat": 0})
    assert main([str(folder.path)]) == 0
    assert (tmp_path / "large" / "report" / "index.html").is_file()


def test_a_report_is_not_written_through_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = synthetic.write_run(tmp_path / "run", parts="properties")
    precious = tmp_path / "precious"
    precious.mkdir()
    report = folder.path / "report"
    report.symlink_to(precious)
    assert main([str(folder.path)]) == 2
    report.unlink()
    report.mkdir()
    (report / "index.html").symlink_to(precious / "page.html")
    assert main([str(folder.path)]) == 2
    assert [
        line.partition(" is a symbolic link")[0].rpartition("/")[2] for line in capsys.readouterr().err.splitlines()
    ] == ["report", "index.html"]
    assert list(precious.iterdir()) == []
    assert [path.name for path in report.iterdir()] == ["index.html"], "no table either"


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt(), True), (OSError(28, "No space left"), False)])
def test_a_line_that_is_there_outlives_a_ctrl_c_and_no_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, kept: bool
) -> None:
    """Wrong variants: whatever comes between writing and forcing to disk takes the line along, or leaves it."""
    path = tmp_path / "rows.jsonl"
    append_line(path, b"{}\n")

    def interrupted(_descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises((KeyboardInterrupt, NotWrittenError)):
        append_line(path, b"[1]\n")
    assert path.read_bytes() == b"{}\n" + b"[1]\n" * kept


def test_a_line_that_a_ctrl_c_tears_is_cut_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: half of it stays, and the next one is glued to it."""
    path, write = tmp_path / "rows.jsonl", os.write
    append_line(path, b"{}\n")

    def half(descriptor: int, line: bytes) -> int:
        write(descriptor, line[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(KeyboardInterrupt):
        append_line(path, b"[1, 2]\n")
    assert path.read_bytes() == b"{}\n"
