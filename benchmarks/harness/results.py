"""What a race holds of its contenders: who they are, their rounds and facts, and how a journal gives them back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.harness.client import WorkerError
from reports.statistics.intervals import Rounds

Fact = dict[str, Any]


@dataclass(frozen=True)
class Entrant:
    """A contender as a race sees it.

    Attributes:
        key: under which its rounds are kept.
        asked: what its worker is asked to build.
        module: of the implementation.
        bench: the module of the workload.
        compared: whether its ratio to the first contender is what the race is for; a control kernel's is not.
    """

    key: str
    asked: Mapping[str, Any]
    module: str
    bench: str
    compared: bool = True


@dataclass(frozen=True)
class Round:
    """One measured round: seconds per step, and joules where the machine counts them."""

    heat: int
    block: int
    seconds: float
    joules: float | None = None


@dataclass
class Result:
    """What a race has measured of one contender so far.

    Attributes:
        rounds: in the order in which they ran.
        facts: of each heat.
        failure: why it is out of the race, if it is.
        stopped: why it gets no more rounds, if what there is of it is enough, or all that it has patience for.
    """

    rounds: list[Round] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    failure: WorkerError | None = None
    stopped: str = ""

    @property
    def finished(self) -> list[Fact]:
        """The facts of the heats that ran to their end, the only ones that are whole."""
        return [fact for fact in self.facts if "memory" in fact]

    def rounds_of(self) -> Rounds:
        """The rounds as the statistics take them."""
        columns = ([getattr(each, name) for each in self.rounds] for name in ("seconds", "heat", "block"))
        return Rounds.of("", *columns)


class Journal(Protocol):
    """Where a race writes each block as it ends, so that a kill loses nothing."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Keep one entry."""


def replay(entries: Iterable[Mapping[str, Any]], recorded: Mapping[str, Result] | None = None) -> dict[str, Result]:
    """The results that a race's journal holds, by key, after those that were recorded before the race.

    A heat that was recorded is not added again: the kill came after its record and before the journal's removal.
    """
    results = dict(recorded or {})
    known = {key: {each.heat for each in result.rounds} for key, result in results.items()}
    for entry in entries:
        heat = entry["heat"]
        for key, fact in entry.get("facts", {}).items():
            if heat not in known.get(key, ()):
                results.setdefault(key, Result()).facts.append(fact)
        for key, why in entry.get("stopped", {}).items():
            results.setdefault(key, Result()).stopped = why
        for key, *measured in entry.get("rounds", []):
            if heat not in known.get(key, ()):
                results.setdefault(key, Result()).rounds.append(Round(heat, entry["block"], *measured))
    return results
