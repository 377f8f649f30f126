"""One way to train for all claims: from weights and batches that the seed decides, with what happens on the way."""

import functools
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suites.claims.claim import Outcome, Trial

POINTS = 40
"""Points of a series, at most."""

Batch = tuple[Any, Any]
Build = Callable[[Trial], Any]
Draw = Callable[[np.random.Generator], Batch]
"""Makes one batch, inputs and targets."""
Update = Callable[[Any, Any, Any], float]
"""Takes one step of a model by a batch's inputs and targets, and gives the loss before it."""


def learn(
    trial: Trial,
    build: Build,
    draw: Draw,
    steps: int,
    *,
    rate: Callable[[int], float] | None = None,
    measure: Callable[[Any], Mapping[str, float]] | None = None,
    each_step: Callable[[int, Any], None] | None = None,
    update: Update | None = None,
    points: int = POINTS,
) -> Outcome:
    """Train a model for so many steps.

    Training that is no longer finite ends there, with a point that is NaN.

    Args:
        trial: its seeds decide the weights and the batches.
        build: makes the compiled model of a trial; what it compiles is kept from one seed and rate to the next.
        draw: makes a batch.
        steps: how many.
        rate: the learning rate by step, from 0; by default the trial's own.
        measure: further numbers at each point, of the model. The clock does not count the time that this takes, nor
            the first step, which compiles.
        each_step: is told how many steps have been made, from 0 before the first, and the model.
        update: how the model learns from a batch; by default by `train_on_batch`.
        points: of the series, at most.

    Returns:
        The series ``training_loss``, the mean of the steps since the last point, and whatever `measure` gives.
    """
    model = prepared(trial, build)
    generator = np.random.default_rng(trial.seed_for("order"))
    ends = {math.ceil(steps * (point + 1) / points) for point in range(points)}
    series: dict[str, list[float]] = {"training_loss": []}
    at, clock, losses, spent = [], [], [], 0.0
    if each_step is not None:
        each_step(0, model)
    for step in range(steps):
        now = trial.rate if rate is None else rate(step)
        if now is not None and (rate is not None or step == 0):
            model.optimizer.learning_rate.assign(now)
        batch = draw(generator)
        started = time.process_time()
        losses.append(float(update(model, *batch) if update else model.train_on_batch(*batch)))
        spent += (time.process_time() - started) * (step > 0)  # the first compiles, in some trials and not in others
        if each_step is not None:
            each_step(step + 1, model)
        lost = not math.isfinite(losses[-1])
        if step + 1 in ends or lost:
            at.append(step + 1)
            clock.append(round(spent, 6))
            series["training_loss"].append(math.nan if lost else math.fsum(losses) / len(losses))
            for name, value in (measure(model) if measure else {}).items():
                series.setdefault(name, []).append(math.nan if lost else float(value))
            losses = []
        if lost:
            break
    return Outcome({}, series, at, clock, digest(model.get_weights()))


def prepared(trial: Trial, build: Build) -> Any:
    """The compiled model of a trial's arm and condition, as it is at the start by the trial's seed.

    Building and tracing a network can take longer than training it for a few steps, so it is kept from seed to seed,
    and what it starts with from rate to rate.
    """
    import keras

    where = trial.claim, trial.scale, trial.arm, tuple(trial.condition.items())
    lane = _lane(*where, trial.precision, trial.implementation)
    seed = trial.seed_for("weights")
    if seed not in lane.starts:
        keras.utils.set_random_seed(seed)  # only here: it makes TensorFlow prepare every function once more
        fresh = build(trial)
        fresh.optimizer.build(fresh.trainable_variables)
        lane.model = lane.model or fresh
        lane.starts[seed] = [np.array(keras.ops.convert_to_numpy(each.value)) for each in _variables(fresh)]
    for variable, value in zip(_variables(lane.model), lane.starts[seed], strict=True):
        variable.assign(value)
    return lane.model


def _variables(model: Any) -> list[Any]:
    """All that training changes: weights, statistics, states of random generators, and the optimizer's own."""
    return [*model.variables, *model.optimizer.variables]


@dataclass
class Lane:
    """The compiled model of an arm at a condition, and with what it starts by seed."""

    model: Any = None
    starts: dict[int, list[np.ndarray]] = field(default_factory=dict)


@functools.lru_cache(maxsize=1)
def _lane(*_names: Any) -> Lane:
    """What is kept of a lane; another one drops it."""
    return Lane()


def digest(weights: Iterable[Any]) -> str:
    """Of weights, bit for bit, in their order."""
    found = hashlib.sha256()
    for weight in weights:
        array = np.ascontiguousarray(weight)
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:32]


def fingerprint(backend: str) -> str:
    """The digest of a small network after a few steps: where it is another, this machine computes other bits.

    Computes, and so belongs into a process of its own.
    """
    import keras

    be_deterministic(backend, threads=1)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile(keras.optimizers.Adam(0.01), classifier_loss(), jit_compile=False)
    generator = np.random.default_rng(0)
    for _ in range(5):
        model.train_on_batch(generator.normal(size=(16, 8, 8, 1)).astype("float32"), generator.integers(0, 10, 16))
    return digest(model.get_weights())


def be_deterministic(backend: str, threads: int) -> None:
    """Have operations give the same bits every time, on so many threads; trials share a machine, and none waits."""
    if backend == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
        tensorflow.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)


def classifier_loss() -> Any:
    """The loss of logits and integer labels."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def draw_from(inputs: Any, labels: Any, batch: int) -> Draw:
    """Draws batches of examples, none twice in a batch."""

    def draw(generator: np.random.Generator) -> Batch:
        rows = rows_of(generator, len(labels), batch)
        return inputs[rows], labels[rows]

    return draw


def rows_of(generator: np.random.Generator, count: int, size: int) -> Any:
    """The rows of one batch: ``(size,)`` out of so many, none twice."""
    return generator.choice(count, size, replace=False)


def error_rate(model: Any, inputs: Any, labels: Any) -> float:
    """The share of inputs whose largest logit is not their label's."""
    import keras

    logits = keras.ops.convert_to_numpy(model(inputs, training=False))  # (N, classes)
    return float(np.mean(logits.argmax(-1) != labels))


def validation_error(part: Any) -> Callable[[Any], Mapping[str, float]]:
    """Measures the error rate of a model on images that it does not learn from, for `learn`."""
    return lambda model: {"validation_error": error_rate(model, part.images, part.labels)}


def dense_network(shape: tuple[int, ...], widths: Sequence[int], dtype: str) -> Any:
    """From images to ten float32 logits: rectified dense layers of these widths, He's weights in front of each."""
    import keras
    from keras import layers

    hidden = [layers.Dense(width, "relu", kernel_initializer="he_normal", dtype=dtype) for width in widths]
    return keras.Sequential(
        [keras.Input(shape), layers.Flatten(dtype=dtype), *hidden, layers.Dense(10, dtype="float32")]
    )
