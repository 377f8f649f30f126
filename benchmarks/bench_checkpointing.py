"""Races of checkpointing: what a training step pays for running its segments again, and what memory that saves.

The deep stack of layers is cut into sqrt(n) segments, each through an implementation's `checkpoint`; `without` keeps
every activation. The memory is that of the whole process, beyond what the framework took before it built anything.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import costs
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload

SIZES = {
    "36-dense": {"dense": 36, "blocks": 0, "width": 64, "side": 8, "batch": 32_768},
    **{
        name: {"dense": layers, "blocks": 0, "width": 256, "side": 8, "batch": 8192}
        for name, layers in (("16-dense-wide", 16), ("36-dense-wide", 36), ("64-dense", 64))
    },
    "16-residual": {"dense": 0, "blocks": 16, "width": 32, "side": 32, "batch": 64},
}
"""How many layers of each kind, their units or filters, the side of the images, and how many of them in a step.

Activations take some hundreds of megabytes, weights twenty at most. The first stack, which is narrow, is the one of the
quick scale. Three others of dense layers differ in their depth alone: memory grows with its square root where segments
are checkpointed.
"""


WORKLOADS = tuple(
    Workload(
        "checkpointing",
        name,
        sizes,
        dict.fromkeys(("quick",) if name == "36-dense" else ("standard", "paper"), ("train",)),
    )
    for name, sizes in SIZES.items()
)


def model(subject: Any, parameters: Mapping[str, int]) -> Any:
    """The network, from images (B, side, side, 1) to float32 logits (B, 10)."""
    return _model(subject.precision, parameters, subject.checkpoint)


def without(subject: Any, parameters: Mapping[str, int]) -> Any:
    """The same network, whose backward pass runs nothing again."""
    return _model(subject.precision, parameters, lambda function: function)


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """Dense layers or residual blocks, each segment of which is computed again for the gradient."""
    rows, side, wide = (parameters[name] for name in ("batch", "side", "width"))
    if parameters["dense"]:
        stack = [[costs.dense(rows, wide, wide)] for _ in range(parameters["dense"])]
        first, last = costs.dense(rows, side * side, wide, data=True), costs.dense(rows, wide, 10)
    else:
        stack = [[costs.convolution(rows, side, 3, wide, wide)] * 2 for _ in range(parameters["blocks"])]
        first = costs.convolution(rows, side, 3, 1, wide, data=True)
        last = costs.dense(rows, side * side * wide, 10)
    segments = [[layer for part in segment for layer in part] for segment in _segments(stack)]
    if not without:
        segments = [costs.checkpointed(segment, sum_at_end=parameters["blocks"] > 0) for segment in segments]
    layers = [first, *itertools.chain.from_iterable(segments), last]
    return costs.step(layers, operation, batch=rows * (side * side + 1), logits=rows * 10, width=width)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import digits

    digits.load()


def batch(parameters: Mapping[str, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real digits, again from the first when they run out: images (B, side, side, 1) float32 and labels (B,) int32."""
    from datasets import digits

    part = digits.split(side=parameters["side"], seed=seed).train
    rows = np.arange(parameters["batch"]) % len(part.labels)
    return part.images[rows], part.labels[rows]


def _model(precision: str, parameters: Mapping[str, int], checkpoint: Callable[[Any], Any]) -> Any:
    import keras
    from keras import layers

    side, width = parameters["side"], parameters["width"]
    images = keras.Input((side, side, 1))
    if parameters["dense"]:
        hidden = layers.Dense(width, dtype=precision)(layers.Flatten(dtype=precision)(images))  # (B, width)
        stack = [
            layers.Dense(width, "relu", kernel_initializer="he_normal", dtype=precision)
            for _ in range(parameters["dense"])
        ]
    else:
        hidden = layers.Conv2D(width, 3, padding="same", dtype=precision)(images)  # (B, side, side, width)
        stack = [_residual(width, precision) for _ in range(parameters["blocks"])]
    hidden = layers.Flatten(dtype=precision)(_stack(stack, checkpoint, precision)(hidden))
    return keras.Model(images, layers.Dense(10, dtype="float32")(hidden))


def _residual(width: int, precision: str) -> Any:
    """A block x + conv(relu(conv(relu(x)))), from (B, side, side, width) to the same."""
    import keras
    from keras import layers

    class Residual(layers.Layer):
        def build(self, shape: Any) -> None:
            start = keras.initializers.HeNormal()
            self.convolutions = [
                layers.Conv2D(width, 3, padding="same", kernel_initializer=start, dtype=precision) for _ in range(2)
            ]
            for convolution in self.convolutions:
                convolution.build(shape)

        def call(self, inputs: Any) -> Any:
            hidden = inputs
            for convolution in self.convolutions:
                hidden = convolution(keras.ops.relu(hidden))
            return inputs + hidden

    return Residual(dtype=precision)


def _segments(chosen: Sequence[Any]) -> list[Sequence[Any]]:
    """About sqrt(n) segments of as many layers."""
    length = round(len(chosen) ** 0.5)
    return [chosen[start : start + length] for start in range(0, len(chosen), length)]


def _stack(chosen: Sequence[Any], checkpoint: Callable[[Any], Any], precision: str) -> Any:
    """A layer of layers that keep the shape of their input, cut into sqrt(n) segments, each checkpointed."""
    import keras

    def chain(part: Sequence[Any]) -> Callable[[Any], Any]:
        def run(tensor: Any) -> Any:
            for layer in part:
                tensor = layer(tensor)
            return tensor

        return run

    segments = _segments(chosen)

    class Stack(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(dtype=precision)
            self.chosen = list(chosen)

        def build(self, shape: Any) -> None:
            for layer in self.chosen:
                layer.build(shape)

        def call(self, inputs: Any) -> Any:
            for segment in segments:
                inputs = checkpoint(chain(segment))(inputs)  # a new function: JAX remembers what an old one closed over
            return inputs

    return Stack()
