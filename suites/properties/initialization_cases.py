"""What is drawn for the properties of initialization, and how an implementation's initializers are called."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

from suites.properties.checks import check, require
from suites.properties.numerics import UNIT_ROUNDOFF, to_numpy
from suites.properties.oracles import initialization as oracle
from suites.subjects import Subject

SCHEMES = tuple(f"{name}_{law}" for name in oracle.SCALES for law in ("normal", "truncated_normal", "uniform"))


@dataclass(frozen=True)
class Kernel:
    """A kernel to be drawn: its shape, its kind, the scheme, the seed, and the groups of a convolution."""

    shape: tuple[int, ...]
    kind: str
    scheme: str = "he_normal"
    seed: int = 1
    groups: int = 1

    @property
    def law(self) -> oracle.Law:
        """The distribution of each weight."""
        return oracle.law(self.scheme, self.shape, self.kind, self.groups)

    def but(self, **changes: Any) -> "Kernel":
        """The same kernel with something changed."""
        return dataclasses.replace(self, **changes)


def shapes(kind: str) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes of a kind, of which no two sizes agree by chance alone."""
    size = st.integers(1, 5)
    if kind in ("dense", "embedding"):
        return st.tuples(size, size)
    return st.lists(st.integers(1, 3), min_size=1, max_size=3).flatmap(
        lambda window: st.tuples(size, size).map(lambda channels: (*window, *channels))
    )


LARGE = (
    ((384, 96), "dense"),
    ((96, 384), "dense"),
    ((3, 64, 192), "conv"),
    ((3, 3, 64, 64), "conv"),
    ((3, 1, 3, 96, 48), "conv"),
)
"""Kernels of about 37,000 weights each: their variance is known to a few parts in a hundred."""


def large_kernels() -> st.SearchStrategy[Kernel]:
    """Any scheme on any of the `LARGE` kernels."""
    seeds = st.integers(0, 2**31 - 1)
    return st.builds(
        lambda kernel, *rest: Kernel(*kernel, *rest), st.sampled_from(LARGE), st.sampled_from(SCHEMES), seeds
    )


def initializer(subject: Subject, kernel: Kernel, **options: Any) -> Callable[..., Any]:
    """The subject's initializer for a kernel; the kind is said only where a shape does not tell it."""
    make = subject.initializer
    if kernel.kind not in ("dense", "conv"):
        options["kind"] = kernel.kind
    if kernel.groups > 1:
        options["groups"] = kernel.groups
    options.setdefault("seed", kernel.seed)
    for name in options:
        require(make, name, "initializer")
    return make(kernel.scheme, **options)


def weights(subject: Subject, kernel: Kernel, dtype: str = "") -> np.ndarray:
    """One kernel, drawn in the compute dtype of the subject's precision or in another, as float64."""
    __tracebackhide__ = True
    return drawn(initializer(subject, kernel), kernel.shape, dtype or subject.compute_dtype)


def drawn(create: Callable[..., Any], shape: Sequence[int], dtype: str) -> np.ndarray:
    """What an initializer makes, as float64; its shape is checked."""
    __tracebackhide__ = True
    found = to_numpy(create(shape, dtype=dtype))
    check(found.shape == tuple(shape), f"the kernel has shape {found.shape}, expected {tuple(shape)}")
    return found


def check_kind(subject: Subject, kernel: Kernel) -> None:
    """Fail unless the first two kernels of an initializer have the variance of their kind."""
    __tracebackhide__ = True
    create = initializer(subject, kernel)
    for _ in range(2):
        check_variance(drawn(create, kernel.shape, subject.compute_dtype), kernel.law, slack(subject))


def slack(subject: Subject) -> float:
    """How far, relatively, a weight may be rounded: in the float32 in which it is scaled, and to the compute dtype."""
    return 8 * UNIT_ROUNDOFF["float32"] + UNIT_ROUNDOFF[subject.compute_dtype]


def check_moments(found: np.ndarray, law: oracle.Law, slack: float) -> None:
    """Fail unless the mean, and then the mean square, of the weights lie in the interval of their law."""
    __tracebackhide__ = True
    mean, reach = found.mean(), law.mean_within(found.size) + slack * law.std
    check(abs(mean) <= reach, f"the mean of {found.size} weights is {mean:.6g}, expected 0 +- {reach:.3g}")
    check_variance(found, law, slack)


def check_variance(found: np.ndarray, law: oracle.Law, slack: float) -> None:
    """Fail unless the mean square of the weights lies in the interval of their law."""
    __tracebackhide__ = True
    low, high = law.mean_square_between(found.size)
    square, low, high = (found**2).mean(), low * (1 - 2 * slack), high * (1 + slack) ** 2
    check(
        low <= square <= high,
        f"the variance of {found.size} weights is {square:.6g}, expected {law.std**2:.6g} ({low:.6g} to {high:.6g})",
    )


@dataclass(frozen=True)
class Stack:
    """A deep network of dense layers without biases, with rectifiers."""

    widths: tuple[int, ...]
    scheme: str
    seed: int = 1

    def kernels(self, subject: Subject) -> list[np.ndarray]:
        """The kernels, each from an initializer with a seed of its own."""
        layers = zip(self.widths, self.widths[1:], strict=False)
        kernels = [Kernel(shape, "dense", self.scheme, self.seed + i) for i, shape in enumerate(layers)]
        return [weights(subject, kernel, "float32") for kernel in kernels]

    def __repr__(self) -> str:
        return f"Stack(widths={'-'.join(map(str, self.widths))}, scheme={self.scheme!r}, seed={self.seed})"


def through(stack: Stack, kernels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean square of the last activations over that of the input, and of the input's gradient over the last one's."""
    generator = np.random.default_rng(stack.seed)
    x = activations = generator.normal(size=stack.widths[0])  # (n_0,)
    passed = []
    for kernel in kernels:
        before = activations @ kernel  # (n_l,)
        passed.append(before > 0)
        activations = np.maximum(before, 0)
    last = gradient = generator.choice([-1.0, 1.0], stack.widths[-1])
    for kernel, through_unit in zip(reversed(kernels), reversed(passed), strict=True):
        gradient = kernel @ (gradient * through_unit)
    return float(np.mean(activations**2) / np.mean(x**2)), float(np.mean(gradient**2) / np.mean(last**2))


def built(layers: Sequence[keras.layers.Layer], shape: tuple[int | None, ...]) -> None:
    """Build layers in a row."""
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
