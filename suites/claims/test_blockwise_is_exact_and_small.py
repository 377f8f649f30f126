"""Claim: attention by blocks is exact, and takes memory that grows with length, not with its square.

Nothing is trained. Each trial takes a step of the gradient, in a process of its own, and reads from the system how much
memory that takes at most beyond what a step of length 128 has left: what compiling takes is in it, too. Outputs are
compared with the truth in float64, in units of what rounding may do (`suites/properties/oracles`).
"""

import functools
import math
from typing import Any

import numpy as np

from suites.claims.apart import in_a_process, peak_of
from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

HEAD_SIZE, BLOCK, CHECKED = 16, 128, 64
NOTHING = np.zeros((1, 1), "float32")
"""What a network is given that attends to its own weights."""
CLAIM = Claim(
    technique="dot_product_attention",
    statement="Attention by blocks gives the same as attention at once, and training with it needs less memory.",
    source="Rabe and Staats 2021, arXiv:2112.05682, section 3; Dao et al. 2022, arXiv:2205.14135, theorem 1",
    arms={"blocks": f"{BLOCK} keys at a time", "whole": "all keys at once"},
    axis="length",
    values={"quick": (512, 4096), "standard": (1024, 2048, 4096, 8192), "paper": (2048, 8192, 16_384)},
    metrics={
        "error": Metric("Largest error of the output, in units of its bound by rounding", "", "lower"),
        "peak": Metric("Memory that a step of the gradient takes at its peak", "MiB", "lower"),
    },
    contrasts=(
        Contrast("error", "blocks", 0.0, "difference", margin=1.0, expects="equal"),
        Contrast("peak", "blocks", "whole", "ratio", margin=2.0),
    ),
    fixed={"heads": "1", "head size": str(HEAD_SIZE), "batch": "1", "checked": f"the first {CHECKED} queries"},
    exact=False,
)


def train(trial: Trial) -> Outcome:
    """One step, in a process of its own."""
    return Outcome(in_a_process(functools.partial(measured, trial)))


def measured(trial: Trial) -> dict[str, float]:
    """Queries, keys and values are the weights of a network; its rate is 0, so that they stay as they are."""
    import keras

    from suites.properties.oracles import dot_product_attention as oracle

    keras.utils.set_random_seed(trial.seed_for("weights"))
    step(build(trial, BLOCK))  # what the first step of all takes, and no other
    model = build(trial, trial.condition["length"])
    peak = peak_of(lambda: step(model))
    found = keras.ops.convert_to_numpy(model(NOTHING))[:, :CHECKED]
    query, keys, values = (np.asarray(each, np.float64) for each in model.get_weights())
    arrays = query[:, :CHECKED], keys, values
    blocks = math.ceil(trial.condition["length"] / BLOCK) if trial.arm == "blocks" else 1
    bound = oracle.rounding(*arrays, dtype="float32", blocks=blocks).output
    error = float(np.max(np.abs(found - oracle.attention(*arrays).output) / bound))
    return {"error": error, "peak": peak / 2**20}


def step(model: Any) -> None:
    """One step of the gradient."""
    model.train_on_batch(NOTHING, np.zeros(model.output_shape, "float32"))


def build(trial: Trial, length: int) -> Any:
    """A compiled network that attends to its own weights."""
    import keras

    subject, shape = trial.implementation.load(), (1, length, 1, HEAD_SIZE)

    class Held(keras.layers.Layer):
        """Queries, keys and values, and what attention makes of them."""

        def build(self, _: Any) -> None:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            self.held = [self.add_weight(shape=shape, initializer=normal, name=name) for name in "qkv"]

        def call(self, _: Any) -> Any:
            if trial.arm == "blocks":
                return subject.blockwise_attention(*self.held, block=BLOCK)
            return subject.dot_product_attention(*self.held)

    given = keras.Input((1,))
    model = keras.Model(given, Held(dtype="float32")(given))
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    return model
