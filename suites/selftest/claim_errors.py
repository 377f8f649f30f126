"""How often the verdicts on claims err, stopping and tuning included: `python -m suites.selftest.claim_errors`.

Trials are invented: what a trial ends with is a bowl over the logarithm of its learning rate, and noise, part of which
the arms of a seed share. Everything else is what a session does: the plan asks for trials until it wants no more, and
the report makes its verdicts of them. Four kinds of claims are tried: arms that are equal; arms that are equal once
each has its own best rate, of which one does badly at the published rate; an arm that is better by three margins; and
one that is worse by as much.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import share_interval
from reports.tables import claims
from suites.claims.claim import Claim, Contrast, Metric, Rates, Trial
from suites.claims.plan import Plan
from suites.implementations import implementation

CLAIM = Claim(
    technique="residual",
    statement="An invented claim.",
    source="this file",
    arms={"arm": "one way", "baseline": "another"},
    axis="size",
    values={"quick": (1,), "standard": (1,)},
    metrics={"loss": Metric("loss", "", "lower")},
    contrasts=(Contrast("loss", "arm", "baseline", "difference", margin=0.1),),
    rates=Rates(published=0.1),
)


@dataclass(frozen=True)
class World:
    """What is true of an invented claim.

    Attributes:
        gain: by how much the arm is better, each at its best rate.
        best: by arm, how many factors of the grid its best rate is above the published one.
        curvature: by how much the loss grows one factor away from the best rate.
        shared, own: the standard deviations of the noise that the arms of a seed share, and of their own.
    """

    gain: float
    best: dict[str, float]
    curvature: float = 0.15
    shared: float = 0.1
    own: float = 0.08

    def loss(self, trial: Trial, run: int) -> float:
        """What a trial ends with; the same whenever it is asked."""
        number = trial.seed_for("noise")
        shared = np.random.default_rng([run, number]).normal(0, self.shared)
        named = [run, number, [*CLAIM.arms].index(trial.arm), int(1e6 * trial.learning_rate)]
        own = np.random.default_rng(named).normal(0, self.own)
        away = math.log(trial.learning_rate / 0.1, 3) - self.best[trial.arm]
        level = 1.0 - (self.gain if trial.arm == "arm" else 0.0)
        return level + self.curvature * away**2 + shared + own


WORLDS = {
    "equal": World(0.0, {"arm": 0.0, "baseline": 0.0}),
    "badly tuned": World(0.0, {"arm": 0.0, "baseline": -1.6}),
    "better": World(0.3, {"arm": 0.3, "baseline": -0.3}),
    "worse": World(-0.3, {"arm": 0.3, "baseline": -0.3}),
}


def rerun(world: World, run: int, scale: str = "standard") -> Iterator[tuple[str, str]]:
    """One rerun of the claim: the settings and their verdict, as published and tuned."""
    plan = Plan("invented", CLAIM, implementation("residual", "reference"), "float32", "tensorflow", "cpu", scale)
    done: dict[Trial, dict[str, float]] = {}
    while wanted := plan.wanted(done):
        done |= {trial: {"loss": world.loss(trial, run)} for _, trial in wanted}
    rows, _ = claims.claims([_row(trial, metrics) for trial, metrics in done.items()], {("t", "c"): _definition(scale)})
    for row in rows:
        yield row["settings"], row["verdict"]


def _definition(scale: str) -> dict[str, object]:
    return CLAIM.definition(scale)


def _row(trial: Trial, metrics: dict[str, float]) -> dict[str, object]:
    told = dict.fromkeys(claims.SETTING, "") | {"technique": "t", "claim": "c"}
    asked = {"arm": trial.arm, "seed": trial.seed, "purpose": trial.purpose, "rate": trial.rate}
    condition = json.dumps(dict(trial.condition), sort_keys=True)
    return told | asked | {"condition": condition, "metrics": metrics, "series": {}, "clock": [], "steps": []}


def errors(runs: int, scale: str) -> dict[str, Counter[tuple[str, str]]]:
    """How often each pair of verdicts came out, as published and tuned, by kind of claim."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for name, world in WORLDS.items():
        found[name] = Counter()
        for run in range(runs):
            verdicts = dict(rerun(world, run, scale))
            found[name][verdicts[claims.PUBLISHED], verdicts[claims.TUNED]] += 1
    return found


def right(name: str, published: str, tuned: str) -> bool:
    """Whether two verdicts are what is true of a kind of claim."""
    match name:
        case "equal":  # whoever finds a difference, whichever, has erred
            return not {published, tuned} & {"reproduced", "contradicted"}
        case "badly tuned":  # it is reproduced as published, and the page says that this is the rate's doing
            return published == "reproduced" and tuned not in ("reproduced", "contradicted")
        case "better":
            return tuned == "reproduced"
        case _:
            return tuned == "contradicted"


def main() -> int:
    """Print a line per kind of claim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="reruns of each kind (default: 200)")
    parser.add_argument("--scale", choices=("quick", "standard"), default="standard", help="default: standard")
    options = parser.parse_args()
    for name, counts in errors(options.runs, options.scale).items():
        good = sum(count for verdicts, count in counts.items() if right(name, *verdicts))
        low, high = share_interval(good, options.runs)
        sys.stdout.write(f"{name}: {good} of {options.runs} right [{low:.1%}, {high:.1%}]\n")
        for (published, tuned), count in counts.most_common():
            sys.stdout.write(f"    as published {published}, tuned {tuned}: {count}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
