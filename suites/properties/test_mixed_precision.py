"""What must be true of mixed precision, whoever wrote it (reference/mixed_precision.py is the contract).

The scope of a policy, the law of the loss scale, the optimizer around it, and the output are tested each by itself, so
that an implementation of some of them is tested as far as it goes.
"""

import contextlib
import copy
import functools
import tempfile
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.mixed_precision_cases import (
    EDGES,
    ONE_WEIGHT,
    PLACES,
    SMALL,
    TASK,
    TINY,
    UPDATES,
    Gradients,
    Run,
    apply,
    default_policy,
    everything,
    gradients,
    linear_loss,
    quiet,
    run_of,
    runs,
    scaled,
    state_of,
    states,
    states_of_machine,
    states_of_optimizer,
    weights_of,
    writable,
    zeros,
)
from suites.properties.numerics import assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import mixed_precision as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

# The policy


POLICIES = {
    "float32": ("float32", "float32"),
    "mixed_float16": ("float16", "float32"),
    "mixed_bfloat16": ("bfloat16", "float32"),
}
"""Compute dtype and variable dtype of each policy (Micikevicius et al. 2018, section 3.1)."""


@pytest.mark.structure
def test_layers_in_a_scope_have_its_dtypes(subject: Subject) -> None:
    """A layer created in a scope computes in the policy's dtype, and has its weights in float32."""
    for policy, dtypes in POLICIES.items():
        with default_policy("float32"), subject.precision_scope(policy):
            layer = keras.layers.Dense(2)
            layer.build((None, 3))
        found = (layer.compute_dtype, layer.kernel.dtype)
        check(found == dtypes, f"{policy}: computes in {found[0]} with weights in {found[1]}, expected {dtypes}")


@pytest.mark.structure
def test_scope_never_leaks(subject: Subject) -> None:
    """After a scope the policy is the one before it, whether scopes are nested or left by an exception."""

    def policy() -> str:
        return str(keras.config.dtype_policy().name)

    with default_policy("mixed_bfloat16"):
        with subject.precision_scope("mixed_float16"):
            with subject.precision_scope("float32"):
                pass
            check(policy() == "mixed_float16", f"after a scope inside of mixed_float16 the policy is {policy()}")
        check(policy() == "mixed_bfloat16", f"after a scope inside of mixed_bfloat16 the policy is {policy()}")
        with contextlib.suppress(KeyError), subject.precision_scope("mixed_float16"):
            raise KeyError
        check(policy() == "mixed_bfloat16", f"after an exception in a scope the policy is {policy()}")


@pytest.mark.structure
def test_other_threads_keep_their_policy(subject: Subject) -> None:
    """A thread that is started in a scope has the default policy, as it has outside."""
    seen = []
    with default_policy("float32"), subject.precision_scope("mixed_float16"):
        thread = threading.Thread(target=lambda: seen.append(keras.config.dtype_policy().name))
        thread.start()
        thread.join()
    check(seen == ["float32"], f"another thread has the policy {seen[0]}, expected float32")


@pytest.mark.structure
def test_unknown_policies_are_refused(subject: Subject) -> None:
    """A policy that does not exist is answered with ValueError, and the policy stays as it was."""
    with default_policy("float32"), contextlib.ExitStack() as stack:
        refused("mixed_float12", lambda: stack.enter_context(subject.precision_scope("mixed_float12")))
        check(keras.config.dtype_policy().name == "float32", "the policy has changed")


def test_mixed_output_is_near_the_exact_one(subject: Subject) -> None:
    """A dense layer in a scope is off by no more than rounding in the compute dtype allows."""
    # Fractions take all bits of any format; rounded to the compute dtype, they are what the layer computes with.
    kernel = to_numpy(ops.cast(1 / np.array([[3.0, -5.0, 7.0, 9.0, 11.0]]), subject.compute_dtype))  # (D, U)
    x = np.array([[3.0], [1.5]])  # (B, D)
    with default_policy("float32"), subject.precision_scope(subject.precision):
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(5, use_bias=False)])
    network.set_weights([kernel])
    bound = oracle.product_bound(x, kernel, subject.compute_dtype)
    assert_within(network(x.astype(np.float32)), x @ kernel, bound, "output")


