"""Run folders compared: invented ones, of which it is known what differs and by how much."""

import csv
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.__main__ import main
from reports.pages.compare import Comparison, render_page
from reports.store.run_folder import PROPERTIES, TRIALS, Row, RunFolder
from reports.tables import across, sides
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import USUAL, Machine, setting
from suites.selftest.test_reports import Parsed

SERVER = Machine("Another CPU with a rather long name", slowness=0.5, seed=1)
TWIN = Machine(seed=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A laptop, a server that is twice as fast, and the laptop once more with another TensorFlow."""
    results = tmp_path_factory.mktemp("results")
    laptop = synthetic.write_run(results / "laptop")
    server = synthetic.write_run(results / "server", SERVER)
    update(server, machine={"cores": 16})
    twin = synthetic.write_run(results / "twin", TWIN)
    update(twin, environment={"tensorflow-cpu": "2.22.0", "hypothesis": "7.0"})
    return [laptop.path, server.path, twin.path]


@pytest.fixture(scope="module")
def compared(folders: list[Path]) -> Comparison:
    """All three beside the laptop."""
    found = sides.read(folders)
    return Comparison(found, found[0])


def update(folder: RunFolder, **changes: Row) -> None:
    """Change parts of run.json."""
    folder.write_run(folder.run | {name: folder.run[name] | change for name, change in changes.items()})


def of(rows: list[Row], letter: str) -> list[Row]:
    """The rows of one side that both timed."""
    return [row for row in rows if row["side"].startswith(f"{letter}:") and row["time_ratio"] is not None]


def test_intervals_cover_what_is_planted(compared: Comparison) -> None:
    """Wrong variants: ratios upside down; a row compared with one of another workload or precision."""
    for letter, truth in (("B", 0.5), ("C", 1.0)):
        rows = of(compared.speeds, letter)
        assert len(rows) == 246
        assert sum(row["time_ratio_low"] <= truth <= row["time_ratio_high"] for row in rows) >= 0.93 * len(rows)
        assert all(row["time_ratio"] == pytest.approx(row["seconds"] / row["baseline_seconds"]) for row in rows)


def test_a_faster_machine_is_told_from_a_better_use_of_it(compared: Comparison) -> None:
    """Wrong variant: "faster" for both, as if the implementation had become better."""
    verdicts = Counter((row["time_verdict"], row["use_verdict"]) for row in of(compared.speeds, "B"))
    assert set(verdicts) == {("faster there", "about the same")}
    kernels = [row for row in compared.machines if row["side"].startswith("B:")]
    assert {row["implementation"] for row in kernels} == {"control-matmul", "control-copy"}
    assert all(row["time_ratio_low"] < 0.5 < row["time_ratio_high"] < 0.6 for row in kernels)


def test_a_row_is_measured_in_the_kernel_that_it_comes_nearer_to(compared: Comparison) -> None:
    """Wrong variants: the other kernel; shares of the other side's."""
    rows = [row for row in of(compared.speeds, "B") if row["technique"] == "residual" and row["precision"] == "float32"]
    reference = [row for row in rows if row["implementation"] == "reference" and not row["variation"]]
    assert {row["kernel"] for row in reference} == {"in_matmuls"}
    for row in reference:
        assert (row["share"], row["baseline_share"]) == pytest.approx(races.SHARES[:1] * 2, rel=0.03)


def test_equal_sides_do_not_differ(compared: Comparison) -> None:
    """Wrong variant: intervals of heats alone, of which the drift from race to race makes differences."""
    rows = of(compared.speeds, "C")
    for measure in across.MEASURES:
        found = {row[f"{measure}_verdict"] for row in rows}
        assert found <= {"about the same", "cannot tell", None}, measure


def test_energy_and_memory_are_compared_where_they_were_measured(compared: Comparison) -> None:
    """Wrong variants: no energy anywhere; memory of inference, which was not measured, as a ratio of nothing."""
    rows = of(compared.speeds, "B")
    assert {row["energy_verdict"] for row in rows if row["technique"] == "residual"} == {"less there"}
    assert {row["energy_verdict"] for row in rows if row["technique"] != "residual"} == {None}
    assert {row["memory_verdict"] for row in rows if row["operation"] == "inference"} == {None}
    assert {row["memory_verdict"] for row in rows if row["operation"] == "train"} == {"about the same"}


def test_another_baseline_turns_ratios_over_and_changes_nothing_else(folders: list[Path]) -> None:
    """Wrong variant: the best of those shown as the baseline, so that a rank flips when rows are left out."""
    found = sides.read(folders[:2])
    there, back = across.speeds(found, found[0]), across.speeds(found, found[1])
    keys = [tuple(row[name] for name in across.ASKED) for row in there]
    others = {tuple(row[name] for name in across.ASKED): row for row in back}
    assert len(others) == len(keys) == 247
    turned = {"faster there": "slower there", "slower there": "faster there"}
    for key, row in zip(keys, there, strict=True):
        other = others[key]
        if row["time_ratio"] is not None:
            assert row["time_ratio"] * other["time_ratio"] == pytest.approx(1, rel=1e-12)
            assert row["time_ratio_low"] * other["time_ratio_high"] == pytest.approx(1, rel=1e-12)
            assert other["time_verdict"] == turned.get(row["time_verdict"], row["time_verdict"])
        assert (row["seconds"], row["baseline_seconds"]) == (other["baseline_seconds"], other["seconds"])
    alone = {tuple(row[name] for name in across.ASKED): row for row in across.speeds(sides.read(folders), found[0])}
    assert len(alone) == len(keys)


def test_a_third_side_changes_no_ratio_of_the_others(folders: list[Path], compared: Comparison) -> None:
    """Wrong variant: a ratio that depends on what else is shown."""
    pair = sides.read(folders[:2])
    alone = across.speeds(pair, pair[0])
    beside = [row for row in compared.speeds if row["side"].startswith("B:")]
    names = ("time_ratio", "time_ratio_low", "use_ratio", "memory_ratio", "energy_ratio")
    assert [[row[name] for name in names] for row in alone] == [[row[name] for name in names] for row in beside]


def test_each_row_says_what_differs(compared: Comparison) -> None:
    """Wrong variants: a package that no step runs; hardware that is only a date."""
    assert {row["differs"] for row in of(compared.speeds, "B")} == {"only hardware"}
    assert {row["differs"] for row in of(compared.speeds, "C")} == {"only tensorflow-cpu 2.21.0 → 2.22.0"}


def test_packages_of_other_backends_do_not_matter_to_a_row(tmp_path: Path) -> None:
    """Wrong variant: one sentence for all rows."""
    folders = [synthetic.begin(tmp_path / name) for name in ("a", "b")]
    update(folders[1], environment={"jax": "0.7", "keras": "3.16", "OMP_NUM_THREADS": 1}, machine={"gpus": ["H200"]})
    first, second = sides.read([folder.path for folder in folders])
    assert sides.causes(second, first, "tensorflow", "cpu") == ["keras 3.15.1 → 3.16", "OMP_NUM_THREADS none → 1"]
    assert sides.causes(second, first, "jax", "gpu")[0] == "hardware"
    assert "jax none → 0.7" in sides.causes(second, first, "jax", "cpu")


def few(path: Path, machine: Machine = USUAL, **ways: Any) -> RunFolder:
    """A folder with one race, of which the entries can be changed."""
    folder = synthetic.begin(path, machine)
    times: dict[races.Named, float] = {
        ("reference", "float32"): 0.02,
        ("keras", "float32"): 0.03,
        ("again", "float32"): 0.02,
    }
    entries = list(races.race(np.random.default_rng(machine.seed), "residual", "w", {"n": 1}, "train", times))
    for entry in entries:
        entry["extra_info"]["asked"] |= ways.get(entry["extra_info"]["asked"]["implementation"], {})
    folder.write_timings({"benchmarks": entries})
    return folder


def test_sources_that_differ_make_two_programs(tmp_path: Path) -> None:
    """Wrong variants: a row that is lost since its key differs; a ratio that does not say of what it is."""
    few(tmp_path / "a", reference={"source": "1-2"}, keras={"source": "1-2"})
    few(tmp_path / "b", TWIN, reference={"source": "1-3"}, keras={"source": "4-2"})
    found = sides.read([tmp_path / "a", tmp_path / "b"])
    comparison = Comparison(found, found[0])
    programs = {row["implementation"]: (row["programs"], row["differs"]) for row in comparison.speeds}
    assert programs["reference"] == ("implementation", "only the sources of the implementation")
    assert programs["keras"] == ("workload", "only the sources of the workload")
    assert "In 2 rows the sources differ: these ratios are of two programs." in comparison.sentences
    assert render_page(comparison).count("two different programs") == 3


def test_what_one_side_lacks_stays_in_with_its_reason(tmp_path: Path) -> None:
    """Wrong variants: a row dropped with the side that lacks it; a failure called "not run"; a zero in its place."""
    few(tmp_path / "a")
    folder = few(tmp_path / "b", TWIN)
    file = folder.timings_file()
    kept = [entry for entry in file["benchmarks"] if entry["extra_info"]["asked"]["implementation"] != "keras"]
    gone = next(entry for entry in file["benchmarks"] if entry not in kept)
    failure = {name: gone["extra_info"][name] for name in ("key", "asked", "when", "command", "race")}
    failure |= {"reason": "killed by signal 9", "phase": "first call", "rounds": []}
    for failures, reason in (([failure], "failed: killed by signal 9"), ([], "not run")):
        folder.write_timings({"benchmarks": kept, "failures": failures})
        found = sides.read([tmp_path / "a", tmp_path / "b"])
        for baseline, where in ((found[0], "reason"), (found[1], "baseline_reason")):
            comparison = Comparison(found, baseline)
            (row,) = [row for row in comparison.speeds if row["implementation"] == "keras"]
            assert row[where] == reason
            assert row["time_ratio"] is None
            assert row["time_verdict"] is None
            page = render_page(comparison)
            assert reason in page
            (shown,) = [
                r for s in comparison.sections for g in s.groups for r in g.rows if r["implementation"] == "keras"
            ]
            assert shown["different"]


def test_a_precision_pays_on_one_side_and_not_on_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: precisions compared across machines; a cell that says "pays" for what is slower."""
    synthetic.write_run(tmp_path / "a", parts="timings")
    monkeypatch.setitem(races.SPEED, "mixed_bfloat16", 1.3)
    synthetic.write_run(tmp_path / "b", SERVER, parts="timings")
    found = sides.read([tmp_path / "a", tmp_path / "b"])
    comparison = Comparison(found, found[0])
    pays = Counter((row["side"][0], row["precision"], row["pays"], row["differs"]) for row in comparison.precisions)
    assert pays == {
        ("A", "mixed_bfloat16", "pays", True): 81,
        ("B", "mixed_bfloat16", "costs time", True): 81,
        ("A", "mixed_float16", "costs time", False): 81,
        ("B", "mixed_float16", "costs time", False): 81,
    }
    assert "mixed_bfloat16 pays on A and not on B in 81 rows." in comparison.sentences


def test_properties_and_claims_that_come_to_something_else_are_listed(tmp_path: Path) -> None:
    """Wrong variants: equal ones listed, too; a property that was not run called a failure; a verdict of one side."""
    a, b = (synthetic.begin(tmp_path / name, machine) for name, machine in (("a", USUAL), ("b", SERVER)))
    for folder, outcome in ((a, "passed"), (b, "failed")):
        asked = setting("residual", "reference", "float32")
        beside = {"statement": "Strides halve.", "message": f"{outcome} here", "known": None}
        folder.append(PROPERTIES, synthetic.property_row(asked, "strides_halve", outcome, **beside))
        folder.append(PROPERTIES, synthetic.property_row(asked, "counts_are_exact"))
    folder.append(PROPERTIES, synthetic.property_row(setting("residual", "reference", "mixed_float16"), "on_b_only"))
    for row in synthetic.trial_rows():
        a.append(TRIALS, row)
        noise = 1e-6 * row["asked"]["seed"]
        b.append(TRIALS, row | {"metrics": {"loss": 0.5 + noise, "gradient": 1.0 + noise}})
    found = sides.read([a.path, b.path])
    comparison = Comparison(found, found[0])
    assert [comparison.count(state) for state in ("differs", "equal", "one side only")] == [2, 1, 1]
    listed = {row["name"]: [line["outcome"] for line in lines] for row, lines in comparison.told_apart()}
    assert listed == {"strides_halve": ["passed", "failed"], "shortcuts_carry_signal": ["reproduced", "no difference"]}
    ((what, count),) = comparison.lacking()
    assert count == 1
    assert what.endswith("mixed_float16, quick scale, on B only")
    page = render_page(comparison)
    assert "Strides halve." in page
    assert "failed here" in page
    assert "Counts are exact" not in page


def test_sides_of_one_machine_are_told_apart(folders: list[Path], tmp_path: Path) -> None:
    """Wrong variants: two sides of one name; a name with all settings in it."""
    names = [side.name for side in sides.read(folders)]
    assert names[0] == "A: Invented CPU @ 2.00GHz, 2 cores, tensorflow-cpu 2.21.0"
    assert names[1] == "B: Another CPU with a rather long name, 16 cores"
    assert names[2] == "C: Invented CPU @ 2.00GHz, 2 cores, tensorflow-cpu 2.22.0"
    same = [synthetic.begin(tmp_path / name) for name in ("x", "y")]
    for folder in same:
        folder.write_run(folder.run | {"created": "2026-11-22T10:00:00+00:00"})
    assert [side.name for side in sides.read([each.path for each in same])] == [
        f"{letter}: Invented CPU @ 2.00GHz, 2 cores, {tmp_path / name}" for letter, name in (("A", "x"), ("B", "y"))
    ]
    update(same[1], git={"revision": "fedcba9876543210", "dirty": True})
    second = sides.read([each.path for each in same])[1].name
    assert second == "B: Invented CPU @ 2.00GHz, 2 cores, revision fedcba987, changed"


def test_settings_list_what_differs_and_say_what_is_equal(compared: Comparison) -> None:
    """Wrong variants: settings that only one side has left out; equal ones in the table."""
    told = {each.name: list(each.texts) for each in compared.differences}
    assert told["cores"] == ["2", "16", "2"]
    assert told["hypothesis"] == ["none", "none", "7.0"]
    assert "keras" not in told
    assert "keras 3.15.1" in compared.settings
    assert "cores" not in compared.settings


def test_a_side_without_a_race_of_the_reference_against_itself_has_a_floor_all_the_same(tmp_path: Path) -> None:
    """Wrong variant: a floor of nothing, as if such a run were exact."""
    for name in ("a", "b"):
        folder = few(tmp_path / name)
        file = folder.timings_file()
        entries = [e for e in file["benchmarks"] if e["extra_info"]["asked"]["implementation"] != "again"]
        folder.write_timings(file | {"benchmarks": entries})
    found = sides.read([tmp_path / "a", tmp_path / "b"])
    assert not any(side.floor_known for side in found)
    assert {side.floor for side in found} == {1.05}
    rows = across.speeds(found, found[0])
    assert all(row["time_ratio"] == 1 and row["time_ratio_high"] > 1.1 for row in rows)
    assert "for want of a race of the reference against itself" in render_page(Comparison(found, found[0]))


def test_the_command_writes_a_page_and_tables_and_says_it_in_plain_sentences(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: the path not last; tables that the page names and that are not there."""
    out = tmp_path / "out"
    assert main(["compare", *map(str, folders), "--output", str(out), "--baseline", str(folders[1])]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(out / "index.html")
    assert said[1].endswith("(the baseline)")
    assert "A and B differ in hardware (processor and cores)." in said
    assert "On A, all 246 are slower there." in said
    html = (out / "index.html").read_text(encoding="utf-8")
    parsed = Parsed(html)
    downloads = [name for name in parsed.values("href") if name.endswith((".csv", ".parquet"))]
    assert len(downloads) == 10
    assert all((out / name).is_file() for name in downloads)
    identifiers = list(parsed.values("id"))
    assert len(identifiers) == len(set(identifiers))
    links = [value[1:] for value in parsed.values("href") if value.startswith("#")]
    assert set(links) <= set(identifiers)
    with (out / "ratios.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 494
    assert all(set(row) == set(across.COLUMNS) for row in rows)


def test_what_cannot_be_compared_is_said_in_one_line(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variants: a traceback; a page of one side; a page written through a link that came with a folder."""
    first, second = map(str, folders[:2])
    for arguments, reason in (
        ([first], "cannot be compared; name a second run folder"),
        ([first, second, first], "is named twice"),
        ([first, second, "--baseline", str(folders[2])], "is none of the runs that are compared"),
        ([first, str(tmp_path / "nothing")], "is not a run folder"),
    ):
        assert main(["compare", *arguments, "--output", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    few(tmp_path / "linked")
    (tmp_path / "linked" / "compare").symlink_to(tmp_path)
    assert main(["compare", str(tmp_path / "linked"), first]) == 2
    assert "is a symbolic link" in capsys.readouterr().err


def test_what_a_folder_says_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong variants: a script from a run folder in the page; an escape sequence from one in the terminal."""
    nasty = "<script>alert(1)</script>\"'&<b>\x1b[31m"
    for name, machine in (("a", USUAL), ("b", Machine(nasty))):
        folder = few(tmp_path / name, machine, keras={"implementation": nasty}, reference={"precision": nasty})
        update(folder, environment={nasty: machine.name, "tensorflow-cpu": nasty + name})
        asked = setting("residual", nasty, "float32")
        beside = {"message": nasty, "statement": nasty, "known": None}
        folder.append(PROPERTIES, synthetic.property_row(asked, nasty, "passed" if name == "a" else "failed", **beside))
        folder.append(PROPERTIES, synthetic.property_row(asked | {"precision": name}, nasty, "passed", **beside))
    out = tmp_path / "out"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(out)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    parsed = Parsed((out / "index.html").read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in parsed.elements) == 1
    assert any(nasty in text for text in parsed.texts["td"])


def test_folders_with_nothing_in_them_become_a_page_that_says_so(tmp_path: Path) -> None:
    """Wrong variant: a traceback where there is no row."""
    found = sides.read([synthetic.begin(tmp_path / name).path for name in ("a", "b")])
    page = render_page(Comparison(found, found[0]))
    for said in ("Nothing was timed on any side", "No mixed precision was timed", "No control kernel ran"):
        assert said in page


def test_the_profile_is_of_the_fixed_baseline(compared: Comparison) -> None:
    """Wrong variants: a curve for the baseline itself; shares of what is shown instead of all rows."""
    ((plot, _),) = compared.profile()
    curves = {curve.name: curve for curve in plot.curves}  # type: ignore[union-attr]
    assert set(curves) == {"B", "C"}
    at = min(range(len(curves["B"].x)), key=lambda i: abs(math.log(curves["B"].x[i])))
    assert curves["B"].y[at] == 1
    assert 0.2 < curves["C"].y[at] < 0.8
