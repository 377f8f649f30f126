"""The comparison in a real browser: what it shows first, what one click shows, and an address that keeps both."""

from pathlib import Path

import pytest

from suites.selftest.chromium import Chromium

SHOWN = "[...document.querySelectorAll('#speed tbody tr[id]')].filter((row) => row.offsetHeight).length"
ROWS = 247


@pytest.fixture(scope="module")
def page(pages: dict[str, Path]) -> Path:
    """The page."""
    return pages["compare"]


def test_plain_columns_come_first_and_the_others_are_one_click_away(browser: Chromium, page: Path) -> None:
    """Wrong variants: all columns at once; a choice that the address does not keep."""
    browser.open(page)
    columns = "[...document.querySelectorAll('#speed-table-1 thead th')].filter((cell) => cell.offsetWidth).length"
    plain = browser.evaluate(columns)
    browser.evaluate("document.getElementById('experts').click()")
    assert browser.evaluate(columns) == plain + 4
    assert browser.evaluate("document.getElementById('experts').ariaPressed") == "true"
    assert browser.evaluate("location.search") == "?experts=yes"
    browser.evaluate("document.getElementById('experts').click()")
    assert browser.evaluate("location.search") == ""


def test_only_differences_leaves_rows_that_differ_and_a_link_keeps_it(browser: Chromium, page: Path) -> None:
    """Wrong variants: rows that are equal left, headings of nothing, ratios that a filter changes."""
    browser.open(page)
    assert browser.evaluate(SHOWN) == ROWS
    first = "document.querySelector('#speed tbody tr[id]').cells[4].textContent"
    before = browser.evaluate(first)
    browser.evaluate("document.getElementById('speed-only').click()")
    assert browser.evaluate(SHOWN) == 0
    assert browser.evaluate("[...document.querySelectorAll('#speed .part')].every((part) => part.hidden)") is True
    browser.open(page, anchor="?speed-only=yes")
    assert browser.evaluate(SHOWN) == 0
    browser.open(page, anchor="?speed-filter=resnet20-digits+keras&theme=dark&speed-table-2-sort=2+down")
    assert browser.evaluate(SHOWN) == 9
    assert browser.evaluate("document.querySelectorAll('#speed-table-2 th')[2].ariaSort") == "descending"
    assert browser.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert browser.evaluate(first) == before


def test_a_link_to_a_row_shows_it_though_a_filter_hides_it(browser: Chromium, page: Path) -> None:
    """Wrong variants: a link that changes with the side's place, one that leads to a hidden row."""
    browser.open(page)
    anchor = browser.evaluate("document.querySelector('#speed tbody tr[id] a').getAttribute('href')")
    browser.open(page, anchor=f"?speed-only=yes{anchor}")
    assert browser.evaluate(f"document.querySelector('{anchor}').getBoundingClientRect().height") > 0
    assert browser.evaluate("document.querySelector(':target').id") == anchor[1:]
