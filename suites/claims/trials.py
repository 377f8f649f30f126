"""The one test function of the claims: each of its items is a trial, and writes a row."""

import time

import pytest

from suites.claims.claim import Outcome, Trial
from suites.recording import folder_of, row_of


def test_trial(trial: Trial, request: pytest.FixtureRequest) -> None:
    """Train one arm with one seed; whatever comes out is a result, so only a crash fails."""
    started = time.perf_counter()
    outcome: Outcome = request.module.train(trial)
    claim = request.module.CLAIM
    assert set(outcome.metrics) == set(claim.metrics), "a trial must end with the metrics that its claim declares"
    folder = folder_of(request.config)
    if folder is not None:
        row = row_of(
            request.node,
            metrics=dict(outcome.metrics),
            series=dict(outcome.series),
            seconds=round(time.perf_counter() - started, 3),
            definition=claim.definition(trial.scale),
        )
        folder.append("trials.jsonl", row)
