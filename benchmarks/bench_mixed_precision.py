"""Races of mixed precision: does a training step with it pay on this machine?

The technique's step runs under the contender's precision with loss scaling; `without` is the same network trained in
float32 without loss scaling, whatever the precision asked for is. So at a mixed precision the ratio to `without` says
what the whole technique saves or costs, and in float32 what loss scaling costs by itself. bfloat16 needs no scaling;
it has it here so that the precisions differ in nothing else.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks import costs
from benchmarks.calls import Inputs, Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload
from suites.implementations import SCALES

LEARNING_RATE = 0.01
QUICK = {"conv-16x16": ("train",), "dense-1024": ("train",)}
"""What is timed at quick scale, by workload."""

SIZES = {
    "conv-16x16": {"side": 16, "convolutions": 2, "dense": 0, "width": 32, "batch": 32},
    "conv-32x32": {"side": 32, "convolutions": 4, "dense": 0, "width": 64, "batch": 64},
    "dense-1024": {"side": 8, "convolutions": 0, "dense": 2, "width": 1024, "batch": 128},
    "dense-4096": {"side": 8, "convolutions": 0, "dense": 4, "width": 4096, "batch": 512},
}
"""Side of the images, how many layers of each kind, and their width."""

WORKLOADS = tuple(
    Workload(
        "mixed_precision",
        name,
        sizes,
        {"quick": QUICK.get(name, ()), "standard": ("train",), "paper": ("train",)},
        mixed=SCALES,
    )
    for name, sizes in SIZES.items()
)


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One training step under the subject's precision, with its loss scaling around SGD."""
    import keras

    optimizer = subject.LossScaledOptimizer(keras.optimizers.SGD(LEARNING_RATE, momentum=0.9))
    return _step(subject.precision, optimizer, parameters, operation, seed)


def without(_subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One training step in float32, with SGD alone."""
    import keras

    return _step("float32", keras.optimizers.SGD(LEARNING_RATE, momentum=0.9), parameters, operation, seed)


def _step(policy: str, optimizer: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """Train on batches of digits that lie on the device."""
    import keras

    from datasets import digits

    if operation != "train":
        raise ValueError(f"mixed precision is timed in training steps, operation 'train'; got {operation!r}")
    part, rows = digits.split(side=parameters["side"], seed=seed).train, parameters["batch"]
    inputs = Inputs(part.images[:rows], part.labels[:rows])
    model = _network(policy, parameters)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    compiled = keras.backend.backend() == "jax"  # which runs op by op otherwise; TensorFlow has a graph without XLA
    model.compile(optimizer, loss, jit_compile=compiled, auto_scale_loss=False)
    return Step(model.train_on_batch, inputs, model, trains=True)


def _network(policy: str, parameters: Mapping[str, int]) -> Any:
    """From images (B, side, side, 1) to float32 logits (B, 10); all but the last layer under the policy."""
    import keras
    from keras import layers

    width, relu = parameters["width"], {"activation": "relu", "dtype": policy}
    side = parameters["side"]
    convolutions = [layers.Conv2D(width, 3, padding="same", **relu) for _ in range(parameters["convolutions"])]
    pool = layers.GlobalAveragePooling2D(dtype=policy) if convolutions else layers.Flatten(dtype=policy)
    dense = [layers.Dense(width, **relu) for _ in range(parameters["dense"])]
    logits = layers.Dense(10, dtype="float32")
    return keras.Sequential([keras.Input((side, side, 1)), *convolutions, pool, *dense, logits])


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """Convolutions and dense layers; with the technique left out, always of float32."""
    rows, side, wide = (parameters[name] for name in ("batch", "side", "width"))
    layers, channels = [], 1
    for number in range(parameters["convolutions"]):
        layers.append(costs.convolution(rows, side, 3, channels, wide, data=number == 0))
        channels = wide
    inputs = channels if layers else side * side
    for number in range(parameters["dense"]):
        layers.append(costs.dense(rows, inputs, wide, data=not parameters["convolutions"] and number == 0))
        inputs = wide
    layers.append(costs.dense(rows, inputs, 10))
    numbers = rows * (side * side + 1)
    return costs.step(layers, operation, batch=numbers, logits=rows * 10, width=costs.VARIABLE if without else width)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import digits

    digits.load()
