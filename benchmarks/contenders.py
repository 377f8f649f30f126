"""Contenders from anywhere: ``--contender "tree=HEAD~1"`` lets the same work run in another way, in the same race.

Everything is checked before anything is measured: a revision that git does not know, or a Python without the framework,
is refused at the start.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

from benchmarks.workload import Contender
from suites.implementations import (
    BACKENDS,
    PRECISIONS,
    ROOT,
    backends,
    implementation,
    peer_sources,
    techniques,
)

VERSIONS = ("python", "tensorflow", "keras", "jax", "torch", "numpy")
"""What is asked of another interpreter, and told apart by."""

TREES = ROOT / ".touchstone" / "trees"
"""Where the references of other revisions are kept, by revision; may be deleted whenever nothing runs."""

NEEDED = ("keras", "psutil", "pydantic", "pytest", "pytest_benchmark", "scipy", "sklearn")
"""What another interpreter must be able to import beside its framework; what it need not have is left out."""

_ASK = f"""
import importlib.metadata as metadata, importlib.util as util, json, platform
found = {{"python": platform.python_version()}}
found["missing"] = ", ".join(name for name in {NEEDED!r} if util.find_spec(name) is None)
for name in {VERSIONS[1:]!r}:
    for package in (name, name + "-cpu"):
        try:
            found[name] = metadata.version(package)
            break
        except metadata.PackageNotFoundError:
            pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Variant:
    """What ``--contender`` asks for: changes to the reference as it runs by default.

    Attributes:
        text: as it was given.
        implementation: another one than the reference, by name; empty for the reference.
        backend, precision: others than the session's; empty for the session's.
        variation: what differs besides, as a row holds it.
        python, tree: the paths behind it.
    """

    text: str
    implementation: str = ""
    backend: str = ""
    precision: str = ""
    variation: dict[str, str] = field(default_factory=dict)
    python: str = ""
    tree: str = ""

    def of(self, usual: Contender) -> Contender | None:
        """The contender that differs from the usual one as was asked for; ``None`` where the technique has none."""
        chosen, technique = usual.implementation, usual.workload.technique
        if self.implementation:
            of_others = {source for other in techniques() for source in peer_sources(other)}
            if self.implementation in of_others - set(peer_sources(technique)):
                return None
            chosen = implementation(technique, self.implementation)
        elif self.backend and self.backend not in backends(technique):
            return None
        return replace(
            usual,
            implementation=chosen,
            backend=self.backend or usual.backend,
            precision=self.precision or usual.precision,
            variation=tuple(sorted(self.variation.items())),
            python=self.python,
            tree=self.tree,
        )


def parse(text: str) -> Variant:
    """What an option's text asks for: ``name=value``, or several of them with commas between.

    Raises:
        ValueError: a name or value is not known, or is not there; the message says what was expected.
    """
    variant = Variant(text)
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in SETTINGS or not value:
            raise ValueError(f"got {part!r}, expected one or several, with commas, of: {settings()}")
        variant = SETTINGS[name][1](variant, value)
    if variant.backend and not variant.python and importlib.util.find_spec(variant.backend) is None:
        raise ValueError(f"backend={variant.backend}: it is not installed here; pip install -e '.[{variant.backend}]'")
    return variant


def settings() -> str:
    """What a contender can differ in, in words."""
    return "; ".join(f"{name}={expected}" for name, (expected, _) in SETTINGS.items())


def _tree(variant: Variant, value: str) -> Variant:
    package = Path(value) / "reference"
    if package.is_dir():
        digest = hashlib.sha256()
        for path in sorted(package.glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        name = digest.hexdigest()[:12]
        tree = _kept(name, lambda folder: shutil.copytree(package, folder / "reference"))
    else:
        found = _git("rev-parse", "--verify", "--quiet", f"{value}^{{commit}}")
        if found is None:
            raise ValueError(f"tree={value}: neither a revision that git knows here, nor a folder with `reference/`")
        name = found.decode().strip()[:12]
        archive = _git("archive", "--format=zip", name, "reference")
        if archive is None:
            raise ValueError(f"tree={value}: revision {name} has no folder `reference/`")

        def unpack(folder: Path) -> None:
            with zipfile.ZipFile(BytesIO(archive)) as files:
                files.extractall(folder)

        tree = _kept(name, unpack)
    return replace(variant, tree=str(tree), variation=variant.variation | {"tree": name})


def _kept(name: str, fill: Callable[[Path], object]) -> Path:
    """The folder of a revision, under a name that says what is in it: made once, whole or not at all."""
    folder = TREES / name
    if not folder.is_dir():
        unfinished = TREES / f".{name}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        fill(unfinished)
        unfinished.replace(folder)
    return folder


def _python(variant: Variant, value: str) -> Variant:
    found = shutil.which(value)
    if found is None:
        raise ValueError(f"python={value}: there is no such program")
    path = str(Path(found).absolute())  # its processes run in another folder; a link says which environment it is
    asked = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False, timeout=60)
    if asked.returncode:
        raise ValueError(f"python={value}: it is no Python of version 3.11 or later: {asked.stderr.strip()[-300:]}")
    versions: dict[str, str] = json.loads(asked.stdout)
    if missing := versions.pop("missing"):
        raise ValueError(f"python={value}: it lacks {missing}; install what requirements/cpu.txt lists into it")
    own: dict[str, str] = json.loads(
        subprocess.run([sys.executable, "-c", _ASK], capture_output=True, check=True).stdout
    )
    # Those that differ tell it apart; a Python whose versions are all the same is told by that one word.
    told = {name: version for name, version in versions.items() if own.get(name) != version}
    return replace(variant, python=path, variation=variant.variation | (told or {"python": versions["python"]}))


def _backend(variant: Variant, value: str) -> Variant:
    return replace(variant, backend=_one_of("backend", value, BACKENDS))


def _precision(variant: Variant, value: str) -> Variant:
    return replace(variant, precision=_one_of("precision", value, PRECISIONS))


def _implementation(variant: Variant, value: str) -> Variant:
    return replace(variant, implementation=value)


def _threads(variant: Variant, value: str) -> Variant:
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"threads={value}: expected a whole number, 1 or more")
    return replace(variant, variation=variant.variation | {"threads": value})


def _determinism(variant: Variant, value: str) -> Variant:
    return replace(variant, variation=variant.variation | {"determinism": _one_of("determinism", value, ("on",))})


def _xla(variant: Variant, value: str) -> Variant:
    return replace(variant, variation=variant.variation | {"xla": _one_of("xla", value, ("on",))})


SETTINGS: dict[str, tuple[str, Callable[[Variant, str], Variant]]] = {
    "tree": ("REVISION of this repository, or FOLDER of another checkout, whose references are raced", _tree),
    "python": ("PATH of another interpreter, with other versions of TensorFlow or Keras", _python),
    "backend": ("tensorflow, jax or torch: the reference on another backend", _backend),
    "precision": ("float32, mixed_float16 or mixed_bfloat16", _precision),
    "implementation": ("NAME of a peer, or of a module on the Python path, in place of the reference", _implementation),
    "threads": ("NUMBER of threads for one operation, on as many cores", _threads),
    "determinism": ("on: the framework's deterministic kernels", _determinism),
    "xla": ("on: TensorFlow compiles with XLA", _xla),
}
"""What a contender can differ in: the value that is expected, in words, and what it sets."""


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{name}={value}: expected {' or '.join(known)}")
    return value


def _git(*arguments: str) -> bytes | None:
    """What git prints, or ``None`` where it fails or is not there."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
