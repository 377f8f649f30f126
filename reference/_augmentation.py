"""Augmentation whose randomness belongs to the element: a function of (seed, epoch, index), whoever computes it when.

A stateful generator cannot promise that, since parallel calls reach it in any order. So each element has a key, a value
of the counter-based generator SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2660193.2660195):

    bits(key, i) = mix(key + (i + 1) g),    key of an element = bits(bits(bits(0, seed), epoch), index)

and all random numbers of an element are values of the generator with its key for the state.
Shapes: B of a batch, H W C of an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any

STEP, MIX_1, MIX_2 = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


def fold_in(key: Any, number: Any) -> Tensor:
    """bits(key, number), value `number` of SplitMix64 with the state `key`; integers that broadcast, to uint64."""
    bits = tf.cast(key, tf.uint64) + (tf.cast(number, tf.uint64) + 1) * STEP
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        bits = (bits ^ tf.bitwise.right_shift(bits, np.uint64(shift))) * factor
    return bits ^ tf.bitwise.right_shift(bits, np.uint64(31))


def element_keys(seed: Any, epoch: Any, indices: Any) -> Tensor:
    """bits(bits(bits(0, seed), epoch), index): the keys of elements in an epoch, in the shape of `indices`."""
    return fold_in(fold_in(fold_in(0, seed), epoch), indices)


def uniform(keys: Tensor, count: int) -> Tensor:
    """So many numbers in [0, 1) for each key, `(B,)` uint64 to `(B, count)` float32: multiples of 2**-24.

    A value of the generator gives two of them, from the upper 24 bits of its lower half and of its upper half.
    """
    halves = tf.bitcast(fold_in(tf.expand_dims(keys, 1), tf.range(-(-count // 2))), tf.uint32)  # (B, count / 2, 2)
    mantissas = tf.bitwise.right_shift(halves, np.uint32(8))
    return tf.reshape(tf.cast(mantissas, tf.float32), (tf.shape(keys)[0], -1))[:, :count] * 2.0**-24


def augment_images(images: Tensor, keys: Tensor, flip: bool = True, shift: int = 0, noise: float = 0.0) -> Tensor:
    """Mirror, move and disturb every image as the numbers u of its key say.

    It is mirrored from left to right where u_0 < 1/2, then moved down by floor(u_1 (2 shift + 1)) - shift pixels and to
    the right by as many from u_2, with zeros coming in; from u_3 on, noise (2 u - 1) is added to its values in turn.

    Args:
        images: `(B, H, W, C)`, floating point.
        keys: `(B,)` uint64.
        flip: whether any is mirrored.
        shift: the most pixels that one is moved by.
        noise: the most that a value changes by.

    Returns:
        `(B, H, W, C)` in the dtype of the images.

    Raises:
        ValueError: the images have another rank, or are integers.
    """
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4 or not images.dtype.is_floating:
        raise ValueError(f"`images` must be (B, H, W, C), floating point; got {images.shape}, {images.dtype.name}")
    height, width, channels = images.shape[1:]
    numbers = uniform(keys, 3 + (height * width * channels if noise else 0))
    down, right = (tf.cast(numbers[:, i : i + 1] * (2 * shift + 1), tf.int32) - shift for i in (1, 2))  # (B, 1)
    rows, columns = tf.range(height) - down, tf.range(width) - right  # (B, H), (B, W): where each of them comes from
    if flip:
        columns = tf.where(numbers[:, :1] < 0.5, width - 1 - columns, columns)
    moved = tf.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    moved = tf.gather(moved, rows + shift, batch_dims=1)  # (B, H, W + 2 shift, C)
    moved = tf.gather(tf.transpose(moved, (0, 2, 1, 3)), columns + shift, batch_dims=1)  # (B, W, H, C)
    moved = tf.transpose(moved, (0, 2, 1, 3))
    if noise:
        change = tf.reshape(2 * numbers[:, 3:] - 1, tf.shape(images))
        moved += tf.cast(change, images.dtype) * noise
    return moved
