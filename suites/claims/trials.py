"""The one test function of the claims: each of its items is a claim, which trains what it wants and writes rows."""

import pytest

from suites.claims.plan import Plan
from suites.claims.studies import Studies
from suites.minutes import Minutes


def test_claim(plan: Plan, studies: Studies, request: pytest.FixtureRequest) -> None:
    """Train the arms with as many seeds as it takes; whatever comes out is a result, so only a crash fails."""
    plugins = request.config.pluginmanager
    minutes: Minutes | None = plugins.get_plugin(Minutes.NAME)
    progress = plugins.get_plugin("touchstone-progress")
    study = next(each for each in studies.all if each.plan is plan)
    finished = studies.run(
        study,
        until=(lambda: minutes.end_of("trial")) if minutes else lambda: float("inf"),
        by_stage=minutes is not None,
        tell=progress.describe if progress else lambda _: None,
    )
    if not finished and minutes:
        minutes.leave_out(request.node)
    if study.absent:
        pytest.skip(f"not run: {study.absent}")
    reasons = [f"{trial}: {reason}" for trial, reason in study.failed.items()]
    assert not reasons, f"{len(reasons)} of {len(study.done)} trials failed:\n" + "\n".join(reasons[:5])
