"""Wrong variants of the Transformer: the reference with one line of it changed, as it is easily written."""

from types import ModuleType
from typing import Any

from keras import ops

import reference.transformer as reference
from reference import _decoding, _transformer_blocks
from reference.dot_product_attention import MultiHeadAttention
from suites.selftest import variants
from suites.selftest.variants import Variant

HALF = ("mixed_float16",)
BOTH = ("float32", "mixed_float16")


MODULES = (_transformer_blocks, _decoding, reference)


def edited(old: str, new: str) -> ModuleType:
    """The reference with this text of its source, which occurs once, replaced by another."""
    return variants.edited(*MODULES, old=old, new=new)


class AdditiveMask(MultiHeadAttention):
    """Scores in the compute dtype, with -1e9 added where masked, as in the guide's sketch."""

    def attend(
        self, query: Any, keys: Any, values: Any, mask: Any = None, causal: bool = False, offset: Any = 0, *_: Any
    ) -> Any:
        scores = ops.einsum("btnh,bsnh->bnts", query, keys) * query.shape[-1] ** -0.5
        if causal:
            visible = ops.arange(keys.shape[1]) <= ops.expand_dims(ops.arange(query.shape[1]) + offset, 1)
            scores = scores + ops.cast(ops.where(visible, 0.0, -1e9), scores.dtype)
        if mask is not None:
            mask = mask[:, None, None] if len(mask.shape) == 2 else mask[:, None]
            scores = scores + ops.cast(ops.where(mask, 0.0, -1e9), scores.dtype)
        found = ops.einsum("bnts,bsnh->btnh", ops.softmax(scores), values)
        return self._project(found, self.output_kernel, self.output_bias, axes=2)


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
)

