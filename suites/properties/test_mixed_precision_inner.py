"""Mixed precision leaves the optimizer inside what it was: its settings, its averages, its penalties, its calls."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.mixed_precision_cases import (
    FINITE,
    SMALL,
    apply,
    default_policy,
    linear_loss,
    quiet,
    scaled,
    weights_of,
    zeros,
)
from suites.properties.numerics import assert_equal, to_numpy
from suites.properties.refusals import refused
from suites.subjects import Subject


def averaged() -> Any:
    """Averages of the weights, decay of them, momentum, and a learning rate that falls."""
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25])
    return keras.optimizers.SGD(rate, momentum=0.5, weight_decay=0.5, use_ema=True, ema_momentum=0.5)


def accumulated() -> Any:
    """Gradients of two steps, clipped, and averages that take the weights' place at every second step."""
    options = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}
    return keras.optimizers.SGD(0.5, gradient_accumulation_steps=2, clipvalue=0.5, **options)


@pytest.mark.structure
def test_fit_equals_the_inner_optimizer_alone(subject: Subject) -> None:
    """Two epochs of `fit` leave the weights that they leave with the inner optimizer alone: averages, decay, clips."""
    for make in (averaged, accumulated):
        found = weights_after_fit(scaled(subject, make(), initial=2.0**10))
        for place, (weight, expected) in enumerate(zip(found, weights_after_fit(make()), strict=True)):
            assert_equal(weight, expected, f"weight {place} after `fit` with {make.__doc__}")


def weights_after_fit(optimizer: Any) -> list[np.ndarray]:
    """Of a network with a penalty and a constraint, on two batches in two epochs; no number needs rounding."""
    options = {"kernel_regularizer": keras.regularizers.L2(0.25), "kernel_constraint": keras.constraints.NonNeg()}
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="ones", **options)])
    x = np.array([[1.0, -2.0], [0.5, 2.0]], np.float32)
    with quiet():
        network.compile(optimizer, linear_loss, run_eagerly=True, jit_compile=False)
        network.fit(x, x[:, ::-1] / 4, batch_size=1, epochs=2, shuffle=False, verbose=0)
    return [to_numpy(weight) for weight in network.weights]


@pytest.mark.structure
def test_what_is_set_on_it_reaches_the_inner_optimizer(subject: Subject) -> None:
    """A learning rate that is set on the optimizer, between two steps too, is the one that the inner one uses."""
    inner, weight = keras.optimizers.SGD(1.0), zeros(1)
    optimizer, total = scaled(subject, inner, initial=1.0), 0.0
    for rate in (0.25, 0.5):
        optimizer.learning_rate = rate
        apply(optimizer, [FINITE], [weight])
        total -= rate
        assert_equal(weight, np.array([total]), f"weight after a step with a learning rate of {rate}")
        for name, each in (("the optimizer", optimizer), ("the inner one", inner)):
            check(float(each.learning_rate) == rate, f"the learning rate of {name} is {float(each.learning_rate)}")


@pytest.mark.structure
def test_optimizers_are_taken_by_name(subject: Subject) -> None:
    """The name of an optimizer of Keras stands for that optimizer, and the law for Keras's defaults if left out."""
    ours, theirs = weights_of(SMALL), weights_of(SMALL)
    optimizer = subject.LossScaledOptimizer("adam")
    apply(optimizer, SMALL.scaled(float(to_numpy(optimizer.scale_loss(np.float32(1.0))))), ours)
    apply(keras.optimizers.get("adam"), SMALL.scaled(1.0), theirs)
    for place, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert_equal(found, to_numpy(expected), f"weight {place} after a step around 'adam'")


@pytest.mark.structure
def test_variables_are_needed_once(subject: Subject) -> None:
    """After `build`, or a first step with variables, gradients alone are enough for a step."""
    for what in ("build", "the first call"):
        optimizer, weights = scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**10), weights_of(SMALL)
        if what == "build":
            optimizer.build(weights)
        else:
            apply(optimizer, SMALL.scaled(0.0), weights)
        apply(optimizer, SMALL.scaled(2.0**10))
        for found, gradient in zip(weights, (SMALL.first, SMALL.second), strict=True):
            assert_equal(found, -gradient, f"weight after {what} and a step with gradients alone")


