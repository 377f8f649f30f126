"""What a run could see: its noise floor, and how its machine ran under it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports import words
from reports.plots import figures
from reports.plots.kinds import Curves
from reports.plots.whiskers import Whiskers
from reports.statistics.intervals import CONFIDENCE
from reports.statistics.verdicts import MARGIN
from reports.store.run_folder import Row
from reports.tables.comparisons import AGAIN, CONTROLS
from reports.tables.conditions import causes
from reports.tables.steadiness import MachineVerdict, Verdict


@dataclass(frozen=True)
class Sight:
    """What a run on one machine could see.

    Attributes:
        place: the machine.
        floor: the smallest difference that it could tell from noise, in sentences.
        twins: the A/A races, as rows of ratios, and the scale of their whiskers.
        host: what the checks of the host found that is noisy, as rows; and the rest of it in a sentence.
        machine, disturbed, settled: how the machine ran, what disturbed it, whether contenders settled: sentences.
        races: those in which the machine moved or blocks were disturbed, as rows of conditions.
        drift: the control kernels over the run.
    """

    place: str
    floor: str
    twins: Sequence[Row]
    whiskers: Whiskers
    noisy: Sequence[Row]
    checked: str
    machine: str
    disturbed: str
    settled: str
    races: Sequence[Row]
    drift: Sequence[Curves]


def sights(tables: Mapping[str, Sequence[Row]], floors: Mapping[str, float], places: Iterable[str]) -> list[Sight]:
    """One per machine that timed anything, or whose host was checked."""
    found = []
    for place in places:
        rows = {
            name: [row for row in tables[name] if row["place"] == place]
            for name in ("timings", "noise", "steadiness", "conditions", "host")
        }
        if rows["timings"] or rows["host"]:
            found.append(_sight(place, rows, floors.get(place)))
    return found


def _sight(place: str, rows: Mapping[str, Sequence[Row]], floor: float | None) -> Sight:
    races, host = rows["conditions"], _newest(rows["host"])
    return Sight(
        place,
        _floor(floor, len(rows["noise"])) if rows["timings"] else "",
        rows["noise"],
        Whiskers.of(rows["noise"]),
        [row for row in host if row["state"] == "noisy"],
        _checked(host),
        _machine(races),
        _disturbed(races),
        _settled(rows["steadiness"]),
        [row | {"causes": json.loads(row["causes"] or "{}")} for row in races if row["disturbed"] or _moved(row)],
        list(figures.drift(rows["timings"])),
    )


def _newest(host: Sequence[Row]) -> list[Row]:
    """The checks of the last run folder given, where several were measured on one machine."""
    return [row for row in host if row["run"] == host[-1]["run"]]


def _floor(floor: float | None, races: int) -> str:
    if floor is None:
        return "No A/A race was run: no verdict on this page was held to a noise floor."
    smallest = words.percent(floor - 1) if floor < 2 else f"a factor of {words.factor(floor)}"
    rests = f"It rests on {words.plural(races, 'A/A race')}, in which the reference ran beside itself"
    few = "; with more of them it would come out smaller" if races < FEW_RACES else ""
    equivalent = f" Nothing here can be called equivalent, which takes a floor below {words.percent(MARGIN - 1)}."
    return (
        f"The smallest difference that this run could tell from noise is {smallest}: identical contenders stay within "
        f"it in {CONFIDENCE:.0%} of races. {rests}{few}. No verdict undercuts it, or what the A/A pair of its own race "
        f"showed."
        f"{equivalent if floor > MARGIN else ''}"
    )


FEW_RACES = 12
"""With so many A/A races the noise floor is a quarter above what endlessly many would make it: t(12/2) is 2.45."""


def _checked(host: Sequence[Row]) -> str:
    if not host:
        return "The host was not checked."
    good = [row["name"] for row in host if row["state"] == "good"]
    unknown = [f"{row['name']} ({row['found']})" for row in host if row["state"] == "unknown"]
    said = f"Found in order: {', '.join(good)}." if good else "Nothing was found in order."
    return said + (f" Not known, which is no pass: {', '.join(unknown)}." if unknown else "")


def _moved(race: Row) -> bool:
    return race["machine"] not in (MachineVerdict.STEADY, MachineVerdict.UNKNOWN)


def _machine(races: Sequence[Row]) -> str:
    if not races:
        return ""
    steady, moved = sum(race["machine"] == MachineVerdict.STEADY for race in races), sum(map(_moved, races))
    unknown = len(races) - steady - moved
    said = f"In {words.plural(len(races), 'race')}, the machine was steady in {steady or 'none'}"
    said += f" and moved in {moved or 'none'}"
    return f"{said}{f'; in {unknown} there was too little to tell' if unknown else ''}."


def _disturbed(races: Sequence[Row]) -> str:
    """How many blocks were disturbed, by what, and what the hypervisor took."""
    watched = [race for race in races if race["blocks"]]
    if not watched:
        return "What else the machine did in the meantime was not read." if races else ""
    blocks, disturbed = (int(sum(race[name] for race in watched)) for name in ("blocks", "disturbed"))
    found = causes((cause, count) for race in watched for cause, count in json.loads(race["causes"]).items())
    counted = {cause: f" ({words.plural(count, 'block')})" * (count < disturbed) for cause, count in found.items()}
    named = "; ".join(f"{cause} at worst{count}" for cause, count in counted.items())
    said = f"{disturbed:,} of {blocks:,} blocks were disturbed" + (f": {named}." if named else ".")
    stolen = [(race["steal"], race["blocks"]) for race in watched if race["steal"] is not None]
    if not stolen:
        return f"{said} What a hypervisor took is not readable here."
    mean = sum(share * count for share, count in stolen) / sum(count for _, count in stolen)
    most = max(share for share, _ in stolen)
    took = f"{words.percent(mean)} of the CPU time, {words.percent(most)} in the worst race" if most else "nothing"
    return f"{said} A hypervisor took {took}."


def _settled(contenders: Iterable[Row]) -> str:
    """Whether the contenders settled; the controls and the reference's twin are none."""
    verdicts = [row["verdict"] for row in contenders if row["implementation"] not in (*CONTROLS, AGAIN)]
    if not verdicts:
        return ""
    few, steady = verdicts.count(Verdict.TOO_FEW), verdicts.count(Verdict.STEADY)
    other = len(verdicts) - few - steady
    if 2 * few > len(verdicts):
        found = f"; {other} of the others did not, as is said beside their step times" if other else ""
        return f"Most contenders ran too few rounds to tell whether they settled{found}."
    said = f"Of {words.plural(len(verdicts), 'contender')}, {steady or 'none'} ran steadily"
    said += f" and {other or 'none'} did not{', as is said beside their step times' if other else ''}"
    return f"{said}{f'; {few} ran too few rounds to tell' if few else ''}."
