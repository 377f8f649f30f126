"""Claim: a range test, one short run, suggests the learning rate that tuning finds, within a factor of two.

Smith 2015 raises the rate from step to step and reads from the losses which rates are worth using (arXiv:1506.01186,
section 3.3). The suggestion is a tenth of the rate with the least smoothed loss, as the reference has it.
"""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial, end_of
from suites.claims.training import classifier_loss, dense_network, draw_from, learn, prepared
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

WIDTH, MOMENTUM, LAST = 64, 0.9, 4
STEPS = {"quick": 100, "standard": 1000}
GRID = tuple(2.0**power for power in range(-10, 0))

CLAIM = Claim(
    technique="schedules",
    statement="A range test suggests a rate within a factor of two of the best one, and training at it ends as well.",
    source="Smith 2015, arXiv:1506.01186, section 3.3",
    arms={
        "range_test": "the rate that a range test suggests",
        "tuned": "the best of ten rates, all tried",
    },
    axis="batch",
    values={"quick": (64,), "standard": (16, 64, 256)},
    metrics={
        "rate": Metric("Learning rate", "", "lower"),
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=LAST),
    },
    contrasts=(
        Contrast("rate", "range_test", "tuned", "ratio", margin=2.0, expects="equal"),
        Contrast("training_loss", "range_test", "tuned", "difference", margin=0.05, expects="equal"),
    ),
    fixed={
        "data": "1,437 digits of 8x8",
        "layers": f"dense, two of {WIDTH}",
        "optimizer": f"SGD, momentum {MOMENTUM}",
        "range test": "100 steps, rates from 1e-4 to 10",
        "tuned": f"{len(GRID)} rates from 1/1024 to 1/2 by factors of 2, by the training loss at the end",
        "steps": str(STEPS),
    },
)


def train(trial: Trial) -> Outcome:
    """Find a rate in one way or the other, and train at it."""
    from datasets import digits

    data = digits.split(seed=trial.seed_for("split")).train
    draw = draw_from(data.images, data.labels, trial.condition["batch"])

    @functools.cache
    def at(rate: float) -> Outcome:
        return learn(trial, build, draw, STEPS[trial.scale], rate=lambda _: rate)

    def loss(rate: float) -> float:
        return float(np.nan_to_num(end_of(at(rate).series["training_loss"], LAST), nan=np.inf))

    if trial.arm == "tuned":
        rate = min(GRID, key=loss)
    else:
        generator = np.random.default_rng(trial.seed_for("range test"))
        batches = (draw(generator) for _ in itertools.count())
        rate = trial.implementation.load().range_test(prepared(trial, build), batches, low=1e-4, high=10.0).suggestion
    return dataclasses.replace(at(rate), metrics={"rate": rate})


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    model = dense_network((8, 8, 1), [WIDTH, WIDTH], trial.precision)
    model.compile(keras.optimizers.SGD(momentum=MOMENTUM), classifier_loss(), jit_compile=False)
    return model
