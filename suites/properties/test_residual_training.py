"""Residual networks in training: what BN makes of a batch, what it keeps of it, and the gradients to all weights."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.properties import residual_cases as draw
from suites.properties.checkpointing_steps import step
from suites.properties.checks import check
from suites.properties.numerics import assert_within, float64, to_numpy
from suites.properties.oracles import residual as oracle
from suites.properties.oracles import residual_training as training
from suites.subjects import Subject


@given(data=st.data())
def test_training_equals_oracle(subject: Subject, data: st.DataObject) -> None:
    """In training BN goes by the batch's own mean and variance, and takes a tenth of them into its statistics."""
    case = data.draw(draw.cases(subject, shortcut="projection"))  # the only one that has a BN
    block = case.randomised(subject)
    for salt in range(2):  # the second call begins with the statistics that the first one left
        weights = [to_numpy(weight) for weight in block.weights]
        truth, statistics = case.trained(subject, weights, case.pixels(salt))
        y = block(case.images(subject, salt), training=True)
        assert_within(y, truth.value, truth.error, f"the output of call {salt}")
        for found, expected in zip(block.non_trainable_weights, statistics, strict=True):
            assert_within(found, expected.value, expected.error, f"{found.name} after call {salt}")


@pytest.mark.structure
def test_compiled_training_moves_everything(subject: Subject) -> None:
    """A compiled step of training moves every trained weight of a block, and its statistics as the oracle says."""
    case = draw.Case("ResidualBlock", 2, 2, "3x3", False, "projection", 2, 5, 4, 3, seed=4)
    block = case.randomised(subject)
    before = [to_numpy(weight) for weight in block.weights]
    _, statistics = case.trained(subject, before, case.pixels())
    model = keras.Sequential([keras.Input((case.height, case.width, case.channels)), block])
    model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=False)
    model.train_on_batch(case.pixels().astype("float32"), np.zeros(case.shape_out, "float32"))
    for found, expected in zip(block.non_trainable_weights, statistics, strict=True):
        assert_within(found, expected.value, expected.error, f"{found.path} after a compiled step")
    still = [
        weight.path
        for weight, value in zip(block.weights, before, strict=True)
        if any(weight is each for each in block.trainable_weights) and (to_numpy(weight) == value).all()
    ]
    check(not still, f"a step moves none of {still}")


@pytest.mark.structure
@given(data=st.data())
def test_gradient_is_right_in_float64(subject: Subject, data: st.DataObject) -> None:
    """In float64 a block's gradient to input and weights is the formula's along a random direction, in training too."""
    case = data.draw(draw.cases(subject))
    in_training = data.draw(st.booleans(), label="training")
    upstream = draw.pixels(case.shape_out, case.seed, salt=2)
    with float64():
        block = case.make(subject, dtype="float64")
        draw.randomise(block, case.seed, beta=1 / 16)  # no BN is exactly zero, where relu has no derivative
        arrays = [to_numpy(weight) for weight in block.weights]
        trained, state = block.trainable_weights, block.non_trainable_weights
        x = case.pixels()
        directions = [draw.pixels(each.shape, case.seed, salt=3 + place) for place, each in enumerate([x, *arrays])]
        found = step(
            lambda x: block(x, training=in_training), tensor64(x), cotangent=upstream, variables=trained, state=state
        )
    of_trained = [
        each
        for each, weight in zip(directions[1:], block.weights, strict=True)
        if any(weight is one for one in trained)
    ]
    gradients = [*found.to_arguments, *found.to_variables]
    total = sum(
        0.0 if gradient is None else np.sum(gradient * each)
        for gradient, each in zip(gradients, [directions[0], *of_trained], strict=True)
    )
    truth = training.slope(case.run, x, arrays, directions, upstream, training=in_training)
    assert_within(np.asarray(total), truth.value, truth.error, f"slope with training={in_training}")


def tensor64(x: np.ndarray) -> Any:
    """A float64 tensor."""
    return keras.ops.convert_to_tensor(x, dtype="float64")


@pytest.mark.structure
def test_cifar_net_in_training_equals_oracle(subject: Subject) -> None:
    """In training a whole CIFAR net computed in float64 equals the oracle: its logits, and each of its statistics."""
    for shortcut, preactivation in itertools.product(("identity", "projection"), (False, True)):
        options = {"shortcut": shortcut, "preactivation": preactivation}
        _net_in_training_equals_oracle(subject, "cifar_resnet", 8, (8, 8, 1), (1, 1, 1), **options)


@pytest.mark.structure
def test_imagenet_net_in_training_equals_oracle(subject: Subject) -> None:
    """In training a whole ResNet-18 computed in float64 equals the oracle: its logits, and each of its statistics."""
    options = {"shortcut": "projection", "preactivation": False}
    _net_in_training_equals_oracle(subject, "imagenet_resnet", 18, (32, 32, 3), (2, 2, 2, 2), **options)


def _net_in_training_equals_oracle(
    subject: Subject, family: str, depth: int, shape: tuple[int, int, int], repeats: tuple[int, ...], **options: Any
) -> None:
    x = draw.pixels((3, *shape), seed=3)
    with float64():
        model = getattr(subject, family)(depth, input_shape=shape, classes=10, dtype="float64", **options)
        draw.randomise(model, seed=3, taps=4)
        weights = draw.weights_in_order(subject, model)
        logits = to_numpy(model(x, training=True))
        after = [each for each in draw.arrays_in_order(subject, model) if each.ndim == 1][:-1]  # without the last bias
    truth = training.Training("float64")
    expected = truth.net(oracle.Rounded.exact(x), weights, repeats, **options)
    assert_within(logits, expected.value, expected.error, f"logits in training with {options}")
    statistics = [each for place, each in enumerate(after) if training.KINDS[place % 4] in ("mean", "variance")]
    for place, (found, wanted) in enumerate(zip(statistics, truth.statistics, strict=True)):
        assert_within(found, wanted.value, wanted.error, f"statistic {place} with {options}")
