"""Races as a user runs them: killed, interrupted, finished, repeated beside a failure, read by pytest-benchmark."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench_additive_attention import WORKLOADS
from benchmarks.harness.plan import PLANS
from benchmarks.harness.results import Round
from benchmarks.races import Recorded
from benchmarks.timings import Timings
from reports.store.run_folder import Row, RunFolder, key_of
from suites.implementations import ROOT

LIMIT_S = 240.0
SMALLEST = next(workload for workload in WORKLOADS if workload.operations["quick"])
OPERATION = SMALLEST.operations["quick"][0]
ITEMS = f"{SMALLEST.name}-{OPERATION}"
RACE = f"additive_attention/{SMALLEST.name}/{OPERATION}"
FINISHERS = ("reference", "again", "without", "control-matmul", "control-copy")
START = (
    "import signal, sys, pytest\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell that runs the tests has ignored\n"
    "sys.exit(pytest.main())"
)
Rounds = dict[str, list[Round]]
"""Rounds by key, in the order in which they were measured."""


def start(folder: RunFolder, contender: str) -> subprocess.Popen[str]:
    """A pytest session of one race: the reference, the network without the technique, and one that misbehaves."""
    command = [sys.executable, "-c", START, "benchmarks/bench_additive_attention.py", "-k", ITEMS]
    command += ["--results", str(folder.path), "--budget", "5", "-p", "no:cacheprovider"]
    command += ["--implementation", f"additive_attention=suites.selftest.misbehaving:{contender}"]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def journals(folder: RunFolder) -> list[Path]:
    return sorted((folder.path / "races").glob("*.jsonl"))


def journalled(folder: RunFolder) -> Rounds:
    """What the journals hold."""
    rounds: Rounds = {}
    for path in journals(folder):
        for entry in folder.rows(f"races/{path.name}"):
            for key, seconds, *_ in entry.get("rounds", []):
                rounds.setdefault(key, []).append(Round(entry["heat"], entry["block"], seconds))
    return rounds


def recorded(folder: RunFolder) -> Rounds:
    """What ``timings.json`` holds."""
    return {
        (info := entry["extra_info"])["key"]: [
            Round(*each) for each in zip(info["heat"], info["block"], entry["stats"]["data"], strict=True)
        ]
        for entry in folder.timings()
    }


def blocks(rounds: Rounds) -> int:
    return len({(each.heat, each.block) for of_one in rounds.values() for each in of_one})


def interrupt(folder: RunFolder, session: subprocess.Popen[str], more: int, number: signal.Signals) -> bool:
    """Send the signal when the journal holds so many blocks more; whether all processes of the session then vanish."""
    known, deadline = blocks(journalled(folder)), time.monotonic() + LIMIT_S
    while blocks(journalled(folder)) < known + more and session.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if session.poll() is not None:
        return False  # it ended by itself; its output tells why
    below = psutil.Process(session.pid).children(recursive=True)
    if number == signal.SIGKILL:
        session.kill()  # pytest alone; the others must notice
    else:
        os.killpg(session.pid, number)  # a terminal's Ctrl-C reaches all of them
    _, alive = psutil.wait_procs(below, timeout=20)
    return len(below) >= 3 and not alive


@dataclass(frozen=True)
class History:
    """What five sessions left behind."""

    folder: RunFolder
    killed: Rounds
    interrupted: Rounds
    finished: dict[str, Any]
    race: str
    outputs: list[str]
    exits: list[int]
    vanished: list[bool]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A race that is killed, interrupted, finished, asked for once more, and repeated with another contender."""
    folder, outputs, exits, vanished = RunFolder(tmp_path_factory.mktemp("recording") / "run"), [], [], []
    after: list[Rounds] = []
    for number in (signal.SIGKILL, signal.SIGINT):
        with start(folder, "incomplete") as session:
            vanished.append(interrupt(folder, session, 2, number))
            outputs.append(session.communicate()[0])
            exits.append(session.returncode)
        after.append(journalled(folder))
    race = journals(folder)[0].stem
    finished: dict[str, Any] = {}
    for contender in ("incomplete", "incomplete", "kills_itself"):
        with start(folder, contender) as session:
            outputs.append(session.communicate(timeout=LIMIT_S)[0])
            exits.append(session.returncode)
        finished = finished or folder.timings_file()
    return History(folder, after[0], after[1], finished, race, outputs, exits, vanished)


