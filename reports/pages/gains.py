"""By how much an arm of a claim beats its baseline, in words."""

import math

from reports import words
from reports.store.run_folder import Row


def gain_words(row: Row) -> str:
    """The gain of one contrast, and what the claim says of it."""
    pair = f"{row['arm']} over {row['baseline']} in {_lower_first(row['metric_title'])}"
    where = f" at {words.setting(row['condition'])}" if row["condition"] != "{}" else ""
    if row["gain"] is None:
        return f"{pair}: no seed at which both are usable{where}"
    gain, margin, low, high = (words.significant(row[name]) for name in ("gain", "margin", "low", "high"))
    ends = f"[{low}, {high}]" if math.isfinite(row["low"]) and math.isfinite(row["high"]) else "(no interval)"
    unit = f" {row['unit']}" if row["unit"] else ""
    tried = f", {row['settings']}" if row["arm_rate"] is not None else ""
    expected = f"the claim says more than {margin}" if row["expects"] == "better" else f"{margin} would matter"
    return f"{pair}: gain {gain} {ends}{unit}{where}{tried}, where {expected}"


def promised(row: Row) -> str:
    """What a contrast expects of the gain, in few words."""
    margin, unit = words.significant(row["margin"]), f" {row['unit']}" if row["unit"] else ""
    if row["expects"] == "better":
        return f"more than {margin}{unit}"
    if row["gain_scale"] == "ratio":
        return f"within a factor of {margin}"
    return f"within ±{margin}{unit}"


def _lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]
