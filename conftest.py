"""The options that every suite and benchmark shares. They are checked before anything heavy is imported."""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings

from benchmarks.contenders import Variant, parse, settings
from benchmarks.harness import host, machine
from benchmarks.harness.plan import PLANS
from benchmarks.workload import BUDGETS
from reports.store.run_folder import RunFolderError, canonical_hash, now
from suites import preflight, promises, provenance
from suites.implementations import BACKENDS, DEVICES, PRECISIONS, SCALES, Implementation, implementation, techniques
from suites.isolation import Isolation, default_workers, workers
from suites.minutes import Minutes, in_shard
from suites.progress import Progress
from suites.recording import FOLDER, MEASURED, SessionFolder, folder_of

EXAMPLES = {"quick": 10, "standard": 50, "paper": 200}
"""Examples that Hypothesis draws per property, by scale."""


def one_of(valid: tuple[str, ...]) -> Callable[[str], str]:
    """An option's type: one of these words."""

    def check(text: str) -> str:
        if text not in valid:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected one of: {', '.join(valid)}")
        return text

    return check


def some_of(valid: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """An option's type: one or several of these words, separated by commas."""

    def check(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(one_of(valid), text.split(","))))

    return check


def an_implementation(text: str) -> Implementation:
    """An option's type: ``technique=module``."""
    technique, equals, name = text.partition("=")
    if not equals:
        expected = f"technique=module, with a technique of: {', '.join(techniques())}"
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    try:
        return implementation(technique, name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def a_shard(text: str) -> tuple[int, int]:
    """An option's type: ``K/N``, the K-th of N parts."""
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected K/N with K from 1 to N, for example 1/3")
    return int(part), int(parts)


def a_contender(text: str) -> Variant:
    """An option's type: how a contender differs from the usual one."""
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pytest_addoption(parser: pytest.Parser) -> None:
    """The axes of the design, and how a session goes, as options."""
    group = parser.getgroup("touchstone")
    _add_axes(group)
    _add_course(group)


def _add_axes(group: pytest.OptionGroup) -> None:
    """What is proved, timed and trained, and where."""
    group.addoption("--device", type=one_of(DEVICES), default="cpu", help="cpu (default) or gpu")
    group.addoption(
        "--precision",
        type=some_of(PRECISIONS),
        default=("float32",),
        help=f"one or several of {','.join(PRECISIONS)} (default: float32)",
    )
    group.addoption("--backend", type=one_of(BACKENDS), default="tensorflow", help="tensorflow (default), jax or torch")
    group.addoption("--scale", type=one_of(SCALES), default="quick", help="quick (default), standard or paper")
    group.addoption(
        "--implementation",
        type=an_implementation,
        action="append",
        default=[],
        metavar="TECHNIQUE=MODULE",
        help="test and time this module in place of the reference and its peers; may be repeated, and `reference` and "
        "the peers' names are modules too",
    )
    group.addoption(
        "--contender",
        type=a_contender,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="let the reference race in another way too, beside how it runs by default; may be repeated, and commas "
        f"combine: {settings()}",
    )
    group.addoption(
        "--only-contenders",
        action="store_true",
        help="let the reference race against those of --contender alone: without peers and other precisions, and "
        "without the technique left out",
    )


def _add_course(group: pytest.OptionGroup) -> None:
    """How long it may take, with how many processes, and what is kept."""
    group.addoption(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="at the end of the races, spend so much time where intervals are still wide (default: by scale, "
        f"{', '.join(f'{scale} {seconds:g}' for scale, seconds in BUDGETS.items())})",
    )
    group.addoption(
        "--narrow",
        type=float,
        metavar="PERCENT",
        help="a race goes on, as long as there is time, until every ratio is known to so many per cent on either side "
        f"(default: by scale, {', '.join(f'{scale} {100 * plan.narrow:g}' for scale, plan in PLANS.items())})",
    )
    group.addoption(
        "--minutes",
        type=float,
        metavar="N",
        help="end the whole session, properties, claims, races and report, after about so many minutes: what tells "
        "most comes first, and what is left out is named (default: no limit)",
    )
    group.addoption(
        "--cluster",
        metavar="ADDRESS",
        help="train the trials of claims on a Ray cluster: its address, or auto for the one of this machine",
    )
    group.addoption(
        "--shard",
        type=a_shard,
        metavar="K/N",
        help="only the K-th of N parts of the session, for as many machines; python -m reports merge joins them",
    )
    group.addoption("--results", metavar="DIR", help="keep the rows in this run folder, and skip those it already has")
    group.addoption("--report", action="store_true", help="at the end, write the HTML report of the run folder")
    group.addoption(
        "--workers",
        type=int,
        default=default_workers(),
        metavar="N",
        help="how many processes prove and train at the same time (default: one per core, up to 8); timing is never "
        "done at the same time as anything else",
    )
    group.addoption(
        "--time-limit",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="a property or a trial that has worked for so long, in processor time, or that has done nothing for so "
        "long, counts as hanging, and its process is ended (default: 300)",
    )
    group.addoption("--progress", action="store_true", help="show one progress bar instead of a line per file")


def _check_course(config: pytest.Config) -> None:
    """Refuse numbers that mean nothing."""
    if config.option.workers < 1:
        raise pytest.UsageError(f"--workers {config.option.workers}: expected 1 or more")
    if config.option.budget is not None and config.option.budget < 0:
        raise pytest.UsageError(f"--budget {config.option.budget:g}: expected seconds, 0 or more")
    if config.option.minutes is not None and not config.option.minutes > 0:
        raise pytest.UsageError(f"--minutes {config.option.minutes:g}: expected more than 0")
    if config.option.narrow is not None and not config.option.narrow > 0:
        raise pytest.UsageError(f"--narrow {config.option.narrow:g}: expected per cent, more than 0")
    if config.option.only_contenders and not config.option.contender:
        raise pytest.UsageError("--only-contenders: expected --contender, too: whom should the reference race against?")
    if config.option.time_limit <= 0:
        raise pytest.UsageError(f"--time-limit {config.option.time_limit:g}: expected seconds, more than 0")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what cannot work, settle the framework's environment, and open the run folder."""
    check_machine(config.option.device, config.option.backend)
    _check_course(config)
    if config.option.cluster is not None and importlib.util.find_spec("ray") is None:
        raise pytest.UsageError(
            "--cluster: Ray is not installed here; pip install -e '.[cluster]', or tox run -e cluster"
        )
    if config.option.report and not config.option.results:
        raise pytest.UsageError("--report needs --results DIR: the run folder from which the report is made")
    os.environ["KERAS_BACKEND"] = config.option.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if config.option.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    configure_hypothesis(config)
    config.stash[FOLDER] = open_results(config) if config.option.results else None
    if workers(config):
        config.pluginmanager.register(Isolation(config), Isolation.NAME)
    if config.option.minutes is not None and not config.option.collectonly:
        config.pluginmanager.register(Minutes(config), Minutes.NAME)
    if config.option.progress:
        config.pluginmanager.register(Progress(config), "touchstone-progress")


def check_machine(device: str, backend: str) -> None:
    """Refuse a device or backend that this machine does not have.

    Raises:
        pytest.UsageError: with how to proceed.
    """
    if device == "gpu" and not machine.gpus():
        raise pytest.UsageError(
            "--device gpu: no NVIDIA GPU found (nvidia-smi lists none); use --device cpu, or a cpu environment of tox"
        )
    if importlib.util.find_spec(backend) is None:
        extra = "cpu" if backend == "tensorflow" else backend
        raise pytest.UsageError(
            f"--backend {backend}: {backend} is not installed here; pip install -e '.[{extra}]', or choose another of: "
            f"{', '.join(name for name in BACKENDS if importlib.util.find_spec(name)) or 'none is installed'}"
        )


def configure_hypothesis(config: pytest.Config) -> None:
    """Give every property the examples of its scale; repeatable unless a seed is asked for."""
    hypothesis_settings.register_profile(
        "touchstone",
        max_examples=EXAMPLES[config.option.scale],
        deadline=None,  # the first call of an operation is slow, and no property is about time
        database=None,
        derandomize=config.getoption("hypothesis_seed", None) is None,
        print_blob=False,
        report_multiple_bugs=False,  # one smallest example per row, raised as itself and not in a group
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        # That few examples are left is told by their counts: an implementation may offer little.
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.differing_executors,
            HealthCheck.filter_too_much,
        ],
    )
    if not config.getoption("hypothesis_profile", None):
        hypothesis_settings.load_profile("touchstone")


