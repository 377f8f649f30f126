"""What a gate calls a regression, what it says of it, and how it ends. Numbers are invented, and known."""

import configparser
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.pages import gate
from reports.pages.gate import Exit, Verdict
from reports.store.run_folder import PROPERTIES, Row
from reports.tables import alerts
from reports.tables.alerts import Alert, Kind
from reports.tables.frames import Tables, read
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import row_of, setting

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = [f"source-{number}" for number in range(8)]


def raced(path: Path, ratios: Mapping[str, float], seed: int = 0, **beside: Any) -> Tables:
    """Races of the working tree's reference, itself, and the revision's, which is so many times as fast in each."""
    rng, folder = np.random.default_rng([seed, 20]), synthetic.begin(path)
    entries: list[Row] = []
    for workload in WORKLOADS:
        times: dict[races.Named, float] = {
            ("reference", "float32"): 0.01,
            ("again", "float32"): 0.01,
            ("reference", "float32", "tree=abc"): 0.01 / ratios.get(workload, 1.0),
        }
        found = list(races.race(rng, "additive_attention", workload, {"source": 1}, "train", times, blocks=8))
        for entry in found:
            if entry["extra_info"]["asked"].get("variation") and workload in beside.get("noisy", ()):
                heats, data = entry["extra_info"]["heat"], entry["stats"]["data"]
                entry["stats"]["data"] = [y * (1.0, 1.6, 0.8, 1.2)[heat] for y, heat in zip(data, heats, strict=True)]
            if entry["extra_info"]["asked"].get("variation") and workload in beside.get("smaller", ()):
                memory = entry["extra_info"]["memory"]
                memory["peak_bytes"] = memory["baseline_bytes"] + (100 << 20)
                memory["peak_bytes_by_heat"] = [memory["peak_bytes"]] * len(memory["peak_bytes_by_heat"])
        entries += found
    failures = beside.get("failures", [])
    kept = [each for each in entries if each["extra_info"]["key"] not in {failure["key"] for failure in failures}]
    folder.write_timings({"benchmarks": kept, "failures": failures, "races": {}, "version": "5.3.1"})
    return read([folder.path])


def failure_of(workload: str, variation: Row) -> Row:
    """A contender that did not finish."""
    asked = setting("additive_attention", "reference", "float32")
    asked |= {"workload": workload, "parameters": {"source": 1}, "operation": "train", "seed": 0} | variation
    return row_of(asked) | {
        "reason": "ValueError: no",
        "phase": "build",
        "race": "r",
        "rounds": [],
        "outcome": "failed",
    }


def test_a_planted_slowdown_is_found_and_named(tmp_path: Path) -> None:
    """Wrong variants: ratios upside down, which call it an improvement; memory that is never looked at."""
    found = alerts.of_races(raced(tmp_path / "a", {"source-3": 1.25, "source-5": 0.7}, smaller=["source-6"]), 1.02)
    kinds = {(alert.kind, alert.benchmark) for alert in found}
    assert (Kind.SLOWER, "additive_attention/source-3/train") in kinds
    assert (Kind.FASTER, "additive_attention/source-5/train") in kinds
    assert (Kind.MORE_MEMORY, "additive_attention/source-6/train") in kinds
    assert len(kinds) == 3
    (slower,) = (alert for alert in found if alert.kind is Kind.SLOWER)
    assert slower.low is not None
    assert slower.high is not None
    assert slower.low < 1.25 < slower.high
    assert slower.command.startswith("python -m pytest")


def test_what_is_real_but_small_does_not_matter(tmp_path: Path) -> None:
    """Wrong variant: the size that matters is not looked at."""
    tables = raced(tmp_path / "a", {"source-3": 1.25})
    assert alerts.of_races(tables, 1.3) == []
    assert len(alerts.of_races(tables, 1.1)) == 1


def test_a_revision_against_itself_is_no_regression(tmp_path: Path) -> None:
    """Of 40 gates with eight races each at most one cries wolf, which is more than twice in a row would."""
    first = [alerts.of_races(raced(tmp_path / f"{seed}", {}, seed), 1.02) for seed in range(40)]
    again = [alerts.of_races(raced(tmp_path / f"again-{seed}", {}, seed + 1000), 1.02) for seed in range(40)]
    red = [
        [each for each in alerts.confirmed(once, twice) if each.is_red]
        for once, twice in zip(first, again, strict=True)
    ]
    assert sum(map(bool, first)) <= 4
    assert sum(map(bool, red)) == 0


