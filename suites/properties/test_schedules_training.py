"""What must be true of training by a rate: batches of another size, momentum, and the search for a rate that suits."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check, require, without_warnings
from suites.properties.numerics import UNIT_ROUNDOFF, assert_equal, assert_within, float64, gamma, to_numpy
from suites.properties.oracles import schedules as oracle
from suites.properties.refusals import refused
from suites.properties.schedules_cases import COSINE, RATES, schedule_of
from suites.properties.schedules_training_cases import (
    EVEN,
    GRADIENTS,
    OPTIONS,
    RAGGED,
    Batch,
    accumulates,
    are_means,
    arrays_of,
    batches,
    bowl,
    broken,
    linear_model,
    mean_output,
    pieces,
    state_of,
    stateful,
    trained,
    trains_as_one,
    two_gradients,
    updated,
    variable,
    weights_of,
)
from suites.properties.tracing import traced
from suites.subjects import Subject

# Batch size

BATCHES = st.sampled_from((1, 8, 32, 48, 256))


@pytest.mark.structure
@example(rate_=0.1, base=32, batch=48)
@given(rate_=RATES, base=BATCHES, batch=BATCHES)
def test_linear_rule(subject: Subject, rate_: float, base: int, batch: int) -> None:
    """A batch k times as large gets k times the rate, for any fraction k; without a rule this one holds."""
    for rule in ({"rule": "linear"}, {}):
        found = subject.scale_learning_rate(rate_, batch=batch, base_batch=base, **rule)
        expected = batch / base * rate_
        what = f"{rate_} for {batch} in place of {base} examples, {rule or 'no rule'}"
        assert_within(found, np.array(expected), expected * gamma(4, "float32"), what)


@pytest.mark.structure
@example(rate_=0.1, base=32, batch=48)
@given(rate_=RATES, base=BATCHES, batch=BATCHES)
def test_square_root_rule(subject: Subject, rate_: float, base: int, batch: int) -> None:
    """A batch k times as large gets sqrt(k) times the rate, for any fraction k."""
    found = subject.scale_learning_rate(rate_, batch=batch, base_batch=base, rule="sqrt")
    expected = (batch / base) ** 0.5 * rate_
    what = f"{rate_} for {batch} in place of {base} examples"
    assert_within(found, np.array(expected), expected * gamma(8, "float32"), what)


@pytest.mark.structure
@example(batch=EVEN)
@given(batch=batches(ragged=False))
def test_micro_batches_give_the_gradient_of_the_batch(subject: Subject, batch: Batch) -> None:
    """Gradients accumulated over equal micro-batches are those of the whole batch, up to rounding."""
    accumulates(subject, batch.micro_batches)


@pytest.mark.structure
@example(micro_batches=RAGGED.micro_batches)
@example(micro_batches=RAGGED.micro_batches[::-1])
@given(micro_batches=pieces())
def test_a_smaller_micro_batch_counts_less(subject: Subject, micro_batches: list[np.ndarray]) -> None:
    """Of micro-batches of any sizes, too, the gradients are those of the whole batch, up to rounding."""
    accumulates(subject, micro_batches)


@pytest.mark.structure
def test_sizes_may_be_unknown_while_tracing(subject: Subject) -> None:
    """Compiled for micro-batches of a size that the trace does not know, the gradients are those of the whole batch."""
    compiled = traced(
        lambda *each: ops.stack(subject.accumulated_gradients(two_gradients, [(part,) for part in each])), unknown=(0,)
    )
    for sizes in ((1, 3), (2, 1)):
        micro_batches = [EVEN.x[: sizes[0]], EVEN.x[4 - sizes[1] :]]
        found = compiled(*(ops.convert_to_tensor(piece.astype("float32")) for piece in micro_batches))
        are_means([found[0], found[1]], micro_batches)


@pytest.mark.structure
def test_micro_batches_are_taken_one_at_a_time(subject: Subject) -> None:
    """A micro-batch is not taken before the gradients of the one before are there: one at a time is in memory."""
    events: list[str] = []

    def taken() -> Iterator[tuple[np.ndarray]]:
        for number, piece in enumerate(EVEN.micro_batches):
            events.append(f"taken {number}")
            yield (piece.astype("float32"),)

    def gradients_of(x: Any) -> list[Any]:
        events.append("used")
        return two_gradients(x)

    subject.accumulated_gradients(gradients_of, taken())
    check(events == ["taken 0", "used", "taken 1", "used"], f"micro-batches are {events}")


@pytest.mark.structure
def test_gradients_in_float64_are_added_up_in_float64(subject: Subject) -> None:
    """Gradients in float64 stay so: one that float32 would lose beside a large one counts."""
    with float64():
        parts = [(np.full((1, 1), value),) for value in (1.0, 2.0**-40)]
        found = subject.accumulated_gradients(lambda x: [ops.convert_to_tensor(x[0], "float64")], parts)[0]
    expected = np.array([(1 + 2.0**-40) / 2])
    assert_within(found, expected, expected * gamma(6, "float64"), "mean of 1 and 2^-40 in float64")


@pytest.mark.structure
def test_small_gradients_are_not_lost(subject: Subject) -> None:
    """Gradients in half precision are added up in float32: a small one is not lost beside a large one."""
    for dtype, large in (("float16", 2048.0), ("bfloat16", 256.0)):
        pieces = [(np.array([[value]], "float32"),) for value in (large, 1.0, 1.0)]
        found = subject.accumulated_gradients(lambda x, dtype=dtype: [ops.cast(x[0], dtype)], pieces)[0]
        bound = large * (UNIT_ROUNDOFF[dtype] / 3 + gamma(6, "float32"))  # the result may be rounded once
        assert_within(found, np.array([(large + 2) / 3]), bound, f"mean of {large:g}, 1 and 1 in {dtype}")


@pytest.mark.structure
def test_gradients_are_left_as_they_were(subject: Subject) -> None:
    """Accumulating changes neither the micro-batches nor the gradients that it is given."""
    inputs = [np.ones((2, 2), "float32"), np.ones((2, 2), "float32")]
    gradients = [np.ones(2, "float32"), np.ones(2, "float32")]
    remaining = iter(gradients)
    subject.accumulated_gradients(lambda _: [next(remaining)], ((each,) for each in inputs))
    check(all((each == 1).all() for each in inputs), f"the micro-batches are {[each.tolist() for each in inputs]}")
    check(all((each == 1).all() for each in gradients), f"the gradients are {[each.tolist() for each in gradients]}")


@example(batch=EVEN)
@given(batch=batches(ragged=False))
def test_training_by_micro_batches_is_training_by_the_batch(subject: Subject, batch: Batch) -> None:
    """One update of a model by equal micro-batches leaves the weights that the whole batch does, up to rounding."""
    trains_as_one(subject, batch)


@example(batch=RAGGED)
@given(batch=batches(ragged=True))
def test_training_weighs_a_smaller_micro_batch(subject: Subject, batch: Batch) -> None:
    """With a last micro-batch that is smaller, too, training leaves the weights that the whole batch does."""
    trains_as_one(subject, batch)


def test_micro_batches_report_the_mean_loss(subject: Subject) -> None:
    """The loss reported for an update by micro-batches is the mean over all examples, before the update."""
    for batch in (EVEN, RAGGED):
        bound = gamma(4, subject.compute_dtype) + gamma(2 * len(batch.x) + 8, "float32")
        expected = np.array(batch.x.sum(1).mean())
        assert_within(trained(subject, batch)[1], expected, bound * np.abs(batch.x).sum(1).mean(), f"loss of {batch}")


@pytest.mark.structure
def test_penalties_count_once(subject: Subject) -> None:
    """A penalty on the weights counts in an update, and in the loss that is reported, as for the batch: once."""
    for batch in (EVEN, RAGGED):
        optimizer = subject.accumulating(keras.optimizers.SGD, 0.5, len(batch.micro_batches))
        model = linear_model("float32", optimizer, penalty=keras.regularizers.L2(0.125))
        loss = subject.train_on_micro_batches(model, *arrays_of(batch), size=batch.size)
        size = np.abs(batch.x).mean(0) + 0.25
        expected, bound = 1 - 0.5 * (batch.x.mean(0) + 0.25), gamma(2 * len(batch.x) + 16, "float32")
        assert_within(weights_of(model), expected, bound * (1 + size), f"weights after {batch}")
        assert_within(loss, np.array(batch.x.sum(1).mean() + 0.25), bound * (size.sum() + 1), f"loss of {batch}")


@pytest.mark.structure
def test_options_act_once_per_update(subject: Subject) -> None:
    """Momentum, decay, clipping and moments see the mean gradient of an update, and not those of its micro-batches."""
    for what, (optimizer, options) in OPTIONS.items():
        for micro_batches in (1, 2):
            accumulating = subject.accumulating(optimizer, 0.25, micro_batches, **options)
            found = updated(accumulating, GRADIENTS)
            means = GRADIENTS.reshape(-1, micro_batches, 3).mean(1)
            expected = updated(optimizer(0.25, **options), means)
            bound = gamma(64, "float32") * 16
            assert_within(found, expected, bound, f"weights with {what}, {len(means)} updates by {micro_batches}")


@pytest.mark.structure
def test_averages_of_weights_move_once_per_update(subject: Subject) -> None:
    """An average of the weights moves once per update, if it can be had at all."""
    options = {"use_ema": True, "ema_momentum": 0.5}
    with contextlib.suppress(ValueError):
        gradients = np.tile(GRADIENTS, (2, 1))  # the first average is the weight itself, and hides what moves it
        found = updated(subject.accumulating(keras.optimizers.SGD, 0.25, 2, **options), gradients)
        expected = updated(keras.optimizers.SGD(0.25, **options), gradients.reshape(4, 2, 3).mean(1))
        assert_within(found, expected, gamma(32, "float32") * 16, "averages of the weights after 4 updates by 2")


def test_batch_normalisation_sees_micro_batches(subject: Subject) -> None:
    """Batch normalisation normalises every micro-batch by itself, so that here micro-batches are not the batch."""
    normalise = keras.layers.BatchNormalization(momentum=0.5, dtype=subject.precision)
    model = keras.Sequential([keras.Input((2,)), normalise, keras.layers.Dense(1, dtype=subject.precision)])
    optimizer = subject.accumulating(keras.optimizers.SGD, 0.5, len(EVEN.micro_batches))
    model.compile(optimizer, mean_output, run_eagerly=True, auto_scale_loss=False)
    subject.train_on_micro_batches(model, *arrays_of(EVEN), size=EVEN.size)
    expected = np.zeros(2)
    for piece in EVEN.micro_batches:
        expected = 0.5 * expected + 0.5 * piece.mean(0)
    bound = gamma(12, "float32") * np.abs(EVEN.x).max(0)
    assert_within(normalise.moving_mean, expected, bound, "moving mean, updated once in each micro-batch")


@pytest.mark.structure
@given(micro_batches=st.integers(1, 4))
def test_a_schedule_counts_updates(subject: Subject, micro_batches: int) -> None:
    """Under accumulation a schedule advances once with every update, not with every micro-batch."""
    optimizer = subject.accumulating(keras.optimizers.SGD, schedule_of(subject, COSINE), micro_batches, momentum=0.0)
    weight = variable(1.0)
    for _ in range(2 * micro_batches):
        optimizer.apply([ops.ones(())], [weight])
    rates = [COSINE.truth(0), COSINE.truth(1)]
    bound = sum(each.bound for each in rates) + gamma(2 * micro_batches + 6, "float32")
    expected = np.array(1 - sum(each.value for each in rates))
    assert_within(weight, expected, bound, f"weight after 2 updates by {micro_batches} gradients of 1 each")


COUNTED: tuple[tuple[tuple[float, ...], ...], ...] = (
    ((1.0,), (2.0, 4.0, 8.0)),
    ((), (3.0, 5.0)),
    ((4.0,), (2.0,)),
    ((), ()),
)
"""By micro-batch, the tokens that count; it is filled up to four with others that do not."""


@pytest.mark.structure
def test_micro_batches_count_by_their_weight(subject: Subject) -> None:
    """Where a loss is a mean over tokens that count, so is the gradient of micro-batches with different numbers."""
    require(subject.accumulated_gradients, "weight", "accumulated_gradients")
    for tokens in COUNTED:
        parts = []
        for counted in tokens:  # of one sequence each, so that by examples all would count alike
            padding = [64.0] * (4 - len(counted))
            values = np.array([[*counted, *padding]], np.float32)
            parts.append((values, np.arange(4)[None] < len(counted)))

        def gradients_of(values: Any, mask: Any) -> list[Any]:
            mask = ops.cast(mask, "float32")
            return [ops.sum(values * mask) / ops.sum(mask)]  # NaN where nothing counts

        with without_warnings(".*invalid value"):
            (found,) = subject.accumulated_gradients(gradients_of, parts, weight=lambda _, mask: ops.sum(mask))
        every = [value for counted in tokens for value in counted]
        mean = np.array(np.mean(every) if every else 0.0)
        assert_within(found, mean, mean * gamma(16, "float32"), f"gradient of micro-batches that count {tokens}")


@pytest.mark.structure
def test_impossible_batches_are_refused(subject: Subject) -> None:
    """Unknown rules, empty batches and another number of micro-batches than was announced are refused."""
    x, y = arrays_of(EVEN)
    wanted = {
        "an unknown rule": lambda: subject.scale_learning_rate(0.1, batch=2, base_batch=1, rule="cubic"),
        "a base batch of no examples": lambda: subject.scale_learning_rate(0.1, batch=2, base_batch=0),
        "a batch of no examples": lambda: subject.scale_learning_rate(0.1, batch=0, base_batch=2),
        "a batch of half an example": lambda: subject.scale_learning_rate(0.1, batch=2, base_batch=0.5),
        "updates by no micro-batch": lambda: subject.accumulating(keras.optimizers.SGD, 0.5, 0),
        "updates by half a micro-batch": lambda: subject.accumulating(keras.optimizers.SGD, 0.5, 0.5),
        "two micro-batches in place of one": lambda: subject.train_on_micro_batches(
            linear_model(subject.precision, keras.optimizers.SGD(0.5)), x, y, size=2
        ),
        "no micro-batch": lambda: subject.accumulated_gradients(two_gradients, []),
        "three micro-batches in place of two": lambda: subject.train_on_micro_batches(
            linear_model(subject.precision, subject.accumulating(keras.optimizers.SGD, 0.5, 3)), x, y, size=2
        ),
        "micro-batches of no examples": lambda: subject.train_on_micro_batches(
            linear_model(subject.precision, subject.accumulating(keras.optimizers.SGD, 0.5, 2)), x, y, size=0
        ),
    }
    for what, call in wanted.items():
        refused(what, call)
    model = linear_model(subject.precision, subject.accumulating(keras.optimizers.SGD, 0.5, 2))
    model.optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer)
    what = "a dynamic loss scale, which may skip single micro-batches,"
    refused(what, subject.train_on_micro_batches, model, x, y, size=2)


# Momentum


@pytest.mark.structure
@example(gradients=[1.0, 1.0, 0.0], rates=[0.1, 0.1, 0.01, 0.1, 0.1], momentum=0.5, decay=0.0)
@example(gradients=[1.0, 1.0], rates=[0.0, 0.1, 0.1, 0.1, 0.1], momentum=0.5, decay=0.125)
@given(
    gradients=st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=5),
    rates=st.lists(RATES | st.just(0.0), min_size=5, max_size=5),
    momentum=st.sampled_from((0.0, 0.5, 0.9)),
    decay=st.sampled_from((0.0, 0.125)),
)
def test_momentum_forgets_old_rates(
    subject: Subject, gradients: list[float], rates: list[float], momentum: float, decay: float
) -> None:
    """When the rate changes, past gradients in a weight's velocity count with the new rate (Goyal et al., remark 2)."""
    optimizer = subject.MomentumSGD(rates[0], momentum=momentum, weight_decay=decay or None)
    weights = [variable(1.0), variable([2.0, 1.0])]
    optimizer.build(weights)
    for gradient, rate_ in zip(gradients, rates, strict=False):
        optimizer.learning_rate = rate_
        each = ops.convert_to_tensor(np.float32(gradient)), ops.convert_to_tensor(np.array([-gradient, 0.0], "float32"))
        optimizer.apply([*each], weights)
    what, rates = (
        f"after {gradients} at rates {rates} with momentum {momentum} and decay {decay}",
        rates[: len(gradients)],
    )
    start = {"a number": (1.0, gradients), "a vector's first": (2.0, [-each for each in gradients])}
    start["a vector's second"] = 1.0, [0.0] * len(gradients)
    found = [to_numpy(weights[0]), *to_numpy(weights[1])]
    for got, (which, (begin, pushed)) in zip(found, start.items(), strict=True):
        truth = oracle.momentum_sgd(begin, pushed, rates, momentum, decay)
        assert_within(got, np.array(truth.value), truth.bound, f"{which}, {what}")


