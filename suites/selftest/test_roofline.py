"""The roofline plots: which contenders stand where, under which roof, and that both can be seen."""

from typing import Any

import pytest

from reports.plots import svg as plots
from reports.plots.kinds import Mark, Roofline
from reports.plots.roofline import rooflines
from reports.plots.svg import render
from reports.store.run_folder import Row


def row(implementation: str = "reference", **fields: Any) -> Row:
    """A row of the table of timings, with 40 multiply-adds per byte at 20 billion a second."""
    usual = {"place": "a CPU", "device": "cpu", "technique": "residual", "precision": "float32", "variation": ""}
    work = {"multiply_adds": 4_000_000_000, "bytes": 100_000_000, "seconds": 0.2, "rate": 2e10}
    return usual | {"backend": "tensorflow", "implementation": implementation} | work | fields


def matmul(rate: float, **fields: Any) -> Row:
    """The control of a race."""
    return row("control-matmul", multiply_adds=1_000_000, bytes=120_000, seconds=1e6 / rate, rate=rate, **fields)


def copy(rate: float, **fields: Any) -> Row:
    """The other one."""
    return row("control-copy", multiply_adds=0, bytes=1_000_000, seconds=1e6 / rate, rate=None, **fields)


def test_the_roof_is_what_the_controls_of_the_races_reach() -> None:
    """Wrong variants: their fastest race, their mean; the matrix product of another precision or backend."""
    races = [matmul(1e11), matmul(1.1e11), matmul(9e11), copy(1e10), copy(2e10), copy(1.5e10)]
    others = [matmul(5e11, precision="mixed_bfloat16"), matmul(2e10, backend="torch"), matmul(9e12, place="another")]
    (plot,) = rooflines([row(), *races, *others])
    assert plot.products == pytest.approx(1.1e11)
    assert plot.memory == pytest.approx(1.5e10)
    assert plot.ridge == pytest.approx(1.1e11 / 1.5e10)
    assert plot.roof(1.0) == pytest.approx(1.5e10)
    assert plot.roof(100.0) == pytest.approx(1.1e11)
    assert "110 billion multiply-adds per second" in plot.description
    assert "15.0 billion bytes per second" in plot.description


def test_only_contenders_whose_work_is_known_are_marked() -> None:
    """Wrong variants: the controls or the A/A race among the marks, a rate of zero where none was measured."""
    unknown = [row("keras", multiply_adds=None, bytes=None, rate=None), row("keras", seconds=None, rate=None)]
    (plot,) = rooflines([row(), row("torch", rate=1e10), row("again"), *unknown, matmul(1e11), copy(1e10)])
    assert plot.marks == [Mark("reference", 40.0, 2e10, True), Mark("torch", 40.0, 1e10, False)]
    assert list(rooflines([*unknown, matmul(1e11), copy(1e10)])) == []


def test_there_is_a_plot_for_every_machine_and_precision() -> None:
    """Wrong variants: mixed precision under the roof of float32; a slope missing where the copy has one precision."""
    mixed = [row(precision="mixed_bfloat16"), matmul(3e11, precision="mixed_bfloat16")]
    elsewhere = [row(place="another"), matmul(5e11, place="another")]
    first, second, third = rooflines([row(), matmul(1e11), copy(1e10), *mixed, *elsewhere], "Residual networks")
    assert first.title == "Residual networks: float32, a CPU"
    assert second.title == "Residual networks: mixed_bfloat16, a CPU"
    assert third.title == "Residual networks: float32, another"
    assert [first.products, second.products, third.products] == pytest.approx([1e11, 3e11, 5e11])
    assert (first.memory, second.memory, third.memory) == (1e10, 1e10, None)
    assert "memory" not in third.description


def test_series_are_contenders_of_one_technique_or_techniques() -> None:
    """Wrong variant: every contender of every technique in the legend."""
    (one,) = rooflines([row(), row("keras")])
    (several,) = rooflines([row(), row("keras"), row(technique="dot_product_attention")])
    assert [mark.series for mark in one.marks] == ["reference", "keras"]
    assert [mark.series for mark in several.marks] == ["residual", "residual", "dot product attention"]


MARKS = [Mark("reference", 10.0, 1e10), Mark("keras", 10.0, 2e10, False), Mark("keras", 100.0, 3e10, False)]


def test_the_plot_has_a_roof_where_one_is_known_and_shows_references_filled() -> None:
    """Wrong variants: a line at zero for a roof that was not measured; one look for all marks; a name twice."""
    known, unknown = (render(Roofline("A <title>", "d", MARKS, *roof), "p7") for roof in ((1e11, 1e10), (None, None)))
    assert 'id="p7-roof"' in known
    assert 'id="p7-roof"' not in unknown
    for svg in (known, unknown):
        assert "#0102" not in svg
        assert "A &lt;title&gt;" in svg
        assert svg.count(">keras</text>") == svg.count(">reference</text>") == 1
        assert "fill:var(--series-1)" in svg
        assert "fill:var(--series-2)" not in svg  # the peer's marks are hollow
        assert "stroke:var(--series-2)" in svg


@pytest.mark.parametrize("roof", [(1e11, None), (None, 1e10)])
def test_half_a_roof_can_be_drawn(roof: tuple[float | None, float | None]) -> None:
    """Wrong variant: a division by what is missing."""
    assert render(Roofline("title", "d", MARKS, *roof), "p7").startswith("<svg")


def test_more_techniques_than_colours_look_different() -> None:
    """Wrong variant: the seventh series with both colour and marker of the first."""
    looks = plots._series([f"technique {number}" for number in range(36)])
    assert len(set(looks.values())) == 36
