"""Wrong residual networks. The first five are the defects of the guide's sketch; the others are common ones."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import ops

from reference import _residual_blocks
from reference import residual as reference
from suites.selftest.variants import Variant, changed, edited, override

Net = Callable[..., keras.Model]
BOTH = ("float32", "mixed_float16")


def cifar_of(block: type[keras.layers.Layer]) -> Net:
    """The CIFAR family made of another block."""

    def cifar_resnet(depth: int, **options: Any) -> keras.Model:
        with mock.patch.object(reference, "ResidualBlock", block):
            return reference.cifar_resnet(depth, **options)

    return cifar_resnet


def imagenet_of_four(end: Callable[[Any], Any] = lambda logits: logits) -> Net:
    """The ImageNet family with one block per stage whatever the depth, and with something done to its logits."""

    def imagenet_resnet(depth: int, **options: Any) -> keras.Model:
        shallow = replace(reference.IMAGENET[depth], repeats=(1, 1, 1, 1))
        with mock.patch.dict(reference.IMAGENET, {depth: shallow}):
            net = reference.imagenet_resnet(depth, **options)
        return keras.Model(net.input, end(net.output))

    return imagenet_resnet


def imagenet_with_zeros_around(depth: int, **options: Any) -> keras.Model:
    """The ImageNet family whose max pool is padded like a convolution."""

    def pad(x: Any, width: Any, constant_values: float = 0) -> Any:  # noqa: ARG001 - the defect
        return ops.pad(x, width)

    with mock.patch.object(reference, "ops", SimpleNamespace(pad=pad, relu=ops.relu)):
        return reference.imagenet_resnet(depth, **options)


def cifar_beginning_with(start: Callable[[Any], Any]) -> Net:
    """The CIFAR family with something done to its images."""

    def cifar_resnet(depth: int, **options: Any) -> keras.Model:
        net = reference.cifar_resnet(depth, **options)
        images = keras.Input(net.input.shape[1:])
        return keras.Model(images, net(start(images)))

    return cifar_resnet


def cifar_ending_in(end: Callable[[Any], Any]) -> Net:
    """The CIFAR family with something done to its logits."""

    def cifar_resnet(depth: int, **options: Any) -> keras.Model:
        net = reference.cifar_resnet(depth, **options)
        return keras.Model(net.input, end(net.output))

    return cifar_resnet


class TakesNoStrides(reference.ResidualBlock):
    def __init__(self, filters: int, **options: Any) -> None:
        super().__init__(filters, **options)


class NeverStrides(reference.ResidualBlock):
    def __init__(self, filters: int, strides: int = 1, **options: Any) -> None:  # noqa: ARG002 - the defect
        super().__init__(filters, 1, **options)


class ProjectsForChannelsOnly(reference.ResidualBlock):
    def _changes_shape(self, channels: int) -> bool:
        return channels != self.filters


class ProjectionWithoutBN(reference.ResidualBlock):
    def _make_projection(self, channels: int) -> list[keras.layers.Layer]:
        return super()._make_projection(channels)[:1]


class ProjectsAlways(reference.ResidualBlock):
    def _changes_shape(self, channels: int) -> bool:  # noqa: ARG002 - the defect
        return True


class NoFinalReLU(reference.ResidualBlock):
    def _join(self, f: Any, h: Any) -> Any:
        return f if h is None else f + h


class ReLUBeforeSum(reference.ResidualBlock):
    def _join(self, f: Any, h: Any) -> Any:
        return super()._join(f if self.preactivation else ops.relu(f), h)


class ReLUAfterEverySum(reference.ResidualBlock):
    def _join(self, f: Any, h: Any) -> Any:
        return ops.relu(super()._join(f, h))


class BNAfterSum(reference.ResidualBlock):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.after = keras.layers.BatchNormalization(dtype=self.dtype_policy)
        self.after.build((None, None, None, self.filters))

    def _join(self, f: Any, h: Any) -> Any:
        return ops.relu(self.after(f if h is None else f + h))


class ShortcutDropped(reference.ResidualBlock):
    def _join(self, f: Any, h: Any) -> Any:  # noqa: ARG002 - the defect
        return super()._join(f, None)


class ShortcutDetached(reference.ResidualBlock):
    def _join(self, f: Any, h: Any) -> Any:
        return super()._join(f, None if h is None else ops.stop_gradient(h))


class ShortcutActivated(reference.ResidualBlock):
    def _identity(self, x: Any) -> Any:
        return super()._identity(ops.relu(x))


class StridesLate(reference.ResidualBlock):
    def branch(self) -> list[tuple[int, int, int]]:
        return [(self.filters, 3, 1), (self.filters, 3, self.strides)]


class StridesOnTheOther(reference.BottleneckBlock):
    def branch(self) -> list[tuple[int, int, int]]:
        (first, size, one), (middle, middle_size, other), last = super().branch()
        return [(first, size, other), (middle, middle_size, one), last]


class PadsChannelsInFront(reference.ResidualBlock):
    def _identity(self, x: Any) -> Any:
        missing = self.filters - x.shape[-1]
        return ops.roll(super()._identity(x), missing, axis=-1)


class CropsInsteadOfStriding(reference.ResidualBlock):
    def _identity(self, x: Any) -> Any:
        height, width = (-(-n // self.strides) for n in x.shape[1:3])
        x = x[:, :height, :width]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.filters - x.shape[-1])))


class PadsRightAndBelow(reference.ResidualBlock):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for layer in self.residual:
            if isinstance(layer, keras.layers.Conv2D):
                layer.padding = "same"


def convolve_padding_before(convolution: keras.layers.Conv2D, x: Any) -> Any:
    """All padding comes before the image, above and on the left."""
    before = convolution.kernel_size[0] - 1
    x = ops.pad(x, ((0, 0), (before, 0), (before, 0), (0, 0)))
    return ops.conv(x, ops.cast(convolution.kernel, x.dtype), convolution.strides)


class PadsLeftAndAbove(reference.ResidualBlock):
    def call(self, x: Any, training: bool | None = None) -> Any:
        with mock.patch.object(_residual_blocks, "convolve", convolve_padding_before):
            return super().call(x, training=training)


class ActivatesInPlace(reference.ResidualBlock):
    def __call__(self, x: Any, **options: Any) -> Any:
        if isinstance(x, np.ndarray):
            np.maximum(x, 0, out=x)
        return super().__call__(x, **options)


class ZeroInitIgnored(reference.ResidualBlock):
    def build(self, input_shape: Any) -> None:
        asked, self.zero_init_last = self.zero_init_last, False
        super().build(input_shape)
        self.zero_init_last = asked


class ZeroInitOfFirstScale(ZeroInitIgnored):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.zero_init_last and not self.preactivation:
            self.residual[1].gamma.assign(ops.zeros(self.filters))


class TrainsAlways(reference.ResidualBlock):
    def call(self, x: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - the defect
        return super().call(x, training=True)


class ForgetsShortcut(reference.ResidualBlock):
    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "shortcut"}


@keras.saving.register_keras_serializable(package="touchstone_variants")
class ForgetsStrides(reference.ResidualBlock):
    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "strides"}


class ComputesInFloat32(reference.ResidualBlock):
    def __init__(self, filters: int, strides: int = 1, **options: Any) -> None:
        super().__init__(filters, strides, **{**options, "dtype": "float32"})


class BN(keras.layers.BatchNormalization):
    """BN written out in training, to be made wrong."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trains(inputs)):
            return super().call(inputs, training=False, mask=mask)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = ops.moments(x, self.over, keepdims=True)
        n = float(np.prod([x.shape[axis] for axis in self.over]))
        kept = self.keeps(ops.mean(mean, (0, 1, 2)), ops.mean(variance, (0, 1, 2)), n)
        for moving, batch in zip((self.moving_mean, self.moving_variance), kept, strict=True):
            moving.assign(self.momentum * moving + (1 - self.momentum) * batch)
        y = self.normalises(x, mean, variance, n) * self.gamma + self.beta
        return ops.cast(y, self.compute_dtype)

    over: tuple[int, ...] = (0, 1, 2)

    def trains(self, inputs: Any) -> bool:  # noqa: ARG002 - for others
        return True

    def keeps(self, mean: Any, variance: Any, n: float) -> tuple[Any, Any]:  # noqa: ARG002 - for others
        return mean, variance

    def normalises(self, x: Any, mean: Any, variance: Any, n: float) -> Any:  # noqa: ARG002 - for others
        return (x - mean) / ops.sqrt(variance + self.epsilon)


