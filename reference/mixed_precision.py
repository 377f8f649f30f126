"""Mixed precision: compute in 16 bits, keep the weights in 32, and scale the loss so that small gradients survive.

The problem. 16-bit numbers halve the memory of activations and feed faster matrix units. But float16 has 11 significant
bits and nothing between 0 and 2^-24, so that training in it loses small updates, small gradients, and long sums
(Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740, section 3). The cure has three parts:

1. A master copy of the weights in float32 (section 3.1). Layers cast it down where they compute; updates go to the
   master, since 1 - 2^-12 is 1 in float16. Keras does so under the policies "mixed_float16" and "mixed_bfloat16";
   `precision_scope` sets one for a while, and `dtype="mixed_float16"` gives it to one layer, with nothing global.
2. Loss scaling (section 3.2). What float16 rounds to zero (`underflow_fraction`) survives when the loss L is multiplied
   by S before the backward pass; by the chain rule each gradient is S times as large, and dividing restores it:

       g = (d(S L) / dw) / S           `scale_loss`, `unscale`; exact in float32 for S a power of two

   `LossScaledOptimizer` divides in float32 before anything else looks at the gradients: before clipping, and before
   moments. An S that is too large turns gradients into infinity or NaN: then the step is skipped and S shrinks; after
   N good steps in a row S grows (`next_state`):

       S' = max(S / f, floor)   after an overflow         S' = min(S f, cap)   after N finite steps

3. Float32 where many terms are summed (section 3.3): softmax and loss. `float32_output` ends a network so.

bfloat16 has the range of float32 and 8 significant bits: it needs parts 1 and 3, and no loss scaling.

Deviations from the paper: S is adjusted while training, where the paper chooses it by hand and proposes to skip steps
that overflow (floor = cap = initial gives its fixed scale); floor and cap keep S a scale, since under 1 it would cause
the underflow that it is there to prevent. Accumulation in float32 inside of a matrix product is the hardware's part.
Not covered: float8, and several replicas under `tf.distribute`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array, a keras.Variable

LARGEST_FLUSHED = {"float16": 2.0**-25, "bfloat16": 2.0**-134}
"""Half the smallest positive number, by dtype: rounding to the nearest, ties to even, gives zero up to here."""


# The policy


@contextlib.contextmanager
def precision_scope(policy: str | keras.DTypePolicy) -> Iterator[keras.DTypePolicy]:
    """Make `policy` the default of layers that are created inside, and put the previous one back at the end.

    However the block is left, by an exception too, the policy is as before; scopes nest. Keras keeps a default per
    thread, so that no other thread sees this one, and a thread that is started inside does not inherit it.

    Args:
        policy: "float32", "mixed_float16", "mixed_bfloat16" or another policy of Keras.

    Raises:
        ValueError: there is no such policy.

    Example:
        >>> with precision_scope("mixed_float16"):
        ...     layer = keras.layers.Dense(10)
        >>> layer.compute_dtype, layer.variable_dtype, keras.config.dtype_policy().name
        ('float16', 'float32', 'float32')
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield keras.config.dtype_policy()
    finally:
        keras.config.set_dtype_policy(previous)


def float32_output(activation: str = "linear", **kwargs: Any) -> keras.layers.Layer:
    """The last layer of a network of any precision: cast to float32, then apply an activation such as "softmax".

    What a layer computes in is settled when it is created; a dtype set on its output afterwards comes too late.
    """
    return keras.layers.Activation(activation, dtype="float32", **kwargs)


# The scale


