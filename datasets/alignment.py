"""Whether the verses of two translations that bear the same number say the same thing.

Translations number verses in different ways. Where one of them ends a chapter earlier, or counts a heading, all verses
after it are paired with a neighbour's translation. That shows in the words: those that stand for each other occur in
the same pairs all over the text, so a verse shares more of them with its own translation than with another verse's.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

Reference = tuple[str, int, int]
"""Book, chapter and verse."""

BETTER = 1.15
"""How many times better than its own partner a verse must fit a neighbour's to count as shifted."""

SHIFTED = 5
"""A chapter is shifted if at least so many of its verses fit the partner of the verse at the same distance better."""

FARTHEST = 5
"""The largest distance, in verses, that is tried in both directions."""

_Words = tuple[frozenset[str], frozenset[str]]


class _Lexicon:
    """How much words of two languages belong together.

    By Dice's coefficient: twice the pairs with both words, over the pairs with the one plus the pairs with the other; 0
    where both occur in one pair only.
    """

    def __init__(self, pairs: Mapping[Reference, _Words]) -> None:
        counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        both: dict[str, Counter[str]] = defaultdict(Counter)
        for left, right in pairs.values():
            counts[0].update(left)
            counts[1].update(right)
            for word in left:
                both[word].update(right)
        self.dice = {
            word: {other: 2 * n / (counts[0][word] + counts[1][other]) for other, n in others.items() if n > 1}
            for word, others in both.items()
        }

    def fit(self, left: frozenset[str], right: frozenset[str]) -> float:
        """From 0 to 1: how well each word finds its best partner in the other verse, on average over both verses."""
        if not left or not right:
            return 0.0
        best_left, best_right = 0.0, dict.fromkeys(right, 0.0)
        for word in left:
            partners = self.dice.get(word, {})
            found = 0.0
            for other in right:
                value = partners.get(other, 0.0)
                found = max(found, value)
                best_right[other] = max(best_right[other], value)
            best_left += found
        return (best_left / len(left) + sum(best_right.values()) / len(right)) / 2


def words(text: str) -> frozenset[str]:
    """The different words of a text, in lower case."""
    return frozenset(re.findall(r"\w+", text.lower()))


def shifted_chapters(pairs: Mapping[Reference, tuple[str, str]]) -> dict[tuple[str, int], int]:
    """The chapters in which a run of verses is paired with another verse's translation.

    Args:
        pairs: both texts of each verse. The more of them, the better words' partners are known; a few thousand do.

    Returns:
        How many of its verses fit a neighbour better, for each such chapter. It does not see shifts of fewer than
        ``SHIFTED`` verses.
    """
    bags = {reference: (words(left), words(right)) for reference, (left, right) in pairs.items()}
    lexicon = _Lexicon(bags)
    shifted: Counter[tuple[str, int, int]] = Counter()
    for (book, chapter, verse), (left, right) in bags.items():
        own = lexicon.fit(left, right)
        fits = {
            distance: lexicon.fit(left, bags[book, chapter, verse + distance][1])
            for distance in range(-FARTHEST, FARTHEST + 1)
            if distance and (book, chapter, verse + distance) in bags
        }
        if fits and (best := max(fits, key=lambda distance: fits[distance])) and fits[best] > BETTER * own:
            shifted[book, chapter, best] += 1
    found: dict[tuple[str, int], int] = {}
    for (book, chapter, _), count in shifted.items():
        if count >= SHIFTED:
            found[book, chapter] = max(count, found.get((book, chapter), 0))
    return found