class MeanCorrected(BN):
    def keeps(self, mean: Any, variance: Any, n: float) -> tuple[Any, Any]:
        return mean * n / max(n - 1, 1), variance


class MeanOfNormalised(BN):
    def keeps(self, mean: Any, variance: Any, n: float) -> tuple[Any, Any]:  # noqa: ARG002
        return ops.zeros_like(mean), variance


class KeepsTheDeviation(BN):
    def keeps(self, mean: Any, variance: Any, n: float) -> tuple[Any, Any]:  # noqa: ARG002
        return mean, ops.sqrt(variance)


class EachImageAlone(BN):
    over = (1, 2)


class NotForOneImage(BN):
    def trains(self, inputs: Any) -> bool:
        return bool(inputs.shape[0] != 1)


def with_bn(kind: type[BN]) -> Any:
    """The reference with another BN, in blocks and nets."""

    def new_normalization(channels: int, start: str = "ones", **options: Any) -> keras.layers.BatchNormalization:
        bn = kind(momentum=0.9, epsilon=1e-5, gamma_initializer=start, **options)
        bn.build((None, None, None, channels))
        return bn

    return changed(_residual_blocks, reference, new_normalization=new_normalization)


class NeverTrains(BN):
    def trains(self, inputs: Any) -> bool:  # noqa: ARG002 - the defect
        return False


