"""Claim: attention flattens the curve of error over length.

Words are spelled to sound by a recurrent encoder-decoder, with attention or with nothing but a summary of fixed length,
and held-out words are judged by their length. Bahdanau et al. show BLEU over sentence length in figure 2: without
attention it falls from 20 words on, with attention it does not. They call its alignments largely monotone (section
5.2.1), which should hold here, where letters and sounds come in one order. Errors of phones are counted with the right
phones before each (teacher forcing); a word is right if all are, which greedy decoding would find, too.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.sequences import PAD
from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.pairs import SYMBOLS, mean_loss, words, wrong
from suites.claims.recurrent import encoder_decoder
from suites.claims.training import learn, rows_of
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = {"quick": 50, "standard": 700, "paper": 50_000}
WIDTH = {"quick": 64, "standard": 64, "paper": 512}
BATCH = {"quick": 32, "standard": 64, "paper": 80}
SPLIT = {"quick": (8, 6000, 2000), "standard": (14, None, 12_000), "paper": (14, None, 12_000)}
SHORT = 4
CLAIM = Claim(
    technique="additive_attention",
    statement="Attention flattens the curve of error over length: a decoder that looks back at its source, and does so "
    "in order, makes fewer errors in long words than one that has a summary of it, and loses less from short words to "
    "long ones.",
    source="Bahdanau et al. 2015, arXiv:1409.0473, sections 1, 5.1 and 5.2.1 and figures 2 and 3",
    arms={"attention": "additive attention over all states of the encoder", "summary": "its last states alone"},
    axis="letters",
    values={"quick": (8,), "standard": (4, 8, 11, 14), "paper": (4, 6, 8, 10, 12, 14)},
    metrics={
        "phone_error_rate": Metric("Error rate of phones, right ones before, in held-out words", "", "lower", last=2),
        "growth": Metric(f"Growth of that error rate from words of {SHORT} letters", "", "lower", last=2),
        "word_error_rate": Metric("Share of held-out words with a wrong phone", "", "lower", last=2),
        "monotone": Metric("Share of phones that look no further back than the one before", "", "higher"),
    },
    contrasts=(
        Contrast("phone_error_rate", "attention", "summary", "difference", margin=0.02),
        Contrast("growth", "attention", "summary", "difference", margin=0.02),
        Contrast("monotone", "attention", 0.5, "difference", margin=0.25),  # a coin goes back at every other step
    ),
    rates=Rates(published=0.015, below=1, above=1),  # of Adam; the paper has Adadelta, without a rate
    fixed={"data": "CMUdict", "network": "GRU, width 64", "optimizer": "Adam"},
)


def train(trial: Trial) -> Outcome:
    """Learn words of all lengths, and be judged by those of one."""
    import keras

    data = words(trial.seed_for("split"), *SPLIT[trial.scale])
    lengths = np.count_nonzero(data.validation.source != PAD, axis=1) - 1
    at_length, short = (np.flatnonzero(lengths == each)[:500] for each in (trial.condition["letters"], SHORT))

    def draw(generator: np.random.Generator) -> tuple[Any, Any]:
        return data.train.batch(rows_of(generator, len(data.train.target), BATCH[trial.scale]))

    def measure(model: Any) -> Mapping[str, float]:
        errors, kept = wrong(model, data.validation, np.concatenate([at_length, short]))
        count = len(at_length)
        rate, short_rate = (errors[part].sum() / kept[part].sum() for part in (slice(count), slice(count, None)))
        wrong_words = errors[:count].any(axis=1).mean()
        return {"phone_error_rate": rate, "growth": rate - short_rate, "word_error_rate": wrong_words}

    def look(step: int, model: Any) -> None:
        if step == steps and trial.arm == "attention":
            batch, targets = data.validation.batch(at_length)
            weights = keras.Model(model.inputs, model.get_layer("attention").output[1])(batch)
            monotone.append(in_order(keras.ops.convert_to_numpy(weights), targets != PAD))

    steps, points, monotone = STEPS[trial.scale], 4 if trial.scale == "quick" else 10, [math.nan]
    outcome = learn(trial, build, draw, steps, measure=measure, each_step=look, points=points)
    return dataclasses.replace(outcome, metrics={"monotone": monotone[-1]})


def in_order(weights: np.ndarray, kept: np.ndarray) -> float:
    """How often the mean place that a target looks at, by weights (B, T, S), is not before that of the target before.

    Of targets (B, T) that are kept alone.
    """
    places = weights @ np.arange(weights.shape[-1])  # (B, T)
    return float(np.mean((np.diff(places) >= 0)[kept[:, 1:]]))


def build(trial: Trial) -> Any:
    """A compiled network."""
    import keras

    longest, width = SPLIT[trial.scale][0], WIDTH[trial.scale]
    attention = None
    if trial.arm == "attention":
        layer = trial.implementation.load().AdditiveAttention(width, dtype=trial.precision, name="attention")
        attention = lambda *inputs: layer(*inputs[:2], mask=inputs[2], return_attention_scores=True)[0]  # noqa: E731
    model = encoder_decoder(SYMBOLS, longest + 1, longest + 1, width, trial.precision, attention)
    model.compile(keras.optimizers.Adam(trial.learning_rate), mean_loss, jit_compile=False)
    return model
