"""The pacing functions and orders that Wu, Dyer and Neyshabur published with their study (arXiv:2012.03107).

Written anew, term by term, from google-research/understanding-curricula, `utils/utils.py` and `main_wo_test.py`: rates
are computed first, counts are cut by `int`, nothing is clamped, classes are balanced before the order is reversed or
shuffled, and the shuffle takes NumPy's global generator, which the published `set_seed` does not seed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from suites.implementations import KnownDefect

CODE = "https://github.com/google-research/understanding-curricula/blob/3d5cccb9b6408029c10e51e628cb0f1d3cac5637/"

UNCHECKED = "No argument is checked."
UNSEEDED = KnownDefect(
    "The random order comes from NumPy's global generator, which the published set_seed does not seed.",
    CODE + "main_wo_test.py",
)

KNOWN_DEFECTS = {
    "pacing_begins_with_its_share": KnownDefect(
        "int(b N) is 0 where b N is under 1, and 28 for 0.29 of 100 examples.", CODE + "utils/utils.py"
    ),
    "pacing_counts_examples": KnownDefect(
        "No pacing function is clamped to N or to 1; the training loop slices with what comes out.",
        CODE + "utils/utils.py",
    ),
    "pacing_is_full_on_time": KnownDefect(
        "From the step a T on the formulas go on over N; step pacing gives N + b N there.", CODE + "utils/utils.py"
    ),
    "pacing_never_shrinks": KnownDefect(
        "Exponential pacing goes far over N, and falls back to N where e^x overflows.", CODE + "utils/utils.py"
    ),
    "wrong_paces_are_refused": KnownDefect(UNCHECKED, CODE + "utils/utils.py"),
    "anti_is_the_curriculum_of_negated_scores": KnownDefect(
        "The anti-curriculum is the order reversed, equal scores too.", CODE + "main_wo_test.py"
    ),
    "only_the_ranks_of_scores_count": UNSEEDED,
    "random_order_is_seeded": UNSEEDED,
    "classes_take_turns": KnownDefect(
        "Classes are balanced before the order is reversed or shuffled, which undoes it.", CODE + "main_wo_test.py"
    ),
    "what_is_left_out_is_as_documented": UNSEEDED,
    "wrong_scores_are_refused": KnownDefect(UNCHECKED, CODE + "main_wo_test.py"),
}

PACINGS = ("step", "linear", "quadratic", "root", "exponential", "logarithmic")


def visible_count(pacing: str, step: int, total_steps: int, size: int, *, start: float = 0.2, full: float = 0.8) -> int:
    """How many examples the published pacing function gives; arguments as in `reference.curriculum`."""
    begin, end = start * size, full * total_steps
    rest = size - begin
    if pacing == "step":
        return int(size * (step // end) + begin)
    if pacing == "exponential":
        with np.errstate(over="ignore"):
            growth = np.exp(step * (10 / end))
        return size if np.isinf(growth) else int(rest / (np.exp(10) - 1) * (growth - 1) + begin)
    if pacing == "logarithmic":
        return int(rest * (1 + (1 / 10) * np.log(step / end + np.exp(-10))) + begin)
    power = {"linear": 1.0, "quadratic": 2.0, "root": 0.5}[pacing]
    return int(rest / end**power * step**power + begin)


def order(scores: Any, kind: str = "curriculum", *, seed: int = 0, labels: Any = None) -> np.ndarray:  # noqa: ARG001 - as published
    """The order of the published training script; arguments as in `reference.curriculum`."""
    ordered = sorted(range(len(scores)), key=lambda index: scores[index])
    if labels is not None:
        ordered = _balanced(ordered, labels)
    if kind == "random":
        return np.random.permutation(ordered)  # noqa: NPY002 - the global generator, as published
    return np.array(ordered[::-1] if kind == "anti" else ordered, dtype=np.int64)


def _balanced(ordered: list[int], labels: Any) -> list[int]:
    """Groups of the next easiest example of each class, from easy to hard within a group."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, index in enumerate(ordered):
        places[labels[index]].append(place)
    longest = max(map(len, places.values()))
    groups = [sorted(each[turn] for each in places.values() if turn < len(each)) for turn in range(longest)]
    return [ordered[place] for group in groups for place in group]
