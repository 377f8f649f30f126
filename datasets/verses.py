"""English and Spanish verses of the Bible that say the same: 30,707 pairs, 741,343 English and 695,431 Spanish words.

A real translation task of moderate size: 6,049 pairs have at most 15 words in both languages, 12,360 at most 20 and
17,883 at most 25. The English text is modern, the Spanish one has the spelling of 1909. Both are in the public domain;
``build_verses.py`` made the table and leaves out what is paired wrongly. See ``README.md`` for sources and defects.
"""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.sequences import END, PAD, START, padded
from datasets.verified import read_verified

FILE = Path(__file__).with_name("verses.tsv.xz")
SHA256 = "edb772e1497a03300ccccd542aba4961a759d0638b3b8b5aa16832b8a34156fe"
REMEDY = "python -m datasets.build_verses"

UNKNOWN = 3
"""The symbol of every word that a vocabulary does not hold."""
SPECIAL = len((PAD, START, END, UNKNOWN))
"""How many symbols stand in front of both vocabularies."""

# fmt: off
ALWAYS_TRAINED_ON = (
    # Law, history, psalms and the prophets that repeat them: Chronicles retells Samuel and Kings, as Isaiah 36-39 and
    # Jeremiah 52 do; 2 Samuel 22 is Psalm 18; Nehemiah 7 is Ezra 2; Micah 4 is Isaiah 2.
    ("Gen", "Exod", "Lev", "Num", "Deut", "Josh", "Judg", "1Sam", "2Sam", "1Kgs", "2Kgs", "1Chr", "2Chr", "Ezra", "Neh",
     "Ps", "Isa", "Jer", "Ezek", "Mic", "Zech"),
    # The gospels tell the same events, often in the same words.
    ("Matt", "Mark", "Luke", "John"),
)
"""Groups of books that share so much, and are so large, that holding one out would leave too little to train on."""

HELD_OUT_WHOLE = (
    ("Ruth",), ("Esth",), ("Job",), ("Prov",), ("Eccl",), ("Song",), ("Lam",), ("Dan",), ("Hos",), ("Joel",), ("Amos",),
    ("Obad",), ("Jonah",), ("Nah",), ("Hab",), ("Zeph",), ("Hag",), ("Mal",), ("Acts",),
    ("Rom", "1Cor", "2Cor", "Gal", "Eph", "Phil", "Col", "1Thess", "2Thess", "1Tim", "2Tim", "Titus", "Phlm"),
    ("Heb",), ("Jas",), ("1Pet", "2Pet", "Jude"), ("1John", "2John", "3John"), ("Rev",),
)
# fmt: on
"""Groups of books, by their OSIS names, of which each is in one part as a whole."""

SHARED_RUN = 10
"""No verse of the validation part has so many words in a row, in either language, in common with one trained on."""


@dataclass(frozen=True, slots=True)
class Verse:
    """One verse in both languages: ``Verse("John", 11, 35, "Jesus wept.", "Y lloró Jesús.")``."""

    book: str
    chapter: int
    verse: int
    english: str
    spanish: str


@dataclass(frozen=True)
class Vocabulary:
    """The words of one language; number ``i`` is encoded as ``SPECIAL + i``, any other word as ``UNKNOWN``."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        """How many symbols there are, with the special ones: what an embedding needs."""
        return SPECIAL + len(self.words)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: SPECIAL + i for i, word in enumerate(self.words)}

    def encode(self, text: str) -> list[int]:
        """The symbols of a text's words, without ``START`` and ``END``."""
        return [self._numbers.get(word, UNKNOWN) for word in tokens(text)]

    def decode(self, symbols: Iterable[int]) -> list[str]:
        """The words up to the first ``END``, without ``START`` and ``PAD``, with ``"<unknown>"`` for ``UNKNOWN``."""
        found = []
        for symbol in symbols:
            if symbol == END:
                break
            if symbol >= UNKNOWN:
                found.append("<unknown>" if symbol == UNKNOWN else self.words[symbol - SPECIAL])
        return found


@dataclass(frozen=True)
class EncodedVerses:
    """Verses, and their encoded, padded words, row by row.

    Attributes:
        verses: the N of them.
        english: ``(N, S)`` int32: the words, ``END``, then ``PAD``.
        spanish: ``(N, T)`` int32: ``START``, the words, ``END``, then ``PAD``.
    """

    verses: tuple[Verse, ...]
    english: NDArray[np.int32]
    spanish: NDArray[np.int32]


@dataclass(frozen=True)
class VersesSplit:
    """A training and a validation part without a book in common, and the vocabularies of the training part."""

    train: EncodedVerses
    validation: EncodedVerses
    english: Vocabulary
    spanish: Vocabulary


@functools.cache
def load(path: Path = FILE) -> tuple[Verse, ...]:
    """Load all pairs in the order of the books.

    Args:
        path: the compressed table.

    Returns:
        30,707 verses of 66 books. Books have their OSIS names, ``"Gen"`` to ``"Rev"``.

    Raises:
        DatasetError: if the file is missing or altered.
    """
    rows = (line.split("\t") for line in read_verified(path, SHA256, REMEDY).decode("utf-8").splitlines())
    return tuple(Verse(book, int(chapter), int(verse), *texts) for book, chapter, verse, *texts in rows)


