"""`jax.nn.dot_product_attention` behind the contract's name; JAX has no layers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def dot_product_attention(
    query: Any, keys: Any, values: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None
) -> Any:
    """Return the output; a mask has four axes in JAX."""
    if mask is not None and len(mask.shape) < 4:
        mask = jnp.asarray(mask)[:, None] if len(mask.shape) == 3 else jnp.asarray(mask)[:, None, None]
    return jax.nn.dot_product_attention(query, keys, values, mask=mask, scale=scale, is_causal=causal)
