"""Arrays that several techniques draw: small numbers that every precision represents, and masks."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st


def eighths(shape: tuple[int, ...], limit: int) -> st.SearchStrategy[np.ndarray]:
    """Multiples of 1/8 up to a limit: exact in bfloat16, and readable."""
    return _arrays(st.integers(-8 * limit, 8 * limit), shape).map(lambda integers: integers / 8)


def masks(shape: tuple[int, ...], *, empty: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Masks, that leave every row at least one position unless rows may be empty."""
    drawn = _arrays(st.booleans(), shape)
    return drawn if empty else drawn.filter(lambda mask: bool(mask.any(-1).all()))


def _arrays(elements: st.SearchStrategy[Any], shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    size = math.prod(shape)
    return st.lists(elements, min_size=size, max_size=size).map(lambda drawn: np.array(drawn).reshape(shape))
