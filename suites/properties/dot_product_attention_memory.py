"""How large the largest tensor is that blockwise attention and its gradient make: counted, not measured."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from suites.properties.dot_product_attention_layers import function_of
from suites.subjects import Subject


def largest_intermediate(subject: Subject, length: int, block: int) -> int:
    """Elements of the largest tensor on the way to the gradient of causal blockwise attention, T = S = `length`.

    On TensorFlow and JAX this looks at every operation of the traced function, those in bodies of loops too; torch,
    which has no trace, runs it.
    """
    attention = function_of(subject, "blockwise_attention")
    arrays = [np.ones((1, length, 1, 2), "float32")] * 3
    mask = np.ones((1, length), bool)

    def loss(*inputs: Any) -> Any:
        return ops.sum(ops.square(attention(*inputs, mask, causal=True, block=block)))

    make = {"tensorflow": _tensorflow_sizes, "jax": _jax_sizes, "torch": _torch_sizes}[keras.backend.backend()]
    return max(make(loss, arrays))


def _tensorflow_sizes(loss: Any, arrays: list[np.ndarray]) -> Iterator[int]:
    import tensorflow as tf

    @tf.function
    def gradient(*inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        return tape.gradient(value, inputs)

    graph = gradient.get_concrete_function(*map(tf.constant, arrays)).graph.as_graph_def(add_shapes=True)
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            for shape in node.attr["_output_shapes"].list.shape:
                yield math.prod(max(axis.size, 1) for axis in shape.dim)  # -1 of an unknown axis counts as 1


def _jax_sizes(loss: Any, arrays: list[np.ndarray]) -> Iterator[int]:
    import jax

    return _jaxpr_sizes(jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(*arrays).jaxpr)


def _jaxpr_sizes(jaxpr: Any) -> Iterator[int]:
    from jax.extend.core import jaxprs_in_params

    for equation in jaxpr.eqns:
        yield from (math.prod(variable.aval.shape) for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from _jaxpr_sizes(inner)


def _torch_sizes(loss: Any, arrays: list[np.ndarray]) -> list[int]:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _types: Any, arguments: Any = (), options: Any = None) -> Any:
            found = function(*arguments, **(options or {}))
            sizes.extend(each.numel() for each in keras.tree.flatten(found) if isinstance(each, torch.Tensor))
            return found

    inputs = [torch.tensor(array, requires_grad=True) for array in arrays]
    with Watch():
        loss(*inputs).backward()
    return sizes
