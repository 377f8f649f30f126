"""What is drawn for the properties of additive attention, and how an implementation is called with it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.arrays import eighths, masks
from suites.properties.checks import check, takes, without_warnings
from suites.properties.gradients import input_gradient, weight_gradients
from suites.properties.numerics import to_numpy
from suites.properties.oracles import additive_attention as oracle
from suites.subjects import Subject


@dataclass(frozen=True, eq=False)
class Case:
    """Arguments of additive attention: float64 arrays whose elements every precision represents exactly."""

    query: np.ndarray  # (B, D_q) or (B, T, D_q)
    values: np.ndarray  # (B, S, D_v)
    keys: np.ndarray | None  # (B, S, D_k)
    mask: np.ndarray | None  # (B, S) or (B, T, S)
    query_kernel: np.ndarray  # (D_q, U)
    key_kernel: np.ndarray  # (D_k, U)
    scale: np.ndarray  # (U,)

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """The weights of the layer, in the contract's order."""
        return {"query_kernel": self.query_kernel, "key_kernel": self.key_kernel, "scale": self.scale}

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What the layer is called with."""
        given = {"query": self.query, "values": self.values, "keys": self.keys, "mask": self.mask}
        return {name: array for name, array in given.items() if array is not None}

    @property
    def arguments(self) -> dict[str, Any]:
        """What the oracle is called with."""
        return {"query": self.query, "values": self.values, "keys": self.keys, "mask": self.mask, **self.kernels}

    @property
    def source_keys(self) -> np.ndarray:
        """The keys, which are the values where none are given."""
        return self.values if self.keys is None else self.keys

    @property
    def attended(self) -> np.ndarray:
        """The mask in the shape of the weights, all True where none is given."""
        rows, source = self.query.shape[:-1], self.values.shape[1]
        mask = np.ones((*rows[:1], source), bool) if self.mask is None else self.mask
        return np.broadcast_to(mask[:, None] if len(rows) > mask.ndim - 1 else mask, (*rows, source))

    def but(self, **changes: Any) -> "Case":
        """The same case with some arguments replaced."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        given = {**self.inputs, **self.kernels}
        return "\n".join(f"{name} {array.shape} = {array.tolist()}" for name, array in given.items())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - the signature is fixed
        """How Hypothesis shows a failing case: an argument a line, with its shape."""
        printer.text("\n        ".join(["", *repr(self).splitlines()]))


SMALL = Case(
    query=np.array([[1.0], [-2.0]]),
    values=np.array([[[-1.0], [0.5], [2.0]], [[3.0], [1.0], [-2.0]]]),
    keys=None,
    mask=None,
    query_kernel=np.array([[1.0]]),
    key_kernel=np.array([[0.5]]),
    scale=np.array([0.75]),
)
"""A case small enough to follow by hand: B = 2, S = 3, every other size 1."""

SMALL_MASKED = SMALL.but(mask=np.array([[True, True, False], [False, True, True]]))

SMALL_STEPS = SMALL.but(query=np.array([[[1.0], [-2.0]], [[-1.0], [0.5]]]))
"""Two queries each: T = 2."""

SMALL_STEPS_MASKED = SMALL_STEPS.but(
    mask=np.array([[[True, True, False], [True, False, True]], [[False, True, True], [True, True, True]]])
)

SMALL_FULL = SMALL_STEPS_MASKED.but(keys=np.array([[[2.0], [-0.5], [-3.0]], [[0.0], [1.0], [2.5]]]))
"""With keys, and a mask of its own for every query."""

ONE, ANY, SEVERAL = (None,), (None, 1, 2, 3), (2, 3)
"""The query lengths T to draw from; None is one query without the axis T."""


