"""Scores of dot-product attention, which attention at once and attention by blocks share.

What a query and a key have in common, who may attend to whom, and which arguments fit together. B batch, T query
length, S source length, N heads, H head size: arguments come as `(B, T or S, N, H)`; everything from the scores on has
the heads in front, `(B, N, T, S)`, where a matrix product wants them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array, a keras.Variable

LOWEST_SCORE = float(np.finfo(np.float32).min)  # of a masked position; finite, so that no difference of two is NaN


def checked(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The arguments as tensors, the mask with four axes; refuse what does not fit, and never broadcast a size."""
    query, keys, values = (ops.convert_to_tensor(each) for each in (query, keys, values))
    tensors = {"query": (query, "BTNH"), "keys": (keys, "BSNH"), "values": (values, "BSNV")}
    if mask is not None:
        mask = ops.convert_to_tensor(mask)
        if keras.backend.standardize_dtype(mask.dtype) != "bool":
            raise ValueError(f"`mask` must be bool, True where to attend; its dtype is {mask.dtype}")
        tensors["mask"] = (mask, {2: "BS", 3: "BTS"}.get(len(mask.shape), "BNTS"))
    sizes: dict[str, tuple[int, str]] = {}
    for name, (tensor, axes) in tensors.items():
        shape = tuple(tensor.shape)
        if len(shape) != len(axes):
            raise ValueError(f"`{name}` must have shape ({', '.join(axes)}); its shape is {shape}")
        for letter, size in zip(axes, shape, strict=True):
            if size is None or (name == "mask" and letter != "S" and size == 1):
                continue
            known, where = sizes.setdefault(letter, (size, name))
            if size != known:
                raise ValueError(
                    f"`{name}` must have shape ({', '.join(axes)}) with {letter} = {known} as in `{where}`; "
                    f"its shape is {shape}"
                )
    if mask is not None and len(mask.shape) < 4:
        mask = ops.expand_dims(mask, 1) if len(mask.shape) == 3 else mask[:, None, None]  # (B, 1, T or 1, S)
    return query, keys, values, mask


def common_dtypes(*tensors: Tensor) -> tuple[str, str]:
    """The common dtype, and the one for scores: float32 at least."""
    dtype = keras.backend.result_type(*(each.dtype for each in tensors), float)
    return dtype, keras.backend.result_type(dtype, "float32")


def heads_first(tensor: Tensor) -> Tensor:
    """`(B, T, N, H)` to `(B, N, T, H)`, and back."""
    return ops.transpose(tensor, (0, 2, 1, 3))


def scale_of(query: Tensor, scale: float | None) -> float:
    """The scale of the scores: `H ** -0.5` if None is given."""
    return query.shape[-1] ** -0.5 if scale is None else scale


def dot_products(query: Tensor, keys: Tensor) -> Tensor:
    """e_ts = q_t . k_s, of a query that is scaled already: `(B, N, T, H)` and `(B, N, S, H)` to `(B, N, T, S)`."""
    return ops.matmul(query, ops.transpose(keys, (0, 1, 3, 2)))


def attended_positions(
    mask: Tensor | None,
    causal: bool,
    offset: int | Tensor,
    length: int | Tensor,
    start: int | Tensor,
    size: int | Tensor,
) -> Tensor | None:
    """Which of the keys `start` to `start + size` each of `length` queries may attend to; None if each may to all.

    Returns:
        bool, `(B, N, T, size)`, where B, N and T may be 1.
    """
    allowed = None if mask is None else part_of(mask, 3, start, size)
    if causal:
        latest = ops.arange(length) + offset  # (T,)
        triangle = ops.arange(size) + start <= ops.expand_dims(latest, 1)  # (T, size)
        allowed = triangle[None, None] if allowed is None else ops.logical_and(allowed, triangle)
    return allowed


def part_of(tensor: Tensor, axis: int, start: int | Tensor, size: int | Tensor) -> Tensor:
    """`size` elements along one of four axes."""
    starts, sizes = [0] * 4, list(ops.shape(tensor))
    starts[axis], sizes[axis] = start, size
    return ops.slice(tensor, starts, sizes)


def cleared(source: Tensor, allowed: Tensor | None) -> Tensor:
    """Keys or values `(B, N, S, H)` with zeros where no query attends: 0 * NaN is NaN, in sums and in gradients."""
    return source if allowed is None else ops.where(ops.any(allowed, axis=2)[..., None], source, 0)
