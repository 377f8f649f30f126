"""What is drawn for the properties of the Transformer, and how an implementation is called with it.

A case holds sizes, masks and a seed, and makes its arrays from these, so that a failing one prints in a few lines.
"""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check, takes
from suites.properties.numerics import LIBM_ULPS, gamma, to_numpy
from suites.properties.oracles import transformer as oracle
from suites.subjects import Subject

PAD, START, END = 0, 1, 2
Bits = tuple[tuple[int, ...], ...]  # a mask (B, T) as ones and zeros, which print small


def eighths(random: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """Multiples of 1/8 up to a limit: exact in bfloat16, and readable."""
    return random.integers(round(-8 * limit), round(8 * limit), shape, endpoint=True) / 8


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
    mask: Bits | None = None  # (B, T)
    memory_mask: Bits | None = None  # (B, S)
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
        square = (self.batch, self.length, self.length)
        kept = (
            np.ones(square, bool) if self.mask is None else np.broadcast_to(np.array(self.mask, bool)[:, None], square)
        )
        return kept & np.tri(self.length, dtype=bool) if self.decoder else kept

    @property
    def memory_attended(self) -> np.ndarray:
        """Which positions see which of the memory, `(B, T, S)`."""
        rows = (
            np.ones((self.batch, self.source), bool) if self.memory_mask is None else np.array(self.memory_mask, bool)
        )
        return np.broadcast_to(rows[:, None], (self.batch, self.length, self.source))

    def truth(self, dtype: str | None = None, x: np.ndarray | None = None) -> oracle.Truth:
        """What the block computes, and how far an implementation in `dtype` may be from it."""
        x = self.x if x is None else x
        memory_attended = self.memory_attended if self.source else None
        return oracle.blocks(x, self.weights, self.kind, self.attended, self.memory, memory_attended, dtype)

    def but(self, **changes: Any) -> "BlockCase":
        """The same case with some fields replaced."""
        return dataclasses.replace(self, **changes)


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

    @functools.cached_property
    def weights(self) -> list[np.ndarray]:
        """The network's weights in the contract's order: E, encoder, decoder."""
        sizes = (self.width, self.heads, self.feed_forward, self.use_bias)
        last: list[tuple[str, tuple[int, ...]]] = []
        if self.norm_first:
            last = [("scale", (self.width,)), ("shift", (self.width,))]
        shapes: list[tuple[str, tuple[int, ...]]] = [("kernel", (self.vocabulary, self.width))]
        if self.source is not None:
            shapes += [*block_shapes(*sizes, memory=False) * self.layers, *last]
        shapes += [*block_shapes(*sizes, memory=self.source is not None) * self.layers, *last]
        return drawn(shapes, self.seed)

    def truth(self, dtype: str | None = None) -> oracle.Truth:
        """The logits `(B, T, V)`, and how far those of an implementation in `dtype` may be from them."""
        source = None if self.source is None else np.array(self.source)
        kind = oracle.Kind(self.norm_first, self.use_bias)
        return oracle.network(source, np.array(self.target), self.weights, kind, self.layers, dtype)

    def but(self, **changes: Any) -> "NetworkCase":
        """The same case with some fields replaced."""
        return dataclasses.replace(self, **changes)


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
        norm_first=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
    )


def block_of(subject: Subject, case: BlockCase, *, dtype: str = "", fresh: bool = False, **options: Any) -> Any:
    """The subject's block for a case, with the case's weights, without dropout unless asked for.

    Blocks are kept for the next case of the same sizes, unless a fresh one is asked for.
    """
    __tracebackhide__ = True
    name = "DecoderBlock" if case.decoder else "EncoderBlock"
    options = {"dropout": 0.0, "norm_first": case.norm_first, "use_bias": case.use_bias, **options}
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


def network_of(subject: Subject, case: NetworkCase, *, dropout: float = 0.0, policy: str = "") -> Any:
    """The subject's network for a case, with the case's weights."""
    __tracebackhide__ = True
    name = "DecoderOnly" if case.source is None else "Transformer"
    sizes = (case.layers, case.width, case.feed_forward, case.heads, dropout)
    options = {"norm_first": case.norm_first, "use_bias": case.use_bias, "dtype": policy or subject.precision}
    model = _built_network(getattr(subject, name), subject.Size, case.vocabulary, sizes, tuple(options.items()))
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


@dataclass(frozen=True)
class LossCase:
    """Targets, logits and what of them counts."""

    batch: int = 2
    length: int = 3
    vocabulary: int = 4
    smoothing: float = 0.125
    mask: Bits | None = None  # (B, T)
    seed: int = 0

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """`(B, T, V)`."""
        return eighths(np.random.default_rng(self.seed), (self.batch, self.length, self.vocabulary), 4)

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """int32 `(B, T)`."""
        random = np.random.default_rng(self.seed + 1)
        return random.integers(0, self.vocabulary, (self.batch, self.length)).astype(np.int32)

    @property
    def counted(self) -> np.ndarray:
        """The mask, all True where none is given."""
        return np.ones((self.batch, self.length), bool) if self.mask is None else np.array(self.mask, bool)

    def truth(self) -> oracle.Truth:
        """The loss, and how far one that is computed in float32 may be from it."""
        return oracle.smoothed_loss(self.targets, self.logits, self.smoothing, self.counted)

    def but(self, **changes: Any) -> "LossCase":
        """The same case with some fields replaced."""
        return dataclasses.replace(self, **changes)


