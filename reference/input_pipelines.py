"""Input pipelines: have the next batch ready when the last one has been used.

The problem. A training step waits for its batch, and batches are made slowly: elements are read, decoded, shuffled,
augmented and stacked. The cures are those of tf.data (Murray et al., VLDB 2021, arXiv:2101.12127). Each is a switch
here, so that its effect can be timed; they change how long a batch takes, and never what is in it.

    read -> shard -> transform -> CACHE   -> shuffle -> batch -> augment -> PREFETCH
    once, if cached                          in every epoch

    cache        what `transform` returned is kept: n calls in all, however many epochs
    parallel     several calls of `transform` and `augment` at a time, and several files
    vectorized   functions see whole batches instead of batches of one: B times fewer calls
    prefetch     the pipeline works while its reader does. With p seconds to make a batch and c to use it, n batches
                 take n (p + c) without, and p + (n - 1) max(p, c) + c with it; k parallel calls divide p by k at most

The order of stages is part of the technique. A cache behind a random function returns the same "random" images in every
epoch; batches in front of the shuffle keep their company for ever; shards of a shuffled order overlap as soon as two
workers shuffle differently.

All that is random is a function of (seed, epoch, element). Batch size, shard, order, threads and the global seed have
no part in it, and epoch 7 is to be had without the six before it. How an element comes by its random numbers, and an
image is augmented with them, stands in `reference/_augmentation.py`.

Batches are TensorFlow tensors on the host, from which Keras trains under any backend; TensorFlow has to be installed.
Shapes: N elements, B of a batch, S longest sequence of a batch.

Deviations from plain tf.data: of its own accord it may run sequential maps in parallel and add a prefetch, which it may
not where that is switched off here; and its shuffle depends on the global seed too, which this one does not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from reference._augmentation import augment_images, element_keys, fold_in, uniform  # noqa: F401 - the contract's

Tensor = Any
Dataset = Any  # a tf.data.Dataset
Transform = Callable[[Any], Any]  # a batch to a batch: arrays with B in front, or a tuple or dictionary of them
Augment = Callable[[Any, Tensor], Any]  # a batch and the keys (B,) uint64 of its elements to a batch

AUTOTUNE = tf.data.AUTOTUNE  # -1: as many as tf.data finds useful while it runs


@dataclass(frozen=True)
class Options:
    """What is asked of a pipeline: the first five fields decide on the batches, the others on the speed alone.

    Attributes:
        batch: B.
        shuffle: how many elements the shuffle chooses among: 0 keeps the order, N or more make every order possible.
        seed: of order and augmentation.
        shard: (i, n), this worker's number and the number of workers: it sees every n-th element, or file.
        drop_remainder: leave out a last batch of fewer than B elements.
        cache: keep what `transform` returned in memory; an epoch that is broken off keeps nothing.
        parallel: calls at a time; 1 is sequential.
        vectorized: call `transform` and `augment` with whole batches, instead of batches of one.
        prefetch: batches made in advance; 0 is none.
        deterministic: keep the order where parallel calls overtake each other; else only the elements are promised.

    Raises:
        ValueError: a value is out of range.
    """

    batch: int = 32
    shuffle: int = 0
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    drop_remainder: bool = False
    cache: bool = True
    parallel: int = AUTOTUNE
    vectorized: bool = True
    prefetch: int = AUTOTUNE
    deterministic: bool = True

    def __post_init__(self) -> None:
        expected = {
            "batch": ("at least 1", self.batch >= 1),
            "shuffle": ("the number of elements to choose among, 0 for none", self.shuffle >= 0),
            "seed": ("from 0 to 2**63 - 1", 0 <= self.seed < 2**63),
            "shard": ("(i, n) with 0 <= i < n", 0 <= self.shard[0] < self.shard[1]),
            "parallel": ("a number of calls, at least 1, or AUTOTUNE", self.parallel >= 1 or self.parallel == AUTOTUNE),
            "prefetch": ("a number of batches, 0 for none, or AUTOTUNE", self.prefetch >= AUTOTUNE),
        }
        for name, (what, holds) in expected.items():
            value = getattr(self, name)
            if not holds or isinstance(value, bool):  # shuffle=True would choose among 1 element: no shuffle at all
                raise ValueError(f"`{name}` must be {what}; it is {value!r}")


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Batches, epoch after epoch; `from_arrays`, `from_files`, `padded_batches` and `bucketed_batches` make one.

    Attributes:
        groups: datasets of `(index, element)`, transformed and cached; no batch has elements of two of them.
        stack: elements to batches of them.
        finish: the last change of a batch, from its elements' indices, itself, and the number of the epoch.
        options: see `Options`.
        steps: batches of an epoch; None where they were not counted.
    """

    groups: tuple[Dataset, ...]
    stack: Callable[[Dataset], Dataset]
    finish: Callable[[Tensor, Any, Tensor], Any]
    options: Options
    steps: int | None

    def epochs(self, count: int | None = None, first: int = 0) -> Dataset:
        """The batches of so many epochs (None: without end) from epoch `first` on, as one dataset.

        For `fit`: ``model.fit(pipeline.epochs(), steps_per_epoch=pipeline.steps, shuffle=False)``. A dataset begun anew
        in each epoch takes tens of milliseconds for that, and finds an empty prefetch buffer.
        """
        numbers = tf.data.Dataset.counter(first) if count is None else tf.data.Dataset.range(first, first + count)
        batches = numbers.flat_map(self._epoch)
        if self.steps is not None:
            total = tf.data.INFINITE_CARDINALITY if count is None else count * self.steps
            batches = batches.apply(tf.data.experimental.assert_cardinality(total))
        if self.options.prefetch:
            batches = batches.prefetch(self.options.prefetch)
        allowed = tf.data.Options()
        allowed.experimental_optimization.map_parallelization = self.options.parallel != 1
        allowed.experimental_optimization.inject_prefetch = self.options.prefetch != 0
        return batches.with_options(allowed)

    def _epoch(self, number: Tensor) -> Dataset:
        """The batches of one epoch."""
        tf.random.set_seed(None)  # in this graph alone: the program's global seed would repeat in every epoch
        state = fold_in(fold_in(0, self.options.seed), number)

        def shuffled(dataset: Dataset, place: int) -> Dataset:
            buffer = self.options.shuffle  # with one seed for all, groups of a size would be shuffled alike
            seed = tf.bitcast(fold_in(state, place), tf.int64)
            return dataset.shuffle(buffer, seed, reshuffle_each_iteration=False) if buffer else dataset

        def finished(indices: Tensor, batch: Any) -> Any:
            return self.finish(indices, batch, number)

        mixed = [shuffled(group, place) for place, group in enumerate(self.groups)]
        if self.options.vectorized:
            groups = [self.stack(each) for each in mixed]
        else:
            groups = [self.stack(_map(each, _one_by_one(finished), self.options)) for each in mixed]
        batches = functools.reduce(tf.data.Dataset.concatenate, groups)
        if len(groups) > 1:
            batches = shuffled(batches, len(groups))
        return _map(batches, finished, self.options) if self.options.vectorized else batches


