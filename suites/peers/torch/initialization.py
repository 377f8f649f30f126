"""`torch.nn.init` behind the contract's names.

Kernels are drawn in torch's order of axes, in which its own fans are counted, and turned into Keras's. What torch calls
`kaiming_normal_` is not truncated; a truncated scheme is not among its functions, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch

from suites.implementations import KnownDefect, NotProvided

KNOWN_DEFECTS = {
    "transposed_kernels_count_what_comes_in": KnownDefect(
        "A transposed kernel is (C, F, k...), and its second axis, F, is taken for the channels that come in."
    ),
    "depthwise_kernels_count_their_taps": KnownDefect(
        "fan_out counts the channels of all groups: Glorot's variance is too small.",
        "https://github.com/pytorch/pytorch/issues/23854",
    ),
    "identity_of_a_convolution": KnownDefect(
        "In a window of even length dirac_ chooses the tap right of where padding 'same' has the centre."
    ),
    "orthogonal_kernels_are_orthogonal": KnownDefect(
        "The QR decomposition runs in the dtype asked for, and there is none in half precision.",
        precisions=("mixed_float16", "mixed_bfloat16"),
    ),
    "embeddings_count_one_row": KnownDefect("fan_in is the second axis, here the size of an embedding, not 1."),
}

FILL: dict[str, Callable[..., Any]] = {
    "lecun_normal": lambda w, **how: torch.nn.init.kaiming_normal_(w, nonlinearity="linear", **how),
    "lecun_uniform": lambda w, **how: torch.nn.init.kaiming_uniform_(w, nonlinearity="linear", **how),
    "glorot_normal": torch.nn.init.xavier_normal_,
    "glorot_uniform": torch.nn.init.xavier_uniform_,
    "he_normal": lambda w, **how: torch.nn.init.kaiming_normal_(w, nonlinearity="relu", **how),
    "he_uniform": lambda w, **how: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu", **how),
}

WHY_FASTER = {
    "torch": "It fills one array in place from a generator with state. The reference draws from a seed, as Keras's "
    "stateless random numbers do on every backend, and scales in a second pass."
}
"""Why it is faster than the reference, by backend, where a race says that it is."""


def initializer(scheme: str, *, kind: str | None = None, seed: int | None = None) -> Callable[..., Any]:
    """The function of `torch.nn.init` for a scheme, with a generator of its own where a seed is given."""
    if scheme.partition("_")[2] == "truncated_normal":
        raise NotProvided(f"torch.nn.init has no {scheme}")
    if scheme not in FILL:
        raise ValueError(f"torch.nn.init has no scheme {scheme!r}")
    return _drawn(FILL[scheme], kind, seed)


def Orthogonal(gain: float = 1.0, seed: int | None = None) -> Callable[..., Any]:  # noqa: N802 - the contract's name
    """`torch.nn.init.orthogonal_`."""
    return _drawn(lambda w, **how: torch.nn.init.orthogonal_(w, gain, **how), None, seed)


def Identity() -> Callable[..., Any]:  # noqa: N802 - the contract's name
    """`torch.nn.init.eye_` and `torch.nn.init.dirac_`."""
    return _drawn(lambda w, **_: torch.nn.init.eye_(w) if w.ndim == 2 else torch.nn.init.dirac_(w), None, 0)


def _drawn(fill: Callable[..., Any], kind: str | None, seed: int | None) -> Callable[..., Any]:
    device = torch.get_default_device()
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)

    def create(shape: Sequence[int], dtype: str | None = None) -> Any:
        *window, first, last = shape
        own = (last, first, *window)
        if kind == "depthwise":
            own = (first * last, 1, *window)
        elif kind == "embedding":
            own = (first, last)
        weights = fill(
            torch.empty(own, dtype=getattr(torch, dtype or keras.config.floatx()), device=device), generator=generator
        )
        if kind == "embedding":
            return weights
        return weights.permute(*range(2, len(own)), 1, 0).reshape(*shape)  # window, then the second axis and the first

    return create
