"""Races of whole networks that spell words out in phones, of decoding from them, and of one encoder block.

What the technique costs is measured against the same network with a mean in the place of every attention; what the
cache saves in decoding, against decoding that computes the whole target anew for every token.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

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
        {"quick": ("train",), "standard": ALL, "paper": ALL},
    ),
    Workload("transformer", "block", BLOCK, {"quick": ("train",), "standard": OPERATIONS, "paper": OPERATIONS}),
    Workload("transformer", "base", BASE | {"vocabulary": 37_000}, {"standard": ("train", DECODE), "paper": ALL}),
)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import pronunciation

    pronunciation.load()


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Callable[[], Any]:
    """A step of the network, or of the block where there is no target."""
    if "target" not in parameters:
        return _of_block(parameters, operation, seed, subject.precision, _block(subject, parameters))
    size = [parameters[name] for name in ("layers", "width", "feed_forward", "heads")]
    network = subject.Transformer(parameters["vocabulary"], subject.Size(*size), dtype=subject.precision)
    if operation == DECODE:
        return _decoding(parameters, seed, lambda source: subject.greedy_decode(network, source, parameters["target"]))
    return _of_network(network, parameters, operation, seed)


def without(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Callable[[], Any]:
    """The same step with means in the place of attention or, when decoding, without a cache."""
    if "target" not in parameters:
        return _of_block(parameters, operation, seed, subject.precision, _mean_block(subject.precision, parameters))
    if operation == DECODE:
        size = [parameters[name] for name in ("layers", "width", "feed_forward", "heads")]
        network = subject.Transformer(parameters["vocabulary"], subject.Size(*size), dtype=subject.precision)
        return _decoding(parameters, seed, lambda source: _recomputing(network, source, parameters["target"]))
    return _of_network(_mean_network(subject.precision, parameters), parameters, operation, seed)


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


def _of_network(network: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Callable[[], Any]:
    """One of `OPERATIONS` on a network, with the smoothed loss of what is no padding."""
    from keras import ops

    from benchmarks.steps import of_model
    from reference.transformer import PAD, label_smoothed_loss

    def loss(targets: Any, logits: Any) -> Any:
        targets = ops.cast(targets, "int32")
        return label_smoothed_loss(targets, logits, mask=targets != PAD)

    letters, phones = batch(parameters, seed)
    return of_model(network, [letters, phones[:, :-1]], phones[:, 1:], operation, loss)


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


def _decoding(parameters: Mapping[str, int], seed: int, decode: Callable[[Any], Any]) -> Callable[[], Any]:
    """Decoding a batch of sources, compiled where the backend compiles."""
    import keras
    from keras import ops

    source = ops.convert_to_tensor(batch(parameters, seed)[0])
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            compiled = tf.function(decode, jit_compile=False)
            return lambda: compiled(source)
        case "jax":
            import jax

            jitted = jax.jit(decode)
            return lambda: jitted(source)
        case _:
            import torch

            return torch.no_grad()(lambda: decode(source))


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
) -> Callable[[], Any]:
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
    return of_model(model, given, given, operation, loss)