@st.composite
def cases(draw: st.DrawFn, steps: Sequence[int | None], *, keyed: bool = False, masked: bool = False) -> Case:
    """Any small case in which every query attends to some position.

    Args:
        draw: given by Hypothesis.
        steps: the T to choose from.
        keyed: with keys, which the values are otherwise.
        masked: with a mask, (B, S) or (B, T, S). Not every implementation takes one, or keys.
    """
    batch, source, units = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    query_size, value_size, key_size = (draw(st.integers(1, 3)) for _ in range(3))
    step = draw(st.sampled_from(steps))
    rows = (batch,) if step is None else (batch, step)
    return Case(
        query=draw(eighths((*rows, query_size), 4)),
        values=draw(eighths((batch, source, value_size), 4)),
        keys=draw(eighths((batch, source, key_size), 4)) if keyed else None,
        mask=draw(masks((batch, source)) | masks((*rows, source))) if masked else None,
        query_kernel=draw(eighths((query_size, units), 1)),
        key_kernel=draw(eighths((key_size if keyed else value_size, units), 1)),
        scale=draw(eighths((units,), 2)),
    )


def attend(
    subject: Subject,
    case: Case,
    *,
    contract: bool = False,
    with_weights: bool = False,
    dtype: str = "",
    **replaced: Any,
) -> Any:
    """The context, or context and weights, that an implementation computes: by its layer, or else by its function.

    Args:
        subject: the implementation.
        case: the arguments. The layer takes over its kernels where it has weights of those shapes.
        contract: whether the property depends on those kernels, so that a layer which cannot take them fails.
        with_weights: whether the weights are asked for.
        dtype: another dtype policy than the subject's precision.
        replaced: tensors to call it with in place of the case's inputs.
    """
    __tracebackhide__ = True
    if subject.provides("AdditiveAttention"):
        layer = build(subject, case, contract=contract, dtype=dtype)
        extra = {"return_attention_scores": True} if with_weights else {}
        return call(layer, **{**case.inputs, **replaced}, **extra)
    context, weights = attend_by_function(subject, case, dtype=dtype, **replaced)
    return (context, weights) if with_weights else context


def context_of(subject: Subject, case: Case, *, contract: bool = False) -> np.ndarray:
    """The context, in the shape that the contract gives it: (B, D_v) or (B, T, D_v)."""
    __tracebackhide__ = True
    return _shaped(attend(subject, case, contract=contract), (*case.query.shape[:-1], case.values.shape[-1]), "context")


def weights_of(subject: Subject, case: Case, *, contract: bool = False) -> np.ndarray:
    """The weights, in the shape that the contract gives them: (B, S) or (B, T, S)."""
    __tracebackhide__ = True
    weights = attend(subject, case, contract=contract, with_weights=True)[1]
    return _shaped(weights, case.attended.shape, "weights")


