"""Wrong variants of monitoring and profiling: the reference, wrong in one line."""

from typing import Any

import reference._early_stopping as stopping
import reference._profiling as profiling
import reference.monitoring as reference
from suites.selftest.variants import Variant, edited
from suites.selftest.variants.monitoring import RESTORED, RULE


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

VARIANTS: tuple[Variant, ...] = (
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
