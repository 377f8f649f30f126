"""What is drawn for the properties of multi-head attention, and how a layer is called with it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from suites.properties import dot_product_attention_layers as layers
from suites.properties.arrays import eighths, masks
from suites.properties.dot_product_attention_cases import Printed, shaped
from suites.properties.dot_product_attention_layers import call, layout_of
from suites.properties.oracles import dot_product_attention as oracle
from suites.subjects import Subject


@dataclass(frozen=True, eq=False, repr=False)
class LayerCase(Printed):
    """Arguments of multi-head attention: the weights in Keras's order, and what the layer is called with."""

    query: np.ndarray  # (B, T, D)
    values: np.ndarray | None  # (B, S, D_v); the query if None
    keys: np.ndarray | None  # (B, S, D_k); the values if None
    weights: tuple[np.ndarray, ...]  # kernel and bias of query, key, value and output
    mask: np.ndarray | None = None
    causal: bool = False
    offset: int = 0

    @property
    def sizes(self) -> tuple[int, int]:
        """N and H."""
        heads, size = self.weights[1].shape
        return heads, size

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What the layer is called with, but for options."""
        given = {"query": self.query, "values": self.values, "keys": self.keys}
        return {name: array for name, array in given.items() if array is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the call that are not left at their defaults."""
        given = {"mask": self.mask, "causal": self.causal or None, "offset": self.offset or None}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def arguments(self) -> dict[str, Any]:
        """What the oracle is called with."""
        values = self.query if self.values is None else self.values
        given = {"query": self.query, "values": values, "keys": values if self.keys is None else self.keys}
        return {**given, "weights": self.weights, "mask": self.mask, "causal": self.causal, "offset": self.offset}

    @property
    def truth(self) -> oracle.Attention:
        """Output and weights in float64."""
        return oracle.multi_head(**self.arguments)

    def solution(self, dtype: str, blocks: int = 1) -> tuple[oracle.Attention, oracle.Attention]:
        """The truth, and bounds on the rounding errors in a dtype."""
        return self.truth, oracle.rounding_of_multi_head(**self.arguments, dtype=dtype, blocks=blocks)


def weights_for(sizes: tuple[int, int, int], heads: int, head: int, seed: int) -> tuple[np.ndarray, ...]:
    """Kernels and biases for D, D_k and D_v, multiples of 1/8 up to 1/2, from a seed."""
    query, key, value = sizes
    shapes: list[tuple[int, ...]] = []
    for size in (query, key, value):
        shapes += [(size, heads, head), (heads, head)]
    shapes += [(heads, head, query), (query,)]
    random = np.random.default_rng(seed)
    return tuple(random.integers(-4, 5, shape) / 8 for shape in shapes)


SELF = LayerCase(
    query=np.array([[[1.0, -2.0, 0.5, 1.0], [0.5, 1.0, -1.0, 2.0], [-1.0, 0.25, 1.5, 0.0]]]),
    values=None,
    keys=None,
    weights=weights_for((4,) * 3, 2, 2, 0),
)
"""Self-attention of three positions, two heads of size 2."""


CROSS = LayerCase(
    query=np.array([[[1.0, -2.0, 0.5, 1.0], [0.5, 1.0, -1.0, 2.0]]]),
    values=np.array([[[1.0], [-1.5], [2.0]]]),
    keys=np.array([[[1.0, 0.0, 1.0], [0.5, -1.0, 2.0], [0.25, 1.0, -1.0]]]),
    weights=weights_for((4, 3, 1), 2, 2, 1),
    mask=np.array([[[True, False, True], [True, True, False]]]),
)
"""T = 2, S = 3; the sizes of query, keys and values all differ. D = N H, without which torch has no such layer."""


VALUES_ONLY = SELF.but(values=np.array([[[1.0, 0.5, -1.0, 0.25], [-1.5, 1.0, 0.5, 2.0], [2.0, -1.0, 0.0, 1.0]]]))
"""The values have the shape of the query, and are the keys."""


KEYS_ONLY = SELF.but(keys=VALUES_ONLY.values)
"""The values are the query."""


@st.composite
def layer_cases(draw: st.DrawFn, *, cross: bool = False, causal: bool = False) -> LayerCase:
    """Self-attention, or attention to a source of its own with a mask; few sizes, for building takes long.

    With `causal` it may be, and with an offset, too; and the keys may be the values.
    """
    batch, steps, source = draw(st.sampled_from(((1, 1, 1), (1, 3, 3), (2, 2, 3))))
    keyed = cross and (not causal or draw(st.booleans()))
    sizes = ((4, 3, 1) if keyed else (4, 4, 4)) if cross else (4, 4, 4)
    is_causal = causal and draw(st.booleans())
    case = LayerCase(
        query=draw(eighths((batch, steps, sizes[0]), 2)),
        values=draw(eighths((batch, source, sizes[2]), 2)) if cross else None,
        keys=draw(eighths((batch, source, sizes[1]), 2)) if keyed else None,
        weights=weights_for(sizes, 2, 2, draw(st.integers(0, 99))),
        mask=draw(masks((batch, source)) | masks((batch, steps, source))) if cross else None,
        causal=is_causal,
        offset=draw(st.integers(0, 2)) if is_causal else 0,
    )
    assume(case.truth.weights.any(-1).all())  # a query with nothing to attend to is another property's
    return case


def fitting(subject: Subject, case: LayerCase) -> LayerCase:
    """The case, with biases of 0 where the subject's layer has none, which is as good."""
    bare = case.but(weights=tuple(w * (i % 2 == 0) for i, w in enumerate(case.weights)))
    layer = build(subject, bare)
    return case if layout_of(layer, case.weights).bias else bare


def build(subject: Subject, case: LayerCase, dtype: str = "", **options: Any) -> Any:
    """The subject's layer, built for the sizes of a case, with the case's weights."""
    __tracebackhide__ = True
    sizes = tuple((name, array.shape[-1]) for name, array in case.inputs.items())
    return layers.build(subject, sizes, case.weights, dtype or subject.precision, **options)


def run_layer(subject: Subject, case: LayerCase, **options: Any) -> np.ndarray:
    """The output of the layer in inference, in the shape of the query."""
    __tracebackhide__ = True
    layer = build(subject, case, **options)
    return shaped(call(layer, case.inputs, **case.options), case.query.shape, "output of the layer")
