"""Wrong variants: plausible mistakes, each with the property that must catch it.

``<technique>.py`` and ``<technique>_<part>.py``, as the properties' files are called, hold those of a technique as
namespaces with the contract's names, and list them in ``VARIANTS``. Small overrides of the reference read best:
``override(reference, ResidualBlock=NoFinalReLU)``. Where the reference itself must call what is wrong, or is wrong in a
line, a copy of it does: see `changed` and `edited`.
"""

import importlib
import importlib.util
import itertools
import linecache
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from suites.implementations import ROOT, techniques
from suites.properties import modules_of, technique_of

_COPIES = itertools.count(1)

_MODULES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))

NAMES = sorted(set(map(technique_of, _MODULES)))
"""The techniques that have wrong variants."""


@dataclass(frozen=True)
class Variant:
    """A wrong variant of a technique.

    Attributes:
        name: the defect in snake case.
        defect: the defect in one sentence.
        caught_by: names of the properties (without ``test_``) each of which must fail on it.
        module: the namespace that takes the implementation's place.
        precisions: where the defect shows.
        raises: the exception by which it shows; a wrong variant that merely crashes does not count as caught
            unless crashing is the defect.
    """

    name: str
    defect: str
    caught_by: tuple[str, ...]
    module: Any
    precisions: tuple[str, ...] = ("float32",)
    raises: type[Exception] = AssertionError


def override(reference: ModuleType, **names: Any) -> SimpleNamespace:
    """The reference's public names with some of them replaced."""
    public: Mapping[str, Any] = {name: value for name, value in vars(reference).items() if not name.startswith("_")}
    return SimpleNamespace(**{**public, **names})


def changed(*modules: ModuleType, **names: Any) -> ModuleType:
    """A copy of a reference with other objects in the place of its own, wherever they are called.

    Args:
        modules: the parts that are copied too, each after those that it imports, and last the reference.
        names: of public or private objects in any of these modules, and what stands for them.
    """
    made = copies(modules, lambda _, source: source)
    for copy in made:
        vars(copy).update({name: value for name, value in names.items() if name in vars(copy)})
    missing = [name for name in names if not any(name in vars(copy) for copy in made)]
    assert not missing, f"{missing} are in none of {[module.__name__ for module in modules]}"
    return made[-1]


def edited(*modules: ModuleType, old: str, new: str) -> ModuleType:
    """A copy of a reference with a text of its source, which occurs once in its modules, replaced by another."""
    found = 0

    def edit(_name: str, source: str) -> str:
        nonlocal found
        found += source.count(old)
        return source.replace(old, new)

    made = copies(modules, edit)
    assert found == 1, f"{old!r} occurs {found} times in {[module.__name__ for module in modules]}"
    return made[-1]


def copies(modules: Sequence[ModuleType], edit: Callable[[str, str], str]) -> list[ModuleType]:
    """Modules executed again, each of which imports the copies of those before it.

    Args:
        modules: each after those that it imports.
        edit: from a module's name and source to the source that is executed.
    """
    import keras

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType:
            source = edit(fullname, self.get_data(self.path).decode())
            # TensorFlow's autograph reads a function's source again, by the name of its file: under the original's name
            # it would find, and compile, the original's lines.
            name = f"{self.path} (copy {next(_COPIES)})"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            return self.source_to_code(source.encode(), name)

    originals = {module.__name__: module for module in modules}
    registered = keras.saving.get_custom_objects()
    kept = dict(registered)
    try:
        for name, module in originals.items():
            loader = Loader(name, str(module.__file__))
            specification = importlib.util.spec_from_loader(name, loader)
            assert specification is not None
            sys.modules[name] = importlib.util.module_from_spec(specification)
            loader.exec_module(sys.modules[name])
        return [sys.modules[name] for name in originals]
    finally:
        sys.modules.update(originals)
        registered.update(kept)  # in place of what the copies have registered with Keras under the same names


def variants_of(technique: str) -> tuple[Variant, ...]:
    """A technique's wrong variants, from all files that hold some; imports the framework."""
    modules = [importlib.import_module(f"{__name__}.{stem}") for stem in _MODULES if technique_of(stem) == technique]
    return tuple(variant for module in modules for variant in module.VARIANTS)


def page() -> str:
    """Every wrong variant and what catches it, in Markdown; imports the framework."""
    lines = [
        "# Wrong variants",
        "",
        "Every property must fail on a wrong variant, or it would prove nothing. These are the wrong variants, each",
        "with the properties that `suites/selftest/test_wrong_variants.py` requires to fail on it, in the precisions",
        "in which the defect shows. Made by `python -m suites.selftest.variants`; do not edit.",
    ]
    for technique in NAMES:
        found = variants_of(technique)
        lines += ["", f"## {techniques()[technique]}", "", "| wrong variant | defect | caught by | precisions |"]
        lines += ["|---|---|---|---|"]
        for each in found:
            caught, precisions = ", ".join(f"`{name}`" for name in each.caught_by), ", ".join(each.precisions)
            lines.append(f"| `{each.name}` | {each.defect.replace('|', chr(92) + '|')} | {caught} | {precisions} |")
    return "\n".join(lines) + "\n"


def properties_of(technique: str) -> dict[str, Callable[..., Any]]:
    """A technique's properties by name, from all files that hold some; imports the framework."""
    found: dict[str, Callable[..., Any]] = {}
    for module in modules_of(technique):
        own = {name: test for name, test in vars(importlib.import_module(module)).items() if name.startswith("test_")}
        assert not found.keys() & own.keys(), f"{found.keys() & own.keys()} of {module} stand in another file, too"
        found |= own
    return {name.removeprefix("test_"): test for name, test in found.items()}


PAGE = ROOT / "docs" / "wrong-variants.md"
"""Where `page` is kept."""


def caught(technique: str) -> dict[str, list[str]]:
    """By property, the wrong variants of a technique that it catches, as the kept page says: without a framework."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    found: dict[str, list[str]] = {}
    for line in text.partition(f"\n## {techniques()[technique]}\n")[2].partition("\n## ")[0].splitlines():
        cells = line.strip("| ").split(" | ")
        if len(cells) >= 4 and cells[0].startswith("`"):
            for name in cells[-2].split(", "):
                found.setdefault(name.strip("`"), []).append(cells[0].strip("`"))
    return found
