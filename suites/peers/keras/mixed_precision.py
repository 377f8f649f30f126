"""`keras.optimizers.LossScaleOptimizer` behind the contract's names.

Scaling, checking, skipping and the law of the scale are Keras's own. It has no scope for a policy (the global one is
set by `keras.config.set_dtype_policy` and stays), no output layer, and nothing that measures underflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "scale_stays_at_or_above_one": KnownDefect(
        "There is no floor: every overflow halves the scale, under 1 too, where it causes underflow.",
        "https://github.com/keras-team/keras/issues/16100",
    ),
    "scale_stays_finite": KnownDefect("There is no cap: 128 doublings from 1 make the scale infinite."),
    "settings_without_sense_are_refused": KnownDefect(
        "Any initial scale and any interval is accepted, an infinite scale and one of NaN among them."
    ),
    "inner_scaling_does_not_count_twice": KnownDefect(
        "One wrapper around another scales the loss once and divides the gradients twice."
    ),
    "configuration_can_be_used_again": KnownDefect(
        "`from_config` takes the inner optimizer out of the configuration that it is given."
    ),
    "optimizers_are_taken_by_name": KnownDefect("The inner optimizer must be an object; a name fails in the wrapper."),
    "gradients_without_variables_are_refused": KnownDefect(
        "Without variables `build` fails with a TypeError that does not say what is missing."
    ),
}
if keras.backend.backend() == "torch":
    KNOWN_DEFECTS["half_gradients_are_unscaled_in_float32"] = KnownDefect(
        "torch divides a float16 tensor by a float32 scalar in float16, where small gradients are rounded to zero."
    )
else:
    KNOWN_DEFECTS["loss_is_scaled_in_float32"] = KnownDefect(
        "Before `build` the scale is a Python number, and a float16 loss times 2^15 is infinite."
    )


if keras.backend.backend() == "jax":
    KNOWN_DEFECTS["variables_are_needed_once"] = KnownDefect(
        "On JAX a step by `apply` leaks a value of the trace; it must be taken by `stateless_apply`."
    )


@dataclass(frozen=True)
class LossScale:
    """What Keras lets one choose: the scale at the start, and the finite steps after which it doubles."""

    initial: float = 2.0**15
    growth_interval: int = 2000


@dataclass(frozen=True)
class ScaleState:
    """The scale, and the number of finite steps since it last moved."""

    scale: float
    good_steps: int = 0


@keras.saving.register_keras_serializable(package="touchstone_peers_keras")
class LossScaledOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras's optimizer with the contract's constructor, and its state by the contract's name."""

    def __init__(self, inner: Any, law: LossScale | None = None, **kwargs: Any) -> None:
        chosen = {"initial_scale": law.initial, "dynamic_growth_steps": law.growth_interval} if law else {}
        super().__init__(inner, **chosen, **kwargs)

    @property
    def state(self) -> ScaleState:
        """Scale and count at present."""
        if not self.built:
            return ScaleState(self.initial_scale)
        to_numpy = keras.ops.convert_to_numpy
        return ScaleState(float(to_numpy(self.dynamic_scale)), int(to_numpy(self.step_counter)))
