"""What must be true of gradient checkpointing, whoever wrote it (reference/checkpointing.py is the contract).

Most laws here are exact: the functions are made of small integers, which no precision rounds, or are compared with
themselves, run without checkpoints.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import layers, ops

from suites.properties.checkpointing_cases import (
    SMALL,
    Affine,
    Chain,
    Inside,
    Masked,
    affine,
    captured,
    chain_function,
    chains,
    dropped,
    nested,
    sequential,
    step_of_chain,
    step_of_nest,
    weights_after_fit,
)
from suites.properties.checkpointing_steps import (
    Step,
    assert_same,
    counted,
    kept_between_passes,
    second_derivative,
    step,
    tensor_of,
)
from suites.properties.checks import check
from suites.properties.domain import Lenient
from suites.properties.numerics import assert_equal, to_numpy
from suites.properties.oracles import checkpointing as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

ODD_SHAPE = (37, 5)
"""Of tensors that are to be told from all others."""


# The function is the same


@example(case=SMALL)
@given(case=chains())
def test_value_and_input_gradient_are_exact(subject: Subject, case: Chain) -> None:
    """Where nothing rounds, the value and the gradient to the input are those of the formula, bit for bit."""
    found, truth = step_of_chain(subject, case, "eager")
    assert_equal(found.value, truth.value, "value")
    assert_equal(found.gradient, truth.to_input, "gradient to the input")


@example(case=SMALL)
@given(case=chains())
def test_captured_variables_get_their_gradients(subject: Subject, case: Chain) -> None:
    """Where nothing rounds, trained variables that the function uses get the gradients of the formula, bit for bit."""
    found, truth = step_of_chain(subject, case, "eager")
    for place, (gradient, wanted) in enumerate(zip(found.to_variables, truth.to_kernels, strict=True)):
        check(gradient is not None, f"no gradient reaches variable {place}")
        assert_equal(gradient, wanted, f"gradient to variable {place}")


def test_compiled_steps_are_exact(subject: Subject) -> None:
    """Compiled into a graph, and by XLA, a step still gives the gradients of the formula, bit for bit."""
    for mode in ("compiled", "xla"):
        found, truth = step_of_chain(subject, SMALL, mode)
        assert_same(found, Step(truth.value, [truth.to_input], list(truth.to_kernels)), mode)


@example(case=SMALL)
@given(case=chains())
def test_rounding_is_the_same(subject: Subject, case: Chain) -> None:
    """Where numbers do round, value and gradients are those of the function itself, bit for bit."""
    kernels = captured([kernel / 3 for kernel in case.kernels])
    function = chain_function(kernels, ops.tanh)
    inputs, more = tensor_of(case.inputs / 7, subject.compute_dtype), {"variables": kernels, "cotangent": 1 / 3}
    plain = step(function, inputs, **more)  # type: ignore[arg-type]
    assert_same(step(subject.checkpoint(function), inputs, **more), plain, "step")  # type: ignore[arg-type]


@pytest.mark.structure
def test_nests_and_keywords_are_taken(subject: Subject) -> None:
    """Nests, keyword arguments and options go in, a nest comes out, and gradients reach every tensor of them."""
    assert_same(step_of_nest(subject.checkpoint(nested), "eager"), step_of_nest(nested, "eager"), "step")


@pytest.mark.structure
def test_keywords_are_taken_when_compiled(subject: Subject) -> None:
    """In a compiled step, nests and keyword arguments are taken as they are in an eager one."""
    assert_same(step_of_nest(subject.checkpoint(nested), "compiled"), step_of_nest(nested, "compiled"), "step")


@pytest.mark.structure
def test_masks_and_integers_are_taken(subject: Subject) -> None:
    """Arguments without a gradient, of bool and of integers, go through as they are, eager and compiled."""
    keep, order = ops.convert_to_tensor([True, False, True]), ops.convert_to_tensor(np.array([2, 0, 0], "int32"))

    def function(inputs: Any, keep: Any, order: Any) -> Any:
        kinds = [keras.backend.standardize_dtype(each.dtype) for each in (keep, order)]
        check(kinds == ["bool", "int32"], f"arguments of bool and int32 come in as {kinds}")
        return ops.where(keep, ops.take(inputs, order, axis=0), 0)

    checkpointed, inputs = subject.checkpoint(function), tensor_of([1.0, 2.0, 3.0])
    for mode in ("eager", "compiled"):
        expected = step(lambda inputs: function(inputs, keep, order), inputs, mode=mode)
        assert_same(step(lambda inputs: checkpointed(inputs, keep, order), inputs, mode=mode), expected, mode)


@pytest.mark.structure
def test_changed_variables_are_seen(subject: Subject) -> None:
    """A variable that changes from one step to the next is used as it is at the time, in both runs of either step."""
    scale = captured([np.array([2.0])])[0]
    checkpointed = subject.checkpoint(lambda inputs: inputs * inputs * scale)
    for value in (2.0, 5.0):
        scale.assign([value])
        found = step(checkpointed, tensor_of([3.0]), variables=[scale])
        wanted = Step(np.array([9 * value]), [np.array([6 * value])], [np.array([9.0])])
        assert_same(found, wanted, f"scale {value}")


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """Neither arrays that are handed in nor variables that are only read change."""
    arrays, kernels = [SMALL.inputs.astype("float32"), np.array([2.0], "float32")], captured(SMALL.kernels)
    chain = chain_function(kernels)
    found = subject.checkpoint(
        lambda inputs, scale: chain(ops.convert_to_tensor(inputs)) * ops.convert_to_tensor(scale)
    )(*arrays)
    assert_equal(found, oracle.chain(SMALL.inputs, SMALL.kernels, SMALL.cotangent).value * 2, "value for NumPy arrays")
    assert_equal(arrays[0], SMALL.inputs, "inputs after the call")
    assert_equal(arrays[1], np.array([2.0]), "scale after the call")
    for kernel, wanted in zip(kernels, SMALL.kernels, strict=True):
        assert_equal(kernel.value, wanted, "variable after the call")


# It runs twice, and keeps nothing


@pytest.mark.structure
def test_function_runs_twice_in_a_step(subject: Subject) -> None:
    """A training step runs the function exactly twice."""
    function, runs = counted(ops.tanh)
    step(subject.checkpoint(function), tensor_of([1.0, 2.0]))
    check(len(runs) == 2, f"the function ran {len(runs)} times")


@pytest.mark.structure
def test_function_runs_once_without_a_gradient(subject: Subject) -> None:
    """Where no gradient is asked for, the function runs once."""
    function, runs = counted(ops.tanh)
    subject.checkpoint(function)(tensor_of([1.0, 2.0]))
    check(len(runs) == 1, f"the function ran {len(runs)} times")


@pytest.mark.structure
def test_nothing_in_between_is_kept(subject: Subject) -> None:
    """Between the passes only the arguments are kept, and none of the activations."""

    def deep(inputs: Any) -> Any:
        for _ in range(5):
            inputs = ops.tanh(inputs)
        return inputs

    kept = kept_between_passes(subject.checkpoint(deep), np.ones(ODD_SHAPE))
    check(kept == 1, f"{kept} activations of 5 layers are kept, expected the input alone")


# The second run is the first one again


@example(seed=1, mode="compiled")
@given(seed=st.integers(0, 1000), mode=st.just("eager"))
def test_dropout_repeats_its_mask(subject: Subject, seed: int, mode: str) -> None:
    """The second run drops what the first has dropped: for inputs of 1 the gradient equals the value everywhere."""
    layer, state = dropped(0.5, seed)
    checkpointed = subject.checkpoint(lambda inputs: layer(inputs, training=True))
    found = step(checkpointed, tensor_of(np.ones((8, 8)), subject.compute_dtype), state=[state], mode=mode)
    assert_equal(found.gradient, found.value, "gradient")


@pytest.mark.structure
@given(seed=st.integers(0, 1000))
def test_random_numbers_move_on_as_without(subject: Subject, seed: int) -> None:
    """Every step draws the random numbers that it draws without checkpoints, and leaves the same state behind."""
    layer, state = dropped(0.5, seed)

    def function(inputs: Any) -> Any:
        return layer(inputs, training=True) + 2 * layer(inputs, training=True)

    inputs, before = tensor_of(np.ones((8, 8))), to_numpy(state.value)
    plain = [(step(function, inputs, state=[state]).value, to_numpy(state.value)) for _ in range(2)]
    state.assign(before)
    checkpointed = subject.checkpoint(function)
    for place, (value, after) in enumerate(plain):
        assert_equal(step(checkpointed, inputs, state=[state]).value, value, f"value of step {place}")
        assert_equal(state.value, after, f"state after step {place}")


@pytest.mark.structure
def test_assignments_happen_once(subject: Subject) -> None:
    """A variable that counts calls moves on by one in a step, and the second run finds what the first one found."""
    count = keras.Variable(np.array(1.0), trainable=False, dtype="float32")

    def function(inputs: Any) -> Any:
        count.assign(count.value + 1)
        return inputs * count.value

    checkpointed = subject.checkpoint(function)
    for mode in ("eager", "compiled"):
        count.assign(1.0)
        found = step(checkpointed, tensor_of([3.0]), state=[count], mode=mode)
        assert_equal(count.value, np.array(2.0), f"{mode}: count after a step")
        assert_equal(found.value, np.array([6.0]), f"{mode}: value")
        assert_equal(found.gradient, np.array([2.0]), f"{mode}: gradient")


@pytest.mark.structure
def test_moving_statistics_are_updated_once(subject: Subject) -> None:
    """After a step the moving statistics of batch normalization are those of one update, bit for bit."""
    layer = layers.BatchNormalization(momentum=0.5)
    layer.build((None, 2))
    state = layer.non_trainable_variables
    inputs = tensor_of([[0.0, 1.0], [4.0, -1.0]])
    step(subject.checkpoint(lambda inputs: layer(inputs, training=True)), inputs, state=state)
    assert_equal(layer.moving_mean.value, np.array([1.0, 0.0]), "moving mean")
    assert_equal(layer.moving_variance.value, np.array([2.5, 1.0]), "moving variance")


@pytest.mark.structure
def test_training_is_repeated(subject: Subject) -> None:
    """Layers inside that learn of `training` from the layer around them learn of it in the second run too."""
    layer = Inside(subject.checkpoint, lambda self, inputs: self.trained(inputs))
    found = step(lambda inputs: layer(inputs, training=True), tensor_of([2.0]))
    assert_equal(found.value, np.array([12.0]), "value of 3 x^2 at 2")
    assert_equal(found.gradient, np.array([12.0]), "gradient of 3 x^2 at 2")


def test_casts_are_repeated(subject: Subject) -> None:
    """A layer's own variables are cast to the compute dtype in the second run as they are in the first."""

    def body(layer: Inside, inputs: Any) -> Any:
        first, second = ops.unstack(ops.cast(layer.kernel - 1, inputs.dtype))  # 0 where they are rounded to 1
        return inputs * (1 + 512 * first + 4096 * second)

    expected = np.array([{"float32": 3.0, "float16": 2.0, "bfloat16": 1.0}[subject.compute_dtype]])
    found = step(Inside(subject.checkpoint, body, dtype=subject.precision), tensor_of([1.0]))
    assert_equal(found.value, expected, "value")
    assert_equal(found.gradient, expected, "gradient")


