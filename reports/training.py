"""How the arms of a claim trained: the series of their trials, by step, over seeds."""

import math
from collections.abc import Iterable

import numpy as np

from reports.run_folder import Row

TRAINING_COLUMNS = (
    *("place", "technique", "claim", "implementation", "backend", "precision", "device", "scale", "arm", "condition"),
    *("series", "step", "median", "low", "high", "seeds", "unusable"),
)


def courses(trials: Iterable[Row]) -> list[Row]:
    """Every series of every arm, as rows with `TRAINING_COLUMNS`: one per step, with median and range over seeds.

    Args:
        trials: one row per trial, with ``series`` ({name: numbers by step, ``None`` where not finite}). Seeds that are
            not finite, or that have ended, are left out of the median; ``unusable`` counts the former.
    """
    arms: dict[tuple[object, ...], list[list[float | None]]] = {}
    for trial in trials:
        for name, numbers in (trial["series"] or {}).items():
            arms.setdefault((*(trial[column] for column in TRAINING_COLUMNS[:10]), name), []).append(numbers)
    rows = []
    for arm, seeds in arms.items():
        table = np.full((len(seeds), max(map(len, seeds))), math.nan)  # (seeds, steps)
        for line, numbers in zip(table, seeds, strict=True):
            line[: len(numbers)] = np.asarray(numbers, dtype=np.float64)  # None becomes NaN
        table[~np.isfinite(table)] = math.nan
        ran = np.arange(table.shape[1]) < np.array([[len(numbers)] for numbers in seeds])
        for step, values in enumerate(table.T):
            usable = values[np.isfinite(values)]
            ends = (np.median(usable), usable.min(), usable.max()) if len(usable) else (math.nan,) * 3
            counts = len(usable), int(ran[:, step].sum()) - len(usable)
            rows.append(dict(zip(TRAINING_COLUMNS, (*arm, step + 1, *map(float, ends), *counts), strict=True)))
    return rows
