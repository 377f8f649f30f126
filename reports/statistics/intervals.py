"""The statistics of the report: pure functions of numbers, with an interval for every estimate.

Three questions are asked of the samples. How long does a step take (`step_time`)? How many times as long as another
contender's (`step_ratio`)? By how much does one arm of a claim beat the other (`t_interval` over seeds)? In all
three the unit of replication is what was started afresh, a process (a *heat*) or a seed, never the single round:
rounds of one process share its memory layout and its threads, and are not independent of each other (Kalibera and
Jones, "Rigorous benchmarking in reasonable time", ISMM 2013, on levels of repetition).
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

CONFIDENCE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        estimate: the point estimate; NaN where there was nothing to estimate from.
        low, high: the ends of the interval at `CONFIDENCE`; infinite where a single unit gives no interval.
        p: two-sided p-value of the null hypothesis that the function which made the interval states.
        units: how many independent units the interval rests on.
        basis: what a unit is: ``heats``, ``seeds``; ``blocks`` or ``rounds`` where there was one heat only, so that
            differences between processes are not in the interval; ``a heat`` where they are, as other ratios of the run
            show them.
    """

    estimate: float
    low: float
    high: float
    p: float
    units: int
    basis: str

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def reach(self) -> float:
        """Of a ratio: half the interval's width as a share of the ratio; infinite where there is no interval."""
        return math.sqrt(self.high / self.low) - 1 if self.known and self.low > 0 else math.inf

    def exp(self) -> "Interval":
        """From the interval of a difference of logarithms to that of a ratio, endpoints and all."""
        estimate, low, high = (float(np.exp(value)) for value in (self.estimate, self.low, self.high))
        return Interval(estimate, low, high, self.p, self.units, self.basis)


@dataclass(frozen=True)
class Rounds:
    """The rounds of one contender in one race.

    Attributes:
        race: the race's name; only contenders of one race can be paired.
        seconds: (R,) float64, seconds per step, one per round, positive and finite; those of a block as they ran.
        heat, block: (R,) int64, the heat and the palindromic block in which each round ran.
    """

    race: str
    seconds: Floats
    heat: NDArray[np.int64]
    block: NDArray[np.int64]

    @classmethod
    def of(cls, race: str, seconds: ArrayLike | Sequence[float | None], heat: ArrayLike, block: ArrayLike) -> "Rounds":
        """Rounds from plain lists of equal length; ``None`` and other unusable times are left out."""
        times = np.asarray(seconds, dtype=np.float64)  # None becomes NaN
        kept = np.isfinite(times) & (times > 0)
        return cls(race, times[kept], np.asarray(heat, np.int64)[kept], np.asarray(block, np.int64)[kept])

    def only(self, heats: ArrayLike) -> "Rounds":
        """The rounds of some heats."""
        kept = np.isin(self.heat, heats)
        return Rounds(self.race, self.seconds[kept], self.heat[kept], self.block[kept])


@functools.lru_cache(maxsize=4096)
def t_quantile(degrees: float) -> float:
    """How many standard errors an interval at `CONFIDENCE` reaches, with so many degrees of freedom."""
    return float(special.stdtrit(degrees, 0.5 + CONFIDENCE / 2))


def t_interval(values: Sequence[float] | Floats, basis: str, null: float = 0.0) -> Interval:
    """Student's t interval of a mean; the p-value is of "the mean is `null`" (Student, Biometrika 6, 1908).

    Args:
        values: (n,) one value per independent unit, finite.
        basis: what a unit is, kept with the interval.
        null: the mean under the null hypothesis.

    Returns:
        The interval; with a single value its ends are infinite, with none the estimate is NaN as well.
    """
    sample = np.asarray(values, dtype=np.float64)
    units = len(sample)
    if units == 0:
        return Interval(math.nan, -math.inf, math.inf, 1.0, 0, basis)
    mean = float(sample.mean())
    if units == 1:
        return Interval(mean, -math.inf, math.inf, 1.0, 1, basis)
    return _t(mean, float(sample.std(ddof=1)) / math.sqrt(units), units - 1, units, basis, null)


def from_error(log_ratio: float, error: float, degrees: float, basis: str) -> Interval:
    """The interval of a ratio of one heat, given the standard error of its logarithm and its degrees of freedom."""
    return _t(log_ratio, error, degrees, 1, basis, 0.0).exp()