@dataclass(frozen=True)
class LossScale:
    """How the scale S of the loss moves. All but N are powers of two, so that scaling rounds nothing.

    They end at 2^126, the last with a reciprocal that is no subnormal number, which would count as zero: to divide by S
    may be to multiply by 1 / S, as XLA's compiler does. In this range both are exact.

    Attributes:
        initial: S at the start. Better too high, which costs a skipped step each time, than too low.
        factor: f, by which S grows and shrinks.
        growth_interval: N, the finite steps in a row after which S grows.
        floor: the least S.
        cap: the greatest S. The default lifts even 2^-48 into the range of float16.

    Raises:
        ValueError: a number that is no power of two, factor < 2, N < 1, or not floor <= initial <= cap.
    """

    initial: float = 2.0**15
    factor: float = 2.0
    growth_interval: int = 2000
    floor: float = 1.0
    cap: float = 2.0**24

    def __post_init__(self) -> None:
        for name in ("initial", "factor", "floor", "cap"):
            value = getattr(self, name)
            if math.frexp(value)[0] != 0.5 or not 2.0**-126 <= value <= 2.0**126:
                raise ValueError(
                    f"`{name}` must be a power of two from 2^-126 to 2^126, such as 2.0**15; it is {value}"
                )
        if self.factor < 2:
            raise ValueError(f"`factor` must be at least 2; it is {self.factor}")
        if self.growth_interval < 1 or int(self.growth_interval) != self.growth_interval:
            raise ValueError(f"`growth_interval` must be a positive integer; it is {self.growth_interval}")
        if not self.floor <= self.initial <= self.cap:
            raise ValueError(f"`initial` must lie from floor {self.floor} to cap {self.cap}; it is {self.initial}")


@dataclass(frozen=True)
class ScaleState:
    """The scale S, and the number of finite steps since it last moved."""

    scale: float
    good_steps: int = 0


def next_state(state: ScaleState, finite: bool, law: LossScale) -> ScaleState:
    """The state after one step, whose gradients were all finite or not."""
    if not finite:
        return ScaleState(max(state.scale / law.factor, law.floor))
    if state.good_steps + 1 == law.growth_interval:
        return ScaleState(min(state.scale * law.factor, law.cap))
    return ScaleState(state.scale, state.good_steps + 1)


def next_tensors(scale: Tensor, good_steps: Tensor, finite: Tensor, law: LossScale) -> tuple[Tensor, Tensor]:
    """`next_state` in scalar tensors, for a compiled step: float32 S, integer count and bool to new S and count."""
    counted = good_steps + 1
    grows = ops.equal(counted, law.growth_interval)
    after_finite = ops.where(grows, ops.minimum(scale * law.factor, law.cap), scale)
    after_overflow = ops.maximum(scale / law.factor, law.floor)
    resets = ops.logical_or(grows, ops.logical_not(finite))
    return ops.where(finite, after_finite, after_overflow), ops.where(resets, 0, counted)


# Loss and gradients


def scale_loss(loss: Tensor, scale: Tensor | float) -> Tensor:
    """S L, in float32 at least: float16 ends at 65504, where S alone may be 2^24."""
    loss = ops.convert_to_tensor(loss)
    return ops.cast(loss, keras.backend.result_type(loss.dtype, "float32")) * scale


def unscale(gradients: Iterable[Tensor | None], scale: Tensor | float) -> list[Tensor | None]:
    """Each gradient over S, in float32 at least; None, of a weight that the loss does not depend on, stays None."""

    def divide(gradient: Tensor) -> Tensor:
        return ops.divide(ops.cast(gradient, keras.backend.result_type(gradient.dtype, "float32")), scale)

    return [None if gradient is None else divide(gradient) for gradient in gradients]


def all_finite(gradients: Iterable[Tensor | None]) -> Tensor:
    """Whether no gradient holds infinity or NaN; a bool scalar tensor."""
    checks = [ops.all(ops.isfinite(gradient)) for gradient in gradients if gradient is not None]
    return ops.all(ops.stack(checks)) if checks else ops.convert_to_tensor(True)


def underflow_fraction(gradients: Iterable[Tensor | None], scale: float = 1.0, dtype: str = "float16") -> list[float]:
    """How much of each gradient `dtype` loses: the fraction of its nonzero entries g for which S g rounds to zero.

    Args:
        gradients: unscaled, float32, as they come out of a float32 backward pass. None counts as all zero.
        scale: S.
        dtype: "float16" or "bfloat16".

    Returns:
        A number from 0 to 1 per gradient; 0 for one that is all zero.

    Raises:
        ValueError: another dtype.
    """
    if dtype not in LARGEST_FLUSHED:
        raise ValueError(f"`dtype` must be one of {', '.join(LARGEST_FLUSHED)}; it is {dtype!r}")

    def fraction(gradient: Tensor | None) -> float:
        sizes = np.abs(np.asarray(0.0 if gradient is None else ops.convert_to_numpy(gradient), np.float64))
        nonzero = sizes[sizes > 0]
        return float(np.mean(nonzero * scale <= LARGEST_FLUSHED[dtype])) if nonzero.size else 0.0

    return [fraction(gradient) for gradient in gradients]


