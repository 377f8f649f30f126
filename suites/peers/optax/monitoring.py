"""`optax.tree.norm`, on whichever backend made the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax
from keras import ops

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "norm_is_linear_in_the_loss_scale": KnownDefect("Squares overflow and vanish long before the gradients do."),
    "norms_are_roots_of_sums_of_squares": KnownDefect(
        "Squares and sums are taken in half precision.", precisions=("mixed_float16", "mixed_bfloat16")
    ),
}


def gradient_norms(gradients: Sequence[Any]) -> tuple[list[Any], Any]:
    """`optax.tree.norm` of each and of all; None is an empty tree."""
    own = [None if gradient is None else jnp.asarray(ops.convert_to_numpy(gradient)) for gradient in gradients]
    return [jnp.asarray(optax.tree.norm(gradient)) for gradient in own], jnp.asarray(optax.tree.norm(own))
