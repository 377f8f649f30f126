"""What is drawn for the properties of the Transformer's blocks, and how a block is called with it."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check, takes
from suites.properties.numerics import to_numpy
from suites.properties.oracles import transformer as oracle
from suites.properties.transformer_cases import (
    as_tensor,
    bits,
    block_shapes,
    drawn,
    eighths,
    make,
    quiet,
    set_weights,
)
from suites.subjects import Subject


@dataclass(frozen=True)
class BlockCase:
    """A block and its input: of an encoder, or of a decoder, with a memory or without."""

    decoder: bool = False
    batch: int = 1
    length: int = 3
    source: int = 0  # S, the length of the memory; 0 for none
    width: int = 4
    heads: int = 2
    feed_forward: int = 3
    norm_first: bool = False
    use_bias: bool = True
    mask: Any = None  # (B, T) or (B, T, T), as nested tuples of bits
    memory_mask: Any = None  # (B, S) or (B, T, S)
    plain: bool = False  # the last gamma is 1 and the last beta 0
    silent: bool = False  # the sublayers end in weights of zero
    seed: int = 0

    @functools.cached_property
    def x(self) -> np.ndarray:
        """`(B, T, D)`."""
        return eighths(np.random.default_rng(self.seed), (self.batch, self.length, self.width), 3)

    @functools.cached_property
    def memory(self) -> np.ndarray | None:
        """`(B, S, D)`."""
        shape = (self.batch, self.source, self.width)
        return eighths(np.random.default_rng(self.seed + 1), shape, 3) if self.source else None

    @functools.cached_property
    def weights(self) -> list[np.ndarray]:
        """The block's weights in the contract's order."""
        shapes = block_shapes(self.width, self.heads, self.feed_forward, self.use_bias, bool(self.source))
        weights = drawn(shapes, self.seed)
        if self.plain:
            weights[-2:] = np.ones_like(weights[-2]), np.zeros_like(weights[-1])
        if self.silent:  # of an encoder: output kernel and bias of the attention, W_2 and b_2
            for i in (6, 7, 12, 13):
                weights[i] = np.zeros_like(weights[i])
        return weights

    @property
    def kind(self) -> oracle.Kind:
        """What the oracle needs to know of the block."""
        return oracle.Kind(self.norm_first, self.use_bias)

    @property
    def attended(self) -> np.ndarray:
        """Which positions see which, `(B, T, T)`."""
        kept = self._for_each_query(self.mask, self.length)
        return kept & np.tri(self.length, dtype=bool) if self.decoder else kept

    @property
    def memory_attended(self) -> np.ndarray:
        """Which positions see which of the memory, `(B, T, S)`."""
        return self._for_each_query(self.memory_mask, self.source)

    def _for_each_query(self, mask: Any, source: int) -> np.ndarray:
        """A mask with an axis of queries."""
        rows = np.ones((self.batch, source), bool) if mask is None else np.array(mask, bool)
        return np.broadcast_to(rows if rows.ndim == 3 else rows[:, None], (self.batch, self.length, source))

    def truth(self, dtype: str | None = None, x: np.ndarray | None = None) -> oracle.Truth:
        """What the block computes, and how far an implementation in `dtype` may be from it."""
        x = self.x if x is None else x
        memory_attended = self.memory_attended if self.source else None
        return oracle.blocks(x, self.weights, self.kind, self.attended, self.memory, memory_attended, dtype)

    def but(self, **changes: Any) -> "BlockCase":
        """The same case with some fields replaced."""
        return dataclasses.replace(self, **changes)


ENCODER = BlockCase(batch=2, mask=((1, 1, 0), (1, 0, 1)))
ENCODER_PRE = ENCODER.but(norm_first=True)
DECODER = BlockCase(decoder=True, batch=2, mask=((1, 1, 1), (1, 0, 1)))
DECODER_PRE = DECODER.but(norm_first=True)
CROSS = DECODER.but(source=2, memory_mask=((1, 0), (1, 1)))
CROSS_PRE = CROSS.but(norm_first=True)

SQUARE = (((1, 1, 0), (0, 1, 0), (1, 0, 1)), ((1, 0, 0), (1, 1, 1), (0, 1, 1)))
"""A mask of its own for every query."""
ENCODER_SQUARE = ENCODER.but(mask=SQUARE)
DECODER_SQUARE = DECODER.but(mask=SQUARE)
CROSS_SQUARE = CROSS.but(source=3, mask=SQUARE, memory_mask=SQUARE[::-1], use_bias=False, norm_first=True)


@st.composite
def block_cases(
    draw: st.DrawFn, *, decoder: bool = False, memory: bool = False, masked: bool = False, use_bias: bool = True
) -> BlockCase:
    """Any small case of this kind; sizes are drawn from few: JAX compiles for each of them."""
    batch, length = draw(st.sampled_from(((1, 1), (1, 3), (2, 2))))
    source = draw(st.sampled_from((1, 3))) if memory else 0
    return BlockCase(
        decoder=decoder,
        batch=batch,
        length=length,
        source=source,
        norm_first=draw(st.booleans()),
        use_bias=use_bias,
        mask=draw(bits(batch, length)) if masked else None,
        memory_mask=draw(bits(batch, source)) if masked and memory else None,
        seed=draw(st.integers(0, 999)),
    )


def block_of(subject: Subject, case: BlockCase, *, dtype: str = "", fresh: bool = False, **options: Any) -> Any:
    """The subject's block for a case, with the case's weights, and with dropout, of which inference shows nothing.

    Blocks are kept for the next case of the same sizes, unless a fresh one is asked for.
    """
    __tracebackhide__ = True
    name = "DecoderBlock" if case.decoder else "EncoderBlock"
    options = {"dropout": 0.5, "norm_first": case.norm_first, "use_bias": case.use_bias, **options}
    sizes = (case.heads, case.feed_forward, case.width, bool(case.source))
    build = _built_block.__wrapped__ if fresh else _built_block
    layer = build(getattr(subject, name), dtype or subject.precision, sizes, tuple(options.items()))
    set_weights(layer, case.weights, f"{name} with {options}")
    return layer


@functools.lru_cache(maxsize=256)
def _built_block(create: Callable[..., Any], policy: str, sizes: tuple[Any, ...], options: tuple[Any, ...]) -> Any:
    heads, feed_forward, width, has_memory = sizes
    wanted = {"dtype": policy, **dict(options)}
    layer = make(create, heads, feed_forward, **wanted)
    some = np.ones((1, 1, width), "float64" if policy == "float64" else "float32")
    with quiet():
        layer(some, some) if has_memory else layer(some)
    return layer


def run_block(
    subject: Subject,
    case: BlockCase,
    layer: Any = None,
    x: Any = None,
    memory: Any = None,
    dtype: str = "float32",
    **extra: Any,
) -> Any:
    """A case through the subject's block, or through this layer, with some inputs replaced: a tensor `(B, T, D)`."""
    __tracebackhide__ = True
    layer = block_of(subject, case) if layer is None else layer
    x, memory = (case.x if x is None else x), (case.memory if memory is None else memory)
    given: dict[str, Any] = dict(extra)
    if memory is not None:
        given["memory"] = as_tensor(memory, dtype)
    for name in ("mask", "memory_mask"):
        if getattr(case, name) is not None:
            given[name] = np.array(getattr(case, name), bool)
    for name in given:
        if not takes(layer.call, name):
            raise NotProvided(f"{type(layer).__name__}.call takes no `{name}`")
    with quiet():
        return layer(as_tensor(x, dtype), **given)


def output_of(subject: Subject, case: BlockCase, **replaced: Any) -> np.ndarray:
    """What `run_block` returns, as float64 in the contract's shape."""
    __tracebackhide__ = True
    array = to_numpy(run_block(subject, case, **replaced))
    shape = (case.batch, case.length, case.width)
    check(array.shape == shape, f"the output has the shape {array.shape}, expected {shape}")
    return array
