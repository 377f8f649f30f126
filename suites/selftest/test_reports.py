"""The report: run folders of invented numbers in; tables, verdicts and one page out."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.__main__ import main
from reports.pages.report import render_page
from reports.plots.kinds import Curve, Curves, Dot, Forest
from reports.plots.svg import render, round_ticks
from reports.statistics import verdicts
from reports.statistics.intervals import Interval
from reports.statistics.verdicts import Speed
from reports.store.run_folder import PROPERTIES, TRIALS, key_of
from reports.tables import comparisons
from reports.tables import frames as tables
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import Machine, setting

VOID = {"meta", "link", "input", "br", "img", "hr", "path", "circle", "use"}


class Parsed(HTMLParser):
    """What the tests ask of a page: its elements, and the text inside each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and open it."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        """Add text to every open element."""
        for tag in set(self.stack):
            self.texts[tag][-1] += data

    def values(self, attribute: str) -> Iterator[str]:
        """Every value of an attribute."""
        return (value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run."""
    return synthetic.write_run(tmp_path_factory.mktemp("results") / "run").path


@pytest.fixture(scope="module")
def read(run: Path) -> tables.Tables:
    """Its tables."""
    return tables.read([run])


@pytest.fixture(scope="module")
def page(read: tables.Tables) -> str:
    """Its page."""
    return render_page(read)


def test_tables_hold_what_the_folder_holds(read: tables.Tables) -> None:
    """Wrong variant: rows lost in a join, or a metric that is not finite dropped with its trial."""
    rows = list(synthetic.property_rows())
    assert read["conformance"]["key"].tolist() == [row["key"] for row in rows]
    assert read["conformance"]["outcome"].tolist() == [row["outcome"] for row in rows]
    entries = list(races.timing_entries())
    assert read["timings"]["key"].tolist() == [entry["extra_info"]["key"] for entry in entries]
    by_heat = [np.median(np.reshape(entry["stats"]["data"], (4, -1)), axis=1) for entry in entries]  # (heats, rounds)
    np.testing.assert_allclose(read["timings"]["seconds"], [np.exp(np.mean(np.log(medians))) for medians in by_heat])
    trials = [
        (row["asked"]["seed"], name, value) for row in synthetic.trial_rows() for name, value in row["metrics"].items()
    ]
    found = list(zip(read["trials"]["seed"], read["trials"]["metric"], read["trials"]["value"], strict=True))
    assert [(seed, name) for seed, name, _ in found] == [(seed, name) for seed, name, _ in trials]
    np.testing.assert_allclose([value for *_, value in found], [value for *_, value in trials])  # NaN equals NaN
    assert (
        len(read["provenance"])
        == len(rows) + len(entries) + len({trial["key"] for trial in synthetic.trial_rows()}) + 1
    )


def test_tables_are_written_as_csv_and_parquet(read: tables.Tables, tmp_path: Path) -> None:
    """Wrong variant: an index column added, or numbers turned into text."""
    for name, content in read.files().items():
        (tmp_path / name).write_bytes(content)
    for name, frame in read.frames.items():
        parquet, csv = pd.read_parquet(tmp_path / f"{name}.parquet"), pd.read_csv(tmp_path / f"{name}.csv")
        assert list(csv.columns) == list(parquet.columns) == list(tables.COLUMNS[name])
        assert len(csv) == len(parquet) == len(frame)
    pd.testing.assert_series_equal(pd.read_parquet(tmp_path / "ratios.parquet")["ratio"], read["ratios"]["ratio"])


def test_a_planted_slowdown_of_five_per_cent_is_found(tmp_path: Path) -> None:
    """Wrong variant: ratio turned upside down, or taken over the wrong precision."""
    times: dict[races.Named, float] = {
        ("reference", "float32"): 0.02,
        ("keras", "float32"): 0.021,
        ("keras", "mixed_float16"): 0.05,
    }
    rng = np.random.default_rng(3)
    entries = list(races.race(rng, "residual", "w", {}, "train", times, heats=8, blocks=6))
    folder = synthetic.begin(tmp_path / "run")
    folder.write_timings({"benchmarks": entries, "failures": []})
    read = tables.read([folder.path])
    ratio = read["ratios"].query("precision == 'float32'").iloc[0]
    assert ratio["low"] < 1.05 < ratio["high"] < 1.08
    assert (ratio["implementation"], ratio["baseline"], ratio["verdict"]) == ("keras", "reference", "slower")
    mixed = read["precision"].iloc[0]
    assert mixed["low"] < 0.05 / 0.021 < mixed["high"]
    assert mixed["baseline"] == "keras"


