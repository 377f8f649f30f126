"""The report in a real browser: both widths, both schemes, nothing asked of the network, and its script at work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.__main__ import main
from suites.selftest import synthetic_run as synthetic
from suites.selftest.chromium import Chromium, find
from suites.selftest.synthetic_rows import Machine

CHROMIUM = find()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here; .ci/run installs it (apt-get install chromium)"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two machines, with everything that a page can hold."""
    results = tmp_path_factory.mktemp("results")
    runs = [
        synthetic.write_run(results / "first").path,
        synthetic.write_run(results / "second", Machine("Another CPU with a rather long name", seed=1)).path,
    ]
    assert main([*map(str, runs), "--output", str(results / "report")]) == 0
    return results / "report" / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for all tests."""
    assert CHROMIUM is not None
    with Chromium(CHROMIUM) as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_asks_for_nothing(browser: Chromium, report: Path, width: int, scheme: str) -> None:
    """Wrong variant: a wide table outside its container, a font from elsewhere, a script that throws."""
    browser.open(report, width, scheme=scheme)
    assert browser.requests == [report.as_uri()]
    assert browser.complaints == []
    browser.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("innerWidth") == width  # a phone zooms out where something sticks out


def test_light_and_dark_differ_and_are_legible(browser: Chromium, report: Path) -> None:
    """WCAG AA asks for a contrast of 4.5. Wrong variant: one palette for both, or muted text that is too faint."""
    papers = set()
    for scheme in ("light", "dark"):
        browser.open(report, scheme=scheme)
        papers.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert browser.evaluate(CONTRASTS) == []
    assert len(papers) == 2


CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => (v < 10.3 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let box = element; box; box = box.parentElement) layers.unshift(rgb(getComputedStyle(box).backgroundColor));
    const cover = (under, over) => under.map((v, i) => v + ((over[i] - v) * over[3]) / 255);
    return layers.reduce(cover, [255, 255, 255]);
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("main *, header *, nav *, footer *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("svg, [hidden], details:not([open]) > :not(summary)")) continue;
    const [text, behind] = [rgb(getComputedStyle(element).color), ground(element)].map(luminance);
    const contrast = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
    if (contrast < 4.5) faint.add(`${element.className || element.tagName}: ${contrast.toFixed(2)}`);
  }
  return [...faint];
})()"""


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
