"""Rounding-error bounds: every tolerance of a property is derived from these, none is guessed.

The model is the standard one of floating-point arithmetic: each operation returns the exact result times ``1 + d`` with
``|d| <= u``, the unit roundoff (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 2.2). A value
that passes through ``n`` roundings in a row is off by at most ``gamma(n) = n u / (1 - n u)`` (lemma 3.1).
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Half the distance from 1 to the next larger number, by dtype."""

SMALLEST_SUBNORMAL = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}
"""What an underflowing result can be off by, by dtype; absolute, where the bounds above are relative."""

LIBM_ULPS = 4
"""Units in the last place by which a vectorised exp, tanh or rsqrt may be off; Eigen documents 1 to 3 for float32."""


def gamma(roundings: int, dtype: str) -> float:
    """Relative error bound after that many roundings in a row in ``dtype``.

    Raises:
        ValueError: so many roundings that the bound says nothing.
    """
    product = roundings * UNIT_ROUNDOFF[dtype]
    if product >= 0.5:
        raise ValueError(f"{roundings} roundings in {dtype} leave no accuracy; draw smaller shapes")
    return product / (1 - product)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Let a tensor be float64 on every backend.

    JAX turns it into float32 unless it is told not to; and so do, on JAX and on torch, those of Keras's operations that
    look for a common dtype, such as `ops.matmul`: its rules of promotion end in this table there.
    """
    from keras import backend
    from keras.src.backend.common import dtypes

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, {"float64": "float64"}))
        if backend.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        yield


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor of any backend as float64 (or bool, or integer) NumPy, exactly."""
    from keras import backend, ops

    dtype = backend.standardize_dtype(tensor.dtype) if hasattr(tensor, "dtype") else ""
    if "float" in dtype:
        widest = tensor if dtype == "float64" else ops.cast(tensor, "float32")
        return np.asarray(ops.convert_to_numpy(widest), dtype=np.float64)
    return np.asarray(ops.convert_to_numpy(tensor))


class Worst:
    """The largest error that `assert_within` has seen, as a share of its bound; ``None`` until it has seen one."""

    def __init__(self) -> None:
        self.share: float | None = None

    def see(self, error: np.ndarray, limit: np.ndarray) -> None:
        """Take errors and bounds of one shape. No error is none of its bound, even of a bound of zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(error == 0, 0.0, error / limit)
        shares = np.where(np.isnan(error) | ((limit == 0) & (error > 0)), np.inf, np.nan_to_num(shares, posinf=np.inf))
        self.share = max(self.share or 0.0, float(shares.max(initial=0.0)))


WORST = Worst()
"""Of the property that runs; whoever runs it sets it back."""


def assert_within(actual: Any, expected: np.ndarray, bound: Any, what: str) -> None:
    """Assert ``|actual - expected| <= bound`` elementwise, shapes first; a failure shows the worst element."""
    __tracebackhide__ = True  # pytest shows the property's line
    got = to_numpy(actual)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    error = np.abs(got - expected)
    limit = np.broadcast_to(np.asarray(bound, dtype=np.float64), expected.shape)
    WORST.see(error, limit)
    wrong = ~(error <= limit)  # NaN is wrong
    if wrong.any():
        excess = np.where(np.isnan(error), np.inf, error - limit)
        worst = np.unravel_index(np.argmax(np.where(wrong, excess, -np.inf)), expected.shape)
        found = f"got {got[worst]:.9g}, expected {expected[worst]:.9g} +- {limit[worst]:.3g}"
        if not expected.shape:  # a number has no place, and there is no other
            raise AssertionError(f"{what}: {found}")
        place, outside = list(map(int, worst)), f"{int(wrong.sum())} of {wrong.size} elements are outside the bound"
        raise AssertionError(f"{what}: at {place} {found}; {outside}")


def assert_equal(actual: Any, expected: Any, what: str) -> None:
    """Assert bit-for-bit equal values, for laws that are exact."""
    assert_within(actual, to_numpy(expected) if not isinstance(expected, np.ndarray) else expected, 0.0, what)
