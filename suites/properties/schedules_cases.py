"""What is drawn for the properties of schedules, and how an implementation is asked for a rate."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.checks import check, require
from suites.properties.numerics import assert_within, to_numpy
from suites.properties.oracles import schedules as oracle
from suites.subjects import Subject

FAR = 2**24 + 1
"""The first step that float32 cannot tell from its neighbour."""


@dataclass(frozen=True)
class Case:
    """A schedule by the name of its function, with all parameters but the step."""

    function: str
    parameters: Mapping[str, Any]

    def but(self, **changes: Any) -> "Case":
        """The same schedule with some parameters replaced."""
        return replace(self, parameters={**self.parameters, **changes})

    @property
    def landmarks(self) -> list[int]:
        """Steps at which something happens, those beside them, and some others."""
        joints = {value for name, value in self.parameters.items() if "steps" in name}
        joints |= set(self.parameters.get("boundaries", ()))
        late = {3000}
        if "growth" in self.parameters:  # the third, fourth and sixth cycle begin
            powers = [self.parameters["steps"] * self.parameters["growth"] ** i for i in range(5)]
            late = {sum(powers[:2]), sum(powers[:3]), sum(powers)}
            late |= {10**9, 2**31 - 1} if self.parameters["growth"] > 1 else set()
        beside = {step + near for step in joints for near in (-1, 0, 1)}
        return sorted({0, 1} | beside | {step // 2 for step in joints} | late)

    def truth(self, step: int) -> oracle.Rate:
        """The rate in float64 and the bound on its error."""
        found: oracle.Rate = getattr(oracle, self.function)(step, **self.parameters)
        return found

    def __repr__(self) -> str:
        return f"{self.function}(step, {', '.join(f'{name}={value!r}' for name, value in self.parameters.items())})"


WARM_UP = Case("warm_up", {"rate": 0.1, "steps": 5, "start": 0.02})
INVERSE_ROOT = Case("inverse_square_root", {"peak": (512 * 4000) ** -0.5, "warm_up_steps": 4000})
COSINE = Case("cosine", {"peak": 0.1, "steps": 10, "floor": 0.01})
PERIODIC = Case("cosine_restarts", {"peak": 0.1, "steps": 10, "floor": 0.0, "growth": 1})
RESTARTS = Case("cosine_restarts", {"peak": 0.1, "steps": 10, "floor": 0.01, "growth": 2})
STEPS = Case("step_decay", {"rates": [0.1, 0.01, 0.001], "boundaries": [4, 9]})
ONE_CYCLE = Case("one_cycle", {"start": 0.004, "peak": 0.1, "end": 1e-5, "steps": 20, "warm_up_steps": 6})
SIMPLE = (WARM_UP, INVERSE_ROOT, COSINE, PERIODIC, RESTARTS, STEPS, ONE_CYCLE)
"""One of each, of a size to follow by hand."""

RATES = st.sampled_from((1.0, 0.5, 0.1, 0.03, 7e-4))
LOWS = st.sampled_from((0.0, 1e-3, 1e-5))
LENGTHS = st.integers(1, 100)


def cases(function: str) -> st.SearchStrategy[Case]:
    """Any small schedule of this function."""
    parameters: dict[str, st.SearchStrategy[dict[str, Any]]] = {
        "warm_up": st.fixed_dictionaries({"rate": RATES, "steps": LENGTHS, "start": LOWS}),
        "inverse_square_root": st.fixed_dictionaries({"peak": RATES, "warm_up_steps": LENGTHS}),
        "cosine": st.fixed_dictionaries({"peak": RATES, "steps": LENGTHS, "floor": LOWS}),
        "cosine_restarts": st.fixed_dictionaries(
            {"peak": RATES, "steps": LENGTHS, "floor": LOWS, "growth": st.integers(1, 3)}
        ),
        "step_decay": st.lists(LENGTHS, min_size=1, max_size=4, unique=True).flatmap(
            lambda boundaries: st.fixed_dictionaries(
                {
                    "rates": st.lists(RATES, min_size=len(boundaries) + 1, max_size=len(boundaries) + 1),
                    "boundaries": st.just(sorted(boundaries)),
                }
            )
        ),
        "one_cycle": st.tuples(LENGTHS, LENGTHS).flatmap(
            lambda lengths: st.fixed_dictionaries(
                {
                    "start": LOWS,
                    "peak": RATES,
                    "end": LOWS,
                    "steps": st.just(sum(lengths)),
                    "warm_up_steps": st.just(lengths[0]),
                }
            )
        ),
    }
    return parameters[function].map(lambda drawn: Case(function, drawn))


def taking(subject: Subject, function: str, *names: str) -> Callable[..., Any]:
    """An implementation's function, which takes these names.

    Raises:
        NotProvided: it does not exist, or lacks one of the names.
    """
    found: Callable[..., Any] = getattr(subject, function)
    for name in names:
        require(found, name, function)
    return found


def rate(subject: Subject, case: Case, step: Any) -> np.ndarray:
    """The rate that an implementation gives for a step, in the step's shape."""
    __tracebackhide__ = True
    found = to_numpy(taking(subject, case.function, *case.parameters)(step, **case.parameters))
    check(found.shape == np.shape(step), f"{case} at step {step}: shape {found.shape}, expected {np.shape(step)}")
    return found


