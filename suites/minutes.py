"""``--minutes N``: what a session does within so many minutes, and what it says of what it leaves out.

Properties, claims and races follow each other, and each kind has its share of the time; what it does not need, the next
one gets. Within a kind the most telling items come first: the reference before its peers, the first precision before
the others, each technique's first race before anyone's second. What no time is left for is left out: the run folder and
the terminal's summary name it, and the same command measures it when it is run again.

Races get one heat each at first; all the time that is left then goes, heat by heat, where it narrows most.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import psutil
import pytest

from reports.store.run_folder import canonical_hash, key_of
from suites.recording import ASKED, LEFT, command_of_all

SHARES = {"property": 0.28, "trial": 0.37, "race": 0.35}
"""Of the time, by what an item is; they run in this order."""

REPORT_SHARE, REPORT_S = 0.03, 12.0
"""What is kept for the report: a share of the time, and at least so many seconds."""

NOUNS = {"property": ("property", "properties"), "trial": ("claim", "claims"), "race": ("race", "races")}


def kind_of(asked: Mapping[str, Any]) -> str:
    """What an item is, by what its row was asked."""
    return "race" if "workload" in asked else "trial" if "claim" in asked else "property"


def name_of(asked: Mapping[str, Any]) -> str:
    """What items are left out together, or not at all, in words."""
    kind = kind_of(asked)
    if kind == "race":
        return f"{asked['technique']}/{asked['workload']}/{asked['operation']}"
    if kind == "trial":
        return f"{asked['technique']}/{asked['claim']}"
    return f"{asked['technique']}, {asked['implementation']}, {asked['precision']}"


def in_shard(item: pytest.Item, part: int, parts: int) -> bool:
    """Whether an item is of a part, from 1, of a session: by its name alone, so that no part depends on another.

    All contenders of a race are of one part.
    """
    asked = item.stash.get(ASKED, None)
    name = name_of(asked) if asked is not None and kind_of(asked) == "race" else item.nodeid
    return int(canonical_hash(name), 16) % parts == part - 1


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The items with the most telling ones of each kind first; those that write no row come before all."""
    items = list(items)
    races: dict[str, dict[str, int]] = defaultdict(dict)  # by technique, the place of each race among its races
    for item in items:
        if (asked := item.stash.get(ASKED, None)) and kind_of(asked) == "race":
            of_technique = races[asked["technique"]]
            of_technique.setdefault(name_of(asked), len(of_technique))

    def rank(item: pytest.Item) -> tuple[int, ...]:
        asked = item.stash.get(ASKED, None)
        if asked is None:
            return (-1,)
        kind = kind_of(asked)
        place = [*SHARES].index(kind)
        if kind == "race":
            return place, races[asked["technique"]][name_of(asked)]
        if kind == "trial":
            return (place,)
        return place, asked["implementation"] != "reference", item.config.option.precision.index(asked["precision"])

    return sorted(items, key=rank)


class Minutes:
    """The plugin of a session whose time is limited.

    Attributes:
        end: of the last item, in seconds of `time.monotonic`; the report comes after it.
        left: the items that were left out.
    """

    NAME = "touchstone-minutes"

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        total_s = 60 * config.option.minutes
        report_s = max(REPORT_S, REPORT_SHARE * total_s) if config.option.report else 0.0
        # The time before pytest could look at its clock counts as well.
        self.end = time.monotonic() - (time.time() - psutil.Process().create_time()) + total_s - report_s
        self.left: list[pytest.Item] = []
        self._ends: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._longest_race_s = 0.0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Put the items in order, and share the time among the kinds that there are."""
        session.items[:] = in_order(session.items)
        found = {kind_of(asked) for item in session.items if (asked := item.stash.get(ASKED, None))}
        kinds = [kind for kind in SHARES if kind in found]
        now, shares = time.monotonic(), 0.0
        for kind in kinds:
            shares += SHARES[kind] / sum(SHARES[each] for each in kinds)
            self._ends[kind] = now + shares * (self.end - now)

    def end_of(self, kind: str) -> float:
        """When the time of a kind of items is over, in seconds of `time.monotonic`."""
        return self._ends[kind]

    def over(self, item: pytest.Item) -> bool:
        """Whether there is no time left to begin with an item; a race that has begun is over for none of its items."""
        asked = item.stash.get(ASKED, None)
        if asked is None:
            return False
        kind, now = kind_of(asked), time.monotonic()
        if kind != "race":
            return now > self._ends[kind]
        name = name_of(asked)
        if name not in self._begun:
            if now + self._longest_race_s > self._ends[kind]:
                return True
            self._begun[name] = now
        return False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """Learn how long a race takes: the first of its items runs it."""
        started = time.monotonic()
        try:
            return (yield)
        finally:
            asked = item.stash.get(ASKED, None)
            if asked is not None and kind_of(asked) == "race":
                self._longest_race_s = max(self._longest_race_s, time.monotonic() - started)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Leave out what there is no time for; what runs in a process of its own, is left out there."""
        isolation = self.config.pluginmanager.get_plugin("touchstone-isolation")
        if (isolation is not None and item in isolation.place) or not self.over(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self.leave_out(item)
        # The item before has left set up what this one would have shared with it, and the next one may not.
        item.session._setupstate.teardown_exact(nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def leave_out(self, item: pytest.Item) -> None:
        """Note an item for which there was no time; pytest counts it as deselected."""
        self.left.append(item)
        self.config.hook.pytest_deselected(items=[item])

    def rows(self) -> list[dict[str, Any]]:
        """What was left out, as ``run.json`` keeps it: together what one command measures."""
        return [
            {
                "kind": kind,
                "name": name,
                "keys": [key for item in items for key in _keys(item)],
                "command": command_of_all(items[0], items[0].stash[ASKED]),
            }
            for (kind, name), items in self._together().items()
        ]

    def _together(self) -> dict[tuple[str, str], list[pytest.Item]]:
        groups: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
        for item in self.left:
            asked = item.stash[ASKED]
            groups[kind_of(asked), name_of(asked)].append(item)
        return groups

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was left out."""
        counts: Counter[str] = Counter()
        for (kind, _), items in self._together().items():
            counts[kind] += 1 if kind == "race" else len(items)
        if counts:
            said = " and ".join(f"{count} {NOUNS[kind][count != 1]}" for kind, count in counts.items())
            terminalreporter.write_line(
                f"--minutes {self.config.option.minutes:g}: no time was left for {said}. "
                f"The same command goes on with them when it is run again."
            )


def _keys(item: pytest.Item) -> list[str]:
    """The keys of the rows that an item has not written."""
    left = item.stash.get(LEFT, None)
    return [key_of(item.stash[ASKED])] if left is None else left()
