"""``--minutes``: what comes first, what is left out, and that it is named and measured by the next session."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from suites import minutes
from suites.implementations import ROOT
from suites.minutes import SHARES, Minutes, in_order, kind_of
from suites.recording import ASKED

PRECISIONS = ("float32", "mixed_float16")


def item(**asked: Any) -> pytest.Item:
    """An item that is asked this."""
    config = SimpleNamespace(option=SimpleNamespace(precision=PRECISIONS))
    return cast(pytest.Item, SimpleNamespace(stash={ASKED: asked} if asked else {}, config=config, asked=asked))


def prop(technique: str, implementation: str, precision: str) -> pytest.Item:
    return item(technique=technique, property="p", implementation=implementation, precision=precision)


def race(technique: str, workload: str, implementation: str = "reference") -> pytest.Item:
    return item(technique=technique, workload=workload, operation="train", implementation=implementation)


def test_what_tells_most_comes_first() -> None:
    """Wrong variants: file by file, so that the last techniques get nothing; a race whose contenders are torn apart."""
    expected = [
        item(),
        *[prop(name, "reference", "float32") for name in "ab"],
        *[prop(name, "reference", "mixed_float16") for name in "ab"],
        *[prop(name, "keras", "float32") for name in "ab"],
        *[prop(name, "keras", "mixed_float16") for name in "ab"],
        item(technique="a", claim="c", arm="x", implementation="reference", precision="float32"),
        *[race("a", "first"), race("a", "first", "without"), race("b", "first")],
        *[race("a", "second"), race("a", "second", "without"), race("a", "third")],
    ]
    by_file = sorted(expected, key=lambda each: (str(each.asked.get("technique", "")), expected.index(each)))  # type: ignore[attr-defined]
    assert in_order(by_file) == expected


class Clock:
    """A session's plugin, of ten minutes, with a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, items: list[pytest.Item], report: bool = False) -> None:
        self.now = 1000.0
        monkeypatch.setattr(minutes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(minutes.time, "time", lambda: 50.0)
        monkeypatch.setattr(minutes.psutil, "Process", lambda: SimpleNamespace(create_time=lambda: 20.0))
        config: Any = SimpleNamespace(option=SimpleNamespace(minutes=10.0, report=report))
        self.plugin = Minutes(config)
        self.plugin.pytest_collection_finish(cast(Any, SimpleNamespace(items=items)))

    def over(self, each: pytest.Item, at: float) -> bool:
        self.now = at
        return self.plugin.over(each)


def test_the_session_ends_when_its_minutes_are_over_and_its_report_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: they begin when pytest is there, or leave nothing for the report."""
    only = race("a", "first")
    assert Clock(monkeypatch, [only]).plugin.end == pytest.approx(1000 + 600 - 30)
    assert Clock(monkeypatch, [only], report=True).plugin.end == pytest.approx(1000 + 600 - 30 - 18)


def test_each_kind_has_its_share_and_the_next_gets_what_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = item(technique="a", claim="c", arm="x", implementation="reference", precision="float32")
    of_each = {"property": prop("a", "reference", "float32"), "trial": trial, "race": race("a", "first")}
    clock = Clock(monkeypatch, [*of_each.values()])
    end, shares = 1000.0, 0.0
    for kind in SHARES:
        shares += SHARES[kind]
        end = 1000 + shares * 570
        assert not clock.over(of_each[kind], end - 1)
        if kind != "race":
            assert clock.over(of_each[kind], end + 1)
    assert end == pytest.approx(clock.plugin.end)
    alone = Clock(monkeypatch, [of_each["property"]])
    assert not alone.over(of_each["property"], alone.plugin.end - 1), "of a session that has only one kind, all is its"


def test_a_race_is_begun_only_if_it_may_end_in_time_and_then_is_over_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wrong variants: one begins in the last second; one's later contenders are left out."""
    first, also, second = race("a", "first"), race("a", "first", "again"), race("a", "second")
    clock = Clock(monkeypatch, [first, also, second])
    end = clock.plugin.end
    assert not clock.over(first, end - 100)
    call = clock.plugin.pytest_runtest_call(first)
    next(call)
    clock.now += 40
    with pytest.raises(StopIteration):
        call.send(None)
    assert not clock.over(also, end + 5)
    assert clock.over(second, end - 39)
    assert not clock.over(second, end - 41)


def test_an_item_that_is_left_out_takes_down_what_the_one_before_had_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: the next item, of another file, finds the setup of a file that is through, and fails."""
    first, following = race("a", "first"), race("b", "first")
    clock = Clock(monkeypatch, [first, following])
    torn: list[Any] = []
    hooks = SimpleNamespace(pytest_runtest_logstart=lambda **_: None, pytest_runtest_logfinish=lambda **_: None)
    state = SimpleNamespace(_setupstate=SimpleNamespace(teardown_exact=torn.append))
    vars(first).update(ihook=hooks, session=state, nodeid="n", location=("f", 1, "n"))
    config: Any = clock.plugin.config
    config.pluginmanager = SimpleNamespace(get_plugin=lambda _: None)
    config.hook = SimpleNamespace(pytest_deselected=lambda items: None)  # noqa: ARG005
    clock.now = clock.plugin.end + 1
    assert clock.plugin.pytest_runtest_protocol(first, following)
    assert torn == [following]


def session(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments, "--results", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)


def test_what_no_time_was_left_for_is_named_and_measured_by_its_command(tmp_path: Path) -> None:
    """Wrong variants: it is not mentioned, as if there were no more; its command measures something else."""
    folder = tmp_path / "run"
    paths = ["suites/properties/test_additive_attention.py", "benchmarks/bench_additive_attention.py"]
    chosen = ["-k", "weights_are_a_distribution or source-16", "--precision", ",".join(PRECISIONS)]
    done = session(folder, *paths, *chosen, "--minutes", "0.001")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "--minutes 0.001: no time was left for 4 properties and 1 race." in done.stdout
    run = json.loads((folder / "run.json").read_text())
    (ended,) = run["sessions"]
    assert ended["minutes"] == 0.001
    left: list[Mapping[str, Any]] = ended["left_out"]
    assert [(each["kind"], each["name"], len(each["keys"])) for each in left] == [
        ("property", "additive_attention, reference, float32", 1),
        ("property", "additive_attention, reference, mixed_float16", 1),
        ("property", "additive_attention, keras, float32", 1),
        ("property", "additive_attention, keras, mixed_float16", 1),
        ("race", "additive_attention/source-16/train", 6),
    ]
    for each in (left[3], left[4]):
        words = shlex.split(each["command"])
        assert words[:5] == ["tox", "run", "-e", "test", "--"]
        more = [*words[5:], *(["--budget", "0"] if each["kind"] == "race" else ["-k", "weights_are_a_distribution"])]
        again = session(folder, *more)
        assert again.returncode == 0, again.stdout[-2000:]
        rows = [json.loads(line) for line in (folder / "properties.jsonl").read_text().splitlines()]
        timed = folder / "timings.json"
        timings = json.loads(timed.read_text())["benchmarks"] if timed.exists() else []
        keys = {row["key"] for row in rows} | {entry["extra_info"]["key"] for entry in timings}
        assert set(each["keys"]) <= keys


def test_kinds_are_told_by_what_is_asked() -> None:
    assert [kind_of(asked) for asked in ({"workload": "w"}, {"claim": "c"}, {"property": "p"})] == [
        "race",
        "trial",
        "property",
    ]
