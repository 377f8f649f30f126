"""What must be true of the layer of several heads as it is born, trained, compiled, saved, and told of masks."""

import json
import math
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.births import assert_apart, assert_born, glorot
from suites.properties.checks import check, require
from suites.properties.dot_product_attention_cases import INPUTS, dtype_of
from suites.properties.dot_product_attention_layer_cases import CROSS, SELF, LayerCase, build, fitting
from suites.properties.dot_product_attention_layers import call, layout_of, offers, quiet, slopes_of, transparent
from suites.properties.gradients import weight_gradients
from suites.properties.numerics import assert_equal, assert_within, float64, gamma, to_numpy
from suites.properties.oracles import dot_product_attention as oracle
from suites.properties.oracles.initialization import FALSE_ALARM
from suites.properties.refusals import refused
from suites.properties.tracing import traced
from suites.subjects import Subject


@pytest.mark.structure
def test_layer_is_born_as_agreed(subject: Subject) -> None:
    """Kernels start by Glorot's uniform law as the matrices that they are, no two alike, and biases at 0."""
    keras.utils.set_random_seed(0)
    layer = subject.MultiHeadAttention(4, 16)  # N H = 64
    call(layer, {"query": np.ones((1, 2, 32)), "values": np.ones((1, 2, 32)), "keys": np.ones((1, 2, 32))})
    names = [f"{part} of the {name}" for name in (*INPUTS, "output") for part in ("kernel", "bias")]
    shapes = [np.empty(shape) for shape in (*[(32, 4, 16), (4, 16)] * 3, (4, 16, 32), (32,))]
    restored = layout_of(layer, shapes).restored([to_numpy(weight) for weight in layer.weights], shapes)
    born = {name: weight for name, weight in zip(names, restored, strict=True) if weight is not None}
    kernels = {name: array for name, array in born.items() if name.startswith("kernel")}
    for name, array in born.items():
        if name in kernels:
            assert_born(array, glorot(32, 64), name)
        else:
            assert_equal(array, np.zeros(array.shape), name)
    assert_apart(kernels)


# Dropout

KEYS = np.random.default_rng(0).integers(-8, 9, (2, 4, 4)) / 8
VALUES = np.stack([np.eye(4)] * 2)
ROWS = LayerCase(np.random.default_rng(1).integers(-8, 9, (2, 32, 4)) / 8, VALUES, KEYS, transparent(1, 4))
"""One head that projects nothing, over one-hot values: the output of a query is its row of weights."""

RATE, FACTOR = 0.75, 4.0


@pytest.mark.structure
@given(scores=st.booleans())
def test_dropout_is_anew_and_at_its_rate(subject: Subject, scores: bool) -> None:
    """In training each weight is dropped by a chance of its own, in every call, whether weights are returned or not."""
    layer, kept = build(subject, ROWS, dropout=RATE), []
    truth, bound = ROWS.solution("float32")
    for _ in range(2):
        found = call(layer, ROWS.inputs, training=True, **({"return_attention_scores": True} if scores else {}))
        output = to_numpy(found[0] if scores else found)
        if scores:
            assert_within(found[1], truth.weights, bound.weights, "weights that are returned, as before dropout")
        bits = (output != 0).astype(int)
        assert_within(output, FACTOR * bits * truth.output, FACTOR * bound.output, "output in training")
        kept.append(bits)
        reach = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * bits.size))  # Hoeffding
        check(abs(bits.mean() - (1 - RATE)) <= reach, f"{bits.mean():.3f} of the weights are kept, expected {1 - RATE}")
        for axis, name in enumerate(("batch entries", "queries", "positions")):
            check(np.ptp(bits, axis=axis).any(), f"the same weights are dropped in all {name}")
    check((kept[0] != kept[1]).any(), "two calls in training drop the same weights")


@pytest.mark.structure
def test_gradient_in_training_follows_what_is_dropped(subject: Subject) -> None:
    """In training, gradients are those of the formula with the weights that the same call has dropped."""
    layer = build(subject, ROWS, dropout=RATE)
    cotangent = np.arange(ROWS.query.size).reshape(ROWS.query.shape) % 7 - 3.0
    y, found = weight_gradients(
        lambda: call(layer, ROWS.inputs, training=True), layer.trainable_weights, lambda _: cotangent
    )
    slopes = slopes_of(layer, found, ROWS.weights)[:3:2]
    # Kernels of query and keys, at the identity: their gradients are those to the projections, times the inputs.
    dropped = FACTOR * (to_numpy(y) != 0) * cotangent
    arguments = {name: array[:, :, None] for name, array in zip(INPUTS, (ROWS.query, KEYS, VALUES), strict=True)}
    for name, slope in zip(("query", "keys"), slopes, strict=True):
        to_projection = oracle.gradient(arguments, dropped[:, :, None], name)[:, :, 0]  # (B, T or S, H)
        inputs = ROWS.query if name == "query" else KEYS
        truth = np.einsum("bsd,bsh->dh", inputs, to_projection)[:, None]
        size = np.abs(dropped).sum() * 4  # a weight's slope is at most 1, and numbers are at most 1 with a scale of 1/2
        assert_within(slope, truth, size * gamma(64, "float32"), f"gradient to the kernel of the {name} in training")


# Gradients


