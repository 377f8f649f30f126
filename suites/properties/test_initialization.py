"""What must be true of initialization, whoever wrote it (reference/initialization.py is the contract).

What is random is held to intervals that a right implementation leaves once in 1e9 times; seeds are fixed unless one is
asked for. Kinds that a shape does not tell are told, so that an implementation may be right about the rest.
"""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check, require
from suites.properties.gradients import input_gradient
from suites.properties.initialization_cases import (
    SCHEMES,
    Kernel,
    Stack,
    built,
    check_kind,
    check_moments,
    drawn,
    initializer,
    large_kernels,
    shapes,
    slack,
    through,
    weights,
)
from suites.properties.numerics import UNIT_ROUNDOFF, assert_equal, assert_within, gamma, to_numpy
from suites.properties.oracles import initialization as oracle
from suites.properties.refusals import refused
from suites.subjects import Subject

KIND = st.shared(st.sampled_from(("dense", "conv", "depthwise", "transposed", "embedding")), key="kind")
SEEDS = st.integers(0, 2**31 - 1)

# Fans


@pytest.mark.structure
@example(kind="dense", shape=(2, 3))
@example(kind="conv", shape=(3, 2, 4, 5))
@example(kind="depthwise", shape=(3, 2, 4, 5))
@example(kind="transposed", shape=(3, 2, 4, 5))
@example(kind="embedding", shape=(4, 5))
@given(kind=KIND, shape=KIND.flatmap(shapes))
def test_fans_count_connections(subject: Subject, kind: str, shape: tuple[int, ...]) -> None:
    """fan_in counts the inputs of one output, and fan_out the outputs of one input, for every kind of layer."""
    require(subject.fans, "kind", "fans")
    found, expected = tuple(subject.fans(shape, kind)), oracle.connections(shape, kind)
    check(all(isinstance(fan, int) for fan in found), f"fans of a {kind} kernel {shape} are no integers: {found}")
    check(found == expected, f"(fan_in, fan_out) of a {kind} kernel {shape} is {found}, expected {expected}")


@example(kernel=Kernel((3, 3, 64, 2), "depthwise"))
@example(kernel=Kernel((3, 3, 64, 2), "depthwise", "glorot_uniform"))
@given(kernel=st.builds(Kernel, st.just((3, 3, 64, 2)), st.just("depthwise"), st.sampled_from(SCHEMES), SEEDS))
def test_depthwise_kernels_count_their_taps(subject: Subject, kernel: Kernel) -> None:
    """A depthwise kernel (k..., C, m) has fan_in prod(k) and fan_out prod(k) m, since an output sees one channel."""
    check_kind(subject, kernel)


@example(kernel=Kernel((3, 3, 64, 8), "transposed"))
@example(kernel=Kernel((3, 3, 64, 8), "transposed", "lecun_uniform"))
@given(kernel=st.builds(Kernel, st.just((3, 3, 64, 8)), st.just("transposed"), st.sampled_from(SCHEMES), SEEDS))
def test_transposed_kernels_count_what_comes_in(subject: Subject, kernel: Kernel) -> None:
    """A transposed convolution's kernel (k..., F, C) has fan_in prod(k) C and fan_out prod(k) F."""
    check_kind(subject, kernel)


@example(kernel=Kernel((500, 20), "embedding"))
@given(kernel=st.builds(Kernel, st.just((500, 20)), st.just("embedding"), st.sampled_from(SCHEMES), SEEDS))
def test_embeddings_count_one_row(subject: Subject, kernel: Kernel) -> None:
    """An embedding (V, D) has fan_in 1, since a lookup reads one row, however many there are."""
    check_kind(subject, kernel)


# Distributions

WIDE = Kernel((3, 64, 192), "conv", "he_normal")


