"""Races of whole networks that spell words out in phones, of decoding from them, and of one encoder block.

What the technique costs is measured against the same network with a mean in the place of every attention; what the
cache saves in decoding, against decoding that computes the whole target anew for every token.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import costs
from benchmarks.calls import Inputs, Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import OPERATIONS, Workload

DECODE = "decode"
"""Greedy, to the full length of a target, with a batch of sources."""

SMALL = {"batch": 32, "source": 16, "target": 16, "layers": 2, "width": 128, "feed_forward": 512, "heads": 4}
BASE = {"batch": 8, "source": 32, "target": 32, "layers": 6, "width": 512, "feed_forward": 2048, "heads": 8}
BLOCK = {"batch": 16, "source": 128, "width": 256, "feed_forward": 1024, "heads": 8}
"""One encoder block between an embedding and logits, without dropout: peers drop in more places."""

ALL = (*OPERATIONS, DECODE)
WORKLOADS = (
    Workload(
        "transformer",
        "phones",
        SMALL | {"vocabulary": 80},
        {"quick": ("train", DECODE), "standard": ALL, "paper": ALL},
    ),
    Workload("transformer", "block", BLOCK, {"quick": ("train",), "standard": OPERATIONS, "paper": OPERATIONS}),
    Workload("transformer", "base", BASE | {"vocabulary": 37_000}, {"standard": ("train", DECODE), "paper": ALL}),
)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import pronunciation

    pronunciation.load()


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """A step of the network, or of the block where there is no target."""
    if "target" not in parameters:
        return _of_block(parameters, operation, seed, subject.precision, _block(subject, parameters))
    size = [parameters[name] for name in ("layers", "width", "feed_forward", "heads")]
    network = subject.Transformer(parameters["vocabulary"], subject.Size(*size), dtype=subject.precision)
    if operation == DECODE:

        def decode(source: Any) -> Any:
            return subject.greedy_decode(network, source, parameters["target"])

        return _decoding(network, parameters, seed, decode)
    return _of_network(network, parameters, operation, seed)


def without(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """The same step with means in the place of attention or, when decoding, without a cache."""
    if "target" not in parameters:
        return _of_block(parameters, operation, seed, subject.precision, _mean_block(subject.precision, parameters))
    if operation == DECODE:
        size = [parameters[name] for name in ("layers", "width", "feed_forward", "heads")]
        network = subject.Transformer(parameters["vocabulary"], subject.Size(*size), dtype=subject.precision)

        def decode(source: Any) -> Any:
            return _recomputing(network, source, parameters["target"])

        return _decoding(network, parameters, seed, decode)
    return _of_network(_mean_network(subject.precision, parameters), parameters, operation, seed)


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """Attention, feed-forward and logits; decoding is counted token by token, to the full length of a target."""
    rows, source = parameters["batch"], parameters["source"]
    if "target" not in parameters:
        symbols, size = _symbols(), parameters["width"]
        layers = [costs.lookup(symbols, size), *_blocks(parameters, source, 1, attend=not without, bias=True)]
        layers.append(costs.dense(rows * source, size, symbols))
        return costs.step(layers, operation, batch=2 * rows * source, logits=rows * source * symbols, width=width)
    target, vocabulary = parameters["target"], parameters["vocabulary"]
    if operation == DECODE:
        return _cost_of_decoding(parameters, cached=not without, width=width)
    layers = [
        *_blocks(parameters, source, parameters["layers"], attend=not without),
        *_blocks(parameters, target, parameters["layers"], memory=source, attend=not without),
        costs.dense(rows * target, parameters["width"], vocabulary, bias=False),  # its weights are the embedding's
    ]
    return costs.step(
        layers, operation, batch=rows * (source + 2 * target), logits=rows * target * vocabulary, width=width
    )


def _symbols() -> int:
    from datasets import pronunciation

    return pronunciation.SPECIAL + len(pronunciation.GRAPHEMES)


def _blocks(
    parameters: Mapping[str, int],
    length: int,
    count: int,
    *,
    memory: int | None = None,
    attend: bool = True,
    bias: bool = False,
) -> list[costs.Layer]:
    """Blocks of an encoder; with a memory, of a decoder. Without attention a projected mean is in the place of each.

    All blocks of a decoder read one memory, which is kept once.
    """
    rows, size, inner, heads = (parameters[name] for name in ("batch", "width", "feed_forward", "heads"))
    layers = []
    for number in range(count):
        if attend:
            layers += costs.multi_head_attention(rows, length, size, heads, bias=bias)
            if memory is not None:
                layers += costs.multi_head_attention(
                    rows, length, size, heads, memory=memory, shared=number > 0, bias=bias
                )
        elif memory is None:
            layers.append(costs.dense(rows, size, size))  # one mean for all positions
        else:
            layers += [costs.dense(rows * length, size, size), costs.dense(rows, size, size)]
        layers += [costs.dense(rows * length, size, inner), costs.dense(rows * length, inner, size)]
        layers += [costs.normalization(size)] * (2 if memory is None else 3)
    return layers


def _cost_of_decoding(parameters: Mapping[str, int], *, cached: bool, width: int) -> costs.Cost:
    """Encoding, and a step of the decoder for every token: of that token alone, or of the whole target.

    A cache has room for the whole target, all of which each step scores; keys and values of it and of the memory come
    by in each step, and those of the memory are projected once.
    """
    rows, source, target, size = (parameters[name] for name in ("batch", "source", "target", "width"))
    count, heads = parameters["layers"], parameters["heads"]
    memory = costs.Cost(0, width * rows * source * size)
    encoded = memory + costs.step(
        _blocks(parameters, source, count), "inference", batch=rows * source, logits=0, width=width
    )
    length = 1 if cached else target
    logits = costs.dense(rows * length, size, parameters["vocabulary"], bias=False)
    sizes = {"batch": rows * length, "logits": rows * length * parameters["vocabulary"], "width": width}
    if not cached:
        decoder = [*_blocks(parameters, target, count, memory=source), logits]
        return encoded + (memory + costs.step(decoder, "inference", **sizes)) * target
    project = costs.dense(rows, size, size, bias=False)
    of_block = [
        *[project] * 6,  # query, key, value and output of the one attention, query and output of the other
        *costs.dot_product_attention(rows * heads, 1, target, size // heads),
        *costs.dot_product_attention(rows * heads, 1, source, size // heads),
        costs.dense(rows, size, parameters["feed_forward"]),
        costs.dense(rows, parameters["feed_forward"], size),
        *[costs.normalization(size)] * 3,
    ]
    projected = [costs.dense(rows * source, size, size, bias=False)] * 2 * count
    of_memory = costs.step(projected, "inference", batch=0, logits=0, width=width) + memory * 2 * count
    cache = costs.Cost(0, width * 2 * rows * (target + source) * size * count)
    token = cache + costs.step([*of_block * count, logits], "inference", **sizes)
    return encoded + of_memory + token * target


def batch(parameters: Mapping[str, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real words and how they are pronounced, in one vocabulary, repeated and cut to the lengths of the workload.

    Returns:
        Letters (B, S) and phones (B, T + 1), int32, padded at the end where a word is shorter.
    """
    from datasets import pronunciation

    rows = parameters["batch"]
    words = pronunciation.split(train=max(64, rows), validation=1, seed=seed).train
    phones = np.where(words.phones < pronunciation.SPECIAL, words.phones, words.phones + len(pronunciation.GRAPHEMES))
    lengths = (parameters["source"], parameters.get("target", 1) + 1)
    letters, phones = (
        _fitted(each[:rows], size) for each, size in zip((words.graphemes, phones), lengths, strict=True)
    )
    return letters, phones


