"""What a claim, its trials and their outcomes are.

A claim tells three kinds of settings apart, and the report prints all of them:

- *scientific*: what the arms differ in, and the axis;
- *nuisance*: the learning rate, which each arm needs at its own best before arms can be compared;
- *fixed*: everything else, which limits what the claim says.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from suites.implementations import Implementation, source_digest

Condition = Mapping[str, int]

LEAST = 6
"""Seeds without which nothing is called reproduced or contradicted: of fewer, no sign-flip test can say anything."""


@dataclass(frozen=True)
class Metric:
    """A number that a trial ends with: its title, its unit, and which direction is better.

    Attributes:
        title: what it is, in words.
        unit: empty where it has none.
        better: which direction is better.
        last: of a metric that is the end of the series of its name, the mean of so many of its last points; 0 for a
            metric that has no series. The former is compared after an equal time of training, too.
    """

    title: str
    unit: str
    better: Literal["lower", "higher"]
    last: int = 0


@dataclass(frozen=True)
class Contrast:
    """What a claim expects on ``metric``: that ``arm`` is better than ``baseline``, or that both are equal.

    Attributes:
        metric: the metric's name.
        arm: the arm that the claim is about.
        baseline: the arm that it is compared with, paired by seed; or a number, which a law demands.
        scale: whether they are compared by their difference or by their ratio.
        margin: the smallest difference that matters; a ratio's is a factor above 1. It is chosen before the run.
        expects: ``better``, by more than the margin; or ``equal``, within the margin.
        at: the value of the axis; by default the last one of the scale.
    """

    metric: str
    arm: str
    baseline: str | float
    scale: Literal["difference", "ratio"]
    margin: float
    expects: Literal["better", "equal"] = "better"
    at: int | None = None


@dataclass(frozen=True)
class Rates:
    """The learning rates that are tried, each a factor above the one before; all arms have the same.

    Attributes:
        published: the one setting for all arms with which the claim is rerun first.
        factor: from one rate to the next.
        below, above: how many are tried on either side of the published one.
    """

    published: float
    factor: float = 3.0
    below: int = 2
    above: int = 2

    def grid(self) -> tuple[float, ...]:
        """The rates, growing."""
        return tuple(self._times(power) for power in range(-self.below, self.above + 1))

    def beyond(self, end: Literal["low", "high"]) -> tuple[float, ...]:
        """Two more rates at one end of the grid, for an arm whose best one is there."""
        powers = (-self.below - 2, -self.below - 1) if end == "low" else (self.above + 1, self.above + 2)
        return tuple(map(self._times, powers))

    def _times(self, power: int) -> float:
        return float(f"{self.published * self.factor**power:.3g}")  # as one writes it, and so the same in every key


@dataclass(frozen=True)
class Claim:
    """A claim, declared in ``suites/claims/test_<claim>.py`` beside the function ``train(trial) -> Outcome``.

    Attributes:
        technique: whose claim it is.
        statement: one sentence that can turn out true or false.
        source: paper and section, or guide.
        arms: the ways of training that are compared, each with what it differs in, in words.
        axis: the quantity that grows along the plot, a key of every condition.
        values: values of the axis, growing, by scale; a scale that is missing is not run.
        metrics: by name.
        contrasts: all of them must hold.
        rates: the learning rates; ``None`` where none matters.
        tuned_by: the metric by which rates are chosen; by default the first contrast's.
        seeds: how many at most, by scale.
        fixed: everything else that was chosen, in words, by what it is.
        exact: whether a seed gives the same bits each time; not so where time or memory is measured.
        alone: whether its trials measure time: nothing runs beside them, and operations need not be deterministic,
            which costs time.
    """

    technique: str
    statement: str
    source: str
    arms: Mapping[str, str]
    axis: str
    values: Mapping[str, tuple[int, ...]]
    metrics: Mapping[str, Metric]
    contrasts: tuple[Contrast, ...]
    rates: Rates | None = None
    tuned_by: str = ""
    seeds: Mapping[str, int] = field(default_factory=lambda: {"quick": LEAST, "standard": 12, "paper": 12})
    fixed: Mapping[str, str] = field(default_factory=dict)
    exact: bool = True
    alone: bool = False

    def at(self, contrast: Contrast, scale: str) -> int:
        """The value of the axis at which a contrast is judged."""
        return self.values[scale][-1] if contrast.at is None else contrast.at

    @property
    def tuning_metric(self) -> str:
        """The metric by which learning rates are chosen."""
        return self.tuned_by or self.contrasts[0].metric

    def definition(self, scale: str) -> dict[str, Any]:
        """The claim as it stands beside each of its trials, see ``ARCHITECTURE.md``."""
        return {
            "statement": self.statement,
            "source": self.source,
            "arms": dict(self.arms),
            "axis": self.axis,
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "contrasts": [
                {name: value for name, value in asdict(contrast).items() if name != "at"}
                | {"condition": {self.axis: self.at(contrast, scale)}}
                for contrast in self.contrasts
            ],
            "rates": None if self.rates is None else {"published": self.rates.published, "grid": self.rates.grid()},
            "tuned_by": self.tuning_metric,
            "fixed": dict(self.fixed),
            "least_seeds": LEAST,
        }


@dataclass(frozen=True)
class Trial:
    """One seeded training run of one arm under one condition.

    Attributes:
        claim: the claim's name.
        arm: one of its arms.
        condition: a value of its axis.
        seed: its number. Arms of equal numbers are paired: they share their data, and all that can be shared.
        purpose: ``judge``, or ``tune``: what tunes never judges, and has seeds of its own.
        rate: the learning rate; ``None`` where the claim has none.
        implementation, precision, backend, device, scale: as everywhere.
    """

    claim: str
    arm: str
    condition: Condition = field(hash=False)
    seed: int
    implementation: Implementation
    precision: str
    backend: str
    device: str
    scale: str
    purpose: Literal["judge", "tune"] = "judge"
    rate: float | None = None

    @property
    def learning_rate(self) -> float:
        """The rate of a claim that has rates."""
        assert self.rate is not None, f"{self.claim} has no rates"
        return self.rate

    def seed_for(self, *parts: str | int) -> int:
        """A seed for one random choice, from the names of all that it depends on: never of the arm or its rate."""
        text = "/".join(map(str, (self.claim, self.purpose, self.seed, *parts)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def asked(self, module: str) -> dict[str, Any]:
        """What a row of ``trials.jsonl`` was asked; ``module`` is the claim's own.

        Its sources are those that decide what a trial computes. Of what plans and runs trials none is among them, so
        that hours of training stay valid where that is mended.
        """
        sources = source_digest(module, without="suites.claims.trials")
        return {
            "technique": self.implementation.technique,
            "claim": self.claim,
            "arm": self.arm,
            "condition": dict(self.condition),
            "seed": self.seed,
            "purpose": self.purpose,
            "rate": self.rate,
            "implementation": self.implementation.name,
            "backend": self.backend,
            "precision": self.precision,
            "device": self.device,
            "scale": self.scale,
            "source": f"{sources}-{self.implementation.digest}",
        }

    def __str__(self) -> str:
        condition = " ".join(f"{name} {value}" for name, value in self.condition.items())
        rate = "" if self.rate is None else f", rate {self.rate:g}"
        return f"{self.arm}, {condition}{rate}, {'tuning ' * (self.purpose == 'tune')}seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        metrics: those that no series ends with.
        series: numbers in the course of training, all of equal length.
        steps: the step at each of them.
        clock: seconds of processor time that training had taken by then, without what measuring it took.
        digest: of the weights at the end, by which a rerun can tell whether it is bit-identical; empty if it has none.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, list[float]] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    digest: str = ""

    def complete(self, metrics: Mapping[str, Metric]) -> dict[str, float]:
        """All metrics of a claim: those given, and those that are ends of series.

        Raises:
            ValueError: a metric is missing, or one too many is there.
        """
        ends = {name: metric.last for name, metric in metrics.items() if metric.last}
        found = {name: end_of(self.series.get(name, []), last) for name, last in ends.items()} | dict(self.metrics)
        if set(found) != set(metrics):
            raise ValueError(f"a trial must end with the metrics {sorted(metrics)}, got {sorted(found)}")
        return found


def end_of(series: list[float], last: int) -> float:
    """The mean of the last points of a series; NaN if there are none, or one of them is not finite."""
    points = series[-last:]
    return math.fsum(points) / len(points) if points and all(map(math.isfinite, points)) else math.nan
