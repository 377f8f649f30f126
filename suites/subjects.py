"""One implementation under test: what a property-based test receives as ``subject``."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from suites.implementations import Implementation, MissingName


@dataclass(frozen=True)
class Subject:
    """An implementation at one precision, backend and device.

    ``subject.Name`` is the implementation's ``Name``; a name that it lacks raises `MissingName`. Layers take the
    precision as their ``dtype``, so that no global policy is touched: ``ResidualBlock(4, dtype=subject.precision)``.
    """

    implementation: Implementation
    precision: str = "float32"
    backend: str = "tensorflow"
    device: str = "cpu"
    scale: str = "quick"

    @classmethod
    def of(cls, module: Any, technique: str, name: str, **options: str) -> "Subject":
        """A subject around a module or namespace that is at hand, as the wrong variants are."""
        subject = cls(Implementation(technique, name, f"{name}:"), **options)
        subject.__dict__["module"] = module
        return subject

    @functools.cached_property
    def module(self) -> Any:
        """The loaded implementation."""
        return self.implementation.load()

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "hypothesis_")):  # Hypothesis probes its arguments
            raise AttributeError(name)
        if name == "module":  # Python asks here after load() has raised AttributeError, as NotProvided is one too
            return self.implementation.load()  # which says again why
        module = self.module  # outside of the `try`: what cannot be loaded does not merely lack a name
        try:
            return getattr(module, name)
        except AttributeError:
            raise MissingName(f"{self.implementation.name} does not provide {name}") from None

    @property
    def compute_dtype(self) -> str:
        """The dtype in which layers compute: float32, float16 or bfloat16."""
        return self.precision.removeprefix("mixed_")

    def provides(self, name: str) -> bool:
        """Whether the implementation has this name."""
        return hasattr(self.module, name)

    def asked(self, property_name: str, source: str) -> dict[str, Any]:
        """What a row of ``properties.jsonl`` was asked; ``source`` is the digest of the property's own sources."""
        return {
            "technique": self.implementation.technique,
            "property": property_name,
            "implementation": self.implementation.name,
            "backend": self.backend,
            "precision": self.precision,
            "device": self.device,
            "scale": self.scale,
            "source": f"{source}-{self.implementation.digest}",
        }

    def __str__(self) -> str:
        return f"{self.implementation.name}-{self.precision}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - the signature is fixed
        """How Hypothesis shows a subject in a failing example."""
        printer.text(str(self))


def parameters_of(called: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function, or of a class, by name.

    Asked of a Keras layer's class that inherits its ``__init__``, older patch releases of Python 3.11 answer with the
    ``__new__`` of all layers, which takes anything; so a class's ``__init__`` is asked.
    """
    if isinstance(called, type):
        return dict(list(inspect.signature(called.__init__).parameters.items())[1:])  # type: ignore[misc]
    return inspect.signature(called).parameters
