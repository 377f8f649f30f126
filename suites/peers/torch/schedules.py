"""`torch.optim.lr_scheduler` behind the contract's names.

A scheduler of torch belongs to an optimizer and counts by itself; it is asked here for the closed form at a step, where
it has one. Conventions are adapted: LinearLR and MultiStepLR take factors of one base rate, and the last step of
OneCycleLR is `total_steps - 1`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler

from suites.implementations import KnownDefect, NotProvided

ROUNDED_LOGARITHM = KnownDefect(
    "`CosineAnnealingWarmRestarts.step(epoch)` finds the cycle by a rounded logarithm: with T_0 = 1 and T_mult = 3, "
    "epoch 121 counts as the end of the cycle before, with the least rate in place of the greatest."
)

KNOWN_DEFECTS = {
    "restarts_follow_the_formula": ROUNDED_LOGARITHM,
    "restarts_begin_at_the_peak": ROUNDED_LOGARITHM,
    "impossible_schedules_are_refused": KnownDefect("LinearLR takes zero steps, and divides by them later."),
}


def rates_of(base: float, create: Callable[[Any], Any], step: Any, last: int | None = None) -> Any:
    """The rates of a scheduler at one step or several; those after the `last` step are the one there.

    They are float32, or float64 if the steps are.
    """
    steps = np.asarray(step.cpu() if isinstance(step, torch.Tensor) else step)
    steps = steps if last is None else np.minimum(steps, last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an optimizer that never steps; a step that is given
        scheduler = create(torch.optim.SGD([torch.zeros(1, requires_grad=True)], base))
        found = [_rate_of(scheduler, float(each) if each % 1 else int(each)) for each in steps.ravel()]
    exact = getattr(step, "dtype", None) == torch.float64
    return torch.tensor(found, dtype=torch.float64 if exact else torch.float32).reshape(steps.shape)


def _rate_of(scheduler: Any, step: float) -> float:
    if isinstance(scheduler, lr_scheduler.CosineAnnealingWarmRestarts):
        scheduler.step(step)
        return float(scheduler.get_last_lr()[0])
    scheduler.last_epoch = step
    closed = getattr(scheduler, "_get_closed_form_lr", None) or scheduler.get_lr
    return float(closed()[0])


def warm_up(step: Any, *, rate: float, steps: int, start: float = 0.0) -> Any:
    """`LinearLR`, whose start is a fraction above zero, and 1 at most."""
    if not 0 < start <= rate:
        raise NotProvided("LinearLR starts above zero, and not above its end")
    return rates_of(rate, lambda sgd: lr_scheduler.LinearLR(sgd, start / rate, 1.0, steps), step)


def cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """`CosineAnnealingLR`, which would rise again after its end."""
    return rates_of(peak, lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, steps, floor), step, last=steps)


def cosine_restarts(step: Any, *, peak: float, steps: int, floor: float = 0.0, growth: int = 1) -> Any:
    """`CosineAnnealingWarmRestarts`."""
    return rates_of(peak, lambda sgd: lr_scheduler.CosineAnnealingWarmRestarts(sgd, steps, growth, floor), step)


def step_decay(step: Any, *, rates: Sequence[float], boundaries: Sequence[int]) -> Any:
    """`MultiStepLR`, which multiplies by one and the same factor."""
    factor = rates[1] / rates[0]
    if any(not math.isclose(later, factor * earlier) for earlier, later in itertools.pairwise(rates)):
        raise NotProvided("MultiStepLR has one factor for all boundaries")
    return rates_of(rates[0], lambda sgd: lr_scheduler.MultiStepLR(sgd, list(boundaries), factor), step)


def one_cycle(step: Any, *, start: float, peak: float, end: float, steps: int, warm_up_steps: int) -> Any:
    """`OneCycleLR`, whose end is a fraction of the start."""
    if not start or not end:
        raise NotProvided("OneCycleLR divides by the first and the last rate")

    def create(sgd: Any) -> Any:
        return lr_scheduler.OneCycleLR(
            sgd,
            peak,
            total_steps=steps + 1,
            pct_start=(warm_up_steps + 1) / (steps + 1),
            div_factor=peak / start,
            final_div_factor=start / end,
            cycle_momentum=False,
        )

    return rates_of(start, create, step, last=steps)
