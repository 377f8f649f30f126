"""The batches and small models with which the properties of schedules train, and what must come out of that."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.numerics import SMALLEST_SUBNORMAL, assert_within, gamma, to_numpy
from suites.subjects import Subject


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples `(N, 2)` whose elements every precision represents exactly, and the size of a micro-batch."""

    x: np.ndarray
    size: int

    @property
    def micro_batches(self) -> list[np.ndarray]:
        """The examples, in pieces."""
        return [self.x[begin : begin + self.size] for begin in range(0, len(self.x), self.size)]

    def __repr__(self) -> str:
        return f"{self.x.tolist()} in micro-batches of {self.size}"


EVEN = Batch(np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 2.0], [0.0, 1.5]]), 2)
RAGGED = Batch(np.array([[1.0, -2.0], [3.0, 0.5], [-4.0, 2.0]]), 2)


@st.composite
def batches(draw: st.DrawFn, *, ragged: bool) -> Batch:
    """Any small batch, whose last micro-batch, which may be the only one, is smaller than the others or not."""
    size, count = draw(st.integers(2, 3)), draw(st.integers(1, 3))
    examples = size * count - (draw(st.integers(1, size - 1)) if ragged else 0)
    eighths = draw(st.lists(st.integers(-32, 32), min_size=2 * examples, max_size=2 * examples))
    return Batch(np.array(eighths).reshape(examples, 2) / 8, size)


def pieces() -> st.SearchStrategy[list[np.ndarray]]:
    """Micro-batches of any sizes."""
    eighths = st.integers(-32, 32).map(lambda integer: integer / 8)
    examples = st.lists(st.tuples(eighths, eighths), min_size=1, max_size=4).map(np.array)
    return st.lists(examples, min_size=1, max_size=4)


ACCUMULATED_RATE = 0.5
"""The learning rate of `trained`."""


def mean_output(_targets: Any, outputs: Any) -> Any:
    """A loss whose gradient is the mean of the inputs, whatever the weights are."""
    return ops.mean(outputs, axis=-1)


def linear_model(
    precision: str, optimizer: Any, loss: Any = mean_output, *, eagerly: bool = True, penalty: Any = None
) -> keras.Model:
    """The inputs times two weights, both 1, compiled; without loss scaling, which is another technique's."""
    options = {"use_bias": False, "kernel_initializer": "ones", "kernel_regularizer": penalty}
    dense = keras.layers.Dense(1, dtype=precision, **options)
    model = keras.Sequential([keras.Input((2,)), dense])
    model.compile(optimizer, loss, run_eagerly=eagerly, auto_scale_loss=False)
    optimizer.build(model.trainable_variables)
    return model


@functools.lru_cache(maxsize=64)  # to make one takes longer than to train it
def _accumulating_model(subject: Subject, micro_batches: int) -> tuple[keras.Model, list[np.ndarray]]:
    optimizer = subject.accumulating(keras.optimizers.SGD, ACCUMULATED_RATE, micro_batches)
    model = linear_model(subject.precision, optimizer)
    return model, state_of(model)


def trained(subject: Subject, batch: Batch) -> tuple[np.ndarray, Any]:
    """The weights of `linear_model` after one update by micro-batches, and the loss that was reported."""
    model, state = _accumulating_model(subject, len(batch.micro_batches))
    for variable, value in zip((*model.variables, *model.optimizer.variables), state, strict=True):
        variable.assign(value)
    loss = subject.train_on_micro_batches(model, *arrays_of(batch), size=batch.size)
    return weights_of(model), loss


def weights_of(model: keras.Model) -> np.ndarray:
    """The two weights of `linear_model`."""
    return to_numpy(model.get_weights()[0])[:, 0]


