"""Claim: positions that look at each other predict better than positions that see a summary of what came before.

Vaswani et al. 2017 put self-attention in the place of everything else by which positions heard of each other
(arXiv:1706.03762, section 4). Here it is one layer of a small language model that spells words to sound. The other arm
gives each position the mean of those before it, through a hidden layer with equally many weights: attention with equal
weights would be no more than that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.pairs import SYMBOLS, mean_loss, spelled_out
from suites.claims.training import learn, rows_of
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = {"quick": 80, "standard": 600, "paper": 20_000}
SPLIT = {"quick": (8, 6000, 1000), "standard": (12, None, 1000), "paper": (14, None, 4000)}
BATCH, HEADS = 64, 4
CLAIM = Claim(
    technique="dot_product_attention",
    statement="Positions that look at each other predict what follows better than positions that see the mean of those "
    "before them, with equally many weights.",
    source="Vaswani et al. 2017, arXiv:1706.03762, sections 1 and 4; the guide: positions talk to each other",
    arms={"attention": f"causal self-attention, {HEADS} heads", "mean": "the mean so far, and a hidden layer"},
    axis="width",
    values={"quick": (64,), "standard": (32, 64), "paper": (512,)},
    metrics={
        "validation_loss": Metric("Loss per phone of held-out words", "nat", "lower", last=2),
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=2),
    },
    contrasts=(Contrast("validation_loss", "attention", "mean", "difference", margin=0.05),),
    rates=Rates(published=0.003, below=1, above=1),  # of Adam; the paper's falls with the width
    fixed={"data": "CMUdict", "network": "one block, positions learned", "batch": str(BATCH), "optimizer": "Adam"},
)


def train(trial: Trial) -> Outcome:
    """One language model."""
    (inputs, targets), held_out = spelled_out(trial.seed_for("split"), *SPLIT[trial.scale])

    def draw(generator: np.random.Generator) -> tuple[Any, Any]:
        rows = rows_of(generator, len(inputs), BATCH)
        return inputs[rows], targets[rows]

    def measure(model: Any) -> Mapping[str, float]:
        return {"validation_loss": float(mean_loss(held_out[1], model.predict_on_batch(held_out[0])))}

    return learn(trial, build, draw, STEPS[trial.scale], measure=measure, points=8)


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras
    from keras import layers, ops

    width, one = trial.condition["width"], {"dtype": trial.precision}
    tokens = keras.Input((2 * SPLIT[trial.scale][0] + 2,), dtype="int32")
    counted = ops.cumsum(ops.ones_like(tokens), axis=1)  # of the tokens: a constant would be no input
    x = layers.Embedding(SYMBOLS, width, **one)(tokens) + layers.Embedding(tokens.shape[1] + 1, width, **one)(counted)
    normal = layers.LayerNormalization(**one)(x)
    if trial.arm == "attention":
        attention = trial.implementation.load().MultiHeadAttention
        heard = attention(HEADS, width // HEADS, use_bias=False, **one)(normal, causal=True)
    else:
        mean = ops.cumsum(normal, axis=1) / ops.cast(counted, normal.dtype)[:, :, None]
        hidden = layers.Dense(2 * width, "relu", use_bias=False, **one)(mean)
        heard = layers.Dense(width, use_bias=False, **one)(hidden)
    x = x + heard
    hidden = layers.Dense(4 * width, "relu", **one)(layers.LayerNormalization(**one)(x))
    logits = layers.Dense(SYMBOLS, dtype="float32")(x + layers.Dense(width, **one)(hidden))
    model = keras.Model(tokens, logits)
    model.compile(keras.optimizers.Adam(trial.learning_rate), mean_loss, jit_compile=False)
    return model
