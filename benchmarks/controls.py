"""Control kernels: what this machine reaches at plain work, measured inside each race as contenders of their own.

A time in seconds says something about one machine. The same time as a share of what the machine reaches at a matrix
product, or at moving memory, can be set beside another machine's; and a control that slows down in the course of a run
shows that the machine did. Their work is written down with them, so that a rate follows from a time.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MATMUL, COPY = "control-matmul", "control-copy"
KERNELS = (MATMUL, COPY)

SIDES = {"cpu": 512, "gpu": 8192}
"""Rows and columns of the matrices, by device: enough that starting the kernel does not count."""

LENGTHS = {"cpu": 1 << 24, "gpu": 1 << 28}
"""Float32 numbers that are read and written: 64 MiB on a CPU, 1 GiB on a GPU, more than its caches hold."""


def kernel(name: str, subject: Any) -> Callable[[], Any]:
    """A control kernel as a step, at the subject's compute dtype and on its backend and device."""
    import keras
    from keras import ops

    generator = np.random.default_rng(0)
    if name == MATMUL:
        shape = (SIDES[subject.device],) * 2
        arrays = [ops.cast(generator.standard_normal(shape, "float32"), subject.compute_dtype) for _ in range(2)]
        return _compiled(keras.backend.backend(), ops.matmul, *arrays)
    array = ops.convert_to_tensor(generator.standard_normal(LENGTHS[subject.device], "float32"))
    # A negation reads and writes what a copy does, and no compiler can do without it.
    return _compiled(keras.backend.backend(), ops.negative, array)


def work(name: str, device: str, precision: str) -> Mapping[str, int]:
    """Multiply-adds of one step, and bytes that it has to read and write at least."""
    if name == MATMUL:
        side, width = SIDES[device], 4 if precision == "float32" else 2
        return {"multiply_adds": side**3, "bytes": 3 * side**2 * width}
    return {"multiply_adds": 0, "bytes": 2 * 4 * LENGTHS[device]}


def _compiled(backend: str, function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    if backend == "tensorflow":
        import tensorflow as tf

        graph = tf.function(function)
        return lambda: graph(*arguments)
    if backend == "jax":
        import jax

        compiled = jax.jit(function)
        return lambda: compiled(*arguments)
    import torch

    def run() -> Any:
        with torch.no_grad():
            return function(*arguments)

    return run
