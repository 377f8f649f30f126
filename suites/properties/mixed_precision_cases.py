"""What is drawn for the properties of mixed precision, and how an implementation is called with it."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.checks import takes, without_warnings
from suites.properties.numerics import to_numpy
from suites.subjects import Subject

State = tuple[float, int]  # the scale, and the finite steps since it last moved

INFINITE = np.array([np.inf], np.float32)
FINITE = np.array([1.0], np.float32)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of two weights in float32: multiples of 1/8, so that powers of two scale them without rounding."""

    first: np.ndarray  # (2,)
    second: np.ndarray  # (1, 3)

    def scaled(self, scale: float) -> list[np.ndarray]:
        """What the backward pass of the scaled loss gives."""
        return [(scale * each).astype(np.float32) for each in (self.first, self.second)]

    def __repr__(self) -> str:
        return f"{self.first.tolist()} and {self.second.tolist()}"

    def poisoned(self, place: int, value: float, scale: float) -> list[np.ndarray]:
        """The scaled gradients with infinity or NaN at one of their five places."""
        arrays = self.scaled(scale)
        array, index = (arrays[0], place) if place < self.first.size else (arrays[1], place - self.first.size)
        array.flat[index] = value
        return arrays


SMALL = Gradients(np.array([1.0, -2.0]), np.array([[0.5, 3.0, -0.125]]))
PLACES = SMALL.first.size + SMALL.second.size


EDGES = st.lists(
    st.sampled_from([sign * m * 2.0**e for sign in (1, -1) for m in (0, 1, 1.5) for e in (-40, -26, -25, -24, -14, 0)]),
    max_size=6,
)
"""Entries about the least numbers of float16: subnormal, normal, and zero."""


@st.composite
def gradients(draw: st.DrawFn) -> Gradients:
    """Any gradients of two weights, of entries up to 4."""
    eighths = st.integers(-32, 32).map(lambda integer: integer / 8)
    first, second = (draw(st.lists(eighths, min_size=size, max_size=size)) for size in (2, 3))
    return Gradients(np.array(first), np.array([second]))


@dataclass(frozen=True)
class Run:
    """A law of the scale, and which steps were finite."""

    settings: Mapping[str, Any]
    finites: tuple[bool, ...]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value:g}" for name, value in self.settings.items())
        return f"{settings}, steps {''.join('+' if finite else '-' for finite in self.finites)} (- overflows)"


@st.composite
def runs(draw: st.DrawFn, *, bounded: bool = False) -> Run:
    """Any short run: with a factor, a floor and a cap of its own, or else too short to come to any."""
    settings = {"initial": 2.0**10, "growth_interval": draw(st.integers(1, 4))}
    if bounded:
        settings |= {"factor": 2.0 ** draw(st.integers(1, 3)), "floor": 2.0 ** draw(st.integers(5, 10))}
        settings |= {"cap": 2.0 ** draw(st.integers(10, 15))}
    return Run(settings, tuple(draw(st.lists(st.booleans(), min_size=1, max_size=8))))


def run_of(steps: str, **settings: Any) -> Run:
    """A run written as in its repr: `+` is a finite step, `-` one that overflows."""
    return Run(settings, tuple(step == "+" for step in steps))


# How an implementation is called


def scaled(subject: Subject, inner: Any, *, name: Any = None, **settings: Any) -> Any:
    """The subject's optimizer around another one, under a law with these settings."""
    __tracebackhide__ = True
    return subject.LossScaledOptimizer(inner, law(subject, **settings), **({"name": name} if name else {}))


def law(subject: Subject, **settings: Any) -> Any:
    """The subject's law of the scale with these settings."""
    __tracebackhide__ = True
    create = subject.LossScale
    for name in settings:
        if not takes(create, name):
            raise NotProvided(f"LossScale takes no `{name}`")
    return create(**settings)


def state_of(optimizer: Any) -> State:
    """The state of an optimizer, or of a pure state machine, as numbers."""
    __tracebackhide__ = True
    state = getattr(optimizer, "state", optimizer)
    if not (hasattr(state, "scale") and hasattr(state, "good_steps")):
        raise NotProvided(f"{type(optimizer).__name__} has no `state` with `scale` and `good_steps`")
    return float(state.scale), int(state.good_steps)


def states_of_optimizer(subject: Subject, run: Run) -> list[State]:
    """The states that an optimizer goes through, each step having one gradient of 1, or of infinity."""
    __tracebackhide__ = True
    optimizer, variable = scaled(subject, keras.optimizers.SGD(1.0), **run.settings), zeros(1)
    found = []
    for finite in run.finites:
        apply(optimizer, [FINITE if finite else INFINITE], [variable])
        found.append(state_of(optimizer))
    return found


def states_of_machine(subject: Subject, run: Run) -> list[State]:
    """The states that the pure state machine goes through."""
    __tracebackhide__ = True
    settings = law(subject, **run.settings)
    state, found = subject.ScaleState(run.settings["initial"]), []
    for finite in run.finites:
        state = subject.next_state(state, finite, settings)
        found.append(state_of(state))
    return found


