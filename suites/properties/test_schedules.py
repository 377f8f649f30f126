"""What must be true of schedules, whoever wrote them (reference/schedules.py is the contract).

A rate does not depend on precision, so that most properties run in one. Those of training, in a file of its own, run in
all.
"""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.numerics import assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import schedules as oracle
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
    global_policy,
    provided,
    rate,
    refuses,
    schedule_of,
    taking,
    warmed,
)
from suites.properties.schedules_training_cases import EVEN, arrays_of, gradient_bound, linear_model, weights_of
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
@example(case=RESTARTS)
@given(case=cases("cosine_restarts"))
def test_restarts_begin_at_the_peak(subject: Subject, case: Case) -> None:
    """The first step of every cycle has the peak as its rate, up to rounding."""
    begin, length = 0, case.parameters["steps"]
    for _ in range(6):
        truth = case.truth(begin)
        assert_within(rate(subject, case, begin), np.array(case.parameters["peak"]), truth.bound, f"{case} at {begin}")
        begin, length = begin + length, length * case.parameters["growth"]


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


# Steps of any kind


@pytest.mark.structure
def test_every_kind_of_step_gives_the_same_rate(subject: Subject) -> None:
    """A step may be an int, a float, a NumPy number or a tensor of integers or floats: the rate is the same."""
    kinds = [7, 7.0, np.int64(7), np.int32(7), np.float32(7)]
    kinds += [ops.convert_to_tensor(np.array(7, kind)) for kind in ("int32", "float32")]
    for case in provided(subject):
        expected = rate(subject, case, 7)
        for step in kinds:
            kind = f"{type(step).__module__}.{type(step).__name__} {getattr(step, 'dtype', '')}"
            assert_equal(rate(subject, case, step), expected, f"{case} at 7 as {kind}")


@pytest.mark.structure
def test_steps_may_be_an_array(subject: Subject) -> None:
    """An array of steps gives an array of rates, in its shape."""
    steps = np.arange(24).reshape(2, 12)
    for case in provided(subject):
        truths = [case.truth(int(step)) for step in steps.ravel()]
        values, bounds = (np.reshape([getattr(t, name) for t in truths], steps.shape) for name in ("value", "bound"))
        assert_within(rate(subject, case, steps), values, bounds, f"{case} at steps 0 to 23")


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
    "one cycle that ends before its peak": ONE_CYCLE.but(steps=5),
}


@pytest.mark.structure
def test_impossible_schedules_are_refused(subject: Subject) -> None:
    """Schedules without steps, with too few rates or with boundaries out of order are answered with ValueError."""
    wanted = provided(subject, list(MISFITS.values()))
    for what, case in MISFITS.items():
        if case in wanted:
            function = taking(subject, case.function, *case.parameters)
            check(refuses(function, 7, **case.parameters), f"{what} was accepted: {case}")


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
    schedule = schedule_of(subject, COSINE)
    if subject.provides("with_warm_up"):
        schedule = subject.Schedule(subject.with_warm_up, schedule=schedule, steps=5)
    with keras.saving.custom_object_scope({type(schedule).__name__: type(schedule)}):
        again = type(schedule).from_config(schedule.get_config())
        text = json.dumps(keras.optimizers.serialize(keras.optimizers.SGD(schedule)))
        optimizer = keras.optimizers.deserialize(json.loads(text))
    for step in (0, 3, 7, 100):
        expected = to_numpy(schedule(step))
        assert_equal(again(step), expected, f"rate at step {step}, from the schedule's configuration")
        optimizer.iterations.assign(step)
        assert_equal(optimizer.learning_rate, expected, f"rate at step {step}, from the optimizer's configuration")


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
