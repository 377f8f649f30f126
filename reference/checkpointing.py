"""Gradient checkpointing: recompute activations in the backward pass instead of keeping them.

The problem. The backward pass needs what the forward pass computed, so that a network of n layers keeps n activations,
and the memory of training grows with depth. The cure (Chen, Xu, Zhang and Guestrin 2016, arXiv:1604.06174, section 4).
Cut the layers into k segments, keep only what enters a segment, and run each segment again when its gradient is due.
Kept are then, in activations of one layer,

    k + n / k  >=  2 sqrt(n)      with equality at k = sqrt(n)      `segment_memory`

k inputs of segments, and the n / k activations of the one segment that is being run again. The price is one more
forward pass; where a backward pass costs two of them, that is a third.

The second run must be the first one again, or the gradient is that of another function. `keras.remat`, on which this
stands (`tf.recompute_grad`, `jax.checkpoint`, `torch.utils.checkpoint`), runs a function twice and promises no more.
So both runs here are given the same, and only the first has effects:

    arguments      floating-point tensors are what the gradient is for; everything else is closed over, keywords too
    state          Keras variables that are assigned to (seeds of dropout, moving statistics) have the values that the
                   first run found; new values are kept apart, and assigned once, when the first run is over
    context        `training` and the dtype that variables are cast to, which Keras hands on from layer to layer, are
                   gone by the time of the backward pass, and so are the masks attached to tensors: all are put back

Deviations from the paper: the caller chooses the function or the segments (there a planner walks the graph), and the
recursion to O(log n) memory is left to nesting, `checkpoint` inside of `checkpoint`.

What cannot be had: on TensorFlow a tensor that the function closes over counts as a constant (variables do not: hand
tensors over as arguments), and a derivative of the gradient may be refused with NotImplementedError; JAX and torch know
neither limit. What is not Keras's own is not replayed: a `tf.random.Generator`, a plain `tf.Variable` that is assigned
to. Variables that are only read must not change between the two runs.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops, tree

# Keras has no public way to ask for the context of a call, or for the mask of a tensor.
from keras.src.backend import get_keras_mask, set_keras_mask
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute

Tensor = Any  # a tensor of the backend in use
Shape = tuple[int | None, ...]

CONTEXT = ("current_call_ctx", "autocast_scope")
"""Where Keras keeps `training`, and the dtype that a layer's variables are cast to."""


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, run again in the backward pass in place of keeping what it computes on the way.

    Args:
        function: of tensors or variables, in any nest of positional and keyword arguments; it may use Keras layers and
            variables that exist already. Its results may be any nest of tensors. A layer is such a function.

    Returns:
        A function with the same arguments, results, gradients (to arguments and to variables) and effects.

    Raises:
        ValueError: `function` cannot be called; or, when it is called, it creates variables or adds losses.

    Example:
        >>> dense = keras.layers.Dense(4)
        >>> dense.build((None, 3))
        >>> checkpoint(dense)(ops.ones((2, 3))).shape
        TensorShape([2, 4])
    """
    if not callable(function):
        raise ValueError(f"`function` must be a function or a layer that is run again; it is {function!r}")

    @functools.wraps(function, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        call = _Call(function, args, kwargs)
        return call.finish(keras.remat(call.run)(*call.tensors))

    return checkpointed


class _Call:
    """One call of a checkpointed function: what each run is given, and what the first one leaves behind."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        outer = get_global_attribute("stateless_scope")  # values that stand for variables, inside of `stateless_call`
        self.function = function
        self.given = (args, kwargs, {} if outer is None else dict(outer.state_mapping))
        self.leaves = tree.flatten(self.given)
        self.masks = [get_keras_mask(leaf) for leaf in self.leaves]
        self.places = [place for place, leaf in enumerate(self.leaves) if _has_gradient(leaf)]
        self.context = {name: copy.copy(get_global_attribute(name)) for name in CONTEXT}
        self.assigned: list[keras.Variable] = []
        self.before: dict[int, Tensor] | None = None  # values that the first run found in `assigned`, by id

    @property
    def tensors(self) -> list[Tensor]:
        """What the gradient is for: every floating-point tensor among the arguments."""
        return [_tensor(self.leaves[place]) for place in self.places]

    def run(self, *tensors: Tensor) -> Any:
        """Run the function with these in place of `tensors`; give its floating-point results."""
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        _attach(self.masks, leaves)
        args, kwargs, state = tree.pack_sequence_as(self.given, leaves)
        with _Deferred({**state, **(self.before or {})}) as scope, _global_attributes(self.context):
            results = self.function(*args, **kwargs)
            _check_effects(scope)
        if self.before is None:
            self._remember(results, scope)
        floats = [leaf for leaf in tree.flatten(results) if _has_gradient(leaf)]
        # JAX lets nothing out of a function but by its results; TensorFlow has no gradient for results of integers.
        return (floats, self.aside) if keras.backend.backend() == "jax" else floats

    def _remember(self, results: Any, scope: _Deferred) -> None:
        """Set aside what the first run does beside its floating-point results, and the state that it found."""
        self.is_float = tree.map_structure(_has_gradient, results)
        self.assigned = list(scope.assigned.values())
        with _global_attributes({"autocast_scope": None}):
            self.before = {id(variable): ops.copy(variable.value) for variable in self.assigned}
        leaves = tree.flatten(results)
        others = [leaf for leaf in leaves if not _has_gradient(leaf)]
        masks = [get_keras_mask(leaf) for leaf in leaves]
        self.aside = others, masks, [scope.get_current_value(variable) for variable in self.assigned]

    def finish(self, returned: Any) -> Any:
        """Have the effects of the first run, and give the function's results as it nested them."""
        floats, (others, masks, values) = returned if keras.backend.backend() == "jax" else (returned, self.aside)
        del self.aside  # or it would live until the backward pass
        for variable, value in zip(self.assigned, values, strict=True):
            variable.assign(value)
        of_kind = {True: iter(floats), False: iter(others)}
        leaves = [next(of_kind[is_float]) for is_float in tree.flatten(self.is_float)]
        _attach(masks, leaves)
        return tree.pack_sequence_as(self.is_float, leaves)