def test_planted_ratios_lie_in_their_intervals(read: tables.Tables) -> None:
    """Of 327 intervals at 95%, 16 miss; more than 45 once in 10^9 (binomial). Wrong variant: over rounds."""
    planted = races.NETWORKS | races.ATTENTION
    expected = [
        races.ONE_THREAD
        if row.variation
        else planted[row.technique][row.implementation] / planted[row.technique][row.baseline]
        for row in read["ratios"].itertuples()
    ]
    missed = ((read["ratios"]["low"] > expected) | (read["ratios"]["high"] < expected)).sum()
    speed = [races.SPEED[precision] for precision in read["precision"]["precision"]]
    missed += ((read["precision"]["low"] > speed) | (read["precision"]["high"] < speed)).sum()
    assert missed <= 45


def test_the_newest_of_rows_asked_alike_counts_whatever_their_source(run: Path, tmp_path: Path) -> None:
    """Wrong variant: rows told apart by their key, so that a defect that was fixed stays red for ever."""
    folder = synthetic.begin(tmp_path / "run")
    asked = setting("residual", "reference", "float32")
    for month, source, outcome in (("02", "new", "passed"), ("01", "old", "failed")):
        when = f"2026-{month}-01T10:00:00+00:00"
        row = synthetic.property_row(asked | {"source": source}, "counts_are_exact", outcome, when=when)
        folder.append(PROPERTIES, row)
    assert tables.read([folder.path])["conformance"][["outcome", "source"]].to_numpy().tolist() == [["passed", "new"]]
    once, twice = tables.read([run]), tables.read([run, run])
    assert {name: len(frame) for name, frame in once.frames.items()} == {name: len(twice[name]) for name in once.frames}


def test_a_timing_counts_only_properties_of_its_own_sources(tmp_path: Path) -> None:
    """Wrong variant: a timing called right, or red, because of properties that ran on an older implementation."""
    folder = synthetic.begin(tmp_path / "run")
    asked = setting("residual", "reference", "float32")
    folder.append(PROPERTIES, synthetic.property_row(asked | {"source": "suite-edited"}, "counts_are_exact", "failed"))
    entries = []
    for operation, source in (("train", "bench-edited"), ("inference", "bench-older")):
        workload = {"workload": "resnet20-digits", "parameters": {}, "operation": operation, "seed": 0}
        entries.append(races.timing_entry(asked | workload | {"source": source}, [(0.1, 0, 0), (0.1, 1, 0)]))
    folder.write_timings({"benchmarks": entries, "failures": []})
    timings = tables.read([folder.path])["timings"].set_index("operation")
    assert timings["properties_failed"]["train"] == 1
    assert timings["properties_failed"].isna()["inference"]


def test_a_contender_that_finished_after_all_has_not_failed(tmp_path: Path) -> None:
    """Wrong variant: an old failure shown beside the timing that replaced it."""
    folder = synthetic.begin(tmp_path / "run")
    failure = synthetic.failure_row()
    entry = races.timing_entry(failure["asked"], [(0.1, 0, 0), (0.1, 0, 0)])
    folder.write_timings({"benchmarks": [entry], "failures": [failure]})
    read = tables.read([folder.path])
    assert (len(read["timings"]), len(read["failures"])) == (1, 0)


def test_two_machines_are_merged_and_never_compared(run: Path, tmp_path: Path) -> None:
    """Wrong variant: ratios over the reference of another machine, which would be 3 here."""
    other = synthetic.write_run(tmp_path / "other", Machine("Another CPU", slowness=3.0, seed=1))
    merged = tables.read([run, other.path])
    assert merged["timings"]["place"].unique().tolist() == [
        "A: Invented CPU @ 2.00GHz, 2 cores",
        "B: Another CPU, 2 cores",
    ]
    assert len(merged["ratios"]) == 2 * len(tables.read([run])["ratios"])
    assert merged["ratios"]["ratio"].max() < 2.7
    text = render_page(merged)
    assert text.count("B: Another CPU, 2 cores") > 2
    assert "(B)" in text