@pytest.mark.structure
@example(case=CROSS, options={})
@given(case=st.just(SELF.but(causal=True, offset=1)), options=st.sampled_from(({}, {"block": 2})))
def test_gradient_reaches_every_weight(subject: Subject, case: LayerCase, options: dict[str, Any]) -> None:
    """All kernels and biases are trained, and in float64 the gradient to each is that of the formula."""
    with float64():
        case = fitting(subject, case)
        layer = build(subject, case, "float64", **options)
        trained, held = len(layer.trainable_weights), len(layer.weights)
        check(trained == held, f"{trained} of {held} weights are trained")
        cotangent = np.arange(case.query.size).reshape(case.query.shape) % 7 - 3.0
        _, found = weight_gradients(
            lambda: call(layer, case.inputs, **case.options), layer.weights, lambda _: cotangent
        )
        found = slopes_of(layer, found, case.weights)
    for i, (weight, slope) in enumerate(zip(case.weights, found, strict=True)):
        if slope is None:  # a layer without biases
            continue
        direction = np.random.default_rng(i).choice((-1.0, 1.0), weight.shape)
        moved = tuple(w + 1e-30j * direction if j == i else w for j, w in enumerate(case.weights))
        truth = np.sum(cotangent * case.but(weights=moved).truth.output).imag / 1e-30
        # A sum of products of up to six numbers: a cotangent (3 at most), inputs (2), weights (1/2) and their slopes.
        size = cotangent.size * weight.size * 3 * 2**4
        assert_within(
            np.sum(slope * direction), np.asarray(truth), size * gamma(256, "float64"), f"slope of weight {i}"
        )


# Configurations


@pytest.mark.structure
@example(options={"dropout": 0.3, "use_bias": False})
@given(options=st.sampled_from(({"dropout": 0.5}, {"block": 2, "use_bias": False})))
def test_a_layers_double_is_born_and_drops_alike(subject: Subject, options: dict[str, Any]) -> None:
    """With the same seed a layer made from another's configuration, no option a default, trains as that does."""
    for name in options:
        if not offers(subject, name):
            raise NotProvided(f"MultiHeadAttention takes no `{name}`")

    def told(create: Any) -> tuple[Any, list[np.ndarray]]:
        keras.utils.set_random_seed(7)
        layer = create()
        outputs = [to_numpy(call(layer, SELF.inputs, training=True)) for _ in range(2)]
        return layer, [*map(to_numpy, layer.weights), *outputs]

    layer, ours = told(lambda: subject.MultiHeadAttention(2, 2, name="mine", dtype=subject.precision, **options))
    configuration = json.loads(json.dumps(layer.get_config()))
    double, theirs = told(lambda: type(layer).from_config(configuration))
    check([a.shape for a in ours] == [a.shape for a in theirs], f"{len(theirs)} weights and outputs, or other shapes")
    for found, expected in zip(theirs, ours, strict=True):
        assert_equal(found, expected, "a weight, or the output in training, of a layer's double")
    check(double.name == "mine", f"the double's name is {double.name}")
    if "block" in options:
        refused("weights that a double has in blocks", call, double, SELF.inputs, return_attention_scores=True)


# Lengths and masks


@pytest.mark.structure
@example(options={})
@given(options=st.sampled_from(({}, {"block": 2})))
def test_a_model_of_any_length_follows_the_formula(subject: Subject, options: dict[str, Any]) -> None:
    """A functional model over any number of positions has the output of the formula for each."""
    self_attention = fitting(subject, SELF)
    layer = build(subject, self_attention, **options)
    words = keras.Input((None, 4))
    with quiet():
        model = keras.Model(words, layer(words, causal=True))
    check(model.output_shape == (None, None, 4), f"shape {model.output_shape}, expected (None, None, 4)")
    compiled = traced(model, unknown=(0, 1))
    for length in (3, 1, 2):
        case = self_attention.but(query=SELF.query[:, :length], causal=True)
        truth, bound = case.solution(subject.compute_dtype, blocks=2)
        with quiet():
            found = compiled(ops.convert_to_tensor(case.query, "float32"))
        assert_within(found, truth.output, bound.output, f"output of length {length}")


@pytest.mark.structure
@given(dtype=st.sampled_from(("float32", "mixed_float16", "float64")))
def test_symbolic_outputs_are_those_computed(subject: Subject, dtype: str) -> None:
    """A functional model's symbolic output and weights have the shapes and dtypes that are computed."""
    query, source = keras.Input((None, 4)), keras.Input((5, 4))
    with float64(), quiet():
        layer = subject.MultiHeadAttention(2, 3, dtype=dtype)
        require(layer.call, "return_attention_scores", "MultiHeadAttention.call")
        symbolic = layer(query, source, return_attention_scores=True)
        computed = keras.Model([query, source], symbolic)([np.ones((2, 3, 4)), np.ones((2, 5, 4))])
    for promised, found, shape in zip(symbolic, computed, ((2, 3, 4), (2, 2, 3, 5)), strict=True):
        fits = all(a in (None, b) for a, b in zip(promised.shape, shape, strict=True))
        check(fits, f"shape {tuple(promised.shape)} is promised of {shape}")
        check(tuple(found.shape) == shape, f"shape {tuple(found.shape)}, expected {shape}")
        check(dtype_of(promised) == dtype_of(found), f"{dtype_of(promised)} is promised, {dtype_of(found)} computed")


def test_mask_of_the_input_is_taken(subject: Subject) -> None:
    """The mask that Keras finds on the argument of a self-attention is that of the source, and goes no further."""
    query = np.where(np.array([[True], [False], [True]]), SELF.query, 0.0)
    case = fitting(subject, SELF.but(query=query, mask=np.array([[True, False, True]])))
    layer = build(subject, case)
    masked = keras.layers.Masking()(ops.cast(query, "float32"))
    with quiet():
        found = layer(masked)
    truth, bound = case.solution(subject.compute_dtype)
    assert_within(found, truth.output, bound.output, "output of what `Masking` has masked")
    check(getattr(found, "_keras_mask", None) is None, "the mask goes on with the output")
    check(dtype_of(found) == subject.compute_dtype, f"output in {dtype_of(found)}")
