"""What initial weights must be, counted and integrated, and how far a right sample may stray.

Fans are counted edge by edge. Every interval holds for a finite sample, without a normal approximation, except with the
probability `FALSE_ALARM`; with the fixed seeds of a run it then holds always or never.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc, chdtri, gammaln, ndtr, ndtri

FALSE_ALARM = 1e-9
"""How often, at most, a right implementation fails one check of one sample."""

CUT = 2.0
"""Where a truncated normal variable is cut, in standard deviations of the normal one."""

_DENSITY, _KEPT = math.exp(-(CUT**2) / 2) / math.sqrt(2 * math.pi), 1 - 2 * ndtr(-CUT)
_SECOND = 1 - 2 * CUT * _DENSITY / _KEPT  # E x^k = (k - 1) E x^(k - 2) - 2 c^(k - 1) density(c) / kept, by parts
_FOURTH = 3 * _SECOND - 2 * CUT**3 * _DENSITY / _KEPT

SCALES = {"lecun": (1.0, "fan_in"), "glorot": (1.0, "fan_avg"), "he": (2.0, "fan_in")}
"""Var(w) times fan, and which fan: LeCun 1998, section 4.6; Glorot 2010, equation 12; He 2015, equation 10."""


@functools.cache
def connections(shape: tuple[int, ...], kind: str, groups: int = 1) -> tuple[int, int]:
    """The uses of weights that lead into one output, and out of one input, of a layer: all listed, and counted.

    The layer lies on a ring along each axis, as long as the window, so that there are no borders.
    """
    if kind == "embedding":
        return 1, shape[1]  # a lookup reads one row, into each of D outputs
    *window, first, last = shape
    places = np.indices(window).reshape(len(window), math.prod(window))
    here = np.arange(places.shape[1])[:, None, None, None]  # (places, taps, first, last)
    reached = (places[:, :, None] + places[:, None, :]) % np.reshape(window, (-1, 1, 1))
    there = np.ravel_multi_index(tuple(reached), window)[:, :, None, None] if window else here
    a, b = np.arange(first)[:, None], np.arange(last)
    match kind:
        case "depthwise":
            source, target = there * first + a, (here * first + a) * last + b
        case "transposed":  # the input at a place is spread over the window, into the first channel axis
            source, target = here * last + b, there * first + a
        case _:  # outputs of a group see the inputs of that group
            source, target = (there * groups + b // (last // groups)) * first + a, here * last + b
    return _count_of_each(target, source), _count_of_each(source, target)


def _count_of_each(ends: np.ndarray, others: np.ndarray) -> int:
    """How often each number occurs among the ends of the edges, which is the same for all of them."""
    counts = np.unique(np.bincount(np.broadcast_arrays(ends, others)[0].ravel()))
    assert len(counts) == 1
    return int(counts[0])


@dataclass(frozen=True)
class Law:
    """The distribution of one weight: symmetric about zero, with this standard deviation."""

    distribution: str
    std: float

    @property
    def limit(self) -> float:
        """The largest size that a weight may have."""
        reach = {"normal": math.inf, "truncated_normal": CUT / math.sqrt(_SECOND), "uniform": math.sqrt(3)}
        return reach[self.distribution] * self.std

    @property
    def kurtosis(self) -> float:
        """E w^4 / Var(w)^2."""
        return {"normal": 3.0, "truncated_normal": _FOURTH / _SECOND**2, "uniform": 9 / 5}[self.distribution]

    def cumulative(self, x: np.ndarray) -> np.ndarray:
        """P(w <= x)."""
        match self.distribution:
            case "normal":
                return ndtr(x / self.std)
            case "truncated_normal":
                parent = self.std / math.sqrt(_SECOND)
                return np.clip((ndtr(x / parent) - ndtr(-CUT)) / _KEPT, 0, 1)
            case _:
                return np.clip((x / self.limit + 1) / 2, 0, 1)

    def mean_within(self, n: int) -> float:
        """|mean of n weights| is at most this: exact for normal weights, Bernstein's inequality for bounded ones."""
        if self.distribution == "normal":
            return -ndtri(FALSE_ALARM / 2) * self.std / math.sqrt(n)
        return _bernstein(n, self.std**2, self.limit)

    def mean_square_between(self, n: int) -> tuple[float, float]:
        """The mean of n squared weights: a chi-square interval for normal weights, Bernstein's for bounded ones."""
        var = self.std**2
        if self.distribution == "normal":
            return var * chdtri(n, 1 - FALSE_ALARM / 2) / n, var * chdtri(n, FALSE_ALARM / 2) / n
        reach = _bernstein(n, (self.kurtosis - 1) * var**2, self.limit**2)
        return var - reach, var + reach


def law(scheme: str, shape: tuple[int, ...], kind: str, groups: int = 1) -> Law:
    """The law that a scheme such as "he_normal" gives to the weights of a kernel."""
    name, _, distribution = scheme.partition("_")
    scale, mode = SCALES[name]
    fan_in, fan_out = connections(shape, kind, groups)
    return Law(distribution, math.sqrt(scale / {"fan_in": fan_in, "fan_avg": (fan_in + fan_out) / 2}[mode]))


def _bernstein(n: int, variance: float, bound: float) -> float:
    """Reach of the mean of n centred variables: P(|mean| >= t) <= 2 exp(-n t^2 / (2 (variance + bound t / 3)))."""
    logs = math.log(2 / FALSE_ALARM)
    return (bound * logs / 3 + math.sqrt((bound * logs / 3) ** 2 + 2 * n * variance * logs)) / n


