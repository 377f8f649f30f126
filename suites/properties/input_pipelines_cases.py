"""What is drawn for the properties of input pipelines, and how an implementation is asked for batches."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check, takes
from suites.subjects import Subject

SLOW = {"cache": False, "parallel": 1, "vectorized": False, "prefetch": 0}
"""No optimisation at all."""

FAST = {"cache": True, "parallel": 2, "vectorized": True, "prefetch": 2}

PATIENCE_S = 5.0
"""How long something may take that is waited for; a sound pipeline answers in milliseconds."""


@dataclass(frozen=True)
class Case:
    """Elements, and what is asked of the pipeline about them."""

    size: int
    batch: int
    shuffle: int = 0
    drop_remainder: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The options that are not at their contract's default: all that an implementation has to take."""
        given = {"shuffle": self.shuffle, "drop_remainder": self.drop_remainder}
        return {"batch": self.batch, **{name: value for name, value in given.items() if value}}


def cases(subject: Subject) -> list[Case]:
    """Cases without a shuffle: with a full last batch, a smaller one, and only that. All of them beyond quick scale.

    They are not drawn, since each costs a trace: a tenth of a second of tf.data.
    """
    if subject.scale == "quick":
        sizes = [(1, 1), (6, 3), (5, 2), (3, 4)]
    else:
        sizes = list(itertools.product(range(1, 10), range(1, 5)))
    return [Case(size, batch) for size, batch in sizes] + [
        Case(size, batch, drop_remainder=True) for size, batch in sizes if batch <= size and size % batch
    ]


def ways(subject: Subject) -> list[dict[str, Any]]:
    """Optimisations: all, and each by itself; beyond quick scale every combination of those that there are."""
    known = optimisations(subject, FAST)
    if subject.scale != "quick":
        choices = [[(name, SLOW[name]), (name, FAST[name])] for name in known]
        return [dict(chosen) for chosen in itertools.product(*choices)]
    return [known, *({**optimisations(subject, SLOW), name: FAST[name]} for name in known)] if known else []


@st.composite
def sequences(draw: st.DrawFn) -> list[list[int]]:
    """One to eight sequences of up to six tokens, zero among them, which looks like padding."""
    return draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8))


# How an implementation is asked


