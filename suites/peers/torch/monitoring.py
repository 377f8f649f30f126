"""What torch offers for monitoring: norms of gradients, the memory of its devices, and its profiler."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "norm_is_linear_in_the_loss_scale": KnownDefect("Squares overflow and vanish long before the gradients do."),
    "norms_are_roots_of_sums_of_squares": KnownDefect(
        "Norms of gradients in half precision are rounded to it.", precisions=("mixed_float16", "mixed_bfloat16")
    ),
}


def gradient_norms(gradients: Sequence[Any]) -> tuple[list[Any], Any]:
    """`torch.linalg.vector_norm` of each and `torch.nn.utils.get_total_norm` of all but None."""
    own = [None if gradient is None else torch.as_tensor(gradient) for gradient in gradients]
    each = [torch.zeros(()) if gradient is None else torch.linalg.vector_norm(gradient) for gradient in own]
    return each, torch.nn.utils.get_total_norm([gradient for gradient in own if gradient is not None])


def device_memory(device: str = "GPU:0") -> SimpleNamespace | None:
    """`torch.cuda`'s count, which there is for its own devices only."""
    kind, _, index = device.partition(":")
    if kind.upper() == "CPU" or not torch.cuda.is_available() or int(index) >= torch.cuda.device_count():
        return None
    current, peak = torch.cuda.memory_allocated(int(index)), torch.cuda.max_memory_allocated(int(index))
    return SimpleNamespace(current=current, peak=peak)


def profile(function: Callable[[], Any], steps: int = 10) -> SimpleNamespace:
    """The averages by operation of `torch.profiler.profile`, in seconds."""
    if steps < 1:
        raise ValueError(f"expected 1 step or more; got {steps}")
    function()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        for _ in range(steps):
            function()
        seconds = time.perf_counter() - start
    rows = [
        SimpleNamespace(
            operation=row.key, count=row.count, total=row.cpu_time_total / 1e6, own=row.self_cpu_time_total / 1e6
        )
        for row in found.key_averages()
    ]
    threads = len({event.thread for event in found.events()})
    return SimpleNamespace(rows=sorted(rows, key=lambda row: -row.own), seconds=seconds, lines=threads)
