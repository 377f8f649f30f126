"""What is left of a session's budget: where it goes, and that it ends."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import races
from benchmarks.harness.lockstep import Race


class Refined(SimpleNamespace):
    """A race of which only the numbers are there: its width falls with the root of its heats."""

    narrowing = Race.narrowing

    def __init__(self, spread: float, done: int, heat_s: float, clock: list[float]) -> None:
        super().__init__(spread=spread, done=done, heat_s=heat_s, clock=clock, wants_more=True)

    @property
    def width(self) -> float:
        return float(self.spread / self.done**0.5)

    def heat(self) -> None:
        self.done += 1
        self.clock[0] += self.heat_s
        self.wants_more = self.width > 0.01


def refined(monkeypatch: pytest.MonkeyPatch, budget_s: float, **asked: tuple[float, int, float]) -> tuple[Any, float]:
    """How many heats more each race gets, and how long that takes; given its spread, heats, and seconds for a heat."""
    clock = [0.0]
    monkeypatch.setattr(races.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(races.Track, "_keep", lambda *_: None)
    track: Any = object.__new__(races.Track)
    found = {group: Refined(*numbers, clock) for group, numbers in asked.items()}
    track._races, track._recorded, track.contenders = found, {group: [] for group in found}, dict.fromkeys(found, "x")
    track.refine(budget_s)
    return {group: race.done - asked[group][1] for group, race in found.items()}, clock[0]


def test_a_budget_is_spent_where_intervals_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: in turns; all of it on the first race."""
    heats, spent = refined(monkeypatch, 30.0, narrow=(0.05, 3, 1.0), wide=(0.2, 3, 1.0))
    assert heats["wide"] > 3 * heats["narrow"]
    assert 29 <= spent <= 30, "it is spent and kept"


def test_a_race_that_is_hopelessly_noisy_does_not_take_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variant: the widest interval comes first, which twelve heats have not narrowed and twelve more will not."""
    heats, _ = refined(monkeypatch, 12.0, hopeless=(0.28, 12, 1.0), young=(0.08, 3, 1.0))
    assert heats["young"] >= 3
    heats, _ = refined(monkeypatch, 40.0, slow=(0.1, 3, 10.0), fast=(0.09, 3, 1.0))
    assert heats["fast"] > 10, "what is cheap comes first, where it tells as much"


def test_a_race_that_is_narrow_enough_or_too_long_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    heats, spent = refined(monkeypatch, 30.0, done=(0.02, 3, 1.0), long=(0.5, 3, 31.0))
    assert heats == {"done": 1, "long": 0}
    assert spent == 1.0
