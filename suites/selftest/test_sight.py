"""What the report says of a run's own sight: noise floor, machine, steadiness, and contenders that are none."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import words
from reports.pages import growth
from reports.pages.report import Page, render_page
from reports.pages.sight import Sight, sights
from reports.plots import claim_figures, figures
from reports.plots.svg import render
from reports.store.run_folder import PROPERTIES, Row
from reports.tables import frames as tables
from reports.tables.conditions import causes
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import PRECISIONS, setting

LONG, QUIET = "resnet20-digits", "resnet20-images32"


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tables.Tables:
    """The tables of a whole run."""
    return tables.read([synthetic.write_run(tmp_path_factory.mktemp("results") / "run").path])


@pytest.fixture(scope="module")
def page(read: tables.Tables) -> str:
    """Its page."""
    return render_page(read)


@pytest.fixture(scope="module")
def sight(read: tables.Tables) -> Sight:
    """What it could see."""
    ((found, _),) = Page(read).sights()
    return found


def text_of(html: str) -> str:
    """The words of a piece of HTML."""
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def rows_of(page: str, workload: str, operation: str = "training step") -> list[str]:
    """The lines of one race in the table of timings, its heading left out, as HTML."""
    timings = page.partition('<section id="timings"')[2].partition("</section>")[0]
    bodies = re.findall(r"<tbody>(.*?)</tbody>", timings, flags=re.DOTALL)
    (body,) = [part for part in bodies if f">{workload} · {operation} <" in part]
    return re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL)[1:]


def written(path: Path, entries: list[Row], **beside: Any) -> tables.Tables:
    """The tables of a run of these timings only."""
    folder = synthetic.begin(path)
    folder.write_timings({"benchmarks": entries, "failures": []} | beside)
    return tables.read([path])


def test_the_noise_floor_is_said_with_what_it_rests_on(read: tables.Tables, sight: Sight) -> None:
    """Wrong variants: the floor as a ratio without its 1, the number of ratios or of machines for that of A/A races."""
    (floor,) = read.floors.values()
    assert f"is {words.percent(floor - 1)}: identical contenders" in sight.floor
    assert "It rests on 18 A/A races" in sight.floor  # two and seven workloads, two of three operations
    assert len(sight.twins) == 18
    assert "Nothing here can be called equivalent" not in sight.floor  # it is below 5%
    beyond = read["ratios"].query("verdict in ('slower', 'faster')")["ratio"]
    assert (np.maximum(beyond, 1 / beyond) > floor).all()


def test_without_an_a_a_race_no_floor_is_claimed(tmp_path: Path) -> None:
    """Wrong variants: a floor of zero per cent, a table of no races, silence about the verdicts."""
    times: dict[races.Named, float] = {("reference", "float32"): 0.02, ("keras", "float32"): 0.03}
    entries = list(races.race(np.random.default_rng(1), "residual", "w", {}, "train", times, heats=8))
    without = written(tmp_path / "run", entries)
    ((found, drift),) = Page(without).sights()
    assert found.floor == "No A/A race was run: no verdict on this page was held to a noise floor."
    assert (list(found.twins), list(drift)) == ([], [])
    assert without["ratios"]["verdict"].tolist() == ["slower"]
    assert "A/A races</summary>" not in render_page(without)


def test_the_host_is_judged_and_what_is_unknown_is_no_pass(read: tables.Tables, page: str, sight: Sight) -> None:
    """Wrong variants: unknown read as good, advice left out, the checks of a folder counted twice."""
    assert read["host"]["state"].tolist() == [check["state"] for check in synthetic.HOST]
    assert [row["advice"] for row in sight.noisy] == ["Take cores of your own."]
    assert "3% of the CPU time. Take cores of your own." in text_of(page)
    assert sight.checked == "Found in order: swap. Not known, which is no pass: turbo (not readable here)."


def test_disturbed_blocks_are_counted_and_their_causes_named(read: tables.Tables, sight: Sight) -> None:
    """Wrong variants: races counted for blocks, one cause of two, a mean of shares over races of unequal length."""
    blocks = 25 * 12 + 2 * 48
    assert sight.disturbed.startswith(f"2 of {blocks} blocks were disturbed: other processes kept 1.3 of 2 cores busy")
    assert "the hypervisor gave 4% of the CPU time to others at worst" in sight.disturbed
    assert sight.disturbed.endswith(
        f"A hypervisor took {words.percent(0.04 * 2 / blocks)} of the CPU time, {words.percent(0.04 * 2 / 48)} in the "
        "worst race."
    )
    busy = read["conditions"].query("disturbed > 0")
    assert busy["workload"].tolist() == [QUIET]
    assert set(json.loads(busy["causes"].iloc[0]).values()) == {2}


def test_causes_that_differ_in_their_numbers_are_one() -> None:
    """Wrong variants: one cause for every number, the first for the worst, 9 for more than 10.4 as text."""
    busy = [(f"other processes kept {cores} of 16 cores busy", count) for cores, count in ((2.1, 3), (10.4, 1), (9, 2))]
    found = causes([*busy, ("heat slowed the processor 3×", 7)])
    assert found == {"heat slowed the processor 3×": 7, "other processes kept 10.4 of 16 cores busy": 6}
    assert next(iter(found)).startswith("heat")


def test_blocks_that_were_not_watched_are_not_quiet(tmp_path: Path) -> None:
    """An old run folder. Wrong variants: zero disturbed blocks of zero, steal of zero, a host that passed."""
    folder = synthetic.write_run(tmp_path / "run", parts="timings")
    file, facts = folder.timings_file(), folder.run
    for entry in file["benchmarks"]:
        for name in ("warm_up", "cost", "joules"):
            entry["extra_info"].pop(name, None)
        del entry["extra_info"]["memory"]["peak_bytes_by_heat"], entry["extra_info"]["memory"]["device_peak_bytes"]
    del file["races"]
    folder.write_timings(file)
    folder.write_run({name: value for name, value in facts.items() if name != "host"})
    old = tables.read([folder.path])
    assert old["conditions"][["blocks", "disturbed", "steal"]].isna().all(axis=None)
    ((found, _),) = Page(old).sights()
    assert found.disturbed == "What else the machine did in the meantime was not read."
    assert found.checked == "The host was not checked."
    assert [row["workload"] for row in found.races] == [QUIET]  # what the timings themselves show
    assert "not read" in render_page(old)


def test_a_machine_that_stepped_is_named_with_its_place(read: tables.Tables, page: str, sight: Sight) -> None:
    """Wrong variants: the step blamed on contenders, blocks counted from 0, a race that was too short called steady."""
    (race,) = sight.races
    assert race["workload"] == QUIET
    assert "at block 7 of heat 2" in race["sentence"]
    assert race["ratio"] == pytest.approx(1.15, rel=0.02)
    assert race["sentence"] in page
    assert (
        sight.machine == "In 27 races, the machine was steady in 1 and moved in 1; in 25 there was too little to tell."
    )
    own = read["steadiness"].query(f"workload == '{QUIET}' and operation == 'train'")
    assert set(own["verdict"]) == {"steady"}


def test_a_contender_that_drifts_says_so_beside_its_time(page: str, sight: Sight) -> None:
    """Wrong variants: every verdict shown, "too few rounds" shown as a finding, no sentence behind the word."""
    drifting = [row for row in rows_of(page, LONG) if "drifting</abbr>" in row]
    assert len(drifting) == 1
    assert text_of(drifting[0]).startswith("keras float32")
    assert re.search(r'title="Drifting: 0\.(5\d?|4[5-9])% slower with every round, ', drifting[0])
    assert "too few rounds</abbr>" not in page
    said = "Most contenders ran too few rounds to tell whether they settled; 1 of the others did not, as is said beside"
    assert sight.settled == f"{said} their step times."


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["steady"] * 3 + ["drifting", "too few rounds"], "Of 5 contenders, 3 ran steadily and 1 did not, as is said"),
        (["steady"] + ["too few rounds"] * 2, "Most contenders ran too few rounds to tell whether they settled."),
    ],
)
def test_where_most_were_too_short_to_tell_nothing_is_listed(verdicts: list[str], said: str) -> None:
    """Wrong variant: "74 of 97 ran too few rounds to tell", and what the others did as if it were the run."""
    host = {"place": "p", "run": "r", "name": "swap", "state": "good", "found": ""}
    steadiness = [{"place": "p", "implementation": "reference", "verdict": verdict} for verdict in verdicts]
    rows: dict[str, list[Row]] = {name: [] for name in ("timings", "noise", "conditions")}
    (found,) = sights(rows | {"host": [host], "steadiness": steadiness}, {}, ["p"])
    assert found.settled.startswith(said)


def test_a_race_is_read_from_the_reference_down_to_the_controls(page: str) -> None:
    """Wrong variants: controls among the peers, loud, or compared; the twin or a variation without its usual before."""
    rows = rows_of(page, LONG)
    names = [text_of(row.partition("</th>")[0]) for row in rows]
    plain = ["reference", "reference, threads=1", "reference, again", "keras", "without"]
    controls = ["control: matrix product"] * 3 + ["control: memory"]
    assert names == plain + ["reference", "keras", "without"] * 2 + controls
    quiet = [name for name, row in zip(names, rows, strict=True) if 'class="quiet"' in row]
    assert quiet == ["reference, again", *controls]
    assert all('data-fixed="last"' in row and "whisker" not in row for row in rows[-4:])
    assert re.search(r"the reference's \d.* (0\.99|1\.0\d)× \[.*\] (equivalent|undecided) ", text_of(rows[2]))
    product, memory = text_of(rows[-4]), text_of(rows[-1])
    assert re.search(r" 6\d\.\d G multiply-adds/s ", product)
    assert re.search(r" 1[45]\.\d GB/s ", memory)


def test_another_way_is_compared_with_the_usual(read: tables.Tables, page: str) -> None:
    """Wrong variants: left out, or shown without the ratio that it was run for."""
    ratio = read["ratios"].query(f"variation != '' and workload == '{LONG}' and operation == 'train'").iloc[0]
    assert ratio["low"] < races.ONE_THREAD < ratio["high"]
    row = next(text_of(row) for row in rows_of(page, LONG) if "threads=1" in row)
    assert f"{words.factor(ratio['ratio'])} {words.factor_interval(ratio['low'], ratio['high'])} slower" in row


def test_a_faster_peer_says_why_where_it_is_faster(tmp_path: Path) -> None:
    """Wrong variants: the reason left out, or given for a peer that is slower here."""
    rng = np.random.default_rng(2)

    def against(seconds: float, workload: str) -> list[Row]:
        times: dict[races.Named, float] = {("reference", "float32"): 0.02, ("torch", "float32"): seconds}
        return list(races.race(rng, "residual", workload, {}, "train", times, heats=8))

    faster, slower = against(0.01, "fast"), against(0.03, "slow")
    for entry in (faster[1], slower[1]):
        entry["extra_info"]["why_faster"] = "one fused kernel"
    page = render_page(written(tmp_path / "run", [*faster, *slower]))
    assert [row.count('title="one fused kernel">why') for row in rows_of(page, "fast")] == [0, 1]
    assert [row.count("one fused kernel") for row in rows_of(page, "slow")] == [0, 0]


def test_shares_of_the_machine_name_what_they_are_of(page: str) -> None:
    """Wrong variants: the smaller share, a share of nothing known, or the number of products where work is known."""
    reference = next(text_of(row) for row in rows_of(page, LONG) if "reference" in row)
    assert re.search(r" (49|50|51)% of matrix product ", reference)
    attention = next(text_of(row) for row in rows_of(page, "source-16") if "reference" in row)
    assert re.search(r" \d+\.\d+ matrix products long ", attention)


def test_energy_and_device_memory_have_columns_where_anything_was_measured(page: str, tmp_path: Path) -> None:
    """Wrong variants: a zero for what was not measured, joules of a whole round, columns of nothing on every page."""
    attention, residual = page.split('id="timings-residual"')
    assert "Energy<" not in attention
    assert "Device memory" not in page
    assert residual.count(">Energy<") == 1
    asked = setting("residual", "reference", "float32") | {"device": "gpu"}
    asked |= {"workload": "w", "parameters": {}, "operation": "train", "seed": 0}
    memory = {"baseline_bytes": 1 << 20, "peak_bytes": 3 << 20, "device_peak_bytes": 5 << 20}
    rounds = [(0.1, heat, block) for heat in range(3) for block in range(3)]
    entries = [
        races.timing_entry(asked, rounds, memory=memory, joules=[2.0] * 8 + [9.0]),
        races.timing_entry(asked | {"implementation": "keras"}, rounds),
    ]
    found = render_page(written(tmp_path / "run", entries))
    reference, keras = (text_of(row) for row in rows_of(found, "w"))
    assert "2.00 J 2.00 MiB 5.00 MiB" in reference
    assert "no control here not measured 280 MiB not measured" in keras


def test_a_retrace_reads_as_what_it_is(tmp_path: Path) -> None:
    """Wrong variants: "did not finish" of a contender that finished, a row without its reason."""
    folder = synthetic.begin(tmp_path / "run")
    reason = "its step was traced or compiled again 7 times while it was measured"
    folder.write_timings(
        {"benchmarks": [], "failures": [synthetic.failure_row() | {"reason": reason, "phase": "round"}]}
    )
    (row,) = rows_of(render_page(tables.read([folder.path])), "resnet50-images224")
    assert f"no result (while it was measured): {reason}" in text_of(row)


def test_growth_is_said_once_for_all_contenders(read: tables.Tables, page: str) -> None:
    """Wrong variants: a sentence for every precision; memory that did not grow left out; the controls' exponents."""
    rows = [row for row in tables.records(read["exponents"]) if row["technique"] == "additive_attention"]
    said = growth.sentences(rows)
    assert len(said) == 5  # time of three operations, memory of the two in which it was measured
    train = next(row for row in rows if row["operation"] == "train" and row["contender"] == "keras")
    power = f"{train['estimate']:.2f} [{train['low']:.2f}, {train['high']:.2f}] (keras)"
    assert said[0].startswith("Training step: time grows with source to the power ")
    assert power in said[0]
    assert said[0].endswith(", from 128 to 1,024.")
    assert [sentence.count("(keras)") for sentence in said] == [1] * 5
    assert "control" not in " ".join(said)
    assert "memory grows with source to the power 0.00" in text_of(page)


