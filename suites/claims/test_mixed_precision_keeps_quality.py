"""Claim: training in 16 bits, with weights in 32 and a scaled loss, ends with the quality of 32 bits.

Micikevicius et al. 2018 find no difference in the accuracy of image classifiers, as long as weights are kept in float32
and, for float16, the loss is scaled (arXiv:1710.03740, sections 3 and 4.1). How many gradients float16 would lose
without a scale is measured beside it, in float32, at the weights with which training ends.
"""

import dataclasses
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, draw_from, learn, validation_error
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here
from suites.properties.gradients import weight_gradients

BATCH, WIDTH, MOMENTUM, VALIDATION = 64, 64, 0.9, 600
STEPS = {"quick": 150, "standard": 1500, "paper": 20_000}

CLAIM = Claim(
    technique="mixed_precision",
    statement="Mixed precision keeps the quality: float16 with a scaled loss, and bfloat16, make as many errors as "
    "float32.",
    source="Micikevicius et al. 2018, arXiv:1710.03740, section 4.1",
    arms={
        "float32": "everything in 32 bits",
        "mixed_bfloat16": "layers in bfloat16, weights in float32",
        "mixed_float16": "layers in float16, weights in float32, the loss scaled",
    },
    axis="depth",
    values={"quick": (3,), "standard": (3, 8), "paper": (3, 8)},
    metrics={
        "validation_error": Metric("Validation error at the end", "", "lower", last=2),
        "underflow": Metric("Share of gradients that float16 loses without a scale", "", "lower"),
    },
    contrasts=tuple(
        Contrast("validation_error", arm, "float32", "difference", margin=0.005, expects="equal")
        for arm in ("mixed_float16", "mixed_bfloat16")
    ),
    rates=Rates(published=0.03, below=1, above=1),
    fixed={
        "data": f"1,197 digits of 8x8, {VALIDATION} to validate",
        "layers": f"dense, {WIDTH} wide",
        "batch": str(BATCH),
        "optimizer": f"SGD, momentum {MOMENTUM}",
    },
)


def train(trial: Trial) -> Outcome:
    """One network in the arm's precision, whatever the trial's is."""
    from datasets import digits

    data = digits.split(validation=VALIDATION, seed=trial.seed_for("split"))
    images, labels, steps = data.train.images, data.train.labels, STEPS[trial.scale]
    shares: list[float] = []

    def look(step: int, model: Any) -> None:
        if step == steps:
            shares.append(underflow(trial, model.get_weights(), images, labels))

    draw, measure = draw_from(images, labels, BATCH), validation_error(data.validation)
    outcome = learn(trial, build, draw, steps, measure=measure, each_step=look, points=20)
    return dataclasses.replace(outcome, metrics={"underflow": shares[0] if shares else np.nan})


def underflow(trial: Trial, weights: list[Any], images: Any, labels: Any) -> float:
    """Of all gradients of these weights, in float32, the share that float16 rounds to zero."""
    import keras

    model = network(trial, "float32")
    model.set_weights(weights)

    def error(logits: Any) -> Any:
        return (keras.ops.softmax(logits) - np.eye(10, dtype="float32")[labels]) / len(labels)

    gradients = weight_gradients(lambda: model(images), model.trainable_variables, error)[1]
    shares = trial.implementation.load().underflow_fraction(gradients)
    sizes = [np.count_nonzero(keras.ops.convert_to_numpy(each)) for each in gradients]
    return float(np.average(shares, weights=sizes))


def network(trial: Trial, policy: str) -> Any:
    """From images to ten float32 logits."""
    import keras
    from keras import layers

    module = trial.implementation.load()
    with module.precision_scope(policy):
        dense = [layers.Dense(WIDTH, "relu", kernel_initializer="he_normal") for _ in range(trial.condition["depth"])]
        ends = layers.Dense(10), module.float32_output()
        return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *dense, *ends])


def build(trial: Trial) -> Any:
    """A compiled network in the arm's precision."""
    import keras

    optimizer = keras.optimizers.SGD(trial.learning_rate, momentum=MOMENTUM)
    if trial.arm == "mixed_float16":
        optimizer = trial.implementation.load().LossScaledOptimizer(optimizer)
    model = network(trial, trial.arm)
    model.compile(optimizer, classifier_loss(), jit_compile=False, auto_scale_loss=False)
    return model
