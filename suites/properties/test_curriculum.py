"""What must be true of curriculum learning, whoever wrote it (reference/curriculum.py is the contract).

Scores, pacing, order, plan and, in a file of its own, the three kinds of batches are asked for apart, so that a module
with only some of them is tested as far as it goes.
"""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.checks import check, takes
from suites.properties.curriculum_cases import (
    FINE,
    PLAN,
    TEN,
    WRONG_ORDERS,
    WRONG_PACES,
    WRONG_PLANS,
    Pace,
    Plan,
    Teacher,
    check_permutation,
    count,
    distance,
    draw,
    draws,
    hundredths,
    paces,
    pacings,
    plan_of,
    plans,
    quiet,
    refused,
    scored,
    scores,
)
from suites.properties.numerics import assert_equal, gamma
from suites.properties.oracles import curriculum as oracle
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
@example(values=TEN)
@given(values=scores())
def test_curriculum_goes_from_easy_to_hard(subject: Subject, values: tuple[float, ...]) -> None:
    """The order is that of the scores from low to high; equal scores stay in the order of their indices."""
    found = check_permutation(subject.order(np.array(values), "curriculum"), len(values), f"order of {values}")
    check(found == oracle.easy_to_hard(values), f"order {found}, expected {oracle.easy_to_hard(values)}, for {values}")


@pytest.mark.structure
@example(values=TEN)
@given(values=scores())
def test_anti_is_the_curriculum_of_negated_scores(subject: Subject, values: tuple[float, ...]) -> None:
    """The hardest first is the easiest first by negated scores, also where scores are equal or unsigned integers."""
    expected = oracle.easy_to_hard([-value for value in values])
    ranks = np.searchsorted(np.unique(values), values).astype(np.uint8)
    for given_scores in (np.array(values), ranks):
        found = check_permutation(subject.order(given_scores, "anti"), len(values), f"anti order of {given_scores}")
        check(found == expected, f"anti order {found}, expected {expected}, for {given_scores.tolist()}")


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


@pytest.mark.structure
@example(values=TEN, labels=tuple("aaaaabbbbc"))
@given(values=scores(12), labels=st.lists(st.sampled_from("abc"), min_size=12, max_size=12).map(tuple))
def test_classes_take_turns(subject: Subject, values: tuple[float, ...], labels: tuple[str, ...]) -> None:
    """With labels, in each prefix of each order classes differ by at most one, unless one is used up."""
    if not takes(subject.order, "labels"):
        raise NotProvided("order takes no `labels`")
    for kind in ("curriculum", "anti", "random"):
        balanced = subject.order(np.array(values), kind, seed=2, labels=np.array(labels))
        found = check_permutation(balanced, len(values), f"{kind} order")
        turns = [labels[index] for index in found]
        for size in range(1, len(turns)):
            counts = {label: turns[:size].count(label) for label in set(labels)}
            most = max(counts.values())
            behind = [each for each, seen in counts.items() if seen < most - 1 and seen < labels.count(each)]
            check(not behind, f"{kind}: {behind} are left behind in the first {size} of {''.join(turns)}")
        unbalanced = [int(index) for index in subject.order(np.array(values), kind, seed=2)]
        for label in set(labels):
            within = [[index for index in each if labels[index] == label] for each in (found, unbalanced)]
            check(within[0] == within[1], f"{kind}: class {label} goes {within[0]}, without balance {within[1]}")


@pytest.mark.structure
def test_wrong_scores_are_refused(subject: Subject) -> None:
    """An order answers NaN, no score, scores of rank 2 and an unknown kind with ValueError."""
    for what, (values, kind) in WRONG_ORDERS.items():
        refused(what, lambda values, kind: subject.order(np.array(values), kind), values, kind)


# Scores


def test_teacher_losses_are_the_losses(subject: Subject) -> None:
    """A teacher's score is the mean loss of the example at inference, in float32 whatever the precision is."""
    expected = np.array([(1 - index * FINE + 1) / 2 for index in range(10)])
    assert_equal(scored(subject)[1], expected, f"scores by a teacher in {subject.compute_dtype}")