# The output


def test_output_is_float32(subject: Subject) -> None:
    """The output layer of a network of any precision returns float32, and computes its softmax in float32."""
    logits = np.array([[1.0, -2.0, 0.5, 3.0], [8.0, 7.75, -8.0, 0.0]])
    with default_policy(subject.precision):
        found = subject.float32_output("softmax")(ops.cast(logits, subject.compute_dtype))
    dtype = keras.backend.standardize_dtype(found.dtype)
    check(dtype == "float32", f"the output is {dtype}, expected float32")
    assert_within(found, oracle.softmax(logits), oracle.softmax_bound(logits, "float32"), "probabilities")


def test_masked_output_is_never_nan(subject: Subject) -> None:
    """Masking the output with -1e9, which float16 turns into -inf, gives no NaN where all is masked."""
    logits = np.array([[1.0, -2.0, 0.5]])
    with default_policy(subject.precision):
        output = subject.float32_output()(ops.cast(logits, subject.compute_dtype))
    masked = ops.softmax(output + ops.cast(-1e9, output.dtype), axis=-1)
    check(np.isfinite(to_numpy(masked)).all(), f"probabilities {to_numpy(masked).tolist()}")


# The law of the scale


@pytest.mark.structure
@example(run=run_of("++-+-----++", initial=2.0**5, growth_interval=2, factor=4.0, floor=2.0**3, cap=2.0**6))
@given(run=runs(bounded=True))
def test_state_machine_follows_the_law(subject: Subject, run: Run) -> None:
    """The pure state machine shrinks the scale on overflow and grows it after N finite steps, from floor to cap."""
    found, expected = states_of_machine(subject, run), oracle.states(run.finites, **run.settings)
    check(found == expected, f"states (scale, finite steps) {found}, expected {expected}")


@pytest.mark.structure
@example(run=run_of("+-++--+++++", initial=2.0**10, growth_interval=2))
@given(run=runs())
def test_optimizer_follows_the_law(subject: Subject, run: Run) -> None:
    """The optimizer's scale halves on overflow and doubles after N finite steps in a row, over any sequence."""
    found, expected = states_of_optimizer(subject, run), oracle.states(run.finites, **run.settings)
    check(found == expected, f"states (scale, finite steps) {found}, expected {expected}")


@pytest.mark.structure
@example(run=run_of("++-+----++", initial=2.0**5, growth_interval=2, factor=4.0, floor=2.0**3, cap=2.0**6))
@given(run=runs(bounded=True))
def test_optimizer_equals_the_state_machine(subject: Subject, run: Run) -> None:
    """The law in tensors, in the optimizer, and the pure state machine go through the same states."""
    machine, optimizer = states_of_machine(subject, run), states_of_optimizer(subject, run)
    check(machine == optimizer, f"states of the optimizer {optimizer}, of the pure machine {machine}")


@pytest.mark.structure
def test_scale_stays_at_or_above_one(subject: Subject) -> None:
    """However many steps overflow, the scale does not fall under 1, where it would cause underflow."""
    for name, found in states(subject, run_of("-----", initial=4.0, growth_interval=2)).items():
        least = min(scale for scale, _ in found)
        check(least >= 1, f"{name}: after {len(found)} overflows from 4 the scale is {least:g}")


@pytest.mark.structure
def test_scale_stays_finite(subject: Subject) -> None:
    """However many steps are finite, the scale stays finite."""
    for name, found in states(subject, run_of(105 * "+", initial=2.0**24, growth_interval=1)).items():
        check(np.isfinite(found[-1][0]), f"{name}: after {len(found)} finite steps the scale is {found[-1][0]}")


