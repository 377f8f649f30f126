"""What must be true of monitoring from run to run: second runs, whole readings, and profiles that end early."""

import gc
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given

from suites.implementations import NotProvided
from suites.properties.checks import check, require, without_warnings
from suites.properties.monitoring_cases import (
    SLEEPS,
    Values,
    data,
    followed,
    nested,
    products,
    profiled,
    stopper,
    values,
)
from suites.properties.numerics import assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import monitoring as oracle
from suites.subjects import Subject

# Norms


@pytest.mark.structure
def test_rows_of_a_sparse_gradient_are_summed(subject: Subject) -> None:
    """Where a row of a sparse gradient occurs twice, as in that of an embedding, the norm is that of the sum."""
    norms = subject.gradient_norms
    if keras.backend.backend() != "tensorflow":
        raise NotProvided("sparse gradients are TensorFlow's")
    import tensorflow as tf

    slices = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([0, 0]), tf.constant([2, 1]))
    each, total = norms([slices])
    for norm, what in ((each[0], "the gradient"), (total, "all gradients")):
        check(float(to_numpy(norm)) == 7, f"norm of {what} is {float(to_numpy(norm))}; row 0 has 3 and 4, expected 7")


@pytest.mark.structure
def test_no_gradients_have_norm_zero(subject: Subject) -> None:
    """Of no gradients at all the norm is 0, and there is none of each."""
    each, total = subject.gradient_norms([])
    check(len(each) == 0, f"{len(each)} norms of no gradients")
    assert_equal(total, np.array(0.0), "norm of no gradients")


# Early stopping


@example(case=Values((3.0, 4.0, 1.0, 2.0, 2.0), patience=3))
@example(case=Values((3.0, 4.0, 5.0, 2.0), patience=3, first=0))
@example(case=Values((math.nan, math.nan, 1.0), patience=2))
@example(case=Values((2.0, 1.75, 1.25), patience=3, min_delta=0.5))  # 1.75 is no improvement, 1.25 is one over 2
@given(case=values())
def test_progress_says_where_it_stands(subject: Subject, case: Values) -> None:
    """`progress` holds the best value, its epoch and the epochs since; `stopped_epoch` is where training was ended."""
    step, state = subject.progress, subject.Progress()
    options = {"min_delta": case.min_delta, "mode": case.mode}
    if options == {"min_delta": 0.0, "mode": "min"}:
        options = {}  # which is what they are unless told
    callback = stopper(subject, case)
    stopped, _ = followed(subject, case, callback)
    for epoch, value in enumerate(case.values[: None if stopped is None else stopped + 1]):
        state = step(state, case.first + epoch, value, **options)
        best = oracle.early_stopping(case.values[: epoch + 1], 99, case.min_delta, case.mode).best
        wait = epoch + 1 if best is None else epoch - best
        expected = [math.nan if best is None else case.values[best], -1 if best is None else case.first + best, wait]
        found = [state.best, state.best_epoch, state.wait]
        check(np.array_equal(found, expected, equal_nan=True), f"after epoch {epoch}: {state}, expected {expected}")
    kept = callback.progress
    found = [kept.best, kept.best_epoch, kept.wait]
    check(np.array_equal(found, expected, equal_nan=True), f"at the end: {kept}, expected {expected}")
    end = None if stopped is None else case.first + stopped
    check(callback.stopped_epoch == end, f"stopped_epoch is {callback.stopped_epoch}, training ended after {end}")


@pytest.mark.structure
def test_stopping_without_options(subject: Subject) -> None:
    """Unless told, training stops after one epoch without a lower validation loss, and the best weights come back."""
    require(subject.EarlyStopping, "restore_best_weights", "EarlyStopping")
    case = Values((-3.0, -2.875, -2.875, -1.0))  # `followed` gives the validation loss the other sign
    stopped, weight = followed(subject, case, subject.EarlyStopping())
    check((stopped, weight) == (2, 1.0), f"stopped after epoch {stopped} with the weights of epoch {weight:g}")


def test_a_second_run_begins_anew(subject: Subject) -> None:
    """What early stopping has seen in one `fit` has no part in the next: neither the best value nor its weights."""
    for later in ((3.0, 2.5, 4.0, 4.0), (3.0, 4.0, 5.0, 2.0)):
        first, second = (Values(drawn, patience=2) for drawn in ((1.0, 2.0, 2.0), later))
        callback = stopper(subject, first, restore_best_weights=True)
        followed(subject, first, callback)
        found, truth = followed(subject, second, callback), oracle.early_stopping(later, 2, 0.0, "min")
        check(found == (truth.stopped, truth.best), f"second run {later}: {found}, expected {truth}")