@pytest.mark.structure
def test_teacher_sees_each_example_once(subject: Subject) -> None:
    """Scores cost one pass: the teacher sees every example once, in batches of at most the size asked for."""
    seen = scored(subject)[0].seen
    check([row for batch in seen for row in batch] == [*range(10)], f"batches {seen}, expected the rows 0 to 9 once")
    check(max(map(len, seen)) <= 4, f"batches {seen}, expected 4 rows at most")


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
@given(losses=st.lists(st.sampled_from((0.0, 0.25, 1.0, 1.5, 4.0)), min_size=1, max_size=6), threshold=hundredths)
def test_self_paced_weights_are_optimal(subject: Subject, losses: list[float], threshold: float) -> None:
    """The weights minimise sum v (loss - threshold) over 0 and 1, but the easiest always has weight 1."""
    expected = np.array(oracle.self_paced_weights(losses, threshold), np.float64)
    found = subject.self_paced_weights(np.array(losses), threshold)
    assert_equal(found, expected, f"weights of losses {losses} under {threshold}")


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


# The plan


@pytest.mark.structure
@example(plan=Plan(TEN, start=0.1))
@given(plan=plans())
def test_visible_are_the_easiest(subject: Subject, plan: Plan) -> None:
    """What is visible at a step are the g(t) easiest, among them all that were visible before."""
    curriculum, before = plan_of(subject, plan), 0
    for step in range(plan.total_steps + 2):
        seen = [int(index) for index in curriculum.visible(step)]
        check(seen == plan.order[: len(seen)], f"visible at step {step}: {seen}, of the order {plan.order}")
        check(before <= len(seen) <= plan.most_visible(step), f"{len(seen)} visible at step {step}, {before} before")
        before = len(seen)
    check(before == len(plan.scores), f"{before} of {len(plan.scores)} visible in the end")


@pytest.mark.structure
@example(plan=Plan(TEN, start=0.0, batch_size=4))
@example(plan=Plan(TEN, start=0.1, batch_size=4))
@given(plan=plans())
def test_only_the_visible_are_drawn(subject: Subject, plan: Plan) -> None:
    """Each step draws B examples, and none that is not among the g(t) easiest."""
    for step, indices in enumerate(draws(plan_of(subject, plan), plan.total_steps)):
        check(len(indices) == plan.batch_size, f"step {step} draws {indices}, expected {plan.batch_size}")
        allowed = plan.order[: plan.most_visible(step)]
        check(set(indices) <= set(allowed), f"step {step} draws {indices}, visible are {allowed}")


@pytest.mark.structure
@example(plan=Plan(TEN, batch_size=3, start=0.2))
@example(plan=Plan(TEN, batch_size=4, start=1.0))
@given(plan=plans())
def test_passes_miss_nothing(subject: Subject, plan: Plan) -> None:
    """While g(t) stays the same, each pass over the visible draws every one once: no tail is lost."""
    plan = Plan(plan.scores, 40, plan.batch_size, "step", plan.start, 1.0, plan.seed)
    visible = plan.order[: plan.most_visible(0)]
    drawn = [index for step in draws(plan_of(subject, plan), plan.total_steps) for index in step]
    for begin in range(0, len(drawn) - len(visible) + 1, len(visible)):
        found = drawn[begin : begin + len(visible)]
        check(sorted(found) == sorted(visible), f"draws {begin} and on: {found}, expected each of {visible}")


@pytest.mark.structure
@example(plan=Plan(TEN, total_steps=3))
@given(plan=plans())
def test_everything_is_drawn_in_the_end(subject: Subject, plan: Plan) -> None:
    """Once all are visible, all are drawn within the next two passes; a plan goes on after its last step."""
    begin = oracle.first_full_step(plan.total_steps, plan.full)
    steps = range(begin, begin + math.ceil(2 * len(plan.scores) / plan.batch_size))
    curriculum = plan_of(subject, plan)
    drawn = set(itertools.chain.from_iterable(draw(curriculum, step) for step in steps))
    check(drawn == set(range(len(plan.scores))), f"steps {steps} draw only {sorted(drawn)}")


@pytest.mark.structure
@example(plan=PLAN)
@given(plan=plans())
def test_start_of_one_is_vanilla(subject: Subject, plan: Plan) -> None:
    """With b = 1 the order and the pacing do not matter: the same seed draws the same examples."""
    plan = Plan(plan.scores, plan.total_steps, plan.batch_size, plan.pacing, 1.0, plan.full, plan.seed)
    other = Plan(plan.scores, plan.total_steps, plan.batch_size, "root", 1.0, 0.5, plan.seed)
    here = draws(plan_of(subject, plan), plan.total_steps)
    there = draws(plan_of(subject, other, order=plan.order[::-1]), plan.total_steps)
    check(here == there, f"{here} in one order, {there} in reverse")


