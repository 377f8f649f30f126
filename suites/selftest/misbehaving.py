"""Contenders that misbehave, for the harness to survive: ``--implementation additive_attention=<this module>:<name>``.

All but the incomplete one are the reference, which goes wrong while it is built, in each call, or at its `STEP`th step.
That is in the second round if the first call, three steps of warm-up, and those on two cores come before. Two are only
slow: one whose steps take several hundred times as long as the reference's, and one whose first takes a minute.
"""

import contextlib
import ctypes
import itertools
import os
import resource
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from benchmarks.harness.worker import CALLS_ON_A_CORE
from reference import additive_attention

Act = Callable[[], Any]

STEP = 1 + 3 + 2 * CALLS_ON_A_CORE + 2
HOARD_BYTES = 200 << 20


def while_built(act: Act) -> SimpleNamespace:
    """The reference, which does this when its weights are created."""

    class AdditiveAttention(additive_attention.AdditiveAttention):
        def build(self, query_shape: Any, values_shape: Any, keys_shape: Any = None) -> None:
            self.kept = act()
            super().build(query_shape, values_shape, keys_shape)

    return SimpleNamespace(AdditiveAttention=AdditiveAttention)


def in_step(act: Act, when: Callable[[int], bool] = lambda step: step == STEP) -> SimpleNamespace:
    """The reference, which does this in its `STEP`th step, or in others, from within the compiled graph."""
    steps = iter(range(1, sys.maxsize))

    def count() -> np.float32:
        if when(next(steps)):
            act()
        return np.float32(0)

    class AdditiveAttention(additive_attention.AdditiveAttention):
        def call(self, query: Any, values: Any, keys: Any = None, mask: Any = None) -> Any:  # type: ignore[override]
            context: Any = super().call(query, values, keys, mask)
            zero = tf.ensure_shape(tf.numpy_function(count, [], tf.float32), ())
            return context + ops.cast(zero, context.dtype)

    return SimpleNamespace(AdditiveAttention=AdditiveAttention)


def in_call(act: Act) -> SimpleNamespace:
    """The reference, which does this whenever it is called."""

    class AdditiveAttention(additive_attention.AdditiveAttention):
        def call(  # type: ignore[override]
            self, query: Any, values: Any, keys: Any = None, mask: Any = None, **options: Any
        ) -> Any:
            act()
            return super().call(query, values, keys, mask, **options)

    return SimpleNamespace(AdditiveAttention=AdditiveAttention)


def complain() -> None:
    raise ValueError("this went wrong on purpose")


def exhaust() -> None:
    """Allocate until the system refuses, which it does soon."""
    with contextlib.suppress(FileNotFoundError):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))
    blocks = []
    while True:
        blocks.append(bytearray(16 << 20))


def leave() -> None:
    os.write(2, b"these are my last words\n")
    os._exit(3)


raises_in_build = while_built(complain)
raises_in_step = in_step(complain)
hangs = in_step(lambda: time.sleep(3600))
crawls = in_step(lambda: time.sleep(1.5), when=lambda _: True)
dawdles = in_step(lambda: time.sleep(60), when=lambda step: step == 1)
kills_itself = in_step(lambda: os.kill(os.getpid(), signal.SIGKILL))
exits = in_step(leave)
runs_out_of_memory = while_built(exhaust)
hoards = while_built(lambda: np.ones(HOARD_BYTES, np.uint8))
raises_in_call = in_call(complain)
hangs_in_call = in_call(lambda: ctypes.CDLL(None).sleep(3600))  # in C, where no exception can reach it
spins_in_call = in_call(lambda: deque(itertools.count(), maxlen=0))
crashes_in_call = in_call(lambda: ctypes.string_at(0))
exits_in_call = in_call(leave)
warns_in_call = in_call(lambda: warnings.warn("this is the old way", DeprecationWarning, stacklevel=2))
incomplete = SimpleNamespace(additive_scores=additive_attention.additive_scores)  # one name, and not the layer
