"""How often this machine's races cry wolf, and what they find: pairs of the same contender, and planted slowdowns.

    python -m suites.selftest.detection                       # 200 A/A pairs and 60 slowdowns of 5%, 10 s a pair
    python -m suites.selftest.detection --neighbour 0.5       # with a process that keeps one core busy half of the time
    python -m suites.selftest.detection --slowdown 2 --seconds 60 --pairs 3 --slowed 18 --rows results/two.jsonl

Pairs of three kinds of work take turns, as the real harness runs them: a compiled graph, training steps of a Keras
model, and plain Python. All pairs are judged as a report judges them: moderated intervals, false discoveries controlled
over the whole table, and the noise floor of further A/A pairs. Rows are kept, and a stopped run goes on where it was.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calls import Step
from benchmarks.harness.client import Server, Site
from benchmarks.harness.lockstep import Race
from benchmarks.harness.plan import PLANS
from benchmarks.harness.results import Entrant
from reports.statistics.intervals import Interval, Rounds, false_discovery, moderate, noise_floor, step_ratio
from reports.statistics.verdicts import Speed, of_ratio

BUSY = """import sys, time
share = float(sys.argv[1])
while True:
    end = time.time() + 0.1 * share
    while time.time() < end:
        pass
    time.sleep(0.1 * (1 - share))"""
"""A program that keeps a core busy for a share of every tenth of a second."""

LEAST_HEAT_S, HEATS = 1.2, 15
"""The rounds of a heat take so many seconds at least, and more where a pair's time would hold more heats than so many.

More and shorter heats would spend more time beside their rounds and tell no more: what they differ by is what their
blocks differ by.
"""

FLOOR_PAIRS = 11
"""As many A/A races as a run of all techniques holds; they give the floor, and are not judged."""

PIECES = 100
"""Of equal work in a step, so that so many more make it slower by so many per cent.

They are small, all in one call: what disturbs a turn on a shared machine does so however long it is, and a longer step
has fewer turns. The call itself takes 0.2 ms of 3 to 7 on two cores of an AMD EPYC: what is planted is a little less.
"""


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Step:  # noqa: ARG001
    """A step of one of `KINDS`, of as many pieces as `parameters` say."""
    return Step(STEPS[operation](np.random.default_rng(seed), parameters["pieces"]))


def _graph(generator: np.random.Generator, pieces: int) -> Callable[[], Any]:
    """A compiled graph, in which two dense layers on 32 examples, (32, 128), follow each other again and again."""
    import tensorflow as tf

    start, first, second = (tf.constant(generator.standard_normal((n, 128), "float32") / 16) for n in (32, 128, 128))

    @tf.function
    def forward() -> Any:
        x = start
        for _ in tf.range(pieces):
            x = tf.matmul(tf.tanh(tf.matmul(x, first)), second)
        return x

    return forward


def _training(generator: np.random.Generator, pieces: int) -> Callable[[], Any]:
    """Training steps of a linear Keras model on 64 examples, compiled by XLA as `fit` does."""
    import keras
    import tensorflow as tf
    from keras import layers

    model = keras.Sequential([keras.Input((128,)), layers.Dense(64)])
    optimizer, loss = keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError()
    optimizer.build(model.trainable_variables)
    x, y = (tf.constant(generator.standard_normal((64, width), "float32")) for width in (128, 64))

    @tf.function(jit_compile=True)
    def train() -> Any:
        value = 0.0
        for _ in tf.range(pieces):
            with tf.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    return train


def _python(generator: np.random.Generator, pieces: int) -> Callable[[], Any]:
    """Words counted and sorted, as an input pipeline without a framework does."""
    words = [str(number) for number in generator.integers(0, 200, 400)]

    def count() -> Any:
        for _ in range(pieces):
            counts: dict[str, int] = {}
            for word in words:
                counts[word] = counts.get(word, 0) + 1
            ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        return ordered

    return count


STEPS = {"graph": _graph, "training": _training, "python": _python}
KINDS = tuple(STEPS)


def pair(server: Server, kind: str, number: int, pieces: Sequence[int], seconds: float) -> tuple[Rounds, Rounds]:
    """Race two contenders for so many seconds, given how many pieces of work a step of each has."""
    asked = [
        {"technique": "detection", "workload": kind, "parameters": {"pieces": each, "batch": 1}, "operation": kind}
        | {"implementation": "reference", "backend": "tensorflow", "precision": "float32", "device": "cpu"}
        | {"scale": "quick", "seed": number}
        for each in pieces
    ]
    entrants = [Entrant(name, each, __spec__.name, __spec__.name) for name, each in zip("ab", asked, strict=True)]
    heat_s = max(LEAST_HEAT_S, seconds / HEATS)
    plan = replace(PLANS["quick"], heats=0, most_heats=1000, narrow=0.0, blocks=1000, heat_s=heat_s, warm_up_s=0.05)
    race, deadline = Race(entrants, lambda *_: server, plan, Unkept()), time.monotonic() + seconds
    race.heat()
    # Time is the only limit, and is kept: what is left is shared by as many heats as can be finished.
    while True:
        left, beside = deadline - time.monotonic(), race.heat_s - race.plan.heat_s
        if left < beside + heat_s / 2:
            break
        race.plan = replace(plan, heat_s=left / max(1, int(left / (beside + heat_s))) - beside)
        race.heat()
    for result in race.results.values():
        if result.failure:
            raise result.failure
    usual, slow = (race.results[name].rounds_of() for name in "ab")
    return usual, slow


class Unkept:
    """A journal that keeps nothing."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Forget it."""


