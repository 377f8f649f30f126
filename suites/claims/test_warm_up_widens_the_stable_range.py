"""Claim: a warm-up lets a network train at rates at which it is lost when it begins with them.

Goyal et al. 2017 find that a large rate breaks training in the first steps, when the network changes fast, and begin
with small rates that grow (arXiv:1706.02677, section 2.2). So the largest rate that still trains should be larger.
"""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial, end_of
from suites.claims.training import classifier_loss, dense_network, draw_from, learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, WIDTH, MOMENTUM, LAST = 128, 64, 0.9, 4
STEPS = {"quick": 160, "standard": 600}
RATES = tuple(2.0 ** (power / 2) for power in range(-14, 7))
"""From 1/128 to 8, each sqrt(2) times the one before."""

CLAIM = Claim(
    technique="schedules",
    statement="A warm-up widens the range of stable learning rates: a network trains at rates at which it does not "
    "where it begins with them.",
    source="Goyal et al. 2017, arXiv:1706.02677, section 2.2; the guide: start with small learning rates",
    arms={"warm_up": "the rate grows from 0 in a line over a quarter of the steps", "constant": "one rate throughout"},
    axis="depth",
    values={"quick": (8,), "standard": (2, 4, 8, 16)},
    metrics={
        "largest_stable_rate": Metric("Largest rate that trains", "", "higher"),
        "training_loss": Metric("Training loss at the end, at that rate", "nat", "lower", last=LAST),
    },
    contrasts=(Contrast("largest_stable_rate", "warm_up", "constant", "ratio", margin=1.5),),
    fixed={
        "data": "1,437 digits of 8x8",
        "layers": f"dense, {WIDTH} wide",
        "batch": str(BATCH),
        "optimizer": f"SGD, momentum {MOMENTUM}",
        "rates": f"{RATES[0]:.3g} to {RATES[-1]:g} by factors of 1.41, searched by halving",
        "trains": "ends with half the loss of guessing",
    },
)


def train(trial: Trial) -> Outcome:
    """Halve the grid of rates until the largest stable one is found."""
    from datasets import digits

    data = digits.split(seed=trial.seed_for("split")).train
    draw, steps = draw_from(data.images, data.labels, BATCH), STEPS[trial.scale]

    @functools.cache
    def at(number: int) -> Outcome:
        rates = np.full(steps, RATES[number])
        if trial.arm == "warm_up":
            schedule = trial.implementation.load().warm_up
            rates = np.asarray(schedule(np.arange(steps), rate=RATES[number], steps=steps // 4))
        return learn(trial, build, draw, steps, rate=lambda step: float(rates[step]))

    def stable(number: int) -> bool:
        return end_of(at(number).series["training_loss"], LAST) < math.log(10) / 2

    low, high = 0, len(RATES)  # the first is taken to be stable, and what comes after the last not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return dataclasses.replace(at(low), metrics={"largest_stable_rate": RATES[low]})


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    model = dense_network((8, 8, 1), [WIDTH] * trial.condition["depth"], trial.precision)
    model.compile(keras.optimizers.SGD(momentum=MOMENTUM), classifier_loss(), jit_compile=False)
    return model
