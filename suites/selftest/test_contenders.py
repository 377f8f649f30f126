"""Contenders from anywhere: what ``--contender`` understands and refuses, and races of revisions and interpreters."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import contenders
from benchmarks.contenders import Variant, parse
from benchmarks.workload import Contender, Workload
from suites.implementations import ROOT, implementation

SMALL = Workload("initialization", "small", {"batch": 1}, {})
USUAL = Contender(SMALL, "draw", implementation("initialization", "reference"), "float32", "tensorflow", "cpu", "quick")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one or several"),
        ("trees=HEAD", "expected one or several, with commas, of: tree=REVISION"),
        ("tree=", "expected one or several"),
        ("tree=no-such-revision", "neither a revision that git knows here, nor a folder with `reference/`"),
        ("python=/no/such/python", "there is no such program"),
        ("python=/bin/false", "it is no Python"),
        ("threads=0", "expected a whole number, 1 or more"),
        ("threads=two", "expected a whole number, 1 or more"),
        ("backend=theano", "expected tensorflow or jax or torch"),
        ("xla=maybe", "expected on"),
        ("threads=1,precision=half", "expected float32 or mixed_float16 or mixed_bfloat16"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(text: str, said: str) -> None:
    """Wrong variant: a worker finds out, hours later; or an unknown name is left out in silence."""
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_settings_combine_and_are_what_the_row_is_asked() -> None:
    """Wrong variant: the second setting replaces the first; or a contender has the usual one's key."""
    varied = parse("threads=1, xla=on,precision=mixed_float16").of(USUAL)
    assert varied is not None
    assert varied.asked()["variation"] == {"threads": "1", "xla": "on"}
    assert varied.precision == "mixed_float16"
    assert "variation" not in USUAL.asked(), "the usual rows keep the keys that they had"
    peer = parse("precision=float32,implementation=keras").of(USUAL)
    assert peer is not None
    assert peer.implementation.name == "keras"


def test_a_technique_that_has_no_such_contender_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: the whole session ends, since one of eleven techniques lacks a peer; or a typing error passes."""
    assert parse("implementation=grain").of(USUAL) is None, "grain has pipelines, and no initializers"
    assert Variant("", backend="jax").of(USUAL) is not None
    monkeypatch.setattr(contenders, "backends", lambda _: ("tensorflow",))
    assert Variant("", backend="jax").of(USUAL) is None
    with pytest.raises(ValueError, match="no implementation 'kears'"):
        parse("implementation=kears").of(USUAL)


def test_a_backend_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: its server says so, after the races before it."""
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="backend=jax: it is not installed here"):
        parse("backend=jax")


def test_a_revision_is_named_by_its_commit_and_holds_its_references(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wrong variant: named by what was typed, which is another commit tomorrow; or the working tree is taken."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy of the project has no history")
    monkeypatch.setattr(contenders, "TREES", tmp_path)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    variant = parse("tree=HEAD")
    assert variant.variation == {"tree": head[:12]}
    shown = subprocess.run(["git", "show", "HEAD:reference/residual.py"], cwd=ROOT, capture_output=True, check=True)
    assert Path(variant.tree, "reference", "residual.py").read_bytes() == shown.stdout
    varied = variant.of(USUAL)
    assert varied is not None
    assert not any(str(tmp_path) in str(value) for value in varied.asked().values())
    assert [path.name for path in tmp_path.iterdir()] == [head[:12]], "nothing unfinished is left"


def test_a_folder_is_named_by_what_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wrong variant: named by its path, so that an edit goes unnoticed and two machines disagree."""
    monkeypatch.setattr(contenders, "TREES", tmp_path / "trees")
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "reference", folder / "reference")
    first = parse(f"tree={folder}")
    assert parse(f"tree={folder}") == first
    (folder / "reference" / "residual.py").write_text("# edited\n")
    second = parse(f"tree={folder}")
    assert second.variation != first.variation
    assert Path(second.tree, "reference", "residual.py").read_text() == "# edited\n"
    assert "edited" not in Path(first.tree, "reference", "residual.py").read_text(encoding="utf-8")[:20]


def test_another_interpreter_is_told_by_the_versions_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: told by its path, which means nothing on another machine."""
    variant = parse(f"python={sys.executable}")
    assert variant.variation == {"python": "{}.{}.{}".format(*sys.version_info)}
    assert variant.python == sys.executable
    monkeypatch.chdir(Path(sys.executable).parent)
    assert parse(f"python=./{Path(sys.executable).name}").python == sys.executable, "a server runs in another folder"


def test_a_race_of_two_revisions_and_of_two_settings_reports_both(tmp_path: Path) -> None:
    """Wrong variant: the other tree's references are not the ones that run."""
    folder, results = tmp_path / "checkout", tmp_path / "run"
    shutil.copytree(ROOT / "reference", folder / "reference")
    slow = folder / "reference" / "additive_attention.py"
    text = slow.read_text(encoding="utf-8")
    wait = "import tensorflow as _tf\n_tf.numpy_function(lambda: __import__('time').sleep(0.02), [], [])\n"
    marker = '        """Return the context'
    assert text.count(marker) == 1, "where the slowdown is planted"
    before, after = text.split(marker)
    line_end = after.index("\n", after.index('"""')) + 1
    planted = "".join(f"        {line}\n" for line in wait.splitlines())
    slow.write_text(before + marker + after[:line_end] + planted + after[line_end:], encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks/bench_additive_attention.py", "-k", "source-128"]
    command += ["--contender", f"tree={folder}", "--contender", "threads=1", "--results", str(results), "--budget", "0"]
    command += ["--implementation", "additive_attention=reference"]
    done = subprocess.run([*command, "--benchmark-quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    medians = {}
    for entry in json.loads((results / "timings.json").read_text())["benchmarks"]:
        asked = entry["extra_info"]["asked"]
        medians[asked["implementation"], *sorted(asked.get("variation", {}))] = entry["stats"]["min"]
    assert ("reference", "threads") in medians
    assert medians["reference", "tree"] > 0.02 > max(medians["reference",], medians["again",])


BARE = """
import importlib.metadata as metadata, re, sys
from benchmarks.contenders import NEEDED
tops = metadata.packages_distributions()
names = lambda text: re.match(r"[A-Za-z0-9._-]+", text)[0].lower().replace("_", "-")
closure, wanted = set(), [*(each for top in (*NEEDED, "tensorflow") for each in tops[top])]
while wanted:
    name = names(wanted.pop())
    if name not in closure:
        closure.add(name)
        try:
            wanted += [each for each in metadata.requires(name) or () if "extra ==" not in each]
        except metadata.PackageNotFoundError:  # for another system
            pass
class Missing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in tops and closure.isdisjoint(map(names, tops[top])):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from benchmarks.harness import server, worker
server.preload("tensorflow")
from benchmarks import evidence
print("preloaded without", *sorted({names(each) for found in tops.values() for each in found} - closure))
"""
"""A server in an interpreter that has what `NEEDED` names and what that brings along, and nothing else."""


def test_another_interpreter_needs_no_more_than_it_is_asked_for() -> None:
    """Wrong variant: a library that the harness has come to import is missing there, and every race fails."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", BARE]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert "hypothesis" in done.stdout, "something was left out"