def begins_with(rounds: Rounds, earlier: Rounds) -> bool:
    return bool(earlier) and all(rounds[key][: len(known)] == known for key, known in earlier.items())


def test_kill_9_of_the_session_takes_all_its_processes_along(history: History) -> None:
    assert history.vanished[0]
    assert history.exits[0] == -signal.SIGKILL


def test_ctrl_c_ends_the_session_and_all_its_processes(history: History) -> None:
    assert history.vanished[1]
    assert history.exits[1] == pytest.ExitCode.INTERRUPTED, history.outputs[1]
    assert "KeyboardInterrupt" in history.outputs[1]


def test_a_rerun_continues_and_loses_no_round(history: History) -> None:
    assert history.exits[2] == pytest.ExitCode.OK, history.outputs[2]
    assert blocks(history.killed) >= 2
    assert begins_with(history.interrupted, history.killed)
    assert blocks(history.interrupted) >= blocks(history.killed) + 2
    finished = {e["extra_info"]["key"]: e["stats"]["data"] for e in history.finished["benchmarks"]}
    assert len(finished) == len(FINISHERS)
    for key, rounds in history.interrupted.items():
        assert finished[key][: len(rounds)] == [each.seconds for each in rounds], "bit for bit"
    for entry in history.finished["benchmarks"]:
        info = entry["extra_info"]
        assert info["race"] == history.race
        assert len(set(info["heat"])) >= PLANS["quick"].heats
        assert len(entry["stats"]["data"]) == len(info["heat"]) == len(info["block"]) == entry["stats"]["rounds"]


def test_the_journal_goes_when_the_timings_hold_it(history: History) -> None:
    assert not (history.folder.path / "races").exists()


def test_what_is_measured_is_not_measured_again(history: History) -> None:
    assert history.exits[3] == pytest.ExitCode.OK, history.outputs[3]
    assert f"{len(FINISHERS) + 1} rows are in" in history.outputs[3]
    assert "not measured again" in history.outputs[3]
    assert history.folder.run["sessions"][-2]["exit"] == 0
    assert [each["exit"] for each in history.folder.run["sessions"]] == [2, 0, 0, 1], "the killed one could say nothing"


def test_what_an_implementation_lacks_is_recorded_and_no_failure(history: History) -> None:
    (row,) = history.finished["failures"]
    assert (row["outcome"], row["phase"], row["rounds"]) == ("not provided", "build", [])
    assert "does not provide AdditiveAttention" in row["reason"]


def test_a_contender_that_fails_is_a_row_and_its_race_keeps_every_round(history: History) -> None:
    assert history.exits[4] == pytest.ExitCode.TESTS_FAILED
    assert "kills_itself failed at warm_up: killed by SIGKILL" in history.outputs[4]
    assert f"1 failed, {len(FINISHERS)} passed" in history.outputs[4], "the failure is one, in no other stage"
    (row,) = (row for row in history.folder.failures() if row["outcome"] == "failed")
    assert row["key"] == key_of(row["asked"])
    assert (row["phase"], row["rounds"]) == ("warm_up", [])
    assert row["asked"]["implementation"] == "suites.selftest.misbehaving:kills_itself"
    now, before = recorded(history.folder), {e["extra_info"]["key"]: e for e in history.finished["benchmarks"]}
    for key, entry in before.items():
        data = [each.seconds for each in now[key]]
        assert data[: len(entry["stats"]["data"])] == entry["stats"]["data"]
        assert len({each.heat for each in now[key]}) > len(set(entry["extra_info"]["heat"])), (
            "it ran beside the failure"
        )


def test_every_block_of_a_race_has_its_conditions(history: History) -> None:
    """Wrong variant: the readings of one session replace those of the one before."""
    (races,) = [value for name, value in history.finished["races"].items() if name == history.race]
    read = {(each["heat"], each["block"]) for each in races["readings"]}
    finished = {
        pair
        for e in history.finished["benchmarks"]
        for pair in zip(*(e["extra_info"][n] for n in ("heat", "block")), strict=True)
    }
    assert read >= finished
    assert all(each["seconds"] > 0 for each in races["readings"])