@pytest.mark.structure
def test_masks_are_repeated(subject: Subject) -> None:
    """The mask that a layer attached to an argument is there in the second run too."""
    masking, layer = layers.Masking(), Masked()
    checkpointed = subject.checkpoint(layer)
    found = step(lambda inputs: checkpointed(masking(inputs)), tensor_of([[[1.0], [0.0], [3.0]]]))
    assert_equal(found.value, np.array([[[2.0], [0.0], [6.0]]]), "value")
    assert_equal(found.gradient, np.array([[[2.0], [0.0], [2.0]]]), "gradient")


@pytest.mark.structure
@given(seed=st.integers(0, 1000))
def test_checkpoints_nest(subject: Subject, seed: int) -> None:
    """A checkpoint inside of a checkpoint changes nothing, random numbers included."""
    (first, one), (second, two) = dropped(0.5, seed), dropped(0.25, seed + 1)
    inner = subject.checkpoint(lambda inputs: second(inputs, training=True))
    outer = subject.checkpoint(lambda inputs: inner(first(inputs, training=True)))
    found = step(outer, tensor_of(np.ones((4, 8))), state=[one, two])
    assert_equal(found.gradient, found.value, "gradient")


@pytest.mark.structure
def test_second_derivative_is_right_or_refused(subject: Subject) -> None:
    """The gradient of the gradient is right, or refused with NotImplementedError."""
    try:
        found = second_derivative(subject.checkpoint(lambda x: x * x * x), 2.0)
    except NotImplementedError:
        return
    except RuntimeError as error:  # which NotImplementedError is one of
        raise Lenient(f"refused with {type(error).__name__}, in the contract with NotImplementedError") from error
    check(found == 480, f"the second derivative of x^6 at 2 is 480; found {found}")


