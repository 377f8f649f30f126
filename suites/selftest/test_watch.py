"""What counts as hanging, by an invented clock and invented threads."""

import pytest

from suites.watch import Watch


class Process:
    """A process with two threads, on a machine that gives it a share of the time that passes."""

    def __init__(self, limit_s: float = 10.0) -> None:
        self.now, self.threads = 0.0, {1: 5.0, 2: 0.0}
        self.watch = Watch(0, limit_s, lambda _: self.threads, lambda: self.now)

    def passes(self, seconds: float, *shares: float) -> str | None:
        """So many seconds pass, and each thread works for a share of them; how it then hangs."""
        said = None
        for _ in range(round(seconds)):
            self.now += 1
            self.threads = {t: s + share for (t, s), share in zip(self.threads.items(), shares, strict=True)}
            said = said or self.watch.hanging()
        return said


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_a_slow_clock_is_no_hanging(share: float) -> None:
    """Wrong variant: seconds of the wall clock are counted, of which a busy machine takes most."""
    process = Process()
    assert process.passes(10.0 / share - 2, share, 0.0) is None


def test_a_thread_that_works_and_works_hangs() -> None:
    process = Process()
    assert process.passes(9, 1.0, 0.2) is None
    assert process.passes(3, 1.0, 0.2) == "worked for 10 s of processor time and did not come back"


def test_many_threads_that_work_at_the_same_time_are_no_longer_at_it_than_one() -> None:
    """Wrong variant: the time of all threads together, of which a large machine has more."""
    process = Process()
    process.threads = dict.fromkeys(range(64), 0.0)
    process.watch.begin()
    assert process.passes(9, *[1.0] * 64) is None


def test_a_process_that_waits_for_ever_hangs() -> None:
    process = Process()
    assert process.passes(9, 0.001, 0.001) is None
    assert process.passes(3, 0.001, 0.001) == "did nothing for 10 s and did not come back"


def test_what_went_before_does_not_count() -> None:
    """Wrong variant: an item is blamed for what the items before it took."""
    process = Process()
    for _ in range(5):
        assert process.passes(8, 1.0, 0.0) is None
        process.watch.begin()
    assert process.passes(8, 0.0, 0.0) is None


def test_a_process_that_is_gone_hangs_no_more() -> None:
    process = Process()
    process.threads = {}
    assert process.watch.hanging() is None
