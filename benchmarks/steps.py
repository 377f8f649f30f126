"""The steps that are timed: of a Keras model on each backend, or those that a technique's bench module makes itself.

Runs in a worker. A step is called with inputs that already lie on the device, others in every call; it returns what a
caller would wait for. XLA is off on TensorFlow unless asked for: what ``"auto"`` resolves to differs by device.
"""

import importlib
from collections.abc import Callable
from typing import Any, cast

import keras

from benchmarks import controls, evidence
from benchmarks.calls import Inputs, Step
from benchmarks.workload import WITHOUT
from suites.implementations import NotProvided
from suites.subjects import Subject

LEARNING_RATE = 0.01

Call = Callable[..., Any]
Loss = Callable[[Any, Any], Any]


def build(asked: dict[str, Any], subject: Subject, bench: str) -> Step:
    """The step that was asked for, whose result may not be computed yet when its call returns.

    Args:
        asked: the row's question, see ``ARCHITECTURE.md``.
        subject: the implementation, or the reference where the technique is left out.
        bench: the workload's module.
    """
    keras.utils.set_random_seed(asked["seed"])
    if asked["implementation"] in controls.KERNELS:
        return Step(controls.kernel(asked["implementation"], subject))
    workloads = importlib.import_module(bench)
    parameters, operation, seed = asked["parameters"], asked["operation"], asked["seed"]
    left_out = asked["implementation"] == WITHOUT
    xla = "xla" in asked.get("variation", {})
    if xla and (keras.backend.backend() != "tensorflow" or hasattr(workloads, "step")):
        raise NotProvided("xla=on is for Keras models on TensorFlow: JAX compiles with XLA always, PyTorch never")
    if hasattr(workloads, "step"):
        step: Step = (workloads.without if left_out else workloads.step)(subject, parameters, operation, seed)
        return step
    model: keras.Model = (workloads.without if left_out else workloads.model)(subject, parameters)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    return of_model(model, workloads.batch(parameters, seed), operation, loss, xla)


def of_model(model: keras.Model, batch: tuple[Any, Any], operation: str, loss: Loss, xla: bool = False) -> Step:
    """One of `benchmarks.workload.OPERATIONS` on a model.

    Args:
        model: from inputs to logits.
        batch: inputs as the model takes them, NumPy arrays; and targets, integers.
        operation: "inference", "gradient" (forward and backward) or "train" (with momentum SGD).
        loss: of targets and logits, a scalar.
        xla: whether TensorFlow compiles with XLA.
    """
    if operation == "train":
        # JAX runs op by op without it; TensorFlow makes a graph anyway.
        jit = xla or keras.backend.backend() == "jax"
        model.compile(keras.optimizers.SGD(LEARNING_RATE, momentum=0.9), loss, jit_compile=jit)
        return Step(model.train_on_batch, Inputs(*batch), model, trains=True)
    evidence.equalize(model)
    make = {"inference": _inference, "gradient": _gradient}[operation][keras.backend.backend()]
    return Step(make(model, loss, xla), Inputs(*batch), model, equal=True)


def _tensorflow_inference(model: keras.Model, loss: Loss, xla: bool) -> Call:
    import tensorflow as tf

    @tf.function(jit_compile=xla)
    def forward(inputs: Any, targets: Any) -> Any:
        return loss(targets, model(inputs, training=False))

    return cast(Call, forward)


def _tensorflow_gradient(model: keras.Model, loss: Loss, xla: bool) -> Call:
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=xla)
    def gradient(inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(targets, model(inputs, training=True))
        return tape.gradient(value, variables)

    return cast(Call, gradient)


def _jax_loss(model: keras.Model, loss: Loss, training: bool) -> Callable[..., Any]:
    def value(trainable: Any, fixed: Any, inputs: Any, targets: Any) -> Any:
        logits, _ = model.stateless_call(trainable, fixed, inputs, training=training)
        return loss(targets, logits)

    return value


def _jax_state(model: keras.Model) -> tuple[list[Any], list[Any]]:
    return [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]


def _jax_inference(model: keras.Model, loss: Loss, _xla: bool) -> Call:
    import jax

    forward, state = jax.jit(_jax_loss(model, loss, training=False)), _jax_state(model)
    return lambda x, y: forward(*state, x, y)


def _jax_gradient(model: keras.Model, loss: Loss, _xla: bool) -> Call:
    import jax

    gradient, state = jax.jit(jax.grad(_jax_loss(model, loss, training=True))), _jax_state(model)
    return lambda x, y: gradient(*state, x, y)


def _torch_inference(model: keras.Model, loss: Loss, _xla: bool) -> Call:
    import torch

    def forward(x: Any, y: Any) -> Any:
        with torch.no_grad():
            return loss(y, model(x, training=False))

    return forward


def _torch_gradient(model: keras.Model, loss: Loss, _xla: bool) -> Call:
    import torch

    variables = [variable.value for variable in model.trainable_variables]
    return lambda x, y: torch.autograd.grad(loss(y, model(x, training=True)), variables)


_inference = {"tensorflow": _tensorflow_inference, "jax": _jax_inference, "torch": _torch_inference}
_gradient = {"tensorflow": _tensorflow_gradient, "jax": _jax_gradient, "torch": _torch_gradient}
