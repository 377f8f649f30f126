"""What is drawn for the properties of dot-product attention, and how an implementation is called with it."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from suites.implementations import NotProvided
from suites.properties.arrays import eighths, masks
from suites.properties.checks import check, takes
from suites.properties.dot_product_attention_layers import function_of, quiet
from suites.properties.gradients import input_gradient
from suites.properties.numerics import SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, gamma, to_numpy
from suites.properties.oracles import dot_product_attention as oracle
from suites.subjects import Subject

INPUTS = ("query", "keys", "values")


class Printed:
    """A case of a property that Hypothesis shows an argument a line, arrays with their shapes."""

    def but(self, **changes: Any) -> Any:
        """The same case with some arguments replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        given = {field.name: value for field in fields if (value := getattr(self, field.name)) is not field.default}
        return "\n".join(line for name, value in given.items() for line in _lines(name, value))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - the signature is fixed
        printer.text("\n        ".join(["", *repr(self).splitlines()]))


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for i, part in enumerate(value):
            yield from _lines(f"{name}[{i}]", part)
    elif isinstance(value, np.ndarray):
        yield f"{name} {value.shape} = {value.tolist()}"
    else:
        yield f"{name} = {value}"


@dataclass(frozen=True, eq=False, repr=False)
class Case(Printed):
    """Arguments of dot-product attention: float64 arrays whose elements every precision represents exactly."""

    query: np.ndarray  # (B, T, N, H)
    keys: np.ndarray  # (B, S, N, H)
    values: np.ndarray  # (B, S, N, H_v)
    mask: np.ndarray | None = None  # (B, S), (B, T, S) or (B, N, T, S)
    causal: bool = False
    offset: int = 0
    scale: float | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the oracle is called with."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that are not left at their defaults, but for query, keys and values."""
        defaults = (None, False, 0)
        given = {name: value for name, value in self.arguments.items() if name not in INPUTS}
        return {name: value for name, value in given.items() if not any(value is default for default in defaults)}

    @property
    def attended(self) -> np.ndarray:
        """Who may attend to whom: (B, N, T, S)."""
        return oracle.allowed(self.query, self.keys, self.mask, causal=self.causal, offset=self.offset)

    @property
    def truth(self) -> oracle.Attention:
        """Output and weights in float64."""
        return oracle.attention(**self.arguments)


SMALL = Case(
    query=np.array([[[[1.0, 0.5]], [[-2.0, 1.0]]]]),
    keys=np.array([[[[-1.0, 1.0]], [[0.5, 2.0]], [[2.0, -0.5]]]]),
    values=np.array([[[[1.0, 2.0]], [[-2.0, 0.25]], [[0.5, -1.0]]]]),
)
"""A case small enough to follow by hand: B = N = 1, T = 2, S = 3, H = H_v = 2."""

SMALL_MASKED = SMALL.but(mask=np.array([[True, False, True]]))

HEADS = Case(
    query=np.array([[[[1.0, 0.5], [0.25, -1.0]], [[-2.0, 1.0], [1.0, 1.0]]]]),
    keys=np.array([[[[-1.0, 1.0], [2.0, 1.0]], [[0.5, 2.0], [-1.0, 0.0]], [[2.0, -0.5], [0.5, 1.5]]]]),
    values=np.array([[[[1.0, 0.5], [2.0, 0.0]], [[-2.0, 1.0], [0.25, 1.5]], [[0.5, -1.0], [-1.0, 2.0]]]]),
    mask=np.array([[[[True, True, False], [True, False, True]], [[False, True, True], [True, True, True]]]]),
    scale=0.75,
)
"""Two heads, each with a mask of its own for every query, and a scale."""

SQUARE = SMALL.but(query=np.array([[[[1.0, 0.5]], [[-2.0, 1.0]], [[0.25, 1.0]]]]), causal=True)
"""T = S = 3, and causal."""

FULLY_MASKED = SMALL.but(mask=np.array([[[False, False, False], [True, False, True]]]))
"""The first query has nothing to attend to."""


SHAPES = ((1, 1, 1, 1, 1), (1, 2, 3, 1, 2), (2, 3, 2, 2, 3), (1, 3, 3, 2, 1), (2, 1, 4, 1, 3))
"""B, T, S, N and H = H_v to draw from: few, because JAX compiles every operation anew for each."""


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    masked: bool = False,
    empty: bool = False,
    causal: bool = False,
    offset: bool = False,
    scaled: bool = False,
    sized: bool = False,
) -> Case:
    """Any small case in which every query attends to some position.

    Args:
        draw: given by Hypothesis.
        masked: with a mask, (B, S), (B, T, S) or (B, N, T, S), where B, N and T may be 1.
        empty: rows of that mask, and of the causal one, may be all False.
        causal: whether it is.
        offset: with one, between -2 and 3 if rows may be empty, else not negative.
        scaled: with a scale of its own, or without.
        sized: with values of a size of their own.
    """
    batch, steps, source, heads, head = draw(st.sampled_from(SHAPES))
    forms = [(batch, source), (batch, steps, source), (batch, heads, steps, source)]
    forms += [(1, source), (batch, 1, source), (1, heads, 1, source), (batch, 1, steps, source)]
    value = draw(st.integers(1, 3)) if sized else head
    return Case(
        query=draw(eighths((batch, steps, heads, head), 2)),
        keys=draw(eighths((batch, source, heads, head), 2)),
        values=draw(eighths((batch, source, heads, value), 2)),
        mask=draw(masks(draw(st.sampled_from(forms)), empty=empty)) if masked else None,
        causal=causal,
        offset=draw(st.integers(-2 if empty else 0, 3)) if offset else 0,
        scale=draw(st.sampled_from((None, 0.0, 0.25, 2.0))) if scaled else None,
    )


