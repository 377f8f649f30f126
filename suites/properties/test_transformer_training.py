"""What must be true of a Transformer that learns: how it is born, what it drops, and where its gradients go."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.affine import Machine
from suites.properties.births import assert_apart, assert_born, glorot
from suites.properties.checks import check
from suites.properties.gradients import weight_gradients
from suites.properties.numerics import assert_equal, assert_within, float64, gamma, to_numpy
from suites.properties.oracles import transformer as oracle
from suites.properties.oracles.initialization import FALSE_ALARM, Law
from suites.properties.refusals import refused
from suites.properties.tracing import traced
from suites.properties.transformer_block_cases import CROSS, ENCODER, BlockCase, block_of, run_block
from suites.properties.transformer_cases import (
    PAIRS,
    PAIRS_DEEP,
    WORDS,
    WORDS_DEEP,
    NetworkCase,
    as_tensor,
    network_of,
    quiet,
    set_weights,
)
from suites.properties.transformer_training_cases import (
    DROPPING,
    DROPPING_WORDS,
    FACTOR,
    LAYERS,
    NARROW,
    NARROW_CROSS,
    PART,
    RATE,
    READ,
    READ_CROSS,
    adding,
    alive_in,
    ends,
    norms,
)
from suites.subjects import Subject

# Birth


@pytest.mark.structure
@example(case=PAIRS.but(layers=2, width=32, heads=2, feed_forward=64, vocabulary=256, use_bias=True, norm_first=True))
@given(case=st.just(WORDS.but(layers=2, width=32, heads=2, feed_forward=64, vocabulary=256)))
def test_networks_are_born_as_agreed(subject: Subject, case: NetworkCase) -> None:
    """E starts normal with variance 1/D, kernels by Glorot, no two alike; biases and betas start at 0, gammas at 1."""
    keras.utils.set_random_seed(0)
    name = "Transformer" if case.source else "DecoderOnly"
    size = subject.Size(case.layers, case.width, case.feed_forward, case.heads)
    options = {"norm_first": case.norm_first, "use_bias": case.use_bias}
    born = [to_numpy(w) for w in getattr(subject, name)(case.vocabulary, size, **options).weights]
    check([w.shape for w in born] == [shape for _, shape in case.sorts], f"weights of {name} have other shapes")
    kernels = {}
    for i, (array, (sort, shape)) in enumerate(zip(born, case.sorts, strict=True)):
        what = f"weight {i} of {name}, {shape},"
        if sort == "kernel":
            kernels[what] = array
            fans = shape if len(shape) == 2 else (case.width, case.width)  # N H = D
            assert_born(array, glorot(*fans) if i else Law("normal", case.width**-0.5), what)
        else:
            assert_equal(array, np.full(shape, float(sort == "scale")), what)
    assert_apart(kernels)


# Dropout


@pytest.mark.structure
@example(case=READ)
@example(case=READ_CROSS)
@given(case=st.just(READ.but(decoder=True)))
def test_each_sublayer_drops_what_it_adds(subject: Subject, case: BlockCase) -> None:
    """In training each entry that a sublayer adds is dropped by its own chance, or multiplied by 1 / (1 - rate)."""
    # Sublayer k adds 2^k / FACTOR everywhere, so that the bits of what is added say what each has dropped.
    layer, last = block_of(subject, case, dropout=RATE), ends(case)
    layer.set_weights(adding(case, {k: 2**k / FACTOR for k in range(len(last))}))
    cotangent = np.arange(case.x.size).reshape(case.x.shape) % 7 - 3.0
    biases = [layer.weights[i] for i in last]
    y, slopes = weight_gradients(lambda: run_block(subject, case, layer, training=True), biases, lambda _: cotangent)
    added = to_numpy(y) - case.x
    allowed = (added == np.round(added)) & (added >= 0) & (added < 2 ** len(last))
    check(allowed.all(), f"where all of {2 ** len(last) - 1} may be added in parts, {added[~allowed][:4].tolist()} is")
    kept = [added.astype(int) >> k & 1 for k in range(len(last))]
    reach = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * added.size))  # Hoeffding
    for k, (bits, slope) in enumerate(zip(kept, slopes, strict=True)):
        check(abs(bits.mean() - (1 - RATE)) <= reach, f"sublayer {k} keeps {bits.mean():.3f}, expected {1 - RATE}")
        for axis, name in enumerate(("batch entries", "positions", "axes")):
            check(np.ptp(bits, axis=axis).any(), f"sublayer {k} drops the same in all {name}")
        assert_equal(slope, (FACTOR * bits * cotangent).sum((0, 1)), f"gradient to the bias that sublayer {k} adds")
    check(all((a != b).any() for a, b in itertools.combinations(kept, 2)), "two sublayers drop the same")


@pytest.mark.structure
@example(case=NARROW)
@given(case=st.just(NARROW_CROSS))
def test_post_norm_drops_before_it_normalises(subject: Subject, case: BlockCase) -> None:
    """In post-norm, too, what is dropped is what a sublayer adds, before it meets its input and is normalised."""
    layer = block_of(subject, case, dropout=RATE)
    for alive in range(len(ends(case))):
        weights = adding(case, {alive: np.array(PART)})
        layer.set_weights(weights)
        output = to_numpy(run_block(subject, case, layer, training=True))
        matched = []
        for bits in itertools.product((0.0, FACTOR), repeat=case.width):
            x = Machine("float32").exactly(case.x)
            for k, at in enumerate(norms(case)):
                added = x + x.machine.exactly(np.array(bits) * PART * (k == alive) + np.zeros_like(case.x))
                x = oracle.normalised(added, weights[at], weights[at + 1])
            matched.append((np.abs(output - x.value) <= 4 * x.error).all(-1))  # the sublayers add zeros, and round them
        check(np.any(matched, axis=0).all(), f"the output is none of those that dropping sublayer {alive}'s part gives")
        alike = np.all(matched, axis=2).any()
        check(not alike, f"sublayer {alive} drops the same at all positions of a batch entry")


@pytest.mark.structure
@example(case=ENCODER.but(norm_first=True))
@given(case=st.just(CROSS.but(norm_first=True)))
def test_nothing_else_is_dropped(subject: Subject, case: BlockCase) -> None:
    """What a sublayer computes before it adds it is in training as in inference: no weight or unit is dropped."""
    layer, silent = block_of(subject, case, dropout=RATE), adding(case, {})
    for alive, end in enumerate(ends(case)):
        weights = list(silent)
        weights[end - 1 : end + 1] = case.weights[end - 1 : end + 1]
        layer.set_weights(weights)
        still, moved = (to_numpy(run_block(subject, case, layer, training=on)) - case.x for on in (False, True))
        bound = 2 * FACTOR * case.truth("float32").error
        assert_within(moved, np.where(np.abs(moved) <= bound, 0, FACTOR * still), bound, f"what sublayer {alive} adds")


def _zero_rows(found: Any) -> np.ndarray:
    return np.asarray((to_numpy(found) == 0).all(-1))


@pytest.mark.structure
@example(case=DROPPING)
@given(case=st.just(DROPPING_WORDS))
def test_networks_drop_in_every_block(subject: Subject, case: NetworkCase) -> None:
    """In training a network drops, at its rate, embedded tokens and what every block adds, anew in every call."""
    name, size = "Transformer" if case.source else "DecoderOnly", (LAYERS, case.width, case.feed_forward, case.heads)
    keras.utils.set_random_seed(0)
    model = getattr(subject, name)(case.vocabulary, subject.Size(*size, RATE), use_bias=True)
    chance = RATE**case.width
    for block in (None, *range(LAYERS * (2 if case.source else 1))):
        set_weights(model, alive_in(case, block), name)
        source = np.array(case.source, np.int32) if case.source else None
        runs: list[Callable[..., Any]] = [lambda training: model(case.tokens, training=training)]
        if source is not None and (block is None or block < LAYERS):
            runs = [lambda training, source=source: model.encode(source, training), *(runs if block is None else [])]
        for run in runs:
            first, second = (_zero_rows(run(training=True)) for _ in range(2))
            off, where = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * first.size)), f"of {name}'s block {block}"
            check(
                abs(first.mean() - chance) <= off, f"{first.mean():.3f} {where} is dropped whole, expected {chance:.3f}"
            )
            check((first != second).any(), f"what two calls drop {where} is the same")
            check(not _zero_rows(run(training=False)).any(), f"something {where} is dropped in inference")


# Gradients


@pytest.mark.structure
@example(case=PAIRS_DEEP.but(norm_first=True))
@given(case=st.just(WORDS_DEEP.but(norm_first=False)))
def test_gradient_reaches_every_weight(subject: Subject, case: NetworkCase) -> None:
    """Every weight of a network is trained, and the gradient to each, in some direction, is that of the formula."""
    with float64():
        model = network_of(subject, case, policy="float64")
        check(len(model.trainable_weights) == len(case.weights), f"{len(model.trainable_weights)} weights are trained")
        cotangent = np.arange(np.prod((*np.shape(case.target), case.vocabulary))) % 7 - 3.0
        cotangent = cotangent.reshape(*np.shape(case.target), case.vocabulary)
        _, found = weight_gradients(lambda: model(case.tokens), model.weights, lambda _: cotangent)
        found = [np.zeros(w.shape) if f is None else to_numpy(f) for w, f in zip(case.weights, found, strict=True)]
    random = np.random.default_rng(0)
    for i, (weight, slope) in enumerate(zip(case.weights, found, strict=True)):
        direction = random.choice((-1.0, 1.0), weight.shape)
        moved = [w + 1e-30j * direction if j == i else w for j, w in enumerate(case.weights)]
        truth = np.sum(cotangent * case.truth(weights=moved).value).imag / 1e-30
        # The table of positions is known to float32's last place; all else is as for the gradient of a block.
        size = np.abs(cotangent).sum() * (1 + np.abs(truth))
        assert_within(np.sum(slope * direction), np.asarray(truth), size * gamma(8, "float32"), f"slope of weight {i}")


# Configurations


def _twice(make: Callable[[], Any], train: Callable[[Any], Any]) -> tuple[Any, Any, list[Any]]:
    """What is made, its double from its configuration, and what both are and do in training with the same seed."""

    def told(create: Callable[[], Any]) -> tuple[Any, list[Any]]:
        keras.utils.set_random_seed(7)
        made = create()
        output = to_numpy(train(made))
        return made, [*map(to_numpy, made.weights), output, to_numpy(train(made))]

    first, ours = told(make)
    configuration = json.loads(json.dumps(first.get_config()))
    second, theirs = told(lambda: type(first).from_config(configuration))
    shapes = [[each.shape for each in some] for some in (ours, theirs)]
    check(shapes[0] == shapes[1], f"shapes of weights and outputs are {shapes[1]} where they were {shapes[0]}")
    return first, second, list(zip(theirs, ours, strict=True))


@pytest.mark.structure
@example(case=ENCODER.but(norm_first=True))
@given(case=st.just(CROSS.but(norm_first=True)))
def test_a_blocks_double_is_born_and_drops_alike(subject: Subject, case: BlockCase) -> None:
    """With the same seed a block made from another's configuration, no option a default, trains as that does."""
    create = subject.DecoderBlock if case.decoder else subject.EncoderBlock
    options = {"dropout": 0.3, "norm_first": True, "use_bias": True, "name": "mine", "dtype": subject.precision}
    block, double, pairs = _twice(
        lambda: create(case.heads, case.feed_forward, **options),
        lambda layer: run_block(subject, case, layer, training=True),
    )
    for found, expected in pairs:
        assert_equal(found, expected, "a weight, or the output in training, of a block's double")
    kept = [(each.name, keras.backend.standardize_dtype(each.compute_dtype)) for each in (block, double)]
    check(kept[0] == kept[1], f"name and dtype of the double are {kept[1]}, of the block {kept[0]}")


