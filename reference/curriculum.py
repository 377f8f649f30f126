"""Curriculum learning: show the easy examples first, and let in the harder ones step by step.

The problem. Batches are drawn from all examples alike, so that a network meets the most confusing ones before it knows
anything. The cure (Bengio et al. 2009). Order the N examples by difficulty, and let training step t draw only from the
g(t) easiest. Three choices make a curriculum: a *score* of each example's difficulty, an *order* by that score, and a
*pacing function* g that grows from b N at step 0 to N at step a T of T (Hacohen and Weinshall 2019, arXiv:1904.03626;
Wu, Dyer and Neyshabur 2021, arXiv:2012.03107, whose six pacing functions these are). With p = min(1, t / (a T)):

    g(t) = floor(N (b + (1 - b) r(p)))    r(p) = floor(p), p, p^2, sqrt(p), (e^10p - 1) / (e^10 - 1),
                                                 or 1 + ln(p + e^-10) / 10

Whether it helps is to be measured against three arms with the same number of steps and examples: *vanilla* (all visible
from the start), *random* (the same pacing over a random order) and *anti* (the hardest first). Wu et al. find random
orders as good on standard data, and a gain by easy ones only when time is short or labels are noisy.

Here a `Curriculum` is a frozen plan: what step t draws is a function of t alone. So no epoch has to advance, and no
state has to be saved but the step to resume in the middle of an epoch. Examples come in *passes*: each pass takes those
visible when it begins, every one once, shuffled. Batches are cut from the passes laid end to end, so that all are full,
no tail is lost, and a batch larger than the visible set draws from several passes.

Deviations: g is clamped to [1, N], which the published code leaves out; a and b count as they are written in decimal
(0.29 of 100 examples is 29); Hacohen and Weinshall's fixed exponential pacing, N min(1, b i^floor(t / s)), rounds down
too, and takes its increase i and step length s from a and b; self-paced weights (Kumar, Packer and Koller 2010) always
keep the easiest example.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from reference._curriculum_batches import (  # noqa: F401 - the contract's
    CurriculumDataset,
    Data,
    batches,
    row_count,
    rows_of,
    to_tf_data,
)

# Pacing: how many examples are visible

STAGES = 5
"""Increases of the fixed exponential pacing, all by the same factor: b^(-1/5), after every fifth of a T steps."""

PACINGS: dict[str, Callable[[float, float], float]] = {
    "step": lambda p, b: b + (1 - b) * math.floor(p),
    "linear": lambda p, b: b + (1 - b) * p,
    "quadratic": lambda p, b: b + (1 - b) * p**2,
    "root": lambda p, b: b + (1 - b) * math.sqrt(p),
    "exponential": lambda p, b: b + (1 - b) * math.expm1(10 * p) / math.expm1(10),
    "logarithmic": lambda p, b: b + (1 - b) * (1 + math.log(p + math.exp(-10)) / 10),
    "fixed_exponential": lambda p, b: b ** (1 - math.floor(STAGES * p) / STAGES),
}
"""The visible fraction of the examples, from progress p (0 to 1) and the fraction b to start with."""

NUDGE = 1 + 2.0**-40
"""Lifts what rounding has left just under a whole number; no number of examples is large enough to notice it."""


def visible_count(pacing: str, step: int, total_steps: int, size: int, *, start: float = 0.2, full: float = 0.8) -> int:
    """The pacing function g(t): how many of the easiest examples are visible at a step.

    Args:
        pacing: a name in `PACINGS`.
        step: t, 0 or more; it may exceed `total_steps`.
        total_steps: T.
        size: N.
        start: b, the fraction visible at step 0, from 0 to 1.
        full: a, the fraction of T after which all are visible; above 0 and finite. Above 1 it is reached after step T.

    Returns:
        From 1 to N; never less than at an earlier step.

    Raises:
        ValueError: an argument is out of range.
    """
    if pacing not in PACINGS:
        raise ValueError(f"unknown pacing {pacing!r}; expected one of: {', '.join(PACINGS)}")
    for name, value, least in (("step", step, 0), ("total_steps", total_steps, 1), ("size", size, 1)):
        if operator.index(value) < least:
            raise ValueError(f"`{name}` must be at least {least}; it is {value}")
    if not 0 <= start <= 1:
        raise ValueError(f"`start` must be a fraction from 0 to 1; it is {start}")
    if not 0 < full < math.inf:
        raise ValueError(f"`full` must be a fraction above 0 and finite; it is {full}")
    progress = min(1.0, step / (full * total_steps) * NUDGE)
    return min(size, max(1, math.floor(size * PACINGS[pacing](progress, start) * NUDGE)))


# Scores: how difficult an example is


def teacher_losses(
    model: Callable[..., Any], inputs: Data, targets: Data, loss: Callable[[Any, Any], Any], batch_size: int = 256
) -> NDArray[np.floating]:
    """Score each example by the loss that a trained model has on it; every example passes through the model once.

    The model may be a larger one (transfer scoring) or the same one trained without a curriculum (bootstrapping).

    Args:
        model: called as `model(inputs, training=False)`.
        inputs: what the model takes, N rows.
        targets: what the loss takes, N rows.
        loss: of targets and outputs, one value or more per example, such as
            `keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")`. The outputs reach it in
            float32 at least: in half precision many losses are equal.
        batch_size: examples per call of the model.

    Returns:
        `(N,)`, the mean of the values of each example.

    Raises:
        ValueError: the arrays have different lengths, or the loss is not one per example.
    """
    size = row_count((inputs, targets))
    losses = []
    for begin in range(0, size, batch_size):
        rows = slice(begin, min(begin + batch_size, size))
        x, y = rows_of((inputs, targets), rows)
        outputs = model(x, training=False)
        values = ops.convert_to_numpy(loss(y, ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))))
        if values.shape[:1] != (rows.stop - begin,):
            raise ValueError(f'`loss` must give a value per example (reduction="none"); its shape is {values.shape}')
        losses.append(values.reshape(len(values), -1).mean(axis=1))
    return np.concatenate(losses)


def self_paced_weights(losses: ArrayLike, threshold: float) -> NDArray[np.float32]:
    """The 0 or 1 weights v that minimise sum v_i (loss_i - threshold): 1 where the loss is under the threshold.

    Kumar, Packer and Koller 2010, with 1 / K for the threshold. The easiest example has weight 1 even where its loss is
    not under the threshold, so that training never stands still. The weights serve as `sample_weight`.

    Args:
        losses: `(N,)`, of the model as it is now.
        threshold: grows with the rounds, see `self_paced_threshold`.

    Returns:
        `(N,)` float32.

    Raises:
        ValueError: losses of the wrong shape, or NaN.
    """
    losses = _numbers("losses", losses)
    return ((losses < threshold) | (losses == losses.min())).astype(np.float32)


def self_paced_threshold(round_number: int, first: float, growth: float = 1.3) -> float:
    """The threshold of a round, first * growth^round: in the end every example has weight 1.

    Raises:
        ValueError: `first` is not above 0, `growth` not above 1, or the round is negative.
    """
    if not (first > 0 and growth > 1 and round_number >= 0):
        raise ValueError(f"expected first > 0, growth > 1 and round >= 0; got {first}, {growth} and {round_number}")
    with np.errstate(over="ignore"):  # infinity is a threshold, too
        return float(first * np.float64(growth) ** round_number)


# Order: which examples come first

KINDS = ("curriculum", "anti", "random")


def order(
    scores: ArrayLike, kind: str = "curriculum", *, seed: int = 0, labels: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Order examples by their scores.

    Args:
        scores: `(N,)` real numbers of any dtype, higher is harder; they are compared as they are given. Infinity is
            allowed, NaN is not.
        kind: "curriculum", the easiest first; "anti", the hardest first; or "random", whatever the scores are. Equal
            scores stay in the order of their indices.
        seed: of the random order, 0 or more.
        labels: `(N,)`, of any dtype that can be sorted. If given, the classes take turns in an order that is otherwise
            the same, so that in every prefix their counts differ by at most one, as long as no class is used up.

    Returns:
        `(N,)`, each index once.

    Raises:
        ValueError: scores or labels of the wrong shape, NaN, or an unknown kind.
    """
    scores = _numbers("scores", scores)
    ranks = np.unique(scores, return_inverse=True)[1]  # integers can be negated whatever the dtype of the scores is
    if kind == "curriculum":
        ordered = np.argsort(ranks, kind="stable")
    elif kind == "anti":
        ordered = np.argsort(-ranks, kind="stable")
    elif kind == "random":
        ordered = np.random.default_rng([seed, 0]).permutation(len(scores))
    else:
        raise ValueError(f"unknown kind {kind!r}; expected one of: {', '.join(KINDS)}")
    if labels is None:
        return ordered
    labels = np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"`labels` must have the shape of the scores, {scores.shape}; it is {labels.shape}")
    return ordered[np.argsort(_occurrence(labels[ordered]), kind="stable")]