def _shaped(tensor: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    __tracebackhide__ = True
    array = to_numpy(tensor)
    check(array.shape == shape, f"{what}: shape {array.shape}, expected {shape}")
    return array


def attend_by_function(subject: Subject, case: Case, *, dtype: str = "", **replaced: Any) -> tuple[Any, Any]:
    """Context and weights of the pure function, with inputs in the compute dtype and kernels in float32 or more."""
    __tracebackhide__ = True
    compute = (dtype or subject.precision).removeprefix("mixed_")
    given = {name: replaced.get(name, array) for name, array in (case.inputs | case.kernels).items()}
    inputs = {name: as_tensor(given[name], compute) for name in case.inputs}
    kernels = {name: as_tensor(given[name], dtype or "float32") for name in case.kernels}
    with quiet():
        return subject.additive_attention(**inputs, **kernels)


def build(subject: Subject, case: Case, *, contract: bool = False, dtype: str = "", fresh: bool = False) -> Any:
    """The subject's layer, built for the sizes of a case, with the case's kernels where they fit.

    Layers are kept for the next case of the same sizes, unless a fresh one is asked for.
    """
    __tracebackhide__ = True
    sizes = tuple((name, array.ndim, array.shape[-1]) for name, array in case.inputs.items() if name != "mask")
    make = _built.__wrapped__ if fresh else _built
    layer = make(subject.AdditiveAttention, dtype or subject.precision, len(case.scale), sizes)
    wanted, found = [array.shape for array in case.kernels.values()], [tuple(weight.shape) for weight in layer.weights]
    if wanted == found:
        layer.set_weights(list(case.kernels.values()))
    elif contract:
        raise AssertionError(
            f"the formula cannot be checked: in the contract the layer's weights are query_kernel (D_q, U), key_kernel "
            f"(D_k, U) and scale (U,), in this order, here of shapes {wanted}; this layer has {found}"
        )
    return layer


@functools.lru_cache(maxsize=256)  # to build takes 150 ms here, to call 10 ms
def _built(create: Callable[..., Any], policy: str, units: int, sizes: tuple[tuple[str, int, int], ...]) -> Any:
    """A layer built for inputs of these names, ranks and last axes, with its own initial weights from a fixed seed."""
    keras.utils.set_random_seed(1)
    if takes(create, "dtype"):
        layer = create(units, dtype=policy)
    elif policy == "float32":
        layer = create(units)
    else:
        raise NotProvided("AdditiveAttention takes no `dtype`")
    call(layer, **{name: np.ones((1,) * (rank - 1) + (size,)) for name, rank, size in sizes})
    return layer


def call(layer: Any, query: Any, values: Any, **optional: Any) -> Any:
    """Call a layer; floating-point inputs come in float32, or float64 for a layer that computes in it."""
    for name in optional:
        if not takes(layer.call, name):
            raise NotProvided(f"AdditiveAttention.call takes no `{name}`")
    dtype = "float64" if getattr(layer, "compute_dtype", "") == "float64" else "float32"
    optional = {name: as_tensor(value, dtype) for name, value in optional.items()}
    with quiet():
        return layer(as_tensor(query, dtype), as_tensor(values, dtype), **optional)


quiet = functools.partial(
    without_warnings, ".*using a softmax over axis", ".*does not support masking", "`build..` was called on layer"
)
"""Without the warnings of Keras that have nothing to say here.

A softmax over one position is drawn on purpose; the mask of a source is not one for the context; and whether a layer
without `build` is loaded well is what a property finds out.
"""


def as_tensor(value: Any, dtype: str) -> Any:
    """Floating-point values as a tensor of this dtype; a mask or an option as it is."""
    is_float = "float" in str(getattr(value, "dtype", ""))
    return ops.cast(value, dtype) if is_float else value


def rounding(subject: Subject, case: Case) -> oracle.Attention:
    """Bounds on the rounding errors at the subject's precision.

    For laws that hold whatever the kernels are, a layer whose own kernels do not fit the contract is given the bounds
    of the case's kernels.
    """
    return oracle.rounding(**case.arguments, dtype=subject.compute_dtype)


def gradient(subject: Subject, case: Case, name: str, cotangent: np.ndarray, *, dtype: str = "") -> np.ndarray:
    """Gradient of `sum(cotangent * context)` with respect to query, values or keys; float64, zero where unconnected."""

    def context(tensor: Any) -> Any:
        return attend(subject, case, dtype=dtype, contract=bool(dtype), **{name: tensor})

    at = getattr(case, name)
    found = input_gradient(context, ops.convert_to_tensor(at, dtype=dtype or "float32"), cotangent)
    return np.zeros(at.shape) if found is None else to_numpy(found)


def kernel_gradients(subject: Subject, case: Case, cotangent: np.ndarray, *, dtype: str = "") -> dict[str, np.ndarray]:
    """Gradients of `sum(cotangent * context)` with respect to the kernels and the scale; zero where unconnected."""
    __tracebackhide__ = True
    if subject.provides("AdditiveAttention"):
        layer = build(subject, case, contract=bool(dtype), dtype=dtype)
        weights = layer.weights
        _, found = weight_gradients(lambda: call(layer, **case.inputs), weights, lambda _: cotangent)
    else:
        weights = [as_tensor(array, dtype or "float32") for array in case.kernels.values()]

        def context(kernel: Any, name: str) -> Any:
            return attend_by_function(subject, case, dtype=dtype, **{name: kernel})[0]

        found = [
            input_gradient(functools.partial(context, name=name), kernel, cotangent)
            for name, kernel in zip(case.kernels, weights, strict=True)
        ]
    arrays = [np.zeros(w.shape) if each is None else to_numpy(each) for each, w in zip(found, weights, strict=True)]
    return dict(zip(case.kernels, arrays, strict=False))
