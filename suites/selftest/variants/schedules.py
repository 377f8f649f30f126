"""Wrong variants of schedules, of training by micro-batches, and of the range test."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

import reference._range_test as parts
import reference.schedules as reference
from suites.selftest.variants import Variant, edited, override

ANY = ("float32", "mixed_float16")


def with_step(name: str, change: Callable[..., Any]) -> SimpleNamespace:
    """A schedule that sees another step, computed from its step and its parameters."""

    def function(step: Any, **parameters: Any) -> Any:
        return getattr(reference, name)(change(ops.convert_to_tensor(step), **parameters), **parameters)

    return override(reference, **{name: function})


def with_parameters(name: str, change: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """A schedule with other parameters, computed from its own."""

    def function(step: Any, **parameters: Any) -> Any:
        return getattr(reference, name)(step, **{**parameters, **change(**parameters)})

    return override(reference, **{name: function})


# Rates


def unclipped_cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """After its last step it rises again."""
    return floor + (peak - floor) * (1 + ops.cos(math.pi * ops.cast(step, "float32") / steps)) / 2


def straight_cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """A straight line."""
    return reference.warm_up(step, rate=floor, steps=steps, start=peak)


def squared_cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """Falls faster in its first half."""
    return floor + (peak - floor) * reference.cosine(step, peak=1.0, steps=steps) ** 2


def whole_cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """From the peak to its negative."""
    return reference.cosine(step, peak=peak, steps=steps, floor=floor - peak)


def cosine_in_compute_dtype(step: Any, **parameters: Any) -> Any:
    """The step is taken in the dtype in which layers compute."""
    dtype = keras.config.dtype_policy().compute_dtype
    return reference.cosine(ops.cast(ops.cast(step, dtype), "float32"), **parameters)


def cosine_in_float16(step: Any, **parameters: Any) -> Any:
    """The step is taken in float16."""
    return reference.cosine(ops.cast(ops.cast(step, "float16"), "float32"), **parameters)


def whole_progress(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """Integer steps are divided as integers."""
    step = ops.convert_to_tensor(step)
    progress = step // steps if "int" in keras.backend.standardize_dtype(step.dtype) else step / steps
    return reference.cosine(ops.cast(progress, "float32"), peak=peak, steps=1, floor=floor)


def first_step_only(step: Any, **parameters: Any) -> Any:
    """Of an array of steps only the first counts."""
    return reference.cosine(ops.ravel(ops.convert_to_tensor(step))[0], **parameters)


def clipping_in_place(step: Any, **parameters: Any) -> Any:
    """An array of steps is clipped where it lies."""
    if isinstance(step, np.ndarray):
        np.minimum(step, 2, out=step)
    return reference.cosine(step, **parameters)


def unchecked_cosine(step: Any, *, peak: float, steps: int, floor: float = 0.0) -> Any:
    """No steps are as good as one."""
    return reference.cosine(step, peak=peak, steps=max(steps, 1), floor=floor)


def restarts_in_float32(step: Any, **parameters: Any) -> Any:
    """The step becomes float32 before it is reduced to its cycle."""
    return reference.cosine_restarts(ops.cast(step, "float32"), **parameters)


def steps_in_float32(step: Any, **parameters: Any) -> Any:
    """The step becomes float32 before it is compared with the boundaries."""
    return reference.step_decay(ops.cast(step, "float32"), **parameters)


def warm_up_inside(step: Any, *, schedule: Any, steps: int, start: float = 0.0) -> Any:
    """The warm-up takes the place of the schedule's first steps."""
    return ops.where(
        ops.convert_to_tensor(step) < steps,
        reference.warm_up(step, rate=schedule(0), steps=steps, start=start),
        schedule(step),
    )


def warm_up_to_elsewhere(step: Any, *, schedule: Any, steps: int, start: float = 0.0) -> Any:
    """The warm-up leads to the rate that the schedule has as many steps later, and then jumps."""
    return ops.where(
        ops.convert_to_tensor(step) < steps,
        reference.warm_up(step, rate=schedule(steps), steps=steps, start=start),
        reference.with_warm_up(step, schedule=schedule, steps=steps, start=start),
    )


class Frozen(reference.Schedule):
    """Always the first rate."""

    def __call__(self, step: Any) -> Any:
        return super().__call__(ops.convert_to_tensor(step) * 0)


class Forgetful(reference.Schedule):
    """The configuration lacks the floor."""

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "floor"}


class Counting(reference.Schedule):
    """Counts how often it was asked, whatever the step is."""

    calls = -1

    def __call__(self, step: Any) -> Any:
        self.calls += 1
        return super().__call__(max(0, self.calls - 1) if self.calls else step)


# A line at a time


def edit(old: str, new: str) -> Any:
    """The reference with one text of its source replaced."""
    return edited(parts, reference, old=old, new=new)


