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
(kernel - 1) / 2 on every side also where they stride, so that weights trained with torchvision fit. Kernels start
He-normal (arXiv:1502.01852), each drawn apart; BN starts with scale 1, shift 0, mean 0 and variance 1. The blocks are
in `reference/_residual_blocks.py`, the families of networks made of them here.

Deviations from the papers, by name
- *stride position*: the paper strides on the first 1x1 of a bottleneck (v1); the default here is the 3x3 (v1.5),
  which drops no pixel unseen and is what most published weights use. Both are offered as `stride_on`.
- *pre-activation and projection*: a projection reads the activated input and has no BN of its own. The first block of
  a pre-activation net does its own BN-relu, so a first block that keeps its shape passes the stem's raw output on.
- *zero-initialised last scale* (Goyal et al. 2017, section 5.1) is an option: every block then starts as its shortcut.
- *statistics*: BN takes a tenth of the batch's mean and of its variance over m, as Keras does; torch divides the
  variance that it keeps by m - 1.
- *head*: pooling and logits are float32 under every dtype policy; the logits carry no softmax.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, arXiv:1512.03385 (2015).
He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, arXiv:1603.05027 (2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from reference._residual_blocks import (
    V1_5,
    Block,
    BottleneckBlock,
    ResidualBlock,
    Shortcut,
    Tensor,
    convolve,
    new_convolution,
    new_normalization,
    one_of,
)

__all__ = ["CIFAR", "IMAGENET", "Architecture", "BottleneckBlock", "ResidualBlock", "cifar_resnet", "imagenet_resnet"]


@dataclass(frozen=True)
class Architecture:
    """One member of a family: which block, how many of it in each stage, and the filters of each stage.

    Every stage but the first begins with a block of strides 2.
    """

    block: type[Block]
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
    one_of("depth", depth, tuple(IMAGENET))
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
    x = convolve(new_convolution(x.shape[-1], filters, kernel, strides, dtype=dtype, name="stem_conv"), x)
    return x if preactivation else _activated(x, "stem", dtype)  # the first pre-activation block activates by itself


def _activated(x: Tensor, name: str, dtype: str | None) -> Tensor:
    return ops.relu(new_normalization(x.shape[-1], dtype=dtype, name=f"{name}_bn")(x))


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
    inputs = keras.Input(input_shape)
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
