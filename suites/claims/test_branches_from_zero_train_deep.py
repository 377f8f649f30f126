"""Claim: a deep residual network without normalization trains where its branches start at zero.

Zhang et al. 2019 ("Fixup", arXiv:1901.09321, sections 2 and 3): a residual network whose branches start with He's
weights doubles its variance with every block, so that without normalization a deep one starts with huge outputs and
gradients; one whose branches start at zero begins as its shortcuts.
"""

from typing import Any

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Rates, Trial
from suites.claims.training import classifier_loss, draw_from, learn
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

BATCH, WIDTH = 64, 64
STEPS = {"standard": 600, "paper": 20_000}
CLAIM = Claim(
    technique="initialization",
    statement="Where every residual branch starts at zero, a deep network trains without normalization; where branches "
    "start with He's weights, it does not.",
    source="Zhang, Dauphin and Ma 2019, arXiv:1901.09321, sections 2 and 3",
    arms={
        "zero": "the last layer of each branch starts at zero",
        "he": "all start with He's weights",
    },
    axis="blocks",
    values={"standard": (4, 16, 64), "paper": (16, 256)},
    metrics={"training_loss": Metric("Training loss at the end", "nat", "lower", last=4)},
    contrasts=(Contrast("training_loss", "zero", "he", "difference", margin=0.1),),
    rates=Rates(published=0.003, below=2, above=1),
    fixed={"data": "1,437 digits of 8x8", "branch": f"dense, ReLU, dense, {WIDTH} wide", "optimizer": "SGD"},
)


def train(trial: Trial) -> Outcome:
    """A deep network on digits."""
    from datasets import digits

    data = digits.split(seed=trial.seed_for("split")).train
    return learn(trial, build, draw_from(data.images, data.labels, BATCH), STEPS[trial.scale])


def build(trial: Trial) -> Any:
    """A compiled network without any normalization."""
    import keras
    from keras import layers

    module = trial.implementation.load()

    def dense(x: Any, units: int, scheme: str, **options: Any) -> tuple[Any, Any]:
        layer = layers.Dense(units, kernel_initializer=module.initializer(scheme), **options)
        return layer(x), layer

    x, _ = dense(layers.Flatten()(inputs := keras.Input((8, 8, 1))), WIDTH, "lecun_normal", dtype=trial.precision)
    for _ in range(trial.condition["blocks"]):
        hidden, first = dense(x, WIDTH, "he_normal", dtype=trial.precision)
        branch, last = dense(layers.ReLU(dtype=trial.precision)(hidden), WIDTH, "he_normal", dtype=trial.precision)
        if trial.arm == "zero":
            module.zero_residual([first, last])
        x = x + branch
    logits, _ = dense(x, 10, "lecun_normal", dtype="float32")
    model = keras.Model(inputs, logits)
    model.compile(keras.optimizers.SGD(trial.learning_rate), classifier_loss(), jit_compile=False)
    return model