def warmed_ours_only(step: Any, *, schedule: Any, steps: int, start: float = 0.0) -> Any:
    """The warm-up takes the contract's own schedules apart, and takes others for constant."""
    if not isinstance(schedule, reference.Schedule):
        first = schedule(0)
        return reference.with_warm_up(
            step, schedule=lambda step: first + 0.0 * ops.cast(step, "float32"), steps=steps, start=start
        )
    return reference.with_warm_up(step, schedule=schedule, steps=steps, start=start)


VARIANTS = (
    Variant(
        "ten_cycles",
        "cycles after the tenth never come",
        ("restarts_begin_at_the_peak",),
        edit(
            "while begins[-1] * growth + steps <= LAST_STEP:",
            "while begins[-1] * growth + steps <= LAST_STEP and len(begins) < 10:",
        ),
    ),
    Variant(
        "unsigned_wrap",
        "steps of unsigned integers stay so, and wrap in the first steps of a warm-up",
        ("every_kind_of_step_gives_the_same_rate",),
        edit(
            '    wide = "int32" if "int" in keras.backend.standardize_dtype(step.dtype) else "float32"\n',
            "    dtype = keras.backend.standardize_dtype(step.dtype)\n"
            '    wide = dtype if "uint" in dtype else "int32" if "int" in dtype else "float32"\n',
        ),
    ),
    Variant(
        "ours_only",
        "a warm-up knows the contract's schedules only, and takes others for constant",
        ("any_schedule_may_be_warmed_up",),
        override(reference, with_warm_up=warmed_ours_only),
    ),
    Variant(
        "fractional_updates",
        "between updates a float step gives rates in between",
        ("updates_are_counted_whole", "every_kind_of_step_gives_the_same_rate"),
        edit(
            "    return schedule(_counted(step) // micro_batches)",
            "    step = _counted(step)\n"
            "    whole = 'int' in keras.backend.standardize_dtype(step.dtype)\n"
            "    return schedule(step // micro_batches if whole else step / micro_batches)",
        ),
    ),
    Variant(
        "rates_in_float32",
        "rates are float32 whatever the step is",
        ("steps_in_float64_have_rates_in_float64",),
        edit(
            '    return ops.cast(step, keras.backend.result_type(step.dtype, "float32"))\n\n\ndef _progress',
            '    return ops.cast(step, "float32")\n\n\ndef _progress',
        ),
    ),
    Variant(
        "rates_of_known_sizes",
        "an array of steps is listed while tracing, and its length taken for 1 where it is not known",
        ("compiled_rates_are_the_rates",),
        override(
            reference,
            cosine=lambda step, **named: (
                ops.repeat(reference.cosine(step, **named)[:1], step.shape[0] or 1)
                if getattr(step, "shape", ())
                else reference.cosine(step, **named)
            ),
        ),
    ),
    Variant(
        "floor_by_default",
        "without a floor a cosine ends at a thousandth",
        ("rates_left_out_are_zero",),
        edit(
            "def cosine(step: Tensor, *, peak: float, steps: int, floor: float = 0.0)",
            "def cosine(step: Tensor, *, peak: float, steps: int, floor: float = 1e-3)",
        ),
    ),
    Variant(
        "last_cycle_missing",
        "a cycle that begins at the last step that is counted never comes",
        ("restarts_begin_at_the_peak",),
        edit("while begins[-1] * growth + steps <= LAST_STEP:", "while begins[-1] * growth + steps < LAST_STEP:"),
    ),
    Variant(
        "refused_in_training",
        "what is wrong with a schedule shows in the first step of training",
        ("a_schedule_is_refused_where_it_is_made",),
        edit("        self(0)  # so", "        # so"),
    ),
    Variant(
        "warm_up_starts_at_its_target",
        "there is no warm-up",
        ("warm_up_is_a_straight_line",),
        with_parameters("warm_up", lambda rate, **_: {"start": rate}),
    ),
    Variant(
        "warm_up_a_step_late",
        "the target is reached a step after the last step of the warm-up",
        ("warm_up_is_a_straight_line", "warm_up_reaches_its_target"),
        with_parameters("warm_up", lambda steps, **_: {"steps": steps + 1}),
    ),
    Variant(
        "inverse_root_off_by_one",
        "step 0 counts as step 1, and so every step as the one after it",
        ("inverse_root_follows_the_transformer", "inverse_root_peaks_after_warm_up"),
        with_step("inverse_square_root", lambda step, **_: step + 1),
    ),
    Variant(
        "cosine_never_reaches_its_floor",
        "the decay takes a step more",
        ("cosine_ends_at_its_floor", "cosine_follows_the_formula"),
        with_parameters("cosine", lambda steps, **_: {"steps": steps + 1}),
    ),
    Variant(
        "cosine_rises_again",
        "the cosine goes on after its end",
        ("cosine_ends_at_its_floor", "cosine_follows_the_formula"),
        override(reference, cosine=unclipped_cosine),
    ),
    Variant(
        "cosine_straightened",
        "the decay is linear",
        ("cosine_follows_the_formula",),
        override(reference, cosine=straight_cosine),
    ),
    Variant(
        "cosine_squared",
        "the decay is faster in its first half",
        ("cosine_is_symmetric", "cosine_follows_the_formula"),
        override(reference, cosine=squared_cosine),
    ),
    Variant(
        "cosine_without_its_half",
        "the rate falls below zero",
        ("rates_stay_between_their_ends",),
        override(reference, cosine=whole_cosine),
    ),
    Variant(
        "restarts_do_not_grow",
        "all cycles have the same length",
        ("restarts_follow_the_formula",),
        with_parameters("cosine_restarts", lambda **_: {"growth": 1}),
    ),
    Variant(
        "restarts_a_step_late",
        "a cycle begins with the last rate of the one before",
        ("restarts_follow_the_formula", "restarts_begin_at_the_peak"),
        with_step("cosine_restarts", lambda step, **_: ops.maximum(step - 1, 0)),
    ),
    Variant(
        "restarts_count_in_float32",
        "past 2^24 steps the cycles fray",
        ("restarts_are_periodic",),
        override(reference, cosine_restarts=restarts_in_float32),
    ),
    Variant(
        "restarts_only_decay",
        "there are no restarts",
        ("restarts_are_periodic", "restarts_begin_at_the_peak"),
        override(reference, cosine_restarts=lambda step, growth=1, **named: reference.cosine(step, **named)),  # noqa: ARG005
    ),
    Variant(
        "boundary_off_by_one",
        "a boundary is the last step of the old rate",
        ("steps_change_at_their_boundaries",),
        with_step("step_decay", lambda step, **_: step - 1),
    ),
    Variant(
        "boundaries_in_float32",
        "past 2^24 steps a boundary is missed",
        ("steps_change_at_their_boundaries",),
        override(reference, step_decay=steps_in_float32),
    ),
    Variant(
        "one_cycle_a_step_late",
        "everything comes a step late",
        ("one_cycle_follows_the_formula",),
        with_step("one_cycle", lambda step, **_: ops.maximum(step - 1, 0)),
    ),
    Variant(
        "one_cycle_momentum_follows_the_rate",
        "the cycle only ever goes up first",
        ("one_cycle_turned_over_is_the_momentum",),
        with_parameters("one_cycle", lambda start, peak, **_: {"start": min(start, peak), "peak": max(start, peak)}),
    ),
    Variant(
        "warm_up_inside_of_the_decay",
        "the warm-up takes away the first steps of the decay",
        ("a_decay_begins_where_its_warm_up_ends",),
        override(reference, with_warm_up=warm_up_inside),
    ),
    Variant(
        "warm_up_to_elsewhere",
        "the rate jumps where the warm-up ends",
        ("a_warm_up_leads_to_the_first_rate",),
        override(reference, with_warm_up=warm_up_to_elsewhere),
    ),
    Variant(
        "integer_steps_divided_as_integers",
        "an integer step gives another rate than the same step as a float",
        ("every_kind_of_step_gives_the_same_rate", "cosine_follows_the_formula"),
        override(reference, cosine=whole_progress),
    ),
    Variant(
        "one_step_of_an_array",
        "an array of steps gives one rate",
        ("steps_may_be_an_array",),
        override(reference, cosine=first_step_only),
    ),
    Variant(
        "steps_in_the_compute_dtype",
        "under a mixed policy a step is rounded to half precision",
        ("rates_are_float32_under_any_policy",),
        override(reference, cosine=cosine_in_compute_dtype),
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "steps_in_float16",
        "steps past 2048 are rounded",
        ("rates_are_float32_under_any_policy",),
        override(reference, cosine=cosine_in_float16),
        precisions=ANY,
    ),
    Variant(
        "steps_clipped_in_place",
        "the array of steps is changed",
        ("arguments_are_left_as_they_were",),
        override(reference, cosine=clipping_in_place),
    ),
    Variant(
        "steps_unchecked",
        "a cosine of no steps is accepted",
        ("impossible_schedules_are_refused",),
        override(reference, cosine=unchecked_cosine),
    ),
    Variant(
        "schedule_frozen",
        "the schedule does not look at the step",
        ("an_optimizer_follows_the_schedule", "a_schedule_counts_updates"),
        override(reference, Schedule=Frozen),
    ),
    Variant(
        "configuration_incomplete",
        "a parameter is lost with saving",
        ("a_config_makes_the_same_schedule",),
        override(reference, Schedule=Forgetful),
        precisions=ANY,
    ),
    Variant(
        "schedule_counts_by_itself",
        "after loading the schedule begins anew",
        ("training_resumes_where_it_stopped",),
        override(reference, Schedule=Counting),
        precisions=ANY,
    ),
)