@pytest.mark.structure
def test_half_precision_gradients_have_a_velocity_in_float32(subject: Subject) -> None:
    """A gradient in half precision moves a float32 weight by its value, and the velocity keeps what half loses."""
    for dtype in ("float16", "bfloat16"):
        optimizer, weight = subject.MomentumSGD(0.5, momentum=0.75), variable(0.0)
        for gradient in (1.0, 2.0**-10):  # 0.75 + 2^-10 takes 10 bits: too many for bfloat16
            optimizer.apply([ops.cast(ops.convert_to_tensor(np.float32(gradient)), dtype)], [weight])
        expected = np.array(-0.5 * (1.0 + 0.75 + 2.0**-10))
        assert_equal(weight, expected, f"weight after gradients 1 and 2^-10 in {dtype}")
        halves = keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.5, 0.25])  # whose rates are float32
        optimizer, half = subject.MomentumSGD(halves, momentum=0.5), keras.Variable(np.float32(0), dtype=dtype)
        for _ in range(2):
            optimizer.apply([ops.ones((), dtype)], [half])
        assert_equal(half, np.array(-0.5 * (1.0 + 1.5)), f"weight in {dtype} after two gradients of 1")


@pytest.mark.structure
def test_weights_in_float64_are_updated_in_float64(subject: Subject) -> None:
    """A weight in float64 moves by a rate times its velocity in float64, whatever dtype the rate has."""
    with float64():
        halves = keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.5, 0.25])  # whose rates are float32
        optimizer, weight = subject.MomentumSGD(halves, momentum=0.5), keras.Variable(np.zeros(()), dtype="float64")
        optimizer.apply([ops.convert_to_tensor(np.array(1 + 2.0**-40), "float64")], [weight])
        found = to_numpy(weight)
    assert_equal(found, np.array(-0.5 * (1 + 2.0**-40)), "weight after a gradient of 1 + 2^-40 in float64")


