"""How trials are run and kept: whatever one does, no other is lost, and what is finished is never trained again."""

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from reports.store.run_folder import key_of
from reports.tables import frames as tables
from suites.claims.claim import Outcome, Trial
from suites.claims.pool import Done, Failure, Job, Pool
from suites.claims.studies import Studies, Study
from suites.claims.training import prepared
from suites.implementations import ROOT
from suites.selftest.invented_claims import CLAIM, UNTUNED, Folder, Here, misbehave, plan_of, train

MODULE = "suites.selftest.invented_claims"


def study_of(folder: Folder, **options: Any) -> Study:
    """A study of the invented claim."""

    def row(asked: Any, **fields: Any) -> dict[str, Any]:
        return {"key": key_of(asked), "asked": asked, **fields}

    claim, function, name = (options.get(each) for each in ("claim", "train", "name"))
    plan = plan_of(claim or CLAIM, name=name or "invented")
    return Study(plan, MODULE, function or train, cast(Any, folder), row)


def session(*studies: Study, size: int = 2) -> tuple[Studies, Here]:
    here = Here(size)
    found = Studies(lambda: here)
    found.all += studies
    return found, here


def test_every_trial_gets_a_row_and_the_next_session_trains_none() -> None:
    """Wrong variants: a key without the rate or the purpose, so that rows are taken for each other."""
    folder = Folder()
    study = study_of(folder)
    studies, here = session(study)
    assert studies.run(study)
    keys = [row["key"] for row in folder.rows]
    assert len(keys) == len(set(keys)) == len(here.begun) > 20
    assert study.left() == []
    assert folder.rows[0]["metrics"] == {"loss": 1.0}
    assert (folder.rows[0]["steps"], folder.rows[0]["clock"], folder.rows[0]["digest"]) == ([1], [0.1], "d")
    again = study_of(folder)
    studies, here = session(again)
    assert studies.run(again)
    assert here.begun == []


def test_a_session_that_ends_early_says_what_is_left_and_the_next_one_trains_that() -> None:
    """Wrong variant: what is left is named by keys that no session ever writes."""
    folder = Folder()
    study = study_of(folder)
    studies, here = session(study)
    assert not studies.run(study, until=lambda: -1.0)
    assert here.begun == []
    left = study.left()
    next_one = study_of(folder)
    studies, _ = session(next_one)
    studies.run(next_one)
    assert set(left) <= {row["key"] for row in folder.rows}


def test_studies_share_the_processes_and_one_that_measures_time_is_alone() -> None:
    """Wrong variants: one study waits for another's last trial; a timed trial runs beside others."""
    folder = Folder()
    first = study_of(folder, claim=UNTUNED, name="first")
    alone = study_of(folder, claim=dataclasses.replace(UNTUNED, alone=True), name="alone")
    last = study_of(folder, claim=UNTUNED, name="last")
    studies, here = session(first, alone, last, size=3)
    for study in (first, alone, last):
        assert studies.run(study)
    assert {"first", "last"} in here.together
    assert all(together == {"alone"} for together in here.together if "alone" in together)
    assert len(here.begun) == 3 * len(first.done)


def test_where_time_is_short_every_claim_is_seen_as_published_before_any_is_tuned() -> None:
    """Wrong variant: the first claim takes all the time."""
    folder = Folder()
    all_of_them = [study_of(folder, name=name) for name in ("a", "b", "c")]
    studies, here = session(*all_of_them, size=1)
    studies.run(all_of_them[0], by_stage=True)
    purposes = [trial.purpose for trial in here.begun]
    first_tuned = purposes.index("tune")
    assert {trial.claim for trial in here.begun[:first_tuned]} == {"a", "b", "c"}


def test_failures_are_rows_and_are_tried_again_by_the_next_session() -> None:
    """Wrong variants: a failure that stops the study; one that counts as measured; an exception's text over lines."""
    folder = Folder()

    def fail(trial: Trial) -> Outcome:
        if trial.seed == 0 and trial.arm == "arm":
            raise ValueError("planted\nin two lines")
        return train(trial)

    study = study_of(folder, claim=UNTUNED, train=fail)
    studies, here = session(study)
    assert studies.run(study)
    (reason, _) = study.failed.values()
    assert reason.startswith("ValueError: planted (fail, line ")
    failed = [row for row in folder.rows if row.get("outcome") == "failed"]
    assert [row["metrics"] for row in failed] == [{}, {}]
    again = study_of(folder, claim=UNTUNED)
    studies, here = session(again)
    assert studies.run(again)
    assert [(trial.arm, trial.seed) for trial in here.begun] == [("arm", 0), ("arm", 0)]


def test_what_needs_data_that_is_not_here_is_not_run_and_says_how_to_get_it() -> None:
    """Wrong variant: every trial of it fails, one after the other."""
    folder = Folder()
    study = study_of(folder, train=lambda trial: misbehave(dataclasses.replace(trial, seed=3)))
    studies, here = session(study, size=1)
    assert studies.run(study)
    assert study.absent == "no data; to get it: python -m datasets.fetch it"
    assert len(here.begun) == 1
    assert folder.rows[0]["outcome"] == "not run"
    assert not study.failed


def test_a_trial_must_end_with_what_its_claim_declares() -> None:
    folder = Folder()
    study = study_of(folder, claim=UNTUNED, train=lambda _: Outcome({"other": 1.0}))
    studies, _ = session(study)
    studies.run(study)
    assert "must end with the metrics ['loss']" in next(iter(study.failed.values()))


