"""What runs where: every property of a technique against every implementation wanted, and its row."""

from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

from suites.implementations import Implementation, run_by_default, source_digest
from suites.isolation import ProcessDied
from suites.messages import plain
from suites.minutes import Minutes
from suites.properties import technique_of
from suites.properties.domain import Lenient
from suites.properties.effort import Effort, counted
from suites.recording import ASKED, folder_of, row_of, select
from suites.subjects import Subject


def wanted(config: pytest.Config, technique: str) -> list[Implementation]:
    """The implementations of a technique to test: those asked for, or else the reference and its peers."""
    asked = [chosen for chosen in config.option.implementation if chosen.technique == technique]
    return asked or run_by_default(technique, config.option.backend)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per implementation and precision; what is marked as ``structure`` is tested in the first precision."""
    if "subject" in metafunc.fixturenames:
        option = metafunc.config.option
        structural = any(mark.name == "structure" for mark in metafunc.definition.iter_markers())
        subjects = [
            Subject(chosen, precision, option.backend, option.device, option.scale)
            for chosen in wanted(metafunc.config, technique_of(metafunc.module.__file__))
            for precision in option.precision[: 1 if structural else None]
        ]
        metafunc.parametrize("subject", subjects, ids=str, scope="module")


def subject_of(item: pytest.Item) -> Subject | None:
    """The subject of an item that is a property, else ``None``."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get("subject")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the techniques that ``--implementation`` does not name, and what has been measured already."""
    select(config, items, _asked)
    for item in items:
        if (subject := subject_of(item)) is not None:
            item.add_marker(pytest.mark.isolated(subject))
            if subject.implementation.name != "reference":  # what others' code warns of is shown, and is no verdict
                kept = [each for each in config.getini("filterwarnings") if each != "error"]
                item.add_marker(pytest.mark.filterwarnings("default", *kept))


def _asked(item: pytest.Item) -> dict[str, Any] | None:
    subject = subject_of(item)
    if subject is None:
        return None
    module = item.module.__name__  # type: ignore[attr-defined]
    return subject.asked(item.originalname.removeprefix("test_"), source_digest(module))  # type: ignore[attr-defined]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Expect, strictly, the failures that a peer declares."""
    subject = subject_of(item)
    if subject is not None:
        defect = subject.implementation.known_defects().get(item.stash[ASKED]["property"])
        if defect is not None and subject.precision in defect.precisions and subject.backend in defect.backends:
            item.add_marker(pytest.mark.xfail(strict=True, reason=f"{defect.reason} {defect.link}".strip()))


LENIENT = "more lenient than the contract, which is not wrong"
"""How the terminal begins to say what an implementation takes."""

UNTESTED = pytest.StashKey[dict[str, set[str]]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note the properties of each implementation that was asked for, of which none has been tested yet."""
    untested: dict[str, set[str]] = defaultdict(set)
    session.config.stash[UNTESTED] = untested
    for item in session.items:
        if (subject := subject_of(item)) is not None and subject.implementation in item.config.option.implementation:
            untested[f"{subject.implementation.technique}={subject.implementation.name}"].add(item.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A property that passed or failed was tested; one that is not provided was not."""
    told = report.when == "call" or report.failed
    if told and (not report.skipped or hasattr(report, "wasxfail")):
        TESTED.add(report.nodeid)


TESTED: set[str] = set()
"""The properties of this session that passed or failed."""


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Nothing tested is no success."""
    if session.exitstatus == pytest.ExitCode.OK and _nothing_of(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    """Name the implementations of which nothing was tested."""
    done = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    for name, count in _nothing_of(config).items() if done else ():
        terminalreporter.write_line(
            f"--implementation {name}: nothing of it was tested: all {count} properties say that what they need is not "
            f"provided; their reasons are below",
            red=True,
        )
    for report in terminalreporter.getreports("xfailed"):
        if str(getattr(report, "wasxfail", "")).startswith(LENIENT):
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {report.wasxfail}")


def _nothing_of(config: pytest.Config) -> dict[str, int]:
    """The implementations that were asked for and of which no property passed or failed, and how many there were."""
    minutes: Any = config.pluginmanager.get_plugin(Minutes.NAME)
    left = {item.nodeid for item in minutes.left} if minutes else set()
    asked = {name: items - left for name, items in config.stash.get(UNTESTED, {}).items()}
    return {name: len(items) for name, items in asked.items() if items and items.isdisjoint(TESTED)}


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Count how hard a property looks, and let it look where the implementation has something to show."""
    with counted(pyfuncitem.obj) as pyfuncitem.stash[EFFORT]:
        return (yield)


EFFORT = pytest.StashKey[Effort]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Write the row of a property when its call, or a setup that failed, is over."""
    report = yield
    subject, folder = subject_of(item), folder_of(item.config)
    if subject is not None and call.excinfo is not None and report.skipped and not hasattr(report, "wasxfail"):
        # pytest has made a skip of NotProvided; where in pytest that was says nothing to a reader.
        report.longrepr = (str(item.path), None, f"not provided: {call.excinfo.value}")
    if subject is not None and call.excinfo is not None and _is_lenient(subject, call.excinfo.value):
        report.outcome, report.wasxfail = "skipped", f"{LENIENT}: {call.excinfo.value}"
    interrupted = call.excinfo is not None and isinstance(call.excinfo.value, KeyboardInterrupt)
    if subject is None or folder is None or interrupted or not (call.when == "call" or _failed_setup(call)):
        return report
    fields = _outcome(item, subject, call)
    if fields["outcome"] != "not provided" and EFFORT in item.stash:  # what killed its process leaves no count
        fields |= item.stash[EFFORT].row()
    folder.append("properties.jsonl", row_of(item, **fields))
    return report


def _is_lenient(subject: Subject, error: BaseException) -> bool:
    """Whether nothing is wrong but that others than the reference may take more than the contract does."""
    return isinstance(error, Lenient) and subject.implementation.name != "reference"


def _failed_setup(call: pytest.CallInfo[None]) -> bool:
    return call.when == "setup" and call.excinfo is not None


def _outcome(item: pytest.Item, subject: Subject, call: pytest.CallInfo[None]) -> dict[str, Any]:
    """The fields of a property's row."""
    statement = (item.function.__doc__ or "").strip().splitlines()  # type: ignore[attr-defined]
    fields: dict[str, Any] = {
        "outcome": "passed",
        "statement": statement[0] if statement else item.stash[ASKED]["property"].replace("_", " "),
        "message": "",
        "example": "",
        "known": None,
        "seconds": round(call.duration, 3),
    }
    if call.excinfo is None:
        return fields
    error = call.excinfo.value
    said = str(error) if isinstance(error, ProcessDied) else plain(str(error))
    fields["message"] = said or type(error).__name__
    if call.excinfo.typename in ("Skipped", "NotProvided"):
        return {**fields, "outcome": "not provided"}
    if _is_lenient(subject, error):
        return {**fields, "outcome": "lenient"}
    if not isinstance(error, AssertionError):
        fields["message"] = f"{call.excinfo.typename}: {fields['message']}"
    fields["example"] = "\n".join(getattr(error, "__notes__", []))
    mark = item.get_closest_marker("xfail")
    if mark is not None:
        defect = subject.implementation.known_defects()[item.stash[ASKED]["property"]]
        fields["known"] = {"reason": defect.reason, "link": defect.link}
    return {**fields, "outcome": "failed"}