def test_growth_without_controls_says_that_the_machine_is_in_it(tmp_path: Path) -> None:
    """Wrong variant: an exponent of races on different days passed off as one that drift was taken out of."""
    rng, entries = np.random.default_rng(0), []
    for depth in (8, 20, 44):
        times: dict[races.Named, float] = {("reference", "float32"): 0.001 * depth}
        entries += list(races.race(rng, "residual", f"d{depth}", {"depth": depth}, "train", times))
    (time, memory) = growth.sentences(tables.records(written(tmp_path / "run", entries)["exponents"]))
    assert time.endswith("from 8 to 44; no control kernel ran, so that the machine's own drift is in it.")
    assert memory.endswith("from 8 to 44.")


def test_the_controls_show_how_the_machine_drifted(read: tables.Tables) -> None:
    """Wrong variants: contenders among the controls, seconds for ratios, races in the order of their names."""
    (plot,) = figures.drift(tables.records(read["timings"]))
    products = [f"control: matrix product, {precision}" for precision in PRECISIONS]
    assert {curve.name for curve in plot.curves} == {"control: memory", *products}
    for curve in plot.curves:
        assert list(curve.x) == list(range(27))
        assert np.median(curve.y) == pytest.approx(1.0)
    assert plot.x_title == "minutes since the first race"