@pytest.mark.structure
def test_momentum_is_nine_tenths_by_default(subject: Subject) -> None:
    """Without arguments the momentum is 0.9, and the rate 0.01."""
    optimizer, weight = subject.MomentumSGD(), variable(0.0)
    for _ in range(2):
        optimizer.apply([ops.ones(())], [weight])
    truth = oracle.momentum_sgd(0.0, [1.0, 1.0], [0.01, 0.01], 0.9)
    assert_within(weight, np.array(truth.value), truth.bound, "weight after two gradients of 1")


@pytest.mark.structure
def test_impossible_momenta_are_refused(subject: Subject) -> None:
    """A momentum of 1, with which nothing is ever forgotten, above it, under 0 or NaN is refused."""
    for momentum in (1, 1.5, -0.5, float("nan")):
        refused(f"a momentum of {momentum}", subject.MomentumSGD, 0.1, momentum=momentum)


@pytest.mark.structure
def test_momentum_resumes_where_it_stopped(subject: Subject) -> None:
    """Momentum and velocities are saved: training by a schedule that pauses ends bit for bit as without a pause."""

    def fresh() -> keras.Model:
        rate_ = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.125, 0.25])
        return linear_model(
            "float32", subject.MomentumSGD(rate_, momentum=0.5, weight_decay=0.125), "mse", eagerly=False
        )

    x, y = arrays_of(EVEN)

    def train(model: keras.Model, steps: int) -> keras.Model:
        for _ in range(steps):
            model.train_on_batch(x, y)
        return model

    paused, own = train(fresh(), 2), {subject.MomentumSGD.__name__: subject.MomentumSGD}
    expected = weights_of(train(fresh(), 5))
    with tempfile.TemporaryDirectory() as folder:
        paused.save(Path(folder) / "model.keras")
        resumed = keras.saving.load_model(Path(folder) / "model.keras", custom_objects=own)
    assert_equal(weights_of(train(resumed, 3)), expected, "weights after two steps, a pause, and three more")
    again = type(paused.optimizer).from_config(paused.optimizer.get_config())
    for name, value in {"momentum": 0.5, "weight_decay": 0.125}.items():
        check(getattr(again, name) == value, f"{name} is {getattr(again, name)} from a configuration with {value}")


