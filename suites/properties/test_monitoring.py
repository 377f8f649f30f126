"""What must be true of monitoring, whoever wrote it (reference/monitoring.py is the contract).

Numbers are compared with float64 truths; a run that is watched, with one that is not, to the bit.
"""

import gc
import itertools
import math
import re
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from suites.properties.checks import check, require
from suites.properties.monitoring_cases import (
    Batches,
    Gradients,
    Values,
    batches,
    data,
    followed,
    gradients,
    probe_loss,
    products,
    profiled,
    trained,
    unwatched,
    values,
)
from suites.properties.numerics import UNIT_ROUNDOFF, assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import monitoring as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

# Gradient norms and updates

TWO = Gradients((np.array([3.0, 0.0, -1.0]), np.array([[0.5, -2.0, 0.0], [1.0, 0.25, 4.0]])))


@example(case=TWO)
@given(case=gradients())
def test_norms_are_roots_of_sums_of_squares(subject: Subject, case: Gradients) -> None:
    """The norm of each gradient, and that of all together, is the root of its sum of squares, up to rounding."""
    case = Gradients(tuple(array for array in case.arrays if array is not None))
    assume(case.arrays)
    each, total = subject.gradient_norms(case.tensors(subject.compute_dtype))
    for i, array in enumerate(case.arrays):
        truth = oracle.norm([array])
        assert_within(each[i], np.array(truth), oracle.norm_error([array]) * truth, f"norm of gradient {i}")
    truth = oracle.norm(case.arrays)
    assert_within(total, np.array(truth), oracle.norm_error(case.arrays) * truth, "norm of all gradients")


@example(case=Gradients((None, np.array([3.0]))))
@example(case=Gradients((None,)))
@given(case=gradients())
def test_missing_gradients_count_as_zero(subject: Subject, case: Gradients) -> None:
    """A weight without influence has the gradient None, and adds nothing to the norm of all."""
    each, total = subject.gradient_norms(case.tensors("float32"))
    check(len(each) == len(case.arrays), f"{len(each)} norms of {len(case.arrays)} gradients")
    for array, norm in zip(case.arrays, each, strict=True):
        if array is None:
            assert_equal(norm, np.array(0.0), "norm of a gradient that is None")
    truth = oracle.norm(case.arrays)
    assert_within(total, np.array(truth), oracle.norm_error(case.arrays) * truth, "norm of all gradients")


@example(case=TWO, power=100)
@example(case=TWO, power=-100)
@given(case=gradients(), power=st.integers(-110, 110))
def test_norm_is_linear_in_the_loss_scale(subject: Subject, case: Gradients, power: int) -> None:
    """Gradients scaled by a power of two have norms scaled by it, to the bit, as long as they fit into float32."""
    case = Gradients(tuple(array for array in case.arrays if array is not None and array.any()))
    assume(case.arrays)
    plain, scaled = (subject.gradient_norms(each.tensors("float32")) for each in (case, case.scaled(2.0**power)))
    assert_equal(scaled[1], to_numpy(plain[1]) * 2.0**power, f"norm of all gradients, scaled by 2^{power}")


@pytest.mark.structure
def test_norm_of_infinity_is_not_finite(subject: Subject) -> None:
    """Infinity or NaN in a gradient shows in its norm and in that of all."""
    for bad in (np.inf, -np.inf, np.nan):
        case = Gradients((np.array([1.0]), np.array([2.0, bad, 1.0])))
        each, total = subject.gradient_norms(case.tensors("float32"))
        found = [float(to_numpy(norm)) for norm in (*each, total)]
        check([math.isfinite(norm) for norm in found] == [True, False, False], f"with {bad} the norms are {found}")


@example(before=TWO, factor=1.5, power=0)
@example(before=TWO, factor=1.5, power=100)
@example(before=TWO, factor=1.5, power=-100)
@given(before=gradients(), factor=st.sampled_from((0.5, 1.5, 2.0)), power=st.sampled_from((-100, 0, 100)))
def test_update_ratio_is_the_part_that_moves(subject: Subject, before: Gradients, factor: float, power: int) -> None:
    """The update ratio is the change's norm over that of the weights before it, over all together, however large."""
    start = [array for array in before.scaled(2.0**power).arrays if array is not None]
    assume(any(array.any() for array in start))
    after = [start[0] * factor, *start[1:]]
    truth = oracle.update_ratio(start, after)
    tensors = [[keras.ops.convert_to_tensor(a, dtype="float32") for a in arrays] for arrays in (start, after)]
    bound = truth * (2 * oracle.norm_error(start) + 4 * UNIT_ROUNDOFF["float32"])
    assert_within(subject.update_ratio(*tensors), np.array(truth), bound, "update ratio")


