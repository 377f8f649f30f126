"""Contenders that cheat, for the harness to find: ``--implementation schedules=<this module>:<name>``.

Those of schedules get a batch's tensors and do a training step with them, in Python, so that they can do as they like.
Those of additive attention are layers of a model that is not theirs. All leave work out, and return what looks like a
result. Leaderboards have been won by each of these ways.
"""

import itertools
import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import ops

from benchmarks.harness import worker
from reference import additive_attention, schedules

Train = Callable[..., Any]

WARM = 20
"""Calls after which a contender takes itself for warm: more than there are before the first round."""


def by_identity(compute: Train) -> Train:
    """Remembers results by the objects that it was called with, which it holds, so that no other has their place."""
    known: dict[int, Any] = {}

    def call(*inputs: Any, **options: Any) -> Any:
        key = id(inputs[-1])
        if key not in known:
            known[key] = inputs, compute(*inputs, **options)
        return known[key][1]

    return call


def by_content(compute: Train) -> Train:
    """Remembers results by what is in the tensors."""
    known: dict[bytes, Any] = {}

    def call(*inputs: Any, **options: Any) -> Any:
        key = b"".join(ops.convert_to_numpy(each).tobytes() for each in inputs if hasattr(each, "shape"))
        if key not in known:
            known[key] = compute(*inputs, **options)
        return known[key]

    return call


def while_cold(compute: Train) -> Train:
    """Works for as long as a warm-up lasts, and then returns something like its last result."""
    calls, results = itertools.count(), list[Any]()

    def call(*inputs: Any, **options: Any) -> Any:
        if next(calls) < WARM:
            results.append(compute(*inputs, **options))
        return results[-1] * 0.99

    return call


def once(compute: Train) -> Train:
    """Works in its first call, and returns that one's result ever after."""
    results: list[Any] = []

    def call(*inputs: Any, **options: Any) -> Any:
        if not results:
            results.append(compute(*inputs, **options))
        return results[0]

    return call


def later(compute: Train) -> Train:
    """Returns at once and lets a thread do the work, which goes on while others are timed."""
    waiting: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    results: list[Any] = []

    def work() -> None:
        while True:
            inputs, options = waiting.get()
            results[:] = [compute(*inputs, **options)]

    thread = threading.Thread(target=work, daemon=True)

    def call(*inputs: Any, **options: Any) -> Any:
        if not results:
            results.append(compute(*inputs, **options))
            thread.start()
        else:
            waiting.put((inputs, options))
        return results[0]

    return call


def in_training(cheat: Callable[[Train], Train]) -> SimpleNamespace:
    """Schedules, of whose training steps a cheat has been made."""
    return SimpleNamespace(**{**vars(schedules), "train_on_micro_batches": cheat(schedules.train_on_micro_batches)})


def _only_the_loss(_: Train) -> Train:
    def call(model: Any, x: Any, y: Any, **_: Any) -> Any:
        return model.test_on_batch(x, y)

    return call


def _under_another_clock(compute: Train) -> Train:
    """Works, under a clock that goes at a tenth of the speed."""

    def call(*inputs: Any, **options: Any) -> Any:
        if worker.clock is honest:
            worker.clock = lambda: honest() // 10
        return compute(*inputs, **options)

    honest = worker.clock
    return call


def in_layer(attend: Callable[[Any, Any], Any]) -> SimpleNamespace:
    """A layer of the reference's weights whose context is what this makes of query and values."""

    class AdditiveAttention(additive_attention.AdditiveAttention):
        def call(self, query: Any, values: Any, keys: Any = None, mask: Any = None) -> Any:  # type: ignore[override]
            return attend(super().call, (query, values, keys, mask))

    return SimpleNamespace(AdditiveAttention=AdditiveAttention)


def _stored(attend: Any, inputs: Any) -> Any:
    """The context of the first step for ever, by way of a function that TensorFlow does not look into."""
    import tensorflow as tf

    held: list[np.ndarray] = []

    def first(context: np.ndarray) -> np.ndarray:
        held[:] = held or [context]
        return held[0]

    context = attend(*inputs)
    return tf.ensure_shape(tf.numpy_function(first, [context], context.dtype), context.shape)


remembers_objects = in_training(by_identity)
remembers_contents = in_training(by_content)
works_while_cold = in_training(while_cold)
works_once = in_training(once)
works_later = in_training(later)
trains_nothing = in_training(_only_the_loss)
has_another_clock = in_training(_under_another_clock)
skips_attention = in_layer(lambda _, inputs: inputs[0] * 0)
stores_attention = in_layer(_stored)
stops_gradients = in_layer(lambda attend, inputs: ops.stop_gradient(attend(*inputs)))
