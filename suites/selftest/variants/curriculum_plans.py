"""Wrong variants of curriculum learning: what plans draw, and the batches made of it."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import tree

import reference._curriculum_batches as parts
import reference.curriculum as reference
from suites.selftest.variants import Variant, edited, override
from suites.selftest.variants.curriculum import variant

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


def edit(old: str, new: str) -> Any:
    """The reference with one text of its source replaced."""
    return edited(parts, reference, old=old, new=new)


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
        "anti_negates",
        "anti negates the scores in their own dtype, where unsigned integers and the least one wrap",
        "anti_is_the_curriculum_of_negated_scores",
        module=edit('np.argsort(-ranks, kind="stable")', 'np.argsort(np.negative(scores), kind="stable")'),
    ),
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
    Variant(
        "unseeded",
        "batches come from a generator without a seed",
        ("shuffles_are_seeded", "a_step_depends_on_nothing_before", "plan_survives_copies"),
        planned(Unseeded),
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
