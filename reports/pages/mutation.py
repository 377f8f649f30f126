"""What the properties of a technique see of small changes to its reference, made by machine."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reports.pages.groups import grouped
from reports.statistics.intervals import share_interval
from reports.store.run_folder import Row


@dataclass(frozen=True)
class Mutation:
    """The mutants of one technique that were tried.

    Attributes:
        title: of the technique.
        tried: how many, without those that nobody could tell from the reference.
        of: how many there are.
        equivalent: how many more are listed as such, each with a reason.
        survivors: those that no property found.
        low, high: the share that is found of all of them, as a 95% interval; where all were tried, the share itself.
    """

    title: str
    tried: int
    of: int
    equivalent: int
    survivors: Sequence[Row]
    low: float
    high: float

    @property
    def found(self) -> int:
        """How many a property found."""
        return self.tried - len(self.survivors)

    @property
    def share(self) -> float:
        """Of those that were tried."""
        return self.found / self.tried


def mutation(rows: Iterable[Row], title: Callable[[str], str]) -> list[Mutation]:
    """By technique, what was found of its mutants."""
    made = []
    for (technique,), tried in sorted(grouped(rows, ("technique",)).items()):
        survivors = [row for row in tried if not row["killer"]]
        counts = {name: int(max(row[name] for row in tried)) for name in ("of", "equivalent")}
        share = 1 - len(survivors) / len(tried)
        whole = len(tried) >= counts["of"]
        low, high = (share, share) if whole else share_interval(len(tried) - len(survivors), len(tried))
        made.append(Mutation(title(technique), len(tried), **counts, survivors=survivors, low=low, high=high))
    return made
