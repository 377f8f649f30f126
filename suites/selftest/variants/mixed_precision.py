"""Wrong variants of mixed precision, among them all that the guide's sketch gets wrong.

To unscale before looking for infinity is no defect by itself, since infinity over a finite scale stays infinite. It
becomes one with a clip in between, which is the variant here.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

import reference.mixed_precision as reference
from reference.mixed_precision import LossScale, LossScaledOptimizer, ScaleState
from suites.selftest.variants import Variant, edited, override

Gradients = list[Any]


def wrong(optimizer: Any) -> SimpleNamespace:
    """The reference with another optimizer."""
    return override(reference, LossScaledOptimizer=optimizer)


# The scope of a policy, and the output


@contextlib.contextmanager
def never_restored(policy: str) -> Iterator[None]:
    keras.config.set_dtype_policy(policy)
    yield


@contextlib.contextmanager
def not_restored_after_exceptions(policy: str) -> Iterator[None]:
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    yield
    keras.config.set_dtype_policy(previous)


@contextlib.contextmanager
def float32_restored(policy: str) -> Iterator[None]:
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


@contextlib.contextmanager
def floatx_scope(policy: str) -> Iterator[None]:
    """Sets what the policies of all threads derive from."""
    previous = keras.config.floatx()
    keras.config.set_floatx(policy.removeprefix("mixed_"))
    try:
        yield
    finally:
        keras.config.set_floatx(previous)


def renamed(**policies: str) -> SimpleNamespace:
    """The reference with a scope that takes one policy for another."""
    return override(reference, precision_scope=lambda policy: reference.precision_scope(policies.get(policy, policy)))


def known_policies_only(policy: str) -> Any:
    """Leaves the policy alone where it does not know it."""
    known = ("float32", "mixed_float16", "mixed_bfloat16")
    return reference.precision_scope(policy) if policy in known else contextlib.nullcontext()


def dtype_set_afterwards(activation: str = "linear") -> Callable[[Any], Any]:
    """The guide's sketch: the output's dtype is set when the output is there."""

    def output(inputs: Any) -> Any:
        outputs = keras.layers.Activation(activation)(inputs)
        outputs.dtype = "float32"
        return outputs

    return output


# The law of the scale


def lawless(next_state: Callable[[ScaleState, bool, LossScale], ScaleState]) -> SimpleNamespace:
    """The reference with another law, in the pure machine and in the optimizer (which must then run eagerly)."""

    class Lawless(LossScaledOptimizer):
        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            grads, before = list(grads), self.state
            super().apply(grads, trainable_variables)
            after = next_state(before, bool(reference.all_finite(grads)), self.law)
            self.dynamic_scale.assign(after.scale)
            self.step_counter.assign(after.good_steps)

    return override(reference, next_state=next_state, LossScaledOptimizer=Lawless)


def never_grows(state: ScaleState, finite: bool, law: LossScale) -> ScaleState:
    grown = reference.next_state(state, finite, law)
    return ScaleState(min(grown.scale, state.scale), grown.good_steps)


def count_kept(state: ScaleState, finite: bool, law: LossScale) -> ScaleState:
    """An overflow does not interrupt the row of finite steps."""
    after = reference.next_state(state, finite, law)
    return after if finite else ScaleState(after.scale, state.good_steps)


def one_step_late(state: ScaleState, finite: bool, law: LossScale) -> ScaleState:
    """Grows when the count is over the interval."""
    if finite and state.good_steps < law.growth_interval:
        return ScaleState(state.scale, state.good_steps + 1)
    return reference.next_state(ScaleState(state.scale, law.growth_interval - 1), finite, law)


def no_floor(state: ScaleState, finite: bool, law: LossScale) -> ScaleState:
    return reference.next_state(state, finite, law) if finite else ScaleState(state.scale / law.factor)


def no_cap(state: ScaleState, finite: bool, law: LossScale) -> ScaleState:
    after = reference.next_state(state, finite, law)
    return ScaleState(state.scale * law.factor) if finite and after.good_steps == 0 else after


class Unchecked(LossScale):
    """Takes any numbers."""

    def __post_init__(self) -> None:
        pass


# The optimizer


class WrappedFromOutside(keras.optimizers.Optimizer):
    """The guide's sketch: a wrapper that Keras does not know as one, so that `compile` wraps it again."""

    def __init__(self, inner: Any, law: Any = None) -> None:
        super().__init__(learning_rate=0.0)
        self.scaling = LossScaledOptimizer(inner, law)

    state = property(lambda self: self.scaling.state)
    iterations = property(lambda self: self.scaling.iterations)

    def build(self, variables: Any) -> None:
        self.scaling.build(variables)
        super().build(variables)

    def scale_loss(self, loss: Any) -> Any:
        return self.scaling.scale_loss(loss)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        self.scaling.apply(grads, trainable_variables)


