"""What trials say of a claim: gains, verdicts as published and tuned, after equal steps and equal time."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.pages.report import render_page
from reports.statistics import verdicts
from reports.statistics.decisions import Gain, paired_gain
from reports.statistics.intervals import Interval
from reports.statistics.verdicts import Contrast, Verdict
from reports.store.run_folder import TRIALS, Row
from reports.tables import claims
from reports.tables import frames as tables
from suites.selftest import synthetic_run as synthetic
from suites.selftest.invented_claims import CLAIM

BETTER, EQUAL = Contrast("difference", 0.1, "better", 6), Contrast("difference", 0.1, "equal", 6)
RATIO = Contrast("ratio", 1.5, "better", 6)


def gain(low: float, high: float, arm: int = 0, baseline: int = 0, units: int = 6) -> Gain:
    """A gain with this interval."""
    return Gain(Interval((low + high) / 2, low, high, 0.01, units, "seeds"), 0.03, 0.2, arm, baseline)


@pytest.mark.parametrize(
    ("found", "contrast", "expected"),
    [
        (gain(0.2, 0.4), BETTER, Verdict.REPRODUCED),
        (gain(0.2, 0.4, baseline=1), BETTER, Verdict.REPRODUCED),
        (
            gain(0.2, 0.4, arm=1),
            BETTER,
            Verdict.UNDECIDED,
        ),  # wrong variant: seeds at which the arm diverged do not count
        (gain(0.2, 0.4, units=5), BETTER, Verdict.UNDECIDED),  # wrong variant: five seeds will do
        (gain(0.05, 0.4), BETTER, Verdict.UNDECIDED),  # wrong variant: the estimate is compared with the margin
        (gain(-0.05, 0.09), BETTER, Verdict.NO_DIFFERENCE),  # wrong variant: no difference called undecided
        (gain(-0.09, -0.01), BETTER, Verdict.NO_DIFFERENCE),  # wrong variant: what does not matter contradicts
        (gain(-0.05, 0.09, arm=1), BETTER, Verdict.UNDECIDED),
        (gain(-0.4, -0.01), BETTER, Verdict.CONTRADICTED),
        (gain(-0.4, -0.01, baseline=1), BETTER, Verdict.UNDECIDED),
        (gain(-0.15, -0.01), BETTER, Verdict.UNDECIDED),  # its estimate does not matter, and more might be true
        (gain(-math.inf, math.inf), BETTER, Verdict.UNDECIDED),
        (gain(math.nan, math.nan, baseline=6, units=0), BETTER, Verdict.REPRODUCED),  # beaten at every seed
        (gain(math.nan, math.nan, arm=6, units=0), BETTER, Verdict.CONTRADICTED),
        (gain(math.nan, math.nan, arm=6, baseline=6, units=0), BETTER, Verdict.UNDECIDED),
        (gain(-0.05, 0.09), EQUAL, Verdict.REPRODUCED),
        (gain(0.11, 0.2), EQUAL, Verdict.CONTRADICTED),
        (gain(-0.2, -0.11), EQUAL, Verdict.CONTRADICTED),  # wrong variant: better is equal, too
        (gain(0.05, 0.2), EQUAL, Verdict.UNDECIDED),
        (gain(1.6, 2.0), RATIO, Verdict.REPRODUCED),
        (gain(0.7, 1.4), RATIO, Verdict.NO_DIFFERENCE),  # wrong variant: a ratio's margin is about zero
        (gain(0.3, 0.6), RATIO, Verdict.CONTRADICTED),
    ],
)
def test_verdict_of_a_contrast(found: Gain, contrast: Contrast, expected: Verdict) -> None:
    assert verdicts.of_contrast(found, contrast) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([Verdict.REPRODUCED] * 2, Verdict.REPRODUCED),
        ([Verdict.REPRODUCED, Verdict.NO_DIFFERENCE], Verdict.NO_DIFFERENCE),
        ([Verdict.UNDECIDED, Verdict.NO_DIFFERENCE], Verdict.UNDECIDED),
        ([Verdict.UNDECIDED, Verdict.CONTRADICTED], Verdict.CONTRADICTED),
        ([Verdict.REPRODUCED, Verdict.NOT_RUN], Verdict.NOT_RUN),
        ([], Verdict.UNDECIDED),
    ],
)
def test_verdict_of_a_claim(found: list[Verdict], expected: Verdict) -> None:
    assert verdicts.of_claim(found) is expected


def test_gains_are_paired_by_seed_and_more_is_better() -> None:
    """Wrong variants: a metric that is better when higher read the other way round; seeds of one side alone."""
    assert paired_gain({0: 1.0, 1: 2.0}, {0: 2.0, 1: 4.0}, "ratio", False, 1.5).interval.estimate == pytest.approx(0.5)
    found = paired_gain({0: 1.0, 1: 1.0, 2: 9.0, 3: math.nan}, {0: 2.0, 1: 2.0, 3: 2.0}, "difference", True, 0.1)
    assert (found.interval.estimate, found.interval.units) == (1.0, 2)
    assert (found.arm_unusable, found.baseline_unusable) == (1, 0)
    law = paired_gain({0: 0.4, 1: 0.6}, 0.5, "difference", lower_is_better=True, margin=0.1)
    assert law.interval.estimate == pytest.approx(0.0)


Loss = Callable[[str, float, int], float]


def rows(loss: Loss, clock: dict[str, float] | None = None, **definition: Any) -> list[Row]:
    """The trials of the invented claim: six seeds as published and at 0.01, two that search each rate."""
    clock = clock or {"arm": 1.0, "baseline": 1.0}
    found = []
    for arm in CLAIM.arms:
        for rate in (0.01, 0.1, 1.0):
            for purpose, seeds in (("tune", range(2)), ("judge", range(6 if rate < 1 else 0))):
                for seed in seeds:
                    end = loss(arm, rate, seed)
                    series = [end + 3.0, end + 2.0, end + 1.0, end]
                    found.append(
                        dict.fromkeys(claims.SETTING, "")
                        | {"technique": "t", "claim": "c", "arm": arm, "condition": json.dumps({"size": 2})}
                        | {"seed": seed, "purpose": purpose, "rate": rate, "metrics": {"loss": end}}
                        | {"series": {"loss": series}, "clock": [clock[arm] * (step + 1) for step in range(4)]}
                        | {"definition": definition}
                    )
    return found


def verdicts_of(found: list[Row]) -> dict[tuple[str, str], str]:
    """The claim's verdicts by settings and budget."""
    contrasts, _ = claims.claims(found, {("t", "c"): CLAIM.definition("quick")})
    return {(row["settings"], row["budget"]): row["verdict"] for row in contrasts}


