"""Every wrong variant must fail the properties that are said to catch it; the reference passes them elsewhere."""

import importlib
import itertools
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.variants import NAMES, PAGE, Variant, caught, edited, page, properties_of, variants_of
from suites.subjects import Subject


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item per technique; the variants themselves are read when it runs, since they import the framework."""
    if "technique" in metafunc.fixturenames:
        metafunc.parametrize("technique", [pytest.param(name, marks=pytest.mark.isolated(name)) for name in NAMES])


def property_of(technique: str, name: str) -> Callable[..., Any]:
    """The test function of a property."""
    properties = properties_of(technique)
    assert name in properties, f"no file of suites/properties for {technique} has test_{name}"
    return properties[name]


def survives(technique: str, variant: Variant, name: str, precision: str) -> str:
    """Run one property on a wrong variant; empty where it is caught, else why that does not count."""
    subject = Subject.of(variant.module, technique, variant.name, precision=precision)
    try:
        property_of(technique, name)(subject=subject)
    except variant.raises:
        return ""
    except unittest.SkipTest as skipped:
        return f"{variant.name}: {name} was skipped: {skipped}"
    except Exception as error:  # noqa: BLE001 - any other exception is a crash, which is reported, not swallowed
        return f"{variant.name}: {name} crashed with {error!r} where {variant.raises.__name__} was expected"
    return f"{variant.name}: {name} passed in {precision}, although {variant.defect}"


def test_every_wrong_variant_is_caught(technique: str) -> None:
    """Each property that a variant names fails on it, with the exception that it declares."""
    variants = variants_of(technique)
    assert len(variants) >= 5, f"{technique} has only {len(variants)} wrong variants"
    survivors = [
        why
        for variant in variants
        for name, precision in itertools.product(variant.caught_by, variant.precisions)
        if (why := survives(technique, variant, name, precision))
    ]
    assert not survivors, "\n".join(survivors)


@pytest.mark.isolated("page")
@pytest.mark.parametrize("name", NAMES)
def test_every_property_catches_some_variant(name: str) -> None:
    """A property on which no wrong variant fails would pass whatever is written."""
    caught = {caught for variant in variants_of(name) for caught in variant.caught_by}
    assert [each for each in properties_of(name) if each not in caught] == []


@pytest.mark.isolated("page")
def test_the_page_of_wrong_variants_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m suites.selftest.variants > docs/wrong-variants.md"


@pytest.mark.isolated("page")
@pytest.mark.parametrize("name", NAMES)
def test_what_the_page_says_is_read_back(name: str) -> None:
    """Wrong variant: a defect with a bar in it, which shifts the cells; the rows of the next technique too."""
    expected = {(each, variant.name) for variant in variants_of(name) for each in variant.caught_by}
    assert {(each, variant) for each, variants in caught(name).items() for variant in variants} == expected


@pytest.mark.isolated("page")
def test_an_edited_line_is_what_runs_in_a_compiled_graph_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: the copy's code names the original's file, whose lines autograph then reads and compiles."""
    import tensorflow as tf

    source = "import keras\n\ndef total(x):\n    return keras.ops.sum(x)\n"
    (tmp_path / "summing.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("summing")
    twice = edited(module, old="return keras", new="return 2 * keras")
    ones = tf.ones(4)
    assert [float(tf.function(each.total)(ones)) for each in (module, twice)] == [4.0, 8.0]
