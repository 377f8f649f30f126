"""Which trials a claim wants next, given those that are done: a pure function, whatever runs them.

So a session that was killed goes on where it was: it asks again, with the rows that its run folder holds. A cluster
asks in the same way, and so does the simulation that counts how often verdicts err.

Trials come in stages. First every arm as published, at the conditions that are judged; then the search for each arm's
own learning rate; then every arm at that; then the other conditions, for the plot; and at last more seeds where an
interval is wide.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from reports.statistics.decisions import Choice, best, known_well_enough, paired_gain
from suites.claims.claim import LEAST, Claim, Contrast, Trial
from suites.implementations import Implementation

TUNING_SEEDS = {"quick": 2, "standard": 3, "paper": 3}
"""Seeds that try each learning rate, by scale."""

PLOTTED_SEEDS = 3
"""Seeds at conditions that no contrast judges."""

MORE = 2
"""Seeds that are added at a time."""

PUBLISHED, TUNING, TUNED, PLOTTED, NARROWING = range(5)
"""The stages, in their order."""

Results = Mapping[Trial, Mapping[str, float]]
"""The metrics of the trials that are done; one that failed has none."""


@dataclass(frozen=True)
class Plan:
    """A claim, as it is rerun for one implementation."""

    name: str
    claim: Claim
    implementation: Implementation
    precision: str
    backend: str
    device: str
    scale: str

    def wanted(self, done: Results) -> list[tuple[int, Trial]]:
        """The trials that are wanted now and not done yet, each with its stage, in their order; none at the end.

        What a search for rates, or a width, will ask for next is not among them before what it rests on is done.
        """
        found: dict[Trial, int] = {}
        for stage, trial in self._all(done):
            if trial not in done:
                found.setdefault(trial, stage)
        return [(stage, trial) for trial, stage in sorted(found.items(), key=lambda each: each[1])]

    def _all(self, done: Results) -> Iterator[tuple[int, Trial]]:
        """Every trial that is known to be wanted, whether it is done or not."""
        judged = self._judged()
        rates = self.claim.rates
        published = None if rates is None else rates.published
        yield from ((PUBLISHED, self._trial(*each, seed, published)) for each in judged for seed in range(LEAST))
        chosen: dict[tuple[str, int], float | None] = {}
        if rates is not None:
            for arm, value in judged:
                tried = self.tried(arm, value, done)
                yield from ((TUNING, trial) for trials in tried.values() for trial in trials)
                choice = self.choice(arm, value, done)
                if choice is not None:
                    chosen[arm, value] = choice.rate
        yield from ((TUNED, self._trial(*each, seed, rate)) for each, rate in chosen.items() for seed in range(LEAST))
        yield from (
            (PLOTTED, self._trial(arm, value, seed, published))
            for value in self.claim.values[self.scale]
            for arm in self.claim.arms
            if (arm, value) not in judged
            for seed in range(PLOTTED_SEEDS)
        )
        for at in (dict.fromkeys(judged, published), chosen):
            yield from ((NARROWING, trial) for trial in self._narrowing(at, done))

    def _judged(self) -> list[tuple[str, int]]:
        """The arms and the values of the axis that are judged, each once."""
        found: dict[tuple[str, int], None] = {}
        for contrast in self.claim.contrasts:
            for arm in sides(contrast):
                found[arm, self.claim.at(contrast, self.scale)] = None
        return list(found)

    def _trial(
        self, arm: str, value: int, seed: int, rate: float | None, purpose: Literal["judge", "tune"] = "judge"
    ) -> Trial:
        where = self.implementation, self.precision, self.backend, self.device, self.scale
        return Trial(self.name, arm, {self.claim.axis: value}, seed, *where, purpose, rate)

    def tried(self, arm: str, value: int, done: Results) -> dict[float, list[Trial]]:
        """The trials that search an arm's rate, by rate: the grid and, if its best one lies at an end, two more."""
        assert self.claim.rates is not None, "nothing is tuned"
        trials = {rate: self._search(arm, value, rate) for rate in self.claim.rates.grid()}
        first = self._best(trials, done)
        if first is not None and first.end:
            beyond = self.claim.rates.beyond("low" if first.end == "low" else "high")
            trials |= {rate: self._search(arm, value, rate) for rate in beyond}
        return trials

    def _search(self, arm: str, value: int, rate: float) -> list[Trial]:
        return [self._trial(arm, value, seed, rate, "tune") for seed in range(TUNING_SEEDS[self.scale])]

    def choice(self, arm: str, value: int, done: Results) -> Choice | None:
        """The rate at which an arm is judged once it is tuned; ``None`` before all of the search is done."""
        return self._best(self.tried(arm, value, done), done)

    def _best(self, trials: Mapping[float, list[Trial]], done: Results) -> Choice | None:
        if not all(trial in done for of_rate in trials.values() for trial in of_rate):
            return None
        metric = self.claim.tuning_metric
        results = {rate: [done[trial].get(metric, math.nan) for trial in of_rate] for rate, of_rate in trials.items()}
        return best(results, self.claim.metrics[metric].better == "lower")

    def _narrowing(self, rates: Mapping[tuple[str, int], float | None], done: Results) -> Iterator[Trial]:
        """More seeds for the arms of each contrast whose interval is wide, up to the most of the scale."""
        for contrast in self.claim.contrasts:
            value = self.claim.at(contrast, self.scale)
            arms = [(arm, value) for arm in sides(contrast)]
            if not all(arm in rates for arm in arms):
                continue
            seeds, most = LEAST, self.claim.seeds[self.scale]
            while True:
                trials = {arm: [self._trial(*arm, seed, rates[arm]) for seed in range(seeds)] for arm in arms}
                yield from (trial for of_arm in trials.values() for trial in of_arm)
                ready = all(trial in done for of_arm in trials.values() for trial in of_arm)
                if not ready or seeds >= most or self._known(contrast, list(trials.values()), done):
                    break
                seeds = min(seeds + MORE, most)

    def _known(self, contrast: Contrast, trials: list[list[Trial]], done: Results) -> bool:
        values = [{trial.seed: done[trial].get(contrast.metric, math.nan) for trial in of_arm} for of_arm in trials]
        baseline = contrast.baseline if isinstance(contrast.baseline, float) else values[1]
        lower = self.claim.metrics[contrast.metric].better == "lower"
        gain = paired_gain(values[0], baseline, contrast.scale, lower, contrast.margin)
        return known_well_enough(gain.interval, contrast.scale, contrast.margin)


def sides(contrast: Contrast) -> list[str]:
    """The arms of a contrast: two, or one where a law stands in for the other."""
    return [contrast.arm, *([contrast.baseline] if isinstance(contrast.baseline, str) else [])]
