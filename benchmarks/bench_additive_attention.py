"""Races of additive attention over growing source lengths, against a decoder that sees only the mean of its source."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import costs
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import OPERATIONS, Workload

SIZES = {"target": 8, "width": 64, "units": 64, "batch": 16}
QUICK = {16: ("train",), 128: ("train",), 1024: ("train",)}
"""What is timed at quick scale, by source length S."""

WORKLOADS = tuple(
    Workload(
        "additive_attention",
        f"source-{source}",
        SIZES | {"source": source},
        {"quick": QUICK.get(source, ()), "standard": OPERATIONS, "paper": OPERATIONS},
    )
    for source in (16, 32, 64, 128, 256, 512, 1024)
)


def model(subject: Any, parameters: Mapping[str, int]) -> Any:
    """Letters (B, S) and the phones so far (B, T) to float32 logits of the next phones (B, T, phones)."""
    attention = subject.AdditiveAttention(parameters["units"], dtype=subject.precision)
    return _model(subject.precision, parameters, lambda query, values, mask: attention(query, values, mask=mask))


def without(subject: Any, parameters: Mapping[str, int]) -> Any:
    """The same model with one fixed vector, the mean of the annotations, in place of the attention's context."""
    from keras import ops

    def mean(_query: Any, values: Any, mask: Any) -> Any:
        kept = ops.cast(mask, values.dtype)[:, :, None]  # (B, S, 1)
        context = ops.sum(values * kept, axis=1, keepdims=True) / ops.sum(kept, axis=1, keepdims=True)  # (B, 1, D)
        return ops.repeat(context, parameters["target"], axis=1)  # (B, T, D)

    return _model(subject.precision, parameters, mean)


def _model(precision: str, parameters: Mapping[str, int], attend: Any) -> Any:
    import keras
    from keras import layers

    from datasets import pronunciation

    width = parameters["width"]
    letters = keras.Input((parameters["source"],), dtype="int32", name="letters")
    phones = keras.Input((parameters["target"],), dtype="int32", name="phones")
    symbols = pronunciation.SPECIAL + len(pronunciation.GRAPHEMES)
    outputs = pronunciation.SPECIAL + len(pronunciation.PHONES)
    values = layers.Embedding(symbols, width, dtype=precision)(letters)  # (B, S, D)
    query = layers.Embedding(outputs, width, dtype=precision)(phones)  # (B, T, D)
    context = attend(query, values, letters != pronunciation.PAD)  # (B, T, D)
    seen = layers.Concatenate(dtype=precision)([query, context])  # (B, T, 2 D)
    return keras.Model([letters, phones], layers.Dense(outputs, dtype="float32")(seen))


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """Projections, scores and weighted sum, and the logits."""
    from datasets import pronunciation

    batch, source, target, size = (parameters[name] for name in ("batch", "source", "target", "width"))
    symbols = pronunciation.SPECIAL + len(pronunciation.GRAPHEMES)
    outputs = pronunciation.SPECIAL + len(pronunciation.PHONES)
    layers = [costs.lookup(symbols, size), costs.lookup(outputs, size)]
    if not without:
        layers += costs.additive_attention(batch, target, source, size, parameters["units"])
    layers.append(costs.dense(batch * target, 2 * size, outputs))
    numbers, logits = batch * (source + 2 * target), batch * target * outputs
    return costs.step(layers, operation, batch=numbers, logits=logits, width=width)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import pronunciation

    pronunciation.load()


def batch(parameters: Mapping[str, int], seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Real words, one after the other up to the source length, and how they are pronounced.

    Rows end at different places between half the source length and the whole, as sources of one batch do.

    Returns:
        Letters (B, S) and phones (B, T), int32; the phones that follow, (B, T) int32.
    """
    from datasets import pronunciation

    rows, source, target = parameters["batch"], parameters["source"], parameters["target"]
    words = pronunciation.split(train=4096, validation=1, seed=seed).train
    letters = _stream(words.graphemes, rows * source).reshape(rows, source)
    ends = np.linspace(source // 2, source, rows).astype(int)[:, None]
    letters = np.where(np.arange(source) < ends, letters, pronunciation.PAD).astype(np.int32)
    phones = _stream(words.phones, rows * (target + 1)).reshape(rows, target + 1)
    return [letters, phones[:, :-1]], phones[:, 1:]


def _stream(padded: np.ndarray, length: int) -> np.ndarray:
    """The first symbols of all rows, one after the other, without their padding (which is zero)."""
    return padded[padded != 0][:length]
