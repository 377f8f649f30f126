"""What is drawn for the properties of checkpointing, and how one training step is taken on each backend."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers, ops

from suites.implementations import NotProvided
from suites.properties.checkpointing_steps import Function, Step, step, tensor_of
from suites.properties.checks import check, takes
from suites.properties.numerics import to_numpy
from suites.properties.oracles import checkpointing as oracle
from suites.subjects import Subject


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of layers without biases, of small integers: no precision rounds anything on the way."""

    inputs: np.ndarray  # (B, D_0), integers up to 4
    kernels: tuple[np.ndarray, ...]  # (D_{i-1}, D_i), of -1, 0 and 1
    cotangent: np.ndarray  # (B, D_n), integers up to 2

    def __repr__(self) -> str:
        kernels = ", ".join(str(kernel.tolist()) for kernel in self.kernels)
        return f"inputs {self.inputs.tolist()}, kernels [{kernels}], cotangent {self.cotangent.tolist()}"


SMALL = Chain(np.array([[3.0], [-2.0]]), (np.array([[1.0, -1.0]]), np.array([[1.0], [1.0]])), np.array([[1.0], [2.0]]))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Any chain of up to three layers of one or two units, for a batch of two: few shapes, which compile once."""
    sizes = draw(st.lists(st.sampled_from((1, 2)), min_size=2, max_size=4))

    def integers(shape: tuple[int, int], limit: int) -> np.ndarray:
        size = shape[0] * shape[1]
        drawn = draw(st.lists(st.integers(-limit, limit), min_size=size, max_size=size))
        return np.array(drawn, dtype=float).reshape(shape)

    return Chain(
        integers((2, sizes[0]), 4),
        tuple(integers(shape, 1) for shape in itertools.pairwise(sizes)),
        integers((2, sizes[-1]), 2),
    )


def captured(arrays: Sequence[np.ndarray]) -> list[keras.Variable]:
    """Trainable float32 variables, for a function to use without taking them as arguments."""
    return [keras.Variable(array, dtype="float32") for array in arrays]


def chain_function(kernels: Sequence[keras.Variable], activation: Function = ops.relu) -> Function:
    """The chain as a function of its inputs, in their dtype."""

    def chain(inputs: Any) -> Any:
        for kernel in kernels:
            inputs = activation(ops.matmul(inputs, ops.cast(kernel, inputs.dtype)))
        return inputs

    return chain


def step_of_chain(subject: Subject, case: Chain, mode: str) -> tuple[Step, oracle.Pass]:
    """A step of the checkpointed chain in the compute dtype, and the truth."""
    kernels = captured(case.kernels)
    inputs = tensor_of(case.inputs, subject.compute_dtype)
    found = step(
        subject.checkpoint(chain_function(kernels)), inputs, cotangent=case.cotangent, variables=kernels, mode=mode
    )
    return found, oracle.chain(case.inputs, case.kernels, case.cotangent)


# Layers


class Affine(layers.Layer):
    """x to slope x + offset, with a trained slope: which of them ran, and in which order, shows in the result."""

    def __init__(self, slope: float, offset: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slope_at_first, self.offset = slope, offset

    def build(self, _input_shape: Any) -> None:
        """Create the slope."""
        start = keras.initializers.Constant(self.slope_at_first)
        self.slope = self.add_weight(shape=(), initializer=start, name="slope")

    def call(self, inputs: Any) -> Any:
        """Apply it."""
        return inputs * self.slope + self.offset

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), "slope": self.slope_at_first, "offset": self.offset}


def affine(count: int, dtype: str = "float32") -> list[layers.Layer]:
    """So many different layers, of small integers."""
    return [Affine(1 + place % 2, place - 2, dtype=dtype, name=f"affine_{place}") for place in range(count)]


class Inside(layers.Layer):
    """A layer whose body is checkpointed, and sees what Keras hands on: `training`, and the kernel's cast."""

    def __init__(self, checkpoint: Function, body: Function, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run = checkpoint(lambda inputs: body(self, inputs))
        self.trained = Trained(dtype=self.dtype_policy)

    def build(self, _input_shape: Any) -> None:
        """Create two numbers: bfloat16 rounds both to 1, float16 the second alone."""
        start = keras.initializers.Constant([1 + 2.0**-9, 1 + 2.0**-12])
        self.kernel = self.add_weight(shape=(2,), initializer=start, name="kernel")

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - Keras hands it on
        """Run the body."""
        return self.run(inputs)


class Trained(layers.Layer):
    """3 x^2 of its input x in training, and x^2 otherwise."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Apply it."""
        return inputs * (3 * inputs if training else inputs)


class Masked(layers.Layer):
    """Twice its input where its mask is True and zero elsewhere; five times its input where there is no mask."""

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Apply it."""
        return 5 * inputs if mask is None else ops.where(ops.expand_dims(mask, -1), 2 * inputs, 0)


class Counting(layers.Layer):
    """Gives what it is given, and counts how often it did so in training."""

    def build(self, _input_shape: Any) -> None:
        """Create the counter."""
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Count."""
        if training:
            self.count.assign(self.count + 1)
        return inputs


def sequential(subject: Subject, chosen: Sequence[Any], segments: Any = None) -> Any:
    """The subject's layer around these."""
    create = subject.CheckpointedSequential
    extra = {} if segments is None else {"segments": segments}
    for name in ("dtype", *extra):
        if not takes(create, name):
            raise NotProvided(f"CheckpointedSequential takes no `{name}`")
    return create(list(chosen), **extra, dtype=subject.precision)


# Functions


def nested(tensors: dict[str, Any], *, scale: Any, double: bool = False) -> dict[str, Any]:
    """A nest in, a nest out, with an option, and a result that has no gradient."""
    product = tensors["left"] * tensors["right"] * scale
    large = ops.cast(tensors["left"] > 1, "int32")
    return {"sums": [product + tensors["left"], large], "product": product * (1 + double)}


def step_of_nest(function: Any, mode: str) -> Step:
    """A step of `nested`, or of what has been made of it."""

    def run(left: Any, right: Any, scale: Any) -> Any:
        results = function({"left": left, "right": right}, scale=scale, double=True)
        check(set(results) == {"sums", "product"}, f"results are nested as {keras.tree.map_structure(type, results)}")
        kind = keras.backend.standardize_dtype(results["sums"][1].dtype)
        check(kind == "int32", f"a result of int32 comes back as {kind}")
        return results["sums"][0] + results["product"] * ops.cast(results["sums"][1], "float32")

    return step(run, *(tensor_of(values) for values in ([1.0, 2.0], [3.0, -1.0], [2.0, 4.0])), mode=mode)


def dropped(rate: float, seed: int) -> tuple[layers.Layer, keras.Variable]:
    """A dropout layer, and the state of its random numbers."""
    layer = layers.Dropout(rate, seed=seed)
    return layer, layer.seed_generator.state


def weights_after_fit(wrap: Any) -> list[np.ndarray]:
    """The weights after two epochs of `fit` on two batches, of layers that ask for `training`, draw, and count."""
    chosen = [
        layers.Dense(2, activation="relu", kernel_initializer="ones"),
        layers.Dropout(0.5, seed=2),
        Counting(),
        layers.Dropout(0.5, seed=3),
        layers.Dense(2, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(0.5)),
    ]
    inputs = keras.Input((2,))
    model = keras.Model(inputs, wrap(chosen)(inputs))
    model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=False)
    x = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0], [2.0, 0.0]], "float32")
    model.fit(x, x[:, ::-1], batch_size=2, epochs=2, shuffle=False, verbose=0)
    return [to_numpy(weight.value) for weight in model.weights]