@pytest.mark.structure
def test_shuffles_are_seeded(subject: Subject) -> None:
    """A seed decides every shuffle; other seeds, and the passes of one plan, have other orders."""
    plan = Plan(tuple(range(32)), batch_size=32, start=1.0, seed=1)
    first = draws(plan_of(subject, plan), 3)
    np.random.default_rng().random()
    check(first == draws(plan_of(subject, plan), 3), "the same seed draws two things")
    other = draws(plan_of(subject, Plan(plan.scores, batch_size=32, start=1.0, seed=2)), 3)
    passes = [tuple(indices) for indices in (*first, *other, sorted(first[0]))]
    check(len(set(passes)) == 7, "passes or seeds share an order, or none is shuffled")


@pytest.mark.structure
@example(plan=PLAN)
@given(plan=plans())
def test_a_step_depends_on_nothing_before(subject: Subject, plan: Plan) -> None:
    """What a step draws is a function of the step: forwards, backwards, twice, and by a copy of the plan."""
    curriculum = plan_of(subject, plan)
    forwards = draws(curriculum, plan.total_steps)
    backwards = [draw(curriculum, step) for step in reversed(range(plan.total_steps))][::-1]
    fresh = [draw(plan_of(subject, plan), step) for step in range(plan.total_steps)]
    check(forwards == backwards, f"forwards {forwards}, then backwards {backwards}")
    check(forwards == fresh, f"{forwards}, each by a new plan {fresh}")


@pytest.mark.structure
def test_plan_is_frozen(subject: Subject) -> None:
    """Neither the order it was given nor the indices it gives out are shared with a plan."""
    plan = PLAN
    order = np.array(plan.order)
    curriculum = subject.Curriculum(order, **plan.arguments)
    before = draws(curriculum, plan.total_steps)
    order[:] = order[::-1].copy()
    check(draws(curriculum, plan.total_steps) == before, "changing the order afterwards changes the plan")
    np.asarray(curriculum.indices(0))[:] = 0
    check(draws(curriculum, plan.total_steps) == before, "overwriting the indices of a step changes the plan")


@pytest.mark.structure
def test_plan_survives_copies(subject: Subject) -> None:
    """A pickled plan, as a worker or a checkpoint needs it, draws the same examples; so does a deep copy."""
    curriculum = plan_of(subject, PLAN)
    before = draws(curriculum, 12)
    try:
        copies = [pickle.loads(pickle.dumps(curriculum)), copy.deepcopy(curriculum)]
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise AssertionError(f"the plan cannot be pickled: {error}") from None
    check(all(draws(each, 12) == before for each in copies), "a copy draws other examples")


@pytest.mark.structure
def test_wrong_plans_are_refused(subject: Subject) -> None:
    """A plan answers an order that is no permutation, and arguments out of range, with ValueError at once."""
    for what, change in WRONG_PLANS.items():
        arguments = {"order": np.array([2, 0, 1]), **PLAN.arguments, **change}
        refused(what, lambda arguments: subject.Curriculum(**arguments), arguments)
    refused("a negative step", plan_of(subject, PLAN).indices, -1)


@pytest.mark.structure
@example(values=TEN)
@given(values=scores())
def test_arms_have_equal_budgets(subject: Subject, values: tuple[float, ...]) -> None:
    """Vanilla, curriculum, anti and random have the same steps and batch size, and differ as their names say."""
    plan = Plan(values, seed=5)
    arms = subject.arms(np.array(values), **plan.arguments)
    check(set(arms) == {"vanilla", "curriculum", "anti", "random"}, f"the arms are {sorted(arms)}")
    for name, arm in arms.items():
        sizes = {len(indices) for indices in draws(arm, plan.total_steps)}
        check(arm.total_steps == 12 and sizes == {3}, f"{name}: {arm.total_steps} steps of {sizes} examples")
    whole = {name: [int(index) for index in arm.visible(plan.total_steps)] for name, arm in arms.items()}
    check(whole["curriculum"] == plan.order, f"curriculum goes {whole['curriculum']}, expected {plan.order}")
    check(whole["anti"] == oracle.easy_to_hard([-value for value in values]), f"anti goes {whole['anti']}")
    shuffled = [int(index) for index in subject.order(np.array(values), "random", seed=5)]
    check(whole["random"] == shuffled, f"random goes {whole['random']}, expected {shuffled}")
    check(len(arms["vanilla"].visible(0)) == len(values), "vanilla does not begin with all examples")
    begun = {len(arms[name].visible(0)) for name in ("curriculum", "anti", "random")}
    check(begun == {oracle.clamped(len(values) // 5, len(values))}, f"the others begin with {begun} examples")
