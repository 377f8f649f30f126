"""Pairs of sequences that claims learn to translate: words to sounds, and English verses to Spanish ones."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.pronunciation import GRAPHEMES, PHONES, SPECIAL
from datasets.sequences import END, PAD, START

SYMBOLS = SPECIAL + len(GRAPHEMES) + len(PHONES)
"""Of letters and phones, which share one vocabulary."""


@dataclass(frozen=True)
class Pairs:
    """N sources (N, S), with `END`, and targets (N, T), from `START` to `END`; padding comes last."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]

    def batch(self, rows: Any) -> tuple[Any, Any]:
        """Sources and targets so far; and what follows in the targets."""
        return [self.source[rows], self.target[rows, :-1]], self.target[rows, 1:]


@dataclass(frozen=True)
class Parts:
    """To learn from, and held out; all rows are equally long, whatever the seed held out.

    Attributes:
        unknown: the symbol of targets that stands for any word that has none; -1 where all have one.
    """

    train: Pairs
    validation: Pairs
    unknown: int = -1


@functools.lru_cache(maxsize=12)
def words(seed: int, longest: int, train: int | None, validation: int) -> Parts:
    """Words of at most so many letters and phones, phones numbered after the letters.

    Words with more phones than `longest`, some of a thousand, are left out.
    """
    from datasets import pronunciation

    parts = pronunciation.split(train=train, validation=validation, max_letters=longest, seed=seed)
    both = ((part.graphemes, part.phones) for part in (parts.train, parts.validation))
    learned, held_out = (_fitted(*each, longest, len(GRAPHEMES)) for each in both)
    return Parts(learned, held_out)


@functools.lru_cache(maxsize=6)
def verses(seed: int, longest: int, vocabulary: int, validation: int) -> Parts:
    """Verses of at most so many words and punctuation marks; either language has so many symbols."""
    from datasets import verses as data

    parts = data.split(most_words=longest, validation=validation, vocabulary_size=vocabulary, seed=seed)
    both = ((part.english, part.spanish) for part in (parts.train, parts.validation))
    shift = vocabulary - data.SPECIAL
    train, held_out = (_fitted(*each, longest, shift) for each in both)
    return Parts(train, held_out, unknown=data.UNKNOWN + shift)


def _fitted(source: Any, target: Any, longest: int, shift: int) -> Pairs:
    """The pairs of which neither is too long, with the target's symbols behind those of the source."""
    target = np.where(target < SPECIAL, target, target + shift)
    sizes = longest + 1, longest + 2  # with `END`, and with `START`
    fits = [np.count_nonzero(rows != PAD, axis=1) <= size for rows, size in zip((source, target), sizes, strict=True)]
    kept = (rows[fits[0] & fits[1], :size] for rows, size in zip((source, target), sizes, strict=True))
    filled = (
        np.pad(rows, ((0, 0), (0, size - rows.shape[1]))).astype(np.int32)
        for rows, size in zip(kept, sizes, strict=True)
    )
    return Pairs(*filled)


@functools.lru_cache(maxsize=12)
def spelled_out(
    seed: int, longest: int, train: int | None, validation: int = 1
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Each word and how it is pronounced as one sequence for a language model: inputs, and the phones that follow.

    Those to learn from, and those held out. Where a letter follows, the target is padding: nothing is to be learned
    there.
    """
    parts = words(seed, longest, train, validation)
    return tuple(_in_one(part) for part in (parts.train, parts.validation))


def _in_one(part: Pairs) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([part.source, part.target], axis=1)
    order = np.argsort(rows == PAD, axis=1, kind="stable")  # padding comes last
    rows = np.take_along_axis(rows, order, axis=1)
    start = np.count_nonzero(part.source != PAD, axis=1)[:, None]
    targets = np.where(np.arange(rows.shape[1]) > start, rows, PAD)
    return rows[:, :-1], targets[:, 1:]


def wrong(model: Any, part: Pairs, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where the likeliest symbol is not the right one, given the right ones before it; and what is no padding.

    A target without any wrong symbol is what greedy decoding finds, and one with a wrong symbol is not.
    """
    inputs, targets = part.batch(rows)
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


def translated(model: Any, part: Pairs, rows: Any) -> np.ndarray:
    """What greedy decoding makes of sources, symbol by symbol: targets as in `Pairs`, (N, T)."""
    source, target = part.source[rows], np.zeros_like(part.target[rows])
    target[:, 0] = START
    for t in range(1, target.shape[1]):
        following = model.predict_on_batch([source, target[:, :-1]])[:, t - 1].argmax(-1)
        target[:, t] = np.where(np.isin(target[:, t - 1], (END, PAD)), PAD, following)
    return target


def bleu(ours: np.ndarray, right: np.ndarray, unknown: int) -> float:
    """BLEU of targets (N, T), 0 to 100, by sacrebleu; a word that no symbol stands for is never a right one."""
    import sacrebleu

    def told(rows: np.ndarray, nothing: str) -> list[str]:
        kept = ([symbol for symbol in row if symbol not in (PAD, START, END)] for row in rows.tolist())
        return [" ".join(nothing if symbol == unknown else str(symbol) for symbol in row) for row in kept]

    # They are tokens already, and `force` says so.
    found = sacrebleu.corpus_bleu(told(ours, "?"), [told(right, "!")], tokenize="none", force=True)
    return float(found.score)
