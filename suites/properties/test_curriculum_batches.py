"""What must be true of the batches of a curriculum, in whichever form they are handed over."""

import importlib.util
from typing import Any

import keras
import numpy as np
import pytest

from suites.properties.checks import check
from suites.properties.curriculum_cases import (
    PLAN,
    TEN,
    Pair,
    Plan,
    check_batches,
    check_rows,
    draw,
    draws,
    fitted,
    nests,
    plan_of,
)
from suites.properties.refusals import refused
from suites.subjects import Subject

RESUMED = 5
"""In the middle of a pass: 15 examples have been drawn of passes over 2, 2, 3, ... of 10."""


def expected_batches(subject: Subject, plan: Plan, start: int) -> tuple[Any, list[list[int]]]:
    """The plan, and the indices of its steps from `start` on."""
    curriculum = plan_of(subject, plan)
    return curriculum, draws(curriculum, plan.total_steps)[start:]


@pytest.mark.structure
def test_numpy_batches_follow_the_plan(subject: Subject) -> None:
    """The NumPy batches are the rows that the steps draw; begun later, they are the rest of the same."""
    for start in (0, RESUMED, 12):
        curriculum, expected = expected_batches(subject, PLAN, start)
        found = subject.batches(curriculum, PLAN.rows(), start)
        check_batches(found, PLAN, expected, f"batches from step {start}")


@pytest.mark.structure
def test_tf_data_gives_the_same_batches(subject: Subject) -> None:
    """The `tf.data` batches are the NumPy batches, element for element, also begun later; their number is known."""
    pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")
    for start in (0, RESUMED):
        curriculum, expected = expected_batches(subject, PLAN, start)
        dataset = subject.to_tf_data(curriculum, PLAN.rows(), start)
        for epoch in (1, 2):
            what = f"tf.data batches from step {start}, in epoch {epoch}"
            check_batches(dataset.as_numpy_iterator(), PLAN, expected, what)
        cardinality = int(dataset.cardinality())
        check(cardinality == 12 - start, f"{cardinality} batches announced, expected {12 - start}")
        shapes = [tuple(each.shape) for each in keras.tree.flatten(dataset.element_spec)]
        check(shapes == [(3, 2), (3,)], f"batches of shapes {shapes} announced, expected (3, 2) and (3,)")


@pytest.mark.structure
def test_py_dataset_gives_the_same_batches(subject: Subject) -> None:
    """The batches of the `PyDataset` are the NumPy batches, element for element, also begun later."""
    for start in (0, RESUMED):
        curriculum, expected = expected_batches(subject, PLAN, start)
        dataset = subject.CurriculumDataset(curriculum, PLAN.rows(), start)
        check(isinstance(dataset, keras.utils.PyDataset), f"{type(dataset).__name__} is no PyDataset")
        found = [dataset[index] for index in range(12 - start)]
        check_batches(found, PLAN, expected, f"PyDataset batches from step {start}")
        again = [dataset[index] for index in reversed(range(12 - start))][::-1]
        check_batches(again, PLAN, expected, f"PyDataset batches from step {start}, asked for again and backwards")


@pytest.mark.structure
def test_py_dataset_is_endless(subject: Subject) -> None:
    """After the last step of its plan a `PyDataset` goes on as the plan does, and announces no number of batches."""
    for start in (0, RESUMED, 12):
        curriculum = plan_of(subject, PLAN)
        dataset = subject.CurriculumDataset(curriculum, PLAN.rows(), start)
        check(dataset.num_batches is None, f"{dataset.num_batches} batches announced of an endless dataset")
        steps = range(12, 40)
        found, expected = [dataset[step - start] for step in steps], [draw(curriculum, step) for step in steps]
        check_batches(found, PLAN, expected, f"PyDataset batches of steps 12 to 39, begun at step {start}")


@pytest.mark.structure
def test_batches_keep_the_nest(subject: Subject) -> None:
    """A batch has the structure of the data, be it named tuples in dictionaries or an array, and its dtypes."""
    curriculum = plan_of(subject, PLAN)
    indices = draw(curriculum, RESUMED)
    for what, data in nests(10).items():
        if subject.provides("batches"):
            found = next(iter(subject.batches(curriculum, data, RESUMED)))
            check_rows(found, data, indices, f"a batch of {what}")
        if subject.provides("CurriculumDataset"):
            found = subject.CurriculumDataset(curriculum, data, RESUMED)[0]
            check_rows(found, data, indices, f"a PyDataset's batch of {what}")
        if subject.provides("to_tf_data") and importlib.util.find_spec("tensorflow"):
            found = next(subject.to_tf_data(curriculum, data, RESUMED).as_numpy_iterator())
            check_rows(found, data, indices, f"a tf.data batch of {what}", lists=False)


@pytest.mark.structure
def test_fit_trains_on_the_plan(subject: Subject) -> None:
    """`fit` trains on the batches in order, through all epochs; with several workers too, unless they are refused."""
    curriculum, expected = expected_batches(subject, PLAN, 2)
    for workers in (1, 2):
        try:
            dataset = subject.CurriculumDataset(curriculum, PLAN.rows(), 2, workers=workers)
        except ValueError:
            check(workers > 1, "a dataset with one worker was refused")
            continue
        found = fitted(dataset, batch_size=3, steps_per_epoch=5, epochs=2)
        check(found == expected, f"with {workers} workers fit trains on {found}, expected {expected}")


@pytest.mark.structure
def test_misfits_are_refused(subject: Subject) -> None:
    """Data with more or fewer rows than the plan has, and a step after the last, are answered with ValueError."""
    curriculum, (inputs, targets) = plan_of(subject, PLAN), PLAN.rows()
    possible = ["batches", "CurriculumDataset", *(["to_tf_data"] if importlib.util.find_spec("tensorflow") else [])]
    for name in [name for name in possible if subject.provides(name)] or possible:
        feed = getattr(subject, name)
        refused(f"{name}: data that lack a row", feed, curriculum, (inputs, targets[1:]))
        refused(f"{name}: data whose inputs lack a row", feed, curriculum, Pair(targets[1:], targets))
        refused(f"{name}: data with a row too many", feed, curriculum, (np.zeros(11),))
        refused(f"{name}: no array", feed, curriculum, ())
        refused(f"{name}: a start after the end", feed, curriculum, (inputs, targets), 13)
        refused(f"{name}: a start before the first step", feed, curriculum, (inputs, targets), -1)


@pytest.mark.structure
def test_arguments_are_left_as_they_were(subject: Subject) -> None:
    """Scores, labels, losses and data are not written to."""
    inputs, targets = PLAN.rows()
    arrays = {"scores": np.array(TEN), "labels": np.arange(10) % 3, "inputs": inputs["inputs"], "targets": targets}
    before = {name: array.copy() for name, array in arrays.items()}
    subject.order(arrays["scores"], "anti", labels=arrays["labels"])
    if subject.provides("self_paced_weights"):
        subject.self_paced_weights(arrays["scores"], 1.0)
    if subject.provides("batches"):
        for batch_inputs, batch_targets in subject.batches(plan_of(subject, PLAN), (inputs, targets)):
            batch_inputs["inputs"][:], batch_targets[:] = 0, 0  # whoever trains may do as they like with a batch
    for name, array in arrays.items():
        check(np.array_equal(array, before[name]), f"{name} became {array.tolist()}")
