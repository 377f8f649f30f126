"""What must be true of curriculum learning, whoever wrote it (reference/curriculum.py is the contract).

Scores, pacing, order, plan and, in a file of its own, the three kinds of batches are asked for apart, so that a module
with only some of them is tested as far as it goes.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check, require, takes
from suites.properties.curriculum_cases import (
    FINE,
    LABELS,
    LOSSES,
    PLAN,
    POOLS,
    SEEDS,
    TEN,
    WRONG_LABELS,
    WRONG_ORDERS,
    WRONG_PACES,
    WRONG_THRESHOLDS,
    Pace,
    Teacher,
    check_permutation,
    check_uniform,
    count,
    distance,
    drawn_from,
    hundredths,
    paces,
    pacings,
    quiet,
    scored,
    scores,
)
from suites.properties.numerics import assert_equal, float64, gamma
from suites.properties.oracles import curriculum as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

# Pacing

HALF = Pace(total_steps=10, size=100, start=0.2, full=0.5)


@pytest.mark.structure
@example(pace=HALF)
@given(pace=paces())
def test_pacing_follows_the_formula(subject: Subject, pace: Pace) -> None:
    """Until all are visible, g(t) is N times the published fraction, rounded down, and at least 1."""
    for pacing, step in itertools.product(pacings(subject), range(pace.first_full)):
        low, high = pace.counts(pacing, step)
        found = max(1, count(subject, pacing, step, pace))  # that it is not 0 is a property of its own
        check(low <= found <= high, f"{pacing}: g({step}) = {found}, expected {low} to {high}, for {pace}")


@pytest.mark.structure
@example(pace=Pace(10, 100, start=0.29, full=1.0))
@example(pace=Pace(10, 4, start=0.2, full=1.0))
@given(pace=paces())
def test_pacing_begins_with_its_share(subject: Subject, pace: Pace) -> None:
    """g(0) = max(1, floor(b N)) exactly, with b as it is written: 0.29 of 100 examples is 29."""
    expected = oracle.clamped(math.floor(oracle.written(pace.start) * pace.size), pace.size)
    for pacing in pacings(subject):
        found = count(subject, pacing, 0, pace)
        check(found == expected, f"{pacing}: g(0) = {found}, expected {expected}, for {pace}")


@pytest.mark.structure
@example(pace=Pace(100, 60, start=0.1, full=0.55))
@example(pace=HALF)
@given(pace=paces())
def test_pacing_is_full_on_time(subject: Subject, pace: Pace) -> None:
    """From the first step t >= a T on, and after the last step T, g(t) = N."""
    for pacing, later in itertools.product(pacings(subject), (0, 1, pace.total_steps, 10 * pace.total_steps)):
        step = pace.first_full + later
        found = count(subject, pacing, step, pace)
        check(found == pace.size, f"{pacing}: g({step}) = {found}, expected all {pace.size}, for {pace}")


@pytest.mark.structure
@example(pace=Pace(10, 5, start=0.1, full=0.5))
@given(pace=paces())
def test_pacing_counts_examples(subject: Subject, pace: Pace) -> None:
    """g(t) is a whole number from 1 to N: never empty, never more than there are."""
    for pacing, step in itertools.product(pacings(subject), range(pace.total_steps + 3)):
        found = count(subject, pacing, step, pace)
        whole = isinstance(found, int | np.integer) and not isinstance(found, bool)
        check(whole and 1 <= found <= pace.size, f"{pacing}: g({step}) = {found!r}, for {pace}")


@pytest.mark.structure
@example(pace=HALF)
@example(pace=Pace(24, 100, start=0.2, full=0.01))
@given(pace=paces())
def test_pacing_never_shrinks(subject: Subject, pace: Pace) -> None:
    """What is visible stays visible: g(t + 1) >= g(t)."""
    for pacing in pacings(subject):
        counts = [count(subject, pacing, step, pace) for step in range(pace.total_steps + 3)]
        check(counts == sorted(counts), f"{pacing}: g shrinks: {counts}, for {pace}")


@pytest.mark.structure
@example(pace=Pace(20, 200, start=0.1, full=1.0))
@given(pace=paces())
def test_pacing_families_are_ordered(subject: Subject, pace: Pace) -> None:
    """Until all are visible, exponential <= quadratic <= linear <= root <= logarithmic."""
    rising = [pacing for pacing in oracle.RISING if pacing in pacings(subject)]
    for step in range(pace.first_full):
        counts = {pacing: count(subject, pacing, step, pace) for pacing in rising}
        check(list(counts.values()) == sorted(counts.values()), f"at step {step}: {counts}, for {pace}")


@pytest.mark.structure
def test_wrong_paces_are_refused(subject: Subject) -> None:
    """A pacing function answers arguments out of range with ValueError."""
    right = {"pacing": "linear", "step": 1, "total_steps": 10, "size": 10, "start": 0.2, "full": 0.8}
    for what, change in WRONG_PACES.items():
        refused(what, lambda arguments: subject.visible_count(**arguments), {**right, **change})


# Order


@pytest.mark.structure
@example(values=np.array(TEN))
@example(values=np.array([1 + 1e-9, 1.0]))
@example(values=np.array([2**53 + 1, 2**53]))
@given(values=drawn_from(POOLS))
def test_curriculum_goes_from_easy_to_hard(subject: Subject, values: np.ndarray) -> None:
    """The order is that of the scores as given, from low to high; equal ones stay in the order of their indices."""
    what, expected = f"{values.dtype} scores {values.tolist()}", oracle.easy_to_hard(values.tolist())
    found = check_permutation(subject.order(values, "curriculum"), len(values), f"order of {what}")
    check(found == expected, f"order {found}, expected {expected}, for {what}")


@pytest.mark.structure
@example(values=np.array(TEN))
@example(values=np.array([1.0, 1 + 1e-9]))
@example(values=np.array([0, 1, 2], np.uint8))
@example(values=np.array([-128, 127], np.int8))
@given(values=drawn_from(POOLS))
def test_anti_is_the_curriculum_of_negated_scores(subject: Subject, values: np.ndarray) -> None:
    """The hardest first is the easiest first by negated scores, also where scores are equal or unsigned integers."""
    what, expected = (
        f"{values.dtype} scores {values.tolist()}",
        oracle.easy_to_hard([-each for each in values.tolist()]),
    )
    found = check_permutation(subject.order(values, "anti"), len(values), f"anti order of {what}")
    check(found == expected, f"anti order {found}, expected {expected}, for {what}")


@pytest.mark.structure
@example(values=TEN)
@given(values=scores())
def test_only_the_ranks_of_scores_count(subject: Subject, values: tuple[float, ...]) -> None:
    """A strictly increasing transform of the scores leaves every order as it was."""
    stretched = np.sign(values) * np.expm1(np.abs(values)) * 1e6 - 3.0
    for kind in ("curriculum", "anti", "random"):
        before, after = (list(subject.order(each, kind, seed=1)) for each in (np.array(values), stretched))
        check(before == after, f"{kind}: {before} for {values}, but {after} for {stretched.tolist()}")


@pytest.mark.structure
def test_random_order_is_seeded(subject: Subject) -> None:
    """A random order is a permutation that its seed and the number of scores decide, and not the scores."""
    rising, falling = np.arange(64.0), -np.arange(64.0)
    first = check_permutation(subject.order(rising, "random", seed=3), 64, "random order")
    check(first == list(subject.order(rising, "random", seed=3)), "the same seed gives two orders")
    check(first == list(subject.order(falling, "random", seed=3)), "the random order depends on the scores")
    check(first != list(subject.order(rising, "random", seed=4)), "two seeds give the same order")
    check(first != sorted(first), "the random order is none")
    seen = [tuple(subject.order(rising, "random", seed=seed)) for seed in SEEDS]
    check(len(set(seen)) == len(SEEDS), f"of the seeds {SEEDS} some give the same order")
    check_uniform([tuple(subject.order(rising[:4], "random", seed=seed)) for seed in range(960)], "random orders")


@pytest.mark.structure
@example(values=TEN, classes=np.array([*"aaaaabbbbc"]))
@example(values=TEN[:4], classes=np.array([0.2, 0.2, 0.7, 0.7]))
@given(values=scores(12), classes=drawn_from(LABELS, 12))
def test_classes_take_turns(subject: Subject, values: tuple[float, ...], classes: np.ndarray) -> None:
    """With labels of any dtype, in each prefix of each order classes differ by at most one, unless one is used up."""
    require(subject.order, "labels", "order")
    labels = classes.tolist()
    for kind in ("curriculum", "anti", "random"):
        balanced = subject.order(np.array(values), kind, seed=2, labels=classes)
        found = check_permutation(balanced, len(values), f"{kind} order")
        turns = [labels[index] for index in found]
        for size in range(1, len(turns)):
            counts = {label: turns[:size].count(label) for label in set(labels)}
            most = max(counts.values())
            behind = [each for each, seen in counts.items() if seen < most - 1 and seen < labels.count(each)]
            check(not behind, f"{kind}: {behind} are left behind in the first {size} of {turns}")
        unbalanced = [int(index) for index in subject.order(np.array(values), kind, seed=2)]
        for label in set(labels):
            within = [[index for index in each if labels[index] == label] for each in (found, unbalanced)]
            check(within[0] == within[1], f"{kind}: class {label} goes {within[0]}, without balance {within[1]}")


@pytest.mark.structure
def test_wrong_scores_are_refused(subject: Subject) -> None:
    """An order answers NaN, no score, other shapes of scores or labels, and an unknown kind with ValueError."""
    for what, (values, kind) in WRONG_ORDERS.items():
        refused(what, lambda values, kind: subject.order(np.array(values), kind), values, kind)
    for what, labels in WRONG_LABELS.items() if takes(subject.order, "labels") else ():
        refused(what, lambda labels: subject.order(np.array([1.0, 2.0]), labels=np.array(labels)), labels)


# Scores


def test_teacher_losses_are_the_losses(subject: Subject) -> None:
    """A teacher's score is the mean loss of the example at inference, in float32 whatever the precision is."""
    for (what, loss), size, batch_size in itertools.product(LOSSES.items(), (1, 10), (3, 10)):
        expected = np.array([(1 - index * FINE + 1) / 2 for index in range(size)])
        found = scored(subject, size, loss, batch_size=batch_size)[1]
        assert_equal(found, expected, f"scores by a teacher in {subject.compute_dtype}, with {what}")