@pytest.mark.structure
@given(decay=st.sampled_from((0.0, 0.125, 0.5)), factor=st.sampled_from((2, 4)))
def test_a_larger_loss_is_not_a_larger_rate(subject: Subject, decay: float, factor: int) -> None:
    """With weight decay, k times the loss moves a weight differently than k times the rate (Goyal et al., remark 1)."""
    found = []
    for loss, rate_ in ((factor, 0.125), (1, 0.125 * factor)):
        optimizer, weight = subject.MomentumSGD(rate_, momentum=0.0, weight_decay=decay or None), variable(1.0)
        optimizer.apply([ops.convert_to_tensor(np.float32(loss))], [weight])
        found.append(to_numpy(weight))
    # All numbers are multiples of 2^-6, so that no operation rounds.
    difference = np.array(decay * 0.125 * (factor - 1))
    assert_equal(found[0] - found[1], difference, f"{factor} times the loss against {factor} times the rate")


# The range test


@pytest.mark.structure
@example(low=0.01, high=0.4, steps=5)
@given(low=st.sampled_from((0.001, 0.01)), high=st.sampled_from((0.1, 0.4)), steps=st.integers(2, 5))
def test_range_test_sweeps_geometrically(subject: Subject, low: float, high: float, steps: int) -> None:
    """Rates grow by one and the same factor from the least to the greatest, and the model trains at each in turn."""
    model, batches_ = bowl(scales=(1.0, 0.5, 2.0))
    rates = oracle.sweep(low, high, steps)
    losses, bound = oracle.square_losses(1.0, rates.tolist(), (1.0, 0.5, 2.0))
    kinds = {"a list": lambda: batches_, "a generator": lambda: (each for each in batches_)}
    for kind, make in kinds.items():  # the second sweep begins where the first one began
        found = subject.range_test(model, make(), low=low, high=high, steps=steps, divergence=1e6)
        assert_within(found.rates, rates, rates * gamma(8, "float32"), "rates")
        what = f"losses before each step, by batches from {kind}"
        assert_within(found.losses, losses, bound + losses * gamma(16 * steps, "float32"), what)