# Segments of a sequence


@example(count=5, segments=2)
@example(count=4, segments=4)
@given(count=st.integers(1, 6), segments=st.integers(1, 6))
def test_segments_are_the_sequence(subject: Subject, count: int, segments: int) -> None:
    """Cut into any number of segments, the layers give the values and gradients of the plain sequence, bit for bit."""
    chosen = affine(count, subject.precision)
    layer = sequential(subject, chosen, min(count, segments))
    inputs = tensor_of([[1.0, 2.0]])
    layer(inputs)

    def plain(tensor: Any) -> Any:
        for each in chosen:
            tensor = each(tensor)
        return tensor

    slopes = [each.slope for each in chosen]
    assert_same(step(layer, inputs, variables=slopes), step(plain, inputs, variables=slopes), "sequence")


@pytest.mark.structure
def test_what_enters_a_segment_is_kept(subject: Subject) -> None:
    """Between the passes as many activations are kept as there are segments: what enters each of them."""
    for count, segments, training, wanted in (
        (9, None, None, 3),
        (8, 2, True, 2),
        (4, 4, False, 4),
        (5, (1, 4), False, 2),
    ):
        layer = sequential(subject, [layers.Activation("tanh") for _ in range(count)], segments)
        kept = kept_between_passes(layer, np.ones(ODD_SHAPE), training=training)
        what = f"in {wanted} segments ({segments}) with training={training}"
        check(kept == wanted, f"{kept} activations of {count} layers are kept {what}")