def rows(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays: who each element is, `(N,)` int64, and two values of it, `(N, 2)` float32."""
    numbers = np.arange(size, dtype=np.int64)
    return numbers, np.stack([numbers + 0.5, -numbers], axis=1).astype(np.float32)


def options(subject: Subject, **wanted: Any) -> Any:
    """The subject's `Options`, where it has fields of these names."""
    for name in wanted:
        if not takes(subject.Options, name):
            raise NotProvided(f"Options takes no `{name}`")
    return subject.Options(**wanted)


def optimisations(subject: Subject, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the optimisations that the subject has a switch for."""
    return {name: value for name, value in wanted.items() if takes(subject.Options, name)}


def pipeline(
    subject: Subject, arrays: Any, wanted: Any, *, transform: Any = None, augment: Any = None, **more: Any
) -> Any:
    """`from_arrays`, with the functions that are given; `wanted` are options, or names and values of them."""
    functions = {"transform": transform, "augment": augment}
    given = {name: function for name, function in functions.items() if function is not None}
    for name in given:
        if not takes(subject.from_arrays, name):
            raise NotProvided(f"from_arrays takes no `{name}`")
    return subject.from_arrays(arrays, options(subject, **{**wanted, **more}), **given)


def batches(pipeline: Any, count: int = 1, first: int = 0, limit: int = 1000) -> list[Any]:
    """All batches of so many epochs, as NumPy arrays in their structure; fails where there are more than `limit`."""
    __tracebackhide__ = True
    found = [as_arrays(batch) for batch in itertools.islice(pipeline.epochs(count, first), limit + 1)]
    check(len(found) <= limit, f"{count} epochs have not ended after {limit} batches")
    return found


def numbers(pipeline: Any, count: int = 1, first: int = 0) -> list[list[int]]:
    """Who is in each batch: the elements' numbers, in order, of a pipeline over `rows`."""
    __tracebackhide__ = True
    return [batch[0].tolist() for batch in batches(pipeline, count, first)]


def flat(lists: Iterable[Sequence[Any]]) -> list[Any]:
    """One list after the other, as one."""
    return list(itertools.chain.from_iterable(lists))


def by_epoch(found: list[Any], count: int) -> list[list[Any]]:
    """The elements of each of so many epochs, which have equally many batches."""
    __tracebackhide__ = True
    check(len(found) % count == 0, f"{len(found)} batches in {count} epochs; each epoch has equally many")
    steps = len(found) // count
    return [flat(found[start : start + steps]) for start in range(0, len(found), steps)] if steps else [[]] * count


def as_arrays(batch: Any) -> Any:
    """A batch's tensors, of whatever library, as NumPy arrays."""
    return keras.tree.map_structure(np.asarray, batch)


def in_numpy(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of the first array of a batch, which sees and returns NumPy, whatever the pipeline is made of."""

    def transform(batch: Any) -> Any:
        first, *others = batch
        if type(first).__module__.startswith("tensorflow"):
            import tensorflow as tf

            changed = tf.numpy_function(function, [first], first.dtype)
            changed.set_shape(first.shape)
            return changed, *others
        return function(np.asarray(first)), *others

    return transform


def tagged(batch: Any, keys: Any) -> Any:
    """An augmentation that shows the keys, `(B,)`, behind the arrays of the batch."""
    return *batch, keys


def until_error(pipeline: Any) -> tuple[list[list[int]], str]:
    """Who is in the batches of an epoch, as far as it goes, and what the error says that ends it, if one does."""
    found: list[list[int]] = []
    try:
        for batch in pipeline.epochs(1):
            found += [np.asarray(batch[0]).tolist()]
    except failures() as error:
        return found, str(error)
    return found, ""


def failures() -> tuple[type[Exception], ...]:
    """How what a function raises may arrive: as it was, or as TensorFlow's error, if TensorFlow is at work."""
    return ValueError, *([sys.modules["tensorflow"].errors.OpError] if "tensorflow" in sys.modules else [])


# What is observed


class Calls:
    """A function that notes the elements of each call."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:  # noqa: D102
        self.batches.append(batch.tolist())
        return batch


class Counting(keras.callbacks.Callback):
    """How many batches `fit` has taken, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002, D102 - the base class says it
        self.batches.append(0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002, D102
        self.batches[-1] += 1


def keys_of(subject: Subject, wanted: dict[str, Any], count: int = 1, first: int = 0) -> list[dict[int, Any]]:
    """The key that each of nine elements has in each epoch."""
    found = batches(pipeline(subject, rows(9), wanted, augment=tagged), count, first)
    pairs = [list(zip(batch[0].tolist(), batch[2].tolist(), strict=True)) for batch in found]
    return [dict(epoch) for epoch in by_epoch(pairs, count)]


# Images and files


SHAPE = (3, 4, 2)
IMAGES = np.arange(4 * 24, dtype=np.float32).reshape(4, *SHAPE) / 8 + 1
"""Four images (H, W, C) without two equal values."""


def augmented(subject: Subject, images: np.ndarray, keys: list[int], **asked: Any) -> np.ndarray:
    """The images, as `augment_images` returns them, in the shape and dtype that they came in."""
    __tracebackhide__ = True
    found = np.asarray(subject.augment_images(images.copy(), np.array(keys, np.uint64), **asked))
    shown = f"{found.dtype} {found.shape}"
    check(found.shape == images.shape and found.dtype == images.dtype, f"images {images.shape} became {shown}")
    return found


FILES = [[b"ab", b"cd"], [b"ef"], [b"gh", b"ij", b"kl"], [b"mn", b"op"]]
"""Records of two bytes."""


def from_files(subject: Subject, folder: str, **wanted: Any) -> list[bytes]:
    """All records of an epoch, in order."""
    paths = [Path(folder) / f"{number}.bin" for number in range(len(FILES))]
    for path, records in zip(paths, FILES, strict=True):
        path.write_bytes(b"".join(records))
    made = subject.from_files(paths, subject.fixed_records(2), options(subject, batch=3, **wanted))
    found = batches(made)
    for batch in found:
        check(batch.dtype == np.uint8 and batch.ndim == 2, f"a batch of records is {batch.dtype} {batch.shape}")
    return [record.tobytes() for batch in found for record in batch]


# Checks


def same(found: Any, expected: Any, what: str) -> None:
    """Assert equal batches: structure, dtypes, shapes and every bit."""
    __tracebackhide__ = True
    got, wanted = (keras.tree.flatten(each) for each in (found, expected))
    check(len(got) == len(wanted), f"{what}: {len(got)} arrays, expected {len(wanted)}")
    for one, other in zip(got, wanted, strict=True):
        described = f"{one.dtype} {one.shape} {one.tolist()}"
        fits = one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
        check(fits, f"{what}: {described}, expected {other.dtype} {other.shape} {other.tolist()}")
