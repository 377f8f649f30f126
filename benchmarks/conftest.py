"""Which contenders meet in which race."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.contenders import parse
from benchmarks.controls import COPY, MATMUL
from benchmarks.races import Recorded, Track
from benchmarks.workload import AGAIN, WITHOUT, Contender, Workload
from suites.implementations import Implementation, backends, implementation, run_by_default
from suites.recording import select

TRACK = pytest.StashKey[Track]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per contender; a race's contenders follow each other."""
    if "contender" in metafunc.fixturenames:
        technique = Path(metafunc.module.__file__).stem.removeprefix("bench_")
        races = [
            race(metafunc.config, technique, workload, operation, metafunc.module)
            for workload in metafunc.module.WORKLOADS
            for operation in workload.operations.get(metafunc.config.option.scale, ())
        ]
        contenders = [contender for contenders in races for contender in contenders]
        metafunc.parametrize("contender", contenders, ids=str, scope="module")


def race(
    config: pytest.Config, technique: str, workload: Workload, operation: str, bench: ModuleType
) -> list[Contender]:
    """The contenders of one race: the reference, the peers or the modules asked for, and the technique left out.

    Besides, the reference in other ways that the bench module names in its ``CONTENDERS``, by workload, in the words of
    ``--contender``.
    """
    option = config.option
    by_default = run_by_default(technique, option.backend)
    asked = [chosen for chosen in option.implementation if chosen.technique == technique]
    contenders = [*dict.fromkeys([*by_default[:1], *asked])] if asked else by_default
    precisions = option.precision if option.scale in workload.mixed else option.precision[:1]
    if option.only_contenders:
        contenders, precisions = contenders[:1], precisions[:1]
    in_all = {"reference", *(chosen.name for chosen in asked)}
    left_out = Implementation(technique, WITHOUT, f"reference.{technique}")
    if hasattr(bench, "without") and option.backend in backends(technique) and not option.only_contenders:
        contenders = [*contenders, left_out]
    if option.scale == "quick":
        # In one precision, what peers take, and what the technique costs: its training step or its own work. What a
        # precision costs is asked of the reference.
        contenders = [c for c in contenders if c is not left_out or operation not in ("inference", "gradient")]
    else:
        in_all |= {chosen.name for chosen in contenders}
    entered = [
        Contender(workload, operation, chosen, precision, option.backend, option.device, option.scale)
        for chosen in contenders
        for precision in (precisions if chosen.name in in_all else precisions[:1])
    ]
    reference = implementation(technique, "reference")
    usual = Contender(workload, operation, reference, precisions[0], option.backend, option.device, option.scale)
    if usual in entered:  # it meets itself too: what differs between the two is the noise of this race
        entered.insert(1, replace(usual, implementation=replace(reference, name=AGAIN)))
    named = (
        [] if asked or option.only_contenders else map(parse, getattr(bench, "CONTENDERS", {}).get(workload.name, ()))
    )
    entered += [varied for variant in (*named, *option.contender) if (varied := variant.of(usual))]
    return [*dict.fromkeys(entered), *controls(entered)]


def controls(contenders: list[Contender]) -> list[Contender]:
    """The control kernels of a race: matrix products in its precisions, and moving memory."""

    def control(name: str, precision: str) -> Contender:
        kernel = Implementation(first.workload.technique, name, "benchmarks.controls")
        return replace(first, implementation=kernel, precision=precision, variation=(), python="", tree="")

    if not contenders:
        return []
    first = contenders[0]
    precisions = dict.fromkeys(each.precision for each in contenders)
    return [*(control(MATMUL, precision) for precision in precisions), control(COPY, first.precision)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the techniques that ``--implementation`` does not name, and the races that are complete."""

    def group(item: pytest.Item) -> str:
        contender = contender_of(item)
        return contender.group if contender else item.nodeid

    select(config, items, lambda item: c.asked() if (c := contender_of(item)) else None, together=group)


def contender_of(item: pytest.Item) -> Contender | None:
    """The contender of an item that is part of a race, else ``None``."""
    return getattr(getattr(item, "callspec", None), "params", {}).get("contender")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to import the frameworks while whatever comes first is run."""
    contenders = [contender for item in session.items if (contender := contender_of(item))]
    if contenders and not session.config.option.collectonly:
        session.config.stash[TRACK] = Track(session.config)
        session.config.stash[TRACK].enter(contenders)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """After all races, spend what is left of the time where intervals are wide."""
    result = yield
    track = session.config.stash.get(TRACK, None)
    if track is not None and not (session.shouldstop or session.shouldfail):
        track.refine(track.budget_s)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers."""
    if TRACK in config.stash:
        config.stash[TRACK].close()


@pytest.fixture(scope="session")
def track(request: pytest.FixtureRequest) -> Track:
    """The session's races."""
    return request.config.stash[TRACK]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give every race item a clock of its own, which plays recorded rounds."""
    if contender_of(item) is not None:
        item.add_marker(pytest.mark.benchmark(timer=Recorded()))
