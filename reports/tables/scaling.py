"""How time and memory grow with a size: exponents with their intervals.

A workload whose sizes are all the same but one is a *sweep* over that one. Its exponent is the slope of the line of
least squares through the logarithms, of time over size: 1 where twice the length takes twice the time, 2 where it takes
four times as long.

**Where it is taken.** Every step has an overhead that does not grow, so that no power of the size fits from the
smallest on, and a third parameter for the overhead would be known from the smallest sizes alone. The slope is therefore
taken over the upper end, from an eighth of the largest size on (three sizes at least), and said to hold there only:
what is left of the overhead makes it lower than it will be beyond.

**Its interval.** The unit of replication is the heat. The sizes ran in races of their own, which share no process and
may have different numbers of heats, so that a slope is a weighted sum of independent means, each with its own variance;
its degrees of freedom are those of Welch and Satterthwaite (Satterthwaite, Biometrics Bulletin 2, 1946). Rounds of one
process are not independent, and say nothing about another one.

**Drift.** Between the race of the smallest size and that of the largest, the machine may have slowed down, and no
number of heats of either shows it. Where every race of a sweep had the control kernel among its contenders, times are
therefore taken relative to it, block by block; where not, `Exponent.controlled` is false.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy import special

from reports.statistics.intervals import CONFIDENCE, Interval, Rounds, step_ratio, step_time, t_interval
from reports.store.run_folder import Row
from reports.tables.comparisons import AGAIN, CONTROLS, Sample
from reports.words import contender

LEAST_SIZES = 3
"""A parameter is swept when it takes so many values while all others stay as they are."""

UPPER_END = 8
"""The slope is taken over sizes that are at least the largest divided by this."""

MATMUL = CONTROLS[0]


@dataclass(frozen=True)
class Exponent:
    """How something grows with a parameter.

    Attributes:
        quantity: "time" or "memory".
        place, technique, device, scale, precision, operation: of the rows.
        contender: the implementation, with what it runs on.
        parameter: the size that varies.
        setting: JSON of all others.
        estimate: the exponent.
        low, high: the ends of its interval; infinite where single heats give none.
        points: the sizes that it rests on, ascending.
        controlled: whether drift of the machine between the races has been taken out.
    """

    quantity: str
    place: str
    technique: str
    device: str
    scale: str
    precision: str
    operation: str
    contender: str
    parameter: str
    setting: str
    estimate: float
    low: float
    high: float
    points: tuple[float, ...]
    controlled: bool

    @property
    def sentence(self) -> str:
        """For the report: ``time grows with length to the power 1.93 [1.85, 2.01] from 512 to 4,096``."""
        known = math.isfinite(self.low) and math.isfinite(self.high)
        ends = f"[{self.low:.2f}, {self.high:.2f}]" if known else "(no interval)"
        first, last = (f"{size:,.10g}" for size in (self.points[0], self.points[-1]))
        name = self.parameter.replace("_", " ")
        return f"{self.quantity} grows with {name} to the power {self.estimate:.2f} {ends} from {first} to {last}"


def exponents(samples: Iterable[Sample]) -> list[Exponent]:
    """How the time of every contender grows with every parameter that was swept.

    Args:
        samples: rows of the table of timings with their rounds, those of the control kernels among them.
    """
    samples = [(row, rounds) for row, rounds in samples if len(rounds.seconds)]
    controls = {
        (row["place"], rounds.race, row["precision"]): rounds
        for row, rounds in samples
        if row["implementation"] == MATMUL
    }
    found = []
    for sweep in sweeps(samples):
        for line in map(_upper_end, sweep.lines):
            beside = [controls.get((row["place"], rounds.race, row["precision"])) for _, row, rounds in line]
            controlled = None not in beside
            times = [
                _log_time(rounds, control if controlled else None)
                for (_, _, rounds), control in zip(line, beside, strict=True)
            ]
            found.append(_exponent("time", sweep, line, times, controlled))
    return found


def memory_exponents(timings: Iterable[Row]) -> list[Exponent]:
    """How the memory of every contender grows with every parameter that was swept.

    Args:
        timings: rows of the table of timings. ``memory_by_heat`` has the net peak of every heat's process, in bytes;
            without it, ``memory_bytes`` is one number, which gives no interval. What was not measured is left out.
    """
    measured = [(row, peaks) for row in timings if (peaks := _peaks(row))]
    return [
        _exponent("memory", sweep, line, [t_interval(np.log(peaks), "heats") for _, _, peaks in line], True)
        for sweep in sweeps(measured)
        for line in map(_upper_end, sweep.lines)
    ]


T = TypeVar("T")
Point = tuple[float, Row, T]
"""A size, the row that was timed at it, and what goes with the row."""


@dataclass(frozen=True)
class Sweep(Generic[T]):
    """Timings of one operation that differ in one size.

    Attributes:
        parameter: the size that varies.
        setting: JSON of all others.
        lines: of each contender at each precision, at three sizes or more, in ascending order.
    """

    parameter: str
    setting: str
    lines: Sequence[Sequence[Point[T]]]


def sweeps(timings: Iterable[tuple[Row, T]]) -> Iterator[Sweep[T]]:
    """Every parameter that varies while all others stay as they are; control kernels and A/A races left out.

    Args:
        timings: rows, each with whatever goes with it.
    """
    families: dict[tuple[str, ...], dict[tuple[str, ...], dict[float, Point[T]]]] = {}
    for row, beside in timings:
        if row["implementation"] in (*CONTROLS, AGAIN):
            continue
        sizes = json.loads(row["parameters"])
        family = [row[name] for name in ("place", "technique", "device", "scale", "operation")]
        for name, size in sizes.items():
            if isinstance(size, int | float) and not isinstance(size, bool) and size > 0:  # a switch is no size
                setting = json.dumps({other: value for other, value in sizes.items() if other != name}, sort_keys=True)
                lines = families.setdefault((*family, name, setting), {})
                lines.setdefault((contender(row), row["precision"]), {})[size] = size, row, beside
    for (*_, name, setting), lines in families.items():
        long = [[line[size] for size in sorted(line)] for line in lines.values() if len(line) >= LEAST_SIZES]
        if long:
            yield Sweep(name, setting, long)


def _upper_end(line: Sequence[Point[T]]) -> Sequence[Point[T]]:
    """The sizes from an eighth of the largest on, and three at least."""
    upper = [point for point in line if point[0] * UPPER_END >= line[-1][0]]
    return upper if len(upper) >= LEAST_SIZES else line[-LEAST_SIZES:]


def slope(sizes: Sequence[float], logs: Sequence[Interval]) -> Interval:
    """The slope of the line of least squares through independent means over the logarithms of sizes.

    Args:
        sizes: (n,) positive, not all the same.
        logs: (n,) mean logarithms, each with its t interval over heats. One without an interval, or one over blocks or
            rounds of a single heat, leaves the slope without one.
    """
    x = np.log(np.asarray(sizes, dtype=np.float64))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    estimate = float(weights @ [log.estimate for log in logs])
    units = min(log.units for log in logs)
    if not all(log.known and log.basis == "heats" for log in logs):
        return Interval(estimate, -math.inf, math.inf, 1.0, units, "heats")
    degrees = np.array([log.units - 1.0 for log in logs])
    reach = np.array([(log.high - log.low) / 2 for log in logs])
    shares = (weights * reach / special.stdtrit(degrees, 0.5 + CONFIDENCE / 2)) ** 2  # each mean's in the variance
    total = float(shares.sum())
    if total == 0:
        return Interval(estimate, estimate, estimate, float(estimate == 0), units, "heats")
    freedom, error = total**2 / float((shares**2 / degrees).sum()), math.sqrt(total)
    half = float(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(estimate) / error))
    return Interval(estimate, estimate - half, estimate + half, p, units, "heats")


def _log_time(rounds: Rounds, control: Rounds | None) -> Interval:
    """The logarithm of the time of a step, in seconds or relative to a control kernel of the same race."""
    time = step_time(rounds) if control is None else step_ratio(rounds, control)
    with np.errstate(divide="ignore"):  # an interval that is not known goes from zero to infinity
        estimate, low, high = (float(np.log(value)) for value in (time.estimate, time.low, time.high))
    return Interval(estimate, low, high, time.p, time.units, time.basis)


def _peaks(row: Row) -> list[float]:
    """The net peak of every heat that was measured, in bytes."""
    peaks = row.get("memory_by_heat") or [row.get("memory_bytes")]
    return [peak for peak in peaks if peak is not None and peak > 0]


def _exponent(
    quantity: str, sweep: Sweep[T], line: Sequence[Point[T]], logs: Sequence[Interval], controlled: bool
) -> Exponent:
    """The exponent of a line of a sweep, from the logarithms at its sizes."""
    sizes, row = [size for size, _, _ in line], line[-1][1]
    found = slope(sizes, logs)
    return Exponent(
        quantity=quantity,
        contender=contender(row),
        parameter=sweep.parameter,
        setting=sweep.setting,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        points=tuple(sizes),
        controlled=controlled,
        **{name: row[name] for name in ("place", "technique", "device", "scale", "precision", "operation")},
    )
