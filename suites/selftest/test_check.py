"""Which run folders may be sent in: `python -m reports check`."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from reports.store import check
from reports.store.run_folder import PROPERTIES, RUN, TIMINGS, TRIALS, RunFolder
from suites.selftest import broken_folders
from suites.selftest.broken_folders import broken, damages

ROOT = Path(__file__).resolve().parents[2]
COMMUNITY = sorted(path for path in (ROOT / "community").glob("*/*") if path.is_dir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that may be sent, with every kind of row."""
    made = broken_folders.whole_folder(tmp_path_factory.mktemp("made") / "run")
    to = tmp_path_factory.mktemp("sent") / "run"
    check.copy(made.path, to)
    return to


def edited(whole: Path, path: Path, file: str, where: tuple[Any, ...], value: Any) -> list[str]:
    """The faults of a folder in which one field is replaced."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    broken_folders.replaced(where, value)(path / file)
    return check.faults(path)


def test_what_was_sent_in_is_right() -> None:
    """A pull request that adds a folder is held to what its sender was asked to check."""
    assert [fault for path in COMMUNITY for fault in check.faults(path)] == []


def test_a_right_folder_is_right_and_a_fresh_one_says_what_to_leave_out(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variant: a lock, a page, or a journal goes along."""
    assert main(["check", str(whole)]) == 0
    assert capsys.readouterr().out == f"{whole}: right, and may be sent in\n"
    fresh = tmp_path / "fresh"
    shutil.copytree(whole, fresh)
    (fresh / ".lock").touch()
    (fresh / "races").mkdir()
    assert main(["check", str(fresh), str(whole)]) == 2
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{fresh / '.lock'}: does not belong")
    assert second.startswith(f"{fresh / 'races'}: does not belong")
    assert last.endswith("may be sent in")
    assert main(["check", str(fresh), "--copy", str(tmp_path / "copy")]) == 0
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {path.name for path in whole.iterdir()}


def test_every_fault_has_its_line_with_file_place_and_field(whole: Path, tmp_path: Path) -> None:
    """Wrong variants: only the first fault is told; a fault without its place; the key of an edited row is believed."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    lines = (path / PROPERTIES).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows[0]["outcome"] = "perhaps"
    rows[2]["asked"]["precision"] = "float128"
    (path / PROPERTIES).write_text("".join(json.dumps(row) + "\n" for row in rows) + "{", encoding="utf-8")
    timings = json.loads((path / TIMINGS).read_text(encoding="utf-8"))
    timings["benchmarks"][3]["stats"]["data"][0] = -1
    timings["benchmarks"].append({"name": "test_theirs", "stats": {"data": [1.0]}, "extra_info": {}})
    (path / TIMINGS).write_text(json.dumps(timings), encoding="utf-8")
    faults = check.faults(path)
    for wanted in (
        f"{path / PROPERTIES}, line 1: outcome: ",
        f"{path / PROPERTIES}, line 3: key: does not fit what was asked",
        f"{path / PROPERTIES}, last line: is torn",
        f"{path / TIMINGS}, benchmarks.3: stats.data.0: ",
        f"{path / TIMINGS}, benchmarks.{len(timings['benchmarks']) - 1}: another program's entry",
    ):
        assert [fault for fault in faults if fault.startswith(wanted)], wanted
    assert len(faults) == 5


@pytest.mark.parametrize(
    ("file", "where", "value", "said"),
    [
        (
            RUN,
            ("sessions", 0, "arguments"),
            ["--x", "/home/ann/r"],
            "sessions.arguments: tells a path of its user, /home/ann",
        ),
        (RUN, ("git", "remote"), "C:\\Users\\ann\\touchstone", "git.remote: tells a path of its user"),
        (PROPERTIES, (0, "message"), "File /Users/ann/x.py", ", line 1: message: tells a path of its user, /Users/ann"),
        (TRIALS, (1, "reason"), "/root/data is missing", ", line 2: reason: tells a path of its user, /root"),
        (TIMINGS, ("machine_info",), {"node": "anns-laptop"}, ": machine_info.node: tells the host's name"),
        (TIMINGS, ("benchmarks", 0, "extra_info", "checked"), "on pytest-host by ann", "tells the host's name"),
        (PROPERTIES, (0, "example"), "by Annabel", "tells the user's name"),
    ],
)
def test_what_tells_of_the_sender_is_named(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    where: tuple[Any, ...],
    value: Any,
    said: str,
) -> None:
    """Wrong variants: a path in a list of arguments; a name of the host in a message; a field that no model names."""
    monkeypatch.setattr(check, "_NAMES", {"host": "pytest-host", "user": "Annabel"})
    (fault,) = edited(whole, tmp_path / "run", file, where, value)
    assert fault.startswith(str(tmp_path / "run" / file))
    assert said in fault


def test_common_words_tell_nothing(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: the square root of a statement is the user root; a longer word has the host's name in it."""
    monkeypatch.setattr(check, "_NAMES", {"host": "atten", "user": "tention"})
    text = "the root mean square of attention, see /usr/lib/x and https://example.org/root/a"
    assert edited(whole, tmp_path / "run", PROPERTIES, (0, "message"), text) == []


