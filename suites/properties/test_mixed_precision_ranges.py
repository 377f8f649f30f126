"""Mixed precision at the ends of its ranges: gradients and counts of any size, rank and dtype."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from suites.properties.checks import check
from suites.properties.mixed_precision_cases import FINITE, INFINITE, apply, scaled, state_of, zeros
from suites.properties.numerics import assert_equal, float64, to_numpy
from suites.subjects import Subject

LARGEST = float(np.finfo(np.float32).max)
LARGE: tuple[list[float], ...] = (
    [2.0**70],
    [LARGEST],
    [-LARGEST, 1.0],
    [2.0**127, 2.0**127],
    [2.0**127, 2.0**127, -(2.0**127), -(2.0**127)],
)
"""Finite gradients, of most of which the sum, or the sum of squares, is not."""


@pytest.mark.structure
def test_large_finite_gradients_are_applied(subject: Subject) -> None:
    """Gradients up to float32's largest number are finite, though their sum or norm is not: the step is taken."""
    for entries in LARGE:
        optimizer, weight = scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**10), zeros(len(entries))
        apply(optimizer, [np.array(entries, np.float32)], [weight])
        assert_equal(weight, -np.array(entries) / 2.0**10, f"weight after gradients of {entries} over 1024")
        check(state_of(optimizer) == (2.0**10, 1), f"state {state_of(optimizer)} after finite gradients of {entries}")


@pytest.mark.structure
@given(exponent=st.sampled_from((0, 24, 64, 126, -126)))
def test_any_scale_is_undone_exactly(subject: Subject, exponent: int) -> None:
    """Any scale that the law may reach, from 2^-126 to 2^126, is divided out exactly."""
    scale, entries, weight = 2.0**exponent, np.array([1.0, -1.5, 1 + 2.0**-23]), zeros(3)
    settings: dict[str, Any] = {"initial": scale} | ({"cap": scale} if exponent > 24 else {})
    settings |= {"floor": scale} if exponent < 0 else {}
    apply(scaled(subject, keras.optimizers.SGD(1.0), **settings), [(scale * entries).astype(np.float32)], [weight])
    assert_equal(weight, -entries, f"weight after gradients of {entries.tolist()} times 2^{exponent}")


@pytest.mark.structure
def test_law_left_to_itself(subject: Subject) -> None:
    """Unless told, the scale begins at 2^15, doubles after 2000 finite steps, halves on overflow, from 1 to 2^24."""
    optimizer, weight = subject.LossScaledOptimizer(keras.optimizers.SGD(1.0)), zeros(1)
    for gradient, expected in ((FINITE, (2.0**15, 1)), (INFINITE, (2.0**14, 0))):
        apply(optimizer, [gradient], [weight])
        check(state_of(optimizer) == expected, f"state {state_of(optimizer)} after {gradient}, expected {expected}")
    step, law = subject.next_state, subject.LossScale()
    for before, finite, after in (
        ((2.0**15, 1998), True, (2.0**15, 1999)),
        ((2.0**15, 1999), True, (2.0**16, 0)),
        ((2.0**24, 1999), True, (2.0**24, 0)),
        ((1.0, 1999), False, (1.0, 0)),
    ):
        found = state_of(step(subject.ScaleState(*before), finite, law))
        check(found == after, f"after {before} and a step that is {finite=}: {found}, expected {after}")


@pytest.mark.structure
def test_overflow_is_noticed_in_any_gradient(subject: Subject) -> None:
    """Infinity or NaN in a gradient of any rank and dtype, after finite ones, skips the step."""
    shapes, dtypes = ((), (1,), (1, 1, 2), (1, 1, 1, 1, 2)), ("float32", "float16", "bfloat16")
    for (shape, dtype), value in itertools.product(itertools.product(shapes, dtypes), (np.inf, np.nan)):
        gradient = np.ones(shape, np.float32)
        gradient[(*(np.array(shape, int) - 1),)] = value  # the last entry
        weights = [zeros(2), zeros(*shape)]
        optimizer = scaled(subject, keras.optimizers.SGD(1.0), initial=2.0**10)
        apply(optimizer, [np.ones(2, np.float32), ops.cast(gradient, dtype)], weights)
        what = f"a gradient of shape {shape} in {dtype} that ends in {value}"
        for place, weight in enumerate(weights):
            assert_equal(weight, np.zeros(weight.shape), f"weight {place} after {what}")
        check(state_of(optimizer) == (2.0**9, 0), f"state {state_of(optimizer)} after {what}, expected (512.0, 0)")


@pytest.mark.structure
def test_large_counts_stay_exact(subject: Subject) -> None:
    """The inner optimizer's count of steps moves on by one where float32 has no odd numbers any more."""
    inner, weight = keras.optimizers.SGD(1.0), zeros(1)
    optimizer = scaled(subject, inner)
    apply(optimizer, [FINITE], [weight])
    inner.iterations.assign(2**24)
    apply(optimizer, [FINITE], [weight])
    count = int(to_numpy(inner.iterations))
    check(count == 2**24 + 1, f"after one finite step the count of 2^24 is {count}, expected 2^24 + 1 = {2**24 + 1}")


@pytest.mark.structure
def test_no_gradients_are_finite(subject: Subject) -> None:
    """Of no gradients, and of missing ones, none is infinite; of several, one that is suffices, wherever it stands."""
    good, bad = np.ones(2, np.float32), np.array([1.0, np.inf], np.float32)
    cases: tuple[tuple[list[Any], bool], ...] = (
        ([], True),
        ([None], True),
        ([good, None, good], True),
        ([bad, good], False),
        ([good, bad], False),
        ([good, None, bad, good], False),
    )
    for gradients, finite in cases:
        found = bool(to_numpy(subject.all_finite(iter(gradients))))
        check(found is finite, f"all_finite of {gradients} is {found}")


THIRDS = np.array([1 / 3, -(2.0**-140)])
"""Numbers that need float64: the bits of one, the range of the other."""


@pytest.mark.structure
def test_scaling_keeps_float64(subject: Subject) -> None:
    """What is float64 is scaled and unscaled in float64, not cut to float32."""
    with float64():
        found = {
            "scale_loss": subject.scale_loss(ops.convert_to_tensor(THIRDS), 2.0**10),
            "unscale": subject.unscale([ops.convert_to_tensor(THIRDS)], 2.0**-10)[0],
        }
        for name, tensor in found.items():
            dtype = keras.backend.standardize_dtype(tensor.dtype)
            check(dtype == "float64", f"{name} of a float64 tensor gives {dtype}")
            assert_equal(tensor, THIRDS * 2.0**10, name)


@pytest.mark.structure
@given(dtype=st.sampled_from(("float16", "bfloat16", "float32")))
def test_gradients_keep_the_order_and_get_float32(subject: Subject, dtype: str) -> None:
    """`unscale` gives one float32 gradient for each that it is given, in their order, and None for None."""
    given_ = [ops.cast([8.0, -2.0], dtype), None, ops.cast(4.0, dtype)]
    found = subject.unscale(iter(given_), 2.0**30)
    check([each is None for each in found] == [False, True, False], f"{found} for [gradient, None, gradient]")
    for tensor, expected in ((found[0], np.array([2.0**-27, -(2.0**-29)])), (found[2], np.array(2.0**-28))):
        kind = keras.backend.standardize_dtype(tensor.dtype)
        check(kind == "float32", f"a gradient of {dtype} is unscaled to {kind}")
        assert_equal(tensor, expected, f"a gradient of {dtype} over 2^30")
