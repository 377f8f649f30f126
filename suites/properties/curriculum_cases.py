"""What is drawn for the properties of curriculum learning, and how an implementation is called with it."""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check, without_warnings
from suites.properties.oracles import curriculum as oracle
from suites.subjects import Subject


@dataclass(frozen=True)
class Pace:
    """Arguments of a pacing function other than its name and the step."""

    total_steps: int
    size: int
    start: float
    full: float

    @property
    def first_full(self) -> int:
        """The first step at which all is visible."""
        return oracle.first_full_step(self.total_steps, self.full)

    def counts(self, pacing: str, step: int) -> tuple[int, int]:
        """The least and the greatest true count."""
        return oracle.visible_counts(pacing, step, self.total_steps, self.size, start=self.start, full=self.full)


@dataclass(frozen=True)
class Plan:
    """Arguments of a `Curriculum`; its order is that of the scores, easy to hard."""

    scores: tuple[float, ...]
    total_steps: int = 12
    batch_size: int = 3
    pacing: str = "linear"
    start: float = 0.2
    full: float = 0.8
    seed: int = 0

    @property
    def order(self) -> list[int]:
        """The true order."""
        return oracle.easy_to_hard(self.scores)

    @property
    def arguments(self) -> dict[str, Any]:
        """All but the order."""
        names = ("total_steps", "batch_size", "pacing", "start", "full", "seed")
        return {name: getattr(self, name) for name in names}

    def visible_counts(self, step: int) -> tuple[int, int]:
        """The least and the greatest true g(t)."""
        size = len(self.scores)
        arguments = (self.pacing, step, self.total_steps, size)
        return oracle.visible_counts(*arguments, start=self.start, full=self.full)

    @property
    def horizon(self) -> int:
        """Steps until the plan has ended, all are visible, and two passes over all have been drawn."""
        settled = max(self.total_steps, oracle.first_full_step(self.total_steps, self.full))
        return settled + math.ceil(3 * len(self.scores) / self.batch_size)

    def rows(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Data of as many rows, whose rows tell which they are: inputs (N, 2) float32 and targets (N,) int32."""
        rows = np.arange(len(self.scores))
        return {"inputs": np.stack([rows, -rows], axis=1).astype(np.float32)}, rows.astype(np.int32)


TEN = (2.0, 0.5, 3.0, 1.0, 0.5, 4.0, -1.0, 2.5, 1.5, 0.0)
"""Ten scores; those of 1 and 4 are equal."""

PLAN = Plan(TEN)

SEEDS = (0, 1, 2, 3, 4, 5, 256, 2**31, 2**32, 2**32 + 1)
"""Seeds that are the same by their lowest bits, by their highest, or as differences of others."""

hundredths = st.integers(0, 100).map(lambda integer: integer / 100)


def paces() -> st.SearchStrategy[Pace]:
    """Any pace; nothing need be visible at the start."""
    full = st.integers(1, 250).map(lambda integer: integer / 100)
    return st.builds(Pace, st.integers(1, 24), st.integers(1, 200), start=hundredths, full=full)


def scores(least: int = 1) -> st.SearchStrategy[tuple[float, ...]]:
    """Scores, some of them equal; infinity is one."""
    return st.lists(st.sampled_from((-1.5, 0.0, 0.25, 1.0, 3.0, float("inf"))), min_size=least, max_size=12).map(tuple)


POOLS = (
    np.array((-1.5, 0.0, 0.25, 1.0, 3.0, np.inf, -np.inf)),
    np.array((1.0, 1.0 + 2.0**-52, 1.0 - 2.0**-53, 5e-324, 0.0)),
    np.array((2**53, 2**53 + 1, 2**24, 2**24 + 1, -(2**63), 2**63 - 1)),
    np.array((0, 1, 2**63, 2**64 - 1), np.uint64),
    np.array((-128, 0, 127), np.int8),
    np.array((0.5, 0.5005, 1.0), np.float16),
    np.array((False, True)),
)
"""Scores of several dtypes, some so close that another dtype cannot tell them apart."""

LABELS = (
    np.array(("a", "ab", "b")),
    np.array((0.2, 0.7, -0.2)),
    np.array((-1, 0, 255)),
    np.array((2**53, 2**53 + 1)),
    np.array((False, True)),
)
"""Classes of several dtypes, some of which another dtype cannot tell apart."""


def drawn_from(pools: tuple[np.ndarray, ...], least: int = 1) -> st.SearchStrategy[np.ndarray]:
    """A vector of up to 12 elements of one of these arrays, in its dtype."""
    return st.sampled_from(pools).flatmap(
        lambda pool: st.lists(st.integers(0, len(pool) - 1), min_size=least, max_size=12).map(lambda each: pool[each])
    )


def plans(least: int = 1) -> st.SearchStrategy[Plan]:
    """Any small plan, over at least so many examples and at most 12."""
    return st.builds(
        Plan,
        scores(least),
        total_steps=st.integers(1, 12),
        batch_size=st.integers(1, 7),
        pacing=st.sampled_from(oracle.PACINGS),
        start=hundredths,
        full=st.sampled_from((0.3, 0.5, 0.8, 1.0, 1.5)),
        seed=st.integers(0, 3),
    )


def pacings(subject: Subject) -> list[str]:
    """The pacing functions that an implementation has: all, if it does not say."""
    return (
        [name for name in oracle.PACINGS if name in subject.PACINGS]
        if subject.provides("PACINGS")
        else [*oracle.PACINGS]
    )


def count(subject: Subject, pacing: str, step: int, pace: Pace) -> Any:
    """g(t) by the implementation."""
    return subject.visible_count(pacing, step, pace.total_steps, pace.size, start=pace.start, full=pace.full)


def plan_of(subject: Subject, plan: Plan, order: Any = None) -> Any:
    """The implementation's `Curriculum`, over the true order or another."""
    return subject.Curriculum(np.array(plan.order if order is None else order), **plan.arguments)


def draw(curriculum: Any, step: Any) -> list[int]:
    """The indices of a step, which must be a vector of integers."""
    __tracebackhide__ = True
    indices = np.asarray(curriculum.indices(step))
    check(
        indices.ndim == 1 and indices.dtype.kind in "iu",
        f"step {step} draws {indices.dtype} of shape {indices.shape}, expected a vector of integers",
    )
    return [int(index) for index in indices]


def draws(curriculum: Any, steps: int) -> list[list[int]]:
    """The indices of the first steps."""
    __tracebackhide__ = True
    return [draw(curriculum, step) for step in range(steps)]


def check_permutation(found: Any, size: int, what: str) -> list[int]:
    """An order as a list, if it holds each index once."""
    __tracebackhide__ = True
    array = np.asarray(found)
    check(
        array.dtype.kind in "iu" and sorted(array.ravel().tolist()) == list(range(size)) and array.ndim == 1,
        f"{what} is {array.tolist()}, expected each index from 0 to {size - 1} once",
    )
    return [int(index) for index in array]


def check_batches(found: Any, plan: Plan, expected: list[list[int]], what: str) -> None:
    """Whether batches of `plan.rows()` are those of the expected indices, in values, shapes and dtypes."""
    __tracebackhide__ = True
    inputs, targets = plan.rows()
    batches = list(found)
    check(len(batches) == len(expected), f"{what}: {len(batches)} batches, expected {len(expected)}")
    for number, ((got_inputs, got_targets), indices) in enumerate(zip(batches, expected, strict=True)):
        for got, wanted in ((got_inputs["inputs"], inputs["inputs"][indices]), (got_targets, targets[indices])):
            array = np.asarray(got)
            check(
                array.dtype == wanted.dtype and array.shape == wanted.shape and (array == wanted).all(),
                f"{what}: batch {number} is {array.dtype} {array.tolist()}, expected {wanted.dtype} {wanted.tolist()}",
            )


def check_uniform(orders: Sequence[tuple[int, ...]], what: str) -> None:
    """Whether orders of four are all 24 there are, each about as often as the others, by a chi-squared test.

    By chance it fails once in 10^9 times: that is the quantile of 23 degrees of freedom.
    """
    __tracebackhide__ = True
    counts, expected = Counter(orders), len(orders) / 24
    found = sum((counts[each] - expected) ** 2 for each in itertools.permutations(range(4))) / expected
    most, least = counts.most_common()[0], counts.most_common()[-1]
    check(
        found < 84.6,
        f"{what}: {len(counts)} of 24 orders of four in {len(orders)}, {most[0]} {most[1]} times and {least[0]} "
        f"{least[1]} times; expected each about {expected:.0f} times",
    )


class Pair(NamedTuple):
    """A named tuple, as data loaders give them."""

    inputs: Any
    targets: Any


def nests(size: int) -> dict[str, Any]:
    """Data of so many rows in every kind of nest, of several dtypes and ranks."""
    rows = np.arange(size)
    whole, bytes_ = rows.astype(np.int64) + 2**40, np.stack([rows, 255 - rows], axis=1).astype(np.uint8)
    exact, flags = (rows + 2.0**-40).reshape(size, 1, 1) * np.ones((1, 2, 3)), rows % 2 == 0
    return {
        "an array": exact,
        "a pair": (bytes_, flags),
        "a list": [whole, whole + 1],
        "a named tuple": Pair(exact, whole),
        "a dictionary of a list": {"both": [bytes_, exact], "flags": flags},
        "a named tuple of all": Pair({"one": (exact,)}, [flags, Pair(bytes_, whole)]),
    }


def check_rows(found: Any, data: Any, indices: list[int], what: str, *, lists: bool = True) -> None:
    """Whether a nest is that of the data's rows, in structure, names, values, shapes and dtypes.

    Args:
        found: what was handed over.
        data: of all rows.
        indices: of the rows that are expected.
        what: for the message.
        lists: whether a list must stay one; else it may be a tuple.
    """
    __tracebackhide__ = True
    if isinstance(data, dict):
        check(isinstance(found, dict) and found.keys() == data.keys(), f"{what}: {found!r}, expected a dictionary")
        for name, each in data.items():
            check_rows(found[name], each, indices, f"{what}, {name!r}", lists=lists)
    elif isinstance(data, tuple | list):
        kinds = (list, tuple) if isinstance(data, list) and not lists else type(data)
        check(
            isinstance(found, kinds) and len(found) == len(data), f"{what}: {found!r}, expected {type(data).__name__}"
        )
        for place, each in enumerate(data):
            check_rows(found[place], each, indices, f"{what}, place {place}", lists=lists)
    else:
        array, wanted = np.asarray(found), data[indices]
        check(
            array.dtype == wanted.dtype and np.array_equal(array, wanted),
            f"{what}: {array.dtype} {array.tolist()}, expected {wanted.dtype} {wanted.tolist()}",
        )


class Recorder(keras.metrics.Metric):
    """What the last batch consisted of, as a number: its targets, under 16, as hexadecimal digits."""

    def __init__(self) -> None:
        super().__init__(name="recorded")
        self.recorded = self.add_variable((), "zeros", name="recorded", dtype="float32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002 - Keras's
        """Read the targets of a batch."""
        digits = ops.cast(ops.reshape(y_true, (-1,)), "float32")
        powers = ops.convert_to_tensor(16.0 ** np.arange(digits.shape[0]), "float32")
        self.recorded.assign(ops.sum(digits * powers))

    def result(self) -> Any:
        """The number."""
        return self.recorded + 0.0


def fitted(dataset: Any, batch_size: int, steps_per_epoch: int, epochs: int) -> list[list[int]]:
    """The targets of each batch that `fit` trains on, in order, with `fit`'s own defaults."""
    recorded: list[int] = []
    inputs = keras.Input((2,), name="inputs")
    model = keras.Model({"inputs": inputs}, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", metrics=[Recorder()], run_eagerly=True, jit_compile=False)
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: recorded.append(int(logs["recorded"])))
    with quiet():
        model.fit(dataset, steps_per_epoch=steps_per_epoch, epochs=epochs, verbose=0, callbacks=[record])
    return [[number >> 4 * i & 15 for i in range(batch_size)] for number in recorded]


quiet = functools.partial(without_warnings, ".*shuffle=True. was passed", ".*__array__ implementation")
"""Without Keras's warnings: that an endless dataset is not shuffled, and of torch tensors as NumPy arrays."""


WRONG_PACES: dict[str, dict[str, Any]] = {
    "an unknown pacing": {"pacing": "sigmoid"},
    "a negative step": {"step": -1},
    "no steps": {"total_steps": 0},
    "no examples": {"size": 0},
    "a start over 1": {"start": 1.5},
    "a start that is NaN": {"start": math.nan},
    "a start under 0": {"start": -0.1},
    "a full point of 0": {"full": 0.0},
    "a full point under 0": {"full": -1.0},
    "a full point that is NaN": {"full": math.nan},
    "a full point that is infinite": {"full": math.inf},
}


WRONG_ORDERS: dict[str, tuple[Any, ...]] = {
    "a score that is NaN": ([1.0, math.nan], "curriculum"),
    "no score": ([], "curriculum"),
    "scores of rank 2": ([[1.0, 2.0]], "curriculum"),
    "scores that are text": (["1", "2"], "curriculum"),
    "an unknown kind": ([1.0, 2.0], "easy"),
}


WRONG_LABELS: dict[str, Any] = {
    "a label too few": ["a"],
    "a label too many": ["a", "b", "a"],
    "labels of rank 2": [["a"], ["b"]],
}


WRONG_THRESHOLDS: dict[str, tuple[int, float, float]] = {
    "a first threshold of 0": (1, 0.0, 1.3),
    "a first threshold that is NaN": (1, math.nan, 1.3),
    "a growth of 1": (1, 0.5, 1.0),
    "a round before the first": (-1, 0.5, 1.3),
}


WRONG_PLANS: dict[str, dict[str, Any]] = {
    "an order with an index twice": {"order": np.array([0, 0, 1])},
    "an order that lacks an index": {"order": np.array([0, 2])},
    "an empty order": {"order": np.array([], int)},
    "an order of fractions": {"order": np.array([0.0, 1.0])},
    "an order that counts from 1": {"order": np.array([1, 2, 3])},
    "an order from the end": {"order": np.array([-1, 0, 1])},
    "an order of rank 2": {"order": np.array([[0, 1]])},
    "an order of truth values": {"order": np.array([False, True])},
    "an empty batch": {"batch_size": 0},
    "no steps": {"total_steps": 0},
    "an unknown pacing": {"pacing": "sigmoid"},
    "a start under 0": {"start": -0.1},
    "a full point of 0": {"full": 0.0},
    "a full point that is NaN": {"full": math.nan},
    "a negative seed": {"seed": -1},
}


FINE = 2.0**-12
"""1 - FINE has 12 significant bits: float32 holds it, float16 and bfloat16 round it to 1."""


class Teacher:
    """A model of known outputs, index * FINE in the compute dtype, that notes which rows it sees."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.seen: list[list[int]] = []

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """Outputs `(B, 2)`."""
        rows = np.asarray(inputs["inputs"])[:, 0]
        self.seen.append([int(row) for row in rows])
        return ops.cast(np.stack([rows * FINE, rows * 0], axis=1) * (1 + training), self.dtype)


def distance(targets: Any, outputs: Any) -> Any:
    """|target - output|, `(B, 2)`: exact in float32."""
    return ops.abs(ops.cast(targets, outputs.dtype) - outputs)


def scored(
    subject: Subject, size: int = 10, loss: Any = distance, dtype: str | None = None, **batch_size: int
) -> tuple[Teacher, Any]:
    """The teacher, and the scores of rows that it is off by 1 - index * FINE and by 1."""
    inputs, _ = Plan(scores=(0.0,) * size).rows()
    teacher = Teacher(dtype or subject.compute_dtype)
    with quiet():
        return teacher, subject.teacher_losses(teacher, inputs, np.ones((size, 2), np.int32), loss, **batch_size)


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "one value per example": lambda targets, outputs: ops.mean(distance(targets, outputs), axis=-1),
    "two values per example": distance,
    "a matrix per example": lambda targets, outputs: ops.expand_dims(distance(targets, outputs), 1),
}
"""Losses with the same mean for each example, `(B,)`, `(B, 2)` and `(B, 1, 2)`."""
