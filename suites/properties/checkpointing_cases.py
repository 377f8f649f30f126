"""What is drawn for the properties of checkpointing, and how one training step is taken on each backend."""

import gc
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers, ops

from suites.implementations import NotProvided
from suites.properties.numerics import to_numpy
from suites.subjects import Subject

Function = Callable[..., Any]


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


# One step


@dataclass(frozen=True)
class Step:
    """What a training step gives: the function's value, and gradients to its arguments and to variables.

    A gradient is None where the backend knows of no connection.
    """

    value: np.ndarray
    to_arguments: list[np.ndarray | None]
    to_variables: list[np.ndarray | None]


def step(
    function: Function,
    *arguments: Any,
    cotangent: Any = 1.0,
    variables: Sequence[keras.Variable] = (),
    state: Sequence[keras.Variable] = (),
    mode: str = "eager",
) -> Step:
    """Run a function forward and backward, once.

    Args:
        function: of tensors, to one floating-point tensor.
        arguments: floating-point tensors.
        cotangent: the gradient of the loss with respect to the value; broadcast to it.
        variables: those to which gradients are wanted.
        state: those that the function assigns to; JAX has to be told.
        mode: "eager"; "compiled", into a graph or by JAX; or "xla". PyTorch knows "eager" only and takes it for all.
    """
    take = {"tensorflow": _tensorflow_step, "jax": _jax_step, "torch": _torch_step}[keras.backend.backend()]
    value, gradients = take(function, arguments, cotangent, variables, state, mode)
    found = [None if gradient is None else to_numpy(gradient) for gradient in gradients]
    return Step(to_numpy(value), found[: len(arguments)], found[len(arguments) :])


def _upstream(value: Any, cotangent: Any) -> Any:
    return ops.broadcast_to(ops.cast(cotangent, value.dtype), value.shape)


def _tensorflow_step(
    function: Function, arguments: Any, cotangent: Any, variables: Any, _state: Any, mode: str
) -> tuple[Any, list[Any]]:
    import tensorflow as tf

    def run(*tensors: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        targets = [*tensors, *(variable.value for variable in variables)]
        gradients = tape.gradient(value, targets, _upstream(value, cotangent))
        return value, [gradient if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]

    return (run if mode == "eager" else tf.function(run, jit_compile=mode == "xla", autograph=False))(*arguments)


def _torch_step(
    function: Function, arguments: Any, cotangent: Any, variables: Any, _state: Any, _mode: str
) -> tuple[Any, list[Any]]:
    import torch

    tensors = [tensor.detach().requires_grad_() for tensor in arguments]
    value = function(*tensors)
    targets = [*tensors, *(variable.value for variable in variables)]
    gradients = torch.autograd.grad(value, targets, _upstream(value, cotangent), allow_unused=True)
    return value.detach(), list(gradients)


def _jax_step(
    function: Function, arguments: Any, cotangent: Any, variables: Any, state: Any, mode: str
) -> tuple[Any, list[Any]]:
    import jax

    def run(tensors: Any, values: Any, before: Any) -> tuple[Any, list[Any], list[Any]]:
        def forward(tensors: Any, values: Any) -> tuple[Any, list[Any]]:
            pairs = [*zip(variables, values, strict=True), *zip(state, before, strict=True)]
            with keras.StatelessScope(pairs) as scope:
                result = function(*tensors)
            return result, [scope.get_current_value(variable) for variable in state]

        value, pull_back, after = jax.vjp(forward, tensors, values, has_aux=True)
        return value, [gradient for each in pull_back(_upstream(value, cotangent)) for gradient in each], after

    given = (list(arguments), [variable.value for variable in variables], [variable.value for variable in state])
    value, gradients, after = (run if mode == "eager" else jax.jit(run))(*given)
    for variable, new in zip(state, after, strict=True):
        variable.assign(new)
    return value, gradients


def second_derivative(function: Function, at: float) -> float:
    """The second derivative of `function(x) ** 2` at a number, as the gradient of the gradient."""
    x = tensor_of(at)
    match keras.backend.backend():
        case "jax":
            import jax

            return float(jax.grad(jax.grad(lambda x: function(x) ** 2))(x))
        case "torch":
            import torch

            x = x.detach().requires_grad_()
            first = torch.autograd.grad(function(x) ** 2, x, create_graph=True)[0]
            return float(torch.autograd.grad(first, x)[0])
        case _:
            import tensorflow as tf

            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = function(x) ** 2
                first = inner.gradient(y, x)
            found = outer.gradient(first, x)
            return float("nan") if found is None else float(found)


# Counting


def counted(function: Function) -> tuple[Function, list[int]]:
    """The function, and a list that grows by one whenever it is run (eagerly), not when it is merely traced."""
    runs: list[int] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        if keras.backend.backend() == "jax":
            import jax

            jax.debug.callback(lambda: runs.append(1))
        else:
            runs.append(1)
        return function(*args, **kwargs)

    return counting, runs


def kept_between_passes(function: Function, inputs: np.ndarray) -> int:
    """How many tensors of the inputs' shape are alive, beside the result, when the backward pass is about to begin.

    Tensors that share memory count once, and the inputs are among them. Their shape should occur nowhere else.
    """
    count = {"tensorflow": _tensorflow_kept, "jax": _jax_kept, "torch": _torch_kept}[keras.backend.backend()]
    return count(function, tensor_of(inputs))


def _living(kind: type) -> list[Any]:
    """All objects of a type that can still be reached; their `__class__`, which may be anything, is not asked."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _tensorflow_kept(function: Function, x: Any) -> int:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    places = {np.asarray(memoryview(each)).ctypes.data for each in _living(tf.Tensor) if each.shape == x.shape}
    assert tape.gradient(y, x) is not None, "the function's result does not depend on its input"
    return len(places - {np.asarray(memoryview(y)).ctypes.data})


def _torch_kept(function: Function, x: Any) -> int:
    import torch

    saved: list[Any] = []

    def pack(tensor: Any) -> Any:
        saved.append(tensor.detach())  # shares memory; the tensor itself would hold on to the node that holds it
        return saved[-1]

    x = x.detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed):
        y = function(x)
    alive = [*saved, *(each for each in _living(torch.Tensor) if each.shape == x.shape)]
    return len({each.data_ptr() for each in alive} - {y.data_ptr()})


def _jax_kept(function: Function, x: Any) -> int:
    import jax

    y, pull_back = jax.vjp(function, x)
    alive = [each for each in (x, *jax.tree_util.tree_leaves(pull_back)) if each.shape == x.shape]
    return len({each.unsafe_buffer_pointer() for each in alive} - {y.unsafe_buffer_pointer()})


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
        """Create a kernel that float16 rounds to 1 and bfloat16 too."""
        start = keras.initializers.Constant(1 + 2.0**-12)
        self.kernel = self.add_weight(shape=(), initializer=start, name="kernel")

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


def takes(function: Function, name: str) -> bool:
    """Whether a callable has a parameter of this name, or takes any keyword."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def tensor_of(array: Any, dtype: str = "float32") -> Any:
    """A tensor of a floating-point dtype."""
    return ops.convert_to_tensor(np.asarray(array), dtype=dtype)


def check(holds: Any, message: str) -> None:
    """Fail with this message and no more, where a bare assert would print its operands too."""
    __tracebackhide__ = True
    if not holds:
        raise AssertionError(message)
