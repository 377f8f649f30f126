"""Which trials a claim wants: in stages, with seeds that tune and others that judge, and no more than help."""

import dataclasses
import itertools
import math
import random

import pytest

from reports.statistics.decisions import best, known_well_enough, paired_gain, sign_flip
from reports.statistics.intervals import Interval
from suites.claims.claim import LEAST, Outcome, Rates, Trial, end_of
from suites.claims.plan import PLOTTED_SEEDS, PUBLISHED, TUNED, TUNING
from suites.selftest.claim_errors import WORLDS, errors, right
from suites.selftest.invented_claims import CLAIM, UNTUNED, Results, finish, plan_of


def loss(trial: Trial, at: float = 0.1, noise: float = 0.001) -> float:
    """A loss that is least at a rate, and differs a little from seed to seed."""
    drawn = random.Random(str((trial.arm, trial.seed, trial.purpose))).gauss(0, noise)
    return abs(math.log10((trial.rate or at) / at)) + drawn


def test_first_as_published_then_the_search_then_each_at_its_own_rate() -> None:
    """Wrong variants: judged at a rate before it is found; searched before anything was seen; conditions torn apart."""
    plan = plan_of()
    stages = [stage for stage, _ in plan.wanted({})]
    assert stages == sorted(stages)
    assert stages.count(PUBLISHED) == 2 * LEAST
    assert stages.count(TUNING) == 2 * 3 * 2
    assert TUNED not in stages
    done: Results = {}
    asked = finish(plan, lambda trial: loss(trial, at=1.0), done)
    assert {trial.rate for trial in asked[0] if trial.purpose == "judge"} == {0.1}
    judged = {(trial.arm, trial.rate) for trial in done if trial.purpose == "judge" and trial.condition == {"size": 2}}
    assert judged == {(arm, rate) for arm in CLAIM.arms for rate in (0.1, 1.0)}


def test_what_tunes_never_judges() -> None:
    """Wrong variant: the seeds that tune judge as well, so that the better-searched arm looks better."""
    done: Results = {}
    finish(plan_of(), loss, done)
    seeds = {purpose: {t.seed_for("weights") for t in done if t.purpose == purpose} for purpose in ("tune", "judge")}
    assert not seeds["tune"] & seeds["judge"]
    assert len(seeds["judge"]) == LEAST


def test_a_best_rate_at_the_end_of_the_grid_is_searched_further_once() -> None:
    """Wrong variants: it is taken as it is; the search goes on for ever; the other arm is searched further, too."""
    done: Results = {}
    plan = plan_of()
    finish(plan, lambda trial: loss(trial, at=1e-9 if trial.arm == "arm" else 0.1), done)
    tried = {arm: sorted({t.learning_rate for t in done if t.purpose == "tune" and t.arm == arm}) for arm in CLAIM.arms}
    assert tried == {"arm": [1e-4, 1e-3, 0.01, 0.1, 1.0], "baseline": [0.01, 0.1, 1.0]}
    choice = plan.choice("arm", 2, done)
    assert choice is not None
    assert (choice.rate, choice.end) == (1e-4, "low"), "it says that it is not tuned"


def test_a_rate_that_diverges_is_never_the_best() -> None:
    """Wrong variants: a mean over the seeds that came through; NaN as smaller than all."""
    assert best({0.1: [1.0, 1.0], 1.0: [0.1, math.nan], 10.0: [math.inf, 0.0]}, lower_is_better=True).rate == 0.1  # type: ignore[union-attr]
    assert best({0.1: [1.0], 1.0: [2.0]}, lower_is_better=False).rate == 1.0  # type: ignore[union-attr]
    lost = best({0.1: [math.nan], 1.0: [math.inf]}, lower_is_better=True)
    assert lost is not None
    assert (lost.rate, lost.end) == (0.1, "low"), "a smaller one may still train"
    assert best({}, lower_is_better=True) is None
    only = best({0.1: [1.0]}, lower_is_better=True)
    assert only is not None
    assert only.end == "", "a grid of one point has no ends"


