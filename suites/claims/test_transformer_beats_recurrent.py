"""Claim: attention alone does better than a recurrent network with attention.

Vaswani et al. compare BLEU after very different costs of training (table 2), where the best of the others are ensembles
and convolutions. Here a Transformer and a recurrent encoder-decoder with additive attention have equally many weights,
within 5%, and are compared after equally many steps, and after equal time: held-out words spelled to sound at quick
scale, held-out books of verses in translation at the others. BLEU, of sounds or of words, stands beside; at standard
scale it says little, as no network translates after so few steps. The rate rises in the first eighth of the steps and
is constant then, for both.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from reference.additive_attention import AdditiveAttention
from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.pairs import SYMBOLS, Parts, bleu, mean_loss, translated, verses, words
from suites.claims.recurrent import encoder_decoder, width_of
from suites.claims.training import learn, rows_of
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = {"quick": 60, "standard": 600, "paper": 100_000}
LAYERS, HEADS = {"quick": 1, "standard": 2, "paper": 6}, {"quick": 4, "standard": 4, "paper": 8}
LONGEST = {"quick": 8, "standard": 20, "paper": 25}
VOCABULARY = {"standard": 1000, "paper": 8000}
"""Symbols of each language; letters and phones are far fewer."""
BATCH, DROPOUT = 32, 0.1
CLAIM = Claim(
    technique="transformer",
    statement="A Transformer translates what it has not seen better than a recurrent network with attention and "
    "equally many weights, after equally many steps and after equal time.",
    source="Vaswani et al. 2017, arXiv:1706.03762, sections 1 and 6.1",
    arms={"transformer": "attention alone, post-norm", "recurrent": "GRU encoder-decoder with additive attention"},
    axis="width",
    values={"quick": (32,), "standard": (32, 64), "paper": (512,)},
    metrics={
        "validation_loss": Metric("Loss per held-out symbol", "nat", "lower", last=2),
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=2),
        "bleu": Metric("BLEU of greedy decoding, of held-out pairs", "", "higher"),
    },
    contrasts=(Contrast("validation_loss", "transformer", "recurrent", "difference", margin=0.05),),
    rates=Rates(published=0.01, below=1, above=1),  # the paper's peak for width 64 and 75 steps of warm-up is 0.014
    fixed={
        "data": "CMUdict (quick) or verses",
        "batch": str(BATCH),
        "optimizer": "Adam, beta_2 0.98",
        "dropout": str(DROPOUT),
    },
)


def train(trial: Trial) -> Outcome:
    """One network, judged by 256 held-out pairs."""
    data, steps = data_of(trial), STEPS[trial.scale]
    inputs, targets = data.validation.batch(slice(256))
    scores = [math.nan]  # of a network that is lost before the end

    def draw(generator: np.random.Generator) -> tuple[Any, Any]:
        return data.train.batch(rows_of(generator, len(data.train.target), BATCH))

    def measure(model: Any) -> Mapping[str, float]:
        return {"validation_loss": float(mean_loss(targets, model.predict_on_batch(inputs)))}

    def look(step: int, model: Any) -> None:
        if step == steps:
            ours = translated(model, data.validation, slice(256))
            scores.append(bleu(ours, data.validation.target[:256], data.unknown))

    rate = lambda step: trial.learning_rate * min(1.0, (step + 1) / (steps // 8))  # noqa: E731
    points = 6 if trial.scale == "quick" else 12
    outcome = learn(trial, build, draw, steps, rate=rate, measure=measure, each_step=look, points=points)
    return dataclasses.replace(outcome, metrics={"bleu": scores[-1]})


def data_of(trial: Trial) -> Parts:
    """Words, or verses."""
    seed, longest = trial.seed_for("split"), LONGEST[trial.scale]
    if trial.scale == "quick":
        return words(seed, longest, 6000, 500)
    return verses(seed, longest, VOCABULARY[trial.scale], 500)


def build(trial: Trial) -> Any:
    """A compiled network of as many weights as the Transformer of this width has."""
    import keras

    subject, width, longest = trial.implementation.load(), trial.condition["width"], LONGEST[trial.scale]
    vocabulary = SYMBOLS if trial.scale == "quick" else 2 * VOCABULARY[trial.scale]
    size = subject.Size(LAYERS[trial.scale], width, 4 * width, HEADS[trial.scale], DROPOUT)
    parameters = subject.parameter_count(size, vocabulary)
    if trial.arm == "transformer":
        model = subject.Transformer(vocabulary, size, dtype=trial.precision)
    else:
        width = width_of(vocabulary, parameters)
        layer = AdditiveAttention(width, dtype=trial.precision)
        attend = lambda states, annotations, mask: layer(states, annotations, mask=mask)  # noqa: E731
        model = encoder_decoder(vocabulary, longest + 1, longest + 1, width, trial.precision, attend, DROPOUT)
    assert abs(model.count_params() / parameters - 1) < 0.05, f"{model.count_params()} weights, not {parameters}"
    model.compile(keras.optimizers.Adam(trial.learning_rate, beta_2=0.98), mean_loss, jit_compile=False)
    return model
