"""Training by schedules, micro-batches and range tests, with plausible mistakes."""

import itertools
import math
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

import reference.schedules as reference
from suites.selftest.variants import Variant, edited, override
from suites.selftest.variants.schedules import ANY, edit


def accumulate(weigh: Callable[[int], float], divide: Callable[[int, int], float]) -> SimpleNamespace:
    """Another weight of a micro-batch by its size, and another divisor by the examples and the micro-batches."""

    def function(gradients_of: Callable[..., Any], micro_batches: Iterable[Any]) -> list[Any]:
        sums: list[Any] = []
        examples = count = 0
        for micro_batch in micro_batches:
            size = len(micro_batch[0])
            gradients = [weigh(size) * ops.cast(gradient, "float32") for gradient in gradients_of(*micro_batch)]
            sums = [ops.add(*pair) for pair in zip(sums, gradients, strict=True)] if count else gradients
            examples, count = examples + size, count + 1
        if not count:
            raise ValueError("no micro-batch")
        return [each / divide(examples, count) for each in sums]

    return override(reference, accumulated_gradients=function)


def accumulate_in_place(gradients_of: Callable[..., Any], micro_batches: Iterable[Any]) -> list[Any]:
    """The first micro-batch's gradients become the sums, in whatever dtype they are."""
    sums: list[Any] = []
    examples = 0
    for micro_batch in micro_batches:
        size = len(micro_batch[0])
        for i, gradient in enumerate(gradients_of(*micro_batch)):
            if examples:
                sums[i] += gradient * size
            else:
                sums.append(gradient)
                sums[i] *= size
        examples += size
    return [each / examples for each in sums]


def train(weigh: Callable[[int, int, int], float], report: Callable[[list[float]], float] = np.mean) -> SimpleNamespace:
    """Another weight of a micro-batch by its size, the examples and the micro-batches; other news of the losses."""

    def function(model: Any, x: Any, y: Any, *, size: int) -> float:
        micro_batches, losses = math.ceil(len(x) / size), []
        for begin in range(0, len(x), size):
            part = slice(begin, begin + size)
            weight = np.full(len(x[part]), weigh(len(x[part]), len(x), micro_batches), "float32")
            losses.append(model.train_on_batch(x[part], y[part], sample_weight=weight, return_dict=True)["loss"])
        return float(report(losses))

    return override(reference, train_on_micro_batches=function)


def right_weight(size: int, examples: int, micro_batches: int) -> float:
    """That of the reference."""
    return size * micro_batches / examples


def train_at_once(model: Any, x: Any, y: Any, *, size: int) -> float:
    """The whole batch every time, as often as there are micro-batches."""
    losses = [model.train_on_batch(x, y) for _ in range(0, len(x), size)]
    return float(losses[0])


def counting_micro_batches(optimizer: Any, rate: Any, micro_batches: int, **options: Any) -> Any:
    """The schedule is given to Keras as it is."""
    return optimizer(rate, gradient_accumulation_steps=micro_batches if micro_batches > 1 else None, **options)


class RateInside(keras.optimizers.SGD):
    """The velocity holds gradients times the rates that they came with."""


class DecayWithoutRate(reference.MomentumSGD):
    """Weight decay is not multiplied by the rate."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        decay = self.weight_decay or 0.0
        super().update_step(gradient + decay * (1 / learning_rate - 1) * variable, variable, learning_rate)


def range_test(
    restored: Callable[[Any], list[Any]],
    rates_of: Callable[..., Any] = np.geomspace,
    *,
    after_errors: bool = True,
    stops: bool = True,
) -> SimpleNamespace:
    """The reference's range test without its checks, with other rates, other variables put back, or no end."""

    def function(
        model: Any, batches: Any, *, low: float = 1e-6, high: float = 1.0, steps: int = 100, divergence: float = 4.0
    ) -> Any:
        kept = [(each, np.array(ops.convert_to_numpy(each))) for each in restored(model)]
        losses: list[float] = []
        complete = False
        try:
            for rate, (x, y) in zip(rates_of(low, high, steps), itertools.cycle(batches), strict=False):
                model.optimizer.learning_rate = rate
                losses.append(model.train_on_batch(x, y, return_dict=True)["loss"])
                curve = reference.smoothed(losses)
                if stops and not curve[-1] <= divergence * curve.min():
                    break
            complete = True
        finally:
            for variable, value in kept if complete or after_errors else ():
                variable.assign(value)
        return reference.RangeTest(rates_of(low, high, steps)[: len(losses)], np.array(losses))

    return override(reference, range_test=function)


