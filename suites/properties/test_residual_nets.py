"""Whole residual networks with all their options: how they are born, what they compute in, and what they refuse."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.properties import residual_cases as draw
from suites.properties.checks import check
from suites.properties.mixed_precision_cases import default_policy
from suites.properties.numerics import assert_equal, assert_within, float64, to_numpy
from suites.properties.oracles import initialization
from suites.properties.oracles import residual as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

FAMILIES = {"cifar_resnet": 8, "imagenet_resnet": 18}
"""The families, and the depth of a small member."""

FAMILY = st.sampled_from(sorted(FAMILIES))


def net(subject: Subject, family: str, **options: Any) -> Any:
    """A small member of a family."""
    return getattr(subject, family)(FAMILIES[family], **{"dtype": subject.precision, **options})


# How they are born


@pytest.mark.structure
@given(family=FAMILY)
def test_net_starts_as_promised(subject: Subject, family: str) -> None:
    """A new net has scales of 1, shifts of 0, statistics of a standard normal, and kernels that are all different."""
    model = net(subject, family, input_shape=(32, 32, 3))
    check_start(model)
    bias = to_numpy(model.trainable_weights[-1])
    assert_equal(bias, np.zeros(bias.shape), "the bias of the logits")


@pytest.mark.structure
@given(data=st.data())
def test_block_starts_as_promised(subject: Subject, data: st.DataObject) -> None:
    """A new block has kernels drawn apart with He's variance 2 / fan_in, scales of 1, shifts of 0."""
    case = data.draw(draw.cases(subject, filters=16))
    block = case.make(subject)
    check_start(block)
    squares = [he_squares(to_numpy(kernel)) for kernel in draw.kernels(block)]
    for what, of in (("each kernel", squares), ("all kernels", [np.concatenate(squares)])):
        for each in of:
            low, high = he_between(each.size)
            found = float(each.mean())
            check(low <= found <= high, f"the variance of {what} is {found:.3g} times He's ({low:.3g} to {high:.3g})")


def he_squares(kernel: np.ndarray) -> np.ndarray:
    """The squares of the weights of a convolution, over He's variance."""
    return kernel.ravel() ** 2 * np.prod(kernel.shape[:-1]) / 2


def he_between(count: int) -> tuple[float, float]:
    """Where the mean of so many lies, for normal weights and for truncated ones."""
    laws = [initialization.Law(distribution, 1.0) for distribution in ("normal", "truncated_normal")]
    low, high = zip(*(law.mean_square_between(count) for law in laws), strict=True)
    return min(low), max(high)


def check_start(layer: Any) -> None:
    """Fail unless all of BN starts neutral, and no two kernels of a shape are equal."""
    __tracebackhide__ = True
    neutral = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
    seen: dict[bytes, str] = {}
    for weight in layer.weights:
        kind, value = weight.name.rpartition("_")[2], to_numpy(weight)
        if kind in neutral:
            assert_equal(value, np.full(value.shape, neutral[kind]), weight.path)
        elif value.ndim > 1:
            check(value.any(), f"{weight.path} starts at zero")
            other = seen.setdefault(np.sort(np.abs(value), axis=None)[-9:].tobytes(), weight.path)
            check(other == weight.path, f"{weight.path} starts like {other}")


@pytest.mark.structure
@given(
    case=st.sampled_from(
        (
            ("cifar_resnet", False, "identity"),
            ("cifar_resnet", True, "projection"),
            ("imagenet_resnet", False, "projection"),
        )
    )
)
def test_net_hands_zero_starts_to_every_block(subject: Subject, case: tuple[str, bool, str]) -> None:
    """With zero_init_last every block of a net starts with F = 0, those that change the shape too."""
    family, preactivation, shortcut = case
    options = {"preactivation": preactivation, "shortcut": shortcut, "input_shape": (32, 32, 3)}
    model = net(subject, family, zero_init_last=True, **options)
    blocks = {"cifar_resnet": 3, "imagenet_resnet": 8}[family]
    for kind, expected in (("gamma", 0 if preactivation else blocks), ("kernel", blocks if preactivation else 0)):
        zeros = sum(not to_numpy(weight).any() for weight in model.weights if weight.name == kind)
        check(zeros == expected, f"{zeros} of each {kind} in {blocks} blocks start at zero, expected {expected}")


def weights_by_name(layer: Any) -> list[tuple[str, tuple[int, ...], bool]]:
    """Paths without the name of the layer itself, which Keras numbers; shapes; whether a weight starts at zero."""
    return [
        (weight.path.partition("/")[2], tuple(weight.shape), not to_numpy(weight).any()) for weight in layer.weights
    ]


