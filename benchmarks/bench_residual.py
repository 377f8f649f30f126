"""Races of residual networks: what a network costs, and what its shortcuts add to the plain one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import costs
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import OPERATIONS, Workload

RESNET20 = {"depth": 20, "stages": 3, "classes": 10}
RESNET18 = {"depth": 18, "stages": 4, "classes": 1000, "channels": 3}
RESNET50 = {"depth": 50, "stages": 4, "classes": 1000, "channels": 3}
LARGER = {"standard": OPERATIONS, "paper": OPERATIONS}


def _workload(name: str, sizes: dict[str, int], quick: tuple[str, ...] = ()) -> Workload:
    return Workload("residual", name, sizes, LARGER | {"quick": quick})


WORKLOADS = (
    _workload("resnet20-digits", RESNET20 | {"side": 8, "channels": 1, "batch": 64}, ("train",)),
    _workload("resnet20-32x32", RESNET20 | {"side": 32, "channels": 3, "batch": 32}, ("inference",)),
    _workload("resnet18-64x64", RESNET18 | {"side": 64, "batch": 8}),
    _workload("resnet50-32x32", RESNET50 | {"side": 32, "batch": 8}),
    _workload("resnet50-v1.5-32x32", RESNET50 | {"side": 32, "batch": 8, "v1.5": 1}),
    _workload("resnet50-128x128", RESNET50 | {"side": 128, "batch": 8}),
    Workload("residual", "resnet50-224x224", RESNET50 | {"side": 224, "batch": 64}, {"paper": OPERATIONS}),
    *(
        Workload(
            "residual",
            f"resnet20-batch-{batch}",
            RESNET20 | {"side": 32, "channels": 3, "batch": batch},
            dict.fromkeys(("standard", "paper"), ("inference", "train")),
        )
        for batch in (8, 16, 64)
    ),
)
"""The network, its images, and what is timed at quick scale; three stages are the CIFAR family, four ImageNet's.

With ``resnet20-32x32``, whose batch is 32, the last ones are a sweep over the batch."""

CONTENDERS = {"resnet20-digits": ("determinism=on",)}
"""What it costs to compute the same bits every time, as claims do when they train."""


def model(subject: Any, parameters: Mapping[str, int], **options: Any) -> Any:
    """The network, from images (B, side, side, C) to float32 logits (B, classes)."""
    side = parameters["side"]
    sizes = {"classes": parameters["classes"], "input_shape": (side, side, parameters["channels"])}
    if parameters["stages"] == 3:
        return subject.cifar_resnet(parameters["depth"], **sizes, **options, dtype=subject.precision)
    if parameters["depth"] >= 50:
        options["stride_on"] = "1x1" if _strides_first(parameters) else "3x3"
    return subject.imagenet_resnet(parameters["depth"], **sizes, **options, dtype=subject.precision)


def _strides_first(parameters: Mapping[str, int]) -> bool:
    """Whether bottlenecks stride on their first 1x1, as only keras.applications does; KerasHub has v1.5 alone."""
    return parameters["depth"] >= 50 and "v1.5" not in parameters


def without(subject: Any, parameters: Mapping[str, int]) -> Any:
    """The plain network: the same convolutions, and no shortcuts."""
    return model(subject, parameters, shortcut=None)


BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks in a stage of the ImageNet family, by depth (He et al. 2015, table 1); from 50 on they are bottlenecks."""


def cost(parameters: Mapping[str, int], operation: str, *, without: bool = False, width: int = 4) -> costs.Cost:
    """Convolutions and logits; at 224x224 depth 50 has the 3.86e9 multiply-adds of its v1, with stride on the 1x1."""
    batch, side, channels, depth = (parameters[name] for name in ("batch", "side", "channels", "depth"))
    imagenet = parameters["stages"] == 4
    filters, kernel, strides = (64, 7, 2) if imagenet else (16, 3, 1)
    repeats = BLOCKS[depth] if imagenet else ((depth - 2) // 6,) * 3
    layers = [
        costs.convolution(batch, side, kernel, channels, filters, strides=strides, bias=False, data=True),
        costs.normalization(filters),
    ]
    numbers = batch * (side * side * channels + 1)
    side, channels = (costs.strided(costs.strided(side, 2), 2) if imagenet else side), filters  # after the pool
    for stage, blocks in enumerate(repeats):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            branch, outputs = _branch(filters << stage, strides, parameters)
            changes = strides != 1 or channels != outputs
            if imagenet and changes and not without:  # option B; the CIFAR family's option A has no weights
                projection = costs.convolution(
                    batch, side, 1, channels, outputs, strides=strides, bias=False, shared=True
                )
                layers += [projection, costs.normalization(outputs)]
            for kernel, step, wide in branch:
                layers += [
                    costs.convolution(batch, side, kernel, channels, wide, strides=step, bias=False),
                    costs.normalization(wide),
                ]
                side, channels = costs.strided(side, step), wide
    classes = parameters["classes"]
    layers.append(costs.dense(batch, channels, classes))
    return costs.step(layers, operation, batch=numbers, logits=batch * classes, width=width)


def _branch(filters: int, strides: int, parameters: Mapping[str, int]) -> tuple[list[tuple[int, int, int]], int]:
    """The convolutions of a block as (kernel, strides, filters), and its channels."""
    if parameters["stages"] == 4 and parameters["depth"] >= 50:
        first, second = (strides, 1) if _strides_first(parameters) else (1, strides)
        return [(1, first, filters), (3, second, filters), (1, 1, 4 * filters)], 4 * filters
    return [(3, strides, filters), (3, 1, filters)], filters


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import digits

    digits.load()


def batch(parameters: Mapping[str, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real digits, enlarged by repeating pixels: images (B, side, side, C) float32 and labels (B,) int32."""
    from datasets import digits

    part = digits.split(side=parameters["side"], channels=parameters["channels"], seed=seed).train
    return part.images[: parameters["batch"]], part.labels[: parameters["batch"]]