def open_results(config: pytest.Config) -> SessionFolder:
    """The run folder of ``--results``, begun or continued."""
    try:
        return SessionFolder.resume(config.option.results, facts(config.option.scale, config.option.device))
    except RunFolderError as error:
        raise pytest.UsageError(str(error)) from None


def facts(scale: str, device: str) -> dict[str, Any]:
    """What ``run.json`` says of this run's machine, environment and sources."""
    hardware, software = machine.machine(), machine.environment()
    return {
        "scale": scale,
        "machine": hardware,
        "environment": software,
        "machine_hash": canonical_hash(hardware),
        "environment_hash": canonical_hash(software),
        "host": [check.row() for check in host.checks(device)],
        "lock_hash": provenance.lock_hash(),
        "git": provenance.git(),
        "techniques": {name: {"title": title, **promises.facts(name)} for name, title in techniques().items()},
    }


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Keep the shard that was asked for, of what is left when all others have chosen."""
    yield
    if config.option.shard is not None:
        other = [item for item in items if not in_shard(item, *config.option.shard)]
        config.hook.pytest_deselected(items=other)
        items[:] = [item for item in items if item not in set(other)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a user's module that cannot be imported or offers nothing, before anything is tested or timed."""
    if session.items and not session.config.option.collectonly:
        for chosen in session.config.option.implementation:
            if chosen.name != "reference" and not chosen.is_peer:
                preflight.check(chosen)


def pytest_report_collectionfinish(config: pytest.Config) -> str | None:
    """Say what is not measured again."""
    measured = config.stash.get(MEASURED, 0)
    return f"{measured} rows are in {config.option.results} already and are not measured again" if measured else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Note how the session ended and, with ``--report``, make the report."""
    started = session.config.stash[STARTED]
    result = yield
    if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(MEASURED, 0):
        session.exitstatus = pytest.ExitCode.OK  # everything asked for had been measured before
    folder = folder_of(session.config)
    if folder is None:
        return result
    run = folder.run
    ended = {"started": started, "finished": now(), "exit": int(session.exitstatus), "arguments": sys.argv[1:]}
    if minutes := session.config.pluginmanager.get_plugin(Minutes.NAME):
        ended |= {"minutes": session.config.option.minutes, "left_out": minutes.rows()}
    folder.write_run({**run, "sessions": [*run["sessions"], ended]})
    if session.config.option.report:
        session.config.get_terminal_writer().flush()  # so that the report's path comes last
        made = subprocess.run([sys.executable, "-m", "reports", "report", str(folder.path)], check=False)
        if made.returncode and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    return result


STARTED = pytest.StashKey[str]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note when the session began."""
    session.config.stash[STARTED] = now()
