"""Wrong variants of the Transformer: the reference with one line of it changed, as it is easily written."""

from types import ModuleType

import tensorflow as tf

import reference.transformer as reference
from reference import _decoding, _transformer_blocks
from suites.selftest import variants
from suites.selftest.variants import Variant

HALF = ("mixed_float16",)
BOTH = ("float32", "mixed_float16")


MODULES = (_transformer_blocks, _decoding, reference)


def edited(old: str, new: str) -> ModuleType:
    """The reference with this text of its source, which occurs once, replaced by another."""
    return variants.edited(*MODULES, old=old, new=new)


POSITIONS = (
    Variant(
        "angles_in_float16",
        "the angles are computed in the compute dtype of mixed_float16",
        ("positions_follow_the_formula", "distance_is_a_rotation"),
        edited(
            "    pairs = np.stack(", '    angles = angles.astype("float16").astype("float64")\n    pairs = np.stack('
        ),
    ),
    Variant(
        "start_ignored",
        "every piece of the table begins at position 0",
        ("later_positions_continue_the_table",),
        edited("np.arange(start, start + length)", "np.arange(length)"),
    ),
    Variant(
        "positions_from_one",
        "the first position is 1",
        ("positions_follow_the_formula", "positions_lie_on_a_sphere"),
        edited("np.arange(start, start + length)", "np.arange(start + 1, start + length + 1)"),
    ),
    Variant(
        "frequency_per_entry",
        "the exponent is i / D at entry i, so that the sine and the cosine of a pair turn at different speeds",
        ("positions_follow_the_formula", "distance_is_a_rotation", "positions_lie_on_a_sphere"),
        edited("np.cos(angles)]", "np.cos(angles / 10000.0 ** (1 / size))]"),
    ),
    Variant(
        "halves_not_pairs",
        "all sines come before all cosines",
        ("positions_follow_the_formula", "positions_lie_on_a_sphere"),
        edited("np.cos(angles)], axis=-1)", "np.cos(angles)], axis=1)"),
    ),
    Variant(
        "positions_lost",
        "attention without positions: a sentence is a bag of words",
        ("order_of_the_source_matters", "network_follows_the_formula"),
        edited("self.drop(x + ops.cast(positions, x.dtype), training", "self.drop(x, training"),
    ),
    Variant(
        "odd_sizes_cut",
        "an odd size is taken, and its last sine has no cosine",
        ("misfits_of_positions_are_refused",),
        variants.changed(
            *MODULES,
            sinusoidal_positions=lambda length, size, start=0: reference.sinusoidal_positions(
                length, size + size % 2, start
            )[:, :size],
        ),
    ),
    Variant(
        "positions_of_length_0",
        "a length of 0 is refused",
        ("misfits_of_positions_are_refused",),
        edited("length < 0 or start < 0", "length < 1 or start < 0"),
        raises=ValueError,
    ),
    Variant(
        "negative_start_taken",
        "positions before the first one are taken",
        ("misfits_of_positions_are_refused",),
        edited("length < 0 or start < 0", "length < 0"),
    ),
)

