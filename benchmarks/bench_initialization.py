"""Races of initialization: the kernels of a ResNet-50, drawn one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.calls import Step
from benchmarks.races import test_race  # noqa: F401 - the one test function; pytest collects it here
from benchmarks.workload import Workload

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks in a stage, and the width of their 3x3 convolutions where the network is 64 wide."""

BATCH = 54
"""Kernels of the network: 53 convolutions and the classifier."""

WORKLOADS = tuple(
    Workload(
        "initialization",
        f"{scheme.replace('_', '-')}-{width}",
        {"width": width, "batch": BATCH, "truncated": int("truncated" in scheme)},
        {"quick": ("initialize",) if width == 16 else (), "standard": ("initialize",), "paper": ("initialize",)},
        mixed=(),
    )
    for scheme in ("he_normal", "he_truncated_normal")
    for width in (16, 64)
)


def shapes(width: int) -> list[tuple[int, ...]]:
    """The kernels of a ResNet-50 of this width: 25.5 million weights at 64, 2.0 million at 16."""
    kernels: list[tuple[int, ...]] = [(7, 7, 3, width)]
    channels = width
    for blocks, filters in STAGES:
        inner, outer = filters * width // 64, filters * width // 16
        for block in range(blocks):
            kernels += [(1, 1, channels, inner), (3, 3, inner, inner), (1, 1, inner, outer)]
            if block == 0:
                kernels.append((1, 1, channels, outer))  # the projection
            channels = outer
    return [*kernels, (channels, 1000)]


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:
    """One step draws all kernels anew, with one initializer and so from one stream of seeds: float32 tensors."""
    del operation  # there is one
    draw = subject.initializer("he_truncated_normal" if parameters["truncated"] else "he_normal", seed=seed)
    kernels = shapes(parameters["width"])
    return Step(lambda: [draw(shape, dtype="float32") for shape in kernels])
