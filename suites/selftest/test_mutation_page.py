"""What the report says of mutants: counts, an interval where a sample was tried, and changes that nothing noticed."""

from pathlib import Path

import pytest

from reports.pages.mutation import mutation
from reports.pages.report import render_page
from reports.statistics.intervals import share_interval
from reports.store.run_folder import MUTANTS, RunFolderError
from reports.tables import frames as tables
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import row_of, setting


def mutant(number: int, killer: str, of: int = 40) -> synthetic.Row:
    asked = setting("residual", "reference", "float32") | {"mutant": f"residual-{number}"}
    change = {
        "file": "residual",
        "line": number,
        "operator": "constant",
        "code": "x = f(<b>, 2)",
        "old": "2",
        "new": "3",
    }
    return row_of(asked) | change | {"killer": killer, "of": of, "equivalent": 2}


def run(path: Path, of: int = 40) -> list[Path]:
    folder = synthetic.write_run(path, parts="properties")
    for number in range(10):
        folder.append(MUTANTS, mutant(number, "" if number == 3 else "a_property (float32)", of))
    return [path]


def test_a_sample_says_what_share_of_all_is_found(tmp_path: Path) -> None:
    """Wrong variant: a sample's share is printed as if all had been tried."""
    read = tables.read(run(tmp_path / "run"))
    (found,) = mutation(read["mutants"].to_dict("records"), str)
    assert (found.tried, found.found, found.of, found.equivalent) == (10, 9, 40, 2)
    assert (found.low, found.high) == pytest.approx((0.554984, 0.997471), abs=1e-6)  # Clopper-Pearson, of 9 in 10
    (found,) = mutation(tables.read(run(tmp_path / "whole", of=10))["mutants"].to_dict("records"), str)
    assert (found.low, found.high) == (0.9, 0.9), "all were tried"


def test_the_page_names_what_nothing_noticed(tmp_path: Path) -> None:
    html = render_page(tables.read(run(tmp_path / "run")))
    assert 'id="mutation"' in html
    assert "90.0% [55.5%, 99.7%]" in html
    assert "line 3: <code>x = f(&lt;b&gt;, 2)</code> with <code>3</code> for <code>2</code>" in html
    assert "line 4:" not in html


def test_without_mutants_there_is_no_such_section(tmp_path: Path) -> None:
    synthetic.write_run(tmp_path, parts="properties")
    assert 'id="mutation"' not in render_page(tables.read([tmp_path]))


def test_a_row_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path, parts="properties")
    with pytest.raises(RunFolderError, match="killer"):
        folder.append(MUTANTS, {name: value for name, value in mutant(1, "").items() if name != "killer"})


@pytest.mark.parametrize(("successes", "expected"), [(0, (0.0, 0.308497)), (10, (0.691503, 1.0))])
def test_shares_at_the_ends(successes: int, expected: tuple[float, float]) -> None:
    assert share_interval(successes, 10) == pytest.approx(expected, abs=1e-6)