@pytest.mark.structure
def test_fixed_scale_stays(subject: Subject) -> None:
    """With floor and cap at the initial scale it is fixed, as in the paper's section 3.2."""
    run = run_of("+-+-+++", initial=8.0, growth_interval=1, floor=8.0, cap=8.0)
    for name, found in states(subject, run).items():
        check({scale for scale, _ in found} == {8.0}, f"{name}: states {found}")


MISFITS: tuple[dict[str, float], ...] = (
    *({"initial": scale} for scale in (0.0, -2.0, 3.0, np.nan, np.inf)),
    *({"growth_interval": interval} for interval in (0, -1, 1.5)),
)


@pytest.mark.structure
def test_settings_without_sense_are_refused(subject: Subject) -> None:
    """A scale that is no power of two, or an interval without a step, is answered with ValueError."""
    for settings in MISFITS:
        usual = settings in ({"initial": 3.0}, {"growth_interval": 1.5})
        refused(f"{settings}", functools.partial(scaled, subject, keras.optimizers.SGD(1.0), **settings), usual=usual)


@pytest.mark.structure
def test_bounds_without_sense_are_refused(subject: Subject) -> None:
    """A factor under 2, an initial scale outside of the bounds, or bounds beyond 2^-126 or 2^126: ValueError."""
    bounds: tuple[dict[str, float], ...] = (
        *({"factor": factor} for factor in (3.0, 1.0)),
        *({"initial": 4.0, "floor": 8.0}, {"initial": 8.0, "cap": 4.0}, {"floor": 3.0}),
        *({"cap": cap} for cap in (2.0**127, 3 * 2.0**20, np.inf)),
        {"floor": 2.0**-127},
    )
    for settings in bounds:
        usual = 3.0 in settings.values()  # by which scaling is no longer exact, and most have no word against it
        refused(f"{settings}", functools.partial(scaled, subject, keras.optimizers.SGD(1.0), **settings), usual=usual)


# One step of the optimizer


@pytest.mark.structure
def test_loss_is_scaled_in_float32(subject: Subject) -> None:
    """The scaled loss is the scale times the loss, exactly, even where that is beyond float16."""
    optimizer, loss = scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**15), np.float16(3.0)
    for when in ("before", "after"):
        assert_equal(
            optimizer.scale_loss(ops.convert_to_tensor(loss)), np.array(3 * 2.0**15), f"scaled loss {when} `build`"
        )
        optimizer.build([zeros(1)])


@pytest.mark.structure
@example(case=SMALL, scale=2.0**10)
@given(case=gradients(), scale=st.sampled_from((1.0, 2.0**10, 2.0**24)))
def test_inner_optimizer_sees_unscaled_gradients(subject: Subject, case: Gradients, scale: float) -> None:
    """Two steps with scaled gradients move weights, slots and iterations as the inner optimizer does alone."""
    inner, alone = (keras.optimizers.SGD(0.5, momentum=0.5) for _ in range(2))
    optimizer, ours, theirs = scaled(subject, inner, initial=scale), weights_of(case), weights_of(case)
    for _ in range(2):
        apply(optimizer, case.scaled(scale), ours)
        apply(alone, case.scaled(1.0), theirs)
    expected = everything(theirs, alone).values()
    for (name, found), wanted in zip(everything(ours, inner).items(), expected, strict=True):
        assert_equal(found, wanted, name)


@pytest.mark.structure
@example(case=SMALL, place=PLACES - 1, value=np.inf)
@example(case=SMALL, place=0, value=np.nan)
@given(case=gradients(), place=st.integers(0, PLACES - 1), value=st.sampled_from((np.inf, -np.inf, np.nan)))
def test_skipped_step_changes_nothing(subject: Subject, case: Gradients, place: int, value: float) -> None:
    """One entry of infinity or NaN in any gradient: weights, slots and iterations stay, the scale halves."""
    inner, weights = keras.optimizers.SGD(0.5, momentum=0.5), weights_of(case)
    optimizer = scaled(subject, inner, initial=2.0**10)
    apply(optimizer, case.scaled(2.0**10), weights)
    before = everything(weights, inner)
    apply(optimizer, case.poisoned(place, value, 2.0**10), weights)
    for name, found in everything(weights, inner).items():
        assert_equal(found, before[name], f"{name} after a step with {value} in a gradient")
    check(state_of(optimizer) == (2.0**9, 0), f"state {state_of(optimizer)} after an overflow, expected (512.0, 0)")


