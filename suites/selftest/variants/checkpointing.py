"""Wrong variants of gradient checkpointing; those of a run change one thing that the reference's call remembers."""

import contextlib
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import reference.checkpointing as reference
from suites.selftest.variants import Variant, changed, edited, override

Function = Callable[..., Any]

BOTH = ("float32", "mixed_float16")


def wrong(checkpoint: Callable[[Function], Function]) -> SimpleNamespace:
    """The reference with another `checkpoint`, alone and in the layer."""

    class CheckpointedSequential(reference.CheckpointedSequential):
        def call(self, inputs: Any, training: Any = None) -> Any:  # noqa: ARG002
            tensor, start = inputs, 0
            for length in self.lengths:
                chosen = self.layers[start : start + length]
                tensor = checkpoint(lambda tensor, chosen=chosen: reference._chain(chosen)(tensor))(tensor)
                start += length
            return tensor

    return override(reference, checkpoint=checkpoint, CheckpointedSequential=CheckpointedSequential)


def remembering(call_of: type[reference._Call]) -> SimpleNamespace:
    """The reference with another record of a call."""

    def checkpoint(function: Function) -> Function:
        def checkpointed(*args: Any, **kwargs: Any) -> Any:
            call = call_of(function, args, kwargs)
            return call.finish(keras.remat(call.run)(*call.tensors))

        return checkpointed

    return wrong(checkpoint)


def sequence(**methods: Any) -> SimpleNamespace:
    """The reference with another layer."""
    layer = type("CheckpointedSequential", (reference.CheckpointedSequential,), methods)
    return override(reference, CheckpointedSequential=layer)


# Another checkpoint


def naive(function: Function) -> Function:
    """TensorFlow's own, by itself."""
    return tf.recompute_grad(function)


def kept(function: Function) -> Function:
    """Nothing is run again."""
    return function


def without_options(function: Function) -> Function:
    """Keyword arguments that are no tensors are taken and dropped."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        tensors = {name: value for name, value in kwargs.items() if tf.is_tensor(value)}
        return reference.checkpoint(function)(*args, **tensors)

    return checkpointed


def closing_over_keywords(function: Function) -> Function:
    """Tensors given by keyword are constants."""
    return lambda *args, **kwargs: reference.checkpoint(functools.partial(function, **kwargs))(*args)


def with_gradient(pull_back: Callable[..., Any]) -> Callable[[Function], Function]:
    """Its own gradient: `pull_back` of the tape, the second run's value, tensors, variables, and the upstream."""

    def checkpoint(function: Function) -> Function:
        @tf.custom_gradient
        def run(*tensors: Any) -> Any:
            def backward(upstream: Any, variables: Any = ()) -> Any:
                with tf.GradientTape(persistent=True) as tape:
                    tape.watch([*tensors, *variables])
                    value = function(*tensors)
                found = pull_back(tape, value, tensors, list(variables), upstream)
                return (found[: len(tensors)], found[len(tensors) :]) if variables else found

            return function(*tensors), backward

        return run

    return checkpoint


def without_variables(tape: Any, value: Any, tensors: Any, variables: Any, upstream: Any) -> Any:
    """Gradients for the arguments alone."""
    return [*tape.gradient(value, tensors, upstream), *(None for _ in variables)]


def without_upstream(tape: Any, value: Any, tensors: Any, variables: Any, _upstream: Any) -> Any:
    """The gradient of the sum, whatever the loss is."""
    return tape.gradient(value, [*tensors, *variables])


def as_a_constant(tape: Any, value: Any, tensors: Any, _variables: Any, upstream: Any) -> Any:
    """The gradient counts as a constant."""
    return [tf.stop_gradient(gradient) * upstream for gradient in tape.gradient(value, tensors)]


def once_more_forward(function: Function) -> Function:
    """The function is run for its structure first."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        function(*args, **kwargs)
        return reference.checkpoint(function)(*args, **kwargs)

    return checkpointed


def rounded_to_bfloat16(function: Function) -> Function:
    """What is kept is kept in bfloat16, to keep even less."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        args = tuple(tf.cast(tf.cast(each, "bfloat16"), each.dtype) if tf.is_tensor(each) else each for each in args)
        return reference.checkpoint(function)(*args, **kwargs)

    return checkpointed


def by_shape(function: Function) -> Function:
    """Results are remembered by the shapes of the arguments, as traces are."""
    results: dict[Any, Any] = {}

    def checkpointed(*args: Any) -> Any:
        key = tuple(tuple(each.shape) for each in args)
        if key not in results:
            results[key] = reference.checkpoint(function)(*args)
        return results[key]

    return checkpointed