def test_an_effect_that_is_the_rates_doing_is_called_so() -> None:
    """Wrong variants: both verdicts from the same trials; the arm's best rate for both; seeds that tune among them."""

    def loss(arm: str, rate: float, seed: int) -> float:
        badly_tuned = 2.0 if arm == "baseline" and rate == 0.1 else 0.0
        return (
            1.0 + badly_tuned + (0.5 if rate == 1.0 else 0.1 if arm == "arm" and rate == 0.01 else 0.0) + 0.001 * seed
        )

    found = rows(loss)
    contrasts, tuned = claims.claims(found, {("t", "c"): CLAIM.definition("quick")})
    by_settings = {(row["settings"], row["budget"]): row for row in contrasts}
    assert by_settings["as published", "steps"]["verdict"] == "reproduced"
    best = by_settings["tuned", "steps"]
    assert (best["verdict"], best["arm_rate"], best["baseline_rate"]) == ("no difference", 0.1, 0.01)
    assert best["headline"]
    assert not by_settings["as published", "steps"]["headline"]
    assert claims.disagree(contrasts)
    assert {(row["arm"], row["rate"], row["end"], row["tried"]) for row in tuned} == {
        ("arm", 0.1, "", 3),
        ("baseline", 0.01, "low", 3),
    }


