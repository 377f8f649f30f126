"""Claim: gradients that are accumulated over micro-batches train as the large batch does, but for rounding.

The mean over a batch is the mean over its parts, each counted by its size (Goyal et al. 2017, arXiv:1706.02677,
sections 2.1 and 3, remark 3). What rounding alone does is measured: the same batch with its rows in another order.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.training import classifier_loss, dense_network, draw_from, learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, WIDTH, RATE, MOMENTUM = 250, 64, 0.02, 0.9
STEPS = {"quick": 20, "standard": 100, "paper": 1000}

CLAIM = Claim(
    technique="schedules",
    statement="Accumulated gradients equal those of the large batch: losses are the same, and weights differ by no "
    "more than ten times what summing in another order does.",
    source="Goyal et al. 2017, arXiv:1706.02677, sections 2.1 and 3",
    arms={"accumulated": "micro-batches; the last one is smaller where it has to be", "whole": "the batch at once"},
    axis="micro_batches",
    values={"quick": (8,), "standard": (2, 4, 8, 16), "paper": (8, 36)},
    metrics={
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=4),
        "times_rounding": Metric("Difference of weights, over what the order of rows makes", "", "lower"),
    },
    contrasts=(
        Contrast("training_loss", "accumulated", "whole", "difference", margin=1e-4, expects="equal"),
        Contrast("times_rounding", "accumulated", 10.0, "ratio", margin=1.01),
    ),
    fixed={
        "data": "1,437 digits of 8x8",
        "layers": f"dense, two of {WIDTH}",
        "batch": str(BATCH),
        "optimizer": f"SGD, rate {RATE}, momentum {MOMENTUM}",
        "difference": "the largest of any weight after the last step",
    },
)


def train(trial: Trial) -> Outcome:
    """In the arm's way, at once, and at once in another order; all from the same weights, by the same batches."""
    from datasets import digits

    data = digits.split(seed=trial.seed_for("split")).train
    draw, steps = draw_from(data.images, data.labels, BATCH), STEPS[trial.scale]
    found: list[list[Any]] = []

    def keep(step: int, model: Any) -> None:
        if step == steps:
            found.append(model.get_weights())

    def in_parts(model: Any, x: Any, y: Any) -> float:
        size = math.ceil(BATCH / trial.condition["micro_batches"])
        return float(trial.implementation.load().train_on_micro_batches(model, x, y, size=size))

    whole = dataclasses.replace(trial, arm="whole")
    outcome = learn(trial, build, draw, steps, each_step=keep, update=in_parts if trial.arm == "accumulated" else None)
    learn(whole, build, draw, steps, each_step=keep)
    learn(whole, build, lambda generator: tuple(each[::-1] for each in draw(generator)), steps, each_step=keep)
    ours, usual, reordered = found
    return dataclasses.replace(outcome, metrics={"times_rounding": largest(ours, usual) / largest(reordered, usual)})


def largest(ours: list[Any], theirs: list[Any]) -> float:
    """The largest difference of two lists of arrays."""
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


def build(trial: Trial) -> Any:
    """A compiled network; the arm is in its optimizer."""
    import keras

    parts = trial.condition["micro_batches"] if trial.arm == "accumulated" else 1
    model = dense_network((8, 8, 1), [WIDTH, WIDTH], trial.precision)
    optimizer = trial.implementation.load().accumulating(keras.optimizers.SGD, RATE, parts, momentum=MOMENTUM)
    model.compile(optimizer, classifier_loss(), jit_compile=False)
    return model