class _Deferred(keras.StatelessScope):
    """Inside, assignments to Keras variables are seen and not made; `assigned` holds these variables by id."""

    def __init__(self, values: Mapping[int, Tensor]) -> None:
        super().__init__(collect_losses=True)
        self.state_mapping = dict(values)
        self.assigned: dict[int, keras.Variable] = {}

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        super().add_update(update)
        self.assigned[id(update[0])] = update[0]


@contextlib.contextmanager
def _global_attributes(values: Mapping[str, Any]) -> Iterator[None]:
    """Set attributes of Keras's global state for the time of a block; layers may change a copy, not the values."""
    outside = {name: get_global_attribute(name) for name in values}
    try:
        for name, value in values.items():
            set_global_attribute(name, copy.copy(value))
        yield
    finally:
        for name, value in outside.items():
            set_global_attribute(name, value)


def _check_effects(scope: _Deferred) -> None:
    """Refuse what would be lost: losses, and variables that do not exist outside of the scope yet."""
    if scope.losses:
        raise ValueError(
            "a checkpointed function must not add losses (`add_loss`, `activity_regularizer`), for they would have no "
            "gradient; return what they are made of, and add them outside"
        )
    created = get_global_attribute("uninitialized_variables", [])
    if scope.original_scope is None and any(variable.trainable for variable in created):
        raise ValueError("a checkpointed function must not create variables; build its layers before the first call")


def _has_gradient(leaf: Any) -> bool:
    return ops.is_tensor(leaf) and keras.backend.is_float_dtype(leaf.dtype)


def _tensor(leaf: Tensor) -> Tensor:
    """A tensor. TensorFlow counts a variable as one: handed on as it is, eagerly it would get its gradient twice."""
    return ops.copy(leaf) if isinstance(leaf, keras.Variable) else ops.convert_to_tensor(leaf)


