"""Dot-product attention in float64 NumPy, one row of weights at a time, and how far a right implementation may be off.

The bound is a running error analysis: next to every intermediate value stands a bound on what rounding may have done to
it so far, for an implementation that takes the steps of the formula one by one in a given dtype.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suites.properties.numerics import LIBM_ULPS, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma

NO_ERRORS = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Attention:
    """Output and weights, or bounds on their rounding errors: `(B, T, N, H_v)` or `(B, T, D)`, and `(B, N, T, S)`."""

    output: np.ndarray
    weights: np.ndarray


def allowed(
    query: np.ndarray, keys: np.ndarray, mask: np.ndarray | None, *, causal: bool = False, offset: int = 0
) -> np.ndarray:
    """Who may attend to whom: `(B, N, T, S)`, True where the mask and, if causal, s <= t + offset say so."""
    batch, steps, heads, _ = query.shape
    shape = (batch, heads, steps, keys.shape[1])
    everywhere = np.ones(shape, bool)
    if mask is not None:
        everywhere &= mask[:, None, None] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    if causal:
        everywhere &= np.array([[s <= t + offset for s in range(shape[3])] for t in range(steps)])
    return everywhere


def attention(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    causal: bool = False,
    offset: int = 0,
    scale: float | None = None,
) -> Attention:
    """The truth, in float64 (or complex, for `gradient`); a row that is masked throughout is zero."""
    scale = query.shape[3] ** -0.5 if scale is None else scale
    places = allowed(query, keys, mask, causal=causal, offset=offset)
    dtype = np.result_type(query, keys, values)
    output, weights = np.zeros((*query.shape[:3], values.shape[3]), dtype), np.zeros(places.shape, dtype)
    for b, n, t in _rows(places):
        scores = np.array([scale * (query[b, t, n] @ key) for key in keys[b, :, n]])
        weights[b, n, t] = _softmax(scores, places[b, n, t])
        output[b, t, n] = weights[b, n, t] @ values[b, :, n]
    return Attention(output, weights)


def rounding(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    causal: bool = False,
    offset: int = 0,
    scale: float | None = None,
    dtype: str,
    errors: Sequence[np.ndarray | float] = NO_ERRORS,
    blocks: int = 1,
) -> Attention:
    """Bounds on the rounding errors of output and weights when every step is taken in `dtype`.

    Steps taken in a wider dtype, as scores and softmax should be, only make the errors smaller. `errors` are bounds on
    those that query, keys and values carry already, in their shapes. A running softmax takes the source in so many
    `blocks`, each of which may scale all that came before. The other arguments are those of `attention`.
    """
    scale = query.shape[3] ** -0.5 if scale is None else scale
    places = allowed(query, keys, mask, causal=causal, offset=offset)
    query_error, key_error, value_error = (
        np.broadcast_to(error, of.shape) for error, of in zip(errors, (query, keys, values), strict=True)
    )
    unit, tiny, libm = UNIT_ROUNDOFF[dtype], SMALLEST_SUBNORMAL[dtype], 2 * LIBM_ULPS  # libm in unit roundoffs
    output, weights = np.zeros((*query.shape[:3], values.shape[3])), np.zeros(places.shape)
    head, source = query.shape[3], keys.shape[1]
    for b, n, t in _rows(places):
        q, q_error, k, k_error = np.abs(query[b, t, n]), query_error[b, t, n], np.abs(keys[b, :, n]), key_error[b, :, n]
        carried = abs(scale) * ((k + k_error) @ (q + q_error) - k @ q)
        magnitude = abs(scale) * (k @ q) + carried
        # Roundings of a score: of the scale itself, of the product with it, and those of the scalar product.
        score_error = carried + gamma(head + 3, dtype) * magnitude + (head + 1) * tiny
        score_error = score_error + 2 * blocks * unit * magnitude.max()  # the largest score is subtracted

        row = _softmax(scale * (keys[b, :, n] @ query[b, t, n]), places[b, n, t])
        # A score off by d multiplies its power by e^d at most, and the sum that divides it by the largest e^d.
        steps = 2 * libm + source + 2 + 2 * blocks * (libm + 2)
        factor = np.exp(score_error + score_error.max()) * (1 + gamma(steps, dtype))
        row_error = places[b, n, t] * (row * ((factor - 1) + factor * unit) + source * tiny)
        weights[b, n, t] = row_error

        v, v_error = np.abs(values[b, :, n]), value_error[b, :, n]
        magnitude = (row + row_error) @ (v + v_error)
        error = row_error @ v + (row + row_error) @ v_error + gamma(source + 2 * blocks + 2, dtype) * magnitude
        output[b, t, n] = (error + source * tiny) * places[b, n, t].any()
    return Attention(output, weights)


def projected(
    tensor: np.ndarray, kernel: np.ndarray, bias: np.ndarray, axes: int, dtype: str, error: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Of x W + b over the last `axes` axes: the truth, and a bound where x has an error and steps are in `dtype`."""
    size = int(np.prod(kernel.shape[:axes]))
    error = np.broadcast_to(error, tensor.shape)
    magnitude = np.tensordot(np.abs(tensor) + error, np.abs(kernel), axes) + np.abs(bias)
    found = np.tensordot(error, np.abs(kernel), axes) + gamma(size + 3, dtype) * magnitude
    return np.tensordot(tensor, kernel, axes) + bias, found + size * SMALLEST_SUBNORMAL[dtype]