def distance_within(n: int) -> float:
    """Sup |F_n - F| for n draws from F: the Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant (1990)."""
    return math.sqrt(math.log(2 / FALSE_ALARM) / (2 * n))


def seen_at_most(n: int, share: float) -> int:
    """How many of n independent draws lie where each lies with this probability: at most so many."""
    return next(count for count in itertools.count() if bdtrc(count, n, share) < FALSE_ALARM)


def entry_within(order: int, draws: int) -> tuple[float, float]:
    """Of an entry of uniform orthogonal matrices, the mean of so many, and of their squares minus 1 / order.

    An entry is one of a uniform unit vector: of mean 0, square 1 / n and fourth power 3 / (n (n + 2)), and at most 1.
    """
    square = 1 / order
    return _bernstein(draws, square, 1.0), _bernstein(draws, 3 * square / (order + 2) - square**2, 1.0)


def sums_between(count: int) -> tuple[float, float]:
    """The sum of squares of so many independent standard normal variables."""
    return float(chdtri(count, 1 - FALSE_ALARM / 2)), float(chdtri(count, FALSE_ALARM / 2))


def trace_within(order: int) -> float:
    """|trace| of a uniform orthogonal matrix: its first `order` moments are those of a standard normal variable.

    Diaconis and Shahshahani (1994), "On the eigenvalues of random matrices", theorem 4; then Markov's inequality.
    """
    powers = np.arange(2, order + 1, 2)
    log_moments = gammaln(powers + 1) - gammaln(powers / 2 + 1) - powers / 2 * math.log(2)  # (p - 1)!!
    return float(np.exp((log_moments - math.log(FALSE_ALARM)) / powers).min())


# Signals and gradients through depth


def expected_through_depth(widths: Sequence[int], scheme: str, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean square of signal and gradient at each depth, as parts of what came in: two arrays (L + 1,)."""
    layers = list(itertools.pairwise(widths))
    factor = np.array([law(scheme, layer, "dense").std ** 2 * (1 + slope**2) / 2 for layer in layers])
    n_in, n_out = np.array(layers).T
    forward = np.cumprod(np.append(1.0, factor * n_in))
    backward = np.cumprod(np.append(1.0, (factor * n_out)[::-1]))[::-1]
    return forward, backward


@functools.cache
def signal_between(widths: tuple[int, ...], scheme: str) -> tuple[float, float]:
    """Mean square of the last activations over that of the input, for Gaussian weights, rectifiers and any input.

    Given the layer below, a pre-activation is normal with variance Var(w) |h|^2 and positive half the time, so that
    |h_l|^2 / |h_{l-1}|^2 = Var(w) chi^2_K with K from Binomial(n_l, 1/2), independently from layer to layer.
    """
    variances = [law(scheme, layer, "dense").std ** 2 for layer in itertools.pairwise(widths)]

    def log_moment(power: float) -> float:
        chi = sum(_log_chi_square(power, width, halved=True) for width in widths[1:])
        return chi + power * (np.log(variances).sum() + math.log(widths[0] / widths[-1]))

    return _between(log_moment)


@functools.cache
def gradient_between(widths: tuple[int, ...], scheme: str) -> tuple[float, float]:
    """Mean square of the gradient to the input over that of a gradient of random signs to the last activations.

    Flipping signs of rows and columns shows that the Jacobian is distributed as if each rectifier passed each unit by
    an independent coin (Hanin and Nica 2018, arXiv:1812.05994): K from Binomial(n_L, 1/2), then a chi^2_K per layer.
    """
    variances = [law(scheme, layer, "dense").std ** 2 for layer in itertools.pairwise(widths)]

    def log_moment(power: float) -> float:
        chi = sum(_log_chi_square(power, width, halved=True) for width in widths[1:-1])
        chi += _log_chi_square(power, widths[0], halved=False) + _log_binomial(power, widths[-1])
        return chi + power * (np.log(variances).sum() - math.log(widths[0]))

    return _between(log_moment)


def _between(log_moment: Callable[[float], float]) -> tuple[float, float]:
    """Chernoff's bounds: P(X >= t) <= E X^s / t^s for every s > 0, and the same below for s < 0."""
    logs = math.log(2 / FALSE_ALARM)
    upper = min((log_moment(s) + logs) / s for s in np.geomspace(0.5, 64, 20))
    lower = max(-(log_moment(-s) + logs) / s for s in np.geomspace(0.5, 12, 15))
    return math.exp(lower), math.exp(upper)


def _log_binomial(power: float, n: int) -> float:
    """Log of E K^power, K from Binomial(n, 1/2) but above 24: of 128 units so few are active once in 1e12 times."""
    k = np.arange(25, n + 1)
    return _log_sum(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * math.log(2) + power * np.log(k))


def _log_chi_square(power: float, n: int, *, halved: bool) -> float:
    """Log of E (chi^2_K)^power, where K is n, or Binomial(n, 1/2) but above 24 as in `_log_binomial`."""
    k = np.arange(25, n + 1) if halved else np.array([n])
    weight = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * math.log(2) if halved else np.zeros(1)
    return _log_sum(weight + power * math.log(2) + gammaln(k / 2 + power) - gammaln(k / 2))


def _log_sum(logs: np.ndarray) -> float:
    return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))
