"""Claim: a network that sees short words first has learnt more after a short training.

Bengio et al. 2009 order sentences by how rare their words are (section 5); sequences are ordered by their length more
often since. Here words are spelled to sound by a recurrent encoder-decoder with attention, short ones first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.sequences import PAD
from reference.additive_attention import AdditiveAttention
from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.pairs import SYMBOLS, mean_loss, words
from suites.claims.recurrent import encoder_decoder
from suites.claims.training import learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

LONGEST, TRAINING, VALIDATION, BATCH, WIDTH, START, FULL = 10, 6000, 1000, 32, 64, 0.2, 0.8
CLAIM = Claim(
    technique="curriculum",
    statement="Short words first: after a short training, a network that spells words to sound has the lower loss than "
    "one that saw words of all lengths from the start, than one that saw the long ones first, and than one that saw "
    "them in a random order.",
    source="Bengio et al. 2009, Curriculum learning, section 5",
    arms={
        "curriculum": "the shortest fifth first, then more",
        "anti": "the longest fifth first, then more",
        "random": "a random fifth first, then more",
        "vanilla": "all words from the start",
    },
    axis="steps",
    values={"standard": (150, 600), "paper": (150, 600, 20_000)},
    metrics={"validation_loss": Metric("Loss per phone of held-out words of all lengths", "nat", "lower", last=2)},
    contrasts=tuple(
        Contrast("validation_loss", "curriculum", other, "difference", margin=0.05, at=150)
        for other in ("vanilla", "anti", "random")
    ),
    rates=Rates(published=0.01, below=1, above=1),
    fixed={
        "data": f"CMUdict, {TRAINING:,} words of at most {LONGEST} letters",
        "network": f"GRU with additive attention, width {WIDTH}",
        "pacing": f"linear, from {START} of the words to all after {FULL} of the steps",
        "optimizer": "Adam",
    },
)


def train(trial: Trial) -> Outcome:
    """One network, for so many steps as the axis says, on the batches that its arm's plan draws."""
    module, steps = trial.implementation.load(), trial.condition["steps"]
    data = words(trial.seed_for("split"), LONGEST, TRAINING, VALIDATION)
    letters = np.count_nonzero(data.train.source != PAD, axis=1)
    plan = {"start": START, "full": FULL, "seed": trial.seed_for("order"), "total_steps": steps, "batch_size": BATCH}
    rows = np.arange(len(letters))
    batches = iter(module.batches(module.arms(letters, **plan)[trial.arm], (rows, rows)))
    inputs, targets = data.validation.batch(slice(None))

    def measure(model: Any) -> Mapping[str, float]:
        return {"validation_loss": float(mean_loss(targets, model.predict_on_batch(inputs)))}

    return learn(trial, build, lambda _: data.train.batch(next(batches)[0]), steps, measure=measure, points=10)


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    layer = AdditiveAttention(WIDTH, dtype=trial.precision)
    attend = lambda states, annotations, mask: layer(states, annotations, mask=mask)  # noqa: E731
    model = encoder_decoder(SYMBOLS, LONGEST + 1, LONGEST + 1, WIDTH, trial.precision, attend)
    model.compile(keras.optimizers.Adam(trial.learning_rate), mean_loss, jit_compile=False)
    return model
