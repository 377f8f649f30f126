"""What must be true of decoding from a Transformer, with a cache, greedily and by beam search.

What is searched for does not depend on the precision: searches run in float32, where the bounds are narrow.
"""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.numerics import assert_equal, assert_within, to_numpy
from suites.properties.oracles import transformer as oracle
from suites.properties.transformer_cases import (
    PAD,
    PAIRS_DEEP,
    WORDS_DEEP,
    WORDS_PRE,
    NetworkCase,
    as_tensor,
    few,
    network_of,
)
from suites.properties.transformer_decoding_cases import SEARCHES, Search, search_of
from suites.subjects import Subject


@example(case=PAIRS_DEEP, prompt=1)
@example(case=WORDS_DEEP, prompt=3)
@given(case=st.just(WORDS_PRE), prompt=st.just(1))
def test_cached_steps_equal_teacher_forcing(subject: Subject, case: NetworkCase, prompt: int) -> None:
    """Token by token, or several at once, with a cache, gives the logits of the whole target, up to rounding."""
    model, truth = network_of(subject, case), case.truth(subject.compute_dtype)
    whole, target = to_numpy(model(case.tokens)), np.array(case.target, np.int32)
    given = target[:, :prompt] if case.source is None else np.array(case.source, np.int32)
    first, position, cache = model.begin(as_tensor(given), whole.shape[1] - prompt + 1)
    check(int(position) == prompt - 1, f"{int(position)} tokens precede the last of a prompt of {prompt}")
    assert_equal(first, target[:, prompt - 1], "tokens to start from")
    for size in (1, 1, whole.shape[1] - prompt - 1):
        rows = slice(position, position + size)
        logits, cache = model.step(as_tensor(target[:, rows]), position, cache)
        assert_within(logits, whole[:, rows], 2 * truth.error[:, rows], f"logits of positions {position} on")
        position += size
        if position == whole.shape[1]:
            break


@pytest.mark.structure
@example(search=SEARCHES[0])
@given(search=st.just(SEARCHES[1]))
def test_greedy_writes_the_likeliest(subject: Subject, search: Search) -> None:
    """Every token of `greedy_decode` is the likeliest one after those before it, by teacher forcing."""
    tokens = search.greedy(subject)
    for row, log_p, bound in search.forced(subject, tokens[:, None]):
        for t, token in enumerate(search.written(row)):
            best = np.delete(log_p[t], PAD).max()
            check(log_p[t, token] >= best - bound, f"token {t} of {row.tolist()}: log p {log_p[t].tolist()}")


@pytest.mark.structure
@example(search=SEARCHES[0])
@given(search=st.just(SEARCHES[1]))
def test_nothing_follows_the_end(subject: Subject, search: Search) -> None:
    """After `END` comes `PAD` only, and before it never; what is written is int32, `(B, L)` or `(B, K, L)`."""
    beams, _ = search.beam(subject, 3)
    for tokens in (search.greedy(subject)[:, None], beams):
        for row in tokens.reshape(-1, search.length):
            written = search.written(row)
            padded = (*written, *[PAD] * (search.length - len(written)))
            check(PAD not in written and tuple(row) == padded, f"{row.tolist()} has padding that follows no end")


@pytest.mark.structure
@example(search=SEARCHES[0])
@given(search=st.just(SEARCHES[1]))
def test_one_beam_is_greedy(subject: Subject, search: Search) -> None:
    """`beam_decode` with one beam writes what `greedy_decode` writes, whatever the length penalty."""
    tokens, _ = search.beam(subject, 1)
    assert_equal(tokens[:, 0], search.greedy(subject), "tokens of one beam")


@pytest.mark.structure
@example(search=SEARCHES[0])
@given(search=st.just(SEARCHES[1]))
def test_beam_scores_are_those_of_the_network(subject: Subject, search: Search) -> None:
    """A beam's score is log P of its tokens by teacher forcing over ((5 + length) / 6)^alpha; the best comes first."""
    tokens, scores = search.beam(subject, 3)
    truth, bound = search.scores(subject, tokens)
    assert_within(scores, truth, bound, "scores")
    check((np.diff(scores, axis=1) <= 0).all(), f"scores {scores.tolist()} are not in order")


@pytest.mark.structure
@example(search=SEARCHES[0])
@given(search=st.just(SEARCHES[1]))
def test_all_beams_find_the_best(subject: Subject, search: Search) -> None:
    """With as many beams as there are hypotheses, the search finds them all, best first: it is exhaustive."""
    everything = oracle.hypotheses(search.case.vocabulary, search.length)
    tokens, scores = search.beam(subject, len(everything))
    for row in tokens:
        found = {search.written(each) for each in row}
        missing = sorted(set(everything) - found)
        check(not missing, f"{len(everything)} beams do not find {missing}")
    truth, bound = search.scores(subject, tokens)
    assert_within(scores, np.sort(truth)[:, ::-1], bound.max(), "scores, against those of all hypotheses in order")


@pytest.mark.structure
@few
@example(search=search_of(38, 1, 0.6, prompt=5))
@example(search=search_of(29, 1, 0.6))
@example(search=search_of(29, 2, 2.0))
@example(search=search_of(38, 4, 4.0))
@example(search=search_of(29, 5, 0.6, length=1))
@given(
    search=st.builds(
        search_of,
        st.integers(0, 40),
        st.integers(1, 4),
        st.sampled_from((-1.0, 0.0, 0.6, 4.0)),
        st.sampled_from((1, 3)),
    )
)
def test_beams_are_those_of_a_plain_search(subject: Subject, search: Search) -> None:
    """K beams are those of a search over lists that at every length keeps the K best, up to the last position."""
    tokens, scores = search.beam(subject)
    greedy = search.greedy(subject) if search.beams == 1 else tokens[:, 0]
    _, bound = search.scores(subject, tokens)
    for row, found in enumerate(map(search.plain, range(len(tokens)))):
        assume(found.margin > 4 * bound.max())  # no choice is so close that rounding may decide it
        n = len(found.hypotheses)  # fewer than K where there are no more
        written = [search.written(each) for each in tokens[row, :n]]
        check(written == found.hypotheses, f"{search.beams} beams wrote {written}, a plain search {found.hypotheses}")
        assert_within(scores[row, :n], np.array(found.scores), bound[row, :n], "scores")
        check((scores[row, n:] == -np.inf).all(), f"{n} hypotheses have the scores {scores[row].tolist()}")
        if search.beams == 1:
            check(search.written(greedy[row]) == written[0], f"greedily {greedy[row].tolist()}, one beam {written[0]}")
