"""What is drawn for the properties of the Transformer, and how an implementation is called with it.

A case holds sizes, masks and a seed, and makes its arrays from these, so that a failing one prints in a few lines.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check, takes, without_warnings
from suites.properties.numerics import to_numpy
from suites.properties.oracles import transformer as oracle
from suites.subjects import Subject

PAD, START, END = 0, 1, 2
Bits = tuple[tuple[int, ...], ...]  # a mask (B, T) as ones and zeros, which print small

few = settings(max_examples=max(2, settings().max_examples // 4))
"""For what takes long, or is true by hand-made examples already."""


def eighths(random: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """Multiples of 1/8 up to a limit: exact in bfloat16, and readable."""
    return random.integers(round(-8 * limit), round(8 * limit), shape, endpoint=True) / 8


@dataclass(frozen=True)
class NetworkCase:
    """A small network and its tokens: an encoder-decoder, or a decoder alone where there is no source."""

    target: tuple[tuple[int, ...], ...]
    source: tuple[tuple[int, ...], ...] | None = None
    layers: int = 1
    width: int = 4
    heads: int = 2
    feed_forward: int = 3
    vocabulary: int = 7
    norm_first: bool = False
    use_bias: bool = False
    seed: int = 0

    @property
    def tokens(self) -> Any:
        """What the network is called with, int32: `(source, target)` or the target."""
        target = np.array(self.target, np.int32)
        return target if self.source is None else (np.array(self.source, np.int32), target)

    @property
    def sorts(self) -> list[tuple[str, tuple[int, ...]]]:
        """Sort and shape of the network's weights in the contract's order: E, encoder, decoder."""
        sizes = (self.width, self.heads, self.feed_forward, self.use_bias)
        last: list[tuple[str, tuple[int, ...]]] = []
        if self.norm_first:
            last = [("scale", (self.width,)), ("shift", (self.width,))]
        shapes: list[tuple[str, tuple[int, ...]]] = [("kernel", (self.vocabulary, self.width))]
        if self.source is not None:
            shapes += [*block_shapes(*sizes, memory=False) * self.layers, *last]
        return [*shapes, *block_shapes(*sizes, memory=self.source is not None) * self.layers, *last]

    @functools.cached_property
    def weights(self) -> list[np.ndarray]:
        """The network's weights in the contract's order."""
        return drawn(self.sorts, self.seed)

    def truth(self, dtype: str | None = None, weights: Sequence[np.ndarray] | None = None) -> oracle.Truth:
        """The logits `(B, T, V)`, and how far those of an implementation in `dtype` may be from them."""
        source = None if self.source is None else np.array(self.source)
        kind, weights = oracle.Kind(self.norm_first, self.use_bias), self.weights if weights is None else weights
        return oracle.network(source, np.array(self.target), weights, kind, self.layers, dtype)

    def but(self, **changes: Any) -> "NetworkCase":
        """The same case with some fields replaced."""
        return dataclasses.replace(self, **changes)


PAIRS = NetworkCase(source=((3, 4, 5), (6, 3, PAD)), target=((START, 3, 4), (START, 5, PAD)))
PAIRS_PRE = PAIRS.but(norm_first=True)
PAIRS_DEEP = PAIRS.but(layers=2)
WORDS = NetworkCase(target=((START, 3, 4, 6), (START, 5, 5, 3)))
WORDS_PRE = WORDS.but(norm_first=True)
WORDS_DEEP = WORDS_PRE.but(layers=2, use_bias=True)


def block_shapes(
    width: int, heads: int, feed_forward: int, use_bias: bool, memory: bool
) -> list[tuple[str, tuple[int, ...]]]:
    """Sort and shape of a block's weights, in the contract's order."""
    split = (heads, width // heads)
    kernels = [((width, *split), split)] * 3 + [((*split, width), (width,))]
    attention = [
        each for kernel, bias in kernels for each in (("kernel", kernel), *([("shift", bias)] if use_bias else []))
    ]
    norm = [("scale", (width,)), ("shift", (width,))]
    dense = [("kernel", (width, feed_forward)), ("shift", (feed_forward,))]
    dense += [("kernel", (feed_forward, width)), ("shift", (width,))]
    return [*(attention + norm) * (2 if memory else 1), *dense, *norm]


def drawn(shapes: list[tuple[str, tuple[int, ...]]], seed: int) -> list[np.ndarray]:
    """Weights of these sorts: kernels and biases up to 1/2, gammas from 1/2 to 3/2."""
    random, low = np.random.default_rng(seed + 2), {"kernel": 0.5, "shift": 0.5, "scale": 0.5}
    return [eighths(random, shape, low[sort]) + (sort == "scale") for sort, shape in shapes]


def bits(rows: int, length: int) -> st.SearchStrategy[Bits]:
    """Masks `(rows, length)` that keep the first position of every row."""
    row = st.tuples(st.just(1), *[st.integers(0, 1)] * (length - 1))
    return st.tuples(*[row] * rows)


@st.composite
def network_cases(draw: st.DrawFn, *, source: bool = True) -> NetworkCase:
    """Any small network with one or two rows of tokens, padded or not."""
    rows, vocabulary = draw(st.integers(1, 2)), 7
    tokens = st.integers(START, vocabulary - 1)

    def padded(length: int) -> st.SearchStrategy[tuple[int, ...]]:
        return st.lists(tokens, min_size=1, max_size=length).map(lambda row: (*row, *[PAD] * (length - len(row))))

    sources, targets = ([draw(padded(3)) for _ in range(rows)] for _ in range(2))
    return NetworkCase(
        target=tuple(targets),
        source=tuple(sources) if source else None,
        vocabulary=vocabulary,
        layers=draw(st.integers(1, 2)),
        norm_first=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
    )


def make(create: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a constructor; NotProvided if it takes no such option."""
    for name in options:
        if not takes(create, name):
            raise NotProvided(f"{getattr(create, '__name__', create)} takes no `{name}`")
    return create(*arguments, **options)


