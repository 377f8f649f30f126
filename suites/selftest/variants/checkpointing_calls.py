"""Calls of what is checkpointed, with plausible mistakes."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

import reference.checkpointing as reference
from suites.selftest.variants import Variant, changed, edited, override
from suites.selftest.variants.checkpointing import (
    FindsNewState,
    Function,
    remembering,
    sequence,
    with_gradient,
    without_options,
    wrong,
)


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


VARIANTS = (
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
