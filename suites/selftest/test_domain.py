"""What an implementation does not offer: discarded where it is an example, "not provided" where nothing is left."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties import domain_probes as probes
from suites.properties.domain import Lenient, misfit
from suites.properties.effort import Effort, counted
from suites.selftest import domains
from suites.subjects import Subject


def subject(module: Any) -> Subject:
    return Subject.of(module, "probe", "probe")


def looked(property_: Callable[..., None], module: Any) -> Effort:
    with counted(property_) as effort:
        property_(subject=subject(module))
    return effort


@pytest.mark.parametrize("property_", [probes.scales, probes.scales_from_an_example], ids=lambda each: each.__name__)
def test_an_example_outside_is_discarded_and_the_others_count(property_: Callable[..., None]) -> None:
    """Wrong variant: one example outside makes the whole property "not provided"."""
    effort = looked(property_, domains.without_mask)
    assert list(effort.outside) == ["<lambda> takes no `mask`"]
    assert effort.discarded > 0
    assert effort.examples > 0


def test_a_fault_inside_of_the_domain_is_found_although_examples_lie_outside() -> None:
    """Wrong variant: the first example is outside, and the fault behind it is never seen."""
    with pytest.raises(AssertionError):
        looked(probes.scales_from_an_example, domains.wrong_without_mask)


def test_what_is_whole_discards_nothing() -> None:
    effort = looked(probes.scales, domains.whole)
    assert effort.examples > 1
    assert (effort.discarded, dict(effort.outside)) == (0, {})


@pytest.mark.parametrize("property_", [probes.always_masked, probes.one_example], ids=lambda each: each.__name__)
def test_a_property_of_which_no_example_is_inside_is_not_provided(property_: Callable[..., None]) -> None:
    with pytest.raises(NotProvided, match="takes no `mask`"):
        looked(property_, domains.without_mask)


def test_a_name_that_is_missing_is_found_soon() -> None:
    """Wrong variant: a thousand examples are drawn for what there is not."""
    tried = 0

    @settings(max_examples=1000, database=None, suppress_health_check=list(HealthCheck))
    @given(x=st.floats(0, 1))
    def asks(subject: Subject, x: float) -> None:
        nonlocal tried
        tried += 1
        subject.scaled(x)

    with pytest.raises(NotProvided, match="probe does not provide scaled"):
        looked(asks, domains.nothing)
    assert tried <= 3


@pytest.mark.isolated("keras")
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: probes.call(domains.without_mask.scaled, 1.0, mask=True), "<lambda> takes no `mask`"),
        (lambda: probes.call(domains.needs_more, 1.0, 2.0), "needs_more needs `steps`"),
        (lambda: probes.call(domains.scaled, 1.0, 2.0), "scaled takes fewer arguments than the contract's"),
        (lambda: probes.call(domains.Layer(), np.ones(2), mask=None), "takes no `mask`"),
    ],
)
def test_arguments_that_do_not_fit_are_told_from_the_call(call: Callable[[], Any], expected: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    said = misfit(error.value)
    assert said is not None, error.value
    assert expected in said


@pytest.mark.isolated("keras")
@pytest.mark.parametrize(
    "call",
    [
        lambda: probes.call(domains.breaks_inside, 1.0),
        lambda: probes.call(domains.Broken(), np.ones(2), mask=None),
        lambda: probes.call(lambda: 1 + "1"),  # type: ignore[operator]
    ],
)
def test_a_fault_of_the_implementation_is_no_misfit(call: Callable[[], Any]) -> None:
    """Wrong variant: every TypeError passes for an argument that is not there."""
    with pytest.raises(TypeError) as error:
        call()
    assert misfit(error.value) is None


def test_an_example_that_is_written_down_need_not_be_inside() -> None:
    @settings(database=None)
    @example(mask=False)
    @given(mask=st.just(True))
    def masks(subject: Subject, mask: bool) -> None:
        if not mask:
            raise NotProvided(f"{subject} has no mask")

    assert (looked(masks, domains.whole).examples, looked(masks, domains.whole).discarded) == (1, 1)


def answering(answer: Callable[[], float]) -> Any:
    return SimpleNamespace(scaled=lambda _x, *, times=1.0: times or answer())


def raising(error: Exception) -> Callable[[], float]:
    def answer() -> float:
        raise error

    return answer


class TestTurns:
    def test_one_outside_leaves_the_others(self) -> None:
        """Wrong variant: the first turn outside makes the whole property "not provided"."""
        effort = looked(probes.in_turns, domains.without_mask)
        assert (effort.examples, effort.discarded) == (1, 1)

    def test_a_fault_in_a_turn_is_found(self) -> None:
        with pytest.raises(AssertionError):
            looked(probes.in_turns, domains.wrong_without_mask)

    def test_where_all_are_outside_nothing_is_provided(self) -> None:
        with pytest.raises(NotProvided, match="takes no `mask`"):
            looked(probes.masked_in_turns, domains.without_mask)

    def test_a_refusal_that_is_right_passes(self) -> None:
        """A refusal of what the implementation does not take at all is outside."""
        effort = looked(probes.refusing, answering(raising(ValueError("0"))))
        assert (effort.examples, effort.discarded) == (1, 1)

    def test_another_error_is_lenient(self) -> None:
        """Wrong variant: it counts as a failure whose message names no misfit."""
        with pytest.raises(Lenient, match="a factor of 0: answered with KeyError, in the contract with ValueError"):
            looked(probes.refusing, answering(raising(KeyError("0"))))

    def test_what_is_accepted_is_wrong(self) -> None:
        with pytest.raises(AssertionError, match="a factor of 0 was accepted") as error:
            looked(probes.refusing, answering(lambda: 0.0))
        assert not isinstance(error.value, Lenient)

    def test_what_others_accept_on_purpose_is_lenient(self) -> None:
        with pytest.raises(Lenient, match="a factor of 0: accepted, which the contract refuses"):
            looked(probes.refusing_the_usual, answering(lambda: 0.0))

    def test_a_fault_after_what_is_lenient_is_found(self) -> None:
        """Wrong variant: the property ends at what it might forgive, and what comes after it is never asked."""
        with pytest.raises(AssertionError, match="not 3"):
            looked(probes.refusing_first, answering(raising(KeyError("0"))))
