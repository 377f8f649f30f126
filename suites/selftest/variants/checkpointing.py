"""Wrong variants of gradient checkpointing; those of a run change one thing that the reference's call remembers."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import reference.checkpointing as reference
from suites.selftest.variants import Variant, override

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
        "second_run_in_float16",
        "the second run casts to float16, whatever the policy was",
        ("casts_are_repeated",),
        remembering(SecondRunInFloat16),
        precisions=("mixed_bfloat16",),
    ),
    Variant(
        "inference_recomputes",
        "with training=False nothing is checkpointed",
        ("what_enters_a_segment_is_kept",),
        sequence(call=checkpointed_in_training_only),
    ),
)
