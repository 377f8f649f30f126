"""What the properties of residual networks draw: blocks with weights, images for them, and nets built once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import keras
import numpy as np
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.numerics import to_numpy
from suites.properties.oracles.residual import Oracle, Rounded, Weights
from suites.properties.oracles.residual_training import Training
from suites.subjects import Subject

BLOCKS = ("ResidualBlock", "BottleneckBlock")
SHORTCUTS = ("identity", None, "projection")


@dataclass(frozen=True)
class Case:
    """A block and images for it. Weights and pixels come from the seed; every precision represents them exactly."""

    block: str
    filters: int
    strides: int
    stride_on: str
    preactivation: bool
    shortcut: str | None
    batch: int
    height: int
    width: int
    channels: int
    seed: int

    @property
    def channels_out(self) -> int:
        """Channels of the block's output."""
        return self.filters * (4 if self.block == "BottleneckBlock" else 1)

    @property
    def shape_out(self) -> tuple[int, int, int, int]:
        """Shape of the block's output."""
        return self.batch, -(-self.height // self.strides), -(-self.width // self.strides), self.channels_out

    @property
    def changes_shape(self) -> bool:
        """Whether x cannot be added to F(x) as it is."""
        return self.strides != 1 or self.channels != self.channels_out

    @property
    def branch(self) -> list[tuple[int, int, int]]:
        """The convolutions of F: (filters, kernel size, strides)."""
        if self.block == "ResidualBlock":
            return [(self.filters, 3, self.strides), (self.filters, 3, 1)]
        first, second = (self.strides, 1) if self.stride_on == "1x1" else (1, self.strides)
        return [(self.filters, 1, first), (self.filters, 3, second), (self.channels_out, 1, 1)]

    def with_every_shortcut(self) -> list[Case]:
        """The case with each shortcut; it must be one that option A can do, with no channels to drop."""
        return [replace(self, shortcut=shortcut) for shortcut in SHORTCUTS]

    def make(self, subject: Subject, **options: Any) -> Any:
        """The block, built, with weights as it is born with."""
        asked: dict[str, Any] = {"preactivation": self.preactivation, "shortcut": self.shortcut}
        if self.block == "BottleneckBlock":
            asked["stride_on"] = self.stride_on
        asked["dtype"] = subject.precision
        block = getattr(subject, self.block)(self.filters, self.strides, **{**asked, **options})
        block.build((None, None, None, self.channels))
        return block

    def randomised(self, subject: Subject, **options: Any) -> Any:
        """The block with weights that are nowhere what they are born with."""
        block = self.make(subject, **options)
        randomise(block, self.seed)
        return block

    def images(self, subject: Subject, salt: int = 0) -> Any:
        """Images (batch, height, width, channels) in the compute dtype: multiples of 1/8 between -2 and 2."""
        return keras.ops.cast(self.pixels(salt), subject.compute_dtype)

    def pixels(self, salt: int = 0) -> np.ndarray:
        """The same as float64 NumPy."""
        return pixels((self.batch, self.height, self.width, self.channels), self.seed, salt)

    def truth(self, subject: Subject, block: Any, x: np.ndarray) -> Rounded:
        """What the block gives at inference, by the oracle."""
        weights = Weights([to_numpy(weight) for weight in block.weights])
        return self.run(Oracle(subject.compute_dtype, tf32=_tf32(subject)), Rounded.exact(x), weights)

    def trained(self, subject: Subject, weights: list[np.ndarray], x: np.ndarray) -> tuple[Rounded, list[Rounded]]:
        """What a block with these weights gives in training, by the oracle, and its statistics afterwards."""
        oracle = Training(subject.compute_dtype, tf32=_tf32(subject))
        return self.run(oracle, Rounded.exact(x), Weights(weights)), oracle.statistics

    def run(self, oracle: Oracle, x: Rounded, weights: Weights) -> Rounded:
        """What the block gives by an oracle."""
        result = oracle.block(x, weights, self.branch, preactivation=self.preactivation, shortcut=self.shortcut)
        weights.end()
        return result


def _tf32(subject: Subject) -> bool:
    return subject.device == "gpu" and subject.precision == "float32"


def pixels(shape: tuple[int, ...], seed: int, salt: int = 0) -> np.ndarray:
    """Multiples of 1/8 between -2 and 2, as float64: exact in every precision."""
    return np.random.default_rng([seed, salt]).integers(-16, 17, shape) / 8


def weights_in_order(subject: Subject, net: Any) -> Weights:
    """The weights of a net in the contract's order, into which a peer may put them by an `in_order(net)` of its own."""
    return Weights(arrays_in_order(subject, net))


def arrays_in_order(subject: Subject, net: Any) -> list[np.ndarray]:
    """The same as arrays."""
    weights = subject.in_order(net) if subject.provides("in_order") else net.weights
    return [to_numpy(weight) for weight in weights]


def randomise(layer: Any, seed: int, *, beta: float = 0.0, taps: int = 0) -> None:
    """Give a layer or model weights that exercise it and that every precision represents exactly.

    Args:
        layer: a layer or model.
        seed: of the weights.
        beta: what BN adds are multiples of 1/8, plus this.
        taps: how many weights a filter has that are not zero; 0 is all. With few, the bound on what rounding does grows
            little from layer to layer, and still says something after twenty.
    """
    rng = np.random.default_rng([seed, 1])
    for weight in layer.weights:
        shape = tuple(weight.shape)
        if len(shape) == 4 and taps:
            kernel = np.zeros((np.prod(shape[:-1]), shape[-1]))
            places = rng.integers(0, len(kernel), (taps, shape[-1]))
            np.put_along_axis(kernel, places, rng.choice((-0.5, 0.5), places.shape), axis=0)
            weight.assign(kernel.reshape(shape))
        elif len(shape) > 1:  # about 1 / sqrt(inputs of a unit), so that signals keep their size
            scale = 2.0 ** -round(np.log2(np.sqrt(np.prod(shape[:-1]))))
            weight.assign(scale * rng.integers(-8, 9, shape) / 4)
        elif weight.name.endswith("variance"):
            weight.assign(rng.integers(1, 9, shape) / 4)
        elif weight.name.endswith("gamma"):
            weight.assign(rng.integers(4, 13, shape) / 8)
        else:
            weight.assign(rng.integers(-8, 9, shape) / 8 + (beta if weight.name.endswith("beta") else 0))


def blocks(subject: Subject) -> list[str]:
    """The names of the blocks that an implementation has."""
    found = [name for name in BLOCKS if subject.provides(name)]
    if not found:
        raise NotProvided(f"{subject.implementation.name} provides neither {' nor '.join(BLOCKS)}")
    return found


@st.composite
def cases(draw: st.DrawFn, subject: Subject, *, same_shape: bool = False, **fixed: Any) -> Case:
    """Cases for the blocks that an implementation has; `fixed` sets fields, `same_shape` keeps x's shape."""
    names = blocks(subject)

    def choose(name: str, strategy: st.SearchStrategy[Any]) -> Any:
        return fixed[name] if name in fixed else draw(strategy, label=name)

    case = Case(
        block=choose("block", st.sampled_from(names)),
        filters=choose("filters", st.integers(1, 4)),
        strides=1 if same_shape else choose("strides", st.sampled_from((2, 1, 3))),
        stride_on=choose("stride_on", st.sampled_from(("3x3", "1x1"))),
        preactivation=choose("preactivation", st.booleans()),
        shortcut=choose("shortcut", st.sampled_from(SHORTCUTS)),
        batch=choose("batch", st.integers(1, 2)),
        height=choose("height", st.integers(1, 8)),
        width=choose("width", st.integers(1, 8)),
        channels=0,
        seed=draw(st.integers(0, 2**16)),
    )
    most = case.channels_out if case.shortcut == "identity" else 4
    channels = draw(st.integers(1, min(most, 4)) | st.just(case.channels_out), label="channels")
    return replace(case, channels=case.channels_out if same_shape else channels)


@functools.lru_cache(maxsize=4)
def imagenet(subject: Subject, depth: int, size: int = 32, **options: Any) -> Any:
    """An ImageNet net with 1000 classes, built once."""
    return subject.imagenet_resnet(depth, input_shape=(size, size, 3), dtype=subject.precision, **options)


@functools.lru_cache(maxsize=2)
def cifar(subject: Subject, depth: int, **options: Any) -> Any:
    """A CIFAR net for 32x32 images with 3 channels and 10 classes, built once."""
    return subject.cifar_resnet(depth, dtype=subject.precision, **options)


def some_net(subject: Subject) -> tuple[Any, tuple[int, int, int]]:
    """The cheapest net that an implementation has, with random weights, and the shape of its images."""
    if subject.provides("cifar_resnet"):
        net, shape = cifar(subject, 8), (32, 32, 3)
    else:
        net, shape = imagenet(subject, 50), (32, 32, 3)
    randomise(net, seed=8)
    return net, shape


def depths(subject: Subject, quick: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    """Depths to build: a few at quick scale, all at the others."""
    return quick if subject.scale == "quick" else quick + more


def count(weights: list[Any]) -> int:
    """How many numbers these weights hold."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def conv_biases(model: Any) -> list[Any]:
    """The biases of a model's convolutions: all but the one of the logits."""
    return [weight for weight in model.trainable_weights if weight.name == "bias"][:-1]


def kernels(layer: Any) -> list[Any]:
    """The kernels of the convolutions of a layer or model."""
    return [weight for weight in layer.trainable_weights if len(weight.shape) == 4]


def multiply_adds(model: Any, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of a model's convolutions and dense layers for one image, counted while it runs."""
    total = 0

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(layer: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal total
            y = call(layer, *args, **kwargs)
            total += int(np.prod(y.shape[1:])) * int(np.prod(layer.kernel.shape[:-1]))
            return y

        return counted

    with (
        mock.patch.object(keras.layers.Conv2D, "call", counting(keras.layers.Conv2D.call)),
        mock.patch.object(keras.layers.Dense, "call", counting(keras.layers.Dense.call)),
    ):
        model(np.zeros((1, *shape), "float32"))
    if not total:
        raise NotProvided("its convolutions are no keras.layers.Conv2D, so that they cannot be counted")
    return total