@pytest.mark.structure
def test_a_teacher_in_float64_scores_in_float64(subject: Subject) -> None:
    """What a teacher puts out in float64 reaches the loss in float64: close losses are told apart."""
    with float64():
        _, found = scored(subject, 4, lambda _, outputs: outputs[:, 0] * 2.0**-20 + 1, "float64", batch_size=2)
    expected = np.array([1 + index * FINE * 2.0**-20 for index in range(4)])
    assert_equal(found, expected, "scores by a teacher in float64")


@pytest.mark.structure
def test_teacher_sees_each_example_once(subject: Subject) -> None:
    """Scores cost one pass: the teacher sees every example once, in batches of at most the size asked for."""
    for size, batch_size in ((10, 4), (10, 5), (3, 4), (1, 1)):
        seen = scored(subject, size, batch_size=batch_size)[0].seen
        rows = [row for batch in seen for row in batch]
        check(rows == [*range(size)], f"batches {seen}, expected the rows 0 to {size - 1} once")
        check(max(map(len, seen)) <= batch_size, f"batches {seen}, expected {batch_size} rows at most")


@pytest.mark.structure
def test_losses_must_be_per_example(subject: Subject) -> None:
    """A loss that is averaged over the batch, or targets of another length, are answered with ValueError."""
    score, teacher = subject.teacher_losses, Teacher("float32")
    inputs, targets = PLAN.rows()[0], np.ones((10, 2), np.int32)
    with quiet():
        refused("a scalar loss", score, teacher, inputs, targets, lambda y, outputs: ops.mean(distance(y, outputs)))
        refused("targets of another length", score, teacher, inputs, targets[1:], distance)


