"""The oracle of residual networks against torchvision: its blocks, and a whole ResNet-18 and ResNet-50, in float64."""

from typing import Any

import numpy as np
import pytest

from suites.properties.oracles.residual import Oracle, Rounded, Weights

TAPS = 2
"""Weights of a filter that are not zero: the bound on rounding then says something even after fifty layers."""


def randomised(module: Any) -> list[np.ndarray]:
    """Give a module of torch random weights, and return them in the contract's order and layout."""
    import torch

    rng = np.random.default_rng(0)
    arrays = []
    for name, tensor in module.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) == 4:  # (F, C, k, k)
            kernel = np.zeros((shape[0], np.prod(shape[1:])))
            places = rng.integers(0, kernel.shape[1], (shape[0], TAPS))
            np.put_along_axis(kernel, places, rng.choice((-0.5, 0.5), places.shape), axis=1)
            array = kernel.reshape(shape)
        else:
            array = rng.uniform(0.5, 1.5, shape) if name.endswith("var") else rng.uniform(-1, 1, shape)
        tensor.copy_(torch.as_tensor(array))
        layouts = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
        arrays.append(array.transpose(layouts[array.ndim]))
    return arrays


def output(module: Any, x: np.ndarray) -> np.ndarray:
    """What a module of torch gives at inference for x of shape (B, H, W, C)."""
    import torch

    with torch.no_grad():
        y = module.eval()(torch.as_tensor(x.transpose(0, 3, 1, 2))).numpy()
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


def assert_close(y: np.ndarray, truth: Rounded) -> None:
    """Assert that y is within the oracle's bound, and that the bound is small enough to say something."""
    assert y.shape == truth.value.shape
    assert (np.abs(y - truth.value) <= truth.error).all()
    assert truth.error.max() < 0.01 * np.abs(truth.value).max()


@pytest.mark.parametrize(("strides", "channels"), [(1, 8), (2, 8), (1, 6), (2, 3)])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_block_is_that_of_torchvision(bottleneck: bool, strides: int, channels: int) -> None:
    resnet = pytest.importorskip("torchvision.models.resnet", reason="torchvision is not installed")
    from torch import nn

    filters = 2 if bottleneck else 8
    projection = None
    if strides > 1 or channels != 8:
        projection = nn.Sequential(nn.Conv2d(channels, 8, 1, strides, bias=False), nn.BatchNorm2d(8))
    made = (resnet.Bottleneck if bottleneck else resnet.BasicBlock)(channels, filters, strides, projection).double()
    branch = [(filters, 1, 1), (filters, 3, strides), (8, 1, 1)] if bottleneck else [(8, 3, strides), (8, 3, 1)]
    weights, x = Weights(randomised(made)), np.random.default_rng(1).normal(size=(2, 7, 6, channels))
    truth = Oracle("float64").block(Rounded.exact(x), weights, branch, preactivation=False, shortcut="projection")
    weights.end()
    assert_close(output(made, x), truth)


@pytest.mark.parametrize(("depth", "repeats"), [(18, (2, 2, 2, 2)), (50, (3, 4, 6, 3))])
def test_net_is_that_of_torchvision(depth: int, repeats: tuple[int, ...]) -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    made = getattr(models, f"resnet{depth}")(num_classes=10).double()
    weights, x = Weights(randomised(made)), np.random.default_rng(1).normal(size=(2, 33, 32, 3))
    options: dict[str, Any] = {"bottleneck": depth >= 50, "preactivation": False, "shortcut": "projection"}
    assert_close(output(made, x), Oracle("float64").net(Rounded.exact(x), weights, repeats, **options))
