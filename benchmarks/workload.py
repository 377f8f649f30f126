"""A workload is a sized input with a timed step; a contender is what runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.client import Site
from suites.implementations import Implementation, source_digest

OPERATIONS = ("inference", "gradient", "train")
"""What is timed of a Keras model: forward pass, forward and backward pass, and training step with its optimizer."""

WITHOUT = "without"
"""The name under which a workload runs with the technique left out: what the technique is compared with."""

AGAIN = "again"
"""The name under which the reference runs a second time: what differs between the two is noise (an A/A race)."""

BUDGETS = {"quick": 30.0, "standard": 1200.0, "paper": 7200.0}
"""Seconds, by scale, that a session spends at its end on the races whose intervals are still wide."""


@dataclass(frozen=True)
class Workload:
    """A sized input of one technique, declared in ``benchmarks/bench_<technique>.py``.

    That module also has the functions that a worker calls. For a technique that is part of a network:
    ``model(subject, parameters)``, a Keras model built from an implementation's names, and ``batch(parameters, seed)``,
    its inputs and integer targets as NumPy arrays; what is timed are `OPERATIONS` on it. For any other technique:
    ``step(subject, parameters, operation, seed)``, a `benchmarks.calls.Step` of an operation that the module names
    itself. Optional are ``without``, with the arguments of
    ``model`` or ``step``: the same work with the technique left out (its subject is the reference); ``preload()``,
    which reads the data into the memory that all workers share; and ``CONTENDERS``, by a workload's name the other ways
    in which the reference always races in it, as ``--contender`` takes them.

    Attributes:
        technique: the technique's name.
        name: short, unique within the technique.
        parameters: sizes, by name; ``batch`` is the number of samples in a step.
        operations: what is timed at each scale; a scale that is left out runs none.
        mixed: the scales at which it runs in all precisions that were asked for, and else in the first only: none
            where a mixed precision would change nothing. At quick scale the technique that is about precision answers
            for all.
    """

    technique: str
    name: str
    parameters: Mapping[str, int]
    operations: Mapping[str, tuple[str, ...]] = field(hash=False)
    mixed: tuple[str, ...] = ("standard", "paper")

    def __hash__(self) -> int:
        return hash((self.technique, self.name))


@dataclass(frozen=True)
class Contender:
    """One workload's operation, run by one implementation on one backend, precision and device."""

    workload: Workload
    operation: str
    implementation: Implementation
    precision: str
    backend: str
    device: str
    scale: str
    seed: int = 0
    variation: tuple[tuple[str, str], ...] = ()
    """What differs from the usual besides, by name: another ``tree``, versions of another Python, ``threads`` ..."""
    python: str = field(default="", compare=False)
    """The interpreter and the tree behind the variation, as paths of this machine, which no row may hold."""
    tree: str = field(default="", compare=False)

    @property
    def site(self) -> Site:
        """Where its processes come from."""
        return Site(self.backend, self.device, self.python, self.tree)

    @property
    def bench(self) -> str:
        """The module of its workload."""
        return f"benchmarks.bench_{self.workload.technique}"

    @property
    def group(self) -> str:
        """The race that this contender runs in, as pytest-benchmark's group."""
        return f"{self.workload.technique}/{self.workload.name}/{self.operation}"

    def asked(self) -> dict[str, Any]:
        """What a row of ``timings.json`` was asked."""
        sources = source_digest(self.bench, "benchmarks.steps")
        asked = {
            "technique": self.workload.technique,
            "workload": self.workload.name,
            "parameters": dict(self.workload.parameters),
            "operation": self.operation,
            "implementation": self.implementation.name,
            "backend": self.backend,
            "precision": self.precision,
            "device": self.device,
            "seed": self.seed,
            "scale": self.scale,
            "source": f"{sources}-{self.implementation.digest}",
        }
        return asked | ({"variation": dict(self.variation)} if self.variation else {})

    def __str__(self) -> str:
        words = [self.workload.name, self.operation, self.implementation.name, self.precision]
        return "-".join([*words, *(f"{name}={value}" for name, value in self.variation)])
