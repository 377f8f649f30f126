"""What others read of a run folder: `python -m reports export`."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from reports.__main__ import main
from reports.pages import printed
from reports.pages.exports import FIGURES, FORMATS, export, figures
from reports.plots import svg
from reports.plots.kinds import Dot, Forest
from reports.store.run_folder import RunFolder
from reports.tables import trackers
from reports.tables.frames import Tables, read
from reports.tables.frames import records as rows_of
from reports.verbs import export as verb
from suites.selftest import synthetic_run as synthetic

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return synthetic.write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def tables(run: RunFolder) -> Tables:
    return read([run.path])


def loaded(tables: Tables, name: str) -> Any:
    (content,) = export(tables, [name]).values()
    return json.loads(content)


def test_all_formats_are_written_by_default_and_one_where_it_is_asked_for(run: RunFolder, tmp_path: Path) -> None:
    """Wrong variants: a format that the command line does not know; one that is never written; a report beside it."""
    assert {*verb.FORMATS} == {*FORMATS, *FIGURES}
    small = synthetic.write_run(tmp_path / "run", parts="properties timings").path
    assert main(["export", str(small), "--output", str(tmp_path / "all")]) == 0
    endings = {path.suffix for path in (tmp_path / "all").iterdir()}
    assert endings == {".json", ".csv", ".parquet", ".md", ".tex", ".svg", ".pdf", ".png"}
    asked = ["--format", "bencher", "--format", "markdown"]
    assert main(["export", str(run.path), "--output", str(tmp_path / "two"), *asked]) == 0
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {"bencher.json", "timings.md", "ratios.md", "verdicts.md", "claims.md", "conformance.md"}


def test_names_are_unique_and_stable(tables: Tables, tmp_path: Path) -> None:
    """Wrong variants: two precisions under one name; a key, a number or a date in it."""
    entries = loaded(tables, "github-action-benchmark")
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names) > 300
    again = loaded(read([synthetic.write_run(tmp_path / "later").path]), "github-action-benchmark")
    assert [entry["name"] for entry in again] == names
    assert "residual/resnet20-digits/train[keras-float32-tensorflow-cpu-quick], seconds per step" in names


def test_two_contenders_that_share_all_that_names_them_are_told_apart(tables: Tables) -> None:
    """Wrong variant: one takes the other's place, since both have the same parameters but one."""
    row = rows_of(tables["timings"])[0]
    frame = pd.DataFrame([row, row | {"key": "another", "seed": 7}])
    found = trackers.tracked(Tables([], {**tables.frames, "timings": frame}, {}, {}, {}))
    assert len({(each.name, each.measure) for each in found}) == len(found)


def test_github_action_benchmark_gets_interval_verdict_and_command(tables: Tables) -> None:
    """Wrong variants: a standard deviation as the range; a number as text, which it refuses."""
    row = next(r for r in rows_of(tables["ratios"]) if r["implementation"] == "keras" and r["precision"] == "float32")
    timing = next(r for r in rows_of(tables["timings"]) if r["key"] == row["key"])
    name = f"{row['technique']}/{row['workload']}/{row['operation']}[keras-float32-tensorflow-cpu-quick]"
    entries = {entry["name"]: entry for entry in loaded(tables, "github-action-benchmark")}
    for entry in entries.values():
        assert {name: type(value) for name, value in entry.items() if name != "value"} == dict.fromkeys(
            ("name", "unit", "range", "extra"), str
        )
        assert entry["value"] > 0
    time, ratio = entries[f"{name}, seconds per step"], entries[f"{name}, times the reference"]
    assert time["value"] == timing["seconds"]
    assert ratio["value"] == row["ratio"]
    assert re.fullmatch(r"\[[\d.]+, [\d.]+\]", ratio["range"])
    assert ratio["extra"] == f"{row['verdict']}\n{timing['command']}"
    assert f"the reference: {row['verdict']}" in time["extra"]


def test_bencher_gets_values_and_bounds(tables: Tables) -> None:
    """Wrong variants: an infinite bound, which is no JSON; a measure whose name depends on whether there is a bound."""
    found = loaded(tables, "bencher")
    for measures in found.values():
        for measure, numbers in measures.items():
            assert measure.endswith(", 95% interval")
            assert {"value"} <= numbers.keys() <= {"value", "lower_value", "upper_value"}
            if "lower_value" in numbers:
                assert numbers["lower_value"] <= numbers["value"] <= numbers["upper_value"]
    row = next(r for r in rows_of(tables["timings"]) if r["implementation"] == "reference")
    name = f"{row['technique']}/{row['workload']}/{row['operation']}[reference-{row['precision']}-tensorflow-cpu-quick]"
    assert found[name]["seconds per step, 95% interval"] == {
        "value": row["seconds"],
        "lower_value": row["low"],
        "upper_value": row["high"],
    }


HOSTILE = r"a|b & c_d 100% $x$ #1 {e} ~f ^g \h <script> [l](javascript:1) `m` *n*" + "\nnext"