def test_a_search_that_was_cut_short_chooses_nothing() -> None:
    """Wrong variant: the best of what was tried so far."""
    found = rows(lambda arm, rate, seed: 1.0 + 0.01 * seed - rate * (arm == "arm"))
    whole = [row for row in found if not (row["purpose"] == "tune" and row["rate"] == 0.01 and row["seed"] == 1)]
    contrasts, _ = claims.claims(whole, {("t", "c"): CLAIM.definition("quick")})
    verdicts_found = {row["settings"]: row["verdict"] for row in contrasts if row["budget"] == "steps"}
    assert verdicts_found["tuned"] == "undecided"
    assert {row["settings"] for row in claims.headline(contrasts)} == {"as published"}, "what is known is quoted"
    assert not claims.disagree(contrasts)


def test_after_equal_time_the_slower_arm_has_done_fewer_steps() -> None:
    """Wrong variants: its last step is taken; the longer clock counts; the clock of another seed."""

    def loss(arm: str, _: float, seed: int) -> float:
        return 1.0 - 0.5 * (arm == "arm") + 0.001 * seed + 0.0001 * seed * (arm == "arm")

    found = rows(loss, {"arm": 2.0, "baseline": 1.0})
    contrasts, _ = claims.claims(found, {("t", "c"): CLAIM.definition("quick")})
    gains = {(row["settings"], row["budget"]): row["gain"] for row in contrasts}
    assert gains["as published", "steps"] == pytest.approx(0.5, abs=0.01)
    assert gains["as published", "time"] == pytest.approx(0.5 - 2.0, abs=0.01)  # two of four steps: two points back
    assert verdicts_of(found)["as published", "time"] == "contradicted"


def test_what_is_found_by_chance_among_many_claims_is_not_called_found() -> None:
    """Wrong variant: no control over the whole table."""
    alone = rows(lambda arm, _, seed: 1.0 - 0.2 * (arm == "arm") + 0.09 * ((seed * 7) % 5 - 2) * (arm == "arm"))
    assert verdicts_of(alone)["as published", "steps"] == "undecided"
    row: Row = {"expects": "better", "contrast_verdict": "reproduced", "units": 6, "p": 0.03}
    others = [dict(row, p=0.9, contrast_verdict="undecided") for _ in range(30)]
    claims._control([row, *others])
    assert row["contrast_verdict"] == "undecided"
    equal = [dict(row, expects="equal", p=1e-9, contrast_verdict="reproduced") for _ in range(30)]
    row["contrast_verdict"] = "reproduced"
    claims._control([row, *others, *equal])
    assert row["contrast_verdict"] == "undecided", "what was found equal makes no discovery more likely"
    assert {each["contrast_verdict"] for each in equal} == {"reproduced"}
    single = dict(row, contrast_verdict="reproduced")
    claims._control([single])
    assert single["contrast_verdict"] == "reproduced"


def test_claims_of_the_synthetic_run(tmp_path: Path) -> None:
    """One plain network diverges at one seed."""
    synthetic.write_run(tmp_path / "run", parts="trials")
    found = tables.read([tmp_path / "run"])["claims"].set_index("metric")
    assert found["verdict"].unique().tolist() == ["reproduced"]
    assert found.loc["loss", ["units", "baseline_unusable"]].tolist() == [4, 1]
    assert found.loc["gradient", "low"] > 2


def test_what_was_not_run_says_how_to_get_it_and_what_failed_is_counted(tmp_path: Path) -> None:
    """Wrong variants: a claim without data is missing on the page; failures look like trials that never were."""
    folder = synthetic.begin(tmp_path / "run")
    first, second, *_ = synthetic.trial_rows()
    missing = {"metrics": {}, "series": {}, "outcome": "not run", "reason": "no data; python -m datasets.fetch <it>"}
    folder.append(TRIALS, first | missing)
    page = render_page(tables.read([folder.path]))
    assert "Not run: no data; python -m datasets.fetch &lt;it&gt;" in page
    assert folder.keys() == set(), "it is tried again"
    folder.append(TRIALS, second | {"metrics": {}, "series": {}, "outcome": "failed", "reason": "ValueError: planted"})
    assert "1 trial failed" in render_page(tables.read([folder.path]))
    trials = tables.read([folder.path])["trials"]
    assert trials["reason"].tolist() == ["no data; python -m datasets.fetch <it>", "ValueError: planted"]
