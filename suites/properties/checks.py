"""What every technique's properties do with a statement, ask of a function first, and keep quiet about."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from suites.implementations import NotProvided
from suites.subjects import parameters_of


def check(holds: Any, message: str) -> None:
    """Fail with this message and no more, where a bare assert would print its operands too."""
    __tracebackhide__ = True
    if not holds:
        raise AssertionError(message)


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a callable has a parameter of this name, or takes any keyword."""
    parameters = parameters_of(function)
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def require(function: Callable[..., Any], name: str, title: str) -> None:
    """Leave out a property that needs an argument which a function does not take.

    Raises:
        NotProvided: it does not take it.
    """
    if not takes(function, name):
        raise NotProvided(f"{title} takes no `{name}`")


@contextlib.contextmanager
def without_warnings(*messages: str) -> Iterator[None]:
    """Keep quiet about what is done on purpose: no warning whose beginning one of these regular expressions matches."""
    with warnings.catch_warnings():
        for message in messages:
            warnings.filterwarnings("ignore", message=message)
        yield
