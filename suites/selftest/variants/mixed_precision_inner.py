"""Loss scaling around any optimizer, with plausible mistakes."""

from typing import Any

import keras

from reference.mixed_precision import LossScaledOptimizer
from suites.selftest.variants import Variant
from suites.selftest.variants.mixed_precision import line, wrong


class RateOfItsOwn(LossScaledOptimizer):
    """A learning rate set on the wrapper stays there."""

    @property
    def learning_rate(self) -> Any:
        return vars(self).get("own_rate", self.inner_optimizer.learning_rate)

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        self.__dict__["own_rate"] = rate


class AveragesNotTaken(LossScaledOptimizer):
    """At the end of training the averages are not written to the weights."""

    def finalize_variable_values(self, var_list: Any) -> None:
        pass


class NothingWithoutVariables(LossScaledOptimizer):
    """Gradients alone are passed over until variables are known."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if self.built or trainable_variables is not None:
            super().apply(grads, trainable_variables)


class DefaultInner(LossScaledOptimizer):
    """The inner optimizer comes back with the settings of its class."""

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        inner = type(keras.saving.deserialize_keras_object(config["inner"]))(0.5)
        return super().from_config({**config, "inner": keras.saving.serialize_keras_object(inner)}, custom_objects)


VARIANTS = (
    line(
        "floor_lost_from_the_configuration",
        "the configuration lacks the law's floor",
        "configuration_leaves_nothing_out",
        "dataclasses.asdict(self.law)",
        '{name: value for name, value in dataclasses.asdict(self.law).items() if name != "floor"}',
    ),
    line(
        "cap_lost_from_the_configuration",
        "the configuration lacks the law's cap",
        "configuration_leaves_nothing_out",
        "dataclasses.asdict(self.law)",
        '{name: value for name, value in dataclasses.asdict(self.law).items() if name != "cap"}',
    ),
    line(
        "factor_lost_from_the_configuration",
        "the configuration lacks the law's factor",
        "configuration_leaves_nothing_out",
        "dataclasses.asdict(self.law)",
        '{name: value for name, value in dataclasses.asdict(self.law).items() if name != "factor"}',
    ),
    line(
        "name_lost_from_the_configuration",
        "an optimizer made from a configuration has a name of its own",
        "configuration_leaves_nothing_out",
        ', name=config["name"])',
        ")",
    ),
    Variant(
        "inner_settings_lost",
        "the inner optimizer made from a configuration has the settings of its class",
        ("configuration_leaves_nothing_out",),
        wrong(DefaultInner),
    ),
    line(
        "scope_gives_nothing",
        "the scope gives None to `as`",
        "scope_gives_its_policy",
        "yield keras.config.dtype_policy()",
        "yield None",
    ),
    line(
        "policy_taken_by_name",
        "of a policy object only the name is taken",
        "scope_gives_its_policy",
        "    keras.config.set_dtype_policy(policy)",
        '    keras.config.set_dtype_policy(getattr(policy, "name", policy))',
    ),
    line(
        "policy_of_the_thread_restored_by_name",
        "the previous policy is put back by its name, and a policy object is lost",
        "scope_puts_the_very_policy_back",
        "previous = keras.config.dtype_policy()",
        "previous = keras.config.dtype_policy().name",
    ),
    line(
        "output_name_dropped",
        "the options of the output are dropped",
        "output_takes_options",
        'keras.layers.Activation(activation, dtype="float32", **kwargs)',
        'keras.layers.Activation(activation, dtype="float32")',
    ),
    line(
        "output_softmax_only",
        "the output has a softmax, whatever is asked for",
        "output_takes_options",
        'keras.layers.Activation(activation, dtype="float32", **kwargs)',
        'keras.layers.Activation("softmax", dtype="float32", **kwargs)',
    ),
    line(
        "inner_must_be_an_object",
        "the name of an optimizer is not taken",
        "optimizers_are_taken_by_name",
        "        inner = keras.optimizers.get(inner)\n",
        "",
        raises=AttributeError,
    ),
    line(
        "variables_needed_every_time",
        "each step needs the variables again",
        "variables_are_needed_once",
        "self.inner_optimizer.apply(unscale(gradients, scale), trainable_variables)",
        "self.inner_optimizer.apply(unscale(gradients, scale), list(trainable_variables))",
        raises=TypeError,
    ),
    Variant(
        "nothing_without_variables",
        "gradients without variables are passed over in silence",
        ("gradients_without_variables_are_refused",),
        wrong(NothingWithoutVariables),
    ),
    Variant(
        "learning_rate_of_its_own",
        "a learning rate set on the optimizer does not reach the inner one",
        ("what_is_set_on_it_reaches_the_inner_optimizer",),
        wrong(RateOfItsOwn),
    ),
    Variant(
        "averages_not_overwritten",
        "the averages of the inner optimizer are not written to the weights at the end of training",
        ("fit_equals_the_inner_optimizer_alone",),
        wrong(AveragesNotTaken),
    ),
    line(
        "variables_of_the_first_call",
        "gradients go to the variables in the order of the first call",
        "variables_may_come_in_another_order",
        "self.inner_optimizer.apply(unscale(gradients, scale), trainable_variables)",
        "self.inner_optimizer.apply([ops.sum(each) + ops.zeros(v.shape) for each, v in"
        " zip(unscale(gradients, scale), self._trainable_variables)], self._trainable_variables)",
    ),
)