@pytest.mark.structure
def test_update_ratio_at_zero(subject: Subject) -> None:
    """Weights that do not move have the ratio 0, even at zero; those that leave zero have an infinite one."""
    zero, one = ([np.array(value, "float32")] for value in ([0.0, 0.0], [1.0, 0.0]))
    for before, after, expected in ((one, one, 0.0), (zero, zero, 0.0), (zero, one, math.inf)):
        found = float(to_numpy(subject.update_ratio(before, after)))
        check(found == expected, f"update ratio {found} from {before[0]} to {after[0]}, expected {expected}")


NAMES = ("a", "b", "c", "d")


@example(bad=(1, 2), value=math.nan)
@example(bad=(), value=math.inf)
@given(bad=st.sets(st.integers(0, 3)).map(sorted).map(tuple), value=st.sampled_from((math.nan, math.inf, -math.inf)))
def test_first_non_finite_is_named(subject: Subject, bad: tuple[int, ...], value: float) -> None:
    """Of named tensors the first with NaN or infinity is named, and none where all are finite, however large."""
    large = {"float16": 65504.0}.get(subject.compute_dtype, 2.0**127)
    sign = (1, -1, 1, -1)  # a sum of finite numbers of one sign is too large
    arrays = [
        np.array([[0.0, value if i in bad else large], [large, 1.0]]) * np.array(sign[i]) for i in range(len(NAMES))
    ]
    tensors = {
        name: keras.ops.convert_to_tensor(a, dtype=subject.compute_dtype) for name, a in zip(NAMES, arrays, strict=True)
    }
    found, expected = subject.first_non_finite(tensors), NAMES[bad[0]] if bad else None
    check(found == expected, f"found {found!r}, expected {expected!r}, with {value} in {[NAMES[i] for i in bad]}")


# Activations

FAR = Batches((np.array([[1024.0, 0.0], [1024.25, 1.0]]), np.array([[1023.75, 0.0]]), np.array([[1024.5, -1.0]])))


@example(case=FAR)
@example(case=Batches((np.array([[0.0, 1.0]]), np.array([[2.0, 1.0], [4.0, 3.0]]))))
@given(case=batches())
def test_streamed_moments_are_those_of_two_passes(subject: Subject, case: Batches) -> None:
    """Mean and variance, gathered batch by batch, are those of two passes over all data, up to rounding."""
    found = subject.activation_statistics(tensors(case, "float32"))
    truth, error = oracle.moments(case.arrays), oracle.moments_error(case.arrays)
    count = sum(math.prod(array.shape[:-1]) for array in case.arrays)
    assert_within(np.asarray(found.mean), truth.mean, error.mean, "mean")
    variance, reach = (
        truth.deviations / count,
        error.deviations / count + gamma(2, "float32") * truth.deviations / count,
    )
    assert_within(np.asarray(found.variance), variance, reach, "variance")


@example(case=FAR)
@given(case=batches())
def test_order_of_the_batches_is_irrelevant(subject: Subject, case: Batches) -> None:
    """Mean, variance and dead units do not depend on the order of the batches, up to rounding."""
    reverse = Batches(case.arrays[::-1])
    found, other = (subject.activation_statistics(tensors(each, "float32")) for each in (case, reverse))
    error, back = oracle.moments_error(case.arrays), oracle.moments_error(reverse.arrays)
    count = sum(math.prod(array.shape[:-1]) for array in case.arrays)
    assert_within(np.asarray(other.mean), np.asarray(found.mean), error.mean + back.mean, "mean, in reverse order")
    reach = (error.deviations + back.deviations) / count * (1 + gamma(4, "float32"))
    reach = reach + gamma(8, "float32") * np.asarray(found.variance)
    assert_within(np.asarray(other.variance), np.asarray(found.variance), reach, "variance, in reverse order")
    check(other.dead == found.dead, f"dead part {other.dead}, in reverse order, where it was {found.dead}")


def tensors(case: Batches, dtype: str) -> list[Any]:
    """The batches as tensors."""
    return [keras.ops.convert_to_tensor(array, dtype=dtype) for array in case.arrays]


