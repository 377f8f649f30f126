"""Runs over time: fifty invented nights, of which it is known what changed, when, and by how much."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.__main__ import main
from reports.pages.history import History, render_page
from reports.store import archive
from reports.store.merge import merge
from reports.store.run_folder import PROPERTIES, RUN, TIMINGS, Row, RunFolder
from reports.store.warehouse import Warehouse, content_of
from reports.tables import chapters, history
from reports.tables import outcome_history as outcomes
from reports.verbs.history import _read
from suites.selftest import synthetic_history as nights
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import Machine
from suites.selftest.test_reports import Parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All nights."""
    folder = tmp_path_factory.mktemp("nights")
    nights.write(folder)
    return folder


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Their tables."""
    return _read([str(folder)])


@pytest.fixture(scope="module")
def page(tables: dict[str, pd.DataFrame]) -> History:
    """What the page says."""
    return History(tables)


def night_of(row: Row) -> int:
    """The night of a row, by its revision."""
    return [nights.revision(night) for night in range(nights.NIGHTS)].index(row["revision"])


def test_the_planted_changes_are_found_and_dated_and_no_other(page: History) -> None:
    """Wrong variants: dated to the night before; the change of the environment called one; ratios upside down."""
    found = {
        (night_of(row), *(row[name] for name in ("measure", "technique", "operation", "implementation", "precision")))
        for row in page.changes
    }
    assert found == {
        (each.night, each.measure, each.technique, each.operation, each.implementation, each.precision)
        for each in nights.PLANTED
    }
    for each in nights.PLANTED:
        (row,) = [row for row in page.changes if night_of(row) == each.night]
        assert row["low"] < each.ratio < row["high"]
        assert row["high"] / row["low"] < 1.1
        before, after = (nights.revision(night)[:9] for night in (each.night - 1, each.night))
        assert row["range"] == f"{before}..{after}"
        words = {"time": ("slower", "faster"), "memory": ("more memory", "less memory")}[each.measure]
        assert row["verdict"] == words[each.ratio < 1]


def test_times_are_followed_in_steps_of_the_kernel_that_ran_beside(page: History) -> None:
    """Wrong variant: in seconds, of which the machine's own 5% from night to night would hide what is small."""
    times = [line for line in page.lines if line.measure == history.TIME]
    assert {line.unit for line in times} == {"matrix products"}
    steady = [line for line in times if not line.changes]
    spreads = [segment.found.spread for line in steady for segment in line.segments]
    assert 0.03 < float(np.median(spreads)) < 0.07  # 2% of its own, 0.4% of heats of either, at 95%


def test_another_environment_is_told_package_by_package_and_starts_a_segment(page: History) -> None:
    """Wrong variants: two events for one; a segment that goes on."""
    (event,) = page.events
    assert night_of(event) == nights.UPGRADED
    told = (event["event"], event["setting"], event["before"], event["after"])
    assert told == ("environment", "tensorflow-cpu", nights.BEFORE, nights.AFTER)
    assert {len(line.segments) for line in page.lines} == {2}
    assert {len(line.segments[0].points) for line in page.lines} == {nights.UPGRADED}


def test_what_broke_is_told_from_what_is_asked_otherwise(page: History) -> None:
    """Wrong variants: a new property as a regression; one whose sources changed; a stopped night that breaks all."""
    found = Counter((row["state"], row["name"], night_of(row)) for row in page.outcome_changes)
    assert found == {
        (outcomes.BROKE, "counts_are_exact", nights.BROKEN): 2,
        (outcomes.MENDED, "counts_are_exact", nights.MENDED): 2,
        (outcomes.REDEFINED, "strides_halve", nights.REDEFINED): 4,
        (outcomes.NEW, "rows_sum_to_one", nights.NEW): 4,
        (outcomes.BROKE, "shortcuts_carry_signal", nights.TURNED): 1,
    }
    assert [night_of(run) for run in page.stopped] == [nights.STOPPED]
    (claim,) = page.claims()
    assert (claim["outcome"], claim["since"][:10]) == ("no difference", "2026-02-07")
    assert [(row["before_outcome"], row["before_started"][:10]) for row in claim["past"]] == [
        ("reproduced", "2026-02-06")
    ]


