"""Which mutants are tried: of all techniques or of those that are named, all of them or a sample."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from suites.implementations import techniques
from suites.mutation.engine import reason
from suites.mutation.operators import Mutant, mutants

GOAL = 0.95
"""The share of a technique's mutants, less the equivalent ones, that its properties have to find."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What to try."""
    group = parser.getgroup("touchstone mutation")
    group.addoption("--technique", action="append", default=[], metavar="NAME", help="mutate this one; may be repeated")
    group.addoption(
        "--sample", type=int, metavar="N", help="try so many mutants of each technique, drawn by their names"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per mutant."""
    if "mutant" in metafunc.fixturenames:
        option = metafunc.config.option
        if unknown := set(option.technique) - set(techniques()):
            raise pytest.UsageError(f"--technique {', '.join(unknown)}: expected of {', '.join(techniques())}")
        chosen = [each for name in option.technique or techniques() for each in sample(mutants(name), option.sample)]
        metafunc.parametrize(
            "mutant", [pytest.param(each, marks=pytest.mark.isolated(each)) for each in chosen], ids=str
        )


def sample(found: list[Mutant], size: int | None) -> list[Mutant]:
    """So many of them, the same ones until their lines are changed, and without the equivalent ones."""
    kept = [each for each in found if reason(each) is None]
    drawn = sorted(kept, key=lambda each: random.Random(each.identity).random())[:size]
    return kept if size is None else [each for each in kept if each in drawn]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The share of each technique that was found; and, with ``--results``, each mutant with what found it."""
    rows = [
        row for outcome in ("passed", "failed") for each in terminalreporter.getreports(outcome) if (row := _row(each))
    ]
    for technique in dict.fromkeys(row["technique"] for row in rows):
        of_technique = [row for row in rows if row["technique"] == technique]
        found = sum(bool(row["killer"]) for row in of_technique)
        share = f"{found} of {len(of_technique)} mutants found, {found / len(of_technique):.1%}"
        terminalreporter.write_line(f"{technique}: {share}", green=found >= GOAL * len(of_technique))
    if rows and config.option.results:
        path = Path(config.option.results) / "mutants.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        terminalreporter.write_line(f"{path}")


def _row(report: pytest.TestReport) -> dict[str, Any] | None:
    """A mutant and its killer: the property, or ``process`` where its process ended or hung."""
    told: dict[str, Any] = dict(report.user_properties)
    if report.when != "call" or "test_a_property_finds_the_mutant" not in report.nodeid:
        return None
    if "mutant" not in told:  # its process took along what it had noted
        identity = report.nodeid.partition("[")[2].removesuffix("]")
        told = {"mutant": next(vars(m) for name in techniques() for m in mutants(name) if str(m) == identity)}
    return {**told["mutant"], "killer": told.get("killer", "process")}
