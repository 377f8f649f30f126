"""Additive attention in float64 NumPy, one row at a time, and how far a right implementation may be from it.

The bound is a running error analysis: next to every intermediate value stands a bound on what rounding may have done to
it so far, for an implementation that takes the steps of the formula one by one in a given dtype.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from suites.properties.numerics import LIBM_ULPS, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma


@dataclass(frozen=True)
class Attention:
    """Context and weights, or bounds on their rounding errors: `(B, D_v)` and `(B, S)`, or with T after B."""

    context: np.ndarray
    weights: np.ndarray


def attention(
    query: np.ndarray,
    values: np.ndarray,
    keys: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    query_kernel: np.ndarray,
    key_kernel: np.ndarray,
    scale: np.ndarray,
) -> Attention:
    """The truth, in float64 (or complex, for `gradient`); a row that is masked throughout is zero."""
    keys = values if keys is None else keys
    context, weights = [], []
    for b, t, attended in _rows(query, values, mask):
        scores = np.array([scale @ np.tanh(query[b, *t] @ query_kernel + key @ key_kernel) for key in keys[b]])
        row = _softmax(scores, attended)
        weights.append(row)
        context.append(row @ values[b])
    return _stacked(context, weights, query)


def rounding(
    query: np.ndarray,
    values: np.ndarray,
    keys: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    query_kernel: np.ndarray,
    key_kernel: np.ndarray,
    scale: np.ndarray,
    dtype: str,
) -> Attention:
    """Bounds on the rounding errors of context and weights when every step is taken in `dtype`.

    Steps taken in a wider dtype, as scores and softmax should be, only make the errors smaller. The inputs and the
    scale are exactly representable in `dtype`; the two kernels need not be.
    """
    keys = values if keys is None else keys
    unit, tiny = UNIT_ROUNDOFF[dtype], SMALLEST_SUBNORMAL[dtype]
    libm = 2 * LIBM_ULPS  # in unit roundoffs
    context, weights = [], []
    for b, t, attended in _rows(query, values, mask):
        sums, sum_errors = [], []
        for key in keys[b]:
            total = query[b, *t] @ query_kernel + key @ key_kernel  # (U,)
            error = _product_error(query[b, *t], query_kernel, dtype) + _product_error(key, key_kernel, dtype)
            sums.append(total)
            sum_errors.append(error + unit * (np.abs(total) + error))
        sum_, error = np.array(sums), np.array(sum_errors)  # (S, U)

        tanh = np.tanh(sum_)
        reach = np.maximum(np.tanh(sum_ + error) - tanh, tanh - np.tanh(sum_ - error))  # tanh is monotone
        tanh_error = reach + libm * unit * (np.abs(tanh) + reach)

        score = tanh @ scale  # (S,)
        magnitude = (np.abs(tanh) + tanh_error) @ np.abs(scale)
        score_error = tanh_error @ np.abs(scale) + gamma(len(scale) + 2, dtype) * magnitude + len(scale) * tiny
        score_error += unit * 2 * magnitude.max()  # the largest score is subtracted

        row = _softmax(score, attended)
        # A score off by d multiplies its power by e^d at most, and the sum that divides it by the largest e^d.
        factor = np.exp(score_error + score_error.max()) * (1 + gamma(2 * libm + len(row) + 2, dtype))
        row_error = attended * (row * ((factor - 1) + factor * unit) + len(row) * tiny)
        weights.append(row_error)

        magnitude = (row + row_error) @ np.abs(values[b])
        context.append(row_error @ np.abs(values[b]) + gamma(len(row) + 2, dtype) * magnitude + len(row) * tiny)
    return _stacked(context, weights, query)


def gradient(arguments: Mapping[str, np.ndarray | None], cotangent: np.ndarray, name: str) -> np.ndarray:
    """Gradient of `sum(cotangent * context)` with respect to one argument of `attention`, by complex steps.

    `Im f(x + ih) / h` has no cancellation, so that a tiny h makes it exact up to rounding (Squire and Trapp 1998,
    SIAM Review 40(1)).
    """
    step = 1e-30
    at = arguments[name]
    assert at is not None
    result = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1j * step
        result[index] = np.sum(cotangent * attention(**{**arguments, name: moved}).context).imag / step  # type: ignore[arg-type]
    return result


def _rows(
    query: np.ndarray, values: np.ndarray, mask: np.ndarray | None
) -> list[tuple[int, tuple[int, ...], np.ndarray]]:
    """Batch index, query index (empty for one query) and attended positions of every row of weights."""
    batch, source = values.shape[:2]
    steps = [(t,) for t in range(query.shape[1])] if query.ndim == 3 else [()]
    mask = np.ones((batch, source), bool) if mask is None else mask
    return [(b, t, mask[b, *t] if mask.ndim == 3 else mask[b]) for b in range(batch) for t in steps]


def _softmax(scores: np.ndarray, attended: np.ndarray) -> np.ndarray:
    row = np.zeros_like(scores)
    if attended.any():
        powers = np.exp(scores[attended] - scores[attended].real.max())
        row[attended] = powers / powers.sum()
    return row


def _product_error(vector: np.ndarray, kernel: np.ndarray, dtype: str) -> np.ndarray:
    """Bound on the error of `vector @ kernel`, the kernel being rounded to `dtype` first."""
    return gamma(len(vector) + 1, dtype) * (np.abs(vector) @ np.abs(kernel)) + len(vector) * SMALLEST_SUBNORMAL[dtype]


def _stacked(context: list[np.ndarray], weights: list[np.ndarray], query: np.ndarray) -> Attention:
    rows = query.shape[:-1]  # (B,) or (B, T)
    return Attention(np.array(context).reshape(*rows, -1), np.array(weights).reshape(*rows, -1))
