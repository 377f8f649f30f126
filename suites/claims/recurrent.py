"""A recurrent encoder-decoder, with attention or without: what attention was made for, and what it replaced."""

from collections.abc import Callable
from typing import Any

from datasets.sequences import PAD

Attend = Callable[[Any, Any, Any], Any]
"""Decoder states (B, T, D), annotations (B, S, D) and the source's mask (B, S) to contexts (B, T, D)."""


def encoder_decoder(
    vocabulary: int, source: int, target: int, width: int, precision: str, attend: Attend | None = None
) -> Any:
    """Sources (B, S) and targets so far (B, T) to float32 logits (B, T, V) of what follows in the target.

    A bidirectional GRU encodes. Its last states, the summary, start a GRU that decodes. A hidden layer sees each of its
    states beside the context that attention finds or, without, beside the summary again (Cho et al. 2014,
    arXiv:1406.1078, section 2.2). In Bahdanau et al. the context goes into the decoder's recurrence, too; here it does
    not, so that all positions of a target can attend at once.
    """
    import keras
    from keras import layers, ops

    one = {"dtype": precision}
    letters, so_far = keras.Input((source,), dtype="int32"), keras.Input((target,), dtype="int32")
    mask = letters != PAD
    both = layers.Bidirectional(layers.GRU(width // 2, return_sequences=True, return_state=True, **one), **one)
    annotations, *ends = both(layers.Embedding(vocabulary, width, **one)(letters), mask=mask)
    summary = layers.Dense(width, "tanh", **one)(layers.Concatenate(**one)(ends))  # (B, D)
    decoder = layers.GRU(width, return_sequences=True, **one)
    states = decoder(layers.Embedding(vocabulary, width, **one)(so_far), initial_state=summary)  # (B, T, D)
    context = ops.repeat(summary[:, None], target, axis=1) if attend is None else attend(states, annotations, mask)
    hidden = layers.Dense(width, "tanh", **one)(layers.Concatenate(**one)([states, context]))
    return keras.Model([letters, so_far], layers.Dense(vocabulary, dtype="float32")(hidden))
