"""`jax.nn.dot_product_attention` behind the contract's name; JAX has no layers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from suites.implementations import KnownDefect

KNOWN_DEFECTS = {
    "fully_masked_row_gives_zeros": KnownDefect(
        "A row masked throughout attends to everything: its scores are all the same large negative number."
    ),
    "padding_may_hold_nan": KnownDefect("Masked values are multiplied by a weight of zero, and 0 * NaN is NaN."),
    "misfits_are_refused": KnownDefect(
        "A mask of length 1 is broadcast over the keys, and a query of rank 3 taken for one without batch."
    ),
    "common_dtype_comes_out": KnownDefect("Query, keys and values must have one dtype."),
    "values_may_have_a_size_of_their_own": KnownDefect("Values must have the size of the keys."),
}


def dot_product_attention(
    query: Any, keys: Any, values: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None
) -> Any:
    """Return the output; a mask has four axes in JAX."""
    if mask is not None and len(mask.shape) < 4:
        mask = jnp.asarray(mask)[:, None] if len(mask.shape) == 3 else jnp.asarray(mask)[:, None, None]
    return jax.nn.dot_product_attention(query, keys, values, mask=mask, scale=scale, is_causal=causal)