def raced(path: Path, *sessions: dict[races.Named, float], backends: Sequence[str] = ()) -> tables.Tables:
    """A folder in which each session raced some contenders on the same work, an hour apart."""
    folder, entries = synthetic.begin(path), []
    for number, times in enumerate(sessions):
        for entry in races.race(np.random.default_rng(number), "residual", "w", {}, "train", times):
            info = entry["extra_info"]
            info["asked"] |= {"backend": backends[number]} if backends else {}
            info |= {
                "key": key_of(info["asked"]),
                "race": f"race-{number}",
                "when": f"2026-01-01T{10 + number}:00:00+00:00",
            }
            entries.append(entry)
    folder.write_timings({"benchmarks": entries, "failures": []})
    return tables.read([path])


def test_contenders_that_raced_apart_have_no_ratio_and_the_page_says_so(tmp_path: Path) -> None:
    """Wrong variant: a ratio over the reference of an hour ago, whose interval knows nothing of that hour."""
    first: dict[races.Named, float] = {(name, "float32"): 0.02 for name in ("reference", "keras")}
    later: dict[races.Named, float] = {(name, "float32"): 0.03 for name in ("reference", "mine", "again")}
    read = raced(tmp_path / "run", first, later)
    assert sorted(read["timings"]["implementation"]) == ["again", "keras", "mine", "reference"]
    assert read["ratios"]["implementation"].tolist() == ["mine"]
    assert read["noise"]["race"].tolist() == ["race-1"]
    assert read["timings"].set_index("implementation")["apart"].to_dict() == {
        "again": False,
        "keras": True,
        "mine": False,
        "reference": False,
    }
    assert render_page(read).count(">raced apart<") == 1


def test_two_backends_that_raced_apart_are_not_compared_and_nothing_with_itself(tmp_path: Path) -> None:
    """Torch's reference in a precision that JAX lacks had a ratio to itself, 1.00 [1.00, 1.00]."""
    jax: dict[races.Named, float] = {("reference", "float32"): 0.02, ("keras", "float32"): 0.03}
    torch: dict[races.Named, float] = jax | {("reference", "mixed_bfloat16"): 0.01, ("without", "float32"): 0.01}
    read = raced(tmp_path / "run", jax, torch, backends=("jax", "torch"))
    for name in ("ratios", "precision", "noise"):
        assert (read[name]["backend"] == read[name]["baseline_backend"]).all()
        assert (read[name]["key"] != read[name]["baseline_key"]).all()
    compared = read["ratios"][["backend", "implementation", "precision", "baseline"]].to_numpy().tolist()
    assert sorted(compared) == [
        ["jax", "keras", "float32", "reference"],
        ["torch", "keras", "float32", "reference"],
        ["torch", "reference", "float32", "without"],
    ]
    assert read["precision"][["backend", "precision"]].to_numpy().tolist() == [["torch", "mixed_bfloat16"]]
    assert not read["timings"]["apart"].any()


def test_backends_of_one_race_are_compared_with_the_first_and_none_with_itself(tmp_path: Path) -> None:
    """The first may lack a precision; another backend is then no stand-in for it."""
    folder, entries = synthetic.begin(tmp_path / "run"), []
    times: dict[races.Named, float] = {("reference", "float32"): 0.02, ("reference", "mixed_bfloat16"): 0.01}
    for backend in ("tensorflow", "jax", "torch"):
        for entry in races.race(np.random.default_rng(0), "residual", "w", {}, "train", times):
            info = entry["extra_info"]
            info["asked"]["backend"] = backend
            info["key"] = key_of(info["asked"])
            if backend != "tensorflow" or info["asked"]["precision"] == "float32":
                entries.append(entry)
    folder.write_timings({"benchmarks": entries, "failures": []})
    ratios = tables.read([folder.path])["ratios"]
    compared = ratios[["backend", "precision", "baseline_backend"]].to_numpy().tolist()
    assert sorted(compared) == [["jax", "float32", "tensorflow"], ["torch", "float32", "tensorflow"]]


