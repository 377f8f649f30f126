"""What must be true of training by a rate: batches of another size, momentum, and the search for a rate that suits."""

import contextlib
from collections.abc import Sequence

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.numerics import UNIT_ROUNDOFF, assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import schedules as oracle
from suites.properties.schedules_cases import COSINE, RATES, refuses, schedule_of
from suites.properties.schedules_training_cases import (
    EVEN,
    RAGGED,
    Batch,
    accumulates,
    arrays_of,
    batches,
    bowl,
    broken,
    linear_model,
    mean_output,
    state_of,
    stateful,
    trained,
    trains_as_one,
    two_gradients,
    variable,
)
from suites.subjects import Subject

# Batch size


@pytest.mark.structure
@given(rate_=RATES, base=st.sampled_from((1, 32, 256)), factor=st.sampled_from((1, 2, 3, 8)))
def test_linear_rule(subject: Subject, rate_: float, base: int, factor: int) -> None:
    """A batch k times as large gets k times the rate."""
    found = subject.scale_learning_rate(rate_, batch=factor * base, base_batch=base, rule="linear")
    assert_within(
        found, np.array(factor * rate_), factor * rate_ * gamma(4, "float32"), f"{rate_} for {factor} batches"
    )


@pytest.mark.structure
@given(rate_=RATES, base=st.sampled_from((1, 32, 256)), factor=st.sampled_from((1, 4, 9, 2)))
def test_square_root_rule(subject: Subject, rate_: float, base: int, factor: int) -> None:
    """A batch k times as large gets sqrt(k) times the rate."""
    found = subject.scale_learning_rate(rate_, batch=factor * base, base_batch=base, rule="sqrt")
    expected = factor**0.5 * rate_
    assert_within(found, np.array(expected), expected * gamma(8, "float32"), f"{rate_} for {factor} batches")


@pytest.mark.structure
@example(batch=EVEN)
@given(batch=batches(ragged=False))
def test_micro_batches_give_the_gradient_of_the_batch(subject: Subject, batch: Batch) -> None:
    """Gradients accumulated over equal micro-batches are those of the whole batch, up to rounding."""
    accumulates(subject, batch)


@pytest.mark.structure
@example(batch=RAGGED)
@given(batch=batches(ragged=True))
def test_a_smaller_micro_batch_counts_less(subject: Subject, batch: Batch) -> None:
    """With a last micro-batch that is smaller, too, the gradients are those of the whole batch, up to rounding."""
    accumulates(subject, batch)


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
    optimizer = subject.accumulating(keras.optimizers.SGD, schedule_of(subject, COSINE), micro_batches)
    weight = variable(1.0)
    for _ in range(2 * micro_batches):
        optimizer.apply([ops.ones(())], [weight])
    rates = [COSINE.truth(0), COSINE.truth(1)]
    bound = sum(each.bound for each in rates) + gamma(2 * micro_batches + 6, "float32")
    expected = np.array(1 - sum(each.value for each in rates))
    assert_within(weight, expected, bound, f"weight after 2 updates by {micro_batches} gradients of 1 each")


@pytest.mark.structure
def test_impossible_batches_are_refused(subject: Subject) -> None:
    """Unknown rules, empty batches and another number of micro-batches than was announced are refused."""
    x, y = arrays_of(EVEN)
    wanted = {
        "an unknown rule": lambda: subject.scale_learning_rate(0.1, batch=2, base_batch=1, rule="cubic"),
        "a base batch of no examples": lambda: subject.scale_learning_rate(0.1, batch=2, base_batch=0),
        "no micro-batch": lambda: subject.accumulated_gradients(two_gradients, []),
        "three micro-batches in place of two": lambda: subject.train_on_micro_batches(
            linear_model(subject.precision, subject.accumulating(keras.optimizers.SGD, 0.5, 3)), x, y, size=2
        ),
    }
    for what, call in wanted.items():
        check(refuses(call), f"{what} was accepted")
    model = linear_model(subject.precision, subject.accumulating(keras.optimizers.SGD, 0.5, 2))
    model.optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer)
    refused = refuses(subject.train_on_micro_batches, model, x, y, size=2)
    check(refused, "a dynamic loss scale, which may skip single micro-batches, was accepted")


# Momentum