@example(bias=-1e4, expected=1.0)
@example(bias=1e4, expected=0.0)
@given(bias=st.sampled_from((-1e4, 1e4)), expected=st.none())
def test_dead_units_are_never_active(subject: Subject, bias: float, expected: float | None) -> None:
    """Rectifiers with a bias far under zero are all dead, linear units never, and those far above zero are not."""
    x, _ = data()
    layers = [keras.layers.Dense(3, activation=name, dtype=subject.precision) for name in ("relu", "linear")]
    for layer, dead in zip(layers, (float(bias < 0) if expected is None else expected, 0.0), strict=True):
        layer.build((None, 4))
        layer.set_weights([np.ones((4, 3)), np.full(3, bias)])
        found = subject.activation_statistics([layer(x[:8]), layer(x[8:])]).dead
        check(
            found == dead, f"dead part {found} of {layer.activation.__name__} units with bias {bias}, expected {dead}"
        )


@pytest.mark.structure
def test_a_unit_that_is_active_once_is_not_dead(subject: Subject) -> None:
    """Dead are only the units that are zero in every batch: one that is active in a single example lives."""
    batches = np.zeros((3, 4, 8), "float32")
    batches[0, 1, 2] = batches[1, 3, 5] = 1.0
    batches[2, 0, 6] = -1.0
    batches[1, 0, 7] = 1e-20  # tiny is not zero, not even where half precision would make it so
    for order in itertools.permutations(range(3)):
        found = subject.activation_statistics([batches[i] for i in order]).dead
        check(found == 4 / 8, f"dead part {found} with the batches in the order {order}, expected 4/8")
    for kind in ("bool", "int32", "uint8"):
        found = subject.activation_statistics([batches[0].astype(kind), np.zeros((4, 8), kind)]).dead
        check(found == 7 / 8, f"dead part {found} of {kind} activations, expected 7/8")


# Early stopping


@example(case=Values((3.0, 2.0, 2.5, 2.5, 1.0), patience=2))
@example(case=Values((1.0, 2.0), patience=1, mode="max"))
@example(case=Values((2.0, 1.75, 1.5, 1.25), patience=2, min_delta=0.5))
@example(case=Values((2.0, 1.75, 1.25, 2.0), patience=2, min_delta=0.5))  # what is no improvement is not the best
@example(case=Values((2.0, 2.5, 2.5, 3.125), patience=2, min_delta=0.5, mode="max"))  # 1/2 is no more than 1/2
@given(case=values().filter(lambda case: case.values[0] == case.values[0]))
def test_stopping_follows_its_rule(subject: Subject, case: Values) -> None:
    """Training stops after exactly `patience` epochs in a row without more than `min_delta` of improvement."""
    stopped, _ = followed(subject, case)
    expected = oracle.early_stopping(case.values, case.patience, case.min_delta, case.mode)
    check(stopped == expected.stopped, f"stopped after epoch {stopped}, expected {expected.stopped}")


@example(case=Values((3.0, 1.0, 2.0, 2.0), patience=2))
@example(case=Values((3.0, 1.0, 2.0), patience=2))
@given(case=values().filter(lambda case: case.values[0] == case.values[0]))
def test_best_weights_are_restored(subject: Subject, case: Values) -> None:
    """At the end, stopped early or not, the model has the weights of its best epoch exactly."""
    require(subject.EarlyStopping, "restore_best_weights", "EarlyStopping")
    _, weight = followed(subject, case, restore_best_weights=True)
    best = oracle.early_stopping(case.values, case.patience, case.min_delta, case.mode).best
    check(weight == best, f"the weights are those of epoch {weight:g}, the best epoch is {best}")
    stopped, weight = followed(subject, case, restore_best_weights=False)
    last = len(case.values) - 1 if stopped is None else stopped
    check(weight == last, f"nothing was to be restored after epoch {last}, but the weights are those of {weight:g}")


@pytest.mark.structure
def test_nan_is_never_the_best(subject: Subject) -> None:
    """A NaN is no improvement, not even as the first value, and a number after it is one."""
    for mode in ("min", "max"):
        case = Values((math.nan, 2.0, math.nan, math.nan), patience=2, mode=mode)
        stopped, weight = followed(subject, case, restore_best_weights=True)
        check(
            (stopped, weight) == (3, 1.0), f"mode {mode}: stopped after epoch {stopped} with the weights of {weight:g}"
        )
        stopped, weight = followed(subject, Values((math.nan,) * 3, patience=2, mode=mode), restore_best_weights=True)
        check(
            (stopped, weight) == (1, 1.0),
            f"mode {mode}, of NaN alone: stopped after epoch {stopped}, expected 1, with the weights of {weight:g}; "
            f"there is no best epoch, and the last weights stay",
        )


