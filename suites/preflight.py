"""Before anything is tested or timed: can a user's module be imported, and does it offer anything of the contract?

In a process of its own, since importing it may do anything. One line says what is wrong, where every property would
otherwise fail one after the other, or be "not provided" without anyone noticing.
"""

import ast
import difflib
import faulthandler
import multiprocessing
import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

import pytest

from suites.implementations import ROOT, Implementation

LIMIT_S = 300.0
"""After so long the import counts as hanging."""

SHOWN = 8
"""Names that a message lists."""


def contract(technique: str) -> list[str]:
    """The public names of a technique's reference, read without importing it."""
    tree = ast.parse((ROOT / "reference" / f"{technique}.py").read_bytes())
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reference."):
            names += [alias.asname or alias.name for alias in node.names]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def check(chosen: Implementation) -> None:
    """Refuse an implementation that cannot be imported, or that has no name of the contract.

    Raises:
        pytest.UsageError: what was looked for, what was found, and what to do.
    """
    option = f"--implementation {chosen.technique}={chosen.name}"
    found = _names(chosen)
    if isinstance(found, str):
        raise pytest.UsageError(f"{option}: it cannot be imported: {found}")
    wanted = contract(chosen.technique)
    if set(wanted).isdisjoint(found):
        near = {each for name in wanted for each in difflib.get_close_matches(name, found, n=1)}
        raise pytest.UsageError(
            f"{option}: it has none of the names of the contract, reference/{chosen.technique}.py: {_list(wanted)}. "
            f"The nearest that it has: {_list(sorted(near)) or 'none'}. Give your functions these names, or write a "
            f"module that does (examples/README.md)"
        )


def _names(chosen: Implementation) -> Sequence[str] | str:
    """The public names of an implementation, or why it cannot be imported."""
    if not hasattr(os, "fork"):
        return _load(chosen)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        _answer(theirs, chosen)
    theirs.close()
    try:
        if not ours.poll(LIMIT_S):
            return f"its import did not come back within {LIMIT_S:g} s"
        answer: Sequence[str] | str = ours.recv()
        return answer
    except EOFError:
        return "its import ended the process"
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(pipe: Connection, chosen: Implementation) -> None:
    """In a forked process: say what was found, and end."""
    try:
        faulthandler.disable()  # pytest's would print where a module has crashed; one line is enough
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        pipe.send(_load(chosen))
    finally:
        os._exit(1)  # a framework's orderly end takes seconds


def _load(chosen: Implementation) -> Sequence[str] | str:
    try:
        module = chosen.load()
    except BaseException as error:  # noqa: BLE001 - whatever an import raises is told, and is no fault of ours
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 2 else ""
        said = str(error).strip().splitlines()
        return f"{type(error).__name__}: {said[0] if said else 'without a word'}{where}"
    return [name for name in dir(module) if not name.startswith("_")]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
