"""Words and how they are pronounced, as claims about sequences learn them."""

import functools
from typing import Any

import numpy as np

from datasets.pronunciation import GRAPHEMES, PHONES, SPECIAL, EncodedPairs, PronunciationSplit
from datasets.sequences import PAD

LETTERS = SPECIAL + len(GRAPHEMES)
"""Symbols of a source; those of a target follow them where both share one vocabulary."""
SYMBOLS = SPECIAL + len(GRAPHEMES) + len(PHONES)
"""Symbols of a vocabulary that sources and targets share."""


@functools.lru_cache(maxsize=12)
def words(seed: int, longest: int, train: int | None, validation: int) -> PronunciationSplit:
    """Words of at most so many letters and phones, phones numbered after the letters; all rows are equally long.

    So a compiled network fits whatever the seed held out. Words with more phones than `longest`, some of a thousand,
    are left out.
    """
    from datasets import pronunciation

    parts = pronunciation.split(train=train, validation=validation, max_letters=longest, seed=seed)
    return PronunciationSplit(*(_fitted(part, longest) for part in (parts.train, parts.validation)))


def _fitted(part: EncodedPairs, longest: int) -> EncodedPairs:
    size = longest + len("^$")  # with `START` and `END`
    fits = np.count_nonzero(part.phones != PAD, axis=1) <= size
    phones = np.where(part.phones < SPECIAL, part.phones, part.phones + len(GRAPHEMES))[fits, :size]
    phones = np.pad(phones, ((0, 0), (0, size - phones.shape[1])))
    letters = part.graphemes[fits]
    return EncodedPairs(np.pad(letters, ((0, 0), (0, longest + 1 - letters.shape[1]))), phones)


def batch_of(part: EncodedPairs, rows: Any) -> tuple[Any, Any]:
    """Letters and the phones so far; and the phones that follow."""
    return [part.graphemes[rows], part.phones[rows, :-1]], part.phones[rows, 1:]


def wrong(model: Any, part: EncodedPairs, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where the likeliest phone is not the right one, given the right ones before it; and what is no padding.

    A word without any wrong phone is what greedy decoding finds, and one with a wrong phone is not.
    """
    inputs, targets = batch_of(part, rows)
    kept = targets != PAD
    return (model.predict_on_batch(inputs).argmax(-1) != targets) & kept, kept


def mean_loss(targets: Any, logits: Any) -> Any:
    """Mean cross-entropy of all targets that are no padding."""
    import keras
    from keras import ops

    targets = ops.cast(targets, "int32")
    kept = ops.cast(targets != PAD, logits.dtype)
    losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return ops.sum(losses * kept) / ops.sum(kept)


@functools.lru_cache(maxsize=12)
def sentences(seed: int, longest: int, train: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Each word and how it is pronounced as one sequence for a language model: inputs, and the phones that follow.

    Where a letter follows, the target is padding: nothing is to be learned there.
    """
    part = words(seed, longest, train, 1).train
    rows = np.concatenate([part.graphemes, part.phones], axis=1)
    order = np.argsort(rows == PAD, axis=1, kind="stable")  # padding comes last
    rows = np.take_along_axis(rows, order, axis=1)
    spelled = np.count_nonzero(part.graphemes != PAD, axis=1)[:, None]  # where `START` is
    targets = np.where(np.arange(rows.shape[1]) > spelled, rows, PAD)
    return rows[:, :-1], targets[:, 1:]
