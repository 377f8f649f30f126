"""Wrong variants of initialization: the reference, wrong in one line."""

import reference._fans as _fans
import reference.initialization as reference
from suites.selftest.variants import Variant, edited


def line(name: str, defect: str, caught_by: tuple[str, ...], old: str, new: str) -> Variant:
    """A variant that is the reference but for a text of it."""
    return Variant(name, defect, caught_by, edited(_fans, reference, old=old, new=new))


VARIANTS = (
    line(
        "small_diagonals_turned_round",
        "columns of an orthogonal kernel are turned round where the diagonal of R is under 1, not under 0",
        ("orthogonal_kernels_prefer_no_direction",),
        "ops.diagonal(r) < 0",
        "ops.diagonal(r) < 1",
    ),
    line(
        "fans_are_fractions",
        "a fan_out is a quotient, and no whole number of connections",
        ("fans_count_connections",),
        "taps * last // groups",
        "taps * last / groups",
    ),
    line(
        "rectifiers_leak_by_default",
        "the scale for rectifiers is that of a slope of 1 unless it is told",
        ("leaky_rectifiers_take_less",),
        "def rectifier_scale(slope: float = 0.0)",
        "def rectifier_scale(slope: float = 1.0)",
    ),
    line(
        "seeds_of_16_bits",
        "seeds that differ in their high bits alone give the same weights",
        ("seeds_lead_to_draws_of_their_own",),
        "if seed is None else seed)",
        "if seed is None else seed % 2**16)",
    ),
    line(
        "scale_forgotten",
        "the configuration forgets the scale, so that He comes back as LeCun",
        ("initializers_survive_serialization",),
        "**self.scheme._asdict()",
        '**self.scheme._asdict(), "scale": 1.0',
    ),
    line(
        "kind_forgotten",
        "the configuration forgets the kind of kernel",
        ("initializers_survive_serialization",),
        '"kind": self.kind, "groups": self.groups, **super',
        '"groups": self.groups, **super',
    ),
    line(
        "groups_forgotten",
        "the configuration forgets the groups",
        ("initializers_survive_serialization",),
        '"kind": self.kind, "groups": self.groups, **super',
        '"kind": self.kind, **super',
    ),
    line(
        "gain_forgotten",
        "the configuration of an orthogonal initializer forgets the gain",
        ("other_initializers_survive_serialization",),
        '{"gain": self.gain, **super().get_config()}',
        "super().get_config()",
    ),
    line(
        "identity_wraps_around",
        "an identity kernel with more filters than channels repeats the channels",
        ("identity_of_a_dense_layer", "identity_of_a_convolution"),
        "np.eye(channels, filters)",
        "np.eye(channels)[:, np.arange(filters) % channels]",
    ),
    line(
        "statistics_zeroed",
        "the moving statistics of the last normalization become zero too",
        ("zero_residual_leaves_the_rest_as_it_was",),
        "for weight in layer.trainable_weights:",
        "for weight in layer.weights:",
    ),
    line(
        "unbuilt_branch_accepted",
        "a branch of layers that are not built passes in silence",
        ("branches_without_weights_are_refused",),
        'raise ValueError(f"no layer of the branch',
        'str(f"no layer of the branch',
    ),
    line(
        "scheme_checked_late",
        "a scheme without sense is only found when a kernel is made",
        ("misfitting_schemes_are_refused",),
        "        variance((1, 1), self.scheme)  # refuses",
        "        # refuses",
    ),
    line(
        "kind_checked_late",
        "an unknown kind is only found when a kernel is made",
        ("misfitting_schemes_are_refused",),
        '        one_of("kind", kind or KINDS[0], KINDS)\n        variance',
        "        variance",
    ),
    line(
        "float32_by_default",
        "without a dtype weights are float32, whatever Keras is set to",
        ("dtype_is_by_default_that_of_keras",),
        "dtype = dtype or keras.config.floatx()\n    drawn",
        'dtype = dtype or "float32"\n    drawn',
    ),
    line(
        "orthogonal_float32_by_default",
        "without a dtype orthogonal kernels are float32, whatever Keras is set to",
        ("dtype_is_by_default_that_of_keras",),
        "dtype = dtype or keras.config.floatx()\n    wide",
        'dtype = dtype or "float32"\n    wide',
    ),
    line(
        "empty_kernels_accepted",
        "a kernel with an axis of 0 has fans",
        ("fans_of_no_kernel_are_refused",),
        "size > 0",
        "size >= 0",
    ),
    line(
        "groups_not_counted",
        "fan_out of a convolution in groups counts the outputs of all groups",
        ("fans_of_groups_count_connections", "grouped_kernels_count_their_group"),
        "taps * last // groups)",
        "taps * last)",
    ),
    line(
        "groups_counted_twice",
        "fan_in of a convolution in groups is divided by them, though its kernel has the channels of one already",
        ("fans_of_groups_count_connections", "grouped_kernels_count_their_group"),
        "Fans(taps * first, taps * last // groups)",
        "Fans(taps * first // groups, taps * last // groups)",
    ),
    line(
        "groups_unchecked",
        "any number of groups is accepted",
        ("misfitting_groups_are_refused",),
        "if groups < 1 or last % groups or",
        "if groups < 0 and",
    ),
    line(
        "fan_out_for_fan_in",
        "the mode fan_out counts fan_in",
        ("variance_is_the_scale_over_a_fan",),
        '"fan_out": fan_out, "fan_avg"',
        '"fan_out": fan_in, "fan_avg"',
    ),
    line(
        "kind_ignored_by_the_variance",
        "`variance` goes by the shape alone",
        ("variance_is_the_scale_over_a_fan", "depthwise_kernels_count_their_taps"),
        "fan_in, fan_out = fans(shape, kind, groups)",
        "fan_in, fan_out = fans(shape)",
    ),
    line(
        "seed_zero_is_none",
        "a seed of 0 counts as none",
        ("same_seed_same_weights",),
        "random.getrandbits(32) if seed is None else seed",
        "seed or random.getrandbits(32)",
    ),
    line(
        "float64_from_float32",
        "weights in float64 are drawn in float32",
        ("float64_is_drawn_in_float64",),
        '"dtype": "float64" if dtype == "float64" else "float32"}',
        '"dtype": "float32"}',
    ),
    line(
        "orthogonal_float64_from_float32",
        "orthogonal kernels in float64 are decomposed in float32",
        ("float64_is_drawn_in_float64",),
        'wide = keras.backend.result_type(dtype, "float32")',
        'wide = "float32"',
    ),
    line(
        "bias_or_shift_kept",
        "of the last layer only its first weight becomes zero, and not its bias or shift",
        ("zero_residual_is_its_shortcut", "zero_residual_leaves_the_rest_as_it_was"),
        "for weight in layer.trainable_weights:",
        "for weight in layer.trainable_weights[:1]:",
    ),
)
