"""Claim: checkpoints leave the gradients as they are, take memory that grows as the root of the depth, and one forward.

Chen et al. 2016 cut n layers into sqrt(n) segments and keep only what goes from one to the next (arXiv:1604.06174,
section 4.1): memory grows as sqrt(n) where it grew as n, for one more forward pass.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from suites.claims.apart import in_a_process, peak_of
from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

WIDTH = 64
DEPTHS = {"quick": (16, 36), "standard": (16, 64), "paper": (16, 144)}
CLAIM = Claim(
    technique="checkpointing",
    statement="Checkpoints leave gradients bit-identical, let memory grow as the root of the depth, and take at most "
    "the time of one more forward pass.",
    source="Chen et al. 2016, arXiv:1604.06174, section 4.1",
    arms={"checkpointed": "sqrt(n) segments, each computed again", "kept": "every activation is kept"},
    axis="batch",
    values={"quick": (16_384,), "standard": (16_384, 65_536), "paper": (262_144,)},
    metrics={
        "exponent": Metric("Power of the depth with which memory grows", "", "lower"),
        "difference": Metric("Largest difference of a gradient from the usual one", "", "lower"),
        "forwards": Metric("Time of a step beyond the usual one, in forward passes", "", "lower"),
    },
    contrasts=(
        Contrast("exponent", "checkpointed", 0.5, "difference", margin=0.15, expects="equal"),
        Contrast("exponent", "kept", 1.0, "difference", margin=0.15, expects="equal"),
        Contrast("difference", "checkpointed", 0.0, "difference", margin=1e-30, expects="equal"),
        Contrast("forwards", "checkpointed", 1.25, "difference", margin=0.01),
    ),
    fixed={
        "layers": f"dense, {WIDTH} wide, tanh; {DEPTHS['quick']} of them, later {DEPTHS['standard']}",
        "times": "the least of three, alone on the machine",
    },
    alone=True,
    exact=False,
)


def train(trial: Trial) -> Outcome:
    """Nothing is trained: one step of a shallow and of a deep stack, each in a process of its own."""
    depths = DEPTHS[trial.scale]
    peaks = [in_a_process(functools.partial(peak, trial, depth)) for depth in depths]
    exponent = math.log(peaks[1] / peaks[0], depths[1] / depths[0])
    return Outcome({"exponent": exponent, **in_a_process(functools.partial(beside_usual, trial, depths[0]))})


def peak(trial: Trial, depth: int) -> int:
    """Bytes that a step takes at most beyond its weights and inputs."""
    x, stack, checkpoint = parts(trial, depth)
    step = gradients(stack, checkpoint)  # not compiled: threads of a graph may free a tensor late, now and then
    step(x[:2])
    return peak_of(lambda: step(x))


def beside_usual(trial: Trial, depth: int) -> dict[str, float]:
    """How gradients and times differ from those where everything is kept."""
    x, stack, checkpoint = parts(trial, depth)
    step, usual, forward = map(compiled, (gradients(stack, checkpoint), gradients(stack), chain(stack)))
    pairs = zip(step(x), usual(x), strict=True)
    difference = max(float(np.abs(ours.numpy() - theirs.numpy()).max()) for ours, theirs in pairs)
    longer = seconds(lambda: step(x)) - seconds(lambda: usual(x))
    return {"difference": difference, "forwards": longer / seconds(lambda: forward(x))}


def parts(trial: Trial, depth: int) -> tuple[Any, list[Any], Callable[[Any], Any]]:
    """Inputs (batch, WIDTH), layers, and how a segment is wrapped."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(trial.seed_for("weights"))
    x = tf.random.stateless_normal((trial.condition["batch"], WIDTH), (trial.seed_for("inputs"), depth))
    stack = [keras.layers.Dense(WIDTH, "tanh", dtype=trial.precision) for _ in range(depth)]
    for layer in stack:
        layer.build((None, WIDTH))
    kept = trial.arm == "kept"
    return x, stack, (lambda segment: segment) if kept else trial.implementation.load().checkpoint


def gradients(stack: Sequence[Any], checkpoint: Callable[[Any], Any] = lambda segment: segment) -> Callable[[Any], Any]:
    """The step that gives the gradients of a stack's kernels, its layers in sqrt(n) segments."""
    import tensorflow as tf

    size = math.isqrt(len(stack))
    segments = [checkpoint(chain(stack[start : start + size])) for start in range(0, len(stack), size)]

    def step(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(functools.reduce(lambda tensor, segment: segment(tensor), segments, x) ** 2)
        return tape.gradient(loss, [layer.kernel.value for layer in stack])

    return step


def compiled(function: Callable[[Any], Any]) -> Any:
    """Traced once, for any batch."""
    import tensorflow as tf

    return tf.function(function, input_signature=[tf.TensorSpec((None, WIDTH))], autograph=False)


def chain(part: Sequence[Any]) -> Callable[[Any], Any]:
    """Layers one after the other."""
    return lambda x: functools.reduce(lambda tensor, layer: layer(tensor), part, x)


def seconds(function: Callable[[], Any]) -> float:
    """The least of three times."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)
