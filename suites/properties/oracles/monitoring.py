"""What monitoring must find, in float64 NumPy and plain Python, and how far float32 may be from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from suites.properties.numerics import SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma

# Norms


def norm(arrays: Sequence[np.ndarray | None]) -> float:
    """Root of the sum of all squares; None counts as nothing."""
    return math.hypot(*(float(number) for array in arrays if array is not None for number in np.ravel(array)))


def norm_error(arrays: Sequence[np.ndarray | None]) -> float:
    """How far a norm in float32 may be off, relatively, whatever the order of its sums, with scaling or without.

    Each square passes through a quotient, a product and a sum; then come a root and a product, and all of that twice.
    """
    numbers = sum(array.size for array in arrays if array is not None)
    return gamma(numbers + len(arrays) + 16, "float32")


def update_ratio(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """|after - before| / |before|; 0 where nothing moved, infinity where all was zero and is not any more."""
    moved, start = norm([b - a for a, b in zip(before, after, strict=True)]), norm(before)
    return 0.0 if moved == 0 else moved / start if start else math.inf


# Statistics


@dataclass(frozen=True)
class Moments:
    """Of each unit (C,): mean, sum of squared deviations and activity, or how far the first two may be off."""

    mean: np.ndarray
    deviations: np.ndarray
    active: np.ndarray


def moments(batches: Sequence[np.ndarray]) -> Moments:
    """By two passes over the whole data set."""
    numbers = np.concatenate([batch.reshape(-1, batch.shape[-1]) for batch in batches])  # (n, C)
    mean = numbers.mean(0)
    return Moments(mean, ((numbers - mean) ** 2).sum(0), (numbers != 0).any(0))


def moments_error(batches: Sequence[np.ndarray]) -> Moments:
    """Bounds for two passes over each batch in float32, and a merge in float32 or wider after each."""
    unit = UNIT_ROUNDOFF["float32"]
    count, total = 0, Moments(np.zeros(()), np.zeros(()), np.zeros((), bool))
    seen: list[np.ndarray] = []
    for batch in batches:
        x = batch.reshape(-1, batch.shape[-1])  # (n, C)
        n, size = len(x), np.abs(x).mean(0)
        mean = gamma(n + 1, "float32") * size
        away = np.abs(x - x.mean(0))
        each = mean + unit * (away + mean)  # of a deviation
        deviations = (2 * away * each + each**2).sum(0) + gamma(n + 2, "float32") * ((away + each) ** 2).sum(0)
        if count:
            apart = np.abs(x.mean(0) - moments(seen).mean)
            off = mean + total.mean + unit * (apart + mean + total.mean)
            between = (2 * apart * off + off**2 + gamma(8, "float32") * (apart + off) ** 2) * n * count / (n + count)
            deviations = deviations + total.deviations + between
            deviations = deviations + gamma(4, "float32") * moments([*seen, batch]).deviations
            mean = np.maximum(mean, total.mean) + gamma(8, "float32") * (apart + np.abs(moments([*seen, batch]).mean))
        count, seen = count + n, [*seen, batch]
        total = Moments(mean, deviations + n * SMALLEST_SUBNORMAL["float32"], total.active)
    return total


# Early stopping


@dataclass(frozen=True)
class Run:
    """How a run ends: the epoch after which it is stopped, and its best epoch; None where there is no such epoch."""

    stopped: int | None
    best: int | None


def early_stopping(values: Sequence[float], patience: int, min_delta: float, mode: str) -> Run:
    """Stop after `patience` epochs in a row of which none was more than `min_delta` better than the best before it."""
    best: int | None = None
    since = 0
    for epoch, value in enumerate(values):
        gain = math.inf if best is None else values[best] - value if mode == "min" else value - values[best]
        if value == value and gain > min_delta:
            best, since = epoch, 0
        else:
            since += 1
        if since >= patience:
            return Run(epoch, best)
    return Run(None, best)


# A linear model


def mean_squared_error_gradient(
    x: np.ndarray, y: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients of mean((x W + b - y)^2) to W (D, 1) and b (1,), and how far they may be off in float32."""
    n, size = x.shape
    residual = x @ kernel + bias - y  # (B, 1)
    error = gamma(size + 3, "float32") * (np.abs(x) @ np.abs(kernel) + np.abs(bias) + np.abs(y))
    truth = [2 / n * x.T @ residual, 2 / n * residual.sum(0)]
    sizes = [2 / n * np.abs(x).T @ (np.abs(residual) + error), 2 / n * (np.abs(residual) + error).sum(0)]
    errors = [2 / n * np.abs(x).T @ error, 2 / n * error.sum(0)]
    return truth, [e + gamma(n + 5, "float32") * s for e, s in zip(errors, sizes, strict=True)]
