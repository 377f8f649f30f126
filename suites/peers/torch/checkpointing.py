"""`torch.utils.checkpoint` behind the contract's names.

`checkpoint_sequential` runs the last of its segments once only and keeps what is in it: its gradient is due first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from torch.utils import checkpoint as torch_checkpoint

from suites.implementations import KnownDefect, NotProvided

TWICE = KnownDefect(
    "Keras variables are assigned to in both runs, so that seeds, moving statistics and counters move on twice; "
    "PyTorch's own random numbers are replayed."
)

KNOWN_DEFECTS = {
    "dropout_repeats_its_mask": TWICE,
    "checkpoints_nest": TWICE,
    "random_numbers_move_on_as_without": TWICE,
    "assignments_happen_once": TWICE,
    "moving_statistics_are_updated_once": TWICE,
    "dropout_repeats_its_mask_in_every_call": TWICE,
    "the_last_assignment_counts": TWICE,
    "unbuilt_counters_are_refused_or_count": TWICE,
    "what_cannot_be_called_is_refused": KnownDefect("Anything is accepted, and fails when it is called."),
    "training_is_repeated": KnownDefect(
        "In the backward pass layers inside are not told of `training` any more: the second run is one of inference."
    ),
    "casts_are_repeated": KnownDefect(
        "In the backward pass variables of a layer around the function are not cast any more.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
}


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, run again in the backward pass."""
    return lambda *args, **kwargs: torch_checkpoint.checkpoint(function, *args, use_reentrant=False, **kwargs)


class CheckpointedSequential(keras.layers.Layer):
    """`torch.utils.checkpoint.checkpoint_sequential` over Keras layers, in a given number of segments."""

    def __init__(self, layers: Sequence[keras.layers.Layer], segments: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(segments, int):
            raise NotProvided("checkpoint_sequential takes a number of segments only, and has no default")
        self.layers, self.segments = list(layers), segments

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - Keras hands it on
        """Run the layers."""
        return torch_checkpoint.checkpoint_sequential(self.layers, self.segments, inputs, use_reentrant=False)
