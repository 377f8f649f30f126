"""Gradients with respect to an input, on whichever backend Keras runs."""

from collections.abc import Callable
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
            import torch

            x = x.detach().requires_grad_()
            y = function(x)
            seen = torch.as_tensor(upstream, dtype=y.dtype, device=y.device)
            return torch.autograd.grad(y, x, seen, allow_unused=True)[0]
        case _:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            return tape.gradient(y, x, output_gradients=tf.cast(upstream, y.dtype))
