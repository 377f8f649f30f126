"""Wrong variants of initialization."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

import reference.initialization as reference
from reference.initialization import Fans, Scheme
from suites.selftest.variants import Variant, override

Shape = Sequence[int]


def drawing(draw: Callable[..., Any]) -> SimpleNamespace:
    """The reference with another `variance_scaling`, in its initializers too."""

    class VarianceScaling(reference.VarianceScaling):
        def __call__(self, shape: Shape, dtype: str | None = None) -> Any:
            return draw(shape, self.scheme, kind=self.kind, seed=self._next_seed(), dtype=dtype)

    return starting_with(VarianceScaling)


def starting_with(layer_initializer: type[reference.VarianceScaling]) -> SimpleNamespace:
    """The reference with another class of initializers."""

    def initializer(scheme: str, *, kind: str | None = None, seed: int | None = None) -> Any:
        return layer_initializer(*reference.SCHEMES[scheme], kind=kind, seed=seed)

    return override(reference, VarianceScaling=layer_initializer, initializer=initializer)


def scaled(factor: Callable[[Shape, Scheme, str | None], float]) -> SimpleNamespace:
    """The reference with its weights multiplied."""

    def draw(shape: Shape, scheme: Scheme, *, kind: str | None, seed: int, dtype: str | None) -> Any:
        weights = reference.variance_scaling(shape, scheme, kind=kind, seed=seed, dtype="float32")
        return ops.cast(weights * factor(shape, scheme, kind), dtype or "float32")

    return drawing(draw)


def counting(fans: Callable[[Shape, str | None], Fans]) -> SimpleNamespace:
    """The reference with other fans, in its initializers too."""

    def factor(shape: Shape, scheme: Scheme, kind: str | None) -> float:
        wrong = fans(shape, kind)
        n = {"fan_in": wrong.fan_in, "fan_out": wrong.fan_out, "fan_avg": sum(wrong) / 2}[scheme.mode]
        return math.sqrt(scheme.scale / n / reference.variance(shape, scheme, kind))

    found = scaled(factor)
    found.fans = fans
    return found


# Fans


def keras_fans(shape: Shape, kind: str | None = None) -> Fans:
    """From the shape alone."""
    del kind
    *window, first, last = shape
    return Fans(math.prod(window) * first, math.prod(window) * last)


def swapped_fans(shape: Shape, kind: str | None = None) -> Fans:
    """In for out."""
    return Fans(*reversed(reference.fans(shape, kind)))


def fans_without_window(shape: Shape, kind: str | None = None) -> Fans:
    """The channels only."""
    return (
        reference.fans(tuple(shape)[-2:], "dense") if kind in (None, "conv", "dense") else reference.fans(shape, kind)
    )


# Distributions


def std_for_variance(shape: Shape, scheme: Scheme, kind: str | None) -> float:
    """The variance is taken for the standard deviation."""
    return math.sqrt(reference.variance(shape, scheme, kind))


def truncated_uncorrected(shape: Shape, scheme: Scheme, kind: str | None) -> float:
    """The standard deviation before the cut is that of the scheme."""
    del shape, kind
    return reference.TRUNCATED_STD if scheme.distribution == "truncated_normal" else 1.0


def limit_without_root_three(shape: Shape, scheme: Scheme, kind: str | None) -> float:
    """The standard deviation is taken for the limit of the uniform distribution."""
    del shape, kind
    return 1 / math.sqrt(3) if scheme.distribution == "uniform" else 1.0


def glorot_for_he(shape: Shape, scheme: Scheme, kind: str | None) -> float:
    """The factor 2 for the rectifier is forgotten."""
    del shape, kind
    return math.sqrt(0.5) if scheme.scale == 2 else 1.0


def with_distribution(names: dict[str, str], shape: Shape, scheme: Scheme, **options: Any) -> Any:
    """One distribution in place of another of the same variance."""
    scheme = scheme._replace(distribution=names.get(scheme.distribution, scheme.distribution))
    return reference.variance_scaling(shape, scheme, **options)


def shifted(shape: Shape, scheme: Scheme, **options: Any) -> Any:
    """From [0, 2 limit) rather than [-limit, limit), scaled to the same mean square."""
    weights = reference.variance_scaling(shape, scheme, **options)
    return ops.abs(weights) if scheme.distribution == "uniform" else weights


def drawn_in_half(shape: Shape, scheme: Scheme, *, kind: str | None, seed: int, dtype: str | None) -> Any:
    """Uniform weights are drawn from the few numbers of half precision."""
    if scheme.distribution != "uniform":
        return reference.variance_scaling(shape, scheme, kind=kind, seed=seed, dtype=dtype)
    limit = math.sqrt(3 * reference.variance(shape, scheme, kind))
    steps = 128
    whole = ops.floor(keras.random.uniform(tuple(shape), 0, steps, seed=seed))
    return ops.cast((whole / steps * 2 - 1) * limit, dtype)


def float32_always(shape: Shape, scheme: Scheme, **options: Any) -> Any:
    """The dtype asked for is ignored."""
    return reference.variance_scaling(shape, scheme, **{**options, "dtype": "float32"})


def list_consumed(shape: Any, scheme: Scheme, **options: Any) -> Any:
    """The caller's list is taken apart."""
    weights = reference.variance_scaling(tuple(shape), scheme, **options)
    if isinstance(shape, list):
        shape.pop()
    return weights


