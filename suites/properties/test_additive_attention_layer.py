"""What must be true of additive attention's layer, as a citizen of Keras."""

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.additive_attention_cases import (
    SMALL,
    SMALL_FULL,
    SMALL_STEPS,
    SMALL_STEPS_MASKED,
    Case,
    as_tensor,
    build,
    call,
    quiet,
    rounding,
)
from suites.properties.births import assert_apart, assert_born, glorot
from suites.properties.checks import check, require
from suites.properties.numerics import assert_equal, assert_within, float64, to_numpy
from suites.properties.oracles import additive_attention as oracle
from suites.properties.tracing import traced
from suites.subjects import Subject


@pytest.mark.structure
def test_layer_counts(subject: Subject) -> None:
    """A layer of U units has D_q U + D_k U + U parameters, and nothing else that it keeps."""
    case = SMALL.but(
        query=np.ones((1, 2)),
        values=np.ones((1, 1, 5)),
        keys=np.ones((1, 1, 3)),
        query_kernel=np.ones((2, 7)),
        key_kernel=np.ones((3, 7)),
        scale=np.ones(7),
    )
    layer = build(subject, case)
    counted = [sum(math.prod(w.shape) for w in some) for some in (layer.trainable_weights, layer.non_trainable_weights)]
    check(counted == [42, 0], f"{counted} parameters, trained and not; expected 2 * 7 + 3 * 7 + 7 = 42, and 0")


@example(case=SMALL_FULL)
@given(case=st.just(SMALL_STEPS))
def test_layer_keeps_nothing_of_a_call(subject: Subject, case: Case) -> None:
    """A layer attends as one that was never called before, after calls with other numbers, lengths, and masks."""

    def but(sign: int, batch: int = 2, length: int = 3) -> Case:
        source = {"values": sign * case.values[:batch, :length]}
        if case.keys is not None and case.mask is not None:
            source |= {"keys": sign * case.keys[:batch, :length], "mask": case.mask[::-1][:batch, :, :length]}
        return case.but(query=sign * case.query[:batch], **source)

    used = build(subject, case, fresh=True)
    for number, each in enumerate((case, but(-1), but(1), but(1, batch=1), but(1, length=2), case), 1):
        alone = call(build(subject, case, fresh=True), **each.inputs)
        assert_equal(call(used, **each.inputs), to_numpy(alone), f"the context of call {number}")


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """A call changes nothing in the NumPy arrays that it is given, even where they are masked."""
    mask = SMALL_FULL.attended & np.array([True, True, False])  # position 2 is masked for every query
    case = SMALL_FULL.but(mask=mask)
    inputs = {name: array.astype("float32" if array.dtype == float else bool) for name, array in case.inputs.items()}
    kernels = {name: array.astype("float32") for name, array in case.kernels.items()}
    before = {name: array.copy() for name, array in {**inputs, **kernels}.items()}
    if subject.provides("additive_attention"):
        subject.additive_attention(**inputs, **kernels)
    if subject.provides("AdditiveAttention"):
        build(subject, case)(**inputs)
    for name, array in {**inputs, **kernels}.items():
        check(np.array_equal(array, before[name]), f"{name} after the call: {array.tolist()}")


def test_model_survives_saving(subject: Subject) -> None:
    """A functional model with the layer computes the same after saving and loading."""
    layer = build(subject, SMALL)
    inputs = [keras.Input(array.shape[1:]) for array in SMALL.inputs.values()]
    model = keras.Model(inputs, layer(*inputs))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        with quiet():
            loaded = keras.saving.load_model(
                Path(folder) / "model.keras", custom_objects={type(layer).__name__: type(layer)}
            )
    arrays = [array.astype("float32") for array in SMALL.inputs.values()]
    assert_equal(loaded(arrays), to_numpy(model(arrays)), "context after loading")


@pytest.mark.structure
def test_layer_is_born_as_agreed(subject: Subject) -> None:
    """Both kernels and v start by Glorot's uniform law, and the kernels are not alike."""
    keras.utils.set_random_seed(0)
    layer = subject.AdditiveAttention(512)
    call(layer, np.ones((1, 8)), np.ones((1, 2, 8)))
    fans = {"query_kernel": (8, 512), "key_kernel": (8, 512), "scale": (512, 512)}
    born = {name: to_numpy(weight) for name, weight in zip(fans, layer.weights, strict=True)}
    for name, array in born.items():
        assert_born(array, glorot(*fans[name]), name)
    assert_apart(born)


