"""`keras_hub.layers`: sinusoidal positions, encoder and decoder blocks behind the contract's names.

keras-hub's attention always has biases. Its encoder keeps the weights of the last LayerNorm before those of the
feed-forward, where the contract and its decoder have them behind.
"""

from __future__ import annotations

from typing import Any

import keras
import keras_hub
from keras import ops

from suites.implementations import KnownDefect, NotProvided

FLOAT32_ANGLES = KnownDefect(
    "Angles are computed in the compute dtype, here float32: around position 4,000 sines are off by up to 4e-5."
)

KNOWN_DEFECTS = {
    "positions_follow_the_formula": FLOAT32_ANGLES,
    "distance_is_a_rotation": FLOAT32_ANGLES,
    "empty_memory_says_nothing": KnownDefect(
        "Where all is masked, `keras.layers.MultiHeadAttention` gives the mean of the values, padding and all."
    ),
    "gradient_is_right_in_float64": KnownDefect(
        "The softmax of the attention runs in float32 under a float64 policy, too.",
        backends=("tensorflow", "jax"),
    ),
    "nothing_else_is_dropped": KnownDefect("Weights of the attention are dropped, too."),
    "misfits_of_blocks_are_refused": KnownDefect("Heads that do not divide D are accepted, with D // N as their size."),
}

WHY_FASTER = {
    "torch": "Its attention is that of Keras, which is one fused kernel. The reference takes the steps of the formula "
    "one after the other, so that each can be read."
}
"""Why it is faster than the reference, by backend, where a race says that it is."""


def sinusoidal_positions(length: int, size: int, start: int = 0) -> Any:
    """`keras_hub.layers.SinePositionEncoding` in float32: `(length, size)`."""
    encoding = keras_hub.layers.SinePositionEncoding(dtype="float32")
    return encoding(ops.zeros((1, length, size)), start_index=start)[0]


class _Block(keras.layers.Layer):
    """A block of keras-hub, made when the sizes of its inputs are known."""

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
            raise NotProvided("keras-hub's attention always has biases")
        self.sizes = {"heads": heads, "feed_forward": feed_forward, "dropout": dropout, "norm_first": norm_first}
        self.supports_masking = True

    def inner(self, kind: Any) -> Any:
        """The layer of keras-hub, with dropout on the weights of the attention, too."""
        return kind(
            intermediate_dim=self.sizes["feed_forward"],
            num_heads=self.sizes["heads"],
            dropout=self.sizes["dropout"],
            normalize_first=self.sizes["norm_first"],
            dtype=self.dtype_policy,
        )

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), **self.sizes}


@keras.saving.register_keras_serializable(package="touchstone_peers_keras_hub")
class EncoderBlock(_Block):
    """`keras_hub.layers.TransformerEncoder`."""

    def build(self, x_shape: Any) -> None:
        """Create the layer of keras-hub."""
        self.block = self.inner(keras_hub.layers.TransformerEncoder)
        self.block.build(x_shape)

    @property
    def weights(self) -> list[Any]:
        """In the contract's order."""
        inner = self.block.weights
        return [*inner[:10], *inner[12:], *inner[10:12]]

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Return `(B, T, D)`."""
        kind = "padding_mask" if mask is None or len(mask.shape) == 2 else "attention_mask"
        return self.block(x, training=training, **{kind: mask})


@keras.saving.register_keras_serializable(package="touchstone_peers_keras_hub")
class DecoderBlock(_Block):
    """`keras_hub.layers.TransformerDecoder`."""

    def build(self, x_shape: Any, memory_shape: Any = None) -> None:
        """Create the layer of keras-hub."""
        self.block = self.inner(keras_hub.layers.TransformerDecoder)
        self.block.build(x_shape, memory_shape)

    def call(
        self, x: Any, memory: Any = None, mask: Any = None, memory_mask: Any = None, training: bool | None = None
    ) -> Any:
        """Return `(B, T, D)`."""
        masks = {"decoder_padding_mask": mask, "encoder_padding_mask": memory_mask}
        return self.block(x, memory, training=training, **masks)
