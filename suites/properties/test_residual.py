"""Residual networks: what must be true of any implementation (arXiv:1512.03385 and arXiv:1603.05027)."""

import itertools
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties import residual_cases as draw
from suites.properties.gradients import input_gradient
from suites.properties.numerics import assert_equal, assert_within, float64, to_numpy
from suites.properties.oracles import residual as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

# --- blocks: the formula


@given(data=st.data())
def test_residual_block_equals_oracle(subject: Subject, data: st.DataObject) -> None:
    """A residual block with any shortcut equals the paper's formula in float64, to within rounding."""
    _equals_oracle(subject, data.draw(draw.cases(subject, block="ResidualBlock", shortcut="identity")))


@given(data=st.data())
def test_bottleneck_block_equals_oracle(subject: Subject, data: st.DataObject) -> None:
    """A bottleneck block with any shortcut equals the paper's formula in float64, to within rounding."""
    _equals_oracle(subject, data.draw(draw.cases(subject, block="BottleneckBlock", shortcut="identity")))


def _equals_oracle(subject: Subject, drawn: draw.Case) -> None:
    for case in drawn.with_every_shortcut():
        block = case.randomised(subject)
        truth = case.truth(subject, block, case.pixels())
        y = block(case.images(subject), training=False)
        assert_within(y, truth.value, truth.error, f"the output with shortcut {case.shortcut}")


@given(data=st.data())
def test_output_shape_and_dtype(subject: Subject, data: st.DataObject) -> None:
    """A block gives ceil(H / strides) by ceil(W / strides) pixels, its filters (a bottleneck: 4 times), its dtype."""
    case = data.draw(draw.cases(subject))
    block = case.make(subject)
    y = block(case.images(subject))
    unknown = tuple(block.compute_output_shape((None, None, case.width, case.channels)))
    assert unknown == (None, None, *case.shape_out[2:]), f"of images of unknown size it says {unknown}"
    assert tuple(y.shape) == case.shape_out, f"shape {tuple(y.shape)}, expected {case.shape_out}"
    dtype = keras.backend.standardize_dtype(y.dtype)
    assert dtype == subject.compute_dtype, f"dtype {dtype}, expected {subject.compute_dtype}"


# --- blocks: the shortcut


@pytest.mark.structure
@given(data=st.data())
def test_projection_exactly_when_shape_changes(subject: Subject, data: st.DataObject) -> None:
    """A block projects exactly when channels or size change, with a BN of its own unless it is pre-activated."""
    drawn = data.draw(draw.cases(subject, shortcut="projection"))
    plain = len(drawn.make(subject, shortcut=None).weights)
    for strides, more in itertools.product((1, 2), (0, 1)):
        case = replace(drawn, strides=strides, channels=drawn.channels_out + more)
        extra = sorted(tuple(weight.shape) for weight in case.make(subject).weights[plain:])
        expected: list[tuple[int, ...]] = []
        if strides > 1 or more:
            bn = [] if case.preactivation else [(case.channels_out,)] * 4
            expected = sorted([*bn, (1, 1, case.channels, case.channels_out)])
        where = f"strides {strides}, {case.channels} to {case.channels_out} channels"
        assert extra == expected, f"{where}: the shortcut's weights have shapes {extra}, expected {expected}"


@given(data=st.data())
def test_option_a_is_a_strided_identity(subject: Subject, data: st.DataObject) -> None:
    """Shortcut "identity" takes every strides-th pixel, fills new channels with zeros, and has no weights."""
    filters = data.draw(st.integers(2, 4), label="filters")
    drawn = data.draw(draw.cases(subject, shortcut="identity", preactivation=True, filters=filters))
    for channels in (1, drawn.channels_out):
        case = replace(drawn, channels=channels)
        block = case.make(subject, zero_init_last=True)  # F = 0: what comes out is the shortcut
        shortcut = oracle.strided_identity(oracle.Rounded.exact(case.pixels()), case.strides, case.channels_out)
        y = block(case.images(subject), training=False)
        assert_equal(y, shortcut.value, f"the shortcut from {channels} to {case.channels_out} channels")
        extra = len(block.weights) - len(case.make(subject, shortcut=None).weights)
        assert extra == 0, f"{extra} weights more than the plain block has"


