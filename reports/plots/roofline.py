"""Which contenders a roofline plot shows: how near each comes to what the machine itself reaches.

A roofline (Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", CACM 52:4, 2009) sets the rate of some work over its intensity, the multiply-adds that it does with
every byte that it has to move. What does many is limited by the processor, what does few by memory. Here both limits
are measured: they are the rates of the control kernels that ran in the same races.
"""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from reports.plots.kinds import Mark, Roofline
from reports.store.run_folder import Row
from reports.tables.comparisons import AGAIN, CONTROLS, REFERENCE
from reports.words import contender, precision_order, significant

MATMUL, COPY = CONTROLS
BILLION = 1e9


def rooflines(timings: Sequence[Row], title: str = "What the machine could do") -> Iterator[Roofline]:
    """One plot per machine, device and precision in which there is anything whose work is known.

    Args:
        timings: rows of the table of timings, those of the control kernels among them. The series are contenders where
            all rows are of one technique, and techniques otherwise; references have filled marks.
        title: of the plots, which is followed by what tells them apart.
    """
    work = [row for row in timings if row["implementation"] not in CONTROLS]
    by_technique = len({row["technique"] for row in work}) > 1
    machines = list(dict.fromkeys((row["place"], row["device"]) for row in work))
    for place, device in machines:
        here = [row for row in timings if (row["place"], row["device"]) == (place, device)]
        for precision in sorted({row["precision"] for row in here}, key=precision_order):
            rows = [row for row in here if row["precision"] == precision and _can_be_drawn(row)]
            if not rows:
                continue
            roofs = [row for row in here if row["implementation"] == MATMUL and row["precision"] == precision]
            products = _reached(roofs, "multiply_adds")
            memory = _reached([row for row in here if row["implementation"] == COPY], "bytes")
            marks = [
                Mark(
                    row["technique"].replace("_", " ") if by_technique else contender(row),
                    row["multiply_adds"] / row["bytes"],
                    row["rate"],
                    row["implementation"] == REFERENCE,
                )
                for row in rows
            ]
            where = [precision, *([place] if len(machines) > 1 else []), *([device] if device != "cpu" else [])]
            described = _described(products, memory)
            yield Roofline(f"{title}: {', '.join(where)}", described, marks, products, memory)


def _can_be_drawn(row: Row) -> bool:
    known = row["rate"] and row["multiply_adds"] and row["bytes"]
    return bool(known) and row["implementation"] not in (*CONTROLS, AGAIN)


def _reached(controls: Iterable[Row], work: str) -> float | None:
    """The rate of a control kernel: its median over races, on the backend where that is highest."""
    by_backend: dict[str, list[float]] = {}
    for row in controls:
        if row[work] and row["seconds"]:
            by_backend.setdefault(row["backend"], []).append(row[work] / row["seconds"])
    return max(map(median, by_backend.values()), default=None)


def _described(products: float | None, memory: float | None) -> str:
    kernels = []
    if products:
        kernels.append(f"a matrix product, {significant(products / BILLION)} billion multiply-adds per second")
    if memory:
        kernels.append(f"moving memory, {significant(memory / BILLION)} billion bytes per second")
    line = f" The line is what the machine's own kernels reach: {', and '.join(kernels)}." if kernels else ""
    slope = " What the caches hold may lie above its slope." if memory else ""
    return (
        "Work done per second, over work done with every byte that has to be moved at least; both axes logarithmic."
        f"{line}{slope} Filled marks are references."
    )
