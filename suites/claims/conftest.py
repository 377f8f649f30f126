"""The claims as pytest items: one for each claim and implementation."""

from pathlib import Path
from typing import Any

import pytest

from suites.claims.apart import in_a_process
from suites.claims.plan import Plan
from suites.claims.pool import Pool, Runner
from suites.claims.studies import Studies, Study
from suites.claims.training import fingerprint
from suites.implementations import implementation
from suites.recording import LEFT, folder_of, row_of, select

STUDIES = pytest.StashKey[Studies]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per implementation."""
    if "plan" not in metafunc.fixturenames:
        return
    option, claim = metafunc.config.option, metafunc.module.CLAIM
    name = Path(metafunc.module.__file__).stem.removeprefix("test_")
    asked = [chosen for chosen in option.implementation if chosen.technique == claim.technique]
    chosen = asked or [implementation(claim.technique, "reference")]
    if option.scale not in claim.values:
        chosen = []
    # A claim is about training, not about precision: it is rerun in the first precision that was asked for.
    where = option.precision[0], option.backend, option.device, option.scale
    plans = [Plan(name, claim, each, *where) for each in chosen]
    metafunc.parametrize("plan", plans, ids=[f"{name}-{plan.implementation.name}-{plan.precision}" for plan in plans])


def plan_of(item: pytest.Item) -> Plan | None:
    """The claim that an item reruns, else ``None``."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    plan = parameters.get("plan")
    return plan if isinstance(plan, Plan) else None


def _asked(item: pytest.Item) -> dict[str, Any] | None:
    """What all of an item's trials are asked."""
    plan = plan_of(item)
    if plan is None:
        return None
    return {
        "technique": plan.implementation.technique,
        "claim": plan.name,
        "implementation": plan.implementation.name,
        "backend": plan.backend,
        "precision": plan.precision,
        "device": plan.device,
        "scale": plan.scale,
    }


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out claims that are not made at this scale, and the techniques that ``--implementation`` does not name."""
    absent = {item for item in items if "plan" in getattr(item, "fixturenames", ()) and plan_of(item) is None}
    if absent:
        config.hook.pytest_deselected(items=list(absent))
        items[:] = [item for item in items if item not in absent]
    select(config, items, _asked)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the studies of what is left, in its order."""
    option = session.config.option
    workers = 1 if option.device == "gpu" else option.workers  # frameworks take a whole GPU for themselves

    def runner() -> Runner:
        pool = Pool(workers, option.time_limit)
        if option.cluster is None:
            return pool
        from suites.claims.cluster import Cluster  # Ray takes a second, and need not be installed

        return Cluster(option.cluster, pool)

    studies = session.config.stash[STUDIES] = Studies(runner)
    for item in session.items:
        if (plan := plan_of(item)) is not None:
            study = _study(item, plan)
            studies.all.append(study)
            item.stash[LEFT] = study.left


def _study(item: Any, plan: Plan) -> Study:
    def row(asked: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return row_of(item, asked, **fields)

    return Study(plan, item.module.__name__, item.module.train, folder_of(item.config), row)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the processes before the folder for temporary files is removed, which waits for all who may use it."""
    config = session.config
    if (studies := config.stash.get(STUDIES, None)) is None:
        return
    studies.close()
    folder, place = folder_of(config), f"{config.option.backend}/{config.option.device}"
    if folder is not None and any(study.trained for study in studies.all):
        known = folder.run.get("fingerprints", {})
        if place not in known:
            found = in_a_process(lambda: fingerprint(config.option.backend))
            folder.write_run({**folder.run, "fingerprints": {**known, place: found}})


@pytest.fixture
def studies(pytestconfig: pytest.Config) -> Studies:
    """All claims of the session."""
    return pytestconfig.stash[STUDIES]
