"""Training by a curriculum, by its opposite, in a random order, or as usual: for all claims about orders.

Images are ordered by the squared error of a linear teacher, a ridge regression onto one-hot labels: it knows nothing of
how the network learns, and needs no training that a seed decides. It sees the labels that the network sees, wrong ones
among them where labels are noisy.
"""

import functools
from typing import Any

import numpy as np

from suites.claims.claim import Contrast, Metric, Outcome, Trial
from suites.claims.training import classifier_loss, dense_network, learn, validation_error

BATCH, WIDTH, START, FULL, TRAINING = 32, 64, 0.2, 0.8, 1197
"""Of the images to learn from: two thirds of the digits, and as many articles of clothing."""

ARMS = {
    "curriculum": "the easiest fifth first, then more",
    "anti": "the hardest fifth first, then more",
    "random": "a random fifth first, then more",
    "vanilla": "all examples from the start",
}
METRICS = {"validation_error": Metric("Validation error at the end", "", "lower", last=2)}
FIXED = {
    "data": f"{TRAINING:,} digits of 8x8 and 600 to validate (quick), {TRAINING:,} of Fashion-MNIST and 5,000",
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


def train(trial: Trial, steps: int | None = None) -> Outcome:
    """One network on the batches that its arm's plan draws, for so many steps as are given, or as the axis says."""
    module, steps = trial.implementation.load(), steps or trial.condition["steps"]
    split = trial.seed_for("split")
    images, labels, validation = _data(trial.scale, trial.condition.get("noise", 0), split)
    plan = {"start": START, "full": FULL, "seed": trial.seed_for("order"), "total_steps": steps, "batch_size": BATCH}
    arms = module.arms(_scores(module, trial.scale, trial.condition.get("noise", 0), split), labels=labels, **plan)
    batches = iter(module.batches(arms[trial.arm], (images, labels)))
    return learn(trial, _build, lambda _: next(batches), steps, measure=validation_error(validation), points=20)


@functools.lru_cache(maxsize=4)
def _data(scale: str, noise: int, seed: int) -> tuple[Any, Any, Any]:
    """Images, labels of which so many percent are wrong, and what is held out, whose labels are right."""
    from datasets import digits, fashion

    if scale == "quick":
        data: Any = digits.split(validation=600, seed=seed)
    else:
        data = fashion.split(train=TRAINING, validation=5000, seed=seed)
    labels, generator = data.train.labels.copy(), np.random.default_rng(seed)
    wrong = generator.choice(TRAINING, TRAINING * noise // 100, replace=False)
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, len(wrong))) % 10
    return data.train.images, labels, data.validation


@functools.lru_cache(maxsize=32)  # the rates of a search have their seeds in common
def _scores(module: Any, scale: str, noise: int, seed: int) -> Any:
    """How difficult each example of a split is, in the eyes of a linear teacher."""
    images, labels, _ = _data(scale, noise, seed)
    targets = np.eye(10)[labels]
    rows = np.hstack([images.reshape(TRAINING, -1), np.ones((TRAINING, 1))])
    weights = np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ targets)

    def teacher(inputs: Any, training: bool) -> Any:
        assert not training
        return inputs @ weights

    return module.teacher_losses(teacher, rows, targets, lambda y, outputs: (y - np.asarray(outputs)) ** 2)


def _build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    model = dense_network((8, 8, 1) if trial.scale == "quick" else (28, 28, 1), [WIDTH, WIDTH], trial.precision)
    model.compile(keras.optimizers.SGD(trial.learning_rate, momentum=0.9), classifier_loss(), jit_compile=False)
    return model
