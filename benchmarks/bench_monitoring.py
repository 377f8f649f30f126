"""Races of monitoring: what it costs to read a small convolutional network while it trains on digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import costs
from benchmarks.calls import Inputs, Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload

ROWS = 64
"""Examples in a training step, and in the probe."""

WORKLOADS = tuple(
    Workload(
        "monitoring",
        f"every-{every}",
        {"every": every, "width": 32, "side": 16, "batch": ROWS * every},
        {"quick": ("train",) if every in (1, 10) else (), "standard": ("train",), "paper": ("train",)},
    )
    for every in (1, 10, 100)
)


def preload() -> None:
    """Read the digits once, in the server."""
    from datasets import digits

    digits.load()


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One step is as many training steps as lie from one reading to the next, and that reading; it gives the loss."""
    del operation  # there is one
    probe = _digits(parameters["side"], seed)[1]
    model = _network(subject.precision, parameters)
    monitor = subject.Monitor(*probe, every=parameters["every"])
    monitor.set_model(model)
    monitor.on_train_begin()

    def watched(x: Any, y: Any) -> Any:
        monitor.readings.clear()
        for batch in range(parameters["every"]):
            monitor.on_train_batch_begin(batch)
            loss = model.train_on_batch(x, y)
            monitor.on_train_batch_end(batch)
        return loss

    return Step(watched, _examples(parameters, seed), model, trains=True)


def without(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """The same training steps, with nobody watching."""
    del operation
    model = _network(subject.precision, parameters)

    def unwatched(x: Any, y: Any) -> Any:
        for _ in range(parameters["every"]):
            loss = model.train_on_batch(x, y)
        return loss

    return Step(unwatched, _examples(parameters, seed), model, trains=True)


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """As many training steps as lie from one reading to the next, and the probe: forward and backward pass."""
    side, filters = parameters["side"], parameters["width"]
    layers = [
        costs.convolution(ROWS, side, 3, 1, filters, bias=False, data=True),
        costs.convolution(ROWS, side, 3, filters, filters, bias=False),
        *[costs.normalization(filters)] * 2,
        costs.dense(ROWS, filters, 10),
    ]
    sizes = {"batch": ROWS * (side * side + 1), "logits": ROWS * 10, "width": width}
    trained = costs.step(layers, operation, **sizes) * parameters["every"]
    return trained if without else trained + costs.step(layers, "gradient", **sizes)


def _network(precision: str, parameters: Mapping[str, int]) -> Any:
    """A compiled network of two convolutions with BN."""
    import keras
    from keras import layers

    side, width = parameters["side"], parameters["width"]
    stack: list[Any] = [keras.Input((side, side, 1))]
    for _ in range(2):
        stack += [layers.Conv2D(width, 3, padding="same", use_bias=False, dtype=precision)]
        stack += [layers.BatchNormalization(dtype=precision), layers.ReLU(dtype=precision)]
    stack += [layers.GlobalAveragePooling2D(dtype=precision), layers.Dense(10, dtype="float32")]
    model = keras.Sequential(stack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=False)
    return model


def _examples(parameters: Mapping[str, int], seed: int) -> Inputs:
    return Inputs(*_digits(parameters["side"], seed)[0])


def _digits(side: int, seed: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Images and labels of a training batch, and as many that were held out."""
    from datasets import digits

    split = digits.split(side=side, seed=seed)
    parts = [(part.images[:ROWS], part.labels[:ROWS]) for part in (split.train, split.validation)]
    return parts[0], parts[1]
