"""What a step's results show of its work, for `benchmarks.harness.judge` to compare; runs in a worker.

Implementations draw their weights in orders and ways of their own, so their results differ. With equal weights they
must not: `equalize` sets every weight to numbers that follow from its shape alone. So it does not matter in which order
an implementation creates weights of one shape, nor, since square ones are symmetric, whether it transposes them.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.calls import Step

DRAWN = 1 << 16
"""Numbers of a weight that are drawn; a larger one repeats them."""

MORE = 3
"""Steps of training that are called after the rounds, to see whether each trains."""

PROBE = 7
"""The draw of the inputs on which steps are compared after the last round."""

Values = list[float]


def of_step(step: Step, kept: Sequence[tuple[int, Values]], before: Values) -> dict[str, Any]:
    """Everything that tells whether the work of timed rounds was done.

    Args:
        step: that was timed.
        kept: by draw, `values` of the last call of some timed rounds.
        before: `weights_of` the model before these rounds.

    Returns:
        ``values``, by draw; ``again``, those of the last of these draws, computed twice more; ``weights``, their
        shapes; ``trained``, how many of them moved in the rounds or in `MORE` steps after them, and ``updates``, in how
        many of those any did; ``probe``, what two calls with equal weights returned. What cannot be known is left out.
    """
    found: dict[str, Any] = {}
    if step.inputs is None:
        return found
    if not step.trains and kept:
        found["values"] = {str(draw): values for draw, values in kept}
        found["again"] = [_called(step, kept[-1][0]) for _ in range(2)]
    if step.model is not None:
        found["weights"] = sorted([*variable.shape] for variable in _weights(step.model))
        if step.trains:
            found |= _training(step, before)
        if not step.equal:
            found["probe"] = [_with_equal_weights(step) for _ in range(2)]
    return found


def _training(step: Step, before: Values) -> dict[str, int]:
    """Which weights moved, and how often: in all rounds together, and in each of some more steps.

    A step cannot tell these from the timed ones. They show whom the rounds alone do not: who leaves out some calls.
    """
    seen = [before, weights_of(step.model)]
    for number in range(MORE):
        _called(step, PROBE + number)
        seen.append(weights_of(step.model))
    moved = [[now != then for then, now in zip(*pair, strict=True)] for pair in itertools.pairwise(seen)]
    return {"trained": sum(map(any, zip(*moved, strict=True))), "updates": sum(map(any, moved))}


def values(result: Any) -> Values:
    """One number for each tensor of a result: the number itself, or how long the vector is."""
    return [_number(leaf) for leaf in keras.tree.flatten(result) if leaf is not None]


def _number(tensor: Any) -> float:
    array = np.asarray(ops.convert_to_numpy(tensor)).astype(np.float64)
    return float(array.reshape(())) if array.size == 1 else float(np.linalg.norm(array))


def weights_of(model: Any) -> Values:
    """A number for each trainable weight that changes whenever one of its elements does, but by the rarest chance."""
    return [_number(variable.value) for variable in model.trainable_variables] if model is not None else []


def equalize(model: Any) -> None:
    """Give the model weights that follow from their shapes, and let its optimizer forget what it has seen."""
    for variable in _weights(model):
        variable.assign(_numbers(tuple(variable.shape)))
    for variable in getattr(getattr(model, "optimizer", None), "variables", ()):
        if len(variable.shape):  # a momentum, and not a rate or a count
            variable.assign(np.zeros(variable.shape, "float32"))


def _weights(model: Any) -> list[Any]:
    """Those that hold real numbers: a generator's seeds stay what they are."""
    return [variable for variable in model.weights if "float" in str(variable.dtype)]


@functools.cache
def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Around one where the shape is a vector's, which may be a scale or a variance, and around zero in a kernel.

    Square kernels are small enough for a row of many layers with the same one not to grow. Embeddings and logits are
    not square: they are large enough for what lies between them to count in a loss.
    """
    generator, size = np.random.default_rng(shape), math.prod(shape)
    if len(shape) < 2:
        return np.resize(generator.uniform(0.5, 1.5, min(size, DRAWN)), shape).astype("float32")
    numbers = np.resize(generator.standard_normal(min(size, DRAWN)), shape)
    if shape[-1] == shape[-2]:
        numbers = (numbers + np.swapaxes(numbers, -1, -2)) / 8**0.5
    elif len(shape) == 2:
        return (2 * numbers / min(shape) ** 0.5).astype("float32")
    return (numbers / math.prod(shape[:-1]) ** 0.5).astype("float32")


def _called(step: Step, draw: int) -> Values:
    """What the step returns for the inputs with which the rounds of a draw end."""
    ((inputs,),) = step.feed(1, draw)
    return values(step.call(*inputs))


def _with_equal_weights(step: Step) -> Values:
    equalize(step.model)
    if step.trains:
        step.model.reset_metrics()  # what a step of training returns is a mean over all since then
    return _called(step, PROBE)