@given(data=st.data())
def test_zero_last_scale_leaves_relu_of_input(subject: Subject, data: st.DataObject) -> None:
    """A post-activation block whose last scale starts at zero is relu(x) exactly, in training too."""
    case = data.draw(draw.cases(subject, same_shape=True, preactivation=False, shortcut="identity"))
    block = case.make(subject, zero_init_last=True)
    for training in (False, True):
        y = block(case.images(subject), training=training)
        assert_equal(y, np.maximum(case.pixels(), 0), f"the block with training={training}")


@given(data=st.data())
def test_zero_last_kernel_leaves_input(subject: Subject, data: st.DataObject) -> None:
    """A pre-activation block whose last kernel starts at zero is x exactly, in training too."""
    case = data.draw(draw.cases(subject, same_shape=True, preactivation=True, shortcut="identity"))
    block = case.make(subject, zero_init_last=True)
    for training in (False, True):
        y = block(case.images(subject), training=training)
        assert_equal(y, case.pixels(), f"the block with training={training}")


@pytest.mark.structure
@given(data=st.data())
def test_only_the_end_of_the_branch_starts_at_zero(subject: Subject, data: st.DataObject) -> None:
    """Of the scales and kernels of F, zero_init_last zeroes only the last scale; in pre-activation, the last kernel."""
    case = data.draw(draw.cases(subject, shortcut="projection"))

    def zeros(what: str, **options: Any) -> list[bool]:
        weights = case.make(subject, **options).weights
        return [not to_numpy(weight).any() for weight in weights if weight.name == what]

    for what, last in (("gamma", not case.preactivation), ("kernel", case.preactivation)):
        branch = len(zeros(what, shortcut=None))  # what follows is the projection's
        for zero_init_last in (False, True):
            found = zeros(what, zero_init_last=zero_init_last)
            wanted = [place == branch - 1 and last and zero_init_last for place in range(len(found))]
            assert found == wanted, f"{what}s that start at zero: {found}, expected {wanted}"


@given(data=st.data())
def test_preactivation_stage_sums_residuals(subject: Subject, data: st.DataObject) -> None:
    """In a pre-activation stage x_L = x_0 + F_0(x_0) + ... + F_(L-1)(x_(L-1)), bit for bit."""
    case = data.draw(draw.cases(subject, same_shape=True, preactivation=True, shortcut="projection"))
    x = total = case.images(subject)
    block, plain = case.make(subject), case.make(subject, shortcut=None)
    for index in range(3):
        draw.randomise(block, case.seed + index)
        plain.set_weights(block.get_weights())
        total = total + plain(x, training=False)
        x = block(x, training=False)
    assert_equal(x, total, "x_3")


@given(data=st.data())
def test_identity_passes_gradient_undamped(subject: Subject, data: st.DataObject) -> None:
    """Through a pre-activation block with F = 0 the gradient passes unchanged, bit for bit."""
    case = data.draw(draw.cases(subject, same_shape=True, preactivation=True, shortcut="projection"))
    block = case.make(subject, zero_init_last=True)
    upstream = case.images(subject, salt=1)
    gradient = input_gradient(lambda x: block(x, training=False), case.images(subject), upstream)
    assert_equal(gradient, upstream, "dL/dx")


# --- blocks: symmetry, statistics, saving


@given(data=st.data())
def test_flip_equivariance(subject: Subject, data: st.DataObject) -> None:
    """Without strides, mirrored images and mirrored kernels give the mirrored output, to within rounding."""
    case = data.draw(draw.cases(subject, strides=1))
    block = case.randomised(subject)
    bound = case.truth(subject, block, case.pixels()).error
    y = to_numpy(block(case.images(subject), training=False))
    for kernel in draw.kernels(block):
        kernel.assign(keras.ops.flip(kernel, axis=1))
    mirrored = block(keras.ops.flip(case.images(subject), axis=2), training=False)
    assert_within(mirrored, y[:, :, ::-1], 2 * bound[:, :, ::-1], "the mirrored output")


@given(data=st.data())
def test_inference_treats_images_alone(subject: Subject, data: st.DataObject) -> None:
    """At inference, which is the default, an image's output depends on no other image, and no statistic moves."""
    case = data.draw(draw.cases(subject, batch=2))
    block = case.randomised(subject)
    before = [to_numpy(weight) for weight in block.weights]
    images, others = case.images(subject), case.images(subject, salt=1)
    beside = keras.ops.concatenate([images[:1], others[1:]], axis=0)
    assert_equal(block(beside, training=False)[:1], block(images, training=False)[:1], "image 0 beside another image 1")
    assert_equal(block(images), block(images, training=False), "the output of a call without `training`")
    for weight, value in zip(block.weights, before, strict=True):
        assert_equal(weight, value, f"{weight.name} after inference")


