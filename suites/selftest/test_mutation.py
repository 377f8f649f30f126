"""Mutants made by machine: which changes there are, that each is one, and that a property finds a real one."""

import ast
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from suites.implementations import BACKENDS, ROOT, techniques
from suites.mutation import engine, operators
from suites.mutation.changes import changed_lines
from suites.mutation.conftest import sample
from suites.mutation.operators import Mutant, files_of, mutants

SOURCE = '''
def f(x, size=2, *, axis=-1, training=None, logs=None):
    """A text that is 1 and stays."""
    del logs
    if x is None and size > 0:
        raise ValueError(f"expected {size + 1}")
    total = ops.cast(ops.sum(x, axis=axis), "float32") * size
    total += layer(total, training=training)
    return -total
'''
CHANGES = {
    ("operator", "is", "is not"),
    ("operator", "and", "or"),
    ("operator", ">", ">="),
    ("operator", "*", "/"),
    ("operator", "+", "-"),
    ("operator", "-total", "(total)"),
    ("constant", "2", "3"),
    ("constant", "-1", "(0)"),
    ("constant", "1", "2"),  # of -1
    ("constant", "0", "1"),
    ("dtype", '"float32"', "'float16'"),
    ("argument", ", axis=axis", ""),
    ("training", ", training=training", ""),
    ("cast", 'ops.cast(ops.sum(x, axis=axis), "float32")', "ops.sum(x, axis=axis)"),
    ("swap", 'ops.sum(x, axis=axis), "float32"', '"float32", ops.sum(x, axis=axis)'),
    ("condition", "x is None and size > 0", "True"),
    ("condition", "x is None and size > 0", "False"),
    ("statement", 'raise ValueError(f"expected {size + 1}")', "pass"),
    ("statement", "total += layer(total, training=training)", "pass"),
}


def test_each_kind_of_change_is_made_and_no_message_is_touched(tmp_path: Path) -> None:
    """Wrong variant: texts that nobody computes with are changed, and survive."""
    path = tmp_path / "written.py"
    path.write_text(SOURCE, encoding="utf-8")
    assert {(each.operator, each.old, each.new) for each in operators._of_file("t", path)} == CHANGES


@pytest.mark.parametrize("technique", techniques())
def test_every_mutant_is_one_change_that_can_be_parsed(technique: str) -> None:
    """Wrong variants: a place counted in bytes; a comma left behind; two mutants of one name."""
    found = mutants(technique)
    assert len(found) > 50
    assert len({each.identity for each in found}) == len(found)
    sources = {path.stem: path.read_text(encoding="utf-8") for path in files_of(technique)}
    for each in found:
        edited = each.edit(sources[each.file])
        assert edited != sources[each.file]
        ast.parse(edited)


def test_a_technique_is_mutated_with_its_parts_each_after_those_that_it_imports() -> None:
    names = [path.stem for path in files_of("dot_product_attention")]
    assert names == ["_scores", "_blockwise", "dot_product_attention"]
    assert "dot_product_attention" not in [path.stem for path in files_of("transformer")], "another technique"


def test_a_sample_stays_what_it_is_when_another_mutant_goes() -> None:
    """Wrong variant: every new line draws another sample, and no survivor is seen twice."""
    found = mutants("initialization")
    drawn = sample(found, 20)
    assert len(drawn) == 20
    assert len(set(drawn) & set(sample([*found[:100], *found[101:]], 20))) >= 19
    assert sample(found, None) == found
    assert set(drawn) != set(sample(found, 20, "again")), "another name draws others"


CASES = """
def f(x):
    match keras.backend.backend():
        case "tensorflow":
            x = x + 1
        case "jax":
            x = x + 2
            x = _g(x) + 3
        case _:
            x = x + 4
    if keras.backend.backend() == "jax":
        x = _g(x) + _h(x)
    else:
        x = _h(x) + 5
    return max(x, 0) + 6

def _g(x):
    return x + 7

def _h(x):
    return x + 8
"""