@pytest.mark.structure
def test_an_embeddings_double_is_born_alike(subject: Subject) -> None:
    """With the same seed an embedding made from another's configuration is born as that was, under its own policy."""
    create, tokens = subject.TokenEmbedding, np.array([[0, 4]], np.int32)
    _, double, pairs = _twice(lambda: create(5, 4, name="mine", dtype="mixed_bfloat16"), lambda layer: layer(tokens))
    for found, expected in pairs:
        assert_equal(found, expected, "a weight, or the embedded tokens, of an embedding's double")
    check(double.name == "mine", f"the double's name is {double.name}")


@pytest.mark.structure
@example(case=PAIRS_DEEP)
@given(case=st.just(WORDS_DEEP))
def test_a_networks_double_is_born_and_drops_alike(subject: Subject, case: NetworkCase) -> None:
    """With the same seed a network made from another's configuration, no option a default, trains as that does."""
    create = subject.Transformer if case.source else subject.DecoderOnly
    size = subject.Size(case.layers, case.width, case.feed_forward, case.heads, 0.3)
    options = {"norm_first": True, "use_bias": True, "max_length": 5, "name": "mine"}
    _, double, pairs = _twice(
        lambda: create(case.vocabulary, size, **options), lambda model: model(case.tokens, training=True)
    )
    for found, expected in pairs:
        assert_equal(found, expected, "a weight, or the logits in training, of a network's double")
    check(double.name == "mine", f"the double's name is {double.name}")
    five, six = (np.full((1, length), 3, np.int32) for length in (5, 6))
    double((five, five) if case.source else five)
    refused("more positions than the network's own `max_length`", lambda: double((five, six) if case.source else six))
    if case.source:
        refused("a longer source than the network's own `max_length`", lambda: double((six, five)))


@pytest.mark.structure
@example(case=PAIRS_DEEP)
@given(case=st.just(WORDS_DEEP))
def test_lengths_need_not_be_known(subject: Subject, case: NetworkCase) -> None:
    """A functional model over any length has the shape that it says, and the logits of the formula for every length."""
    network = network_of(subject, case)
    tokens = [keras.Input((None,), dtype="int32") for _ in range(2 if case.source else 1)]
    with quiet():
        model = keras.Model(tokens, network(tuple(tokens) if case.source else tokens[0]))
    compiled = traced(lambda *given: model(list(given)), unknown=(0, 1))
    shape = (None, None, case.vocabulary)
    check(model.output_shape == shape, f"shape {model.output_shape}, expected {shape}")
    for length in (1, len(case.target[0])):
        short = case.but(target=tuple(row[:length] for row in case.target))
        truth = short.truth(subject.compute_dtype)
        with quiet():
            found = compiled(*(as_tensor(np.array(each, np.int32)) for each in (case.source, short.target) if each))
        assert_within(found, truth.value, truth.error, f"logits of length {length}")
