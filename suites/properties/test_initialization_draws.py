"""Initialization call by call: which draws are equal, and how draws hang together beyond the law of one weight."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.implementations import NotProvided
from suites.properties.checks import check
from suites.properties.initialization_cases import (
    SCHEMES,
    Kernel,
    check_kind,
    drawn,
    initializer,
    large_kernels,
    weights,
)
from suites.properties.numerics import UNIT_ROUNDOFF, assert_equal, float64, to_numpy
from suites.properties.oracles import initialization as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

SMALL = Kernel((4, 6), "dense")
CREATED = ("initializer", "Orthogonal")


def created(subject: Subject, name: str, seed: int | None) -> Callable[..., Any]:
    """An initializer of either name."""
    __tracebackhide__ = True
    return initializer(subject, SMALL, seed=seed) if name == "initializer" else subject.Orthogonal(seed=seed)


# Which draws are equal


@pytest.mark.structure
@given(name=st.sampled_from(CREATED))
def test_unseeded_initializers_differ(subject: Subject, name: str) -> None:
    """Without a seed two initializers differ, and keras.utils.set_random_seed repeats them both."""
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        runs.append([drawn(created(subject, name, None), SMALL.shape, "float32") for _ in range(2)])
    check((runs[0][0] != runs[0][1]).any(), f"two {name} without a seed give the same weights")
    for place in range(2):
        assert_equal(runs[1][place], runs[0][place], f"weights of {name} {place} after the same set_random_seed")


@pytest.mark.structure
@given(name=st.sampled_from(CREATED))
def test_layers_that_share_an_initializer_differ(subject: Subject, name: str) -> None:
    """Layers of one shape that share an initializer start from weights that are different, whatever their order."""
    shared = created(subject, name, 1)
    layers = [keras.layers.Dense(6, kernel_initializer=shared) for _ in range(3)]
    for layer in layers:
        layer.build((None, 4))
    check_all_differ({f"layer {place}": to_numpy(layer.kernel) for place, layer in enumerate(layers)})


@pytest.mark.structure
@given(name=st.sampled_from(CREATED))
def test_seeds_lead_to_draws_of_their_own(subject: Subject, name: str) -> None:
    """The first kernels of neighbouring seeds, and of seeds far apart, share none with those of another seed."""
    found: dict[str, np.ndarray] = {}
    for seed in (0, 1, 2, 3, 1 + 2**16, 1 + 2**30):
        create = created(subject, name, seed)
        kernels = [drawn(create, SMALL.shape, "float32") for _ in range(3)]
        found |= {f"kernel {call} of seed {seed}": kernel for call, kernel in enumerate(kernels[: _told(kernels)])}
    check_all_differ(found)


def _told(kernels: list[np.ndarray]) -> int:
    """How many kernels tell something of other seeds: one alone of an initializer that repeats itself."""
    return len(kernels) if (kernels[0] != kernels[1]).any() else 1


def check_all_differ(kernels: dict[str, np.ndarray]) -> None:
    """Fail where two have the same weights, in any order and with any signs."""
    __tracebackhide__ = True
    seen: dict[bytes, str] = {}
    for name, kernel in kernels.items():
        other = seen.setdefault(np.sort(np.abs(kernel), axis=None).tobytes(), name)
        check(other == name, f"{name} has the weights of {other}, up to order and signs")


@pytest.mark.structure
@example(scheme="he_uniform", kind="depthwise", groups=1)
@example(scheme="lecun_truncated_normal", kind="transposed", groups=1)
@example(scheme="glorot_normal", kind="conv", groups=2)
@given(scheme=st.sampled_from(SCHEMES), kind=st.just("conv"), groups=st.just(1))
def test_initializers_survive_serialization(subject: Subject, scheme: str, kind: str, groups: int) -> None:
    """Made again from its configuration, an initializer of any scheme makes the kernels that a new one makes."""
    kernel = Kernel((3, 2, 4, 6), kind, scheme, 5, groups)
    check_survives(lambda: initializer(subject, kernel), kernel.shape)


@pytest.mark.structure
@given(name=st.sampled_from(("Orthogonal", "Identity")))
def test_other_initializers_survive_serialization(subject: Subject, name: str) -> None:
    """Orthogonal and identity initializers made again from their configuration make the same weights as new ones."""
    options = {"gain": 2.0, "seed": 5} if name == "Orthogonal" else {}
    check_survives(lambda: getattr(subject, name)(**options), (4, 6))


def check_survives(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    """Fail unless two kernels in a row are those of a new initializer, after a way through the configuration."""
    __tracebackhide__ = True
    create, new = make(), make()
    if not isinstance(create, keras.initializers.Initializer):
        raise NotProvided("it gives a function, which has no configuration")
    custom = {type(create).__name__: type(create)}
    again = keras.initializers.deserialize(keras.initializers.serialize(create), custom_objects=custom)
    for call in range(2):
        expected = to_numpy(new(shape, dtype="float32"))
        assert_equal(again(shape, dtype="float32"), expected, f"kernel {call} of an initializer made again")


@pytest.mark.structure
@given(name=st.sampled_from((*CREATED, "Identity")))
def test_dtype_is_by_default_that_of_keras(subject: Subject, name: str) -> None:
    """Without a dtype kernels have the float type that Keras is set to, and with one that dtype."""
    before = keras.config.floatx()
    for floatx, asked in itertools.product(("float64", "float32"), (None, "float32", "float64")):
        with float64():
            keras.config.set_floatx(floatx)
            try:
                create = subject.Identity() if name == "Identity" else created(subject, name, 1)
                kernel = create(SMALL.shape, **({"dtype": asked} if asked else {}))
            finally:
                keras.config.set_floatx(before)
        dtype = keras.backend.standardize_dtype(kernel.dtype)
        check(dtype == (asked or floatx), f"asked for {asked}, {name} makes {dtype} where floatx is {floatx}")


@pytest.mark.structure
@given(name=st.sampled_from(CREATED))
def test_float64_is_drawn_in_float64(subject: Subject, name: str) -> None:
    """Kernels in float64 are drawn in it: they are no float32 numbers in a wider dtype."""
    with float64():
        kernel = drawn(created(subject, name, 1), SMALL.shape, "float64")
    check((kernel != kernel.astype(np.float32)).any(), f"all weights of {name} in float64 are numbers of float32")


# How draws hang together


@example(kernel=Kernel((1024, 1024), "dense", "he_truncated_normal"))
@example(kernel=Kernel((384, 96), "dense", "glorot_uniform"))
@given(kernel=large_kernels().filter(lambda kernel: np.isfinite(kernel.law.limit)))
def test_weights_do_not_pile_up_at_limits(subject: Subject, kernel: Kernel) -> None:
    """As many weights have the largest size as rounding takes there, where draws that are cut off pile up."""
    sizes, law = np.abs(weights(subject, kernel)), kernel.law
    largest = sizes.max()
    # What is rounded to the largest number, 2^e or more, lay over the middle between it and the one below, which is
    # 2 u 2^e away, and was rounded in float32 before.
    half_way = 2.0 ** (np.frexp(largest)[1] - 1) * UNIT_ROUNDOFF[subject.compute_dtype]
    middle = largest * (1 - 8 * UNIT_ROUNDOFF["float32"]) - half_way
    share = float(2 * (1 - law.cumulative(np.asarray(middle))))
    count, most = int((sizes == largest).sum()), oracle.seen_at_most(sizes.size, share)
    check(
        count <= most, f"{count} of {sizes.size} weights have the largest size {largest:.6g}, expected at most {most}"
    )


@pytest.mark.structure
@example(kernel=Kernel((384, 96), "dense"))
@example(kernel=Kernel((96, 384), "dense", "glorot_normal"))
@given(kernel=large_kernels().filter(lambda kernel: kernel.scheme.count("_") == 1 and "normal" in kernel.scheme))
def test_rows_and_columns_are_independent(subject: Subject, kernel: Kernel) -> None:
    """The sums of rows, columns and diagonals vary as those of independent weights do, and few weights are equal."""
    matrix = weights(subject, kernel, "float32").reshape(-1, kernel.shape[-1])
    matrix, (rows, columns) = matrix / kernel.law.std, matrix.shape
    side = min(rows, columns)
    across = np.stack([np.roll(matrix[:side, :side], -row, axis=1)[row] for row in range(side)])
    for what, sums, of in (
        ("rows", matrix.sum(1), columns),
        ("columns", matrix.sum(0), rows),
        ("diagonals", across.sum(0), side),
    ):
        found, (low, high) = float((sums**2).sum() / of), oracle.sums_between(len(sums))
        check(
            low <= found <= high, f"the {what} sum to squares of {found:.6g} in all, expected {low:.6g} to {high:.6g}"
        )
    # float32 has 2^22 numbers of one sign at least to draw from, and so few of 37,000 draws meet by chance.
    distinct = len(np.unique(np.abs(matrix)))
    check(distinct > 0.9 * matrix.size, f"{matrix.size} weights have {distinct} different sizes")


@pytest.mark.structure
@example(shape=(1, 1))  # 1 or -1
@given(shape=st.sampled_from(((8, 8), (8, 4), (4, 8))))
def test_orthogonal_kernels_prefer_no_direction(subject: Subject, shape: tuple[int, int]) -> None:
    """Over 200 orthogonal kernels each entry has mean 0 and the same mean square, and some reflect and some do not."""
    kernels = orthogonal_kernels(subject, shape)
    order, draws = max(shape), len(kernels)
    mean_within, square_within = oracle.entry_within(order, draws)
    for what, found, reach in (
        ("mean", kernels.mean(0), mean_within),
        ("mean square", (kernels**2).mean(0) - 1 / order, square_within),
    ):
        worst = np.unravel_index(np.argmax(np.abs(found)), shape)
        size = abs(found[worst])
        check(
            size <= reach, f"the {what} of entry {list(map(int, worst))} of {shape} is off by {size:.3g} > {reach:.3g}"
        )
    if shape == (8, 8):
        reflections = int((np.linalg.det(kernels) < 0).sum())
        check(0 < reflections < draws, f"{reflections} of {draws} orthogonal kernels are reflections")


def orthogonal_kernels(subject: Subject, shape: tuple[int, int], draws: int = 200) -> np.ndarray:
    """So many kernels, each of a seed of its own."""
    __tracebackhide__ = True
    return np.stack([drawn(subject.Orthogonal(seed=seed), shape, "float32") for seed in range(draws)])


# Groups


@pytest.mark.structure
@example(shape=(3, 2, 4, 6), groups=2)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from((6, 12))),
    groups=st.sampled_from((1, 2, 3, 6)),
)
def test_fans_of_groups_count_connections(subject: Subject, shape: tuple[int, ...], groups: int) -> None:
    """Told of its groups, a convolution's fan_out counts the outputs of one group, and fan_in its inputs."""
    found, expected = tuple(subject.fans(shape, "conv", groups=groups)), oracle.connections(shape, "conv", groups)
    check(found == expected, f"fans of a kernel {shape} in {groups} groups are {found}, expected {expected}")


