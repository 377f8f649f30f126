"""Devices of the three backends: made ready in a worker, waited for on both sides of the clock, asked for their memory.

What a contender varies besides (threads, determinism) is set here too, before anything runs on the device.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from suites.implementations import NotProvided


def prepare(backend: str, device: str, variation: Mapping[str, str]) -> None:
    """Let an idle contender hold no more of the device's memory than it needs, and set what it varies.

    Raises:
        RuntimeError: a GPU was asked for and the backend sees none.
        NotProvided: the backend has no such setting.
    """
    if "threads" in variation:
        _limit_threads(backend, int(variation["threads"]))
    if "determinism" in variation:
        _set_determinism(backend, device)
    if device != "gpu":
        return
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        for gpu in found:
            tf.config.experimental.set_memory_growth(gpu, True)
    elif backend == "jax":
        found = _jax_gpus()
    else:
        import torch

        found = list(range(torch.cuda.device_count()))
    if not found:
        raise RuntimeError(f"{backend} sees no GPU; install its CUDA build, or use --device cpu")


def touched(backend: str) -> bool:
    """Whether this process holds a device context, which no process that is forked from it could use.

    The frameworks have no public word for it, but PyTorch, which holds none for a CPU.
    """
    if backend == "tensorflow":
        from tensorflow.python.eager import context

        return bool(context.context()._initialized)
    if backend == "jax":
        from jax._src import xla_bridge

        return bool(xla_bridge.backends_are_initialized())
    import torch

    return bool(torch.cuda.is_initialized())


def _jax_gpus() -> list[Any]:
    import jax

    return [each for each in jax.devices() if each.platform == "gpu"]


def _limit_threads(backend: str, threads: int) -> None:
    """So many threads for one operation, on as many cores; JAX has no setting of its own and heeds the cores.

    Each process takes others, so that no core's neighbours are this contender's in every heat.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(allowed)
        os.sched_setaffinity(0, [*allowed[first:], *allowed[:first]][:threads])
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)


def _set_determinism(backend: str, device: str) -> None:
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
    elif device == "gpu":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
    else:
        raise NotProvided("JAX is deterministic on a CPU whether it is asked to be or not")


def synchronizer(backend: str) -> Callable[[Any], None]:
    """A function that returns when the device has finished all work, given the last step's result (or ``None``)."""
    if backend == "tensorflow":
        import tensorflow as tf

        return lambda _: tf.test.experimental.sync_devices()
    if backend == "jax":
        import jax

        return jax.block_until_ready  # a computation is waited for by its result
    import torch

    return lambda _: torch.cuda.synchronize() if torch.cuda.is_available() else None


def can_be_waited_for(backend: str, result: Any) -> bool:
    """Whether `synchronizer` knows when a step that returned this has finished.

    TensorFlow and PyTorch wait for all that was asked of the device, JAX for what it is handed and nothing else: a step
    that returns nothing would be timed as the request for the work, and not as the work.
    """
    if backend != "jax":
        return True
    import jax

    return bool(jax.tree_util.tree_leaves(result))


def trace_counter(backend: str) -> Callable[[], int] | None:
    """A function that says how many functions have been traced or compiled in this process until now.

    In steady state a step adds none. PyTorch runs operation by operation, and there is nothing to count.
    """
    if backend == "tensorflow":
        from tensorflow.python.eager import context  # the public counter asks for the function, which we do not have

        return lambda: len(context.context().list_function_names())
    if backend == "jax":
        import jax

        compiled: list[str] = []

        def note(event: str, _seconds: float, **_: Any) -> None:
            if event.endswith("/backend_compile_duration"):
                compiled.append(event)

        jax.monitoring.register_event_duration_secs_listener(note)
        return lambda: len(compiled)
    return None


def device_peak_bytes(backend: str, device: str) -> int | None:
    """The most memory of the device that this process has held, or ``None`` where there is nothing that tells."""
    if device != "gpu":
        return None
    if backend == "tensorflow":
        import tensorflow as tf

        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    if backend == "jax":
        peak = (_jax_gpus()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return None if peak is None else int(peak)
    import torch

    return int(torch.cuda.max_memory_allocated())


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def move_to_core(number: int) -> None:
    """Move this thread to one of its process's cores, counted from 0 and around, and leave it free to go on.

    Left alone, a contender stays on the core where it woke up first, and with it meets that core's neighbours: a
    difference of several per cent between equal contenders for as long as they live. Where the system cannot do that,
    nothing happens.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {sorted(allowed)[number % len(allowed)]})
        os.sched_setaffinity(0, allowed)
