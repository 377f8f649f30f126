"""The oracle of monitoring against the standard library, NumPy and Keras's own early stopping."""

import itertools
import math
import statistics

import numpy as np
import pytest

from suites.properties.numerics import UNIT_ROUNDOFF
from suites.properties.oracles import monitoring as oracle


def batches(offset: float, seed: int) -> list[np.ndarray]:
    """Four batches (B, 2, 3) of different sizes, in numbers that float32 has."""
    generator = np.random.default_rng(seed)
    return [generator.integers(-32, 33, (size, 2, 3)) / 8 + offset for size in (1, 4, 2, 7)]


def test_norm_is_that_of_numpy() -> None:
    arrays = [np.array([3.0, -4.0]), None, np.array([[12.0], [84.0]])]
    assert oracle.norm(arrays) == pytest.approx(np.linalg.norm([3, 4, 12, 84]), rel=1e-15)
    assert oracle.norm([array * 2.0**120 for array in arrays if array is not None]) == 2.0**120 * oracle.norm(arrays)


@pytest.mark.parametrize("offset", [0.0, 1024.0])
def test_moments_are_those_of_the_standard_library(offset: float) -> None:
    data = batches(offset, seed=1)
    found = oracle.moments(data)
    for unit in range(3):
        numbers = [float(number) for batch in data for number in batch[..., unit].ravel()]
        assert found.mean[unit] == pytest.approx(statistics.fmean(numbers), rel=1e-14)
        assert found.deviations[unit] / len(numbers) == pytest.approx(statistics.pvariance(numbers), rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1024.0])
def test_bound_of_the_moments_holds_and_is_not_idle(offset: float) -> None:
    for seed in range(20):
        data = batches(offset, seed)
        truth, error = oracle.moments(data), oracle.moments_error(data)
        mean, deviations, count = np.zeros(3, np.float32), np.zeros(3, np.float32), 0
        for batch in data:  # all in float32
            x = batch.reshape(-1, 3).astype(np.float32)
            own = x.mean(0, dtype=np.float32)
            delta, n = own - mean, len(x)
            deviations += np.square(x - own).sum(0) + delta**2 * np.float32(count * n / (count + n))
            mean, count = mean + delta * np.float32(n / (count + n)), count + n
        assert (np.abs(mean - truth.mean) <= error.mean).all()
        assert (np.abs(deviations - truth.deviations) <= error.deviations).all()
        # Far from zero a deviation is known to the rounding of the mean: no better, and not much worse.
        size = np.abs(truth.mean) + 4
        assert (error.mean < 64 * UNIT_ROUNDOFF["float32"] * size).all()
        assert (error.deviations < 64 * UNIT_ROUNDOFF["float32"] * size * count * 8).all()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_is_that_of_keras(mode: str) -> None:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for values, patience, delta in itertools.product(itertools.product((0.0, 0.5, 1.0), repeat=4), (1, 2), (0.0, 0.5)):
        callback = keras.callbacks.EarlyStopping("loss", delta, patience, mode=mode)
        callback.set_model(model)
        callback.on_train_begin()
        model.stop_training = False
        stopped = None
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {"loss": value})
            if model.stop_training:
                stopped = epoch
                break
        found = oracle.early_stopping(values, patience, delta, mode)
        assert (found.stopped, found.best) == (stopped, callback.best_epoch), (values, patience, delta)


def test_nan_is_no_improvement() -> None:
    assert oracle.early_stopping([math.nan, 2.0, math.nan, math.nan], 2, 0.0, "min") == oracle.Run(3, 1)
    assert oracle.early_stopping([math.nan], 1, 0.0, "min") == oracle.Run(0, None)


def test_gradient_is_that_of_finite_differences() -> None:
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(5, 3)), generator.normal(size=(5, 1))
    weights = [generator.normal(size=(3, 1)), generator.normal(size=1)]

    def loss(kernel: np.ndarray, bias: np.ndarray) -> float:
        return float(np.mean((x @ kernel + bias - y) ** 2))

    truth, error = oracle.mean_squared_error_gradient(x, y, *weights)
    for place, gradient in enumerate(truth):
        assert (error[place] < 1e-4).all()
        for index in np.ndindex(gradient.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [weight.copy() for weight in weights]
                moved[place][index] += step
                ends.append(loss(*moved))
            assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-8)
