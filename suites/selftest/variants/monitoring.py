"""Wrong variants of monitoring and profiling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

import reference.monitoring as reference
from reference.monitoring import Norms, Profile, Statistics
from suites.selftest.variants import Variant, override

# Norms


def norm_of_norms(gradients: Sequence[Any]) -> Norms:
    """The norm of all is the sum of the norms."""
    each = reference.gradient_norms(gradients).each
    return Norms(each, ops.sum(ops.stack(each)))


def squared_norms(gradients: Sequence[Any]) -> Norms:
    """The root is forgotten."""
    each, total = reference.gradient_norms(gradients)
    return Norms([ops.square(norm) for norm in each], ops.square(total))


def plain_norms(gradients: Sequence[Any]) -> Norms:
    """Squares of the numbers as they are."""
    squares = [ops.zeros(()) if g is None else ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients]
    return Norms([ops.sqrt(square) for square in squares], ops.sqrt(ops.sum(ops.stack(squares))))


def norms_in_own_dtype(gradients: Sequence[Any]) -> Norms:
    """Squares in half precision."""
    squares = [ops.zeros(()) if g is None else ops.cast(ops.sum(ops.square(g)), "float32") for g in gradients]
    return Norms([ops.sqrt(square) for square in squares], ops.sqrt(ops.sum(ops.stack(squares))))


def missing_left_out(gradients: Sequence[Any]) -> Norms:
    """Weights without a gradient have no norm, so that norms and weights no longer belong together."""
    return reference.gradient_norms([gradient for gradient in gradients if gradient is not None])


def finite_part(gradients: Sequence[Any]) -> Norms:
    """What is not finite counts as zero."""
    finite = [ops.where(ops.isfinite(g), g, ops.zeros_like(g)) for g in map(ops.convert_to_tensor, gradients)]
    return reference.gradient_norms(finite)


def scaled_in_place(gradients: Sequence[Any]) -> Norms:
    """The caller's gradients become their parts of the largest."""
    norms = reference.gradient_norms(gradients)
    for gradient in gradients:
        if isinstance(gradient, np.ndarray):
            gradient /= np.abs(gradient).max()  # noqa: PLW2901 - this is the defect
    return norms


def ratio_inverted(before: Sequence[Any], after: Sequence[Any]) -> Any:
    """The weights over their change."""
    return 1 / reference.update_ratio(before, after)


def ratio_to_after(before: Sequence[Any], after: Sequence[Any]) -> Any:
    """Of the weights after the step."""
    return reference.update_ratio(after, before)


def ratio_with_epsilon(before: Sequence[Any], after: Sequence[Any]) -> Any:
    """Nothing is divided by zero, or right near it."""
    moved = reference.gradient_norms([ops.subtract(b, a) for a, b in zip(before, after, strict=True)]).total
    return moved / (reference.gradient_norms(before).total + 1e-3)


def last_non_finite(tensors: Mapping[str, Any]) -> str | None:
    """The last in place of the first."""
    return reference.first_non_finite(dict(reversed(list(tensors.items()))))


def first_nan(tensors: Mapping[str, Any]) -> str | None:
    """Infinity is taken for a number."""
    return next((name for name, tensor in tensors.items() if bool(ops.any(ops.isnan(tensor)))), None)


# Statistics


def streamed(merge: Callable[[Statistics, Statistics], Statistics]) -> Callable[[Iterable[Any]], Statistics]:
    """Batches merged in another way; without checks."""

    def activation_statistics(batches: Iterable[Any]) -> Statistics:
        result = None
        for batch in batches:
            found = reference.unit_statistics(ops.convert_to_tensor(batch))
            result = found if result is None else merge(result, found)
        assert result is not None
        return result

    return activation_statistics


def deviations_added(a: Statistics, b: Statistics) -> Statistics:
    """What lies between the batches is forgotten."""
    return dataclasses.replace(reference.merge(a, b), deviations=a.deviations + b.deviations)


def means_averaged(a: Statistics, b: Statistics) -> Statistics:
    """The mean of the batches' means, whatever their sizes are."""
    return dataclasses.replace(reference.merge(a, b), mean=(a.mean + b.mean) / 2)