class LossNotScaled(LossScaledOptimizer):
    def scale_loss(self, loss: Any) -> Any:
        return loss


class LossScaledInItsDtype(LossScaledOptimizer):
    def scale_loss(self, loss: Any) -> Any:
        return loss * ops.cast(self.state.scale, loss.dtype)


def changing(change: Callable[[LossScaledOptimizer, Gradients], Gradients]) -> SimpleNamespace:
    """The reference's optimizer with gradients that are changed before anything else happens to them."""

    class Changing(LossScaledOptimizer):
        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            if not self.built:
                self.build(list(trainable_variables))
            super().apply(change(self, list(grads)), trainable_variables)

    return wrong(Changing)


def each(change: Callable[[Any, Any], Any]) -> SimpleNamespace:
    """As `changing`, each gradient by itself; given the scale too."""
    return changing(lambda optimizer, grads: [change(grad, optimizer.dynamic_scale.value) for grad in grads])


def in_its_dtype(gradient: Any, scale: Any) -> Any:
    """Unscaled in the gradient's own dtype, which rounds it to zero."""
    unscaled = ops.cast(ops.cast(gradient, "float32") / scale, gradient.dtype)
    return ops.cast(unscaled, "float32") * scale


def in_place(gradient: Any, scale: Any) -> Any:
    """Unscaled where it stands."""
    gradient /= np.float32(scale)
    return gradient * np.float32(scale)


def where_finite(_optimizer: LossScaledOptimizer, gradients: Gradients) -> Gradients:
    """In place of a skipped step, one with gradients of zero."""
    return [ops.where(reference.all_finite(gradients), gradient, 0.0) for gradient in gradients]


class FirstGradientChecked(LossScaledOptimizer):
    """Looks for infinity in the first gradient only, and takes a row of others for finite."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        first, *others = grads
        with_all = self.built and bool(reference.all_finite([first]))
        if with_all and not bool(reference.all_finite(others)):
            self.inner_optimizer.apply(reference.unscale([first, *others], self.state.scale), trainable_variables)
        else:
            super().apply([first, *others], trainable_variables)


class NeverSkips(LossScaledOptimizer):
    """Takes every step, and lets the scale grow."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not self.built:
            self.build(list(trainable_variables))
        self.inner_optimizer.apply(reference.unscale(grads, self.dynamic_scale), trainable_variables)
        state = self.dynamic_scale.value, self.step_counter.value
        scale, good_steps = reference.next_tensors(*state, ops.convert_to_tensor(True), self.law)
        self.dynamic_scale.assign(scale)
        self.step_counter.assign(good_steps)


class SkippedStepCounted(LossScaledOptimizer):
    """Iterations are counted by the wrapper, at every step."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        super().apply(grads, trainable_variables)
        self.inner_optimizer._iterations.assign_add(1 - ops.cast(reference.all_finite(grads), "int32"))


class MissingGradientSkips(LossScaledOptimizer):
    """Takes a missing gradient for one that is not finite."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        if all(gradient is not None for gradient in grads):
            super().apply(grads, trainable_variables)


class AnyInner(LossScaledOptimizer):
    """Does not ask what its inner optimizer does."""

    def __init__(self, inner: Any, law: LossScale | None = None, name: str | None = None) -> None:
        keras.optimizers.LossScaleOptimizer.__init__(self, inner, law.initial if law else 2.0**15, name=name)
        self.law = law or LossScale()


