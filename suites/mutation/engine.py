"""One mutant: the properties that reach its line run on it, cheapest first, until one fails.

Runs in a process of its own; whatever a mutant does to it is a way of being found.
"""

import contextlib
import fcntl
import functools
import importlib
import json
import os
import signal
import sys
import time
import tomllib
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from suites.implementations import ROOT, implementation, source_digest
from suites.mutation.operators import Mutant, files_of
from suites.properties import modules_of
from suites.properties.effort import counted
from suites.selftest.variants import copies, properties_of
from suites.subjects import Subject

KEPT = ROOT / ".touchstone" / "reach"
"""Which property reaches which lines, by technique and the digest of what that depends on; may be deleted."""

PRECISIONS = ("float32", "mixed_float16")
"""In which properties are tried on a mutant, one after the other."""

PATIENCE_S, PATIENCE = 30.0, 20.0
"""Seconds of the processor that a property may take on a mutant, and how many times those on the reference."""


@dataclass(frozen=True)
class Reach:
    """What a property costs, and which lines of its technique's files it runs.

    Attributes:
        seconds: on the reference, in float32.
        lines: numbers of lines, by file.
    """

    seconds: float
    lines: Mapping[str, frozenset[int]]

    def touches(self, mutant: Mutant) -> bool:
        """Whether it runs the mutant's line, or one just before it, of a statement that goes over several."""
        return any(mutant.line - back in self.lines.get(mutant.file, ()) for back in range(3))


def killer(mutant: Mutant) -> str | None:
    """The property that fails on a mutant, with its precision; ``None`` if all pass.

    A mutant whose module cannot even be executed is found by ``import``.
    """
    reaches = reach(mutant.technique)
    properties = properties_of(mutant.technique)
    try:
        module = _mutated(mutant)
    except Exception:  # noqa: BLE001 - whatever it raises, it is found
        return "import"
    # What a graph's own compilation hides from the tracer is tried too, after what was seen to come by.
    order = sorted(properties, key=lambda name: (not reaches[name].touches(mutant), reaches[name].seconds))
    for precision in PRECISIONS:
        subject = Subject.of(module, mutant.technique, mutant.identity, precision=precision)
        for name in order:
            if precision != PRECISIONS[0] and _is_structural(properties[name]):
                continue
            if _fails(properties[name], subject, PATIENCE_S + PATIENCE * reaches[name].seconds):
                return f"{name} ({precision})"
    return None


def _fails(property_: Callable[..., Any], subject: Subject, limit_s: float) -> bool:
    """Whether a property fails, or takes more than so many seconds of the processor: a loop has lost its end."""
    try:
        with _limited(limit_s), counted(property_):
            property_(subject=subject)
    except unittest.SkipTest:
        return False
    except (Exception, _TooLongError):  # noqa: BLE001 - a crash is a way of being found
        return True
    return False


class _TooLongError(BaseException):
    """Nothing that catches exceptions may catch this one."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_TooLongError` after so many seconds of the processor, of all threads, and again until it is over."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def _is_structural(property_: Callable[..., Any]) -> bool:
    return any(mark.name == "structure" for mark in getattr(property_, "pytestmark", ()))


def _mutated(mutant: Mutant) -> ModuleType:
    """The reference with the change, and with its other parts as they are."""
    modules = [importlib.import_module(f"reference.{path.stem}") for path in files_of(mutant.technique)]
    changed = f"reference.{mutant.file}"
    return copies(modules, lambda name, source: mutant.edit(source) if name == changed else source)[-1]


def reach(technique: str) -> dict[str, Reach]:
    """What each property of a technique reaches and costs; found once, by whoever asks first."""
    digest = source_digest(*modules_of(technique), implementation(technique, "reference").module)
    path = KEPT / f"{technique}-{digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            found = {name: _traced(technique, test) for name, test in properties_of(technique).items()}
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(found), encoding="utf-8")
            unfinished.replace(path)
    held = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Reach(each["seconds"], {file: frozenset(lines) for file, lines in each["lines"].items()})
        for name, each in held.items()
    }


def _traced(technique: str, property_: Callable[..., Any]) -> dict[str, Any]:
    """Run a property on the reference once, and note the lines that it comes by."""
    files = {str(path): path.stem for path in files_of(technique)}
    lines: dict[str, set[int]] = {name: set() for name in files.values()}

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        name = files.get(frame.f_code.co_filename)
        return None if name is None else functools.partial(note, lines[name])

    def note(found: set[int], frame: FrameType, _event: str, _argument: Any) -> Any:
        found.add(frame.f_lineno)
        return functools.partial(note, found)

    subject = Subject(implementation(technique, "reference"))
    started = time.perf_counter()
    sys.settrace(trace)
    try:
        with counted(property_):
            property_(subject=subject)
    except unittest.SkipTest:
        pass
    finally:
        sys.settrace(None)
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 4), "lines": {name: sorted(found) for name, found in lines.items()}}


def reason(mutant: Mutant, backend: str = "tensorflow", device: str = "cpu") -> str | None:
    """Why nobody could tell a mutant from the reference on a backend and device, if that is known.

    It is listed in ``equivalent.toml``, or stands in lines that another backend runs.
    """
    if mutant.backend not in ("", backend):
        return f"{mutant.backend} alone runs the line."
    for each in equivalents().get(mutant.technique, ()):
        place = (each.get("backend", backend), each.get("device", device))
        same = all(each[name] == getattr(mutant, name) for name in ("file", "code", "old", "new"))
        if same and place == (backend, device):
            return str(each["reason"])
    return None


@functools.cache
def equivalents() -> dict[str, list[dict[str, str]]]:
    """What ``equivalent.toml`` lists, by technique."""
    path = Path(__file__).parent / "equivalent.toml"
    found: dict[str, list[dict[str, str]]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return found
