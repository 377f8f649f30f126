"""Blocks of a Transformer, with plausible mistakes."""

from typing import Any

from keras import ops

from reference.dot_product_attention import MultiHeadAttention
from suites.selftest import variants
from suites.selftest.variants import Variant
from suites.selftest.variants.transformer import BOTH, HALF, MODULES, edited


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
    Variant(
        "memory_masks_of_two_axes_only",
        "a memory mask (B, T, S) is cut to its first row",
        ("cross_attention_follows_the_formula",),
        edited(
            "project_source(memory), memory_mask)",
            "project_source(memory), memory_mask if len(getattr(memory_mask, 'shape', ())) < 3 else memory_mask[:, 0])",
        ),
    ),
    Variant(
        "masks_of_two_axes_only",
        "a mask (B, T, T) of a decoder block is ignored",
        ("decoder_block_follows_the_formula",),
        edited("*source, mask, causal", "*source, None if len(getattr(mask, 'shape', ())) == 3 else mask, causal"),
    ),
    Variant(
        "memory_ignored_in_silence",
        "a decoder block that was built without a memory accepts one and ignores it",
        ("a_memory_is_given_where_it_is_expected",),
        edited("if self.has_memory != (", "if self.has_memory > ("),
    ),
)


VARIANTS = (
    *BLOCKS,
    *MASKS,
)