def test_training_is_shown_at_the_furthest_condition(read: tables.Tables) -> None:
    """Wrong variants: all depths in one line, "8" after "44" as text, a seed that was lost counted in the median."""
    (definition,) = read.claims.values()
    rows = tables.records(read["training"])
    rates = {(arm, '{"depth": 44}'): None for arm in ("plain", "residual")}
    (plot,) = claim_figures.training_curves(rows, rates, definition)
    assert plot.title == "Training loss after equal steps"
    assert "at depth 44" in plot.description
    assert "left out (plain)" in plot.description
    plain, residual = plot.curves
    assert (plain.name, residual.name) == ("plain", "residual")
    assert list(plain.x) == list(range(1, 41))
    finals = [
        trial["metrics"]["loss"]
        for trial in synthetic.trial_rows()
        if (trial["asked"]["arm"], trial["asked"]["condition"]) == ("residual", {"depth": 44})
    ]
    assert residual.y[-1] == pytest.approx(np.median(finals), abs=0.02)
    low, high = residual.intervals[-1]
    assert high - low == pytest.approx(max(finals) - min(finals), abs=0.01)
    lost = [row for row in rows if row["unusable"] and row["arm"] == "plain"]
    assert {row["step"] for row in lost} == set(range(21, 41))
    assert "<svg" in render(plot, "p1")


