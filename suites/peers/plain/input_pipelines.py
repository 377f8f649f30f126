"""The naive pipeline: a Python generator over NumPy arrays, as one writes it without a library.

Nothing is cached, nothing runs at the same time; what there is are loops and fancy indexing. Other peers take the parts
from here that their libraries leave to their users: NumPy's augmentation, and a key for each element.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "shuffle_chooses_among_its_buffer": KnownDefect("All elements are shuffled, whatever number was asked for."),
}


@dataclass(frozen=True)
class Options:
    """Which batches; `shuffle` shuffles all elements, if it is not 0."""

    batch: int = 32
    shuffle: int = 0
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    drop_remainder: bool = False
    vectorized: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"`batch` must be at least 1; it is {self.batch}")
        if not 0 <= self.seed < 2**63 or self.seed is True or self.batch is True:
            raise ValueError(f"`seed` must be from 0 to 2**63 - 1, and `batch` a number; {self.seed}, {self.batch}")
        if self.shuffle < 0 or self.shuffle is True:
            raise ValueError(f"`shuffle` must be a number of elements; it is {self.shuffle}")
        if not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(f"`shard` must be (i, n) with 0 <= i < n; it is {self.shard}")


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Batches of elements that are picked by their numbers."""

    pick: Callable[[list[int]], Any]
    size: int
    options: Options
    transform: Any = None
    augment: Any = None
    group: Callable[[Iterable[int]], Iterator[list[int]]] | None = None
    names: Sequence[int] | None = None  # the elements' own numbers, where those here are not

    def __post_init__(self) -> None:
        if self.steps == 0:
            raise ValueError("the options leave no batch")

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return sum(1 for _ in self.numbers(0))

    def epochs(self, count: int | None = None, first: int = 0) -> Iterator[Any]:
        """The batches of so many epochs, without end if None."""
        for epoch in itertools.count(first) if count is None else range(first, first + count):
            for numbers in self.numbers(epoch):
                yield self.batch(numbers, epoch)

    def numbers(self, epoch: int) -> Iterator[list[int]]:
        """Who is in each batch of an epoch."""
        options, mine = self.options, np.arange(self.size)[self.options.shard[0] :: self.options.shard[1]]
        if options.shuffle:
            mine = np.random.default_rng((options.seed, epoch)).permutation(mine)
        grouped = self.group(mine.tolist()) if self.group else cut(mine.tolist(), options.batch)
        return (batch for batch in grouped if len(batch) == options.batch or not options.drop_remainder)

    def batch(self, numbers: list[int], epoch: int) -> Any:
        """One batch, at once if vectorized or else element by element."""
        if self.options.vectorized:
            return self.changed(numbers, epoch)
        if not (self.transform or self.augment):
            return self.pick(numbers)
        rows = [self.changed([number], epoch) for number in numbers]
        return keras.tree.map_structure(lambda *each: np.concatenate(each), *rows)

    def changed(self, numbers: list[int], epoch: int) -> Any:
        """Elements, transformed and augmented."""
        batch = self.pick(numbers)
        if self.transform:
            batch = self.transform(batch)
        own = [self.names[number] for number in numbers] if self.names else numbers
        return self.augment(batch, keys_of(self.options.seed, epoch, own)) if self.augment else batch


def from_arrays(arrays: Any, options: Options | None = None, transform: Any = None, augment: Any = None) -> Pipeline:
    """Batches of rows of arrays."""
    sizes = {len(array) for array in keras.tree.flatten(arrays)}
    if len(sizes) != 1:
        raise ValueError(f"arrays of different lengths {sorted(sizes)}")
    options = options or Options()
    if max(sizes) < options.shard[1]:
        raise ValueError("more shards than elements")

    def pick(numbers: list[int]) -> Any:
        return keras.tree.map_structure(lambda array: array[numbers], arrays)

    return Pipeline(pick, sizes.pop(), options, transform, augment)


