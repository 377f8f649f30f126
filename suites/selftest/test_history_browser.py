"""The history in a real browser: it fits, asks for nothing, and a link leads to the line that moved."""

from pathlib import Path

import pytest

from suites.selftest import synthetic_history as nights
from suites.selftest.chromium import Chromium

SHOWN = "[...document.querySelectorAll('#lines tbody tr[id]')].filter((row) => row.offsetHeight).length"


@pytest.fixture(scope="module")
def page(pages: dict[str, Path]) -> Path:
    """The page."""
    return pages["history"]


def test_only_what_changed_is_shown_and_a_link_keeps_it(browser: Chromium, page: Path) -> None:
    """Wrong variants: lines without a change left; a choice that the address does not keep."""
    browser.open(page)
    assert browser.evaluate(SHOWN) == 36
    browser.evaluate("document.getElementById('lines-only').click()")
    assert browser.evaluate(SHOWN) == 3
    assert browser.evaluate("location.search") == "?lines-only=yes"
    browser.open(page, anchor="?lines-filter=keras+memory&changes-table-sort=3")
    assert browser.evaluate(SHOWN) == 4
    first = browser.evaluate("document.querySelector('#changes-table tbody tr').cells[3].textContent")
    assert first.startswith("0.80×")


def test_a_change_leads_to_its_line_with_a_dot_for_each_run(browser: Chromium, page: Path) -> None:
    """Wrong variants: a link to another line; nights that are not drawn; no step where the level changed."""
    browser.open(page)
    row = "document.querySelector('#changes-table tbody tr')"
    name = browser.evaluate(f"{row}.cells[0].textContent + ', ' + {row}.cells[2].textContent")
    anchor = browser.evaluate(f"{row}.querySelector('a').getAttribute('href')")
    browser.open(page, anchor=f"?lines-filter=nothing{anchor}")
    target = "document.querySelector(':target')"
    assert browser.evaluate(f"{target}.getBoundingClientRect().height") > 0
    assert browser.evaluate(f"{target}.cells[0].textContent + ', ' + {target}.cells[1].textContent") == name
    drawn = f"{target}.querySelector('.dots').getAttribute('d').split('M').length - 1"
    assert browser.evaluate(drawn) == nights.NIGHTS
    assert browser.evaluate(f"{target}.querySelectorAll('.step').length") == 1
    assert browser.evaluate(f"{target}.querySelectorAll('.border').length") == 1


def test_large_drawings_are_named_for_those_who_hear_them(browser: Chromium, page: Path) -> None:
    """Wrong variants: a picture without a name; small ones, beside whose numbers they stand, read out as well."""
    browser.open(page)
    large = "document.querySelectorAll('figure svg[role=img]').length"
    assert browser.evaluate(large) == len(nights.PLANTED)
    named = "[...document.querySelectorAll('figure svg')].every((each) => each.querySelector('title').textContent)"
    assert browser.evaluate(named) is True
    assert browser.evaluate("[...document.querySelectorAll('td svg')].every((each) => each.ariaHidden)") is True
