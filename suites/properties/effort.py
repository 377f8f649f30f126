"""How hard a property looked: the examples that it tried and discarded, and the worst error as a share of its bound."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import statistics

from suites.properties import numerics

PHASES = ("reuse-phase", "generate-phase")
"""Those of Hypothesis in which examples are looked for; shrinking a failing one looks for nothing new."""

DISCARDED = ("invalid", "overrun")


@dataclass
class Effort:
    """Counts of one property on one implementation.

    Attributes:
        examples: tried in full; one where nothing is drawn.
        discarded: drawn, and found to be outside of what the property speaks of.
        worst_error: the largest error as a share of its bound; ``None`` where no number was held against a bound.
    """

    examples: int = 0
    discarded: int = 0
    worst_error: float | None = None


@contextlib.contextmanager
def counted(property_: Any) -> Iterator[Effort]:
    """Count what a property does while it runs."""
    collector: Any = statistics.collector
    effort, others = Effort(), collector.value

    def note(told: Any) -> None:
        """Take what Hypothesis says at the end, as its own plugin for pytest does, which has to hear of it, too."""
        effort.examples = len(getattr(property_, "hypothesis_explicit_examples", ()))  # came first, and passed
        for phase in PHASES:
            for case in told.get(phase, {}).get("test-cases", ()):
                discarded = case["status"] in DISCARDED
                effort.discarded += discarded
                effort.examples += not discarded
        if others is not None:
            others(told)

    numerics.WORST.share = None
    try:
        with collector.with_value(note):
            yield effort
    finally:
        effort.worst_error = numerics.WORST.share
        effort.examples = effort.examples or 1  # nothing was drawn, or an example that is written down failed