@pytest.mark.parametrize("parts", ["", "properties", "timings", "failures", "trials", "properties failures"])
def test_missing_pieces_still_give_a_page(parts: str, tmp_path: Path) -> None:
    """Wrong variant: a maximum over no rows, a table without columns, an empty plot."""
    folder = synthetic.write_run(tmp_path / "run", parts=parts)
    assert main([str(folder.path)]) == 0
    parsed = Parsed((folder.path / "report" / "index.html").read_text(encoding="utf-8"))
    headings = " ".join(parsed.texts["h2"])
    assert headings == "Worth it here? Conformance What this run could see Timings Precision Claims Provenance"


def test_numbers_that_are_not_finite_do_not_break_the_page(tmp_path: Path) -> None:
    """Wrong variant: a plot scaled to NaN, or an arm that diverged counted as beaten or unbeaten at random."""
    folder = synthetic.begin(tmp_path / "run")
    for row in synthetic.trial_rows(seeds=2):
        folder.append(TRIALS, row | {"metrics": {"loss": math.nan, "gradient": math.inf}})
    asked = synthetic.failure_row()["asked"]
    bare = races.timing_entry(asked, [(0.1, 0, 0)], memory=None, first_call_s=None, build_s=None, items=None)
    folder.write_timings({"benchmarks": [bare], "failures": []})
    read = tables.read([folder.path])
    assert set(read["claims"]["verdict"]) == {"undecided"}
    assert "not measured" in render_page(read)


def test_nasty_strings_are_shown_and_never_run(tmp_path: Path) -> None:
    """Wrong variant: a string marked safe, a link of any scheme, or a title of a plot that is not escaped."""
    nasty = "<script>alert(1)</script>\"'&<b>"
    folder = synthetic.begin(tmp_path / "run", Machine(nasty))
    asked = setting("residual", nasty, "float32")
    known = {"reason": nasty, "link": "javascript:alert(1)"}
    beside = {"message": nasty, "example": nasty, "known": known, "statement": nasty, "command": nasty}
    folder.append(PROPERTIES, synthetic.property_row(asked, nasty, "failed", **beside))
    for row in synthetic.trial_rows():
        definition = row["definition"] | {"statement": nasty, "source": nasty}
        folder.append(TRIALS, row | {"asked": row["asked"] | {"arm": nasty}, "definition": definition})
    times: dict[races.Named, float] = {(name, "float32"): 0.02 for name in ("reference", nasty)}
    entries = list(races.race(np.random.default_rng(0), "residual", nasty, {nasty: 3}, nasty, times))
    folder.write_timings(
        {"benchmarks": entries, "failures": [synthetic.failure_row() | {"reason": nasty, "phase": nasty}]}
    )
    parsed = Parsed(render_page(tables.read([folder.path])))
    assert sum(tag == "script" for tag, _ in parsed.elements) == 1
    assert not any(value.startswith("javascript:") for value in parsed.values("href"))
    assert nasty in parsed.texts["pre"]
    assert any(nasty in text for text in parsed.texts["svg"])


def test_what_a_property_says_stands_once_and_its_command_where_it_failed(tmp_path: Path) -> None:
    """Wrong variant: statement and command again for each implementation and precision, megabytes of them."""
    folder = synthetic.begin(tmp_path / "run")
    for name in ("reference", "keras"):
        for precision in ("float32", "mixed_float16"):
            asked, outcome = setting("residual", name, precision), "failed" if name == "keras" else "passed"
            folder.append(PROPERTIES, synthetic.property_row(asked, "holds", "passed", statement="It holds."))
            beside = {"statement": "It never breaks.", "command": f"again {name} {precision}"}
            folder.append(PROPERTIES, synthetic.property_row(asked, "never_breaks", outcome, **beside))
    page = render_page(tables.read([folder.path]))
    assert page.count("It holds.") == 1
    assert page.count("It never breaks.") == 1
    assert page.count('popover id="') == 2, "a box where it failed"
    assert page.index("It never breaks.") < page.index("It holds."), "where implementations differ comes first"
    assert "again keras float32" in page
    assert "again reference float32" not in page


