"""Initialization: start every layer so that signals and gradients keep their size through depth.

The problem. A deep network multiplies its input by one random matrix after the other. If each multiplies the variance
of the signal by c, L layers multiply it by c^L: at depth 30 a factor of 1/2 per layer leaves a billionth, and so it is
with the gradient on its way back (He et al. 2015, section 2.2: their 30-layer net does not train at all).
The cure. With independent zero-mean weights, and leaky rectifiers of slope a that keep (1 + a^2) / 2 of the variance,

    c_forward  = (1 + a^2) / 2  fan_in  Var(w)        He et al. 2015, equations 7 to 9 and 15
    c_backward = (1 + a^2) / 2  fan_out Var(w)        equations 11 to 14

where fan_in is the number of inputs that reach one output, and fan_out the number of outputs that one input reaches.
No variance makes both 1 unless the fans agree; the schemes in `SCHEMES` choose

    lecun     Var(w) = 1 / fan_in                 linear units, forward          LeCun et al. 1998, section 4.6
    glorot    Var(w) = 2 / (fan_in + fan_out)     linear units, both halfway     Glorot and Bengio 2010, equation 12
    he        Var(w) = 2 / fan_in                 rectifiers (a = 0), forward    He et al. 2015, equation 10

from one of three distributions of that variance. Other starts keep it exactly: an orthogonal matrix keeps the length of
any vector (Saxe et al. 2014), an identity kernel all of its input, and a residual block its shortcut where the last
scale of the branch is zero (Goyal et al. 2017, section 5.1; Zhang et al. 2019, "Fixup").

Deviations, by name: *normal* is not truncated, as in the papers (Keras's `HeNormal` is); *strides and borders* are left
out of the fans, as everywhere; *one initializer, many layers*: each call draws anew, so that layers that share an
initializer differ, where Keras repeats itself.

LeCun, Bottou, Orr, Mueller: Efficient BackProp (1998). Glorot, Bengio: Understanding the difficulty of training deep
feedforward neural networks (AISTATS 2010). He, Zhang, Ren, Sun: arXiv:1502.01852. Saxe, McClelland, Ganguli:
arXiv:1312.6120. Goyal et al.: arXiv:1706.02677. Zhang, Dauphin, Ma: arXiv:1901.09321.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from reference._fans import KINDS, Fans, Shape, checked, fans, one_of  # noqa: F401 - the contract's

Tensor = Any  # a tensor of the backend in use

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("normal", "truncated_normal", "uniform")

TRUNCATED_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))
"""Standard deviation, 0.8796, of a standard normal variable that is drawn again wherever it exceeds 2 in size."""


class Scheme(NamedTuple):
    """Var(w) = `scale` / n, where n is the fan that `mode` names or the mean of both, and the distribution of w."""

    scale: float
    mode: str
    distribution: str


SCHEMES = {
    f"{name}_{distribution}": Scheme(scale, mode, distribution)
    for name, scale, mode in (("lecun", 1.0, "fan_in"), ("glorot", 1.0, "fan_avg"), ("he", 2.0, "fan_in"))
    for distribution in DISTRIBUTIONS
}
"""From `lecun_normal` to `he_uniform`."""


def variance(shape: Shape, scheme: Scheme, kind: str | None = None, groups: int = 1) -> float:
    """Var(w) = scale / n; n is fan_in, fan_out or, for "fan_avg", their mean.

    Raises:
        ValueError: as `fans`, or a scheme with a scale that is not positive, an unknown mode or distribution.
    """
    one_of("mode", scheme.mode, MODES)
    one_of("distribution", scheme.distribution, DISTRIBUTIONS)
    if not scheme.scale > 0:
        raise ValueError(f"scale must be positive; it is {scheme.scale}. Use zeros for weights that start at zero")
    fan_in, fan_out = fans(shape, kind, groups)
    return scheme.scale / {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[scheme.mode]


def rectifier_scale(slope: float = 0.0) -> float:
    """The scale 2 / (1 + a^2) that keeps the variance through leaky rectifiers (He et al. 2015, equation 15)."""
    return 2 / (1 + slope**2)


def variance_scaling(
    shape: Shape, scheme: Scheme, *, kind: str | None = None, groups: int = 1, seed: int, dtype: str | None = None
) -> Tensor:
    """Independent weights with mean 0 and the variance of a scheme; the same arguments give the same tensor.

    The uniform distribution reaches to sqrt(3 Var(w)), the truncated one to 2 standard deviations of the normal one
    that it is cut from, which is wider by 1 / `TRUNCATED_STD`. Weights are drawn in float32 at least and then rounded
    to `dtype`: half precision has too few numbers to draw from.

    Args:
        shape: of the kernel.
        scheme: one of `SCHEMES`, or another.
        kind: one of `KINDS`, or None as in `fans`.
        groups: of a convolution, as in `fans`.
        seed: an integer from 0 to 2^32 - 1.
        dtype: of the result; Keras's default if None.

    Raises:
        ValueError: as `variance`.
    """
    std = math.sqrt(variance(shape, scheme, kind, groups))
    dtype = dtype or keras.config.floatx()
    drawn = {"shape": tuple(shape), "seed": seed, "dtype": "float64" if dtype == "float64" else "float32"}
    match scheme.distribution:
        case "normal":
            weights = keras.random.normal(stddev=std, **drawn)
        case "truncated_normal":
            # By the inverse of the distribution function: that costs less than to draw until all are inside, which
            # Keras does not do on every backend (on torch one in 200,000 is outside).
            share = math.erf(math.sqrt(2)) * (1 - 2**-20)  # so much less that rounding stays inside too
            uniform = keras.random.uniform(minval=-share, maxval=share, **drawn)
            weights = ops.erfinv(uniform) * (math.sqrt(2) * std / TRUNCATED_STD)
        case _:
            weights = keras.random.uniform(minval=-math.sqrt(3) * std, maxval=math.sqrt(3) * std, **drawn)
    return ops.cast(weights, dtype)


def orthogonal(shape: Shape, *, gain: float = 1.0, seed: int, dtype: str | None = None) -> Tensor:
    """`gain` times a random orthogonal matrix, uniform among all of them (Saxe et al. 2014, section 3).

    A kernel (..., F) counts as a matrix of prod(...) rows and F columns; the shorter of the two are orthonormal.

    Raises:
        ValueError: fewer than two axes.
    """
    *rest, columns = checked(shape)
    if not rest:
        raise ValueError(f"an orthogonal kernel has 2 axes or more; its shape is {tuple(shape)}")
    rows = math.prod(rest)
    dtype = dtype or keras.config.floatx()
    wide = keras.backend.result_type(dtype, "float32")
    normal = keras.random.normal((max(rows, columns), min(rows, columns)), seed=seed, dtype=wide)
    q, r = ops.qr(normal)
    # Unique only up to signs: those that make R's diagonal positive make Q uniform (Mezzadri 2007, section 5).
    q = q * ops.cast(ops.where(ops.diagonal(r) < 0, -1, 1), wide)
    matrix = ops.transpose(q) if rows < columns else q  # (rows, columns)
    return ops.cast(gain * ops.reshape(matrix, tuple(shape)), dtype)


def identity(shape: Shape, *, dtype: str | None = None) -> Tensor:
    """The kernel (D, F) or (k..., C, F) that, with "same" padding, passes its first min(C, F) channels on.

    Raises:
        ValueError: fewer than two axes.
    """
    *window, channels, filters = checked(shape, axes=2)
    kernel = np.zeros(tuple(shape), "float32")
    kernel[tuple((taps - 1) // 2 for taps in window)] = np.eye(channels, filters)  # "same" pads an even window right
    return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


class _Drawn(keras.initializers.Initializer):
    """An initializer whose n-th tensor depends on its seed and n alone; layers that share it repeat nothing."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        # Python's own generator is one of those that keras.utils.set_random_seed sets.
        self._seeds = random.Random(random.getrandbits(32) if seed is None else seed)

    def _next_seed(self) -> int:
        return self._seeds.getrandbits(32)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs to start over: without a seed, another initializer of the same kind."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable(package="touchstone")
