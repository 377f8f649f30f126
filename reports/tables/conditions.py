"""How the machine and its contenders ran: rows for whether each contender settled, of each race's conditions, of hosts.

What `reports.tables.steadiness` says of a race is kept in two tables: one row per contender, and one per race for what
all of its contenders had in common. Beside the latter stand the conditions that were read at every block.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from reports.store.run_folder import Row
from reports.tables.comparisons import CONTROLS, Sample
from reports.tables.places import Run
from reports.tables.steadiness import of_race

_RACE = ("place", "technique", "device", "scale", "workload", "parameters", "operation", "seed", "race")
_CONTENDER = ("implementation", "backend", "precision", "variation")

STEADINESS_COLUMNS = (
    *_RACE,
    *_CONTENDER,
    *("verdict", "heat", "block", "ratio", "settled_after", "sentence", "key"),
)
CONDITION_COLUMNS = (
    *_RACE,
    *("when", "blocks", "disturbed", "causes", "steal", "others", "load1"),
    *("machine", "ratio", "sentence"),
)
HOST_COLUMNS = ("place", "run", "name", "state", "found", "advice")


def of_races(
    samples: Iterable[Sample], readings: Mapping[tuple[str, str], Sequence[Row]]
) -> tuple[list[Row], list[Row]]:
    """Judge every race.

    Args:
        samples: rows of the table of timings, which may have ``warm_up``, with their rounds.
        readings: the readings of a race's blocks, by place and race; a race without any was not watched.

    Returns:
        Rows with `STEADINESS_COLUMNS`, and rows with `CONDITION_COLUMNS`.
    """
    races: dict[tuple[str, str], list[Sample]] = {}
    for row, rounds in samples:
        races.setdefault((row["place"], rounds.race), []).append((row, rounds))
    contenders, conditions = [], []
    for race, entrants in races.items():
        rows = [row for row, _ in entrants]
        verdicts, machine = of_race(
            [rounds for _, rounds in entrants], [_times(row.get("warm_up") or ()) for row in rows]
        )
        for row, verdict in zip(rows, verdicts, strict=True):
            said = {name: getattr(verdict, name) for name in STEADINESS_COLUMNS[-6:-1]}
            contenders.append(_named(row, STEADINESS_COLUMNS) | said | {"verdict": verdict.verdict.value})
        own = next((row for row in rows if row["implementation"] not in CONTROLS), rows[0])
        read = _read(readings.get(race, ()))
        course = {"machine": machine.verdict.value, "ratio": machine.ratio, "sentence": machine.sentence}
        conditions.append(_named(own, CONDITION_COLUMNS) | read | course)
    return contenders, conditions


def of_host(run: Run) -> list[Row]:
    """The checks of a run's host, as rows with `HOST_COLUMNS`; none where the run made none."""
    where = {"place": run.place, "run": str(run.path)}
    return [where | {name: check.get(name) for name in HOST_COLUMNS[2:]} for check in run.facts.get("host") or []]


def _named(row: Row, columns: Sequence[str]) -> Row:
    return {name: row[name] for name in columns if name in row}


def _times(calls: Iterable[float | None]) -> list[float]:
    return [float("nan") if call is None else call for call in calls]


def _read(readings: Sequence[Row]) -> Row:
    """What the readings of a race's blocks come to; what was never read is ``None``, and never zero."""
    if not readings:
        return dict.fromkeys(("blocks", "disturbed", "causes", "steal", "others", "load1"))
    disturbed = [reading["disturbed"] for reading in readings if reading.get("disturbed")]
    load = [reading["load1"] for reading in readings if reading.get("load1") is not None]
    return {
        "blocks": len(readings),
        "disturbed": len(disturbed),
        "causes": json.dumps(causes((cause, 1) for sentence in disturbed for cause in sentence.split("; "))),
        "steal": _mean(readings, "steal"),
        "others": _mean(readings, "others"),
        "load1": float(np.median(load)) if load else None,
    }


def _mean(readings: Iterable[Row], name: str) -> float | None:
    """The mean of a share over time: blocks that lasted longer count for more."""
    known = [(reading[name], reading.get("seconds") or 1.0) for reading in readings if reading.get(name) is not None]
    return sum(share * seconds for share, seconds in known) / sum(seconds for _, seconds in known) if known else None


def causes(disturbances: Iterable[tuple[str, int]]) -> dict[str, int]:
    """What disturbed a number of blocks: each cause once, in its worst words, with the number of blocks; most first.

    Words are of one cause where they differ in their numbers alone.

    Args:
        disturbances: words for a cause, and the number of blocks that it disturbed.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for words, blocks in disturbances:
        found.setdefault(_NUMBER.sub("#", words), []).append((words, blocks))
    worst = {max((words for words, _ in said), key=_numbers): sum(n for _, n in said) for said in found.values()}
    return dict(sorted(worst.items(), key=lambda cause: -cause[1]))


_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _numbers(words: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(words)]