def test_markdown_says_what_the_cell_says() -> None:
    """Wrong variants: a bar that opens a column, a line break that ends the table, a tag, a link, emphasis."""
    frame = pd.DataFrame([{"Name": HOSTILE, "Value": "1"}]).map(printed._one_line)
    (content,) = printed.markdown({"timings": frame}).values()
    title, empty, head, rule, row, end = content.decode().split("\n")
    assert (title, empty, end) == ("## Seconds per step", "", "")
    assert head.count("|") == rule.count("|") == len(re.findall(r"(?<!\\)\|", row)) == 3
    cell = re.split(r" (?<!\\)\| ", row.strip("| "))[0]
    assert re.sub(r"\\([\\`*_{}\[\]<>|~#&!$@])", r"\1", cell) == " ".join(HOSTILE.split())
    assert not re.search(r"(?<!\\)[<\[`*_]", cell)
    assert r"\\h" in cell


def test_latex_escapes_what_latex_reads() -> None:
    """Wrong variants: an ampersand opens a column, a percent sign swallows the line, a macro runs."""
    frame = pd.DataFrame([{"100% of_it": HOSTILE, "Value": "1"}]).map(printed._one_line)
    (content,) = printed.latex({"timings": frame}).values()
    text = content.decode()
    assert text.startswith("% \\usepackage{booktabs")
    assert r"100\% of\_it & Value \\" in text
    row = next(line for line in text.splitlines() if "script" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 1
    assert not re.search(r"(?<!\\)[%$#_]", row)
    assert r"\h " not in row
    assert r"\textbackslash h" in row


def test_the_tables_that_people_read_hold_every_contender_and_failure(tables: Tables) -> None:
    """Wrong variants: a row lost; a known defect that reads like any other; a count without its denominator."""
    found = printed.printed(tables)
    assert len(found["timings"]) == len(tables["timings"])
    assert len(found["ratios"]) == len(tables["ratios"]) + len(tables["precision"])
    keras = found["conformance"]
    keras = keras[(keras["Technique"] == "additive_attention") & (keras["Implementation"] == "keras")]
    assert set(keras["Hold"]) == {"3 of 4"}
    assert set(keras["Fail"]) == {"fully_masked_row_gives_zeros (known)"}
    assert (found["claims"]["Verdict"] != "").all()
    (verdict,) = found["verdicts"].to_dict("records")
    assert verdict["As published"] == "reproduced"
    assert verdict["Tuned"] == "nothing to tune"
    assert verdict["Because"].startswith("residual over plain in ")


def test_csv_is_that_of_the_report(tables: Tables) -> None:
    (content,) = (c for name, c in export(tables, ["csv"]).items() if name == "ratios.csv")
    assert len(list(csv.reader(io.StringIO(content.decode())))) == len(tables["ratios"]) + 1


def test_each_figure_is_drawn_in_the_colours_of_print(tables: Tables) -> None:
    """Wrong variants: stand-in colours, which are all but black; no title, which the page has beside the figure."""
    drawn = figures(tables)
    assert len(drawn) > 5
    name, plot = next((name, plot) for name, plot in drawn.items() if isinstance(plot, Forest))
    assert re.fullmatch(r"figure-\d{3}-[a-z0-9-]+", name)
    for each in list(drawn.values())[:8]:
        text = svg.save(each, ["svg"])["svg"].decode()
        assert "#0102" not in text
        assert each.title in "".join(ElementTree.fromstring(text).itertext())
    files = svg.save(plot, FIGURES)
    assert files["png"].startswith(b"\x89PNG")
    assert files["pdf"].startswith(b"%PDF")
    assert files == svg.save(plot, FIGURES)


def test_the_colours_of_print_are_those_of_the_page_in_the_light() -> None:
    css = (Path(svg.__file__).parents[1] / "pages" / "templates" / "style.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}),", css))
    for stand_in, printed_colour in svg.PRINTED.items():
        assert light[svg._VARIABLES[stand_in].removeprefix("var(--").removesuffix(")")] == printed_colour


def test_a_figure_of_hostile_names_is_xml_and_no_formula() -> None:
    """Wrong variants: a dollar begins a formula that cannot be parsed; a control character, which no XML may hold."""
    plot = Forest("t\0 & <b>", "d", [Dot("$\\frac{$ \x1b", "$x", 1.1, 1.0, 1.2)])
    ElementTree.fromstring(svg.save(plot, ["svg"])["svg"])
    assert "frac" in svg.render(plot, "p")


def test_a_run_without_a_measurement_exports_what_there_is(tmp_path: Path) -> None:
    """Wrong variant: an empty table ends in a traceback."""
    path = synthetic.write_run(tmp_path / "run", parts="properties").path
    assert main(["export", str(path), "--output", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "bencher.json").read_text()) == {}
    assert not (tmp_path / "out" / "timings.md").exists()


def test_the_verdicts_in_the_docs_are_those_of_the_sample(tmp_path: Path) -> None:
    """Wrong variant: trials that were run again, and a table that still tells what came of those before."""
    words = ["export", str(ROOT / "reports" / "samples" / "standard"), "--format", "markdown"]
    assert main([*words, "--output", str(tmp_path)]) == 0
    told = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    for name in ("verdicts.md", "claims.md"):
        assert (tmp_path / name).read_text(encoding="utf-8") in told