EMBEDDING = (
    Variant(
        "embedding_not_scaled",
        "embedded tokens are not multiplied by sqrt(D)",
        ("embedding_is_scaled", "network_follows_the_formula", "language_model_follows_the_formula"),
        edited("axis=0) * self.size**0.5, self", "axis=0), self"),
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

BLOCKS = (
    Variant(
        "norm_on_the_wrong_side",
        "pre-norm and post-norm are exchanged",
        (
            "encoder_block_follows_the_formula",
            "post_norm_output_is_normalised",
            "pre_norm_leaves_the_stream_alone",
        ),
        edited("    if norm_first:\n", "    if not norm_first:\n"),
        BOTH,
    ),
    Variant(
        "no_way_around",
        "a sublayer's input is not added to its output",
        ("decoder_block_follows_the_formula",),
        edited("norm(x + drop(sublayer(x)))", "norm(drop(sublayer(x)))"),
    ),
    Variant(
        "feed_forward_is_linear",
        "there is no max(0, x) between the two matrices",
        ("encoder_block_follows_the_formula", "cross_attention_follows_the_formula"),
        edited('activation="relu"', "activation=None"),
    ),
    Variant(
        "bias_always",
        "the attention has biases whether or not they are asked for",
        ("attention_may_have_no_bias",),
        edited("use_bias=self.use_bias, dtype", "use_bias=True, dtype"),
    ),
    Variant(
        "heads_of_any_number",
        "what is left of D when it is divided among the heads is lost",
        ("misfits_of_blocks_are_refused",),
        edited("if width is None or width % heads:", "if width is None:"),
    ),
    Variant(
        "gradient_stopped",
        "no gradient flows back through the feed-forward",
        ("gradient_is_right_in_float64",),
        edited("self.contract(self.expand(x))", "self.contract(ops.stop_gradient(self.expand(x)))"),
    ),
    Variant(
        "dropout_never_off",
        "dropout is on at inference too",
        ("dropout_is_for_training",),
        edited("self.drop, training=training)\n        return add", "self.drop, training=True)\n        return add"),
    ),
    Variant(
        "cross_attention_reads_the_target",
        "the second attention of a decoder block attends to the target again",
        ("cross_attention_follows_the_formula",),
        edited("(*attention.project_source(memory), memory_mask)", "(*attention.project_source(y), None)"),
        BOTH,
    ),
    Variant(
        "output_in_float32",
        "a block's output leaves the compute dtype",
        ("dtypes_follow_the_policy",),
        edited(
            "        return self._around(x, self._feed_forward, self.feed_forward_norm, training)",
            '        return ops.cast(self._around(x, self._feed_forward, self.feed_forward_norm, training), "float32")',
        ),
        HALF,
    ),
)

MASKS = (
    Variant(
        "causal_mask_lost",
        "a decoder sees what it is to predict",
        (
            "decoder_block_follows_the_formula",
            "language_model_follows_the_formula",
            "no_position_sees_what_comes_later",
            "later_tokens_change_nothing",
        ),
        edited("mask, causal=True, offset", "mask, causal=False, offset"),
        BOTH,
    ),
    Variant(
        "causal_mask_off_by_one",
        "a position sees the next one too",
        ("no_position_sees_what_comes_later", "later_tokens_change_nothing"),
        edited("causal=True, offset=position)", "causal=True, offset=position + 1)"),
        BOTH,
    ),
    Variant(
        "padding_ignored",
        "an encoder block attends to the padding",
        ("padding_is_not_seen", "encoder_block_follows_the_formula"),
        edited("self.attention(y, mask=mask)", "self.attention(y)"),
    ),
    Variant(
        "padding_inverted",
        "an encoder attends to the padding, and to nothing else",
        ("network_follows_the_formula", "more_padding_changes_nothing"),
        edited("mask=source != PAD, training", "mask=source == PAD, training"),
    ),
    Variant(
        "memory_mask_ignored",
        "a decoder block attends to the padding of the memory",
        ("padding_of_the_memory_is_not_seen", "cross_attention_follows_the_formula"),
        edited("project_source(memory), memory_mask)", "project_source(memory), None)"),
        BOTH,
    ),
    Variant(
        "mask_adds_minus_1e9",
        "the mask adds -1e9, and where all is masked the attention is uniform, or NaN in float16",
        ("empty_memory_says_nothing", "source_may_be_all_padding"),
        variants.changed(*MODULES, MultiHeadAttention=AdditiveMask),
        BOTH,
    ),
    Variant(
        "encoder_is_causal",
        "an encoder's positions see only what is before them",
        ("encoder_knows_no_order", "encoder_block_follows_the_formula"),
        edited("self.attention(y, mask=mask)", "self.attention(y, mask=mask, causal=True)"),
    ),
    Variant(
        "one_mask_for_the_batch",
        "every batch entry gets the mask of the first",
        ("batch_entries_do_not_mix",),
        edited("*source, mask, causal", "*source, None if mask is None else mask[:1], causal"),
    ),
)

LOSS = (
    Variant(
        "smoothed_over_the_others",
        "the smoothing is spread over the other V - 1 classes",
        (
            "loss_follows_the_formula",
            "least_loss_is_the_entropy",
            "gradient_is_the_difference_of_distributions",
        ),
        edited(
            "smoothing * ops.mean(log_p, axis=-1)",
            "smoothing * (ops.sum(log_p, axis=-1) - of_target) / (log_p.shape[-1] - 1)",
        ),
    ),
    Variant(
        "smoothing_never_off",
        "a smoothing of 0 is taken for none given",
        ("without_smoothing_it_is_the_cross_entropy",),
        edited(
            "    log_p = ops.log_softmax(logits, axis=-1)",
            "    smoothing = smoothing or 0.1\n    log_p = ops.log_softmax(logits, axis=-1)",
        ),
    ),
    Variant(
        "padding_counts",
        "the mask is only counted",
        ("padding_is_not_in_the_loss", "loss_follows_the_formula"),
        edited("ops.where(mask, losses, 0)", "losses"),
        BOTH,
    ),
    Variant(
        "mean_of_nothing",
        "a mask without a target gives 0 / 0",
        ("loss_of_nothing_is_zero",),
        edited("ops.maximum(ops.sum(ops.cast(mask, losses.dtype)), 1)", "ops.sum(ops.cast(mask, losses.dtype))"),
    ),
    Variant(
        "loss_in_float16",
        "the softmax of the loss runs in whatever precision the logits have",
        ("loss_follows_the_formula",),
        edited('    logits = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))\n', ""),
        HALF,
    ),
    Variant(
        "logits_shifted_in_place",
        "the largest logit is subtracted from the array that was given",
        ("arguments_are_left_as_they_were",),
        edited(
            "    targets, logits = ops.convert_to_tensor(targets), ops.convert_to_tensor(logits)\n    mask",
            "    logits -= logits.max(-1, keepdims=True)\n    mask",
        ),
    ),
    Variant(
        "any_smoothing",
        "a smoothing of 1, which forgets the target, is taken",
        ("misfits_of_the_loss_are_refused",),
        edited("if not 0 <= smoothing < 1:", "if smoothing < 0:"),
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

DECODING = (
    Variant(
        "cache_off_by_one",
        "keys and values are written one position too early",
        ("cached_steps_equal_teacher_forcing", "greedy_writes_the_likeliest"),
        edited("[0, position, 0, 0]", "[0, ops.maximum(position - 1, 0), 0, 0]"),
    ),
    Variant(
        "position_forgotten",
        "every decoded token stands at position 0",
        ("cached_steps_equal_teacher_forcing", "beam_scores_are_those_of_the_network"),
        edited("self.embed(tokens, position), list(cache)", "self.embed(tokens), list(cache)"),
    ),
    Variant(
        "second_best",
        "the greedy search keeps the second of two beams",
        ("greedy_writes_the_likeliest", "one_beam_is_greedy"),
        edited(
            "    tokens, _ = beam_decode(model, source, length, beams=1)\n",
            "    tokens = beam_decode(model, source, length, beams=2)[0][:, 1:]\n",
        ),
    ),
    Variant(
        "end_ignored",
        "hypotheses go on after their end",
        ("nothing_follows_the_end",),
        edited("ops.any(tokens[..., 1:] == END, axis=-1)", "ops.any(tokens[..., 1:] < 0, axis=-1)"),
    ),
    Variant(
        "cache_not_reordered",
        "a hypothesis goes on with the cache of another",
        ("beam_scores_are_those_of_the_network", "all_beams_find_the_best"),
        edited("cache = keras.tree.map_structure(lambda t: ops.take(t, rows, axis=0), cache)\n", "del rows\n"),
    ),
    Variant(
        "mean_in_place_of_the_penalty",
        "log P is divided by the length",
        ("beam_scores_are_those_of_the_network",),
        edited("((5.0 + length) / 6.0) ** alpha", "length / 1.0"),
    ),
    Variant(
        "searched_without_the_penalty",
        "the length penalty is left out where hypotheses are chosen",
        ("all_beams_find_the_best",),
        edited("scores = totals / ops.expand_dims(penalty, -1)", "scores = totals"),
    ),
    Variant(
        "all_beams_begin",
        "the beams begin alike, and go on alike",
        ("all_beams_find_the_best",),
        edited("ops.where(ops.arange(beams) == 0, ops.zeros((batch, beams)), -np.inf)", "ops.zeros((batch, beams))"),
    ),
)

CONFIGURATION = (
    Variant(
        "vocabulary_forgotten",
        "a network cannot be built from its configuration",
        ("networks_survive_saving",),
        edited('own = {"vocabulary": self.vocabulary, ', "own = {"),
        raises=TypeError,
    ),
    Variant(
        "norm_first_forgotten",
        "a block's configuration does not say where its LayerNorm stands",
        ("blocks_survive_their_configuration",),
        edited('"dropout", "norm_first", "use_bias")', '"dropout", "use_bias")'),
    ),
)

VARIANTS = (*POSITIONS, *EMBEDDING, *BLOCKS, *MASKS, *LOSS, *COUNTS, *DECODING, *CONFIGURATION)