def from_arrays(
    arrays: Any, options: Options | None = None, transform: Transform | None = None, augment: Augment | None = None
) -> Pipeline:
    """Batches of rows of arrays.

    Args:
        arrays: `(N, ...)`, or a tuple or dictionary of such; element i is row i of each.
        options: see `Options`.
        transform: of batches, the same in every epoch, in front of the cache: decoding, scaling.
        augment: of batches and keys `(B,)`, new in every epoch, behind the cache: see `augment_images`.

    Returns:
        A pipeline whose batches have the structure that `augment` or `transform` returns, or else that of `arrays`.

    Raises:
        ValueError: the arrays differ in N, or the options leave no batch.
    """
    options = options or Options()
    sizes = {len(array) for array in tf.nest.flatten(arrays)}
    if len(sizes) != 1:
        raise ValueError(f"all arrays must have the same number of rows; they have {sorted(sizes)}")
    numbers = _shard(sizes.pop(), options)
    rows = tf.data.Dataset.from_tensor_slices(arrays).enumerate().shard(options.shard[1], options.shard[0])
    return _pipeline(rows, options, transform, augment, _steps([len(numbers)], options))


def from_files(
    paths: Sequence[Any],
    read: Callable[[Tensor], Dataset],
    options: Options | None = None,
    transform: Transform | None = None,
    augment: Augment | None = None,
) -> Pipeline:
    """Batches of the records of files, in turn one from each of up to 16 files; how many is not known in advance.

    Arguments as in `from_arrays`, but for `paths`, of which a shard has every n-th, and `read`, which makes a path the
    dataset of its records: ``tf.data.TFRecordDataset``, or ``fixed_records(3073)``.

    Raises:
        ValueError: there are fewer files than shards.
    """
    options = options or Options()
    numbers = _shard(len(paths), options)

    def records(number: Tensor, path: Tensor) -> Dataset:
        start = number * 2**32  # indices that depend neither on the shard nor on which file is read faster
        return tf.data.Dataset.zip(tf.data.Dataset.range(start, start + 2**32), read(path))

    files = tf.data.Dataset.from_tensor_slices((np.array(numbers), [str(paths[number]) for number in numbers]))
    at_once = {"num_parallel_calls": options.parallel, "deterministic": options.deterministic}
    rows = files.interleave(records, cycle_length=min(16, len(numbers)), **(at_once if options.parallel != 1 else {}))
    return _pipeline(rows, options, transform, augment, None)


