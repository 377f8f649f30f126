"""How time and memory grow with a size, in sentences."""

import math
from collections.abc import Iterable

from reports import words
from reports.pages.groups import grouped
from reports.plots.figures import plainest
from reports.store.run_folder import Row


def sentences(exponents: Iterable[Row]) -> list[str]:
    """One sentence for everything that grows with one size over one range, in the plainest precision.

    ``Training step: time grows with length to the power 1.93 [1.85, 2.01] (reference), 0.98 [0.95, 1.02] (blockwise),
    from 512 to 4,096.``

    Args:
        exponents: rows of the table of exponents, of one technique.
    """
    exponents = list(exponents)
    plain = plainest(row["precision"] for row in exponents)
    rows = [row for row in exponents if row["precision"] == plain]
    scales = {row["scale"] for row in rows}
    family = ("operation", "quantity", "parameter", "scale", "first", "last", "setting", "controlled")
    said = []
    for (operation, quantity, parameter, scale, first, last, *_, controlled), lines in grouped(rows, family).items():
        powers = ", ".join(f"{_power(row)} ({row['contender']}{words.machine_letter(row)})" for row in lines)
        step = words.operation(operation)
        where = f", {scale} scale" if len(scales) > 1 else ""
        drift = "" if controlled else "; no control kernel ran, so that the machine's own drift is in it"
        said.append(
            f"{step[:1].upper()}{step[1:]}{where}: {quantity} grows with {parameter.replace('_', ' ')} to the power "
            f"{powers}, from {first:,.10g} to {last:,.10g}{drift}."
        )
    return said


def _power(row: Row) -> str:
    known = math.isfinite(row["low"]) and math.isfinite(row["high"])
    return f"{row['estimate']:.2f} " + (f"[{row['low']:.2f}, {row['high']:.2f}]" if known else "(no interval)")
