"""`torch.amp.GradScaler` behind the contract's names, around an optimizer of Keras on its torch backend.

The scaler scales the loss, looks for infinity and NaN, unscales, decides about the step and moves the scale. What
stands here hands it the gradients where it looks for them, in `grad` of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import torch

from suites.implementations import KnownDefect, NotProvided

DOCUMENTATION = "https://docs.pytorch.org/docs/stable/amp.html"

KNOWN_DEFECTS = {
    "scale_stays_at_or_above_one": KnownDefect(
        "There is no floor: every overflow halves the scale, under 1 too. torch documents it.", DOCUMENTATION
    ),
    "settings_without_sense_are_refused": KnownDefect(
        "The initial scale and the growth interval are taken as they are."
    ),
    "bounds_without_sense_are_refused": KnownDefect(
        "A factor that is no power of two is accepted, though scaling by it rounds."
    ),
    "arguments_are_left_as_they_were": KnownDefect("Gradients are unscaled in place, as documented.", DOCUMENTATION),
}


@dataclass(frozen=True)
class LossScale:
    """What the scaler lets one choose, with the contract's defaults; torch itself begins at 2^16."""

    initial: float = 2.0**15
    factor: float = 2.0
    growth_interval: int = 2000


@dataclass(frozen=True)
class ScaleState:
    """The scale, and the number of finite steps since it last moved."""

    scale: float
    good_steps: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """What the scaler takes for an optimizer: the parameters that it unscales, and what it may call after that."""

    param_groups: list[dict[str, Any]]
    step: Callable[[], None]


class LossScaledOptimizer(keras.optimizers.LossScaleOptimizer):
    """A `LossScaleOptimizer` for the sake of `compile`, which leaves it alone; the scaling is all torch's."""

    def __init__(self, inner: Any, law: LossScale | None = None, name: str | None = None) -> None:
        if isinstance(inner, LossScaledOptimizer):
            raise NotProvided("torch.amp.GradScaler is no optimizer, and cannot be given to another")
        super().__init__(inner, name=name)
        law = law or LossScale()
        self.scaler = torch.amp.GradScaler(
            "cuda" if torch.cuda.is_available() else "cpu",
            init_scale=law.initial,
            growth_factor=law.factor,
            backoff_factor=1 / law.factor,
            growth_interval=law.growth_interval,
        )

    @property
    def state(self) -> ScaleState:
        """Scale and count at present."""
        return ScaleState(self.scaler.get_scale(), self.scaler._get_growth_tracker())

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale."""
        return self.scaler.scale(loss)

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Let the scaler unscale the gradients, and step if they are finite."""
        if not self.built:
            self.build(list(trainable_variables or ()))
        variables = list(trainable_variables or self._trainable_variables)
        parameters = [variable.value for variable in variables]
        for parameter, gradient in zip(parameters, grads, strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.dtype)
        if self.scaler._scale is None:  # it refuses to step before it has scaled
            self.scaler.scale(torch.zeros((), device=parameters[0].device))

        def step() -> None:
            self.inner_optimizer.apply([parameter.grad for parameter in parameters], variables)

        self.scaler.step(Step([{"params": parameters}], step))
        self.scaler.update()

    def get_config(self) -> dict[str, Any]:
        """The scaler has a state of its own (`state_dict`), and nothing that Keras could save."""
        raise NotProvided("torch.amp.GradScaler has no configuration in Keras's sense")