def doubling_in_place(function: Function) -> Function:
    """NumPy arrays among the arguments are written to."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        result = reference.checkpoint(function)(*args, **kwargs)
        for each in args:
            if not tf.is_tensor(each):
                np.multiply(each, 2, out=each)
        return result

    return checkpointed


def with_lists(function: Function) -> Function:
    """Results are put into lists."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        results = reference.checkpoint(function)(*args, **kwargs)
        return list(results) if isinstance(results, tuple) else results

    return checkpointed


def flattened(checkpoint: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """A checkpoint of tensors alone, for any nest of positional arguments."""

    def of_nests(function: Function) -> Function:
        def checkpointed(*args: Any) -> Any:
            def flat(*tensors: Any) -> Any:
                return function(*keras.tree.pack_sequence_as(args, tensors))

            return checkpoint(flat)(*keras.tree.flatten(args))

        return checkpointed

    return of_nests


def summed_for_each_place(tape: Any, value: Any, tensors: Any, variables: Any, upstream: Any) -> Any:
    """The tape gives one gradient for a tensor, the sum of its places; each place gets all of it."""
    return tape.gradient(value, [*tensors, *variables], upstream)


def only_of_floating_arguments(function: Function) -> Function:
    """Without a floating-point argument there is no gradient to begin with."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        result = reference.checkpoint(function)(*args, **kwargs)
        given = keras.tree.flatten((args, kwargs))
        return result if any(map(reference._has_gradient, given)) else tf.stop_gradient(result)

    return checkpointed


def one_record_for_all_calls(function: Function) -> Function:
    """What a call was given is kept on the function."""
    record: list[Any] = []

    @tf.custom_gradient
    def run(*tensors: Any) -> Any:
        record[:] = tensors

        def backward(upstream: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(record)
                value = function(*record)
            return tape.gradient(value, record, upstream)

        return function(*tensors), backward

    return run


def options_of_the_last_call(function: Function) -> Function:
    """Keyword arguments are kept on the function."""
    kept: dict[str, Any] = {}

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        kept.update(kwargs)
        return reference.checkpoint(lambda *args: function(*args, **kept))(*args)

    return checkpointed


def replayed_for_bare_tensors_only(function: Function) -> Function:
    """State is put back only where an argument is itself a tensor."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        kind = reference._Call if any(map(tf.is_tensor, args)) else FindsNewState
        call = kind(function, args, kwargs)
        return call.finish(keras.remat(call.run)(*call.tensors))

    return checkpointed


# Another record of a call


class ForgetsTraining(reference._Call):
    """Layers in the second run are not told that they are in training."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.context = {"autocast_scope": self.context["autocast_scope"]}


class ForgetsCasts(reference._Call):
    """Variables are not cast in the second run."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.context = {"current_call_ctx": self.context["current_call_ctx"]}


class ForgetsMasks(reference._Call):
    """Arguments lose their masks on the way to the second run."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.masks = [None for _ in self.masks]


class DropsMasks(reference._Call):
    """Results lose their masks."""

    def finish(self, returned: Any) -> Any:
        others, masks, values = self.aside
        self.aside = others, [None for _ in masks], values
        return super().finish(returned)


class FindsNewState(reference._Call):
    """Assignments are made once, but the second run finds what they left."""

    def run(self, *tensors: Any) -> Any:
        self.before = None if self.before is None else {}
        return super().run(*tensors)


class NeverAssigns(reference._Call):
    """The first run has no effects either."""

    def finish(self, returned: Any) -> Any:
        self.assigned, self.aside = [], (*self.aside[:2], [])
        return super().finish(returned)


class RunsThrice(reference._Call):
    """The second run is made twice."""

    def run(self, *tensors: Any) -> Any:
        if self.before is not None:
            super().run(*tensors)
        return super().run(*tensors)


class MakesFloats(reference._Call):
    """Integers and masks become floating-point numbers, so that everything can be handed over."""

    def __init__(self, function: Function, args: Any, kwargs: Any) -> None:
        args = tuple(tf.cast(each, "float32") if tf.is_tensor(each) else each for each in args)
        super().__init__(function, args, kwargs)


class FloatsOnly(reference._Call):
    """Results without a gradient come back as floating-point numbers too."""

    def finish(self, returned: Any) -> Any:
        others, masks, values = self.aside
        self.aside = [tf.cast(each, "float32") for each in others], masks, values
        return super().finish(returned)


class SecondRunInFloat16(reference._Call):
    """The second run casts variables to float16, whatever the first one cast them to."""

    def run(self, *tensors: Any) -> Any:
        scope = self.context["autocast_scope"]
        if self.before is not None and scope is not None and scope.dtype is not None:
            scope.dtype = "float16"
        return super().run(*tensors)


class StateOfTheLastCall(reference._Call):
    """The state that a run found is kept for all calls."""

    latest: Any = None

    def run(self, *tensors: Any) -> Any:
        if self.before is not None:
            self.before = StateOfTheLastCall.latest
        result = super().run(*tensors)
        StateOfTheLastCall.latest = self.before
        return result


class AssignmentsRounded(reference._Call):
    """What is assigned goes through float32."""

    def finish(self, returned: Any) -> Any:
        others, masks, values = self.aside
        self.aside = others, masks, [tf.cast(tf.cast(each, "float32"), each.dtype) for each in values]
        return super().finish(returned)


class FirstAssignmentWins(reference._Deferred):
    """Of several assignments to a variable the first is kept."""

    def add_update(self, update: Any) -> None:
        if id(update[0]) not in self.assigned:
            super().add_update(update)


# Another layer


def lengths_too_short(layers: int, segments: Any = None) -> tuple[int, ...]:
    """Whole quotients only: the layers of the remainder are lost."""
    count = len(reference.segment_lengths(layers, segments))
    return (layers // count,) * count


def remainder_to_the_last(layers: int, segments: Any = None) -> tuple[int, ...]:
    """All of the remainder goes to one segment."""
    count = len(reference.segment_lengths(layers, segments))
    return (layers // count,) * (count - 1) + (layers - layers // count * (count - 1),)


def floor_of_the_root(layers: int, segments: Any = None) -> tuple[int, ...]:
    """The default is rounded down."""
    return reference.segment_lengths(layers, int(layers**0.5) if segments is None else segments)


def cut_by(lengths: Callable[..., tuple[int, ...]]) -> SimpleNamespace:
    """The reference with other lengths of segments, alone and in the layer."""

    def init(self: Any, layers: Any, segments: Any = None, **kwargs: Any) -> None:
        reference.CheckpointedSequential.__init__(self, layers, segments, **kwargs)
        self.lengths = lengths(len(self.layers), self.segments)

    layer = type("CheckpointedSequential", (reference.CheckpointedSequential,), {"__init__": init})
    return override(reference, CheckpointedSequential=layer, segment_lengths=lengths)


def overlapping(self: Any, inputs: Any, training: Any = None) -> Any:  # noqa: ARG001
    """Each segment but the first begins one layer early."""
    start = 0
    for length in self.lengths:
        chosen = self.layers[max(start - 1, 0) : start + length]
        inputs = reference.checkpoint(lambda tensor, chosen=chosen: reference._chain(chosen)(tensor))(inputs)
        start += length
    return inputs


def of_copies(self: Any, layers: Any, segments: Any = None, **kwargs: Any) -> None:
    """The layers are copied, so that those of the caller are never trained."""
    copies = [type(layer).from_config(layer.get_config()) for layer in layers]
    reference.CheckpointedSequential.__init__(self, copies, segments, **kwargs)


def config_without_segments(self: Any) -> dict[str, Any]:
    """The segments are not part of the configuration."""
    return {**reference.CheckpointedSequential.get_config(self), "segments": None}


def anything_goes(self: Any, layers: Any, segments: Any = None, **kwargs: Any) -> None:
    """Whatever does not fit is cut down until it does."""
    chosen = [each for each in layers if isinstance(each, keras.layers.Layer)]
    count = segments if isinstance(segments, int) else None
    fitting = None if count is None else max(1, min(count, len(chosen)))
    reference.CheckpointedSequential.__init__(self, chosen or [keras.layers.Identity()], fitting, **kwargs)


def checkpointed_in_training_only(self: Any, inputs: Any, training: Any = None) -> Any:
    """In inference nothing is checkpointed."""
    if training is False:
        return reference._chain(self.layers)(inputs)
    return reference.CheckpointedSequential.call(self, inputs, training)


def layers_put_into_the_configuration(cls: Any, config: Any) -> Any:
    """The layers take the place of their configurations."""
    config["layers"] = [
        each if isinstance(each, keras.layers.Layer) else keras.saving.deserialize_keras_object(each)
        for each in config["layers"]
    ]
    return cls(**config)


def own_configuration_alone(self: Any) -> dict[str, Any]:
    """What any layer has is left out: name, dtype and whether it is trained."""
    config = reference.CheckpointedSequential.get_config(self)
    return {name: config[name] for name in ("layers", "segments")}


def attaching_a_mask(self: Any, inputs: Any, training: Any = None) -> Any:
    """A mask of ones goes with the result."""
    result = reference.CheckpointedSequential.call(self, inputs, training)
    keras.src.backend.set_keras_mask(result, tf.ones(result.shape[:-1], "bool"))
    return result


def trained_by_the_last_place(self: Any, inputs: Any, training: Any = None) -> Any:  # noqa: ARG001
    """Where a layer comes again, the gradient of its earlier places is lost."""
    for place, layer in enumerate(self.layers):
        constant = [(each, tf.stop_gradient(each.value)) for each in layer.weights]
        again = layer in self.layers[place + 1 :]
        with keras.StatelessScope(constant) if again else contextlib.nullcontext():
            inputs = layer(inputs)
    return inputs


def of_quotient(layers: int, segments: float) -> float:
    """The activations of the segment that is run again, and not the inputs of the others."""
    return layers / segments


STATE = ("assignments_happen_once", "moving_statistics_are_updated_once", "random_numbers_move_on_as_without")

VARIANTS = (
    Variant(
        "naive",
        "the function is run again with nothing replayed, as tf.recompute_grad does",
        (
            "dropout_repeats_its_mask",
            "checkpoints_nest",
            "fit_equals_the_plain_sequence",
            "training_is_repeated",
            "masks_are_repeated",
            "what_would_be_lost_is_refused",
            "unbuilt_counters_are_refused_or_count",
            "dropout_repeats_its_mask_in_every_call",
            "the_last_assignment_counts",
            "variables_are_taken_as_arguments",
            *STATE,
        ),
        wrong(naive),
    ),
    Variant(
        "naive_keywords",
        "keyword arguments are left to tf.custom_gradient, which takes none in a graph",
        ("keywords_are_taken_when_compiled",),
        wrong(naive),
        raises=ValueError,
    ),
    Variant(
        "nothing_is_run_again",
        "everything is kept",
        ("function_runs_twice_in_a_step", "nothing_in_between_is_kept", "what_enters_a_segment_is_kept"),
        wrong(kept),
    ),
    Variant(
        "run_thrice",
        "the second run is made twice",
        ("function_runs_twice_in_a_step",),
        remembering(RunsThrice),
    ),
    Variant(
        "run_for_its_structure",
        "the function is run once more to learn what it gives",
        ("function_runs_once_without_a_gradient", "function_runs_twice_in_a_step", *STATE),
        wrong(once_more_forward),
    ),
    Variant(
        "upstream_ignored",
        "the gradient is that of the sum of the results",
        ("value_and_input_gradient_are_exact", "captured_variables_get_their_gradients", "compiled_steps_are_exact"),
        wrong(with_gradient(without_upstream)),
        precisions=BOTH,
    ),
    Variant(
        "captured_variables_without_gradients",
        "variables that the function uses get no gradient",
        ("captured_variables_get_their_gradients", "compiled_steps_are_exact"),
        wrong(with_gradient(without_variables)),
        precisions=BOTH,
    ),
    Variant(
        "kept_in_bfloat16",
        "arguments are rounded to keep even less",
        ("rounding_is_the_same",),
        wrong(rounded_to_bfloat16),
        precisions=BOTH,
    ),
    Variant(
        "gradient_is_a_constant",
        "the derivative of the gradient is silently wrong",
        ("second_derivative_is_right_or_refused",),
        wrong(with_gradient(as_a_constant)),
    ),
    Variant(
        "options_dropped",
        "keyword arguments that are no tensors are dropped",
        ("nests_and_keywords_are_taken", "keywords_are_taken_when_compiled"),
        wrong(without_options),
    ),
    Variant(
        "keywords_closed_over",
        "tensors given by keyword get no gradient",
        ("nests_and_keywords_are_taken", "keywords_are_taken_when_compiled"),
        wrong(closing_over_keywords),
    ),
    Variant(
        "integers_made_floats",
        "every tensor among the arguments is cast to a floating-point dtype",
        ("masks_and_integers_are_taken",),
        remembering(MakesFloats),
    ),
    Variant(
        "results_made_floats",
        "integers among the results come back as floating-point numbers",
        ("nests_and_keywords_are_taken",),
        remembering(FloatsOnly),
    ),
    Variant(
        "remembered_by_shape",
        "the variables of the first call are used for ever",
        ("changed_variables_are_seen",),
        wrong(by_shape),
    ),
    Variant(
        "arguments_written_to",
        "arrays that are handed in are changed",
        ("arguments_are_left_as_they_were",),
        wrong(doubling_in_place),
    ),
    Variant(
        "new_state_in_the_second_run",
        "assignments are made once, but the second run finds what they left",
        ("dropout_repeats_its_mask", "checkpoints_nest", "assignments_happen_once"),
        remembering(FindsNewState),
        precisions=BOTH,
    ),
    Variant(
        "no_assignments",
        "assignments are lost: every step draws the same, and statistics stand still",
        STATE,
        remembering(NeverAssigns),
    ),
    Variant(
        "training_forgotten",
        "the second run is one of inference",
        ("training_is_repeated", "fit_equals_the_plain_sequence"),
        remembering(ForgetsTraining),
    ),
    Variant(
        "casts_forgotten",
        "variables are not cast in the second run",
        ("casts_are_repeated",),
        remembering(ForgetsCasts),
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    Variant(
        "masks_forgotten",
        "arguments have no masks in the second run",
        ("masks_are_repeated",),
        remembering(ForgetsMasks),
    ),
    Variant(
        "masks_dropped",
        "results lose the masks that layers attached to them",
        ("segments_pass_masks_on",),
        remembering(DropsMasks),
    ),
    Variant(
        "layers_lost",
        "segments are all of the quotient's length, and the remainder is lost",
        ("segments_are_the_sequence", "segments_are_even_and_complete"),
        cut_by(lengths_too_short),
        precisions=BOTH,
    ),
    Variant(
        "segments_overlap",
        "a segment begins with the last layer of the one before",
        ("segments_are_the_sequence",),
        sequence(call=overlapping),
        precisions=BOTH,
    ),
    Variant(
        "remainder_to_the_last",
        "the last segment takes all of the remainder",
        ("segments_are_even_and_complete",),
        cut_by(remainder_to_the_last),
    ),
    Variant(
        "one_segment",
        "all layers are one segment, whatever was asked",
        ("what_enters_a_segment_is_kept",),
        cut_by(lambda layers, segments=None: (layers,)),  # noqa: ARG005
    ),
    Variant(
        "root_rounded_down",
        "by default there are too few segments",
        ("no_number_of_segments_beats_the_square_root",),
        cut_by(floor_of_the_root),
    ),
    Variant(
        "inputs_of_segments_uncounted",
        "the model leaves out what is kept between the passes",
        ("memory_model_counts_what_is_alive", "no_number_of_segments_beats_the_square_root"),
        override(reference, segment_memory=of_quotient),
    ),
    Variant(
        "layers_copied",
        "the layers of the caller are not those that are trained",
        ("weights_are_those_of_the_layers",),
        sequence(__init__=of_copies),
    ),
    Variant(
        "segments_forgotten",
        "a saved layer is cut by default when it is loaded",
        ("model_survives_saving",),
        sequence(get_config=config_without_segments),
    ),
    Variant(
        "anything_goes",
        "what does not fit is made to",
        ("misfits_are_refused",),
        sequence(__init__=anything_goes),
    ),
    Variant(
        "variables_counted_twice",
        "a variable that is handed in is an argument and a variable that the function uses: its gradient doubles",
        ("variables_are_taken_as_arguments",),
        edited(
            reference,
            old="ops.copy(leaf) if isinstance(leaf, keras.Variable) else ops.convert_to_tensor(leaf)",
            new="ops.convert_to_tensor(leaf)",
        ),
    ),
    Variant(
        "duplicates_counted_wrong",
        "a tensor that is handed in twice gets the sum of its places' gradients for each of them",
        ("one_tensor_in_two_places_counts_twice",),
        wrong(flattened(with_gradient(summed_for_each_place))),
    ),
    Variant(
        "without_float_arguments_no_gradient",
        "variables get no gradient where no argument is a floating-point tensor",
        ("gradients_need_no_floating_argument",),
        wrong(only_of_floating_arguments),
    ),
    Variant(
        "float32_arguments_only",
        "arguments in half precision or float64 get no gradient",
        ("every_floating_dtype_gets_its_gradient",),
        edited(reference, old="keras.backend.is_float_dtype(leaf.dtype)", new='leaf.dtype == "float32"'),
    ),
    Variant(
        "second_run_in_float16",
        "the second run casts to float16, whatever the policy was",
        ("casts_are_repeated",),
        remembering(SecondRunInFloat16),
        precisions=("mixed_bfloat16",),
    ),
    Variant(
        "replayed_for_bare_tensors_only",
        "random numbers are replayed only where an argument is itself a tensor",
        ("dropout_repeats_its_mask_in_every_call",),
        wrong(replayed_for_bare_tensors_only),
    ),
    Variant(
        "state_of_the_last_call",
        "of two calls in a step both are run again with the state that the last one found",
        ("dropout_repeats_its_mask_in_every_call",),
        remembering(StateOfTheLastCall),
    ),
    Variant(
        "one_record_for_all_calls",
        "of two calls in a step both are run again with what the last one was given",
        ("calls_do_not_mix",),
        wrong(one_record_for_all_calls),
    ),
    Variant(
        "options_of_the_last_call",
        "of two calls in a step both are run again with the options of the last one",
        ("options_do_not_mix",),
        wrong(options_of_the_last_call),
    ),
    Variant(
        "context_left_by_an_exception",
        "an exception inside leaves Keras in training, and its casts in place",
        ("errors_leave_no_context_behind",),
        edited(
            reference,
            old="    finally:\n        for name, value in outside.items():",
            new="    except ZeroDivisionError:\n        pass\n    else:\n        for name, value in outside.items():",
        ),
    ),
    Variant(
        "first_assignment_wins",
        "of several assignments to a variable in a run the first is kept",
        ("the_last_assignment_counts", "random_numbers_move_on_as_without"),
        changed(reference, _Deferred=FirstAssignmentWins),
    ),
    Variant(
        "assignments_rounded",
        "what is assigned goes through float32, and large counters stand still",
        ("the_last_assignment_counts",),
        remembering(AssignmentsRounded),
    ),
    Variant(
        "unbuilt_matrices_refused_only",
        "of variables that are created inside, only matrices are refused, and the others are not trained",
        ("unbuilt_layers_are_refused_or_trained",),
        edited(
            reference,
            old="any(variable.trainable for variable in created)",
            new="any(variable.trainable and len(variable.shape) == 2 for variable in created)",
        ),
    ),
    Variant(
        "inference_recomputes",
        "with training=False nothing is checkpointed",
        ("what_enters_a_segment_is_kept",),
        sequence(call=checkpointed_in_training_only),
    ),
    Variant(
        "config_keeps_layers_of_the_first",
        "`from_config` puts its layers into the configuration that it is given",
        ("configuration_can_be_used_again",),
        sequence(from_config=classmethod(layers_put_into_the_configuration)),
    ),
    Variant(
        "own_configuration_alone",
        "the configuration lacks name, dtype and whether the layer is trained",
        ("configuration_can_be_used_again",),
        sequence(get_config=own_configuration_alone),
    ),
    Variant(
        "shared_layer_trained_by_its_last_place",
        "a layer that stands in the sequence twice is trained by its last place alone",
        ("shared_layers_are_trained_by_all_their_places",),
        sequence(call=trained_by_the_last_place),
    ),
    Variant(
        "results_become_lists",
        "a nest of results comes back as lists",
        ("results_keep_their_nest",),
        wrong(with_lists),
    ),
    Variant(
        "masks_of_inputs_attached",
        "the mask of the inputs follows the sequence, whatever its layers made of it",
        ("masks_end_where_they_end_without",),
        sequence(compute_mask=lambda _self, _inputs, previous_mask=None: previous_mask, call=attaching_a_mask),
    ),
    Variant(
        "anything_is_called",
        "what cannot be called is accepted until it is",
        ("what_cannot_be_called_is_refused",),
        wrong(lambda function: lambda *args: reference.checkpoint(function)(*args)),  # noqa: PLW0108 - it looks late
    ),
    Variant(
        "any_segments",
        "the cost model takes any number of segments",
        ("impossible_segments_are_refused",),
        override(reference, segment_memory=lambda layers, segments: segments + layers / max(segments, 1)),
    ),
    Variant(
        "lengths_unchecked",
        "lengths of segments need not sum to the layers",
        ("impossible_segments_are_refused", "misfits_are_refused"),
        edited(reference, old="if sum(lengths) != layers or min(lengths) < 1:", new="if False:"),
    ),
    Variant(
        "training_by_keyword_dropped",
        "keyword arguments that are no tensors are dropped",
        ("training_may_be_handed_in",),
        wrong(without_options),
    ),
)
