"""Claim: thirty rectified layers keep their signal under He's weights and lose it under Glorot's, and so one trains.

The law (He et al. 2015, equations 7 to 10): a layer multiplies the variance of its pre-activations by half the fan-in
times the variance of its weights. That is 1 under He, and 1/2 under Glorot between layers of one width.
"""

import dataclasses
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, draw_from, learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, WIDTH = 64, 128
STEPS = {"quick": 60, "standard": 1500, "paper": 20_000}
CLAIM = Claim(
    technique="initialization",
    statement="With weights of the right size signals and gradients stay alive through thirty rectified layers: the "
    "network learns, where under Glorot's weights it does not.",
    source="He et al. 2015, arXiv:1502.01852, section 2.2 and figure 3",
    arms={"he": "variance 2 / fan-in", "glorot": "variance 2 / (fan-in + fan-out)"},
    axis="depth",
    values={"quick": (10, 30), "standard": (5, 10, 20, 30), "paper": (22, 30)},
    metrics={
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=4),
        "variance_per_layer": Metric("Factor of variance per layer at the start", "", "higher"),
    },
    contrasts=(
        Contrast("training_loss", "he", "glorot", "difference", margin=0.1),
        Contrast("variance_per_layer", "he", 1.0, "ratio", margin=1.1, expects="equal"),
        Contrast("variance_per_layer", "glorot", 0.5, "ratio", margin=1.1, expects="equal"),
    ),
    rates=Rates(published=0.01, below=1, above=3),
    fixed={"data": "1,437 digits of 8x8", "layers": f"dense, {WIDTH} wide", "batch": str(BATCH), "optimizer": "SGD"},
)


def train(trial: Trial) -> Outcome:
    """A deep rectified network on digits."""
    import keras

    from datasets import digits

    data = digits.split(seed=trial.seed_for("split")).train
    factors: list[float] = []

    def look(steps: int, model: Any) -> None:
        if steps == 0:
            hidden = keras.Model(model.inputs, [layer.output for layer in model.layers if layer.name.startswith("h")])
            variances = [np.mean(np.square(keras.ops.convert_to_numpy(each), dtype=float)) for each in hidden([images])]
            factors.append(float((variances[-1] / variances[0]) ** (1 / (len(variances) - 1))))

    images = data.images[:512]
    outcome = learn(trial, build, draw_from(data.images, data.labels, BATCH), STEPS[trial.scale], each_step=look)
    return dataclasses.replace(outcome, metrics={"variance_per_layer": factors[0]})


def build(trial: Trial) -> Any:
    """Its layers ``h0``, ``h1`` ... give pre-activations."""
    import keras
    from keras import layers

    start = trial.implementation.load().initializer
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(x)
    for number in range(trial.condition["depth"]):
        kernel = start(f"{trial.arm}_normal")
        x = layers.Dense(WIDTH, kernel_initializer=kernel, dtype=trial.precision, name=f"h{number}")(x)
        x = layers.ReLU(dtype=trial.precision)(x)
    model = keras.Model(inputs, layers.Dense(10, dtype="float32", kernel_initializer=start("lecun_normal"))(x))
    model.compile(keras.optimizers.SGD(trial.learning_rate), classifier_loss(), jit_compile=False)
    return model
