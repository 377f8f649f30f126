"""How much a race measures at each scale, and when it gives up: on the race, and on one of its contenders."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How much a race measures, and when it gives up.

    Attributes:
        heats: fresh sets of processes, at least.
        most_heats: fresh sets of processes, at most.
        race_s: seconds after which no heat is begun that is not among the least.
        narrow: half the width of a ratio's interval, as a share of the ratio, that is narrow enough to stop.
        blocks: blocks of a heat at most; each gives every contender two rounds.
        least_blocks: blocks of a heat at least, whatever they cost.
        heat_s: seconds of rounds in a heat, after which no further block is begun.
        round_s: seconds that a round lasts at least, by its number of steps.
        round_share: as a share of the race's longest step, how long a round lasts at least, too: where that step leaves
            a heat few rounds, more steps in those of shorter ones cost little and tell much.
        lead_in_s: seconds of steps before a round that are not timed, at least; none where a step lasts `LONG_STEP_S`.
        warm_up_s: seconds of warm-up at least.
        warm_up_calls: steps of warm-up at least.
        limit_s: seconds that a contender may take for one action: to build, for its first call, for a warm-up or round.
        patience_s: seconds that a contender may take for all of them together, in one heat. Where they are spent, it
            keeps the rounds that it has, and the others go on without it: see `lockstep`.
        plain: a ratio to the first contender, or one over it, from which on more rounds would tell nothing that anyone
            wants to know. A contender all of whose rounds are beyond it gets no more, after the least blocks.
        builds_apart: whether contenders build one after the other in the first heat, so that how long that takes is a
            result; else as many at the same time as there are cores.
    """

    heats: int
    most_heats: int
    race_s: float
    narrow: float
    blocks: int
    least_blocks: int
    heat_s: float
    round_s: float = 0.003  # short against what disturbs it: a block of long rounds is never undisturbed
    round_share: float = 0.1
    lead_in_s: float = 0.005
    warm_up_s: float = 0.2
    warm_up_calls: int = 3
    limit_s: float = 300.0
    patience_s: float = math.inf
    plain: float = math.inf
    builds_apart: bool = True


LONG_STEP_S = 0.1
"""A step of this length fills the caches in a small part of it, and one more before each round would be dear."""

PLANS = {
    "quick": Plan(
        heats=3,
        most_heats=12,
        race_s=4.0,
        narrow=0.03,
        blocks=40,
        least_blocks=2,
        heat_s=2.0,
        warm_up_s=0.1,
        patience_s=20.0,
        plain=3.0,
        builds_apart=False,
    ),
    "standard": Plan(
        heats=5,
        most_heats=30,
        race_s=60.0,
        narrow=0.01,
        blocks=30,
        least_blocks=5,
        heat_s=10.0,
        warm_up_s=1.0,
        limit_s=1200.0,
        patience_s=600.0,
        plain=10.0,
    ),
    "paper": Plan(
        heats=6,
        most_heats=40,
        race_s=600.0,
        narrow=0.01,
        blocks=60,
        least_blocks=10,
        heat_s=60.0,
        warm_up_s=2.0,
        limit_s=3600.0,
    ),
}
