"""What residual networks compute and count, in float64 NumPy, with a bound on what rounding may change.

Every value carries its bound: `Rounded.error` says how far a computation in some dtype may be from `Rounded.value`.
The bounds follow Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: a sum of n products is off by at
most gamma(n) times the sum of the absolute products, in whatever order it is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from suites.properties.numerics import LIBM_ULPS, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma

BN_EPSILON = 1e-5
TF32_ROUNDOFF = 2.0**-11
"""A GPU rounds the factors of float32 convolutions and matrix products to TensorFloat-32."""


@dataclass(frozen=True)
class Counts:
    """What an ImageNet net has without convolution biases: parameters, BN statistics, multiply-adds at 224x224."""

    trainable: int
    statistics: int
    multiply_adds: dict[str, int]
    projections: int


# Parameters, statistics and v1.5 multiply-adds: those of torchvision 0.29. v1: those of keras.applications 3.15, whose
# multiply-adds do not depend on its biases.
IMAGENET = {
    18: Counts(11_689_512, 9_600, {"3x3": 1_814_073_344}, 3),
    34: Counts(21_797_672, 17_024, {"3x3": 3_663_761_408}, 3),
    50: Counts(25_557_032, 53_120, {"3x3": 4_089_184_256, "1x1": 3_857_973_248}, 4),
    101: Counts(44_549_160, 105_344, {"3x3": 7_801_405_440, "1x1": 7_570_194_432}, 4),
    152: Counts(60_192_808, 151_424, {"3x3": 11_513_626_624, "1x1": 11_282_415_616}, 4),
}

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks in each stage of an ImageNet net (He et al. 2015, table 1); from depth 50 they are bottlenecks."""

CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)
"""The depths of CIFAR nets that the paper trains (He et al. 2015, table 6)."""

PREACTIVATION_STATISTICS = {50: 45_440, 101: 97_664, 152: 143_744}
"""BN statistics of keras.applications' ResNet50V2, 101V2 and 152V2; half of them is how many scales there are."""


def preactivation_trainable(depth: int) -> int:
    """Parameters of a pre-activation net: the same kernels, and as many scales and shifts as statistics."""
    post = IMAGENET[depth]
    return post.trainable - post.statistics + PREACTIVATION_STATISTICS[depth]


def cifar_trainable(n: int) -> int:
    """Parameters of the CIFAR net of depth 6n + 2, 3 channels and 10 classes, with option A or plain."""
    return 97_216 * n - 21_926


def cifar_statistics(n: int) -> int:
    """BN statistics of the same."""
    return 448 * n + 32


def cifar_multiply_adds(n: int) -> int:
    """Multiply-adds of the same at 32x32, convolutions and the last layer."""
    return 14_155_776 * n - 1_916_288


PROJECTIONS_ADD = 2_752
"""What option B adds to a CIFAR net: 16 * 32 + 32 * 64 kernel elements, and two BNs of 32 and 64 channels."""


@dataclass(frozen=True)
class Rounded:
    """A float64 truth and how far a computation with rounding may be from it, elementwise."""

    value: np.ndarray
    error: np.ndarray

    @classmethod
    def exact(cls, value: np.ndarray) -> Rounded:
        """A value that the dtype under test represents exactly; complex for slopes."""
        value = np.asarray(value)
        value = value if np.iscomplexobj(value) else value.astype(np.float64)
        return cls(value, np.zeros(value.shape))

    def relu(self) -> Rounded:
        """max(x, 0), of a complex x by its real part: never farther apart than the arguments."""
        return Rounded(np.maximum(self.value, 0), self.error)

    def plus(self, other: Rounded, dtype: str) -> Rounded:
        """The sum, rounded once."""
        value, error = self.value + other.value, self.error + other.error
        return Rounded(value, error + UNIT_ROUNDOFF[dtype] * (np.abs(value) + error))


