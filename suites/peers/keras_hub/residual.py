"""Residual networks of KerasHub: `ResNetBackbone` and `ResNetImageClassifier` behind ``imagenet_resnet``.

KerasHub has no block of its own, only functions that build one into a functional model, and no CIFAR family. Its nets
have the reference's conventions: no bias, stride on the 3x3, symmetric padding, and an epsilon of 1e-5.
"""

import re
from typing import Any

import keras_hub

from suites.implementations import KnownDefect, NotProvided

KNOWN_DEFECTS = {
    "names_are_those_of_any_other_net": KnownDefect(
        "A net and its backbone are called by numbers that Keras gives; the layers with weights have names."
    ),
    "net_config_round_trip": KnownDefect(
        "The configuration of an ImageClassifier leaves out its `head_dtype`: the copy's head runs in the backbone's "
        "dtype.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
}

_BLOCKS = {
    18: ("basic_block", [2, 2, 2, 2]),
    34: ("basic_block", [3, 4, 6, 3]),
    50: ("bottleneck_block", [3, 4, 6, 3]),
    101: ("bottleneck_block", [3, 4, 23, 3]),
    152: ("bottleneck_block", [3, 8, 36, 3]),
}


def imagenet_resnet(
    depth: int,
    *,
    preactivation: bool = False,
    shortcut: str | None = "projection",
    stride_on: str = "3x3",
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    zero_init_last: bool = False,
    dtype: str | None = None,
) -> Any:
    """An untrained net of KerasHub, from images to float32 logits.

    Args:
        depth: 18, 34, 50, 101 or 152.
        preactivation: V2 instead of V1.
        shortcut: "projection".
        stride_on: "3x3".
        classes: how many logits.
        input_shape: (height, width, C).
        zero_init_last: False.
        dtype: the name of a Keras dtype policy for the backbone; the head is told to run in float32.

    Raises:
        NotProvided: KerasHub has no such net.
    """
    if depth not in _BLOCKS:
        raise NotProvided(f"KerasHub has no preset ResNet of depth {depth}")
    if shortcut != "projection" or zero_init_last or stride_on != "3x3":
        raise NotProvided("KerasHub's ResNet has projections only, strides on the 3x3, and starts every scale at one")
    block, repeats = _BLOCKS[depth]
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=repeats,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block,
        use_pre_activation=preactivation,
        image_shape=input_shape,
        dtype=dtype,
    )
    return keras_hub.models.ResNetImageClassifier(backbone, classes, activation=None, head_dtype="float32")


def in_order(net: Any) -> list[Any]:
    """The weights of a net in the contract's order: a projection, which KerasHub numbers 0, comes after its branch."""

    def place(layer: Any) -> tuple[int, ...]:
        stack = re.fullmatch(r"stack(\d)_block(\d+)_(pre_activation|\d)_(conv|bn)", layer.name)
        if stack is None:
            return (9 if layer.name.startswith("post") else -1, layer.name.endswith("bn"))
        index, block, step, kind = stack.groups()
        return int(index), int(block), ("pre_activation", *"1230").index(step), kind == "bn"

    layers = sorted((layer for layer in net.backbone.layers if layer.weights), key=place)
    return [weight for layer in [*layers, net.output_dense] for weight in layer.weights]