EMBEDDING = (
    Variant(
        "embedding_not_scaled",
        "embedded tokens are not multiplied by sqrt(D)",
        ("embedding_is_scaled", "network_follows_the_formula", "language_model_follows_the_formula"),
        edited("rows * self.size**0.5", "rows"),
    ),
    Variant(
        "matrix_copied",
        "the logits have a matrix of their own",
        ("logits_come_from_the_same_matrix", "parameters_are_counted_in_closed_form"),
        edited(
            'name="matrix", autocast=False)',
            'name="matrix", autocast=False)\n'
            "        self.copy = self.add_weight(shape=shape, initializer=narrow, autocast=False)",
        ),
    ),
    Variant(
        "logits_train_nothing",
        "no gradient reaches the matrix through the logits",
        ("both_uses_train_the_matrix",),
        edited("ops.transpose(self.matrix)", "ops.transpose(ops.stop_gradient(self.matrix))"),
    ),
    Variant(
        "tokens_of_any_kind",
        "tokens that are not integers are rounded",
        ("misfits_of_networks_are_refused",),
        edited('        if "int" not in', '        tokens = ops.cast(tokens, "int32")\n        if "int" not in'),
    ),
    Variant(
        "unsigned_tokens_refused",
        "tokens of other dtypes than int32 are refused",
        ("tokens_may_be_of_any_integer_dtype",),
        edited('if "int" not in keras', 'if "int32" != keras'),
        raises=ValueError,
    ),
    Variant(
        "tokens_taken_as_they_are",
        "rows are taken by tokens of any dtype, where TensorFlow takes by signed ones only",
        ("tokens_may_be_of_any_integer_dtype",),
        edited('ops.cast(tokens, "int32"), axis=0)', "tokens, axis=0)"),
        raises=tf.errors.InvalidArgumentError,
    ),
    Variant(
        "logits_in_compute_dtype",
        "the logits are float16",
        ("logits_come_from_the_same_matrix", "logits_are_float32"),
        edited(
            "ops.cast(x, self.matrix.dtype), ops.transpose(self.matrix)",
            "x, ops.cast(ops.transpose(self.matrix), x.dtype)",
        ),
        HALF,
    ),
)


STACKS = (
    Variant(
        "one_block_repeated",
        "one block stands N times in the stack, and all layers share their weights",
        ("network_follows_the_formula", "language_model_follows_the_formula", "networks_are_born_as_agreed"),
        edited(
            "**options) for _ in range(size.layers)]\n        for block in blocks:",
            "**options)] * size.layers\n        for block in blocks[:1]:",
        ),
    ),
    Variant(
        "last_encoder_block_dropped",
        "the last of several encoder blocks is never run",
        ("network_follows_the_formula",),
        edited(
            "in blocks:\n            x = block(x, mask=source",
            "in blocks[: max(1, len(blocks) - 1)]:\n            x = block(x, mask=source",
        ),
    ),
    Variant(
        "decoder_blocks_in_reverse",
        "the decoder's blocks run from the last to the first",
        ("network_follows_the_formula", "language_model_follows_the_formula"),
        edited("in blocks:\n            x = block(x, memory,", "in blocks[::-1]:\n            x = block(x, memory,"),
    ),
    Variant(
        "one_cache_for_all_blocks",
        "every block reads and writes the first block's cache",
        ("cached_steps_equal_teacher_forcing",),
        edited("x, cache[i] = block(x, cache=cache[i]", "x, cache[0] = block(x, cache=cache[0]"),
    ),
    Variant(
        "memory_detached",
        "the encoder does not learn from what the decoder needs",
        ("gradient_reaches_every_weight",),
        edited(
            "source != PAD, training)\n\n    def encode",
            "source != PAD, training)\n\n"
            "    def encode(self, source: Tensor, training: bool | None = None) -> Tensor:\n"
            '        """Detached."""\n'
            "        return ops.stop_gradient(self.attached(source, training))\n\n    def attached",
        ),
    ),
    Variant(
        "last_norm_frozen",
        "the last LayerNorm of pre-norm is not trained",
        ("gradient_reaches_every_weight",),
        edited("        return [*blocks, last]", "        last.trainable = False\n        return [*blocks, last]"),
    ),
    Variant(
        "length_read_while_tracing",
        "the length of a sequence must be known while tracing",
        ("lengths_need_not_be_known",),
        edited("ops.arange(ops.shape(tokens)[1])", "ops.arange(tokens.shape[1])"),
        raises=Exception,
    ),
)


COUNTS = (
    Variant(
        "one_norm_counted",
        "only one LayerNorm is counted where there are two",
        ("parameters_are_counted_in_closed_form", "sizes_are_those_of_the_paper"),
        edited("feed_forward + 2 * norm", "feed_forward + norm"),
    ),
    Variant(
        "big_with_eight_heads",
        "big has as many heads as base",
        ("sizes_are_those_of_the_paper",),
        edited("4096, 16, 0.3)", "4096, 8, 0.3)"),
    ),
)


VARIANTS = (
    *POSITIONS,
    *EMBEDDING,
    *STACKS,
    *COUNTS,
)
