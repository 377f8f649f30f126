"""`scaled_dot_product_attention` and `torch.nn.MultiheadAttention` behind the contract's names."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import torch
from keras import ops
from torch.nn import functional

from suites.implementations import KnownDefect, NotProvided

KNOWN_DEFECTS = {
    "asking_for_weights_changes_nothing": KnownDefect(
        "With need_weights a row masked throughout is NaN, for all heads; without, it is zero.",
        "https://github.com/pytorch/pytorch/issues/160064",
    ),
    "common_dtype_comes_out": KnownDefect("Query, keys and values must have one dtype."),
    "contradictions_are_refused": KnownDefect("A rate of dropout that is none is refused at its first use only."),
    "padding_may_hold_nan": KnownDefect(
        "Masked values are multiplied by a weight of zero, and 0 * NaN is NaN.",
        "https://github.com/pytorch/pytorch/issues/101967",
    ),
    "layer_follows_the_policy": KnownDefect(
        "Weights are returned in the compute dtype.", precisions=("mixed_float16", "mixed_bfloat16")
    ),
    "misfits_are_refused": KnownDefect(
        "Keys are cut or values broadcast where their lengths, heads or batch sizes differ; a mask of length 1 is, too."
    ),
}

WHY_FASTER = {
    "torch": "Scores, softmax and weighted sum are one fused kernel. The reference takes them one after the other, "
    "so that each can be read and its weights returned."
}
"""Why it is faster than the reference, by backend, where a race says that it is."""


def dot_product_attention(
    query: Any, keys: Any, values: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None
) -> Any:
    """Return the output; in torch the heads come before the positions, and a mask has four axes."""
    if mask is not None:
        mask = ops.convert_to_tensor(mask)
        mask = {2: lambda: mask[:, None, None], 3: lambda: mask[:, None]}.get(mask.ndim, lambda: mask)()
    query, keys, values = (ops.convert_to_tensor(each).transpose(1, 2) for each in (query, keys, values))
    output = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=causal, scale=scale)
    return output.transpose(1, 2)


def _drawn_as_matrix(rows: int, columns: int, shape: Any, dtype: Any = None) -> Any:
    """A kernel of several axes by Glorot's law for the matrix that it is in torch."""
    return ops.reshape(keras.initializers.GlorotUniform()((rows, columns), dtype), shape)


@keras.saving.register_keras_serializable(package="touchstone_peers_torch")
class MultiHeadAttention(keras.layers.Layer):
    """`torch.nn.MultiheadAttention`, whose parameters are Keras variables in the contract's shapes and order."""

    def __init__(
        self, heads: int, head_size: int, *, dropout: float = 0.0, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        torch.nn.MultiheadAttention(heads * head_size, heads, device="meta")  # refuses what torch refuses
        self.sizes = {"heads": heads, "head_size": head_size, "dropout": dropout, "use_bias": use_bias}

    def build(self, query_shape: Any, values_shape: Any = None, keys_shape: Any = None) -> None:
        """Create the variables, and torch's module without parameters of its own."""
        heads, head = self.sizes["heads"], self.sizes["head_size"]
        size, value = query_shape[-1], (values_shape or query_shape)[-1]
        key = (keys_shape or values_shape or query_shape)[-1]
        if size != heads * head:
            raise NotProvided(f"torch.nn.MultiheadAttention needs D = N H; D = {size}, N = {heads}, H = {head}")
        for name, inputs, outputs in (
            ("query", (size,), (heads, head)),
            ("key", (key,), (heads, head)),
            ("value", (value,), (heads, head)),
            ("output", (heads, head), (size,)),
        ):
            drawn = functools.partial(_drawn_as_matrix, int(np.prod(inputs)), int(np.prod(outputs)))
            kernel = self.add_weight(shape=(*inputs, *outputs), initializer=drawn, name=f"{name}_kernel")
            setattr(self, f"{name}_kernel", kernel)
            if self.sizes["use_bias"]:
                bias = self.add_weight(shape=outputs, name=f"{name}_bias", initializer="zeros")
                setattr(self, f"{name}_bias", bias)
        module = torch.nn.MultiheadAttention(
            size, heads, self.sizes["dropout"], self.sizes["use_bias"], kdim=key, vdim=value, batch_first=True
        )
        self.module = lambda: module  # out of sight of Keras and torch: its parameters are not the layer's

    def _parameters_of_module(self) -> dict[str, Any]:
        size = self.module().embed_dim
        tensors = [weight.value.to(getattr(torch, self.compute_dtype)) for weight in self.weights]
        kernels, biases = (tensors[::2], tensors[1::2]) if self.sizes["use_bias"] else (tensors, [])
        *inputs, output = [kernel.reshape(-1, size).T for kernel in kernels]
        found = {"out_proj.weight": output}
        if self.module().in_proj_weight is not None:
            found["in_proj_weight"] = torch.cat(inputs)
        else:
            found |= dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), inputs, strict=True))
        if biases:
            found |= {"in_proj_bias": torch.cat([bias.flatten() for bias in biases[:3]]), "out_proj.bias": biases[3]}
        return found

    def call(
        self,
        query: Any,
        values: Any = None,
        keys: Any = None,
        mask: Any = None,
        causal: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the output, or the output and the weights; True means blocked in torch, for every head anew."""
        values = query if values is None else values
        keys = values if keys is None else keys
        batch, steps, source = query.shape[0], query.shape[1], keys.shape[1]
        blocked = None
        if mask is not None:
            blocked = ~(mask[:, None] if mask.ndim == 2 else mask).expand(batch, steps, source)
        if causal:
            triangle = torch.ones(steps, source, dtype=torch.bool, device=query.device).triu(1)
            blocked = triangle.expand(batch, -1, -1) if blocked is None else blocked | triangle
        if blocked is not None:
            blocked = blocked.repeat_interleave(self.sizes["heads"], 0)  # (B N, T, S)
        self.module().train(bool(training))
        options = {"need_weights": return_attention_scores, "average_attn_weights": False, "attn_mask": blocked}
        output, weights = torch.func.functional_call(
            self.module(), self._parameters_of_module(), (query, keys, values), options
        )
        return (output, weights) if return_attention_scores else output

    def compute_mask(self, query: Any, previous_mask: Any = None) -> None:
        """No mask goes on with the output."""

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), **self.sizes}
