"""How often this machine's races cry wolf, and what they find: pairs of the same contender, and planted slowdowns.

    python -m suites.selftest.detection                       # 200 A/A pairs, and 5% slowdowns, at 10 s a pair
    python -m suites.selftest.detection --pairs 60 --slowdown 2 --seconds 60
    python -m suites.selftest.detection --neighbour           # with a process that keeps one core busy half of the time

Pairs of three kinds of work take turns, as the real harness runs them: a compiled graph, a training step of a Keras
model, and plain Python. All pairs are judged as a report judges them: moderated intervals, false discoveries controlled
over the whole table, and the noise floor of further A/A pairs. Rows are kept, and a stopped run goes on where it was.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.client import Server, Site
from benchmarks.harness.lockstep import PLANS, Entrant, Race
from reports.statistics import Interval, Rounds, false_discovery, moderate, noise_floor, step_ratio
from reports.verdicts import Speed, of_ratio

KINDS = ("graph", "training", "python")
FLOOR_PAIRS = 11
"""As many A/A races as a run of all techniques holds; they give the floor, and are not judged."""


def step(subject: Any, parameters: Mapping[str, int], operation: str, seed: int) -> Callable[[], Any]:  # noqa: ARG001
    """One of `KINDS`, a few milliseconds long, and so many tenths of a per cent longer as `parameters` say."""
    call = {"graph": _graph, "training": _training, "python": _python}[operation](np.random.default_rng(seed))
    # What is not slowed down is wrapped too: waiting for the device after every step takes time of its own.
    return _slowed(call, 1 + parameters["slowdown"] / 1000)


def _slowed(call: Callable[[], Any], factor: float) -> Callable[[], Any]:
    """The same, followed by busy waiting for its own time once more, as a share."""
    import tensorflow as tf

    clock, synchronize = time.perf_counter_ns, tf.test.experimental.sync_devices

    def slower() -> Any:
        started = clock()
        result = call()
        synchronize()
        end = started + (clock() - started) * factor
        while clock() < end:
            pass
        return result

    return slower


def _graph(generator: np.random.Generator) -> Callable[[], Any]:
    """Scores of attention and their softmax, (64, 128, 128)."""
    import tensorflow as tf

    query, keys = (tf.constant(generator.standard_normal((64, 128, 64), "float32")) for _ in range(2))
    attend = tf.function(lambda q, k: tf.nn.softmax(tf.matmul(q, k, transpose_b=True)))
    return lambda: attend(query, keys)


def _training(generator: np.random.Generator) -> Callable[[], Any]:
    """A training step of a dense network on 256 examples."""
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((64,)), *[layers.Dense(256, "relu") for _ in range(3)], layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=False)
    x, y = generator.standard_normal((256, 64), "float32"), generator.integers(0, 10, 256)
    return lambda: model.train_on_batch(x, y)


def _python(generator: np.random.Generator) -> Callable[[], Any]:
    """Words counted and sorted, as an input pipeline without a framework does."""
    words = [str(number) for number in generator.integers(0, 4000, 12_000)]

    def count() -> list[tuple[str, int]]:
        counts: dict[str, int] = {}
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))

    return count


def pair(server: Server, kind: str, number: int, slowdown: int, seconds: float) -> tuple[Rounds, Rounds]:
    """Race one pair for so many seconds: the work as it is, and slowed down by so many tenths of a per cent."""
    sizes = ({"slowdown": 0, "batch": 1}, {"slowdown": slowdown, "batch": 1})
    asked = [
        {"technique": "detection", "workload": kind, "parameters": size, "operation": kind, "seed": number}
        | {"implementation": "reference", "backend": "tensorflow", "precision": "float32", "device": "cpu"}
        | {"scale": "quick"}
        for size in sizes
    ]
    entrants = [Entrant(name, each, __spec__.name, __spec__.name) for name, each in zip("ab", asked, strict=True)]
    # Time is the only limit, and is kept: the last heat is begun only if it can be finished.
    plan = replace(PLANS["quick"], heats=0, most_heats=1000, narrow=0.0, blocks=1000, heat_s=0.8, warm_up_s=0.05)
    race, deadline = Race(entrants, lambda _: server, plan, Unkept()), time.monotonic() + seconds
    while time.monotonic() + race.heat_s < deadline:
        race.heat()
    first, second = (race.results[name] for name in "ab")
    for result in (first, second):
        if result.failure:
            raise result.failure
    return second.rounds_of(), first.rounds_of()


class Unkept:
    """A journal that keeps nothing."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Forget it."""


def judged(ratios: list[Interval], floor: float) -> list[Speed]:
    """What a report of these ratios would call them."""
    moderated = moderate(ratios)
    q_values = false_discovery([each.p for each in moderated]).tolist()
    return [of_ratio(ratio, q, floor) for ratio, q in zip(moderated, q_values, strict=True)]


def measure(arguments: argparse.Namespace, path: Path) -> None:
    """Race what is missing, pair by pair: first those of the floor, then same and slowed pairs in turns."""
    planned = [(kind, 0, "floor") for _, kind in zip(range(FLOOR_PAIRS), _cycle(KINDS), strict=False)]
    for _, kind in zip(range(arguments.pairs), _cycle(KINDS), strict=False):
        planned += [(kind, 0, "same"), (kind, round(arguments.slowdown * 10), "slowed")]
    done = len(path.read_text().splitlines()) if path.is_file() else 0
    server = Server(Site("tensorflow", "cpu"))
    try:
        for number, (kind, slowdown, role) in enumerate(planned[done:], start=done):
            slow, usual = pair(server, kind, number, slowdown, arguments.seconds)
            ratio = step_ratio(slow, usual)
            row = {"kind": kind, "role": role, "slowdown": slowdown, **vars(ratio)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            interval = f"{ratio.estimate:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]"
            sys.stderr.write(f"{number + 1}/{len(planned)} {role} {kind}: {interval}\n")
    finally:
        server.close()


def _cycle(kinds: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from kinds


def report(path: Path) -> str:
    """How often what is the same was called different, and what was slowed down was found."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    ratios = [Interval(**{name: row[name] for name in Interval.__dataclass_fields__}) for row in rows]
    floor = noise_floor([ratio.estimate for row, ratio in zip(rows, ratios, strict=True) if row["role"] == "floor"])
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
    parser.add_argument("--pairs", type=int, default=200, help="A/A pairs, and as many slowed ones")
    parser.add_argument("--slowdown", type=float, default=5.0, help="per cent")
    parser.add_argument("--seconds", type=float, default=10.0, help="for a pair")
    parser.add_argument("--neighbour", action="store_true", help="keep one core busy half of the time")
    parser.add_argument("--rows", type=Path, default=Path("results/detection.jsonl"))
    arguments = parser.parse_args()
    arguments.rows.parent.mkdir(parents=True, exist_ok=True)
    busy = "import time\nwhile True:\n end = time.time() + .05\n while time.time() < end: pass\n time.sleep(.05)"
    neighbour = subprocess.Popen([sys.executable, "-c", busy]) if arguments.neighbour else None
    try:
        measure(arguments, arguments.rows)
    finally:
        if neighbour:
            neighbour.kill()
    print(report(arguments.rows))  # noqa: T201


if __name__ == "__main__":
    main()
