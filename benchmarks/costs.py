"""What a step computes and moves, in closed form: exact integers from sizes alone, without a framework.

**Multiply-adds.** Counted are the products: of matrices, convolutions, scores and what they weigh. One multiplication
with the addition that takes up its result counts once, as in He et al. 2015 (arXiv:1512.03385, table 1), and is two
floating-point operations. As in published figures, zeros of padding and masked scores are counted, since they are
multiplied too. Left out is whatever takes a few operations per number and not a sum over many: biases, activations,
softmax, normalisation, pooling, dropout, lookups, losses, and what an optimizer does to a weight.

**A gradient** of a product of two factors is one more product of the same size for each factor to which it is due. So
forward and backward pass cost three times the forward pass, but for a layer that reads data, which has no gradient:
twice. Whatever is run again for the gradient (checkpointing, attention by blocks) is counted again: the number says
what the machine is asked to do, not the least that would do ("hardware" and not "model" FLOPs, Chowdhery et al. 2022,
arXiv:2204.02311, appendix B). The operation "train" adds no product to "gradient".

**Bytes** are the compulsory traffic, at which any cache must fetch or write something for the first time in a step:
every array that outlives its layer counts once, however often it is read. These are

    inference    weights; the batch (inputs and targets); logits
    gradient     as before; the gradients of all weights; every activation that a gradient of a product is made of,
                 which is each factor that is no weight
    train        as before; the velocity of momentum SGD

Weights, their gradients, velocities and logits take 4 bytes a number, and so do the pixels and integers of a batch;
activations take the bytes of the precision's compute dtype. Moving statistics are left out. So intensity, multiply-adds
per byte, is an upper bound: real kernels move more. A loop whose steps wait for each other (decoding, micro-batches) is
the sum over its steps, since weights then come by once for each.

The figures are a workload's. Peers are asked for the same work; what they do beyond or beside it is not in there.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks import controls
from benchmarks.workload import WITHOUT, Contender

VARIABLE = 4
"""Bytes of a number that is a weight, a logit, or part of a batch."""

WIDTHS = {"float32": 4, "mixed_float16": 2, "mixed_bfloat16": 2}
"""Bytes of an activation, by precision."""


@dataclass(frozen=True)
class Cost:
    """What one step costs: its multiply-adds, and the bytes of its compulsory traffic."""

    multiply_adds: int
    bytes: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.multiply_adds + other.multiply_adds, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.multiply_adds * times, self.bytes * times)


@dataclass(frozen=True)
class Layer:
    """One product, or weights without one.

    Attributes:
        multiply_adds: of the forward pass.
        weights: trained numbers.
        kept: numbers that the gradient needs and that are no weights; zero where another layer keeps the same ones.
        gradients: to how many of the two factors a gradient is due.
        forwards: how often the product is computed where there is a gradient; 2 if it is run again.
    """

    multiply_adds: int = 0
    weights: int = 0
    kept: int = 0
    gradients: int = 2
    forwards: int = 1


def of(contender: Contender) -> Cost | None:
    """What a step of a contender costs; ``None`` where arithmetic is not what the work is (batches, random numbers)."""
    name, precision = contender.implementation.name, contender.precision
    if name in controls.KERNELS:
        return Cost(**controls.work(name, contender.device, precision))
    bench = importlib.import_module(f"benchmarks.bench_{contender.workload.technique}")
    if not hasattr(bench, "cost"):
        return None
    without, parameters = name == WITHOUT, contender.workload.parameters
    cost: Cost = bench.cost(parameters, contender.operation, without=without, width=WIDTHS[precision])
    return cost


def step(layers: Sequence[Layer], operation: str, *, batch: int, logits: int, width: int) -> Cost:
    """One step of a network.

    Args:
        layers: of the network, in any order.
        operation: "inference", "gradient" or "train".
        batch: numbers in the inputs and targets.
        logits: numbers in the result.
        width: bytes of an activation.

    Raises:
        ValueError: the operation is none of these.
    """
    weights = sum(layer.weights for layer in layers)
    given = VARIABLE * (weights + batch + logits)
    if operation == "inference":
        return Cost(sum(layer.multiply_adds for layer in layers), given)
    if operation not in ("gradient", "train"):
        raise ValueError(f"the operation must be inference, gradient or train, not {operation!r}")
    products = sum(layer.multiply_adds * (layer.forwards + layer.gradients) for layer in layers)
    moved = given + VARIABLE * weights + width * sum(layer.kept for layer in layers)
    return Cost(products, moved + (VARIABLE * weights if operation == "train" else 0))


# Layers


def lookup(rows: int, size: int) -> Layer:
    """A table of vectors, such as an embedding: the whole of it, of which a batch may need a part."""
    return Layer(weights=rows * size)


def normalization(size: int) -> Layer:
    """A trained scale and offset for each of `size` channels: batch or layer normalisation."""
    return Layer(weights=2 * size)


def dense(
    rows: int, inputs: int, outputs: int, *, bias: bool = True, data: bool = False, shared: bool = False
) -> Layer:
    """Rows times a kernel: `(rows, inputs)` to `(rows, outputs)`.

    Args:
        rows: examples, or examples times positions.
        inputs: numbers in a row.
        outputs: columns of the kernel.
        bias: whether there is one.
        data: whether the rows are the batch itself, to which no gradient is due, and which is counted already.
        shared: whether the rows are kept by another layer already.
    """
    kept = 0 if data or shared else rows * inputs
    return Layer(rows * inputs * outputs, (inputs + bias) * outputs, kept, 1 if data else 2)


def convolution(
    batch: int,
    side: int,
    kernel: int,
    channels: int,
    filters: int,
    *,
    strides: int = 1,
    bias: bool = True,
    data: bool = False,
    shared: bool = False,
) -> Layer:
    """Square kernels over square images: `(batch, side, side, channels)` to `(batch, out, out, filters)`.

    Out is `strided(side, strides)`, as with padding "same"; bias, data and shared are as in `dense`.
    """
    taps, places = kernel * kernel * channels, batch * strided(side, strides) ** 2
    kept = 0 if data or shared else batch * side * side * channels
    return Layer(places * taps * filters, (taps + bias) * filters, kept, 1 if data else 2)


def strided(side: int, strides: int) -> int:
    """The side of an image after a padded convolution: ceil(side / strides)."""
    return -(-side // strides)


def product(pairs: int, rows: int, inner: int, columns: int) -> Layer:
    """So many products `(rows, inner)` times `(inner, columns)` of activations, both of which are kept."""
    return Layer(pairs * rows * inner * columns, kept=pairs * inner * (rows + columns))


def dot_product_attention(pairs: int, targets: int, sources: int, size: int, *, by_blocks: bool = False) -> list[Layer]:
    """Scores and weighted sum of queries `(targets, size)`, keys and values `(sources, size)`, in each of `pairs`.

    By blocks, no weights are kept but the logarithm of every row's total, and scores are computed again for the
    gradient (Dao et al. 2022, arXiv:2205.14135, appendix B.4): 7 products in all in place of 6.
    """
    scores = product(pairs, targets, size, sources)
    weighted = product(pairs, targets, sources, size)
    if by_blocks:
        return [replace(scores, forwards=2), replace(weighted, kept=pairs * (sources * size + targets))]
    return [scores, weighted]


def multi_head_attention(
    batch: int,
    targets: int,
    width: int,
    heads: int,
    *,
    memory: int | None = None,
    shared: bool = False,
    bias: bool = True,
    by_blocks: bool = False,
) -> list[Layer]:
    """Four projections, scores and weighted sum; `heads` divide `width` (Vaswani et al. 2017, section 3.2.2).

    Args:
        batch: examples.
        targets: positions that attend.
        width: of every position's vector.
        heads: N, each of size width / N.
        memory: positions that are attended to, where these are others.
        shared: whether the memory is kept by another layer already.
        bias: whether the projections have one.
        by_blocks: as in `dot_product_attention`.
    """
    sources = targets if memory is None else memory
    return [
        dense(batch * targets, width, width, bias=bias),
        dense(batch * sources, width, width, bias=bias, shared=shared or memory is None),
        dense(batch * sources, width, width, bias=bias, shared=True),
        *dot_product_attention(batch * heads, targets, sources, width // heads, by_blocks=by_blocks),
        dense(batch * targets, width, width, bias=bias),
    ]


def additive_attention(batch: int, targets: int, sources: int, width: int, units: int) -> list[Layer]:
    """Two projections, v . tanh(q + k) for every pair of positions, and weighted sum (Bahdanau et al. 2015, A.1.2).

    The tanh of every pair is kept, `batch` times `targets` times `sources` times `units` numbers.
    """
    return [
        dense(batch * targets, width, units, bias=False),
        dense(batch * sources, width, units, bias=False),
        dense(batch * targets * sources, units, 1, bias=False),
        replace(product(batch, targets, sources, width), kept=batch * targets * sources),  # values are the keys' input
    ]


def checkpointed(layers: Iterable[Layer], *, sum_at_end: bool = False) -> list[Layer]:
    """A segment that is run again for the gradient: it keeps its input, which the first layer reads, and no more.

    Where it ends in a sum, as residual blocks do, the last product is not run again: no gradient needs its result.
    """
    first, *others = (replace(layer, forwards=layer.forwards + 1) for layer in layers)
    again = [first, *(replace(layer, kept=0) for layer in others)]
    return [*again[:-1], replace(again[-1], forwards=again[-1].forwards - 1)] if sum_at_end else again