@pytest.mark.structure
def test_a_layers_double_is_born_alike(subject: Subject) -> None:
    """With the same seed a layer made from another's configuration is born as that was, under its name and policy."""

    def told(create: Callable[[], Any]) -> tuple[Any, list[np.ndarray]]:
        keras.utils.set_random_seed(7)
        layer = create()
        context = call(layer, **SMALL.inputs)
        return layer, [*map(to_numpy, layer.weights), to_numpy(context)]

    layer, ours = told(lambda: subject.AdditiveAttention(3, name="mine", dtype="mixed_bfloat16"))
    double, theirs = told(lambda: type(layer).from_config(json.loads(json.dumps(layer.get_config()))))
    check([a.shape for a in ours] == [a.shape for a in theirs], f"the double has {len(theirs) - 1} weights, or others")
    for found, expected in zip(theirs, ours, strict=True):
        assert_equal(found, expected, "a weight, or the context, of a layer's double")
    check(double.name == "mine", f"the double's name is {double.name}")


@pytest.mark.structure
@example(full=True)
@given(full=st.booleans())
def test_a_model_of_any_length_follows_the_formula(subject: Subject, full: bool) -> None:
    """A functional model over any number of positions finds for each what the formula says, with a mask and without."""
    whole = SMALL_STEPS_MASKED if full else SMALL
    layer = build(subject, whole, contract=True)
    inputs = [keras.Input((None, 1) if full else (1,)), keras.Input((None, 1))]
    inputs += [keras.Input((None, None), dtype="bool")] if full else []
    with quiet():
        options = {"mask": inputs[2], "return_attention_scores": True} if full else {}
        model = keras.Model(inputs, keras.tree.flatten(call_symbolically(layer, *inputs[:2], **options)))
    compiled = traced(lambda *given: keras.tree.flatten(model(list(given))), unknown=(0, 1, 2) if full else (0, 1))
    for length in (3, 1, 2):
        case = whole.but(values=whole.values[:, :length])
        case = case.but(mask=whole.attended[..., :length]) if full else case
        if not case.attended.any(-1).all():
            continue  # what a query with nothing to attend to finds is another property's
        with quiet():
            found = compiled(*(as_tensor(array, "float32") for array in case.inputs.values()))
        truth, bound = oracle.attention(**case.arguments), rounding(subject, case)
        assert_within(found[0], truth.context, bound.context, f"context of a source of length {length}")
        if full:
            assert_within(found[1], truth.weights, bound.weights, f"weights of a source of length {length}")


def call_symbolically(layer: Any, *inputs: Any, **options: Any) -> Any:
    """Call a layer with symbolic inputs."""
    for name in options:
        require(layer.call, name, "AdditiveAttention.call")
    return layer(*inputs, **options)


@pytest.mark.structure
def test_float64_stays_float64(subject: Subject) -> None:
    """Under the policy float64 context and weights are float64, and right to its rounding."""
    truth, bound = oracle.attention(**SMALL_FULL.arguments), oracle.rounding(**SMALL_FULL.arguments, dtype="float64")
    with float64():
        layer = build(subject, SMALL_FULL, contract=True, dtype="float64")
        found = [to_numpy(each) for each in call(layer, **SMALL_FULL.inputs, return_attention_scores=True)]
    assert_within(found[0], truth.context, bound.context, "context")
    assert_within(found[1], truth.weights, bound.weights, "weights")


@pytest.mark.structure
def test_no_mask_goes_on_with_the_context(subject: Subject) -> None:
    """A mask that Keras attached to query or values is not that of the context, which has none."""
    layer = build(subject, SMALL_STEPS)
    query, values = (
        keras.layers.Masking()(as_tensor(array, "float32")) for array in (SMALL_STEPS.query, SMALL_STEPS.values)
    )
    with quiet():
        context = layer(query, values)
    check(getattr(context, "_keras_mask", None) is None, "the mask goes on with the context")