# Seeds


class Repeating(reference.VarianceScaling):
    """Every call draws from the same seed."""

    def _next_seed(self) -> int:
        return 0 if self.seed is None else self.seed


class SeedIgnored(reference.VarianceScaling):
    """The seed is accepted and ignored."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "seed": 3})


class Unrepeatable(reference.VarianceScaling):
    """Every draw is another one."""

    def _next_seed(self) -> int:
        return int.from_bytes(__import__("os").urandom(4))


class Forgetful(reference.VarianceScaling):
    """The configuration lacks the seed."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": None}


class SeedPlusCall(reference.VarianceScaling):
    """The n-th call takes the seed + n."""

    calls = 0

    def _next_seed(self) -> int:
        self.calls += 1
        return (self.seed or 0) + self.calls


class KindOfTheFirst(reference.VarianceScaling):
    """The kind is used for the first kernel only."""

    def __call__(self, shape: Shape, dtype: str | None = None) -> Any:
        kernel, self.kind = super().__call__(shape, dtype), None
        return kernel


class Alternating(reference.VarianceScaling):
    """Every second kernel is the one before with other signs."""

    last: Any = None

    def __call__(self, shape: Shape, dtype: str | None = None) -> Any:
        if self.last is not None and tuple(self.last.shape) == tuple(shape):
            kernel, self.last = -self.last, None
            return kernel
        self.last = super().__call__(shape, dtype)
        return self.last


def remade(change: Callable[[Any], Any]) -> SimpleNamespace:
    """The reference with its weights, as a matrix in float32, made into others."""

    def draw(shape: Shape, scheme: Scheme, *, kind: str | None, seed: int, dtype: str | None) -> Any:
        weights = reference.variance_scaling(shape, scheme, kind=kind, seed=seed, dtype="float32")
        matrix = change(ops.reshape(weights, (-1, shape[-1])))
        return ops.cast(ops.reshape(matrix, tuple(shape)), dtype or "float32")

    return drawing(draw)


def antithetic(matrix: Any) -> Any:
    """Half of the rows are the other half with other signs."""
    half = (matrix.shape[0] + 1) // 2
    return ops.concatenate([matrix[:half], -matrix[: matrix.shape[0] - half]])


def centred(matrix: Any) -> Any:
    """Every column has mean 0, and the variance is as before."""
    rows = max(matrix.shape[0], 2)
    return (matrix - ops.mean(matrix, axis=0)) * math.sqrt(rows / (rows - 1))


def tiled(matrix: Any) -> Any:
    """The first half of the columns comes twice."""
    half = (matrix.shape[1] + 1) // 2
    return ops.concatenate([matrix[:, :half], matrix[:, : matrix.shape[1] - half]], axis=1)


def clipped_in_its_dtype(shape: Shape, scheme: Scheme, *, kind: str | None, seed: int, dtype: str | None) -> Any:
    """Truncated weights are drawn in the dtype asked for, and what is over the limit is cut off."""
    if scheme.distribution != "truncated_normal":
        return reference.variance_scaling(shape, scheme, kind=kind, seed=seed, dtype=dtype)
    dtype = dtype or "float32"
    uniform = ops.cast(keras.random.uniform(tuple(shape), seed=seed), dtype)
    cut = math.erf(math.sqrt(2))
    normal = math.sqrt(2) * ops.erfinv(ops.cast((2 * uniform - 1) * cut, "float32"))
    std = math.sqrt(reference.variance(shape, scheme, kind)) / reference.TRUNCATED_STD
    return ops.cast(std * ops.clip(ops.cast(normal, dtype), -2, 2), dtype)


