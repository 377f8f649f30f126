"""Techniques, and the modules that implement them.

The public names of ``reference/<technique>.py`` are the contract of that technique. Whatever offers the same names can
take its place: a peer in ``suites/peers/<source>/<technique>.py``, a user's own module, or ``module:attribute`` for an
object inside a module. Nothing here imports a framework: modules are found on the path and loaded only when asked for.
"""

import ast
import functools
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import unittest
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

BACKENDS = ("tensorflow", "jax", "torch")
TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
DEVICES = ("cpu", "gpu")
SCALES = ("quick", "standard", "paper")


class NotProvided(unittest.SkipTest, AttributeError):  # noqa: N818 - it is no error
    """An implementation lacks a name, or cannot honour an argument, that a property or workload needs.

    pytest and Hypothesis both treat it as a skip with a reason; the report shows it as "not provided". It is an
    AttributeError too, so that ``hasattr(subject, name)``, which Hypothesis asks of a first argument, is an answer.
    """


class MissingName(NotProvided):
    """An implementation lacks a name, whatever would be asked of it."""


@dataclass(frozen=True)
class KnownDefect:
    """A property that a peer is known to break, declared in the peer's ``KNOWN_DEFECTS`` under the property's name.

    The check is strict: the property must fail at these precisions and backends, and pass at all others.
    """

    reason: str
    link: str = ""
    precisions: tuple[str, ...] = PRECISIONS
    backends: tuple[str, ...] = BACKENDS


@dataclass(frozen=True)
class Implementation:
    """One implementation of one technique: ``reference``, a peer's name, or the dotted path of a user's module."""

    technique: str
    name: str
    module: str

    @property
    def is_peer(self) -> bool:
        """Whether somebody else's implementation, kept under ``suites/peers``, is meant."""
        return self.module.startswith("suites.peers.")

    def load(self) -> Any:
        """Import the module (and with it the framework) and return it, or the attribute that ``:`` names in it.

        Raises:
            NotProvided: the module is written with a framework that is not installed here.
        """
        module, _, attribute = self.module.partition(":")
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in TITLES:
                raise
            raise NotProvided(f"needs {TITLES[missing]}") from error
        return getattr(loaded, attribute) if attribute else loaded

    def known_defects(self) -> Mapping[str, KnownDefect]:
        """Properties that this implementation is known to break, by property name; loads the module of a peer."""
        return getattr(self.load(), "KNOWN_DEFECTS", {}) if self.is_peer else {}

    def why_faster(self, backend: str) -> str | None:
        """Why a peer is faster than the reference, where it is: its literal ``WHY_FASTER``, by backend."""
        path = _find(self.module) if self.is_peer else None
        reasons: Mapping[str, str] = (path and _literal(path, "WHY_FASTER")) or {}
        return reasons.get(backend)

    @property
    def digest(self) -> str:
        """Digest of the sources that this implementation depends on."""
        return source_digest(self.module.partition(":")[0])


@functools.cache
def techniques() -> dict[str, str]:
    """Every technique by name, with its title: the first words of its reference's docstring."""
    return {path.stem: _title(path) for path in sorted((ROOT / "reference").glob("[a-z]*.py"))}


def _title(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem.replace("_", " ")
    return docstring.splitlines()[0].partition(":")[0].rstrip(".")


@functools.cache
def backends(technique: str) -> tuple[str, ...]:
    """The backends on which a technique's reference runs: its literal ``BACKENDS``, read without importing it, or all.

    Its peers run on their own backends all the same.
    """
    return tuple(_literal(ROOT / "reference" / f"{technique}.py", "BACKENDS") or BACKENDS)


def _literal(path: Path, name: str) -> Any:
    """What a module assigns to a name at its top level, read without importing it; ``None`` where it does not."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return None


def peer_sources(technique: str) -> list[str]:
    """Where the peers of a technique come from: a backend, or a library that works on all of them."""
    return sorted(path.parent.name for path in (ROOT / "suites" / "peers").glob(f"*/{technique}.py"))


def peers(technique: str, backend: str) -> list[Implementation]:
    """The peers of a technique that run on a backend: those of that backend, and of any library that is installed."""
    sources = [s for s in peer_sources(technique) if s == backend or (s not in BACKENDS and is_installed(s))]
    return [Implementation(technique, source, f"suites.peers.{source}.{technique}") for source in sources]


def is_installed(source: str) -> bool:
    """Whether the library of a peer is there; ``plain`` peers are written in Python and NumPy and need none."""
    return source == "plain" or importlib.util.find_spec(source) is not None


def run_by_default(technique: str, backend: str) -> list[Implementation]:
    """What is tested and raced where no implementation is named: the reference where it runs, and its peers."""
    reference = [implementation(technique, "reference")] if backend in backends(technique) else []
    return [*reference, *peers(technique, backend)]


def implementation(technique: str, name: str) -> Implementation:
    """The implementation that ``technique=name`` means on the command line.

    Raises:
        ValueError: the technique is unknown, or no such module is on the path.
    """
    if technique not in techniques():
        raise ValueError(f"unknown technique {technique!r}; expected one of: {', '.join(techniques())}")
    if name == "reference":
        return Implementation(technique, name, f"reference.{technique}")
    if (ROOT / "suites" / "peers" / name / f"{technique}.py").is_file():
        return Implementation(technique, name, f"suites.peers.{name}.{technique}")
    if _find(name.partition(":")[0]) is None:
        known = ["reference", *peer_sources(technique)]
        raise ValueError(
            f"no implementation {name!r} of {technique}: expected {', '.join(known)}, or a module on the Python path "
            f"(run from the folder that holds it, or set PYTHONPATH)"
        )
    return Implementation(technique, name, name)


@functools.cache
def source_digest(*modules: str, without: str = "") -> str:
    """Digest of modules and of all that they import, within this project or their own top-level package.

    Installed libraries are left out: the environment hash covers them. So is the module `without`, and what it alone
    imports: one that runs them, and does not decide what they compute.
    """
    digest = hashlib.sha256()
    for module, path in sorted(source_files(*modules, without=without).items()):
        digest.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def source_files(*modules: str, without: str = "") -> dict[str, Path]:
    """The files behind `source_digest`, by module."""
    files: dict[str, Path] = {}
    wanted = [(module, module.partition(".")[0]) for module in modules]
    while wanted:
        module, top = wanted.pop()
        path = _find(module)
        if module in {*files, without} or path is None:
            continue
        if not (_is_project_source(path) or module.partition(".")[0] == top):
            continue
        files[module] = path
        wanted += [(imported, top) for imported in _imports(module, path)]
    return files


@functools.cache
def _find(module: str) -> Path | None:
    """The source file of a module, found without importing anything."""
    parts = Path(*module.split("."))
    for entry in [str(ROOT), *sys.path]:
        for candidate in (Path(entry) / parts.with_suffix(".py"), Path(entry) / parts / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _is_project_source(path: Path) -> bool:
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not any(path.is_relative_to(library) for library in libraries)


@functools.cache
def _imports(module: str, path: Path) -> tuple[str, ...]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_imported_names(ast.parse(path.read_bytes()), package))


def _imported_names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
