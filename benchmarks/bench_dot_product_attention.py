"""Races of self-attention over growing lengths, of attention by blocks against the whole, and of the function alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import costs
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import OPERATIONS, Workload
from suites.implementations import NotProvided
from suites.subjects import parameters_of

SIZES = {"heads": 4, "head_size": 16}
LENGTHS = {128: 16, 512: 4, 1024: 2, 2048: 1}
"""Batch size by length."""

QUICK = {128: ("train",), 512: ("train",)}

WHOLE = tuple(
    Workload(
        "dot_product_attention",
        f"length-{length}",
        SIZES | {"length": length, "batch": batch},
        {"quick": QUICK.get(length, ()), "standard": OPERATIONS, "paper": OPERATIONS},
    )
    for length, batch in LENGTHS.items()
)

BY_BLOCKS = tuple(
    Workload(
        "dot_product_attention",
        f"blockwise-{length}",
        SIZES | {"length": length, "batch": 1, "block": 128},
        {"quick": ("train",) if length == 4096 else (), "standard": ("train",), "paper": ("inference", "train")},
    )
    for length in (512, 1024, 2048, 4096, 8192)
)

ALONE = tuple(
    Workload(
        "dot_product_attention",
        f"alone-{length}",
        SIZES | {"length": length, "batch": batch, "projected": 0},
        dict.fromkeys(("standard", "paper"), OPERATIONS),
    )
    for length, batch in ((512, 4), (2048, 1))
)
"""``dot_product_attention`` without the projections of a layer around it; every position attends to those before."""

WORKLOADS = BY_BLOCKS + WHOLE + ALONE


def model(subject: Any, parameters: Mapping[str, int]) -> Any:
    """Letters (B, T) to float32 logits of the letter after each, by causal self-attention: (B, T, letters)."""
    if "projected" in parameters:
        return _model(subject.precision, parameters, _alone(subject, parameters))
    options = {"block": parameters["block"]} if "block" in parameters else {}
    attention = layer(subject, parameters, **options)
    return _model(subject.precision, parameters, lambda words, mask: attention(words, mask=mask, causal=True))


def without(subject: Any, parameters: Mapping[str, int]) -> Any:
    """The same model with all scores at once; or, if it has them anyway, with the mean in place of attention."""
    from keras import ops

    if "block" in parameters:
        return model(subject, {name: size for name, size in parameters.items() if name != "block"})

    def mean(words: Any, mask: Any) -> Any:
        kept = ops.cast(mask, words.dtype)[:, :, None]  # (B, T, 1)
        return words + ops.sum(words * kept, axis=1, keepdims=True) / ops.sum(kept, axis=1, keepdims=True)

    return _model(subject.precision, parameters, mean)


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """Projections, scores and weighted sum, and the logits; of scores that causality masks, too."""
    from datasets import pronunciation

    batch, length, heads = (parameters[name] for name in ("batch", "length", "heads"))
    size, blockwise = heads * parameters["head_size"], "block" in parameters
    symbols = pronunciation.SPECIAL + len(pronunciation.GRAPHEMES)
    layers = [costs.lookup(symbols, size)]
    if "projected" in parameters and not without:
        scores, weighted = costs.dot_product_attention(batch * heads, length, length, parameters["head_size"])
        layers += [scores, replace(weighted, kept=batch * heads * length**2)]  # values are the keys
    elif blockwise or not without:
        layers += costs.multi_head_attention(batch, length, size, heads, by_blocks=blockwise and not without)
    layers.append(costs.dense(batch * length, size, symbols))
    numbers, logits = 2 * batch * length, batch * length * symbols
    return costs.step(layers, operation, batch=numbers, logits=logits, width=width)


def _alone(subject: Any, parameters: Mapping[str, int]) -> Any:
    """Words, cut into heads, that attend to themselves and to those before; padding is not masked.

    PyTorch's function takes either a mask or causality.
    """
    from keras import layers, ops

    cut = (-1, *(parameters[name] for name in ("length", "heads", "head_size")))
    joined = (-1, parameters["length"], parameters["heads"] * parameters["head_size"])

    class Alone(layers.Layer):
        """The function as a layer: peers that are no Keras code cannot take a model's symbols."""

        def call(self, words: Any) -> Any:
            """Of words (B, T, D)."""
            x = ops.reshape(words, cut)
            return ops.reshape(subject.dot_product_attention(x, x, x, causal=True), joined)

    attend = Alone(dtype=subject.precision)
    return lambda words, _: attend(words)


def layer(subject: Any, parameters: Mapping[str, int], **options: int) -> Any:
    """The layer of an implementation, if it takes the options."""
    for name in options:
        if name not in parameters_of(subject.MultiHeadAttention):
            raise NotProvided(f"MultiHeadAttention takes no `{name}`")
    return subject.MultiHeadAttention(parameters["heads"], parameters["head_size"], dtype=subject.precision, **options)


def _model(precision: str, parameters: Mapping[str, int], attend: Any) -> Any:
    import keras
    from keras import layers

    from datasets import pronunciation

    symbols = pronunciation.SPECIAL + len(pronunciation.GRAPHEMES)
    letters = keras.Input((parameters["length"],), dtype="int32", name="letters")
    words = layers.Embedding(symbols, parameters["heads"] * parameters["head_size"], dtype=precision)(letters)
    found = attend(words, letters != pronunciation.PAD)  # (B, T, D)
    return keras.Model(letters, layers.Dense(symbols, dtype="float32")(found))


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import pronunciation

    pronunciation.load()


def batch(parameters: Mapping[str, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real words, one after the other, and for each letter the one that follows.

    Rows end at different places between half the length and the whole, as sequences of one batch do.

    Returns:
        Letters, and the letters that follow, (B, T) int32.
    """
    from datasets import pronunciation

    rows, length = parameters["batch"], parameters["length"]
    words = pronunciation.split(train=4096, validation=1, seed=seed).train
    stream = words.graphemes[words.graphemes != 0][: rows * (length + 1)].reshape(rows, length + 1)
    ends = np.linspace(length // 2, length, rows + 1)[1:].astype(int)[:, None]
    letters = np.where(np.arange(length) < ends, stream[:, :-1], pronunciation.PAD).astype(np.int32)
    return letters, stream[:, 1:].astype(np.int32)
