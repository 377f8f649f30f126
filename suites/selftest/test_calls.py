"""What timed calls are given, and what they cost beside the step; in processes of their own, since tensors are made."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.calls import MOST_INPUTS, Inputs, Step
from benchmarks.harness.worker import Worker


class Counted:
    """A step on arrays that counts its work."""

    def __init__(self) -> None:
        self.work = 0

    def __call__(self, *inputs: Any) -> float:
        """The work."""
        self.work += 1
        return float(np.asarray(inputs[0]).sum())


@pytest.mark.isolated("who remembers")
@pytest.mark.parametrize("loops", [1, 40, 2 * MOST_INPUTS + 3])
@pytest.mark.parametrize("shape", [(8, 4), (1, 12)])
def test_who_remembers_its_inputs_does_all_of_its_work(loops: int, shape: tuple[int, int]) -> None:
    """Wrong variants: the same tensors in every call; in every round; in the lead-in and in the round; by turns."""
    from suites.selftest import cheating

    cheats: list[Callable[[Any], Any]] = [cheating.by_identity, cheating.by_content]
    for cheat in cheats:
        counted, contender = Counted(), Worker()
        contender.step = Step(cheat(counted), Inputs(np.arange(1, 1 + np.prod(shape)).reshape(shape)))
        contender.synchronize, contender.meter = lambda _: None, None
        for number in range(3):
            contender.prepare(loops=loops, lead_in=9, draw=number)
            before = counted.work
            contender.round(loops=loops)
            led_in = min(9, counted.work - before - loops)
            assert counted.work - before == loops + led_in
            assert 1 <= led_in <= 9


@pytest.mark.isolated("inputs")
def test_inputs_have_the_shapes_of_the_batch_and_end_alike_after_any_number_of_calls() -> None:
    """Wrong variants: others for whoever has more steps in a round; labels that are no longer their images'."""
    images, labels = np.arange(24.0, dtype="float32").reshape(6, 4), np.arange(6, dtype="int32")
    letters = np.array([[1, 2, 0], [5, 5, 2]] * 3, "int32")
    step = Step(lambda *_: None, Inputs([images, letters], labels))

    def calls(number: int, draw: int) -> list[Any]:
        return [inputs for group in step.feed(number, draw) for inputs in group]

    few, many = calls(1, draw=5), calls(300, draw=5)
    assert (len(few), len(many)) == (1, 300)
    for ours, theirs in zip(few[-1][0] + [few[-1][1]], many[-1][0] + [many[-1][1]], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for (x, symbols), y in many:
        assert [np.asarray(each).dtype for each in (x, symbols, y)] == ["float32", "int32", "int32"]
        np.testing.assert_array_equal(images[np.asarray(y)], x)
        np.testing.assert_array_equal(np.asarray(symbols) == 0, letters[np.asarray(y)] == 0)
        assert set(np.asarray(symbols).ravel()) <= {0, 1, 2, 5}
    assert len({np.asarray(x).tobytes() for (x, _), _ in many}) == 300


@pytest.mark.isolated("overhead")
def test_the_harness_adds_less_than_a_hundredth_to_a_step_of_a_millisecond() -> None:
    """Of the fastest round. Wrong variant: a message, or a synchronization, for each step."""
    worker = Worker()
    clock = time.perf_counter_ns

    def busy(nanoseconds: int) -> None:
        end = clock() + nanoseconds
        while clock() < end:
            pass

    def rounds() -> Iterator[float]:
        for _ in range(30):
            worker.prepare(loops=10)
            yield worker.round(loops=10)["seconds"]

    worker.step = Step(lambda *_: busy(1_000_000), Inputs(np.zeros((4, 4), "float32"), np.zeros(4, "int32")))
    worker.synchronize, worker.meter = lambda _: busy(20_000), None
    fastest = min(rounds())
    assert 1.0 <= fastest / 1e-3 < 1.01
