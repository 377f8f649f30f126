"""Checkpointing in calls of every form: what is handed in, several calls in a step, and calls that end in an error."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

from suites.implementations import NotProvided
from suites.properties.checkpointing_cases import (
    Affine,
    Counting,
    Inside,
    Masked,
    Trained,
    affine,
    captured,
    dropped,
    sequential,
)
from suites.properties.checkpointing_steps import Step, assert_same, step, tensor_of
from suites.properties.checks import check, without_warnings
from suites.properties.numerics import assert_equal, float64, to_numpy
from suites.properties.refusals import refused
from suites.subjects import Subject


class Pair(NamedTuple):
    """A nest of its own kind."""

    first: Any
    second: Any


HANDED_IN: dict[str, Callable[[Callable[..., Any], Any], Any]] = {
    "by itself": lambda function, each: function(each),
    "by keyword": lambda function, each: function(inputs=each),
    "in a list": lambda function, each: function([each]),
    "in a dictionary": lambda function, each: function({"one": {"two": each}}),
    "in a list by keyword": lambda function, each: function(inputs=(each,)),
}
"""Ways to hand something to a function of one argument, `inputs`."""


def only(inputs: Any) -> Any:
    """The only leaf of a nest."""
    return keras.tree.flatten(inputs)[0]


@pytest.mark.structure
@given(how=st.sampled_from(sorted(HANDED_IN)), mode=st.sampled_from(("eager", "compiled")), converted=st.booleans())
def test_variables_are_taken_as_arguments(subject: Subject, how: str, mode: str, converted: bool) -> None:
    """A variable that is handed in, or a tensor made of it, gets its gradient once."""
    kernel = captured([np.array([3.0, -2.0])])[0]
    checkpointed = subject.checkpoint(lambda inputs: only(inputs) * only(inputs))

    def run(scale: Any) -> Any:
        return scale * HANDED_IN[how](checkpointed, ops.convert_to_tensor(kernel) if converted else kernel)

    found = step(run, tensor_of(1.0), variables=[kernel], mode=mode)
    assert_equal(found.value, np.array([9.0, 4.0]), "value of the variable squared")
    gradient = found.to_variables[0]
    check(gradient is not None, f"no gradient reaches a variable that is handed in {how}")
    assert_equal(gradient, np.array([6.0, -4.0]), f"gradient to a variable that is handed in {how}, {mode}")


@pytest.mark.structure
@given(how=st.sampled_from(sorted(HANDED_IN)), seed=st.integers(0, 1000))
def test_dropout_repeats_its_mask_in_every_call(subject: Subject, how: str, seed: int) -> None:
    """However inputs are handed in, the second run drops what the first has dropped, in each of two calls in a step."""
    layer, state = dropped(0.5, seed)
    checkpointed = subject.checkpoint(lambda inputs: layer(only(inputs), training=True))
    ones = tensor_of(np.ones((8, 8)))
    found = step(
        lambda inputs: HANDED_IN[how](checkpointed, inputs) + 2 * HANDED_IN[how](checkpointed, inputs),
        ones,
        state=[state],
    )
    assert_equal(found.gradient, found.value, f"gradient of two calls with inputs handed in {how}")


@pytest.mark.structure
@given(mode=st.sampled_from(("eager", "compiled")))
def test_calls_do_not_mix(subject: Subject, mode: str) -> None:
    """Calls before the backward pass are each run again with the tensors that they were given."""
    checkpointed = subject.checkpoint(lambda inputs: inputs * inputs * inputs)
    found = step(lambda inputs: checkpointed(inputs) + checkpointed(2 * inputs), tensor_of([1.0]), mode=mode)
    assert_same(found, Step(np.array([9.0]), [np.array([27.0])], []), f"{mode}: x^3 + (2 x)^3 at 1")


@pytest.mark.structure
def test_options_do_not_mix(subject: Subject) -> None:
    """Of two calls with different options each is run again with its own."""

    def power(inputs: Any, *, by: int) -> Any:
        return inputs**by

    checkpointed = subject.checkpoint(power)
    found = step(lambda inputs: checkpointed(inputs, by=3) + checkpointed(inputs, by=2), tensor_of([2.0]))
    assert_same(found, Step(np.array([12.0]), [np.array([16.0])], []), "x^3 + x^2 at 2")


@pytest.mark.structure
@given(mode=st.sampled_from(("eager", "compiled")))
def test_one_tensor_in_two_places_counts_twice(subject: Subject, mode: str) -> None:
    """A tensor that is handed in twice gets the sum of the gradients to its places, once."""
    checkpointed = subject.checkpoint(lambda a, b, more: a * b * more["c"][0])
    found = step(lambda x: checkpointed(x, x, {"c": [x]}), tensor_of([3.0]), mode=mode)
    assert_same(found, Step(np.array([27.0]), [np.array([27.0])], []), f"{mode}: x x x at 3")


@pytest.mark.structure
@given(mode=st.sampled_from(("eager", "compiled")))
def test_gradients_need_no_floating_argument(subject: Subject, mode: str) -> None:
    """Variables get their gradients where the arguments are integers only, as those of an embedding, or none at all."""
    embedding = layers.Embedding(3, 2, embeddings_initializer="ones")
    embedding.build((None,))
    table, scale = embedding.embeddings, captured([np.array([2.0])])[0]
    looked_up = subject.checkpoint(lambda tokens: table[tokens[0]] * ops.cast(tokens[1], "float32"))
    scaled = subject.checkpoint(lambda: scale * scale)
    tokens = ops.convert_to_tensor(np.array([1, 5], "int32"))
    found = step(lambda x: x * looked_up(tokens) * scaled(), tensor_of(1.0), variables=[table, scale], mode=mode)
    rows = np.array([[0.0, 0.0], [20.0, 20.0], [0.0, 0.0]])
    assert_same(found, Step(np.array([20.0, 20.0]), [np.array(40.0)], [rows, np.array([40.0])]), mode)


@pytest.mark.structure
def test_every_floating_dtype_gets_its_gradient(subject: Subject) -> None:
    """Arguments of different floating-point dtypes in one call each get their gradient, in their own dtype."""
    dtypes = ("float16", "bfloat16", "float32", "float64")
    with float64():
        checkpointed = subject.checkpoint(lambda *tensors: sum(ops.cast(each * each, "float64") for each in tensors))
        found = step(checkpointed, *(tensor_of([3.0], dtype) for dtype in dtypes))
    for dtype, gradient in zip(dtypes, found.to_arguments, strict=True):
        check(gradient is not None, f"no gradient reaches an argument of {dtype}")
        assert_equal(gradient, np.array([6.0]), f"gradient to an argument of {dtype}")


@pytest.mark.structure
def test_results_keep_their_nest(subject: Subject) -> None:
    """Tuples, named tuples, lists and dictionaries come back as such, in order."""
    checkpointed = subject.checkpoint(lambda x: (Pair([2 * x], {"b": 3 * x, "a": 5 * x}), ops.cast(7 * x, "int32")))
    results = checkpointed(tensor_of(1.0))
    pair, whole = results
    kinds = [type(each).__name__ for each in (results, pair, pair[0])]
    check(kinds == ["tuple", "Pair", "list"], f"a tuple with a Pair with a list comes back as {kinds}")
    found = [float(each) for each in (pair.first[0], pair.second["b"], pair.second["a"], whole)]
    check(found == [2.0, 3.0, 5.0, 7.0], f"results {found}, expected 2, 3, 5, 7")


@pytest.mark.structure
@given(training=st.booleans())
def test_training_may_be_handed_in(subject: Subject, training: bool) -> None:
    """A layer that is called with `training` is told of it in both runs."""
    checkpointed = subject.checkpoint(Trained())
    once = step(lambda x: checkpointed(x, training=training), tensor_of([2.0]))
    factor = 3.0 if training else 1.0
    wanted = Step(np.array([4 * factor]), [np.array([4 * factor])], [])
    assert_same(once, wanted, f"a layer that is called with training={training}")


# Effects


@pytest.mark.structure
@given(mode=st.sampled_from(("eager", "compiled")))
def test_the_last_assignment_counts(subject: Subject, mode: str) -> None:
    """A variable that is assigned to several times in a run, here an integer beyond float32's, keeps the last value."""
    start = 2**24
    count = keras.Variable(np.array(start), trainable=False, dtype="int32")

    def function(inputs: Any) -> Any:
        for _ in range(3):
            count.assign(count.value + 1)
            inputs = inputs * ops.cast(count.value - start, inputs.dtype)
        return inputs

    found = step(subject.checkpoint(function), tensor_of([3.0]), state=[count], mode=mode)
    after = int(to_numpy(count.value))
    check(after == start + 3, f"{mode}: after three assignments the count of {start} is {after}")
    assert_same(found, Step(np.array([18.0]), [np.array([6.0])], []), f"{mode}: 3 times 1 times 2 times 3")


