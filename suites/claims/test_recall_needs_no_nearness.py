"""Claim: a Transformer recalls a token as well from far as from near, where a recurrent network forgets.

Vaswani et al. 2017 name it as what attention is for: between any two positions a signal has one step to go, and in a
recurrent network as many as lie between them (arXiv:1706.03762, section 4 and table 1). They show no experiment. Here
each position of a text names the letter that stood so many positions before it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, error_rate, learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = {"standard": 1500, "paper": 20_000}
BATCH, WIDTH, LAYERS, HEADS, SYMBOLS = 32, 32, 2, 4, 32
CLAIM = Claim(
    technique="transformer",
    statement="A Transformer recalls a token from far away, where a recurrent network of equally many weights has "
    "forgotten it; from nearby both recall it.",
    source="Vaswani et al. 2017, arXiv:1706.03762, section 4 and table 1",
    arms={"transformer": f"decoder only, pre-norm, {LAYERS} layers", "recurrent": "a GRU"},
    axis="distance",
    values={"standard": (1, 4, 16, 48), "paper": (1, 16, 64, 256)},
    metrics={"error_rate": Metric("Share of tokens not recalled, of held-out text", "", "lower", last=2)},
    contrasts=(
        Contrast("error_rate", "transformer", "recurrent", "difference", margin=0.1),
        Contrast("error_rate", "transformer", "recurrent", "difference", margin=0.1, expects="equal", at=1),
    ),
    rates=Rates(published=0.003, below=1, above=1),
    fixed={"data": "words of CMUdict, one after the other", "width": str(WIDTH), "optimizer": "Adam, beta_2 0.98"},
)


def train(trial: Trial) -> Outcome:
    """One network on windows of a text, twice as long as the distance; a tenth of the text is held out."""
    from datasets import pronunciation

    part = pronunciation.split(seed=trial.seed_for("split")).train.graphemes
    text = part[part >= pronunciation.SPECIAL]  # letters alone, word after word
    distance = trial.condition["distance"]
    length, end = 2 * distance + 16, len(text) * 9 // 10

    def windows(starts: Any) -> tuple[Any, Any]:
        rows = text[starts[:, None] + np.arange(length)]
        return rows, np.roll(rows, distance, axis=1)[:, distance:]

    def draw(generator: np.random.Generator) -> tuple[Any, Any]:
        return windows(generator.integers(0, end - length, BATCH))

    held_out = windows(np.arange(end, len(text) - length, length)[:100])

    def measure(model: Any) -> Mapping[str, float]:
        return {"error_rate": error_rate(model, *held_out)}

    return learn(trial, build, draw, STEPS[trial.scale], measure=measure, points=10)


def build(trial: Trial) -> Any:
    """A compiled network, whose logits begin where there is something to recall."""
    import keras
    from keras import layers

    subject, distance, one = trial.implementation.load(), trial.condition["distance"], {"dtype": trial.precision}
    size = subject.Size(LAYERS, WIDTH, 4 * WIDTH, HEADS, 0.0)
    tokens = keras.Input((2 * distance + 16,), dtype="int32")
    if trial.arm == "transformer":
        logits = subject.DecoderOnly(SYMBOLS, size, norm_first=True, **one)(tokens)
    else:
        parameters = subject.parameter_count(size, SYMBOLS, decoder_only=True, norm_first=True)
        units = min(range(1, 1000), key=lambda units: abs(units * (3 * (WIDTH + units + 2) + SYMBOLS) - parameters))
        x = layers.GRU(units, return_sequences=True, **one)(layers.Embedding(SYMBOLS, WIDTH, **one)(tokens))
        logits = layers.Dense(SYMBOLS, dtype="float32")(x)
    model = keras.Model(tokens, logits[:, distance:])
    model.compile(keras.optimizers.Adam(trial.learning_rate, beta_2=0.98), classifier_loss(), jit_compile=False)
    return model
