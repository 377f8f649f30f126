"""Residual networks: let a layer learn a correction to its input instead of a whole new representation.

The problem is *degradation*. Beyond some depth a plain stack of convolutions trains worse, on its own training set,
than a shallower one that it contains: the deeper net could copy the shallow one and set the rest to the identity, but
the optimizer does not find that solution. He et al. make the identity the starting point. With F the stacked layers
and h the shortcut, a block computes

    y = relu(F(x) + h(x))    post-activation, F = conv-BN-relu-conv-BN         He et al. 2015, section 3.2, figure 2
    y = F(x) + h(x)          pre-activation,  F = BN-relu-conv-BN-relu-conv    He et al. 2016, section 4, figure 4(e)

and h(x) = x wherever shapes allow, so that in a pre-activation stage x_L = x_l + sum of F_i(x_i) and the gradient
reaches every block undamped. Where a block changes the shape, in channels *or* in size, h is one of

    "projection"   a strided 1x1 convolution, then BN        option B, section 3.3 of the 2015 paper
    "identity"     every strides-th pixel, new channels zero: no weights               option A, same place
    None           no shortcut at all: the plain counterpart, which has exactly the weights of option A

Images are (B, height, width, C), channels last. Convolutions have no bias, since a BN follows; they are padded by
(kernel - 1) / 2 on every side also where they stride, so that weights trained with torchvision fit.

Deviations from the papers, by name
- *stride position*: the paper strides on the first 1x1 of a bottleneck (v1); the default here is the 3x3 (v1.5),
  which drops no pixel unseen and is what most published weights use. Both are offered as `stride_on`.
- *pre-activation and projection*: a projection reads the activated input and has no BN of its own. The first block of
  a pre-activation net does its own BN-relu, so a first block that keeps its shape passes the stem's raw output on.
- *zero-initialised last scale* (Goyal et al. 2017, section 5.1) is an option: every block then starts as its shortcut.
- *head*: pooling and logits are float32 under every dtype policy; the logits carry no softmax.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, arXiv:1512.03385 (2015).
He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, arXiv:1603.05027 (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

__all__ = ["CIFAR", "IMAGENET", "Architecture", "BottleneckBlock", "ResidualBlock", "cifar_resnet", "imagenet_resnet"]

Tensor = Any  # a tensor of whichever backend Keras runs on, or a symbolic one
Shortcut = Literal["projection", "identity"] | None
SHORTCUTS: tuple[Shortcut, ...] = ("projection", "identity", None)
V1, V1_5 = "1x1", "3x3"  # which convolution of a bottleneck strides: He et al. 2015, and torchvision


def _one_of(name: str, value: object, valid: Sequence[object]) -> None:
    if value not in valid:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, valid))}, not {value!r}")


def _convolution(
    channels: int, filters: int, kernel: int, strides: int, start: str = "he_normal", **options: Any
) -> keras.layers.Conv2D:
    """A convolution from `channels` to `filters` without bias, He-normal (arXiv:1502.01852), for `_convolve`."""
    options |= {"use_bias": False, "kernel_initializer": start, "padding": "same" if strides == 1 else "valid"}
    convolution = keras.layers.Conv2D(filters, kernel, strides, **options)
    convolution.build((None, None, None, channels))
    return convolution


def _convolve(convolution: keras.layers.Conv2D, x: Tensor) -> Tensor:
    """Apply `convolution` with equal padding on all sides; "same" would pad a strided one only right and below."""
    side = (convolution.kernel_size[0] - 1) // 2
    if convolution.padding == "valid" and side:
        x = ops.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))  # (B, H + 2 side, W + 2 side, C)
    return convolution(x)  # (B, ceil(H / strides), ceil(W / strides), filters)


def _normalization(channels: int, start: str = "ones", **options: Any) -> keras.layers.BatchNormalization:
    """BN with torch's constants (its momentum 0.1 is Keras's 0.9); Keras computes it in float32 under any policy."""
    bn = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=start, **options)
    bn.build((None, None, None, channels))
    return bn


class _Block(keras.layers.Layer):
    """What both blocks share: y = F(x) + h(x). A subclass says which convolutions F has.

    Weights are in the order in which they are applied: those of F first, then those of the projection.
    """

    expansion = 1  # channels_out = expansion * filters

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        *,
        preactivation: bool = False,
        shortcut: Shortcut = "projection",
        zero_init_last: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _one_of("shortcut", shortcut, SHORTCUTS)
        if filters < 1 or strides < 1:
            raise ValueError(f"filters and strides must be at least 1, not {filters} and {strides}")
        self.filters, self.strides, self.channels_out = filters, strides, self.expansion * filters
        self.preactivation, self.shortcut, self.zero_init_last = preactivation, shortcut, zero_init_last

    def branch(self) -> list[tuple[int, int, int]]:
        """The convolutions of F in order: (filters, kernel size, strides)."""
        raise NotImplementedError

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the layers of F and of the shortcut, for x of shape (B, H, W, C) with C known."""
        channels = input_shape[-1]
        if channels is None or (self.shortcut == "identity" and channels > self.channels_out):
            raise ValueError(f"no shortcut {self.shortcut!r} leads from {channels} to {self.channels_out} channels")
        if self.preactivation:
            self.preactivate = _normalization(channels, dtype=self.dtype_policy, name="preactivation")
        self.residual = self._make_residual(channels)
        projects = self.shortcut == "projection" and self._changes_shape(channels)
        self.projection = self._make_projection(channels) if projects else []

    def _changes_shape(self, channels: int) -> bool:
        """Whether x of so many channels has another shape than F(x)."""
        return self.strides != 1 or channels != self.channels_out

    def _make_residual(self, channels: int) -> list[keras.layers.Layer]:
        layers: list[keras.layers.Layer] = []
        branch, dtype = self.branch(), self.dtype_policy
        for number, (filters, kernel, strides) in enumerate(branch, 1):
            # What starts at zero is what ends F: the scale of a BN (2015) or the kernel of a convolution (2016).
            bare = self.preactivation and number == len(branch)  # a convolution that no BN follows
            zero = self.zero_init_last and number == len(branch)
            start = "zeros" if zero and bare else "he_normal"
            layers.append(_convolution(channels, filters, kernel, strides, start, dtype=dtype, name=f"conv{number}"))
            if not bare:
                layers.append(_normalization(filters, "zeros" if zero else "ones", dtype=dtype, name=f"bn{number}"))
            channels = filters
        return layers

    def _make_projection(self, channels: int) -> list[keras.layers.Layer]:
        dtype = self.dtype_policy
        convolution = _convolution(channels, self.channels_out, 1, self.strides, dtype=dtype, name="projection")
        if self.preactivation:  # what it reads is normalised already
            return [convolution]
        return [convolution, _normalization(self.channels_out, dtype=dtype, name="projection_bn")]

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """(B, H, W, C) -> (B, ceil(H / strides), ceil(W / strides), channels_out), in the compute dtype."""
        start = ops.relu(self.preactivate(x, training=training)) if self.preactivation else x
        f = self._apply(self.residual, start, training)
        if self.projection:
            return self._join(f, self._apply(self.projection, start, training))
        return self._join(f, None if self.shortcut is None else self._identity(x))

    def _join(self, f: Tensor, h: Tensor | None) -> Tensor:
        """F(x) + h(x), and the relu of 2015."""
        y = f if h is None else f + h
        return y if self.preactivation else ops.relu(y)

    @staticmethod
    def _apply(layers: list[keras.layers.Layer], x: Tensor, training: bool | None) -> Tensor:
        """Convolutions and BNs in order; a relu follows each BN but one that ends the list, whose turn is the sum."""
        for layer in layers:
            if isinstance(layer, keras.layers.Conv2D):
                x = _convolve(layer, x)
            else:
                x = layer(x, training=training)
                x = x if layer is layers[-1] else ops.relu(x)
        return x

    def _identity(self, x: Tensor) -> Tensor:
        """x, or where the shape changes option A: every strides-th pixel, and zeros for the channels that x lacks."""
        if not self._changes_shape(x.shape[-1]):
            return x
        x = x[:, :: self.strides, :: self.strides, :]  # (B, ceil(H / strides), ceil(W / strides), C)
        missing = self.channels_out - x.shape[-1]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))  # (..., channels_out)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """(B, H, W, C) -> (B, ceil(H / strides), ceil(W / strides), channels_out); unknown sizes stay None."""
        batch, *size, _ = input_shape
        return (batch, *(n and -(-n // self.strides) for n in size), self.channels_out)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("filters", "strides", "preactivation", "shortcut", "zero_init_last")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="touchstone")
class ResidualBlock(_Block):
    """Two 3x3 convolutions and a shortcut (He et al. 2015, figure 5 left); the first convolution strides.

    Args:
        filters: channels of both convolutions, and of the output.
        strides: step of the first convolution and of the shortcut, in pixels.
        preactivation: BN and relu before each convolution, none after the sum (2016), instead of after it (2015).
        shortcut: "projection" (option B), "identity" (option A) or None (plain). Where the shape stays, both of the
            former pass x on as it is.
        zero_init_last: start with F = 0. Post-activation, the scale of the last BN is zero; pre-activation, where F
            ends in a convolution, the kernel of that.
        **kwargs: `name`, `dtype` and the like of a Keras layer.

    Call arguments: x of shape (B, H, W, C), and `training`.
    Returns: (B, ceil(H / strides), ceil(W / strides), filters) in the policy's compute dtype.
    Raises: ValueError for an unknown shortcut, and for an identity shortcut to fewer channels.

    >>> tuple(ResidualBlock(32, strides=2)(keras.ops.ones((1, 8, 8, 16))).shape)
    (1, 4, 4, 32)
    """

    def branch(self) -> list[tuple[int, int, int]]:
        """3x3, 3x3."""
        return [(self.filters, 3, self.strides), (self.filters, 3, 1)]


@keras.saving.register_keras_serializable(package="touchstone")
class BottleneckBlock(_Block):
    """A 1x1 that narrows, a 3x3, a 1x1 that widens four times, and a shortcut (He et al. 2015, figure 5 right).

    Args, calls and errors as in `ResidualBlock`, but the output has 4 * filters channels, and
        stride_on: "3x3" (v1.5, torchvision) or "1x1" (v1, the paper): the convolution that strides.
    """

    expansion = 4

    def __init__(self, filters: int, strides: int = 1, *, stride_on: str = V1_5, **kwargs: Any) -> None:
        super().__init__(filters, strides, **kwargs)
        _one_of("stride_on", stride_on, (V1_5, V1))
        self.stride_on = stride_on

    def branch(self) -> list[tuple[int, int, int]]:
        """1x1, 3x3, 1x1."""
        on_1x1, on_3x3 = (self.strides, 1) if self.stride_on == V1 else (1, self.strides)
        return [(self.filters, 1, on_1x1), (self.filters, 3, on_3x3), (self.channels_out, 1, 1)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stride_on": self.stride_on}


@dataclass(frozen=True)
class Architecture:
    """One member of a family: which block, how many of it in each stage, and the filters of each stage.

    Every stage but the first begins with a block of strides 2.
    """

    block: type[_Block]
    repeats: tuple[int, ...]
    filters: tuple[int, ...]


_IMAGENET_FILTERS = (64, 128, 256, 512)
IMAGENET: dict[int, Architecture] = {  # He et al. 2015, table 1
    18: Architecture(ResidualBlock, (2, 2, 2, 2), _IMAGENET_FILTERS),
    34: Architecture(ResidualBlock, (3, 4, 6, 3), _IMAGENET_FILTERS),
    50: Architecture(BottleneckBlock, (3, 4, 6, 3), _IMAGENET_FILTERS),
    101: Architecture(BottleneckBlock, (3, 4, 23, 3), _IMAGENET_FILTERS),
    152: Architecture(BottleneckBlock, (3, 8, 36, 3), _IMAGENET_FILTERS),
}


def _cifar(n: int) -> Architecture:
    return Architecture(ResidualBlock, (n, n, n), (16, 32, 64))


CIFAR: dict[int, Architecture] = {  # section 4.2 and table 6: depth 6n + 2; `cifar_resnet` takes every n
    6 * n + 2: _cifar(n) for n in (3, 5, 7, 9, 18, 200)
}


def imagenet_resnet(
    depth: int,
    *,
    preactivation: bool = False,
    shortcut: Shortcut = "projection",
    stride_on: str = V1_5,
    classes: int = 1000,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    zero_init_last: bool = False,
    dtype: str | None = None,
) -> keras.Model:
    """The ImageNet family: a 7x7 stem of strides 2, a 3x3 max pool of strides 2, and four stages (2015, table 1).

    Args:
        depth: 18 or 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        preactivation: as in `ResidualBlock`; BN and relu follow the last block.
        shortcut: as in `ResidualBlock`; None gives the plain net of the same depth.
        stride_on: "3x3" (v1.5; 4.09e9 multiply-adds for depth 50) or "1x1" (v1; 3.86e9). Basic blocks have no 1x1.
        classes: how many logits.
        input_shape: (height, width, C) of an image; any size will do, and None is any.
        zero_init_last: as in `ResidualBlock`.
        dtype: the name of a Keras dtype policy for every layer; None is the global one.

    Returns: a functional model from images (B, height, width, C) to float32 logits (B, classes).
    Raises: ValueError for a depth that the family lacks, and whatever the blocks refuse.
    """
    _one_of("depth", depth, tuple(IMAGENET))
    architecture = IMAGENET[depth]
    options: dict[str, Any] = {"preactivation": preactivation, "shortcut": shortcut, "zero_init_last": zero_init_last}
    if architecture.block.expansion > 1:
        options["stride_on"] = stride_on
    elif stride_on != V1_5:
        raise ValueError(f"depth {depth} has no 1x1 convolution to stride on; stride_on must be {V1_5!r}")

    def stem(x: Tensor) -> Tensor:
        x = _stem(x, 64, 7, 2, preactivation, dtype)  # (B, H/2, W/2, 64)
        # A maximum over the pixels that exist: a zero border would win over the negative edge of a pre-activation stem.
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=float("-inf"))
        return keras.layers.MaxPooling2D(3, 2, dtype=dtype, name="stem_pool")(x)  # (B, H/4, W/4, 64)

    return _network(architecture, stem, options, classes, input_shape, dtype, f"imagenet_resnet{depth}")


def cifar_resnet(
    depth: int,
    *,
    shortcut: Shortcut = "identity",
    preactivation: bool = False,
    classes: int = 10,
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    zero_init_last: bool = False,
    dtype: str | None = None,
) -> keras.Model:
    """The CIFAR family: a 3x3 stem and three stages of n basic blocks of 16, 32 and 64 filters (2015, section 4.2).

    It has 97,216 n - 21,926 trainable parameters with shortcuts "identity" and None, and 2,752 more with "projection".

    Args:
        depth: 6n + 2 with n >= 1. `CIFAR` lists those that the paper trains.
        shortcut: as in `ResidualBlock`; the paper's is "identity", and None gives the plain net of the same depth.
        preactivation: as in `ResidualBlock`; BN and relu follow the last block.
        classes: how many logits.
        input_shape: (height, width, C) of an image; any size will do, and None is any.
        zero_init_last: as in `ResidualBlock`.
        dtype: the name of a Keras dtype policy for every layer; None is the global one.

    Returns: a functional model from images (B, height, width, C) to float32 logits (B, classes).
    Raises: ValueError for a depth that is not 6n + 2, and whatever the blocks refuse.
    """
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        published = ", ".join(map(str, CIFAR))
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...; the paper's are {published}), not {depth}")
    options: dict[str, Any] = {"preactivation": preactivation, "shortcut": shortcut, "zero_init_last": zero_init_last}

    def stem(x: Tensor) -> Tensor:
        return _stem(x, 16, 3, 1, preactivation, dtype)  # (B, H, W, 16)

    return _network(_cifar(n), stem, options, classes, input_shape, dtype, f"cifar_resnet{depth}")


def _stem(x: Tensor, filters: int, kernel: int, strides: int, preactivation: bool, dtype: str | None) -> Tensor:
    x = _convolve(_convolution(x.shape[-1], filters, kernel, strides, dtype=dtype, name="stem_conv"), x)
    return x if preactivation else _activated(x, "stem", dtype)  # the first pre-activation block activates by itself


def _activated(x: Tensor, name: str, dtype: str | None) -> Tensor:
    return ops.relu(_normalization(x.shape[-1], dtype=dtype, name=f"{name}_bn")(x))


def _network(
    architecture: Architecture,
    stem: Callable[[Tensor], Tensor],
    options: dict[str, Any],
    classes: int,
    input_shape: tuple[int | None, int | None, int],
    dtype: str | None,
    name: str,
) -> keras.Model:
    """Stem, stages, pooling and logits. `options` go to every block."""
    inputs = keras.Input(input_shape, name="images")
    x = stem(inputs)
    for stage, (repeats, filters) in enumerate(zip(architecture.repeats, architecture.filters, strict=True), 1):
        for index in range(1, repeats + 1):
            strides = 2 if stage > 1 and index == 1 else 1
            block = architecture.block(filters, strides, dtype=dtype, name=f"stage{stage}_block{index}", **options)
            x = block(x)
    if options["preactivation"]:
        x = _activated(x, "last", dtype)  # nothing after the last sum is normalised yet (2016, appendix)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)  # (B, C): a float16 sum could overflow
    return keras.Model(inputs, keras.layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
