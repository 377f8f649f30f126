"""The steps that are timed: of a Keras model on each backend, or those that a technique's bench module makes itself.

Runs in a worker. A step is a function of no arguments over inputs that already lie on the device; it returns what a
caller would wait for. XLA is off unless asked for: what ``"auto"`` resolves to differs by device.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.workload import WITHOUT
from suites.subjects import Subject

LEARNING_RATE = 0.01


@dataclass
class Step:
    """A timed step.

    Attributes:
        call: runs one step and returns its result, which may not be computed yet.
        items: samples in a step.
        traces: how often Python has run the model's loss; in steady state a compiled step does not run it again.
    """

    call: Callable[[], Any]
    items: int
    traces: int = 0


def build(asked: dict[str, Any], subject: Subject) -> Step:
    """Build what was asked.

    Args:
        asked: the row's question, see ``ARCHITECTURE.md``.
        subject: the implementation, or the reference where the technique is left out.
    """
    bench = importlib.import_module(f"benchmarks.bench_{asked['technique']}")
    parameters, operation, seed = asked["parameters"], asked["operation"], asked["seed"]
    left_out = asked["implementation"] == WITHOUT
    keras.utils.set_random_seed(seed)
    step = Step(call=lambda: None, items=int(parameters["batch"]))
    if hasattr(bench, "step"):
        step.call = (bench.without if left_out else bench.step)(subject, parameters, operation, seed)
    else:
        model: keras.Model = (bench.without if left_out else bench.model)(subject, parameters)
        inputs, targets = bench.batch(parameters, seed)
        step.call = of_model(model, inputs, targets, operation, _counting_loss(step))
    return step


def of_model(
    model: keras.Model, inputs: Any, targets: Any, operation: str, loss: Callable[[Any, Any], Any]
) -> Callable[[], Any]:
    """One of `benchmarks.workload.OPERATIONS` on a model, as a function of no arguments.

    Args:
        model: from `inputs` to logits.
        inputs: NumPy arrays, as the model takes them.
        targets: integers, NumPy.
        operation: "inference", "gradient" (forward and backward) or "train" (with momentum SGD).
        loss: of targets and logits, a scalar.
    """
    if operation == "train":
        jit = keras.backend.backend() == "jax"  # which runs op by op without it; TensorFlow compiles a graph anyway
        model.compile(keras.optimizers.SGD(LEARNING_RATE, momentum=0.9), loss, jit_compile=jit)
        x, y = _on_device(inputs), _on_device(targets)
        return lambda: model.train_on_batch(x, y)
    make = {"inference": _inference, "gradient": _gradient}[operation]
    return make[keras.backend.backend()](model, _on_device(inputs), _on_device(targets), loss)


def _counting_loss(step: Step) -> Callable[[Any, Any], Any]:
    """Mean cross-entropy of integer targets and logits, in float32; counts how often Python runs it."""
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")

    def loss(targets: Any, logits: Any) -> Any:
        step.traces += 1
        return crossentropy(targets, logits)

    return loss


def _on_device(arrays: Any) -> Any:
    """NumPy arrays, or a nest of them, as tensors of the backend."""
    return keras.tree.map_structure(lambda array: ops.convert_to_tensor(np.ascontiguousarray(array)), arrays)


def _tensorflow_inference(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    import tensorflow as tf

    @tf.function(jit_compile=False)
    def forward(inputs: Any, targets: Any) -> Any:
        return loss(targets, model(inputs, training=False))

    return lambda: forward(x, y)


def _tensorflow_gradient(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=False)
    def gradient(inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(targets, model(inputs, training=True))
        return tape.gradient(value, variables)

    return lambda: gradient(x, y)


def _jax_loss(model: keras.Model, loss: Callable[[Any, Any], Any], training: bool) -> Callable[..., Any]:
    def value(trainable: Any, fixed: Any, inputs: Any, targets: Any) -> Any:
        logits, _ = model.stateless_call(trainable, fixed, inputs, training=training)
        return loss(targets, logits)

    return value


def _jax_state(model: keras.Model) -> tuple[list[Any], list[Any]]:
    return [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]


def _jax_inference(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    import jax

    forward, state = jax.jit(_jax_loss(model, loss, training=False)), _jax_state(model)
    return lambda: forward(*state, x, y)


def _jax_gradient(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    import jax

    gradient, state = jax.jit(jax.grad(_jax_loss(model, loss, training=True))), _jax_state(model)
    return lambda: gradient(*state, x, y)


def _torch_inference(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    import torch

    def forward() -> Any:
        with torch.no_grad():
            return loss(y, model(x, training=False))

    return forward


def _torch_gradient(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    import torch

    variables = [variable.value for variable in model.trainable_variables]
    return lambda: torch.autograd.grad(loss(y, model(x, training=True)), variables)


_inference = {"tensorflow": _tensorflow_inference, "jax": _jax_inference, "torch": _torch_inference}
_gradient = {"tensorflow": _tensorflow_gradient, "jax": _jax_gradient, "torch": _torch_gradient}