@example(scheme="glorot_normal")
@example(scheme="glorot_uniform")
@given(scheme=st.sampled_from(SCHEMES))
def test_grouped_kernels_count_their_group(subject: Subject, scheme: str) -> None:
    """A kernel (k..., C / g, F) of g groups has fan_in prod(k) C / g and fan_out prod(k) F / g."""
    check_kind(subject, Kernel((3, 3, 16, 64), "conv", scheme, groups=4))


@pytest.mark.structure
def test_misfitting_groups_are_refused(subject: Subject) -> None:
    """Groups that the filters cannot be divided into, and groups of what is no convolution, raise ValueError."""
    for shape, kind, groups in (((3, 2, 4), "conv", 3), ((3, 2, 4), "conv", 0), ((2, 4), "dense", 2)):
        refused(f"{groups} groups of a {kind} kernel {shape}", subject.fans, shape, kind, groups=groups)


# Refusals


MISFITS: tuple[tuple[Any, ...], ...] = (
    (-1.0, "fan_in", "normal"),
    (0.0, "fan_in", "normal"),
    (float("nan"), "fan_in", "normal"),
    (1.0, "fan", "normal"),
    (1.0, "fan_in", "cauchy"),
    (1.0, "fan_in", "normal", "pointwise"),
)


@pytest.mark.structure
def test_misfitting_schemes_are_refused(subject: Subject) -> None:
    """A scale that is not positive, an unknown mode, distribution or kind, raises ValueError at once."""
    for scheme in MISFITS:
        refused(f"a scheme of {scheme}", subject.VarianceScaling, *scheme)
