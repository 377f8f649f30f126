"""What must be true of the plan of a curriculum: what each step may draw and draws, and the arms that are compared."""

import copy
import itertools
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check, require
from suites.properties.curriculum_cases import (
    LABELS,
    PLAN,
    SEEDS,
    TEN,
    WRONG_PLANS,
    Plan,
    check_uniform,
    draw,
    drawn_from,
    draws,
    plan_of,
    plans,
    scored,
)
from suites.properties.numerics import gamma
from suites.properties.oracles import curriculum as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject


@pytest.mark.structure
@example(plan=Plan(TEN, start=0.1))
@given(plan=plans())
def test_visible_are_the_easiest(subject: Subject, plan: Plan) -> None:
    """What is visible at a step are the g(t) easiest, among them all that were visible before."""
    curriculum, before = plan_of(subject, plan), 0
    for step in range(plan.horizon):
        seen, (least, most) = [int(index) for index in curriculum.visible(step)], plan.visible_counts(step)
        check(seen == plan.order[: len(seen)], f"visible at step {step}: {seen}, of the order {plan.order}")
        check(
            max(before, least) <= len(seen) <= most, f"{len(seen)} visible at step {step}, expected {least} to {most}"
        )
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
        allowed = plan.order[: plan.visible_counts(step)[1]]
        check(set(indices) <= set(allowed), f"step {step} draws {indices}, visible are {allowed}")


@pytest.mark.structure
@example(plan=Plan(TEN, batch_size=3, start=0.2))
@example(plan=Plan(TEN, batch_size=4, start=1.0))
@example(plan=Plan((1.0, 2.0), total_steps=4, batch_size=1, pacing="step", start=0.5, full=0.5))
@given(plan=plans())
def test_passes_miss_nothing(subject: Subject, plan: Plan) -> None:
    """Each pass draws those visible in the step in which it begins, every one once: no tail is lost."""
    curriculum, begin = plan_of(subject, plan), 0
    drawn = [index for step in draws(curriculum, plan.horizon) for index in step]
    while begin < len(drawn):
        step = begin // plan.batch_size
        visible = sorted(int(index) for index in curriculum.visible(step))
        check(visible, f"nothing is visible at step {step}")
        found = drawn[begin : begin + len(visible)]
        cut = len(found) < len(visible) and len({*found}) == len(found) and {*found} <= {*visible}  # the last one
        check(
            cut or sorted(found) == visible,
            f"the pass that begins in step {step} draws {found}, expected each of {visible} once",
        )
        begin += len(visible)


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
    seen = [
        tuple(indices)
        for seed in SEEDS
        for indices in draws(plan_of(subject, Plan(plan.scores, batch_size=32, start=1.0, seed=seed)), 3)
    ]
    check(len(set(seen)) == 3 * len(SEEDS), f"of the first passes by the seeds {SEEDS} some have the same order")


@pytest.mark.structure
def test_every_order_of_a_pass_is_as_likely(subject: Subject) -> None:
    """All orders of a pass occur equally often, over the passes of a plan and over seeds: any two may share a batch."""
    four = Plan((0.0, 1.0, 2.0, 3.0), batch_size=2, start=1.0)
    drawn = draws(plan_of(subject, four), 2 * 960)
    check_uniform(
        [tuple(first + second) for first, second in zip(drawn[::2], drawn[1::2], strict=True)], "passes of a plan"
    )
    firsts = [draws(plan_of(subject, replace(four, seed=seed)), 2) for seed in range(960)]
    check_uniform([tuple(first + second) for first, second in firsts], "first passes of seeds")


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
    plan = plan_of(subject, PLAN)
    refused("drawing at a negative step", plan.indices, -1)
    refused("what is visible at a negative step", plan.visible, -1)


@pytest.mark.structure
def test_integers_of_any_kind_are_taken(subject: Subject) -> None:
    """Orders and steps may be integers of any dtype: also the greatest step of a small one draws what it should."""
    plan = Plan(TEN, total_steps=400)
    right = plan_of(subject, plan)
    for dtype in (np.uint8, np.int16, np.uint64):
        curriculum = plan_of(subject, plan, order=np.array(plan.order, dtype))
        for step in (0, 127, 255):
            found, expected = draw(curriculum, dtype(step)), draw(right, step)
            check(found == expected, f"step {step} as {dtype.__name__} draws {found}, expected {expected}")
            seen, expected = ([*map(int, each)] for each in (curriculum.visible(dtype(step)), right.visible(step)))
            check(seen == expected, f"at step {step} as {dtype.__name__} {seen} are visible, expected {expected}")


@pytest.mark.structure
def test_steps_that_are_left(subject: Subject) -> None:
    """The steps of a plan from one of them on are those to the last; after T, or under 0, there are none."""
    plan = plan_of(subject, PLAN)
    for first in (0, 5, 12):
        check([*plan.steps(first)] == [*range(first, 12)], f"steps from {first} on: {[*plan.steps(first)]}")
    check([*plan.steps()] == [*range(12)], f"all steps are {[*plan.steps()]}")
    for first in (-1, 13):
        refused(f"a first step of {first} in 12", plan.steps, first)


