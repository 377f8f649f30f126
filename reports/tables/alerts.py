"""What became better or worse from one revision of this repository to the working tree.

A timing is judged twice: the difference must be real, as everywhere (an interval that leaves out 1, false discoveries
controlled, beyond what the reference differs from itself), and it must be of a size that matters. Whoever gates says
what matters.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from enum import Enum

from reports.statistics.verdicts import MARGIN, Memory, Speed, Verdict
from reports.store.run_folder import Row
from reports.tables.comparisons import AGAIN, CONTROLS, inverse
from reports.tables.frames import Tables, records


class Kind(Enum):
    """What an alert says; see `RED` and `UNMEASURED`."""

    SLOWER = "slower"
    MORE_MEMORY = "needs more memory"
    BROKEN = "a property broke"
    FLIPPED = "a claim no longer holds"
    VANISHED = "a benchmark vanished"
    FAILED = "fails"
    UNMEASURED = "could not be measured"
    FASTER = "faster"
    LESS_MEMORY = "needs less memory"
    MENDED = "a property holds again"
    HOLDS = "a claim holds now"


RED = (Kind.SLOWER, Kind.MORE_MEMORY, Kind.BROKEN, Kind.FLIPPED, Kind.VANISHED, Kind.FAILED)
"""Regressions, for which a gate closes."""

AGAIN_FIRST = (Kind.SLOWER, Kind.MORE_MEMORY, Kind.FAILED)
"""Those that are measured a second time before they are called."""


HIDDEN = 1.1
"""A slowdown of this size must be seen: a race whose interval leaves room for it, though none was found, tells nothing.

Where smaller ones do not matter to whoever gates, twice what matters is enough.
"""


@dataclass(frozen=True)
class Alert:
    """One difference.

    Attributes:
        kind: what it is.
        benchmark: technique/workload/operation, technique/property, or technique/claim.
        measure: ``time``, ``memory``, ``property`` or ``claim``.
        ratio, low, high: of the working tree to the revision, with its interval; ``None`` where there is none.
        floor: the smallest ratio that this run could tell from noise.
        command: measures it again, from the project's folder.
        detail: why, or what was found, in a line.
    """

    kind: Kind
    benchmark: str
    measure: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    command: str = ""
    detail: str = ""

    @property
    def is_red(self) -> bool:
        """Whether it closes the gate."""
        return self.kind in RED

    @property
    def identity(self) -> tuple[str, str, str]:
        """By what it is recognized in a second run."""
        return self.kind.value, self.benchmark, self.measure

    def as_row(self) -> Row:
        """As JSON holds it."""
        return asdict(self) | {"kind": self.kind.value}


def races_of(tables: Tables) -> set[str]:
    """The races of a run in which both trees met, or in which the revision has nothing to meet with: a new one."""
    met = [row for row in records(tables["ratios"]) if row["variation"].startswith("tree=")]
    return {benchmark_of(row) for row in [*met, *filter(_is_new, records(tables["failures"]))]}


def _is_new(failure: Row) -> bool:
    """Whether the revision lacks a name that a race needs."""
    return bool(failure["variation"]) and failure["outcome"] == "not provided"


def not_raced(benchmark: str) -> Alert:
    """A race that was planned, and of which a run holds nothing: no result is no good news."""
    return Alert(Kind.UNMEASURED, benchmark, "time", detail="it was not raced")


def of_races(tables: Tables, size: float) -> list[Alert]:
    """Where the working tree's reference differs from that of the tree beside it, in the races of one run folder.

    Args:
        tables: of a run whose contenders are the reference, itself, and ``tree=``.
        size: the smallest ratio that matters, above 1.
    """
    commands = {row["key"]: row["command"] for row in records(tables["provenance"])}
    alerts = []
    for row in records(tables["ratios"]):
        if not row["variation"].startswith("tree="):
            continue
        turned, floor = inverse(row), tables.floors.get(row["place"])
        shared: Row = {"benchmark": benchmark_of(row), "floor": floor, "command": commands.get(row["key"], "")}
        found: Row = {"ratio": turned["ratio"], "low": turned["low"], "high": turned["high"]}
        if turned["verdict"] == Speed.SLOWER.value and turned["ratio"] >= size:
            alerts.append(Alert(Kind.SLOWER, measure="time", **found, **shared))
        if turned["verdict"] == Speed.FASTER.value and turned["ratio"] <= 1 / size:
            alerts.append(Alert(Kind.FASTER, measure="time", **found, **shared))
        hidden = max(HIDDEN, 1 + 2 * (size - 1))
        if turned["verdict"] == Speed.UNDECIDED.value and (turned["high"] or 0.0) > hidden:
            detail = f"too noisy: it could take up to {turned['high']:.2f} times as long, and nobody would see it"
            alerts.append(Alert(Kind.UNMEASURED, measure="time", detail=detail, **found, **shared))
        of_memory: Row = {
            name: 1 / row[f"memory_{old}"] if row[f"memory_{old}"] else None for name, old in _TURNED.items()
        }
        least = max(size, MARGIN)
        if row["memory_verdict"] == Memory.LESS.value and (of_memory["ratio"] or 1) >= least:  # less than ours is
            alerts.append(Alert(Kind.MORE_MEMORY, measure="memory", **of_memory, **shared))
        if row["memory_verdict"] == Memory.MORE.value and (of_memory["ratio"] or 1) <= 1 / least:
            alerts.append(Alert(Kind.LESS_MEMORY, measure="memory", **of_memory, **shared))
    return alerts + _failures(tables)


_TURNED = {"ratio": "ratio", "low": "high", "high": "low"}
"""The inverse of an interval: which end becomes which."""


def _failures(tables: Tables) -> list[Alert]:
    """Contenders that did not finish: a regression where the revision's did, and else nothing can be said."""
    rows = [row for row in records(tables["failures"]) if row["implementation"] not in (AGAIN, *CONTROLS)]
    rows = [row for row in rows if not _is_new(row)]
    finished = {(benchmark_of(row), bool(row["variation"])) for row in records(tables["timings"])}
    alerts = []
    for row in rows:
        where, is_other = benchmark_of(row), bool(row["variation"])
        detail = f"{'the revision' if is_other else 'the working tree'}: {row['reason']}"
        regressed = not is_other and (where, True) in finished
        kind = Kind.FAILED if regressed else Kind.UNMEASURED
        alerts.append(Alert(kind, where, "time", command=row["command"], detail=" ".join(detail.split())[:500]))
    return alerts


