"""Run folders lose nothing, mix nothing, and are read back as they were written."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.store.files import write_whole
from reports.store.run_folder import Row, RunFolder, RunFolderError, key_of, storable
from suites.implementations import ROOT
from suites.selftest.synthetic_races import timing_entries
from suites.selftest.synthetic_run import failure_row, property_rows, trial_rows

FACTS: Row = {
    "scale": "quick",
    "machine": {"processor": "one", "cores": 2},
    "machine_hash": "a",
    "environment": {"python": "3.11"},
    "environment_hash": "b",
    "lock_hash": None,
    "git": {"revision": None, "dirty": None},
    "techniques": {},
}

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
questions = st.dictionaries(st.text(), values, min_size=1)


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def trial(key: str, **beside: Any) -> Row:
    """A right row of ``trials.jsonl``."""
    return next(trial_rows()) | {"key": key} | beside


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.resume(tmp_path / "run", FACTS)


# --- keys


@given(asked=questions)
def test_the_order_of_fields_does_not_change_a_key(asked: dict[str, Any]) -> None:
    assert key_of(dict(reversed(asked.items()))) == key_of(asked)


@given(asked=questions, data=st.data())
def test_every_change_of_what_is_asked_changes_the_key(asked: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(asked)))
    changed = {**asked, name: data.draw(values.filter(lambda value: canonical(value) != canonical(asked[name])))}
    left_out = {key: value for key, value in asked.items() if key != name}
    assert len({key_of(asked), key_of(changed), key_of(left_out)}) == 3


def test_a_question_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"rate": math.nan})


# --- rows


@given(more=questions)
def test_rows_are_read_as_they_were_written(more: Row, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fields that no schema names are a newer version's, and are kept."""
    folder = RunFolder.resume(tmp_path_factory.mktemp("run"), FACTS)
    rows = [trial("a", more=more), trial("b") | {f"more {name}": value for name, value in more.items()}]
    for row in rows:
        folder.append("trials.jsonl", row)
    assert folder.trials() == storable(rows)
    folder.write_timings({"benchmarks": [], "more": more})
    assert folder.timings_file() == {"benchmarks": [], "more": more}


def test_what_is_not_finite_becomes_null_however_deep(folder: RunFolder) -> None:
    row = trial("a", metrics={"loss": math.nan}, series={"loss": [1.0, math.inf, -math.inf]}, deep=[(2, math.nan)])
    folder.append("trials.jsonl", row)
    expected = row | {"metrics": {"loss": None}, "series": {"loss": [1.0, None, None]}, "deep": [[2, None]]}
    assert folder.trials() == [expected] == [storable(row)]
    folder.write_timings({"benchmarks": [], "deep": [(2, math.nan)]})
    assert folder.timings_file()["deep"] == [[2, None]]
    assert "NaN" not in (folder.path / "timings.json").read_text(encoding="utf-8")


