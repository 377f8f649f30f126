"""Claim: shortcuts let gradient and information through deep networks.

Plain and residual networks of growing depth, with the same weights and the same steps, learn real digits. He et al.
report that a deeper plain network has the higher *training* error ("degradation") and that its residual counterpart
does not (arXiv:1512.03385, section 4.2 and figure 6). The size of the gradient that arrives at the first layer shows
what happens on the way: with batch normalisation a plain stack does not lose the gradient but blows it up, by a factor
per layer (Yang et al. 2019, arXiv:1902.08129), and the more it grows, the less a step of ordinary size helps.
"""

import dataclasses
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, draw_from, learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, MOMENTUM = 64, 0.9
STEPS = {"quick": 25, "standard": 300, "paper": 64_000}
CLAIM = Claim(
    technique="residual",
    statement="Shortcuts let gradient and information through deep networks: a deep residual network trains where the "
    "plain one with the same weights does not.",
    source="He et al. 2015, arXiv:1512.03385, sections 1 and 4.2",
    arms={"residual": "identity shortcuts (option A, without a weight)", "plain": "none"},
    axis="depth",
    values={"quick": (8, 20), "standard": (8, 20, 32, 44, 56), "paper": (20, 32, 44, 56, 110)},
    metrics={
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=4),
        "first_layer_gradient_norm": Metric("Gradient norm of the first layer at the start", "", "lower"),
    },
    contrasts=(
        Contrast("training_loss", "residual", "plain", "difference", margin=0.1),
        Contrast("first_layer_gradient_norm", "residual", "plain", "ratio", margin=1.5),
    ),
    rates=Rates(published=0.1),
    fixed={"data": "1,437 digits of 8x8", "batch": str(BATCH), "optimizer": f"SGD, momentum {MOMENTUM}"},
)


def train(trial: Trial) -> Outcome:
    """One network on digits; its first weight is the kernel of its first layer."""
    from datasets import digits

    data = digits.split(seed=trial.seed_for("split")).train
    norms: list[float] = []

    def look(step: int, model: Any) -> None:
        if step == 1:  # the velocity was zero before, and is the first gradient times the rate now
            velocity = np.asarray(model.optimizer.momentums[0], np.float64)
            norms.append(float(np.linalg.norm(velocity)) / trial.learning_rate)

    outcome = learn(trial, build, draw_from(data.images, data.labels, BATCH), STEPS[trial.scale], each_step=look)
    return dataclasses.replace(outcome, metrics={"first_layer_gradient_norm": norms[0]})


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    shortcut = "identity" if trial.arm == "residual" else None  # option A: not one weight more than the plain network
    make = trial.implementation.load().cifar_resnet
    model = make(trial.condition["depth"], shortcut=shortcut, input_shape=(8, 8, 1), dtype=trial.precision)
    model.compile(keras.optimizers.SGD(trial.learning_rate, momentum=MOMENTUM), classifier_loss(), jit_compile=False)
    return model
