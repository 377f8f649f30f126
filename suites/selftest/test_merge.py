"""Parts of a session that ran apart, and their run folders as one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reports.__main__ import main
from reports.store.run_folder import RunFolder
from reports.tables import frames as tables
from suites.minutes import in_shard
from suites.recording import ASKED
from suites.selftest.synthetic_rows import Machine
from suites.selftest.synthetic_run import write_run


def test_every_item_is_of_one_shard_and_races_stay_whole() -> None:
    """Wrong variants: parts by position, which differs where rows are held already; a race torn apart."""

    def item(name: str, **asked: Any) -> pytest.Item:
        return cast(pytest.Item, SimpleNamespace(nodeid=name, stash={ASKED: asked} if asked else {}))

    race = {"technique": "t", "workload": "w", "operation": "train"}
    items = [item(f"test_{number}") for number in range(200)]
    raced = [item(f"race_{number}", **race, implementation=str(number)) for number in range(5)]
    shards = [[each for each in items if in_shard(each, part, 3)] for part in (1, 2, 3)]
    assert sum(map(len, shards)) == 200
    assert min(map(len, shards)) > 40
    assert sum(all(in_shard(each, part, 3) for each in raced) for part in (1, 2, 3)) == 1
    assert sum(any(in_shard(each, part, 3) for each in raced) for part in (1, 2, 3)) == 1


def test_parts_of_a_run_are_merged_into_what_one_session_would_have_written(tmp_path: Path) -> None:
    """Wrong variants: sessions or failures lost; rows that both hold kept twice."""
    whole = write_run(tmp_path / "whole")
    parts = [
        write_run(tmp_path / "a", parts="properties trials"),
        write_run(tmp_path / "b", parts="timings failures trials"),
    ]
    assert main(["merge", str(tmp_path / "merged"), *(str(part.path) for part in parts)]) == 0
    merged = RunFolder.open(tmp_path / "merged")
    assert merged.keys() == whole.keys()
    for name in ("properties", "trials", "failures", "timings"):
        assert len(getattr(merged, name)()) == len(getattr(whole, name)()), name
    assert len(merged.run["sessions"]) == 2
    read = [tables.read([tmp_path / name])["claims"]["verdict"].tolist() for name in ("whole", "merged")]
    assert read[0] == read[1]


def test_what_cannot_be_merged_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong variants: rows of two machines under the name of one; a folder that is there overwritten."""
    here = write_run(tmp_path / "here", parts="properties")
    there = write_run(tmp_path / "there", Machine(name="another"), parts="properties")
    assert main(["merge", str(tmp_path / "out"), str(here.path), str(there.path)]) == 2
    assert "was measured in another machine" in (error := capsys.readouterr().err)
    assert f"python -m reports report {here.path} {there.path}" in error
    assert not (tmp_path / "out").exists()
    assert main(["merge", str(here.path), str(here.path)]) == 2
    assert "exists; name a new folder" in capsys.readouterr().err