def schedule_of(subject: Subject, case: Case) -> Any:
    """The schedule as an object that a Keras optimizer takes."""
    function = taking(subject, case.function, *case.parameters)
    return subject.Schedule(function, **case.parameters)


def provided(subject: Subject, cases: Sequence[Case] = SIMPLE) -> list[Case]:
    """Those cases whose function the implementation has.

    Raises:
        NotProvided: it has none of them.
    """
    found = [case for case in cases if subject.provides(case.function)]
    if not found:
        raise NotProvided(f"{subject.implementation.name} provides none of {', '.join(c.function for c in cases)}")
    return found


@contextlib.contextmanager
def global_policy(precision: str) -> Iterator[None]:
    """Keras's global dtype policy, for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def follows(subject: Subject, case: Case) -> None:
    """Assert the formula at every landmark."""
    __tracebackhide__ = True
    for step in case.landmarks:
        truth = case.truth(step)
        assert_within(rate(subject, case, step), np.array(truth.value), truth.bound, f"{case} at step {step}")


def nested(subject: Subject) -> list[Case]:
    """Schedules around a cosine, as far as there are such."""
    around: dict[str, dict[str, Any]] = {
        "with_warm_up": {"steps": 5, "start": 0.02},
        "per_update": {"micro_batches": 2},
    }
    return [
        Case(function, {"schedule": schedule_of(subject, COSINE), **options})
        for function, options in around.items()
        if subject.provides(function) and subject.provides("Schedule")
    ]


def foreign() -> dict[str, tuple[Any, Callable[[int], oracle.Rate]]]:
    """Schedules that are not the contract's, and their rates: Keras's own, and any function of the step."""

    def halved(step: Any) -> Any:
        return 0.5 ** (ops.cast(step, "float32") + 1)

    decay = keras.optimizers.schedules.CosineDecay(0.1, 10, alpha=0.125)
    return {
        "keras.optimizers.schedules.CosineDecay": (decay, COSINE.but(floor=0.0125).truth),
        "a function of the step": (halved, lambda step: oracle.Rate(0.5 ** (step + 1), 2.0**-22)),
    }


def warmed(subject: Subject, steps: int, start: float = 0.0) -> tuple[Case, Case]:
    """A cosine, and the same after a warm-up."""
    schedule = schedule_of(subject, COSINE)
    return COSINE, Case("with_warm_up", {"schedule": schedule, "steps": steps, "start": start})