@example(kernel=Kernel((1024, 1024), "dense", "glorot_uniform"))  # so many that a missing half step shows
@example(kernel=WIDE)
@example(kernel=WIDE.but(scheme="glorot_normal"))
@example(kernel=WIDE.but(scheme="lecun_truncated_normal"))
@example(kernel=WIDE.but(scheme="he_uniform"))
@given(kernel=large_kernels())
def test_mean_and_variance_follow_the_scheme(subject: Subject, kernel: Kernel) -> None:
    """The mean of the weights is 0 and their variance that of LeCun, Glorot or He, within exact intervals."""
    check_moments(weights(subject, kernel), kernel.law, slack(subject))


@example(kernel=WIDE)
@example(kernel=WIDE.but(scheme="he_truncated_normal"))
@example(kernel=WIDE.but(scheme="he_uniform"))
@given(kernel=large_kernels())
def test_weights_follow_their_distribution(subject: Subject, kernel: Kernel) -> None:
    """The share of weights under any number is that of the named distribution, as far as so many weights can tell."""
    found, law = np.sort(weights(subject, kernel), axis=None), kernel.law
    moved = np.abs(found) * slack(subject) + law.std * UNIT_ROUNDOFF[subject.compute_dtype]  # by rounding
    under, over = np.arange(found.size) / found.size, np.arange(1, found.size + 1) / found.size
    distance = max((over - law.cumulative(found + moved)).max(), (law.cumulative(found - moved) - under).max())
    reach = oracle.distance_within(found.size)
    check(distance <= reach, f"the distribution is off by {distance:.4f}, more than the {reach:.4f} of chance")


@example(kernel=Kernel((1024, 1024), "dense", "he_truncated_normal"))  # so many that a rare one outside is among them
@example(kernel=WIDE.but(scheme="glorot_uniform"))
@example(kernel=Kernel((384, 96), "dense", "glorot_uniform"))
@given(kernel=large_kernels().filter(lambda kernel: np.isfinite(kernel.law.limit)))
def test_weights_stay_within_limits(subject: Subject, kernel: Kernel) -> None:
    """Uniform weights stay within sqrt(3) standard deviations, truncated ones within 2 of the normal one (2.27)."""
    largest, limit = np.abs(weights(subject, kernel)).max(), kernel.law.limit
    check(largest <= limit * (1 + slack(subject)), f"a weight of size {largest:.6g}, over the limit {limit:.6g}")


@pytest.mark.structure
@given(
    kind=KIND,
    shape=KIND.flatmap(shapes),
    mode=st.sampled_from(("fan_in", "fan_out", "fan_avg")),
    eighths=st.integers(1, 32),
)
def test_variance_is_the_scale_over_a_fan(
    subject: Subject, kind: str, shape: tuple[int, ...], mode: str, eighths: int
) -> None:
    """The variance of a scheme is its scale over fan_in, fan_out or their mean, for every kind of kernel."""
    fan_in, fan_out = oracle.connections(shape, kind)
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    found = subject.variance(shape, subject.Scheme(eighths / 8, mode, "normal"), kind)
    what = f"variance of {eighths / 8} over {mode} of a {kind} kernel {shape}"
    assert_within(np.asarray(found, np.float64), np.asarray(eighths / 8 / n), 2 * gamma(2, "float64"), what)


@pytest.mark.structure
@example(slope=0.25)
@given(slope=st.integers(0, 16).map(lambda n: n / 8))
def test_leaky_rectifiers_take_less(subject: Subject, slope: float) -> None:
    """The scale for rectifiers of slope a is 2 / (1 + a^2)."""
    found = np.asarray(subject.rectifier_scale(slope) if slope else subject.rectifier_scale(), np.float64)
    assert_within(found, np.asarray(2 / (1 + slope**2)), 2 * gamma(4, "float64"), f"scale for the slope {slope}")


# Seeds

SMALL = Kernel((4, 6), "dense")


@pytest.mark.structure
@example(kernel=SMALL)
@example(kernel=SMALL.but(seed=0))
@given(kernel=st.builds(Kernel, st.just((4, 6)), st.just("dense"), st.sampled_from(SCHEMES), SEEDS))
def test_same_seed_same_weights(subject: Subject, kernel: Kernel) -> None:
    """Initializers with equal seeds make equal weights, bit for bit, and one with another seed makes others."""
    first = weights(subject, kernel, "float32")
    assert_equal(weights(subject, kernel, "float32"), first, "weights from the same seed")
    other = weights(subject, kernel.but(seed=kernel.seed + 1), "float32")
    check((other != first).any(), f"the seeds {kernel.seed} and {kernel.seed + 1} give the same weights")


