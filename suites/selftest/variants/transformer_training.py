"""Transformers in training and decoding, with plausible mistakes."""

from types import ModuleType
from typing import Any

import numpy as np
from keras import ops

import reference.transformer as reference
from reference.dot_product_attention import MultiHeadAttention
from suites.selftest import variants
from suites.selftest.variants import Variant
from suites.selftest.variants.transformer import BOTH, HALF, MODULES, edited


def pool_search(model: Any, source: Any, length: int, beams: int = 4, alpha: float = 0.6) -> Any:
    """The search of textbooks: hypotheses that have ended lie in a pool, and K of them end the search."""
    tokens, scores = [], []
    for row in np.asarray(source):
        running: list[Any] = [(0.0, ())]
        pool: list[Any] = []
        for _ in range(length):
            grown = []
            for total, written in running:
                log_p = np.asarray(ops.log_softmax(model(np.array([[*row, *written]], np.int32))[0, -1]))
                grown += [(total + log_p[k], (*written, k)) for k in range(1, model.vocabulary)]
            grown = sorted(grown, key=lambda each: -each[0] / reference.length_penalty(len(each[1]), alpha))[
                : 2 * beams
            ]
            pool += [each for each in grown if each[1][-1] == reference.END]
            running = [each for each in grown if each[1][-1] != reference.END][:beams]
            if len(pool) >= beams:
                break
        else:
            pool += running
        found = sorted((t / reference.length_penalty(len(w), alpha), w) for t, w in pool)[::-1][:beams]
        found += [(-np.inf, ())] * (beams - len(found))
        tokens.append([(*w, *[reference.PAD] * (length - len(w))) for _, w in found])
        scores.append([score for score, _ in found])
    return ops.convert_to_tensor(np.array(tokens, np.int32)), ops.convert_to_tensor(np.array(scores, np.float32))


def penalty_of_the_present_step() -> ModuleType:
    """Hypotheses that have ended are compared as if they were as long as the others, and sorted at the end."""
    module = edited(
        'length_penalty(written(tokens) + ops.cast(~done, "float32"), alpha)  # (B, K)',
        "length_penalty(ops.max(written(tokens), axis=-1, keepdims=True) + 1, alpha)",
    )
    search = module.beam_decode

    def beam_decode(*arguments: Any, **options: Any) -> Any:
        tokens, scores = search(*arguments, **options)
        order = ops.argsort(-scores, axis=-1)
        return ops.take_along_axis(tokens, order[..., None], axis=1), ops.take_along_axis(scores, order, axis=1)

    vars(module)["beam_decode"] = beam_decode
    return module


def one_token_short(model: Any, source: Any, length: int) -> Any:
    """The last place is never written."""
    if length == 1:
        return reference.greedy_decode(model, source, length)
    return ops.pad(reference.greedy_decode(model, source, length - 1), ((0, 0), (0, 1)))


class PackedAttention(MultiHeadAttention):
    """Keys and values start as the queries do."""

    def build(self, *shapes: Any) -> None:
        super().build(*shapes)
        for kernel in (self.key_kernel, self.value_kernel):
            kernel.assign(self.query_kernel)


BIRTH = (
    Variant(
        "blocks_start_alike",
        "the stack is made by copying one initialised block",
        ("networks_are_born_as_agreed",),
        edited(
            "            block.build(*shapes)\n",
            "            block.build(*shapes)\n            block.set_weights(blocks[0].get_weights())\n",
        ),
    ),
    Variant(
        "embedding_starts_wide",
        "E starts with variance 1, so that embedded tokens have variance D",
        ("networks_are_born_as_agreed",),
        edited("stddev=self.size**-0.5", "stddev=1.0"),
    ),
    Variant(
        "embedding_starts_uniform",
        "E starts with the right variance from a uniform distribution",
        ("networks_are_born_as_agreed",),
        edited(
            "keras.initializers.RandomNormal(stddev=self.size**-0.5)",
            "keras.initializers.RandomUniform(-((3 / self.size) ** 0.5), (3 / self.size) ** 0.5)",
        ),
    ),
    Variant(
        "queries_keys_and_values_start_alike",
        "the kernels of keys and values start as that of the queries",
        ("networks_are_born_as_agreed",),
        variants.changed(*MODULES, MultiHeadAttention=PackedAttention),
    ),
    Variant(
        "feed_forward_starts_narrow",
        "the second matrix of the feed-forward starts with the fans of He's",
        ("networks_are_born_as_agreed",),
        edited(
            "keras.layers.Dense(x_shape[-1], dtype",
            'keras.layers.Dense(x_shape[-1], kernel_initializer="he_normal", dtype',
        ),
    ),
    Variant(
        "biases_start_at_one",
        "the biases of the feed-forward start at 1",
        ("networks_are_born_as_agreed",),
        edited('activation="relu", dtype', 'activation="relu", bias_initializer="ones", dtype'),
    ),
)