def from_files(
    paths: Sequence[Any], read: Any, options: Options | None = None, transform: Any = None, augment: Any = None
) -> Pipeline:
    """Batches of records: all files of the shard are read, then dealt out in turn, one of each of sixteen."""
    options = options or Options()
    if len(paths) < options.shard[1]:
        raise ValueError("more shards than files")
    waiting = [
        [(number * 2**32 + place, record) for place, record in enumerate(read(paths[number]))]
        for number in range(options.shard[0], len(paths), options.shard[1])
    ]
    dealt: list[tuple[int, Any]] = []
    places, waiting = waiting[:16], waiting[16:]
    while any(places) or waiting:
        for place, records in enumerate(places):
            if not records and waiting:
                places[place] = records = waiting.pop(0)  # noqa: PLW2901 - another file takes the place
            dealt += records[:1]
            del records[:1]
    names, rows = [name for name, _ in dealt], np.array([record for _, record in dealt])
    whole = Options(**{**vars(options), "shard": (0, 1)})
    return dataclasses.replace(from_arrays(rows, whole, transform, augment), names=names)


def fixed_records(record_bytes: int) -> Callable[[Any], np.ndarray]:
    """A reader of records of so many bytes."""
    return lambda path: np.frombuffer(Path(path).read_bytes(), np.uint8).reshape(-1, record_bytes)


def padded_batches(sequences: Sequence[Any], options: Options | None = None) -> Pipeline:
    """Batches padded to their longest sequence."""
    if any(np.ndim(sequence) != 1 for sequence in sequences):
        raise ValueError("every sequence must be a vector")
    return Pipeline(lambda numbers: pad([sequences[n] for n in numbers]), len(sequences), options or Options())


def bucketed_batches(sequences: Sequence[Any], boundaries: Sequence[int], options: Options | None = None) -> Pipeline:
    """Batches of one bucket each: a list for every bucket, which is a batch as soon as it is full."""
    if list(boundaries) != sorted(set(boundaries)):
        raise ValueError(f"boundaries must ascend; they are {boundaries}")
    options = options or Options()

    def group(numbers: Iterable[int]) -> Iterator[list[int]]:
        buckets: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            bucket = buckets[int(np.searchsorted(boundaries, len(sequences[number]), side="right"))]
            bucket.append(number)
            if len(bucket) == options.batch:
                yield bucket.copy()
                bucket.clear()
        yield from filter(None, buckets.values())

    return Pipeline(lambda numbers: pad([sequences[n] for n in numbers]), len(sequences), options, group=group)


def augment_images(
    images: np.ndarray, keys: np.ndarray, flip: bool = True, shift: int = 0, noise: float = 0.0
) -> np.ndarray:
    """Mirror, move and disturb each image, with a NumPy generator of its own."""
    if images.ndim != 4 or not (images.dtype.kind == "f" or images.dtype.name == "bfloat16"):
        raise ValueError("images must be (B, H, W, C), floating point")
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    results = np.empty_like(images)
    for image, key, result in zip(padded, keys, results, strict=True):
        generator = np.random.default_rng(int(key))
        top, left = generator.integers(0, 2 * shift + 1, 2)
        if generator.random() < 0.5 and flip:
            image = image[:, ::-1]  # noqa: PLW2901 - the same image, mirrored
        result[:] = image[top : top + height, left : left + width]
        if noise:
            np.add(result, noise * (2 * generator.random(result.shape, np.float32) - 1), out=result)
    return results


def keys_of(seed: int, epoch: int, numbers: Sequence[int]) -> np.ndarray:
    """A key for each element, (B,) int64, not negative."""
    states = [np.random.SeedSequence((seed, epoch, number)).generate_state(1, np.uint64) for number in numbers]
    return (np.concatenate(states) >> np.uint64(1)).astype(np.int64)


def cut(numbers: list[int], batch: int) -> Iterator[list[int]]:
    """One after the other into batches."""
    return (numbers[start : start + batch] for start in range(0, len(numbers), batch))


def pad(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask, as wide as the longest."""
    lengths = np.array([len(sequence) for sequence in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.zeros(mask.shape, np.asarray(sequences[0]).dtype)
    tokens[mask] = np.concatenate(sequences)
    return tokens, mask
