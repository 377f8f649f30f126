"""Claim: a batch k times as large trains as well with a rate k times as large, up to a size, and not beyond.

Goyal et al. 2017: with that rule and a warm-up, batches of up to 8,192 images end with the error of small ones after
equally many epochs, and larger ones do not (arXiv:1706.02677, sections 2.1 and 5.1 and figure 1). Where it breaks
depends on the data: here there are far fewer of them.
"""

import math
from typing import Any

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.training import classifier_loss, dense_network, draw_from, learn, validation_error
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

SMALL, RATE, EPOCHS, WIDTH, MOMENTUM = 32, 0.003, 8, 64, 0.9
"""The rate is the best one for the small batch, of 0.001, 0.003, 0.01 and 0.03, by three seeds that never judge."""
TRAINING = {"standard": 20_000, "paper": 55_000}
CLAIM = Claim(
    technique="schedules",
    statement=f"A batch eight times as large, with a rate eight times as large after a warm-up, ends with the error of "
    f"the small batch of {SMALL} after equally many epochs, where its rate is left alone it does not; and one 256 "
    f"times as large is worse.",
    source="Goyal et al. 2017, arXiv:1706.02677, sections 2.1 and 5.1 and figure 1",
    arms={
        "scaled": "the large batch, its rate as many times as large, a warm-up",
        "unscaled": "the large batch, the rate of the small one",
        "small": f"a batch of {SMALL}, whatever the axis says",
    },
    axis="times",
    values={"standard": (8, 32, 256), "paper": (8, 64, 256)},
    metrics={"validation_error": Metric("Validation error at the end", "", "lower", last=2)},
    contrasts=(
        Contrast("validation_error", "scaled", "small", "difference", margin=0.01, expects="equal", at=8),
        Contrast("validation_error", "scaled", "unscaled", "difference", margin=0.01, at=8),
        Contrast("validation_error", "small", "scaled", "difference", margin=0.01, at=256),
    ),
    fixed={
        "data": "Fashion-MNIST, 20,000 images",
        "layers": f"dense, two of {WIDTH}",
        "epochs": f"{EPOCHS}, the first of which is the warm-up",
        "optimizer": f"SGD, momentum {MOMENTUM}, rate {RATE} for {SMALL} images, which is the best for them",
    },
)


def train(trial: Trial) -> Outcome:
    """One network, for so many epochs."""
    from datasets import fashion

    data = fashion.split(train=TRAINING[trial.scale], validation=5000, seed=trial.seed_for("split"))
    times = 1 if trial.arm == "small" else trial.condition["times"]
    steps = math.ceil(EPOCHS * TRAINING[trial.scale] / (SMALL * times))
    peak = RATE * (times if trial.arm == "scaled" else 1)
    warm_up = trial.implementation.load().warm_up
    rates = warm_up(range(steps), rate=peak, steps=max(1, steps // EPOCHS))
    draw = draw_from(data.train.images, data.train.labels, SMALL * times)
    measure = validation_error(data.validation)
    return learn(trial, build, draw, steps, rate=lambda step: float(rates[step]), measure=measure, points=16)


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    model = dense_network((28, 28, 1), [WIDTH, WIDTH], trial.precision)
    model.compile(keras.optimizers.SGD(momentum=MOMENTUM), classifier_loss(), jit_compile=False)
    return model
