"""Which trials a claim consists of at each scale."""

from pathlib import Path

import pytest

from suites.claims.claim import Trial
from suites.implementations import implementation
from suites.recording import select


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per condition, arm and seed; seeds follow each other, so that a claim can keep a compiled model."""
    if "trial" not in metafunc.fixturenames:
        return
    option, claim = metafunc.config.option, metafunc.module.CLAIM
    name = Path(metafunc.module.__file__).stem.removeprefix("test_")
    asked = [chosen for chosen in option.implementation if chosen.technique == claim.technique]
    trials = [
        # A claim is about training, not about precision: it is rerun in the first precision that was asked for.
        Trial(
            name,
            arm,
            {claim.axis: value},
            seed,
            chosen,
            option.precision[0],
            option.backend,
            option.device,
            option.scale,
        )
        for chosen in asked or [implementation(claim.technique, "reference")]
        for value in claim.values[option.scale]
        for arm in claim.arms
        for seed in range(claim.seeds[option.scale])
    ]
    metafunc.parametrize("trial", trials, ids=str, scope="module")


def trial_of(item: pytest.Item) -> Trial | None:
    """The trial that an item is, else ``None``."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get("trial")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the techniques that ``--implementation`` does not name, and what has been measured already."""
    select(config, items, lambda item: trial.asked(_module(item)) if (trial := trial_of(item)) else None)
    for item in items:
        if (trial := trial_of(item)) is not None:  # the seeds of an arm together: they may share a compiled model
            item.add_marker(pytest.mark.isolated(f"{trial.condition} {trial.arm}"))


def _module(item: pytest.Item) -> str:
    return str(item.module.__name__)  # type: ignore[attr-defined]