@st.composite
def loss_cases(draw: st.DrawFn) -> LossCase:
    """Any small case in which some target counts."""
    batch, length = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return LossCase(
        batch=batch,
        length=length,
        vocabulary=draw(st.integers(2, 5)),
        smoothing=draw(st.sampled_from((0.0, 0.125, 0.5))),
        mask=draw(bits(batch, length)),
        seed=draw(st.integers(0, 999)),
    )


def loss_of(subject: Subject, case: LossCase, *, targets: Any = None, logits: Any = None, dtype: str = "") -> Any:
    """The subject's loss for logits in the compute dtype, or in this one, with some arguments replaced."""
    __tracebackhide__ = True
    mask = {} if case.mask is None else {"mask": as_tensor(np.array(case.mask, bool))}
    targets = as_tensor(case.targets if targets is None else targets)
    logits = as_tensor(case.logits if logits is None else logits, dtype or subject.compute_dtype)
    loss = subject.label_smoothed_loss(targets, logits, smoothing=case.smoothing, **mask)
    check(tuple(loss.shape) == (), f"the loss has the shape {tuple(loss.shape)}, expected a scalar")
    return loss


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


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def refuse(misfits: Mapping[str, Callable[[], Any]]) -> None:
    """Fail unless each of these raises ValueError."""
    __tracebackhide__ = True
    for what, attempt in misfits.items():
        with contextlib.suppress(ValueError):
            attempt()
            check(False, f"{what} was accepted")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of Keras that have nothing to say here: softmax over one position, masks, and builds."""
    with warnings.catch_warnings():
        for message in (".*using a softmax over axis", ".*does not support masking", "`build..` was called on layer"):
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        yield


@dataclass(frozen=True)
class Search:
    """A network to decode from: one whose target is what it starts from, and how much is to be written."""

    case: NetworkCase
    length: int
    alpha: float

    def __str__(self) -> str:
        return "pairs" if self.case.source else "words"

    @property
    def source(self) -> np.ndarray:
        """What decoding is given, int32 `(B, S)`: the source, or the prompt."""
        return np.array(self.case.source or self.case.target, np.int32)

    def greedy(self, subject: Subject) -> np.ndarray:
        """Tokens `(B, L)`."""
        __tracebackhide__ = True
        decode = subject.greedy_decode
        return self._checked(decode(self._model(subject), self.source, self.length), (len(self.source), self.length))

    def beam(self, subject: Subject, beams: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `(B, K, L)` and scores `(B, K)`."""
        __tracebackhide__ = True
        found = subject.beam_decode(self._model(subject), self.source, self.length, beams=beams, alpha=self.alpha)
        tokens, scores = self._checked(found[0], (len(self.source), beams, self.length)), to_numpy(found[1])
        check(scores.shape == tokens.shape[:2], f"scores of shape {scores.shape} for tokens of shape {tokens.shape}")
        return tokens, scores

    def _model(self, subject: Subject) -> Any:
        return network_of(subject, self.case, policy="float32")

    def _checked(self, tokens: Any, shape: tuple[int, ...]) -> np.ndarray:
        __tracebackhide__ = True
        dtype = keras.backend.standardize_dtype(tokens.dtype)
        check(dtype == "int32", f"tokens are {dtype}, expected int32")
        array = to_numpy(tokens)
        check(array.shape == shape, f"tokens have the shape {array.shape}, expected {shape}")
        return array

    def written(self, row: np.ndarray) -> tuple[int, ...]:
        """What was written before the padding: all up to `END`."""
        tokens = [int(token) for token in row]
        return tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)

    def forced(self, subject: Subject, tokens: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Hypotheses `(B, K, L)` by teacher forcing.

        Returns:
            One after the other: a row of tokens, the log-probabilities `(L, V)` of what could stand in its place, and
            by how much two of them may differ by rounding between what a cache gives and teacher forcing, twice.
        """
        beams = tokens.shape[1]
        start = np.repeat(np.array(self.case.target, np.int32), beams, axis=0)  # (B K, P)
        rows = tokens.reshape(-1, self.length).astype(np.int32)
        target = np.concatenate([start, rows[:, :-1]], axis=1)
        case = self.case.but(
            target=tuple(map(tuple, target.tolist())),
            source=self.case.source and tuple(row for row in self.case.source for _ in range(beams)),
        )
        log_p = log_softmax(logits_of(subject, case, policy="float32"))[:, start.shape[1] - 1 :]
        # A logit is off by the bound at most, each time; log p by twice that, and by its own rounding in float32.
        off = 2 * case.truth("float32").error.max() + gamma(16 * LIBM_ULPS, "float32") * np.abs(log_p).max()
        return [(row, its_log_p, 4 * float(off)) for row, its_log_p in zip(rows, log_p, strict=True)]

    def scores(self, subject: Subject, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The scores `(B, K)` of hypotheses by teacher forcing, and how far those of a search may be from them."""
        found = []
        for row, log_p, off in self.forced(subject, tokens):
            written = self.written(row)
            total = sum(log_p[t, token] for t, token in enumerate(written))
            penalty = oracle.length_penalty(len(written), self.alpha)
            found.append((total / penalty, (len(written) * off + gamma(32, "float32") * abs(total)) / penalty))
        scores, bounds = (np.array(each).reshape(tokens.shape[:2]) for each in zip(*found, strict=True))
        return scores, bounds


SEARCHES = (
    Search(NetworkCase(source=((3, 1, 3), (1, 3, PAD)), target=((START,), (START,)), vocabulary=4, seed=2), 3, 0.6),
    Search(NetworkCase(target=((START, 3), (3, 1)), vocabulary=4, norm_first=True, seed=8), 3, 2.0),
)
"""Of 3 tokens that can be written, START, END and one more; an encoder-decoder, and a language model with a prompt."""