def test_entries_are_those_of_the_format(history: History) -> None:
    for entry in history.folder.timings():
        info = entry["extra_info"]
        assert entry["group"] == RACE == "/".join(info["asked"][n] for n in ("technique", "workload", "operation"))
        assert info["key"] == key_of(info["asked"])
        told = "-".join(str(info["asked"][n]) for n in ("implementation", "precision", "scale", "backend", "device"))
        file = "benchmarks/bench_additive_attention.py"
        assert entry["fullname"] == f"{file}::{entry['name']}" == f"{file}::test_race[{ITEMS}-{told}]"
        assert info["memory"]["peak_bytes"] > info["memory"]["baseline_bytes"] > 1 << 20
        assert info["call_s"] > 0
        assert info["start_s"] > 0
        assert info["build_s"] is info["first_call_s"] is None, "at quick scale several build at the same time"
        assert (info["traces"] > 0, info["items"]) == (True, SMALLEST.parameters["batch"])
        assert info["warm_up"][0] > 0
        work = info["cost"]
        assert work["bytes"] > 0
        assert (work["multiply_adds"] == 0) == (info["asked"]["implementation"] == "control-copy")
        assert info["loops"] * min(entry["stats"]["data"]) >= PLANS["quick"].round_s / 20
        words = shlex.split(info["command"])
        assert words[:5] == ["tox", "run", "-e", "test", "--"]
        assert words[5:8] == ["benchmarks/bench_additive_attention.py", "-k", ITEMS]  # the whole race


def test_pytest_benchmark_compares_the_file(history: History) -> None:
    program = "from pytest_benchmark.cli import main; main()"
    command = [sys.executable, "-c", program, "compare", str(history.folder.path / "timings.json")]
    compared = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr
    assert f"benchmark '{RACE}': {len(FINISHERS)} tests" in compared.stdout
    for name in ("reference", "without"):
        assert f"test_race[{ITEMS}-{name}-float32-quick-tensorflow-cpu]" in compared.stdout


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1))
def test_a_recorded_clock_plays_every_duration_exactly(durations: list[float]) -> None:
    clock = Recorded()
    play, shown = clock.player(durations), []
    for _ in durations:
        began = clock()
        play()
        shown.append(clock() - began)
    assert shown == durations
    assert json.loads(json.dumps(shown)) == durations


def test_entries_of_other_programs_stay_in_the_file(history: History, tmp_path: Path) -> None:
    """A session that continues the folder had ended in a KeyError."""
    facts: Row = {key: value for key, value in history.folder.run.items() if key not in ("format", "created")}
    folder, entry = RunFolder.resume(tmp_path / "run", facts), history.folder.timings()[0]
    mine: Row = {"name": "test_mine", "fullname": "test_mine", "stats": {}, "extra_info": {}}
    folder.write_timings({"benchmarks": [mine], "machine_info": {}})
    timings = Timings(folder)
    timings.put({}, entry)
    timings.write()
    assert folder.timings_file()["benchmarks"] == [mine, entry]
    assert folder.timings() == [entry]


def test_the_journal_of_a_torn_block_is_continued(history: History, tmp_path: Path) -> None:
    """A line that a kill tore is dropped when the folder is resumed, and the next block has a line of its own."""
    facts: Row = {key: value for key, value in history.folder.run.items() if key not in ("format", "created")}
    folder = RunFolder.resume(tmp_path / "run", facts)
    folder.append("races/r.jsonl", {"heat": 0, "block": 0, "rounds": [["k", 0.1]]})
    with (folder.path / "races/r.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"heat":0,"block":1,"rou')
    RunFolder.resume(folder.path, facts).append("races/r.jsonl", {"heat": 1, "block": 0, "rounds": [["k", 0.2]]})
    assert journalled(folder) == {"k": [Round(0, 0, 0.1), Round(1, 0, 0.2)]}
