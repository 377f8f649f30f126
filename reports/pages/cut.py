"""What a page holds of long tables, so that it opens at once: what differs first. The tables beside it have all."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def kept(
    items: Sequence[T], most: int, differs: Callable[[T], bool], size: Callable[[T], int] = lambda _: 1
) -> list[T]:
    """As many items as make up `most`, at least one: those that differ before others, in the order that they had."""
    ranked = sorted(range(len(items)), key=lambda at: not differs(items[at]))  # is stable
    chosen: list[int] = []
    total = 0
    for at in ranked:
        total += size(items[at])
        if chosen and total > most:
            break
        chosen.append(at)
    return [items[at] for at in sorted(chosen)]


def fair(sizes: Sequence[int], most: int) -> list[int]:
    """How much of each group a page holds that holds `most`: small ones whole, and of all others the same."""
    left, shares = most, [0] * len(sizes)
    for done, at in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[at] = min(sizes[at], left // (len(sizes) - done))
        left -= shares[at]
    return shares


def told(shown: int, of: int, what: str, first: str, file: str) -> str:
    """What a page leaves to its tables; empty where it has everything."""
    return "" if shown >= of else f"Here are {shown} of {of} {what}, {first} first; {file} has all."
