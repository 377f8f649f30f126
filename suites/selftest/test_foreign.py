"""Other projects' pytest-benchmark JSON becomes a page: `python -m reports import`."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.__main__ import main
from reports.pages import foreign
from reports.pages.foreign import ForeignPage, interval, render_foreign
from reports.plots.kinds import Curves
from reports.store.files import RunFolderError
from reports.store.pytest_benchmark import load, load_file
from reports.tables.foreign import Foreign, read_foreign
from suites.selftest import foreign_files as files
from suites.selftest import synthetic_run as synthetic

REAL = Path(__file__).parent / "foreign"
"""What benchmarks of other projects wrote; its README says which."""

TRIED = int(os.environ.get("TOUCHSTONE_DAMAGES", "20"))
"""How many damages to a file are tried; `TOUCHSTONE_DAMAGES=100000 pytest ...` tries all."""


def rows_of(read: Foreign, name: str = "benchmarks") -> list[dict[str, Any]]:
    return ForeignPage(read).rows if name == "benchmarks" else read.frames[name].to_dict("records")


def test_each_real_file_becomes_a_page_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong variants: a null group, one sample, or parameters that could not be serialised end in a traceback."""
    for project in sorted(path for path in REAL.iterdir() if path.is_dir()):
        out = tmp_path / project.name
        assert main(["import", str(project), "--output", str(out)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
        held = [
            entry["fullname"]
            for path in project.rglob("*.json")
            for entry in json.loads(path.read_text())["benchmarks"]
        ]
        shown = pd.read_parquet(out / "benchmarks.parquet")
        assert sorted(shown["fullname"]) == sorted(held)
        assert (shown["seconds"] > 0).all()


def test_what_is_planted_is_read(tmp_path: Path) -> None:
    """Wrong variants: a mean for the median, an interval of one sample, a GPU's statistics dropped, null as a group."""
    rows = {
        row["fullname"]: row for row in rows_of(read_foreign([files.write(tmp_path / "a.json", files.every_kind())]))
    }
    sort = rows["bench/test_a.py::test_sort[100]"]
    assert sort["seconds"] == pytest.approx(1e-4, rel=0.01)
    assert sort["low"] < sort["seconds"] < sort["high"]
    assert (sort["group"], sort["family"], sort["params"]) == ("sorting", "bench/test_a.py::test_sort", '{"size": 100}')
    once, summed = rows["bench/test_a.py::test_once"], rows["bench/test_b.py::test_once"]
    assert interval(once) == "one sample: no interval"
    assert interval(summed).endswith(" ms from its quartiles")
    assert {once["name"], summed["name"]} == {once["fullname"], summed["fullname"]}  # one name alone would be both's
    assert json.loads(rows["bench/test_a.py::test_kernel"]["extra"]) == {
        "gpu_mem": 1024,
        "gpu_util": 0.5,
        "gpu": "H200",
        "batch": 8,
    }


def test_parameters_line_up_by_size_and_have_a_plot(tmp_path: Path) -> None:
    """Wrong variant: in the order of their names, in which 100 comes before 20."""
    sizes = (1000, 20, 100)
    entries = [files.entry(f"t.py::test_f[{n}]", 1e-6 * n, params={"n": n, "kind": "a"}) for n in sizes]
    page = ForeignPage(read_foreign([files.write(tmp_path / "a.json", files.file(*entries))]))
    (group,) = page.groups()
    assert [json.loads(row["params"])["n"] for row in group.rows] == [20, 100, 1000]
    assert [plot.title for plot, _ in group.plots] == [
        "Without a group: how long does a call take?",
        "test_f: how does it grow with n?",
    ]


def test_files_are_compared_with_the_first_and_claim_less_than_a_race(tmp_path: Path) -> None:
    """Wrong variants: the baseline is the fastest file; the interval of the rounds alone; one sample gets a verdict."""
    whole = files.every_kind()
    paths = [
        files.write(tmp_path / f"{name}.json", content)
        for name, content in (("1", whole), ("2", files.twice_as_slow(whole)))
    ]
    for order, slower in ((paths, True), (paths[::-1], False)):
        rows = [row for row in rows_of(read_foreign(order)) if row["file"] == "B"]
        for row in rows:
            assert row["ratio"] == pytest.approx(2.0 if slower else 0.5)
            if row["rounds"] == 1:
                assert row["verdict"] == "cannot tell"
            else:
                assert row["verdict"] == ("slower there" if slower else "faster there")
                assert row["ratio_high"] / row["ratio_low"] > 1.05**4  # the noise of either side, each way
    page = render_foreign(read_foreign(paths))
    assert "They took no turns" in page
    assert "File B beside file A, 6 benchmarks: 5 slower there, 1 cannot tell." in page


@pytest.mark.parametrize("estimator", ["median", "mean"])
def test_an_interval_from_a_spread_is_about_as_wide_as_that_of_the_samples(tmp_path: Path, estimator: str) -> None:
    """Wrong variants: the quartiles' distance as the standard error; the root of the number of rounds left out."""
    for seed in range(5):
        with_samples = files.entry("t::f", 1e-3, rounds=400, seed=seed)
        without = files.entry("t::f", 1e-3, rounds=400, seed=seed, samples=False)
        if estimator == "mean":
            del without["stats"]["median"]
        pair = [
            rows_of(read_foreign([files.write(tmp_path / "a.json", files.file(e))]))[0] for e in (with_samples, without)
        ]
        widths = [row["high"] - row["low"] for row in pair]
        assert 0.5 < widths[1] / widths[0] < 1.6
        assert pair[1]["basis"] == ("quartiles" if estimator == "median" else "standard deviation")
    few = files.entry("t::f", 1e-3, rounds=5, samples=False)
    (row,) = rows_of(read_foreign([files.write(tmp_path / "a.json", files.file(few))]))
    assert interval(row) == "too few rounds: no interval"


def test_of_three_files_the_course_is_drawn(tmp_path: Path) -> None:
    """Wrong variants: a file that lacks a benchmark shifts those after it; the order of the letters after Z."""
    contents = [files.file(files.entry("t::f", 1e-3 * (1 + n), seed=n), files.entry("t::g", 1.0)) for n in range(28)]
    contents[1]["benchmarks"].pop(0)
    paths = [files.write(tmp_path / f"{n:02d}.json", content) for n, content in enumerate(contents)]
    (group,) = ForeignPage(read_foreign(paths)).groups()
    (plot,) = (plot for plot, _ in group.plots if isinstance(plot, Curves))
    course = next(curve for curve in plot.curves if curve.name == "f")
    assert list(course.x) == [1, *range(3, 29)]
    assert course.y == pytest.approx([1, *range(3, 29)], rel=0.02)


def test_a_page_of_thousands_stays_small_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: what differs is among what is cut; a group without rows; a cut that nobody is told of."""
    monkeypatch.setattr(foreign, "MOST_ROWS", 30)
    entries = [files.entry(f"t::f[{n}]", 1e-3, group=f"g{n % 3}", params={"n": n}) for n in range(40)]
    slower = files.twice_as_slow(files.file(entries[-1]))["benchmarks"]
    paths = [
        files.write(tmp_path / "1.json", files.file(*entries)),
        files.write(tmp_path / "2.json", files.file(*entries[:-1], *slower)),
    ]
    page = ForeignPage(read_foreign(paths))
    shown = [row for group in page.groups() for row in group.rows]
    assert len(shown) == 30
    assert [row["fullname"] for row in shown if row["verdict"] == "slower there"] == ["t::f[39]"]
    assert page.cut == "On this page are 30 of 80 rows, those that differ first; benchmarks.csv has all."
    assert page.cut in render_foreign(read_foreign(paths))


def test_the_same_code_on_the_same_machine_is_never_called_different(tmp_path: Path) -> None:
    """Wrong variant: intervals of rounds without room for what changed between the files."""
    runs = [files.file(*(files.entry(f"t::f{i}", 1e-3, seed=10 * run + i) for i in range(9))) for run in range(2)]
    paths = [files.write(tmp_path / f"{n}.json", run) for n, run in enumerate(runs)]
    assert {row["verdict"] for row in rows_of(read_foreign(paths)) if row["file"] == "B"} <= {
        "about the same",
        "cannot tell",
    }


def test_nothing_vanishes_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong variants: a benchmark that one file lacks, a torn sample, a second entry of a name is dropped unsaid."""
    torn = files.entry("t::torn", 1e-3)
    torn["stats"]["data"][-1] = "... omitted"
    twice, short = files.entry("t::twice", 1e-3), files.entry("t::short", 1e-3)
    short["stats"]["data"].pop()
    first = files.file(
        files.entry("t::gone", 1e-3), torn, twice, twice, short, files.entry("t::nothing", 1.0) | {"stats": {}}
    )
    paths = [files.write(tmp_path / "1.json", first), files.write(tmp_path / "2.json", files.file(twice))]
    (tmp_path / "3.json").write_text("{}")
    assert main(["import", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    for each in (
        "The samples of t::torn are left out: not all are times",
        "The samples of t::short are left out: 39 of them are there, of 40 rounds",
        "t::twice is there already",
        "t::nothing has no time",
        f"{tmp_path / '3.json'}",
    ):
        assert each in said
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "t::gone: not in file B." in page
    assert [row["fullname"] for row in rows_of(read_foreign(paths), "absent")] == ["t::gone", "t::torn", "t::short"]


def test_the_identity_is_the_fullname_and_stays(tmp_path: Path) -> None:
    """Wrong variants: the name, which two files of tests may share; its place in the list; a part of the group."""
    content = files.every_kind()
    before = [each.fullname for each in load_file(files.write(tmp_path / "1.json", content)).benchmarks]
    assert len(set(before)) == len(before) == len(content["benchmarks"])
    moved = content | {
        "benchmarks": [each | {"group": "other"} for each in content["benchmarks"][::-1]],
        "version": "3.0.0",
    }
    after = [each.fullname for each in load_file(files.write(tmp_path / "2.json", moved)).benchmarks]
    assert after == before[::-1]
    assert not rows_of(read_foreign([tmp_path / "1.json", tmp_path / "2.json"]), "absent")


@pytest.mark.parametrize("shape", ["of 2015", "imitated", "with a mark", "with NaN"])
def test_every_shape_that_is_around_is_read(tmp_path: Path, shape: str) -> None:
    """Wrong variants: a field is needed that old versions do not have; a Windows shell's mark is no JSON."""
    path = tmp_path / "a.json"
    whole = files.entry("t::f", 1e-3)
    if shape == "of 2015":
        del whole["params"], whole["stats"]["data"], whole["stats"]["ops"]
        files.write(
            path,
            {
                "benchmarks": [whole],
                "machine_info": {"node": "n"},
                "datetime": "2015-08-15T00:04:13.5",
                "version": "2.5.0",
            },
        )
    elif shape == "imitated":
        files.write(path, {"benchmarks": [{"name": "t::f", "stats": {"mean": 1e-3}}]})
    elif shape == "with a mark":
        path.write_text("\ufeff" + json.dumps(files.file(whole)), encoding="utf-8")
    else:
        whole["stats"]["stddev"] = float("nan")
        files.write(path, files.file(whole))
    (row,) = rows_of(read_foreign([path]))
    assert row["fullname"] == "t::f"
    assert row["seconds"] == pytest.approx(1e-3, rel=0.01)
    assert row["per_second"] == pytest.approx(1e3, rel=0.01)
    assert row["estimator"] == ("mean" if shape == "imitated" else "median")


def test_a_file_of_touchstone_is_read_with_its_processes(tmp_path: Path) -> None:
    """Wrong variant: its rounds as those of one process, whose interval would be far too narrow."""
    path = synthetic.write_run(tmp_path / "run", parts="timings").path / "timings.json"
    rows = rows_of(read_foreign([path]))
    assert {row["basis"] for row in rows} == {"heats"}
    assert len({row["fullname"] for row in rows}) == len(rows) == len(json.loads(path.read_text())["benchmarks"])


def test_the_name_of_the_host_goes_nowhere(tmp_path: Path) -> None:
    """Wrong variant: all that `machine_info` holds is shown."""
    assert (
        main(["import", str(files.write(tmp_path / "a.json", files.every_kind())), "--output", str(tmp_path / "out")])
        == 0
    )
    assert not [path for path in (tmp_path / "out").iterdir() if b"secret-host" in path.read_bytes()]


def test_a_folder_is_read_below_and_no_link_is_followed(tmp_path: Path) -> None:
    """Wrong variant: a link in a folder that came from elsewhere opens any file of this machine."""
    kept = files.write(tmp_path / "far" / "secret.json", files.file(files.entry("t::secret", 1.0)))
    files.write(tmp_path / "store" / "Linux" / "0001_a.json", files.file(files.entry("t::f", 1.0)))
    (tmp_path / "store" / "Linux" / "0002_b.json").symlink_to(kept)
    found, _ = load([tmp_path / "store"])
    assert [file.path.name for file in found] == ["0001_a.json"]
    shutil.rmtree(tmp_path / "store" / "Linux")
    with pytest.raises(RunFolderError, match="holds no JSON of pytest-benchmark"):
        load([tmp_path / "store"])


def test_whatever_a_file_has_become_there_is_a_page_or_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: a traceback, a script of the file's that runs, something written beside the output folder."""
    whole = files.write(tmp_path / "whole.json", files.every_kind())
    ranked = sorted(files.damages(), key=lambda damage: hashlib.sha256(damage[0].encode()).digest())
    always = [damage for damage in ranked if " is " not in damage[0]]
    ended = {0: 0, 2: 0}
    for name, damage in [*always, *[damage for damage in ranked if " is " in damage[0]][:TRIED]]:
        path, out = tmp_path / "in" / "a.json", tmp_path / "out"
        for each in (path.parent, out):
            shutil.rmtree(each, ignore_errors=True)
        path.parent.mkdir()
        shutil.copy(whole, path)
        damage(path)
        code = main(["import", str(path), "--output", str(out)])
        said = capsys.readouterr().err
        ended[code] += 1
        if code == 2:
            assert said.count("\n") == 1, name
            assert str(path) in said, name
            assert not out.exists(), name
        else:
            page = (out / "index.html").read_text(encoding="utf-8")
            assert page.count("<script") == 1, name
            assert "\x1b" not in said, name
        assert {each.name for each in tmp_path.iterdir()} <= {"whole.json", "in", "out"}, name
        assert [each.name for each in path.parent.iterdir()] == ["a.json"], name
    assert min(ended.values()) > 10