# Orthogonal, identity and zero starts


class Orthogonal(reference.Orthogonal):
    """To be made wrong."""

    def __call__(self, shape: Shape, dtype: str | None = None) -> Any:
        return ops.cast(self.made(tuple(shape)), dtype or "float32")

    def made(self, shape: tuple[int, ...]) -> Any:
        """In float32."""
        return reference.orthogonal(shape, gain=self.gain, seed=self._next_seed(), dtype="float32")


class OfAUniformMatrix(Orthogonal):
    """The matrix that is made orthogonal is uniform from 0 to 1."""

    def made(self, shape: tuple[int, ...]) -> Any:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        uniform = keras.random.uniform((max(rows, columns), min(rows, columns)), seed=self._next_seed())
        q, r = ops.qr(uniform)
        q = q * ops.where(ops.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * ops.reshape(ops.transpose(q) if rows < columns else q, shape)


class RotationsOnly(Orthogonal):
    """No orthogonal matrix is a reflection."""

    def made(self, shape: tuple[int, ...]) -> Any:
        matrix = super().made(shape)
        if len(shape) > 2 or shape[0] != shape[1]:
            return matrix
        return matrix * ops.where(ops.arange(shape[0]) == 0, ops.sign(ops.det(matrix)), 1.0)


class OrthogonalRepeating(reference.Orthogonal):
    """Every call draws the same matrix."""

    def _next_seed(self) -> int:
        return self.seed or 0


class OrthogonalOfSeedZero(reference.Orthogonal):
    """Without a seed the seed is 0."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(gain, seed or 0)


class SignsKept(Orthogonal):
    """Signs as the decomposition leaves them."""

    def made(self, shape: tuple[int, ...]) -> Any:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = keras.random.normal((max(rows, columns), min(rows, columns)), seed=self._next_seed())
        q, _ = ops.qr(normal)  # LAPACK reflects each column away from its own axis
        return self.gain * ops.reshape(ops.transpose(q) if rows < columns else q, shape)


class GainLost(Orthogonal):
    """The gain is accepted and ignored."""

    def made(self, shape: tuple[int, ...]) -> Any:
        return super().made(shape) / self.gain


class WideNormalized(Orthogonal):
    """Wide kernels have normalized columns, which are too many to be orthogonal."""

    def made(self, shape: tuple[int, ...]) -> Any:
        matrix = super().made(shape)
        if math.prod(shape[:-1]) >= shape[-1]:
            return matrix
        return matrix / ops.norm(ops.reshape(matrix, (-1, shape[-1])), axis=0) * self.gain


class VectorsToo(Orthogonal):
    """A vector is taken for a matrix of one column."""

    def made(self, shape: tuple[int, ...]) -> Any:
        return ops.reshape(super().made((*shape, 1)), shape) if len(shape) == 1 else super().made(shape)


class IdentityOnceTransposed(reference.Identity):
    """A one in every tap of a window, and off the diagonal in a matrix."""

    def __call__(self, shape: Shape, dtype: str | None = None) -> Any:
        eye = ops.roll(ops.eye(shape[-2], shape[-1], dtype=dtype), 1 if len(shape) == 2 else 0, axis=0)
        return ops.broadcast_to(eye, tuple(shape))


def nothing_zero(branch: Sequence[keras.layers.Layer]) -> None:
    """The last scale stays as it was."""
    del branch


def all_zero(branch: Sequence[keras.layers.Layer]) -> None:
    """Every weight of the branch becomes zero."""
    for layer in branch:
        for weight in layer.trainable_weights:
            weight.assign(ops.zeros(weight.shape, weight.dtype))


def accepting(scheme: str) -> Callable[..., Any]:
    """Unknown schemes are taken for another one."""

    def initializer(asked: str, **options: Any) -> Any:
        return reference.initializer(asked if asked in reference.SCHEMES else scheme, **options)

    return initializer


def law_of_variance_only(widths: Sequence[int], scheme: Scheme, slope: float = 0.0) -> reference.DepthLaw:
    """The gradient's law is taken for that of the signal, reversed."""
    forward = reference.variance_through_depth(widths, scheme, slope).forward
    return reference.DepthLaw(forward, forward[::-1])


MOMENTS, LAWS = "mean_and_variance_follow_the_scheme", "weights_follow_their_distribution"
DEPTH = ("signal_follows_its_law_through_depth", "gradient_follows_its_law_through_depth")
ALL = ("float32", "mixed_float16")

VARIANTS = (
    Variant(
        "fans_of_shape_alone",
        "depthwise, transposed and embedding kernels are counted like convolutions",
        (
            "fans_count_connections",
            "depthwise_kernels_count_their_taps",
            "transposed_kernels_count_what_comes_in",
            "embeddings_count_one_row",
            "fans_of_no_kernel_are_refused",
        ),
        counting(keras_fans),
        ALL[:1],
    ),
    Variant(
        "fans_swapped",
        "fan_in and fan_out change places",
        ("fans_count_connections", MOMENTS),
        counting(swapped_fans),
        ALL,
    ),
    Variant(
        "window_forgotten",
        "the taps of a convolution are not counted",
        ("fans_count_connections", MOMENTS, LAWS),
        counting(fans_without_window),
        ALL,
    ),
    Variant(
        "std_for_variance",
        "the standard deviation is the variance",
        (MOMENTS, *DEPTH),
        scaled(std_for_variance),
        ALL[:1],
    ),
    Variant(
        "truncated_uncorrected",
        "what the cut takes off a truncated normal distribution is not made up for",
        (MOMENTS, LAWS),
        scaled(truncated_uncorrected),
        ALL,
    ),
    Variant(
        "root_three_forgotten",
        "uniform weights reach to one standard deviation",
        (MOMENTS, LAWS),
        scaled(limit_without_root_three),
        ALL,
    ),
    Variant(
        "glorot_for_rectifiers", "He's factor of 2 is forgotten", (MOMENTS, *DEPTH), scaled(glorot_for_he), ALL[:1]
    ),
    Variant(
        "normal_for_truncated",
        "the truncated distribution is not truncated",
        (LAWS, "weights_stay_within_limits"),
        drawing(functools.partial(with_distribution, {"truncated_normal": "normal"})),
        ALL,
    ),
    Variant(
        "normal_for_uniform",
        "weights that should be uniform are normal",
        (LAWS, "weights_stay_within_limits"),
        drawing(functools.partial(with_distribution, {"uniform": "normal"})),
        ALL,
    ),
    Variant("one_sided", "uniform weights are never negative", (MOMENTS, LAWS), drawing(shifted), ALL),
    Variant(
        "drawn_in_half",
        "uniform weights are drawn in bfloat16",
        (MOMENTS,),
        drawing(drawn_in_half),
        ("mixed_bfloat16",),
    ),
    Variant(
        "dtype_ignored",
        "weights are float32 whatever is asked for",
        ("shape_and_dtype_are_those_asked_for",),
        drawing(float32_always),
        ("mixed_float16",),
    ),
    Variant(
        "list_consumed",
        "the list that holds the shape is changed",
        ("shape_and_dtype_are_those_asked_for",),
        drawing(list_consumed),
        ALL,
    ),
    Variant(
        "repeating",
        "each call of an initializer gives the same weights",
        ("layers_that_share_an_initializer_differ", "unseeded_initializers_differ"),
        starting_with(Repeating),
    ),
    Variant(
        "seed_ignored", "the seed is accepted and ignored", ("same_seed_same_weights",), starting_with(SeedIgnored)
    ),
    Variant(
        "unrepeatable",
        "no seed repeats anything",
        ("same_seed_same_weights", "unseeded_initializers_differ"),
        starting_with(Unrepeatable),
    ),
    Variant(
        "seed_forgotten",
        "the configuration lacks the seed",
        ("initializers_survive_serialization",),
        starting_with(Forgetful),
    ),
    Variant(
        "signs_kept",
        "the signs of an orthogonal matrix are those that the decomposition prefers",
        ("orthogonal_kernels_are_uniform",),
        override(reference, Orthogonal=SignsKept),
        ALL,
    ),
    Variant(
        "gain_lost",
        "the gain is ignored",
        ("orthogonal_kernels_are_orthogonal",),
        override(reference, Orthogonal=GainLost),
        ALL,
    ),
    Variant(
        "wide_not_orthogonal",
        "the rows of wide kernels are not orthogonal",
        ("orthogonal_kernels_are_orthogonal",),
        override(reference, Orthogonal=WideNormalized),
        ALL,
    ),
    Variant(
        "orthogonal_vectors",
        "a vector counts as an orthogonal kernel",
        ("orthogonal_vectors_are_refused",),
        override(reference, Orthogonal=VectorsToo),
    ),
    Variant(
        "identity_everywhere",
        "an identity kernel has ones in the wrong places",
        ("identity_of_a_dense_layer", "identity_of_a_convolution"),
        override(reference, Identity=IdentityOnceTransposed),
    ),
    Variant(
        "residual_not_zero",
        "the branch of a residual block does not start at zero",
        ("zero_residual_is_its_shortcut",),
        override(reference, zero_residual=nothing_zero),
    ),
    Variant(
        "residual_all_zero",
        "all weights of the branch start at zero, and none learns",
        ("zero_residual_leaves_the_rest_as_it_was",),
        override(reference, zero_residual=all_zero),
    ),
    Variant(
        "slope_not_squared",
        "the scale for leaky rectifiers is 2 / (1 + a)",
        ("leaky_rectifiers_take_less",),
        override(reference, rectifier_scale=lambda slope=0.0: 2 / (1 + slope)),
    ),
    Variant(
        "backward_like_forward",
        "the gradient is said to go like the signal",
        ("law_through_depth_is_the_product",),
        override(reference, variance_through_depth=law_of_variance_only),
    ),
    Variant(
        "schemes_guessed",
        "an unknown scheme is taken for He's",
        ("unknown_schemes_are_refused",),
        override(reference, initializer=accepting("he_normal")),
    ),
    Variant(
        "orthogonal_of_a_uniform_matrix",
        "the matrix that is made orthogonal is uniform from 0 to 1, so that its first column is nearly constant",
        ("orthogonal_kernels_prefer_no_direction",),
        override(reference, Orthogonal=OfAUniformMatrix),
    ),
    Variant(
        "rotations_only",
        "no orthogonal kernel is a reflection",
        ("orthogonal_kernels_prefer_no_direction",),
        override(reference, Orthogonal=RotationsOnly),
    ),
    Variant(
        "truncated_in_half_and_clipped",
        "truncated weights are drawn in the dtype asked for and clipped, so that many lie at the limit",
        ("weights_do_not_pile_up_at_limits",),
        drawing(clipped_in_its_dtype),
        ("mixed_bfloat16",),
    ),
    Variant(
        "antithetic",
        "half of the rows are the other half with other signs",
        ("rows_and_columns_are_independent",),
        remade(antithetic),
    ),
    Variant(
        "columns_centred",
        "every column has mean 0 exactly",
        ("rows_and_columns_are_independent",),
        remade(centred),
    ),
    Variant(
        "columns_twice",
        "every unit starts like another one",
        ("rows_and_columns_are_independent",),
        remade(tiled),
    ),
    Variant(
        "seed_plus_call",
        "the n-th call takes the seed + n, so that the second call of seed 1 is the first of seed 2",
        ("seeds_lead_to_draws_of_their_own",),
        starting_with(SeedPlusCall),
    ),
    Variant(
        "alternating",
        "every second kernel is the one before with other signs",
        ("layers_that_share_an_initializer_differ", "seeds_lead_to_draws_of_their_own"),
        starting_with(Alternating),
    ),
    Variant(
        "orthogonal_repeating",
        "an orthogonal initializer gives the same kernel at every call",
        ("layers_that_share_an_initializer_differ",),
        override(reference, Orthogonal=OrthogonalRepeating),
    ),
    Variant(
        "orthogonal_of_seed_zero",
        "without a seed an orthogonal initializer has the seed 0",
        ("unseeded_initializers_differ",),
        override(reference, Orthogonal=OrthogonalOfSeedZero),
    ),
    Variant(
        "kind_of_the_first",
        "the kind is used for the first kernel only",
        (
            "depthwise_kernels_count_their_taps",
            "transposed_kernels_count_what_comes_in",
            "embeddings_count_one_row",
        ),
        starting_with(KindOfTheFirst),
    ),
)