def arrays_of(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets as a model takes them."""
    return batch.x.astype("float32"), np.zeros((len(batch.x), 1), "float32")


def state_of(model: keras.Model) -> list[np.ndarray]:
    """All that training changes: weights, batch statistics, seeds, and the state of the optimizer."""
    return [np.array(ops.convert_to_numpy(each)) for each in (*model.variables, *model.optimizer.variables)]


def two_gradients(x: Any) -> list[Any]:
    """Means over a batch, as gradients of a mean loss are: of x, and of its squares."""
    x = ops.convert_to_tensor(x)
    return [ops.mean(x, axis=0), ops.mean(x * x, axis=0)]


def accumulates(subject: Subject, micro_batches: list[np.ndarray]) -> None:
    """Assert that the accumulated gradients are those of the whole batch."""
    __tracebackhide__ = True
    found = subject.accumulated_gradients(two_gradients, ((piece.astype("float32"),) for piece in micro_batches))
    are_means(found, micro_batches)


def are_means(found: Any, micro_batches: list[np.ndarray]) -> None:
    """Assert that these are `two_gradients` of all examples together."""
    __tracebackhide__ = True
    check(len(found) == 2, f"{len(found)} gradients for 2")
    x = np.concatenate(micro_batches)
    roundings = 2 * len(x) + 8  # in each mean, and in weighting, adding up and dividing
    for power, gradient in zip((1, 2), found, strict=True):
        bound = gamma(roundings, "float32") * (np.abs(x) ** power).mean(0)
        what = f"mean of x^{power} over {[piece.tolist() for piece in micro_batches]}"
        assert_within(gradient, (x**power).mean(0), bound, what)


def gradient_bound(batch: Batch, subject: Subject) -> np.ndarray:
    """How far the gradient of `linear_model` may be off: weighted means in the compute dtype, added up in float32."""
    dtype, examples = subject.compute_dtype, len(batch.x)
    relative = gamma(examples + 6, dtype) + gamma(2 * examples + 8, "float32")
    return relative * np.abs(batch.x).mean(0) + examples * SMALLEST_SUBNORMAL[dtype]


def trains_as_one(subject: Subject, batch: Batch) -> None:
    """Assert that one update by micro-batches is that by the whole batch."""
    __tracebackhide__ = True
    step = ACCUMULATED_RATE * batch.x.mean(0)
    bound = ACCUMULATED_RATE * gradient_bound(batch, subject) + gamma(3, "float32") * (1 + np.abs(step))
    assert_within(trained(subject, batch)[0], 1 - step, bound, f"weights after {batch}")


def variable(value: Any) -> Any:
    """A weight on its own."""
    return keras.Variable(np.float32(value), dtype="float32")


OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "momentum": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "weight decay": (keras.optimizers.SGD, {"weight_decay": 0.5}),
    "clipping by norm": (keras.optimizers.SGD, {"clipnorm": 1.0, "momentum": 0.5}),
    "clipping by value": (keras.optimizers.SGD, {"clipvalue": 0.25, "weight_decay": 0.125}),
    "clipping by the norm of all": (keras.optimizers.SGD, {"global_clipnorm": 1.0}),
    "Adam": (keras.optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.125, "weight_decay": 0.125}),
}
"""Optimizers with options, which act on the gradient, on the weights, or on a state."""

GRADIENTS = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -0.5], [-1.5, 0.0, 0.125], [0.5, 1.0, 8.0]])
"""Of three numbers in four micro-batches; sums and means of all or two of them are exact in float32."""


def updated(optimizer: Any, gradients: np.ndarray) -> np.ndarray:
    """Three numbers in two weights after so many gradients `(n, 3)`, one after the other."""
    weights = [variable([1.0]), variable([2.0, -1.0])]
    for gradient in gradients.astype("float32"):
        optimizer.apply([ops.convert_to_tensor(each) for each in np.split(gradient, [1])], weights)
    if getattr(optimizer, "use_ema", False):
        optimizer.finalize_variable_values(weights)  # to their averages
    return np.concatenate([to_numpy(each) for each in weights])


def bowl(
    learning_rate: Any = 0.01, scales: tuple[float, ...] = (1.0,)
) -> tuple[keras.Model, list[tuple[np.ndarray, np.ndarray]]]:
    """A model whose loss is the square of its first weight, which is 1, times a scale, and a batch for each scale."""
    optimizer = keras.optimizers.SGD(learning_rate)
    batches = [arrays_of(Batch(np.array([[scale, 0.0]]), 1)) for scale in scales]
    return linear_model("float32", optimizer, "mse"), batches


def stateful() -> keras.Model:
    """A model with batch statistics, seeds and an optimizer with a state, after one step."""
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Dense(2),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], run_eagerly=True, auto_scale_loss=False)
    model.train_on_batch(*arrays_of(EVEN))
    return model


def broken() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One batch, and then an error."""
    yield arrays_of(EVEN)
    raise InterruptedError("the data ended in the middle")
