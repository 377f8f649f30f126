"""The program that counts false alarms and misses: that it races what it says, and counts what is there."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.harness.client import Server, Site
from reports.statistics.intervals import Interval, step_ratio, t_interval
from suites.selftest import detection

SETTINGS = {"slowdown": 5, "seconds": 10.0, "neighbour": 0.0}


def row(role: str, kind: str, percent: float, spread: float = 0.1) -> str:
    """A pair of five heats that differ by so many per cent, give or take."""
    center = math.log1p(percent / 100)
    ratio: Interval = t_interval([center + spread / 100 * offset for offset in (-2, -1, 0, 1, 2)], "heats").exp()
    return json.dumps({"role": role, "kind": kind, **SETTINGS, **vars(ratio)})


def test_what_is_called_different_and_what_is_found_is_counted(tmp_path: Path) -> None:
    """Wrong variants: a faster A/A pair is none; a slowed pair that looks faster is found; the floor is not asked."""
    rows = [row("floor", "graph", each) for each in (0.2, -0.2, 0.3, -0.1)]
    rows += [row("same", "graph", each) for each in (0.1, 3.0, -3.0)] + [row("same", "python", 0.3)]
    rows += [row("slowed", "graph", each) for each in (5.0, -5.0)] + [row("slowed", "training", 5.0, spread=9.0)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n")
    said = detection.report(path)
    assert "same, graph: 2 of 3 called different (66.7%)" in said
    assert "same, python: 0 of 1 called different (0.0%)" in said, "below the floor, narrow as its interval is"
    assert "slowed, graph: 1 of 2 found (50.0%)" in said
    assert "slowed, training: 0 of 1 found (0.0%)" in said


def test_pairs_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("same", "graph", 0.0) + "\n")
    assert detection.done_under(SETTINGS, path) == 1
    assert detection.done_under(SETTINGS, tmp_path / "none.jsonl") == 0
    with pytest.raises(SystemExit, match="other settings"):
        detection.done_under(SETTINGS | {"seconds": 60.0}, path)


@pytest.mark.parametrize("kind", detection.KINDS)
def test_twice_the_pieces_take_twice_as_long(kind: str) -> None:
    """Wrong variant: pieces that a compiler folds into one."""
    server = Server(Site("tensorflow", "cpu"))
    try:
        server.wait_until_ready()
        usual, slow = detection.pair(server, kind, 0, (detection.PIECES, 2 * detection.PIECES), seconds=4.0)
    finally:
        server.close()
    assert step_ratio(slow, usual).estimate == pytest.approx(2.0, rel=0.25)