@pytest.mark.structure
@example(losses=[0.5, 1.0, 2.0], threshold=1.0)
@example(losses=[2.0, 3.0], threshold=1.0)
@example(losses=[1.0, 1.0 + 2.0**-40, 0.5], threshold=1.0 + 2.0**-41)
@given(losses=st.lists(st.sampled_from((0.0, 0.25, 1.0, 1.5, 4.0)), min_size=1, max_size=6), threshold=hundredths)
def test_self_paced_weights_are_optimal(subject: Subject, losses: list[float], threshold: float) -> None:
    """The weights minimise sum v (loss - threshold) over 0 and 1, but the easiest always has weight 1."""
    expected = np.array(oracle.self_paced_weights(losses, threshold), np.float64)
    found = subject.self_paced_weights(np.array(losses), threshold)
    assert_equal(found, expected, f"weights of losses {losses} under {threshold}")
    check(np.asarray(found).dtype == np.float32, f"the weights are {np.asarray(found).dtype}, expected float32")


@pytest.mark.structure
def test_wrong_losses_and_thresholds_are_refused(subject: Subject) -> None:
    """Weights answer losses that are NaN or no vector, and thresholds what is out of range with ValueError."""
    for what, losses in {"NaN": [1.0, math.nan], "no loss": [], "losses of rank 2": [[1.0, 2.0]]}.items():
        refused(what, subject.self_paced_weights, np.array(losses), 1.0)
    for what, arguments in WRONG_THRESHOLDS.items():
        refused(what, subject.self_paced_threshold, *arguments)


@pytest.mark.structure
def test_self_paced_weights_end_with_all(subject: Subject) -> None:
    """The threshold grows by its factor each round, so that weights never fall and all are 1 in the end."""
    losses = np.array([0.1, 1.0, 10.0, 1000.0])
    thresholds = [subject.self_paced_threshold(number, 0.5, 2.0) for number in range(12)]
    for number, threshold in enumerate(thresholds):
        exact = 0.5 * 2.0**number
        # By repeated multiplication n + 1 roundings; by exp(n ln 2) four, with n ln 2 < 8 times the argument's error.
        bound = exact * gamma(32, "float64")
        check(abs(threshold - exact) <= bound, f"threshold of round {number} is {threshold}, expected {exact}")
    weights = np.array([subject.self_paced_weights(losses, threshold) for threshold in thresholds])
    check((np.diff(weights, axis=0) >= 0).all(), f"weights fall: {weights.tolist()}")
    check(weights[0].sum() == 1 and weights[-1].sum() == 4, f"weights by round: {weights.tolist()}")
    for number in (10**4, 10**9):
        check(subject.self_paced_threshold(number, 0.5) > 1e300, f"the threshold of round {number} is small")