def set_weights(layer: Any, weights: list[np.ndarray], what: str) -> None:
    """Give a layer the weights of a case; a layer of other shapes fails with what the contract has."""
    __tracebackhide__ = True
    found, wanted = [tuple(w.shape) for w in layer.weights], [w.shape for w in weights]
    check(found == wanted, f"{what}: in the contract its weights have the shapes {wanted}; here they have {found}")
    layer.set_weights(weights)


def network_of(subject: Subject, case: NetworkCase, *, policy: str = "", fresh: bool = False, **options: Any) -> Any:
    """The subject's network for a case, with the case's weights, and with dropout, of which inference shows nothing.

    Networks are kept for the next case of the same sizes, unless a fresh one is asked for.
    """
    __tracebackhide__ = True
    name = "DecoderOnly" if case.source is None else "Transformer"
    sizes = (case.layers, case.width, case.feed_forward, case.heads, 0.5)
    options |= {"norm_first": case.norm_first, "use_bias": case.use_bias, "dtype": policy or subject.precision}
    build = _built_network.__wrapped__ if fresh else _built_network
    model = build(getattr(subject, name), subject.Size, case.vocabulary, sizes, tuple(options.items()))
    set_weights(model, case.weights, f"{name} of {case}")
    return model


@functools.lru_cache(maxsize=64)
def _built_network(
    create: Callable[..., Any], size: Any, vocabulary: int, sizes: tuple[Any, ...], options: tuple[Any, ...]
) -> Any:
    return make(create, vocabulary, size(*sizes), **dict(options))


def logits_of(subject: Subject, case: NetworkCase, *, policy: str = "") -> np.ndarray:
    """The logits of a case, float64 in the contract's shape `(B, T, V)`."""
    __tracebackhide__ = True
    array = to_numpy(network_of(subject, case, policy=policy)(case.tokens))
    shape = (len(case.target), len(case.target[0]), case.vocabulary)
    check(array.shape == shape, f"the logits have the shape {array.shape}, expected {shape}")
    return array


def embedding_of(subject: Subject, size: int, seed: int, policy: str = "") -> tuple[Any, np.ndarray]:
    """The subject's embedding of 5 tokens, and its matrix `(5, D)`, which float32 represents and float16 does not."""
    layer = _built_embedding(subject.TokenEmbedding, size, policy or subject.precision)
    matrix = eighths(np.random.default_rng(seed), (5, size), 2) * (1 + 2.0**-12)
    set_weights(layer, [matrix], "TokenEmbedding")
    return layer, matrix


@functools.lru_cache(maxsize=64)
def _built_embedding(create: Callable[..., Any], size: int, policy: str) -> Any:
    layer = make(create, 5, size, dtype=policy)
    layer(np.zeros((1, 1), np.int32))
    return layer


def as_tensor(value: Any, dtype: str = "") -> Any:
    """A NumPy array, or a tensor, as a tensor, in this dtype if one is given."""
    return keras.ops.cast(value, dtype) if dtype else keras.ops.convert_to_tensor(value)


quiet = functools.partial(
    without_warnings, ".*using a softmax over axis", ".*does not support masking", "`build..` was called on layer"
)
"""Without the warnings of Keras that have nothing to say here: softmax over one position, masks, and builds."""
