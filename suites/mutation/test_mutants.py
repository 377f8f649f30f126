"""Mutants of the references, made by machine: the properties of a technique have to find them."""

from collections.abc import Callable

import pytest

from suites.mutation import engine
from suites.mutation.operators import Mutant


def test_a_property_finds_the_mutant(mutant: Mutant, record_property: Callable[[str, object], None]) -> None:
    """Try one mutant, and note which property found it."""
    killer = engine.killer(mutant)
    record_property("killer", killer or "")
    if not killer:
        new = mutant.new or "nothing"
        pytest.fail(
            f"{mutant.file}.py, line {mutant.line}: {mutant.code}\n  with {new} for {mutant.old}", pytrace=False
        )
