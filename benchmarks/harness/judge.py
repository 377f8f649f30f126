"""Whether what a contender's timed rounds gave was work: its evidence beside that of the first contender.

The first is nearly always the reference, and it is the measure: what its own evidence does not show, nobody else is
asked for. What cannot be compared is said, and is not a failure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Evidence = Mapping[str, Any]

BOUNDS = {"float32": 3e-4, "mixed_bfloat16": 0.01, "mixed_float16": 0.01}
"""By how much two results may differ, as a share of the larger: by rounding, and by constants such as an epsilon.

Honest contenders of all techniques were within a hundredth of that in float32, and a tenth in a mixed precision.
"""

LEAST_SHARE = 0.5
"""Of the coordinator's time for a round, what a process has to say that its steps took, in one round at least."""

MOST_IDLE = 1.0
"""Processor time between the rounds, when a process has nothing to do, over that of the rounds."""

LEAST_IDLE_S = 0.1
"""A framework's threads do not go to sleep at once."""


def clock(shares: Sequence[float]) -> str | None:
    """What is wrong with the times that a process reported, as shares of what the coordinator's own clock showed."""
    if not shares or max(shares) >= LEAST_SHARE:
        return None
    return (
        f"its clock is wrong: of no round did it report more than {max(shares):.0%} of the time that passed outside of "
        f"its process. A contender must leave the clock and the harness alone"
    )


def fault(asked: Mapping[str, Any], own: Evidence, first: Evidence, same_work: bool) -> str | None:
    """What shows that a contender has not done its work in the rounds, in a sentence; ``None`` if nothing does.

    Args:
        asked: what the contender was asked to build.
        own: what its process shows, see `benchmarks.evidence.of_step`.
        first: the same of the contender that it is compared with.
        same_work: whether both were asked for the same results.
    """
    bound = BOUNDS.get(asked.get("precision", ""), max(BOUNDS.values()))
    idle_s, busy_s = own.get("idle_s", 0.0), own.get("busy_s", 0.0)
    if idle_s > LEAST_IDLE_S and idle_s > MOST_IDLE * busy_s and first.get("idle_s", 0.0) <= first.get("busy_s", 0.0):
        return (
            f"it goes on working after its step has returned: {idle_s:.2g} s of processor time between its rounds, and "
            f"{busy_s:.2g} s in them. A step must return when its work is done, or what can be waited for"
        )
    values, others = list(own.get("values", {}).values()), list(first.get("values", {}).values())
    if "probe" not in own and _constant(values) and not _constant(others):
        return (
            f"its results do not depend on its inputs: {len(values)} timed rounds with other inputs each gave "
            f"the same values to the last digit. A step must compute its result from the inputs of each call"
        )
    if values and own.get("again") and _steady(own["again"], bound) and not _agree(own["again"][0], values[-1], bound):
        return (
            f"what it returned in a timed round is not what it returns for the same inputs afterwards: "
            f"{_difference(values[-1], own['again'][0])}. Every call must do the same work"
        )
    # One update may be left out by each: a loss scale does that where gradients overflow.
    if own.get("updates", math.inf) + 1 < first.get("updates", 0):
        return (
            f"its training steps do not train: of the rounds and the steps after them {own['updates']} changed any "
            f"weight, of the reference's {first['updates']}. A training step must update the weights in each call"
        )
    if same_work and _comparable(own, first):
        if own.get("trained", 0) < first.get("trained", 0):
            return (
                f"its training steps train {own['trained']} of the weights, and those of the reference "
                f"{first['trained']}. A training step must update all weights in each call"
            )
        for result, right in _pairs(own, first):
            if not _agree(sorted(result), sorted(right), bound):
                return (
                    f"its result is wrong: with the same weights and inputs it differs from that of the reference by "
                    f"{_difference(result, right)}, where rounding explains {bound:.0%} at most"
                )
    return None


def compared(own: Evidence, first: Evidence, same_work: bool) -> str:
    """What a contender without a fault was held against, in a few words."""
    if "unknown" in own:
        return f"not compared with the reference: {own['unknown']}"
    if not same_work:
        return "not compared with the reference: it was asked for other work"
    if "weights" not in own and "values" not in own:
        return "not compared with the reference: its step has no inputs, or makes its own"
    if own.get("weights") != first.get("weights"):
        return "not compared with the reference: its weights have other shapes"
    if not list(_pairs(own, first)):
        return "not compared with the reference: its results are random, or cannot be known with the same weights"
    return "its results agree with those of the reference, with the same weights and inputs"


def _comparable(own: Evidence, first: Evidence) -> bool:
    return "weights" in own and own["weights"] == first.get("weights")


def _pairs(own: Evidence, first: Evidence) -> Iterable[tuple[list[float], list[float]]]:
    """Results of both on the same inputs and with the same weights, if they do not depend on chance."""
    both, bound = (own, first), min(BOUNDS.values())
    if "probe" in own and "probe" in first:
        if all(_steady(each["probe"], bound) for each in both):
            yield own["probe"][0], first["probe"][0]
    elif not {"probe"} & {*own, *first} and all(_steady(e["again"], bound) for e in both if "again" in e):
        mine, theirs = own.get("values", {}), first.get("values", {})
        yield from ((mine[draw], theirs[draw]) for draw in mine if draw in theirs)


def _constant(values: Sequence[Sequence[float]]) -> bool:
    return len(values) > 1 and all(map(_finite, values[0])) and all(each == values[0] for each in values)


def _steady(calls: Sequence[Sequence[float]], bound: float) -> bool:
    """Whether two calls that should give the same do."""
    first, second = calls
    return _agree(first, second, bound)


def _agree(one: Sequence[float], other: Sequence[float], bound: float) -> bool:
    """Whether two results are equal but for a share of the largest number in them; what is not finite is left out."""
    if len(one) != len(other):
        return False
    pairs = list(zip(one, other, strict=True))
    largest = max((abs(each) for pair in pairs for each in pair if _finite(each)), default=0.0)
    return all(abs(a - b) <= bound * largest for a, b in pairs if _finite(a) and _finite(b))


def _finite(number: float) -> bool:
    return abs(number) < float("inf")


def _difference(one: Sequence[float], other: Sequence[float]) -> str:
    """Where two results differ most, in words."""
    if len(one) != len(other):
        return f"{len(one)} tensors in the place of {len(other)}"
    mine, right = max(zip(one, other, strict=True), key=lambda pair: abs(pair[0] - pair[1]))
    return f"{mine:.6g} in the place of {right:.6g}"
