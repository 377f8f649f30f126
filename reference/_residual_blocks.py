"""Blocks of residual networks: y = F(x) + h(x), where F is what is learned and h the shortcut around it.

What F and h are, and the names of the shortcuts, stands at the top of `reference/residual.py`. Images are (B, H, W, C),
height, width and channels, with the channels last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

Tensor = Any  # a tensor of whichever backend Keras runs on, or a symbolic one
Shortcut = Literal["projection", "identity"] | None
SHORTCUTS: tuple[Shortcut, ...] = ("projection", "identity", None)
V1, V1_5 = "1x1", "3x3"  # which convolution of a bottleneck strides: He et al. 2015, and torchvision


def one_of(name: str, value: object, valid: Sequence[object]) -> None:
    """Refuse a value that is none of the valid ones."""
    if value not in valid:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, valid))}, not {value!r}")


def new_convolution(
    channels: int, filters: int, kernel: int, strides: int, start: str = "he_normal", **options: Any
) -> keras.layers.Conv2D:
    """A convolution from `channels` to `filters` without bias, He-normal (arXiv:1502.01852), for `convolve`."""
    options |= {"use_bias": False, "kernel_initializer": start, "padding": "same" if strides == 1 else "valid"}
    convolution = keras.layers.Conv2D(filters, kernel, strides, **options)
    convolution.build((None, None, None, channels))
    return convolution


def convolve(convolution: keras.layers.Conv2D, x: Tensor) -> Tensor:
    """Apply `convolution` with equal padding on all sides; "same" would pad a strided one only right and below."""
    side = (convolution.kernel_size[0] - 1) // 2
    if convolution.padding == "valid" and side:
        x = ops.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))  # (B, H + 2 side, W + 2 side, C)
    return convolution(x)  # (B, ceil(H / strides), ceil(W / strides), filters)


def new_normalization(channels: int, start: str = "ones", **options: Any) -> keras.layers.BatchNormalization:
    """BN with torch's constants (its momentum 0.1 is Keras's 0.9); Keras computes it in float32 under any policy."""
    bn = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=start, **options)
    bn.build((None, None, None, channels))
    return bn


class Block(keras.layers.Layer):
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
        one_of("shortcut", shortcut, SHORTCUTS)
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
            self.preactivate = new_normalization(channels, dtype=self.dtype_policy, name="preactivation")
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
            layers.append(new_convolution(channels, filters, kernel, strides, start, dtype=dtype, name=f"conv{number}"))
            if not bare:
                layers.append(new_normalization(filters, "zeros" if zero else "ones", dtype=dtype, name=f"bn{number}"))
            channels = filters
        return layers

    def _make_projection(self, channels: int) -> list[keras.layers.Layer]:
        dtype = self.dtype_policy
        convolution = new_convolution(channels, self.channels_out, 1, self.strides, dtype=dtype, name="projection")
        if self.preactivation:  # what it reads is normalised already
            return [convolution]
        return [convolution, new_normalization(self.channels_out, dtype=dtype, name="projection_bn")]

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
                x = convolve(layer, x)
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
class ResidualBlock(Block):
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
class BottleneckBlock(Block):
    """A 1x1 that narrows, a 3x3, a 1x1 that widens four times, and a shortcut (He et al. 2015, figure 5 right).

    Args, calls and errors as in `ResidualBlock`, but the output has 4 * filters channels, and
        stride_on: "3x3" (v1.5, torchvision) or "1x1" (v1, the paper): the convolution that strides.
    """

    expansion = 4

    def __init__(self, filters: int, strides: int = 1, *, stride_on: str = V1_5, **kwargs: Any) -> None:
        super().__init__(filters, strides, **kwargs)
        one_of("stride_on", stride_on, (V1_5, V1))
        self.stride_on = stride_on

    def branch(self) -> list[tuple[int, int, int]]:
        """1x1, 3x3, 1x1."""
        on_1x1, on_3x3 = (self.strides, 1) if self.stride_on == V1 else (1, self.strides)
        return [(self.filters, 1, on_1x1), (self.filters, 3, on_3x3), (self.channels_out, 1, 1)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stride_on": self.stride_on}
