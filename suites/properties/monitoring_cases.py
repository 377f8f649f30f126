"""What is drawn for the properties of monitoring, and how runs are watched, stopped and profiled."""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.numerics import to_numpy
from suites.subjects import Subject


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of some weights, None where a weight has no influence: numbers that every precision represents."""

    arrays: tuple[np.ndarray | None, ...]

    def scaled(self, factor: float) -> Gradients:
        """All multiplied by a number."""
        return Gradients(tuple(None if array is None else array * factor for array in self.arrays))

    def tensors(self, dtype: str) -> list[Any]:
        """As tensors of a dtype."""
        return [None if array is None else keras.ops.convert_to_tensor(array, dtype=dtype) for array in self.arrays]

    def __repr__(self) -> str:
        return f"Gradients({[None if array is None else array.tolist() for array in self.arrays]})"


@dataclass(frozen=True, eq=False)
class Batches:
    """Activations (B, ..., C) of a layer, batch by batch."""

    arrays: tuple[np.ndarray, ...]

    def __repr__(self) -> str:
        return f"Batches({[array.tolist() for array in self.arrays]})"


@dataclass(frozen=True)
class Values:
    """A value after each epoch, how early stopping is asked to treat them, and the number of the first epoch.

    That is above 0 in a `fit` that goes on, with `initial_epoch`.
    """

    values: tuple[float, ...]
    patience: int = 1
    min_delta: float = 0.0
    mode: str = "min"
    first: int = 3

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of early stopping."""
        return {"patience": self.patience, "min_delta": self.min_delta, "mode": self.mode}


def eighths(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Multiples of 1/8 from -4 to 4."""
    size = math.prod(shape)
    numbers = st.lists(st.integers(-32, 32), min_size=size, max_size=size)
    return numbers.map(lambda drawn: np.array(drawn, np.float64).reshape(shape) / 8)


SHAPES = ((1,), (3,), (2, 3))


def gradients() -> st.SearchStrategy[Gradients]:
    """Of one to four weights, few shapes, since JAX compiles for each."""
    one = st.none() | st.sampled_from(SHAPES).flatmap(eighths)
    return st.lists(one, min_size=1, max_size=4).map(tuple).map(Gradients)


@st.composite
def batches(draw: st.DrawFn) -> Batches:
    """One to four batches of two units, around 0 or far from it."""
    far = draw(st.sampled_from((0.0, 0.0, 1024.0)))
    places = draw(st.sampled_from(((), (2,))))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    return Batches(tuple(draw(eighths((size, *places, 2))) + far for size in sizes))


def values() -> st.SearchStrategy[Values]:
    """Up to eight epochs, with ties and NaN."""
    number = st.integers(-8, 8).map(lambda n: n / 4) | st.sampled_from((math.nan, math.inf, -math.inf))
    return st.builds(
        Values,
        st.lists(number, min_size=1, max_size=8).map(tuple),
        st.integers(1, 3),
        st.sampled_from((0.0, 0.25, 0.5)),
        st.sampled_from(("min", "max")),
        st.sampled_from((0, 3)),
    )


# Early stopping


@functools.cache
def _followed() -> keras.Model:
    """A model whose weights, trained or not, tell the epoch."""
    layers = [keras.layers.Dense(1, use_bias=False), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((1,)), *layers])
    model.compile("sgd", "mse")
    return model


def stopper(subject: Subject, case: Values, **options: Any) -> Any:
    """Early stopping as a case asks for it, which follows a value called `val_error`."""
    return subject.EarlyStopping(monitor="val_error", **case.options, **options)


def followed(subject: Subject, case: Values, callback: Any = None, **options: Any) -> tuple[int | None, float]:
    """The epoch after which early stopping ends a run of these values, and the weights after it: its epoch's number.

    What is returned is counted from 0, whatever the number of the first epoch.
    """
    __tracebackhide__ = True
    model = _followed()
    callback = callback or stopper(subject, case, **options)
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    stopped = None
    for epoch, value in enumerate(case.values):
        model.set_weights([np.full(weight.shape, epoch, "float32") for weight in model.weights])
        callback.on_epoch_begin(case.first + epoch)
        callback.on_epoch_end(case.first + epoch, {"loss": 0.0, "val_loss": -value, "val_error": value})
        if model.stop_training:
            stopped = epoch
            break
    callback.on_train_end()
    found = {float(number) for weight in model.get_weights() for number in np.ravel(to_numpy(weight))}
    check(len(found) == 1, f"the weights after the run come from several epochs: {sorted(found)}")
    return stopped, found.pop()


# Runs of training


@dataclass(frozen=True)
class Trained:
    """What a run leaves behind."""

    variables: dict[str, np.ndarray]
    traces: int
    drawn: tuple[float, ...]


def trained(callbacks: Sequence[Any]) -> Trained:
    """Six steps of a small net with BN and dropout, and what is drawn at random after it."""
    keras.utils.set_random_seed(11)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu", name="first"),
            keras.layers.BatchNormalization(name="normalization"),
            keras.layers.Dropout(0.5, name="dropout"),
            keras.layers.Dense(3, name="last"),
        ],
        name="net",
    )
    traces = 0
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def loss(targets: Any, logits: Any) -> Any:
        nonlocal traces
        traces += 1
        return crossentropy(targets, logits)

    x, y = data()
    model.compile(keras.optimizers.SGD(0.125, momentum=0.5), loss, jit_compile=False)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=True, verbose=0, callbacks=list(callbacks))
    variables = {f"{i} {v.name}": to_numpy(v) for i, v in enumerate([*model.variables, *model.optimizer.variables])}
    drawn = (float(to_numpy(keras.random.uniform(()))), random.random())
    return Trained(variables, traces, drawn)


def data(rows: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, 4) and classes (B,)."""
    generator = np.random.default_rng(3)
    return generator.integers(-16, 16, (rows, 4)).astype("float32") / 8, generator.integers(0, 3, rows)


@functools.cache
def unwatched() -> Trained:
    """The run that nobody watches."""
    return trained(())


def probe_loss(targets: Any, logits: Any) -> Any:
    """Another function than the one that is compiled into the step, so that its traces are not counted."""
    return keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)