@pytest.mark.structure
def test_variables_may_come_in_another_order(subject: Subject) -> None:
    """Gradients go to the variables that they are given with, whatever order those had in the first call."""
    if keras.backend.backend() == "jax":
        raise NotProvided("JAX's stateless steps go by the places of variables, not by the variables")
    inner, alone = (keras.optimizers.SGD(0.5, momentum=0.5) for _ in range(2))
    ours, theirs = weights_of(SMALL), weights_of(SMALL)
    for optimizer, weights, scale in ((scaled(subject, inner, initial=8.0), ours, 8.0), (alone, theirs, 1.0)):
        apply(optimizer, SMALL.scaled(scale), weights)
        apply(optimizer, SMALL.scaled(scale)[::-1], weights[::-1])
    for place, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert_equal(found, to_numpy(expected), f"weight {place} after a step with the weights in reverse")


@pytest.mark.structure
def test_gradients_without_variables_are_refused(subject: Subject) -> None:
    """Gradients alone, before the optimizer has ever seen variables, are answered with ValueError."""
    optimizer = scaled(subject, keras.optimizers.SGD(1.0))
    refused("gradients alone, of an optimizer without variables", apply, optimizer, SMALL.scaled(1.0))


OWN_LAW = {"initial": 2.0**6, "growth_interval": 2, "factor": 4.0, "floor": 2.0**3, "cap": 2.0**7}


@pytest.mark.structure
@given(
    names=st.sampled_from((tuple(OWN_LAW), ("initial", "growth_interval"), ("initial", "growth_interval", "factor")))
)
def test_configuration_leaves_nothing_out(subject: Subject, names: tuple[str, ...]) -> None:
    """An optimizer made from a configuration has all that the first has: name, law, inner optimizer."""
    settings, states = {name: OWN_LAW[name] for name in names}, []
    inner = keras.optimizers.SGD(0.5, momentum=0.5, nesterov=True, clipvalue=2.0)
    first = scaled(subject, inner, name="own", **settings)
    made = type(first).from_config(first.get_config())
    check(made.name == "own", f"it is called {made.name}, expected own")
    for optimizer in (first, made):
        weights, visited = weights_of(SMALL), []
        for step in "++---++++":
            scale = float(to_numpy(optimizer.scale_loss(np.float32(1.0))))
            apply(optimizer, SMALL.scaled(scale) if step == "+" else SMALL.poisoned(0, np.inf, scale), weights)
            visited.append((scale, *(to_numpy(weight).tolist() for weight in weights)))
        states.append(visited)
    for place, (expected, found) in enumerate(zip(*states, strict=True)):
        check(found == expected, f"after step {place} scale and weights are {found}, those of the original {expected}")


# The policy and the output


class Own(keras.DTypePolicy):
    """A policy that no name leads to."""


@pytest.mark.structure
def test_scope_gives_its_policy(subject: Subject) -> None:
    """A scope gives its policy to `as`, and takes a policy's name or the policy itself."""
    for asked, name in (("mixed_float16", "mixed_float16"), (Own("mixed_bfloat16"), "mixed_bfloat16")):
        with subject.precision_scope(asked) as policy:
            inside = keras.config.dtype_policy()
        check(policy is inside, f"the scope gives {policy}, and the policy inside is {inside}")
        check(inside.name == name, f"the policy inside is {inside.name}, expected {name}")
        check(isinstance(asked, str) or inside is asked, f"the policy inside is {inside!r}, and not the one given")


@pytest.mark.structure
def test_scope_puts_the_very_policy_back(subject: Subject) -> None:
    """After a scope the policy is the very object that was there before, not another one of its name."""
    before, own = keras.config.dtype_policy(), Own("mixed_bfloat16")
    keras.config.set_dtype_policy(own)
    try:
        with subject.precision_scope("mixed_float16"):
            pass
        after = keras.config.dtype_policy()
    finally:
        keras.config.set_dtype_policy(before)
    check(after is own, f"the policy before was {own!r}, and is {after!r} after the scope")


def test_output_takes_options(subject: Subject) -> None:
    """The output takes the name of any activation, and options such as its name, which survive its configuration."""
    with default_policy(subject.precision):
        layer = subject.float32_output("relu", name="probabilities")
        for each in (layer, type(layer).from_config(layer.get_config())):
            check(each.name == "probabilities", f"the output is called {each.name}, expected probabilities")
            y = each(np.array([[-1.0, 1 + 2.0**-20]], np.float32))
            assert_equal(y, np.array([[0.0, 1 + 2.0**-20]]), "relu of the output")