@pytest.mark.structure
@given(failing_run=st.sampled_from((1, 2)))
def test_errors_leave_no_context_behind(subject: Subject, failing_run: int) -> None:
    """After an error in either run layers are in inference as before, and variables are not cast."""
    with ThreadPoolExecutor(1) as thread:  # what is left behind is left in a thread, and goes with it
        squared, dtype = thread.submit(_after_an_error, subject, failing_run).result()
    assert_equal(squared, np.array([4.0]), f"x^2 at 2, after an error in run {failing_run}")
    check(dtype == "float32", f"after an error in run {failing_run} a float32 variable is read as {dtype}")


def _after_an_error(subject: Subject, failing_run: int) -> tuple[np.ndarray, str]:
    """What a layer gives that triples in training, and the dtype in which a variable is read."""
    runs: list[int] = []

    def body(layer: Inside, inputs: Any) -> Any:
        runs.append(1)
        if len(runs) == failing_run:
            raise KeyError
        return layer.trained(inputs)

    layer = Inside(subject.checkpoint, body, dtype="mixed_float16")
    with contextlib.suppress(KeyError):
        step(lambda inputs: layer(inputs, training=True), tensor_of([2.0]))
    value = captured([np.ones(1)])[0].value * 1
    return to_numpy(Trained(dtype="float32")(tensor_of([2.0]))), keras.backend.standardize_dtype(value.dtype)