class Weights:
    """Weights in the order in which they are applied, as the contract has them."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._rest = [np.asarray(array, complex if np.iscomplexobj(array) else float) for array in arrays]

    def take(self, rank: int, what: str) -> np.ndarray:
        """The next weight."""
        assert self._rest, f"{what} is missing: no weights are left"
        array = self._rest.pop(0)
        assert array.ndim == rank, f"{what} should come next, but a weight of shape {array.shape} does"
        return array

    def bn(self, channels: int, what: str) -> list[np.ndarray]:
        """The next scale, shift, moving mean and moving variance."""
        arrays = [self.take(1, f"{name} of {what}") for name in ("gamma", "beta", "mean", "variance")]
        assert all(len(array) == channels for array in arrays), f"{what} should have {channels} channels"
        return arrays

    def end(self) -> None:
        """Assert that nothing is left over."""
        assert not self._rest, f"there are weights too many, of shapes {[array.shape for array in self._rest]}"


@dataclass(frozen=True)
class Oracle:
    """Layers in float64, with bounds for a computation in ``dtype``; ``tf32`` where a GPU computes in float32."""

    dtype: str
    tf32: bool = False

    def convolution(self, x: Rounded, kernel: np.ndarray, strides: int) -> Rounded:
        """(B, H, W, C) -> (B, ceil(H / strides), ceil(W / strides), F), padded alike on all sides."""
        size, _, channels, _ = kernel.shape
        assert x.value.shape[-1] == channels, f"a kernel of {channels} channels meets {x.value.shape[-1]}"
        terms = size * size * channels
        magnitude = _correlate(np.abs(x.value) + x.error, np.abs(kernel), strides)
        relative = gamma(terms + 2, self.dtype) + (3 * TF32_ROUNDOFF if self.tf32 else 0)
        tiny = (terms + 2) * SMALLEST_SUBNORMAL[self.dtype]
        error = _correlate(x.error, np.abs(kernel), strides) + relative * magnitude + tiny
        return Rounded(_correlate(x.value, kernel, strides), error)

    def bn(self, x: Rounded, weights: Sequence[np.ndarray]) -> Rounded:
        """BN at inference. It runs in float32 at least; its result is rounded to ``dtype``."""
        inside = self.dtype if self.dtype == "float64" else "float32"
        scale, shift, mean, variance = weights
        slope = scale / np.sqrt(variance + BN_EPSILON)
        value = (x.value - mean) * slope + shift
        # Ten roundings and a reciprocal root at most, whether as (x - mean) slope or as x slope - mean slope.
        magnitude = (np.abs(x.value) + x.error + np.abs(mean)) * np.abs(slope) + np.abs(shift)
        error = x.error * np.abs(slope) + gamma(10 + 2 * LIBM_ULPS, inside) * magnitude
        rounding = UNIT_ROUNDOFF[self.dtype] * (np.abs(value) + error) + SMALLEST_SUBNORMAL[self.dtype]
        return Rounded(value, error + rounding)

    def block(
        self,
        x: Rounded,
        weights: Weights,
        branch: Sequence[tuple[int, int, int]],
        *,
        preactivation: bool,
        shortcut: str | None,
    ) -> Rounded:
        """A residual block whose F has the convolutions ``branch``: (filters, kernel size, strides) each."""
        channels_in, channels_out = x.value.shape[-1], branch[-1][0]
        strides = int(np.prod([step for _, _, step in branch]))
        changes_shape = strides != 1 or channels_in != channels_out
        start = self.bn(x, weights.bn(channels_in, "the first BN")).relu() if preactivation else x

        f = start
        for number, (filters, size, step) in enumerate(branch, 1):
            kernel = weights.take(4, f"the kernel of convolution {number}")
            assert kernel.shape == (size, size, f.value.shape[-1], filters), f"convolution {number}: {kernel.shape}"
            f = self.convolution(f, kernel, step)
            if not (preactivation and number == len(branch)):
                f = self.bn(f, weights.bn(filters, f"the BN after convolution {number}"))
            if number < len(branch):
                f = f.relu()

        if shortcut == "projection" and changes_shape:
            h = self.convolution(start, weights.take(4, "the kernel of the projection"), strides)
            if not preactivation:
                h = self.bn(h, weights.bn(channels_out, "the BN of the projection"))
            f = f.plus(h, self.dtype)
        elif shortcut is not None:
            f = f.plus(strided_identity(x, strides, channels_out), self.dtype)
        return f if preactivation else f.relu()

    def pool(self, x: Rounded) -> Rounded:
        """The greatest of every other 3x3 window, among pixels that exist: (B, H, W, C) -> (B, H / 2, W / 2, C)."""
        value, error = (
            sliding_window_view(
                np.pad(array, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=outside), (3, 3), (1, 2)
            )
            for array, outside in ((x.value, -np.inf), (x.error, 0))
        )
        return Rounded(value[:, ::2, ::2].max((-2, -1)), error[:, ::2, ::2].max((-2, -1)))

    def net(
        self,
        x: Rounded,
        weights: Weights,
        repeats: Sequence[int],
        *,
        bottleneck: bool = False,
        preactivation: bool,
        shortcut: str | None,
    ) -> Rounded:
        """A whole net, (B, H, W, C) -> logits (B, classes), whose head runs in float32.

        Three stages are the CIFAR family, four are ImageNet's; their blocks stride on a 3x3.
        """
        imagenet = len(repeats) == 4
        stages = (64, 128, 256, 512) if imagenet else (16, 32, 64)
        f = self.convolution(x, weights.take(4, "the kernel of the stem"), 2 if imagenet else 1)
        if not preactivation:
            f = self.bn(f, weights.bn(stages[0], "the BN of the stem")).relu()
        f = self.pool(f) if imagenet else f
        for stage, (filters, blocks) in enumerate(zip(stages, repeats, strict=True)):
            for index in range(blocks):
                strides = 2 if stage and index == 0 else 1
                branch = [(filters, 3, strides), (filters, 3, 1)]
                if bottleneck:
                    branch = [(filters, 1, 1), (filters, 3, strides), (4 * filters, 1, 1)]
                f = self.block(f, weights, branch, preactivation=preactivation, shortcut=shortcut)
        if preactivation:
            f = self.bn(f, weights.bn(f.value.shape[-1], "the last BN")).relu()
        kernel, bias = weights.take(2, "the kernel of the logits"), weights.take(1, "the bias of the logits")
        weights.end()
        # Mean over the image, then a matrix product: a sum of pixels * channels products, and a few roundings more.
        pooled, error = f.value.mean((1, 2)), f.error.mean((1, 2))  # (B, channels)
        magnitude = (np.abs(f.value).mean((1, 2)) + error) @ np.abs(kernel) + np.abs(bias)
        roundings = gamma(f.value[0].size + 8, "float32") + (3 * TF32_ROUNDOFF if self.tf32 else 0)
        return Rounded(pooled @ kernel + bias, error @ np.abs(kernel) + roundings * magnitude)


def strided_identity(x: Rounded, strides: int, channels: int) -> Rounded:
    """Option A: every strides-th pixel, zeros in the new channels."""
    grow = ((0, 0), (0, 0), (0, 0), (0, channels - x.value.shape[-1]))
    return Rounded(
        np.pad(x.value[:, ::strides, ::strides], grow),  # (B, ceil(H / strides), ceil(W / strides), channels)
        np.pad(x.error[:, ::strides, ::strides], grow),
    )


def _correlate(x: np.ndarray, kernel: np.ndarray, strides: int) -> np.ndarray:
    """(B, H, W, C) with (k, k, C, F) -> (B, ceil(H / strides), ceil(W / strides), F)."""
    size = kernel.shape[0]
    side = (size - 1) // 2
    padded = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))  # (B, H, W, C, k, k)
    return np.einsum("bhwcij,ijcf->bhwf", windows[:, ::strides, ::strides], kernel, optimize=True)