CLIPPING: tuple[dict[str, float], ...] = ({"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 0.5})


@pytest.mark.structure
def test_clipping_sees_unscaled_gradients(subject: Subject) -> None:
    """A clip of the inner optimizer cuts the gradients as they are without a scale."""
    for options in CLIPPING:
        alone, theirs, ours = keras.optimizers.SGD(1.0, **options), weights_of(SMALL), weights_of(SMALL)
        apply(alone, SMALL.scaled(1.0), theirs)
        optimizer = scaled(subject, keras.optimizers.SGD(1.0, **options), initial=2.0**10)
        apply(optimizer, SMALL.scaled(2.0**10), ours)
        for place, (found, wanted) in enumerate(zip(ours, theirs, strict=True)):
            # Either is off by the roundings of a norm over five entries, its root, a product, a quotient and the step.
            bound = 2 * gamma(PLACES + 4, "float32") * np.abs(to_numpy(wanted))
            assert_within(found, to_numpy(wanted), bound, f"weight {place} with {options}")


@pytest.mark.structure
def test_clipping_does_not_hide_an_overflow(subject: Subject) -> None:
    """An infinite gradient is noticed although the inner optimizer would clip it to a finite one."""
    weights = weights_of(SMALL)
    optimizer = scaled(subject, keras.optimizers.SGD(1.0, clipvalue=0.5), initial=2.0**10)
    apply(optimizer, SMALL.poisoned(0, np.inf, 2.0**10), weights)
    for place, weight in enumerate(weights):
        assert_equal(weight, np.zeros(weight.shape), f"weight {place} after an infinite gradient")


@pytest.mark.structure
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_missing_gradients_are_passed_over(subject: Subject) -> None:
    """A weight without a gradient stays, and the others move as ever."""
    weights, moved = weights_of(SMALL), SMALL.scaled(2.0**10)[1]
    apply(scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**10), [None, moved], weights)
    assert_equal(weights[0], np.zeros_like(SMALL.first), "weight without a gradient")
    assert_equal(weights[1], -SMALL.second, "weight with a gradient")


@pytest.mark.structure
def test_half_gradients_are_unscaled_in_float32(subject: Subject) -> None:
    """A float16 gradient whose unscaled value is too small for float16 still moves a float32 weight."""
    weight = zeros(1)
    apply(scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**15), [np.array([2.0**-12], np.float16)], [weight])
    assert_equal(weight, np.array([-(2.0**-27)]), "weight after a gradient of 2^-27")


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """A step does not write into the gradients that it is given."""
    given = [writable(array) for array in SMALL.scaled(2.0**10)]
    apply(scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**10), given, weights_of(SMALL))
    for place, (found, wanted) in enumerate(zip(given, SMALL.scaled(2.0**10), strict=True)):
        assert_equal(found, wanted.astype(np.float64), f"gradient {place} after the step")


@pytest.mark.structure
def test_inner_scaling_does_not_count_twice(subject: Subject) -> None:
    """An inner optimizer that scales the loss itself is refused with ValueError, or its scaling is undone."""
    wrapped = scaled(subject, keras.optimizers.SGD(1.0), initial=8.0)
    for inner in (keras.optimizers.SGD(1.0, loss_scale_factor=8.0), wrapped):
        try:
            optimizer = scaled(subject, inner, initial=2.0**10)
        except ValueError:
            continue
        factor, weights = float(to_numpy(optimizer.scale_loss(ops.ones(())))), weights_of(SMALL)
        apply(optimizer, SMALL.scaled(factor), weights)
        what = f"weight after a gradient scaled by {factor:g}, around {type(inner).__name__}"
        assert_equal(weights[1], -SMALL.second, what)