@pytest.mark.structure
def test_block_left_to_itself(subject: Subject) -> None:
    """Unless told, a block is post-activated, does not stride, projects to other channels, and starts as He says."""
    told = {"strides": 1, "preactivation": False, "shortcut": "projection", "zero_init_last": False}
    for name in draw.blocks(subject):
        for channels in (3, 8):
            more = {"stride_on": "3x3"} if name == "BottleneckBlock" else {}
            free, bound = (getattr(subject, name)(2, **options) for options in ({}, {**told, **more}))
            for block in (free, bound):
                block.build((None, None, None, channels))
            found, expected = weights_by_name(free), weights_by_name(bound)
            check(found == expected, f"{name} with defaults has the weights {found}, expected {expected}")
            draw.randomise(bound, seed=2)
            free.set_weights(bound.get_weights())
            x = draw.pixels((2, 5, 4, channels), seed=2).astype("float32")
            assert_equal(free(x), to_numpy(bound(x)), f"the output of {name} with defaults")


@pytest.mark.structure
@given(family=FAMILY)
def test_net_left_to_itself(subject: Subject, family: str) -> None:
    """Unless told, a net is the paper's: post-activated, for its data's images and classes, with its shortcuts."""
    papers = {"cifar_resnet": (32, 10, "identity"), "imagenet_resnet": (224, 1000, "projection")}
    size, classes, shortcut = papers[family]
    options = {"preactivation": False, "shortcut": shortcut, "zero_init_last": False, "classes": classes}
    make = getattr(subject, family)
    free, bound = make(FAMILIES[family]), make(FAMILIES[family], input_shape=(size, size, 3), **options)
    for what in ("input_shape", "output_shape"):
        shape, asked = (tuple(getattr(each, what)) for each in (free, bound))
        check(shape == asked, f"the {what} is {shape}, expected {asked}")
    found, expected = (
        [(weight.name, tuple(weight.shape), not to_numpy(weight).any()) for weight in each.weights]
        for each in (free, bound)
    )
    check(found == expected, f"the weights are {found}, expected {expected}")


@pytest.mark.structure
def test_names_are_those_of_any_other_net(subject: Subject) -> None:
    """Two nets of one kind call their layers and weights alike, so that what is asked for by name is found in both."""
    depths = FAMILIES if subject.provides("cifar_resnet") else {"imagenet_resnet": 50}
    for family, depth in depths.items():
        make = functools.partial(getattr(subject, family), depth, input_shape=(32, 32, 3), dtype=subject.precision)
        one, other = make(), make()
        for what, names in (("weights", weight_names), ("layers", layer_names)):
            found, expected = names(other), names(one)
            changed = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
            check(not changed, f"{what} of the second net and of the first: {changed[:3]}")
            check(len(set(found)) == len(found), f"two of the {what} have one name")


def weight_names(model: Any) -> list[str]:
    """The paths of a net's weights."""
    return [weight.path for weight in model.weights]


def layer_names(model: Any) -> list[str]:
    """The names of a net and its layers, without inputs, and without the operations in between, which are no layers."""
    layers = (layer for layer in model.layers if isinstance(layer, keras.layers.Layer))
    return [model.name, *(layer.name for layer in layers if not isinstance(layer, keras.layers.InputLayer))]


