"""Claim: a pre-norm Transformer needs no warm-up, a post-norm one does.

In post-norm the gradients of the last blocks are large at the start, and a rate that is right later is too large then;
in pre-norm they shrink with depth (Xiong et al. 2020, theorem 1). Their figure 2 has a post-norm Transformer without
warm-up that hardly learns to translate at rate 0.001, and one that falls behind at 0.0005. Here a language model spells
words to sound. The rate rises linearly in the first eighth of the steps, or not; then it is constant, in all arms.

There is nothing at quick scale: of the 64 steps that its time allows, eight slow ones only cost (so measured, for both
norms), and four arms take three times a claim's share.
"""

from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.pairs import SYMBOLS, mean_loss, spelled_out
from suites.claims.training import learn, rows_of
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = {"standard": 1200, "paper": 100_000}
WIDTH = {"standard": 32, "paper": 512}
BATCH = {"standard": 32, "paper": 256}
SPLIT = {"standard": (8, None), "paper": (14, None)}
CLAIM = Claim(
    technique="transformer",
    statement="With LayerNorm in front of each sublayer a Transformer trains as well without warm-up as with it; with "
    "LayerNorm behind, it trains worse without.",
    source="Xiong et al. 2020, arXiv:2002.04745, sections 3.2 and 4",
    arms={
        "pre": "pre-norm, no warm-up",
        "pre_warm_up": "pre-norm, warm-up",
        "post": "post-norm, no warm-up",
        "post_warm_up": "post-norm, warm-up",
    },
    axis="layers",
    values={"standard": (2, 6), "paper": (6, 12)},
    metrics={"training_loss": Metric("Training loss at the end", "nat", "lower", last=4)},
    contrasts=(
        Contrast("training_loss", "pre", "pre_warm_up", "difference", margin=0.1, expects="equal"),
        Contrast("training_loss", "post_warm_up", "post", "difference", margin=0.1),
    ),
    rates=Rates(published=0.01, below=1, above=1),  # the paper's 0.001 is for a network 16 times as wide
    fixed={"data": "CMUdict", "network": "decoder only, width 32, 4 heads", "optimizer": "Adam, beta_2 0.98"},
)


def train(trial: Trial) -> Outcome:
    """One language model of words and how they are pronounced."""
    steps = STEPS[trial.scale]
    (inputs, targets), _ = spelled_out(trial.seed_for("split"), *SPLIT[trial.scale])
    warm_up = steps // 8 if trial.arm.endswith("warm_up") else 1

    def draw(generator: np.random.Generator) -> tuple[Any, Any]:
        rows = rows_of(generator, len(inputs), BATCH[trial.scale])
        return inputs[rows], targets[rows]

    return learn(trial, build, draw, steps, rate=lambda step: trial.learning_rate * min(1.0, (step + 1) / warm_up))


def build(trial: Trial) -> Any:
    """A compiled network, without dropout: it is training that is judged."""
    import keras

    subject, width = trial.implementation.load(), WIDTH[trial.scale]
    size = subject.Size(trial.condition["layers"], width, 4 * width, heads=4, dropout=0.0)
    model = subject.DecoderOnly(SYMBOLS, size, norm_first=trial.arm.startswith("pre"), dtype=trial.precision)
    model.compile(keras.optimizers.Adam(trial.learning_rate, beta_2=0.98), mean_loss, jit_compile=False)
    return model
