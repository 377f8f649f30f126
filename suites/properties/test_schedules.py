"""What must be true of schedules, whoever wrote them (reference/schedules.py is the contract).

A rate does not depend on precision, so that most properties run in one. Those of training, in a file of its own, run in
all.
"""

import functools
import json
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
from suites.properties.numerics import assert_equal, assert_within, float64, gamma, to_numpy
from suites.properties.oracles import schedules as oracle
from suites.properties.refusals import refused
from suites.properties.schedules_cases import (
    COSINE,
    FAR,
    INVERSE_ROOT,
    ONE_CYCLE,
    PERIODIC,
    RESTARTS,
    STEPS,
    WARM_UP,
    Case,
    cases,
    follows,
    foreign,
    global_policy,
    nested,
    provided,
    rate,
    schedule_of,
    taking,
    warmed,
)
from suites.properties.schedules_training_cases import EVEN, arrays_of, gradient_bound, linear_model, weights_of
from suites.properties.tracing import traced
from suites.subjects import Subject

# Formulas


@pytest.mark.structure
@example(case=WARM_UP)
@given(case=cases("warm_up"))
def test_warm_up_is_a_straight_line(subject: Subject, case: Case) -> None:
    """A warm-up grows by the same amount each step, from its start to its target, up to rounding."""
    follows(subject, case)


@pytest.mark.structure
@example(case=WARM_UP)
@given(case=cases("warm_up"))
def test_warm_up_reaches_its_target(subject: Subject, case: Case) -> None:
    """After its steps a warm-up is at its target exactly, and stays there."""
    target, steps = case.parameters["rate"], case.parameters["steps"]
    for step in (steps, steps + 1, 100 * steps):
        assert_equal(rate(subject, case, step), np.array(np.float32(target), float), f"{case} at step {step}")


@pytest.mark.structure
@example(case=INVERSE_ROOT)
@given(case=cases("inverse_square_root"))
def test_inverse_root_follows_the_transformer(subject: Subject, case: Case) -> None:
    """The inverse root is d^-0.5 min(t^-0.5, t w^-1.5), and step 0 counts as the first, up to rounding."""
    follows(subject, case)


@pytest.mark.structure
@example(case=INVERSE_ROOT)
@given(case=cases("inverse_square_root"))
def test_inverse_root_peaks_after_warm_up(subject: Subject, case: Case) -> None:
    """The inverse root is greatest at the last step of the warm-up, and half of that four times as far on."""
    warm, peak = case.parameters["warm_up_steps"], case.truth(case.parameters["warm_up_steps"])
    top = rate(subject, case, warm)
    for step in (max(0, warm - 2), max(0, warm - 1), warm + 1, warm + 2):
        below = rate(subject, case, step)
        check(below <= top, f"{case} is {below} at step {step} and {top} at step {warm}")
    assert_within(2 * rate(subject, case, 4 * warm), top, 3 * peak.bound, f"{case}, twice the rate at step {4 * warm}")


@pytest.mark.structure
@example(case=COSINE)
@given(case=cases("cosine"))
def test_cosine_follows_the_formula(subject: Subject, case: Case) -> None:
    """The cosine is floor + (peak - floor) (1 + cos(pi t / T)) / 2, up to rounding."""
    follows(subject, case)


@pytest.mark.structure
@example(case=COSINE)
@given(case=cases("cosine"))
def test_cosine_ends_at_its_floor(subject: Subject, case: Case) -> None:
    """The cosine is at its floor at its last step, up to rounding, and keeps that rate bit for bit."""
    steps, floor = case.parameters["steps"], case.parameters["floor"]
    end = rate(subject, case, steps)
    assert_within(end, np.array(floor), case.truth(steps).bound, f"{case} at step {steps}")
    for step in (steps + 1, 2 * steps, 100 * steps):
        assert_equal(rate(subject, case, step), end, f"{case} at step {step}")