DROPOUT = (
    Variant(
        "dropout_after_the_norm",
        "post-norm: dropout falls on the normalised output",
        ("post_norm_drops_before_it_normalises",),
        edited("norm(x + drop(sublayer(x)))", "drop(norm(x + sublayer(x)))"),
    ),
    Variant(
        "dropout_of_the_sum",
        "pre-norm: dropout falls on the stream too",
        ("each_sublayer_drops_what_it_adds",),
        edited("return x + drop(sublayer(norm(x)))", "return drop(x + sublayer(norm(x)))"),
    ),
    Variant(
        "no_dropout_across",
        "what the attention to the memory adds is never dropped",
        ("each_sublayer_drops_what_it_adds", "post_norm_drops_before_it_normalises"),
        edited("look_across, self.memory_norm, training)", "look_across, self.memory_norm, False)"),
    ),
    Variant(
        "dropout_drops_whole_positions",
        "the same entries are dropped at every position",
        ("each_sublayer_drops_what_it_adds", "post_norm_drops_before_it_normalises"),
        edited("keras.layers.Dropout(dropout, dtype", "keras.layers.Dropout(dropout, (None, 1, None), dtype"),
    ),
    Variant(
        "dropout_not_scaled",
        "what is kept is not divided by the chance that it is",
        ("each_sublayer_drops_what_it_adds",),
        edited(
            "drop = functools.partial(self.drop, training=training)",
            "drop = lambda y: self.drop(y, training=training) * (1 - self.dropout if training else 1)",
        ),
    ),
    Variant(
        "dropout_keeps_its_rate",
        "the rate is taken for the chance to be kept",
        ("each_sublayer_drops_what_it_adds", "networks_drop_in_every_block"),
        edited("keras.layers.Dropout(dropout, dtype", "keras.layers.Dropout(1 - dropout, dtype"),
    ),
    Variant(
        "dropout_without_gradient_scale",
        "the backward pass does not multiply what is kept by 1 / (1 - rate)",
        ("each_sublayer_drops_what_it_adds",),
        edited(
            "drop = functools.partial(self.drop, training=training)",
            "drop = lambda y: y + ops.stop_gradient(self.drop(y, training=training) - y)",
        ),
    ),
    Variant(
        "attention_weights_dropped",
        "in training weights of the attention are dropped, too",
        ("nothing_else_is_dropped",),
        edited(
            "MultiHeadAttention(heads, width // heads, use_bias",
            "MultiHeadAttention(heads, width // heads, dropout=self.dropout, use_bias",
        ),
    ),
    Variant(
        "hidden_units_dropped",
        "in training units of the feed-forward are dropped, too",
        ("nothing_else_is_dropped",),
        edited(
            "return self._around(x, self._feed_forward, self.feed_forward_norm, training)\n\n    def _around",
            "hidden = lambda y: self.contract(self.drop(self.expand(y), training=training))\n"
            "        return self._around(x, hidden, self.feed_forward_norm, training)\n\n    def _around",
        ),
    ),
    Variant(
        "network_never_drops",
        "a network's rate of dropout does not reach its blocks",
        ("networks_drop_in_every_block",),
        edited('"dropout": size.dropout, "dtype"', '"dropout": 0.0, "dtype"'),
    ),
    Variant(
        "network_always_drops",
        "embedded tokens are dropped in inference too",
        ("network_follows_the_formula", "language_model_follows_the_formula", "cached_steps_equal_teacher_forcing"),
        edited("x.dtype), training=training)", "x.dtype), training=True)"),
    ),
    Variant(
        "embedding_never_drops",
        "embedded tokens are not dropped in training",
        ("networks_drop_in_every_block",),
        edited("x.dtype), training=training)", "x.dtype), training=False)"),
    ),
    Variant(
        "encoder_always_in_training",
        "the encoder is called with training=True whatever the caller says",
        ("network_follows_the_formula",),
        edited("self.encode(source, training), source", "self.encode(source, True), source"),
    ),
    Variant(
        "encoder_never_in_training",
        "the encoder's blocks are not told that it is training",
        ("networks_drop_in_every_block",),
        edited("mask=source != PAD, training=training)", "mask=source != PAD, training=False)"),
    ),
    Variant(
        "decoding_drops",
        "decoding steps run in training mode",
        ("cached_steps_equal_teacher_forcing", "beams_are_those_of_a_plain_search"),
        edited("cache=cache[i], position=position)", "cache=cache[i], position=position, training=True)"),
    ),
    Variant(
        "same_dropout_in_every_call",
        "dropout has one fixed seed for every call",
        ("networks_drop_in_every_block", "dropout_is_for_training"),
        edited(
            "drop = functools.partial(self.drop, training=training)",
            "drop = lambda y: keras.random.dropout(y, self.dropout, seed=1) if training else y",
        ),
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
    Variant(
        "negative_smoothing_accepted",
        "a smoothing of -0.1 is accepted",
        ("misfits_of_the_loss_are_refused",),
        edited("if not 0 <= smoothing < 1:", "if not smoothing < 1:"),
    ),
    Variant(
        "log_of_softmax",
        "log p is log(softmax(x) + 1e-9), which no mistake makes smaller than -20.7",
        ("confident_mistakes_cost_what_they_cost",),
        edited("log_p = ops.log_softmax(logits, axis=-1)  #", "log_p = ops.log(ops.softmax(logits) + 1e-9)  #"),
        BOTH,
    ),
    Variant(
        "logits_clipped",
        "logits are clipped to 30 for safety, and a surer mistake has no gradient",
        ("confident_mistakes_cost_what_they_cost",),
        edited(
            "log_p = ops.log_softmax(logits, axis=-1)  #",
            "log_p = ops.log_softmax(ops.clip(logits, -30, 30), axis=-1)  #",
        ),
        BOTH,
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


SEARCH = (
    Variant(
        "last_position_not_decoded",
        "decoding up to exactly the last position is refused",
        ("beams_are_those_of_a_plain_search",),
        edited("        if length > self.max_length:", "        if length >= self.max_length:"),
        raises=ValueError,
    ),
    Variant(
        "longest_sequence_refused",
        "as many tokens as there are positions are refused",
        ("misfits_of_networks_are_refused", "a_networks_double_is_born_and_drops_alike"),
        edited("(tokens.shape[1] or 0) > self.max_length", "(tokens.shape[1] or 0) >= self.max_length"),
        raises=ValueError,
    ),
    Variant(
        "end_never_at_the_last_step",
        "at the last step END is not allowed",
        ("beams_are_those_of_a_plain_search",),
        edited(
            "        parent, new, log_p = best",
            "        last_end = ops.logical_and(i == length - 1, ops.arange(model.vocabulary) == END)\n"
            "        of_next = ops.where(last_end, -1e9, of_next)\n        parent, new, log_p = best",
        ),
    ),
    Variant(
        "greedy_length_one_short",
        "greedy_decode stops one token early where nothing has ended",
        ("beams_are_those_of_a_plain_search",),
        variants.changed(*MODULES, greedy_decode=one_token_short),
    ),
    Variant(
        "start_written_again",
        "the last token of a prompt is in the cache already, and given again",
        ("cached_steps_equal_teacher_forcing",),
        edited(
            "        if before:\n            _, cache = self.step(prompt[:, :-1], 0, cache)",
            "        if before > 1:\n            cache = self.new_cache(ops.shape(prompt)[0], before + 1 + length)\n"
            "            _, cache = self.step(prompt, 0, cache)\n            return prompt[:, -1], before + 1, cache\n"
            "        if before:\n            _, cache = self.step(prompt[:, :-1], 0, cache)",
        ),
    ),
    Variant(
        "prompt_cut_to_its_last_token",
        "decoding goes on from the last token of a prompt alone",
        ("cached_steps_equal_teacher_forcing", "beams_are_those_of_a_plain_search"),
        edited("        if before:\n", "        if not before:\n"),
    ),
    Variant(
        "stops_when_the_pool_is_full",
        "the search stops as soon as K hypotheses have ended, though a running one may become better",
        ("beams_are_those_of_a_plain_search",),
        variants.changed(*MODULES, beam_decode=pool_search),
    ),
    Variant(
        "penalty_of_the_present_step_sorted",
        "hypotheses that have ended are compared as if they were as long as the others",
        ("beams_are_those_of_a_plain_search",),
        penalty_of_the_present_step(),
    ),
    Variant(
        "ended_ones_pay_again",
        "the length of a hypothesis that has ended still grows",
        ("beams_are_those_of_a_plain_search",),
        edited('written(tokens) + ops.cast(~done, "float32"), alpha)', "written(tokens) + 1.0, alpha)"),
    ),
    Variant(
        "stops_with_the_first_row",
        "the search stops when all hypotheses of one row have ended",
        ("beams_are_those_of_a_plain_search",),
        edited("~ops.all(ended(tokens)))", "~ops.any(ops.all(ended(tokens), axis=-1)))"),
    ),
)


CONFIGURATION = (
    Variant(
        "policy_of_embeddings_forgotten",
        "an embedding's configuration lacks its name and its policy",
        ("an_embeddings_double_is_born_alike",),
        edited(
            '{**super().get_config(), "vocabulary": self.vocabulary, "size": self.size}',
            '{"vocabulary": self.vocabulary, "size": self.size}',
        ),
    ),
    Variant(
        "padding_found_in_int32_only",
        "the padding of tokens of another dtype than int32 is not masked",
        ("networks_take_any_integers",),
        edited(
            "self.encode(source, training), source != PAD, training)",
            'self.encode(source, training), ops.logical_or(source != PAD, "int32" not in str(source.dtype)), training)',
        ),
    ),
    Variant(
        "loss_returned_in_half",
        "the loss is rounded to the dtype of the logits",
        ("targets_may_be_of_any_integer_dtype",),
        edited(
            "return ops.sum(ops.where(mask, losses, 0)) / count",
            'loss = ops.sum(ops.where(mask, losses, 0)) / count\n    return ops.cast(loss, "bfloat16")',
        ),
    ),
    Variant(
        "dropout_rate_forgotten",
        "a block's configuration lacks the rate of dropout",
        ("a_blocks_double_is_born_and_drops_alike",),
        edited('"dropout", "norm_first", "use_bias")', '"norm_first", "use_bias")'),
    ),
    Variant(
        "norm_first_of_networks_forgotten",
        "a network's configuration lacks norm_first",
        ("a_networks_double_is_born_and_drops_alike",),
        edited("**own, **self.options}", '**own, "use_bias": self.options["use_bias"]}'),
    ),
    Variant(
        "max_length_forgotten",
        "a network's configuration lacks max_length",
        ("a_networks_double_is_born_and_drops_alike",),
        edited('dataclasses.asdict(self.size), "max_length": self.max_length}', "dataclasses.asdict(self.size)}"),
    ),
    Variant(
        "dropout_of_networks_forgotten",
        "a network's configuration gives its size without the rate of dropout",
        ("a_networks_double_is_born_and_drops_alike",),
        edited(
            '"size": dataclasses.asdict(self.size),',
            '"size": {k: v for k, v in dataclasses.asdict(self.size).items() if k != "dropout"},',
        ),
    ),
    Variant(
        "impossible_dropout_accepted",
        "a rate of dropout below 0 means none, and one above 1 all",
        ("misfits_of_blocks_are_refused",),
        edited(
            "        self.heads, self.feed_forward, self.dropout =",
            "        dropout = min(max(0.0, dropout), 1.0)\n        self.heads, self.feed_forward, self.dropout =",
        ),
    ),
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


VARIANTS = (
    Variant(
        "smoothing_of_one",
        "a smoothing of 1, which leaves nothing of the target, is taken",
        ("misfits_of_the_loss_are_refused",),
        edited("if not 0 <= smoothing < 1:", "if not 0 <= smoothing <= 1:"),
    ),
    *BIRTH,
    *DROPOUT,
    *LOSS,
    *DECODING,
    *SEARCH,
    *CONFIGURATION,
)
