"""Claim: a cache, parallel and vectorized calls and prefetching make batches sooner, so that training waits for none.

Each optimisation alone and all together, on real digits that are enlarged and augmented (tf.data: Murray et al. 2021,
arXiv:2101.12127, section 3). The consumer spends 2 ms on each batch with the processor idle, as one who waits for an
accelerator does; the rest of its time it waits for input.
"""

import time
from typing import Any

from suites.claims.claim import Claim, Contrast, Metric, Outcome, Trial
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

OFF: dict[str, Any] = {"cache": False, "parallel": 1, "vectorized": False, "prefetch": 0}
BATCH, STEP_S = 64, 0.002
CLAIM = Claim(
    technique="input_pipelines",
    statement="Each optimisation of an input pipeline makes batches sooner; with all of them training waits less.",
    source="the guide: implement efficient data pipelines; Murray et al. 2021, arXiv:2101.12127, section 3",
    arms={"none": "one after the other"} | dict.fromkeys(OFF, "this one alone") | {"all": "all of them"},
    axis="images",
    values={"quick": (1024,), "standard": (1024, 8192), "paper": (65_536,)},
    metrics={
        "epoch_seconds": Metric("Time of an epoch after the first", "s", "lower"),
        "waits": Metric("Share of that time in which training waits for input", "", "lower"),
    },
    contrasts=(
        *(Contrast("epoch_seconds", arm, "none", "ratio", margin=1.05) for arm in ("cache", "vectorized", "prefetch")),
        Contrast("epoch_seconds", "all", "none", "ratio", margin=1.5),
        Contrast("waits", "all", "none", "difference", margin=0.1),
    ),
    fixed={"data": "digits, enlarged to 64x64, moved and noisy", "batch": str(BATCH), "step": f"{STEP_S} s, idle"},
    alone=True,
    exact=False,
)


def train(trial: Trial) -> Outcome:
    """Two epochs, of which the second counts: the first fills the cache."""
    from datasets import digits

    module = trial.implementation.load()
    off = {name: value for name, value in OFF.items() if trial.arm not in (name, "all")}
    images, labels = digits.load()
    count = trial.condition["images"]
    arrays = images.repeat(-(-count // len(images)), axis=0)[:count], labels.repeat(-(-count // len(images)))[:count]
    options = module.Options(batch=BATCH, seed=trial.seed_for("order"), **off)

    def augment(batch: Any, keys: Any) -> Any:
        return module.augment_images(batch[0], keys, flip=False, shift=4, noise=0.1), batch[1]

    pipeline = module.from_arrays(arrays, options, enlarge, augment)
    for epoch in range(2):
        began, waited = time.perf_counter(), 0.0
        batches = iter(pipeline.epochs(1, epoch))
        for _ in range(pipeline.steps):
            asked = time.perf_counter()
            next(batches)
            waited += time.perf_counter() - asked
            time.sleep(STEP_S)
        seconds = time.perf_counter() - began
    return Outcome({"epoch_seconds": seconds, "waits": waited / seconds})


def enlarge(batch: Any) -> Any:
    """Images (B, 8, 8, 1) uint8 to (B, 64, 64, 1) float32 from 0 to 1."""
    import tensorflow as tf

    images = tf.cast(batch[0], tf.float32) / 16
    return tf.repeat(tf.repeat(images, 8, axis=1), 8, axis=2), batch[1]
