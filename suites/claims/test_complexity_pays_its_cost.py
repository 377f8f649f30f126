"""Claim: a more complex network is worth its cost: after the same time of training it makes fewer errors.

The guide advises to start with simple architectures, and to add complexity only where it is needed. So a small
residual network (He et al. 2015, arXiv:1512.03385), a small convolutional one and logistic regression train for the
same time of the processor on the same images, however many steps that is, and each at its own best rate.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, draw_from, learn, validation_error
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, MOMENTUM, PILOT = 64, 0.9, 9

CLAIM = Claim(
    technique="residual",
    statement="Complexity pays its cost: after the same time of training a small residual network and a small "
    "convolutional one make fewer errors than logistic regression, and the residual network fewer than the other.",
    source="the guide: start with simple architectures, only add complexity when needed",
    arms={
        "residual": "8 layers, 75,000 weights",
        "convolutional": "two convolutions, 5,000 weights, or 16,000 for larger images",
        "logistic": "one layer, no hidden one",
    },
    axis="milliseconds",
    values={"quick": (250,), "standard": (2000, 10_000), "paper": (60_000, 600_000)},
    metrics={"validation_error": Metric("Validation error at the end", "", "lower", last=1)},
    contrasts=(
        Contrast("validation_error", "residual", "logistic", "difference", margin=0.01),
        Contrast("validation_error", "convolutional", "logistic", "difference", margin=0.01),
        Contrast("validation_error", "residual", "convolutional", "difference", margin=0.01),
    ),
    rates=Rates(published=0.1, below=1, above=1),
    fixed={
        "data": "1,197 digits of 8x8 at quick scale, 55,000 articles of clothing of 28x28 at others",
        "batch": str(BATCH),
        "optimizer": f"SGD, momentum {MOMENTUM}",
        "time": "of the processor, by which the number of steps is chosen after a few of them were timed",
    },
    exact=False,
)


def train(trial: Trial) -> Outcome:
    """As many steps as fit into the time."""
    from datasets import digits, fashion

    source, held_out = (digits, 600) if trial.scale == "quick" else (fashion, 5000)
    data = source.split(validation=held_out, seed=trial.seed_for("split"))
    draw = draw_from(data.train.images, data.train.labels, BATCH)
    clock = learn(trial, build, draw, PILOT, points=PILOT).clock
    seconds = np.median(np.diff(clock))  # whatever the first step compiles
    steps = math.ceil(trial.condition["milliseconds"] / 1000 / seconds)
    outcome = learn(trial, build, draw, steps, measure=validation_error(data.validation), points=4)
    return dataclasses.replace(outcome, digest="")  # a rerun may have time for one step more


def build(trial: Trial) -> Any:
    """A compiled network from images to ten float32 logits."""
    import keras
    from keras import layers

    shape = (8, 8, 1) if trial.scale == "quick" else (28, 28, 1)
    if trial.arm == "residual":
        model = trial.implementation.load().cifar_resnet(8, input_shape=shape, dtype=trial.precision)
    else:
        hidden: list[Any] = []
        if trial.arm == "convolutional":
            options = {"strides": 2, "activation": "relu", "kernel_initializer": "he_normal", "dtype": trial.precision}
            hidden = [layers.Conv2D(filters, 3, **options) for filters in (16, 32)]
        ends = layers.Flatten(dtype=trial.precision), layers.Dense(10, dtype="float32")
        model = keras.Sequential([keras.Input(shape), *hidden, *ends])
    model.compile(keras.optimizers.SGD(trial.learning_rate, momentum=MOMENTUM), classifier_loss(), jit_compile=False)
    return model