def activated_by_moving_statistics(x: Any, name: str, dtype: str | None) -> Any:
    return ops.relu(NeverTrains(momentum=0.9, epsilon=1e-5, dtype=dtype, name=f"{name}_bn")(x))


class ForgetsZeroInit(reference.ResidualBlock):
    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "zero_init_last"}


class ForgetsTheRest(reference.ResidualBlock):
    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {name: value for name, value in config.items() if name not in ("name", "trainable")}


def one_block_more(depth: int, **options: Any) -> keras.Model:
    return reference.cifar_resnet(depth + 6, **options)


def strides_on_the_other(depth: int, *, stride_on: str = "3x3", **options: Any) -> keras.Model:
    if depth < 50:
        return reference.imagenet_resnet(depth, **options)
    return reference.imagenet_resnet(depth, stride_on={"3x3": "1x1", "1x1": "3x3"}[stride_on], **options)


def any_depth(depth: int, **options: Any) -> keras.Model:
    return reference.cifar_resnet(depth - (depth - 2) % 6, **options)


def ten_classes(depth: int, *, classes: int = 10, **options: Any) -> keras.Model:  # noqa: ARG001 - the defect
    return reference.cifar_resnet(depth, **options)


def _block(
    name: str, defect: str, block: type[keras.layers.Layer], *caught_by: str, in_net: bool = False, **options: Any
) -> Variant:
    names: dict[str, Any] = {"ResidualBlock": block}
    if issubclass(block, reference.BottleneckBlock):
        names = {"BottleneckBlock": block}
    if in_net:
        names["cifar_resnet"] = cifar_of(block)
    else:  # cheap enough to be run twice
        options.setdefault("precisions", BOTH)
    return Variant(name, defect, caught_by, override(reference, **names), **options)


def _net(name: str, defect: str, *caught_by: str, precisions: tuple[str, ...] = ("float32",), **names: Net) -> Variant:
    return Variant(name, defect, caught_by, override(reference, **names), precisions)


def _bn(name: str, defect: str, kind: type[BN], *caught_by: str, **options: Any) -> Variant:
    return Variant(name, defect, caught_by or ("training_equals_oracle",), with_bn(kind), **options)


def _line(name: str, defect: str, old: str, new: str, *caught_by: str, **options: Any) -> Variant:
    return Variant(name, defect, caught_by, edited(_residual_blocks, reference, old=old, new=new), **options)


IN_NETS = ("cifar_net_in_training_equals_oracle", "imagenet_net_in_training_equals_oracle")

