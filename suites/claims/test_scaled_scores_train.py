"""Claim: scores that are divided by the root of the head size let attention train.

For independent q and k of variance 1 their product has variance H, the head size. Vaswani et al. suspect that, left as
it is, it pushes the softmax to where its gradient is extremely small (footnote 4); they show no experiment, so that
there is no published setting. Here one head finds the letters that each phone of a word is made of.
"""

import dataclasses
from typing import Any

import numpy as np

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.pairs import SYMBOLS, mean_loss, words
from suites.claims.training import learn, rows_of
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = {"quick": 80, "standard": 2000}
SPLIT = {"quick": (8, 6000, 1), "standard": (12, None, 1)}
WIDTH, BATCH = 64, 32
CLAIM = Claim(
    technique="dot_product_attention",
    statement="Scores over the root of the head size leave the softmax a gradient, and a large head trains with them "
    "where it does not without.",
    source="Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1 and footnote 4",
    arms={"scaled": "scores divided by the root of the head size", "undivided": "scores as they are"},
    axis="head_size",
    values={"quick": (16, 256), "standard": (16, 64, 256, 1024)},
    metrics={
        "training_loss": Metric("Training loss at the end", "nat", "lower", last=4),
        "softmax_gradient": Metric("Norm of the softmax's Jacobian at the start, mean of rows", "", "higher"),
        "largest_weight": Metric("Largest weight at the start, mean of rows", "", "lower"),
    },
    contrasts=(
        Contrast("training_loss", "scaled", "undivided", "difference", margin=0.1),
        Contrast("softmax_gradient", "scaled", "undivided", "ratio", margin=1.5),
    ),
    rates=Rates(published=0.003, below=1, above=1),
    fixed={"data": "CMUdict", "network": f"one head, width {WIDTH}", "batch": str(BATCH), "optimizer": "Adam"},
)


def train(trial: Trial) -> Outcome:
    """One network; its first step has rate 0, so that the start can be looked at."""
    import keras

    data = words(trial.seed_for("split"), *SPLIT[trial.scale]).train
    start: dict[str, float] = {}

    def draw(generator: np.random.Generator) -> tuple[Any, Any]:
        return data.batch(rows_of(generator, len(data.target), BATCH))

    def look(step: int, model: Any) -> None:
        if step == 0:
            found = keras.Model(model.inputs, model.get_layer("attention").output[1])(data.batch(slice(256))[0])
            weights = np.asarray(keras.ops.convert_to_numpy(found), np.float64)
            start.update(softmax_gradient=jacobian_norm(weights).mean(), largest_weight=weights.max(-1).mean())

    rate = lambda step: trial.learning_rate * (step > 0)  # noqa: E731
    outcome = learn(trial, build, draw, STEPS[trial.scale], rate=rate, each_step=look)
    return dataclasses.replace(outcome, metrics=start)


def jacobian_norm(weights: np.ndarray) -> np.ndarray:
    """Frobenius norm of diag(w) - w w', how a softmax answers to its scores, for each row w."""
    second, third = (np.sum(weights**power, axis=-1) for power in (2, 3))
    return np.sqrt(np.maximum(second - 2 * third + second**2, 0))


def build(trial: Trial) -> Any:
    """A compiled network: each phone, by its position and the one before, looks for letters with one head."""
    import keras
    from keras import layers, ops

    subject, one = trial.implementation.load(), {"dtype": trial.precision}
    scale, longest, size = None if trial.arm == "scaled" else 1.0, SPLIT[trial.scale][0], trial.condition["head_size"]

    class Attention(layers.Layer):
        """The function as a layer, with its weights."""

        def call(self, *projected: Any) -> Any:
            """Of query, keys and values (B, T or S, H or D)."""
            heads = [ops.expand_dims(each, 2) for each in projected]
            found, weights = subject.dot_product_attention(*heads, scale=scale, return_weights=True)
            return ops.squeeze(found, 2), weights

    def embedded(tokens: Any) -> Any:
        positions = ops.cumsum(ops.ones_like(tokens), axis=1) - 1  # of the tokens: a constant would be no input
        places = layers.Embedding(longest + 1, WIDTH, **one)(positions)
        x = layers.Embedding(SYMBOLS, WIDTH, **one)(tokens) + places
        return layers.LayerNormalization(**one)(x)  # so that queries and keys have variance 1

    def projected(x: Any, size: int) -> Any:
        return layers.Dense(size, use_bias=False, kernel_initializer="lecun_normal", **one)(x)

    letters, so_far = (keras.Input((longest + 1,), dtype="int32") for _ in range(2))
    source, target = embedded(letters), embedded(so_far)
    inputs = projected(target, size), projected(source, size), projected(source, WIDTH)
    found, _ = Attention(name="attention", **one)(*inputs)
    hidden = layers.Dense(2 * WIDTH, "relu", **one)(layers.Concatenate(**one)([target, found]))
    model = keras.Model([letters, so_far], layers.Dense(SYMBOLS, dtype="float32")(hidden))
    model.compile(keras.optimizers.Adam(trial.learning_rate), mean_loss, jit_compile=False)
    return model
