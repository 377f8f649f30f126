"""The conformance matrix: what stands first, how a cell says what happened, and what is known and what is not."""

from pathlib import Path
from typing import Any

import pytest

from reports.pages.conformance import Matrix
from reports.pages.report import Page, render_page
from reports.store.run_folder import PROPERTIES
from reports.tables import frames as tables
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import setting

KNOWN = {"reason": "adds a large number", "link": ""}


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    """Four properties on two implementations, in two precisions; one row for all that can happen."""
    folder = synthetic.begin(tmp_path / "run")
    outcomes = {
        "all_pass": ("passed", None),
        "not_there": ("not provided", None),
        "surprises": ("failed", None),
        "known_to_break": ("failed", KNOWN),
    }
    for name, (outcome, known) in outcomes.items():
        for implementation in ("keras", "reference"):
            for precision in ("mixed_float16", "float32")[: 1 if name == "not_there" else 2]:
                asked = setting("additive_attention", implementation, precision)
                found = outcome if implementation == "keras" else "passed"
                row = synthetic.property_row(asked, name, found, known=known, worst_error=None)
                folder.append(PROPERTIES, row)
    (found_matrix,) = Page(tables.read([folder.path])).conformance()
    assert render_page(tables.read([folder.path]))
    return found_matrix


def test_differences_come_first(matrix: Matrix) -> None:
    """Wrong variant: the order of the alphabet, in which what all pass comes first."""
    assert [line.name for line in matrix.lines] == ["known_to_break", "surprises", "not_there", "all_pass"]
    assert matrix.differing == 3


def test_columns_are_read_from_the_reference_in_float32(matrix: Matrix) -> None:
    assert [(column.name, column.precision) for column in matrix.columns] == [
        ("reference", "float32"),
        ("reference", "mixed_float16"),
        ("keras", "float32"),
        ("keras", "mixed_float16"),
    ]
    assert matrix.heads == [("reference", 2), ("keras", 2)]


def test_a_known_defect_is_no_red_failure(matrix: Matrix) -> None:
    """Wrong variant: declared and checked failures in the colour of those that nobody expected."""
    states = {line.name: [cell and cell.state for cell in line.cells] for line in matrix.lines}
    assert states["known_to_break"] == ["pass", "pass", "known", "known"]
    assert states["surprises"] == ["pass", "pass", "fail", "fail"]
    assert states["not_there"] == [None, "pass", None, "none"]
    assert [column.words for column in matrix.columns] == [
        "all 3 pass",
        "all 4 pass",
        "1 of 3 fails, 1 known defect",
        "1 of 3 fails, 1 known defect",
    ]
    assert {column.state for column in matrix.columns[2:]} == {"fail"}


def test_a_cell_says_how_hard_was_looked(tmp_path: Path) -> None:
    """Wrong variants: an error of zero called no number; a folder of an older version that breaks the page."""
    folder = synthetic.begin(tmp_path / "run")
    counts: dict[str, dict[str, Any]] = {
        "a": {"worst_error": 0.0},
        "b": {"discarded": 0, "worst_error": 0.123},
        "c": {"worst_error": None},
    }
    for name, beside in counts.items():
        asked = setting("residual", "reference", "float32")
        folder.append(PROPERTIES, synthetic.property_row(asked, name, **beside))
    older = synthetic.property_row(setting("residual", "reference", "float32"), "d")
    folder.append(PROPERTIES, {name: value for name, value in older.items() if name not in ("examples", "discarded")})
    (found,) = Page(tables.read([folder.path])).conformance()
    said = [cell.effort for line in found.lines for cell in line.cells if cell]
    assert said == ["12 (−3) · exact", "12 · 12%", "12 (−3)", ""]


def test_a_property_shows_the_wrong_variants_that_it_catches(tmp_path: Path) -> None:
    folder = synthetic.begin(tmp_path / "run")
    asked = setting("additive_attention", "reference", "float32")
    folder.append(PROPERTIES, synthetic.property_row(asked, "fully_masked_row_gives_zeros"))
    (found,) = Page(tables.read([folder.path])).conformance()
    assert "mask_adds_minus_1e9" in found.lines[0].catches
    assert f"catches {len(found.lines[0].catches)} wrong variants" in render_page(tables.read([folder.path]))


def test_what_is_lenient_is_apart_from_what_fails(tmp_path: Path) -> None:
    """Wrong variant: an implementation that refuses with another error than ValueError is shown in red."""
    folder = synthetic.begin(tmp_path / "run")
    for name, outcome in (("formula", "passed"), ("misfits_are_refused", "lenient")):
        asked = setting("additive_attention", "mine", "float32")
        message = "a mask of numbers: answered with TypeError" if outcome == "lenient" else ""
        folder.append(PROPERTIES, synthetic.property_row(asked, name, outcome, message=message))
    read = tables.read([folder.path])
    (found,) = Page(read).conformance()
    (column,) = found.columns
    assert (column.words, column.state) == ("1 of 2 pass, 1 lenient", "pass")
    assert [(cell.row["property"], cell.state) for cell, _ in found.opened] == [("misfits_are_refused", "lenient")]
    assert read["conformance"].query("outcome == 'failed'").empty
    assert "a mask of numbers: answered with TypeError" in render_page(read)
