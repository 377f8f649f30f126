"""Claim: a rate that warms up and then falls along a cosine trains better than a constant rate, each at its best peak.

The warm-up is that of Goyal et al. 2017 (arXiv:1706.02677, section 2.2), the cosine that of Loshchilov and Hutter 2017
without a restart (arXiv:1608.03983, equation 5).
"""

from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, dense_network, draw_from, learn, validation_error
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, WIDTH, MOMENTUM, VALIDATION = 32, 64, 0.9, 600

CLAIM = Claim(
    technique="schedules",
    statement="A warm-up and a falling rate train better than a constant rate: the error on images that were not "
    "seen ends lower, when each has the rate that suits it.",
    source="Goyal et al. 2017, arXiv:1706.02677, section 2.2; Loshchilov and Hutter 2017, arXiv:1608.03983",
    arms={"scheduled": "up in a line for a tenth of the steps, then down a cosine to 0", "constant": "one rate"},
    axis="steps",
    values={"quick": (200,), "standard": (200, 1000, 5000), "paper": (5000, 50_000)},
    metrics={
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=2),
        "validation_error": Metric("Validation error at the end", "", "lower", last=1),
    },
    contrasts=(Contrast("validation_error", "scheduled", "constant", "difference", margin=0.005),),
    rates=Rates(published=0.03, below=1, above=2),
    fixed={
        "data": f"1,197 digits of 8x8, {VALIDATION} to validate",
        "layers": f"dense, two of {WIDTH}",
        "batch": str(BATCH),
        "optimizer": f"SGD, momentum {MOMENTUM}",
    },
)


def train(trial: Trial) -> Outcome:
    """One network, at the rates of its arm."""
    from datasets import digits

    data = digits.split(validation=VALIDATION, seed=trial.seed_for("split"))
    steps = trial.condition["steps"]
    rates = np.full(steps, trial.learning_rate)
    if trial.arm == "scheduled":
        module = trial.implementation.load()
        rise = steps // 10
        fall = module.Schedule(module.cosine, peak=trial.learning_rate, steps=steps - rise)
        rates = np.asarray(module.with_warm_up(np.arange(steps), schedule=fall, steps=rise))
    draw, measure = draw_from(data.train.images, data.train.labels, BATCH), validation_error(data.validation)
    return learn(trial, build, draw, steps, rate=lambda step: float(rates[step]), measure=measure, points=20)


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    model = dense_network((8, 8, 1), [WIDTH, WIDTH], trial.precision)
    model.compile(keras.optimizers.SGD(trial.learning_rate, momentum=MOMENTUM), classifier_loss(), jit_compile=False)
    return model
