"""A recurrent encoder-decoder, with attention or without: what attention was made for, and what it replaced."""

from collections.abc import Callable
from typing import Any

from datasets.sequences import PAD

Attend = Callable[[Any, Any, Any], Any]
"""Decoder states (B, T, D), annotations (B, S, D) and the source's mask (B, S) to contexts (B, T, D)."""


def encoder_decoder(
    vocabulary: int,
    source: int,
    target: int,
    width: int,
    precision: str,
    attend: Attend | None = None,
    dropout: float = 0.0,
) -> Any:
    """Sources (B, S) and targets so far (B, T) to float32 logits (B, T, V) of what follows in the target.

    A bidirectional GRU encodes. Its last states, the summary, start a GRU that decodes. A hidden layer sees each of its
    states beside the context that attention finds or, without, beside the summary again (Cho et al. 2014,
    arXiv:1406.1078, section 2.2). In Bahdanau et al. the context goes into the decoder's recurrence, too; here it does
    not, so that all positions of a target can attend at once. Embedded symbols have variance 1, as a Transformer's do.
    Dropout falls on them and on the hidden layer.
    """
    import keras
    from keras import layers, ops

    one = {"dtype": precision}

    def embedded(tokens: Any) -> Any:
        normal = keras.initializers.RandomNormal(stddev=1.0)
        vectors = layers.Embedding(vocabulary, width, embeddings_initializer=normal, **one)(tokens)
        return layers.Dropout(dropout, **one)(vectors)

    letters, so_far = keras.Input((source,), dtype="int32"), keras.Input((target,), dtype="int32")
    mask = letters != PAD
    both = layers.Bidirectional(layers.GRU(width // 2, return_sequences=True, return_state=True, **one), **one)
    annotations, *ends = both(embedded(letters), mask=mask)
    summary = layers.Dense(width, "tanh", **one)(layers.Concatenate(**one)(ends))  # (B, D)
    decoder = layers.GRU(width, return_sequences=True, **one)
    states = decoder(embedded(so_far), initial_state=summary)  # (B, T, D)
    context = ops.repeat(summary[:, None], target, axis=1) if attend is None else attend(states, annotations, mask)
    hidden = layers.Dense(width, "tanh", **one)(layers.Concatenate(**one)([states, context]))
    logits = layers.Dense(vocabulary, dtype="float32")(layers.Dropout(dropout, **one)(hidden))
    return keras.Model([letters, so_far], logits)


def parameter_count(vocabulary: int, width: int) -> int:
    """Parameters of an `encoder_decoder` with additive attention of as many units as its width, which is even."""
    half = width // 2
    embedded, logits = 2 * vocabulary * width, (width + 1) * vocabulary
    encoder, decoder = 2 * _gru(width, half), _gru(width, width)
    attention = 2 * width * width + width
    return embedded + encoder + (width + 1) * width + decoder + attention + (2 * width + 1) * width + logits


def _gru(inputs: int, units: int) -> int:
    """Of three gates, each with a kernel for the input, one for the state, and two biases as Keras has them."""
    return 3 * units * (inputs + units + 2)


def width_of(vocabulary: int, parameters: int) -> int:
    """The even width with which an `encoder_decoder` with attention comes closest to so many parameters."""
    return min(range(2, 4096, 2), key=lambda width: abs(parameter_count(vocabulary, width) - parameters))
