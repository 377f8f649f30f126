"""What TensorFlow itself offers for monitoring: global norms, checks of numerics, and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "norm_is_linear_in_the_loss_scale": KnownDefect("Squares overflow and vanish long before the gradients do."),
    "norms_are_roots_of_sums_of_squares": KnownDefect(
        "Squares and sums are taken in half precision.", precisions=("mixed_float16", "mixed_bfloat16")
    ),
    "rows_of_a_sparse_gradient_are_summed": KnownDefect(
        "The norm of all takes rows that occur twice for two rows.",
    ),
    "what_is_not_measured_is_not_zero": KnownDefect(
        "The memory of a CPU is said to be 0, though the documentation says that it raises.",
        "https://www.tensorflow.org/api_docs/python/tf/config/experimental/get_memory_info",
    ),
}


class Memory(NamedTuple):
    """Bytes in use, and the most that there have been."""

    current: int
    peak: int


def gradient_norms(gradients: Sequence[Any]) -> tuple[list[Any], Any]:
    """`tf.norm` of each and `tf.linalg.global_norm` of all, which leaves None out."""
    each = [tf.zeros(()) if gradient is None else tf.norm(gradient) for gradient in gradients]
    return each, tf.linalg.global_norm(gradients)


def first_non_finite(tensors: Mapping[str, Any]) -> str | None:
    """The first that `tf.debugging.check_numerics` refuses."""
    for name, tensor in tensors.items():
        try:
            tf.debugging.check_numerics(tensor, name)
        except tf.errors.InvalidArgumentError:
            return name
    return None


def device_memory(device: str = "GPU:0") -> Memory | None:
    """`tf.config.experimental.get_memory_info`, None for a device that it does not know."""
    try:
        found = tf.config.experimental.get_memory_info(device)
    except ValueError:
        return None
    return Memory(found["current"], found["peak"])
