"""Races of residual networks: what a network costs, and what its shortcuts add to the plain one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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
    _workload("resnet50-32x32", RESNET50 | {"side": 32, "batch": 8}, ("inference",)),
    _workload("resnet50-128x128", RESNET50 | {"side": 128, "batch": 8}),
    Workload("residual", "resnet50-224x224", RESNET50 | {"side": 224, "batch": 64}, {"paper": OPERATIONS}),
)
"""The network, its images, and what is timed at quick scale; three stages are the CIFAR family, four ImageNet's."""


def model(subject: Any, parameters: Mapping[str, int], **options: Any) -> Any:
    """The network, from images (B, side, side, C) to float32 logits (B, classes)."""
    side = parameters["side"]
    sizes = {"classes": parameters["classes"], "input_shape": (side, side, parameters["channels"])}
    if parameters["stages"] == 3:
        return subject.cifar_resnet(parameters["depth"], **sizes, **options, dtype=subject.precision)
    # As in keras.applications, so that it does the same work; KerasHub, which cannot, is raced at depth 18.
    v1 = {"stride_on": "1x1"} if parameters["depth"] >= 50 else {}
    return subject.imagenet_resnet(parameters["depth"], **sizes, **v1, **options, dtype=subject.precision)


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