@pytest.mark.structure
@example(case=COSINE)
@given(case=cases("cosine"))
def test_cosine_is_symmetric(subject: Subject, case: Case) -> None:
    """What the cosine has lost after some steps is what it still has to lose as many steps before its end."""
    steps, peak, floor = (case.parameters[name] for name in ("steps", "peak", "floor"))
    for step in {0, 1, steps // 3, steps // 2}:
        both = rate(subject, case, step) + rate(subject, case, steps - step)
        bound = case.truth(step).bound + case.truth(steps - step).bound
        assert_within(both, np.array(peak + floor), bound, f"{case}, sum of steps {step} and {steps - step}")


@pytest.mark.structure
@example(case=RESTARTS.but(steps=1, growth=3))  # 121 steps to the sixth cycle: log(243) / log(3) is rounded below 5
@example(case=RESTARTS)
@given(case=cases("cosine_restarts"))
def test_restarts_follow_the_formula(subject: Subject, case: Case) -> None:
    """Each cycle is a cosine of its own, and is longer than the one before by the growth factor."""
    follows(subject, case)


@pytest.mark.structure
@example(case=PERIODIC, step=3, cycles=2)
@example(case=PERIODIC, step=FAR % 10, cycles=FAR // 10)
@given(
    case=cases("cosine_restarts").map(lambda case: case.but(growth=1)),
    step=st.integers(0, 99),
    cycles=st.sampled_from((1, 2, 7, 100)),
)
def test_restarts_are_periodic(subject: Subject, case: Case, step: int, cycles: int) -> None:
    """Without growth the rate some cycles later is the same, also past 2^24 steps, up to rounding."""
    later = step + cycles * case.parameters["steps"]
    bound = 2 * case.truth(step).bound
    assert_within(
        rate(subject, case, later), rate(subject, case, step), bound, f"{case} at step {later} against {step}"
    )


@pytest.mark.structure
@example(case=RESTARTS.but(steps=1, growth=3))  # 121 steps to the sixth cycle: log(243) / log(3) is rounded below 5
@example(case=RESTARTS.but(steps=1, growth=2))  # the last step is the first of a cycle
@example(case=RESTARTS.but(steps=2**30, growth=2))  # the third cycle would begin after the last step
@example(case=RESTARTS)
@given(case=cases("cosine_restarts"))
def test_restarts_begin_at_the_peak(subject: Subject, case: Case) -> None:
    """The first step of every cycle, down to the last that int32 counts, has the peak as its rate, up to rounding."""
    length, begins = case.parameters["steps"], [0]
    while begins[-1] + length < 2**31 and len(begins) < 40:
        begins, length = [*begins, begins[-1] + length], length * case.parameters["growth"]
    far = [begin for begin in begins if begin > FAR]  # where float32 does not count single steps
    for steps in filter(None, (begins[: len(begins) - len(far)], far)):
        bounds = np.array([case.truth(step).bound for step in steps])
        peaks = np.full(len(steps), case.parameters["peak"])
        assert_within(rate(subject, case, np.array(steps, np.int32)), peaks, bounds, f"{case} at {steps}")


@pytest.mark.structure
@example(case=STEPS)
@example(case=STEPS.but(boundaries=[9, FAR]))
@given(case=cases("step_decay"))
def test_steps_change_at_their_boundaries(subject: Subject, case: Case) -> None:
    """The next rate holds from its boundary on, and not a step earlier or later, also past 2^24 steps."""
    follows(subject, case)


@pytest.mark.structure
@example(case=ONE_CYCLE)
@given(case=cases("one_cycle"))
def test_one_cycle_follows_the_formula(subject: Subject, case: Case) -> None:
    """One cycle goes up half a cosine and down another, and stays at its end, up to rounding."""
    follows(subject, case)


@pytest.mark.structure
def test_one_cycle_turned_over_is_the_momentum(subject: Subject) -> None:
    """With the ends above the peak the cycle goes down and up: the momentum that runs counter to the rate."""
    follows(subject, ONE_CYCLE.but(start=0.95, peak=0.85, end=0.95))


@pytest.mark.structure
def test_rates_stay_between_their_ends(subject: Subject) -> None:
    """No rate is negative or above the peak, at any step."""
    for case in provided(subject):
        peak = max([np.max(case.parameters.get(name, 0.0)) for name in ("rate", "peak", "rates")])
        for step in (*case.landmarks, 10**6, FAR, 2**31 - 1):
            found, bound = float(rate(subject, case, step)), case.truth(step).bound
            check(-bound <= found <= peak + bound, f"{case} is {found} at step {step}")


# Joints


@pytest.mark.structure
@example(steps=5)
@given(steps=st.integers(1, 40))
def test_a_decay_begins_where_its_warm_up_ends(subject: Subject, steps: int) -> None:
    """After a warm-up the schedule runs in full length, as if it began there: no jump, and no step of it is lost."""
    plain, warm = warmed(subject, steps)
    for step in plain.landmarks:
        what = f"with {steps} steps of warm-up, step {step} after it"
        assert_within(
            rate(subject, warm, steps + step), np.array(plain.truth(step).value), plain.truth(step).bound, what
        )


@pytest.mark.structure
@example(steps=5, start=0.02)
@given(steps=st.integers(1, 40), start=st.sampled_from((0.0, 0.02, 0.2)))
def test_a_warm_up_leads_to_the_first_rate(subject: Subject, steps: int, start: float) -> None:
    """Before the schedule begins, the rate goes in a straight line to the first rate of the schedule."""
    plain, warm = warmed(subject, steps, start)
    for step in range(0, steps, max(1, steps // 5)):
        truth = oracle.with_warm_up(step, plain.truth, steps, start)
        what = f"warm-up of {steps} steps from {start} at step {step}"
        assert_within(rate(subject, warm, step), np.array(truth.value), truth.bound, what)


@pytest.mark.structure
def test_any_schedule_may_be_warmed_up(subject: Subject) -> None:
    """A warm-up leads to Keras's own schedules and to any function of the step, and is followed by all of it."""
    function = taking(subject, "with_warm_up", "schedule", "steps", "start")
    for what, (schedule, truth) in foreign().items():
        for step in (0, 2, 4, 5, 6, 12, 30):
            expected = oracle.with_warm_up(step, truth, 5, 0.02)
            found = function(step, schedule=schedule, steps=5, start=0.02)
            assert_within(found, np.array(expected.value), expected.bound, f"{what} after 5 steps, at step {step}")


@pytest.mark.structure
def test_updates_are_counted_whole(subject: Subject) -> None:
    """Shown micro-batches, any schedule has the rate of the updates that are complete, be the step a float or not."""
    function = taking(subject, "per_update", "schedule", "micro_batches")
    for what, (schedule, truth) in foreign().items():
        for micro_batches in (1, 3):
            expected = [truth(step // micro_batches) for step in range(8)]
            values, bounds = (np.array([getattr(each, name) for each in expected]) for name in ("value", "bound"))
            for dtype in ("int32", "uint8", "float32"):
                found = function(np.arange(8, dtype=dtype), schedule=schedule, micro_batches=micro_batches)
                assert_within(found, values, bounds, f"{what} by {micro_batches} at {dtype} steps 0 to 7")


@pytest.mark.structure
def test_rates_left_out_are_zero(subject: Subject) -> None:
    """Without a start a warm-up begins at 0, without a floor a cosine ends there; without growth cycles are equal."""
    for case, left_out in (
        (WARM_UP.but(start=0.0), ("start",)),
        (COSINE.but(floor=0.0), ("floor",)),
        (PERIODIC, ("floor", "growth")),
    ):
        if subject.provides(case.function):
            function = taking(subject, case.function, *case.parameters)
            named = {name: value for name, value in case.parameters.items() if name not in left_out}
            for step in (0, 3, 10, 25):
                found = to_numpy(_with_defaults(function, step, named))
                assert_equal(found, rate(subject, case, step), f"{case} at step {step}, without {left_out}")
    if subject.provides("with_warm_up"):
        schedule = schedule_of(subject, COSINE)
        found, expected = (subject.with_warm_up(2, schedule=schedule, steps=5, **each) for each in ({}, {"start": 0.0}))
        assert_equal(found, to_numpy(expected), "a warm-up to a cosine at step 2, without a start")


def _with_defaults(function: Any, step: int, parameters: dict[str, Any]) -> Any:
    """A rate, if the other parameters have defaults."""
    try:
        return function(step, **parameters)
    except TypeError as error:
        raise NotProvided(str(error)) from None


# Steps of any kind

KINDS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "float32", "float16")


@pytest.mark.structure
def test_every_kind_of_step_gives_the_same_rate(subject: Subject) -> None:
    """A step may be an int, a float, a NumPy number or a tensor of integers or floats: the rate is the same."""
    for step in (2, 7):  # in the warm-ups, and after them
        kinds = [float(step), *(getattr(np, kind)(step) for kind in KINDS)]
        kinds += [ops.convert_to_tensor(np.array(step, kind)) for kind in ("int32", "float32", "uint8", "int8")]
        for case in (*provided(subject), *nested(subject)):
            expected = rate(subject, case, step)
            for each in kinds:
                kind = f"{type(each).__module__}.{type(each).__name__} {getattr(each, 'dtype', '')}"
                assert_equal(rate(subject, case, each), expected, f"{case} at {step} as {kind}")


@pytest.mark.structure
def test_steps_may_be_an_array(subject: Subject) -> None:
    """An array of steps gives an array of rates, in its shape."""
    steps = np.arange(24).reshape(2, 12)
    for case in provided(subject):
        truths = [case.truth(int(step)) for step in steps.ravel()]
        values, bounds = (np.reshape([getattr(t, name) for t in truths], steps.shape) for name in ("value", "bound"))
        assert_within(rate(subject, case, steps), values, bounds, f"{case} at steps 0 to 23")


@pytest.mark.structure
def test_compiled_rates_are_the_rates(subject: Subject) -> None:
    """Compiled for arrays of steps whose size the trace does not know, schedules give the rates of each step."""
    for case in provided(subject):
        function = taking(subject, case.function, *case.parameters)
        compiled = traced(functools.partial(function, **case.parameters), unknown=(0,))
        for steps in ([0, 7, 3000], [5, 9]):
            found = compiled(ops.convert_to_tensor(np.array(steps, np.int32)))
            truths = [case.truth(step) for step in steps]
            values, bounds = (np.array([getattr(truth, name) for truth in truths]) for name in ("value", "bound"))
            assert_within(found, values, bounds, f"{case} compiled, at {steps}")


@pytest.mark.structure
def test_steps_in_float64_have_rates_in_float64(subject: Subject) -> None:
    """The rate of a float64 step is computed in float64."""
    for case in provided(subject):
        for step in (2, 7):
            with float64():
                found = to_numpy(ops.convert_to_tensor(_rate64(subject, case, step)))
            truth = case.truth(step)
            # The oracle's bounds are multiples of float32's roundoff, and it errs itself as float64 does.
            bound = truth.bound * 2.0**-28
            assert_within(found, np.array(truth.value), bound, f"{case} at step {step} in float64")


def _rate64(subject: Subject, case: Case, step: int) -> Any:
    function = taking(subject, case.function, *case.parameters)
    found = function(ops.convert_to_tensor(step, "float64"), **case.parameters)
    dtype = keras.backend.standardize_dtype(found.dtype) if hasattr(found, "dtype") else "float64"
    check(dtype == "float64", f"{case} at a float64 step is {dtype}")
    return found


def test_rates_are_float32_under_any_policy(subject: Subject) -> None:
    """Under every dtype policy a rate is float32, also at steps that half precision cannot tell apart."""
    case = COSINE.but(steps=3 * 10**6)
    for step in (2049, 10**6):
        truth, function = case.truth(step), taking(subject, "cosine", *case.parameters)
        with global_policy(subject.precision):
            found = function(step, **case.parameters)
        dtype = keras.backend.standardize_dtype(found.dtype) if hasattr(found, "dtype") else type(found).__name__
        check(dtype in ("float32", "float64", "float"), f"the rate is {dtype}")
        assert_within(found, np.array(truth.value), truth.bound, f"{case} at step {step}")


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """Arrays of steps and lists of rates are not changed."""
    for case in provided(subject):
        steps, parameters = np.arange(5), dict(case.parameters)
        before = json.dumps(parameters)
        rate(subject, case, steps)
        check(steps.tolist() == [0, 1, 2, 3, 4], f"{case} changed the array of steps to {steps.tolist()}")
        check(json.dumps(parameters) == before, f"{case} changed its parameters to {parameters}")


MISFITS = {
    "a warm-up of no steps": WARM_UP.but(steps=0),
    "an inverse root of no warm-up steps": INVERSE_ROOT.but(warm_up_steps=0),
    "a cosine of no steps": COSINE.but(steps=0),
    "cycles of no steps": PERIODIC.but(steps=0),
    "a rate too few": STEPS.but(rates=[0.1, 0.01]),
    "falling boundaries": STEPS.but(boundaries=[9, 4]),
    "equal boundaries": STEPS.but(boundaries=[4, 4]),
    "a boundary at the first step": STEPS.but(boundaries=[0, 9]),
    "cycles that do not grow": PERIODIC.but(growth=0),
    "one cycle that ends before its peak": ONE_CYCLE.but(steps=5),
    "one cycle that ends at its peak": ONE_CYCLE.but(steps=6),
    "one cycle of no warm-up steps": ONE_CYCLE.but(warm_up_steps=0),
    "a cosine of half a step": COSINE.but(steps=0.5),
}

USUAL = {
    "a warm-up of no steps",
    "an inverse root of no warm-up steps",
    "one cycle of no warm-up steps",
    "a boundary at the first step",
    "equal boundaries",
}
"""What libraries take on purpose: no steps is how many say that there is no warm-up, or no stage."""


@pytest.mark.structure
def test_impossible_schedules_are_refused(subject: Subject) -> None:
    """Schedules without steps, with too few rates or with boundaries out of order are answered with ValueError."""
    wanted = provided(subject, list(MISFITS.values()))
    for what, case in MISFITS.items():
        if case in wanted:
            function = taking(subject, case.function, *case.parameters)
            refused(f"{what}, {case},", functools.partial(function, 7, **case.parameters), usual=what in USUAL)
    for case in nested(subject):
        number = "steps" if "steps" in case.parameters else "micro_batches"
        function, parameters = getattr(subject, case.function), {**case.parameters, number: 0}
        refused(f"{case.function} with {number}=0", functools.partial(function, 7, **parameters))


@pytest.mark.structure
def test_a_schedule_is_refused_where_it_is_made(subject: Subject) -> None:
    """A schedule refuses impossible parameters with ValueError, and unknown ones with TypeError, at once."""
    schedule, cosine = subject.Schedule, subject.cosine
    refused("a schedule of no steps", functools.partial(schedule, cosine, peak=0.1, steps=0))
    try:
        schedule(cosine, peak=0.1, steps=10, floors=0.01)
    except TypeError:
        return
    check(False, "a schedule was made with a parameter that its function does not take")


# Schedules as citizens of Keras


def test_an_optimizer_follows_the_schedule(subject: Subject) -> None:
    """Three steps of `fit` with plain SGD leave the weights where three steps by hand do."""
    model = linear_model(subject.precision, keras.optimizers.SGD(schedule_of(subject, COSINE)), eagerly=False)
    x, y = arrays_of(EVEN)
    model.fit(x, y, batch_size=len(x), epochs=3, shuffle=False, verbose=0)
    rates = [COSINE.truth(step) for step in range(3)]
    gradient, error = EVEN.x.mean(0), gradient_bound(EVEN, subject)
    expected = 1 - sum(each.value for each in rates) * gradient
    bound = sum(each.value * error + each.bound * np.abs(gradient) for each in rates) + gamma(9, "float32") * 2
    assert_within(weights_of(model), expected, bound, "weights after three steps")


def test_a_config_makes_the_same_schedule(subject: Subject) -> None:
    """A schedule made anew from its configuration, or with its optimizer from JSON, gives the same rates."""
    for case in (*provided(subject), *nested(subject)):
        _config_makes_the_same(case, schedule_of(subject, case))


def _config_makes_the_same(case: Case, schedule: Any) -> None:
    with keras.saving.custom_object_scope({type(schedule).__name__: type(schedule)}):
        again = type(schedule).from_config(schedule.get_config())
        text = json.dumps(keras.optimizers.serialize(keras.optimizers.SGD(schedule)))
        optimizer = keras.optimizers.deserialize(json.loads(text))
    for step in (0, 3, 7, 100):
        expected = to_numpy(schedule(step))
        assert_equal(again(step), expected, f"{case} at step {step}, from the schedule's configuration")
        optimizer.iterations.assign(step)
        assert_equal(optimizer.learning_rate, expected, f"{case} at step {step}, from the optimizer's configuration")


def test_training_resumes_where_it_stopped(subject: Subject) -> None:
    """Training that is saved and loaded half-way ends with the same weights, bit for bit, as without a pause."""
    schedule = schedule_of(subject, COSINE)
    x, y = arrays_of(EVEN)

    def train(model: keras.Model, steps: int) -> keras.Model:
        for _ in range(steps):
            model.train_on_batch(x, y)
        return model

    def fresh() -> keras.Model:
        return linear_model(subject.precision, keras.optimizers.SGD(schedule, momentum=0.5), "mse")

    expected = weights_of(train(fresh(), 4))
    with tempfile.TemporaryDirectory() as folder:
        train(fresh(), 2).save(Path(folder) / "model.keras")
        own = {type(schedule).__name__: type(schedule)}
        resumed = keras.saving.load_model(Path(folder) / "model.keras", custom_objects=own)
    check(int(resumed.optimizer.iterations) == 2, f"the step after loading is {int(resumed.optimizer.iterations)}")
    assert_equal(weights_of(train(resumed, 2)), expected, "weights after two steps, a pause, and two more")