@given(data=st.data())
def test_block_config_round_trip(subject: Subject, data: st.DataObject) -> None:
    """A block made from another's config has the same config, the same start, and with its weights the same output."""
    case = data.draw(draw.cases(subject))
    zero = {"zero_init_last": data.draw(st.booleans(), label="zero_init_last")}
    block = case.make(subject, name="own", trainable=False, **zero)
    copy = type(block).from_config(block.get_config())
    assert copy.get_config() == block.get_config(), "the config of the copy differs"
    assert (copy.name, copy.trainable) == ("own", False), f"the copy is {copy.name}, trainable: {copy.trainable}"
    copy.build((None, None, None, case.channels))
    born = [[(tuple(weight.shape), bool(to_numpy(weight).any())) for weight in each.weights] for each in (copy, block)]
    assert born[0] == born[1], f"the copy's weights by shape, and whether they start at zero: {born[0]}, not {born[1]}"
    draw.randomise(block, case.seed)
    copy.set_weights(block.get_weights())
    x = case.images(subject)
    assert_equal(copy(x, training=False), block(x, training=False), "the copy's output")


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """A block or net changes nothing in the NumPy images that it is given, in training or not."""
    if subject.provides("ResidualBlock"):
        called, shape = subject.ResidualBlock(3, dtype=subject.precision), (4, 4, 3)
    else:
        called, shape = draw.some_net(subject)
    images = draw.pixels((2, *shape), seed=7).astype("float32")
    before = images.copy()
    for training in (False, True):
        called(images, training=training)
        assert_equal(images, before, f"the images after a call with training={training}")


# --- nets: counts


def _has_published_counts(subject: Subject, model: Any, trainable: int, statistics: int) -> None:
    biases = draw.count(draw.conv_biases(model))
    declared = subject.provides("CONVOLUTION_BIAS") and subject.CONVOLUTION_BIAS
    assert bool(biases) == declared, f"{biases} convolution biases (CONVOLUTION_BIAS is {declared})"
    counted = draw.count(model.trainable_weights) - biases, draw.count(model.non_trainable_weights)
    assert counted == (trainable, statistics), f"{counted} parameters and statistics, expected {trainable, statistics}"


@pytest.mark.structure
def test_basic_counts(subject: Subject) -> None:
    """ResNet-18 and 34 have the published parameters and BN statistics, to the unit."""
    for depth in draw.depths(subject, (18,), (34,)):
        counts = oracle.IMAGENET[depth]
        _has_published_counts(subject, draw.imagenet(subject, depth, size=224), counts.trainable, counts.statistics)


@pytest.mark.structure
def test_bottleneck_counts(subject: Subject) -> None:
    """ResNet-50, 101 and 152 have the published parameters and BN statistics, convolution biases aside, to the unit."""
    for depth in draw.depths(subject, (50,), (101, 152)):
        counts = oracle.IMAGENET[depth]
        _has_published_counts(subject, draw.imagenet(subject, depth), counts.trainable, counts.statistics)


@pytest.mark.structure
def test_preactivation_counts(subject: Subject) -> None:
    """Pre-activation ResNet-50, 101 and 152 have the published counts, convolution biases aside, to the unit."""
    for depth in draw.depths(subject, (50,), (101, 152)):
        model = draw.imagenet(subject, depth, preactivation=True)
        trainable = oracle.preactivation_trainable(depth)
        _has_published_counts(subject, model, trainable, oracle.PREACTIVATION_STATISTICS[depth])


@pytest.mark.structure
def test_cifar_counts(subject: Subject) -> None:
    """A CIFAR net of depth 6n + 2 has 97,216 n - 21,926 parameters and 448 n + 32 BN statistics."""
    for depth in draw.depths(subject, (8, 20), (32, 44, 56, 110)):
        n = (depth - 2) // 6
        model = draw.cifar(subject, depth, shortcut="identity")
        _has_published_counts(subject, model, oracle.cifar_trainable(n), oracle.cifar_statistics(n))