def test_a_race_that_could_hide_a_slowdown_is_not_passed_over(tmp_path: Path) -> None:
    """Wrong variant: the noisier the machine, the greener the gate."""
    found = alerts.of_races(raced(tmp_path / "a", {}, noisy=["source-2"]), 1.02)
    assert [(alert.kind, alert.benchmark) for alert in found] == [
        (Kind.UNMEASURED, "additive_attention/source-2/train")
    ]
    assert "too noisy: it could take up to 1." in gate.told(found[0])


def test_a_failure_is_one_where_the_revision_did_not_fail(tmp_path: Path) -> None:
    """Wrong variants: what fails on both sides closes the gate; what fails on this side alone is passed over."""
    ours, theirs = failure_of("source-1", {}), failure_of("source-2", {"variation": {"tree": "abc"}})
    found = {
        alert.benchmark: alert for alert in alerts.of_races(raced(tmp_path / "a", {}, failures=[ours, theirs]), 1.02)
    }
    assert found["additive_attention/source-1/train"].kind is Kind.FAILED
    assert found["additive_attention/source-2/train"].kind is Kind.UNMEASURED
    assert "ValueError: no" in found["additive_attention/source-1/train"].detail


def test_a_race_that_the_revision_cannot_run_is_new_and_one_that_did_not_run_is_told(tmp_path: Path) -> None:
    """Wrong variants: every new benchmark ends in "could not be measured"; a session that stopped half way is green."""
    new = failure_of("source-2", {"variation": {"tree": "abc"}}) | {"outcome": "not provided"}
    tables = raced(tmp_path / "a", {}, failures=[new])
    assert alerts.of_races(tables, 1.02) == []
    assert alerts.races_of(tables) == {f"additive_attention/{workload}/train" for workload in WORKLOADS}
    assert Verdict("main", 1.02, [alerts.not_raced("t/w/train")], raced=1).exit is Exit.UNMEASURED


def proved(path: Path, **outcomes: str) -> Tables:
    """Properties with these outcomes."""
    folder, asked = synthetic.begin(path), setting("residual", "reference", "float32")
    for name, outcome in outcomes.items():
        folder.append(
            PROPERTIES, synthetic.property_row(asked, name, outcome, message="a number" * (outcome == "failed"))
        )
    return read([folder.path])


def test_a_property_that_broke_in_three_precisions_broke_once(tmp_path: Path) -> None:
    folder = synthetic.begin(tmp_path / "now")
    for precision in ("float32", "mixed_float16"):
        asked = setting("residual", "reference", precision)
        folder.append(PROPERTIES, synthetic.property_row(asked, "broke", "failed", message="got 1, expected 2"))
    (alert,) = alerts.of_properties(read([folder.path]), None)
    assert alert.detail == "in float32, mixed_float16: got 1, expected 2"


def test_a_property_that_broke_is_red_and_one_that_never_held_is_not(tmp_path: Path) -> None:
    """Wrong variants: every failure is a regression; a property that nobody knew before may fail."""
    now = proved(tmp_path / "now", kept="passed", broke="failed", never="failed", mended="passed", new="failed")
    before = proved(tmp_path / "before", kept="passed", broke="passed", never="failed", mended="failed")
    found = {(alert.benchmark, alert.kind) for alert in alerts.of_properties(now, before)}
    assert found == {
        ("residual/broke", Kind.BROKEN),
        ("residual/new", Kind.BROKEN),
        ("residual/mended", Kind.MENDED),
    }


def test_what_is_there_no_more_is_red() -> None:
    """Wrong variants: a benchmark that was removed passes; one that is new is called."""
    (gone,) = alerts.vanished({"a/b/train", "a/c/train"}, {"a/b/train", "a/d/train"})
    assert gone.is_red
    assert gone.benchmark == "a/d/train"