def fixed_records(record_bytes: int) -> Callable[[Tensor], Dataset]:
    """A reader for `from_files`: records of so many bytes, `(record_bytes,)` uint8."""

    def read(path: Tensor) -> Dataset:
        strings = tf.data.FixedLengthRecordDataset(path, record_bytes)
        return strings.map(lambda string: tf.ensure_shape(tf.io.decode_raw(string, tf.uint8), (record_bytes,)))

    return read


def padded_batches(sequences: Sequence[Any], options: Options | None = None) -> Pipeline:
    """Batches of sequences `(length,)`, each padded with zeros to the longest of its batch: see `bucketed_batches`."""
    return bucketed_batches(sequences, (), options)


def bucketed_batches(sequences: Sequence[Any], boundaries: Sequence[int], options: Options | None = None) -> Pipeline:
    """Batches of sequences of similar lengths, so that little has to be padded.

    Bucket i holds the lengths from `boundaries[i - 1]` to `boundaries[i] - 1`, the last one all longer ones. They come
    one after the other, unless a shuffle mixes the elements in a bucket, and then all batches. The mask is made of the
    lengths: to compare with the padding's value would mask a token that happens to equal it.

    Args:
        sequences: N vectors `(length,)` of one dtype.
        boundaries: ascending lengths.
        options: see `Options`.

    Returns:
        A pipeline of tokens `(B, S)`, zero in the padding, and masks `(B, S)` bool, True at a token.

    Raises:
        ValueError: a sequence is no vector, the boundaries do not ascend from 1, or the options leave no batch.
    """
    options = options or Options()
    rows = [np.asarray(sequence) for sequence in sequences]
    if any(row.ndim != 1 for row in rows):
        raise ValueError("every sequence must be a vector (length,)")
    if any(low >= high for low, high in pairwise((0, *boundaries))):
        raise ValueError(f"`boundaries` must ascend from 1 at least; they are {list(boundaries)}")
    numbers, lengths = np.array(_shard(len(rows), options)), np.array([len(row) for row in rows])
    tokens = tf.RaggedTensor.from_row_lengths(np.concatenate(rows), lengths)  # (N, length of each)
    bucket = np.searchsorted(boundaries, lengths[numbers], side="right")
    members = [numbers[bucket == each] for each in np.unique(bucket)]

    def padded(indices: Tensor, _batch: Any, _epoch: Tensor) -> tuple[Tensor, Tensor]:
        found = tf.gather(tokens, indices)
        return found.to_tensor(), tf.sequence_mask(found.row_lengths())

    def stack(elements: Dataset) -> Dataset:
        return elements.padded_batch(options.batch, drop_remainder=options.drop_remainder)

    groups = tuple(tf.data.Dataset.from_tensor_slices((each, each)) for each in members)
    return Pipeline(groups, stack, padded, options, _steps(map(len, members), options))


# Stages


def _pipeline(
    rows: Dataset, options: Options, transform: Transform | None, augment: Augment | None, steps: int | None
) -> Pipeline:
    """Transform and cache `(index, element)`."""

    def transformed(indices: Tensor, batch: Any) -> tuple[Tensor, Any]:
        return indices, transform(batch) if transform else batch

    def stack(elements: Dataset) -> Dataset:
        return elements.batch(options.batch, drop_remainder=options.drop_remainder)

    def finish(indices: Tensor, batch: Any, epoch: Tensor) -> Any:
        return augment(batch, element_keys(options.seed, epoch, indices)) if augment else batch

    if transform and options.vectorized:
        rows = _map(rows.batch(options.batch), transformed, options).unbatch()
    elif transform:
        rows = _map(rows, _one_by_one(transformed), options)
    return Pipeline((rows.cache() if options.cache else rows,), stack, finish, options, steps)


def _map(dataset: Dataset, function: Callable[..., Any], options: Options) -> Dataset:
    if options.parallel == 1:
        return dataset.map(function)
    return dataset.map(function, num_parallel_calls=options.parallel, deterministic=options.deterministic)


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of batches as one of elements."""

    def of_element(*element: Any) -> Any:
        batch = function(*tf.nest.map_structure(lambda tensor: tf.expand_dims(tensor, 0), element))
        return tf.nest.map_structure(lambda tensor: tensor[0], batch)

    return of_element


def _shard(count: int, options: Options) -> range:
    """The numbers of the elements or files in this shard."""
    if count < options.shard[1]:
        raise ValueError(f"each of {options.shard[1]} shards needs an element, or a file; there are {count}")
    return range(options.shard[0], count, options.shard[1])


def _steps(sizes: Iterable[int], options: Options) -> int:
    """Batches of an epoch, from groups of these sizes."""
    steps = sum(
        int(size) // options.batch if options.drop_remainder else -(-int(size) // options.batch) for size in sizes
    )
    if steps == 0:
        raise ValueError(f"there is no full batch of {options.batch}; take smaller ones, or drop_remainder=False")
    return steps
