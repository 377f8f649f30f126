"""Wrong variants: plausible mistakes, one module per technique, each with the property that must catch it.

A technique's module holds the variants as namespaces with the contract's names and lists them in ``VARIANTS``. Small
overrides of the reference read best: ``override(reference, ResidualBlock=NoFinalReLU)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any


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
