"""Rounding errors of a computation as affine forms: bounds that stay narrow through many layers.

Next to every value stands, for each rounding so far, how much the value moves with it (affine arithmetic, de Figueiredo
and Stolfi 2004, Numerical Algorithms 37). An interval forgets that two errors have one cause, and its width multiplies
with every layer; an affine form remembers, so that what a later subtraction or normalisation takes out is out. What is
not linear in the roundings is bounded apart, in `rest`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from suites.properties.numerics import LIBM_ULPS, SMALLEST_SUBNORMAL, gamma


@dataclass
class Machine:
    """Rounds in a dtype, or not at all; counts its roundings, so that each has a number of its own."""

    dtype: str | None
    roundings: int = field(default=0)

    def exactly(self, array: np.ndarray) -> Affine:
        """Numbers that need no rounding."""
        array = np.asarray(array)
        return Affine(array, np.zeros((0, *array.shape)), np.zeros(array.shape), self)


@dataclass(frozen=True, eq=False)
class Affine:
    """Real numbers, and how far a computation that takes the same steps in the machine's dtype may be from them.

    Attributes:
        value: the numbers, in float64 (complex, on a machine that does not round, for derivatives by complex steps).
        noise: `(K, *shape)`, by how much each of the first K roundings moves them at most.
        rest: a bound on everything else.
        machine: what rounds.
    """

    value: np.ndarray
    noise: np.ndarray
    rest: np.ndarray
    machine: Machine

    @property
    def error(self) -> np.ndarray:
        """A bound on the whole error."""
        return np.asarray(np.abs(self.noise).sum(0) + self.rest)

    def rounded(self, size: np.ndarray | None = None, roundings: int = 1) -> Affine:
        """After this many more roundings of intermediate results of this size; of the value itself, if None."""
        dtype = self.machine.dtype
        if dtype is None:
            return self
        size = np.abs(self.value) if size is None else np.broadcast_to(size, self.value.shape)
        new = gamma(roundings, dtype) * size + roundings * SMALLEST_SUBNORMAL[dtype]
        first, count = self.machine.roundings, self.value.size
        self.machine.roundings += count
        noise = _grown(self.noise, first + count)
        noise[first:] = np.diag(new.ravel()).reshape(count, *self.value.shape)
        return Affine(self.value, noise, self.rest + gamma(roundings, dtype) * self.error, self.machine)

    @property
    def transposed(self) -> Affine:
        """With the last two axes swapped."""
        value, noise, rest = (each.swapaxes(-1, -2) for each in (self.value, self.noise, self.rest))
        return Affine(value, noise, rest, self.machine)

    def __add__(self, other: Affine) -> Affine:
        value = self.value + other.value
        noise = _sum(_behind(self.noise, value.ndim), _behind(other.noise, value.ndim))
        return Affine(value, noise, self.rest + other.rest, self.machine).rounded()

    def __mul__(self, other: Affine) -> Affine:
        rest = np.abs(self.value) * other.rest + self.rest * np.abs(other.value) + self.error * other.error
        value = self.value * other.value
        noise = _sum(_behind(self.noise, value.ndim) * other.value, self.value * _behind(other.noise, value.ndim))
        return Affine(value, noise, rest, self.machine).rounded()

    def __matmul__(self, other: Affine) -> Affine:
        size, others = np.abs(self.value), np.abs(other.value)
        rest = size @ other.rest + self.rest @ others + self.error @ other.error
        noise = _sum(self.noise @ other.value, self.value @ other.noise)
        # The sum of n products, a cast, and what a bias or a scale that is multiplied in beforehand rounds.
        return Affine(self.value @ other.value, noise, rest, self.machine).rounded(size @ others, size.shape[-1] + 2)


def concatenated(parts: list[Affine]) -> Affine:
    """Side by side along the last axis."""
    count = max(len(part.noise) for part in parts)
    return Affine(
        np.concatenate([part.value for part in parts], -1),
        np.concatenate([_grown(part.noise, count) for part in parts], -1),
        np.concatenate([part.rest for part in parts], -1),
        parts[0].machine,
    )


def relu(x: Affine) -> Affine:
    """max(0, x). Where the sign of x is not certain, nothing is linear."""
    if x.machine.dtype is None:
        return x.machine.exactly(np.where(x.value.real > 0, x.value, 0))
    certain, error = x.value > x.error, x.error
    rest = np.where(certain, x.rest, np.where(x.value < -error, 0, error))
    return Affine(np.maximum(x.value, 0), np.where(certain, x.noise, 0), rest, x.machine)


def softmax(scores: Affine, mask: np.ndarray) -> Affine:
    """Over the last axis where the mask is True; zero elsewhere, and in a row where it is True nowhere.

    Rounded in the machine's dtype are the scores minus the highest, their powers, the sum and the quotient.
    """
    highest = np.where(mask, scores.value.real, -np.inf).max(-1, keepdims=True)
    shifted = np.where(mask, scores.value - np.where(np.isfinite(highest), highest, 0), 0)
    powers = np.where(mask, np.exp(shifted), 0)
    total = powers.sum(-1, keepdims=True)
    weights = powers / np.where(total == 0, 1, total)
    if scores.machine.dtype is None:
        return scores.machine.exactly(weights)
    scores = scores.rounded(np.abs(shifted), 1)

    def linear(moved: np.ndarray, sign: int) -> np.ndarray:  # dw_i = w_i (ds_i - sum_j w_j ds_j)
        return np.asarray(weights * (moved + sign * (weights * moved).sum(-1, keepdims=True)))

    # With |ds| <= E the logarithm of a weight moves by t, |t| <= 2 E, which is off from linear by E^2 / 2 at most
    # (Hoeffding's lemma); and e^t is off from 1 + t by e^(2 E) - 1 - 2 E.
    most = np.minimum(np.where(mask, scores.error, 0).max(-1, keepdims=True), 4)
    bent = weights * (np.expm1(2 * most) - 2 * most + most**2 / 2)
    rest = np.minimum(linear(np.where(mask, scores.rest, 0), 1) + bent, 1)
    found = Affine(weights, linear(np.where(mask, scores.noise, 0), -1), rest, scores.machine)
    return found.rounded(weights, 4 * LIBM_ULPS + weights.shape[-1] + 2)


def layer_norm(x: Affine, epsilon: float) -> Affine:
    """(x - mean) / sqrt(variance + epsilon) over the last axis, before gamma and beta.

    The bound holds too where the variance is computed as mean(x^2) - mean(x)^2.
    """
    n, dtype = x.value.shape[-1], x.machine.dtype
    centred = x.value - x.value.mean(-1, keepdims=True)
    deviation = ((centred**2).mean(-1, keepdims=True) + epsilon) ** 0.5
    output = centred / deviation
    if dtype is None:
        return x.machine.exactly(output)
    size = np.abs(x.value) + np.abs(x.value).mean(-1, keepdims=True)
    x = x.rounded(size, n + 3)  # as the rounding of x - mean

    def linear(moved: np.ndarray) -> np.ndarray:
        moved = moved - moved.mean(-1, keepdims=True)
        return np.asarray((moved - output * (output * moved).mean(-1, keepdims=True)) / deviation)

    off = x.error + x.error.mean(-1, keepdims=True)
    most = np.sqrt((off**2).mean(-1, keepdims=True))
    lowest = np.maximum(deviation - most, np.sqrt(epsilon))  # the deviation moves by the root mean square of dx at most
    rest = x.rest + x.rest.mean(-1, keepdims=True)
    rest = (rest + np.abs(output) * np.sqrt((rest**2).mean(-1, keepdims=True))) / deviation
    # Half of the second derivative: dx_i D(1/s)[dx] + x_i D^2(1/s)[dx, dx] / 2, with |D(1/s)| <= |dx| / s^2 and
    # |D^2(1/s)| <= 4 |dx|^2 / s^3 in the norm of the root mean square.
    bent = off * most / lowest**2 + 2 * (np.abs(centred) + off) * most**2 / lowest**3
    # Whatever x is, no element of the output exceeds sqrt(n).
    found = Affine(output, linear(x.noise), np.minimum(rest + bent, 2 * np.sqrt(n)), x.machine)
    inverse_off = gamma(n + 4, dtype) * (size**2).mean(-1, keepdims=True) / deviation**2 + gamma(
        2 * LIBM_ULPS + 4, dtype
    )
    return found.rounded(np.abs(output) * inverse_off / gamma(1, dtype) + size / deviation, 1)


def _grown(noise: np.ndarray, count: int) -> np.ndarray:
    """Room for this many roundings."""
    return np.concatenate([noise, np.zeros((count - len(noise), *noise.shape[1:]))])


def _behind(noise: np.ndarray, axes: int) -> np.ndarray:
    """`(K, *shape)` with the shape aligned at its end, as NumPy's broadcasting does, behind the K."""
    return noise.reshape(len(noise), *[1] * (axes + 1 - noise.ndim), *noise.shape[1:])


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of noises, one of which may know more roundings than the other."""
    count = max(len(a), len(b))
    return np.asarray(_grown(a, count) + _grown(b, count))