def test_half_of_a_pair_of_surrogates_is_kept_as_its_escape(folder: RunFolder) -> None:
    """Hypothesis may draw it, and so a message may quote it; earlier versions wrote it as JSON's own escape."""
    row = trial("a", note="\ud83d and \U0001f600, \\ud83d")
    folder.append("trials.jsonl", row)
    with (folder.path / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    expected = row | {"note": "\\ud83d and \U0001f600, \\ud83d"}
    assert folder.trials() == [expected, expected]


@pytest.mark.parametrize("name", ["properties.jsonl", "trials.jsonl", "races/0123.jsonl"])
@pytest.mark.parametrize("torn", ['{"key": "c", "ask', '{"key": "c"}', "\x80"])
def test_a_torn_last_line_is_left_out_and_the_next_row_stands_alone(folder: RunFolder, name: str, torn: str) -> None:
    made: dict[str, Row] = {"properties.jsonl": next(property_rows()), "trials.jsonl": trial("a")}
    row = made.get(name, {"heat": 0, "block": 0, "rounds": [["k", 0.1, None]]})
    rows = [row | {"number": number} for number in range(2)]
    for row in rows:
        folder.append(name, row)
    with (folder.path / name).open("ab") as file:
        file.write(torn.encode("latin-1"))
    assert folder.rows(name) == rows
    assert bool(folder.notes({})) == (not name.startswith("races")), "the report says so"
    RunFolder.resume(folder.path, FACTS).append(name, row | {"number": 2})
    assert folder.rows(name) == [*rows, row | {"number": 2}]
    assert folder.notes({}) == []


def test_a_line_damaged_elsewhere_is_named(folder: RunFolder) -> None:
    folder.append("trials.jsonl", trial("a"))
    with (folder.path / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": \n{"key": "b"}\n')
    with pytest.raises(RunFolderError, match=r"trials\.jsonl, line 2: no JSON, .*; remove that line"):
        folder.trials()


def test_failed_contenders_are_tried_again(folder: RunFolder) -> None:
    folder.append("properties.jsonl", next(property_rows()) | {"key": "a", "outcome": "failed"})
    folder.append("trials.jsonl", trial("b"))
    failures = [failure_row() | {"key": "d", "outcome": "failed"}, failure_row() | {"key": "e"}]
    failures[1]["outcome"] = "not provided"
    entry = next(timing_entries())
    entry["extra_info"]["key"] = "c"
    folder.write_timings({"benchmarks": [entry], "failures": failures})
    assert folder.keys() == {"a", "b", "c", "e"}


# --- whole files


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    old = {"timings.json": b"old\n", "index.html": b"old page\n"}
    write_whole(tmp_path, old)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if step == "replace":
        monkeypatch.setattr(Path, "replace", interrupt)
    else:
        monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path, dict.fromkeys(old, b"new, longer\n"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old, "no remains"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """A process that replaces the file again and again is killed while another reads it."""
    path = tmp_path / "timings.json"
    code = (
        "import pathlib, sys; from reports.store.files import write_whole\nfolder = pathlib.Path(sys.argv[1])\n"
        # It must end by itself, should this process be killed.
        "for n in range(3_000): write_whole(folder, {'timings.json': f'{n} '.encode() * 100_000})"
    )
    seen: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) as writer:
        try:
            deadline = time.monotonic() + 60
            while len(seen) < 5 and time.monotonic() < deadline:
                words = path.read_text(encoding="utf-8").split() if path.is_file() else ["none"] * 100_000
                assert (len(words), len(set(words))) == (100_000, 1)
                seen.add(words[0])
        finally:
            writer.kill()
    assert len(seen) >= 5
    words = path.read_text(encoding="utf-8").split()
    assert (len(words), len(set(words))) == (100_000, 1)


# --- folders


@pytest.mark.parametrize("layer", ["machine", "environment"])
def test_another_machine_or_environment_is_refused_with_the_difference(folder: RunFolder, layer: str) -> None:
    row = trial("a")
    folder.append("trials.jsonl", row)
    other = {**FACTS, layer: {**FACTS[layer], "changed": "yes"}, f"{layer}_hash": "z"}
    with pytest.raises(RunFolderError, match=rf"another {layer} \(changed: None there, 'yes' here\).*--results"):
        RunFolder.resume(folder.path, other)
    assert folder.trials() == storable([row])


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious", encoding="utf-8")
    with pytest.raises(RunFolderError, match="exists and is not a run folder; choose another with --results"):
        RunFolder.resume(tmp_path, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_no_run_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no run\.json"):
        RunFolder.open(tmp_path)


def test_an_unknown_format_is_refused(folder: RunFolder) -> None:
    (folder.path / "run.json").write_text(json.dumps({**folder.run, "format": 2}), encoding="utf-8")
    with pytest.raises(RunFolderError, match="has run format 2; this version of Touchstone reads format 1"):
        RunFolder.open(folder.path)


def test_a_resumed_folder_keeps_its_beginning_and_its_sessions(folder: RunFolder) -> None:
    session = {"started": "then", "finished": "later", "exit": 0, "arguments": []}
    folder.write_run({**folder.run, "created": "once", "sessions": [session]})
    git = {"revision": "new", "dirty": False}
    RunFolder.resume(folder.path, {**FACTS, "git": git})
    assert folder.run["created"] == "once"
    assert folder.run["sessions"] == [session]
    assert folder.run["git"] == git


# --- a session that is killed


def test_a_killed_session_keeps_the_rows_of_its_properties(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    command = [sys.executable, "-m", "pytest", "suites/properties/test_additive_attention.py", "-q"]
    command += ["--implementation", "additive_attention=reference", "--results", str(folder.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as session:
        deadline = time.monotonic() + 120
        while len(folder.properties()) < 2 and session.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        session.send_signal(signal.SIGKILL)
    kept = folder.properties()
    assert len(kept) >= 2
    assert {row["outcome"] for row in kept} <= {"passed", "failed", "not provided"}
    assert all(row["key"] == key_of(row["asked"]) for row in kept)
    assert folder.keys() == {row["key"] for row in kept}, "a rerun leaves these out"
