"""Races of an epoch of batches: digits by how faint they are, words by how long they are, against plain shuffled data.

The operations are the three kinds of batches: NumPy arrays, tf.data and a PyDataset. No network is trained, so that the
cost of choosing and gathering the examples is not lost in that of the steps.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.calls import Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload

FEEDS = ("numpy", "tf_data", "py_dataset")

EPOCHS = 10
"""Length of the plan, in epochs; it is begun again when it is over."""

WORKLOADS = tuple(
    Workload(
        "curriculum",
        name,
        {"examples": examples, "batch_size": size, "batch": examples // size * size},
        dict.fromkeys(scales, FEEDS),
        mixed=(),
    )
    for name, examples, size, scales in (
        ("digits", 1797, 32, ("quick", "standard", "paper")),
        ("words", 135166, 256, ("standard", "paper")),
    )
)


def preload() -> None:
    """Read what every worker needs at quick scale, once, in the server."""
    digits_by_ink()


@functools.cache
def digits_by_ink() -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Images and labels, and scores: the less ink, the harder."""
    from datasets import digits

    images, labels = digits.load()
    return (images.astype(np.float32), labels.astype(np.int32)), -images.sum(axis=(1, 2, 3), dtype=np.int64)


@functools.cache
def words_by_length() -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Letters and phones, and scores: the more letters, the harder."""
    from datasets import pronunciation

    pairs = pronunciation.encode(pronunciation.load())
    return (pairs.graphemes, pairs.phones), (pairs.graphemes != pronunciation.PAD).sum(axis=1)


SOURCES = {1797: digits_by_ink, 135166: words_by_length}
"""The data, by their number of examples."""


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One epoch of a plan's batches, and the last of them; the epochs follow each other, and each is another one."""
    data, scores = SOURCES[parameters["examples"]]()
    size = parameters["batch_size"]
    steps = parameters["batch"] // size
    plan = subject.Curriculum(subject.order(scores), EPOCHS * steps, size, seed=seed)

    def begin() -> Iterator[Any]:
        if operation == "py_dataset":
            dataset = subject.CurriculumDataset(plan, data)
            return (dataset[index] for index in range(plan.total_steps))
        return iter((subject.to_tf_data if operation == "tf_data" else subject.batches)(plan, data))

    return _epoch(begin, steps)


def without(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:  # noqa: ARG001 - as above
    """One epoch of batches of the same data, shuffled anew for every epoch, as each library is used for that."""
    (inputs, targets), _ = SOURCES[parameters["examples"]]()
    size = parameters["batch_size"]
    steps = parameters["batch"] // size
    random = np.random.default_rng(seed)

    def shuffled() -> Iterator[Any]:
        order = random.permutation(len(inputs))
        for begin in range(0, steps * size, size):
            rows = order[begin : begin + size]
            yield inputs[rows], targets[rows]

    if operation == "tf_data":
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((inputs, targets)).shuffle(len(inputs), seed=seed)
        return _epoch(dataset.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE).__iter__, steps)
    if operation == "numpy":
        return _epoch(shuffled, steps)
    import keras

    class Shuffled(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.on_epoch_end()

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = self.order[index * size : (index + 1) * size]
            return inputs[rows], targets[rows]

        def on_epoch_end(self) -> None:
            self.order = random.permutation(len(inputs))

    plain = Shuffled()

    def epoch() -> Iterator[Any]:
        yield from (plain[index] for index in range(steps))
        plain.on_epoch_end()

    return _epoch(epoch, steps)


def _epoch(begin: Callable[[], Iterator[Any]], steps: int) -> Step:
    """A step that goes on by some batches and returns the last, beginning again at the end."""
    batches = itertools.chain.from_iterable(begin() for _ in itertools.count())

    def go_on() -> Any:
        for _ in range(steps):
            batch = next(batches)
        return batch

    return Step(go_on)
