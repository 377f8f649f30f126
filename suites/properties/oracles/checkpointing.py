"""What checkpointing must not change, and what it costs: float64 NumPy, written from the paper (arXiv:1604.06174).

The chain of layers is one in which nothing rounds when its numbers are small integers: its values and gradients are
then the same in every precision, eager or compiled, and a right implementation gives exactly these.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pass:
    """A chain's value `(B, D_n)`, and the gradients of `sum(cotangent * value)` to its input and to each kernel."""

    value: np.ndarray
    to_input: np.ndarray
    to_kernels: tuple[np.ndarray, ...]


def chain(inputs: np.ndarray, kernels: Sequence[np.ndarray], cotangent: np.ndarray) -> Pass:
    """h_0 = inputs `(B, D_0)`, h_i = relu(h_{i-1} W_i) with W_i `(D_{i-1}, D_i)`; the gradient of relu at 0 is 0."""
    hidden = [inputs.astype(np.float64)]
    for kernel in kernels:
        hidden.append(np.maximum(hidden[-1] @ kernel, 0))
    upstream, to_kernels = cotangent.astype(np.float64), []
    for before, after, kernel in zip(hidden[-2::-1], hidden[:0:-1], kernels[::-1], strict=True):
        upstream = upstream * (after > 0)
        to_kernels.append(before.T @ upstream)
        upstream = upstream @ kernel.T
    return Pass(hidden[-1], upstream, tuple(to_kernels[::-1]))


@dataclass(frozen=True)
class Cost:
    """What a training step costs.

    Attributes:
        peak: the largest number of activations alive at once.
        runs: how often any layer runs forward.
    """

    peak: int
    runs: int


def cost(lengths: Sequence[int]) -> Cost:
    """Play the algorithm of section 4 over segments of these lengths, and count.

    Activation i is what enters layer i, the last one is the network's result. After the forward pass only what enters
    a segment is alive; going back, a segment is run again, and everything of it is dropped with its gradient.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    alive = {int(start) for start in starts[:-1]}
    peak, runs = len(alive), int(starts[-1])
    for start, end in zip(starts[-2::-1], starts[:0:-1], strict=True):
        for layer in range(int(start), int(end)):
            runs += 1
            alive.add(layer + 1)
            peak = max(peak, len(alive))
        alive -= set(range(int(start), int(end) + 1))
    return Cost(peak, runs)