# Readings


@pytest.mark.structure
def test_readings_are_whole(subject: Subject) -> None:
    """Readings hold the compiled loss, all trained weights, and layers with weights or an activation, in each run."""
    x, y = data(8)
    targets = np.stack([y, -y], 1).astype("float32")
    layers = [
        keras.layers.Dense(3, name="frozen", trainable=False),
        keras.layers.BatchNormalization(name="normalization"),
        keras.layers.ReLU(name="rectifier"),
        keras.layers.Dense(3, activation="tanh", name="curved"),
        keras.layers.LeakyReLU(negative_slope=0.0, name="leaky"),
        keras.layers.Dropout(0.5, name="dropout"),
        keras.layers.Activation("relu", name="activation"),
        keras.layers.Dense(2, name="line"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    layers[0].set_weights([np.linspace(-1, 1, 12).reshape(4, 3), np.array([-100.0, 0.0, 0.0])])
    model.compile(keras.optimizers.SGD(0.125), "mae", jit_compile=False)
    own = subject.Monitor(x, targets)
    squared = subject.Monitor(x, targets, loss=keras.losses.mean_squared_error)
    for epochs in (1, 2):
        model.fit(-x, targets, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[own, squared])
    off = to_numpy(model(x, training=False)).astype(float) - targets
    for monitor, loss in ((own, np.abs(off).mean()), (squared, np.square(off).mean())):
        steps = [reading.step for reading in monitor.readings]
        check(steps == [1, 1, 2], f"readings after the steps {steps} of two runs, expected 1, then 1 and 2")
        reading = monitor.readings[-1]
        assert_within(np.array(reading.loss), np.array(loss), loss * gamma(256, "float32"), "loss of the probe")
        paths = [weight.path for weight in model.trainable_variables]
        check(list(reading.gradient_norms) == paths, f"norms of {list(reading.gradient_norms)}, trained are {paths}")
        total = math.hypot(*reading.gradient_norms.values())
        assert_within(np.array(reading.gradient_norm), np.array(total), total * gamma(32, "float32"), "norm of all")
        watched = [layer.name for layer in layers if layer.name != "dropout"]
        check(list(reading.layers) == watched, f"layers {list(reading.layers)} are watched, expected {watched}")
        inner = keras.Model(model.inputs[0], [layer.output for layer in layers if layer.name in watched])
        for name, output in zip(watched, inner(x, training=False), strict=True):
            dead, found = float(np.mean(~to_numpy(output).any(0))), reading.layers[name].dead
            check(math.isclose(found, dead, abs_tol=1e-9), f"dead part {found} of {name}, expected {dead}")


@pytest.mark.structure
def test_no_tensors_are_finite(subject: Subject) -> None:
    """Of no tensors at all none is named."""
    found = subject.first_non_finite({})
    check(found is None, f"named {found!r} of no tensors")


@pytest.mark.structure
def test_large_is_not_infinite(subject: Subject) -> None:
    """A reading names no layer whose outputs are large but finite, and names a weight whose gradient alone is NaN."""
    for scale, loss, expected in (
        (1e25, keras.losses.mean_absolute_error, None),
        (0.0, lambda y, p: keras.ops.sqrt(keras.ops.abs(y - p)), "first/kernel"),
    ):
        model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(1, name=name) for name in ("first", "last"))])
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
        model.set_weights([np.full((4, 1), scale), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
        x, _ = data(8)
        monitor = subject.Monitor(x, np.zeros((8, 1), "float32"), loss=loss)
        model.fit(0 * x, np.zeros((8, 1)), batch_size=8, verbose=0, callbacks=[monitor])
        found = monitor.readings[0].non_finite
        right = found is None if expected is None else str(found).endswith(expected)
        check(right, f"named {found!r}, expected {expected!r}, with weights of {scale:g}")


class InTraining(keras.layers.Layer):
    """A layer that is in training unless told: then it doubles."""

    def call(self, x: Any, training: bool = True) -> Any:
        """Twice what comes in, or just that."""
        return 2 * x if training else x


@pytest.mark.structure
def test_the_probe_is_not_training(subject: Subject) -> None:
    """The probe tells each layer that it is not training, one that trains unless told too."""
    model = keras.Sequential([keras.Input((4,)), InTraining(), keras.layers.Dense(1, use_bias=False, name="line")])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    model.set_weights([np.ones((4, 1))])
    x, _ = data(8)
    monitor = subject.Monitor(x, np.zeros((8, 1), "float32"))
    model.fit(x, np.zeros((8, 1)), batch_size=8, verbose=0, callbacks=[monitor])
    mean = x.sum(-1, dtype=float).mean()
    found = float(monitor.readings[0].layers["line"].mean[0])
    check(math.isclose(found, mean, rel_tol=1e-5), f"mean output {found}, in inference it is {mean}")


class Idle(keras.layers.Layer):
    """A layer with a weight that nothing depends on."""

    def build(self, _shape: Any) -> None:
        """One weight."""
        self.idle = self.add_weight(shape=(2,), name="idle")

    def call(self, x: Any) -> Any:
        """What comes in."""
        return x


@pytest.mark.structure
def test_networks_of_any_number_of_inputs_are_watched(subject: Subject) -> None:
    """Networks of one input or more, with a weight that has no influence, are read as any other."""
    x, _ = data(8)
    for count in (1, 2):
        inputs = [keras.Input((4,)) for _ in range(count)]
        merged = inputs[0] if count == 1 else keras.layers.Subtract()(inputs)
        model = keras.Model(inputs[0] if count == 1 else inputs, Idle()(keras.layers.Dense(1, name="line")(merged)))
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
        model.set_weights([np.ones((4, 1)), np.zeros(1), np.ones(2)])
        given_ = x if count == 1 else [x, 3 * x]
        monitor = subject.Monitor(given_, np.zeros((8, 1), "float32"))
        with without_warnings("Gradients do not exist"):  # for the idle weight, as is meant
            model.fit(given_, np.zeros((8, 1)), batch_size=8, verbose=0, callbacks=[monitor])
        (reading,) = monitor.readings
        factor = 1.0 if count == 1 else -2.0
        mean, found = factor * x.sum(-1, dtype=float).mean(), float(reading.layers["line"].mean[0])
        check(math.isclose(found, mean, rel_tol=1e-5), f"mean output of {count} inputs {found}, expected {mean}")
        idle = {path: norm for path, norm in reading.gradient_norms.items() if path.endswith("idle")}
        check(list(idle.values()) == [0.0], f"norms {idle} of the gradient of a weight without influence, expected 0")
        check(reading.non_finite is None, f"named {reading.non_finite!r}, where all is finite")


@pytest.mark.structure
def test_an_update_ratio_is_that_of_one_step(subject: Subject) -> None:
    """Where every second step is read, the update ratio is that of the second step alone."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), lambda _, found: keras.ops.mean(found), jit_compile=False)
    model.set_weights([np.array([[8.0]])])
    x = np.ones((4, 1), "float32")
    monitor = subject.Monitor(x[:1], x[:1], every=2)
    model.fit(x, x, batch_size=1, epochs=1, shuffle=False, verbose=0, callbacks=[monitor])
    found = [reading.update_ratio for reading in monitor.readings]  # the weight: 8, 7, 6, 5, 4
    check(np.allclose(found, [1 / 7, 1 / 5], rtol=1e-6), f"update ratios {found}, expected 1/7 and 1/5")


# Memory


@pytest.mark.structure
def test_memory_is_what_the_system_counts(subject: Subject) -> None:
    """What the process is said to hold is what the system says, to 1/4 MiB."""
    counted = Path("/proc/self/statm")  # in pages: all, and those that are held
    if not counted.exists():
        raise NotProvided("only Linux says in pages what a process holds")
    before, found, after = (
        subject.host_memory() if i == 1 else int(counted.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for i in range(3)
    )
    low, high = min(before, after) - 2**18, max(before, after) + 2**18
    check(found is not None, "the process is not said to hold anything, which the system counts")
    check(low <= found <= high, f"{found} bytes, where the system says {before}, and then {after}")


@pytest.mark.structure
def test_an_allocation_raises_the_memory_of_its_device(subject: Subject) -> None:
    """16 MiB on a device raise what it is said to hold by that, and less than twice, and never over its peak."""
    device, size = f"{subject.device.upper()}:0", 2**24
    before = subject.device_memory(device)
    check(before is not None or subject.device == "cpu", f"the memory of {device} is not counted")
    block = keras.ops.ones((size // 4,), "float32")
    after = subject.device_memory(device)
    to_numpy(block[:1])  # until here it is in use
    if before is not None:
        grown = after.current - before.current
        check(size <= grown < 2 * size, f"memory of {device} grew by {grown} bytes with {size}")
        del block
        gc.collect()
        later = subject.device_memory(device)
        check(later.current <= after.current - size, f"{later.current} bytes are held after {size} were given back")
        check(later.peak >= after.current, f"the peak is {later.peak}, after {after.current} were held")


# Profiles


@pytest.mark.structure
def test_time_within_is_the_inner_operation_s(subject: Subject) -> None:
    """What runs within an operation is in its total time, and no part of its own; times are in seconds."""
    steps = 3
    found = profiled(subject, nested(), steps=steps)
    rows = {row.operation: row for row in found.rows}
    outer, inner = rows["PyFunc"], rows["EagerPyFunc"]
    leaves = [row for name, row in rows.items() if name not in ("PyFunc", "EagerPyFunc")]
    check({"MatMul", "Relu"} <= {row.operation for row in leaves}, f"operations {list(rows)}")
    for row in leaves:
        check(row.own == row.total, f"{row.operation}: {row.own} s of its own of {row.total} s, with nothing in it")
    parts = {outer.operation: (outer, inner.total), inner.operation: (inner, sum(row.total for row in leaves))}
    for name, (row, within) in parts.items():
        own = row.total - within
        check(math.isclose(row.own, own, rel_tol=1e-9), f"{name}: {row.own} s of its own; total less within is {own} s")
    for row, slept in zip((outer, inner), SLEEPS, strict=True):
        check(row.own >= steps * slept, f"{row.operation} slept {steps * slept} s, and has {row.own} s of its own")
    check(outer.total <= found.seconds, f"{outer.total} s in steps that took {found.seconds} s")


@pytest.mark.structure
def test_a_thread_is_one_line(subject: Subject) -> None:
    """A profile counts the threads that ran operations: on a CPU one, where they run one after the other, eagerly."""
    square = keras.ops.eye(8)
    found = profiled(subject, lambda: keras.ops.relu(keras.ops.matmul(square, square)), steps=2).lines
    check(found == 1 or (subject.device != "cpu" and found > 1), f"operations ran on {found} threads, expected 1")


@pytest.mark.structure
def test_a_step_before_the_profile_compiles(subject: Subject) -> None:
    """A profile of n steps, 10 unless told, takes n + 1 calls, of which the first, which compiles, is not timed."""
    step = products(size=8, count=1)
    times: list[tuple[float, float]] = []

    def slow_at_first() -> None:
        begun = time.perf_counter()
        if not times:
            time.sleep(0.2)
        step()
        times.append((begun, time.perf_counter()))

    step()
    for _ in range(5):  # a machine may be so busy that ten steps end as late as with the first; it is not five times
        times.clear()
        seconds = profiled(subject, slow_at_first).seconds
        check(len(times) == 11, f"the step was called {len(times)} times for a profile of 10 steps, expected 11")
        timed, whole = times[-1][1] - times[1][0], times[-1][1] - times[0][0]
        check(seconds >= timed, f"10 steps, which took {timed:.3f} s at least, are said to have taken {seconds:.3f} s")
        if seconds < whole:
            return
    check(
        False, f"10 steps are said to have taken {seconds:.3f} s; with the first, which is none, it was {whole:.3f} s"
    )


@pytest.mark.structure
def test_profile_is_kept_where_it_is_told(subject: Subject) -> None:
    """Afterwards the folder holds the trace, and another profile in it is read from its own, by whatever name."""
    require(subject.profile, "folder", "profile")
    with tempfile.TemporaryDirectory() as folder:
        for steps in (1, 3):
            found = profiled(subject, products(size=64, count=2), steps=steps, folder=folder)
            count = max(row.count for row in found.rows if "matmul" in row.operation.lower())
            check(count == 2 * steps, f"{count} products in {steps} steps of 2")
            traces = list(Path(folder).rglob("*.xplane.pb"))
            check(len(traces) > 0, "the folder holds no trace")
            if steps == 1:
                traces[0].parent.rename(traces[0].parent.with_name("~earlier"))  # after any other name


@pytest.mark.structure
def test_an_error_ends_the_profile(subject: Subject) -> None:
    """An error in a step arrives, and leaves nothing running: another profile works."""
    step, calls = products(size=8, count=1), 0

    def failing() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ArithmeticError("step 3 went wrong")
        step()

    try:
        profiled(subject, failing, steps=4)
    except ArithmeticError:
        pass
    else:
        check(False, "an error in a step did not arrive")
    check(len(profiled(subject, step, steps=1).rows) > 0, "the profile after an error has no rows")
