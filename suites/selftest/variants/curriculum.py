"""Wrong variants of curriculum learning, among them all that the guide's sketch gets wrong."""

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import ops, tree

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


# Plans


def planned(plan: type[reference.Curriculum]) -> SimpleNamespace:
    """The reference with another class of plan, in its arms too."""

    def arms(scores: Any, *, start: float = 0.2, seed: int = 0, labels: Any = None, **options: Any) -> Any:
        right = reference.arms(scores, start=start, seed=seed, labels=labels, **options)
        arguments = {"vanilla": 1.0, "curriculum": start, "anti": start, "random": start}
        return {name: plan(right[name].order, start=each, seed=seed, **options) for name, each in arguments.items()}

    return override(reference, Curriculum=plan, arms=arms)


def sample(plan: reference.Curriculum, step: int, pool: Any, **options: Any) -> Any:
    """A batch from a pool, with a generator for each step."""
    if step < 0:
        raise ValueError("`step` must be 0 or more")
    return np.random.default_rng([plan.seed, step]).choice(pool, plan.batch_size, **options)


class NeverAdvances(reference.Curriculum):
    """The epoch stays 0, and so does what is visible."""

    def visible(self, step: int) -> Any:  # noqa: ARG002 - the defect
        return super().visible(0)

    def indices(self, step: int) -> Any:
        return sample(self, step, self.visible(0))


class EmptySelection(reference.Curriculum):
    """As many as the fraction says, which may be none."""

    def indices(self, step: int) -> Any:
        progress = min(1.0, step / (self.full * self.total_steps))
        return sample(self, step, self.order[: int(len(self.order) * (self.start + (1 - self.start) * progress))])


class WithReplacement(reference.Curriculum):
    """Each step draws from the visible anew, so that no pass is complete."""

    def indices(self, step: int) -> Any:
        return sample(self, step, self.visible(step))


class OneTooMany(reference.Curriculum):
    """A slice that is one too long."""

    def indices(self, step: int) -> Any:
        return sample(self, step, self.order[: len(self.visible(step)) + 1])