def test_a_stopped_night_does_not_replace_the_last_complete_one(folder: Path) -> None:
    """Wrong variants: what it held until it was killed; nothing at all where it is the last."""
    last = _read([str(path.parent) for path in sorted(folder.rglob(RUN))[: nights.STOPPED + 1]])
    page = History(last)
    assert len(page.runs.rows) == nights.STOPPED + 1
    standing = page.conformance()
    assert {night_of(row) for row in standing} == {nights.STOPPED - 1}
    assert {row["stopped_since"] for row in standing} == {1}
    assert {(row["implementation"], row["passed"], row["of"]) for row in standing} == {
        ("reference", 8, 8),
        ("keras", 6, 8),
    }


def test_a_session_that_was_killed_after_one_that_ended_is_stopped(tmp_path: Path) -> None:
    """Its rows are newer than any end. Wrong variant: the last session that was written down ended, so all did."""
    run = nights.write(tmp_path, 1)[0]
    row = RunFolder.open(run).properties()[0] | {"when": "2027-01-01T00:00:00+00:00", "outcome": "failed"}
    assert bool(chapters.read(run, "a")["runs"]["finished"][0]) is True
    RunFolder(run).append(PROPERTIES, row)
    assert bool(chapters.read(run, "a")["runs"]["finished"][0]) is False


def test_environments_that_take_turns_make_two_segments(tables: dict[str, pd.DataFrame]) -> None:
    """As where a matrix runs on one machine. Wrong variant: a segment a night, in which nothing is ever found."""
    runs = tables["runs"].copy()
    order = runs["started"].rank().astype(int)
    runs["environment"] = [f"e{number % 2}" for number in order]
    page = History(tables | {"runs": runs})
    assert {len(line.segments) for line in page.lines} == {2}
    assert len({event["run"] for event in page.events}) == 1
    found = {night_of(row) - night_of(row) % 2 for row in page.changes if row["ratio"] > 1.25}
    assert nights.PLANTED[1].night in found


def test_a_change_without_a_commit_says_so(tables: dict[str, pd.DataFrame]) -> None:
    """Wrong variant: an empty range, which git takes for nothing to show."""
    runs = tables["runs"].assign(revision="f" * 40, dirty=True)
    ranges = {row["range"] for row in History(tables | {"runs": runs}).changes}
    assert ranges == {"the same revision, fffffffff, with uncommitted changes"}
    ranges = {row["range"] for row in History(tables | {"runs": runs.assign(revision=None)}).changes}
    assert ranges == {"revision not known"}


