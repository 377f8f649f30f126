"""What each technique promises, as data: what it is measured by, against what, and what it costs.

A promise is kept or broken by measurements, never by this table: the report reads it from ``run.json`` and answers it,
``reports/pages/answers.py``. Nothing here imports a framework.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from suites.selftest.variants import caught


class Kind(StrEnum):
    """What a technique promises."""

    QUALITY = "quality"
    SPEED = "speed"
    MEMORY = "memory"
    SAFETY = "safety"


@dataclass(frozen=True)
class Races:
    """The races whose ratios of time and memory count for a promise.

    Attributes:
        workloads: their names, as patterns: ``source-*``; one that is there at no scale decides nothing.
        operations: what is timed of them.
        does: who takes the time, in words with a workload's sizes: ``attention over {source} annotations``. It may
            name ``{workload}`` and ``{precision}`` too.
        instead: what it is compared with, in words that continue "takes twice the time of ...".
        over: ``without``, the same work with the technique left out; or ``float32``, for each mixed precision.
    """

    workloads: tuple[str, ...]
    operations: tuple[str, ...]
    does: str
    instead: str
    over: str = "without"


@dataclass(frozen=True)
class Promise:
    """One promise of a technique.

    Attributes:
        kind: quality is decided by a claim, speed and memory by races, safety by properties.
        statement: the promise, in one short sentence.
        label: which part of the technique promises this; empty where it promises one thing only.
        races: of a promise of speed or memory, those that decide it; of others, those that say what it costs.
        claim: the claim that decides a promise of quality; empty as long as there is none.
        properties: those that show that a promise of safety is kept.
        costs: the cost in words, where no race can show it.
    """

    kind: Kind
    statement: str
    label: str = ""
    races: Races | None = None
    claim: str = ""
    properties: tuple[str, ...] = ()
    costs: str = ""


TRAIN = ("train",)

PROMISES: Mapping[str, tuple[Promise, ...]] = {
    "residual": (
        Promise(
            Kind.QUALITY,
            "A deep network trains where the same network without shortcuts does not.",
            claim="shortcuts_carry_signal",
            races=Races(
                ("resnet*",),
                ("train", "inference"),
                "a step of {workload} with shortcuts",
                "the same network without them",
            ),
        ),
    ),
    "additive_attention": (
        Promise(
            Kind.QUALITY,
            "A decoder that looks at every annotation of its source makes fewer errors than one that sees a summary.",
            claim="attention_flattens_length",
            races=Races(
                ("source-*",), TRAIN, "attention over {source} annotations", "a decoder that only sees their mean"
            ),
        ),
    ),
    "dot_product_attention": (
        Promise(
            Kind.QUALITY,
            "Positions that look at each other predict better than positions that see a summary.",
            label="Attention",
            claim="positions_look_at_each_other",
            races=Races(
                ("length-*",),
                TRAIN,
                "self-attention over {length} positions",
                "a network that sees the mean of all positions",
            ),
        ),
        Promise(
            Kind.MEMORY,
            "Attention by blocks needs less memory, as it never holds all scores at once.",
            label="Attention by blocks",
            races=Races(
                ("blockwise-*",),
                TRAIN,
                "self-attention over {length} positions by blocks of {block}",
                "the same with all scores at once",
            ),
        ),
    ),
    "transformer": (
        Promise(
            Kind.QUALITY,
            "A Transformer makes fewer errors in language tasks than a recurrent network of as many weights.",
            label="Attention",
            claim="transformer_beats_recurrent",
            races=Races(
                ("phones*", "block*", "base*"),
                TRAIN,
                "a training step of {workload}",
                "the same network with means in the place of attention",
            ),
        ),
        Promise(
            Kind.SPEED,
            "Decoding with a cache is faster, as no token is computed twice.",
            label="Decoding with a cache",
            races=Races(
                ("*",),
                ("decode",),
                "decoding {target} tokens with a cache ({workload})",
                "decoding that computes the whole target anew for every token",
            ),
        ),
    ),
    "curriculum": (
        Promise(
            Kind.QUALITY,
            "A network that sees the easy examples first learns faster or better.",
            claim="easy_first_helps",
            races=Races(
                ("digits", "words"),
                ("numpy", "tf_data", "py_dataset"),
                "making the batches of an epoch of {workload} by difficulty ({operation})",
                "making them in a random order",
            ),
        ),
    ),
    "mixed_precision": (
        Promise(
            Kind.SPEED,
            "A training step is faster in 16 bits, and needs less memory.",
            races=Races(
                ("conv-*", "dense-*"),
                TRAIN,
                "a training step of {workload} in {precision}",
                "the same step in float32",
                over="float32",
            ),
        ),
    ),
    "checkpointing": (
        Promise(
            Kind.MEMORY,
            "Training needs less memory, as activations are computed again and not kept.",
            races=Races(
                ("*-dense*", "*-residual*"),
                TRAIN,
                "training the stack {workload} with checkpoints",
                "the same stack with every activation kept",
            ),
        ),
    ),
    "initialization": (
        Promise(
            Kind.QUALITY,
            "With weights of the right size signals and gradients stay alive through depth, and a deep network learns.",
            claim="he_keeps_signals_alive",
            costs="Nothing in a step: weights are drawn once, before training.",
        ),
    ),
    "schedules": (
        Promise(
            Kind.QUALITY,
            "A warm-up and a falling rate train better than a constant rate.",
            label="Schedule",
            claim="schedules_beat_a_constant_rate",
            races=Races(("schedule",), TRAIN, "a training step with a schedule", "one at a constant rate"),
        ),
        Promise(
            Kind.MEMORY,
            "A large batch fits into less memory when it is taken in micro-batches.",
            label="Accumulation",
            races=Races(
                ("accumulation-*",),
                TRAIN,
                "an update by {batch} images of side {side} in micro-batches of {size}",
                "the same batch at once",
            ),
        ),
    ),
    "input_pipelines": (
        Promise(
            Kind.SPEED,
            "An epoch of batches is ready sooner with a cache, parallel and vectorized calls, and prefetching.",
            races=Races(
                ("arrays", "files", "words", "words-*"),
                ("epoch", "feed"),
                "an epoch of {workload} through the whole pipeline ({operation})",
                "one with all that makes it fast switched off",
            ),
        ),
    ),
    "monitoring": (
        Promise(
            Kind.SAFETY,
            "Trouble in training is named early, and looking for it changes nothing.",
            properties=(
                "first_non_finite_is_named",
                "the_layer_that_brings_nan_is_named",
                "norm_of_infinity_is_not_finite",
                "dead_units_are_never_active",
                "stopping_follows_its_rule",
                "best_weights_are_restored",
                "nan_is_never_the_best",
                "watching_leaves_the_run_as_it_was",
            ),
            races=Races(
                ("every-*",),
                TRAIN,
                "training that is read at an interval of {every}",
                "training that nobody watches",
            ),
        ),
    ),
}


def facts(technique: str) -> dict[str, Any]:
    """What ``run.json`` says of a technique: its promises, with the commands that decide them at standard scale.

    Beside them, the wrong variants that each of its properties catches.
    """
    declared = [
        asdict(promise) | {"commands": _commands(technique, promise)} for promise in PROMISES.get(technique, ())
    ]
    return {"promises": declared, "caught": caught(technique)}


def _commands(technique: str, promise: Promise) -> dict[str, str]:
    """From the project's folder, by what they run: ``claim``, ``races``, ``properties``."""
    paths = {
        "claim": f"suites/claims/test_{promise.claim}.py" if promise.claim else "",
        "races": f"benchmarks/bench_{technique}.py" if promise.races else "",
        "properties": f"suites/properties/test_{technique}.py" if promise.properties else "",
    }
    options = "--scale standard --results results/standard --report"
    return {name: f"tox run -e test -- {path} {options}" for name, path in paths.items() if path}
