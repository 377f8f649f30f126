"""`torch.utils.data.DataLoader` behind the contract's names, in the process of its reader.

Its sampling, batching, collating and sharding are PyTorch's own. Worker processes are left out: what functions do there
nobody sees here, and a start of processes in every epoch would be all that a race measures.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, RandomSampler, SequentialSampler

from suites.implementations import KnownDefect
from suites.peers.plain import input_pipelines as plain

KNOWN_DEFECTS = {
    **plain.KNOWN_DEFECTS,
    "shards_part_the_elements": KnownDefect(
        "DistributedSampler repeats elements until all shards have equally many, and shards of workers with different "
        "seeds overlap.",
        "https://github.com/pytorch/pytorch/issues/25162",
    ),
}

augment_images, Options = plain.augment_images, plain.Options


class Rows(Dataset):
    """Elements by number; a list of numbers is a batch, for loaders that leave the batching to their sampler."""

    def __init__(self, pick: Any, size: int, options: Any, transform: Any = None, augment: Any = None) -> None:
        self.made = plain.Pipeline(pick, size, options, transform, augment)
        self.epoch = 0

    def __len__(self) -> int:
        return self.made.size

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, list):
            return self.made.changed(number, self.epoch)
        return keras.tree.map_structure(lambda array: array[0], self.made.changed([number], self.epoch))


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Epochs of a DataLoader."""

    rows: Any
    options: Any
    collate: Any = None

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("the options leave no batch")

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.loader(0))

    def loader(self, epoch: int) -> DataLoader:
        """The loader of an epoch."""
        options, generator = self.options, torch.Generator()
        if options.shard != (0, 1):
            sampler: Any = DistributedSampler(
                self.rows,
                num_replicas=options.shard[1],
                rank=options.shard[0],
                shuffle=bool(options.shuffle),
                seed=options.seed,
            )
            sampler.set_epoch(epoch)
        elif options.shuffle:
            generator.manual_seed(int(plain.keys_of(options.seed, epoch, [0])[0]))
            sampler = RandomSampler(self.rows, generator=generator)
        else:
            sampler = SequentialSampler(self.rows)
        if options.vectorized:
            sampler = BatchSampler(sampler, options.batch, options.drop_remainder)
            return DataLoader(self.rows, batch_size=None, sampler=sampler)
        return DataLoader(
            self.rows, options.batch, sampler=sampler, drop_last=options.drop_remainder, collate_fn=self.collate
        )

    def epochs(self, count: int | None = None, first: int = 0) -> Iterator[Any]:
        """The batches of so many epochs, without end if None."""
        for epoch in itertools.count(first) if count is None else range(first, first + count):
            if isinstance(self.rows, Rows):
                self.rows.epoch = epoch
            for batch in self.loader(epoch):  # of tuples PyTorch makes lists, which `fit` refuses
                yield tuple(batch) if isinstance(batch, list) else batch


def from_arrays(arrays: Any, options: Any = None, transform: Any = None, augment: Any = None) -> Pipeline:
    """Batches of rows of arrays."""
    made = plain.from_arrays(arrays, options or Options(), transform, augment)
    return Pipeline(Rows(made.pick, made.size, made.options, transform, augment), made.options)


def padded_batches(sequences: Sequence[Any], options: Any = None) -> Pipeline:
    """Batches padded by `torch.nn.utils.rnn.pad_sequence`."""
    plain.padded_batches(sequences, options)  # checks them
    rows = [torch.as_tensor(np.array(sequence)) for sequence in sequences]
    return Pipeline(rows, dataclasses.replace(options or Options(), vectorized=False), _padded)


def _padded(rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Tokens and mask."""
    masks = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return [torch.nn.utils.rnn.pad_sequence(each, batch_first=True) for each in (rows, masks)]
