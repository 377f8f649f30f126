"""What must be true of Transformers from call to call: nothing stays of the one before."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.mixed_precision_cases import default_policy
from suites.properties.numerics import assert_equal, to_numpy
from suites.properties.transformer_block_cases import CROSS, DECODER, ENCODER, BlockCase, block_of, output_of
from suites.properties.transformer_cases import (
    PAD,
    PAIRS,
    PAIRS_PRE,
    START,
    WORDS,
    WORDS_DEEP,
    NetworkCase,
    as_tensor,
    make,
    network_of,
    quiet,
)
from suites.subjects import Subject

# Call after call


@example(case=ENCODER)
@example(case=CROSS)
@given(case=st.just(DECODER))
def test_a_block_keeps_nothing_of_a_call(subject: Subject, case: BlockCase) -> None:
    """A block computes as one that was never called before, after calls with other lengths, batches, and masks."""
    memory_mask = ((0, 1, 1),) if case.source else None
    calls = [
        (case, 1),
        (case, -1),  # of the same shapes, with other numbers
        (case.but(mask=None, memory_mask=None), 1),
        (case.but(batch=1, length=2, mask=((1, 0),), source=case.source and 3, memory_mask=memory_mask), 1),
        (case.but(batch=3, mask=None, memory_mask=None), 1),
        (case, 1),
    ]
    used = block_of(subject, case, fresh=True)
    for number, (call, sign) in enumerate(calls, 1):
        inputs = {"x": sign * call.x, "memory": None if call.memory is None else sign * call.memory}
        found = output_of(subject, call, layer=used, **inputs)
        alone = output_of(subject, call, layer=block_of(subject, case, fresh=True), **inputs)
        assert_equal(found, alone, f"the output of call {number}")
        output_of(subject, call, layer=used, training=True, **inputs)


@example(case=PAIRS)
@given(case=st.just(WORDS))
def test_a_network_keeps_nothing_of_a_call(subject: Subject, case: NetworkCase) -> None:
    """A network computes as one that was never called before, after calls with other lengths, batches, and padding."""
    longer = ((START, 6, 5, 4, 3), (START, 3, 6, PAD, PAD), (START, 4, PAD, PAD, PAD))
    other = case.but(target=longer, source=case.source and tuple(row[:2] for row in longer))
    reverse = case.but(target=case.target[::-1], source=case.source and case.source[::-1])
    used = network_of(subject, case, fresh=True)
    for number, call in enumerate((case, reverse, other, case), 1):
        found = to_numpy(used(call.tokens))
        alone = to_numpy(network_of(subject, case, fresh=True)(call.tokens))
        assert_equal(found, alone, f"the logits of call {number}")


@pytest.mark.structure
@example(case=PAIRS)
@given(case=st.just(WORDS_DEEP))
def test_a_cache_is_left_as_it_was(subject: Subject, case: NetworkCase) -> None:
    """A step of decoding does not write into the cache that it is given, from which another may go on."""
    model = network_of(subject, case)
    given_ = as_tensor(np.array(case.source or case.target, np.int32))
    first, position, cache = model.begin(given_, 3)
    tokens = keras.ops.cast(first[:, None], "int32")
    before = [to_numpy(each) for each in keras.tree.flatten(cache)]
    found, _ = model.step(tokens, position, cache)
    for each, kept in zip(keras.tree.flatten(cache), before, strict=True):
        check(np.array_equal(to_numpy(each), kept), f"a step has written into the cache: {each}, which was {kept}")
    model.step(keras.ops.full_like(tokens, 5), position, cache)
    again, _ = model.step(tokens, position, cache)
    assert_equal(again, to_numpy(found), "the logits of the same step from the same cache")


# Unless told


@pytest.mark.structure
def test_blocks_and_networks_left_to_themselves(subject: Subject) -> None:
    """Unless told, blocks and networks are the paper's: post-norm, attention without biases, dropout of 0.1."""
    told: dict[str, Any] = {"norm_first": False, "use_bias": False}
    x = np.array(ENCODER.x, "float32")
    for name in ("EncoderBlock", "DecoderBlock"):
        create = getattr(subject, name)
        free, bound = create(2, 3), make(create, 2, 3, dropout=0.1, **told)
        free(x), bound(x)
        check_alike(free, bound, name)
        free.set_weights(bound.get_weights())
        assert_equal(free(x), to_numpy(bound(x)), f"the output of {name}, made with no options")
    size = subject.Size(1, 4, 3, 2)
    free, bound = subject.DecoderOnly(7, size), make(subject.DecoderOnly, 7, size, max_length=512, **told)
    check_alike(free, bound, "DecoderOnly")


# Whatever stands around it


@example(case=PAIRS_PRE)
@example(case=PAIRS)
@given(case=st.just(WORDS_DEEP))
def test_networks_compute_in_their_own_policy(subject: Subject, case: NetworkCase) -> None:
    """A network's logits do not depend on the global policy under which it is made, but on its own alone."""
    made = []
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        with default_policy(policy):
            made.append(to_numpy(network_of(subject, case, fresh=True)(case.tokens)))
    for policy, found in zip(("mixed_float16", "mixed_bfloat16"), made[1:], strict=True):
        assert_equal(found, made[0], f"logits of a network made while the global policy is {policy}")


@pytest.mark.structure
def test_logits_are_as_long_as_the_target(subject: Subject) -> None:
    """The logits of a functional model, whose lengths are known, have the target's length, not the source's."""
    network = network_of(subject, PAIRS)
    source, target = keras.Input((5,), dtype="int32"), keras.Input((2,), dtype="int32")
    found = tuple(network((source, target)).shape)
    check(
        found == (None, 2, PAIRS.vocabulary), f"logits of shape {found} for 5 tokens in the source and 2 in the target"
    )


@pytest.mark.structure
def test_least_sizes_are_taken(subject: Subject) -> None:
    """A vocabulary of one token, an embedding of one number, one head, one unit and one position are enough."""
    token = np.zeros((1, 1), np.int32)
    embedded = subject.TokenEmbedding(1, 1)(token)
    check(tuple(embedded.shape) == (1, 1, 1), f"an embedding of one token is of shape {tuple(embedded.shape)}")
    size: Any = subject.Size(layers=1, width=2, feed_forward=1, heads=1, dropout=0.0)
    with quiet():
        found = subject.DecoderOnly(1, size, max_length=1)(token)
    check(tuple(found.shape) == (1, 1, 1), f"logits of one token are of shape {tuple(found.shape)}")


def check_alike(found: Any, expected: Any, what: str) -> None:
    """Fail unless a layer has the weights and the configuration of another, but for its name."""
    __tracebackhide__ = True
    shapes = [[tuple(weight.shape) for weight in each.weights] for each in (found, expected)]
    check(shapes[0] == shapes[1], f"{what}, made with no options, has weights {shapes[0]}, expected {shapes[1]}")
    configurations = [{**each.get_config(), "name": ""} for each in (found, expected)]
    check(
        configurations[0] == configurations[1],
        f"{what}, made with no options, is {configurations[0]}, expected {configurations[1]}",
    )
