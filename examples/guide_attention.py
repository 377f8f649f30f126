"""A user's own attention, with the mistake of the guide that Touchstone grew from: the query is ignored.

Try it:  pytest suites/properties --implementation additive_attention=examples.guide_attention
"""

from typing import Any

import keras
from keras import ops


class AdditiveAttention(keras.layers.Layer):
    """Scores from a tanh layer, softmax over the source, weighted sum: it looks right, and it trains."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(units, activation="tanh", dtype=self.dtype_policy)
        self.score = keras.layers.Dense(1, dtype=self.dtype_policy)

    def call(self, query: Any, values: Any) -> Any:  # noqa: ARG002 - that is the mistake
        """The context of every query, `(B, D_v)`, from values `(B, S, D_v)`."""
        weights = ops.softmax(self.score(self.hidden(values)), axis=1)  # (B, S, 1)
        return ops.sum(weights * values, axis=1)