def _occurrence(labels: NDArray[Any]) -> NDArray[np.int64]:
    """How often each label has come before: [a b a a b] to [0 0 1 2 1]."""
    sizes = np.unique(labels, return_counts=True)[1]
    before = np.empty(len(labels), np.int64)
    before[np.argsort(labels, kind="stable")] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return before


# The plan: what each step draws


@dataclass(frozen=True, eq=False)
class Curriculum:
    """A plan of training: the examples of every step, drawn from those visible.

    With `start=1` it is vanilla training: shuffled passes over all N, the same for every order and pacing. The plan
    goes on after its last step, with all examples visible once `full` is reached.

    Attributes:
        order: `(N,)` integers of any dtype, each index once, the easiest first; kept as a read-only copy.
        total_steps: T.
        batch_size: B, examples in each step.
        pacing: a name in `PACINGS`.
        start: b, the fraction visible at step 0, from 0 to 1.
        full: a, the fraction of T after which all are visible.
        seed: of the shuffles, 0 or more.

    Raises:
        ValueError: an argument is out of range, or `order` is no permutation.

    Example:
        >>> plan = Curriculum(order([0.3, 0.1, 0.2]), total_steps=10, batch_size=1, start=0.4)
        >>> plan.visible(0).tolist(), plan.visible(9).tolist(), plan.indices(0).tolist()
        ([1], [1, 2, 0], [1])
    """

    order: NDArray[np.int64]
    total_steps: int
    batch_size: int
    pacing: str = "linear"
    start: float = 0.2
    full: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        copy = np.array(self.order)
        if copy.ndim != 1 or copy.dtype.kind not in "iu" or not np.array_equal(np.sort(copy), np.arange(copy.size)):
            raise ValueError(f"`order` must hold each index from 0 to N - 1 once; it is {self.order!r}")
        copy = copy.astype(np.int64)
        copy.flags.writeable = False
        object.__setattr__(self, "order", copy)
        self._count(0)  # refuses what is wrong with the pace
        for name, value, least in (("batch_size", self.batch_size, 1), ("seed", self.seed, 0)):
            if operator.index(value) < least:
                raise ValueError(f"`{name}` must be at least {least}; it is {value}")

    def visible(self, step: int) -> NDArray[np.int64]:
        """The indices visible at a step, `(g(t),)`, the easiest first."""
        return self.order[: self._count(step)]

    def indices(self, step: int) -> NDArray[np.int64]:
        """The indices that a step draws, `(B,)`."""
        step = operator.index(step)  # in the small integers of NumPy the product below would wrap
        if step < 0:
            raise ValueError(f"`step` must be 0 or more; it is {step}")
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        drawn = []
        while position < end:
            number, begin, size = self._pass_at(position)
            drawn.append(_shuffled(self, number, size)[position - begin : end - begin])
            position = begin + size
        return np.concatenate(drawn)

    def steps(self, first: int = 0) -> range:
        """The steps from `first` to the last; ValueError if there is no such step."""
        if not 0 <= operator.index(first) <= self.total_steps:
            raise ValueError(f"the first step must be from 0 to {self.total_steps}; it is {first}")
        return range(first, self.total_steps)

    def _count(self, step: int) -> int:
        return visible_count(self.pacing, step, self.total_steps, len(self.order), start=self.start, full=self.full)

    @functools.cached_property
    def _begins(self) -> NDArray[np.int64]:
        """Where each pass begins, counted in examples drawn before it; the last is the first over all N."""
        begins, size = [0], self._count(0)
        while size < len(self.order):
            begins.append(begins[-1] + size)
            size = self._count(begins[-1] // self.batch_size)
        return np.array(begins)

    def _pass_at(self, position: int) -> tuple[int, int, int]:
        """The number, the beginning and the size of the pass to which a position belongs."""
        begins, size = self._begins, len(self.order)
        if position >= begins[-1]:
            further, within = divmod(position - int(begins[-1]), size)
            return len(begins) - 1 + further, position - within, size
        number = int(np.searchsorted(begins, position, side="right")) - 1
        return number, int(begins[number]), int(begins[number + 1] - begins[number])


@functools.lru_cache(maxsize=4)  # the steps of a pass follow each other
def _shuffled(plan: Curriculum, number: int, size: int) -> NDArray[np.int64]:
    """The indices of a pass, in the order in which it draws them. Sorted first: only which are visible counts."""
    return np.random.default_rng([plan.seed, 1 + number]).permutation(np.sort(plan.order[:size]))


def arms(
    scores: ArrayLike, *, start: float = 0.2, seed: int = 0, labels: ArrayLike | None = None, **plan: Any
) -> dict[str, Curriculum]:
    """The plans to compare, with the same steps, batches and seed: "vanilla", "curriculum", "anti" and "random".

    Args:
        scores: as in `order`.
        start: as in `Curriculum`, of all but vanilla, which starts with 1.
        seed: of the random order and of the shuffles.
        labels: as in `order`.
        **plan: the other arguments of `Curriculum`: total_steps, batch_size, pacing, full.
    """
    orders = {kind: order(scores, kind, seed=seed, labels=labels) for kind in KINDS}
    paced = {kind: Curriculum(ordered, start=start, seed=seed, **plan) for kind, ordered in orders.items()}
    return {"vanilla": Curriculum(orders["curriculum"], start=1.0, seed=seed, **plan), **paced}


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Values as a vector of real numbers, at least one and none of them NaN."""
    array = np.asarray(values)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biuf" or np.isnan(array).any():
        raise ValueError(f"`{name}` must be a vector of one number or more, without NaN; got {array!r}")
    return array
