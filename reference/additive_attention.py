"""Additive attention: let a decoder look back at every source position.

The problem. An encoder-decoder network squeezes a sentence of any length into one vector of fixed length, and what does
not fit is forgotten: quality falls as sentences grow (Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, sections 1-2).
The cure. Keep one vector per source position, and let each decoder state (the query) choose among them with a small
network trained along with the rest (section 3.1, equations 5 and 6; appendix A.1.2 for the score):

    e_ts = v . tanh(q_t W_q + k_s W_k)         score       v: `scale`, W_q: `query_kernel`, W_k: `key_kernel`
    a_ts = exp(e_ts) / sum_s' exp(e_ts')       weight      softmax over the source positions
    c_t  = sum_s a_ts value_s                  context

The tanh bounds every score: |e_ts| <= ||v||_1, so over S attended positions no weight is under exp(-2 ||v||_1) / S.

Shapes: B batch, T query length, S source length, U units of the score network, D_q, D_k, D_v sizes of a query, a key
and a value. Projecting the keys and the queries apart costs B (S D_k + T D_q) U multiply-adds. The tanh needs a
(B, T, S, U) tensor, kept for the gradient: the memory that dot-product attention does not pay.

Deviations from the paper: keys may differ from the values (there both are the encoder's annotations); the source may be
masked; W_q, W_k and v start from Glorot's uniform distribution, v as if it led from U to U units (there W start from a
narrow Gaussian, and v from zero).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any  # a tensor of the backend in use, or what it converts: a NumPy array, a keras.Variable
Shape = tuple[int | None, ...]

LOWEST_SCORE = float(np.finfo(np.float32).min)  # of a masked position; finite, so that no difference of two is NaN


def additive_attention(
    query: Tensor,
    values: Tensor,
    keys: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    query_kernel: Tensor,
    key_kernel: Tensor,
    scale: Tensor,
) -> tuple[Tensor, Tensor]:
    """Attend to `values` where `keys` answer `query`.

    The two projections and the weighted sum run in the common dtype of query, keys and values; tanh, scores and softmax
    run in float32 at least, whatever that dtype is. A masked position has weight exactly zero; a row without any
    position to attend to has zero weights and a zero context. A value and its key that no query may attend to are
    cleared first, so that even NaN or infinity there reaches neither the context nor a gradient.

    Args:
        query: `(B, D_q)` or `(B, T, D_q)`, floating point.
        values: `(B, S, D_v)`.
        keys: `(B, S, D_k)`; the values if None.
        mask: bool, True = attend. `(B, S)`, or `(B, T, S)` with a query that has T. All True if None.
        query_kernel: `(D_q, U)`.
        key_kernel: `(D_k, U)`.
        scale: `(U,)`, the vector v of the score.

    Returns:
        The context, `(B, D_v)` or `(B, T, D_v)`, in the common dtype of query, keys and values; and the weights,
        `(B, S)` or `(B, T, S)`, in float32 (float64 where the inputs are).

    Raises:
        ValueError: a shape does not fit the others, or the mask is not bool.
    """
    query, values = ops.convert_to_tensor(query), ops.convert_to_tensor(values)
    keys = values if keys is None else ops.convert_to_tensor(keys)
    mask = None if mask is None else ops.convert_to_tensor(mask)
    _check(mask, query=query, values=values, keys=keys, query_kernel=query_kernel, key_kernel=key_kernel, scale=scale)
    dtype = keras.backend.result_type(query.dtype, keys.dtype, values.dtype, float)

    one_query = len(query.shape) == 2
    if one_query:
        query = ops.expand_dims(query, 1)  # (B, 1, D_q)
    if mask is not None:
        if len(mask.shape) == 2:
            mask = ops.expand_dims(mask, 1)  # (B, 1, S), the same for every query
        attended = ops.expand_dims(ops.any(mask, axis=1), -1)  # (B, S, 1)
        # 0 * NaN is NaN: a zero weight alone does not keep what lies in the padding out of a sum or of a gradient.
        keys, values = ops.where(attended, keys, 0), ops.where(attended, values, 0)

    projected_query = ops.matmul(ops.cast(query, dtype), ops.cast(query_kernel, dtype))  # (B, T, U)
    projected_keys = ops.matmul(ops.cast(keys, dtype), ops.cast(key_kernel, dtype))  # (B, S, U)
    weights = masked_softmax(additive_scores(projected_query, projected_keys, scale), mask)  # (B, T, S)
    context = ops.matmul(ops.cast(weights, dtype), ops.cast(values, dtype))  # (B, T, D_v)
    if one_query:
        return ops.squeeze(context, 1), ops.squeeze(weights, 1)  # (B, D_v), (B, S)
    return context, weights


def additive_scores(projected_query: Tensor, projected_keys: Tensor, scale: Tensor) -> Tensor:
    """e_ts = v . tanh(q_t W_q + k_s W_k), in float32 at least: `(B, T, U)`, `(B, S, U)`, `(U,)` to `(B, T, S)`."""
    dtype = keras.backend.result_type(projected_query.dtype, "float32")
    query = ops.expand_dims(ops.cast(projected_query, dtype), 2)  # (B, T, 1, U)
    keys = ops.expand_dims(ops.cast(projected_keys, dtype), 1)  # (B, 1, S, U)
    scale = ops.expand_dims(ops.cast(scale, dtype), 1)  # (U, 1)
    return ops.squeeze(ops.matmul(ops.tanh(query + keys), scale), -1)  # (B, T, S, U) to (B, T, S)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last axis among the positions where `mask` is True; zero elsewhere, never NaN.

    Adding a large negative number instead, as is often done, turns into -inf in float16, then into NaN for a row that
    is masked throughout, and leaks wherever scores differ by more than that number.
    """
    if mask is None:
        return ops.softmax(scores, axis=-1)
    weights = ops.softmax(ops.where(mask, scores, LOWEST_SCORE), axis=-1)
    return ops.where(mask, weights, 0)  # a row masked throughout was uniform until here


