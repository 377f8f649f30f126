"""Claim: shortcuts let gradient and information through deep networks.

Plain and residual networks of growing depth, with the same weights and the same steps, learn real digits. He et al.
report that a deeper plain network has the higher *training* error ("degradation") and that its residual counterpart
does not (arXiv:1512.03385, section 4.2 and figure 6). The size of the gradient that arrives at the first layer shows
what happens on the way: with batch normalisation a plain stack does not lose the gradient but blows it up, by a factor
per layer (Yang et al. 2019, arXiv:1902.08129), and the more it grows, the less a step of ordinary size helps.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.trials import test_trial  # noqa: F401 - the one test function; pytest collects it here

CLAIM = Claim(
    technique="residual",
    statement="Shortcuts let gradient and information through deep networks: a deep residual network trains where the "
    "plain one with the same weights does not.",
    source="He et al. 2015, arXiv:1512.03385, sections 1 and 4.2",
    axis="depth",
    arms=("residual", "plain"),
    metrics={
        "training_loss": Metric("Training loss, mean of the last five steps", "nat", "lower"),
        "first_layer_gradient_norm": Metric("Gradient norm of the first layer at the start", "", "lower"),
    },
    contrasts=(
        Contrast("training_loss", "residual", "plain", "difference", margin=0.1),
        Contrast("first_layer_gradient_norm", "residual", "plain", "ratio", margin=1.5),
    ),
    values={"quick": (8, 14, 26), "standard": (8, 20, 32, 44, 56), "paper": (20, 32, 44, 56, 110)},
    seeds={"quick": 3, "standard": 5, "paper": 5},
)

BATCH = 64
STEPS = {"quick": 30, "standard": 300, "paper": 3000}
LEARNING_RATE = 0.05
LAST_STEPS = 5


def train(trial: Trial) -> Outcome:
    """Train one network for the steps of the scale, from weights and an order of batches that the seed decides."""
    import keras

    from datasets import digits

    keras.utils.set_random_seed(trial.seed)
    start = build(trial).get_weights()
    model, optimizer_start = compiled(dataclasses.replace(trial, seed=0))
    model.set_weights(start)
    for variable, value in zip(model.optimizer.variables, optimizer_start, strict=True):
        variable.assign(value)
    data = digits.split(seed=trial.seed).train
    generator = np.random.default_rng(trial.seed)
    losses: list[float] = []
    gradient_norm = 0.0
    for step in range(STEPS[trial.scale]):
        rows = generator.choice(len(data.labels), BATCH, replace=False)
        losses.append(float(model.train_on_batch(data.images[rows], data.labels[rows])))
        if step == 0:  # the velocity was zero, so the first step is the gradient times the learning rate
            moved = np.asarray(start[0], np.float64) - np.asarray(model.get_weights()[0], np.float64)
            gradient_norm = float(np.linalg.norm(moved)) / LEARNING_RATE
    metrics = {"training_loss": float(np.mean(losses[-LAST_STEPS:])), "first_layer_gradient_norm": gradient_norm}
    return Outcome(metrics, {"training_loss": losses})


def build(trial: Trial) -> Any:
    """A network on digits; its first weight is the kernel of its first layer."""
    shortcut = "identity" if trial.arm == "residual" else None  # option A: not one weight more than the plain network
    make = trial.implementation.load().cifar_resnet
    return make(trial.condition["depth"], shortcut=shortcut, input_shape=(8, 8, 1), dtype=trial.precision)


@functools.lru_cache(maxsize=1)
def compiled(trial: Trial) -> tuple[Any, list[np.ndarray]]:
    """A compiled network, and its optimizer's variables before the first step; a trial's seed does not matter to it.

    Tracing a deep network takes longer than training it for a few steps, so it is kept from seed to seed.
    """
    import keras

    model = build(trial)
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.9)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model, [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in optimizer.variables]
