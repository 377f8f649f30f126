"""Fans: how many inputs reach an output of a layer, and how many outputs an input reaches, by its kernel's shape.

Kernels have the shapes of Keras. `k...` stands for the taps of any number of spatial axes, C and F for channels:

    kind         shape               fan_in       fan_out
    dense        (D, F)              D            F
    conv         (k..., C / g, F)    prod(k) C/g  prod(k) F/g      in g groups, 1 unless told; also a pointwise half
    depthwise    (k..., C, m)        prod(k)      prod(k) m        also its depthwise half; an output sees one channel
    transposed   (k..., F, C)        prod(k) C    prod(k) F        the output channels come first
    embedding    (V, D)              1            D                a lookup reads one row, however many there are

A convolution in groups has kernels like any other, so that it must be told: its shape gives fan_in, not fan_out.
Strides and borders are left out of the fans, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = Sequence[int]

KINDS = ("dense", "conv", "depthwise", "transposed", "embedding")


class Fans(NamedTuple):
    """How many inputs reach an output of a layer, and how many outputs an input reaches."""

    fan_in: int
    fan_out: int


def fans(shape: Shape, kind: str | None = None, groups: int = 1) -> Fans:
    """fan_in and fan_out of a kernel, by the table above.

    Args:
        shape: of the kernel, in Keras's order of axes.
        kind: one of `KINDS`; if None, "dense" for two axes and "conv" for more, since a shape alone does not tell.
        groups: of a convolution; each reaches F / groups of the outputs.

    Raises:
        ValueError: unknown kind, or a shape or groups that a kernel of this kind cannot have.
    """
    shape = checked(shape)
    kind = kind or ("dense" if len(shape) == 2 else "conv")
    one_of("kind", kind, KINDS)
    flat = kind in ("dense", "embedding")
    if len(shape) < 2 or (len(shape) == 2) != flat:
        expected = "2 axes" if flat else "3 axes or more: taps, then channels"
        raise ValueError(f"a {kind} kernel has {expected}; its shape is {tuple(shape)}. A vector has no fans")
    *window, first, last = shape
    if groups < 1 or last % groups or (groups > 1 and kind != "conv"):
        raise ValueError(f"a {kind} kernel of shape {tuple(shape)} cannot be in {groups} groups")
    taps = math.prod(window)
    match kind:
        case "depthwise":
            return Fans(taps, taps * last)
        case "transposed":
            return Fans(taps * last, taps * first)
        case "embedding":
            return Fans(1, last)
        case _:
            return Fans(taps * first, taps * last // groups)


def one_of(name: str, value: object, valid: Sequence[str]) -> None:
    """Refuse a value that is none of the valid ones."""
    if value not in valid:
        raise ValueError(f"{name} must be one of {', '.join(valid)}; it is {value!r}")


def checked(shape: Sequence[Any], axes: int = 1) -> tuple[int, ...]:
    """A kernel's shape as integers; refuse what is none, or has too few axes."""
    if len(shape) < axes or not all(isinstance(size, (int, np.integer)) and size > 0 for size in shape):
        raise ValueError(f"a kernel's shape has {axes} or more positive integers; it is {tuple(shape)}")
    return tuple(map(int, shape))
