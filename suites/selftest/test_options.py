"""The options: wrong values are refused with the valid ones before a framework is imported; modules, and digests."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_additive_attention import WORKLOADS
from suites import implementations
from suites.implementations import ROOT, Implementation, implementation, techniques
from suites.sources import sources

FIRST = next(f"{each.name}-{operation}" for each in WORKLOADS for operation in each.operations["quick"])
"""How the items of the first race are named."""
FRAMEWORKS = ("tensorflow", "keras", "jax", "torch")
MISSING = [name for name in ("jax", "torch") if importlib.util.find_spec(name) is None]
TECHNIQUES = ", ".join(techniques())

REFUSED: dict[tuple[str, ...], str] = {
    ("--precision", "float8"): "got 'float8', expected one of: float32, mixed_float16, mixed_bfloat16",
    ("--precision", "float32,float8"): "got 'float8', expected one of: float32, mixed_float16, mixed_bfloat16",
    ("--precision", ""): "got '', expected one of: float32, mixed_float16, mixed_bfloat16",
    ("--device", "tpu"): "got 'tpu', expected one of: cpu, gpu",
    ("--device", "gpu"): "no NVIDIA GPU found (nvidia-smi lists none); use --device cpu, or a cpu environment of tox",
    ("--backend", "numpy"): "got 'numpy', expected one of: tensorflow, jax, torch",
    ("--scale", "huge"): "got 'huge', expected one of: quick, standard, paper",
    ("--implementation", "mine"): f"got 'mine', expected technique=module, with a technique of: {TECHNIQUES}",
    ("--implementation", "magic=mine"): f"unknown technique 'magic'; expected one of: {TECHNIQUES}",
    (
        "--implementation",
        "residual=no.such_module",
    ): "no implementation 'no.such_module' of residual: expected reference",
    ("--narrow", "0"): "--narrow 0: expected per cent, more than 0",
    ("--only-contenders",): "--only-contenders: expected --contender, too",
    ("--report",): "--report needs --results DIR: the run folder from which the report is made",
    ("--results=FOREIGN",): "exists and is not a run folder; choose another with --results",
    **{("--backend", name): f"{name} is not installed here; pip install -e '.[{name}]', or choose" for name in MISSING},
}
LISTED: dict[str, tuple[str, ...]] = {
    "all": ("benchmarks",),
    "precisions": ("benchmarks", "--precision", "mixed_float16,float32,mixed_float16"),
    "pair": ("benchmarks/bench_residual.py", "--contender", "threads=1", "--only-contenders"),
    "module": ("benchmarks", "--implementation", "additive_attention=suites.selftest.misbehaving:hangs"),
}
PROGRAM = """
import contextlib, io, json, sys, pytest
answers = []
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = pytest.main([*arguments, "-q", "--collect-only", "-p", "no:cacheprovider"])
    answers.append([int(code), said.getvalue(), [name for name in sys.argv[2:] if name in sys.modules]])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[int, str, list[str]]]:
    """What pytest says to each of the options, one after the other in one process: (exit code, output, frameworks)."""
    foreign = tmp_path_factory.mktemp("foreign")
    (foreign / "thesis.tex").touch()
    asked = [*REFUSED, *LISTED.values()]
    given = json.dumps([[word.replace("FOREIGN", str(foreign)) for word in each] for each in asked])
    command = [sys.executable, "-c", PROGRAM, given, *FRAMEWORKS]
    # No PATH: nvidia-smi is not found even where there is a GPU.
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": ""}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return dict(zip(asked, (tuple(each) for each in json.loads(run.stdout)), strict=True))


@pytest.mark.parametrize("asked", REFUSED, ids=" ".join)
def test_a_wrong_value_is_refused_with_the_valid_ones(asked: tuple[str, ...], answers: dict[Any, Any]) -> None:
    code, said, frameworks = answers[asked]
    assert code == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in said.splitlines() if REFUSED[asked] in line]
    assert len(lines) == 1, said
    assert asked[0].partition("=FOREIGN")[0] in lines[0]
    assert frameworks == []


def listed(answers: dict[Any, Any], name: str) -> list[str]:
    code, said, frameworks = answers[LISTED[name]]
    assert code == pytest.ExitCode.OK, said
    assert frameworks == [], "listing needs no framework"
    return [line for line in said.splitlines() if "::" in line]


def test_listing_names_every_race_without_a_framework(answers: dict[Any, Any]) -> None:
    items = listed(answers, "all")
    assert {item.partition("::")[0] for item in items} == {f"benchmarks/bench_{name}.py" for name in techniques()}
    assert f"benchmarks/bench_additive_attention.py::test_race[{FIRST}-reference-float32]" in items
    varied = [item for item in items if not item.endswith("-float32]")]
    assert varied == ["benchmarks/bench_residual.py::test_race[resnet20-digits-train-reference-float32-determinism=on]"]


def test_only_contenders_leave_the_reference_its_twin_and_the_kernels(answers: dict[Any, Any]) -> None:
    """Wrong variants: a peer, or the technique left out, that a gate waits for; no twin, and so no noise floor."""
    items = [item for item in listed(answers, "pair") if "[resnet20-digits-train-" in item]
    assert [item.partition("train-")[2].removesuffix("]") for item in items] == [
        "reference-float32",
        "again-float32",
        "reference-float32-threads=1",
        "control-matmul-float32",
        "control-copy-float32",
    ]


