"""Where TensorFlow is not installed, what is written with it is "not provided", and everything else is tested."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from suites.implementations import ROOT, Implementation, NotProvided
from suites.subjects import Subject

WITHOUT = """
import importlib.abc, sys

class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

sys.meta_path.insert(0, Refusing())
"""
"""What refuses to import TensorFlow, whether it is installed or not."""

PROGRAM = """
import json, unittest
from suites.implementations import implementation, techniques
from suites.subjects import Subject

said = {}
for name in ("input_pipelines", "curriculum"):
    subject = Subject(implementation(name, "reference"))
    for asked in ("module", "from_arrays", "Options"):
        try:
            getattr(subject, asked)
            said[f"{name} {asked}"] = "there"
        except unittest.SkipTest as error:
            said[f"{name} {asked}"] = str(error)
print(json.dumps(said))
"""


def test_what_needs_tensorflow_says_so() -> None:
    """Wrong variants: ModuleNotFoundError; "does not provide from_arrays", which blames the implementation."""
    others = [name for name in ("jax", "torch") if find_spec(name)]
    backend = others[0] if others else "numpy"
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", WITHOUT + PROGRAM]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    assert {name: each for name, each in said.items() if name.startswith("input")} == dict.fromkeys(
        ("input_pipelines module", "input_pipelines from_arrays", "input_pipelines Options"), "needs TensorFlow"
    )
    assert said["curriculum module"] == "there" or not others  # without any backend not even Keras can be imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module to be written, on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "written_for_the_test.py"


@pytest.mark.parametrize(("missing", "said"), [("tensorflow.data", "TensorFlow"), ("torch", "PyTorch"), ("jax", "JAX")])
def test_a_framework_that_is_missing_is_named(module: Path, missing: str, said: str) -> None:
    """Wrong variant: the subject forgets why, since NotProvided is an AttributeError."""
    module.write_text(f"raise ModuleNotFoundError('No module named {missing}', name={missing!r})\n")
    chosen = Implementation("input_pipelines", "mine", module.stem)
    with pytest.raises(NotProvided, match=f"^needs {said}$"):
        chosen.load()
    with pytest.raises(NotProvided, match=f"^needs {said}$"):
        _ = Subject(chosen).from_arrays


@pytest.mark.parametrize("line", ["import no_such_module_of_ours", "1 / 0", "raise AttributeError('of its own')"])
def test_any_other_fault_of_an_import_is_none_of_a_missing_framework(module: Path, line: str) -> None:
    """Wrong variant: whatever cannot be imported is "not provided"."""
    module.write_text(line + "\n")
    with pytest.raises(Exception, match=r"no_such_module_of_ours|division|of its own") as found:
        _ = Subject(Implementation("input_pipelines", "mine", module.stem)).from_arrays
    assert not isinstance(found.value, NotProvided)