DEFAULT_PACE = {"start": 0.2, "full": 0.8}


@pytest.mark.structure
def test_what_is_left_out_is_as_documented(subject: Subject) -> None:
    """Without `start`, `full`, `pacing`, `seed`, `kind`, `growth` or `batch_size` the contract's defaults hold."""
    for step in (0, 3, 10, 24) if subject.provides("visible_count") else ():
        found, expected = (subject.visible_count("linear", step, 30, 50, **each) for each in ({}, DEFAULT_PACE))
        check(found == expected, f"g({step}) = {found} by default, {expected} with {DEFAULT_PACE}")
    values = np.array(TEN)
    for named, left_out in (({"kind": "curriculum"}, {}), ({"kind": "random", "seed": 0}, {"kind": "random"})):
        found, expected = ([*map(int, subject.order(values, **each))] for each in (left_out, named))
        check(found == expected, f"order {found} with {left_out}, {expected} with {named}")
    if subject.provides("Curriculum"):
        named = {**DEFAULT_PACE, "pacing": "linear", "seed": 0}
        found, expected = (
            draws(subject.Curriculum(np.array(PLAN.order), total_steps=12, batch_size=3, **each), 12)
            for each in ({}, named)
        )
        check(found == expected, f"a plan draws {found} by default, {expected} with {named}")
    if subject.provides("arms"):
        found, expected = (subject.arms(values, total_steps=12, batch_size=3, **each) for each in ({}, named))
        for name, arm in expected.items():
            by_default, spelled = draws(found[name], 12), draws(arm, 12)
            check(by_default == spelled, f"{name} draws {by_default} by default, {spelled} with {named}")
    if subject.provides("self_paced_threshold"):
        found, expected = subject.self_paced_threshold(5, 0.5), 0.5 * 1.3**5
        check(abs(found - expected) <= expected * gamma(32, "float64"), f"threshold {found}, expected {expected}")
    if subject.provides("teacher_losses"):
        sizes = [len(batch) for batch in scored(subject, 300)[0].seen]
        check(sizes == [256, 44], f"a teacher sees 300 examples in batches of {sizes}, expected 256 and the rest")


@pytest.mark.structure
@example(plan=Plan(TEN, seed=5))
@given(plan=plans())
def test_arms_have_equal_budgets(subject: Subject, plan: Plan) -> None:
    """Vanilla, curriculum, anti and random have the same steps and batch size, and differ as their names say."""
    values = plan.scores
    arms = subject.arms(np.array(values), **plan.arguments)
    check(set(arms) == {"vanilla", "curriculum", "anti", "random"}, f"the arms are {sorted(arms)}")
    end = plan.horizon
    for name, arm in arms.items():
        sizes = {len(indices) for indices in draws(arm, plan.total_steps)}
        check(
            arm.total_steps == plan.total_steps and sizes == {plan.batch_size},
            f"{name}: {arm.total_steps} steps of {sizes} examples, expected {plan.total_steps} of {plan.batch_size}",
        )
    whole = {name: [int(index) for index in arm.visible(end)] for name, arm in arms.items()}
    check(whole["curriculum"] == plan.order, f"curriculum goes {whole['curriculum']}, expected {plan.order}")
    check(whole["anti"] == oracle.easy_to_hard([-value for value in values]), f"anti goes {whole['anti']}")
    shuffled = [int(index) for index in subject.order(np.array(values), "random", seed=plan.seed)]
    check(whole["random"] == shuffled, f"random goes {whole['random']}, expected {shuffled}")
    check(len(arms["vanilla"].visible(0)) == len(values), "vanilla does not begin with all examples")


@pytest.mark.structure
@example(plan=Plan(tuple(range(10)), total_steps=10, pacing="step"), labels=np.array([*"aaaaabbbbb"]))
@given(plan=plans(12), labels=st.none() | drawn_from(LABELS, 12))
def test_arms_are_plans_over_their_orders(subject: Subject, plan: Plan, labels: np.ndarray | None) -> None:
    """Each arm draws as a plan by hand does: over its order, by labels if given, with the same pacing and seed."""
    options = {} if labels is None else {"labels": labels}
    if labels is not None:
        require(subject.arms, "labels", "arms")
    arms = subject.arms(np.array(plan.scores), **options, **plan.arguments)
    for name, kind in {"vanilla": "curriculum", "curriculum": "curriculum", "anti": "anti", "random": "random"}.items():
        ordered = subject.order(np.array(plan.scores), kind, seed=plan.seed, **options)
        by_hand = plan_of(subject, replace(plan, start=1.0) if name == "vanilla" else plan, order=ordered)
        for step in range(plan.horizon):
            seen, expected = ([*map(int, each.visible(step))] for each in (arms[name], by_hand))
            seen, expected = (sorted(each) if name == "vanilla" else each for each in (seen, expected))
            check(seen == expected, f"{name}: visible at step {step} are {seen}, expected {expected}")
            found, drawn = draw(arms[name], step), draw(by_hand, step)
            check(found == drawn, f"{name}: step {step} draws {found}, expected {drawn}")