def tokens(text: str) -> list[str]:
    """The words of a text in lower case, and each punctuation mark as a word of its own."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def vocabulary(texts: Iterable[str], size: int) -> Vocabulary:
    """The most frequent words of texts; of equally frequent ones those that come first in the alphabet.

    Args:
        texts: any texts of one language.
        size: how many symbols there shall be at most, with the special ones.

    Raises:
        ValueError: if ``size`` leaves no place for a word.
    """
    if size <= SPECIAL:
        raise ValueError(f"vocabulary must be more than {SPECIAL}, got {size}")
    counts = Counter(word for text in texts for word in tokens(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary(tuple(ranked[: size - SPECIAL]))


def encode(verses: Sequence[Verse], english: Vocabulary, spanish: Vocabulary) -> EncodedVerses:
    """Encode verses as integers, padded to the longest.

    Args:
        verses: N of them, at least one.
        english: the vocabulary of the English texts.
        spanish: the vocabulary of the Spanish texts.

    Returns:
        ``english`` ``(N, S)`` and ``spanish`` ``(N, T)`` int32, with the verses themselves.

    Raises:
        ValueError: if there is no verse.
    """
    return EncodedVerses(
        tuple(verses),
        padded([[*english.encode(verse.english), END] for verse in verses]),
        padded([[START, *spanish.encode(verse.spanish), END] for verse in verses]),
    )


def runs(text: str) -> set[tuple[str, ...]]:
    """All runs of ``SHARED_RUN`` words in a text, without punctuation; the whole text if it has fewer words."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + SHARED_RUN]) for i in range(max(1, len(words) - SHARED_RUN + 1))}


def split(
    *,
    most_words: int = 20,
    train: int | None = None,
    validation: int = 1000,
    vocabulary_size: int = 8000,
    seed: int = 0,
    verses: Sequence[Verse] | None = None,
) -> VersesSplit:
    """Split the verses into a training and a validation part; the same arguments give the same parts.

    Whole books are held out, not verses or chapters, because books retell each other: 2,097 English verses have ten
    words in a row in common with a verse of another book. Books that share many stay together. What remains, such as
    quotations, is left out of the validation part, so that none of its verses has ten words in a row, or the whole of
    a shorter text, in common with a verse of the training part. Books differ in style and subject, so the task is
    harder than it would be with verses of all books in both parts.

    Args:
        most_words: longer verses are left out; words as spaces divide them, in the language that has more.
        train: number of verses to train on; all that remain if None. A smaller number takes a prefix of the same
            shuffled order, so that growing it only adds verses.
        validation: number of verses held out, drawn from the held-out books. What these hold beyond it is in no part.
        vocabulary_size: symbols of each language at most, with the special ones; the most frequent words of the
            verses trained on.
        seed: seed of the choice of books and of the shuffles.
        verses: the verses to split; by default the committed ones.

    Returns:
        Two parts, each padded to its own longest verse, and the vocabularies. Punctuation marks are words of their
        own, so that the encoded verses are longer than ``most_words``.

    Raises:
        DatasetError: if the file is missing or altered.
        ValueError: if there are fewer verses than asked for, or no place in the vocabularies.
    """
    short = [
        verse
        for verse in (load() if verses is None else verses)
        if max(len(verse.english.split()), len(verse.spanish.split())) <= most_words
    ]
    generator = np.random.default_rng(seed)
    held_out, rest = _by_books(short, validation, generator)
    wanted = 1 if train is None else train
    if not 0 < validation <= len(held_out) or not 0 < wanted <= len(rest):
        raise ValueError(
            f"wanted {validation} verses to hold out and {wanted} to train on, "
            f"{len(held_out)} and {len(rest)} have at most {most_words} words"
        )
    held_out = [held_out[i] for i in generator.permutation(len(held_out))[:validation]]
    rest = [rest[i] for i in generator.permutation(len(rest))[:train]]
    english = vocabulary((verse.english for verse in rest), vocabulary_size)
    spanish = vocabulary((verse.spanish for verse in rest), vocabulary_size)
    return VersesSplit(encode(rest, english, spanish), encode(held_out, english, spanish), english, spanish)


def _by_books(
    verses: Sequence[Verse], validation: int, generator: np.random.Generator
) -> tuple[list[Verse], list[Verse]]:
    """Verses of whole groups of books, so many groups as give enough of them, and those of all other books."""
    group_of = {book: group for group in ALWAYS_TRAINED_ON + HELD_OUT_WHOLE for book in group}
    runs_of = [(verse, runs(verse.english) | runs(verse.spanish)) for verse in verses]
    homes: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for verse, of_verse in runs_of:
        for run in of_verse:
            homes[run].add(group_of[verse.book])
    drawn: set[tuple[str, ...]] = set()
    held_out: list[Verse] = []
    for i in generator.permutation(len(HELD_OUT_WHOLE)):
        if len(held_out) >= validation:
            break
        drawn.add(HELD_OUT_WHOLE[i])
        held_out = [
            verse
            for verse, of_verse in runs_of
            if group_of[verse.book] in drawn and all(homes[run] <= drawn for run in of_verse)
        ]
    return held_out, [verse for verse in verses if group_of[verse.book] not in drawn]
