"""Schedules and batch size: a learning rate that follows the step, and stays right when the batch changes.

The problem. One learning rate does not suit a whole training run: what is stable at the start is slow later, and what
is fast later diverges at the start or never settles at the end. And a rate that suits one batch size does not suit
another, while a batch that pays may not fit into memory. What helps, one function each, at step t:

    warm-up             start + (rate - start) t / w          Goyal et al. 2017, arXiv:1706.02677, section 2.2
    inverse root        peak min(t / w, sqrt(w / t))          Vaswani et al. 2017, arXiv:1706.03762, section 5.3
    cosine              floor + (peak - floor) (1 + cos(pi t / T)) / 2, with restarts: Loshchilov and Hutter 2017,
                        arXiv:1608.03983, equation 5
    step decay          rates[number of boundaries <= t]      Goyal et al., section 5.1
    one cycle           up to a peak, down to next to nothing: Smith and Topin 2017, arXiv:1708.07120, section 3
    range test          try all rates in one short run        Smith 2015, arXiv:1506.01186, section 3.3
    linear scaling      k times the batch, k times the rate   Goyal et al., section 2.1
    accumulation        g = sum_j (n_j / n) g_j               n_j examples in micro-batch j, n = sum_j n_j
    momentum            u = m u + g;  w = w - rate u          Goyal et al., equation 9

The step is the number of updates made so far, as in Keras: 0 at the first. Integer steps are compared, subtracted and
reduced as integers, and only the fraction t / T becomes floating point, so that no step is lost past 2^24, where
float32 stops counting. Rates are float32, or float64 for a float64 step, under every dtype policy; interpolation is
`(1 - share) start + share end`, which is exact at both ends. The length of a decay excludes the warm-up before it.

Deviations: the inverse root gives step 0 the rate of step 1 (the paper counts from 1); one cycle interpolates by
cosines and in two phases, as optax and torch do (the paper: three straight lines); the range test sweeps geometrically
(the paper: linearly); weight decay is Keras's, apart from the velocity (Goyal et al.: inside of it).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from reference._range_test import RangeTest, range_test, smoothed  # noqa: F401 - the contract's

Tensor = Any  # a tensor of the backend in use, or what it converts: a number, a NumPy array, a keras.Variable
Rate = Callable[[Tensor], Tensor]  # from a step to its learning rate

LAST_STEP = 2**31 - 1  # JAX counts in int32
serializable = keras.saving.register_keras_serializable(package="touchstone")

# Learning rates as functions of the step, which is a number or a tensor of any shape; the rates have its shape.
# Numbers of steps must be positive integers, or ValueError is raised.


@serializable
def warm_up(step: Tensor, *, rate: float, steps: int, start: float = 0.0) -> Tensor:
    """From `start` at step 0 in a straight line to `rate` at step `steps`, and `rate` ever after."""
    _positive_integers(steps=steps)
    return _between(start, rate, _progress(step, steps))


@serializable
def inverse_square_root(step: Tensor, *, peak: float, warm_up_steps: int) -> Tensor:
    """Up in a straight line to `peak` at step `warm_up_steps`, then down as 1 / sqrt(step).

    The Transformer's rate, d^-0.5 min(t^-0.5, t w^-1.5), has `peak = (d * w) ** -0.5` with the model size d.
    """
    _positive_integers(warm_up_steps=warm_up_steps)
    ratio = _floating(ops.maximum(_counted(step), 1)) / warm_up_steps
    return peak * ops.minimum(ratio, 1 / ops.sqrt(ratio))


@serializable
def cosine(step: Tensor, *, peak: float, steps: int, floor: float = 0.0) -> Tensor:
    """From `peak` at step 0 along half a cosine to `floor` at step `steps`, and `floor` ever after."""
    _positive_integers(steps=steps)
    return _cosine_between(peak, floor, _progress(step, steps))


@serializable
def cosine_restarts(step: Tensor, *, peak: float, steps: int, floor: float = 0.0, growth: int = 1) -> Tensor:
    """`cosine` again and again: from `peak` for `steps` steps, then for `growth` times as many, and so on."""
    _positive_integers(steps=steps, growth=growth)
    step = _counted(step)
    if growth == 1:
        begin = step - step % steps
    else:  # cycle i begins at steps (growth^i - 1) / (growth - 1); a list of at most 31 spares us a logarithm
        begins = [0]
        while begins[-1] * growth + steps <= LAST_STEP:
            begins.append(begins[-1] * growth + steps)
        tensor = ops.convert_to_tensor(begins, dtype=step.dtype)  # (cycles,)
        begin = ops.max(ops.where(ops.expand_dims(step, -1) >= tensor, tensor, 0), axis=-1)
    length = _floating(begin) * (growth - 1) + steps
    return _cosine_between(peak, floor, _progress(step - begin, length))


@serializable
def step_decay(step: Tensor, *, rates: Sequence[float], boundaries: Sequence[int]) -> Tensor:
    """`rates[0]`, and from each step in `boundaries`, which may be none, on the next one of `rates`."""
    _positive_integers(**{f"boundaries[{i}]": boundary for i, boundary in enumerate(boundaries)})
    if len(rates) != len(boundaries) + 1 or any(a >= b for a, b in itertools.pairwise(boundaries)):
        raise ValueError(f"one rate more than rising boundaries is expected; they are {rates} and {boundaries}")
    step = _counted(step)
    passed = ops.expand_dims(step, -1) >= ops.convert_to_tensor(list(boundaries), dtype=step.dtype)
    table = ops.convert_to_tensor(list(rates), dtype=_floating(step).dtype)
    return ops.take(table, ops.sum(passed, axis=-1))


@serializable
def one_cycle(step: Tensor, *, start: float, peak: float, end: float, steps: int, warm_up_steps: int) -> Tensor:
    """From `start` to `peak` in `warm_up_steps` and on to `end` at step `steps`, both along half a cosine.

    Turned over, it is the momentum of the same cycle: `one_cycle(step, start=0.95, peak=0.85, end=0.95, ...)`.
    """
    _positive_integers(steps=steps, warm_up_steps=warm_up_steps)
    if warm_up_steps >= steps:
        raise ValueError(f"`warm_up_steps` must be less than `steps`; they are {warm_up_steps} and {steps}")
    step = _counted(step)
    up = _cosine_between(start, peak, _progress(step, warm_up_steps))
    down = _cosine_between(peak, end, _progress(step - warm_up_steps, steps - warm_up_steps))
    return ops.where(step < warm_up_steps, up, down)


@serializable
def with_warm_up(step: Tensor, *, schedule: Rate, steps: int, start: float = 0.0) -> Tensor:
    """A warm-up from `start` to the first rate of any function of the step, which begins at step `steps`."""
    return warm_up(step, rate=schedule(ops.maximum(_counted(step) - steps, 0)), steps=steps, start=start)


@serializable
def per_update(step: Tensor, *, schedule: Rate, micro_batches: int) -> Tensor:
    """A schedule that is shown micro-batches, of which so many make an update, and counts whole updates."""
    _positive_integers(micro_batches=micro_batches)
    return schedule(_counted(step) // micro_batches)


@serializable
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """One of the functions above with all but its step fixed: `Schedule(cosine, peak=0.1, steps=1000)`.

    It goes wherever Keras takes a learning rate, and is saved with the optimizer. A function of one's own can be saved
    too if it is registered with Keras, as those above are.

    Example:
        >>> decay = Schedule(cosine, peak=0.1, steps=1000)
        >>> optimizer = keras.optimizers.SGD(Schedule(with_warm_up, schedule=decay, steps=100))

    Raises:
        ValueError: the function refuses the parameters. TypeError: it does not take them.
    """

    def __init__(self, function: Callable[..., Tensor], **parameters: Any) -> None:
        super().__init__()
        self.function, self.parameters = function, parameters
        self(0)  # so that it is refused here, and not in the first step of a training run

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate at a step."""
        return self.function(step, **self.parameters)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return keras.saving.serialize_keras_object({"function": self.function, **self.parameters})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        """The schedule again."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _counted(step: Tensor) -> Tensor:
    """The step in an integer type that holds large steps, or in float32 at least."""
    step = ops.convert_to_tensor(step)
    wide = "int32" if "int" in keras.backend.standardize_dtype(step.dtype) else "float32"
    return ops.cast(step, keras.backend.result_type(step.dtype, wide))


def _floating(step: Tensor) -> Tensor:
    """A step that was counted, in float32 at least."""
    return ops.cast(step, keras.backend.result_type(step.dtype, "float32"))


def _progress(step: Tensor, steps: Tensor) -> Tensor:
    """Step / steps, from 0 to 1."""
    return ops.clip(_floating(_counted(step)) / steps, 0.0, 1.0)


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """`start` where the share is 0, `end` where it is 1, both exactly."""
    return (1 - share) * start + share * end


def _cosine_between(start: float, end: float, progress: Tensor) -> Tensor:
    return _between(start, end, (1 - ops.cos(math.pi * progress)) / 2)


def _positive_integers(**numbers: Any) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"`{name}` must be a positive integer; it is {number!r}")


# Batch size


def scale_learning_rate(rate: float, *, batch: int, base_batch: int, rule: str = "linear") -> float:
    """The rate for another batch size than the one that `rate` suits.

    Args:
        rate: the learning rate at `base_batch` examples per update.
        batch: examples per update, on all devices and in all micro-batches together.
        base_batch: the batch size that `rate` was chosen for.
        rule: "linear" keeps the expected sum of updates over an epoch (Goyal et al., section 2.1); "sqrt" keeps its
            variance (Krizhevsky 2014, arXiv:1404.5997, section 5).

    Raises:
        ValueError: a batch is no positive integer, or the rule is unknown.
    """
    _positive_integers(batch=batch, base_batch=base_batch)
    powers = {"linear": 1.0, "sqrt": 0.5}
    if rule not in powers:
        raise ValueError(f"`rule` must be one of {', '.join(powers)}; it is {rule!r}")
    return rate * (batch / base_batch) ** powers[rule]


def accumulated_gradients(
    gradients_of: Callable[..., Sequence[Tensor]],
    micro_batches: Iterable[Sequence[Tensor]],
    *,
    weight: Callable[..., Tensor] | None = None,
) -> list[Tensor]:
    """The gradients of the mean loss over all examples, from one micro-batch at a time.

    g = sum_j (n_j / n) g_j: every micro-batch counts by its size, or else by the weight that it is given. A loss that
    is a mean over tokens which a mask counts needs their number: micro-batches with 1 and 3 of them count 1/4 and 3/4,
    however many sequences they hold. One that counts nothing adds nothing, even if its mean is NaN. With batch
    normalisation the result is not that of one large batch, since every micro-batch is normalised by itself.

    Args:
        gradients_of: from the arrays of a micro-batch to the gradients of the mean loss over it.
        micro_batches: tuples of arrays with the examples on the first axis; taken one at a time, so that a generator
            keeps only one in memory.
        weight: from the same arrays to a scalar, n_j: how much the mean over that micro-batch is a mean of; the number
            of its examples if None.

    Returns:
        A tensor for each gradient, in its shape, added up in float32 at least; zeros where nothing counted.

    Raises:
        ValueError: there is no micro-batch.
    """
    sums: list[Tensor] = []
    sizes = []
    for micro_batch in micro_batches:
        # The size is a tensor where a trace does not know it.
        sizes.append(ops.shape(micro_batch[0])[0] if weight is None else weight(*micro_batch))
        gradients = [_floating(ops.convert_to_tensor(gradient)) for gradient in gradients_of(*micro_batch)]
        weighted = [_sum_of(each, sizes[-1]) for each in gradients]
        sums = [ops.add(*pair) for pair in zip(sums, weighted, strict=True)] if sums else weighted
    if not sizes:
        raise ValueError("gradients are accumulated over one micro-batch at least; there was none")
    total = sum(sizes[1:], start=sizes[0])
    return [each / ops.cast(ops.where(ops.equal(total, 0), 1, total), each.dtype) for each in sums]


def _sum_of(gradient: Tensor, size: Tensor) -> Tensor:
    """The gradient times the size of what it is a mean over, which of nothing is 0."""
    size = ops.cast(size, gradient.dtype)
    return size * ops.where(size == 0, ops.zeros_like(gradient), gradient)


def accumulating(
    optimizer: Callable[..., keras.optimizers.Optimizer], rate: float | Rate, micro_batches: int, **options: Any
) -> keras.optimizers.Optimizer:
    """`optimizer(rate, **options)`, updating once in so many micro-batches; for `train_on_micro_batches`.

    Keras shows a schedule the number of micro-batches, not of updates; it is made to count updates here. The other
    options, such as momentum, weight decay and clipping, act on the mean gradient once per update.

    Raises:
        ValueError: `micro_batches` is no positive integer; or more than one with `use_ema`, since Keras would move
            averages of the weights with every micro-batch.
    """
    _positive_integers(micro_batches=micro_batches)
    if micro_batches == 1:
        return optimizer(rate, **options)
    if options.get("use_ema"):
        raise ValueError("Keras moves averages of the weights with every micro-batch; leave out `use_ema`")
    if callable(rate):
        rate = Schedule(per_update, schedule=rate, micro_batches=micro_batches)
    return optimizer(rate, gradient_accumulation_steps=micro_batches, **options)


def train_on_micro_batches(model: keras.Model, x: Tensor, y: Tensor, *, size: int) -> float:
    """One update of a compiled model by a batch, of which only `size` examples at a time take up memory.

    Args:
        model: its optimizer is made by `accumulating`; its loss takes the mean over the examples, Keras's default.
        x: inputs of all examples of the batch, on the first axis.
        y: their targets.
        size: of a micro-batch; the last one may be smaller, and counts by its size.

    Returns:
        The mean loss over all examples, before the update.

    Raises:
        ValueError: the optimizer updates after another number of micro-batches than the batch has, or its loss scale
            may skip single ones.
    """
    _positive_integers(size=size)
    examples, micro_batches = len(x), math.ceil(len(x) / size)
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError("a loss scale may skip single micro-batches; compile with `auto_scale_loss=False`")
    expected = model.optimizer.gradient_accumulation_steps or 1
    if micro_batches != expected:
        raise ValueError(f"{examples} examples are {micro_batches} micro-batches of {size}; expected {expected}")
    loss = 0.0
    for begin in range(0, examples, size):
        part = slice(begin, begin + size)
        share = len(x[part]) * micro_batches / examples
        # Keras takes the mean over micro-batches; this weight, where it is not 1, makes it one over examples.
        weight = None if examples % size == 0 else np.full(len(x[part]), share, "float32")
        loss += model.train_on_batch(x[part], y[part], sample_weight=weight, return_dict=True)["loss"] / micro_batches
    return float(loss)


@serializable
class MomentumSGD(keras.optimizers.Optimizer):
    """Momentum whose velocity holds gradients, without their rates: u = m u + g, w = w - rate u.

    `keras.optimizers.SGD` keeps the rate inside of the velocity, so that after a change of the rate old gradients go on
    at the old one; Goyal et al. (section 3, remark 2) call for a correction, which this form does not need.

    Args:
        learning_rate: a number or a schedule; it may be 0.
        momentum: m, at least 0 and less than 1.
        **kwargs: of every Keras optimizer.

    Raises:
        ValueError: the momentum is out of range.
    """

    def __init__(self, learning_rate: float | Rate = 0.01, momentum: float = 0.9, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be at least 0 and less than 1; it is {momentum}")
        self.momentum = momentum

    def build(self, variables: list[keras.Variable]) -> None:
        """Create a velocity for each variable."""
        if not self.built:
            super().build(variables)
            self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        """Update one variable."""
        velocity = self.velocities[self._get_variable_index(variable)]
        self.assign(velocity, self.momentum * velocity + ops.cast(gradient, velocity.dtype))
        self.assign_sub(variable, learning_rate * velocity)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), "momentum": self.momentum}
