"""How numbers and rows are put into words, everywhere alike."""

import json
import math
from collections.abc import Mapping
from typing import Any

NOT_MEASURED = "not measured"

IMPLEMENTATIONS = {
    "again": "reference, again",
    "control-matmul": "control: matrix product",
    "control-copy": "control: memory",
}
"""What the implementations are called that are none."""


def seconds(value: float | None) -> str:
    """A duration with three significant digits and its unit."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{significant(value / size)} {unit}"
    return f"{significant(value / 1e-9)} ns"


def seconds_interval(low: float, high: float) -> str:
    """The ends of an interval of durations, in the unit of the upper one."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    size, unit = next(((s, u) for s, u in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if high >= s), (1e-9, "ns"))
    return f"[{significant(low / size)}, {significant(high / size)}] {unit}"


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent where that stays short."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(decimals, 0)}f}" if -4 <= decimals <= 6 else f"{value:.{digits - 1}e}"


def p_value(value: float | None) -> str:
    """A p-value, of which no more than that it is small is told where it is: ``0.03``, ``<0.001``."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    return "<0.001" if value < 0.001 else f"{float(f'{value:.2g}'):.10g}"


def percent(share: float | None) -> str:
    """A share with up to two significant digits: ``0.34%``, ``5%``, ``34%``, ``120%``."""
    if share is None or not math.isfinite(share):
        return NOT_MEASURED
    return f"{100 * share:.0f}%" if abs(share) >= 0.095 else f"{float(f'{100 * share:.2g}'):.10g}%"


def scaled(value: float | None, unit: str) -> str:
    """An amount with three significant digits and its unit, in thousands or thousandths where that is shorter."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    sizes = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
    size, prefix = next(((size, prefix) for size, prefix in sizes if abs(value) >= size), (1.0, ""))
    return f"{significant(value / size)} {prefix}{unit}"


def mebibytes(value: float | None) -> str:
    """Memory in MiB or GiB; what was not measured says so, and is never zero."""
    if value is None or not value > 0:
        return NOT_MEASURED
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{significant(value / 2**20)} MiB"


def factor(ratio: float | None) -> str:
    """A ratio: ``0.035×``, ``1.08×``, ``12.4×``, ``140×``."""
    return NOT_MEASURED if ratio is None or not math.isfinite(ratio) else f"{_ratio_digits(ratio)}×"


def factor_interval(low: float, high: float) -> str:
    """The interval of a ratio: ``[1.05, 1.12]``."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    return f"[{_ratio_digits(low)}, {_ratio_digits(high)}]"


def _ratio_digits(ratio: float) -> str:
    if 0.0995 <= ratio < 10:  # hundredths here, and as many digits as 0.10 has below
        return f"{ratio:.2f}"
    if ratio < 1:
        return significant(ratio, digits=2)
    return significant(ratio) if ratio < 1e5 else f"{ratio:.1e}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """``1 property``, ``2 properties``."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def properties(count: int) -> str:
    """``1 property``, ``2 properties``."""
    return plural(count, "property", "properties")


def all_pass(count: int) -> str:
    """``all 4 pass``; of one property ``its one passes``."""
    return "its one passes" if count == 1 else f"all {count} pass"


def contender(row: Mapping[str, Any]) -> str:
    """An implementation, with its backend and device where they are not the default."""
    backend = "" if row["backend"] == "tensorflow" else f" @ {row['backend']}"
    device = "" if row["device"] == "cpu" else f" on {row['device']}"
    variation = f", {row['variation']}" if row.get("variation") else ""
    return f"{IMPLEMENTATIONS.get(row['implementation'], row['implementation'])}{backend}{device}{variation}"


def machine_letter(row: Mapping[str, Any]) -> str:
    """`` (A)`` where several machines are in the report, else nothing."""
    letter, colon, _ = row["place"].partition(": ")
    return f" ({letter})" if colon and len(letter) <= 2 else ""


def setting(text: str) -> str:
    """A JSON object of parameters or of a condition, as ``depth 20, batch 32``."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in json.loads(text).items())


def operation(name: str) -> str:
    """What a timed operation is, in words."""
    return {"train": "training step", "gradient": "forward and gradient"}.get(name, name)


def precision_order(name: str) -> tuple[int, str]:
    """A sort key: float32, then the mixed precisions in the order in which they came into use, then any other."""
    usual = ("float32", "mixed_float16", "mixed_bfloat16")
    return usual.index(name) if name in usual else len(usual), name