def test_one_property_is_not_all_of_them(tmp_path: Path) -> None:
    """Wrong variants: "passes all 1 property", "all 1 pass"."""
    folder = synthetic.begin(tmp_path / "run")
    folder.append(PROPERTIES, synthetic.property_row(setting("residual", "reference", "float32"), "counts_are_exact"))
    found = Page(tables.read([folder.path]))
    (line,) = found.cards
    assert line.trust == "Its reference passes its one property in 1 precision."
    assert "its one passes" in render_page(found.tables)
    assert "all 1 " not in render_page(found.tables)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.0279, "0.028×"), (0.0997, "0.10×"), (0.1, "0.10×"), (0.9, "0.90×"), (1.0846, "1.08×"), (12.44, "12.4×")],
)
def test_a_ratio_has_as_many_digits_as_its_neighbours(ratio: float, expected: str) -> None:
    """Wrong variant: three digits below a tenth, and two from there on, in one interval."""
    assert words.factor(ratio) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.05, "5%"), (0.0123, "1.2%"), (0.338, "34%"), (0.0949, "9.5%"), (0.0996, "10%"), (1.2, "120%"), (0.0, "0%")],
)
def test_percentages_are_short(share: float, expected: str) -> None:
    """Wrong variants: 5.0%, 33.8%, 1.2e+02%."""
    assert words.percent(share) == expected
    assert words.percent(None) == words.percent(float("nan")) == words.NOT_MEASURED


@pytest.mark.parametrize(
    ("value", "expected"), [(41.9e9, "41.9 GB/s"), (0.0597, "59.7 mB/s"), (2.0, "2.00 B/s"), (0.0, "0 B/s")]
)
def test_amounts_have_a_prefix(value: float, expected: str) -> None:
    """Wrong variants: powers of 1024, exponents, no measurement shown as nothing."""
    assert words.scaled(value, "B/s") == expected
    assert words.scaled(None, "B/s") == words.NOT_MEASURED
