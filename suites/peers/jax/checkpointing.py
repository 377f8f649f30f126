"""`jax.checkpoint` behind the contract's names; JAX has no sequence of checkpointed segments to go with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from suites.implementations import KnownDefect

LEAKS = KnownDefect(
    "Assignments to Keras variables leak values of the trace, which JAX refuses when they are read: random numbers, "
    "moving statistics and counters have to be handed in and out."
)

KNOWN_DEFECTS = {
    "changed_variables_are_seen": KnownDefect(
        "The trace of a function is remembered with the Keras variables that it closes over: called again, it computes "
        "with the values, or the leaked tracers, of the first time. A new function for each call avoids it."
    ),
    "dropout_repeats_its_mask": LEAKS,
    "random_numbers_move_on_as_without": LEAKS,
    "assignments_happen_once": LEAKS,
    "moving_statistics_are_updated_once": LEAKS,
    "the_last_assignment_counts": LEAKS,
    "variables_are_taken_as_arguments": KnownDefect(
        "A Keras variable is no array to JAX, which refuses it as an argument; its value must be handed in."
    ),
    "training_may_be_handed_in": KnownDefect(
        "An option that is handed in by keyword is traced like a number, and no layer can ask whether it is true."
    ),
    "what_cannot_be_called_is_refused": KnownDefect("Anything is accepted, and fails when it is called."),
    "masks_are_repeated": KnownDefect("Keras masks stay behind: the trace has arguments without them."),
    "what_would_be_lost_is_refused": KnownDefect("Losses that a layer adds in the function silently get no gradient."),
}


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, run again in the backward pass."""
    return jax.checkpoint(function)
