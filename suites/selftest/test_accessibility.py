"""Every page, held to the rules of axe-core in a real browser: at both widths, in both schemes, with all of it open."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.__main__ import main
from suites.selftest import foreign_files as files
from suites.selftest import synthetic_history
from suites.selftest import synthetic_run as synthetic
from suites.selftest.chromium import Chromium, find
from suites.selftest.synthetic_rows import Machine

CHROMIUM = find()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here; .ci/run installs it (apt-get install chromium)"
)
PAGES = ("report", "compare", "history", "import")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of every kind: of two machines, or of nights with all that a history can show."""
    results = tmp_path_factory.mktemp("results")
    machines = {"first": Machine(), "second": Machine("Another CPU with a rather long name", seed=1)}
    runs = [str(synthetic.write_run(results / name, machine).path) for name, machine in machines.items()]
    content = files.every_kind()
    others = [files.write(results / "a.json", content), files.write(results / "b.json", files.twice_as_slow(content))]
    nights = [str(path) for path in synthetic_history.write(results / "nights")]
    for verb in PAGES:
        given = {"import": [str(path) for path in others], "history": nights}.get(verb, runs)
        assert main([verb, *given, "--output", str(results / verb)]) == 0
    return {verb: results / verb / "index.html" for verb in PAGES}


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for all tests."""
    assert CHROMIUM is not None
    with Chromium(CHROMIUM) as opened:
        yield opened


@pytest.fixture(scope="module")
def axe() -> str:
    """The rules, as a script."""
    found = importlib.util.find_spec("axe_core_python")
    assert found is not None, "axe-core-python is missing; install what requirements/cpu.txt lists"
    assert found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


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