# Training


@pytest.mark.structure
def test_compile_leaves_the_optimizer_as_it_is(subject: Subject) -> None:
    """Under mixed_float16, where Keras wraps an optimizer unasked, `compile` does not wrap this one again."""
    optimizer = scaled(subject, keras.optimizers.SGD(1.0))
    network = TASK.network("mixed_float16")
    network.compile(optimizer, linear_loss)
    wrapper = type(network.optimizer).__name__
    check(network.optimizer is optimizer, f"after compile the model's optimizer is another {wrapper}")


def test_training_does_not_depend_on_the_scale(subject: Subject) -> None:
    """Two steps of `train_on_batch` move the weights as gradient descent without a scale does, bit for bit."""
    expected = oracle.trained(TASK.kernel, TASK.x, TASK.y, TASK.rate, 2)
    for scale in (1.0, 2.0**10):
        optimizer = scaled(subject, keras.optimizers.SGD(TASK.rate), initial=scale)
        found = TASK.train(subject.precision, optimizer, (True, True))
        assert_equal(found, expected, f"weights after training with a scale of {scale:g}")


def test_gradients_too_small_for_float16_arrive(subject: Subject) -> None:
    """A gradient of 2^-26, which float16 rounds to zero, moves a weight at every precision."""
    found = TINY.train(subject.precision, scaled(subject, keras.optimizers.SGD(TINY.rate), initial=2.0**15))
    assert_equal(found, np.array([[-(2.0**-6)]]), "weight after one step")


def test_small_updates_accumulate(subject: Subject) -> None:
    """Eight updates of 2^-12 to a weight of 1, which float16 and bfloat16 lose one by one, add up."""
    optimizer = scaled(subject, keras.optimizers.SGD(UPDATES.rate), initial=2.0**10)
    found = UPDATES.train(subject.precision, optimizer, 8 * (True,))
    assert_equal(found, np.array([[1 - 8 * 2.0**-12]]), "weight after eight steps")


def test_compiled_training_follows_the_law(subject: Subject) -> None:
    """In a compiled `train_on_batch` scale and weights follow the law; steps that overflow are skipped."""
    run = run_of("++-+--++", initial=2.0**10, growth_interval=2)
    inner, visited = keras.optimizers.SGD(TASK.rate), []
    optimizer = scaled(subject, inner, **run.settings)

    def note() -> None:
        visited.append(state_of(optimizer))

    found = TASK.train(subject.precision, optimizer, run.finites, eager=False, after_step=note)
    expected = oracle.states(run.finites, **run.settings)
    check(visited == expected, f"states (scale, finite steps) {visited}, expected {expected}")
    taken, counted = sum(run.finites), int(to_numpy(inner.iterations))
    check(counted == taken, f"{counted} iterations after {taken} finite steps")
    assert_equal(found, oracle.trained(TASK.kernel, TASK.x, TASK.y, TASK.rate, taken), "weights")


@pytest.mark.structure
def test_sparse_gradients_are_treated_alike(subject: Subject) -> None:
    """The gradient of an embedding, which TensorFlow keeps as rows, is unscaled, and an infinite row skips the step."""
    for factor, rows in ((1.0, [[1.0], [-0.5]]), (np.inf, [[1.0], [1.0]])):
        embedding = keras.layers.Embedding(2, 1, embeddings_initializer="ones")
        network = keras.Sequential([keras.Input((1,), dtype="int32"), embedding, keras.layers.Flatten()])
        optimizer = scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**10)
        with quiet():
            network.compile(optimizer, linear_loss, run_eagerly=True)
            network.train_on_batch(np.array([[1]]), np.array([[1.5 * factor]], np.float32))
        assert_equal(embedding.embeddings, np.array(rows), f"embeddings after a gradient of {1.5 * factor} to row 1")


# What is kept


