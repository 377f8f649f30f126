"""What the techniques promise: every one something, by workloads, claims and properties that exist."""

import ast
import fnmatch
import importlib
import json

import pytest

from reports.statistics.verdicts import Pays
from suites import promises
from suites.implementations import ROOT, techniques
from suites.promises import PROMISES, Kind, Promise

EACH = [pytest.param(name, promise, id=f"{name}-{i}") for name in PROMISES for i, promise in enumerate(PROMISES[name])]


def test_every_technique_promises_something() -> None:
    """Wrong variants: a technique without a card's answer; a promise of a technique that was renamed."""
    assert PROMISES.keys() == techniques().keys()
    assert all(PROMISES.values())


def test_the_four_answers_are_those_of_the_issue() -> None:
    assert [each.value for each in Pays] == ["pays", "pays in memory, costs time", "does not pay here", "undecided"]


@pytest.mark.parametrize(("technique", "promise"), EACH)
def test_a_promise_can_be_kept_or_broken(technique: str, promise: Promise) -> None:
    """Wrong variants: a promise that nothing measures; several of one technique that a card could not tell apart."""
    assert promise.statement.endswith(".")
    assert bool(promise.label) == (len(PROMISES[technique]) > 1)
    measured = {Kind.SPEED: promise.races, Kind.MEMORY: promise.races, Kind.SAFETY: promise.properties}
    assert measured.get(promise.kind, True), "races decide speed and memory, properties safety"
    assert promise.races or promise.costs, "what it costs is measured, or said"


@pytest.mark.parametrize(("technique", "promise"), EACH)
def test_what_a_promise_names_exists(technique: str, promise: Promise) -> None:
    """Wrong variant: a workload, an operation, a size, a property or a claim that was renamed."""
    if promise.claim:
        assert (ROOT / "suites" / "claims" / f"test_{promise.claim}.py").is_file()
    assert set(promise.properties) <= set(names_of_properties(technique))
    if promise.races:
        workloads = importlib.import_module(f"benchmarks.bench_{technique}").WORKLOADS
        for pattern in promise.races.workloads:
            fitting = [each for each in workloads if fnmatch.fnmatchcase(each.name, pattern)]
            assert fitting, pattern
        timed = [
            (each, operation)
            for each in workloads
            for operations in each.operations.values()
            for operation in operations
            if operation in promise.races.operations
            and any(fnmatch.fnmatchcase(each.name, pattern) for pattern in promise.races.workloads)
        ]
        assert {operation for _, operation in timed} == set(promise.races.operations)
        for workload, operation in timed:
            sizes = {"workload": workload.name, "operation": operation, "precision": "float32", **workload.parameters}
            assert promise.races.does.format(**sizes)


@pytest.mark.parametrize("technique", PROMISES)
def test_the_run_folder_holds_promises_commands_and_wrong_variants(technique: str) -> None:
    """Wrong variant: a command for a file that is not there."""
    facts = json.loads(json.dumps(promises.facts(technique)))
    assert [each["statement"] for each in facts["promises"]] == [each.statement for each in PROMISES[technique]]
    assert facts["caught"].keys() <= set(names_of_properties(technique))
    assert facts["caught"], "docs/wrong-variants.md says what each property catches"
    for promise in facts["promises"]:
        for command in promise["commands"].values():
            assert (ROOT / command.split()[5]).is_file()


def names_of_properties(technique: str) -> list[str]:
    """The properties of a technique, from its files' source."""
    files = (ROOT / "suites" / "properties").glob(f"test_{technique}*.py")
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [node.name.removeprefix("test_") for node in functions if node.name.startswith("test_")]