def _t(mean: float, error: float, degrees: float, units: int, basis: str, null: float) -> Interval:
    if error == 0:
        return Interval(mean, mean, mean, float(mean == null), units, basis)
    p = 2 * float(special.stdtr(degrees, -abs(mean - null) / error))
    reach = t_quantile(degrees) * error
    return Interval(mean, mean - reach, mean + reach, p, units, basis)


def step_time(rounds: Rounds) -> Interval:
    """Seconds per step of one contender: the median over rounds within a heat, the geometric mean over heats.

    The interval is a t interval of the heats' log medians. With one heat it is the distribution-free interval of the
    median over rounds (Conover, "Practical nonparametric statistics", section 3.2), which says nothing about other
    processes; `Interval.basis` tells which one it is.
    """
    medians = np.array([np.median(rounds.seconds[rounds.heat == heat]) for heat in np.unique(rounds.heat)])
    if len(medians) != 1:
        return t_interval(np.log(medians), "heats").exp()
    return _median_interval(np.sort(rounds.seconds))


def _median_interval(ordered: Floats) -> Interval:
    """Interval of a median between two order statistics; ordered: (R,) ascending."""
    count = len(ordered)
    # The largest r with P(Binomial(n, 1/2) < r) <= alpha/2: the interval from the r-th smallest to the r-th largest
    # then covers the median with at least the wanted confidence, whatever the distribution.
    tail = special.bdtr(np.arange(count), count, 0.5)
    rank = int(np.searchsorted(tail, (1 - CONFIDENCE) / 2, side="right"))
    ends = (float(ordered[rank - 1]), float(ordered[count - rank])) if rank else (-math.inf, math.inf)
    return Interval(float(np.median(ordered)), *ends, 1.0, count, "rounds")


def step_ratio(contender: Rounds, baseline: Rounds) -> Interval:
    """How many times as long as the baseline's a contender's step takes; the p-value is of "the ratio is 1".

    Both took turns in palindromic blocks (A B B A), so that a linear drift adds to the difference of their log times on
    the way out what it takes from it on the way back. The estimate has two levels: the median over the ways of a heat,
    which shrugs off disturbed ones, be they nearly half, then the mean over heats with its t interval. A way is a
    shorter time than a block, and seldomer disturbed: where a host changes its speed every few turns, this halves the
    variance of a heat. With fewer than two common heats, the interval is taken over the ways of the blocks instead and
    its basis says so: it leaves out how processes differ from each other. Contenders of two races have no ratio.

    Raises:
        ValueError: they did not run in one race.
    """
    heats, differences = _differences(contender, baseline, _way_codes)
    distinct = np.unique(heats)
    if len(distinct) < 2:
        return t_interval(differences, "blocks").exp()
    return t_interval([np.median(differences[heats == heat]) for heat in distinct], "heats").exp()


def way_ratios(contender: Rounds, baseline: Rounds) -> Floats:
    """The ratio of the contender's time to the baseline's in each way of a block that both ran, (W,)."""
    return np.exp(_differences(contender, baseline, _way_codes)[1])


def known_well_enough(contender: Rounds, baseline: Rounds, narrow: float) -> bool:
    """Whether a race may stop: the ratio was known to within `narrow` of itself `HEATS_BEYOND` heats ago.

    The rule looks at widths alone and never at the estimate, so that stopping favours no verdict. It does favour heats
    that happened to resemble each other, whose interval is too narrow: stopping at once covers the truth in as few as
    90% of races, and a constant number of heats beyond brings that back to 93.5% or more (Woodroofe, "Second order
    approximations for sequential point and interval estimation", Annals of Statistics 5, 1977; simulated in
    ``suites/selftest/test_error_rates.py``).
    """
    common = np.intersect1d(contender.heat, baseline.heat)[:-HEATS_BEYOND]
    if len(common) < LEAST_HEATS:
        return False
    return step_ratio(contender.only(common), baseline.only(common)).reach <= narrow


HEATS_BEYOND = 3
LEAST_HEATS = 3
"""Fewer heats than this have never been narrow enough."""