def _attach(masks: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> None:
    for mask, tensor in zip(masks, tensors, strict=True):
        if mask is not None:
            set_keras_mask(tensor, mask)


def segment_memory(layers: int, segments: float) -> float:
    """Activations kept for n equal layers in k segments, k + n / k (section 4): 2 sqrt(n) at best, at k = sqrt(n).

    Args:
        layers: n, at least 1.
        segments: k, from 1 to n.

    Raises:
        ValueError: n or k is out of range.
    """
    if layers < 1 or not 1 <= segments <= layers:
        raise ValueError(f"there must be 1 layer or more, and from 1 to as many segments; got {layers}, {segments}")
    return segments + layers / segments


def segment_lengths(layers: int, segments: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """How many layers each segment has, in order; they sum to n, so that no layer is lost.

    Args:
        layers: n, at least 1.
        segments: their number k, and lengths then differ by 1 at most, longer ones first; or the lengths themselves;
            or None for k = sqrt(n), rounded, which no other whole number of segments betters.

    Raises:
        ValueError: `segments` is not from 1 to n, or does not sum to n.
    """
    if layers < 1:
        raise ValueError(f"there must be 1 layer or more to checkpoint; got {layers}")
    if segments is None:
        segments = round(math.sqrt(layers))
    if not isinstance(segments, int):
        lengths = tuple(segments)
        if sum(lengths) != layers or min(lengths) < 1:
            raise ValueError(f"lengths of segments must be 1 or more and sum to the {layers} layers; got {lengths}")
        return lengths
    if not 1 <= segments <= layers:
        raise ValueError(f"`segments` must be from 1 to the {layers} layers; it is {segments}")
    length, longer = divmod(layers, segments)
    return (length + 1,) * longer + (length,) * (segments - longer)


@keras.saving.register_keras_serializable(package="touchstone")
class CheckpointedSequential(keras.layers.Layer):
    """Layers one after the other, as in `keras.Sequential`, with each segment of them checkpointed.

    The weights, their order and their names are those of the layers. Masks go on from layer to layer.

    Args:
        layers: the layers, each from one tensor to one tensor; shared with the caller.
        segments: as in `segment_lengths`.
        **kwargs: of `keras.layers.Layer`: name, dtype, trainable. The layers keep their own dtype policies.

    Call arguments:
        inputs: what the first layer takes, `(B, ...)`.
        training: handed on to every layer that asks for it, in both runs.

    Returns:
        What the last layer gives.

    Raises:
        ValueError: there is no layer, something is no layer, or the segments do not fit.

    Example:
        >>> model = CheckpointedSequential([keras.layers.Dense(4) for _ in range(9)])
        >>> model(ops.ones((2, 4))).shape, model.lengths
        (TensorShape([2, 4]), (3, 3, 3))
    """

    def __init__(
        self, layers: Sequence[keras.layers.Layer], segments: int | Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.layers = list(layers)
        for layer in self.layers:
            if not isinstance(layer, keras.layers.Layer):
                raise ValueError(f"`layers` must hold Keras layers only; there is {layer!r}")
        self.segments = segments if segments is None or isinstance(segments, int) else tuple(segments)
        self.lengths = segment_lengths(len(self.layers), self.segments)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Build each layer for what the one before gives."""
        _chain(self.layers)(keras.KerasTensor(input_shape, dtype=self.compute_dtype))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: ARG002 - Keras hands it on
        """Run the segments; only what enters each of them is kept for the backward pass."""
        tensor, start = inputs, 0
        for length in self.lengths:
            tensor = checkpoint(_chain(self.layers[start : start + length]))(tensor)
            start += length
        return tensor

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """No mask but the one that the last layer attached: that of the inputs need not fit its result."""

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers, "segments": self.segments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CheckpointedSequential:
        """A new layer with new layers, from what `get_config` gave."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def _chain(layers: Sequence[keras.layers.Layer]) -> Callable[[Tensor], Tensor]:
    """Each layer of what the one before gives."""
    return lambda inputs: functools.reduce(lambda tensor, layer: layer(tensor), layers, inputs)