def dead_in_any(a: Statistics, b: Statistics) -> Statistics:
    """A unit that is zero throughout one batch is dead."""
    return dataclasses.replace(reference.merge(a, b), active=a.active & b.active)


def squares_less_squared_mean(batches: Iterable[Any]) -> Statistics:
    """E x^2 - (E x)^2, in float32."""
    whole = [np.reshape(ops.convert_to_numpy(batch), (-1, batch.shape[-1])).astype(np.float32) for batch in batches]
    x = np.concatenate(whole)
    mean = x.mean(0, dtype=np.float32)
    variance = np.square(x).mean(0, dtype=np.float32) - mean**2
    return Statistics(len(x), mean.astype(np.float64), variance.astype(np.float64) * len(x), (x != 0).any(0))


def positive_only(batches: Iterable[Any]) -> Statistics:
    """A unit is active only where it is above zero."""
    batches = list(batches)
    found = reference.activation_statistics(batches)
    active = np.any([np.any(ops.convert_to_numpy(b) > 0, axis=tuple(range(len(b.shape) - 1))) for b in batches], axis=0)
    return dataclasses.replace(found, active=active)


def nothing_is_fine(batches: Iterable[Any]) -> Statistics:
    """What has no units has statistics of zero."""
    batches = [batch for batch in batches if batch.ndim > 1 and batch.size] if batches else []
    return reference.activation_statistics(batches or [np.zeros((1, 1), "float32")])


# Early stopping


class EarlyStopping(reference.EarlyStopping):
    """To be made wrong: the reference with other options than it was given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.change()

    def change(self) -> None:
        """What is wrong."""


class PatienceOffByOne(EarlyStopping):
    def change(self) -> None:
        self.patience += 1


class DeltaNegative(EarlyStopping):
    def change(self) -> None:
        self.min_delta = -self.min_delta


class AlwaysLess(EarlyStopping):
    def change(self) -> None:
        self.mode = "min"


class LastRestored(EarlyStopping):
    """The weights at the end stay."""

    def on_train_end(self, logs: Any = None) -> None:
        del logs


class RestoredWhenStopped(EarlyStopping):
    """A run that ends by itself keeps its last weights."""

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch is not None:
            super().on_train_end(logs)


class NaNFirst(EarlyStopping):
    """The first value is the best, whatever it is."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self.progress.best_epoch < 0 and self.progress.wait == 1:
            self.progress = reference.Progress(logs[self.monitor], epoch, 0)
            self._weights = self.model.get_weights()


class Indulgent(keras.callbacks.Callback):
    """Takes any option."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        del options


# A watched run


class Training(reference.Monitor):
    """The probe runs in training mode: BN moves, and dropout draws."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, logs)
        self.model(self.x, training=True)


class Drawing(reference.Monitor):
    """The probe is drawn at random, from the generator that the run uses too."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        keras.random.uniform(())


class EveryBatch(reference.Monitor):
    """Every 0 steps means every step."""

    def __init__(self, x: Any, y: Any, *, loss: Any = None, every: int = 1) -> None:
        super().__init__(x, y, loss=loss, every=max(every, 1))


class OneStepLate(reference.Monitor):
    """Reads before the step what it should after it."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        super().on_train_batch_end(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch, logs