@pytest.mark.structure
def test_tables_are_the_papers(subject: Subject) -> None:
    """The tables hold the depths that the paper names, each with the blocks and filters of its stages."""

    def table(name: str) -> dict[int, tuple[Any, ...]]:
        return {depth: (each.block, each.repeats, each.filters) for depth, each in getattr(subject, name).items()}

    blocks = {depth: subject.BottleneckBlock if depth >= 50 else subject.ResidualBlock for depth in oracle.STAGES}
    imagenet = {depth: (blocks[depth], stages, (64, 128, 256, 512)) for depth, stages in oracle.STAGES.items()}
    cifar = {depth: (subject.ResidualBlock, 3 * ((depth - 2) // 6,), (16, 32, 64)) for depth in oracle.CIFAR_DEPTHS}
    for name, expected in (("IMAGENET", imagenet), ("CIFAR", cifar)):
        check(table(name) == expected, f"{name} is {table(name)}, expected {expected}")


# What they compute in


@pytest.mark.structure
def test_number_of_images_is_irrelevant(subject: Subject) -> None:
    """A block gives an image the same output among as many images as there are channels, rows or columns."""
    for shortcut, strides in itertools.product(draw.SHORTCUTS, (1, 2)):
        block = subject.ResidualBlock(4, strides, shortcut=shortcut, dtype=subject.precision)
        block.build((None, None, None, 2))
        draw.randomise(block, seed=4)
        x = draw.pixels((5, 4, 5, 2), seed=4).astype("float32")
        alone = [to_numpy(block(x[i : i + 1]))[0] for i in range(5)]
        for number in (2, 4, 5):
            found = block(x[:number])
            assert_equal(found, np.stack(alone[:number]), f"the output of {number} images, shortcut {shortcut}")


@given(preactivation=st.booleans())
def test_block_keeps_nothing_of_a_call(subject: Subject, preactivation: bool) -> None:
    """A block computes as one that was never called before, after calls with other pixels, sizes, and batches."""
    for name, shortcut in itertools.product(draw.blocks(subject), ("identity", "projection")):

        def fresh(name: str = name, shortcut: str = shortcut) -> Any:
            options = {"preactivation": preactivation, "shortcut": shortcut, "dtype": subject.precision}
            block = getattr(subject, name)(2, 2, **options)
            block.build((None, None, None, 2))
            draw.randomise(block, seed=5)
            return block

        used = fresh()
        for number, (batch, height, width) in enumerate(((2, 5, 4), (2, 5, 4), (3, 4, 5), (1, 2, 9), (2, 5, 4)), 1):
            x = draw.pixels((batch, height, width, 2), seed=5, salt=number).astype("float32")
            assert_equal(used(x), to_numpy(fresh()(x)), f"the output of call {number} of {name}, {shortcut}")


@given(family=FAMILY)
def test_net_computes_in_its_own_policy(subject: Subject, family: str) -> None:
    """Whatever the global policy is, every layer of a net computes in the net's own, and the head in float32."""
    with default_policy("mixed_bfloat16" if subject.precision == "float32" else "float32"):
        model = net(subject, family, input_shape=(32, 32, 3))
    body = (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.MaxPooling2D)
    head = (keras.layers.GlobalAveragePooling2D, keras.layers.Dense)
    for layer in model._flatten_layers(include_self=False):
        expected = subject.compute_dtype if isinstance(layer, body) else "float32"
        if isinstance(layer, (*body, *head)):
            check(layer.compute_dtype == expected, f"{layer.path} computes in {layer.compute_dtype}, not in {expected}")
            check(layer.variable_dtype == "float32", f"{layer.path} has weights in {layer.variable_dtype}")


@pytest.mark.structure
@given(family=FAMILY)
def test_net_takes_unknown_sizes(subject: Subject, family: str) -> None:
    """A net for images of unknown size takes images of several, and gives the logits of a net for that size."""
    unknown = net(subject, family, input_shape=(None, None, 2), classes=5)
    draw.randomise(unknown, seed=6, taps=4)
    check(tuple(unknown.output.shape) == (None, 5), f"its output has the shape {tuple(unknown.output.shape)}")
    for size in ((33, 40), (36, 32)):
        known = net(subject, family, input_shape=(*size, 2), classes=5)
        known.set_weights(unknown.get_weights())
        x = draw.pixels((2, *size, 2), seed=6).astype("float32")
        assert_equal(unknown(x, training=False), known(x, training=False), f"logits for images of {size}")


@pytest.mark.structure
@given(case=st.sampled_from((("identity", True), (None, False))))
def test_imagenet_shortcuts_equal_oracle(subject: Subject, case: tuple[str | None, bool]) -> None:
    """An ImageNet net with any shortcut equals the oracle's logits in float64, to within rounding."""
    shortcut, preactivation = case
    options: dict[str, Any] = {"shortcut": shortcut, "preactivation": preactivation}
    x = draw.pixels((1, 16, 16, 3), seed=3)
    with float64():
        model = net(subject, "imagenet_resnet", input_shape=(16, 16, 3), classes=3, dtype="float64", **options)
        draw.randomise(model, seed=3, taps=4)
        weights = draw.weights_in_order(subject, model)
        logits = to_numpy(model(x, training=False))
    truth = oracle.Oracle("float64").net(oracle.Rounded.exact(x), weights, (2, 2, 2, 2), **options)
    assert_within(logits, truth.value, truth.error, f"logits with {options}")


# What they refuse


@pytest.mark.structure
def test_impossible_blocks_are_refused(subject: Subject) -> None:
    """What no block can be is answered with ValueError: no filters, no strides, an identity to fewer channels."""
    block = subject.ResidualBlock
    refuses: dict[str, Callable[[], Any]] = {
        "0 filters": lambda: block(0),
        "-1 filters": lambda: block(-1),
        "strides of 0": lambda: block(4, 0),
        "an identity to fewer channels": lambda: block(2, shortcut="identity").build((None, 4, 4, 3)),
        "an identity with strides to fewer channels": lambda: block(2, 2, shortcut="identity").build((None, 4, 4, 3)),
        "an unknown number of channels": lambda: block(2).build((None, 4, 4, None)),
    }
    for what, call in refuses.items():
        refused(what, call)


@pytest.mark.structure
def test_impossible_nets_are_refused(subject: Subject) -> None:
    """Depths that no family has, options that no block takes, and a stride on a 1x1 that is not there: ValueError."""
    refuses: dict[str, Callable[[], Any]] = {
        f"a CIFAR net of depth {depth}": functools.partial(subject.cifar_resnet, depth) for depth in (-4, 2, 7, 9)
    }
    refuses["a CIFAR net with an unknown shortcut"] = lambda: subject.cifar_resnet(8, shortcut="conv")
    refuses["an ImageNet net with an unknown shortcut"] = lambda: subject.imagenet_resnet(18, shortcut="conv")
    refuses["an ImageNet net of depth 20"] = lambda: subject.imagenet_resnet(20)
    refuses["a stride on the 1x1 of basic blocks"] = lambda: subject.imagenet_resnet(18, stride_on="1x1")
    for what, call in refuses.items():
        refused(what, call)
