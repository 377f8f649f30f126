"""Wrong variants of curriculum learning, among them all that the guide's sketch gets wrong."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import ops

import reference.curriculum as reference
from suites.selftest.variants import Variant, override

# Pacing


def unclamped(pacing: str, step: int, total_steps: int, size: int, *, start: float = 0.2, full: float = 0.8) -> int:
    """The published formulas as they stand."""
    return int(size * reference.PACINGS[pacing](step / (full * total_steps), start))


def paced(**changes: Callable[[dict[str, Any]], Any]) -> SimpleNamespace:
    """The reference's pacing function with some of its arguments replaced by what is computed from all of them."""

    def visible_count(pacing: str, step: int, total_steps: int, size: int, **options: float) -> int:
        given = {"pacing": pacing, "step": step, "total_steps": total_steps, "size": size, **options}
        return reference.visible_count(**{**given, **{name: change(given) for name, change in changes.items()}})

    return override(reference, visible_count=visible_count)


def fractional(pacing: str, step: int, total_steps: int, size: int, **options: float) -> float:
    """A fraction of the examples where a number of them was asked for."""
    return float(reference.visible_count(pacing, step, total_steps, size, **options))


SWAPPED = {"root": "quadratic", "quadratic": "root"}


def truncated(pacing: str, step: int, total_steps: int, size: int, *, start: float = 0.2, full: float = 0.8) -> int:
    """Rounded down as floats are: 0.29 * 100 is 28.999999999999996."""
    reference.visible_count(pacing, step, total_steps, size, start=start, full=full)
    progress = min(1.0, step / (full * total_steps))
    return min(size, max(1, int(size * reference.PACINGS[pacing](progress, start))))


def lenient(pacing: str, step: int, total_steps: int, size: int, *, start: float = 0.2, full: float = 0.8) -> int:
    """Whatever it is given, it finds something."""
    curve = reference.PACINGS.get(pacing, reference.PACINGS["linear"])
    progress = min(1.0, max(0, step) / max(1e-9, full * total_steps))
    return min(size, max(1, math.floor(size * curve(progress, min(1.0, max(0.0, start))) * reference.NUDGE)))


# Orders


def ordered(change: Callable[..., Any]) -> SimpleNamespace:
    """The reference with another function in the place of `order`."""
    return override(reference, order=change)