def test_an_arm_that_no_rate_saves_is_searched_at_smaller_ones_and_judged_there() -> None:
    """Wrong variant: it is never judged tuned, and what it loses to is undecided."""
    done: Results = {}
    plan = plan_of()
    finish(plan, lambda trial: math.nan if trial.arm == "baseline" else loss(trial), done)
    tuned = {trial.rate for trial in done if trial.purpose == "tune" and trial.arm == "baseline"}
    assert min(tuned) == 1e-4  # type: ignore[type-var]
    assert sum(t.purpose == "judge" and t.arm == "baseline" and t.rate == 1e-4 for t in done) >= LEAST


def test_other_conditions_are_only_plotted() -> None:
    done: Results = {}
    finish(plan_of(), loss, done)
    beside = [trial for trial in done if trial.condition == {"size": 1}]
    assert len(beside) == 2 * PLOTTED_SEEDS
    assert {trial.rate for trial in beside} == {0.1}


def test_more_seeds_come_where_an_interval_is_wide_and_not_beyond_the_most() -> None:
    """Wrong variants: as many seeds for all; seeds without end."""

    def seeds(noise: float, scale: str) -> int:
        done: Results = {}
        finish(plan_of(UNTUNED, scale), lambda trial: loss(trial, noise=noise), done)
        return max(trial.seed for trial in done) + 1

    assert seeds(0.001, "standard") == LEAST
    assert LEAST < seeds(0.05, "standard") <= 12
    assert seeds(10.0, "standard") == 12
    assert seeds(10.0, "quick") == LEAST


def test_a_plan_looks_at_widths_and_never_at_where_an_interval_lies() -> None:
    """Wrong variant: it stops as soon as a difference is significant, which finds what is not there."""
    asked = []
    for gain in (0.0, 0.05, 5.0):
        found = finish(
            plan_of(UNTUNED, "standard"),
            lambda trial, gain=gain: loss(trial, noise=0.06) - gain * (trial.arm == "arm"),  # type: ignore[misc]
        )
        asked.append(found)
    assert asked[0] == asked[1] == asked[2]
    assert len(asked[0]) > 1


def test_a_session_that_was_cut_short_goes_on_with_what_is_left() -> None:
    """Wrong variant: what was done is asked for again, or decides otherwise when it is read back."""
    plan = plan_of(scale="standard")
    whole: Results = {}
    finish(plan, lambda trial: loss(trial, noise=0.05), whole)
    drawn = random.Random(0)
    for _ in range(20):
        part: Results = {trial: whole[trial] for trial in whole if drawn.random() < 0.7}
        asked = finish(plan, lambda trial: loss(trial, noise=0.05), part)
        assert part.keys() >= whole.keys()
        again = list(itertools.chain.from_iterable(asked))
        assert len(again) == len(set(again))


def test_a_trial_that_failed_is_not_asked_for_again_and_counts_as_lost() -> None:
    """Wrong variant: a plan that waits for it."""
    plan, done = plan_of(), Results()
    while wanted := plan.wanted(done):
        for _, trial in wanted:
            done[trial] = {} if trial.arm == "arm" else {"loss": loss(trial)}
    choice = plan.choice("arm", 2, done)
    assert choice is not None
    assert (choice.rate, choice.end) == (1e-4, "low")
    assert {trial.rate for trial in done if trial.purpose == "judge" and trial.arm == "arm"} == {0.1, 1e-4}