def of_properties(now: Tables, before: Tables | None) -> list[Alert]:
    """Properties that hold on one side only; ``before`` holds those that were tried there.

    One that fails on both sides is no regression, and one that nobody knew before is, where it fails.
    """
    known = {_identity(row): row for row in records(before["conformance"])} if before else {}
    changed: dict[tuple[Kind, str], list[Row]] = {}
    for row in records(now["conformance"]):
        old = known.get(_identity(row))
        fails, failed = _fails(row), old is not None and _fails(old)
        if fails != failed and (fails or old is not None):
            kind = Kind.BROKEN if fails else Kind.MENDED
            changed.setdefault((kind, f"{row['technique']}/{row['property']}"), []).append(row)
    alerts = []
    for (kind, where), rows in changed.items():
        first, at = rows[0], f"in {', '.join(row['precision'] for row in rows)}"
        found = f": {first['message'] or first['example'] or first['statement']}" if kind is Kind.BROKEN else ""
        detail = " ".join(f"{at}{found}".split())[:500]
        alerts.append(Alert(kind, where, "property", command=first["command"], detail=detail))
    return alerts


def _fails(row: Row) -> bool:
    return row["outcome"] == "failed" and row["known"] is None


def _identity(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("technique", "implementation", "property", "precision", "backend"))


def of_claims(now: Tables, before: Tables) -> list[Alert]:
    """Claims that were reproduced on one side, and are contradicted, or show no difference, on the other."""
    verdicts = [
        {(row["technique"], row["claim"], row["settings"], row["budget"]): row for row in records(tables["claims"])}
        for tables in (now, before)
    ]
    against = {Verdict.CONTRADICTED.value, Verdict.NO_DIFFERENCE.value}
    alerts = []
    for key, row in verdicts[0].items():
        old = verdicts[1].get(key)
        if old is None:
            continue
        pair = old["verdict"], row["verdict"]
        detail = f"{row['settings']}, {row['budget']}: {pair[0]} before, {pair[1]} now"
        if pair[0] == Verdict.REPRODUCED.value and pair[1] in against:
            alerts.append(Alert(Kind.FLIPPED, "/".join(key[:2]), "claim", detail=detail))
        if pair[1] == Verdict.REPRODUCED.value and pair[0] in against:
            alerts.append(Alert(Kind.HOLDS, "/".join(key[:2]), "claim", detail=detail))
    return alerts


def vanished(now: Collection[str], before: Iterable[str]) -> list[Alert]:
    """Benchmarks, as technique/workload/operation, that there are no more."""
    gone = sorted(set(before) - set(now))
    return [Alert(Kind.VANISHED, each, "time", detail="the revision has it, the working tree has not") for each in gone]


def confirmed(first: Iterable[Alert], second: Iterable[Alert]) -> list[Alert]:
    """Of what has to be seen twice, what was, as the second run measured it; and all else of the first.

    What the second run was too noisy to see is not known, and not passed over.
    """
    seen = {alert.identity: alert for alert in second}
    noisy = {(alert.benchmark, alert.measure): alert for alert in second if alert.kind is Kind.UNMEASURED}
    kept = []
    for alert in first:
        where = alert.benchmark, alert.measure
        if alert.kind not in AGAIN_FIRST:
            kept.append(alert)
        elif alert.identity in seen:
            kept.append(seen[alert.identity])
        elif where in noisy:
            kept.append(replace(noisy[where], detail=f"{alert.kind.value} at first, and then {noisy[where].detail}"))
    return kept


def benchmark_of(row: Row) -> str:
    """A race as a gate names it."""
    return f"{row['technique']}/{row['workload']}/{row['operation']}"