@pytest.mark.structure
@example(gradients=[1.0, 1.0, 0.0], rates=[0.1, 0.1, 0.01])
@given(
    gradients=st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=5),
    rates=st.lists(RATES, min_size=5, max_size=5),
)
def test_momentum_forgets_old_rates(subject: Subject, gradients: list[float], rates: list[float]) -> None:
    """When the rate changes, past gradients in the velocity count with the new rate (Goyal et al., remark 2)."""
    optimizer, weight = subject.MomentumSGD(rates[0], momentum=0.5), variable(1.0)
    for gradient, rate_ in zip(gradients, rates, strict=False):
        if not optimizer.built:
            optimizer.build([weight])
        optimizer.learning_rate = rate_
        optimizer.apply([ops.convert_to_tensor(np.float32(gradient))], [weight])
    truth = oracle.momentum_sgd(1.0, gradients, rates[: len(gradients)], 0.5)
    assert_within(weight, np.array(truth.value), truth.bound, f"weight after {gradients} at rates {rates}")


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
    """Rates grow by one and the same factor from the least to the greatest, and the model trains at each."""
    model, batch = bowl()
    found = subject.range_test(model, batch, low=low, high=high, steps=steps)
    rates = oracle.sweep(low, high, steps)
    assert_within(found.rates, rates, rates * gamma(8, "float32"), "rates")
    losses, bound = oracle.square_losses(1.0, rates.tolist())
    assert_within(found.losses, losses, bound + losses * gamma(16 * steps, "float32"), "losses before each step")


@pytest.mark.structure
def test_range_test_stops_when_training_diverges(subject: Subject) -> None:
    """The sweep ends with the first smoothed loss that exceeds four times the least one, and not before."""
    model, batch = bowl()
    found = subject.range_test(model, batch, low=0.01, high=1e4, steps=40)
    curve = oracle.smoothed(np.asarray(found.losses).tolist(), 0.8)
    over = [i for i, loss in enumerate(curve) if not loss <= 4 * min(curve[: i + 1])]
    check(len(found.rates) == len(found.losses), f"{len(found.rates)} rates and {len(found.losses)} losses")
    check(over == [len(curve) - 1], diverged(curve, over))


def diverged(curve: Sequence[float] | np.ndarray, over: list[int]) -> str:
    """Where a sweep has ended, and the first of its steps after which it should have, in words."""
    ended = f"the sweep took {len(curve)} of 40 steps and ended with the smoothed loss {curve[-1]:.6g}"
    if not over:
        return f"{ended}, which is not over its limit, {4 * min(curve):.6g}, nor was it at any step before"
    first = over[0]
    limit = 4 * min(curve[: first + 1])
    return f"{ended}, though at step {first + 1} it was {curve[first]:.6g} already, over its limit {limit:.6g}"


@pytest.mark.structure
def test_range_test_suggests_a_tenth_of_the_best_rate(subject: Subject) -> None:
    """The suggestion is a tenth of the rate with the least smoothed loss."""
    rates, losses = oracle.sweep(1e-3, 1.0, 7), np.array([4.0, 3.0, 3.5, 2.0, 1.5, 6.0, 9.0])
    best = rates[np.argmin(oracle.smoothed(losses.tolist(), 0.8))]
    found = subject.RangeTest(rates, losses).suggestion
    assert_within(found, np.array(best / 10), best * gamma(2, "float32"), f"suggestion for losses {losses.tolist()}")


@pytest.mark.structure
def test_range_test_puts_everything_back(subject: Subject) -> None:
    """Weights, batch statistics, seeds and the optimizer's state are afterwards what they were, bit for bit."""
    model = stateful()
    before, names = state_of(model), [each.path for each in (*model.variables, *model.optimizer.variables)]
    for batches_ in ([arrays_of(EVEN)], broken()):
        with contextlib.suppress(InterruptedError):
            subject.range_test(model, batches_, low=1e-3, high=10.0, steps=3)
        for name, was, now in zip(names, before, state_of(model), strict=True):
            assert_equal(now, np.asarray(was, float) if was.dtype.kind == "f" else was, name)


@pytest.mark.structure
def test_impossible_sweeps_are_refused(subject: Subject) -> None:
    """A sweep downwards, of one step, or of a model that follows a schedule is refused."""
    model, batch = bowl()
    check(refuses(subject.range_test, model, batch, low=1.0, high=0.1), "a sweep downwards was accepted")
    check(refuses(subject.range_test, model, batch, steps=1), "a sweep of one step was accepted")
    check(refuses(subject.range_test, model, []), "a sweep without a batch was accepted")
    followed, _ = bowl(keras.optimizers.schedules.CosineDecay(0.1, 10))
    check(refuses(subject.range_test, followed, batch), "a model that follows a schedule was accepted")
