"""How a pytest session writes its rows: the run folder, what each item was asked, and the command that repeats it."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from reports.store.files import NotWrittenError
from reports.store.run_folder import RunFolder, key_of, now

FOLDER = pytest.StashKey["SessionFolder | None"]()
MEASURED = pytest.StashKey[int]()
ASKED = pytest.StashKey[Mapping[str, Any]]()
LEFT = pytest.StashKey[Callable[[], list[str]]]()
"""Of an item that writes several rows: gives the keys of those that it has not written yet."""

Asked = Callable[[pytest.Item], dict[str, Any] | None]


@dataclass(frozen=True)
class SessionFolder(RunFolder):
    """The run folder of a pytest session: where nothing can be written any more, the session stops, and says so once.

    What was measured since is not recorded as anything; a rerun measures it.
    """

    _stopped: list[str] = field(default_factory=list, repr=False, compare=False)

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Add one row."""
        with self._or_stop():
            super().append(name, row)

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        with self._or_stop():
            super().write_run(run)

    def write_timings(self, timings: Mapping[str, Any]) -> None:
        """Replace ``timings.json``."""
        with self._or_stop():
            super().write_timings(timings)

    @contextmanager
    def _or_stop(self) -> Iterator[None]:
        try:
            yield
        except NotWrittenError as error:
            if not self._stopped:
                self._stopped.append(str(error))
                pytest.exit(str(error))


def folder_of(config: pytest.Config) -> SessionFolder | None:
    """The run folder that ``--results`` named, or ``None`` where nothing is kept."""
    return config.stash.get(FOLDER, None)


def select(
    config: pytest.Config,
    items: list[pytest.Item],
    asked_of: Asked,
    together: Callable[[pytest.Item], str] = lambda item: item.nodeid,
) -> None:
    """Note what each item is asked; take out what ``--implementation`` does not name, and what has been measured.

    Args:
        config: the session's configuration.
        items: the collected items, changed in place; pytest counts those taken out as deselected.
        asked_of: what an item is asked, or ``None`` for an item that writes no row of this kind.
        together: names the items that are taken out together or not at all; by default each stands alone.
    """
    asked = {item: answer for item in items if (answer := asked_of(item)) is not None}
    for item, answer in asked.items():
        item.stash[ASKED] = answer
    named = {chosen.technique for chosen in config.option.implementation}
    out = {item for item in asked if named and asked[item]["technique"] not in named}
    folder = folder_of(config)
    if folder is not None:
        keys = folder.keys()
        wanted = {together(item) for item in asked if key_of(asked[item]) not in keys}
        measured = {item for item in asked if together(item) not in wanted} - out
        config.stash[MEASURED] = config.stash.get(MEASURED, 0) + len(measured)
        out |= measured
    if out:
        config.hook.pytest_deselected(items=[item for item in items if item in out])
        items[:] = [item for item in items if item not in out]


def row_of(item: pytest.Item, asked: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A row for an item: the four fields that all rows share, and its own; ``asked`` where it writes several rows."""
    asked = item.stash[ASKED] if asked is None else asked
    return {"key": key_of(asked), "asked": asked, "when": now(), "command": command_of(item, asked), **fields}


def command_of(item: pytest.Item, asked: Mapping[str, Any]) -> str:
    """The command that measures a row again, from the project's folder; a timing needs the whole of its race."""
    if "workload" in asked:
        return _command(item, asked, _race(item, asked))
    return _command(item, asked, [item.nodeid])


def command_of_all(item: pytest.Item, asked: Mapping[str, Any]) -> str:
    """The command that measures an item's race, or all properties or trials of its implementation and precision.

    Into the run folder of this session, with a new report.
    """
    option = item.config.option
    words = _race(item, asked) if "workload" in asked else [item.nodeid.partition("::")[0]]
    if not any(chosen.technique == asked["technique"] for chosen in option.implementation) and "workload" not in asked:
        words += ["--implementation", f"{asked['technique']}={asked['implementation']}"]
    kept = ["--results", str(option.results)] if option.results else []
    return _command(item, asked, [*words, *kept, *(["--report"] if option.report else [])])


def _race(item: pytest.Item, asked: Mapping[str, Any]) -> list[str]:
    return [item.nodeid.partition("::")[0], "-k", f"{asked['workload']}-{asked['operation']}"]


def _command(item: pytest.Item, asked: Mapping[str, Any], words: list[str]) -> str:
    precisions = item.config.option.precision if "workload" in asked else [asked["precision"]]
    options = {"--device": asked["device"], "--precision": ",".join(precisions), "--backend": asked["backend"]}
    for name, value in {**options, "--scale": asked["scale"]}.items():
        words = [*words, name, value]
    for chosen in item.config.option.implementation:
        if chosen.technique == asked["technique"]:
            words += ["--implementation", f"{chosen.technique}={chosen.name}"]
    return shlex.join(["tox", "run", "-e", "test", "--", *words])