# Depth

SQUARE, UNEVEN = (256,) * 17, (128, 256) * 8
RECTIFIED = Stack(SQUARE, "he_normal")


def stacks() -> st.SearchStrategy[Stack]:
    """Deep networks with Gaussian weights, whose laws are known to the end."""
    schemes = st.sampled_from([scheme for scheme in SCHEMES if scheme.count("_") == 1 and "normal" in scheme])
    return st.builds(Stack, st.sampled_from((SQUARE, UNEVEN)), schemes, SEEDS)


@pytest.mark.structure
@example(stack=RECTIFIED)
@example(stack=Stack(UNEVEN, "he_normal"))
@example(stack=Stack(SQUARE, "glorot_normal"))
@given(stack=stacks())
def test_signal_follows_its_law_through_depth(subject: Subject, stack: Stack) -> None:
    """Through 16 rectified layers the signal's variance goes with c^L: He keeps it, Glorot halves it in each layer."""
    found, _ = through(stack, stack.kernels(subject))
    low, high = oracle.signal_between(stack.widths, stack.scheme)
    check(low <= found <= high, f"the signal's variance changed by {found:.3g}, expected {low:.3g} to {high:.3g}")


@pytest.mark.structure
@example(stack=RECTIFIED)
@example(stack=Stack(UNEVEN, "glorot_normal"))
@given(stack=stacks())
def test_gradient_follows_its_law_through_depth(subject: Subject, stack: Stack) -> None:
    """Back through 16 rectified layers the gradient's variance goes with c^L too, within the exact interval."""
    _, found = through(stack, stack.kernels(subject))
    low, high = oracle.gradient_between(stack.widths, stack.scheme)
    check(low <= found <= high, f"the gradient's variance changed by {found:.3g}, expected {low:.3g} to {high:.3g}")


@pytest.mark.structure
@example(widths=(3, 5, 2), scheme="he_normal", slope=0.5)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=6).map(tuple),
    scheme=st.sampled_from(SCHEMES),
    slope=st.sampled_from((0.0, 0.25, 0.5, 1.0)),
)
def test_law_through_depth_is_the_product(subject: Subject, widths: tuple[int, ...], scheme: str, slope: float) -> None:
    """The predicted variances are the products of (1 + a^2) / 2 fan Var(w): fan_in forward, fan_out backward."""
    law = subject.variance_through_depth(widths, subject.SCHEMES[scheme], slope)
    for name, expected in zip(
        ("forward", "backward"), oracle.expected_through_depth(widths, scheme, slope), strict=True
    ):
        bound = 2 * gamma(8 * len(widths), "float64") * expected
        assert_within(np.asarray(getattr(law, name)), expected, bound, f"{name} variances")


# Orthogonal and identity kernels


def orthogonal(subject: Subject, shape: tuple[int, ...], dtype: str, seed: int, **options: Any) -> np.ndarray:
    """The subject's orthogonal kernel as a matrix (rows, columns)."""
    __tracebackhide__ = True
    for name in ("seed", *options):
        require(subject.Orthogonal, name, "Orthogonal")
    create = subject.Orthogonal(seed=seed, **options)
    return drawn(create, shape, dtype).reshape(-1, shape[-1])