@pytest.mark.structure
def test_weights_are_those_of_the_layers(subject: Subject) -> None:
    """The layer has the weights of its layers, in their order and under their names, and none besides."""
    chosen = affine(4)
    layer = sequential(subject, chosen)
    layer(tensor_of([[1.0]]))
    wanted = [weight for each in chosen for weight in each.weights]
    names = [weight.name for weight in layer.weights], [weight.name for weight in wanted]
    check(names[0] == names[1], f"weights {names[0]}, expected {names[1]}")
    for found, weight in zip(layer.trainable_weights, wanted, strict=True):
        check(found is weight, f"the weight {found.path} is not the layer's own")


@pytest.mark.structure
def test_segments_pass_masks_on(subject: Subject) -> None:
    """A mask that one segment computes reaches the layers of the next."""
    layer = sequential(subject, [layers.Masking(), Masked()], 2)
    found = step(layer, tensor_of([[[1.0], [0.0], [3.0]]]))
    assert_equal(found.value, np.array([[[2.0], [0.0], [6.0]]]), "value")
    assert_equal(found.gradient, np.array([[[2.0], [0.0], [2.0]]]), "gradient")


@pytest.mark.structure
def test_fit_equals_the_plain_sequence(subject: Subject) -> None:
    """A step of `fit` leaves the weights and states that the plain sequence has after it, bit for bit."""
    found = weights_after_fit(lambda chosen: sequential(subject, chosen))
    for place, (got, wanted) in enumerate(zip(found, weights_after_fit(keras.Sequential), strict=True)):
        assert_equal(got, wanted, f"weight {place}")