class HalfWeights(LossScaledOptimizer):
    """Keeps the weights in float16: no master copy."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        variables = list(trainable_variables or self._trainable_variables)
        super().apply(grads, variables)
        for variable in variables:
            variable.assign(ops.cast(ops.cast(variable, "float16"), "float32"))


class Forgetful(LossScaledOptimizer):
    """Made anew with the default law."""

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        return super().from_config(config | {"law": {}}, custom_objects)


def line(name: str, defect: str, caught_by: str, old: str, new: str, **options: Any) -> Variant:
    """A variant that is the reference but for a text of it."""
    return Variant(name, defect, (caught_by,), edited(reference, old=old, new=new), **options)


# Underflow


def counting(lost: Callable[[Any, str], Any], denominator: Callable[[Any], int] = np.count_nonzero) -> SimpleNamespace:
    """The reference with another idea of what is lost."""

    def underflow_fraction(gradients: Sequence[Any], scale: float = 1.0, dtype: str = "float16") -> list[float]:
        sizes = [np.abs(np.zeros(1) if each is None else each) * scale for each in gradients]
        return [float(np.sum(lost(size, dtype) & (size > 0))) / max(denominator(size), 1) for size in sizes]

    return override(reference, underflow_fraction=underflow_fraction)


def flushed(sizes: Any, dtype: str) -> Any:
    return sizes <= reference.LARGEST_FLUSHED.get(dtype, 0.0)


SCOPE_LEAKS = ("scope_never_leaks",)
LAW = ("state_machine_follows_the_law", "optimizer_follows_the_law")
TRAINING = ("training_does_not_depend_on_the_scale",)
BOTH = ("float32", "mixed_float16")

VARIANTS = (
    Variant(
        "policy_leaks",
        "the policy is global and stays",
        SCOPE_LEAKS,
        override(reference, precision_scope=never_restored),
    ),
    Variant(
        "policy_leaks_after_exceptions",
        "an exception in the scope leaves its policy in place",
        SCOPE_LEAKS,
        override(reference, precision_scope=not_restored_after_exceptions),
    ),
    Variant(
        "float32_restored",
        "the scope puts float32 back, whatever was there before",
        SCOPE_LEAKS,
        override(reference, precision_scope=float32_restored),
    ),
    Variant(
        "floatx_set",
        "the scope sets the float type of the process",
        ("other_threads_keep_their_policy", "layers_in_a_scope_have_its_dtypes"),
        override(reference, precision_scope=floatx_scope),
    ),
    Variant(
        "no_master_weights",
        "mixed_float16 is float16 throughout",
        ("layers_in_a_scope_have_its_dtypes",),
        renamed(mixed_float16="float16"),
    ),
    Variant(
        "bfloat16_for_float16",
        "mixed_float16 computes in bfloat16, with three bits less",
        ("mixed_output_is_near_the_exact_one", "layers_in_a_scope_have_its_dtypes"),
        renamed(mixed_float16="mixed_bfloat16"),
        precisions=("mixed_float16",),
    ),
    Variant(
        "unknown_policy_ignored",
        "a policy that it does not know changes nothing",
        ("unknown_policies_are_refused",),
        override(reference, precision_scope=known_policies_only),
    ),
    Variant(
        "dtype_set_afterwards",
        "the output's dtype is set on a tensor after the fact, which raises",
        ("output_is_float32", "masked_output_is_never_nan"),
        override(reference, float32_output=dtype_set_afterwards),
        precisions=BOTH,
        raises=AttributeError,
    ),
    Variant(
        "output_in_compute_dtype",
        "the output follows the policy, so that softmax and masks are in float16",
        ("output_is_float32", "masked_output_is_never_nan"),
        override(reference, float32_output=lambda activation="linear": keras.layers.Activation(activation)),
        precisions=("mixed_float16",),
    ),
    Variant("scale_never_grows", "an overflow early on is paid for to the end", LAW, lawless(never_grows)),
    Variant("count_not_reset", "an overflow does not interrupt the row of finite steps", LAW, lawless(count_kept)),
    Variant("growth_one_step_late", "the scale grows after N + 1 steps", LAW, lawless(one_step_late)),
    Variant(
        "no_floor",
        "overflows halve the scale without end",
        ("scale_stays_at_or_above_one", "fixed_scale_stays", "state_machine_follows_the_law"),
        lawless(no_floor),
    ),
    Variant(
        "no_cap",
        "finite steps double the scale without end",
        ("scale_stays_finite", "fixed_scale_stays", "state_machine_follows_the_law"),
        lawless(no_cap),
    ),
    Variant(
        "law_differs_in_the_optimizer",
        "the optimizer has another law than the pure state machine",
        ("optimizer_equals_the_state_machine",),
        wrong(lawless(no_floor).LossScaledOptimizer),
    ),
    Variant(
        "settings_unchecked",
        "any settings are accepted",
        ("settings_without_sense_are_refused", "bounds_without_sense_are_refused"),
        override(reference, LossScale=Unchecked),
    ),
    Variant(
        "wrapped_twice",
        "compile wraps the optimizer a second time",
        ("compile_leaves_the_optimizer_as_it_is", *TRAINING),
        wrong(WrappedFromOutside),
        precisions=("mixed_float16",),
    ),
    Variant(
        "loss_not_scaled",
        "the loss is not scaled, and the gradients are divided",
        (*TRAINING, "gradients_too_small_for_float16_arrive", "loss_is_scaled_in_float32"),
        wrong(LossNotScaled),
        precisions=BOTH,
    ),
    Variant(
        "loss_scaled_in_its_dtype",
        "a float16 loss is scaled in float16, and infinite",
        ("loss_is_scaled_in_float32",),
        wrong(LossScaledInItsDtype),
    ),
    Variant(
        "unscaled_twice",
        "the gradients are divided twice",
        ("inner_optimizer_sees_unscaled_gradients", *TRAINING, "compiled_training_follows_the_law"),
        each(lambda gradient, scale: gradient / scale),
        precisions=BOTH,
    ),
    Variant(
        "not_unscaled",
        "the inner optimizer gets scaled gradients",
        ("inner_optimizer_sees_unscaled_gradients", *TRAINING, "sparse_gradients_are_treated_alike"),
        each(lambda gradient, scale: ops.cast(gradient, "float32") * scale),
    ),
    Variant(
        "clipped_before_unscaling",
        "the inner optimizer's clip is applied to scaled gradients, before they are checked",
        ("clipping_sees_unscaled_gradients", "clipping_does_not_hide_an_overflow"),
        changing(lambda optimizer, gradients: optimizer.inner_optimizer._clip_gradients(gradients)),
    ),
    Variant(
        "first_gradient_checked",
        "only the first gradient is checked",
        ("skipped_step_changes_nothing",),
        wrong(FirstGradientChecked),
    ),
    Variant(
        "never_skips",
        "infinite gradients are applied",
        (
            "skipped_step_changes_nothing",
            "compiled_training_follows_the_law",
            "optimizer_follows_the_law",
            "sparse_gradients_are_treated_alike",
        ),
        wrong(NeverSkips),
    ),
    Variant(
        "skipped_step_counted",
        "a skipped step counts as an iteration",
        ("skipped_step_changes_nothing", "compiled_training_follows_the_law"),
        wrong(SkippedStepCounted),
    ),
    Variant(
        "skipped_step_moves_slots",
        "in place of skipping, a step is taken with gradients of zero, on momentum",
        ("skipped_step_changes_nothing",),
        changing(where_finite),
    ),
    Variant(
        "missing_gradient_skips",
        "a weight without a gradient stops all the others",
        ("missing_gradients_are_passed_over",),
        wrong(MissingGradientSkips),
    ),
    Variant(
        "unscaled_in_float16",
        "gradients are unscaled in their own dtype",
        ("half_gradients_are_unscaled_in_float32",),
        each(in_its_dtype),
    ),
    Variant(
        "unscaled_in_place",
        "gradients are unscaled where they stand",
        ("arguments_are_left_as_they_were",),
        each(in_place),
    ),
    Variant(
        "inner_unchecked",
        "a loss scale around a loss scale is accepted",
        ("inner_scaling_does_not_count_twice",),
        wrong(AnyInner),
    ),
    Variant(
        "weights_in_float16",
        "the weights are kept in float16",
        ("small_updates_accumulate",),
        wrong(HalfWeights),
        precisions=BOTH,
    ),
    Variant(
        "law_forgotten",
        "an optimizer made from a configuration has the default law",
        ("model_survives_saving", "configuration_can_be_used_again"),
        wrong(Forgetful),
    ),
    Variant(
        "subnormal_numbers_lost",
        "all under the least normal number counts as lost",
        ("underflow_is_counted",),
        counting(lambda sizes, dtype: sizes < {"float16": 2.0**-14, "bfloat16": 2.0**-126}[dtype]),
    ),
    Variant(
        "tie_survives",
        "2^-25 counts as kept, though it rounds to the even zero",
        ("underflow_is_counted",),
        counting(lambda sizes, dtype: sizes < reference.LARGEST_FLUSHED[dtype]),
    ),
    Variant(
        "one_range_for_all",
        "bfloat16 counts as having the range of float16",
        ("underflow_is_counted",),
        counting(lambda sizes, dtype: flushed(sizes, "float16")),  # noqa: ARG005
    ),
    Variant(
        "zeros_diluted",
        "the fraction is of all entries, zeros among them, and depends on how sparse a gradient is",
        ("underflow_is_counted",),
        counting(flushed, np.size),
    ),
    Variant(
        "unknown_dtype_accepted",
        "a dtype of 32 bits loses nothing, it is said",
        ("underflow_in_unknown_dtypes_is_refused",),
        counting(flushed),
    ),
    line(
        "scales_to_the_last",
        "a scale of 2^127 is accepted, though its reciprocal counts as zero",
        "bounds_without_sense_are_refused",
        "<= value <= 2.0**126",
        "<= value <= 2.0**127",
    ),
)
