"""`grain.MapDataset` behind the contract's names.

Its shuffling, batching, seeds and threads are Grain's own. A random map stands in front of shard and shuffle, since
Grain seeds it by an element's place in the dataset at that point; being lazy, it is run for nothing that is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grain
import keras
import numpy as np

from suites.peers.plain import input_pipelines as plain

augment_images, KNOWN_DEFECTS = plain.augment_images, plain.KNOWN_DEFECTS


@dataclass(frozen=True)
class Options:
    """Which batches, and by how many threads with how long a buffer; `shuffle` shuffles all, if it is not 0."""

    batch: int = 32
    shuffle: int = 0
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    drop_remainder: bool = False
    parallel: int = 2
    prefetch: int = 2

    def __post_init__(self) -> None:
        plain.Options(self.batch, self.shuffle, self.seed, self.shard, self.drop_remainder)
        grain.ReadOptions(self.parallel, self.prefetch)
        if self.parallel < 1:
            raise ValueError(f"`parallel` must be at least 1; it is {self.parallel}")


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Epochs of a MapDataset."""

    epoch: grain.MapDataset
    options: Options

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.epoch)

    def epochs(self, count: int | None = None, first: int = 0) -> grain.IterDataset:
        """The batches of so many epochs, without end if None."""
        stop = None if count is None else (first + count) * self.steps
        batches = self.epoch.repeat()[first * self.steps : stop]
        options = self.options
        threads = min(options.parallel, options.prefetch)  # a thread fills one place of the buffer
        return batches.to_iter_dataset(grain.ReadOptions(threads, options.prefetch))


def from_arrays(arrays: Any, options: Options | None = None, transform: Any = None, augment: Any = None) -> Pipeline:
    """Batches of rows of arrays."""
    options = options or Options()
    made = plain.from_arrays(arrays, plain.Options(options.batch, shard=options.shard), transform)

    def element(number: int, generator: np.random.Generator) -> Any:
        row = made.changed([number], 0)
        if augment:
            row = augment(row, generator.integers(2**64, size=1, dtype=np.uint64))
        return keras.tree.map_structure(lambda array: array[0], row)

    numbers = grain.MapDataset.range(made.size).seed(options.seed)
    elements = numbers.random_map(element)[options.shard[0] :: options.shard[1]]
    if options.shuffle:
        elements = elements.shuffle()
    pipeline = Pipeline(elements.batch(options.batch, drop_remainder=options.drop_remainder), options)
    if not pipeline.steps:
        raise ValueError("the options leave no batch")
    return pipeline