# The optimizer


@keras.saving.register_keras_serializable(package="touchstone")
class LossScaledOptimizer(keras.optimizers.LossScaleOptimizer):
    """Another optimizer with dynamic loss scaling around it, for `compile` and `fit` or a loop of one's own.

    Being a `LossScaleOptimizer` of Keras, it has the same variables, and `compile` leaves it as it is: under
    "mixed_float16" any other gets a loss scale around it unasked, and gradients are divided twice.

    Args:
        inner: the optimizer, or its name. Clipping, decay and averages are its business, and see unscaled gradients.
        law: how the scale moves; `LossScale()` if None.

    Raises:
        ValueError: `inner` scales the loss itself.

    Example:
        >>> optimizer = LossScaledOptimizer("adam", LossScale(initial=2.0**10))
        >>> optimizer.apply([np.array([np.inf], "float32")], [keras.Variable([1.0])])
        >>> optimizer.state
        ScaleState(scale=512.0, good_steps=0)
    """

    def __init__(
        self, inner: keras.optimizers.Optimizer | str, law: LossScale | None = None, name: str | None = None
    ) -> None:
        inner = keras.optimizers.get(inner)
        if isinstance(inner, keras.optimizers.LossScaleOptimizer) or inner.loss_scale_factor is not None:
            raise ValueError(f"`inner` must not scale the loss itself, or gradients are divided twice; it is {inner}")
        law = law or LossScale()
        super().__init__(inner, law.initial, law.growth_interval, name=name)
        self.law = law

    @property
    def state(self) -> ScaleState:
        """Scale and count of finite steps at present, as Python numbers; not inside of a compiled function."""
        if not self.built:
            return ScaleState(self.law.initial)
        return ScaleState(*(ops.convert_to_numpy(each).item() for each in (self.dynamic_scale, self.step_counter)))

    def scale_loss(self, loss: Tensor) -> Tensor:
        """S L, to be differentiated in place of L."""
        return scale_loss(loss, self.dynamic_scale if self.built else self.law.initial)

    def apply(self, grads: Iterable[Tensor | None], trainable_variables: Iterable[Any] | None = None) -> None:
        """Take one step with gradients of the scaled loss, or skip it if one of them is not finite.

        A skipped step leaves weights, the inner optimizer's slots and `iterations` as they were.

        Args:
            grads: one per variable, in its shape, or None.
            trainable_variables: what to update; those of the first call, or of `build`, if None.
        """
        if not self.built:
            if trainable_variables is None:
                raise ValueError("`trainable_variables` must be given in the first call, or to `build` before")
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        gradients = list(grads)
        finite, scale, good_steps = all_finite(gradients), self.dynamic_scale.value, self.step_counter.value

        def update() -> None:
            self.inner_optimizer.apply(unscale(gradients, scale), trainable_variables)

        if keras.backend.backend() == "jax":  # whose conditionals cannot assign
            _assign_if(finite, update, [*self._trainable_variables, *self.inner_optimizer.variables])
        else:
            ops.cond(finite, update, lambda: None)
        scale, good_steps = next_tensors(scale, good_steps, finite, self.law)
        self.dynamic_scale.assign(scale)
        self.step_counter.assign(good_steps)

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        """`apply` as a function from values to values, as JAX needs it; see `keras.Optimizer.stateless_apply`."""
        return keras.optimizers.Optimizer.stateless_apply(self, optimizer_variables, grads, trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs; scale and count are variables, and saved with the weights."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "inner": inner, "law": dataclasses.asdict(self.law)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> LossScaledOptimizer:
        """The optimizer that `get_config` described, without its variables."""
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects=custom_objects)
        return cls(inner, LossScale(**config["law"]), name=config["name"])


def _assign_if(condition: Tensor, update: Callable[[], None], variables: list[Any]) -> None:
    """Let `update` assign to the variables only where the condition holds, by choosing among their values."""
    before = [variable.value for variable in variables]

    def after() -> list[Tensor]:
        with keras.StatelessScope(state_mapping=zip(variables, before, strict=True)) as scope:
            update()
        return [scope.get_current_value(variable) for variable in variables]

    for variable, value in zip(variables, ops.cond(condition, after, lambda: before), strict=True):
        variable.assign(value)