@pytest.mark.structure
def test_model_survives_saving(subject: Subject) -> None:
    """A saved and loaded model goes on with the scale, the count of finite steps and the slots that it had."""
    settings = {"initial": 2.0**10, "growth_interval": 2}
    optimizer, network = (
        scaled(subject, keras.optimizers.SGD(0.25, momentum=0.5), **settings),
        ONE_WEIGHT.network("float32"),
    )
    batch = np.ones((1, 1), np.float32)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        network.compile(optimizer, "mse", run_eagerly=True)
        for x in (batch, batch, batch * np.inf, batch):
            network.train_on_batch(x, batch / 2)  # the weight is 1: it moves, and gathers momentum
        network.save(Path(folder) / "model.keras")
        objects = {type(optimizer).__name__: type(optimizer)}
        loaded = keras.saving.load_model(Path(folder) / "model.keras", custom_objects=objects)
        found, expected = state_of(loaded.optimizer), state_of(optimizer)
        check(
            found == expected == (2.0**10, 1), f"state {found} after loading, {expected} before, expected (1024.0, 1)"
        )
        loaded.run_eagerly = True
        for each in (network, loaded):
            each.train_on_batch(batch / 2, batch)
    found = state_of(loaded.optimizer)
    check(found == (2.0**11, 0), f"state {found} after one more finite step, expected (2048.0, 0)")
    assert_equal(loaded.get_weights()[0], network.get_weights()[0].astype(float), "weight after one more step")


@pytest.mark.structure
def test_configuration_can_be_used_again(subject: Subject) -> None:
    """`from_config` makes equal optimizers of one configuration, as often as it is asked, and does not change it."""
    optimizer = scaled(subject, keras.optimizers.SGD(0.5, momentum=0.5), initial=2.0**7, growth_interval=3)
    config = optimizer.get_config()
    original: dict[str, Any] = copy.deepcopy(config)
    for _ in range(2):
        made = type(optimizer).from_config(config)
        check(made.get_config() == original, f"configuration {made.get_config()}, expected {original}")
    check(config == original, f"the configuration has become {config}, and was {original}")


# Underflow


@pytest.mark.structure
@example(entries=[2.0**-25, 1.5 * 2.0**-25, 2.0**-24, 0.0], scale=1.0, dtype="float16")
@example(entries=[2.0**-40, 2.0**-39], scale=2.0**15, dtype="float16")
@example(entries=[2.0**-40, 1.0], scale=1.0, dtype="bfloat16")
@example(entries=[0.0, 1.0], scale=2.0**-30, dtype="float16")
@example(entries=[2.0**-134, 1.5 * 2.0**-134, 2.0**-133], scale=1.0, dtype="bfloat16")
@given(
    entries=EDGES,
    scale=st.sampled_from((2.0**-30, 1.0, 2.0**10, 2.0**15)),
    dtype=st.sampled_from(("float16", "bfloat16")),
)
def test_underflow_is_counted(subject: Subject, entries: list[float], scale: float, dtype: str) -> None:
    """The fraction of nonzero entries that round to zero is right up to the edge: 2^-25 is lost, 1.5 * 2^-25 not."""
    gradient, other = np.array(entries, np.float32), np.array([[2.0**-26, -1.0, 0.0, -(2.0**-25)]], np.float32)
    expected = [oracle.underflow_fraction(gradient, scale, dtype), 0.0, oracle.underflow_fraction(other, scale, dtype)]
    found = list(subject.underflow_fraction(iter([gradient, None, ops.convert_to_tensor(other)]), scale, dtype))
    check(found == expected, f"{found} of {entries} and {other} times {scale:g} lost in {dtype}, expected {expected}")
    if (scale, dtype) == (1.0, "float16"):
        check(
            list(subject.underflow_fraction([gradient])) == expected[:1], "by default S is not 1, or the dtype another"
        )


@pytest.mark.structure
def test_underflow_in_unknown_dtypes_is_refused(subject: Subject) -> None:
    """A dtype that is not of 16 bits is answered with ValueError."""
    refused("float32", subject.underflow_fraction, [np.ones(1, np.float32)], 1.0, "float32")
