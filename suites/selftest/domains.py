"""A small contract, and implementations of it that offer less, for `test_domain`: each is right where it is at home."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
from keras import ops


def scaled(x: float, *, times: float = 1.0, mask: bool = True) -> float:
    return x * times if mask else 0.0


def needs_more(x: float, times: float, steps: int) -> float:
    return x * times * steps


def breaks_inside(x: float, *, times: float = 1.0, mask: bool = True) -> float:
    return scaled(x, times=times, hue=mask)  # type: ignore[call-arg]


class Layer(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return 2.0 * x


class Broken(keras.layers.Layer):
    def call(self, x: Any, mask: Any = None) -> Any:
        return ops.sum(x, weight=mask)


whole = SimpleNamespace(scaled=scaled)
without_mask = SimpleNamespace(scaled=lambda x, *, times=1.0: x * times)
wrong_without_mask = SimpleNamespace(scaled=lambda x, *, times=1.0: x + times)
nothing = SimpleNamespace()
