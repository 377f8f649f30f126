"""Which mutants are tried: of all techniques or of those that are named, all of them or a sample."""

import random
from collections.abc import Generator
from typing import Any

import pytest

from reports.store.run_folder import MUTANTS
from suites.implementations import implementation, source_digest, techniques
from suites.mutation import engine
from suites.mutation.changes import changed_lines
from suites.mutation.engine import reason
from suites.mutation.operators import Mutant, mutants
from suites.properties import modules_of
from suites.recording import folder_of, row_of, select

GOAL = 0.95
"""The share of a technique's mutants, less the equivalent ones, that its properties have to find."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What to try."""
    group = parser.getgroup("touchstone mutation")
    group.addoption("--technique", action="append", default=[], metavar="NAME", help="mutate this one; may be repeated")
    group.addoption(
        "--since", metavar="REVISION", help="try mutants of the lines that are new since this revision of git"
    )
    group.addoption(
        "--sample", type=int, metavar="N", help="try so many mutants of each technique, drawn by their names"
    )
    group.addoption("--draw", default="", metavar="NAME", help="draw another sample, the same one for the same name")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per mutant."""
    if "mutant" in metafunc.fixturenames:
        option = metafunc.config.option
        if unknown := set(option.technique) - set(techniques()):
            raise pytest.UsageError(f"--technique {', '.join(unknown)}: expected of {', '.join(techniques())}")
        try:
            lines = changed_lines(option.since) if option.since else None
        except ValueError as error:
            raise pytest.UsageError(f"--since: {error}") from None
        chosen = [
            each
            for name in option.technique or techniques()
            for each in sample(
                [m for m in told(name, option) if lines is None or m.line in lines.get(m.file, ())],
                option.sample,
                option.draw,
            )
        ]
        metafunc.parametrize(
            "mutant", [pytest.param(each, marks=pytest.mark.isolated(each)) for each in chosen], ids=str
        )


def told(technique: str, option: Any) -> list[Mutant]:
    """A technique's mutants, without those that nobody could tell from the reference where this session runs."""
    return [each for each in mutants(technique) if reason(each, option.backend, option.device) is None]


def sample(found: list[Mutant], size: int | None, draw: str = "") -> list[Mutant]:
    """So many of them, the same ones until their lines are changed; of each name that is drawn by, others."""
    drawn = sorted(found, key=lambda each: random.Random(draw + each.identity).random())[:size]
    return found if size is None else [each for each in found if each in drawn]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """No line of a reference is new: then there is nothing to try, and nothing wrong."""
    if session.config.option.since and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the run folder holds already, and the item that stands for an empty set of mutants."""
    items[:] = [item for item in items if "mutant" not in getattr(item, "fixturenames", ()) or mutant_of(item)]
    select(config, items, _asked)


def _asked(item: pytest.Item) -> dict[str, Any] | None:
    mutant = mutant_of(item)
    if mutant is None:
        return None
    option: Any = item.config.option
    reference = implementation(mutant.technique, "reference")
    return {
        "technique": mutant.technique,
        "mutant": mutant.identity,
        "implementation": reference.name,
        "backend": option.backend,
        "precision": engine.PRECISIONS[0],
        "device": option.device,
        "scale": option.scale,
        "source": f"{source_digest(*modules_of(mutant.technique))}-{reference.digest}",
    }


def mutant_of(item: pytest.Item) -> Mutant | None:
    """The mutant of an item, else ``None``."""
    found = getattr(getattr(item, "callspec", None), "params", {}).get("mutant")
    return found if isinstance(found, Mutant) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Write the row of a mutant: its killer is a property, or ``process`` where its process ended or hung."""
    report = yield
    mutant = mutant_of(item)
    interrupted = call.excinfo is not None and isinstance(call.excinfo.value, KeyboardInterrupt)
    if mutant is None or call.when != "call" or interrupted:
        return report
    noted: dict[str, Any] = dict(report.user_properties)
    killer = noted.get("killer", "process")
    if killer == "process":  # which is a way of being found
        report.outcome, report.longrepr = "passed", None
    report.user_properties.append(("killed", (mutant.technique, killer)))  # for the summary, in another process
    if (folder := folder_of(item.config)) is not None:
        every, tried = mutants(mutant.technique), told(mutant.technique, item.config.option)
        change = {name: getattr(mutant, name) for name in ("file", "line", "operator", "code", "old", "new")}
        counts = {"of": len(tried), "equivalent": len(every) - len(tried)}
        folder.append(MUTANTS, row_of(item, None, **change, killer=killer, **counts))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The share of each technique's mutants that was found in this session."""
    killed = [
        noted[1]
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for noted in getattr(report, "user_properties", ())
        if report.when == "call" and noted[0] == "killed"
    ]
    for technique in dict.fromkeys(name for name, _ in killed):
        killers = [killer for name, killer in killed if name == technique]
        found = sum(map(bool, killers))
        share = f"{found} of {len(killers)} mutants found, {found / len(killers):.1%}"
        terminalreporter.write_line(f"{technique}: {share}", green=found >= GOAL * len(killers))