# Profiles


def profiled(subject: Subject, function: Callable[[], Any], **options: Any) -> Any:
    """The subject's profile of a function, where it has one for this backend."""
    __tracebackhide__ = True
    profile = subject.profile
    try:
        return profile(function, **options)
    except NotImplementedError as error:
        if keras.backend.backend() == "tensorflow":  # by whose trace the contract profiles
            raise
        raise NotProvided(f"profile: {error}") from None


SLEEPS = (0.004, 0.008)
"""Seconds that the outer and the inner operation of `nested` sleep."""


def nested() -> Callable[[], Any]:
    """A function that runs one `PyFunc`, in it an `EagerPyFunc`, and in that two products and a rectifier."""
    if keras.backend.backend() != "tensorflow":
        raise NotProvided("operations that call Python, which runs others, are TensorFlow's")
    import tensorflow as tf

    square = tf.eye(8)

    def inner() -> Any:
        time.sleep(SLEEPS[1])
        return tf.nn.relu(tf.matmul(tf.matmul(square, square), square))

    def outer() -> np.ndarray:
        time.sleep(SLEEPS[0])
        return np.asarray(tf.py_function(inner, [], tf.float32))

    return tf.function(lambda: tf.numpy_function(outer, [], tf.float32))


def products(size: int, count: int) -> Callable[[], Any]:
    """A function that does so many matrix products in a row, and a rectifier, in a graph where TensorFlow has one."""
    square = keras.ops.convert_to_tensor(np.eye(size, dtype="float32"))

    def step() -> Any:
        result = square
        for _ in range(count):
            result = keras.ops.matmul(result, square)
        return keras.ops.relu(result)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(step)
    return step
