"""Monitoring and profiling: watch a training run without touching it.

The problem. A loss curve shows late that training has gone wrong, and not where: gradients that vanish or explode with
depth, rectifiers that are zero for every example, steps too large for the weights that they move, the first layer with
a NaN, a validation loss that has turned. Each of these is a number that can be read while training goes on.

    |g|           = sqrt(sum_i |g_i|^2)                                  gradient norm, global over all weights
    n, m, M2      = n_a + n_b,  m_a + d n_b / n,  M2_a + M2_b + d^2 n_a n_b / n,  d = m_b - m_a
                    count, mean, and sum of squared deviations of two batches together: Chan, Golub and LeVeque (1983),
                    equations 1.5; the variance is M2 / n
    dead          = the part of a layer's units that are zero for every example of the whole data set, not of one batch
    update ratio  = |w_after - w_before| / |w_before|                    how far a step moves the weights
    stopping      : improved if value < best - min_delta; stop after `patience` epochs in a row without
                    (Prechelt 1998, "Early stopping, but when?", whose criterion UP_s it resembles)

What is measured is measured beside training, not in it: every so many steps `Monitor` sends a probe, held-out examples
that never change, through the network as it stands, in inference mode. So weights, optimizer, BN statistics, random
state and the compiled training step are exactly those of a run that nobody watches, at the price of a forward and a
backward pass over the probe. To measure inside the training step would be cheaper, and would change what is compiled.

Shapes: activations (B, ..., C) have C units, one per channel; statistics of a layer are arrays (C,).

Deviations, by name: *dead* is exactly zero, so that a saturated sigmoid is not; *NaN is never an improvement*, and so
never the best value either, where Keras takes a first one for the best; a quantity that cannot be measured is None,
never 0. `profile` reads TensorFlow's own trace; everything else runs on every backend.
Early stopping stands in `reference/_early_stopping.py`, memory and profiles in `reference/_profiling.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from reference._early_stopping import EarlyStopping, Progress, progress  # noqa: F401 - the contract's
from reference._profiling import Memory, Profile, Row, device_memory, host_memory, profile  # noqa: F401 - the contract's

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array, a keras.Variable


# Gradients and updates


class Norms(NamedTuple):
    """Euclidean norms: of each tensor, float32 scalars in their order, and of all of them together."""

    each: list[Tensor]
    total: Tensor


def gradient_norms(gradients: Sequence[Tensor | None]) -> Norms:
    """|g_i| and sqrt(sum_i |g_i|^2); a gradient that is None, as of a weight without influence, has norm 0.

    Of no gradients at all the norm is 0. Rows of a sparse gradient (TensorFlow's IndexedSlices) that occur twice are
    summed first.
    Squares are taken in float32 at least, of parts of the largest number. So a norm overflows only where it is itself
    too large, and it is linear in a power of two, such as a loss scale, to the bit.
    """
    each = [_norm(gradient) for gradient in gradients]
    return Norms(each, _norm(ops.stack(each)) if each else ops.zeros(()))


def _norm(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        return ops.zeros(())
    tensor = _float(tensor)
    largest = ops.max(ops.absolute(tensor))
    scale = ops.where((largest > 0) & ops.isfinite(largest), largest, ops.ones_like(largest))
    return scale * ops.sqrt(ops.sum(ops.square(tensor / scale)))


def _float(tensor: Tensor) -> Tensor:
    """In float32 at least; the gradient of an embedding becomes dense, with rows that occur twice summed."""
    tensor = ops.convert_to_tensor(tensor)
    return ops.cast(tensor, keras.backend.result_type(tensor.dtype, "float32"))


def update_ratio(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """|after - before| / |before| over all weights together: how far a step moves them; from all zero, infinity."""
    moved = gradient_norms([_float(b) - _float(a) for a, b in zip(before, after, strict=True)]).total
    start = gradient_norms(before).total
    one = ops.ones_like(start)
    ratio = moved / ops.where(start > 0, start, one)
    return ops.where((start > 0) | (moved == 0), ratio, one * math.inf)


def first_non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor, in the mapping's order, that holds NaN or infinity; None if none does."""
    if not tensors:
        return None
    return _first(tensors, _numpy(_finite(list(tensors.values()))))


def _finite(tensors: Sequence[Tensor]) -> Tensor:
    """For each tensor, whether all in it is finite; as one tensor, which is read at once."""
    return ops.stack([ops.all(ops.isfinite(_float(tensor))) for tensor in tensors])


def _first(names: Iterable[str], finite: np.ndarray) -> str | None:
    """The first name of what is not finite."""
    return next((name for name, fine in zip(names, finite, strict=True) if not fine), None)


def _numpy(tensor: Tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


# Activations


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is known of the C units of a layer after n numbers of each, in float64.

    Attributes:
        count: n.
        mean: (C,).
        deviations: (C,), the sum of squared deviations from the mean.
        active: (C,) bool, whether the unit was ever other than zero.
    """

    count: int
    mean: np.ndarray
    deviations: np.ndarray
    active: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Of each unit, over all that was seen: (C,)."""
        return self.deviations / self.count

    @property
    def dead(self) -> float:
        """The part of the units that were zero throughout."""
        return float(1 - np.mean(self.active))


def unit_statistics(activations: Tensor) -> Statistics:
    """Of one batch (B, ..., C) of a layer's activations.

    Raises:
        ValueError: fewer than two axes, or nothing in the batch.
    """
    shape = tuple(activations.shape)
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"activations must be (B, ..., C) and not empty; their shape is {shape}")
    return _read(_moments(activations))


def _moments(activations: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of `Statistics` as tensors, by two passes in float32 at least."""
    numbers = ops.reshape(_float(activations), (-1, activations.shape[-1]))  # (n, C)
    mean = ops.mean(numbers, axis=0)
    deviations = ops.sum(ops.square(numbers - mean), axis=0)
    return ops.convert_to_tensor(ops.shape(numbers)[0]), mean, deviations, ops.any(numbers != 0, axis=0)


def _read(moments: tuple[Tensor, Tensor, Tensor, Tensor]) -> Statistics:
    count, mean, deviations, active = (_numpy(moment) for moment in moments)
    return Statistics(int(count), mean.astype(np.float64), deviations.astype(np.float64), active)


def merge(a: Statistics, b: Statistics) -> Statistics:
    """The statistics of both batches together (Chan, Golub and LeVeque 1983)."""
    count, delta = a.count + b.count, b.mean - a.mean
    deviations = a.deviations + b.deviations + delta**2 * (a.count * b.count / count)
    return Statistics(count, a.mean + delta * (b.count / count), deviations, a.active | b.active)


def activation_statistics(batches: Iterable[Tensor]) -> Statistics:
    """Of a whole data set that comes in batches, of which none is kept.

    Raises:
        ValueError: as `unit_statistics`, or no batch at all.
    """
    found = map(unit_statistics, batches)
    first = next(found, None)
    if first is None:
        raise ValueError("expected one batch of activations or more; there was none")
    return functools.reduce(merge, found, first)


# A run that is watched

ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
"""Layers that are an activation, whether or not they have an attribute of that name."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What `Monitor` found after a training step.

    Attributes:
        step: steps done in this call of `fit`, from 1.
        loss: of the probe, the mean over its examples.
        gradient_norms: of the probe's loss with respect to each trainable weight, by the weight's path.
        gradient_norm: of all of them.
        update_ratio: of the training step just done.
        layers: statistics of the outputs of each layer that has weights or an activation, or is one (`ReLU`, `Softmax`,
            ...), by name, in the model's order.
        non_finite: the first layer whose output, or else the first weight whose gradient, holds NaN or infinity.
    """

    step: int
    loss: float
    gradient_norms: dict[str, float]
    gradient_norm: float
    update_ratio: float
    layers: dict[str, Statistics]
    non_finite: str | None


class Monitor(keras.callbacks.Callback):
    """Read a functional or sequential model at every so many training steps of `fit`, and leave the run as it was.

    Args:
        x: inputs of the probe, NumPy, in one batch; held out, or the readings flatter.
        y: its targets.
        loss: of targets and predictions; by default that with which the model was compiled.
        every: steps from one reading to the next.

    Attributes:
        readings: in their order; those of another call of `fit` come behind.

    Raises:
        ValueError: `every` is under 1.
    """

    def __init__(
        self, x: Any, y: Any, *, loss: Callable[[Tensor, Tensor], Tensor] | None = None, every: int = 1
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"`every` must be at least 1; it is {every}")
        self.x, self.y, self.loss, self.every = x, y, loss, every
        self.readings: list[Reading] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Make a second model of the same layers, which gives their outputs."""
        del logs
        self._step = 0
        layers = [
            layer
            for layer in self.model.layers
            if layer.weights or hasattr(layer, "activation") or isinstance(layer, ACTIVATIONS)
        ]
        self._names = [layer.name for layer in layers]
        watched = keras.Model(self.model.inputs, [*(layer.output for layer in layers), *self.model.outputs])
        self._weights = watched.trainable_variables
        self._probe = _compiled(watched, keras.losses.get(self.loss or self.model.loss))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a step that is due: copy the weights, which it changes in place."""
        del batch, logs
        self._step += 1
        if self._step % self.every == 0:
            self._synchronize()
            self._before = [ops.copy(weight.value) for weight in self._weights]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a step that is due: probe."""
        del batch, logs
        if self._step % self.every == 0:
            self._synchronize()
            found = keras.tree.map_structure(_numpy, self._probe(self._before, self.x, self.y))
            loss, moments, finite, norms, ratio = found
            layers = dict(zip(self._names, map(_read, moments), strict=True))
            each = {weight.path: float(norm) for weight, norm in zip(self._weights, norms.each, strict=True)}
            bad = _first([*layers, *each], finite)
            self.readings.append(Reading(self._step, float(loss), each, float(norms.total), float(ratio), layers, bad))

    def _synchronize(self) -> None:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # on JAX, Keras's training loop holds the weights elsewhere


def _compiled(watched: keras.Model, loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    """From weights before a step, x and y to what a probe finds.

    It is the loss, the moments of all outputs but the last, whether these and the gradients are finite, the gradients'
    norms, and the update ratio.
    """

    def measured(y: Tensor, outputs: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        *activations, prediction = outputs
        return ops.mean(loss(y, prediction)), activations

    def found(value: Tensor, activations: list[Tensor], gradients: list[Tensor], before: Any, after: Any) -> Any:
        moments = [_moments(each) for each in activations]
        known = [ops.zeros(()) if gradient is None else gradient for gradient in gradients]
        return value, moments, _finite([*activations, *known]), gradient_norms(gradients), update_ratio(before, after)

    def weights() -> list[Tensor]:
        return [weight.value for weight in watched.trainable_variables]

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            @tf.function(jit_compile=False)
            def probe(before: list[Tensor], x: Tensor, y: Tensor) -> Any:
                with tf.GradientTape() as tape:
                    value, activations = measured(y, watched(x, training=False))
                return found(value, activations, tape.gradient(value, weights()), before, weights())

        case "jax":
            import jax

            @jax.jit
            def stateless(trainable: Any, fixed: Any, before: list[Tensor], x: Tensor, y: Tensor) -> Any:
                def forward(trainable: Any) -> Any:
                    return measured(y, watched.stateless_call(trainable, fixed, x, training=False)[0])

                (value, activations), gradients = jax.value_and_grad(forward, has_aux=True)(trainable)
                return found(value, activations, gradients, before, trainable)

            def probe(before: list[Tensor], x: Tensor, y: Tensor) -> Any:
                return stateless(weights(), [v.value for v in watched.non_trainable_variables], before, x, y)

        case _:
            import torch

            def probe(before: list[Tensor], x: Tensor, y: Tensor) -> Any:
                value, activations = measured(ops.convert_to_tensor(y), watched(x, training=False))
                gradients = torch.autograd.grad(value, weights(), allow_unused=True)
                return found(value, activations, gradients, before, weights())

    return probe
