"""A layer of several heads that comes without the function is tested as far as it goes."""

import unittest
from collections import Counter
from typing import Any

import pytest

from suites.properties.domain import Lenient
from suites.properties.effort import counted
from suites.selftest.variants import properties_of
from suites.subjects import Subject

pytestmark = pytest.mark.isolated("lone-layers")


def outcomes(module: Any) -> dict[str, str]:
    subject, found = Subject.of(module, "dot_product_attention", "lone"), {}
    for name, property_ in properties_of("dot_product_attention").items():
        try:
            with counted(property_):
                property_(subject=subject)
        except unittest.SkipTest:
            found[name] = "not provided"
        except Lenient:
            found[name] = "lenient"
        except Exception as error:  # noqa: BLE001 - a crash is a failure, and the message says which
            found[name] = f"failed: {error!r}"
        else:
            found[name] = "passed"
    return found


@pytest.mark.parametrize(("name", "tested"), [("ALONE", 50), ("WITHOUT_WEIGHTS", 40), ("FUSED", 30), ("SELF_ONLY", 20)])
def test_a_lone_layer_is_asked_what_a_function_is(name: str, tested: int) -> None:
    """Wrong variant: masks, causality, gradients and large scores are asked of functions only."""
    from suites.selftest import lone_layers

    found = outcomes(getattr(lone_layers, name))
    counts = Counter(found.values())
    assert not [(name, said) for name, said in found.items() if said.startswith("failed")]
    assert counts["passed"] >= tested, found


def test_a_fault_of_a_lone_layer_is_found() -> None:
    """Wrong variant: the layer is made of the reference's function, and not of its own."""
    from suites.selftest import lone_layers

    subject = Subject.of(lone_layers.LEAKING, "dot_product_attention", "leaking")
    with pytest.raises(AssertionError, match="got 2, expected 1"):
        properties_of("dot_product_attention")["large_scores_do_not_leak"](subject=subject)
