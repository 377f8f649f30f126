"""What must be true of cross-entropy with label smoothing, the Transformer's loss."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.gradients import input_gradient
from suites.properties.numerics import UNIT_ROUNDOFF, assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import transformer as oracle
from suites.properties.refusals import refused
from suites.properties.transformer_cases import as_tensor, few
from suites.properties.transformer_decoding_cases import log_softmax
from suites.properties.transformer_loss_cases import LossCase, loss_cases, loss_of
from suites.subjects import Subject


@few
@example(case=LossCase(mask=((1, 1, 0), (1, 0, 1))))
@given(case=loss_cases())
def test_loss_follows_the_formula(subject: Subject, case: LossCase) -> None:
    """The loss is the mean of -sum_k q_k log p_k over the mask, with q = (1 - smoothing) onehot + smoothing / V."""
    truth = case.truth()
    assert_within(loss_of(subject, case), truth.value, truth.error, "loss")


@few
@example(case=LossCase())
@given(case=loss_cases())
def test_without_smoothing_it_is_the_cross_entropy(subject: Subject, case: LossCase) -> None:
    """At a smoothing of 0 the loss is the mean of -log p of the targets."""
    case = case.but(smoothing=0.0)
    log_p = log_softmax(case.logits)
    rows, columns = np.indices(case.targets.shape)
    of_targets = -log_p[rows, columns, case.targets][case.counted].mean()
    assert_within(loss_of(subject, case), np.asarray(of_targets), case.truth().error, "loss")


@few
@example(smoothing=0.25, vocabulary=4)
@given(smoothing=st.sampled_from((0.125, 0.25, 0.5)), vocabulary=st.integers(2, 6))
def test_least_loss_is_the_entropy(subject: Subject, smoothing: float, vocabulary: int) -> None:
    """Where the predicted distribution is q itself, the loss is the entropy of q, and nearby it is larger."""
    q = np.full(vocabulary, smoothing / vocabulary)
    q[1] += 1 - smoothing
    case = LossCase(batch=1, length=1, vocabulary=vocabulary, smoothing=smoothing)
    targets = np.ones((1, 1), np.int32)

    def loss(logits: np.ndarray) -> tuple[float, float]:
        truth = oracle.smoothed_loss(targets, logits, smoothing, np.ones((1, 1), bool))
        found = loss_of(subject, case, targets=targets, logits=logits, dtype="float32")
        return float(to_numpy(found)), float(truth.error) + 4 * UNIT_ROUNDOFF["float32"] * np.abs(logits).max()

    least, bound = loss(np.log(q)[None, None])
    check(abs(least + (q * np.log(q)).sum()) <= bound, f"loss {least} at q, whose entropy is {-(q * np.log(q)).sum()}")
    for k in range(vocabulary):
        moved = np.log(q)[None, None].copy()
        moved[..., k] += 0.25
        found, other = loss(moved)
        check(found > least - bound - other, f"loss {found} where logit {k} is moved, less than {least}")


@pytest.mark.structure
def test_targets_may_be_of_any_integer_dtype(subject: Subject) -> None:
    """The loss is float32, and does not depend on the integer dtype of the targets."""
    case = LossCase()
    for dtype in ("int8", "int64", "uint8"):
        found = loss_of(subject, case, targets=case.targets.astype(dtype), dtype="bfloat16")
        check(keras.backend.standardize_dtype(found.dtype) == "float32", f"the loss is {found.dtype}, not float32")
        assert_within(found, case.truth().value, case.truth().error, f"loss of {dtype} targets")


@few
@example(case=LossCase(mask=((1, 1, 0), (1, 0, 1))))
@given(case=loss_cases())
def test_padding_is_not_in_the_loss(subject: Subject, case: LossCase) -> None:
    """Whatever finite logits and targets stand where the mask is False, the loss is the same, bit for bit."""
    logits = np.where(case.counted[..., None], case.logits, 5.0 * np.eye(case.vocabulary)[0])
    targets = np.where(case.counted, case.targets, 1)
    assert_equal(loss_of(subject, case, logits=logits, targets=targets), to_numpy(loss_of(subject, case)), "loss")


def test_loss_of_nothing_is_zero(subject: Subject) -> None:
    """Where no target counts, the loss is 0, and so is its gradient."""
    case = LossCase(mask=((0, 0, 0), (0, 0, 0)))
    assert_equal(loss_of(subject, case), np.asarray(0.0), "loss")
    found = input_gradient(
        lambda x: loss_of(subject, case, logits=x), as_tensor(case.logits, "float32"), np.asarray(1.0)
    )
    assert_equal(found, np.zeros(case.logits.shape), "gradient to the logits")


@pytest.mark.structure
@few
@example(case=LossCase(mask=((1, 1, 0), (1, 0, 1))))
@given(case=loss_cases())
def test_gradient_is_the_difference_of_distributions(subject: Subject, case: LossCase) -> None:
    """The gradient to the logits is (p - q) over the number of targets that count, and zero where none does."""
    q = (1 - case.smoothing) * np.eye(case.vocabulary)[case.targets] + case.smoothing / case.vocabulary
    p = np.exp(log_softmax(case.logits))
    truth = np.where(case.counted[..., None], p - q, 0) / case.counted.sum()
    found = input_gradient(
        lambda x: loss_of(subject, case, logits=x, dtype="float32"), as_tensor(case.logits, "float32"), np.asarray(1.0)
    )
    assert_within(found, truth, gamma(8 * case.vocabulary + 32, "float32") * (p + q), "gradient to the logits")


@example(gap=60.0, smoothing=0.0)
@given(gap=st.sampled_from((24.0, 1000.0)), smoothing=st.sampled_from((0.0, 0.125)))
def test_confident_mistakes_cost_what_they_cost(subject: Subject, gap: float, smoothing: float) -> None:
    """However far the target's logit lies below another, the loss and its gradient are those of the formula."""
    case = LossCase(batch=1, length=1, vocabulary=3, smoothing=smoothing)
    targets, logits = np.ones((1, 1), np.int32), np.array([[[gap, 0.0, gap / 2]]])
    truth = oracle.smoothed_loss(targets, logits, smoothing, np.ones((1, 1), bool))
    assert_within(loss_of(subject, case, targets=targets, logits=logits), truth.value, truth.error, "loss")
    x = as_tensor(logits, "float32")
    found = input_gradient(lambda x: loss_of(subject, case, targets=targets, logits=x, dtype="float32"), x, np.ones(()))
    q = (1 - smoothing) * np.eye(3)[targets] + smoothing / 3
    assert_within(found, np.exp(log_softmax(logits)) - q, gamma(64, "float32"), "gradient to the logits")


@pytest.mark.structure
def test_misfits_of_the_loss_are_refused(subject: Subject) -> None:
    """A smoothing outside of [0, 1), and arguments of the wrong shape, raise ValueError, and are never broadcast."""
    targets, logits = np.zeros((1, 2), np.int32), np.zeros((1, 2, 3), "float32")
    loss = subject.label_smoothed_loss
    misfits: dict[str, Callable[[], Any]] = {
        "a smoothing of 1, which leaves nothing of the target": lambda: loss(targets, logits, smoothing=1.0),
        "a smoothing of 1.5": lambda: loss(targets, logits, smoothing=1.5),
        "a smoothing of -0.1": lambda: loss(targets, logits, smoothing=-0.1),
        "a smoothing that is no number": lambda: loss(targets, logits, smoothing=float("nan")),
        "logits of another batch size": lambda: loss(targets, np.zeros((2, 2, 3), "float32")),
        "targets of another length than the logits": lambda: loss(targets[:, :1], logits),
        "a mask of numbers": lambda: loss(targets, logits, mask=np.ones((1, 2), "float32")),
        "a mask of another length": lambda: loss(targets, logits, mask=np.ones((1, 1), bool)),
    }
    for what, attempt in misfits.items():
        refused(what, attempt)
