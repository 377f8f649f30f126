"""What every page owes its readers, in a real browser, at both widths, in both schemes, and with all of it open."""

import importlib.util
import json
from pathlib import Path

import pytest

from suites.selftest.chromium import Chromium

PAGES = ("report", "compare", "history", "import")


@pytest.fixture(scope="module")
def axe() -> str:
    """The rules, as a script."""
    found = importlib.util.find_spec("axe_core_python")
    assert found is not None, "axe-core-python is missing; install what requirements/cpu.txt lists"
    assert found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("verb", PAGES)
def test_a_page_fits_is_legible_and_asks_for_nothing(
    browser: Chromium, pages: dict[str, Path], verb: str, width: int, scheme: str
) -> None:
    """WCAG AA asks for a contrast of 4.5.

    Wrong variants: a wide table outside its container, a font from elsewhere, a script that throws, text that is faint.
    """
    page = pages[verb]
    browser.open(page, width, scheme=scheme)
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []
    browser.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("innerWidth") == width  # a phone zooms out where something sticks out
    assert browser.evaluate(CONTRASTS) == []


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


@pytest.mark.parametrize("verb", PAGES)
def test_axe_finds_nothing(browser: Chromium, pages: dict[str, Path], axe: str, verb: str) -> None:
    """Wrong variants: a landmark twice, a scrolling table that no key reaches, a control without a name."""
    for scheme, width in (("light", 1280), ("dark", 390)):
        browser.open(pages[verb], width, scheme=scheme)
        browser.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
        browser.evaluate(f"{axe};0")
        assert found_by(browser, "document") == []


def test_axe_sees_what_is_wrong(browser: Chromium, pages: dict[str, Path], axe: str) -> None:
    """Wrong variant: a script that was never run finds nothing, whatever there is."""
    browser.open(pages["report"])
    browser.evaluate(f"{axe};0")
    browser.evaluate("document.body.append(Object.assign(document.createElement('button'), {id: 'nameless'})); 0")
    assert [rule for rule, _ in found_by(browser, "'#nameless'")] == ["button-name"]


def found_by(browser: Chromium, context: str) -> list[tuple[str, str]]:
    """The rules that something on the page breaks, each with the first that does, of whatever weight."""
    found = browser.evaluate(
        f"axe.run({context}, {{resultTypes: ['violations']}}).then((found) => JSON.stringify("
        "found.violations.map((each) => [each.id, each.nodes[0].html.slice(0, 200)])))"
    )
    return [(rule, html) for rule, html in json.loads(found)]
