"""Gradients with respect to an input or to weights, on whichever backend Keras runs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras


def input_gradient(function: Callable[[Any], Any], x: Any, upstream: Any) -> Any:
    """dL/dx where dL/dy = ``upstream`` and y = ``function(x)``.

    Args:
        function: differentiable, from a tensor to a tensor.
        x: the input, any shape, floating point.
        upstream: the gradient of the loss with respect to y, in y's shape; cast to y's dtype.

    Returns:
        A tensor of x's shape and dtype; where y does not depend on x, None on TensorFlow and torch, and zeros on JAX.
    """
    x = keras.ops.convert_to_tensor(x)
    match keras.backend.backend():
        case "jax":
            import jax

            y, pull_back = jax.vjp(function, x)
            return pull_back(keras.ops.cast(upstream, y.dtype))[0]
        case "torch":
            x = x.detach().requires_grad_()
            return torch_gradients(function(x), [x], upstream)[0]
        case _:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            return tape.gradient(y, x, output_gradients=tf.cast(upstream, y.dtype))


def weight_gradients(function: Callable[[], Any], weights: Sequence[Any], upstream: Callable[[Any], Any]) -> Any:
    """Y = ``function()``, and dL/dw for each of these Keras variables where dL/dy = ``upstream(y)``.

    Both are of one call: in training, of one draw of what is dropped.

    Returns:
        y, and a list of tensors; of a weight that y does not depend on, None on TensorFlow and torch, zeros on JAX.
    """
    match keras.backend.backend():
        case "jax":
            import jax

            def of(values: list[Any]) -> Any:
                with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
                    return function()

            y, pull_back = jax.vjp(of, [weight.value for weight in weights])
            return y, pull_back(keras.ops.cast(upstream(y), y.dtype))[0]
        case "torch":
            y = function()
            return y, torch_gradients(y, [weight.value for weight in weights], upstream(y))
        case _:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                y = function()
            return y, tape.gradient(y, [w.value for w in weights], output_gradients=tf.cast(upstream(y), y.dtype))


def torch_gradients(y: Any, targets: Sequence[Any], upstream: Any) -> list[Any]:
    """dL/dt of a torch tensor y for each of these tensors t, where dL/dy = ``upstream``; ``None`` if y is without it.

    By `backward`, as training takes them: reentrant checkpointing, for one, refuses `torch.autograd.grad`.
    """
    import torch

    before = [target.grad for target in targets]
    for target in targets:
        target.grad = None
        if not target.is_leaf:
            target.retain_grad()
    try:
        y.backward(torch.as_tensor(upstream, dtype=y.dtype, device=y.device))
        return [target.grad for target in targets]
    finally:
        for target, kept in zip(targets, before, strict=True):
            target.grad = kept