def states(subject: Subject, run: Run) -> dict[str, list[State]]:
    """The states of whatever the subject provides of the two, by name."""
    __tracebackhide__ = True
    found = {}
    if subject.provides("next_state"):
        found["next_state"] = states_of_machine(subject, run)
    if subject.provides("LossScaledOptimizer") or not found:
        found["optimizer"] = states_of_optimizer(subject, run)
    return found


def apply(optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
    """One step of an optimizer outside of any trainer, as the backend's own trainer would take it."""
    __tracebackhide__ = True
    given = [] if variables is None else [list(variables)]
    with quiet():
        match keras.backend.backend():
            case "jax" if variables is not None:
                if not optimizer.built:
                    optimizer.build(list(variables))
                owned = optimizer.variables
                values = [[variable.value for variable in each] for each in (owned, variables)]
                after = _compiled(optimizer)(values[0], list(gradients), values[1])
                for variable, value in zip([*variables, *owned], [*after[0], *after[1]], strict=True):
                    variable.assign(value)
            case "torch":
                import torch

                with torch.no_grad():
                    tensors = [None if each is None else ops.convert_to_tensor(each) for each in gradients]
                    optimizer.apply(tensors, *given)
            case _:
                optimizer.apply(list(gradients), *given)


@functools.lru_cache(maxsize=2)
def _compiled(optimizer: Any) -> Callable[..., Any]:
    """`stateless_apply` as JAX's trainer uses it: traced once, since each conditional takes 0.1 s to trace."""
    import jax

    return jax.jit(optimizer.stateless_apply)


def writable(array: np.ndarray) -> Any:
    """The array as a tensor where tensors can be written to, and else as it is."""
    return ops.convert_to_tensor(array) if keras.backend.backend() == "torch" else array


def zeros(*shape: int) -> Any:
    """A weight in float32."""
    return keras.Variable(np.zeros(shape, np.float32))


def weights_of(case: Gradients) -> list[Any]:
    """The weights that the gradients belong to, both zero."""
    return [zeros(*case.first.shape), zeros(*case.second.shape)]


def everything(variables: Sequence[Any], inner: Any) -> dict[str, np.ndarray]:
    """Weights, slots and iterations, by name."""
    named = {f"weight {place}": variable for place, variable in enumerate(variables)}
    return {
        name: to_numpy(variable)
        for name, variable in {**named, **{variable.path: variable for variable in inner.variables}}.items()
    }


# Networks


@contextlib.contextmanager
def default_policy(policy: str) -> Iterator[None]:
    """Keras's own way to a default policy, put back whatever the subject does inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass(frozen=True, eq=False)
class Task:
    """A linear network `x @ kernel` that minimises the mean over the batch of `sum(y * output)`.

    The gradient is `x^T y / B` whatever the kernel is. All numbers have few bits, so that float16 and bfloat16 compute
    it without rounding as long as it is in their range.
    """

    x: np.ndarray  # (B, D)
    y: np.ndarray  # (B, U)
    kernel: np.ndarray  # (D, U)
    rate: float

    def network(self, policy: str) -> keras.Model:
        """The network under a policy, which its `compile` sees, with an output in float32."""
        with default_policy(policy):
            layers = [
                keras.layers.Dense(self.y.shape[1], use_bias=False),
                keras.layers.Activation("linear", dtype="float32"),
            ]
            network = keras.Sequential([keras.Input(self.x.shape[1:]), *layers])
        network.set_weights([self.kernel])
        return network

    def train(
        self,
        policy: str,
        optimizer: Any,
        finites: Sequence[bool] = (True,),
        *,
        eager: bool = True,
        after_step: Callable[[], Any] = lambda: None,
    ) -> np.ndarray:
        """The kernel after training by `compile` and `train_on_batch`; where a step is to overflow, x is infinite."""
        __tracebackhide__ = True
        network = self.network(policy)
        with quiet():
            network.compile(optimizer, linear_loss, run_eagerly=eager, jit_compile=False)
            for finite in finites:
                x = self.x if finite else np.full_like(self.x, np.inf)
                network.train_on_batch(x.astype(np.float32), self.y.astype(np.float32))
                after_step()
        return to_numpy(network.trainable_variables[0])


TASK = Task(
    x=np.array([[1.0, -2.0, 0.5], [-1.0, 3.0, 1.0]]),
    y=np.array([[1.0, -0.5], [2.0, 1.0]]),
    kernel=np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]]),
    rate=0.5,
)
TINY = Task(x=np.ones((1, 1)), y=np.array([[2.0**-26]]), kernel=np.zeros((1, 1)), rate=2.0**20)
"""Its gradient is rounded to zero in float16."""

UPDATES = Task(x=np.ones((1, 1)), y=np.array([[2.0**-12]]), kernel=np.ones((1, 1)), rate=1.0)
"""Its updates are lost where the weight is in float16 or bfloat16."""

ONE_WEIGHT = Task(x=np.ones((1, 1)), y=np.ones((1, 1)), kernel=np.ones((1, 1)), rate=1.0)


def linear_loss(targets: Any, outputs: Any) -> Any:
    """`sum(y * output)` per sample: `(B, U)`, `(B, U)` to `(B,)`."""
    return ops.sum(targets * outputs, axis=-1)


# Small things


quiet = functools.partial(without_warnings, "Gradients do not exist", "invalid value", "overflow encountered")
"""Without the warnings about what is done here on purpose: a missing gradient, an infinite input."""