@pytest.mark.structure
def test_model_survives_saving(subject: Subject) -> None:
    """A model with the layer computes the same, and keeps as little, after saving and loading."""
    inputs = keras.Input(ODD_SHAPE[1:])
    model = keras.Model(inputs, sequential(subject, affine(6), (1, 2, 3))(inputs))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        known = {each.__name__: each for each in (Affine, subject.CheckpointedSequential)}
        loaded = keras.saving.load_model(Path(folder) / "model.keras", custom_objects=known)
    x = np.arange(np.prod(ODD_SHAPE), dtype="float32").reshape(ODD_SHAPE) % 7
    assert_equal(loaded(x), to_numpy(model(x)), "value after loading")
    before, after = (kept_between_passes(each.layers[-1], x) for each in (model, loaded))
    check(before == after, f"{before} activations are kept before saving, and {after} after loading")


# What it costs, on paper


@given(segments=st.integers(1, 12), length=st.integers(1, 12))
def test_memory_model_counts_what_is_alive(subject: Subject, segments: int, length: int) -> None:
    """For equal segments the model is the largest number of activations alive when the algorithm is played through."""
    counted_peak = oracle.cost([length] * segments).peak
    found = subject.segment_memory(segments * length, segments)
    check(found == counted_peak, f"segment_memory({segments * length}, {segments}) is {found}, expected {counted_peak}")


@pytest.mark.structure
@given(layer_count=st.integers(1, 1000))
def test_no_number_of_segments_beats_the_square_root(subject: Subject, layer_count: int) -> None:
    """The model is 2 sqrt(n) or more, exactly that for a square, and least at the number of segments by default."""
    by_number = [subject.segment_memory(layer_count, segments) for segments in range(1, layer_count + 1)]
    chosen = len(subject.segment_lengths(layer_count))
    least = min(by_number)
    check(by_number[chosen - 1] == least, f"{chosen} segments keep {by_number[chosen - 1]}; the least is {least}")
    square = subject.segment_memory(layer_count**2, layer_count)
    check(square == 2 * layer_count, f"segment_memory({layer_count}^2, {layer_count}) is {square}")
    check(least**2 >= 4 * layer_count * (1 - 2.0**-50), f"{least} is less than 2 sqrt({layer_count})")


@pytest.mark.structure
@example(count=11, segments=3)
@given(count=st.integers(1, 60), segments=st.integers(1, 60))
def test_segments_are_even_and_complete(subject: Subject, count: int, segments: int) -> None:
    """Segments by number have lengths that sum to the number of layers and differ by 1 at most."""
    lengths = list(subject.segment_lengths(count, min(count, segments)))
    check(len(lengths) == min(count, segments) and sum(lengths) == count, f"{count} layers, segments of {lengths}")
    check(max(lengths) - min(lengths) <= 1, f"segments of {lengths} are not even")


# What cannot be right is refused


@pytest.mark.structure
def test_misfits_are_refused(subject: Subject) -> None:
    """What cannot be cut as asked is answered with ValueError: too many segments, wrong lengths, no layer."""
    chosen = affine(3)
    misfits = {
        "no layers": ([], None),
        "something that is no layer": ([chosen[0], "dense"], None),
        "0 segments": (chosen, 0),
        "more segments than layers": (chosen, 4),
        "lengths that leave a layer out": (chosen, (1, 1)),
        "a length of 0": (chosen, (3, 0)),
    }
    for what, (asked, segments) in misfits.items():
        refused(what, sequential, subject, asked, segments)


@pytest.mark.structure
def test_what_would_be_lost_is_refused(subject: Subject) -> None:
    """A layer that is not built, or that adds a loss, is answered with ValueError or trained rightly."""
    inputs = tensor_of([[1.0, -2.0]])
    for options in ({}, {"activity_regularizer": keras.regularizers.L2(0.5)}):
        layer = layers.Dense(1, kernel_initializer="ones", **options)
        if options:
            layer.build((1, 2))
        checkpointed = subject.checkpoint(layer)

        def loss(inputs: Any, checkpointed: Any = checkpointed, layer: Any = layer) -> Any:
            value = checkpointed(inputs)
            return ops.sum(value) + sum(layer.losses)

        try:
            found = step(loss, inputs)
        except ValueError:
            continue
        wanted = np.array([[1.0, 1.0]]) * (1 + (-1.0 if options else 0.0))  # d(v + v^2 / 2) / dv is 1 + v, v = -1
        what = "a loss that the layer adds" if options else "a layer that is not built"
        assert_equal(found.gradient, wanted, f"{what}: gradient")