def slower_share(contender: Rounds, baseline: Rounds) -> float | None:
    """The share of common blocks in which the contender took longer; half a block for a tie.

    An effect size that asks nothing of the distribution: 0.5 for what is level, 1 for what is slower in every block
    (the paired form of the probability of superiority, Grissom, Journal of Applied Psychology 79, 1994).
    """
    _, differences = _differences(contender, baseline, _block_codes)
    return float(np.mean((np.sign(differences) + 1) / 2)) if len(differences) else None


def noise_floor(ratios: Sequence[Interval]) -> float:
    """The smallest ratio that this run could tell from noise: what one more A/A race would stay below, at `CONFIDENCE`.

    Identical contenders differ by chance, and by whatever favours one place in a race over another. Their log ratios
    are taken as normal with mean zero, but for a few races that were much disturbed: their spread is 1.48 times the
    median of their sizes, and a next one stays within t(n/2) spreads, since a median tells of n values as much as a
    root mean square of less than half as many. Of one or two races such a spread says next to nothing; there the
    intervals, which rest on several heats each, say more: a next one stays no less often within the furthest end of an
    interval, the median of them. The floor is the lower of the two, but for estimates that happen to be very near to 1:
    what the intervals themselves reach, the median of them, could not be told from noise (simulated in
    ``suites/selftest/test_error_rates.py``).

    Args:
        ratios: of the reference to itself, one per A/A race, at least one, positive.

    Returns:
        A ratio of at least 1.
    """
    sizes = np.abs(np.log([ratio.estimate for ratio in ratios]))
    by_spread = float(np.exp(t_quantile(max(1.0, len(sizes) / 2)) * _SPREAD_OF_MEDIAN * np.median(sizes)))
    known = [ratio for ratio in ratios if ratio.known and ratio.low > 0]
    ends = [max(ratio.high, 1 / ratio.low) for ratio in known] + [math.inf] * (len(ratios) - len(known))
    reach = 1 + float(np.median([ratio.reach for ratio in known])) if known else 1.0
    return max(reach, min(by_spread, float(np.median(ends))))


_SPREAD_OF_MEDIAN = 1 / float(special.ndtri(0.75))  # of the size of a normal number


def moderate(ratios: Sequence[Interval]) -> list[Interval]:
    """Let the ratios of one machine learn from each other how much processes differ.

    A ratio of three heats has two degrees of freedom, and so an interval of more than four standard errors either way,
    though dozens of ratios of the same run show how much heats usually vary. The variance of each is therefore drawn
    towards the common one, as far as the variances resemble each other (Smyth, "Linear models and empirical Bayes
    methods for assessing differential expression", SAGMB 3:3, 2004, section 3: moderated t). Estimates stay as
    they are; so do runs with fewer than `LEAST_TO_MODERATE` ratios of several heats.

    A ratio of one heat, whose own interval leaves out how processes differ, has no variance of its own to bring. It is
    one more deviation of a heat, of the spread of any of the others, and at least of that of its own ways: its interval
    holds `CONFIDENCE` of the mixture of these normal distributions. (The prior itself would not do: of a run in which
    most ratios have two heats, it has one degree of freedom, and an eighteenth of the time would be no difference.) Its
    basis is then ``a heat``.
    """
    own = [i for i, ratio in enumerate(ratios) if ratio.basis == "heats" and ratio.known and ratio.low < ratio.high]
    if len(own) < LEAST_TO_MODERATE:
        return list(ratios)
    degrees = np.array([ratios[i].units - 1.0 for i in own])
    reach = np.array([math.log(ratios[i].high / ratios[i].low) / 2 for i in own])
    variances = (degrees + 1) * (reach / [t_quantile(d) for d in degrees]) ** 2  # of one heat's log ratio
    prior_degrees, prior = variance_prior(variances, degrees)
    moderated = list(ratios)
    for i, own_degrees, variance in zip(own, degrees.tolist(), variances.tolist(), strict=True):
        total = prior_degrees + own_degrees
        shared = (prior_degrees * prior + own_degrees * variance) / total
        ratio = ratios[i]
        error = math.sqrt(shared / ratio.units)
        moderated[i] = _t(math.log(ratio.estimate), error, total, ratio.units, ratio.basis, 0.0).exp()
    for i, ratio in enumerate(ratios):
        if ratio.basis == "blocks" and ratio.estimate > 0:
            moderated[i] = _of_a_heat(ratio, variances)
    return moderated