VARIANTS = (
    _block(
        "takes_no_strides",
        "the network passes strides to a block that takes none",
        TakesNoStrides,
        "output_shape_and_dtype",
        "cifar_counts",
        in_net=True,
        raises=TypeError,
    ),
    _block(
        "never_strides",
        "the block accepts strides and never strides",
        NeverStrides,
        "output_shape_and_dtype",
        "cifar_multiply_adds",
        in_net=True,
    ),
    _block(
        "projects_for_channels_only",
        "a projection appears only when channels differ, not when the size does",
        ProjectsForChannelsOnly,
        "projection_exactly_when_shape_changes",
        precisions=("float32",),
    ),
    _block(
        "projection_without_bn",
        "the projection has no BN",
        ProjectionWithoutBN,
        "projection_exactly_when_shape_changes",
        "residual_block_equals_oracle",
        "plain_net_counts_as_option_a",
        in_net=True,
    ),
    _block(
        "pads_right_and_below",
        "a strided convolution is padded on the right and below only, as padding='same' does",
        PadsRightAndBelow,
        "residual_block_equals_oracle",
        "cifar_net_equals_oracle",
        in_net=True,
    ),
    _block(
        "pads_left_and_above",
        "convolutions are padded on the left and above only, so that F looks one pixel back",
        PadsLeftAndAbove,
        "flip_equivariance",
        "residual_block_equals_oracle",
    ),
    _block(
        "projects_always",
        "every block has a projection",
        ProjectsAlways,
        "projection_exactly_when_shape_changes",
        "plain_net_counts_as_option_a",
        in_net=True,
    ),
    _block(
        "no_final_relu",
        "the relu after the sum is missing",
        NoFinalReLU,
        "residual_block_equals_oracle",
        "zero_last_scale_leaves_relu_of_input",
    ),
    _block(
        "relu_before_sum",
        "F ends in a relu of its own, so that it can only add",
        ReLUBeforeSum,
        "residual_block_equals_oracle",
    ),
    _block(
        "relu_after_every_sum",
        "a pre-activation block keeps the relu after the sum",
        ReLUAfterEverySum,
        "zero_last_kernel_leaves_input",
        "preactivation_stage_sums_residuals",
        "identity_passes_gradient_undamped",
    ),
    _block(
        "bn_after_sum",
        "BN comes after the sum and normalises the shortcut too",
        BNAfterSum,
        "residual_block_equals_oracle",
        "zero_last_kernel_leaves_input",
    ),
    _block(
        "shortcut_dropped",
        "the shortcut is never added",
        ShortcutDropped,
        "residual_block_equals_oracle",
        "zero_last_kernel_leaves_input",
        "option_a_is_a_strided_identity",
    ),
    _block(
        "shortcut_detached",
        "no gradient passes the shortcut",
        ShortcutDetached,
        "identity_passes_gradient_undamped",
        "gradient_is_right_in_float64",
    ),
    _block(
        "shortcut_activated",
        "the identity carries relu(x)",
        ShortcutActivated,
        "preactivation_stage_sums_residuals",
        "zero_last_kernel_leaves_input",
    ),
    _block(
        "strides_late",
        "a basic block strides on its second convolution",
        StridesLate,
        "residual_block_equals_oracle",
        "cifar_multiply_adds",
        in_net=True,
    ),
    _block(
        "bottleneck_strides_on_the_other",
        "a bottleneck strides on the 1x1 when asked for the 3x3, and the other way round",
        StridesOnTheOther,
        "bottleneck_block_equals_oracle",
    ),
    _net(
        "net_strides_on_the_other",
        "the net strides on the 1x1 when asked for the 3x3, and the other way round",
        "multiply_adds_v1_5",
        "multiply_adds_v1",
        imagenet_resnet=strides_on_the_other,
    ),
    _block(
        "pads_channels_in_front",
        "option A puts the new channels in front of x's",
        PadsChannelsInFront,
        "option_a_is_a_strided_identity",
        "cifar_net_equals_oracle",
        in_net=True,
    ),
    _block(
        "crops_instead_of_striding",
        "option A takes the top left corner, not every other pixel",
        CropsInsteadOfStriding,
        "option_a_is_a_strided_identity",
        "residual_block_equals_oracle",
    ),
    _block(
        "zero_init_ignored",
        "zero_init_last is accepted and does nothing",
        ZeroInitIgnored,
        "zero_last_scale_leaves_relu_of_input",
        "zero_last_kernel_leaves_input",
    ),
    _block(
        "zero_init_of_first_scale",
        "the first scale starts at zero instead of the last, after which F never learns",
        ZeroInitOfFirstScale,
        "only_the_end_of_the_branch_starts_at_zero",
    ),
    _block(
        "trains_always",
        "inference uses the statistics of the batch",
        TrainsAlways,
        "inference_treats_images_alone",
        "net_treats_images_alone_at_inference_only",
        in_net=True,
    ),
    _block(
        "forgets_shortcut",
        "the config leaves out the shortcut",
        ForgetsShortcut,
        "block_config_round_trip",
    ),
    _block(
        "computes_in_float32",
        "the block ignores the dtype policy",
        ComputesInFloat32,
        "output_shape_and_dtype",
        precisions=("mixed_bfloat16",),
    ),
    _block(
        "activates_in_place",
        "the relu of the shortcut is taken in the caller's own array",
        ActivatesInPlace,
        "arguments_are_left_as_they_were",
        precisions=("float32",),
    ),
    _block(
        "forgets_strides",
        "the config leaves out the strides",
        ForgetsStrides,
        "net_config_round_trip",
        in_net=True,
    ),
    _net(
        "four_blocks",
        "the ImageNet net is a stem and four blocks, whatever its depth",
        "basic_counts",
        "bottleneck_counts",
        "preactivation_counts",
        "depth_counts_weighted_layers",
        imagenet_resnet=imagenet_of_four(),
    ),
    _net(
        "pool_over_a_border_of_zeros",
        "the max pool of the ImageNet stem sees zeros around the image, which win where pre-activation is negative",
        "imagenet_net_equals_oracle",
        imagenet_resnet=imagenet_with_zeros_around,
    ),
    _net(
        "imagenet_logits_in_float16",
        "the logits of an ImageNet net (here with four blocks, to be cheap) have the compute dtype",
        "imagenet_logits_are_float32",
        precisions=("mixed_float16",),
        imagenet_resnet=imagenet_of_four(lambda logits: ops.cast(logits, "float16")),
    ),
    _net(
        "ten_classes",
        "the number of classes is accepted and ignored",
        "net_takes_any_size",
        precisions=BOTH,
        cifar_resnet=ten_classes,
    ),
    _net(
        "images_detached",
        "the net begins with something that has no gradient",
        "gradient_reaches_the_image",
        precisions=BOTH,
        cifar_resnet=cifar_beginning_with(ops.stop_gradient),
    ),
    _net(
        "logits_in_float16",
        "the logits have the compute dtype",
        "cifar_logits_are_float32",
        precisions=("mixed_float16",),
        cifar_resnet=cifar_ending_in(lambda logits: ops.cast(logits, "float16")),
    ),
    _net(
        "softmax_on_logits",
        "the net ends in a softmax, which a loss from logits applies again",
        "cifar_net_equals_oracle",
        cifar_resnet=cifar_ending_in(ops.softmax),
    ),
    _net(
        "one_block_more",
        "every stage has one block more than the depth allows",
        "cifar_counts",
        "depth_counts_weighted_layers",
        "cifar_multiply_adds",
        cifar_resnet=one_block_more,
    ),
    _net(
        "any_depth",
        "a depth that is not 6n + 2 is rounded down in silence",
        "bad_arguments_are_refused",
        cifar_resnet=any_depth,
    ),
    _bn("moving_mean_corrected", "the factor m / (m - 1), meant for the variance, is in the mean", MeanCorrected),
    _bn("moving_mean_of_normalised", "the mean that is kept is that of the normalised batch, 0", MeanOfNormalised),
    _bn(
        "moving_variance_of_the_deviation", "the standard deviation is kept in place of the variance", KeepsTheDeviation
    ),
    _bn("each_image_alone", "in training each image is normalised by itself", EachImageAlone),
    _bn("batch_of_one_in_inference", "a batch of one image is normalised by the moving statistics", NotForOneImage),
    _line(
        "training_by_default",
        "a block that is called without `training` trains",
        "def call(self, x: Tensor, training: bool | None = None) -> Tensor:",
        "def call(self, x: Tensor, training: bool | None = True) -> Tensor:",
        "inference_treats_images_alone",
    ),
    Variant(
        "stem_trains_never",
        "the BN outside of blocks always goes by its moving statistics",
        IN_NETS,
        changed(_residual_blocks, reference, _activated=activated_by_moving_statistics),
    ),
    _line(
        "net_trains_by_default",
        "a net that is called without `training` trains",
        "def call(self, x: Tensor, training: bool | None = None) -> Tensor:",
        "def call(self, x: Tensor, training: bool | None = True) -> Tensor:",
        "net_treats_images_alone_at_inference_only",
    ),
    _block("forgets_zero_init", "the config leaves out zero_init_last", ForgetsZeroInit, "block_config_round_trip"),
    _block("forgets_the_rest", "the config leaves out what any layer has", ForgetsTheRest, "block_config_round_trip"),
    _line(
        "projection_starts_at_zero",
        "zero_init_last makes the scale of the projection zero too, and no gradient passes",
        'normalization(self.channels_out, dtype=dtype, name="projection_bn")',
        'normalization(self.channels_out, "zeros" if self.zero_init_last else "ones", dtype=dtype)',
        "only_the_end_of_the_branch_starts_at_zero",
        "net_hands_zero_starts_to_every_block",
    ),
    _line(
        "shape_rounded_down",
        "a block says that its output has floor(H / strides) pixels",
        "n and -(-n // self.strides)",
        "n and n // self.strides",
        "output_shape_and_dtype",
    ),
)
