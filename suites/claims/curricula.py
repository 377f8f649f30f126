"""Training by a curriculum, by its opposite, in a random order, or as usual: for all claims about orders.

Digits are ordered by the squared error of a linear teacher, a ridge regression onto one-hot labels: it knows nothing of
how the network learns, and needs no training that a seed decides.
"""

import functools
from typing import Any

import numpy as np

from suites.claims.claim import Contrast, Metric, Outcome, Trial
from suites.claims.training import classifier_loss, dense_network, learn, validation_error

BATCH, WIDTH, START, FULL, VALIDATION = 32, 64, 0.2, 0.8, 600

ARMS = {
    "curriculum": "the easiest fifth first, then more",
    "anti": "the hardest fifth first, then more",
    "random": "a random fifth first, then more",
    "vanilla": "all examples from the start",
}
METRICS = {"validation_error": Metric("Validation error at the end", "", "lower", last=2)}
FIXED = {
    "data": f"1,197 digits of 8x8, {VALIDATION} to validate",
    "difficulty": "squared error of a ridge regression onto one-hot labels",
    "classes": "take turns in every order, so that none is rare in the beginning",
    "pacing": f"linear, from {START} of the examples to all after {FULL} of the steps",
    "layers": f"dense, two of {WIDTH}",
    "batch": str(BATCH),
    "optimizer": "SGD, momentum 0.9",
}


def expected(arm: str, baseline: str, expects: Any, at: int | None = None) -> Contrast:
    """That an arm has the lower validation error, or the same; half a percentage point does not matter."""
    return Contrast("validation_error", arm, baseline, "difference", margin=0.005, expects=expects, at=at)


def train(trial: Trial) -> Outcome:
    """One network, for so many steps as the axis says, on the batches that its arm's plan draws."""
    from datasets import digits

    module, steps = trial.implementation.load(), trial.condition["steps"]
    data = digits.split(validation=VALIDATION, seed=trial.seed_for("split"))
    images, labels = data.train.images, data.train.labels
    plan = {"start": START, "full": FULL, "seed": trial.seed_for("order"), "total_steps": steps, "batch_size": BATCH}
    arms = module.arms(_scores(module, trial.seed_for("split")), labels=labels, **plan)
    batches = iter(module.batches(arms[trial.arm], (images, labels)))
    measure = validation_error(data.validation)
    return learn(trial, _build, lambda _: next(batches), steps, measure=measure, points=20)


@functools.lru_cache(maxsize=32)  # the rates of a search have their seeds in common
def _scores(module: Any, split: int) -> Any:
    """How difficult each example of a split is, in the eyes of a linear teacher."""
    from datasets import digits

    part = digits.split(validation=VALIDATION, seed=split).train
    pixels, targets = part.images.reshape(len(part.images), -1), np.eye(10)[part.labels]
    rows = np.hstack([pixels, np.ones((len(pixels), 1))])
    weights = np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ targets)

    def teacher(inputs: Any, training: bool) -> Any:
        assert not training
        return inputs @ weights

    return module.teacher_losses(teacher, rows, targets, lambda y, outputs: (y - np.asarray(outputs)) ** 2)


def _build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    model = dense_network((8, 8, 1), [WIDTH, WIDTH], trial.precision)
    model.compile(keras.optimizers.SGD(trial.learning_rate, momentum=0.9), classifier_loss(), jit_compile=False)
    return model