def test_the_command_writes_a_page_and_tables_that_agree(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: the path not last; tables of other numbers; a page beyond a megabyte."""
    assert main(["history", str(folder), "--output", str(tmp_path / "page")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("50 runs on 1 machine, from 2026-01-05 to 2026-02-23, and 36 lines")
    assert lines[1] == "3 levels changed by more than noise."
    assert "takes 31% more memory since 2026-01-29" in lines[2]
    assert lines[-1] == str(tmp_path / "page" / "index.html")
    changes = list(csv.DictReader((tmp_path / "page" / "changes.csv").read_text(encoding="utf-8").splitlines()))
    assert [round(float(row["ratio"]), 2) for row in changes] == [1.31, 0.80, 1.12]
    points = pd.read_parquet(tmp_path / "page" / "lines.parquet")
    assert len(points) == 50 * 36
    assert (points["band_low"] < points["level"]).all()
    html = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert len(html) < 1_000_000
    parsed = Parsed(html)
    ids = list(parsed.values("id"))
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in parsed.values("href") if link.startswith("#")} <= set(ids)


def test_what_a_folder_says_is_text_on_the_page(folder: Path, tmp_path: Path) -> None:
    """Wrong variant: markup of a run folder that becomes the page's."""
    evil = "<script>alert(1)</script>"
    paths = [path.parent for path in sorted(folder.rglob(RUN))[:2]]
    for number, path in enumerate(paths):
        shutil.copytree(path, tmp_path / str(number))
        run = RunFolder(tmp_path / str(number))
        facts = run.run
        facts["techniques"]["residual"]["title"] = evil
        facts["git"]["revision"] = f"{evil}{number}"
        facts["machine"]["processor"] = evil
        facts["environment"][evil] = f"{evil}{number}"
        facts["environment_hash"] = str(number)
        run.write_run(facts)
    html = render_page(History(_read([str(tmp_path)])))
    assert evil not in html
    assert html.count("&lt;script&gt;alert") > 10


def test_one_run_and_runs_without_timings_are_a_history(tmp_path: Path) -> None:
    """Wrong variants: a mean of nothing; a page that needs a change."""
    whole = synthetic.write_run(tmp_path / "whole")
    page = History(_read([str(whole.path)]))
    assert page.changes == page.events == []
    assert any("too short to look for a change" in sentence for sentence in page.sentences)
    render_page(page)
    proved = synthetic.write_run(tmp_path / "proved", Machine("Another"), parts="properties")
    page = History(_read([str(proved.path)]))
    assert page.lines == []
    assert "Nothing was timed in any run." in render_page(page)
    both = History(_read([str(tmp_path)]))
    assert {event["event"] for event in both.events} == {"machine"}
    render_page(both)


def test_a_store_keeps_what_it_was_given_once(
    folder: Path, page: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: a second adding that doubles rows; a page of what is named now, without what is kept."""
    store = tmp_path / "store"
    paths = [str(path.parent) for path in sorted(folder.rglob(RUN))]
    for named in (paths[:30], paths[20:], []):
        assert main(["history", *named, "--store", str(store), "--output", str(tmp_path / "page")]) == 0
    assert len(list(store.iterdir())) == nights.NIGHTS
    kept = History(Warehouse(store).tables(chapters.OF_HISTORY))
    assert kept.changes == page.changes
    assert kept.outcome_changes == page.outcome_changes
    assert kept.sentences == page.sentences
    assert render_page(kept)
    capsys.readouterr()
    ask = "SELECT count(*) AS rows, count(DISTINCT revision) AS revisions FROM timings WHERE implementation = 'keras'"
    assert main(["history", "--store", str(store), "--sql", ask]) == 0
    assert capsys.readouterr().out.split() == ["rows", "revisions", "400", "50"]


def test_a_run_that_has_grown_and_a_copy_by_merge_count_once(tmp_path: Path) -> None:
    """Wrong variants: rows of both contents; a row in two folders as two measurements."""
    store = Warehouse(tmp_path / "store")
    run = nights.write(tmp_path / "nights", 1)[0]
    properties = (run / PROPERTIES).read_bytes().splitlines(keepends=True)
    (run / PROPERTIES).write_bytes(b"".join(properties[:5]))
    merge(tmp_path / "merged", [RunFolder.open(run)])
    for path in (run, tmp_path / "merged"):
        store.add(content_of(path), chapters.read(path, "a"))
    (run / PROPERTIES).write_bytes(b"".join(properties))
    late = RunFolder(run).run
    late["sessions"].append(late["sessions"][0] | {"finished": "2026-01-06T00:00:00+00:00"})
    RunFolder(run).write_run(late)
    store.add(content_of(run), chapters.read(run, "a"))
    assert len(list(store.folder.iterdir())) == 3
    assert store.answer("SELECT count(*) FROM runs").iloc[0, 0] == 1
    assert store.answer("SELECT count(*) FROM conformance").iloc[0, 0] == len(properties)
    timed = len(RunFolder(run).timings())
    assert store.answer("SELECT count(*) FROM timings").iloc[0, 0] == timed
    page = History(store.tables(chapters.OF_HISTORY))
    assert {len(line.points) for line in page.lines} == {1}


def test_parts_of_a_run_beside_their_whole_count_once(tmp_path: Path) -> None:
    """Wrong variant: what `merge` copied as another run's measurement."""
    night = nights.write(tmp_path / "night", 1)[0]
    for part, hour, left_out in (("a", 2, TIMINGS), ("b", 3, PROPERTIES)):
        shutil.copytree(night, tmp_path / "runs" / part)
        (tmp_path / "runs" / part / left_out).unlink()
        run = RunFolder(tmp_path / "runs" / part)
        began = f"2026-01-05T0{hour}:00:00+00:00"
        session = run.run["sessions"][0] | {"started": began, "finished": f"2026-01-05T0{hour}:30:00+00:00"}
        run.write_run(run.run | {"created": began, "sessions": [session]})
    merge(tmp_path / "runs" / "whole", [RunFolder.open(tmp_path / "runs" / part) for part in "ab"])
    page = History(_read([str(tmp_path / "runs")]))
    assert {len(line.points) for line in page.lines} == {1}
    store = Warehouse(tmp_path / "store")
    for path in (tmp_path / "runs").iterdir():
        store.add(content_of(path), chapters.read(path, path.name))
    assert store.answer("SELECT count(*) FROM timings").iloc[0, 0] == len(RunFolder(night).timings())


def test_a_question_reads_the_store_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    """Wrong variants: a file of this machine in the answer; one that a query writes."""
    path = next(folder.rglob(RUN)).parent
    store = tmp_path / "store"
    Warehouse(store).add(content_of(path), chapters.read(path, "a"))
    for question in (f"SELECT * FROM read_text('{path / RUN}')", f"COPY runs TO '{tmp_path / 'out.csv'}'", "SELEC 1"):
        assert main(["history", "--store", str(store), "--sql", question]) == 2
    assert not (tmp_path / "out.csv").exists()


def test_run_folders_are_found_at_any_depth_and_at_an_address(folder: Path, tmp_path: Path) -> None:
    """Wrong variants: links followed round in a circle; a report beside a run taken for one; a run found twice."""
    shutil.copytree(next(folder.rglob(RUN)).parent, tmp_path / "a" / "b" / "c")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    inner = tmp_path / "a" / "b" / "c" / "report"
    inner.mkdir()
    (inner / RUN).write_text("{}", encoding="utf-8")
    here = str(tmp_path)
    with archive.found([here, f"{here}/a", f"{here}/a/b/c"]) as runs:
        assert [path.resolve() for _, path in runs] == [(tmp_path / "a" / "b" / "c").resolve()]
    (inner / RUN).unlink()
    (tmp_path / "a" / "round").unlink()
    with archive.found([tmp_path.as_uri()]) as runs:
        ((name, path),) = runs
        assert name == f"file://{tmp_path}/a/b/c"
        assert tmp_path not in path.parents
        assert content_of(path) == content_of(tmp_path / "a" / "b" / "c")
    assert not path.exists()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"file": RUN, "old": '"created": "', "new": '"created": "no time '}, "expected a time like"),
        ({"file": RUN, "old": '"format": 1', "new": '"format": 9'}, "format 9"),
        ({"file": TIMINGS, "old": '"benchmarks"', "new": '"benchmarks'}, "no JSON"),
    ],
)
def test_a_broken_run_is_named_in_one_line(
    broken: dict[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: a traceback; a page without the run, as if it had not been."""
    run = nights.write(tmp_path / "nights", 2)[1]
    facts = json.loads((run / RUN).read_text(encoding="utf-8")) | {"sessions": []}
    (run / RUN).write_text(json.dumps(facts), encoding="utf-8")
    text = (run / broken["file"]).read_text(encoding="utf-8")
    assert broken["old"] in text
    (run / broken["file"]).write_text(text.replace(broken["old"], broken["new"], 1), encoding="utf-8")
    assert main(["history", str(tmp_path / "nights"), "--output", str(tmp_path / "page")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert str(run) in line
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a folder"),
        (["{}/nothing"], "is no folder"),
        (["{}"], "there is no run folder in it"),
        (["nowhere://bucket/nights"], "cannot be read"),
        (["--store", "{}/store"], "holds no runs yet"),
        (["--sql", "SELECT 1"], "name one with --store"),
    ],
)
def test_what_cannot_be_done_is_told(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variant: a traceback."""
    assert main(["history", *(each.format(tmp_path) for each in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_store_with_other_files_says_which(tmp_path: Path) -> None:
    """Wrong variants: numbers of somebody else's file; a traceback of a library."""
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(Exception, match=r"a\.parquet is not of this store"):
        Warehouse(tmp_path).answer("SELECT 1")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(Exception, match=r"a\.parquet cannot be read"):
        Warehouse(tmp_path).answer("SELECT 1")