def judged(ratios: list[Interval], floor: float) -> list[Speed]:
    """What a report would call these ratios, which are moderated."""
    q_values = false_discovery([each.p for each in ratios]).tolist()
    return [of_ratio(ratio, q, floor) for ratio, q in zip(ratios, q_values, strict=True)]


def measure(arguments: argparse.Namespace, path: Path) -> None:
    """Race the pairs that are missing: those of the floor, then same and slowed ones spread evenly over the time."""
    slow = PIECES + arguments.slowdown * PIECES // 100
    spread = [(place / arguments.pairs, "same") for place in range(arguments.pairs)]
    spread += [(place / arguments.slowed, "slowed") for place in range(arguments.slowed)]
    planned = ["floor"] * FLOOR_PAIRS + [role for _, role in sorted(spread)]
    kinds = {role: itertools.cycle(KINDS) for role in planned}
    races = [(role, next(kinds[role])) for role in planned]
    settings = {name: getattr(arguments, name) for name in ("slowdown", "seconds", "neighbour")}
    done = done_under(settings, path)
    server = Server(Site("tensorflow", "cpu"))
    server.wait_until_ready()
    try:
        for number, (role, kind) in enumerate(races[done:], start=done):
            rounds = pair(server, kind, number, (PIECES, slow if role == "slowed" else PIECES), arguments.seconds)
            ratio = step_ratio(rounds[1], rounds[0])
            row = {"kind": kind, "role": role, **settings, **vars(ratio)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            interval = f"{ratio.estimate:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]"
            sys.stderr.write(f"{number + 1}/{len(races)} {role} {kind}: {interval}\n")
    finally:
        server.close()


def done_under(settings: Mapping[str, float], path: Path) -> int:
    """How many pairs a file holds already.

    Raises:
        SystemExit: they were raced under other settings.
    """
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if any(row[name] != value for row in rows for name, value in settings.items()):
        raise SystemExit(f"{path} holds pairs that were raced under other settings than {settings}: give other --rows")
    return len(rows)


def report(path: Path) -> str:
    """How often what is the same was called different, and what was slowed down was found."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    ratios = moderate([Interval(**{name: row[name] for name in Interval.__dataclass_fields__}) for row in rows])
    floor = noise_floor([ratio for row, ratio in zip(rows, ratios, strict=True) if row["role"] == "floor"])
    rest = [
        (row["role"], row["kind"], ratio) for row, ratio in zip(rows, ratios, strict=True) if row["role"] != "floor"
    ]
    verdicts = list(zip(rest, judged([ratio for *_, ratio in rest], floor), strict=True))
    lines = [f"noise floor of {FLOOR_PAIRS} A/A races: {100 * (floor - 1):.1f}%"]
    for role, said in (("same", "called different"), ("slowed", "found")):
        wanted = {Speed.SLOWER} | ({Speed.FASTER} if role == "same" else set())
        for kinds in (*((kind,) for kind in KINDS), KINDS):
            found = [verdict in wanted for (of_role, kind, _), verdict in verdicts if of_role == role and kind in kinds]
            share = f"{sum(found)} of {len(found)} {said} ({100 * sum(found) / max(len(found), 1):.1f}%)"
            lines.append(f"{role}, {', '.join(kinds)}: {share}")
    return "\n".join(lines)


def main() -> None:
    """Race the pairs that are missing, and say what came of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="of the same contender")
    parser.add_argument("--slowed", type=int, default=60, help="pairs of which one is slowed down")
    parser.add_argument("--slowdown", type=int, default=5, help="per cent")
    parser.add_argument("--seconds", type=float, default=10.0, help="for a pair")
    parser.add_argument("--neighbour", type=float, default=0.0, help="share of the time that one core is kept busy")
    parser.add_argument("--rows", type=Path, default=Path("results/detection.jsonl"))
    arguments = parser.parse_args()
    arguments.rows.parent.mkdir(parents=True, exist_ok=True)
    busy = [sys.executable, "-c", BUSY, str(arguments.neighbour)]
    neighbour = subprocess.Popen(busy) if arguments.neighbour else None
    try:
        measure(arguments, arguments.rows)
    finally:
        if neighbour:
            neighbour.kill()
    print(report(arguments.rows))  # noqa: T201


if __name__ == "__main__":
    main()