@pytest.mark.structure
def test_plain_net_counts_as_option_a(subject: Subject) -> None:
    """A plain CIFAR net has exactly the parameters of the residual net with option A, and option B 2,752 more."""
    plain = draw.count(draw.cifar(subject, 14, shortcut=None).trainable_weights)
    option_a = draw.count(draw.cifar(subject, 14, shortcut="identity").trainable_weights)
    option_b = draw.count(draw.cifar(subject, 14, shortcut="projection").trainable_weights)
    assert option_a - plain == 0, f"option A has {option_a - plain} parameters more than the plain net"
    assert option_b - option_a == oracle.PROJECTIONS_ADD, f"option B adds {option_b - option_a} parameters"


@pytest.mark.structure
def test_depth_counts_weighted_layers(subject: Subject) -> None:
    """The convolutions that are no projections, and the last layer, are as many as the depth says."""
    asked = [(oracle.IMAGENET[50].projections, draw.imagenet(subject, 50), 50)]
    if subject.provides("cifar_resnet"):
        asked += [(0, draw.cifar(subject, 20), 20), (2, draw.cifar(subject, 14, shortcut="projection"), 14)]
    for projections, model, depth in asked:
        layers = len(draw.kernels(model)) - projections + 1
        assert layers == depth, f"{layers} weighted layers at depth {depth}"


def test_imagenet_logits_are_float32(subject: Subject) -> None:
    """The logits of an ImageNet net are float32 under every dtype policy."""
    assert draw.imagenet(subject, 50).output.dtype == "float32", draw.imagenet(subject, 50).output.dtype


@pytest.mark.structure
def test_multiply_adds_v1(subject: Subject) -> None:
    """With the stride on the first 1x1 (v1), ResNet-50, 101 and 152 take the published multiply-adds at 224x224."""
    _has_published_multiply_adds(subject, draw.depths(subject, (50,), (101, 152)), "1x1")


@pytest.mark.structure
def test_multiply_adds_v1_5(subject: Subject) -> None:
    """With the stride on a 3x3 (v1.5), ResNet-18 to 152 take the published multiply-adds at 224x224."""
    _has_published_multiply_adds(subject, draw.depths(subject, (18, 50), (34, 101, 152)), "3x3")


def _has_published_multiply_adds(subject: Subject, depths: tuple[int, ...], stride_on: str) -> None:
    for depth in depths:
        asked = {"stride_on": stride_on} if depth >= 50 else {}  # basic blocks have no 1x1 to choose
        model = draw.imagenet(subject, depth, size=224, **asked)
        counted, expected = draw.multiply_adds(model, (224, 224, 3)), oracle.IMAGENET[depth].multiply_adds[stride_on]
        assert counted == expected, f"depth {depth} takes {counted} multiply-adds, expected {expected}"


