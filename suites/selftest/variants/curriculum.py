"""Wrong variants of curriculum learning, among them all that the guide's sketch gets wrong."""

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import ops, tree

import reference._curriculum_batches as parts
import reference.curriculum as reference
from suites.selftest.variants import Variant, edited, override

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


def edit(old: str, new: str) -> Any:
    """The reference with one text of its source replaced."""
    return edited(parts, reference, old=old, new=new)


def in_float32(scores: Any, kind: str = "curriculum", **options: Any) -> Any:
    """Scores become float32 before they are ranked."""
    return reference.order(np.asarray(scores, np.float32) if kind != "random" else scores, kind, **options)


def whole_labels(scores: Any, kind: str = "curriculum", *, seed: int = 0, labels: Any = None) -> Any:
    """Labels are numbers of classes."""
    labels = np.asarray(labels) if labels is not None else None
    whole = labels.astype(np.int64) if labels is not None and labels.dtype.kind in "biuf" else labels
    return reference.order(scores, kind, seed=seed, labels=whole)


class WholeBatches(reference.Curriculum):
    """Who shares a batch is decided once; passes permute the batches, and within them."""

    def indices(self, step: int) -> Any:
        visible = self.visible(step)
        if len(visible) < len(self.order) or len(visible) % self.batch_size:
            return super().indices(step)
        number, place = divmod(step, len(visible) // self.batch_size)
        generator = np.random.default_rng([self.seed, number])
        groups = np.random.default_rng(self.seed).permutation(np.sort(visible)).reshape(-1, self.batch_size)
        return generator.permutation(generator.permutation(groups)[place])


class FewSeeds(reference.Curriculum):
    """Only the lowest two bits of the seed count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "seed", self.seed & 3)


class Wrapping(reference.CurriculumDataset):
    """After the last step it begins again."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index % max(1, self.plan.total_steps - self.start))


class Counted(reference.CurriculumDataset):
    """Whoever asks gets the next batch, whatever the index is."""

    asked = -1

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        return super().__getitem__(self.asked)


VARIANTS = (
    Variant(
        "batches_of_the_same_company",
        "who shares a batch is decided once, and passes permute whole batches",
        ("every_order_of_a_pass_is_as_likely",),
        planned(WholeBatches),
    ),
    Variant(
        "few_seeds",
        "only the lowest two bits of a seed count in the shuffles",
        ("shuffles_are_seeded",),
        planned(FewSeeds),
    ),
    variant(
        "seed_plus_number",
        "a pass has the seed of the plan plus its number, so that seeds share passes",
        "shuffles_are_seeded",
        module=edit("default_rng([plan.seed, 1 + number])", "default_rng(plan.seed + number)"),
    ),
    variant(
        "rotated",
        "a pass is the one before with its indices rotated",
        "every_order_of_a_pass_is_as_likely",
        module=edit(
            "default_rng([plan.seed, 1 + number]).permutation(np.sort(plan.order[:size]))",
            "default_rng([plan.seed, 1]).permutation(np.roll(np.sort(plan.order[:size]), number))",
        ),
    ),
    variant(
        "random_seeds_in_float",
        "the random order takes its seed modulo 256",
        "random_order_is_seeded",
        module=edit("np.random.default_rng([seed, 0])", "np.random.default_rng([seed % 256, 0])"),
    ),
    variant(
        "a_step_late",
        "a pass takes what was visible a step before it begins",
        "passes_miss_nothing",
        module=edit(
            "self._count(begins[-1] // self.batch_size)", "self._count(max(0, begins[-1] // self.batch_size - 1))"
        ),
    ),
    variant(
        "visible_a_step_late",
        "what a plan says is visible is what was a step before",
        "visible_are_the_easiest",
        "passes_miss_nothing",
        module=edit(
            "return self.order[: self._count(step)]",
            "return self.order[: self._count(max(operator.index(step) - 1, min(step, 0)))]",
        ),
    ),
    variant(
        "scores_in_float32",
        "scores become float32 before they are ranked, and close ones tie",
        "curriculum_goes_from_easy_to_hard",
        "anti_is_the_curriculum_of_negated_scores",
        order=in_float32,
    ),
    variant(
        "anti_negates",
        "anti negates the scores in their own dtype, where unsigned integers and the least one wrap",
        "anti_is_the_curriculum_of_negated_scores",
        module=edit('np.argsort(-ranks, kind="stable")', 'np.argsort(np.negative(scores), kind="stable")'),
    ),
    variant("labels_are_integers", "labels are cast to integers", "classes_take_turns", order=whole_labels),
    variant(
        "labels_unchecked",
        "labels of another shape are broadcast or cut",
        "wrong_scores_are_refused",
        module=edit("labels = np.asarray(labels)\n", "labels = np.resize(np.asarray(labels), scores.shape)\n"),
    ),
    variant(
        "arms_without_labels",
        "the arms do not look at the labels",
        "arms_are_plans_over_their_orders",
        module=edit(
            "order(scores, kind, seed=seed, labels=labels) for kind", "order(scores, kind, seed=seed) for kind"
        ),
    ),
    variant(
        "arms_with_the_default_pacing",
        "anti and random keep the default pacing",
        "arms_are_plans_over_their_orders",
        module=edit(
            "{kind: Curriculum(ordered, start=start, seed=seed, **plan) for",
            "{kind: Curriculum(ordered, start=start, seed=seed,"
            ' **{**plan, **({} if kind == "curriculum" else {"pacing": "linear"})}) for',
        ),
    ),
    variant(
        "arms_share_one_shuffle_seed",
        "the arms are seeded, but their shuffles are not",
        "arms_are_plans_over_their_orders",
        module=edit(
            "{kind: Curriculum(ordered, start=start, seed=seed, **plan) for",
            "{kind: Curriculum(ordered, start=start, seed=0, **plan) for",
        ),
    ),
    Variant(
        "full_at_most_one",
        "`full` above 1 is taken for 1",
        ("pacing_follows_the_formula", "visible_are_the_easiest"),
        edit(
            "    progress = min(1.0, step / (full * total_steps)",
            "    progress = min(1.0, step / (min(full, 1) * total_steps)",
        ),
    ),
    variant(
        "full_may_be_nan",
        "`full` that is NaN or infinite is accepted",
        "wrong_paces_are_refused",
        module=edit("    if not 0 < full < math.inf:", "    if full <= 0:"),
    ),
    variant(
        "other_defaults",
        "plans are full at their end by default",
        "what_is_left_out_is_as_documented",
        module=edit(
            '    pacing: str = "linear"\n    start: float = 0.2\n    full: float = 0.8',
            '    pacing: str = "linear"\n    start: float = 0.2\n    full: float = 1.0',
        ),
    ),
    Variant(
        "small_integers_wrap",
        "the position of a step is computed in the integers in which the step comes, and NumPy warns that they wrap",
        ("integers_of_any_kind_are_taken",),
        edit("        step = operator.index(step)  # in", "        operator.index(step)  # in"),
        raises=RuntimeWarning,
    ),
    variant(
        "steps_unchecked",
        "there are steps after the last",
        "steps_that_are_left",
        "misfits_are_refused",
        module=edit("if not 0 <= operator.index(first) <= self.total_steps:", "if not 0 <= operator.index(first):"),
    ),
    variant(
        "threshold_unchecked",
        "a threshold that does not grow is accepted",
        "wrong_losses_and_thresholds_are_refused",
        self_paced_threshold=lambda number, first, growth=1.3: first * growth**number,
    ),
    variant(
        "float64_in_half",
        "the outputs of a teacher reach the loss in float32 whatever they are",
        "a_teacher_in_float64_scores_in_float64",
        module=edit('keras.backend.result_type(outputs.dtype, "float32")', '"float32"'),
    ),
    variant(
        "wraps_around",
        "the PyDataset begins again after its last step",
        "py_dataset_is_endless",
        CurriculumDataset=Wrapping,
    ),
    variant(
        "index_ignored",
        "the PyDataset gives the next batch, whatever the index is",
        "py_dataset_gives_the_same_batches",
        CurriculumDataset=Counted,
    ),
    Variant(
        "named_tuples_as_tuples",
        "named tuples are made as tuples are, which raises",
        ("batches_keep_the_nest",),
        edit('if hasattr(data, "_fields"):', 'if hasattr(data, "fields"):'),
        raises=TypeError,
    ),
    variant(
        "named_tuples_lose_their_names",
        "named tuples become tuples",
        "batches_keep_the_nest",
        module=edit("return type(data)(*found)", "return tuple(found)"),
    ),
    variant(
        "rows_in_float32",
        "every array of a batch becomes float32",
        "batches_keep_the_nest",
        "numpy_batches_follow_the_plan",
        module=edit("lambda array: array[rows]", 'lambda array: array[rows].astype("float32")'),
    ),
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