class LostTail(reference.Curriculum):
    """A pass ends with its last full batch."""

    def indices(self, step: int) -> Any:
        visible = np.sort(self.visible(step))
        number, batch = divmod(step, max(1, len(visible) // self.batch_size))
        shuffled = np.random.default_rng([self.seed, number]).permutation(visible)
        begin = batch * self.batch_size
        return np.resize(shuffled[begin : begin + self.batch_size], self.batch_size)


class ShortBatches(reference.Curriculum):
    """The last batch of a pass holds what is left, so that arms see different numbers of examples."""

    def indices(self, step: int) -> Any:
        visible = np.sort(self.visible(step))
        number, batch = divmod(step, math.ceil(len(visible) / self.batch_size))
        shuffled = np.random.default_rng([self.seed, number]).permutation(visible)
        return shuffled[batch * self.batch_size :][: self.batch_size]


class Unseeded(reference.Curriculum):
    """Shuffled by a generator of its own."""

    def indices(self, step: int) -> Any:
        return np.random.default_rng().permutation(super().indices(step))


class ShuffledOnce(reference.Curriculum):
    """Every pass has the order of the first."""

    def indices(self, step: int) -> Any:
        visible = np.random.default_rng([self.seed, 1]).permutation(np.sort(self.visible(step)))
        return visible[(step * self.batch_size + np.arange(self.batch_size)) % len(visible)]


class Stream(reference.Curriculum):
    """The plan is an iterator: whoever asks gets the next batch, whatever the step is."""

    def indices(self, step: int) -> Any:  # noqa: ARG002 - the defect
        self.__dict__["asked"] = self.__dict__.get("asked", -1) + 1
        return super().indices(self.__dict__["asked"])


class Shared(reference.Curriculum):
    """The order is the caller's array, not a copy."""

    def __post_init__(self) -> None:
        given = self.order
        super().__post_init__()
        object.__setattr__(self, "order", given)

    def indices(self, step: int) -> Any:
        return self.order[super().indices(step) % len(self.visible(step))]


class GivesOutItsCache(reference.Curriculum):
    """A step that was drawn before is given out again, the very same array."""

    def indices(self, step: int) -> Any:
        return self.__dict__.setdefault(f"step {step}", super().indices(step))


class Unpicklable(reference.Curriculum):
    """The pacing is a closure that the plan keeps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.__dict__["pace"] = lambda step: len(self.visible(step))


class Trusting(reference.Curriculum):
    """No argument is checked."""

    def __post_init__(self) -> None:
        """Nothing."""


def longer_vanilla(scores: Any, **options: Any) -> Any:
    """Vanilla trains for as many steps more as the others have fewer examples."""
    arms = reference.arms(scores, **options)
    return {
        **arms,
        "vanilla": reference.arms(scores, **{**options, "total_steps": 2 * options["total_steps"]})["vanilla"],
    }


# Batches


def batches_from_the_beginning(plan: Any, data: Any, start: int = 0) -> Iterator[Any]:
    """Resumed training begins the epoch again."""
    return reference.batches(plan, data, start * 0)


def unchecked_batches(plan: Any, data: Any, start: int = 0) -> Iterator[Any]:
    """Neither the rows nor the step are checked."""
    return (tree.map_structure(lambda a: a[plan.indices(step)], data) for step in range(start, plan.total_steps))  # noqa: B023


def emptied_batches(plan: Any, data: Any, start: int = 0) -> Iterator[Any]:
    """A batch is taken out of the data."""
    for step in plan.steps(start):
        indices = plan.indices(step)
        yield tree.map_structure(lambda array: array[indices], data)  # noqa: B023
        for array in tree.flatten(data):
            array[indices] = 0


def reordered_tf_data(plan: Any, data: Any, start: int = 0) -> Any:
    """Shuffled once more, a few batches at a time."""
    return reference.to_tf_data(plan, data, start).shuffle(4, seed=1)


class FromTheBeginning(reference.CurriculumDataset):
    """The step to begin with is accepted and ignored."""

    def __init__(self, plan: Any, data: Any, start: int = 0, **options: Any) -> None:
        super().__init__(plan, data, start, **options)
        self.start = 0


class Finite(reference.CurriculumDataset):
    """It has a length, and so `fit` shuffles its batches."""

    num_batches = property(lambda self: self.plan.total_steps - self.start)


class EpochAgain(reference.CurriculumDataset):
    """Every epoch trains on the batches of the first."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index % 5)


def variant(name: str, defect: str, *caught_by: str, module: Any = None, **changes: Any) -> Variant:
    """A variant that is a module, or the reference with some names replaced."""
    return Variant(name, defect, caught_by, module or override(reference, **changes))


VARIANTS = (
    Variant(
        "epoch_never_advances",
        "the epoch stays 0, and what is visible never grows",
        ("visible_are_the_easiest", "everything_is_drawn_in_the_end"),
        planned(NeverAdvances),
    ),
    Variant(
        "empty_selection_crashes",
        "drawing from a selection without an example crashes",
        ("only_the_visible_are_drawn",),
        planned(EmptySelection),
        raises=ValueError,
    ),
    variant(
        "difficulty_recomputed_for_every_batch",
        "every batch scores all examples again",
        "teacher_sees_each_example_once",
        teacher_losses=scored(again=True),
    ),
    Variant(
        "unseeded",
        "batches come from a generator without a seed",
        ("shuffles_are_seeded", "a_step_depends_on_nothing_before", "plan_survives_copies"),
        planned(Unseeded),
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
    Variant(
        "with_replacement",
        "each step draws anew from what is visible, in its order",
        ("passes_miss_nothing", "start_of_one_is_vanilla"),
        planned(WithReplacement),
    ),
    Variant("one_too_many", "the slice is one too long", ("only_the_visible_are_drawn",), planned(OneTooMany)),
    Variant("lost_tail", "a pass ends with its last full batch", ("passes_miss_nothing",), planned(LostTail)),
    Variant(
        "short_batches",
        "the last batch of a pass is short, so that arms see different numbers of examples",
        ("only_the_visible_are_drawn", "arms_have_equal_budgets"),
        planned(ShortBatches),
    ),
    Variant("shuffled_once", "every pass has the same order", ("shuffles_are_seeded",), planned(ShuffledOnce)),
    Variant(
        "stream",
        "a step draws what comes after the step asked for before",
        ("a_step_depends_on_nothing_before", "plan_survives_copies"),
        planned(Stream),
    ),
    Variant("shared_order", "the order stays the caller's", ("plan_is_frozen",), planned(Shared)),
    Variant("cache_given_out", "the plan's own arrays are given out", ("plan_is_frozen",), planned(GivesOutItsCache)),
    Variant("unpicklable", "the plan holds a closure", ("plan_survives_copies",), planned(Unpicklable)),
    Variant("trusting", "no argument of a plan is checked", ("wrong_plans_are_refused",), planned(Trusting)),
    variant("longer_vanilla", "vanilla trains for longer", "arms_have_equal_budgets", arms=longer_vanilla),
    variant(
        "resume_restarts",
        "resumed batches are those from the beginning",
        "numpy_batches_follow_the_plan",
        batches=batches_from_the_beginning,
    ),
    variant("unchecked", "rows and steps are not checked", "misfits_are_refused", batches=unchecked_batches),
    variant("emptied", "a batch is taken out of the data", "arguments_are_left_as_they_were", batches=emptied_batches),
    variant("reordered", "tf.data shuffles again", "tf_data_gives_the_same_batches", to_tf_data=reordered_tf_data),
    variant(
        "start_ignored",
        "the PyDataset begins at step 0",
        "py_dataset_gives_the_same_batches",
        "fit_trains_on_the_plan",
        CurriculumDataset=FromTheBeginning,
    ),
    variant("finite", "fit shuffles the batches", "fit_trains_on_the_plan", CurriculumDataset=Finite),
    variant("epoch_again", "every epoch is the first", "fit_trains_on_the_plan", CurriculumDataset=EpochAgain),
)
