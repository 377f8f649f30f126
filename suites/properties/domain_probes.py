"""Small properties for the test of `domain`. They stand here, since a call counts as the property's by its file."""

from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from suites.properties.domain import turn
from suites.properties.refusals import refused
from suites.subjects import Subject


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call an implementation as a property does."""
    return function(*arguments, **named)


def _holds(subject: Subject, x: int, masked: bool) -> None:
    options = {"mask": True} if masked else {}
    assert subject.scaled(x, times=3, **options) == 3 * x


@settings(database=None)
@given(x=st.integers(2, 9), masked=st.booleans())
def scales(subject: Subject, x: int, masked: bool) -> None:
    """Some examples have a mask."""
    _holds(subject, x, masked)


@settings(database=None)
@example(x=2, masked=True)
@given(x=st.integers(2, 9), masked=st.just(False))
def scales_from_an_example(subject: Subject, x: int, masked: bool) -> None:
    """The first example has a mask."""
    _holds(subject, x, masked)


@settings(database=None)
@given(x=st.integers(2, 9))
def always_masked(subject: Subject, x: int) -> None:
    """All examples have a mask."""
    _holds(subject, x, masked=True)


def one_example(subject: Subject) -> None:
    """Nothing is drawn."""
    _holds(subject, 2, masked=True)


def in_turns(subject: Subject) -> None:
    """One of two turns has a mask."""
    for masked in (True, False):
        with turn():
            _holds(subject, 2, masked)


def masked_in_turns(subject: Subject) -> None:
    """All turns have a mask."""
    for x in (1, 2):
        with turn():
            _holds(subject, x, masked=True)


def refusing(subject: Subject) -> None:
    """One refusal of two has a mask."""
    refused("a factor of 0", subject.scaled, 1.0, times=0.0)
    refused("a mask of numbers", subject.scaled, 1.0, mask=3)


def refusing_the_usual(subject: Subject) -> None:
    """Others take a factor of 0."""
    refused("a factor of 0", subject.scaled, 1.0, times=0.0, usual=True)


def refusing_first(subject: Subject) -> None:
    """Something else is asked after a refusal."""
    refused("a factor of 0", subject.scaled, 1.0, times=0.0)
    assert subject.scaled(2.0, times=1.0) == 3.0, "not 3"