# A watched run


@pytest.mark.structure
def test_watching_leaves_the_run_as_it_was(subject: Subject) -> None:
    """A watched run ends with the weights, statistics, slots, seeds and traces of an unwatched one, to the bit."""
    x, y = data(8)
    monitor = subject.Monitor(x, y, loss=probe_loss, every=2)
    watched, free = trained([monitor]), unwatched()
    for name, expected in free.variables.items():
        assert_equal(watched.variables[name], expected, f"{name}, after a run that was watched")
    check(watched.traces == free.traces, f"{watched.traces} traces of the step, unwatched {free.traces}")
    check(watched.drawn == free.drawn, f"random numbers after the run {watched.drawn}, unwatched {free.drawn}")
    steps = [reading.step for reading in monitor.readings]
    check(steps == [2, 4, 6], f"readings after the steps {steps}, expected 2, 4 and 6")


@pytest.mark.structure
def test_readings_are_those_of_the_model_as_it_stands(subject: Subject) -> None:
    """A reading holds gradient norms and outputs of the probe after the step, and the update ratio of the step."""
    x, targets = data(8)
    y = targets[:, None].astype("float64")  # (B, 1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="line")])
    model.compile(keras.optimizers.SGD(0.125), "mse", jit_compile=False)
    before = [np.arange(4.0)[:, None] / 8, np.array([0.5])]
    model.set_weights(before)
    monitor = subject.Monitor(x, y.astype("float32"), loss=keras.losses.mean_squared_error)
    model.fit(-x, y, batch_size=8, epochs=1, shuffle=False, verbose=0, callbacks=[monitor])
    kernel, bias = after = [to_numpy(weight) for weight in model.get_weights()]
    (reading,) = monitor.readings
    truth, error = oracle.mean_squared_error_gradient(x.astype(np.float64), y, kernel, bias)
    for found, gradient, off in zip(reading.gradient_norms.values(), truth, error, strict=True):
        norm = oracle.norm([gradient])
        bound = oracle.norm([off]) + oracle.norm_error([gradient]) * (norm + oracle.norm([off]))
        assert_within(np.array(found), np.array(norm), bound, "norm of the probe's gradient")
    ratio = oracle.update_ratio(before, after)
    assert_within(np.array(reading.update_ratio), np.array(ratio), ratio * gamma(64, "float32"), "update ratio")
    outputs = x.astype(np.float64) @ kernel + bias
    reach = gamma(16, "float32") * (np.abs(x) @ np.abs(kernel) + np.abs(bias)).max()
    assert_within(np.asarray(reading.layers["line"].mean), outputs.mean(0), reach, "mean output")


@pytest.mark.structure
def test_the_layer_that_brings_nan_is_named(subject: Subject) -> None:
    """Where a layer's weights turn to NaN, the reading names that layer, and not one that only passes it on."""
    x, _ = data(8)
    layers = [keras.layers.Dense(3, name=name) for name in ("one", "two", "three")]  # a rectifier may hide a NaN
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    layers[1].set_weights([np.full((3, 3), np.nan), np.zeros(3)])
    monitor = subject.Monitor(x, np.zeros((8, 3), "float32"), loss=keras.losses.mean_squared_error)
    model.predict_on_batch(x)
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_train_batch_begin(0)
    monitor.on_train_batch_end(0)
    check(monitor.readings[0].non_finite == "two", f"named {monitor.readings[0].non_finite!r}, expected 'two'")


# Memory

MIB = 2**20


@pytest.mark.structure
def test_an_allocation_raises_the_memory(subject: Subject) -> None:
    """64 MiB that are written to raise the memory of the process by at least 9/10 of that, and less than twice."""
    gc.collect()
    before = subject.host_memory()
    check(before is None or before > 0, f"the process is said to hold {before} bytes")
    block = np.ones(64 * MIB, np.uint8)
    after = subject.host_memory()
    if before is not None:
        size = block.nbytes
        del block
        left = (subject.host_memory() - before) / MIB
        check(left <= 0.5 * 64, f"{left:.1f} MiB of {size // MIB} are still said to be held after they were given back")
        grown = (after - before) / MIB
        check(0.9 * 64 <= grown <= 2 * 64, f"memory grew by {grown:.1f} MiB with {size // MIB} MiB")


