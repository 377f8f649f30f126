"""`tf.recompute_grad` behind the contract's names; TensorFlow has no sequence of segments to go with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from suites.implementations import KnownDefect

REPLAY = KnownDefect(
    "The second run draws new random numbers, which PyTorch's own checkpoint replays and this one does not.",
    "https://www.tensorflow.org/versions/r1.15/api_docs/python/tf/contrib/layers/recompute_grad.md.txt",
)
TWICE = KnownDefect("Variables are assigned to in both runs, so that moving statistics and counters move on twice.")

KNOWN_DEFECTS = {
    "nests_and_keywords_are_taken": KnownDefect("Tensors given by keyword get no gradient."),
    "keywords_are_taken_when_compiled": KnownDefect(
        "In a graph keyword arguments are refused.", "https://github.com/keras-team/keras/issues/21207"
    ),
    "masks_and_integers_are_taken": KnownDefect(
        "In a graph a number is added to every argument, to delay the second run; bool arguments are refused."
    ),
    "dropout_repeats_its_mask": REPLAY,
    "checkpoints_nest": REPLAY,
    "random_numbers_move_on_as_without": TWICE,
    "assignments_happen_once": TWICE,
    "moving_statistics_are_updated_once": TWICE,
    "training_is_repeated": KnownDefect(
        "In the backward pass layers inside are not told of `training` any more: the second run is one of inference."
    ),
    "casts_are_repeated": KnownDefect(
        "In the backward pass variables of a layer around the function are not cast any more.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    "variables_are_taken_as_arguments": KnownDefect(
        "Run eagerly, a Keras variable that is handed in, or what `ops.convert_to_tensor` makes of it, is an argument "
        "and a variable that the function uses: it gets its gradient twice."
    ),
    "dropout_repeats_its_mask_in_every_call": REPLAY,
    "the_last_assignment_counts": TWICE,
    "unbuilt_counters_are_refused_or_count": TWICE,
    "what_cannot_be_called_is_refused": KnownDefect("Anything is accepted, and fails when it is called."),
    "masks_are_repeated": KnownDefect("Keras masks stay behind: the second run has arguments without them."),
    "what_would_be_lost_is_refused": KnownDefect("Losses that a layer adds in the function silently get no gradient."),
}


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, run again in the backward pass."""
    return tf.recompute_grad(function)