def test_the_page_stands_alone(page: str) -> None:
    """Wrong variant: a script, style or font from elsewhere; two plots with one identifier; a link into nowhere."""
    parsed = Parsed(page)
    assert not list(parsed.values("src"))
    assert "@import" not in page
    assert "url(" not in page.replace("url(#", "")
    identifiers = list(parsed.values("id"))
    assert len(identifiers) == len(set(identifiers))
    for tag, attributes in parsed.elements:
        link = attributes.get("href") or ""
        if link.startswith("#"):
            assert link[1:] in identifiers, link
        elif tag == "link":
            assert link == "data:,"
        elif tag == "a" and not link.startswith("https://github.com/"):
            assert link.removesuffix(".csv").removesuffix(".parquet") in tables.COLUMNS
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(identifiers)


def test_the_page_can_be_read_without_eyes_and_without_a_mouse(page: str) -> None:
    """Wrong variant: headers without scope, sorting on bare cells, plots without a name, colour as the only sign."""
    parsed = Parsed(page)
    tags = [tag for tag, _ in parsed.elements]
    assert [tags.count(tag) for tag in ("main", "nav", "header", "footer", "h1")] == [1] * 5
    assert all("scope" in attributes for tag, attributes in parsed.elements if tag == "th")
    assert all(
        "aria-labelledby" in attributes for tag, attributes in parsed.elements if tag == "svg" and "role" in attributes
    )
    assert all({"role", "aria-hidden"} & attributes.keys() for tag, attributes in parsed.elements if tag == "svg")
    assert page.count('aria-sort="none"><button type="button">') > 10
    assert "✗ fails 1 of 3" in page  # a timing whose implementation fails says so in words
    assert "◆ 1 known defect</a>" in page
    assert "no result" in page
    assert "killed by signal 9" in page


def test_memory_that_was_not_measured_is_not_zero(read: tables.Tables) -> None:
    """Wrong variant: a missing peak read as the baseline, or a peak that never rose called 0 MiB."""
    unmeasured = read["timings"].query("operation == 'inference'")["memory_bytes"]
    assert unmeasured.isna().all()
    assert (read["timings"]["memory_bytes"].dropna() > 0).all()
    ratio = read["precision"].query("operation == 'train'")["memory_ratio"]
    np.testing.assert_allclose(ratio, (450 - 320) / (600 - 320))


def test_what_is_not_provided_did_not_fail(tmp_path: Path) -> None:
    """Wrong variant: a network that a peer does not offer, shown in red as one that crashed."""
    folder = synthetic.begin(tmp_path / "run")
    row = synthetic.failure_row() | {"outcome": "not provided", "reason": "keras does not provide cifar_resnet"}
    folder.write_timings({"benchmarks": [], "failures": [row]})
    page = render_page(tables.read([folder.path]))
    assert "not provided: keras does not provide cifar_resnet" in page
    assert "no result</b>" not in page


def test_a_ratio_is_turned_round_for_what_it_was_compared_with() -> None:
    """Wrong variant: ends not exchanged, "slower" said of what is faster, or a division by an unknown end's zero."""
    row = {"ratio": 1.25, "low": 1.0, "high": 2.0, "verdict": "slower", "key": "k"}
    assert comparisons.inverse(row) == {"ratio": 0.8, "low": 0.5, "high": 1.0, "verdict": "faster", "key": "k"}
    unknown = comparisons.inverse(row | {"low": 0.0, "high": math.inf, "verdict": "undecided"})
    assert (unknown["low"], unknown["high"], unknown["verdict"]) == (0.0, math.inf, "undecided")


def gain(low: float, high: float) -> Interval:
    """An interval of a ratio over three heats."""
    return Interval((low + high) / 2, low, high, 0.5, 3, "heats")