@example(shape=(6, 3), seed=1, gain=2.0)
@example(shape=(3, 6), seed=1, gain=2.0)
@example(shape=(3, 2, 4, 5), seed=1, gain=0.5)
@given(
    shape=st.sampled_from(((8, 8), (6, 3), (3, 6), (1, 1), (3, 2, 4, 5), (2, 2, 16))),
    seed=SEEDS,
    gain=st.sampled_from((0.5, 1.0, 2.0)),
)
def test_orthogonal_kernels_are_orthogonal(subject: Subject, shape: tuple[int, ...], seed: int, gain: float) -> None:
    """An orthogonal kernel's shorter axis is orthonormal times the gain: W'W = gain^2 I if tall, WW' if wide."""
    matrix = orthogonal(subject, shape, subject.compute_dtype, seed, gain=gain) / gain
    short, tall = sorted(matrix.shape)
    product = matrix.T @ matrix if matrix.shape[1] == short else matrix @ matrix.T
    # Householder's Q is off by short * gamma(c tall) in norm (Higham, theorem 19.4, c small: 10 covers a reflection);
    # a product of two such columns by twice that; and each of its factors is rounded once more.
    bound = 2 * short * gamma(10 * tall, "float32") + 3 * UNIT_ROUNDOFF[subject.compute_dtype]
    assert_within(product, np.eye(short), bound, f"products of the {short} vectors of {shape}, over gain^2")


@pytest.mark.structure
@example(seed=1)
@given(seed=SEEDS)
def test_orthogonal_kernels_are_uniform(subject: Subject, seed: int) -> None:
    """No direction is preferred: the trace of a random orthogonal matrix is a standard normal variable, of any size."""
    trace = float(np.trace(orthogonal(subject, (256, 256), "float32", seed)))
    reach = oracle.trace_within(32) + 256 * gamma(2560, "float32")
    check(abs(trace) <= reach, f"a trace of {trace:.3g}, where 0 +- {reach:.3g} is expected: the signs are not random")


def check_identity(subject: Subject, layer: Any, channels: int, filters: int, *window: tuple[int, ...]) -> None:
    """Fail unless an identity kernel passes the first channels on, and zeros behind; all sums are exact."""
    __tracebackhide__ = True
    size = (5,) * len(window[0]) if window else ()
    x = np.random.default_rng(1).integers(-64, 64, (2, *size, channels)).astype("float32") / 8
    options = {"padding": "same"} if window else {}
    y = layer(filters, *window, use_bias=False, kernel_initializer=subject.Identity(), **options)(x)
    missing = max(filters - channels, 0)
    expected = np.pad(x[..., :filters], [(0, 0)] * (x.ndim - 1) + [(0, missing)]).astype("float64")
    assert_equal(y, expected, f"output of {layer.__name__}{window or ''} from {channels} to {filters} channels")


@pytest.mark.structure
def test_identity_of_a_dense_layer(subject: Subject) -> None:
    """A dense layer that starts from an identity kernel returns its input exactly, cut or filled up with zeros."""
    for channels, filters in ((3, 3), (2, 4), (4, 2), (1, 3)):
        check_identity(subject, keras.layers.Dense, channels, filters)


@pytest.mark.structure
def test_identity_of_a_convolution(subject: Subject) -> None:
    """A "same" convolution that starts from an identity kernel returns its input, cut or filled up with zeros."""
    check_identity(subject, keras.layers.Conv1D, 3, 3, (4,))
    for channels, filters in ((3, 3), (2, 4), (4, 2)):
        check_identity(subject, keras.layers.Conv2D, channels, filters, (3, 2))


# Residual branches that start at zero


def branch(normalized: bool) -> tuple[list[keras.layers.Layer], np.ndarray, np.ndarray]:
    """A built residual branch of two dense layers and a rectifier, with or without normalization, and an input."""
    keras.utils.set_random_seed(3)
    layers: list[keras.layers.Layer] = [keras.layers.Dense(6), keras.layers.ReLU(), keras.layers.Dense(4)]
    if normalized:
        layers = [layers[0], keras.layers.BatchNormalization(), *layers[1:], keras.layers.BatchNormalization()]
    built(layers, (None, 4))
    generator = np.random.default_rng(2)
    for weight in (weight for layer in layers for weight in layer.weights if len(weight.shape) == 1):
        weight.assign(weight + generator.integers(1, 8, weight.shape) / 8)  # biases and shifts are born zero, unseen
    x, upstream = generator.integers(-32, 32, (2, 3, 4)) / 8
    return layers, x.astype("float32"), upstream


