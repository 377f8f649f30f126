"""What an implementation does not offer lies outside of its domain: an example there is discarded, and is no failure.

A library may have no ``mask``, no warm-up of no steps, or masks of one shape only. Whatever a property asks of it
elsewhere, it must hold. So a property is "not provided" only where no example is left, see `effort`. What a property
tries one after the other in a loop are turns, and the same holds for each of them, see `turn`.

Where this contract refuses what others may take, an implementation that takes it is `Lenient`, and not wrong by that.
"""

import contextlib
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from suites.implementations import ROOT, NotProvided

_MISFIT = re.compile(
    r"(?P<by>[\w.<>]*)\(?\)?:? ?(?:"
    r"got an unexpected keyword argument '?(?P<unknown>\w+)'?"
    r"|missing (?:\d+ required \S+ arguments?: |a required (?:\S+ )?argument: )(?P<missing>'.+)"
    r"|(?P<many>takes .* positional arguments? but .* given|too many positional arguments)"
    r"|got some positional-only arguments passed as keyword arguments: (?P<positional>'.+))"
)
"""How Python, and Keras by `inspect.Signature.bind`, say that arguments do not fit."""

_DISPATCH = ("keras/src/", "torch/nn/modules/module.py", "/inspect.py", "/contextlib.py", "/functools.py")
"""Files in which a call goes from the property to the implementation."""


def misfit(error: BaseException) -> str | None:
    """What does not fit, in words, if the error says that an implementation has no such argument; else ``None``.

    An implementation that calls something of its own with wrong arguments has a fault: the error must come from the
    call that the property, or a framework on its behalf, has made.
    """
    said = _MISFIT.search(str(error).splitlines()[0] if str(error) else "")
    if not isinstance(error, TypeError) or said is None:
        return None
    files = [Path(frame.filename).as_posix() for frame in traceback.extract_tb(error.__traceback__)]
    suites = (ROOT / "suites" / "properties").as_posix()
    ours = [number for number, file in enumerate(files) if file.startswith(suites)]
    if not ours or not all(any(part in file for part in _DISPATCH) for file in files[ours[-1] + 1 :]):
        return None
    by = said["by"].rpartition(".")[2] or "it"
    if said["unknown"]:
        return f"{by} takes no `{said['unknown']}`"
    needed = said["missing"] or said["positional"]
    return f"{by} needs {needed.replace(chr(39), '`')}" if needed else f"{by} takes fewer arguments than the contract's"


def outside(error: BaseException) -> str | None:
    """Why an example that ended in this error lies outside of the implementation's domain; ``None`` if it does not."""
    return str(error) if isinstance(error, NotProvided) else misfit(error)


class Lenient(AssertionError):  # noqa: N818 - no fault by itself
    """An implementation takes what this contract refuses, or refuses it in another way; nothing it says is wrong."""


@dataclass
class Turns:
    """What came of the turns of a property, or of one of its examples.

    Attributes:
        inside: how many were tried in full.
        outside: why others lie outside of what the implementation offers, and how many.
        lenient: in what the implementation is more lenient than the contract.
    """

    inside: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    lenient: list[str] = field(default_factory=list)

    def over(self) -> None:
        """Say what came of them when all are over.

        Raises:
            Lenient: the implementation was, in one or more, and right in all others.
            NotProvided: all lay outside.
        """
        __tracebackhide__ = True
        if self.lenient:
            raise Lenient("\n".join(dict.fromkeys(self.lenient)))
        if self.outside and not self.inside:
            raise NotProvided(self.outside.most_common(1)[0][0])


_TURNS: list[Turns | None] = [None]


@contextlib.contextmanager
def turns() -> Iterator[Turns]:
    """Count the turns of what runs inside, and say what came of them."""
    before, _TURNS[0] = _TURNS[0], (found := Turns())
    try:
        yield found
    finally:
        _TURNS[0] = before
    found.over()


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """One of several things that a property tries; if it lies outside of what is offered, the others count.

    Example:
        for option in options:
            with turn():
                check(subject.function(option) == 1, f"found another number with {option}")
    """
    counts = _TURNS[0]
    try:
        yield
    except Lenient as error:
        if counts is None:
            raise
        counts.inside += 1
        counts.lenient.append(str(error))
    except Exception as error:
        reason = outside(error)
        if reason is None or counts is None:
            raise
        counts.outside[reason] += 1
    else:
        if counts is not None:
            counts.inside += 1
