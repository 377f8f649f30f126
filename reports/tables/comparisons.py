"""Which row is compared with which, and what the statistics say: ratios of timings."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.statistics import verdicts
from reports.statistics.intervals import (
    Interval,
    Rounds,
    false_discovery,
    moderate,
    noise_floor,
    slower_share,
    step_ratio,
)
from reports.statistics.verdicts import Speed
from reports.store.run_folder import Row
from reports.tables import memory

RATIO_COLUMNS = (
    *("place", "technique", "device", "scale", "workload", "parameters", "operation", "seed", "race"),
    *("implementation", "backend", "precision", "variation", "baseline", "baseline_backend", "baseline_precision"),
    *("ratio", "low", "high", "p", "q", "slower_share", "units", "basis", "verdict", "key"),
    *("baseline_key", "memory_ratio", "memory_low", "memory_high", "memory_verdict"),
)
WITHOUT = "without"
"""The implementation that is the same work with the technique left out."""

AGAIN = "again"
"""The implementation that is the reference a second time."""

CONTROLS = ("control-matmul", "control-copy")
"""The implementations that are no technique: what the machine itself reaches."""

REFERENCE = "reference"
PLAIN = "float32"

_WORK = ("place", "technique", "device", "scale", "workload", "parameters", "operation", "seed")
_SETTING = ("place", "technique", "claim", "implementation", "backend", "precision", "device", "scale")

Sample = tuple[Row, Rounds]


@dataclass(frozen=True)
class Ratios:
    """Every comparison of two timings, as rows with `RATIO_COLUMNS`.

    Attributes:
        implementations: every peer over the reference at its own precision; the reference over "without", which is
            what the technique costs; and whatever runs in another way (another tree, backend, number of threads) over
            the same in the usual way.
        precisions: every mixed precision over float32 of the same implementation.
        again: the reference over itself, the A/A races.
        floors: by machine, the smallest ratio that its A/A races could tell from noise, see `noise_floor`. A verdict
            also has to go beyond what the A/A pair of its own race showed, which may have been disturbed.
    """

    implementations: list[Row]
    precisions: list[Row]
    again: list[Row]
    floors: dict[str, float]


def ratios(samples: Iterable[Sample]) -> Ratios:
    """Compare timings of one race with each other, and add ``apart`` to their rows.

    Contenders of two races never took turns, and whatever changed from the one to the other would be in their ratio and
    not in its interval. Where what a timing would be compared with ran in another race only, ``apart`` is true, and
    there is no ratio. False discoveries are controlled over all but the A/A races together.
    """
    races: dict[tuple[Any, ...], list[Sample]] = defaultdict(list)
    works: dict[tuple[Any, ...], list[Sample]] = defaultdict(list)
    for row, rounds in samples:
        row["apart"] = False
        if row["implementation"] not in CONTROLS:
            races[_race(row)].append((row, rounds))
            works[_work(row)].append((row, rounds))
    implementations: list[Row] = []
    precisions: list[Row] = []
    again: list[Row] = []
    for race in races.values():
        for sample in race:
            row = sample[0]
            if against := _baseline(race, row):
                (again if row["implementation"] == AGAIN else implementations).append(_compare(sample, against))
            elif row["implementation"] != REFERENCE or row["variation"]:  # a reference is its race's baseline
                row["apart"] = _baseline(works[_work(row)], row) is not None
            mixed = row["precision"] != PLAIN and row["implementation"] != AGAIN and not row["variation"]
            plain = _of(race, row["implementation"], row, PLAIN) if mixed else None
            if plain and plain[0]["backend"] == row["backend"]:
                precisions.append(_compare(sample, plain))
    compared = implementations + precisions
    intervals = _moderated(compared + again)
    for row, ratio in zip(compared + again, intervals, strict=True):
        row |= {name: getattr(ratio, name) for name in ("low", "high", "p", "units", "basis")}
        row["ratio"] = ratio.estimate
    floors, own = _floors(again, intervals[len(compared) :])
    q_values = false_discovery([row["p"] for row in compared]).tolist()
    q_values += [1.0] * len(again)  # that these do not differ is known
    for row, ratio, q in zip(compared + again, intervals, q_values, strict=True):
        floor = max(own.get(_race(row), 1.0), floors.get(row["place"], 1.0))
        row |= {"q": q, "verdict": verdicts.of_ratio(ratio, q, floor).value}
    memory.judge(compared, again, _race)
    return Ratios(implementations, precisions, again, floors)


def _work(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _WORK)


def _race(row: Row) -> tuple[Any, ...]:
    return (*_work(row), row["race"])


def _floors(
    again: Sequence[Row], intervals: Sequence[Interval]
) -> tuple[dict[str, float], dict[tuple[Any, ...], float]]:
    """What A/A races could tell from noise: on each machine, and the difference that each race itself showed."""
    own: dict[tuple[Any, ...], float] = {}
    by_place: dict[str, list[Interval]] = defaultdict(list)
    for row, ratio in zip(again, intervals, strict=True):
        if math.isfinite(ratio.estimate):
            own[_race(row)] = max(ratio.estimate, 1 / ratio.estimate)
            by_place[row["place"]].append(ratio)
    return {place: noise_floor(found) for place, found in by_place.items()}, own


def _baseline(race: Sequence[Sample], row: Row) -> Sample | None:
    """What a timing is compared with at its own precision, if anything."""
    implementation, precision = row["implementation"], row["precision"]
    if row["variation"]:
        return _of(race, implementation, row, precision) or _of(race, REFERENCE, row, precision)
    if implementation == WITHOUT:  # it would be the reference's ratio again, inverted
        return None
    if implementation != REFERENCE:
        return _of(race, REFERENCE, row, precision)
    home = min((sample[0]["backend"] for sample in race), key=_backend_order)
    if row["backend"] != home:
        at_home = _of(race, REFERENCE, row | {"backend": home}, precision)
        return at_home if at_home and at_home[0]["backend"] == home else None  # which may lack this precision
    return _of(race, WITHOUT, row, precision)


def _moderated(rows: Sequence[Row]) -> list[Interval]:
    """The rows' intervals, taken out of them; those of one machine share what they show of how heats vary."""
    intervals: list[Interval] = [row.pop("interval") for row in rows]
    for place in {row["place"] for row in rows}:
        here = [i for i, row in enumerate(rows) if row["place"] == place]
        for i, interval in zip(here, moderate([intervals[i] for i in here]), strict=True):
            intervals[i] = interval
    return intervals