def apply(layers: list[keras.layers.Layer], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


@pytest.mark.structure
@given(normalized=st.booleans())
def test_zero_residual_is_its_shortcut(subject: Subject, normalized: bool) -> None:
    """A block whose branch starts at zero returns its input, and the gradient passes as it came, bit for bit."""
    layers, x, upstream = branch(normalized)
    subject.zero_residual(layers)
    assert_equal(keras.ops.add(x, apply(layers, x)), x.astype("float64"), "x + branch(x)")
    found = input_gradient(lambda x: x + apply(layers, x), x, upstream)
    assert_equal(found, upstream, "gradient with respect to x")


@pytest.mark.structure
@given(normalized=st.booleans())
def test_zero_residual_leaves_the_rest_as_it_was(subject: Subject, normalized: bool) -> None:
    """Only the last scale of the branch becomes zero; what lies under it, and statistics, keep their start."""
    layers, _, _ = branch(normalized)
    weights = [weight for layer in layers for weight in layer.weights]
    zeroed = {id(weight) for weight in layers[-1].trainable_weights}
    before = [to_numpy(weight) * (id(weight) not in zeroed) for weight in weights]
    subject.zero_residual(layers)
    for weight, expected in zip(weights, before, strict=True):
        assert_equal(weight, expected, f"{weight.path} after the last scale was set to zero")


@pytest.mark.structure
def test_branches_without_weights_are_refused(subject: Subject) -> None:
    """A branch without layers, or whose layers are not built, is answered with ValueError."""
    unbuilt = [keras.layers.Dense(2), keras.layers.ReLU()]
    for what, layers in (("no layers", []), ("layers that are not built", unbuilt), ("a rectifier", unbuilt[1:])):
        refused(what, subject.zero_residual, layers)


# Citizens of Keras


@example(shape=(3, 4))
@example(shape=(3, 3, 2, 4))
@given(shape=st.sampled_from(((2, 3, 4), (5, 1))))  # few, since JAX compiles for each
def test_shape_and_dtype_are_those_asked_for(subject: Subject, shape: tuple[int, ...]) -> None:
    """A kernel has the shape and dtype asked for, and a shape given as a list is left as it was."""
    for scheme in ("he_normal", "glorot_uniform", "lecun_truncated_normal"):
        asked = list(shape)
        tensor = initializer(subject, SMALL.but(scheme=scheme))(asked, dtype=subject.compute_dtype)
        check(tuple(asked) == shape, f"{scheme} changed the list {list(shape)} to {asked}")
        found = (tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
        check(found == (shape, subject.compute_dtype), f"{scheme} made shape and dtype {found}, asked for {shape}")


NO_KERNELS: dict[str, tuple[Any, ...]] = {
    "an unknown kind": ((2, 3), "pointwise"),
    "a vector": ((3,),),
    "a dense kernel of rank 3": ((2, 3, 4), "dense"),
    "a depthwise kernel of rank 2": ((2, 3), "depthwise"),
    "a negative size": ((2, -3),),
    "a size of 0": ((2, 0),),
    "a size that is no integer": ((2, 3.0),),
    "no axes": ((),),
}


@pytest.mark.structure
def test_fans_of_no_kernel_are_refused(subject: Subject) -> None:
    """Shapes that no kernel of the kind can have, and unknown kinds, are answered with ValueError."""
    for what, arguments in NO_KERNELS.items():
        refused(what, subject.fans, *arguments)


@pytest.mark.structure
def test_unknown_schemes_are_refused(subject: Subject) -> None:
    """A scheme that nobody knows is answered with ValueError, when it is asked for."""
    refused("an unknown scheme", subject.initializer, "he_binomial", seed=1)


@pytest.mark.structure
def test_orthogonal_vectors_are_refused(subject: Subject) -> None:
    """An orthogonal kernel with one axis is answered with ValueError."""
    refused("a vector", subject.Orthogonal(seed=1), (3,), dtype="float32")
