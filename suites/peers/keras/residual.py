"""Residual networks of ``keras.applications``: ResNet50, 101 and 152, and their V2, behind ``imagenet_resnet``.

Keras has no residual block and no CIFAR family, so those names are missing here. Its nets differ from the reference in
conventions that are nobody's defect: convolutions have biases, bottlenecks stride on their first 1x1 (V2: on the 3x3 of
a stage's last block), and the epsilon of BN is 1.001e-5. Images must be at least 32 pixels high and wide.
"""

from typing import Any

import keras

from suites.implementations import KnownDefect, NotProvided

CONVOLUTION_BIAS = True

_NETS = {
    (50, False): keras.applications.ResNet50,
    (101, False): keras.applications.ResNet101,
    (152, False): keras.applications.ResNet152,
    (50, True): keras.applications.ResNet50V2,
    (101, True): keras.applications.ResNet101V2,
    (152, True): keras.applications.ResNet152V2,
}
_MIXED = ("mixed_float16", "mixed_bfloat16")

KNOWN_DEFECTS = {
    "imagenet_logits_are_float32": KnownDefect(
        "keras.applications builds its last layer under the global policy, so that logits have the compute dtype",
        link="https://keras.io/api/mixed_precision/",
        precisions=_MIXED,
    ),
}


def imagenet_resnet(
    depth: int,
    *,
    preactivation: bool = False,
    shortcut: str | None = "projection",
    stride_on: str | None = None,
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    zero_init_last: bool = False,
    dtype: str | None = None,
) -> Any:
    """An untrained net of ``keras.applications``, from images to logits.

    Args:
        depth: 50, 101 or 152.
        preactivation: V2 instead of V1.
        shortcut: "projection".
        stride_on: "1x1", or "3x3" for V2, which is also what is meant by None.
        classes: how many logits.
        input_shape: (height, width, C), with height and width of at least 32.
        zero_init_last: False.
        dtype: the name of a Keras dtype policy; it is the global one while the net is built, and no longer.

    Raises:
        NotProvided: ``keras.applications`` has no such net.
    """
    if (depth, preactivation) not in _NETS:
        raise NotProvided(f"keras.applications has no ResNet of depth {depth}")
    if shortcut != "projection" or zero_init_last:
        raise NotProvided("keras.applications has projections only, and starts every scale at one")
    own = "3x3" if preactivation else "1x1"
    if stride_on not in (None, own):
        raise NotProvided(f"keras.applications strides on the {own}")
    if min(input_shape[:2]) < 32:
        raise NotProvided("keras.applications takes images of at least 32x32")
    before = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        net = _NETS[depth, preactivation]
        return net(weights=None, input_shape=input_shape, classes=classes, classifier_activation=None)
    finally:
        keras.config.set_dtype_policy(before)
