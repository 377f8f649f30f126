"""One training step of a function on each backend, and what it leaves behind: gradients, runs, and what is kept."""

import functools
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from suites.properties.checks import check
from suites.properties.gradients import torch_gradients
from suites.properties.numerics import assert_equal, to_numpy

Function = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """What a training step gives: the function's value, and gradients to its arguments and to variables.

    A gradient is None where the backend knows of no connection.
    """

    value: np.ndarray
    to_arguments: list[np.ndarray | None]
    to_variables: list[np.ndarray | None]

    @property
    def gradient(self) -> np.ndarray:
        """The gradient to the first argument.

        Raises:
            AssertionError: there is none.
        """
        __tracebackhide__ = True
        gradient = self.to_arguments[0]
        if gradient is None:
            raise AssertionError("no gradient reaches the argument")
        return gradient


def assert_same(actual: Step, expected: Step, what: str) -> None:
    """Assert that two steps gave the same, bit for bit."""
    __tracebackhide__ = True
    assert_equal(actual.value, expected.value, f"{what}: value")
    for name in ("to_arguments", "to_variables"):
        for place, (got, wanted) in enumerate(zip(getattr(actual, name), getattr(expected, name), strict=True)):
            what_for = f"{what}: gradient {name.replace('_', ' ')} ({place})"
            check((got is None) == (wanted is None), f"{what_for} is {got}, expected {wanted}")
            if wanted is not None:
                assert_equal(got, wanted, what_for)


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
    tensors = [tensor.detach().requires_grad_() for tensor in arguments]
    value = function(*tensors)
    targets = [*tensors, *(variable.value for variable in variables)]
    return value.detach(), torch_gradients(value, targets, _upstream(value, cotangent))


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


def kept_between_passes(function: Function, inputs: np.ndarray, **options: Any) -> int:
    """How many tensors of the inputs' shape are alive, beside the result, when the backward pass is about to begin.

    Tensors that share memory count once, and the inputs are among them. Their shape should occur nowhere else. Options
    go to the function.
    """
    count = {"tensorflow": _tensorflow_kept, "jax": _jax_kept, "torch": _torch_kept}[keras.backend.backend()]
    # In the dtype that a layer computes in, or the copy that it makes of its inputs would count too.
    x = tensor_of(inputs, getattr(function, "compute_dtype", "float32"))
    return count(functools.partial(function, **options), x)


def _living(kind: type) -> list[Any]:
    """All objects of a type that can still be reached; their `__class__`, which may be anything, is not asked."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _tensorflow_kept(function: Function, x: Any) -> int:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)

    def place(tensor: Any) -> int:
        return int(tensor._numpy().ctypes.data)  # in public there are only copies, and no view of bfloat16

    places = {place(each) for each in _living(tf.Tensor) if each.shape == x.shape}
    assert tape.gradient(y, x) is not None, "the function's result does not depend on its input"
    return len(places - {place(y)})


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


# Small help


def tensor_of(array: Any, dtype: str = "float32") -> Any:
    """A tensor of a floating-point dtype."""
    return ops.convert_to_tensor(np.asarray(array), dtype=dtype)
