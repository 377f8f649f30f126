"""`keras.layers.ReversibleEmbedding` and Keras's label smoothing behind the contract's names.

Keras has no blocks of a Transformer; those of keras-hub are another peer. Its embedding does not multiply by sqrt(D),
which is done here.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "logits_come_from_the_same_matrix": KnownDefect(
        "The matrix is rounded to the compute dtype before it is cast to `reverse_dtype`, float32.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    "misfits_of_the_loss_are_refused": KnownDefect("A smoothing of 1.5 is accepted."),
}


@keras.saving.register_keras_serializable(package="touchstone_peers_keras")
class TokenEmbedding(keras.layers.Layer):
    """`keras.layers.ReversibleEmbedding`, which projects back in float32 on request."""

    def __init__(self, vocabulary: int, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = {"vocabulary": vocabulary, "size": size}
        self.embedding = keras.layers.ReversibleEmbedding(
            vocabulary, size, reverse_dtype="float32", dtype=self.dtype_policy
        )

    def build(self, _tokens_shape: Any = None) -> None:
        """Create the matrix."""
        self.embedding.build()

    def call(self, tokens: Any) -> Any:
        """Embed integers `(B, T)` as vectors `(B, T, D)`."""
        return self.embedding(tokens) * self.sizes["size"] ** 0.5

    def logits(self, x: Any) -> Any:
        """`(B, T, D)` to `(B, T, V)`."""
        return self.embedding(x, reverse=True)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), **self.sizes}


def label_smoothed_loss(targets: Any, logits: Any, smoothing: float = 0.1, mask: Any = None) -> Any:
    """`keras.losses.CategoricalCrossentropy` of one-hot targets, with the mask as weights."""
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction="mean_with_sample_weight", dtype="float32"
    )
    one_hot = ops.one_hot(targets, logits.shape[-1])
    return loss(one_hot, logits, sample_weight=None if mask is None else ops.cast(mask, "float32"))
