"""How hard a property looked: the examples that it tried and discarded, and the worst error as a share of its bound.

An example that the property has no use for, or that lies outside of what the implementation offers (see `domain`), is
discarded. Where none is left, the property is not provided.
"""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import reject
from hypothesis.errors import Unsatisfiable, UnsatisfiedAssumption

from suites.implementations import MissingName, NotProvided
from suites.properties import domain, numerics

ENOUGH_OF_A_NAME, ENOUGH = 3, 25
"""After so many examples, all of them outside, no more are looked at: where a name is missing, and otherwise."""


@dataclass
class Effort:
    """Counts of one property on one implementation.

    Attributes:
        examples: tried in full; one where nothing is drawn.
        discarded: drawn or written down, and found to be outside of what the property speaks of or of what the
            implementation offers.
        worst_error: the largest error as a share of its bound; ``None`` where no number was held against a bound.
        outside: why examples were outside of what the implementation offers, and how many.
        failed: whether one failed; those after it are smaller forms of it and look for nothing new.
    """

    examples: int = 0
    discarded: int = 0
    worst_error: float | None = None
    outside: Counter[str] = field(default_factory=Counter)
    failed: bool = False

    def row(self) -> dict[str, Any]:
        """What a property's row says of it."""
        return {"examples": self.examples, "discarded": self.discarded, "worst_error": self.worst_error}

    def look(self, test: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Run one example.

        Raises:
            NotProvided: all until now were outside, and there is no use in more.
            UnsatisfiedAssumption: this one is discarded.
        """
        try:
            with domain.turns():
                test(*arguments, **named)
        except UnsatisfiedAssumption:
            self.discarded += not self.failed
            raise
        except Exception as error:
            reason = domain.outside(error)
            if reason is None:
                self.examples += not self.failed
                self.failed = True
                raise
            self.discarded += not self.failed
            self.outside[reason] += 1
            enough = ENOUGH_OF_A_NAME if isinstance(error, MissingName) else ENOUGH
            if not self.examples and self.outside[reason] >= enough:
                raise NotProvided(reason) from None
            reject()
        else:
            self.examples += not self.failed


@contextlib.contextmanager
def counted(property_: Any) -> Iterator[Effort]:
    """Count what a property does while it runs, and discard the examples outside of what the implementation offers.

    Raises:
        NotProvided: there were no others.
    """
    effort, handle = Effort(), getattr(property_, "hypothesis", None)
    numerics.WORST.share = None
    try:
        if handle is None:  # nothing is drawn: it is one example
            effort.examples = 1
            with domain.turns() as turns:
                yield effort
                effort.examples, effort.discarded = max(1, turns.inside), turns.outside.total()
            return
        test = handle.inner_test

        @functools.wraps(test)
        def example(*arguments: Any, **named: Any) -> None:
            effort.look(test, *arguments, **named)

        handle.inner_test = example
        try:
            yield effort
        finally:
            handle.inner_test = test
    except (TypeError, Unsatisfiable) as error:
        if isinstance(error, Unsatisfiable) and effort.outside and effort.examples:
            return  # what was written down was inside, and held; what can be drawn is not
        reason = _only_reason(effort) if isinstance(error, Unsatisfiable) else domain.misfit(error)
        if reason is None:
            raise
        raise NotProvided(reason) from error
    finally:
        effort.worst_error = numerics.WORST.share
    if (reason := _only_reason(effort)) is not None:
        raise NotProvided(reason)


def _only_reason(effort: Effort) -> str | None:
    """Why most examples were outside, if none was inside."""
    return effort.outside.most_common(1)[0][0] if effort.outside and not effort.examples else None
