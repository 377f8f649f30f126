"""`keras.remat` behind the contract's names; Keras has no sequence of segments to go with it.

It is `tf.recompute_grad`, `jax.checkpoint` or `torch.utils.checkpoint` by another name, and shares their defects. Those
of `keras.RematScope` are the same again; it acts on layers that are made inside of it, not on a function or a segment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

match keras.backend.backend():
    case "jax":
        from suites.peers.jax.checkpointing import KNOWN_DEFECTS
    case "torch":
        from suites.peers.torch.checkpointing import KNOWN_DEFECTS
    case _:
        from suites.peers.tensorflow.checkpointing import KNOWN_DEFECTS

__all__ = ["KNOWN_DEFECTS", "checkpoint"]


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, run again in the backward pass."""
    return keras.remat(function)