@pytest.mark.structure
def test_range_test_sweeps_as_documented(subject: Subject) -> None:
    """What is left out of a sweep has the contract's values: 100 rates from 10^-6 to 1."""
    model, batch = bowl()
    rates = oracle.sweep(1e-6, 1.0, 100)
    assert_within(subject.range_test(model, batch).rates, rates, rates * gamma(8, "float32"), "rates by default")


@pytest.mark.structure
def test_range_test_stops_when_training_diverges(subject: Subject) -> None:
    """The sweep ends with the first smoothed loss that is over its limit, four times the least one, and not before."""
    limits: list[tuple[float, dict[str, float]]] = [(4, {}), (1.5, {"divergence": 1.5}), (1e6, {"divergence": 1e6})]
    for limit, option in limits:
        model, batch = bowl()
        found = subject.range_test(model, batch, low=1.0, high=1.6, steps=40, **option)  # the loss rises step by step
        curve = oracle.smoothed(np.asarray(found.losses).tolist(), 0.8)
        over = [i for i, loss in enumerate(curve) if not loss <= limit * min(curve[: i + 1])]
        check(len(found.rates) == len(found.losses), f"{len(found.rates)} rates and {len(found.losses)} losses")
        check(over == [len(curve) - 1], f"{diverged(curve, over, limit)}; with {option or 'the default limit'}")


