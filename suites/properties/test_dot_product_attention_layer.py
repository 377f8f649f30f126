"""What must be true of the layer that attends by several heads, each on its own projection."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.domain import turn
from suites.properties.dot_product_attention_cases import dtype_of
from suites.properties.dot_product_attention_layer_cases import (
    CROSS,
    KEYS_ONLY,
    SELF,
    VALUES_ONLY,
    LayerCase,
    build,
    fitting,
    layer_cases,
    run_layer,
)
from suites.properties.dot_product_attention_layers import call, layout_of, offers, transparent
from suites.properties.gradients import input_gradient
from suites.properties.numerics import assert_equal, assert_within, to_numpy
from suites.properties.refusals import refused
from suites.subjects import Subject


@example(case=SELF)
@given(case=layer_cases())
def test_layer_follows_the_formula(subject: Subject, case: LayerCase) -> None:
    """Self-attention is concat(head_1, ..., head_N) W_O with heads of attention on projections, up to rounding."""
    case = fitting(subject, case)
    truth, bound = case.solution(subject.compute_dtype)
    assert_within(run_layer(subject, case), truth.output, bound.output, "output of the layer")


@example(case=CROSS)
@given(case=layer_cases(cross=True))
def test_layer_attends_to_a_source(subject: Subject, case: LayerCase) -> None:
    """With values, keys and a mask, output and returned weights are those of the formula, up to rounding."""
    case = fitting(subject, case)
    truth, bound = case.solution(subject.compute_dtype)
    output, weights = call(build(subject, case), case.inputs, return_attention_scores=True, **case.options)
    assert_within(weights, truth.weights, bound.weights, "weights")
    assert_within(output, truth.output, bound.output, "output of the layer")


@example(case=CROSS)
@given(case=st.just(SELF))
def test_layer_keeps_nothing_of_a_call(subject: Subject, case: LayerCase) -> None:
    """A layer attends as one that was never called before, after calls with other numbers, lengths, and masks."""
    case = fitting(subject, case)

    def signed(sign: int, batch: int = 1, length: int = 3) -> LayerCase:
        inputs = {name: sign * np.repeat(array, batch, 0)[:, :length] for name, array in case.inputs.items()}
        return case.but(mask=None, **inputs)

    calls = (case, signed(-1), signed(1), signed(1, batch=2), signed(1, length=2), case.but(causal=True), case)
    used = build(subject, case, fresh=True)
    for number, each in enumerate(calls, 1):
        alone = call(build(subject, case, fresh=True), each.inputs, **each.options)
        assert_equal(call(used, each.inputs, **each.options), to_numpy(alone), f"the output of call {number}")


@pytest.mark.structure
def test_layer_may_have_no_bias(subject: Subject) -> None:
    """With `use_bias=False` the layer has four kernels, and the output of the formula without biases."""
    options = {"use_bias": False} if offers(subject, "use_bias") else {}
    for whole in (CROSS, SELF):
        with turn():
            case = whole.but(weights=tuple(w * (i % 2 == 0) for i, w in enumerate(whole.weights)))
            layer = build(subject, case, "float32", **options)
            if layout_of(layer, case.weights).bias:
                check(not options, "the layer has biases, although `use_bias` is False")
                raise NotProvided("MultiHeadAttention takes no `use_bias`")
            truth, bound = case.solution("float32")
            assert_within(call(layer, case.inputs, **case.options), truth.output, bound.output, "output without biases")


EMPTY_ROW = CROSS.but(mask=np.array([[[False, False, False], [True, True, False]]]))


def test_asking_for_weights_changes_nothing(subject: Subject) -> None:
    """The output is the same whether the weights are returned or not, also where a query has nothing to attend to."""
    case = fitting(subject, EMPTY_ROW)
    layer = build(subject, case)
    alone = to_numpy(call(layer, case.inputs, **case.options))
    output, _ = call(layer, case.inputs, return_attention_scores=True, **case.options)
    bound = 2 * case.solution(subject.compute_dtype)[1].output
    assert_within(output, alone, bound, "output that comes with weights, against that which comes alone")


@example(case=VALUES_ONLY)
@example(case=KEYS_ONLY)
@example(case=CROSS.but(causal=True))
@example(case=SELF.but(causal=True, offset=1))
@given(case=layer_cases(cross=True, causal=True))
def test_layer_takes_any_options(subject: Subject, case: LayerCase) -> None:
    """With values alone or with keys, and with a mask, causality and an offset, the output is that of the formula."""
    case = fitting(subject, case)
    truth, bound = case.solution(subject.compute_dtype)
    assert_within(run_layer(subject, case), truth.output, bound.output, "output of the layer")


@example(case=CROSS)
@example(case=SELF.but(causal=True, offset=1))
@given(case=layer_cases(cross=True, causal=True))
def test_layer_by_blocks_follows_the_formula(subject: Subject, case: LayerCase) -> None:
    """A layer that attends by blocks has the output of the formula, up to rounding, whatever its other options are."""
    case = fitting(subject, case)
    truth, bound = case.solution(subject.compute_dtype, blocks=2)
    assert_within(run_layer(subject, case, block=2), truth.output, bound.output, "output of the layer by blocks")


@example(case=SELF)
@given(case=layer_cases())
def test_order_of_the_heads_is_irrelevant(subject: Subject, case: LayerCase) -> None:
    """Reversing the heads in all weights, rows of the output kernel included, leaves the output as it was."""
    case = fitting(subject, case)
    query, key, value, output = (case.weights[i : i + 2] for i in (0, 2, 4, 6))
    inner = [array[..., ::-1, :] for array in (*query, *key, *value)]
    reverse = case.but(weights=(*inner, output[0][::-1], output[1]))
    bound = 2 * case.solution(subject.compute_dtype)[1].output
    assert_within(run_layer(subject, reverse), run_layer(subject, case), bound, "output with the heads reversed")


def test_dropout_acts_on_the_weights(subject: Subject) -> None:
    """In training each weight is dropped or divided by the chance that it is not; in inference all are as they were."""
    # One head that projects nothing, over one-hot values: the output of a query is its row of weights.
    random = np.random.default_rng(0)
    query, keys = random.integers(-8, 9, (1, 16, 4)) / 8, random.integers(-8, 9, (1, 4, 4)) / 8
    case = LayerCase(query, np.eye(4)[None], keys, transparent(1, 4))
    layer = build(subject, case, dropout=0.5)
    kept, passed = (to_numpy(call(layer, case.inputs, training=training)) for training in (False, True))
    truth, bound = case.solution(subject.compute_dtype)
    assert_within(kept, truth.output, bound.output, "output in inference")
    assert_equal(call(layer, case.inputs), kept, "output where nothing says whether it is training")
    dropped = passed == 0
    mixed = dropped.any(-1) & ~dropped.all(-1)
    check(mixed.any(), f"at rate 0.5 {dropped.sum()} of {dropped.size} weights are dropped, and no row in part")
    assert_within(passed, np.where(dropped, 0, 2 * truth.output), 2 * bound.output, "output in training")


@example(options={})
@given(options=st.sampled_from(({}, {"block": 2})))
def test_decoding_with_a_cache_equals_the_whole(subject: Subject, options: dict[str, Any]) -> None:
    """Position by position, with the projected keys and values of those before, the outputs are those of the whole."""
    case = fitting(subject, SELF.but(causal=True))
    whole, bound = run_layer(subject, case), 2 * case.solution(subject.compute_dtype, blocks=2)[1].output
    layer, words = build(subject, case, **options), ops.cast(case.query, "float32")
    for name in ("project_query", "project_source", "attend"):
        if not hasattr(layer, name):
            subject.__getattr__(f"MultiHeadAttention.{name}")
    keys, values = layer.project_source(words)
    for t in range(3):
        step = layer.attend(layer.project_query(words[:, t : t + 1]), keys, values, causal=True, offset=t)
        assert_within(step, whole[:, t : t + 1], bound[:, t : t + 1], f"output {t}")


@pytest.mark.structure
def test_parameters_are_counted_as_in_the_paper(subject: Subject) -> None:
    """There are N H (2 D + D_k + D_v) parameters in the kernels and 3 N H + D in the biases."""
    for options in ({"use_bias": True}, {"use_bias": False}) if offers(subject, "use_bias") else ({},):
        layer = subject.MultiHeadAttention(2, 2, **options)
        call(layer, CROSS.inputs)
        use_bias = layout_of(layer, CROSS.weights).bias
        check(use_bias == options.get("use_bias", use_bias), f"biases, or none, with {options}")
        found, expected = layer.count_params(), 4 * (2 * 4 + 3 + 1) + use_bias * (3 * 4 + 4)
        check(found == expected, f"{found} parameters with use_bias={use_bias}, expected {expected}")


def test_layer_follows_the_policy(subject: Subject) -> None:
    """The output has the compute dtype, the weights of attention and of the layer stay in float32."""
    layer = build(subject, fitting(subject, SELF))
    with turn():
        found = {dtype_of(weight) for weight in layer.weights}
        check(found == {"float32"}, f"weights of the layer in {found}, expected float32")
        output = dtype_of(call(layer, SELF.inputs))
        check(output == subject.compute_dtype, f"output in {output}, expected {subject.compute_dtype}")
    with turn():
        output, weights = map(dtype_of, call(layer, SELF.inputs, return_attention_scores=True))
        check(output == subject.compute_dtype, f"output in {output}, expected {subject.compute_dtype}")
        check(weights == "float32", f"weights of attention in {weights}, expected float32")


@pytest.mark.structure
def test_model_survives_saving(subject: Subject) -> None:
    """A functional model over any length has the shape it says, and does the same after saving and loading."""
    offered = {"dropout": 0.5, "use_bias": False}
    options = {name: value for name, value in offered.items() if offers(subject, name)}
    layer = subject.MultiHeadAttention(2, 2, **options)
    words = keras.Input((None, 4))
    model = keras.Model(words, layer(words, causal=True))
    check(model.output_shape == (None, None, 4), f"shape {model.output_shape}, expected (None, None, 4)")
    with tempfile.TemporaryDirectory() as folder:
        model.save(path := Path(folder) / "model.keras")
        loaded = keras.saving.load_model(path, custom_objects={type(layer).__name__: type(layer)})
    array = np.arange(24.0, dtype="float32").reshape(2, 3, 4) % 5
    output = to_numpy(model(array))
    assert_equal(loaded(array), output, "output after loading")
    if "dropout" in options:  # a weight that stays is doubled, so that nothing stays near what it was
        change = np.abs(to_numpy(loaded(array, training=True)) - output).max()
        check(change > 1e-3 * np.abs(output).max(), "no weight is dropped in training after loading")


def layer_options(subject: Subject) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """All combinations of what the layer is made with and called with that may send it down another path."""
    made: list[dict[str, Any]] = [{}, {"dropout": 0.5}, {"block": 2}]
    scores: list[dict[str, Any]] = [{}, {"return_attention_scores": True}]
    called = [options | training for options in scores for training in ({}, {"training": False}, {"training": True})]
    made = [options for options in made if all(offers(subject, name) for name in options)]
    return [(a, b) for a in made for b in called if not ("block" in a and "return_attention_scores" in b)]


@pytest.mark.structure
def test_no_gradient_reaches_the_future(subject: Subject) -> None:
    """In causal self-attention no output has a gradient to a later input, whatever other options are set."""
    causal, later = fitting(subject, SELF.but(causal=True)), np.arange(3)[:, None] > np.arange(3)
    for made, called in layer_options(subject):
        with turn():
            layer = build(subject, causal, **made)
            for t in range(2):  # nothing comes after the third

                def output(query: Any, layer: Any = layer, called: dict[str, Any] = called) -> Any:
                    found = call(layer, {"query": query}, causal=True, **called)
                    return found[0] if "return_attention_scores" in called else found

                cotangent = np.zeros(SELF.query.shape)
                cotangent[:, t] = 1
                found = to_numpy(input_gradient(output, ops.convert_to_tensor(SELF.query, "float32"), cotangent))
                what = f"with {made | called}, output {t} has the gradient {found[0].tolist()}"
                check((found[:, later[:, t]] == 0).all(), what)


@pytest.mark.structure
def test_contradictions_are_refused(subject: Subject) -> None:
    """Sizes of 0, rates outside of [0, 1], dropout by blocks, and weights by blocks are answered with ValueError."""
    attempts = {
        "no heads": lambda: subject.MultiHeadAttention(0, 2),
        "heads of no size": lambda: subject.MultiHeadAttention(2, 0),
        "a dropout of -0.1": lambda: subject.MultiHeadAttention(2, 2, dropout=-0.1),
        "a dropout of 1.5": lambda: subject.MultiHeadAttention(2, 2, dropout=1.5),
        "a dropout that is no number": lambda: subject.MultiHeadAttention(2, 2, dropout=float("nan")),
        "blocks of nothing": lambda: subject.MultiHeadAttention(2, 2, block=0),
        "dropout on weights that are never whole": lambda: subject.MultiHeadAttention(2, 2, dropout=0.5, block=2),
        "weights that are never whole": lambda: call(
            build(subject, fitting(subject, SELF), block=2), SELF.inputs, return_attention_scores=True
        ),
    }
    for what, attempt in attempts.items():
        refused(what, attempt)
