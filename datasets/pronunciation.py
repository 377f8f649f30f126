"""English words and how they are pronounced: the CMU Pronouncing Dictionary, 135,166 entries.

Spelling to sound is a real sequence-to-sequence task that is small enough for a CPU: about 7.5 letters in, 6.3 phones
out, nearly monotonic, so that attention has something to find and a reader can see whether it did.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.sequences import END, PAD, START, padded
from datasets.verified import read_verified

FILE = Path(__file__).with_name("cmudict.dict.xz")
SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
REMEDY = "python -m datasets.build_cmudict"

SPECIAL = len((PAD, START, END))
"""How many symbols stand in front of both vocabularies: ``PAD``, ``START``, ``END``."""

GRAPHEMES = tuple("'-.abcdefghijklmnopqrstuvwxyz")
"""The characters of words; number ``i`` is encoded as ``SPECIAL + i``."""

# fmt: off
PHONES = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)
# fmt: on
"""The ARPAbet phones without stress; number ``i`` is encoded as ``SPECIAL + i``."""

_VARIANT = re.compile(r"\(\d+\)$")
_STRESS = re.compile(r"\d$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to pronounce one word: ``Entry("tomato", ("T", "AH0", "M", "EY1", "T", "OW2"))``.

    A digit at the end of a vowel is its stress: 0 none, 1 primary, 2 secondary. A word with several pronunciations has
    several entries.
    """

    word: str
    phones: tuple[str, ...]


@dataclass(frozen=True)
class EncodedPairs:
    """Encoded, padded words and pronunciations, row by row.

    Attributes:
        graphemes: ``(N, S)`` int32: the letters, ``END``, then ``PAD``.
        phones: ``(N, T)`` int32: ``START``, the phones without stress, ``END``, then ``PAD``.
    """

    graphemes: NDArray[np.int32]
    phones: NDArray[np.int32]


@dataclass(frozen=True)
class PronunciationSplit:
    """A training and a validation part without a word in common."""

    train: EncodedPairs
    validation: EncodedPairs


@functools.cache
def load(path: Path = FILE) -> tuple[Entry, ...]:
    """Load the dictionary in its published order.

    Args:
        path: the compressed dictionary.

    Returns:
        All 135,166 entries, with comments and the numbers of variants (``tomato(2)``) removed.

    Raises:
        DatasetError: if the file is missing or altered.
    """
    lines = read_verified(path, SHA256, REMEDY).decode("utf-8").splitlines()
    fields = (line.partition("#")[0].split() for line in lines)
    return tuple(Entry(_VARIANT.sub("", word), tuple(phones)) for word, *phones in fields)


def encode(entries: Sequence[Entry]) -> EncodedPairs:
    """Encode entries as integers, padded to the longest.

    Args:
        entries: N of them, at least one.

    Returns:
        ``graphemes`` ``(N, S)`` and ``phones`` ``(N, T)`` int32.

    Raises:
        ValueError: if there is no entry.
        KeyError: if a word holds a character, or a pronunciation a phone, that is not in the vocabulary.
    """
    grapheme = {symbol: SPECIAL + i for i, symbol in enumerate(GRAPHEMES)}
    phone = {symbol: SPECIAL + i for i, symbol in enumerate(PHONES)}
    words = [[*(grapheme[c] for c in entry.word), END] for entry in entries]
    sounds = [[START, *(phone[_STRESS.sub("", p)] for p in entry.phones), END] for entry in entries]
    return EncodedPairs(padded(words), padded(sounds))


def split(
    *,
    train: int | None = None,
    validation: int = 6000,
    max_letters: int = 16,
    seed: int = 0,
    entries: Sequence[Entry] | None = None,
) -> PronunciationSplit:
    """Split the words into a training and a validation part; the same arguments give the same parts.

    Words are split, not entries, so that no variant of a validation word is trained on; a word keeps its first
    pronunciation. Inflections of one stem may still fall on both sides.

    Args:
        train: number of words to train on; all that remain if None. A smaller number takes a prefix of the same
            shuffled order, so that growing it only adds words.
        validation: number of words held out.
        max_letters: longer words are left out.
        seed: seed of the shuffle.
        entries: the dictionary; by default the committed one.

    Returns:
        Two parts, each padded to its own longest word and pronunciation.

    Raises:
        DatasetError: if the file is missing or altered.
        ValueError: if there are fewer words than asked for.
    """
    first: dict[str, Entry] = {}
    for entry in load() if entries is None else entries:
        if len(entry.word) <= max_letters:
            first.setdefault(entry.word, entry)
    wanted = validation + (1 if train is None else train)
    if len(first) < wanted:
        raise ValueError(f"{wanted} words wanted, {len(first)} have at most {max_letters} letters")
    words = list(first.values())
    order = np.random.default_rng(seed).permutation(len(words))
    stop = None if train is None else validation + train
    return PronunciationSplit(
        train=encode([words[i] for i in order[validation:stop]]),
        validation=encode([words[i] for i in order[:validation]]),
    )