UNBUILT: dict[str, Callable[[], layers.Layer]] = {
    "Dense": lambda: layers.Dense(1, kernel_initializer="ones"),
    "LayerNormalization": layers.LayerNormalization,
    "Affine": lambda: Affine(2.0, 1.0),
    "PReLU": layers.PReLU,
}


def needs_no_word_of_variables() -> None:
    """Leave a property out where gradients are only to be had to variables that are there beforehand."""
    if keras.backend.backend() == "jax":
        raise NotProvided("JAX has to be told of all variables before a step")


@pytest.mark.structure
@given(kind=st.sampled_from(sorted(UNBUILT)))
def test_unbuilt_layers_are_refused_or_trained(subject: Subject, kind: str) -> None:
    """A layer that creates its variables inside is answered with ValueError, or gets its gradients at once."""
    needs_no_word_of_variables()
    layer = UNBUILT[kind]()

    def created() -> Iterator[Any]:
        yield from layer.trainable_variables

    try:
        found = step(subject.checkpoint(layer), tensor_of([[1.0, -2.0]]), variables=created())  # type: ignore[arg-type]
    except ValueError:
        return
    missing = [place for place, gradient in enumerate(found.to_variables) if gradient is None]
    check(found.to_variables and not missing, f"{kind}, not built before: no gradient reaches its variables {missing}")


@pytest.mark.structure
def test_unbuilt_counters_are_refused_or_count(subject: Subject) -> None:
    """A layer that creates state inside is answered with ValueError, or its state has moved on by one after a step."""
    needs_no_word_of_variables()
    layer = Counting()
    checkpointed = subject.checkpoint(lambda inputs: layer(inputs, training=True))
    try:
        found = step(checkpointed, tensor_of([2.0]))
    except ValueError:
        return
    assert_equal(found.gradient, np.array([1.0]), "gradient")
    assert_equal(layer.count.value, np.array(1.0), "count after a step of a layer that was not built")