def test_the_sources_of_what_is_measured_are_the_files_that_decide_it() -> None:
    """Wrong variants: a part of a reference whose change nobody measures; a claim that is of no technique."""
    found = sources()
    assert set(found) == set(techniques())
    assert {claim for of in found.values() for claim in of["claims"]} == {
        f"suites/claims/{path.name}" for path in (ROOT / "suites" / "claims").glob("test_*.py")
    }
    curriculum = found["curriculum"]
    assert "reference/_curriculum_batches.py" in curriculum["reference"]
    assert "reference/dot_product_attention.py" in found["transformer"]["reference"]
    for files in (*curriculum["properties"].values(), *curriculum["claims"].values()):
        assert {"reference/curriculum.py", "reference/_curriculum_batches.py"} <= {*files}
    assert "suites/claims/curricula.py" in curriculum["claims"]["suites/claims/test_easy_first_helps.py"]
    assert "suites/claims/pool.py" not in curriculum["claims"]["suites/claims/test_easy_first_helps.py"]


def test_each_precision_is_a_contender_once(answers: dict[Any, Any]) -> None:
    items = listed(answers, "precisions")
    names = [item for item in items if "[conv-16x16-train-reference-" in item]
    assert [name.rpartition("-")[2] for name in names] == ["mixed_float16]", "float32]"]
    assert len(set(items)) == len(items)
    others = [item for item in items if f"[{FIRST}-reference-" in item]
    assert [name.rpartition("-")[2] for name in others] == ["mixed_float16]"], "at quick scale in the first one alone"


def test_a_module_races_the_reference_in_its_technique_only(answers: dict[Any, Any]) -> None:
    items = [item for item in listed(answers, "module") if f"[{FIRST}-" in item]
    assert {item.partition("::")[0] for item in listed(answers, "module")} == {"benchmarks/bench_additive_attention.py"}
    names = [item.partition(f"[{FIRST}-")[2].removesuffix("-float32]") for item in items]
    controls = ["control-matmul", "control-copy"]
    assert names == ["reference", "again", "suites.selftest.misbehaving:hangs", "without", *controls]


# --- modules and their digests

PACKAGE = {
    "__init__.py": "",
    "attention.py": "import numpy\nfrom .helper import score\nclass Offered:\n    AdditiveAttention = score\n",
    "helper.py": "import my_contender\ndef score():\n    from my_contender.deep import inner\n    return inner.ONE\n",
    "deep/__init__.py": "",
    "deep/inner.py": "from .. import attention, sibling\nONE = 1\n",
    "sibling.py": "TWO = 2\n",
    "unrelated.py": "THREE = 3\n",
}


def forget() -> None:
    """Let the next digest look at the files again, as a new session does."""
    for cached in (implementations.source_digest, implementations._find, implementations._imports):
        cached.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's package on the path."""
    for name, text in PACKAGE.items():
        (tmp_path / "my_contender" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "my_contender" / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path / "my_contender"
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_contender"]:
        del sys.modules[name]
    forget()


def digest() -> str:
    forget()
    return implementation("additive_attention", "my_contender.attention:Offered").digest


@pytest.mark.parametrize(
    ("file", "changes"), [(name, name != "unrelated.py") for name in PACKAGE if name != "deep/__init__.py"]
)
def test_a_digest_changes_with_what_the_implementation_imports(package: Path, file: str, changes: bool) -> None:
    before = digest()
    with (package / file).open("a", encoding="utf-8") as text:
        text.write("# changed\n")
    assert (digest() != before) == changes


def test_a_digest_depends_on_the_sources_and_not_on_where_they_lie(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest()
    (tmp_path / "elsewhere").mkdir()
    package.rename(tmp_path / "elsewhere" / "my_contender")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "elsewhere")])
    assert digest() == before


def test_the_properties_do_not_change_the_digest_of_the_reference() -> None:
    """The reference imports nothing of the rest; a property's own sources have a digest of their own."""
    forget()
    reference = implementation("additive_attention", "reference")
    assert reference.digest == implementations.source_digest("reference.additive_attention")
    assert reference.digest != implementations.source_digest("suites.properties.test_additive_attention")


def test_what_only_runs_a_claim_is_not_among_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: hours of training that count for nothing once a progress bar is mended; or for ever."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    parts = {"my_claim": "import my_training, my_runner", "my_training": "a = 1", "my_runner": "import my_report"}
    for name, text in (parts | {"my_report": "a = 1"}).items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")

    def digest() -> str:
        forget()
        return implementations.source_digest("my_claim", without="my_runner")

    before = digest()
    for name in ("my_runner", "my_report"):
        (tmp_path / f"{name}.py").write_text("a = 2", encoding="utf-8")
        assert digest() == before
    (tmp_path / "my_training.py").write_text("a = 2", encoding="utf-8")
    assert digest() != before


@pytest.mark.usefixtures("package")
def test_an_attribute_of_a_module_is_an_implementation() -> None:
    chosen = implementation("additive_attention", "my_contender.attention:Offered")
    assert chosen == Implementation("additive_attention", *("my_contender.attention:Offered",) * 2)
    assert not chosen.is_peer
    assert chosen.load().AdditiveAttention() == 1
    assert implementation("additive_attention", "my_contender.attention").load().Offered is chosen.load()


def test_names_that_are_no_paths_mean_the_reference_and_the_peers() -> None:
    assert implementation("residual", "reference").module == "reference.residual"
    peer = implementation("residual", "keras")
    assert (peer.module, peer.is_peer) == ("suites.peers.keras.residual", True)
