"""Devices of real frameworks: nobody inherits one, and the clock waits for them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks import bench_initialization
from benchmarks.calls import Step
from benchmarks.harness import devices
from benchmarks.harness.server import preload
from benchmarks.harness.worker import Worker


@pytest.mark.isolated("fork")
def test_a_server_that_holds_a_device_forks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: workers inherit a context, and hang or fail one after the other."""
    import tensorflow as tf

    preload("tensorflow")
    monkeypatch.setattr(bench_initialization, "preload", lambda: tf.zeros(()), raising=False)
    with pytest.raises(RuntimeError, match="bench_initialization has touched a device"):
        preload("tensorflow")


@pytest.mark.isolated("fork of jax")
def test_a_device_of_jax_is_seen() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    assert not devices.touched("jax")
    jax.numpy.zeros(())
    assert devices.touched("jax")


def in_tensorflow() -> Callable[[], Any]:
    """Products of matrices by TensorFlow, whose functions return at once when told so, as all do on a GPU."""
    import tensorflow as tf

    tf.config.experimental.set_synchronous_execution(False)
    matrix = tf.random.normal((512, 512))
    return tf.function(lambda: tf.foldl(lambda x, _: tf.matmul(x, matrix), tf.range(50), matrix))


def in_jax() -> Callable[[], Any]:
    """The same by JAX, which returns at once everywhere."""
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    matrix = jax.random.normal(jax.random.key(0), (512, 512))
    return jax.jit(lambda: jax.lax.fori_loop(0, 50, lambda _, x: x @ matrix, matrix))


@pytest.mark.parametrize(
    ("backend", "products"),
    [
        pytest.param("tensorflow", in_tensorflow, marks=pytest.mark.isolated("clock of tensorflow")),
        pytest.param("jax", in_jax, marks=pytest.mark.isolated("clock of jax")),
    ],
)
def test_an_unsynchronized_clock_reports_too_little(backend: str, products: Callable[[], Callable[[], Any]]) -> None:
    """A tenth or less of what the work takes. Wrong variant: the second clock."""
    contender = Worker()
    contender.step, contender.meter = Step(products()), None
    synchronize = devices.synchronizer(backend)

    def rounds() -> Iterator[float]:
        for _ in range(5):
            contender.prepare(loops=1, lead_in=1)
            yield contender.round(loops=1)["seconds"]

    def seconds(wait: Callable[[Any], None]) -> float:
        contender.synchronize = wait
        fastest = min(rounds())
        synchronize(contender.step.call())
        return fastest

    synchronized, asked_for = seconds(synchronize), seconds(lambda _: None)
    assert asked_for < synchronized / 10