class VarianceScaling(_Drawn):
    """`variance_scaling` for any Keras layer: the arguments of a `Scheme`, the kind of kernel, a seed, and groups.

    Example:
        >>> layer = keras.layers.DepthwiseConv2D(3, depthwise_initializer=initializer("he_normal", kind="depthwise"))
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape
        TensorShape([1, 6, 6, 4])
    """

    def __init__(
        self,
        scale: float,
        mode: str,
        distribution: str,
        kind: str | None = None,
        seed: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__(seed)
        self.scheme, self.kind, self.groups = Scheme(scale, mode, distribution), kind, groups
        one_of("kind", kind or KINDS[0], KINDS)
        variance((1, 1), self.scheme)  # refuses what the first layer would trip over

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        """The next tensor of this shape and dtype."""
        of_kernel: dict[str, Any] = {"kind": self.kind, "groups": self.groups}
        return variance_scaling(shape, self.scheme, **of_kernel, seed=self._next_seed(), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**self.scheme._asdict(), "kind": self.kind, "groups": self.groups, **super().get_config()}


def initializer(scheme: str, *, kind: str | None = None, groups: int = 1, seed: int | None = None) -> VarianceScaling:
    """The initializer of one of `SCHEMES`, such as "he_normal", for kernels of this kind and in so many groups.

    Raises:
        ValueError: unknown scheme or kind.
    """
    one_of("scheme", scheme, tuple(SCHEMES))
    return VarianceScaling(*SCHEMES[scheme], kind=kind, seed=seed, groups=groups)


@keras.saving.register_keras_serializable(package="touchstone")
class Orthogonal(_Drawn):
    """`orthogonal` for any Keras layer."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        """The next tensor of this shape and dtype."""
        return orthogonal(shape, gain=self.gain, seed=self._next_seed(), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {"gain": self.gain, **super().get_config()}


@keras.saving.register_keras_serializable(package="touchstone")
class Identity(keras.initializers.Initializer):
    """`identity` for any Keras layer."""

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        """The identity kernel of this shape and dtype."""
        return identity(shape, dtype=dtype)


def zero_residual(branch: Sequence[keras.layers.Layer]) -> None:
    """Make the built layers of a residual branch compute zero, so that its block starts as the shortcut.

    Only the last layer with weights changes: the scale and shift of a normalization (Goyal et al. 2017, section 5.1),
    or else kernel and bias (Zhang et al. 2019, section 3). The rest keeps its start, so that what is zero can learn.

    Raises:
        ValueError: no layer of the branch has weights; build them first.
    """
    for layer in reversed(branch):
        if layer.trainable_weights:
            for weight in layer.trainable_weights:
                weight.assign(ops.zeros(weight.shape, weight.dtype))
            return
    raise ValueError(f"no layer of the branch has weights: {[layer.name for layer in branch]}; build the layers first")


@dataclass(frozen=True)
class DepthLaw:
    """Expected mean square of signal and gradient at every depth, as parts of what came in: arrays (L + 1,).

    Attributes:
        forward: of the activations after l layers; `forward[0]` is 1.
        backward: of the gradient to those activations; `backward[L]` is 1.
    """

    forward: np.ndarray
    backward: np.ndarray


def variance_through_depth(widths: Sequence[int], scheme: Scheme, slope: float = 0.0) -> DepthLaw:
    """The laws c^L above for dense layers from `widths[0]` to `widths[L]` units with leaky rectifiers.

    With symmetric weights they are exact at any width: forward for any input, backward for a gradient of random sign.
    """
    forward, backward = [1.0], [1.0]
    layers = [(variance(shape, scheme, "dense"), *shape) for shape in itertools.pairwise(widths)]
    for var, fan_in, _ in layers:
        forward.append(forward[-1] * fan_in * var / rectifier_scale(slope))
    for var, _, fan_out in reversed(layers):
        backward.append(backward[-1] * fan_out * var / rectifier_scale(slope))
    return DepthLaw(np.array(forward), np.array(backward[::-1]))