def _of_a_heat(ratio: Interval, variances: Floats) -> Interval:
    """The interval of a ratio of one heat, given the variance of a heat's log ratio in others of the run, (n,)."""
    if ratio.known and ratio.low > 0:
        own = (math.log(ratio.high / ratio.low) / 2 / t_quantile(ratio.units - 1)) ** 2
        spreads = np.sqrt(np.maximum(variances, own))
    else:  # a single way: as if heats differed by nothing else than what ways do
        spreads = np.sqrt(variances * WAYS_OF_A_HEAT)

    def beyond(reach: float) -> float:
        return float(np.mean(2 * special.ndtr(-reach / spreads)))

    inside, outside = 0.0, 10 * float(spreads.max())
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if beyond(middle) > 1 - CONFIDENCE else (inside, middle)
    low, high = ratio.estimate * math.exp(-outside), ratio.estimate * math.exp(outside)
    return Interval(ratio.estimate, low, high, beyond(abs(math.log(ratio.estimate))), 1, "a heat")


LEAST_TO_MODERATE = 10
"""Fewer variances than this say too little about how they are distributed."""

WAYS_OF_A_HEAT = 20
"""About as many ways of blocks have the heats that the variances of others come from."""

_NO_SPREAD = 1e6  # prior degrees of freedom where all variances are alike


def variance_prior(variances: Floats, degrees: Floats) -> tuple[float, float]:
    """Degrees of freedom and scale of the scaled inverse chi-square prior of variances, by moments of their logarithms.

    Smyth 2004, section 6.2; variances, degrees: (n,).
    """
    logs = np.log(variances) - special.digamma(degrees / 2) + np.log(degrees / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, degrees / 2).mean())
    half = _inverse_trigamma(excess) if excess > 0 else _NO_SPREAD
    half = min(half, _NO_SPREAD)
    return 2 * half, float(np.exp(logs.mean() + special.digamma(half) - math.log(half)))


def _inverse_trigamma(value: float) -> float:
    """The y with trigamma(y) = value > 0, by Newton's method on 1/trigamma (Smyth 2004, appendix)."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y


Codes = NDArray[np.int64]


def _differences(contender: Rounds, baseline: Rounds, codes: Callable[[Rounds], Codes]) -> tuple[Codes, Floats]:
    """Heat and difference of mean log seconds of every block, or way of one, that both ran: two arrays, (units,)."""
    if contender.race != baseline.race:
        raise ValueError(f"races {contender.race!r} and {baseline.race!r}: what took no turns is not compared")
    (own, means), (others, other_means) = (_mean_logs(each, codes(each)) for each in (contender, baseline))
    common, ours, theirs = np.intersect1d(own, others, assume_unique=True, return_indices=True)
    return common // _WAYS, means[ours] - other_means[theirs]


_WAYS = 1 << 32  # more ways than a heat can have: heat, block and way fit one integer


def _block_codes(rounds: Rounds) -> Codes:
    return rounds.heat * _WAYS + 2 * rounds.block


def _way_codes(rounds: Rounds) -> Codes:
    """A block's first round is of the way out, the other of the way back."""
    blocks = _block_codes(rounds)
    _, first = np.unique(blocks, return_index=True)
    back = np.ones_like(blocks)
    back[first] = 0
    return blocks + back


def _mean_logs(rounds: Rounds, codes: Codes) -> tuple[Codes, Floats]:
    distinct, places = np.unique(codes, return_inverse=True)
    sums = np.bincount(places, weights=np.log(rounds.seconds), minlength=len(distinct))
    return distinct, sums / np.bincount(places, minlength=len(distinct))


def share_interval(successes: int, tried: int) -> tuple[float, float]:
    """The share of all that succeed, given a sample: a 95% interval (Clopper and Pearson 1934, which is exact)."""
    tail, failures = (1 - CONFIDENCE) / 2, tried - successes
    low = float(special.betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return low, high


def false_discovery(p_values: ArrayLike) -> Floats:
    """Benjamini-Hochberg adjusted p-values (JRSSB 57, 1995): among those below q, a share of at most q is false.

    Equal to ``scipy.stats.false_discovery_control``, whose import alone takes longer than a whole report.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]  # descending
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted
