"""Transformers that keep what they should not, or take from outside what they should not: plausible mistakes."""

from suites.selftest.variants import Variant
from suites.selftest.variants.transformer import BOTH, edited

BLOCK, NETWORK = "a_block_keeps_nothing_of_a_call", "a_network_keeps_nothing_of_a_call"
KEPT = "self.__dict__.setdefault('kept', {}).setdefault"

VARIANTS = (
    Variant(
        "first_mask_kept",
        "an encoder block keeps the first mask for inputs of a shape, and takes it for all that follow",
        (BLOCK, NETWORK),
        edited("self.attention(y, mask=mask)", f"self.attention(y, mask={KEPT}(tuple(y.shape), mask))"),
        BOTH,
    ),
    Variant(
        "first_memory_kept",
        "a decoder block keeps keys and values of the first memory of a shape, and takes them for all that follow",
        (BLOCK, NETWORK),
        edited(
            "(*attention.project_source(memory), memory_mask)",
            f"(*{KEPT}(tuple(memory.shape), attention.project_source(memory)), memory_mask)",
        ),
        BOTH,
    ),
    Variant(
        "first_padding_kept",
        "a network keeps where the first source of a shape has its padding",
        (NETWORK,),
        edited(
            "self.encode(source, training), source != PAD",
            f"self.encode(source, training), {KEPT}(tuple(source.shape), source != PAD)",
        ),
        BOTH,
    ),
    Variant(
        "training_kept",
        "once a block was in training, its dropout stays on",
        (BLOCK,),
        edited(
            "functools.partial(self.drop, training=training)",
            f"functools.partial(self.drop, training={KEPT}(0, True) if training else hasattr(self, 'kept'))",
        ),
        BOTH,
    ),
    Variant(
        "caches_replaced",
        "a step puts the new caches into the list that it is given",
        ("a_cache_is_left_as_it_was",),
        edited("x, cache = self.embed(tokens, position), list(cache)", "x = self.embed(tokens, position)"),
    ),
    Variant(
        "embedding_in_the_global_policy",
        "a network's embedding computes in the global policy",
        ("networks_compute_in_their_own_policy",),
        edited(
            "self.size.width, dtype=self.dtype_policy)\n        self.embedding.build",
            "self.size.width)\n        self.embedding.build",
        ),
    ),
    Variant(
        "feed_forward_in_the_global_policy",
        "the feed-forward of a block computes in the global policy",
        ("networks_compute_in_their_own_policy",),
        edited('activation="relu", dtype=self.dtype_policy)', 'activation="relu")'),
        BOTH,
    ),
    Variant(
        "as_long_as_the_source",
        "a functional model says that its logits are as long as the source",
        ("logits_are_as_long_as_the_target",),
        edited("target = tokens[-1] if", "target = tokens[0] if"),
    ),
    Variant(
        "one_is_too_few",
        "a vocabulary of one token, or an embedding of one number, is refused",
        ("least_sizes_are_taken",),
        edited("if vocabulary < 1 or size < 1:", "if vocabulary <= 1 or size <= 1:"),
        raises=ValueError,
    ),
    Variant(
        "pre_norm_by_default",
        "unless told, a block is pre-norm",
        ("blocks_and_networks_left_to_themselves",),
        edited(
            "        dropout: float = 0.1,\n        norm_first: bool = False,",
            "        dropout: float = 0.1,\n        norm_first: bool = True,",
        ),
    ),
    Variant(
        "dropout_of_a_half_by_default",
        "unless told, a block drops half of what it adds",
        ("blocks_and_networks_left_to_themselves",),
        edited(
            "        dropout: float = 0.1,\n        norm_first", "        dropout: float = 0.5,\n        norm_first"
        ),
    ),
    Variant(
        "short_by_default",
        "unless told, a network has 256 positions",
        ("blocks_and_networks_left_to_themselves",),
        edited("max_length: int = 512,", "max_length: int = 256,"),
    ),
)
