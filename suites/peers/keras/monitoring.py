"""`keras.callbacks.EarlyStopping` behind the contract's names."""

from __future__ import annotations

from typing import Any

import keras

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "nan_is_never_the_best": KnownDefect("The first value is the best whatever it is; after a NaN nothing is better."),
    "early_stopping_refuses_what_makes_no_sense": KnownDefect(
        "A negative min_delta loses its sign, patience of 0 is taken for 1, and a missing value is only warned of."
    ),
}


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's own, with the contract's defaults."""

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 1,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best_weights: bool = True,
    ) -> None:
        options: dict[str, Any] = {"patience": patience, "min_delta": min_delta, "mode": mode}
        super().__init__(monitor=monitor, restore_best_weights=restore_best_weights, **options)
