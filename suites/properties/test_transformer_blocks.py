"""What must be true of the Transformer's encoder and decoder blocks."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.gradients import input_gradient
from suites.properties.numerics import assert_equal, assert_within, float64, gamma, to_numpy
from suites.properties.oracles import transformer as oracle
from suites.properties.refusals import refused
from suites.properties.transformer_block_cases import (
    CROSS,
    CROSS_PRE,
    CROSS_SQUARE,
    DECODER,
    DECODER_PRE,
    DECODER_SQUARE,
    ENCODER,
    ENCODER_PRE,
    ENCODER_SQUARE,
    BlockCase,
    block_cases,
    block_of,
    output_of,
    run_block,
)
from suites.properties.transformer_cases import as_tensor, few
from suites.subjects import Subject

# The formula


@few
@example(case=ENCODER)
@example(case=ENCODER_PRE)
@example(case=ENCODER_SQUARE)
@given(case=block_cases(masked=True))
def test_encoder_block_follows_the_formula(subject: Subject, case: BlockCase) -> None:
    """An encoder block is attention and feed-forward, each with LayerNorm and a way around it, up to rounding."""
    truth = case.truth(subject.compute_dtype)
    assert_within(output_of(subject, case), truth.value, truth.error, "output")


@few
@example(case=DECODER)
@example(case=DECODER_SQUARE)
@given(case=block_cases(decoder=True, masked=True))
def test_decoder_block_follows_the_formula(subject: Subject, case: BlockCase) -> None:
    """Without a memory a decoder block is an encoder block with causal attention, up to rounding."""
    truth = case.truth(subject.compute_dtype)
    assert_within(output_of(subject, case), truth.value, truth.error, "output")


@few
@example(case=CROSS)
@example(case=CROSS_PRE)
@example(case=CROSS_SQUARE)
@given(case=block_cases(decoder=True, memory=True, masked=True))
def test_cross_attention_follows_the_formula(subject: Subject, case: BlockCase) -> None:
    """With a memory a decoder block attends to it between self-attention and feed-forward, up to rounding."""
    truth = case.truth(subject.compute_dtype)
    assert_within(output_of(subject, case), truth.value, truth.error, "output")


@pytest.mark.structure
@few
@example(case=ENCODER.but(use_bias=False))
@given(case=block_cases(use_bias=False))
def test_attention_may_have_no_bias(subject: Subject, case: BlockCase) -> None:
    """With `use_bias=False` the attention has no biases, as in the paper, and the feed-forward keeps its own."""
    truth = case.truth(subject.compute_dtype)
    assert_within(output_of(subject, case), truth.value, truth.error, "output")


@pytest.mark.structure
@example(case=ENCODER)
@given(case=st.just(CROSS_PRE))
def test_gradient_is_right_in_float64(subject: Subject, case: BlockCase) -> None:
    """In float64 the gradient of a block to its input is that of the formula."""
    cotangent = np.arange(case.x.size).reshape(case.x.shape) % 7 - 3.0
    with float64():
        layer = block_of(subject, case, dtype="float64")
        found = input_gradient(
            lambda x: run_block(subject, case, layer, x=x, dtype="float64"), as_tensor(case.x, "float64"), cotangent
        )
        found = to_numpy(found)
    truth = oracle.gradient(lambda x: case.truth(x=x).value, case.x, cotangent)
    # Some thousand operations, on numbers of the size of the weights and of the slopes of LayerNorm, one by another.
    size = np.abs(cotangent).sum() * (1 + np.abs(truth).max()) * 100
    assert_within(found, truth, size * gamma(2048, "float64"), "gradient to x")


# LayerNorm and the way around


@few
@example(case=ENCODER)
@given(case=block_cases(masked=True))
def test_post_norm_output_is_normalised(subject: Subject, case: BlockCase) -> None:
    """At gamma = 1 and beta = 0 what leaves a post-norm block has mean 0 and variance 1, less the share of epsilon."""
    case = case.but(norm_first=False, plain=True)
    output, truth = output_of(subject, case), case.truth(subject.compute_dtype)
    assert_within(output.mean(-1), np.zeros(output.shape[:-1]), truth.error.mean(-1), "means")
    off = (2 * np.abs(truth.value) * truth.error + truth.error**2).mean(-1)
    assert_within((output**2).mean(-1), (truth.value**2).mean(-1), off, "variances")


@few
@example(case=ENCODER_PRE)
@given(case=block_cases(masked=True))
def test_pre_norm_leaves_the_stream_alone(subject: Subject, case: BlockCase) -> None:
    """In a pre-norm block whose sublayers end in zeros, the output is the input, bit for bit."""
    case = case.but(norm_first=True, silent=True)
    assert_equal(output_of(subject, case), case.x, "output")


@pytest.mark.structure
def test_dropout_is_for_training(subject: Subject) -> None:
    """Dropout does nothing unless training; then it follows the seed, and differs from call to call."""
    layer = block_of(subject, ENCODER, dropout=0.5)
    still = to_numpy(run_block(subject, ENCODER, layer, training=False))
    off = 2 * ENCODER.truth(subject.compute_dtype).error
    assert_within(still, output_of(subject, ENCODER), off, "output with a rate of 0.5, not training")
    assert_equal(run_block(subject, ENCODER, layer), still, "output where nothing says that it is training")

    def two_calls() -> list[list[float]]:
        keras.utils.set_random_seed(3)
        fresh = block_of(subject, ENCODER, dropout=0.5, name="fresh", fresh=True)
        return [to_numpy(run_block(subject, ENCODER, fresh, training=True)).tolist() for _ in range(2)]

    first, second = two_calls()
    check(first != still.tolist(), "training does not drop anything at a rate of 0.5")
    check(first != second, "two calls drop the same")
    check(two_calls() == [first, second], "the same seed does not drop the same")


# Who sees whom


@example(case=DECODER)
@example(case=DECODER_PRE)
@example(case=CROSS)
@given(case=st.just(CROSS_PRE))
def test_no_position_sees_what_comes_later(subject: Subject, case: BlockCase) -> None:
    """The gradient of a decoder's output t to its input s > t is exactly zero, with dropout or without."""
    for t, training in ((0, False), (1, True)):
        layer = block_of(subject, case, dropout=0.5 if training else 0.0)
        cotangent = np.zeros_like(case.x)
        cotangent[:, t] = np.arange(case.width) - 1.25
        run = functools.partial(run_block, subject, case, layer, training=training)
        found = input_gradient(run, as_tensor(case.x, "float32"), cotangent)
        later = to_numpy(found)[:, t + 1 :]
        check((later == 0).all(), f"output {t} depends on what follows: gradient {later.tolist()}, {training=}")


