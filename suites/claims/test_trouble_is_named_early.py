"""Claim: what a monitor reads names planted trouble, no later than the loss shows it, and leaves a healthy run alone.

"Monitor training dynamics" (the guide). Trouble begins in the middle of training: units of a layer die, the learning
rate is a hundred times too high, weights are ten times as large, a layer is frozen, batches come from what is held
out. The rules are fixed, and are not tuned: something is not finite; the share of dead units of a layer has grown by a
quarter; a gradient is ten times as large as it used to be; a step changes the weights by more than a tenth, where 0.001
is usual; a weight gets no gradient; the loss of held-out examples is under that of training examples twice in a row,
where it has been above. The loss itself never shows a leak: it gets better.
"""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.training import classifier_loss, rows_of
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, EVERY, RATE = 64, 5, 0.01
STEPS = {"quick": 100, "standard": 1000, "paper": 10_000}
HELD_OUT, PROBED = {"quick": 1497, "standard": 597, "paper": 597}, 300
FAULTS = {
    "dead units": "half of a layer's biases fall to -20",
    "high rate": "the learning rate is 100 times as high",
    "exploding gradient": "a layer's weights are ten times as large",
    "frozen layer": "a layer is no longer trained",
    "leak": "batches are made of held-out examples",
}
SILENT = ("frozen layer", "leak")
"""Faults that the loss does not show."""
CLAIM = Claim(
    technique="monitoring",
    statement="Planted trouble is named by what a monitor reads, no later than the loss shows it; a healthy run is "
    "not.",
    source="the guide: monitor training dynamics",
    arms={"healthy": "nothing is planted"} | FAULTS,
    axis="hidden layers",
    values={"quick": (3,), "standard": (3, 6), "paper": (6, 12)},
    metrics={
        "flagged": Metric("Share of readings that are flagged, of a fault's: whether any is", "", "higher"),
        "lead": Metric("Steps from the first flag to the loss that shows it", "steps", "higher"),
    },
    contrasts=(
        Contrast("flagged", "healthy", 0.0, "difference", margin=0.01, expects="equal"),
        *(Contrast("flagged", fault, 1.0, "difference", margin=0.01, expects="equal") for fault in FAULTS),
        *(Contrast("lead", fault, -0.5, "difference", margin=0.1) for fault in FAULTS if fault not in SILENT),
    ),
    fixed={"data": "digits of 8x8", "optimizer": f"Adam, rate {RATE}", "readings": f"every {EVERY} steps"},
)


def train(trial: Trial) -> Outcome:
    """A dense network on digits, whose trouble begins half way."""
    import keras

    from datasets import digits

    keras.utils.set_random_seed(trial.seed_for("weights"))
    data, steps = digits.split(validation=HELD_OUT[trial.scale], seed=trial.seed_for("split")), STEPS[trial.scale]
    count, begins = len(data.train.labels), steps // 2
    generator = np.random.default_rng(trial.seed_for("order"))
    rows = np.stack([rows_of(generator, count, BATCH) for _ in range(steps)])  # (steps, batch)
    if trial.arm == "leak":
        rows[begins:] = count + generator.integers(0, PROBED, rows[begins:].shape)
    images, labels = (
        np.concatenate(each)[rows.ravel()]
        for each in ((data.train.images, data.validation.images), (data.train.labels, data.validation.labels))
    )
    dense = [keras.layers.Dense(64, "relu", dtype=trial.precision) for _ in range(trial.condition["hidden layers"])]
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), *dense, keras.layers.Dense(10, dtype="float32")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(RATE), classifier_loss(), jit_compile=False)
    watch, fitted = (
        trial.implementation.load().Monitor(part.images[:PROBED], part.labels[:PROBED], every=EVERY)
        for part in (data.validation, data.train)
    )
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    if trial.arm == "frozen layer":  # which has to be compiled anew
        model.fit(images[: begins * BATCH], labels[: begins * BATCH], callbacks=[watch, fitted], **options)
        dense[1].trainable = False
        model.compile(keras.optimizers.Adam(RATE), classifier_loss(), jit_compile=False)
        model.fit(images[begins * BATCH :], labels[begins * BATCH :], callbacks=[watch, fitted], **options)
    else:

        def begin(batch: int, logs: Any) -> None:  # noqa: ARG001 - Keras names them
            if batch + 1 == begins:
                plant(trial.arm, model, dense[1])

        lambdas = keras.callbacks.LambdaCallback(on_train_batch_end=begin)
        model.fit(images, labels, callbacks=[watch, fitted, lambdas], **options)
    first = begins // EVERY
    before, after = watch.readings[:first], watch.readings[first:]
    flags = [*flagged(before, after, [reading.loss for reading in fitted.readings])]
    if trial.arm == "healthy":
        return Outcome({"flagged": float(np.mean(flags)), "lead": 0.0})
    usual = max(reading.loss for reading in before[len(before) // 2 :])
    shows = next((i for i, reading in enumerate(after) if not reading.loss < 2 * usual), len(after))
    return Outcome({"flagged": float(any(flags)), "lead": float((shows - [*flags, True].index(True)) * EVERY)})


def plant(fault: str, model: Any, layer: Any) -> None:
    """What goes wrong from now on."""
    if fault == "dead units":
        layer.bias.assign(np.where(np.arange(64) < 32, -20.0, layer.bias.numpy()))
    elif fault == "high rate":
        model.optimizer.learning_rate.assign(100 * RATE)
    elif fault == "exploding gradient":
        layer.kernel.assign(10 * layer.kernel)


def flagged(before: Sequence[Any], after: Sequence[Any], fitted: Sequence[float]) -> Iterator[bool]:
    """Whether each reading of held-out examples is flagged, by those before, and by the loss of training examples."""
    norms, usual = [reading.gradient_norm for reading in before], before[-1]
    is_fitted = all(reading.loss > loss for reading, loss in zip(before[-5:], fitted[: len(before)][-5:], strict=True))
    under = False
    for reading, loss in zip(after, fitted[len(before) :], strict=True):
        was_under, under = under, reading.loss < loss
        grown = [reading.layers[name].dead - usual.layers[name].dead for name in usual.layers]
        lost = [path for path in usual.gradient_norms if not reading.gradient_norms.get(path)]
        yield bool(
            reading.non_finite
            or max(grown[:-1]) > 0.25
            or reading.gradient_norm > 10 * statistics.median(norms)
            or reading.update_ratio > 0.1
            or (is_fitted and under and was_under)
            or lost
        )
        norms.append(reading.gradient_norm)