def everything(model: Any) -> list[Any]:
    """What the reference puts back."""
    return [*model.variables, *model.optimizer.variables]


class Boldest(reference.RangeTest):
    """Suggests the best rate itself."""

    @property
    def suggestion(self) -> float:
        return 10 * super().suggestion


def accumulating_by(*, each: tuple[str, ...] = (), lost: tuple[str, ...] = ()) -> SimpleNamespace:
    """Some options act in every micro-batch, or are lost."""

    def function(optimizer: Any, rate: Any, micro_batches: int, **options: Any) -> Any:
        if micro_batches == 1:
            return reference.accumulating(optimizer, rate, 1, **options)
        kept = {name: value for name, value in options.items() if name not in (*each, *lost)}
        made = reference.accumulating(optimizer, rate, micro_batches, **kept)
        eager = optimizer(0.0, **{name: value for name, value in options.items() if name in each})
        apply = made.apply

        def apply_each(gradients: Any, weights: Any) -> None:
            if not eager.built:
                eager.build(weights)
            eager._apply_weight_decay([*weights])
            apply(eager._clip_gradients([*gradients]), weights)

        made.apply = apply_each
        return made

    return override(reference, accumulating=function)


class Corrected(reference.MomentumSGD):
    """The velocity holds rates, and is corrected by the new rate over the old one, which may be 0."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.velocities[self._get_variable_index(variable)]
        before = self.__dict__.setdefault("rates", {}).get(id(variable), learning_rate)
        self.rates[id(variable)] = learning_rate
        gradient = ops.cast(gradient, velocity.dtype)
        self.assign(velocity, self.momentum * (learning_rate / before) * velocity + learning_rate * gradient)
        self.assign_sub(variable, velocity)


class OneVelocity(reference.MomentumSGD):
    """All weights of a shape share a velocity."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.velocities[0]
        pushed = self.momentum * velocity + ops.mean(ops.cast(gradient, velocity.dtype))
        self.assign(velocity, ops.broadcast_to(ops.mean(pushed), velocity.shape))
        step = ops.cast(learning_rate, velocity.dtype) * ops.mean(pushed)
        self.assign_sub(variable, ops.broadcast_to(step, variable.shape))


def first_size_counts(gradients_of: Callable[..., Any], micro_batches: Iterable[Any]) -> Any:
    """All micro-batches but the last count as the first."""
    batches = [*micro_batches]
    sizes = [*([len(batches[0][0])] * (len(batches) - 1)), len(batches[-1][0])] if batches else []
    pairs = zip(batches, sizes, strict=True)
    weighted = [[size * ops.convert_to_tensor(each) for each in gradients_of(*batch)] for batch, size in pairs]
    if not weighted:
        raise ValueError("no micro-batch")
    return [sum(each) / sum(sizes) for each in zip(*weighted, strict=True)]


def listed_first(gradients_of: Callable[..., Any], micro_batches: Iterable[Any]) -> Any:
    """All micro-batches are in memory before the first gradient."""
    return reference.accumulated_gradients(gradients_of, [*micro_batches])


