"""Devices of the three backends: made ready in a worker, and waited for on both sides of the clock."""

from collections.abc import Callable
from typing import Any


def prepare(backend: str, device: str) -> None:
    """Let an idle contender hold no more of the device's memory than it needs, and check that the device is there.

    Raises:
        RuntimeError: a GPU was asked for and the backend sees none.
    """
    if device != "gpu":
        return
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        for gpu in found:
            tf.config.experimental.set_memory_growth(gpu, True)
    elif backend == "jax":
        import jax

        found = [each for each in jax.devices() if each.platform == "gpu"]
    else:
        import torch

        found = list(range(torch.cuda.device_count()))
    if not found:
        raise RuntimeError(f"{backend} sees no GPU; install its CUDA build, or use --device cpu")


def synchronizer(backend: str) -> Callable[[Any], None]:
    """A function that returns when the device has finished all work, given the last step's result (or ``None``)."""
    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[backend]()


def _tensorflow() -> Callable[[Any], None]:
    import tensorflow as tf

    return lambda _: tf.test.experimental.sync_devices()


def _jax() -> Callable[[Any], None]:
    import jax

    return jax.block_until_ready  # a computation is waited for by its result


def _torch() -> Callable[[Any], None]:
    import torch

    return lambda _: torch.cuda.synchronize() if torch.cuda.is_available() else None
