"""Early stopping, which is part of monitoring: end a run that has stopped improving, and go back to its best weights.

    improved if value < best - min_delta; stop after `patience` epochs in a row without

The criterion resembles UP_s of Prechelt (1998, "Early stopping, but when?"), which looks at strips of epochs. NaN is
never an improvement, and so never the best value either, where Keras takes a first one for the best.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

MODES = ("min", "max")


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where early stopping stands: the best value so far, its epoch, and the epochs since without an improvement."""

    best: float = math.nan
    best_epoch: int = -1
    wait: int = 0


def progress(state: Progress, epoch: int, value: float, *, min_delta: float = 0.0, mode: str = "min") -> Progress:
    """The state after an epoch; an improvement is more than `min_delta` better than the best, and never NaN."""
    sign = 1 if mode == "min" else -1
    improved = not math.isnan(value) and (state.best_epoch < 0 or sign * value < sign * state.best - min_delta)
    return Progress(value, epoch, 0) if improved else dataclasses.replace(state, wait=state.wait + 1)


class EarlyStopping(keras.callbacks.Callback):
    """Stop when a value has not improved for `patience` epochs in a row, and go back to the weights of its best epoch.

    Args:
        monitor: the name of the value among those of an epoch.
        patience: epochs without improvement after which training ends, 1 or more.
        min_delta: how much better than the best an improvement must be, 0 or more.
        mode: "min" or "max", whichever is better.
        restore_best_weights: whether, when training ends for any reason, the model gets the weights of its best epoch
            (its optimizer does not).

    Attributes:
        progress: where it stands.
        stopped_epoch: the epoch after which training was ended, or None.

    Raises:
        ValueError: an argument out of its range; or, in training, no such value.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 1,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best_weights: bool = True,
    ) -> None:
        super().__init__()
        if patience < 1 or not min_delta >= 0 or mode not in MODES:
            raise ValueError(
                f"expected patience of 1 or more, min_delta of 0 or more, and mode of {' or '.join(MODES)}; "
                f"got {patience}, {min_delta} and {mode!r}"
            )
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, min_delta, mode
        self.restore_best_weights = restore_best_weights

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier run."""
        del logs
        self.progress = Progress()
        self.stopped_epoch: int | None = None
        self._weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the value, keep the weights if it is the best, and stop if it has been too long."""
        if self.monitor not in (logs or {}):
            raise ValueError(f"no value {self.monitor!r} to stop by; there are: {', '.join(logs or {})}")
        value = float((logs or {})[self.monitor])
        self.progress = progress(self.progress, epoch, value, min_delta=self.min_delta, mode=self.mode)
        if self.progress.wait == 0 and self.restore_best_weights:
            self._weights = self.model.get_weights()
        elif self.progress.wait >= self.patience:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights."""
        del logs
        if self._weights is not None:
            self.model.set_weights(self._weights)