SLOW = Alert(Kind.SLOWER, "t/w/train", "time", 1.08, 1.05, 1.11, 1.01, "tox run -e test -- x")
FAST = Alert(Kind.FASTER, "t/v/train", "time", 0.9, 0.88, 0.93, 1.01, "tox run -e test -- y")
UNMEASURED = Alert(Kind.UNMEASURED, "t/u/train", "time", detail="the revision: no <b>name</b> | pipe")


def test_what_one_run_alone_shows_is_not_called() -> None:
    """Wrong variants: the first run decides; the second alone does."""
    other = Alert(Kind.SLOWER, "t/other/train", "time", 1.2)
    assert alerts.confirmed([SLOW, FAST], [other]) == [FAST]
    assert alerts.confirmed([SLOW, FAST], [SLOW]) == [SLOW, FAST]
    noisy = Alert(Kind.UNMEASURED, SLOW.benchmark, "time", detail="too noisy")
    (unknown,) = alerts.confirmed([SLOW], [noisy])
    assert (unknown.kind, unknown.detail) == (Kind.UNMEASURED, "slower at first, and then too noisy")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], Exit.OPEN),
        ([FAST], Exit.OPEN),
        ([UNMEASURED, FAST], Exit.UNMEASURED),
        ([UNMEASURED, SLOW], Exit.REGRESSION),
    ],
)
def test_how_a_gate_ends(found: list[Alert], expected: Exit) -> None:
    assert Verdict("main", 1.02, found, raced=3).exit is expected


def test_every_form_names_the_regression_first_and_lets_nothing_through() -> None:
    """Wrong variants: markup of a message that Markdown or XML takes for its own; improvements on top."""
    verdict = Verdict("main (abc)", 1.02, [UNMEASURED, FAST, SLOW], [SLOW], raced=3, proved=2)
    text, page = gate.text(verdict), gate.markdown(verdict)
    assert text.startswith(
        "1 regression against main (abc), of 3 races and 2 properties.\n  ! t/w/train: slower, 1.080"
    )
    assert page.startswith(gate.MARK)
    assert "\\<b\\>name\\</b\\> \\| pipe" in page
    assert page.index("t/w/train") < page.index("t/v/train")
    suite = ElementTree.fromstring(gate.junit(verdict))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    rows = json.loads(gate.as_json(verdict))["alerts"]
    assert rows[0] | {"command": ""} == rows[0] | {
        "command": "",
        "benchmark": "t/w/train",
        "ratio": 1.08,
        "floor": 1.01,
    }


def test_nothing_changed_is_one_line() -> None:
    """Wrong variant: an empty table."""
    assert gate.markdown(Verdict("main", 1.02, [])).count("\n") == 2
    assert gate.text(Verdict("main", 1.02, [])) == "Nothing that is measured has changed against main."
    gone = alerts.vanished((), ["t/w/train"])
    assert gate.text(Verdict("main", 1.02, gone)).startswith("1 regression against main, of what was planned.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-revision"], "git knows no such revision here"),
        (["HEAD", "--size", "0"], "expected more than 0"),
        (["HEAD", "--output", "suites"], "suites exists; name a new folder"),
        (["HEAD", "--technique", "nonsense"], "expected one of additive_attention"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_measured(words: list[str], said: str) -> None:
    run = [sys.executable, "-m", "reports", "gate", *words]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == int(Exit.ERROR)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_summary_of_a_github_job_reaches_the_gate() -> None:
    """Wrong variant: tox keeps the variable to itself, and the job's summary stays empty."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    assert "GITHUB_STEP_SUMMARY" in tox["testenv"]["pass_env"].split()


def test_a_technique_that_is_there_no_more_closes_the_gate(tmp_path: Path) -> None:
    """Wrong variant: only what the working tree still has is looked at."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(clone)], check=True)
    for name in ("reports", "suites", "benchmarks"):  # as they are now, committed or not
        shutil.copytree(ROOT / name, clone / name, dirs_exist_ok=True)
    (clone / "benchmarks" / "bench_initialization.py").unlink()
    run = [sys.executable, "-m", "reports", "gate", "HEAD", "--only", "races", "--technique", "initialization"]
    done = subprocess.run(run, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == int(Exit.REGRESSION), done.stderr
    assert "initialization/" in done.stdout
    assert "a benchmark vanished" in done.stdout