@few
@example(case=ENCODER)
@given(case=block_cases(masked=True))
def test_padding_is_not_seen(subject: Subject, case: BlockCase) -> None:
    """Whatever finite numbers stand in the padding, an encoder's output elsewhere is the same, bit for bit."""
    kept = np.array(case.mask, bool)
    other = output_of(subject, case, x=np.where(kept[..., None], case.x, 7.0))
    assert_equal(other[kept], output_of(subject, case)[kept], "output outside of the padding")


@few
@example(case=CROSS)
@given(case=block_cases(decoder=True, memory=True, masked=True))
def test_padding_of_the_memory_is_not_seen(subject: Subject, case: BlockCase) -> None:
    """Whatever finite numbers stand in the padding of the memory, a decoder's output is the same, bit for bit."""
    assert case.memory is not None
    memory = np.where(np.array(case.memory_mask, bool)[..., None], case.memory, 7.0)
    assert_equal(output_of(subject, case, memory=memory), output_of(subject, case), "output")


EMPTY = CROSS.but(memory_mask=((0, 0), (1, 1)))
EMPTY_NARROW = BlockCase(
    decoder=True, length=2, source=1, width=2, heads=1, norm_first=True, memory_mask=((0,),), seed=31
)
"""Where to attend to the padding makes a difference that is larger than bfloat16's rounding."""


