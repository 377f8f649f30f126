"""What a claim, its trials and their outcomes are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from suites.implementations import Implementation, source_digest

Condition = Mapping[str, int]


@dataclass(frozen=True)
class Metric:
    """A number that a trial ends with: its title, its unit, and which direction is better."""

    title: str
    unit: str
    better: Literal["lower", "higher"]


@dataclass(frozen=True)
class Contrast:
    """What a claim expects: on ``metric``, at a condition, ``arm`` beats ``baseline`` by more than ``margin``.

    Attributes:
        metric: the metric's name.
        arm: the arm that is expected to be better.
        baseline: the arm that it is compared with, paired by seed.
        scale: whether arms are compared by their difference or by their ratio.
        margin: the smallest difference that matters; a ratio's is a factor above 1.
    """

    metric: str
    arm: str
    baseline: str
    scale: Literal["difference", "ratio"]
    margin: float


@dataclass(frozen=True)
class Claim:
    """A claim, declared in ``suites/claims/test_<claim>.py`` beside the function ``train(trial) -> Outcome``.

    Attributes:
        technique: whose claim it is.
        statement: one sentence that can turn out true or false.
        source: paper and section, or guide.
        axis: the quantity that grows along the plot, a key of every condition.
        arms: the ways of training that are compared.
        metrics: by name.
        contrasts: all of them must hold, at the last of the scale's conditions.
        values: values of the axis, growing, by scale.
        seeds: trials per arm and condition, by scale.
    """

    technique: str
    statement: str
    source: str
    axis: str
    arms: tuple[str, ...]
    metrics: Mapping[str, Metric]
    contrasts: tuple[Contrast, ...]
    values: Mapping[str, tuple[int, ...]]
    seeds: Mapping[str, int]

    def definition(self, scale: str) -> dict[str, Any]:
        """The claim as it stands beside each of its trials, see ``ARCHITECTURE.md``."""
        condition = {self.axis: self.values[scale][-1]}
        return {
            "statement": self.statement,
            "source": self.source,
            "axis": self.axis,
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "contrasts": [{**asdict(contrast), "condition": condition} for contrast in self.contrasts],
        }


@dataclass(frozen=True)
class Trial:
    """One seeded training run of one arm under one condition."""

    claim: str
    arm: str
    condition: Condition = field(hash=False)
    seed: int
    implementation: Implementation
    precision: str
    backend: str
    device: str
    scale: str

    def asked(self, module: str) -> dict[str, Any]:
        """What a row of ``trials.jsonl`` was asked; ``module`` is the claim's own."""
        return {
            "technique": self.implementation.technique,
            "claim": self.claim,
            "arm": self.arm,
            "condition": dict(self.condition),
            "seed": self.seed,
            "implementation": self.implementation.name,
            "backend": self.backend,
            "precision": self.precision,
            "device": self.device,
            "scale": self.scale,
            "source": f"{source_digest(module)}-{self.implementation.digest}",
        }

    def __str__(self) -> str:
        condition = "-".join(f"{name}{value}" for name, value in self.condition.items())
        return f"{self.arm}-{condition}-seed{self.seed}-{self.implementation.name}-{self.precision}"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: its metrics, and series of numbers by step or epoch."""

    metrics: Mapping[str, float]
    series: Mapping[str, list[float]]
