"""How the arms of a claim trained: the series of their trials that judge, by step, over seeds."""

import math
from collections.abc import Iterable

import numpy as np

from reports.store.run_folder import Row

_ARM = (
    *("place", "technique", "claim", "implementation", "backend", "precision", "device", "scale", "arm", "condition"),
    "rate",
)
TRAINING_COLUMNS = (*_ARM, "series", "step", "clock", "median", "low", "high", "seeds", "unusable")


def courses(trials: Iterable[Row]) -> list[Row]:
    """Every series of every arm, as rows with `TRAINING_COLUMNS`: one per step, with median and range over seeds.

    Args:
        trials: one row per trial, with ``series`` ({name: numbers by step, ``None`` where not finite}), ``steps`` (the
            step at each number; empty where there is one per step) and ``clock`` (the seconds that training had taken
            by then; empty where nobody counted). Seeds that are not finite, or that have ended, are left out of the
            median; ``unusable`` counts the former. ``clock`` is the median over seeds, too.
    """
    arms: dict[tuple[object, ...], list[Row]] = {}
    for trial in trials:
        if trial["purpose"] == "judge":
            for name in trial["series"]:
                arms.setdefault((*(trial[column] for column in _ARM), name), []).append(trial)
    rows = []
    for arm, seeds in arms.items():
        table = _table([seed["series"][arm[-1]] for seed in seeds])
        clock = _table([seed["clock"] for seed in seeds], table.shape[1])
        longest = max((seed["steps"] for seed in seeds), key=len)
        ran = np.arange(table.shape[1]) < np.array([[len(seed["series"][arm[-1]])] for seed in seeds])
        for index, values in enumerate(table.T):
            usable = values[np.isfinite(values)]
            ends = (np.median(usable), usable.min(), usable.max()) if len(usable) else (math.nan,) * 3
            counts = len(usable), int(ran[:, index].sum()) - len(usable)
            timed = clock[:, index][np.isfinite(clock[:, index])]
            step = longest[index] if index < len(longest) else index + 1
            at = step, float(np.median(timed)) if len(timed) else None
            rows.append(dict(zip(TRAINING_COLUMNS, (*arm, *at, *map(float, ends), *counts), strict=True)))
    return rows


def _table(lists: list[list[float | None]], width: int = 0) -> np.ndarray:
    """Lists of numbers as lines of one table, (lists, numbers); what is missing or not finite is NaN."""
    table = np.full((len(lists), max([width, *map(len, lists)])), math.nan)
    for line, numbers in zip(table, lists, strict=True):
        line[: len(numbers)] = np.asarray(numbers, dtype=np.float64)  # None becomes NaN
    table[~np.isfinite(table)] = math.nan
    return table if not width else table[:, :width]