@pytest.mark.structure
def test_cifar_multiply_adds(subject: Subject) -> None:
    """A CIFAR net of depth 6n + 2 takes 14,155,776 n - 1,916,288 multiply-adds at 32x32."""
    for depth in (8, 20):
        counted = draw.multiply_adds(draw.cifar(subject, depth, shortcut="identity"), (32, 32, 3))
        expected = oracle.cifar_multiply_adds((depth - 2) // 6)
        assert counted == expected, f"depth {depth} takes {counted} multiply-adds, expected {expected}"


# --- nets: what they compute


@pytest.mark.structure
def test_cifar_net_equals_oracle(subject: Subject) -> None:
    """A whole CIFAR net computed in float64 equals the oracle's logits, to within rounding."""
    for shortcut, preactivation in itertools.product(draw.SHORTCUTS, (False, True)):
        options = {"shortcut": shortcut, "preactivation": preactivation}
        _net_equals_oracle(subject, "cifar_resnet", 8, (8, 8, 1), (1, 1, 1), **options)


@pytest.mark.structure
def test_imagenet_net_equals_oracle(subject: Subject) -> None:
    """A whole ResNet-18 computed in float64 equals the oracle's logits, to within rounding."""
    for preactivation in (False, True):
        options = {"shortcut": "projection", "preactivation": preactivation}
        _net_equals_oracle(subject, "imagenet_resnet", 18, (32, 32, 3), (2, 2, 2, 2), **options)


def _net_equals_oracle(
    subject: Subject, family: str, depth: int, shape: tuple[int, int, int], repeats: tuple[int, ...], **options: Any
) -> None:
    x = draw.pixels((2, *shape), seed=3)
    with float64():
        model = getattr(subject, family)(depth, input_shape=shape, classes=10, dtype="float64", **options)
        draw.randomise(model, seed=3, taps=4)
        weights = draw.weights_in_order(subject, model)
        logits = to_numpy(model(x, training=False))
    truth = oracle.Oracle("float64").net(oracle.Rounded.exact(x), weights, repeats, **options)
    assert_within(logits, truth.value, truth.error, f"logits with {options}")


def test_cifar_logits_are_float32(subject: Subject) -> None:
    """The logits of a CIFAR net are float32 under every dtype policy."""
    assert draw.cifar(subject, 8).output.dtype == "float32", draw.cifar(subject, 8).output.dtype


def test_net_takes_any_size(subject: Subject) -> None:
    """A net takes images of any height, width and channels, and gives one logit per class."""
    for shape in ((8, 8, 1), (9, 13, 2), (32, 47, 3)):
        model = subject.cifar_resnet(8, input_shape=shape, classes=7, dtype=subject.precision)
        y = model(draw.pixels((2, *shape), seed=1).astype("float32"), training=False)
        assert tuple(y.shape) == (2, 7), f"logits of shape {tuple(y.shape)} for images of {shape}"


def test_net_treats_images_alone_at_inference_only(subject: Subject) -> None:
    """A net's logits for an image ignore the rest of the batch at inference, and depend on it in training."""
    net, shape = draw.some_net(subject)
    one, two, three = (draw.pixels((1, *shape), seed=salt) for salt in range(3))
    beside_two, beside_three = (np.concatenate([one, other]).astype("float32") for other in (two, 3 * three + 1))
    alone = to_numpy(net(beside_two, training=False))[:1]
    assert_equal(net(beside_three, training=False)[:1], alone, "logits at inference")
    assert_equal(net(beside_two)[:1], alone, "logits of a call without `training`")
    trained = to_numpy(net(beside_two, training=True))[:1] != to_numpy(net(beside_three, training=True))[:1]
    assert trained.any(), "the logits in training are those of the image alone"


def test_net_config_round_trip(subject: Subject) -> None:
    """A net made from another's config and weights gives the same logits, with no option left at its default too."""
    net, shape = draw.some_net(subject)
    if subject.provides("cifar_resnet"):
        options = {"shortcut": "projection", "preactivation": True, "zero_init_last": True, "classes": 7}
        net, shape = subject.cifar_resnet(8, input_shape=(None, 9, 2), dtype=subject.precision, **options), (8, 9, 2)
    copy = type(net).from_config(net.get_config())
    starts = [[bool(to_numpy(weight).any()) for weight in each.weights] for each in (copy, net)]
    draw.randomise(net, seed=8)
    assert starts[0] == starts[1] or not subject.provides("cifar_resnet"), "the copy starts at zero elsewhere"
    copy.set_weights(net.get_weights())
    x = draw.pixels((2, *shape), seed=5).astype("float32")
    assert_equal(copy(x, training=False), net(x, training=False), "the copy's logits")


def test_gradient_reaches_the_image(subject: Subject) -> None:
    """The gradient of a net's logits with respect to the image is finite, and not zero."""
    net, shape = draw.some_net(subject)
    x = draw.pixels((1, *shape), seed=5).astype("float32")
    gradient = input_gradient(lambda x: net(x, training=False)[:, :1], x, np.ones((1, 1), "float32"))
    assert gradient is not None, "no gradient is connected to the image"
    assert np.isfinite(to_numpy(gradient)).all(), "the gradient is not finite"
    assert to_numpy(gradient).any(), "the gradient is zero everywhere"


@pytest.mark.structure
def test_bad_arguments_are_refused(subject: Subject) -> None:
    """A depth or shortcut that does not exist raises a ValueError that lists what does."""
    if not (subject.provides("cifar_resnet") and subject.provides("ResidualBlock")):
        raise NotProvided("the ImageNet family alone is a choice of functions, not of arguments")
    refused("depth 19", lambda: subject.imagenet_resnet(19), says=("18", "34", "50", "101", "152"))
    refused("depth 21", lambda: subject.cifar_resnet(21), says=("6n + 2",))
    shortcuts = ("projection", "identity", "None")
    refused("a shortcut of `conv`", lambda: subject.ResidualBlock(4, shortcut="conv"), says=shortcuts)
    refused("a stride on a `2x2`", lambda: subject.BottleneckBlock(4, stride_on="2x2"), says=("1x1", "3x3"))