def test_arms_share_the_seeds_of_all_that_they_can_share() -> None:
    """Wrong variants: the arm or its rate goes into a seed; one seed for all choices; seed 0 is no seed."""
    first = plan_of().wanted({})
    trials = {trial.arm: trial for _, trial in reversed(first) if trial.purpose == "judge"}
    arm, baseline = trials["arm"], trials["baseline"]
    assert arm.seed == baseline.seed == 0
    assert arm.seed_for("order") == baseline.seed_for("order")
    assert dataclasses.replace(arm, rate=7.0).seed_for("order") == arm.seed_for("order")
    others = [arm.seed_for("weights"), dataclasses.replace(arm, seed=1).seed_for("order")]
    others += [dataclasses.replace(arm, claim="another").seed_for("order")]
    assert len({arm.seed_for("order"), *others}) == 4


def test_rates_are_written_as_one_writes_them() -> None:
    """Wrong variant: 0.30000000000000004, which makes another key of the same rate."""
    rates = Rates(0.1, factor=3.0, below=2, above=2)
    assert rates.grid() == (0.0111, 0.0333, 0.1, 0.3, 0.9)
    assert rates.beyond("low") == (0.00123, 0.0037)
    assert rates.beyond("high") == (2.7, 8.1)


def test_the_end_of_a_series() -> None:
    assert end_of([5.0, 1.0, 3.0], 2) == 2.0
    assert math.isnan(end_of([1.0, math.nan], 1))
    assert math.isnan(end_of([], 3))
    with pytest.raises(ValueError, match=r"must end with the metrics \['loss'\], got \['loss', 'other'\]"):
        Outcome({"other": 1.0}, {"loss": [1.0]}).complete(CLAIM.metrics)


def test_sign_flips() -> None:
    """Wrong variants: one-sided; the observed signs left out, which gives zero."""
    assert sign_flip([1.0] * 6) == 2 / 64
    assert sign_flip([1.0, -1.0]) == 1.0
    assert sign_flip([]) == 1.0
    assert sign_flip([0.0] * 6) == 1.0
    assert 0 < sign_flip([1.0] * 30) < 0.001


def test_the_smallest_gain_that_would_have_been_seen() -> None:
    """Checked against the power of a paired t-test at that gain, by simulation: 80 of 100."""
    import numpy as np

    generator = np.random.default_rng(0)
    seen = []
    for _ in range(4000):
        noise = generator.normal(0, 1, 10)
        gain = paired_gain(dict(enumerate(noise)), 0.0, "difference", lower_is_better=False, margin=0.5)
        truth = (2.262 + 0.883) / math.sqrt(10)  # quantiles of t with 9 degrees of freedom, standard deviation 1
        assert gain.detectable > 0.5
        shifted = paired_gain(dict(enumerate(noise + 0.5 + truth)), 0.0, "difference", False, 0.5)
        seen.append(shifted.interval.low > 0.5)
    assert 0.76 < np.mean(seen) < 0.84


@pytest.mark.parametrize(
    ("low", "high", "scale", "margin", "expected"),
    [
        (0.0, 0.1, "difference", 0.1, True),
        (7.0, 7.1, "difference", 0.1, True),
        (0.0, 0.11, "difference", 0.1, False),
        (1.0, 1.5, "ratio", 1.5, True),
        (100.0, 151.0, "ratio", 1.5, False),
        (-math.inf, math.inf, "difference", 0.1, False),
    ],
)
def test_known_well_enough(low: float, high: float, scale: str, margin: float, expected: bool) -> None:
    assert known_well_enough(Interval(low, low, high, 0.5, 6, "seeds"), scale, margin) is expected


def test_verdicts_err_as_rarely_as_they_say() -> None:
    """Of 60 invented reruns of each kind; `python -m suites.selftest.claim_errors` tries 200, or more."""
    for name, counts in errors(60, "standard").items():
        good = sum(count for verdicts, count in counts.items() if right(name, *verdicts))
        assert good >= 54, f"{name}: {dict(counts)}"  # 57 in the mean where 95% are right; 53 are less than 1 in 20
    assert set(WORLDS) == {"equal", "badly tuned", "better", "worse"}