def _fitted(rows: np.ndarray, length: int) -> np.ndarray:
    """Every row repeated without its padding up to a length; in every second row, up to half of it."""
    fitted = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        kept = np.resize(row[row != 0], length if i % 2 else max(1, length // 2))
        fitted[i, : len(kept)] = kept
    return fitted


# Networks


def _of_network(network: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One of `OPERATIONS` on a network, with the smoothed loss of what is no padding."""
    from keras import ops

    from benchmarks.steps import of_model
    from reference.transformer import PAD, label_smoothed_loss

    def loss(targets: Any, logits: Any) -> Any:
        targets = ops.cast(targets, "int32")
        return label_smoothed_loss(targets, logits, mask=targets != PAD)

    letters, phones = batch(parameters, seed)
    return of_model(network, ([letters, phones[:, :-1]], phones[:, 1:]), operation, loss)


def _mean_network(precision: str, parameters: Mapping[str, int]) -> Any:
    """The network with a mean in the place of every attention, and one projection in the place of its four."""
    import keras
    from keras import layers, ops

    from reference.transformer import TokenEmbedding, sinusoidal_positions

    width = parameters["width"]
    embedding = TokenEmbedding(parameters["vocabulary"], width, dtype=precision)
    source = keras.Input((parameters["source"],), dtype="int32")
    target = keras.Input((parameters["target"],), dtype="int32")

    def embedded(tokens: Any) -> Any:
        x = embedding(tokens) + ops.cast(sinusoidal_positions(tokens.shape[1], width), embedding.compute_dtype)
        return layers.Dropout(0.1, dtype=precision)(x)

    def so_far(x: Any) -> Any:
        return ops.cumsum(x, axis=1) / ops.cast(ops.arange(1, x.shape[1] + 1)[:, None], x.dtype)

    kept = ops.cast(source != 0, embedding.compute_dtype)[..., None]  # (B, S, 1)
    memory, x = embedded(source), embedded(target)
    for _ in range(parameters["layers"]):
        memory = _around(memory, [_mean(memory, kept)], precision, parameters)
    for _ in range(parameters["layers"]):
        x = _around(x, [so_far(x), _mean(memory, kept)], precision, parameters)
    logits = layers.Lambda(embedding.logits, dtype=precision)
    return keras.Model([source, target], logits(x))


def _mean(x: Any, kept: Any) -> Any:
    """The mean over the positions that are kept, `(B, 1, D)`."""
    from keras import ops

    return ops.sum(x * kept, axis=1, keepdims=True) / ops.maximum(ops.sum(kept, axis=1, keepdims=True), 1)


def _around(x: Any, contexts: list[Any], precision: str, parameters: Mapping[str, int], dropout: float = 0.1) -> Any:
    """What attention finds, replaced by given contexts, and the feed-forward; post-norm, with dropout as in a block."""
    from keras import layers

    def added(x: Any, y: Any) -> Any:
        y = layers.Dropout(dropout, dtype=precision)(y)
        return layers.LayerNormalization(epsilon=1e-5, dtype=precision)(x + y)

    for context in contexts:
        x = added(x, layers.Dense(parameters["width"], dtype=precision)(context))
    inner = layers.Dense(parameters["feed_forward"], activation="relu", dtype=precision)(x)
    return added(x, layers.Dense(parameters["width"], dtype=precision)(inner))


# Decoding


def _decoding(network: Any, parameters: Mapping[str, int], seed: int, decode: Callable[[Any], Any]) -> Step:
    """Decoding a batch of sources, compiled where the backend compiles."""
    import keras

    inputs = Inputs(batch(parameters, seed)[0])
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return Step(tf.function(decode, jit_compile=False), inputs, network)
        case "jax":
            import jax

            return Step(jax.jit(decode), inputs)  # which keeps the weights that there are when it is compiled
        case _:
            import torch

            return Step(torch.no_grad()(decode), inputs, network)


def _recomputing(network: Any, source: Any, length: int) -> Any:
    """What `greedy_decode` writes, by the whole target again for every token."""
    from keras import ops

    from reference.transformer import END, PAD, START

    memory, mask = network.encode(source), source != PAD

    def write(i: Any, tokens: Any) -> tuple[Any, Any]:
        logits = ops.take(network.decode(tokens[:, :-1], memory, mask), i, axis=1)  # (B, V)
        new = ops.cast(ops.argmax(ops.where(ops.arange(logits.shape[-1]) == PAD, -np.inf, logits), axis=-1), "int32")
        new = ops.where(ops.any(tokens == END, axis=-1), PAD, new)
        return i + 1, ops.where(ops.arange(length + 1) == i + 1, new[:, None], tokens)

    def unfinished(i: Any, tokens: Any) -> Any:
        return ops.logical_and(i < length, ~ops.all(ops.any(tokens == END, axis=-1)))

    begun = ops.where(ops.arange(length + 1) == 0, START, ops.zeros_like(source[:, :1]))  # (B, 1 + L)
    return ops.while_loop(unfinished, write, (0, begun))[1][:, 1:]


# One block


def _block(subject: Any, parameters: Mapping[str, int]) -> Callable[[Any, Any], Any]:
    """The subject's encoder block."""
    block = subject.EncoderBlock(
        parameters["heads"], parameters["feed_forward"], dropout=0.0, use_bias=True, dtype=subject.precision
    )
    return lambda x, kept: block(x, mask=kept)


def _mean_block(precision: str, parameters: Mapping[str, int]) -> Callable[[Any, Any], Any]:
    """The block with the mean of its input in the place of attention."""
    from keras import ops

    def block(x: Any, kept: Any) -> Any:
        return _around(x, [_mean(x, ops.cast(kept, x.dtype)[..., None])], precision, parameters, dropout=0.0)

    return block


def _of_block(
    parameters: Mapping[str, int], operation: str, seed: int, precision: str, block: Callable[[Any, Any], Any]
) -> Step:
    """One of `OPERATIONS` on a block that tells every letter from its neighbours."""
    import keras
    from keras import layers

    from benchmarks.steps import of_model
    from datasets import pronunciation

    symbols = pronunciation.SPECIAL + len(pronunciation.GRAPHEMES)
    letters = keras.Input((parameters["source"],), dtype="int32")
    x = block(layers.Embedding(symbols, parameters["width"], dtype=precision)(letters), letters != pronunciation.PAD)
    model = keras.Model(letters, layers.Dense(symbols, dtype="float32")(x))
    given = batch(parameters, seed)[0]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    return of_model(model, (given, given), operation, loss)