# Segments


@pytest.mark.structure
@given(segments=st.integers(1, 3))
def test_shared_layers_are_trained_by_all_their_places(subject: Subject, segments: int) -> None:
    """The weights of a layer that stands in the sequence several times get the sum of its places' gradients."""
    shared, other = affine(2)
    chosen = [shared, other, shared]
    layer = sequential(subject, chosen, segments)
    layer(tensor_of([[1.0]]))

    def plain(tensor: Any) -> Any:
        for each in chosen:
            tensor = each(tensor)
        return tensor

    slopes = [shared.slope, other.slope]
    inputs = tensor_of([[1.0, 5.0]])
    expected = step(plain, inputs, variables=slopes)
    assert_same(step(layer, inputs, variables=slopes), expected, f"[a, b, a] in {segments} segments")


@pytest.mark.structure
def test_configuration_can_be_used_again(subject: Subject) -> None:
    """`from_config` makes layers of one configuration as often as asked, with its name, dtype and segments."""
    options = {"name": "own", "trainable": False}
    layer = subject.CheckpointedSequential(
        [layers.Dense(2) for _ in range(3)], segments=(2, 1), dtype="mixed_bfloat16", **options
    )
    config = layer.get_config()
    original = copy.deepcopy(config)
    made = [type(layer).from_config(config) for _ in range(2)]
    check(config == original, f"the configuration has become {config}, and was {original}")
    for each in made:
        found = each.name, each.trainable, each.dtype_policy.name, tuple(each.segments), len(each.layers)
        check(found == ("own", False, "mixed_bfloat16", (2, 1), 3), f"made again it has {found}")
    shared = {id(each) for each in made[0].layers} & {id(each) for each in [*made[1].layers, *layer.layers]}
    check(not shared, "two that are made of one configuration share layers")


@pytest.mark.structure
@given(last=st.sampled_from(("Masked", "Affine", "Activation")))
def test_masks_end_where_they_end_without(subject: Subject, last: str) -> None:
    """What follows the sequence sees a mask exactly where it sees one after the plain sequence."""
    end = {"Masked": Masked(), "Affine": affine(1)[0], "Activation": layers.Activation("relu")}[last]
    chosen = [layers.Masking(), layers.Activation("linear"), end]
    after, inputs = Masked(), tensor_of([[[1.0], [0.0], [3.0]]])

    def plain(tensor: Any) -> Any:
        for each in chosen:
            tensor = each(tensor)
        return after(tensor)

    with without_warnings("Layer .* does not support masking"):
        layer = sequential(subject, chosen, 2)
        assert_same(step(lambda x: after(layer(x)), inputs), step(plain, inputs), f"a mask after {last}")


# Refusals


@pytest.mark.structure
def test_what_cannot_be_called_is_refused(subject: Subject) -> None:
    """What is no function is answered with ValueError or TypeError, before it is called."""
    for what in (3, None, "tanh"):
        refused(f"checkpoint({what!r})", subject.checkpoint, what, errors=(ValueError, TypeError))


@pytest.mark.structure
def test_impossible_segments_are_refused(subject: Subject) -> None:
    """No layers, no segments, more segments than layers, and lengths that do not sum to them, raise ValueError."""
    for asked in ((0, 1), (-1, 1), (4, 0), (4, 5), (4, 0.5)):
        refused(f"segment_memory{asked}", subject.segment_memory, *asked)
    impossible: tuple[tuple[Any, ...], ...] = (
        (0,),
        (0, 1),
        (4, 0),
        (4, 5),
        (4, -1),
        (4, (2, 1)),
        (4, (5, -1)),
        (4, ()),
    )
    for lengths in impossible:
        refused(f"segment_lengths{lengths}", subject.segment_lengths, *lengths)
    check(tuple(subject.segment_lengths(4, [1, 3])) == (1, 3), "lengths that fit are not those that are given")