@example(case=EMPTY)
@given(case=st.just(EMPTY_NARROW))
def test_empty_memory_says_nothing(subject: Subject, case: BlockCase) -> None:
    """Of a memory that is all padding the attention finds zero, and gradients stay finite."""
    truth = case.truth(subject.compute_dtype)
    assert_within(output_of(subject, case), truth.value, truth.error, "output")
    layer, x = block_of(subject, case), as_tensor(case.x, "float32")
    found = to_numpy(input_gradient(lambda x: run_block(subject, case, layer, x=x), x, np.ones(case.x.shape)))
    check(np.isfinite(found).all(), f"gradient to x: {found.tolist()}")


@pytest.mark.structure
@few
@example(case=ENCODER)
@given(case=block_cases(masked=True))
def test_encoder_knows_no_order(subject: Subject, case: BlockCase) -> None:
    """Reversing the input and the mask of an encoder block reverses its output."""
    reversed_mask = tuple(row[::-1] for row in case.mask or ())
    found = output_of(subject, case.but(mask=reversed_mask), x=case.x[:, ::-1])
    bound = 2 * case.truth(subject.compute_dtype).error
    assert_within(found[:, ::-1], output_of(subject, case), bound, "output, reversed twice")


@pytest.mark.structure
@few
@example(case=CROSS)
@given(case=block_cases(decoder=True, memory=True).filter(lambda case: case.batch == 2))
def test_batch_entries_do_not_mix(subject: Subject, case: BlockCase) -> None:
    """The output of a batch entry is the one that it has alone."""
    assert case.memory is not None
    together, bound = output_of(subject, case), 2 * case.truth(subject.compute_dtype).error
    for b in range(2):
        masks = {
            name: mask and mask[b : b + 1] for name, mask in (("mask", case.mask), ("memory_mask", case.memory_mask))
        }
        found = output_of(subject, case.but(batch=1, **masks), x=case.x[b : b + 1], memory=case.memory[b : b + 1])
        assert_within(found, together[b : b + 1], bound[b : b + 1], f"output of entry {b} alone")


@pytest.mark.structure
@example(case=ENCODER_PRE)
@given(case=st.just(CROSS))
def test_blocks_survive_their_configuration(subject: Subject, case: BlockCase) -> None:
    """A block built from another's configuration, with its weights, computes the same."""
    layer = block_of(subject, case)
    other = type(layer).from_config(layer.get_config())
    run_block(subject, case, other)
    other.set_weights(layer.get_weights())
    assert_equal(run_block(subject, case, other), output_of(subject, case), "output of the block's double")


@pytest.mark.structure
def test_misfits_of_blocks_are_refused(subject: Subject) -> None:
    """A block answers heads that do not divide D, or none, and a rate of dropout outside of [0, 1] with ValueError."""

    def block(heads: int, width: int, **options: Any) -> Any:
        return subject.EncoderBlock(heads, 4, **options)(np.zeros((1, 2, width), "float32"))

    misfits: dict[str, Callable[[], Any]] = {
        "two heads for a size of 3": lambda: block(2, 3),
        "no head": lambda: block(0, 4),
        "no feed-forward": lambda: subject.EncoderBlock(2, 0)(np.zeros((1, 2, 4), "float32")),
        "dropout at a rate of -0.1": lambda: block(2, 4, dropout=-0.1),
        "dropout at a rate of 1.5": lambda: block(2, 4, dropout=1.5),
        "dropout at a rate that is no number": lambda: block(2, 4, dropout=float("nan")),
    }
    for what, attempt in misfits.items():
        refused(what, attempt)


@pytest.mark.structure
def test_a_memory_is_given_where_it_is_expected(subject: Subject) -> None:
    """A decoder block answers a memory that it was not built with, or none where it was, with ValueError."""
    x = np.zeros((1, 2, 4), "float32")
    alone, across = (block_of(subject, case, fresh=True) for case in (DECODER, CROSS))
    refused("a memory", lambda: alone(x, x))
    refused("no memory", lambda: across(x))
