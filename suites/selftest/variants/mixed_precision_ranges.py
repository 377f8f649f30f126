"""What half precision can hold, with plausible mistakes."""

from typing import Any

from keras import ops

import reference.mixed_precision as reference
from reference.mixed_precision import LossScaledOptimizer
from suites.selftest.variants import Variant
from suites.selftest.variants.mixed_precision import line, wrong


class ChoosesAmongFloats(LossScaledOptimizer):
    """In place of a condition, each variable is chosen from before and after the step, in float32."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not self.built:
            self.build(list(trainable_variables))
        kept = [*self._trainable_variables, *self.inner_optimizer.variables]
        before = [ops.cast(variable.value, "float32") for variable in kept]
        finite = reference.all_finite(grads)
        super().apply(grads, trainable_variables)
        for variable, old in zip(kept, before, strict=True):
            chosen = ops.where(finite, ops.cast(variable.value, "float32"), old)
            variable.assign(ops.cast(chosen, variable.dtype))


VARIANTS = (
    Variant(
        "skipped_by_choosing_floats",
        "a step is skipped by a choice among float32 numbers, which rounds large counters",
        ("large_counts_stay_exact",),
        wrong(ChoosesAmongFloats),
    ),
    line(
        "finite_by_the_sum_of_squares",
        "a gradient whose norm overflows counts as infinite",
        "large_finite_gradients_are_applied",
        "ops.all(ops.isfinite(gradient))",
        "ops.isfinite(ops.sum(ops.square(gradient)))",
    ),
    line(
        "finite_by_the_sum",
        "a gradient whose sum overflows counts as infinite",
        "large_finite_gradients_are_applied",
        "ops.all(ops.isfinite(gradient))",
        "ops.isfinite(ops.sum(gradient))",
    ),
    line(
        "finite_in_float16",
        "gradients beyond float16 count as infinite",
        "large_finite_gradients_are_applied",
        "ops.all(ops.isfinite(gradient))",
        'ops.all(ops.isfinite(ops.cast(gradient, "float16")))',
    ),
    line(
        "first_entry_checked",
        "only the first number of each gradient is checked",
        "overflow_is_noticed_in_any_gradient",
        "ops.all(ops.isfinite(gradient))",
        "ops.isfinite(ops.ravel(gradient)[0])",
    ),
    line(
        "masked_grad_counts_nan",
        "gradients of scalar weights are not checked",
        "overflow_is_noticed_in_any_gradient",
        "for gradient in gradients if gradient is not None]\n    return ops.all(ops.stack",
        "for gradient in gradients if gradient is not None and len(gradient.shape)]\n    return ops.all(ops.stack",
    ),
    line(
        "only_float32_checked",
        "gradients in half precision are not checked",
        "overflow_is_noticed_in_any_gradient",
        "for gradient in gradients if gradient is not None]\n    return ops.all(ops.stack",
        'for gradient in gradients if gradient is not None and gradient.dtype == "float32"]\n'
        "    return ops.all(ops.stack",
    ),
    line(
        "infinity_alone_checked",
        "NaN passes for finite",
        "overflow_is_noticed_in_any_gradient",
        "ops.all(ops.isfinite(gradient))",
        "ops.logical_not(ops.any(ops.isinf(gradient)))",
    ),
    line(
        "unscaled_in_float16_again",
        "the scale is cast to float16, where 2^24 and more is infinite",
        "any_scale_is_undone_exactly",
        'keras.backend.result_type(gradient.dtype, "float32")), scale)',
        'keras.backend.result_type(gradient.dtype, "float32")), ops.cast(scale, "float16"))',
    ),
    line(
        "higher_than_float16_needs",
        "the default cap is 2^25",
        "law_left_to_itself",
        "cap: float = 2.0**24",
        "cap: float = 2.0**25",
    ),
    line(
        "initial_of_torch",
        "the scale begins at 2^16, as torch's does",
        "law_left_to_itself",
        "initial: float = 2.0**15",
        "initial: float = 2.0**16",
    ),
    line(
        "floor_under_one",
        "the default floor is 1/2",
        "law_left_to_itself",
        "floor: float = 1.0",
        "floor: float = 0.5",
    ),
    line(
        "least_scale_refused",
        "2^-126, the least scale that can be undone, is refused",
        "any_scale_is_undone_exactly",
        "not 2.0**-126 <= value",
        "not 2.0**-126 < value",
        raises=ValueError,
    ),
    line(
        "subnormal_scale_taken",
        "a scale of 2^-127 is taken, whose product may count as zero",
        "bounds_without_sense_are_refused",
        "not 2.0**-126 <= value",
        "not 2.0**-127 <= value",
    ),
    line(
        "subnormals_of_bfloat16_forgotten",
        "what lies under bfloat16's least normal number counts as lost",
        "underflow_is_counted",
        '"bfloat16": 2.0**-134',
        '"bfloat16": 2.0**-127',
    ),
    line(
        "missing_gradient_is_one",
        "a gradient that is missing counts as 1, which a small scale loses",
        "underflow_is_counted",
        "0.0 if gradient is None",
        "1.0 if gradient is None",
    ),
    line(
        "float64_loss_cut",
        "a float64 loss is scaled in float32",
        "scaling_keeps_float64",
        'keras.backend.result_type(loss.dtype, "float32")',
        '"float32"',
    ),
    line(
        "float64_gradients_cut",
        "float64 gradients are unscaled in float32",
        "scaling_keeps_float64",
        'keras.backend.result_type(gradient.dtype, "float32")',
        '"float32"',
    ),
    line(
        "missing_gradients_left_out",
        "`unscale` leaves out what is None, so that gradients meet the wrong weights",
        "gradients_keep_the_order_and_get_float32",
        "[None if gradient is None else divide(gradient) for gradient in gradients]",
        "[divide(gradient) for gradient in gradients if gradient is not None]",
    ),
    line(
        "unscaled_back_to_half",
        "`unscale` gives gradients in the dtype that they came in",
        "gradients_keep_the_order_and_get_float32",
        'return ops.divide(ops.cast(gradient, keras.backend.result_type(gradient.dtype, "float32")), scale)',
        "return ops.cast(\n"
        '            ops.divide(ops.cast(gradient, keras.backend.result_type(gradient.dtype, "float32")), scale),\n'
        "            gradient.dtype,\n"
        "        )",
    ),
    line(
        "last_gradient_unchecked",
        "the last gradient is not checked",
        "no_gradients_are_finite",
        "ops.all(ops.stack(checks)) if checks",
        "ops.all(ops.stack(checks[:-1] or checks)) if checks",
    ),
    line(
        "no_gradients_are_infinite",
        "where no gradient is there, the step is skipped",
        "no_gradients_are_finite",
        "if checks else ops.convert_to_tensor(True)",
        "if checks else ops.convert_to_tensor(False)",
    ),
)
