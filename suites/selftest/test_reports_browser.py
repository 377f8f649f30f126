"""The report in a real browser, and its script at work."""

from pathlib import Path

import pytest

from suites.selftest.chromium import Chromium


@pytest.fixture(scope="module")
def report(pages: dict[str, Path]) -> Path:
    """The page."""
    return pages["report"]


def test_light_and_dark_differ(browser: Chromium, report: Path) -> None:
    """Wrong variant: one palette for both."""
    papers = set()
    for scheme in ("light", "dark"):
        browser.open(report, scheme=scheme)
        papers.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


CONTROLS = 4
"""Rows at the end of every race, whatever it is sorted by."""


def test_tables_sort_by_number_and_say_so(browser: Chromium, report: Path) -> None:
    """Wrong variant: 12.4 ms sorted before 9.1 ms as text; rows of one workload, or controls, mixed with others."""
    browser.open(report)
    assert browser.evaluate("document.querySelectorAll('#timings-table-1 tbody').length") > 5
    for direction, sign in (("ascending", 1), ("descending", -1)):
        browser.evaluate("document.querySelectorAll('#timings-table-1 thead button')[3].click()")
        assert browser.evaluate("document.querySelectorAll('#timings-table-1 th')[3].ariaSort") == direction
        groups = browser.evaluate(
            "[...document.querySelectorAll('#timings-table-1 tbody')].map((body) =>"
            " [...body.rows].slice(1).map((row) => Number(row.cells[3].dataset.sort)))"
        )
        timed = [group[:-CONTROLS] for group in groups]
        assert all(group == sorted(group, reverse=sign < 0) for group in timed)
        assert {len(group) for group in timed} == {9, 10}  # three contenders at three precisions, and an A/A twin


def test_filter_theme_and_links_work(browser: Chromium, report: Path) -> None:
    """Wrong variant: a filter that leaves empty groups, a switch without effect, a link into a closed box."""
    browser.open(report)
    shown = "[...document.querySelectorAll('#timings-table-1 tbody tr')].filter((row) => row.offsetHeight).length"
    before = browser.evaluate(shown)
    browser.evaluate(
        "(() => { const box = document.getElementById('timings-table-1-filter'); box.value = 'source-16 keras';"
        " box.dispatchEvent(new Event('input')); })()"
    )
    assert 0 < browser.evaluate(shown) < before / 4
    browser.evaluate(
        "(() => { document.getElementById('theme').click(); document.getElementById('theme').click(); })()"
    )
    assert browser.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    browser.evaluate("localStorage.clear()")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_cell_opens_by_the_keyboard_to_its_example(browser: Chromium, report: Path, width: int) -> None:
    """Wrong variants: a cell that only a mouse opens, a box wider than a phone, one that stays over its command."""
    browser.open(report, width)
    browser.evaluate("document.querySelector('td.known button').focus()")
    assert browser.evaluate("document.activeElement.tagName") == "BUTTON"
    browser.press("Enter")
    opened = "document.querySelector(':popover-open')"
    assert "fully masked row" in browser.evaluate(f"{opened}.textContent")
    assert browser.evaluate(f"{opened}.getBoundingClientRect().width") <= width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.evaluate(f"{opened}.querySelector('a[href^=\"#r\"]').click()")
    assert browser.evaluate(opened) is None
    assert browser.evaluate("document.querySelector(location.hash).closest('details').open") is True


@pytest.mark.parametrize("width", [1280, 390])
def test_the_sentence_of_a_property_stays_while_its_row_is_read(browser: Chromium, report: Path, width: int) -> None:
    """Wrong variants: a matrix that moves the page sideways, or one that scrolls its first column or its head away."""
    browser.open(report, width)
    box = "document.querySelector('.matrix').parentElement"
    left = f"{box}.querySelector('tbody th').getBoundingClientRect().left"
    top = f"{box}.querySelector('thead th').getBoundingClientRect().top"
    before = browser.evaluate(left), browser.evaluate(top)
    browser.evaluate(f"{box}.scrollTo(120, 120)")
    assert (browser.evaluate(left), browser.evaluate(top)) == before
    assert browser.evaluate(f"{box}.querySelector('tbody th').getBoundingClientRect().width") < 0.6 * width
