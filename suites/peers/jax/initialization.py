"""`jax.nn.initializers` behind the contract's names.

JAX's `in_axis` and `out_axis` are left at their defaults, the last two. Its own layouts differ from Keras's where a
convolution is transposed (k..., C, F) or grouped by channel (k..., 1, C m): kernels are drawn in those, then turned.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "mean_and_variance_follow_the_scheme": KnownDefect(
        "Uniform weights in bfloat16 are drawn in bfloat16, from numbers whose mean is under zero.",
        precisions=("mixed_bfloat16",),
    ),
    "weights_stay_within_limits": KnownDefect(
        "In bfloat16 the limit is rounded too, and weights are scaled to it in bfloat16: some are past the true limit.",
        precisions=("mixed_bfloat16",),
    ),
    "orthogonal_kernels_are_orthogonal": KnownDefect(
        "The QR decomposition runs in the dtype asked for, and there is none in half precision.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    "embeddings_count_one_row": KnownDefect("By default fan_in is the first axis, all rows of an embedding, not 1."),
    "depthwise_kernels_count_their_taps": KnownDefect(
        "fan_out counts the channels of all groups: Glorot's variance is too small."
    ),
}

SCALES = {"lecun": (1.0, "fan_in"), "glorot": (1.0, "fan_avg"), "he": (2.0, "fan_in")}


def initializer(scheme: str, *, kind: str | None = None, seed: int | None = None) -> Callable[..., Any]:
    """`jax.nn.initializers.variance_scaling` with the constants of a scheme; each call splits a key off."""
    name, _, distribution = scheme.partition("_")
    if name not in SCALES or distribution not in ("normal", "truncated_normal", "uniform"):
        raise ValueError(f"jax.nn.initializers has no scheme {scheme!r}")
    return _drawn(jax.nn.initializers.variance_scaling(*SCALES[name], distribution), kind, seed)


def Orthogonal(gain: float = 1.0, seed: int | None = None) -> Callable[..., Any]:  # noqa: N802 - the contract's name
    """`jax.nn.initializers.orthogonal`."""
    return _drawn(jax.nn.initializers.orthogonal(gain), None, seed)


def _drawn(create: Callable[..., Any], kind: str | None, seed: int | None) -> Callable[..., Any]:
    key = jax.random.key(random.getrandbits(31) if seed is None else seed)

    def next_tensor(shape: Sequence[int], dtype: str | None = None) -> Any:
        nonlocal key
        key, drawn = jax.random.split(key)
        *window, first, last = shape
        own = {"depthwise": (*window, 1, first * last), "transposed": (*window, last, first)}.get(kind or "", shape)
        weights = create(drawn, tuple(own), jnp.dtype(dtype or keras.config.floatx()))
        return jnp.swapaxes(weights, -1, -2) if kind == "transposed" else weights.reshape(tuple(shape))

    return next_tensor