def diverged(curve: Sequence[float] | np.ndarray, over: list[int], times: float = 4) -> str:
    """Where a sweep has ended, and the first of its steps after which it should have, in words."""
    ended = f"the sweep took {len(curve)} of 40 steps and ended with the smoothed loss {curve[-1]:.6g}"
    if not over:
        return f"{ended}, which is not over its limit, {times * min(curve):.6g}, nor was it at any step before"
    first = over[0]
    limit = times * min(curve[: first + 1])
    return f"{ended}, though at step {first + 1} it was {curve[first]:.6g} already, over its limit {limit:.6g}"


@pytest.mark.structure
def test_range_test_stops_at_what_is_no_number(subject: Subject) -> None:
    """The sweep ends with a loss that is NaN or infinite, suggests a rate before it, and leaves weights finite."""
    for wrong in (np.nan, np.inf):
        model, batches_ = bowl(scales=(1.0, 1.0, wrong, 1.0, 1.0))
        with without_warnings(".*invalid value"):
            found = subject.range_test(model, batches_, low=0.01, high=0.1, steps=5)
        check(
            len(found.losses) == 3, f"{len(found.losses)} of 5 steps were taken, though the third batch holds {wrong}"
        )
        rates = oracle.sweep(0.01, 0.1, 5)
        assert_within(found.suggestion, np.array(rates[1] / 10), gamma(8, "float32"), f"suggestion, with {wrong}")
        assert_equal(weights_of(model), np.ones(2), f"weights after a sweep with {wrong}")