def multi_head(
    query: np.ndarray,
    values: np.ndarray,
    keys: np.ndarray,
    weights: Sequence[np.ndarray],
    mask: np.ndarray | None = None,
    **options: Any,
) -> Attention:
    """The truth about multi-head attention, in float64 (or complex).

    Query `(B, T, D)`, values `(B, S, D_v)` and keys `(B, S, D_k)` meet `weights`: kernel and bias of the projections of
    query, keys, values and output, in Keras's shapes. Options are those of `attention`.
    """
    q, k, v = (np.tensordot(each, weights[i], 1) + weights[i + 1] for each, i in ((query, 0), (keys, 2), (values, 4)))
    truth = attention(q, k, v, mask, **options)
    return Attention(np.tensordot(truth.output, weights[6], 2) + weights[7], truth.weights)


def rounding_of_multi_head(
    query: np.ndarray,
    values: np.ndarray,
    keys: np.ndarray,
    weights: Sequence[np.ndarray],
    mask: np.ndarray | None = None,
    *,
    dtype: str,
    blocks: int = 1,
    **options: Any,
) -> Attention:
    """Bounds on the errors of `multi_head` when every step is taken in `dtype`; see `rounding` for the blocks."""
    q, q_error = projected(query, weights[0], weights[1], 1, dtype)
    k, k_error = projected(keys, weights[2], weights[3], 1, dtype)
    v, v_error = projected(values, weights[4], weights[5], 1, dtype)
    bound = rounding(q, k, v, mask, **options, dtype=dtype, errors=(q_error, k_error, v_error), blocks=blocks)
    _, error = projected(attention(q, k, v, mask, **options).output, weights[6], weights[7], 2, dtype, bound.output)
    return Attention(error, bound.weights)


def gradient(arguments: Mapping[str, Any], cotangent: np.ndarray, name: str) -> np.ndarray:
    """Gradient of `sum(cotangent * output)` with respect to one argument of `attention`, by complex steps.

    `Im f(x + ih) / h` has no cancellation, so that a tiny h makes it exact up to rounding (Squire and Trapp 1998,
    SIAM Review 40(1)).
    """
    step = 1e-30
    at = arguments[name]
    result = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1j * step
        result[index] = np.sum(cotangent * attention(**{**arguments, name: moved}).output).imag / step
    return result


def _rows(places: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Batch, head and query index of every row of weights."""
    return np.ndindex(places.shape[:3])


def _softmax(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    row = np.zeros_like(scores)
    if places.any():
        powers = np.exp(scores[places] - scores[places].real.max())
        row[places] = powers / powers.sum()
    return row