VARIANTS = (
    Variant(
        "weights_of_micro_batches_ignored",
        "Micro-batches count by their examples although they are told what they count.",
        ("micro_batches_count_by_their_weight",),
        edited(reference, old=" if weight is None else weight(*micro_batch)", new=""),
    ),
    Variant(
        "an_empty_micro_batch_poisons",
        "A micro-batch that counts nothing, whose mean is NaN, adds 0 * NaN.",
        ("micro_batches_count_by_their_weight",),
        edited(
            reference,
            old="return size * ops.where(size == 0, ops.zeros_like(gradient), gradient)",
            new="return size * gradient",
        ),
    ),
    Variant(
        "divided_by_nothing",
        "Where nothing counts at all, the sum is divided by 0.",
        ("micro_batches_count_by_their_weight",),
        edited(reference, old="ops.where(ops.equal(total, 0), 1, total)", new="total"),
    ),
    Variant(
        "decay_in_every_micro_batch",
        "weight decay is applied in every micro-batch",
        ("options_act_once_per_update",),
        accumulating_by(each=("weight_decay",)),
    ),
    Variant(
        "clipped_in_every_micro_batch",
        "gradients are clipped in every micro-batch, before they are averaged",
        ("options_act_once_per_update",),
        accumulating_by(each=("clipnorm", "clipvalue", "global_clipnorm")),
    ),
    Variant(
        "options_lost",
        "the optimizer's other options are accepted and ignored",
        ("options_act_once_per_update",),
        accumulating_by(lost=("momentum", "nesterov", "weight_decay", "clipnorm", "beta_1")),
    ),
    Variant(
        "averages_in_every_micro_batch",
        "an average of the weights moves in every micro-batch, as Keras has it",
        ("averages_of_weights_move_once_per_update",),
        edit('if options.get("use_ema"):', "if False:"),
    ),
    Variant(
        "velocity_corrected_by_rates",
        "the velocity is corrected by new over old rate, which is 0 over 0 after a rate of 0",
        ("momentum_forgets_old_rates",),
        override(reference, MomentumSGD=Corrected),
    ),
    Variant(
        "velocity_shared",
        "all weights share the velocity of the first",
        ("momentum_forgets_old_rates",),
        override(reference, MomentumSGD=OneVelocity),
    ),
    Variant(
        "velocity_in_half",
        "gradients are added to the velocity in their own dtype",
        ("half_precision_gradients_have_a_velocity_in_float32",),
        edit(
            "self.momentum * velocity + ops.cast(gradient, velocity.dtype))",
            "ops.cast(ops.cast(self.momentum * velocity, gradient.dtype) + gradient, velocity.dtype))",
        ),
    ),
    Variant(
        "momentum_not_saved",
        "the configuration lacks the momentum",
        ("momentum_resumes_where_it_stopped",),
        edit('{**super().get_config(), "momentum": self.momentum}', "{**super().get_config()}"),
    ),
    Variant(
        "momentum_unchecked",
        "a momentum of 1 and a negative one are accepted",
        ("impossible_momenta_are_refused",),
        edit("if not 0 <= momentum < 1:", "if momentum > 1:"),
    ),
    Variant(
        "small_batches_refused",
        "a batch that is smaller than one micro-batch is refused",
        ("training_weighs_a_smaller_micro_batch",),
        edit("    if micro_batches != expected:", "    if micro_batches != expected or examples < size:"),
        raises=ValueError,
    ),
    Variant(
        "penalties_by_share",
        "the whole loss of a micro-batch, penalties too, is reported by its share",
        ("penalties_count_once",),
        edit('return_dict=True)["loss"] / micro_batches', 'return_dict=True)["loss"] * len(x[part]) / examples'),
    ),
    Variant(
        "first_size_counts",
        "all micro-batches but the last are taken to be as large as the first",
        ("a_smaller_micro_batch_counts_less",),
        override(reference, accumulated_gradients=first_size_counts),
    ),
    Variant(
        "sizes_known_while_tracing",
        "micro-batches of a size that the trace does not know are taken for one example",
        ("sizes_may_be_unknown_while_tracing",),
        edit("ops.shape(micro_batch[0])[0] if weight", "(micro_batch[0].shape[0] or 1) if weight"),
    ),
    Variant(
        "all_in_memory",
        "all micro-batches are taken before the first gradient",
        ("micro_batches_are_taken_one_at_a_time",),
        override(reference, accumulated_gradients=listed_first),
    ),
    Variant(
        "added_up_in_float32",
        "gradients in float64 are added up in float32",
        ("gradients_in_float64_are_added_up_in_float64",),
        edit("[_floating(ops.convert_to_tensor(gradient)) for", '[ops.cast(gradient, "float32") for'),
    ),
    Variant(
        "square_root_by_default",
        "without a rule the rate is scaled by the square root",
        ("linear_rule",),
        edit('rule: str = "linear"', 'rule: str = "sqrt"'),
    ),
    Variant(
        "whole_factors",
        "only whole multiples of the batch count",
        ("linear_rule", "square_root_rule"),
        edit("rate * (batch / base_batch)", "rate * (batch // base_batch)"),
    ),
    Variant(
        "limit_fixed",
        "a sweep ends at four times the least loss, whatever `divergence` says",
        ("range_test_stops_when_training_diverges",),
        edit("<= divergence * curve.min()", "<= 4 * curve.min()"),
    ),
    Variant(
        "nan_goes_on",
        "a loss that is NaN does not end the sweep",
        ("range_test_stops_at_what_is_no_number",),
        edit(
            "if not (curve := smoothed(losses))[-1] <= divergence * curve.min():",
            "if (curve := smoothed(losses))[-1] > divergence * curve.min():",
        ),
    ),
    Variant(
        "nan_suggested",
        "where a loss is NaN, its rate is the best",
        ("range_test_stops_at_what_is_no_number",),
        edit("np.nanargmin(", "np.argmin("),
    ),
    Variant(
        "first_batch_only",
        "a sweep trains on its first batch again and again",
        ("range_test_sweeps_geometrically",),
        edit("itertools.cycle(batches)", "itertools.cycle(list(itertools.islice(batches, 1)))"),
    ),
    Variant(
        "other_sweep_by_default",
        "a sweep begins at 10^-5 by default",
        ("range_test_sweeps_as_documented",),
        edit("low: float = 1e-6", "low: float = 1e-5"),
    ),
    Variant(
        "memory_fixed",
        "losses are smoothed alike whatever the memory is",
        ("smoothed_losses_are_weighted_means",),
        edit("weights = memory **", "weights = 0.8 **"),
    ),
    Variant(
        "metrics_not_reset",
        "metrics go on from what they saw in the sweep",
        ("range_test_puts_everything_back",),
        edit("        model.reset_metrics()\n", ""),
    ),
    Variant(
        "rate_in_float32",
        "a weight in float64 moves by what is computed in the rate's float32",
        ("weights_in_float64_are_updated_in_float64",),
        edit("learning_rate * velocity)", 'learning_rate * ops.cast(velocity, "float32"))'),
    ),
    Variant(
        "no_momentum_by_default",
        "without arguments there is no momentum, as in Keras's SGD",
        ("momentum_is_nine_tenths_by_default",),
        edit("momentum: float = 0.9", "momentum: float = 0.0"),
    ),
    Variant(
        "unused_optimizers_keep_moments",
        "an optimizer that was not used before a sweep keeps the moments of it",
        ("range_test_puts_everything_back",),
        edit("        optimizer.build(model.trainable_variables)\n    kept", "        pass\n    kept"),
    ),
    Variant(
        "linear_rule_inverted",
        "a larger batch gets a smaller rate",
        ("linear_rule", "square_root_rule"),
        override(
            reference,
            scale_learning_rate=lambda rate, batch, base_batch, rule: reference.scale_learning_rate(
                rate, batch=base_batch, base_batch=batch, rule=rule
            ),
        ),
    ),
    Variant(
        "square_root_rule_missing",
        "every rule is the linear one",
        ("square_root_rule", "impossible_batches_are_refused"),
        override(reference, scale_learning_rate=lambda rate, batch, base_batch, rule: rate * batch / base_batch),  # noqa: ARG005
    ),
    Variant(
        "gradients_summed",
        "the gradients are summed and not averaged",
        ("micro_batches_give_the_gradient_of_the_batch", "a_smaller_micro_batch_counts_less"),
        accumulate(lambda size: 1.0, lambda examples, count: 1.0),  # noqa: ARG005
    ),
    Variant(
        "micro_batches_unweighted",
        "a smaller micro-batch counts as much as the others",
        ("a_smaller_micro_batch_counts_less",),
        accumulate(lambda size: 1.0, lambda examples, count: count),  # noqa: ARG005
    ),
    Variant(
        "gradients_added_in_place",
        "the sum is kept in the first gradient, and in its dtype",
        ("gradients_are_left_as_they_were", "small_gradients_are_not_lost"),
        override(reference, accumulated_gradients=accumulate_in_place),
    ),
    Variant(
        "training_sums",
        "micro-batches are summed and not averaged",
        ("training_by_micro_batches_is_training_by_the_batch", "training_weighs_a_smaller_micro_batch"),
        train(lambda size, examples, count: right_weight(size, examples, count) * count),
        precisions=ANY,
    ),
    Variant(
        "training_unweighted",
        "a smaller micro-batch counts as much as the others",
        ("training_weighs_a_smaller_micro_batch", "micro_batches_report_the_mean_loss"),
        train(lambda size, examples, count: 1.0),  # noqa: ARG005
        precisions=ANY,
    ),
    Variant(
        "last_loss_reported",
        "the loss is that of the last micro-batch",
        ("micro_batches_report_the_mean_loss",),
        train(right_weight, report=lambda losses: losses[-1]),
        precisions=ANY,
    ),
    Variant(
        "micro_batches_not_counted",
        "a batch that leaves the optimizer waiting for more is accepted",
        ("impossible_batches_are_refused",),
        train(right_weight),
    ),
    Variant(
        "trained_at_once",
        "every micro-batch is the whole batch",
        ("batch_normalisation_sees_micro_batches",),
        override(reference, train_on_micro_batches=train_at_once),
        precisions=ANY,
    ),
    Variant(
        "schedule_counts_micro_batches",
        "under accumulation the schedule runs too fast",
        ("a_schedule_counts_updates",),
        override(reference, accumulating=counting_micro_batches),
    ),
    Variant(
        "rate_inside_of_the_velocity",
        "after a change of the rate old gradients go on at the old one",
        ("momentum_forgets_old_rates",),
        override(reference, MomentumSGD=RateInside),
    ),
    Variant(
        "decay_without_rate",
        "weight decay is the same at every rate",
        ("a_larger_loss_is_not_a_larger_rate",),
        override(reference, MomentumSGD=DecayWithoutRate),
    ),
    Variant(
        "weights_not_put_back",
        "the model stays trained",
        ("range_test_puts_everything_back",),
        range_test(lambda model: model.optimizer.variables),
    ),
    Variant(
        "optimizer_not_put_back",
        "the optimizer keeps its last rate and its moments",
        ("range_test_puts_everything_back",),
        range_test(lambda model: model.variables),
    ),
    Variant(
        "not_put_back_after_errors",
        "an error in the middle leaves the model trained",
        ("range_test_puts_everything_back",),
        range_test(everything, after_errors=False),
    ),
    Variant(
        "swept_linearly",
        "the rates grow by one and the same difference",
        ("range_test_sweeps_geometrically", "impossible_sweeps_are_refused"),
        range_test(everything, np.linspace),
    ),
    Variant(
        "never_stops",
        "the sweep goes on after it diverged",
        ("range_test_stops_when_training_diverges",),
        range_test(everything, stops=False),
    ),
    Variant(
        "best_rate_suggested",
        "the suggestion is the rate at the edge of divergence",
        ("range_test_suggests_a_tenth_of_the_best_rate",),
        override(reference, RangeTest=Boldest),
    ),
)