@pytest.mark.structure
def test_what_is_not_measured_is_not_zero(subject: Subject) -> None:
    """Memory that nobody counts, as that of a CPU or of a device that is not there, is None and never 0."""
    for device in ("CPU:0", "cpu:0", "GPU:63"):
        found = subject.device_memory(device)
        check(found is None, f"the memory of {device} is said to be {found}, which nobody has measured")


# Profiles


@pytest.mark.structure
def test_profile_finds_what_dominates(subject: Subject) -> None:
    """The profile of steps that multiply matrices shows that operation first, as often as it was run."""
    rows = profiled(subject, products(size=256, count=4), steps=3).rows
    names = [row.operation for row in rows]
    check(re.search("mat_?mul|mm", names[0], re.IGNORECASE), f"operations by own time: {names}")
    check(rows[0].count == 12, f"{rows[0].count} products were counted in 3 steps of 4")
    own = [row.own for row in rows]
    check(own == sorted(own, reverse=True), f"own times are not in descending order: {own}")


@pytest.mark.structure
def test_profile_fits_into_the_time(subject: Subject) -> None:
    """Own times are from 0 to total times, and on no thread do they add up to more than the steps took."""
    found = profiled(subject, products(size=64, count=8), steps=3)
    check(len(found.rows) > 0, "the profile has no rows")
    for row in found.rows:
        check(0 <= row.own <= row.total * (1 + 1e-12), f"{row.operation}: {row.own} s of its own of {row.total} s")
    own = sum(row.own for row in found.rows)
    check(own <= found.seconds * found.lines, f"{own:.6f} s on {found.lines} threads in {found.seconds:.6f} s")


# Arguments


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """Gradients, weights and activations given as NumPy arrays are not changed."""
    arrays = [np.array([1.0, -2.0], "float32"), np.array([[3.0, 0.0]], "float32")]
    kept = [array.copy() for array in arrays]
    calls = {
        "gradient_norms": lambda function: function(arrays),
        "update_ratio": lambda function: function(arrays, [2 * array for array in arrays]),
        "first_non_finite": lambda function: function(dict(zip("ab", arrays, strict=True))),
        "activation_statistics": lambda function: function(arrays[1:]),
    }
    for name in filter(subject.provides, calls):
        calls[name](getattr(subject, name))
        for array, expected in zip(arrays, kept, strict=True):
            assert_equal(array, expected.astype(np.float64), f"an argument of {name} after the call")


@pytest.mark.structure
def test_early_stopping_refuses_what_makes_no_sense(subject: Subject) -> None:
    """No patience, a negative min_delta, an unknown mode and a value that is missing are answered with ValueError."""
    for option, value in (("patience", 0), ("min_delta", -1.0), ("mode", "least")):
        usual = option == "patience"  # of 0, which Keras takes for 1
        refused(f"{option}={value!r}", lambda kept={option: value}: subject.EarlyStopping(**kept), usual=usual)
    refused("min_delta=nan", subject.EarlyStopping, min_delta=math.nan)
    callback = subject.EarlyStopping(monitor="val_accuracy")
    callback.on_train_begin()
    refused("an epoch without val_accuracy", callback.on_epoch_end, 0, {"loss": 1.0})


@pytest.mark.structure
def test_empty_data_is_refused(subject: Subject) -> None:
    """No batches, a batch of none and a vector are answered with ValueError by the statistics of activations."""
    refused("no batches", subject.activation_statistics, [])
    refused("an empty batch", subject.activation_statistics, [np.zeros((0, 3), "float32")])
    refused("a vector", subject.activation_statistics, [np.zeros(3, "float32")])


@pytest.mark.structure
def test_profiles_of_no_steps_are_refused(subject: Subject) -> None:
    """A profile of no steps is answered with ValueError."""
    refused("a profile of 0 steps", subject.profile, products(size=2, count=1), steps=0)


@pytest.mark.structure
def test_readings_at_no_steps_are_refused(subject: Subject) -> None:
    """A monitor that is to read every 0 steps is answered with ValueError."""
    refused("a reading every 0 steps", subject.Monitor, np.zeros((1, 1)), np.zeros(1), every=0)