@pytest.mark.structure
@given(losses=st.lists(st.integers(1, 64).map(float), min_size=1, max_size=6), memory=st.sampled_from((0.0, 0.5, 0.8)))
def test_smoothed_losses_are_weighted_means(subject: Subject, losses: list[float], memory: float) -> None:
    """A smoothed loss is the mean of it and those before it, each counting `memory` times as much as the next."""
    expected = oracle.smoothed(losses, memory)
    found = subject.smoothed(np.array(losses), memory)
    assert_within(found, expected, expected * gamma(32, "float32"), f"{losses} with memory {memory}")
    if memory == 0.8:
        assert_equal(subject.smoothed(np.array(losses)), to_numpy(found), f"{losses} with the default memory")


@pytest.mark.structure
def test_range_test_suggests_a_tenth_of_the_best_rate(subject: Subject) -> None:
    """The suggestion is a tenth of the rate with the least smoothed loss."""
    rates, losses = oracle.sweep(1e-3, 1.0, 7), np.array([4.0, 3.0, 3.5, 2.0, 1.5, 6.0, 9.0])
    best = rates[np.argmin(oracle.smoothed(losses.tolist(), 0.8))]
    found = subject.RangeTest(rates, losses).suggestion
    assert_within(found, np.array(best / 10), best * gamma(2, "float32"), f"suggestion for losses {losses.tolist()}")


@pytest.mark.structure
def test_range_test_puts_everything_back(subject: Subject) -> None:
    """Weights, batch statistics, seeds and the optimizer's state are afterwards as before; metrics are reset."""
    model = stateful()
    before, names = state_of(model), [each.path for each in (*model.variables, *model.optimizer.variables)]
    for batches_ in ([arrays_of(EVEN)], broken()):
        with contextlib.suppress(InterruptedError):
            subject.range_test(model, batches_, low=1e-3, high=10.0, steps=3)
        for name, was, now in zip(names, before, state_of(model), strict=True):
            assert_equal(now, np.asarray(was, float) if was.dtype.kind == "f" else was, name)
        for each in model.metrics_variables:
            assert_equal(each, np.zeros(each.shape), f"{each.path}, which belongs to a metric")
    unused = keras.optimizers.Adam(0.01)  # which has no state yet
    model.compile(unused, "mse", run_eagerly=True, auto_scale_loss=False)
    subject.range_test(model, [arrays_of(EVEN)], low=1e-3, high=10.0, steps=3)
    for each in unused.variables:
        expected = np.full(each.shape, np.float32(0.01) if "learning_rate" in each.path else 0.0)
        assert_equal(
            ops.cast(each, "float32"), expected.astype(float), f"{each.path} of an optimizer that was not used"
        )


@pytest.mark.structure
def test_impossible_sweeps_are_refused(subject: Subject) -> None:
    """A sweep downwards, of one step, or of a model that follows a schedule is refused."""
    model, batch = bowl()
    refused("a sweep downwards", subject.range_test, model, batch, low=1.0, high=0.1)
    refused("a sweep of one rate", subject.range_test, model, batch, low=0.1, high=0.1)
    refused("a sweep from a rate of 0", subject.range_test, model, batch, low=0.0, high=0.1)
    refused("a sweep of one step", subject.range_test, model, batch, steps=1)
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile(keras.optimizers.SGD(0.1), "mse")
    refused("a model that is not built", subject.range_test, unbuilt, batch)
    refused("a sweep without a batch", subject.range_test, model, [])
    followed, _ = bowl(keras.optimizers.schedules.CosineDecay(0.1, 10))
    refused("a model that follows a schedule", subject.range_test, followed, batch)
