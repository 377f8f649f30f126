"""Residual networks as wholes, and blocks in training, with plausible mistakes."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from reference import _residual_blocks
from reference import residual as reference
from suites.selftest.variants import Variant, changed
from suites.selftest.variants.residual import BN, BOTH, _block, _bn, _line, _net


class NormalisesTwice(reference.ResidualBlock):
    def call(self, x: Any, training: bool | None = None) -> Any:
        super().call(x, training=training)
        return super().call(x, training=training)


class TrainsNever(reference.ResidualBlock):
    def call(self, x: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - the defect
        return super().call(x, training=False)


class KeepsWhenEager(BN):
    def keeps(self, mean: Any, variance: Any, n: float) -> tuple[Any, Any]:  # noqa: ARG002
        return (mean, variance) if tf.executing_eagerly() else (self.moving_mean.value, self.moving_variance.value)


class VarianceCorrected(BN):
    def keeps(self, mean: Any, variance: Any, n: float) -> tuple[Any, Any]:
        return mean, variance * n / max(n - 1, 1)


class NormalisesCorrected(BN):
    def normalises(self, x: Any, mean: Any, variance: Any, n: float) -> Any:
        return super().normalises(x, mean, variance * n / max(n - 1, 1), n)


class StatisticsDetached(BN):
    def normalises(self, x: Any, mean: Any, variance: Any, n: float) -> Any:
        return super().normalises(x, ops.stop_gradient(mean), ops.stop_gradient(variance), n)


class VarianceDetached(BN):
    def normalises(self, x: Any, mean: Any, variance: Any, n: float) -> Any:
        return super().normalises(x, mean, ops.stop_gradient(variance), n)


class ScaleDetached(BN):
    def normalises(self, x: Any, mean: Any, variance: Any, n: float) -> Any:
        normalised = super().normalises(x, mean, variance, n)
        return normalised * ops.stop_gradient(self.gamma) / ops.where(self.gamma == 0, 1, self.gamma)


def with_kernels(start: Callable[[], Any]) -> Any:
    """The reference with kernels that start in another way."""

    def new_convolution(channels: int, filters: int, kernel: int, strides: int, how: str = "", **options: Any) -> Any:
        chosen = start() if how in ("", "he_normal") else how
        return _residual_blocks.new_convolution(channels, filters, kernel, strides, chosen, **options)

    return changed(_residual_blocks, reference, new_convolution=new_convolution)


class ZeroInitWhereShapeStays(reference.ResidualBlock):
    def build(self, input_shape: Any) -> None:
        asked, self.zero_init_last = self.zero_init_last, self.zero_init_last and self.strides == 1
        super().build(input_shape)
        self.zero_init_last = asked


def cifar_without_zero_init(depth: int, *, zero_init_last: bool = False, **options: Any) -> keras.Model:  # noqa: ARG001
    return reference.cifar_resnet(depth, **options)


def imagenet_without_zero_init(depth: int, *, zero_init_last: bool = False, **options: Any) -> keras.Model:  # noqa: ARG001
    return reference.imagenet_resnet(depth, **options)


def imagenet_projecting(depth: int, *, shortcut: Any = None, **options: Any) -> keras.Model:  # noqa: ARG001
    return reference.imagenet_resnet(depth, **options)


VARIANTS = (
    _block(
        "normalises_twice",
        "a training call runs F twice, and so moves the statistics twice",
        NormalisesTwice,
        "training_equals_oracle",
    ),
    _block(
        "trains_never",
        "training uses the moving statistics, which never move",
        TrainsNever,
        "training_equals_oracle",
    ),
    _bn(
        "moving_variance_corrected",
        "the variance that is kept is that over m - 1",
        VarianceCorrected,
        "training_equals_oracle",
    ),
    _bn(
        "training_normalises_by_m_minus_1",
        "a batch is normalised by its variance over m - 1",
        NormalisesCorrected,
        "training_equals_oracle",
        "cifar_net_in_training_equals_oracle",
        precisions=("float32",),
    ),
    _bn(
        "statistics_stand_still_when_compiled",
        "in a compiled step the statistics stand still",
        KeepsWhenEager,
        "compiled_training_moves_everything",
    ),
    _bn(
        "statistics_detached",
        "no gradient passes mean and variance of a batch",
        StatisticsDetached,
        "gradient_is_right_in_float64",
    ),
    _bn(
        "variance_detached",
        "no gradient passes the variance of a batch",
        VarianceDetached,
        "gradient_is_right_in_float64",
    ),
    _bn("scale_detached", "the scale of BN gets no gradient", ScaleDetached, "gradient_is_right_in_float64"),
    _line(
        "projection_trains_never",
        "the projection is not told of training",
        "self._apply(self.projection, start, training)",
        "self._apply(self.projection, start, False)",
        "training_equals_oracle",
        "imagenet_net_in_training_equals_oracle",
    ),
    Variant(
        "kernels_he_fan_out",
        "kernels start with variance 2 / fan_out",
        ("block_starts_as_promised",),
        with_kernels(lambda: keras.initializers.VarianceScaling(2, "fan_out", "untruncated_normal")),
    ),
    Variant(
        "kernels_glorot",
        "kernels start as for linear units",
        ("block_starts_as_promised",),
        with_kernels(keras.initializers.GlorotNormal),
    ),
    Variant(
        "kernels_alike",
        "the initializer has a seed, so that all convolutions of a shape start alike",
        ("block_starts_as_promised", "net_starts_as_promised"),
        with_kernels(lambda: keras.initializers.HeNormal(seed=1)),
    ),
    Variant(
        "kernels_zero",
        "kernels start at zero",
        ("block_starts_as_promised", "net_starts_as_promised"),
        with_kernels(lambda: "zeros"),
    ),
    _line(
        "scales_of_a_half",
        "BN starts with a scale of 1/2",
        "gamma_initializer=start, **options",
        'gamma_initializer=keras.initializers.Constant(0.5) if start == "ones" else start, **options',
        "block_starts_as_promised",
        "net_starts_as_promised",
    ),
    _net(
        "net_ignores_zero_init",
        "the nets accept zero_init_last and do not hand it on",
        "net_hands_zero_starts_to_every_block",
        cifar_resnet=cifar_without_zero_init,
        imagenet_resnet=imagenet_without_zero_init,
    ),
    _block(
        "zero_init_only_where_shape_stays",
        "blocks that stride do not start with F = 0",
        ZeroInitWhereShapeStays,
        "net_hands_zero_starts_to_every_block",
        in_net=True,
    ),
    _net(
        "imagenet_shortcut_ignored",
        "the ImageNet family accepts a shortcut and always projects",
        "imagenet_shortcuts_equal_oracle",
        imagenet_resnet=imagenet_projecting,
    ),
    _line(
        "shape_of_unknown_sizes",
        "a block cannot tell its output's shape for images of unknown size",
        "n and -(-n // self.strides)",
        "-(-n // self.strides)",
        "net_takes_unknown_sizes",
        raises=TypeError,
    ),
    _line(
        "pool_of_the_first_size",
        "the head divides by the size of the images that the net was built for, or by 32",
        'x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)',
        'x = ops.sum(ops.cast(x, "float32"), (1, 2)) / ((x.shape[1] or 32) * (x.shape[2] or 32))',
        "net_takes_unknown_sizes",
    ),
    _line(
        "stem_in_the_global_policy",
        "the convolution of the stem computes in the global policy",
        'strides, dtype=dtype, name="stem_conv")',
        'strides, name="stem_conv")',
        "net_computes_in_its_own_policy",
        precisions=BOTH,
    ),
    _line(
        "blocks_in_the_global_policy",
        "the blocks of a net compute in the global policy",
        'strides, dtype=dtype, name=f"stage',
        'strides, name=f"stage',
        "net_computes_in_its_own_policy",
        precisions=BOTH,
    ),
    _line(
        "pool_in_compute_dtype",
        "the head sums in the compute dtype, where float16 overflows",
        'GlobalAveragePooling2D(dtype="float32"',
        "GlobalAveragePooling2D(dtype=dtype",
        "net_computes_in_its_own_policy",
        precisions=("mixed_float16",),
    ),
    _line(
        "no_filters",
        "a block without filters or strides is accepted",
        "if filters < 1 or strides < 1:",
        "if False:",
        "impossible_blocks_are_refused",
    ),
    _line(
        "stride_of_nothing",
        "a stride on the 1x1 of a net that has none is accepted and ignored",
        "elif stride_on != V1_5:",
        "elif False:",
        "impossible_nets_are_refused",
    ),
    _line(
        "preactivated_by_default",
        "unless told, a block is pre-activated",
        "        preactivation: bool = False,\n        shortcut: Shortcut",
        "        preactivation: bool = True,\n        shortcut: Shortcut",
        "block_left_to_itself",
    ),
    _line(
        "plain_by_default",
        "unless told, a block has no shortcut where the shape changes",
        '        shortcut: Shortcut = "projection",\n        zero_init_last: bool = False,\n        **kwargs',
        "        shortcut: Shortcut = None,\n        zero_init_last: bool = False,\n        **kwargs",
        "block_left_to_itself",
    ),
    _line(
        "strides_by_default",
        "unless told, a bottleneck strides",
        "filters: int, strides: int = 1, *, stride_on",
        "filters: int, strides: int = 2, *, stride_on",
        "block_left_to_itself",
    ),
    _line(
        "option_b_by_default",
        "unless told, a CIFAR net projects",
        'shortcut: Shortcut = "identity",',
        'shortcut: Shortcut = "projection",',
        "net_left_to_itself",
    ),
    _line(
        "channels_first_by_default",
        "unless told, an ImageNet net is for images with their channels first",
        "= (224, 224, 3)",
        "= (3, 224, 224)",
        "net_left_to_itself",
    ),
    _line(
        "stem_without_a_name",
        "the convolution of the stem is numbered by Keras, so that its weights are called otherwise in each net",
        ', name="stem_conv"',
        "",
        "names_are_those_of_any_other_net",
    ),
    _line(
        "convolutions_without_names",
        "the convolutions of blocks are numbered by Keras",
        ', name=f"conv{number}"',
        "",
        "names_are_those_of_any_other_net",
    ),
    _line(
        "pool_without_a_name",
        "the pooling is numbered by Keras, so that features cannot be asked for by its name",
        ', name="pool"',
        "",
        "names_are_those_of_any_other_net",
    ),
    _line(
        "deeper_than_the_papers",
        "ResNet-101 has a block more in its third stage",
        "(3, 4, 23, 3)",
        "(3, 4, 24, 3)",
        "tables_are_the_papers",
    ),
    _line(
        "another_depth_listed",
        "the table of CIFAR nets lists 62 in place of 56",
        "(3, 5, 7, 9, 18, 200)",
        "(3, 5, 7, 10, 18, 200)",
        "tables_are_the_papers",
    ),
    _line(
        "images_taken_for_channels",
        "whether option A has to add channels is decided by the number of images",
        "if not self._changes_shape(x.shape[-1]):",
        "if not self._changes_shape(x.shape[0]):",
        "number_of_images_is_irrelevant",
        raises=tf.errors.InvalidArgumentError,
    ),
    _line(
        "statistics_of_the_batch",
        "BN goes by the batch at inference, too",
        "x = layer(x, training=training)",
        "x = layer(x, training=True)",
        "number_of_images_is_irrelevant",
    ),
    _line(
        "first_shortcut_kept",
        "a block keeps what its shortcut gave for the first images of a size, and adds that to all that follow",
        "return self._join(f, None if self.shortcut is None else self._identity(x))",
        "kept = self.__dict__.setdefault('kept', {})\n"
        "        return self._join(f, kept.setdefault(tuple(x.shape), self._identity(x)))",
        "block_keeps_nothing_of_a_call",
        precisions=BOTH,
    ),
)
