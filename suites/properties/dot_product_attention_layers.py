"""A layer of several heads: made, given projections, called; and the function of attention that can be made of it.

A library may have the layer alone. With projections that change nothing it is attention itself, so that masks,
causality, gradients and large scores can be asked of it as of a function, see `function_of`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from suites.implementations import NotProvided
from suites.properties.checks import check, takes, without_warnings
from suites.properties.numerics import to_numpy
from suites.properties.tracing import known
from suites.subjects import Subject, parameters_of

quiet = functools.partial(without_warnings, ".*using a softmax over axis")
"""Without the warning of Keras that a softmax over one position is always 1: such sources are drawn on purpose."""

INPUTS = ("query", "values", "keys")
"""What a layer is called with, in its order."""

POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
"""The policy of a layer that computes in a dtype, where that is not the dtype's own name."""


def offers(subject: Subject, name: str) -> bool:
    """Whether the layer is made with an option of this name; a layer takes any keyword, and refuses it later."""
    return name in parameters_of(subject.MultiHeadAttention)


@dataclass(frozen=True)
class Layout:
    """How a layer holds kernel and bias of the projections of query, keys and values, and of the output.

    Attributes:
        bias: whether it has biases.
        fused: whether the first three stand side by side in one matrix: `(D, 3, N, H)`, or `(D, 3 N H)`.
        shapes: of the layer's weights. Axes that stand side by side in the contract may be one.
    """

    bias: bool
    fused: bool
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, layer: Any, projections: Sequence[np.ndarray]) -> "Layout | None":
        """The layout of a layer, told by its weights' shapes; ``None`` if it is another one than these."""
        shapes = tuple(tuple(weight.shape) for weight in layer.weights)
        for bias, fused in itertools.product((True, False), repeat=2):
            parts = cls(bias, fused, ())._parts(projections)
            if parts is not None and len(parts) == len(shapes) and all(map(_joins, (p.shape for p in parts), shapes)):
                return cls(bias, fused, shapes)
        return None

    def _parts(self, projections: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        kernels, biases = list(projections[::2]), list(projections[1::2])
        if self.fused:
            if len({kernel.shape for kernel in kernels[:3]}) > 1:
                return None
            kernels, biases = [np.stack(kernels[:3], 1), kernels[3]], [np.stack(biases[:3]), biases[3]]
        return [each for pair in zip(kernels, biases, strict=True) for each in pair] if self.bias else kernels

    def arranged(self, projections: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the layer's weights are, given kernel and bias of query, keys, values and output."""
        parts = self._parts(projections)
        assert parts is not None
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def restored(self, weights: Sequence[Any], projections: Sequence[np.ndarray]) -> list[Any]:
        """What is laid out as the layer's weights are, one for each projection; ``None`` for a bias that is not."""
        kernels, biases = (list(weights[::2]), list(weights[1::2])) if self.bias else (list(weights), [])
        if self.fused:
            size, heads, head = projections[0].shape
            kernels = [*np.moveaxis(np.reshape(kernels[0], (size, 3, heads, head)), 1, 0), kernels[1]]
            biases = [*np.reshape(biases[0], (3, heads, head)), biases[1]] if biases else []
        biases = biases or [None] * 4
        found = [each for pair in zip(kernels, biases, strict=True) for each in pair]
        return [
            None if each is None else np.reshape(each, whole.shape)
            for each, whole in zip(found, projections, strict=True)
        ]


def _joins(whole: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of the whole, with some axes that stand side by side made one."""
    ends = set(itertools.accumulate(whole, lambda a, b: a * b))
    joined = list(itertools.accumulate(shape, lambda a, b: a * b))
    return np.prod(whole) == np.prod(shape) and len(shape) <= len(whole) and ends.issuperset(joined)


def build(
    subject: Subject,
    sizes: tuple[tuple[str, int], ...],
    projections: Sequence[np.ndarray],
    policy: str,
    *,
    fresh: bool = False,
    **options: Any,
) -> Any:
    """The subject's layer for last axes of query, values and keys, with these projections.

    Layers are kept for the next case of the same sizes, unless a fresh one is asked for.

    Raises:
        NotProvided: it is made without such an option, or has no biases, and these are not 0.
        AssertionError: it holds its weights in a way that is not known.
    """
    __tracebackhide__ = True
    for name in options:
        if not offers(subject, name):
            raise NotProvided(f"MultiHeadAttention takes no `{name}`")
    heads, head = projections[1].shape
    make = _built.__wrapped__ if fresh else _built
    layer = make(subject.MultiHeadAttention, policy, (heads, head), sizes, tuple(options.items()))
    layout = layout_of(layer, projections)
    if not layout.bias and any(bias.any() for bias in projections[1::2]):
        raise NotProvided("MultiHeadAttention has no biases")
    layer.set_weights(layout.arranged(projections))
    return layer


def layout_of(layer: Any, projections: Sequence[np.ndarray]) -> Layout:
    """How a layer holds projections of these shapes.

    Raises:
        AssertionError: in a way that is not known.
    """
    __tracebackhide__ = True
    layout = Layout.of(layer, projections)
    check(
        layout is not None,
        f"in the contract the weights are kernel and bias of the projections of query, keys and values and of the "
        f"output, in this order, here of shapes {[each.shape for each in projections]}; biases may be left out, and "
        f"the first three be one matrix of D x 3 x N x H. This layer has {[tuple(w.shape) for w in layer.weights]}",
    )
    assert layout is not None
    return layout


def slopes_of(layer: Any, gradients: Sequence[Any], projections: Sequence[np.ndarray]) -> list[Any]:
    """Gradients to a layer's weights as those to the projections; zero where none is connected."""
    found = [np.zeros(w.shape) if g is None else to_numpy(g) for w, g in zip(layer.weights, gradients, strict=True)]
    return layout_of(layer, projections).restored(found, projections)


@functools.lru_cache(maxsize=256)  # to build takes 150 ms here, to call 10 ms
def _built(
    create: Callable[..., Any],
    policy: str,
    sizes: tuple[int, int],
    inputs: tuple[tuple[str, int], ...],
    options: tuple[tuple[str, Any], ...],
) -> Any:
    layer = create(*sizes, dtype=policy, **dict(options))
    call(layer, {name: np.ones((1, 2, size)) for name, size in inputs})
    return layer


def call(layer: Any, inputs: dict[str, Any], **options: Any) -> Any:
    """Call a layer; floating-point inputs come in float32, or float64 for a layer that computes in it."""
    __tracebackhide__ = True
    for name in (*inputs, *options):
        if not takes(layer.call, name):
            raise NotProvided(f"MultiHeadAttention.call takes no `{name}`")
    dtype = "float64" if getattr(layer, "compute_dtype", "") == "float64" else "float32"
    with quiet():
        return layer(**{name: ops.cast(array, dtype) for name, array in inputs.items()}, **options)


def transparent(heads: int, head: int = 1, *, inputs: int = 1) -> tuple[np.ndarray, ...]:
    """The projections of a layer of such heads that change nothing: D = N H, or more where inputs stand side by side.

    Args:
        heads: N.
        head: H.
        inputs: how many stand side by side along the last axis of what the layer is called with. Of two, the keys are
            the first and the values the second; of three the query comes before them.
    """
    size = heads * head
    whole, bias = np.eye(inputs * size), np.zeros((heads, head))
    places = ((0, 0, 0), (0, 0, 1), (0, 1, 2))[inputs - 1]
    kernels = [whole[:, place * size : (place + 1) * size].reshape(-1, heads, head) for place in places]
    output = np.eye(size, inputs * size).reshape(heads, head, -1)
    return (*(each for kernel in kernels for each in (kernel, bias)), output, np.zeros(inputs * size))


def function_of(subject: Subject, name: str) -> Callable[..., Any]:
    """A function of the implementation, or the same made of its layer where it has that alone.

    Args:
        subject: the implementation.
        name: `dot_product_attention` or `blockwise_attention`.
    """
    if subject.provides(name) or not _is_alone(subject):
        return getattr(subject, name)  # which says so if it is not there
    by_blocks = name == "blockwise_attention"
    if by_blocks and not offers(subject, "block"):
        raise NotProvided("MultiHeadAttention takes no `block`")
    return functools.partial(_by_layer, subject, by_blocks)


def _is_alone(subject: Subject) -> bool:
    """Whether the implementation has the layer, and not the function."""
    return not subject.provides("dot_product_attention") and subject.provides("MultiHeadAttention")


def functions_of(subject: Subject) -> Iterator[str]:
    """The names of the functions that `function_of` can give."""
    yield "dot_product_attention"
    if subject.provides("blockwise_attention") or (_is_alone(subject) and offers(subject, "block")):
        yield "blockwise_attention"


def _by_layer(
    subject: Subject,
    by_blocks: bool,
    query: Any,
    keys: Any,
    values: Any,
    mask: Any = None,
    *,
    return_weights: bool = False,
    **options: Any,
) -> Any:
    """Attention by a layer whose projections change nothing; arguments as in the contract's function.

    A layer computes in the dtype of its policy, which is here that of the inputs, and its heads are of one size.
    """
    __tracebackhide__ = True
    inputs = {name: ops.convert_to_tensor(each) for name, each in zip(INPUTS, (query, values, keys), strict=True)}
    sizes = {tuple(each.shape[2:]) for each in inputs.values()}
    if len(sizes) > 1 or len(query.shape) != 4:
        raise NotProvided("a MultiHeadAttention that projects nothing has heads of one number and size")
    dtypes = {keras.backend.standardize_dtype(each.dtype) for each in inputs.values()}
    if len(dtypes) > 1:
        raise NotProvided("MultiHeadAttention computes in the dtype of its policy")
    (dtype,), ((heads, head),) = dtypes, sizes
    size = heads * head
    flat = {name: ops.reshape(each, (*ops.shape(each)[:2], size)) for name, each in inputs.items()}
    called = subject.MultiHeadAttention.call
    if takes(called, "keys"):
        given = flat
    elif flat["keys"].shape != flat["values"].shape:
        raise NotProvided("MultiHeadAttention.call takes no `keys`, so that they are as many as the values")
    elif takes(called, "values"):  # which are the keys too
        query = ops.concatenate([flat["query"], ops.zeros_like(flat["query"])], -1)
        given = {"query": query, "values": ops.concatenate([flat["keys"], flat["values"]], -1)}
    else:
        given = {"query": _together(flat)}
    side_by_side = 4 - len(given)
    asked = dict(options)
    made = {"block": asked.pop("block", 128)} if by_blocks else {}
    if mask is not None:
        asked["mask"] = mask
    if return_weights:
        asked["return_attention_scores"] = True
    widths = tuple((name, size * side_by_side) for name in given)
    projections = transparent(heads, head, inputs=side_by_side)
    layer = build(subject, widths, projections, POLICIES.get(dtype, dtype), **made)
    found = call(layer, given, **asked)
    output, weights = found if return_weights else (found, None)
    output = ops.reshape(output[..., :size], (*ops.shape(output)[:2], heads, head))
    return (output, weights) if return_weights else output


def _together(flat: dict[str, Any]) -> Any:
    """Query, keys and values side by side, for a layer that attends to its query only.

    Raises:
        NotProvided: they are not of one length, or NaN in a key would be in the query beside it.
    """
    if flat["query"].shape != flat["keys"].shape or None in flat["query"].shape:
        raise NotProvided("MultiHeadAttention.call takes no `values`, so that there are as many queries as keys")
    together = ops.concatenate([flat["query"], flat["keys"], flat["values"]], -1)
    if known(together) and not np.isfinite(to_numpy(together)).all():
        raise NotProvided("MultiHeadAttention.call takes no `values`, so that NaN in a key is NaN in a query")
    return together