@pytest.mark.isolated("pool")
def test_whatever_a_trial_does_it_ends_its_own_process_alone() -> None:
    """Wrong variants: a killed process waited for for ever; its lane without a process from then on."""
    pool = Pool(2, limit_s=3.0)
    trials = {t.seed: t for _, t in plan_of(UNTUNED).wanted({}) if t.arm == "arm" and t.condition == {"size": 2}}
    waiting = [Job(trial, misbehave, ("lane",)) for _, trial in sorted(trials.items())]
    found: dict[int, Done] = {}
    while waiting or pool.busy():
        while waiting and pool.free():
            waiting.remove(pool.start(waiting))
        found |= {done.trial.seed: done for done in pool.wait(1.0)}
    pool.close()
    results = {seed: done.result for seed, done in found.items()}
    assert isinstance(results[5], Outcome)
    reasons = {seed: each.reason for seed, each in results.items() if isinstance(each, Failure)}
    assert reasons[0].startswith("ValueError: planted (misbehave, line ")
    assert "was killed by SIGKILL (out of memory?)" in reasons[1]
    assert "did nothing for 3 s and did not come back" in reasons[2]
    assert "in misbehave" in reasons[2], "it says where it was"
    assert cast(Failure, results[3]).outcome == "not run"
    assert "ended with status 7" in reasons[4]


SLOW = """
import time
from suites.claims.trials import test_claim
from suites.selftest import invented_claims
from suites.selftest.invented_claims import CLAIM

def train(trial):
    time.sleep(0.1)
    return invented_claims.train(trial)
"""


def test_a_session_killed_at_any_moment_loses_no_finished_trial(tmp_path: Path) -> None:
    """A claim that is killed twice, against one that ran whole: the same trials, none twice; reports at any time."""
    claim = tmp_path / "test_slow.py"
    claim.write_text(SLOW)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "conftest", "-p", "suites.claims.conftest"]  # which are found by their folders, else
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(claim), "--workers", "2", "--results"]
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    for rows in (2, 9):
        process = subprocess.Popen([*command, str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < until and len(trials_of(folder)) < rows:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert len(trials_of(folder)) >= rows, "nothing was finished"
        assert tables.read([folder])["claims"]["verdict"].unique().tolist() == ["undecided"]
    for each in (folder, whole):
        done = subprocess.run([*command, str(each)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
        assert done.returncode == 0, done.stdout[-2000:]
    keys = [[row["key"] for row in trials_of(each)] for each in (folder, whole)]
    assert len(set(keys[0])) == len(keys[0])
    assert set(keys[0]) == set(keys[1])
    assert tables.read([folder])["claims"]["verdict"].unique().tolist() == ["reproduced"]


@pytest.mark.isolated("pool")
def test_a_process_that_waits_for_trials_holds_nothing_of_others() -> None:
    """Wrong variant: it inherits the pipes of others, who wait for their end, and whoever closes one hangs."""
    ours, theirs = os.pipe()
    pool = Pool(1, limit_s=60.0)
    trial = plan_of(UNTUNED).wanted({})[0][1]
    pool.start([Job(trial, train, ("lane",))])
    while pool.busy():
        pool.wait(1.0)
    os.close(theirs)
    assert select.select([ours], [], [], 10.0)[0], "somebody else holds the other end"
    assert os.read(ours, 1) == b""
    pool.close()


@pytest.mark.isolated("pool")
def test_a_kept_network_is_of_one_claim_and_starts_as_its_seed_says() -> None:
    """Wrong variants: claims whose arms have the same names share a network; the first seed's weights for all."""
    import keras

    def build(trial: Trial) -> Any:
        layers = [keras.layers.Dense(3 if trial.claim == "one" else 4), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((2,)), *layers])
        model.compile(keras.optimizers.SGD(), "mse")
        return model

    (_, trial), *_ = plan_of(UNTUNED, name="one").wanted({})
    first = prepared(trial, build).get_weights()
    model = prepared(dataclasses.replace(trial, seed=1), build)
    second = model.get_weights()
    assert not np.array_equal(first[0], second[0])
    model.set_weights([0 * weight for weight in second])
    assert prepared(trial, build) is model, "what is compiled is kept"
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), first, strict=True))
    assert prepared(dataclasses.replace(trial, claim="another"), build).layers[0].units == 4


def trials_of(folder: Path) -> list[dict[str, Any]]:
    """The whole rows of a run folder's trials."""
    path = folder / "trials.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def test_a_rerun_is_told_from_another_result(tmp_path: Path) -> None:
    """A real claim: bit-identical as it is, different where a row says otherwise, and what has changed is named.

    Wrong variants: metrics alone are compared; a digest of nothing; a changed package that nobody hears of.
    """
    folder = tmp_path / "run"
    claim = "suites/claims/test_he_keeps_signals_alive.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", claim, "--results", str(folder)]
    done = subprocess.run([*command, "--minutes", "1.2"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    rows = trials_of(folder)[:3]
    rows[1]["digest"] = "0" * 32
    rows[1]["metrics"]["training_loss"] += 10.0
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = json.loads((folder / "run.json").read_text())
    assert run["fingerprints"].keys() == {"tensorflow/cpu"}
    run["environment"]["numpy"] = "0.1"
    run["fingerprints"]["tensorflow/cpu"] = "other"
    (folder / "run.json").write_text(json.dumps(run))
    rerun = [sys.executable, "-m", "suites.claims.reproduce", str(folder)]
    done = subprocess.run(rerun, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr[-2000:]
    assert "2 bit-identical, 1 different" in done.stdout or "1 different, 2 bit-identical" in done.stdout
    assert "changed: environment, numpy: it was 0.1, and is " in done.stdout
    assert "changed: what tensorflow computes on this cpu, bit for bit" in done.stdout
    assert rows[1]["key"] in next(line for line in done.stdout.splitlines() if line.startswith("different"))
    done = subprocess.run([*rerun, "zz"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no trial has a key that begins with 'zz'" in done.stderr