def _of(race: Sequence[Sample], implementation: str, row: Row, precision: str) -> Sample | None:
    """The usual sample of an implementation at a precision: on the row's own backend, else on any, TensorFlow first."""
    wanted = {"implementation": implementation, "precision": precision, "variation": ""}
    found = [sample for sample in race if all(sample[0][name] == value for name, value in wanted.items())]
    return min(
        found,
        key=lambda sample: (sample[0]["backend"] != row["backend"], _backend_order(sample[0]["backend"])),
        default=None,
    )


def _backend_order(backend: str) -> tuple[bool, str]:
    return backend != "tensorflow", backend


def _compare(sample: Sample, against: Sample) -> Row:
    (row, rounds), (baseline, baseline_rounds) = sample, against
    return {name: row[name] for name in RATIO_COLUMNS if name in row} | {
        "baseline": baseline["implementation"],
        "baseline_backend": baseline["backend"],
        "baseline_precision": baseline["precision"],
        "baseline_key": baseline["key"],
        "memory": memory.memory_ratio(row, baseline),
        "memory_pair": memory.pair(row, baseline),
        "slower_share": slower_share(rounds, baseline_rounds),
        "interval": step_ratio(rounds, baseline_rounds),
    }


def inverse(row: Row) -> Row:
    """A row of ratios seen from its baseline."""
    turned = {Speed.SLOWER.value: Speed.FASTER.value, Speed.FASTER.value: Speed.SLOWER.value}
    estimate, low, high = (1 / row[name] if row[name] else math.inf for name in ("ratio", "high", "low"))
    return row | {"ratio": estimate, "low": low, "high": high, "verdict": turned.get(row["verdict"], row["verdict"])}