@pytest.mark.parametrize(
    ("low", "high", "q", "expected"),
    [
        (1.01, 1.2, 0.01, Speed.SLOWER),
        (1.01, 1.2, 0.2, Speed.UNDECIDED),  # wrong variant: no correction for the number of ratios
        (0.8, 0.99, 0.01, Speed.FASTER),
        (0.97, 1.03, 0.9, Speed.EQUIVALENT),
        (0.9, 1.2, 0.9, Speed.UNDECIDED),  # wrong variant: "not significant" read as "no difference"
    ],
)
def test_verdict_of_a_ratio(low: float, high: float, q: float, expected: Speed) -> None:
    """A difference, no difference, and cannot tell are three answers."""
    assert verdicts.of_ratio(gain(low, high), q) is expected


def test_plots_are_inline_themed_and_named() -> None:
    """Wrong variant: matplotlib's own colours, which vanish in the dark; its style element, which styles the page."""
    forest = Forest("A <title>", "d", [Dot("w", "s", 1.1, 1.0, 1.2), Dot("w", "t", 2.0, 0.0, math.inf)])
    curve = Curve("plain", [8.0, 20.0], [0.1, 0.2], observations=[(8.0, 0.1), (20.0, 0.2)], missing=[20.0])
    for plot in (forest, Curves("A <title>", "d", "depth", "loss", [curve], log_y=True)):
        svg = render(plot, "p7")
        assert svg.startswith("<svg")
        assert "<style" not in svg
        assert "#0102" not in svg
        assert "A &lt;title&gt;" in svg
        assert all(value.startswith("p7-") for value in Parsed(svg).values("id"))
        assert "var(--series-1)" in svg


def test_numbers_on_an_axis_stay_as_they_are_though_coordinates_are_shortened() -> None:
    """Wrong variant: a rate of 0.0111 that is called 0.0."""
    curve = Curve("plain", [0.00123, 0.0111, 0.1], [0.00125, 0.1, 0.2])
    svg = render(Curves("t", "d", "rate", "loss", [curve], log_x=True, log_y=True), "p1")
    assert {"0.00123", "0.0111"} <= set(re.findall(r">([\d.]+)</text>", svg))
    assert re.findall(r"[ \"]\d+\.\d\d+", "".join(re.findall(r' d="[^"]*"', svg))) == []


@pytest.mark.parametrize(
    ("low", "high"), [(0.93, 1.36), (0.2, 8.0), (0.95, 2.6), (0.001, 5000.0), (20.0, 420.0), (0.5, 1e30)]
)
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    """Wrong variant: a fixed step, which gives none between 0.93 and 1.36 or thousands up to 5000."""
    ticks = round_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(ticks)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "no run.json"), ({}, "no run.json"), ({"run.json": {"format": 99}}, "format 99")],
)
def test_bad_input_is_one_line_and_exit_two(
    content: dict[str, object] | None, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variant: a traceback, or a report of nothing."""
    path = tmp_path / "run"
    if content is not None:
        path.mkdir()
        for name, value in content.items():
            (path / name).write_text(json.dumps(value), encoding="utf-8")
    assert main([str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert expected in error
    assert not (path / "report").exists()


def test_the_last_line_says_where_the_report_lies(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong variant: the summary after the path, so that scripts cannot find it."""
    assert main([str(run), "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(tmp_path / "out" / "index.html")
    (residual,) = [line for line in out.splitlines() if line.startswith("Residual networks: ")]
    assert residual.startswith("Residual networks: pays. The claim “Shortcuts let gradient")
    assert re.search(
        r" A step of resnet20-\w+ with shortcuts takes 1\.\d+× \[.*\] the time of the same network", residual
    )
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".csv", ".parquet"}


def test_reports_never_load_a_framework_and_help_loads_nothing_heavy(run: Path, tmp_path: Path) -> None:
    """Wrong variant: an import of pandas or of the suites at the top of ``reports.__main__``."""
    code = "import sys, reports.__main__ as m; early = set(sys.modules); m.main(sys.argv[1:]); print(); "
    code += "print(sorted({'pandas', 'matplotlib', 'scipy', 'numpy', 'jinja2', 'rich'} & early), "
    code += "sorted({'tensorflow', 'keras', 'jax', 'torch', 'suites', 'benchmarks'} & set(sys.modules)))"
    command = [sys.executable, "-c", code, str(run), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.splitlines()[-1] == "[] []"
