"""Weights as they are born: each follows its law, and no two are alike."""

import itertools
import math
from collections.abc import Mapping

import numpy as np

from suites.properties.checks import check
from suites.properties.oracles.initialization import FALSE_ALARM, Law


def glorot(fan_in: int, fan_out: int) -> Law:
    """Glorot's uniform distribution, of limit sqrt(6 / (fan_in + fan_out))."""
    return Law("uniform", math.sqrt(2 / (fan_in + fan_out)))


def assert_born(array: np.ndarray, law: Law, what: str) -> None:
    """Fail unless an array looks drawn from a law: by its reach, its mean square, and its whole distribution."""
    __tracebackhide__ = True
    drawn, n = np.sort(array.ravel()), array.size
    reach = np.abs(drawn).max()
    check(reach <= law.limit * (1 + 2.0**-20), f"{what} is born up to {reach:.4g}, its limit is {law.limit:.4g}")
    low, high = law.mean_square_between(n)
    square = (drawn**2).mean()
    check(
        low <= square <= high, f"{what} is born with a mean square of {square:.4g}, outside of {low:.4g} to {high:.4g}"
    )
    # Dvoretzky, Kiefer and Wolfowitz 1956, with the constant of Massart 1990: P(distance > d) <= 2 exp(-2 n d^2).
    distance = np.abs(law.cumulative(drawn) - (np.arange(n) + 0.5) / n).max() - 0.5 / n
    most = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * n))
    check(distance <= most, f"{what} is born {distance:.3f} from its distribution, at most {most:.3f} is chance")


def assert_apart(arrays: Mapping[str, np.ndarray]) -> None:
    """Fail if two arrays of as many numbers are born alike."""
    __tracebackhide__ = True
    for (one, a), (other, b) in itertools.combinations(arrays.items(), 2):
        check(
            a.size != b.size or not np.array_equal(np.sort(a.ravel()), np.sort(b.ravel())), f"{one} is born as {other}"
        )
