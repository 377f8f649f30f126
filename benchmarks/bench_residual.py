"""Races of residual networks: what a network costs, and what its shortcuts add to the plain one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import OPERATIONS, Workload

ALL = {"standard": OPERATIONS, "paper": OPERATIONS}
RESNET20 = {"depth": 20, "classes": 10}
RESNET50 = {"depth": 50, "classes": 1000, "channels": 3}

WORKLOADS = (
    Workload(
        "residual", "resnet20-digits", RESNET20 | {"side": 8, "channels": 1, "batch": 64}, ALL | {"quick": OPERATIONS}
    ),
    Workload(
        "residual", "resnet20-32x32", RESNET20 | {"side": 32, "channels": 3, "batch": 32}, ALL | {"quick": ("train",)}
    ),
    Workload("residual", "resnet50-32x32", RESNET50 | {"side": 32, "batch": 8}, ALL | {"quick": ("inference",)}),
    Workload("residual", "resnet50-128x128", RESNET50 | {"side": 128, "batch": 8}, ALL),
    Workload("residual", "resnet50-224x224", RESNET50 | {"side": 224, "batch": 64}, {"paper": OPERATIONS}),
)


def model(subject: Any, parameters: Mapping[str, int], **options: Any) -> Any:
    """The network, from images (B, side, side, C) to float32 logits (B, classes)."""
    side, depth = parameters["side"], parameters["depth"]
    sizes = {"classes": parameters["classes"], "input_shape": (side, side, parameters["channels"])}
    family = subject.cifar_resnet if (depth - 2) % 6 == 0 else subject.imagenet_resnet
    if depth == 50:
        options = {"stride_on": "1x1", **options}  # v1, as in keras.applications: the same work for every contender
    return family(depth, **sizes, **options, dtype=subject.precision)


def without(subject: Any, parameters: Mapping[str, int]) -> Any:
    """The plain network: the same convolutions, and no shortcuts."""
    return model(subject, parameters, shortcut=None)


def preload() -> None:
    """Read what every worker needs, once, in the server."""
    from datasets import digits

    digits.load()


def batch(parameters: Mapping[str, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real digits, enlarged by repeating pixels: images (B, side, side, C) float32 and labels (B,) int32."""
    from datasets import digits

    part = digits.split(side=parameters["side"], channels=parameters["channels"], seed=seed).train
    return part.images[: parameters["batch"]], part.labels[: parameters["batch"]]
