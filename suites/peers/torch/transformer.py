"""`torch.nn.TransformerEncoderLayer`, `TransformerDecoderLayer` and label smoothing behind the contract's names.

The parameters of torch's modules are Keras variables in the contract's shapes and order. A decoder block without a
memory is, in torch, an encoder layer with a causal mask. In torch `bias=False` takes the biases of LayerNorm and
feed-forward away too, so that there is no block whose attention alone has none.
"""

from __future__ import annotations

from typing import Any

import keras
import torch
from keras import ops
from torch.nn import functional

from suites.implementations import KnownDefect, NotProvided

HALF_LOSS = KnownDefect(
    "`cross_entropy` runs in the dtype of the logits, unless autocast is on.",
    precisions=("mixed_float16", "mixed_bfloat16"),
)

KNOWN_DEFECTS = {
    "loss_follows_the_formula": HALF_LOSS,
    "without_smoothing_it_is_the_cross_entropy": HALF_LOSS,
    "loss_of_nothing_is_zero": KnownDefect(
        "The mean over no target is NaN.", "https://github.com/pytorch/pytorch/issues/70348"
    ),
    "nothing_else_is_dropped": KnownDefect("Weights of the attention and units of the feed-forward are dropped, too."),
    "misfits_of_blocks_are_refused": KnownDefect("Heads that do not divide D raise AssertionError."),
    "misfits_of_the_loss_are_refused": KnownDefect("A smoothing of 1.5 raises RuntimeError."),
}

WHY_FASTER = {
    "torch": "Its attention is one fused kernel, and in inference so is the block. The reference takes the steps of "
    "the formula one after the other, so that each can be read."
}
"""Why it is faster than the reference, by backend, where a race says that it is."""


class _Block(keras.layers.Layer):
    """A module of torch whose parameters come with each call."""

    def __init__(
        self,
        heads: int,
        feed_forward: int,
        *,
        dropout: float = 0.1,
        norm_first: bool = False,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not use_bias:
            raise NotProvided("torch's blocks have no biases at all or all biases")
        self.sizes = {"heads": heads, "feed_forward": feed_forward, "dropout": dropout, "norm_first": norm_first}
        self.supports_masking = True

    def make(self, kind: Any, size: int, attentions: tuple[str, ...]) -> None:
        """Create torch's module without parameters of its own, and the variables that are its parameters."""
        heads, inner = int(self.sizes["heads"]), int(self.sizes["feed_forward"])
        with torch.device("meta"):
            module = kind(
                size, heads, inner, self.sizes["dropout"], batch_first=True, norm_first=self.sizes["norm_first"]
            )
        self.held = (module,)  # Keras would move a module that it finds to a device, and this one has no data
        split, self.attentions = (heads, size // heads), attentions
        for _ in attentions:
            for kernel, bias in [((size, *split), split)] * 3 + [((*split, size), (size,))]:
                self._add(kernel, bias)
            self._add_norm(size)
        self._add((size, inner), (inner,))
        self._add((inner, size), (size,))
        self._add_norm(size)

    def _add(self, kernel: tuple[int, ...], bias: tuple[int, ...]) -> None:
        self.add_weight(shape=kernel)
        self.add_weight(shape=bias, initializer="zeros")

    def _add_norm(self, size: int) -> None:
        self.add_weight(shape=(size,), initializer="ones")
        self.add_weight(shape=(size,), initializer="zeros")

    def parameters_of_module(self) -> dict[str, Any]:
        """Torch's names and shapes for the variables, in the compute dtype."""
        tensors = iter([weight.value.to(getattr(torch, self.compute_dtype)) for weight in self.weights])
        found: dict[str, Any] = {}
        norms = []
        for name in self.attentions:
            pairs = [(next(tensors), next(tensors)) for _ in range(4)]
            size = pairs[0][0].shape[0]  # D, which is N H in torch
            kernels, biases = (
                [kernel.reshape(size, size).T for kernel, _ in pairs],
                [bias.flatten() for _, bias in pairs],
            )
            found |= {f"{name}.in_proj_weight": torch.cat(kernels[:3]), f"{name}.in_proj_bias": torch.cat(biases[:3])}
            found |= {f"{name}.out_proj.weight": kernels[3], f"{name}.out_proj.bias": biases[3]}
            norms.append((next(tensors), next(tensors)))
        for name in ("linear1", "linear2"):
            found |= {f"{name}.weight": next(tensors).T, f"{name}.bias": next(tensors)}
        norms.append((next(tensors), next(tensors)))
        for i, (scale, shift) in enumerate(norms, 1):
            found |= {f"norm{i}.weight": scale, f"norm{i}.bias": shift}
        return found

    def run(self, *inputs: Any, training: bool | None, **masks: Any) -> Any:
        """The module with the variables as its parameters."""
        module = self.held[0].train(bool(training))
        return torch.func.functional_call(module, self.parameters_of_module(), inputs, masks)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), **self.sizes}


def _blocked(mask: Any) -> Any:
    """True means blocked in torch."""
    return None if mask is None else ~mask


def _later(x: Any) -> Any:
    """What a causal mask blocks, `(T, T)`."""
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)


@keras.saving.register_keras_serializable(package="touchstone_peers_torch")
class EncoderBlock(_Block):
    """`torch.nn.TransformerEncoderLayer`."""

    def build(self, x_shape: Any) -> None:
        """Create torch's module and its parameters."""
        self.make(torch.nn.TransformerEncoderLayer, x_shape[-1], ("self_attn",))

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Return `(B, T, D)`; the mask is `(B, T)`."""
        return self.run(x, training=training, src_key_padding_mask=_blocked(mask))


@keras.saving.register_keras_serializable(package="touchstone_peers_torch")
class DecoderBlock(_Block):
    """`torch.nn.TransformerDecoderLayer`, or an encoder layer with a causal mask where there is no memory."""

    def build(self, x_shape: Any, memory_shape: Any = None) -> None:
        """Create torch's module and its parameters."""
        if memory_shape is None:
            self.make(torch.nn.TransformerEncoderLayer, x_shape[-1], ("self_attn",))
        else:
            self.make(torch.nn.TransformerDecoderLayer, x_shape[-1], ("self_attn", "multihead_attn"))

    def call(
        self, x: Any, memory: Any = None, mask: Any = None, memory_mask: Any = None, training: bool | None = None
    ) -> Any:
        """Return `(B, T, D)`; the masks are `(B, T)` and `(B, S)`."""
        if memory is None:
            masks = {"src_mask": _later(x), "src_key_padding_mask": _blocked(mask)}
            return self.run(x, training=training, **masks)
        masks = {"tgt_mask": _later(x), "tgt_key_padding_mask": _blocked(mask)}
        return self.run(x, memory, training=training, memory_key_padding_mask=_blocked(memory_mask), **masks)


def label_smoothed_loss(targets: Any, logits: Any, smoothing: float = 0.1, mask: Any = None) -> Any:
    """`torch.nn.functional.cross_entropy`, which ignores the target -100."""
    targets, logits = ops.convert_to_tensor(targets).long(), ops.convert_to_tensor(logits)
    targets = targets if mask is None else torch.where(ops.convert_to_tensor(mask), targets, -100)
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