def test_lines_of_another_backend_are_not_tried(tmp_path: Path) -> None:
    """Wrong variants: what never runs survives; a last `case` is everyone's; what is listed for a place holds for all.

    `max` is as good the other way round.
    """
    path = tmp_path / "written.py"
    path.write_text(CASES, encoding="utf-8")
    made = list(operators._of_file("t", path))
    assert "swap" not in {each.operator for each in made}
    found = {each.old: each.backend for each in made if each.operator == "constant"}
    assert found == {"1": "tensorflow", "2": "jax", "3": "jax", "4": "torch", "7": "jax"} | dict.fromkeys("0568", "")
    mutant = next(each for each in made if each.old == "8")
    assert engine.reason(mutant) is None
    listed = {name: getattr(mutant, name) for name in ("file", "code", "old", "new")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "equivalents", lambda: {"t": [{**listed, "reason": "as is said", "device": "cpu"}]})
        assert [engine.reason(mutant, device=device) for device in ("cpu", "gpu")] == ["as is said", None]


def test_every_equivalent_mutant_that_is_listed_is_one() -> None:
    """Wrong variant: a line was changed, and what was said of it stands for nothing."""
    for technique, listed in engine.equivalents().items():
        found = [{name: getattr(each, name) for name in ("file", "code", "old", "new")} for each in mutants(technique)]
        about = ("reason", "backend", "device")
        said = [{name: text for name, text in entry.items() if name not in about} for entry in listed]
        assert {entry.get("backend", "jax") for entry in listed} <= set(BACKENDS)
        assert {entry.get("device", "gpu") for entry in listed} <= {"cpu", "gpu"}
        assert [entry for entry in said if entry not in found] == []
        assert all(len(entry["reason"]) > 20 for entry in listed)


@pytest.mark.isolated("mutants")
def test_a_property_finds_a_mutant_and_passes_what_is_unchanged() -> None:
    found = mutants("additive_attention")
    wrong = next(each for each in found if each.operator == "operator" and "tanh" in each.code)
    assert engine.killer(wrong)
    source = (ROOT / "reference" / f"{wrong.file}.py").read_text(encoding="utf-8")
    same = Mutant("additive_attention", wrong.file, 1, 0, "none", 0, 0, "", "", source.splitlines()[0])
    assert engine.killer(same) is None, "the same lines are no mutant"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_lines_that_are_new_are_found(tmp_path: Path) -> None:
    """Wrong variant: a line is told by its number before the change."""
    (tmp_path / "reference").mkdir()
    path = tmp_path / "reference" / "residual.py"
    path.write_text("a = 1\nb = 2\nc = 3\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    assert changed_lines("HEAD", tmp_path) == {}
    path.write_text("new = 0\na = 1\nc = 4\n")
    assert changed_lines("HEAD", tmp_path) == {"residual": {1, 3}}
    with pytest.raises(ValueError, match="'nowhere' is no revision that git finds here"):
        changed_lines("nowhere", tmp_path)


@pytest.mark.isolated("keras")
def test_a_mutant_that_never_ends_is_found_soon() -> None:
    """Wrong variant: it takes the whole of its process's time limit, and what catches exceptions keeps it alive."""

    def endless(subject: object) -> None:  # noqa: ARG001 - as properties are called
        while True:
            with contextlib.suppress(Exception):
                sum(range(1000))

    assert engine._fails(endless, None, 0.2)  # type: ignore[arg-type]
    assert not engine._fails(lambda subject: None, None, 0.2)  # type: ignore[arg-type]  # noqa: ARG005


def test_where_no_line_is_new_there_is_nothing_to_try() -> None:
    """Wrong variant: an empty set of mutants ends the session in a traceback, or as a failure."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "suites/mutation", "--since", "HEAD"]
    done = subprocess.run([*command, "--collect-only", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
