"""Wrong variants of monitoring and profiling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

import reference._early_stopping as stopping
import reference._profiling as profiling
import reference.monitoring as reference
from reference.monitoring import Norms, Profile, Statistics
from suites.selftest.variants import Variant, edited, override

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


def wrong_line(old: str, new: str) -> Any:
    """The reference, wrong in one line."""
    return edited(stopping, profiling, reference, old=old, new=new)


PROGRESS, WHOLE, FINITE = "progress_says_where_it_stands", "readings_are_whole", "large_is_not_infinite"
WITHIN = "time_within_is_the_inner_operation_s"
NONE, FIRST_BAD = "no_gradients_have_norm_zero", "first_non_finite_is_named"

LINES: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    (
        "small_gains_are_the_best",
        "an improvement under min_delta becomes the best value all the same",
        (RULE, PROGRESS),
        "    return Progress(value, epoch, 0) if improved else dataclasses.replace(state, wait=state.wait + 1)",
        (
            "    better = state.best_epoch < 0 or sign * value < sign * state.best\n"
            "    if improved:\n        return Progress(value, epoch, 0)\n"
            "    best = value if better and value == value else state.best\n"
            "    return dataclasses.replace(state, best=best, wait=state.wait + 1)"
        ),
    ),
    (
        "trained_weights_restored",
        "only trainable weights are kept and restored: batch statistics are those of the last epoch",
        (RESTORED,),
        "            self.model.set_weights(self._weights)",
        (
            "            for variable, value in zip(self.model.weights, self._weights, strict=True):\n"
            "                if variable.trainable:\n                    variable.assign(value)"
        ),
    ),
    (
        "always_restored",
        "the best weights are restored although nobody asked for it",
        (RESTORED,),
        "if self.progress.wait == 0 and self.restore_best_weights:",
        "if self.progress.wait == 0:",
    ),
    (
        "another_value_followed",
        "the validation loss is followed, whatever was asked for",
        (RULE, RESTORED, PROGRESS),
        "value = float((logs or {})[self.monitor])",
        'value = float((logs or {})["val_loss"])',
    ),
    (
        "stopped_an_epoch_later",
        "stopped_epoch is the next epoch",
        (PROGRESS,),
        "self.stopped_epoch, self.model.stop_training = epoch, True",
        "self.stopped_epoch, self.model.stop_training = epoch + 1, True",
    ),
    (
        "improvements_counted",
        "best_epoch counts improvements, not epochs",
        (PROGRESS,),
        "return Progress(value, epoch, 0) if improved",
        "return Progress(value, state.best_epoch + 1, 0) if improved",
    ),
    (
        "run_remembered",
        "a second run goes on from the best value of the first",
        ("a_second_run_begins_anew",),
        "        self.progress = Progress()\n",
        '        self.progress = getattr(self, "progress", Progress())\n',
    ),
    (
        "wait_remembered",
        "the weights of an earlier run's best epoch are restored where a run has none",
        ("nan_is_never_the_best",),
        "if self._weights is not None:\n            self.model.set_weights(self._weights)",
        "self.model.set_weights(self._weights or [0 * weight for weight in self.model.get_weights()])",
    ),
    ("none_is_an_error", "no gradients at all are refused", (NONE,), " if each else ops.zeros(()))", ")"),
    (
        "ratio_of_squares",
        "the update ratio squares without scaling",
        ("update_ratio_is_the_part_that_moves",),
        "    start = gradient_norms(before).total\n",
        "    start = ops.sqrt(sum(ops.sum(ops.square(_float(b))) for b in before))\n",
    ),
    (
        "sums_looked_at",
        "the sum of a tensor is looked at, which overflows where its numbers are large",
        (FIRST_BAD,),
        "return ops.stack([ops.all(ops.isfinite(_float(tensor))) for tensor in tensors])",
        "return ops.stack([ops.isfinite(ops.sum(_float(tensor))) for tensor in tensors])",
    ),
    (
        "deviations_looked_at",
        "a layer whose squared deviations overflow counts as not finite",
        (FINITE,),
        "return value, moments, _finite([*activations, *known])",
        "return value, moments, _finite([*(each[2] for each in moments), *known])",
    ),
    (
        "gradients_not_looked_at",
        "a weight whose gradient alone is NaN is not named",
        (FINITE,),
        "return value, moments, _finite([*activations, *known])",
        "return value, moments, _finite([*activations, *(ops.zeros(()) for _ in known)])",
    ),
    (
        "squares_by_default",
        "without a loss the mean squared error is taken, whatever the model was compiled with",
        (WHOLE,),
        "keras.losses.get(self.loss or self.model.loss)",
        'keras.losses.get(self.loss or "mse")',
    ),
    (
        "loss_summed",
        "a loss per example is summed in the report",
        (WHOLE,),
        "self.readings.append(Reading(self._step, float(loss),",
        "self.readings.append(Reading(self._step, float(loss) * len(self.x),",
    ),
    (
        "frozen_read_too",
        "the norms are by all weights, frozen ones too",
        (WHOLE,),
        "float(loss), each, float(norms.total)",
        "float(loss), {w.path: each.get(w.path, 0.0) for w in self.model.weights}, float(norms.total)",
    ),
    (
        "norms_added",
        "a reading's norm of all is the sum of the weights' norms",
        (WHOLE,),
        "each, float(norms.total), float(ratio)",
        "each, sum(each.values()), float(ratio)",
    ),
    (
        "no_activation_layers",
        "layers without weights are not watched",
        (WHOLE,),
        'if layer.weights or hasattr(layer, "activation") or isinstance(layer, ACTIVATIONS)',
        "if layer.weights",
    ),
    (
        "rectifiers_forgotten",
        "of activation layers only those with an attribute `activation` are watched: ReLU is not",
        (WHOLE,),
        " or isinstance(layer, ACTIVATIONS)",
        "",
    ),
    (
        "steps_go_on",
        "a second fit goes on counting",
        (WHOLE,),
        "self._step = 0",
        'self._step = getattr(self, "_step", 0)',
    ),
    (
        "readings_forgotten",
        "a second fit forgets the readings of the first",
        (WHOLE,),
        "self._step = 0",
        "self._step, self.readings = 0, []",
    ),
    (
        "compiling_counted",
        "there is no step before the profile",
        ("a_step_before_the_profile_compiles",),
        "    function()\n    with tempfile",
        "    with tempfile",
    ),
    (
        "folder_ignored",
        "the trace is thrown away",
        ("profile_is_kept_where_it_is_told",),
        "        tf.profiler.experimental.start(folder or temporary",
        "        tf.profiler.experimental.start(temporary",
    ),
    (
        "last_name_read",
        "of several traces in a folder the one with the last name is read",
        ("profile_is_kept_where_it_is_told",),
        ", key=lambda path: path.stat().st_mtime_ns)",
        ")",
    ),
    (
        "thousands",
        "a kB of the system is taken for 1000 bytes",
        ("memory_is_what_the_system_counts",),
        "(1024 * int(kibibytes)",
        "(1000 * int(kibibytes)",
    ),
    (
        "time_within_counted_twice",
        "an operation's own time is all of its time",
        (WITHIN,),
        "                    owns[around[-1][1]] += negative\n",
        "                    pass\n",
    ),
    (
        "time_within_taken_from_the_outermost",
        "the time of an operation is taken from the outermost around it, and not from the one that it is in",
        (WITHIN,),
        "owns[around[-1][1]] += negative",
        "owns[around[0][1]] += negative",
    ),
    (
        "ends_of_the_outermost",
        "what has ended counts as going on until the outermost has ended",
        (WITHIN,),
        "while around and around[-1][0] <= begin:",
        "while around and around[0][0] <= begin:",
    ),
    (
        "half_picoseconds",
        "the trace is read as if it counted in half picoseconds",
        (WITHIN,),
        "totals[name] / 1e12, owns[name] / 1e12",
        "totals[name] / 2e12, owns[name] / 2e12",
    ),
    (
        "counted_from_one",
        "one thread more is counted than ran operations",
        ("a_thread_is_one_line",),
        "    lines = 0\n",
        "    lines = 1\n",
    ),
    (
        "epoch_zero_forgotten",
        "the number of the best epoch tells whether there is one: the first, 0, counts as none",
        (RULE, PROGRESS),
        "state.best_epoch < 0 or",
        "state.best_epoch <= 0 or",
    ),
    (
        "half_enough_of_more",
        "where more is better, an improvement by half of min_delta is one",
        (RULE,),
        'sign = 1 if mode == "min" else -1',
        'sign = 1 if mode == "min" else -2',
    ),
    (
        "unknown_to_linux",
        "the memory that the process holds is not said, though the system counts it",
        ("memory_is_what_the_system_counts",),
        r'r"VmRSS:',
        r'r"VmRss:',
    ),
    (
        "no_profile_of_tensorflow",
        "profiles are refused on TensorFlow, and on other backends read from a trace that they do not have",
        ("profile_finds_what_dominates", "profile_fits_into_the_time"),
        'if keras.backend.backend() != "tensorflow":',
        'if keras.backend.backend() == "tensorflow":',
    ),
    (
        "patient_by_default",
        "the default patience is ten epochs",
        ("stopping_without_options",),
        "        patience: int = 1,",
        "        patience: int = 10,",
    ),
    (
        "last_weights_by_default",
        "unless told, the last weights stay",
        ("stopping_without_options",),
        "        restore_best_weights: bool = True,",
        "        restore_best_weights: bool = False,",
    ),
    (
        "no_tensors_are_an_error",
        "no tensors at all are refused",
        ("no_tensors_are_finite",),
        "    if not tensors:\n        return None\n",
        '    if not tensors:\n        raise ValueError("there are no tensors")\n',
    ),
    (
        "probe_by_default",
        "the probe leaves it to each layer whether it is training",
        ("the_probe_is_not_training",),
        "measured(y, watched(x, training=False))\n                return found",
        "measured(y, watched(x))\n                return found",
    ),
    (
        "first_input_alone",
        "of several inputs the first alone is fed",
        ("networks_of_any_number_of_inputs_are_watched",),
        "keras.Model(self.model.inputs,",
        "keras.Model(self.model.inputs[0],",
    ),
    (
        "moved_since_the_last_reading",
        "the update ratio is that of all steps since the last reading",
        ("an_update_ratio_is_that_of_one_step",),
        "        self._step += 1\n        if self._step % self.every == 0:",
        "        self._step += 1\n        if self._step % self.every == 1:",
    ),
    (
        "peak_held",
        "the most that the process has held is given for what it holds",
        ("an_allocation_raises_the_memory",),
        r'r"VmRSS:',
        r'r"VmHWM:',
    ),
    (
        "tiny_is_zero",
        "activity is looked for in half precision, in which what is tiny is zero",
        ("a_unit_that_is_active_once_is_not_dead",),
        "ops.any(numbers != 0, axis=0)",
        'ops.any(ops.cast(numbers, "float16") != 0, axis=0)',
    ),
)

SHOWN_AS = {
    "none_is_an_error": Exception,  # TensorFlow's own
    "folder_ignored": ValueError,
    "no_tensors_are_an_error": ValueError,
    "no_profile_of_tensorflow": NotImplementedError,
    "first_input_alone": ValueError,  # a graph that is not connected
}
"""The exception by which a wrong line shows, where it is no AssertionError."""

VARIANTS += (
    *(
        Variant(name, defect, caught_by, wrong_line(old, new), raises=SHOWN_AS.get(name, AssertionError))
        for name, defect, caught_by, old, new in LINES
    ),
    Variant(
        "nothing_kept_is_an_error",
        "where there is no best epoch, the end of training fails",
        ("nan_is_never_the_best",),
        wrong_line("if self._weights is not None:", "if self.restore_best_weights:"),
        raises=TypeError,
    ),
    Variant(
        "profiler_left_running",
        "an error in a step leaves the profiler running",
        ("an_error_ends_the_profile",),
        wrong_line(
            "        finally:\n            tf.profiler",
            "        except KeyError:\n            pass\n        else:\n            tf.profiler",
        ),
        raises=Exception,
    ),
    Variant(
        "sparse_rows_apart",
        "rows that occur twice in a sparse gradient are two rows",
        ("rows_of_a_sparse_gradient_are_summed",),
        wrong_line(
            "    tensor = ops.convert_to_tensor(tensor)\n    return ops.cast(tensor, keras.backend.result_type",
            '    tensor = ops.convert_to_tensor(getattr(tensor, "values", tensor))\n'
            "    return ops.cast(tensor, keras.backend.result_type",
        ),
    ),
)
