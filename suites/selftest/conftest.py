"""Where the tests of Touchstone itself run, and what those of its pages look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from suites.selftest.chromium import Chromium, find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what compares an oracle with another library in another process: it may compute with any framework."""
    for item in items:
        if item.path.name.endswith("_oracle.py"):
            item.add_marker(pytest.mark.isolated("oracle"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for the tests of a file.

    It must not outlive them: a process forked for a later test would end it with its own session.
    """
    found = find()
    if found is None:
        pytest.skip("no Chromium here; .ci/run installs it (apt-get install chromium)")
    with Chromium(found) as opened:
        yield opened


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of every kind, by its verb: of two machines, or of nights with all that a history can show."""
    from reports.__main__ import main
    from suites.selftest import foreign_files as files
    from suites.selftest import synthetic_history
    from suites.selftest import synthetic_run as synthetic
    from suites.selftest.synthetic_rows import Machine

    results = tmp_path_factory.mktemp("pages")
    machines = {"first": Machine(), "second": Machine("Another CPU with a rather long name", seed=1)}
    runs = [str(synthetic.write_run(results / name, machine).path) for name, machine in machines.items()]
    content = files.every_kind()
    others = [files.write(results / "a.json", content), files.write(results / "b.json", files.twice_as_slow(content))]
    synthetic_history.write(results / "nights")
    given = {"report": runs, "compare": runs, "history": [str(results / "nights")], "import": [*map(str, others)]}
    for verb, words in given.items():
        assert main([verb, *words, "--output", str(results / verb)]) == 0
    return {verb: results / verb / "index.html" for verb in given}
