"""Times beside what the machine itself reaches: what can be compared from machine to machine.

Every race has control kernels among its contenders: a matrix product in each precision, and moving memory. A step that
takes as long as 40 matrix products here and as long as 60 there uses the second machine less well, whichever of the two
is faster. Where a step's own work is known, the same comparison gives shares: of the multiply-adds per second that the
matrix product reaches, and of the bytes per second that moving memory reaches.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from reports.statistics.intervals import step_ratio
from reports.tables.comparisons import CONTROLS, Sample
from reports.words import significant

MATMUL, COPY = CONTROLS
COLUMNS = (
    *("multiply_adds", "bytes", "rate", "in_matmuls", "in_matmuls_low", "in_matmuls_high"),
    *("in_copies", "in_copies_low", "in_copies_high", "matmul_share", "memory_share", "too_fast"),
)
"""The first two are known of the work itself; the others are added here."""

LIMITS = {"multiply_adds": 4.0, "bytes": 32.0}
"""From how many times a control kernel's rate on there is no honest explanation.

Multiply-adds: the fastest known convolutions of 3x3 do with a quarter of them (Lavin and Gray, "Fast algorithms for
convolutional neural networks", 2016), and no product of matrices saves as much. Bytes: the control moves what no cache
holds, and the caches next to a processor's cores are up to some thirty times as fast.
"""


def add_rates(samples: Iterable[Sample]) -> None:
    """Add the rest of `COLUMNS` to the rows of timings; what cannot be told is ``None``.

    ``rate`` is in multiply-adds per second; ``in_matmuls`` and ``in_copies`` how many of either control's steps a step
    lasts, with their intervals. The shares are between 0 and 1, but for work that the caches serve faster than memory
    can. ``too_fast`` is a sentence about what is beyond `LIMITS`, by more than noise.
    """
    races: dict[tuple[Any, ...], list[Sample]] = defaultdict(list)
    for row, rounds in samples:
        row.update(dict.fromkeys(COLUMNS[2:]))
        races[row["place"], rounds.race].append((row, rounds))
    for race in races.values():
        matmuls = {row["precision"]: (row, rounds) for row, rounds in race if row["implementation"] == MATMUL}
        copies = [sample for sample in race if sample[0]["implementation"] == COPY]
        for sample in race:
            row, _ = sample
            if row["multiply_adds"] and row["seconds"]:
                row["rate"] = row["multiply_adds"] / row["seconds"]
            if row["implementation"] in CONTROLS:
                continue
            if matmul := matmuls.get(row["precision"]):
                row["matmul_share"] = _beside(sample, matmul, "in_matmuls", "multiply_adds")
            if copies:
                row["memory_share"] = _beside(sample, copies[0], "in_copies", "bytes")


def _beside(sample: Sample, control: Sample, name: str, work: str) -> float | None:
    """A step's rate of some work as a share of the control's; how many of the control's steps it lasts is put in.

    Where the share is beyond its limit, the row is marked.
    """
    (row, rounds), (control_row, control_rounds) = sample, control
    ratio = step_ratio(rounds, control_rounds)
    row |= {name: ratio.estimate, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
    own, its = row[work], control_row[work]
    if not (own and its):
        return None
    if own / its / ratio.high > LIMITS[work]:
        row["too_fast"] = (
            f"Faster than this machine's own kernels, {significant(own / its / ratio.estimate)} times: its work cannot "
            f"all have been done. Look at it."
        )
    return own / its / ratio.estimate
