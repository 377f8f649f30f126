"""What several files of the project say about the same thing agrees."""

import ast
import configparser
import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from suites import provenance
from suites.implementations import BACKENDS, DEVICES, PRECISIONS, implementation

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini", encoding="utf-8")


def promised(environment: str) -> str:
    """The README's command for a tox environment, which must stand on a line of its own, once."""
    (command,) = re.findall(rf"^python3 .*tox run -e {environment}$", README, re.MULTILINE)
    return command


def test_every_file_tells_the_same_version() -> None:
    version = re.escape(PROJECT["version"])
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.search(rf"^## {version}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_matrix_of_tox_is_the_matrix_of_the_options() -> None:
    minors = {c.rpartition(".")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    pythons, others = {f"3{minor}" for minor in minors}, set(BACKENDS) - {"tensorflow"}
    sections = [name for name in TOX.sections() if "py{" in name]
    factors = [[set(group.split(",")) for group in re.findall(r"{([^}]*)}", name)] for name in sections]
    assert factors == [[pythons, set(DEVICES), set(PRECISIONS)], [pythons, set(PRECISIONS), others]]


@pytest.mark.parametrize("environment", ["report", "test"])
def test_the_workflow_runs_what_the_readme_promises(environment: str) -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert f"- run: {promised(environment)}\n" in workflow
    assert f"promised {environment}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"testenv:{environment}" in TOX


def test_the_pins_are_there_and_up_to_date() -> None:
    assert {path.name for path in LOCKS} == {"cluster.txt", "cpu.txt", "dev.txt", "gpu.txt", "jax.txt", "peers.txt"}
    check = [sys.executable, str(ROOT / "requirements" / "compile.py"), "--check"]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_no_environment_asks_which_python_it_has_before_it_is_there() -> None:
    """As tox-uv cannot say it where the range of `base_python` is open: it makes 0.0 of it."""
    assert "py_dot_ver" not in (ROOT / "tox.ini").read_text(encoding="utf-8")


def test_results_name_their_pins() -> None:
    pins = ROOT / "requirements" / "cpu.txt"
    assert provenance.lock_hash() == hashlib.sha256(pins.read_bytes()).hexdigest()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_pins_are_exact_hashed_and_name_no_index(lock: Path) -> None:
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    requirements = "\n".join(lines).replace("\\\n", "").splitlines()
    pin = re.compile(r"[a-z0-9-]+==[0-9][\w.]*( ; [^#:/]+?)?\s+(--hash=sha256:[0-9a-f]{64}\s*)+")
    assert [line for line in requirements if not pin.fullmatch(line)] == []


def test_the_rooms_import_only_what_the_map_allows() -> None:
    rooms = {"benchmarks", "datasets", "reference", "reports", "suites"}
    frameworks = {"keras", "tensorflow", "jax", "torch"}
    forbidden = {
        "reference": rooms - {"reference"},
        "reports": frameworks,
        "datasets": frameworks | rooms - {"datasets"},
    }
    broken = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, names in forbidden.items()
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in sorted(_imports(path) & names)
    ]
    assert broken == []


def _imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    direct = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origin = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.partition(".")[0] for name in direct | origin}


@pytest.mark.parametrize("technique", sorted(p.stem for p in (ROOT / "reference").glob("[a-z]*.py")))
def test_every_technique_has_its_files_in_every_room(technique: str) -> None:
    wanted = [
        f"suites/properties/test_{technique}.py",
        f"suites/properties/oracles/{technique}.py",
        f"suites/selftest/variants/{technique}.py",
        f"benchmarks/bench_{technique}.py",
    ]
    assert [path for path in wanted if not (ROOT / path).is_file()] == []
    assert f"(reference/{technique}.py) | [properties](suites/properties/test_{technique}.py) |" in README


def test_reasons_for_faster_peers_are_read_without_an_import() -> None:
    """Wrong variant: the reason is lost, or given on a backend where it does not hold."""
    peer = implementation("dot_product_attention", "torch")
    assert "fused kernel" in str(peer.why_faster("torch"))
    assert peer.why_faster("tensorflow") is None
    assert implementation("dot_product_attention", "reference").why_faster("torch") is None
    assert implementation("residual", "keras").why_faster("tensorflow") is None


REPORT_ROOMS = ("words", "store", "statistics", "tables", "plots", "pages", "verbs", "__main__")
"""The rooms of `reports/`, from those that know nothing of the others to those that know all."""


def test_a_room_of_the_reports_imports_only_from_those_above_it() -> None:
    """Wrong variants: a statistic that reads a file, a table that asks the page for its words."""
    rooms = {path.stem for path in (ROOT / "reports").iterdir()} - {"__init__", "__pycache__", "samples"}
    assert rooms == {*REPORT_ROOMS}
    for path in (ROOT / "reports").glob("*/*.py"):
        imported = {
            name.split(".")[1]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module
            for name in ([node.module] if "." in node.module else [f"{node.module}.{each.name}" for each in node.names])
            if name.startswith("reports.")
        }
        allowed = REPORT_ROOMS[: REPORT_ROOMS.index(path.parent.name) + 1]
        if path.parent.name == "statistics":
            allowed = ("statistics",)
        assert imported <= {*allowed}, path
