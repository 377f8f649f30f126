"""`keras.initializers` behind the contract's names, with the shape alone to go by, as Keras's layers use them.

`VarianceScaling` also takes `input_axes` and `output_axes`, which a user may set for each kind of kernel. No layer
does: what a `DepthwiseConv2D` or a `Conv2DTranspose` starts from by default is what is tested here.
"""

from __future__ import annotations

from typing import Any

import keras

from suites.implementations import KnownDefect, NotProvided

KNOWN_DEFECTS = {
    "depthwise_kernels_count_their_taps": KnownDefect(
        "fan_in counts all C channels, of which an output sees one: the variance is C times too small.",
        "https://github.com/keras-team/keras/issues/11773",
    ),
    "transposed_kernels_count_what_comes_in": KnownDefect(
        "The output channels of a transposed kernel come first and are taken for those that come in.",
        "https://github.com/tensorflow/tensorflow/issues/31192",
    ),
    "embeddings_count_one_row": KnownDefect("fan_in counts all rows of an embedding, of which a lookup reads one."),
    "layers_that_share_an_initializer_differ": KnownDefect(
        "An initializer repeats itself at every call, as its documentation says; layers must not share one.",
        "https://github.com/keras-team/keras-hub/issues/352",
    ),
    "weights_do_not_pile_up_at_limits": KnownDefect(
        "Weights are drawn in half precision, from so few numbers that those next to the limits come too often.",
        precisions=("mixed_float16", "mixed_bfloat16"),
        backends=("tensorflow",),
    ),
    "mean_and_variance_follow_the_scheme": KnownDefect(
        "Uniform weights in bfloat16 are drawn in bfloat16, from 128 numbers whose mean is under zero.",
        precisions=("mixed_bfloat16",),
        backends=("tensorflow", "jax"),
    ),
    "orthogonal_kernels_are_orthogonal": KnownDefect(
        "The QR decomposition runs in the dtype asked for: inexactly in float16, and not at all in bfloat16.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    "weights_stay_within_limits": KnownDefect(
        "On torch a truncated normal weight is the first of four draws to lie inside, or one outside if none does.",
        backends=("torch",),
    ),
}

SCALES = {"lecun": (1.0, "fan_in"), "glorot": (1.0, "fan_avg"), "he": (2.0, "fan_in")}
DISTRIBUTIONS = {"normal": "untruncated_normal", "truncated_normal": "truncated_normal", "uniform": "uniform"}

Orthogonal = keras.initializers.Orthogonal


def initializer(scheme: str, *, kind: str | None = None, seed: int | None = None) -> Any:  # noqa: ARG001
    """`keras.initializers.VarianceScaling` with the constants of a scheme; nothing in it takes the kind."""
    name, _, distribution = scheme.partition("_")
    if name not in SCALES or distribution not in DISTRIBUTIONS:
        raise ValueError(f"Keras has no scheme {scheme!r}")
    return keras.initializers.VarianceScaling(*SCALES[name], DISTRIBUTIONS[distribution], seed=seed)


class Identity(keras.initializers.Identity):
    """`keras.initializers.Identity`, for matrices only."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """The identity matrix."""
        if len(shape) != 2:
            raise NotProvided("keras.initializers.Identity makes matrices only")
        return super().__call__(shape, dtype)
