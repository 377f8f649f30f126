"""The oracle of initialization against layers of ones, scipy's distributions, and simulated networks."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from suites.properties.oracles import initialization as oracle

RING = 7
"""Places along each axis: more than twice any window, so that the place in the middle has no border near."""


@pytest.mark.parametrize(
    ("layer", "kind", "shape"),
    [
        ("Conv1D", "conv", (3, 2, 5)),
        ("Conv2D", "conv", (3, 2, 4, 5)),
        ("Conv3D", "conv", (1, 2, 3, 2, 3)),
        ("DepthwiseConv2D", "depthwise", (3, 3, 4, 2)),
        ("Conv2DTranspose", "transposed", (3, 2, 5, 4)),
    ],
)
def test_fans_are_what_layers_of_ones_sum(layer: str, kind: str, shape: tuple[int, ...]) -> None:
    import keras

    from suites.properties.gradients import input_gradient

    *window, first, last = shape
    channels, filters = (last, first) if kind == "transposed" else (first, last)
    options: dict[str, Any] = {"padding": "same", "use_bias": False}
    if kind == "depthwise":
        made = keras.layers.DepthwiseConv2D(window, depth_multiplier=last, depthwise_initializer="ones", **options)
    else:
        made = getattr(keras.layers, layer)(filters, window, kernel_initializer="ones", **options)
    x = np.ones((1, *(RING,) * len(window), channels), "float32")
    y = np.asarray(made(x))
    assert tuple(made.weights[0].shape) == shape
    gradient = np.asarray(input_gradient(made, x, np.ones_like(y)))
    middle = (0, *(RING // 2,) * len(window), 0)
    assert (y[middle], gradient[middle]) == oracle.connections(shape, kind)


@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_law_is_that_of_scipy(distribution: str) -> None:
    law = oracle.Law(distribution, 0.5)
    theirs = {
        "normal": stats.norm(scale=0.5),
        "truncated_normal": stats.truncnorm(-2, 2, scale=0.5 / stats.truncnorm(-2, 2).std()),
        "uniform": stats.uniform(-law.limit, 2 * law.limit),
    }[distribution]
    x = np.linspace(-1.2, 1.2, 49)
    np.testing.assert_allclose(law.cumulative(x), theirs.cdf(x), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(theirs.std(), 0.5, rtol=1e-12)
    np.testing.assert_allclose(law.kurtosis, theirs.moment(4) / 0.5**4, rtol=1e-9)
    np.testing.assert_allclose(law.limit, theirs.support()[1], rtol=1e-12)


@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_intervals_hold_and_are_not_idle(distribution: str) -> None:
    n, law, generator = 2048, oracle.Law(distribution, 0.5), np.random.default_rng(5)
    uniform = generator.uniform(size=(400, n))
    x = {
        "normal": stats.norm.ppf(uniform) / 2,
        "truncated_normal": stats.truncnorm.ppf(uniform, -2, 2) / 2 / stats.truncnorm(-2, 2).std(),
        "uniform": (2 * uniform - 1) * law.limit,
    }[distribution]
    means, squares = np.abs(x.mean(1)), (x**2).mean(1)
    low, high = law.mean_square_between(n)
    assert means.max() <= law.mean_within(n) <= 3 * means.max()
    assert low <= squares.min() <= squares.max() <= high
    assert high - low <= 4 * np.ptp(squares)


def test_chi_square_interval_is_that_of_scipy() -> None:
    low, high = oracle.Law("normal", 1.0).mean_square_between(100)
    expected = stats.chi2(100).ppf(oracle.FALSE_ALARM / 2), stats.chi2(100).isf(oracle.FALSE_ALARM / 2)
    np.testing.assert_allclose((100 * low, 100 * high), expected, rtol=1e-6)


def test_laws_through_depth_hold_in_simulation() -> None:
    widths, scheme, generator = (128, 256, 128, 192, 128), "he_normal", np.random.default_rng(1)
    signals, gradients = [], []
    for _ in range(400):
        x = h = generator.normal(size=widths[0])
        layers = []
        for n_in, n_out in itertools.pairwise(widths):
            kernel = generator.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in)
            before = h @ kernel
            layers.append((kernel, before > 0))
            h = np.maximum(before, 0)
        g = generator.choice([-1.0, 1.0], widths[-1])
        for kernel, passed in reversed(layers):
            g = kernel @ (g * passed)
        signals.append(np.mean(h**2) / np.mean(x**2))
        gradients.append(np.mean(g**2))
    forward, backward = oracle.expected_through_depth(widths, scheme, 0.0)
    for found, expected, (low, high) in (
        (signals, forward[-1], oracle.signal_between(widths, scheme)),
        (gradients, backward[0], oracle.gradient_between(widths, scheme)),
    ):
        assert abs(np.mean(found) - expected) < 4 * np.std(found) / 20
        assert low < min(found) < max(found) < high
        assert np.log(high / low) < 3 * np.log(max(found) / min(found))  # Chernoff's bounds are not idle either


def test_trace_bound_holds_for_uniform_matrices_of_scipy() -> None:
    traces = [np.trace(stats.ortho_group.rvs(48, random_state=seed)) for seed in range(50)]
    assert np.abs(traces).max() < oracle.trace_within(32)
