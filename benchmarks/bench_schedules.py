"""Races of schedules and batch sizes: what a batch costs in micro-batches, and what a schedule adds to a training step.

Both train networks on real digits by momentum SGD. `accumulation` updates a small convolutional network once by a large
batch, in micro-batches; left out, the batch is taken at once, which costs memory and not time. `schedule` trains a
small dense network with a warm-up and a cosine; left out, the rate is a constant.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks import costs
from benchmarks.calls import Inputs, Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload

RATE = 0.01
TRAIN = ("train",)


def _accumulation(batch: int, size: int, side: int, quick: tuple[str, ...] = ()) -> Workload:
    sizes = {"batch": batch, "size": size, "side": side, "filters": 16}
    return Workload(
        "schedules", f"accumulation-{batch}-{side}x{side}", sizes, {"quick": quick, "standard": TRAIN, "paper": TRAIN}
    )


WORKLOADS = (
    _accumulation(512, 128, 32, TRAIN),
    _accumulation(128, 32, 8),
    _accumulation(512, 32, 16),
    Workload(
        "schedules",
        "schedule",
        {"batch": 64, "side": 8, "units": 64, "steps": 10_000, "warm_up": 500},
        {"quick": TRAIN, "standard": TRAIN, "paper": TRAIN},
        mixed=(),
    ),
)


def step(subject: Any, parameters: Mapping[str, int], _operation: str, seed: int) -> Step:
    """One update of a network: in micro-batches, or at the rate of a schedule."""
    import keras

    inputs = _examples(parameters, seed)
    if "size" in parameters:
        micro_batches = -(-parameters["batch"] // parameters["size"])
        optimizer = subject.accumulating(keras.optimizers.SGD, RATE, micro_batches, momentum=0.9)
        model = _compiled(_convolutional(subject.precision, parameters), optimizer)

        def train(x: Any, y: Any) -> Any:
            return subject.train_on_micro_batches(model, x, y, size=parameters["size"])

        return Step(train, inputs, model, trains=True)
    decay = subject.Schedule(subject.cosine, peak=RATE, steps=parameters["steps"], floor=0.0)
    schedule = subject.Schedule(subject.with_warm_up, schedule=decay, steps=parameters["warm_up"], start=0.0)
    model = _compiled(_dense(subject.precision, parameters), keras.optimizers.SGD(schedule, momentum=0.9))
    return Step(model.train_on_batch, inputs, model, trains=True)


def without(subject: Any, parameters: Mapping[str, int], _operation: str, seed: int) -> Step:
    """The same update by the batch at once, or at a constant rate."""
    import keras

    inputs = _examples(parameters, seed)
    network = _convolutional if "size" in parameters else _dense
    model = _compiled(network(subject.precision, parameters), keras.optimizers.SGD(RATE, momentum=0.9))
    return Step(model.train_on_batch, inputs, model, trains=True)


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """A training step of either network; one by micro-batches has the weights come by for each of them."""
    side, batch = parameters["side"], parameters["batch"]
    rows = parameters.get("size", batch) if not without else batch
    if "size" in parameters:
        filters = parameters["filters"]
        layers = [
            costs.convolution(rows, side, 3, 1, filters, data=True),
            costs.convolution(rows, side, 3, filters, filters),
            costs.dense(rows, filters, 10),
        ]
    else:
        units = parameters["units"]
        layers = [costs.dense(rows, side * side, units, data=True), costs.dense(rows, units, 10)]
    sizes = {"batch": rows * (side * side + 1), "logits": rows * 10, "width": width}
    return costs.step(layers, "gradient", **sizes) * (batch // rows - 1) + costs.step(layers, operation, **sizes)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import digits

    digits.load()


def _compiled(model: Any, optimizer: Any) -> Any:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    model.compile(optimizer, loss, jit_compile=False, auto_scale_loss=False)
    return model


def _convolutional(precision: str, parameters: Mapping[str, int]) -> Any:
    import keras
    from keras import layers

    side, filters = parameters["side"], parameters["filters"]
    options = {"padding": "same", "activation": "relu", "dtype": precision}
    return keras.Sequential(
        [
            keras.Input((side, side, 1)),
            layers.Conv2D(filters, 3, **options),
            layers.Conv2D(filters, 3, **options),
            layers.GlobalAveragePooling2D(dtype=precision),
            layers.Dense(10, dtype="float32"),
        ]
    )


def _dense(precision: str, parameters: Mapping[str, int]) -> Any:
    import keras
    from keras import layers

    side, units = parameters["side"], parameters["units"]
    hidden = layers.Dense(units, activation="relu", dtype=precision)
    flat = layers.Flatten(dtype=precision)
    return keras.Sequential([keras.Input((side, side, 1)), flat, hidden, layers.Dense(10, dtype="float32")])


def _examples(parameters: Mapping[str, int], seed: int) -> Inputs:
    """Real digits, enlarged by repeating pixels: images (B, side, side, 1) float32 and labels (B,) int32."""
    from datasets import digits

    part = digits.split(side=parameters["side"], seed=seed).train
    return Inputs(part.images[: parameters["batch"]], part.labels[: parameters["batch"]])