def _check(mask: Tensor | None, **arguments: Tensor) -> None:
    """Refuse arguments whose shapes do not fit each other, or a mask that is not bool."""
    steps = "T " if len(arguments["query"].shape) == 3 else ""
    axes = {"query": f"B {steps}D_q", "values": "B S D_v", "keys": "B S D_k"}
    axes |= {"query_kernel": "D_q U", "key_kernel": "D_k U", "scale": "U"}
    if mask is not None:
        if keras.backend.standardize_dtype(mask.dtype) != "bool":
            raise ValueError(f"`mask` must be bool, True where to attend; its dtype is {mask.dtype}")
        arguments["mask"], axes["mask"] = mask, f"B {steps}S" if len(mask.shape) == 3 else "B S"
    sizes: dict[str, tuple[int, str]] = {}
    for name, tensor in arguments.items():
        form, shape = axes[name].split(), tuple(tensor.shape)
        expected = f"`{name}` must have shape ({', '.join(form)})"
        if len(shape) != len(form):
            raise ValueError(f"{expected}; its shape is {shape}")
        for letter, size in zip(form, shape, strict=True):
            known, where = sizes.setdefault(letter, (size, name)) if size is not None else (None, name)
            if size != known:
                raise ValueError(f"{expected} with {letter} = {known} as in `{where}`; its shape is {shape}")


@keras.saving.register_keras_serializable(package="touchstone")
class AdditiveAttention(keras.layers.Layer):
    """`additive_attention` with trained kernels, under the dtype policy of the layer.

    The weights are, in this order, `query_kernel` `(D_q, U)`, `key_kernel` `(D_k, U)` and `scale` `(U,)`: D_q U + D_k U
    + U parameters, no bias. Masks are given explicitly; one that an `Embedding` attached to the values is not read.

    Args:
        units: U, the size of the score network.
        **kwargs: of `keras.layers.Layer`: name, dtype, trainable.

    Call arguments:
        query, values, keys, mask: as in `additive_attention`.
        return_attention_scores: whether to return the weights too.

    Returns:
        The context in the compute dtype, `(B, D_v)` or `(B, T, D_v)`; with `return_attention_scores` also the weights,
        `(B, S)` or `(B, T, S)`, in float32 (float64 under that policy).

    Example:
        >>> decoder_state, annotations = np.ones((2, 8), "float32"), np.ones((2, 5, 6), "float32")
        >>> AdditiveAttention(units=16)(decoder_state, annotations).shape
        TensorShape([2, 6])
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"`units` must be at least 1; it is {units}")
        self.units = units

    def build(self, query_shape: Shape, values_shape: Shape, keys_shape: Shape | None = None) -> None:
        """Create the weights for the last axes of query and keys."""
        key_size = (keys_shape or values_shape)[-1]
        glorot = "glorot_uniform"
        self.query_kernel = self.add_weight(
            shape=(query_shape[-1], self.units), initializer=glorot, name="query_kernel"
        )
        self.key_kernel = self.add_weight(shape=(key_size, self.units), initializer=glorot, name="key_kernel")
        # Not cast to the compute dtype: it takes part in the scores only, which stay in float32.
        self.scale = self.add_weight(shape=(self.units,), initializer=glorot, name="scale", autocast=False)

    def call(
        self,
        query: Tensor,
        values: Tensor,
        keys: Tensor | None = None,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the context, or the context and the weights; arguments and shapes as in `additive_attention`."""
        context, weights = additive_attention(
            query,
            values,
            keys,
            mask,
            query_kernel=self.query_kernel,
            key_kernel=self.key_kernel,
            scale=self.scale,
        )
        return (context, weights) if return_attention_scores else context

    def compute_mask(self, query: Tensor, previous_mask: Tensor | None = None) -> None:
        """No mask goes on with the context: that of the source says nothing about it."""

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), "units": self.units}