def hard_to_easy(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """High scores are taken for easy ones."""
    return reference.order(-np.asarray(scores) if kind != "random" else scores, kind, **options)


def unstable(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """Equal scores come in reverse."""
    return len(scores) - 1 - reference.order(np.asarray(scores)[::-1], kind, **options)


def flipped(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """Anti is the curriculum backwards, equal scores too."""
    return (
        reference.order(scores, "curriculum", **options)[::-1]
        if kind == "anti"
        else reference.order(scores, kind, **options)
    )


def in_levels(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """Scores are first put on a scale of ten levels."""
    scores = np.asarray(scores, float)
    span = np.ptp(scores)
    return reference.order(
        np.floor((scores - scores.min()) / span * 10) if 0 < span < math.inf else scores, kind, **options
    )


def unseeded(scores: Any, kind: str = "curriculum", seed: int = 0, labels: Any = None) -> Any:
    """A random order from a generator of its own."""
    seed = int(np.random.default_rng().integers(2**31)) if kind == "random" else seed
    return reference.order(scores, kind, seed=seed, labels=labels)


def random_of_sorted(scores: Any, kind: str = "curriculum", seed: int = 0, labels: Any = None) -> Any:
    """The random order shuffles what is sorted already."""
    right = reference.order(scores, kind, seed=seed, labels=labels)
    return reference.order(scores, "curriculum")[right] if kind == "random" else right


def unbalanced(scores: Any, kind: str = "curriculum", seed: int = 0, labels: Any = None) -> Any:  # noqa: ARG001 - the defect
    """The labels are accepted and ignored."""
    return reference.order(scores, kind, seed=seed)


def balanced_by_loss(scores: Any, kind: str = "curriculum", seed: int = 0, labels: Any = None) -> Any:
    """Classes take turns until the smallest is used up; the rest is lost."""
    right = reference.order(scores, kind, seed=seed, labels=labels)
    if labels is None:
        return right
    smallest = np.unique(labels, return_counts=True)[1].min()
    return right[: smallest * len(np.unique(labels))]


def nan_last(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """NaN counts as hardest, and whatever has no order has an empty one."""
    flat = np.nan_to_num(np.ravel(scores), nan=math.inf)
    kind = kind if kind in reference.KINDS else "curriculum"
    return reference.order(flat, kind, **options) if flat.size else np.array([], np.int64)


def negated_in_place(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """Anti negates the caller's scores."""
    if kind == "anti":
        np.negative(scores, out=scores)
        return reference.order(scores, "curriculum", **options)
    return reference.order(scores, kind, **options)


# Scores


def scored(training: bool = False, dtype: str = "", average: bool = False, again: bool = False) -> Callable[..., Any]:
    """A `teacher_losses` with one of these mistakes."""

    def teacher_losses(model: Any, inputs: Any, targets: Any, loss: Any, batch_size: int = 256) -> Any:
        def teacher(x: Any, **_: Any) -> Any:
            if again:
                model(inputs, training=False)
            return model(x, training=training)

        def measured(y: Any, outputs: Any) -> Any:
            losses = loss(y, ops.cast(outputs, dtype) if dtype else outputs)
            return ops.broadcast_to(ops.mean(losses), (len(outputs),)) if average else losses

        return reference.teacher_losses(teacher, inputs, targets, measured, batch_size)

    return teacher_losses


def none_at_all(losses: Any, threshold: float) -> Any:
    """Where no loss is under the threshold, nothing is left to train on."""
    return (losses < threshold).astype(np.float32)


def variant(name: str, defect: str, *caught_by: str, module: Any = None, **changes: Any) -> Variant:
    """A variant that is a module, or the reference with some names replaced."""
    return Variant(name, defect, caught_by, module or override(reference, **changes))


def in_float32(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """Scores become float32 before they are ranked."""
    return reference.order(np.asarray(scores, np.float32) if kind != "random" else scores, kind, **options)


def whole_labels(scores: Any, kind: str = "curriculum", *, seed: int = 0, labels: Any = None) -> Any:
    """Labels are numbers of classes."""
    labels = np.asarray(labels) if labels is not None else None
    whole = labels.astype(np.int64) if labels is not None and labels.dtype.kind in "biuf" else labels
    return reference.order(scores, kind, seed=seed, labels=whole)


VARIANTS = (
    variant(
        "scores_in_float32",
        "scores become float32 before they are ranked, and close ones tie",
        "curriculum_goes_from_easy_to_hard",
        "anti_is_the_curriculum_of_negated_scores",
        order=in_float32,
    ),
    variant("labels_are_integers", "labels are cast to integers", "classes_take_turns", order=whole_labels),
    variant(
        "threshold_unchecked",
        "a threshold that does not grow is accepted",
        "wrong_losses_and_thresholds_are_refused",
        self_paced_threshold=lambda number, first, growth=1.3: first * growth**number,
    ),
    variant(
        "difficulty_recomputed_for_every_batch",
        "every batch scores all examples again",
        "teacher_sees_each_example_once",
        teacher_losses=scored(again=True),
    ),
    variant(
        "unclamped",
        "the published formulas go under 1 and over N",
        "pacing_is_full_on_time",
        "pacing_counts_examples",
        "pacing_begins_with_its_share",
        visible_count=unclamped,
    ),
    Variant(
        "full_too_late",
        "all are visible a step after a T",
        ("pacing_is_full_on_time",),
        paced(step=lambda given: max(0, given["step"] - 1)),
    ),
    Variant(
        "progress_in_the_epoch",
        "progress is counted in every epoch of five steps anew",
        ("pacing_never_shrinks", "pacing_is_full_on_time"),
        paced(step=lambda given: given["step"] % 5),
    ),
    Variant(
        "root_is_quadratic",
        "root and quadratic pacing are exchanged",
        ("pacing_families_are_ordered", "pacing_follows_the_formula"),
        paced(pacing=lambda given: SWAPPED.get(given["pacing"], given["pacing"])),
    ),
    variant(
        "truncated",
        "a fraction counts as its float does, so that 0.29 of 100 is 28",
        "pacing_begins_with_its_share",
        visible_count=truncated,
    ),
    variant("fractional", "g(t) is a float", "pacing_counts_examples", visible_count=fractional),
    variant("lenient", "arguments out of range are put right", "wrong_paces_are_refused", visible_count=lenient),
    variant(
        "reverse_sort",
        "the hardest come first",
        "curriculum_goes_from_easy_to_hard",
        "anti_is_the_curriculum_of_negated_scores",
        order=hard_to_easy,
    ),
    variant("unstable", "equal scores come in reverse", "curriculum_goes_from_easy_to_hard", order=unstable),
    variant(
        "flipped",
        "anti is the curriculum backwards, so that equal scores come in reverse",
        "anti_is_the_curriculum_of_negated_scores",
        order=flipped,
    ),
    variant(
        "in_levels", "scores are put into ten levels of equal width", "only_the_ranks_of_scores_count", order=in_levels
    ),
    variant("random_unseeded", "the seed of the random order is ignored", "random_order_is_seeded", order=unseeded),
    variant(
        "random_of_sorted", "the random order depends on the scores", "random_order_is_seeded", order=random_of_sorted
    ),
    variant("unbalanced", "labels are accepted and ignored", "classes_take_turns", order=unbalanced),
    variant(
        "balanced_by_loss",
        "what is left when a class is used up is dropped",
        "classes_take_turns",
        order=balanced_by_loss,
    ),
    variant(
        "nan_last",
        "scores that are no vector of numbers are ordered somehow",
        "wrong_scores_are_refused",
        order=nan_last,
    ),
    variant(
        "negated_in_place", "the caller's scores are negated", "arguments_are_left_as_they_were", order=negated_in_place
    ),
    Variant(
        "loss_in_half_precision",
        "the loss is computed in the teacher's precision, in which many are equal",
        ("teacher_losses_are_the_losses",),
        override(reference, teacher_losses=scored(dtype="float16")),
        precisions=("float32", "mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "teacher_still_trains",
        "the teacher is called as in training",
        ("teacher_losses_are_the_losses",),
        override(reference, teacher_losses=scored(training=True)),
        precisions=("float32", "mixed_float16"),
    ),
    variant(
        "loss_of_the_batch",
        "every example of a batch gets its mean loss",
        "losses_must_be_per_example",
        "teacher_losses_are_the_losses",
        teacher_losses=scored(average=True),
    ),
    variant(
        "none_at_all", "no example may have weight 1", "self_paced_weights_are_optimal", self_paced_weights=none_at_all
    ),
    variant(
        "threshold_grows_by_steps",
        "the threshold grows by a term and not by a factor",
        "self_paced_weights_end_with_all",
        self_paced_threshold=lambda number, first, growth=1.3: first + number * growth,
    ),
)