def attend(subject: Subject, case: Case, *, by: str = "dot_product_attention", dtype: str = "", **changed: Any) -> Any:
    """What a function of the implementation returns, for inputs in the compute dtype.

    Args:
        subject: the implementation.
        case: the arguments.
        by: the function's name.
        dtype: another dtype than the subject's compute dtype.
        changed: options beside the case's, and tensors in place of its inputs.
    """
    __tracebackhide__ = True
    function, options = function_of(subject, by), {**case.options, **changed}
    for name in options:
        if not takes(function, name):
            raise NotProvided(f"{by} takes no `{name}`")
    inputs = {name: ops.cast(getattr(case, name), dtype or subject.compute_dtype) for name in INPUTS}
    with quiet():
        return function(**{**inputs, **options})


def output_of(subject: Subject, case: Case, **options: Any) -> np.ndarray:
    """The output, in the shape that the contract gives it: (B, T, N, H_v)."""
    __tracebackhide__ = True
    return shaped(attend(subject, case, **options), (*case.query.shape[:3], case.values.shape[3]), "output")


def weights_of(subject: Subject, case: Case) -> np.ndarray:
    """The weights, in the shape that the contract gives them: (B, N, T, S)."""
    __tracebackhide__ = True
    return shaped(attend(subject, case, return_weights=True)[1], case.attended.shape, "weights")


def shaped(tensor: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The tensor as an array, if it has this shape."""
    __tracebackhide__ = True
    array = to_numpy(tensor)
    check(array.shape == shape, f"{what}: shape {array.shape}, expected {shape}")
    return array


def rounding(subject: Subject, case: Case, blocks: int = 1) -> oracle.Attention:
    """Bounds on the rounding errors at the subject's precision."""
    return oracle.rounding(**case.arguments, dtype=subject.compute_dtype, blocks=blocks)


def rounding_of_blocks(subject: Subject, case: Case, block: int) -> np.ndarray:
    """Bounds on the rounding errors of the output by blocks: all runs in float32, and is cast at the end."""
    wide = oracle.rounding(**case.arguments, dtype="float32", blocks=-(-case.keys.shape[1] // block)).output
    dtype = subject.compute_dtype
    return np.asarray(wide + UNIT_ROUNDOFF[dtype] * (np.abs(case.truth.output) + wide) + SMALLEST_SUBNORMAL[dtype])


def gradients(
    subject: Subject, case: Case, cotangent: Any = None, *, dtype: str = "", **options: Any
) -> dict[str, np.ndarray]:
    """Gradients of `sum(cotangent * output)` with respect to query, keys and values, in their compute dtype."""
    __tracebackhide__ = True
    arrays = [getattr(case, name) for name in INPUTS]
    ends = np.cumsum([array.size for array in arrays]).tolist()

    def split(flat: Any) -> dict[str, Any]:
        """One vector for all three, so that one step back does for all."""
        starts = [0, *ends[:-1]]
        return {
            name: ops.reshape(flat[start:end], array.shape)
            for name, array, start, end in zip(INPUTS, arrays, starts, ends, strict=True)
        }

    flat = np.concatenate([array.ravel() for array in arrays])
    found = input_gradient(
        lambda moved: attend(subject, case, dtype=dtype, **split(moved), **options),
        ops.convert_to_tensor(flat, dtype=dtype or subject.compute_dtype),
        np.ones((*case.query.shape[:3], case.values.shape[3])) if cotangent is None else cotangent,
    )
    parts = np.split(np.zeros(len(flat)) if found is None else shaped(found, flat.shape, "gradient"), ends[:-1])
    return {name: part.reshape(array.shape) for name, part, array in zip(INPUTS, parts, arrays, strict=True)}


def exact_gradients(
    subject: Subject, case: Case, **options: Any
) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """Of query, keys and values: the name, the gradient in the widest dtype, the truth, and a bound on its error."""
    __tracebackhide__ = True
    shape = (*case.query.shape[:3], case.values.shape[3])
    cotangent = (np.arange(math.prod(shape)) % 7 - 3.0).reshape(shape)
    # A gradient is a sum over t, s and H of products of up to five numbers: a cotangent (3 at most), elements of query,
    # keys and values (2 at most each), the scale (2 at most), and weights and their slopes (1 at most).
    size = cotangent.size * case.keys.size * 3 * 2**4
    found = gradients(subject, case, cotangent, dtype=widest(), **options)
    for name in INPUTS:
        truth = oracle.gradient(case.arguments, cotangent, name)
        yield f"gradient to the {name}", found[name], truth, size * gamma(256, widest())


def widest() -> str:
    """The widest dtype that Keras's operations keep: everywhere but on TensorFlow they turn float64 into float32."""
    return "float64" if keras.backend.backend() == "tensorflow" else "float32"


def dtype_of(tensor: Any) -> str:
    """The name of a tensor's dtype."""
    return str(keras.backend.standardize_dtype(tensor.dtype))


def unseen_by_all(case: Case) -> np.ndarray:
    """The positions that no query attends to: (B, S)."""
    return np.asarray(~np.any(case.attended, axis=(1, 2)))


def filled(case: Case, unseen: np.ndarray, number: float) -> Case:
    """The case with a number in keys and values where `unseen`, `(B, S)`."""
    place = unseen[..., None, None]
    return case.but(keys=np.where(place, number, case.keys), values=np.where(place, number, case.values))
