"""Functions compiled as each backend does it, which must not depend on what is not known yet while tracing."""

from collections.abc import Callable, Collection
from typing import Any

import keras


def traced(function: Callable[..., Any], unknown: Collection[int] = ()) -> Callable[..., Any]:
    """A function of tensors, compiled once; on torch, which does not trace, as it is.

    Args:
        function: from tensors to a tensor.
        unknown: axes whose sizes the trace does not know. On JAX, which knows all, each new shape is compiled again.
    """
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.jit(function)
        case "torch":
            return function
        case _:
            import tensorflow as tf

            def compiled(*tensors: Any) -> Any:
                if not graphs:
                    specs = [
                        tf.TensorSpec([None if i in unknown else n for i, n in enumerate(t.shape)], t.dtype)
                        for t in tensors
                    ]
                    graphs.append(tf.function(function, input_signature=specs, autograph=False))  # as Keras does
                return graphs[0](*tensors)

            graphs: list[Any] = []
            return compiled


def known(tensor: Any) -> bool:
    """Whether a tensor's numbers are known, which while tracing they are not."""
    match keras.backend.backend():
        case "jax":
            import jax

            return not isinstance(tensor, jax.core.Tracer)
        case "torch":
            return True
        case _:
            return hasattr(tensor, "numpy")
