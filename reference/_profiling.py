"""Memory and profiles, which are part of monitoring: what a framework or the system has counted, or None.

What the numbers mean differs by place: main memory is what the process holds, whoever asked for it; a device's memory
is what the framework has allocated there. A profile's times are those of TensorFlow's trace, by thread or stream, so
that operations which run at the same time add up to more than the clock.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras


class Memory(NamedTuple):
    """Bytes in use, and the most that there have been."""

    current: int
    peak: int


def host_memory() -> int | None:
    """Bytes of main memory that this process holds, or None where the system (Linux alone) does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return None
    return next((1024 * int(kibibytes) for kibibytes in re.findall(r"VmRSS:\s+(\d+) kB", status)), None)


def device_memory(device: str = "GPU:0") -> Memory | None:
    """Bytes that the framework has allocated on a device, or None where it does not count them, as on a CPU.

    TensorFlow answers 0 for a CPU; that is no measurement.
    """
    kind, _, index = device.upper().partition(":")
    if kind == "CPU":
        return None
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            known = [each.name.partition("physical_device:")[2] for each in tf.config.list_physical_devices(kind)]
            found = tf.config.experimental.get_memory_info(device) if f"{kind}:{index or 0}" in known else None
            return found and Memory(found["current"], found["peak"])
        case "jax":
            import jax

            found = next(
                (d.memory_stats() for d in jax.local_devices() if d.id == int(index or 0) and d.platform != "cpu"), None
            )
            return found and Memory(found["bytes_in_use"], found["peak_bytes_in_use"])
        case _:
            import torch

            if not torch.cuda.is_available() or int(index or 0) >= torch.cuda.device_count():
                return None
            return Memory(torch.cuda.memory_allocated(device.lower()), torch.cuda.max_memory_allocated(device.lower()))


@dataclass(frozen=True)
class Row:
    """An operation: how often it ran, the seconds from starts to ends in all, and those less operations inside it."""

    operation: str
    count: int
    total: float
    own: float


@dataclass(frozen=True)
class Profile:
    """Rows, the longest own time first; the seconds of all steps; and how many threads or streams ran operations."""

    rows: list[Row]
    seconds: float
    lines: int


OPERATION = re.compile(r"[^: ]*:(\w+)|EagerLocalExecute: (?!__|SyncDevice)(\w+)")
"""How TensorFlow's trace names an operation: `node:Type`, or by its type alone where it is run eagerly."""


def profile(function: Callable[[], Any], steps: int = 10, folder: str | None = None) -> Profile:
    """Where the time of some steps goes, from TensorFlow's trace; a step before them compiles and is not counted.

    Args:
        function: one step.
        steps: how many.
        folder: where to keep the trace for TensorBoard; by default it is thrown away.

    Raises:
        ValueError: `steps` is under 1.
        NotImplementedError: on another backend than TensorFlow.
    """
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1; it is {steps}")
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError("profiles are read from TensorFlow's trace; this backend has a profiler of its own")
    import tensorflow as tf

    function()
    with tempfile.TemporaryDirectory() as temporary:
        options = tf.profiler.experimental.ProfilerOptions()  # without them Python's own calls are traced, too
        tf.profiler.experimental.start(folder or temporary, options)
        try:
            start = time.perf_counter()
            for _ in range(steps):
                function()
            tf.test.experimental.sync_devices()
            seconds = time.perf_counter() - start
        finally:
            tf.profiler.experimental.stop()
        newest = max(Path(folder or temporary).rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime_ns)
        return _profile(newest.read_bytes(), seconds)


def _profile(trace: bytes, seconds: float) -> Profile:
    """Rows of a serialized trace: planes (host, devices) of lines (threads, streams) of events."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    counts: dict[str, int] = defaultdict(int)
    totals: dict[str, int] = defaultdict(int)
    owns: dict[str, int] = defaultdict(int)
    lines = 0
    for plane in xplane_pb2.XSpace.FromString(trace).planes:
        for line in plane.lines:
            events = [(OPERATION.fullmatch(plane.event_metadata[e.metadata_id].name), e) for e in line.events]
            spans = [
                (e.offset_ps, -e.duration_ps, match[1] or match[2]) for match, e in events if match and e.duration_ps
            ]
            lines += bool(spans)
            around: list[tuple[int, str]] = []  # operations that have not ended: their ends and names
            for begin, negative, name in sorted(spans):
                while around and around[-1][0] <= begin:
                    around.pop()
                if around:
                    owns[around[-1][1]] += negative
                counts[name] += 1
                totals[name] -= negative
                owns[name] -= negative
                around.append((begin - negative, name))
    rows = [Row(name, counts[name], totals[name] / 1e12, owns[name] / 1e12) for name in counts]
    return Profile(sorted(rows, key=lambda row: -row.own), seconds, lines)
