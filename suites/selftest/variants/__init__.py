"""Wrong variants: plausible mistakes, one module per technique, each with the property that must catch it.

A technique's module holds the variants as namespaces with the contract's names and lists them in ``VARIANTS``. Small
overrides of the reference read best: ``override(reference, ResidualBlock=NoFinalReLU)``.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from suites.implementations import techniques

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
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


def variants_of(technique: str) -> tuple[Variant, ...]:
    """A technique's wrong variants; imports the framework."""
    return tuple(importlib.import_module(f"{__name__}.{technique}").VARIANTS)


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


def properties_of(technique: str) -> list[str]:
    """The names of a technique's properties; imports the framework."""
    module = importlib.import_module(f"suites.properties.test_{technique}")
    return [name.removeprefix("test_") for name in vars(module) if name.startswith("test_")]