def test_the_copy_says_nothing_of_the_host_and_is_else_the_same(whole: Path, tmp_path: Path) -> None:
    """Wrong variants: rows are rounded or written anew; a folder that is there is written over."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    timings = json.loads((run / TIMINGS).read_text(encoding="utf-8")) | {"machine_info": {"node": "anns", "cpu": 1}}
    (run / TIMINGS).write_text(json.dumps(timings), encoding="utf-8")
    assert main(["check", str(run), "--copy", str(tmp_path / "copy")]) == 0
    assert RunFolder(tmp_path / "copy").timings_file() == timings | {"machine_info": {"node": "", "cpu": 1}}
    for name in (RUN, PROPERTIES, TRIALS):
        assert (tmp_path / "copy" / name).read_bytes() == (run / name).read_bytes()
    assert main(["check", str(run), "--copy", str(tmp_path / "copy")]) == 2


def test_sizes_have_limits(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: rows are counted after they are all checked one by one; a folder's limit is that of a file."""
    (fault,) = edited(whole, tmp_path / "run", PROPERTIES, (0, "message"), "x" * (check.LONGEST + 1))
    assert "message: more than 20000 characters" in fault
    monkeypatch.setattr(check, "MOST_ROWS", 3)
    assert any("rows, and a file may have 3" in fault for fault in check.faults(whole))
    monkeypatch.setattr(check, "MOST_BYTES", 1 << 20)
    (tmp_path / "run" / PROPERTIES).write_bytes(b"x" * (2 << 20))
    assert f"{tmp_path / 'run'}: 2 MiB, and a folder may have 1; leave out some techniques" in check.faults(
        tmp_path / "run"
    )


def test_links_and_programs_do_not_belong(whole: Path, tmp_path: Path) -> None:
    """Wrong variant: a link is followed, and what it leads to is a part of the pull request's page."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    (tmp_path / "secret").write_text("{}\n", encoding="utf-8")
    (path / PROPERTIES).unlink()
    (path / PROPERTIES).symlink_to(tmp_path / "secret")
    (path / TRIALS).chmod(0o755)
    linked, program = check.faults(path)
    assert linked == f"{path / PROPERTIES}: a symbolic link; put a plain file there"
    assert "can be executed" in program


def test_whatever_a_folder_has_become_there_are_lines_and_no_traceback(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: a traceback; a damage that goes through although a report refuses it."""
    ranked = sorted(damages(whole), key=lambda damage: hashlib.sha256(damage.name.encode()).digest())
    ended = {0: 0, 2: 0}
    for damage in [each for each in ranked if " is " not in each.name] + ranked[:100]:
        path = broken(whole, tmp_path / "run", damage)
        code = main(["check", str(path)])
        assert capsys.readouterr().out.count("\n") in range(1, 6 * (check.MOST_FAULTS + 1)), damage.name
        ended[code] += 1
        if code == 0:
            RunFolder.open(path).check()
    assert min(ended.values()) > 5


def test_the_schema_is_made_of_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong variants: a kind of row without its model; a schema that asks nothing."""
    assert main(["check", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {*schema["properties"]} == {*check.FILES}
    assert schema["required"] == [RUN]
    definitions = schema["$defs"]
    assert definitions["Property"]["properties"]["outcome"]["enum"] == ["passed", "lenient", "failed", "not provided"]
    assert {"key", "when", "command", "asked"} <= {*definitions["ContenderRow"]["required"]}


def test_a_call_that_makes_no_sense_is_refused(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["check"], ["check", str(whole), str(whole), "--copy", "x"], ["check", str(whole / "no")]):
        assert main(arguments) == 2
        out = capsys.readouterr()
        assert (out.out + out.err).count("\n") == 1
