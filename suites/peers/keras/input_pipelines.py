"""`keras.utils.PyDataset` behind the contract's names.

A PyDataset says which elements batch i has; the workers, the queue, and their order are Keras's own: the enqueuer that
`fit` puts around a PyDataset with more than one worker. What a PyDataset leaves to its author is the naive peer's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.py_dataset_adapter import OrderedEnqueuer

from suites.implementations import NotProvided
from suites.peers.plain import input_pipelines as plain

augment_images, KNOWN_DEFECTS = plain.augment_images, plain.KNOWN_DEFECTS


@dataclass(frozen=True)
class Options(plain.Options):
    """Which batches, and by how many workers with how long a queue (None: Keras's own)."""

    parallel: int = 2
    prefetch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parallel < 1:
            raise ValueError(f"`parallel` must be at least 1; it is {self.parallel}")
        if self.prefetch is not None and self.prefetch < 0:
            raise ValueError(f"`prefetch` must not be negative; it is {self.prefetch}")
        if self.parallel == 1 and self.prefetch:
            raise NotProvided("PyDataset has a queue for two workers or more, and none for one")


class Batches(keras.utils.PyDataset):
    """The batches of one epoch, by number."""

    def __init__(self, made: plain.Pipeline, epoch: int) -> None:
        options: Any = made.options
        queue = {} if options.prefetch is None else {"max_queue_size": options.prefetch}
        super().__init__(workers=options.parallel, **queue)
        self.made, self.epoch, self.numbers = made, epoch, list(made.numbers(epoch))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Any:
        return self.made.batch(self.numbers[index], self.epoch)


class Pipeline(plain.Pipeline):
    """Epochs of PyDatasets."""

    def epochs(self, count: int | None = None, first: int = 0) -> Iterator[Any]:
        """The batches of so many epochs, without end if None."""
        epoch = first
        while count is None or epoch < first + count:
            with closing(_taken(Batches(self, epoch))) as batches:
                yield from batches
            epoch += 1


def _taken(dataset: Batches) -> Generator[Any, None, None]:
    """The batches of a dataset, in order, as `fit` takes them."""
    if dataset.workers == 1:
        yield from dataset
        return
    enqueuer = OrderedEnqueuer(dataset, workers=dataset.workers, max_queue_size=dataset.max_queue_size)
    enqueuer.start()
    try:
        for _, batch in zip(range(len(dataset)), enqueuer.get(), strict=False):
            yield batch
    finally:
        enqueuer.stop()


def from_arrays(arrays: Any, options: Options | None = None, transform: Any = None, augment: Any = None) -> Pipeline:
    """Batches of rows of arrays."""
    return _of(plain.from_arrays(arrays, options or Options(), transform, augment))


def padded_batches(sequences: Sequence[Any], options: Options | None = None) -> Pipeline:
    """Batches padded by `keras.utils.pad_sequences`."""
    made = plain.padded_batches(sequences, options or Options())

    def pick(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
        chosen = [sequences[number] for number in numbers]
        tokens = keras.utils.pad_sequences(chosen, dtype=chosen[0].dtype, padding="post")
        mask = keras.utils.pad_sequences([np.ones(len(row), bool) for row in chosen], dtype=bool, padding="post")
        return tokens, mask

    return _of(dataclasses.replace(made, pick=pick))


def _of(made: plain.Pipeline) -> Pipeline:
    return Pipeline(**vars(made))