class LastBad(reference.Monitor):
    """The last layer with a NaN is named."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, logs)
        reading = self.readings.pop()
        bad = [name for name, layer in reading.layers.items() if not np.isfinite(layer.deviations).all()]
        self.readings.append(dataclasses.replace(reading, non_finite=bad[-1] if bad else None))


# Memory and profiles


def always_zero(device: str = "GPU:0") -> reference.Memory:
    """What is not known is 0."""
    return reference.device_memory(device) or reference.Memory(0, 0)


def profiled(change: Callable[[Profile, int], Profile]) -> Callable[..., Profile]:
    """A profile that is changed; any number of steps will do."""

    def profile(function: Callable[[], Any], steps: int = 10) -> Profile:
        return change(reference.profile(function, max(steps, 1)), steps)

    return profile


def any_number(found: Profile, steps: int) -> Profile:
    """No steps are one step."""
    del steps
    return found


def shortest_first(found: Profile, steps: int) -> Profile:
    """The rows in reverse."""
    del steps
    return dataclasses.replace(found, rows=found.rows[::-1])


def one_of_each(found: Profile, steps: int) -> Profile:
    """Rows of one step, not of all."""
    rows = [dataclasses.replace(row, count=row.count // max(steps, 1)) for row in found.rows]
    return dataclasses.replace(found, rows=rows)


def in_milliseconds(found: Profile, steps: int) -> Profile:
    """Milliseconds that are called seconds."""
    del steps
    rows = [dataclasses.replace(row, own=1e3 * row.own, total=1e3 * row.total) for row in found.rows]
    return dataclasses.replace(found, rows=rows)


def own_twice(found: Profile, steps: int) -> Profile:
    """Own and total time change places, and own grows."""
    del steps
    rows = [dataclasses.replace(row, own=2 * row.total) for row in found.rows]
    return dataclasses.replace(found, rows=rows)


ROOTS, LINEAR = "norms_are_roots_of_sums_of_squares", "norm_is_linear_in_the_loss_scale"
STREAMED, ORDER = "streamed_moments_are_those_of_two_passes", "order_of_the_batches_is_irrelevant"
RULE, RESTORED = "stopping_follows_its_rule", "best_weights_are_restored"
UNTOUCHED = "watching_leaves_the_run_as_it_was"
BOTH = ("float32", "mixed_float16")

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "norm_of_norms",
        "norms are added, not their squares",
        (ROOTS,),
        override(reference, gradient_norms=norm_of_norms),
        BOTH,
    ),
    Variant(
        "root_forgotten",
        "squared norms are given",
        (ROOTS, LINEAR),
        override(reference, gradient_norms=squared_norms),
        BOTH,
    ),
    Variant("overflowing", "squares overflow and vanish", (LINEAR,), override(reference, gradient_norms=plain_norms)),
    Variant(
        "norms_in_half",
        "squares are taken in half precision",
        (ROOTS,),
        override(reference, gradient_norms=norms_in_own_dtype),
        ("mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "missing_left_out",
        "weights without a gradient have no norm",
        ("missing_gradients_count_as_zero",),
        override(reference, gradient_norms=missing_left_out),
    ),
    Variant(
        "infinity_hidden",
        "what is not finite counts as zero",
        ("norm_of_infinity_is_not_finite",),
        override(reference, gradient_norms=finite_part),
    ),
    Variant(
        "gradients_changed",
        "the gradients are scaled in place",
        ("arguments_are_left_as_they_were",),
        override(reference, gradient_norms=scaled_in_place),
    ),
    Variant(
        "ratio_inverted",
        "the update ratio is upside down",
        ("update_ratio_is_the_part_that_moves", "update_ratio_at_zero"),
        override(reference, update_ratio=ratio_inverted),
    ),
    Variant(
        "ratio_to_after",
        "the change is compared with the weights after it",
        ("update_ratio_is_the_part_that_moves", "update_ratio_at_zero"),
        override(reference, update_ratio=ratio_to_after),
    ),
    Variant(
        "ratio_with_epsilon",
        "a constant is added to the norm of the weights",
        ("update_ratio_is_the_part_that_moves", "update_ratio_at_zero"),
        override(reference, update_ratio=ratio_with_epsilon),
    ),
    Variant(
        "last_non_finite",
        "the last tensor with NaN is named",
        ("first_non_finite_is_named",),
        override(reference, first_non_finite=last_non_finite),
        BOTH,
    ),
    Variant(
        "infinity_passes",
        "infinity is not looked for",
        ("first_non_finite_is_named",),
        override(reference, first_non_finite=first_nan),
        BOTH,
    ),
    Variant(
        "between_forgotten",
        "variances within batches are added, and the one between them is left out",
        (STREAMED,),
        override(reference, activation_statistics=streamed(deviations_added)),
        BOTH,
    ),
    Variant(
        "means_averaged",
        "means are averaged whatever the batches' sizes are",
        (STREAMED, ORDER),
        override(reference, activation_statistics=streamed(means_averaged)),
    ),
    Variant(
        "cancelling",
        "the variance is the mean square less the squared mean",
        (STREAMED,),
        override(reference, activation_statistics=squares_less_squared_mean),
    ),
    Variant(
        "dead_in_a_batch",
        "a unit that is zero throughout one batch is dead",
        ("a_unit_that_is_active_once_is_not_dead",),
        override(reference, activation_statistics=streamed(dead_in_any)),
    ),
    Variant(
        "negative_is_dead",
        "units under zero count as dead",
        ("a_unit_that_is_active_once_is_not_dead", "dead_units_are_never_active"),
        override(reference, activation_statistics=positive_only),
    ),
    Variant(
        "empty_accepted",
        "no data gives statistics of zero",
        ("empty_data_is_refused",),
        override(reference, activation_statistics=nothing_is_fine),
    ),
    Variant(
        "patience_off_by_one",
        "training goes on for an epoch too long",
        (RULE,),
        override(reference, EarlyStopping=PatienceOffByOne),
    ),
    Variant(
        "delta_negative", "min_delta has the wrong sign", (RULE,), override(reference, EarlyStopping=DeltaNegative)
    ),
    Variant("always_less", "less is better, whatever the mode", (RULE,), override(reference, EarlyStopping=AlwaysLess)),
    Variant("last_restored", "the last weights stay", (RESTORED,), override(reference, EarlyStopping=LastRestored)),
    Variant(
        "restored_when_stopped",
        "the best weights come back only if training was stopped early",
        (RESTORED,),
        override(reference, EarlyStopping=RestoredWhenStopped),
    ),
    Variant(
        "nan_is_best",
        "a first NaN is the best value for ever",
        ("nan_is_never_the_best",),
        override(reference, EarlyStopping=NaNFirst),
    ),
    Variant(
        "anything_goes",
        "early stopping takes any option",
        ("early_stopping_refuses_what_makes_no_sense",),
        override(reference, EarlyStopping=Indulgent),
    ),
    Variant(
        "probe_in_training_mode", "the probe moves BN and draws", (UNTOUCHED,), override(reference, Monitor=Training)
    ),
    Variant("random_probe", "the probe is drawn", (UNTOUCHED,), override(reference, Monitor=Drawing)),
    Variant(
        "any_number",
        "any number of steps will do, none too",
        ("profiles_of_no_steps_are_refused", "readings_at_no_steps_are_refused"),
        override(reference, Monitor=EveryBatch, profile=profiled(any_number)),
    ),
    Variant(
        "one_step_late",
        "readings are of the weights before the step",
        ("readings_are_those_of_the_model_as_it_stands",),
        override(reference, Monitor=OneStepLate),
    ),
    Variant(
        "last_layer_named",
        "the last layer with NaN is named",
        ("the_layer_that_brings_nan_is_named",),
        override(reference, Monitor=LastBad),
    ),
    Variant(
        "zero_for_unknown",
        "memory that is not measured is 0",
        ("what_is_not_measured_is_not_zero", "an_allocation_raises_the_memory_of_its_device"),
        override(reference, device_memory=always_zero),
    ),
    Variant(
        "memory_in_kibibytes",
        "memory is given in KiB",
        ("an_allocation_raises_the_memory", "memory_is_what_the_system_counts"),
        override(reference, host_memory=lambda: (reference.host_memory() or 0) // 1024),
    ),
    Variant(
        "peak_for_current",
        "a number that never changes is given for the memory",
        ("an_allocation_raises_the_memory",),
        override(reference, host_memory=lambda: 2**32),
    ),
    Variant(
        "shortest_first",
        "the rows begin with what takes least",
        ("profile_finds_what_dominates",),
        override(reference, profile=profiled(shortest_first)),
    ),
    Variant(
        "one_step_counted",
        "counts are those of one step",
        ("profile_finds_what_dominates",),
        override(reference, profile=profiled(one_of_each)),
    ),
    Variant(
        "milliseconds",
        "times are in milliseconds",
        ("profile_fits_into_the_time",),
        override(reference, profile=profiled(in_milliseconds)),
    ),
    Variant(
        "own_over_total",
        "own times are longer than total ones",
        ("profile_fits_into_the_time",),
        override(reference, profile=profiled(own_twice)),
    ),
)
