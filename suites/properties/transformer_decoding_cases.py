"""The searches of the properties of decoding, and what teacher forcing says about what they find."""

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from suites.properties.checks import check
from suites.properties.numerics import LIBM_ULPS, gamma, to_numpy
from suites.properties.oracles import transformer as oracle
from suites.properties.transformer_cases import END, PAD, START, NetworkCase, logits_of, network_of
from suites.subjects import Subject


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


@dataclass(frozen=True)
class Search:
    """A network to decode from: one whose target is what it starts from, and how much is to be written."""

    case: NetworkCase
    length: int
    alpha: float
    beams: int = 3

    def __str__(self) -> str:
        return "pairs" if self.case.source else "words"

    @property
    def source(self) -> np.ndarray:
        """What decoding is given, int32 `(B, S)`: the source, or the prompt."""
        return np.array(self.case.source or self.case.target, np.int32)

    def greedy(self, subject: Subject) -> np.ndarray:
        """Tokens `(B, L)`."""
        __tracebackhide__ = True
        decode = subject.greedy_decode
        return self._checked(decode(self._model(subject), self.source, self.length), (len(self.source), self.length))

    def beam(self, subject: Subject, beams: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `(B, K, L)` and scores `(B, K)`."""
        __tracebackhide__ = True
        beams = beams or self.beams
        found = subject.beam_decode(self._model(subject), self.source, self.length, beams=beams, alpha=self.alpha)
        tokens, scores = self._checked(found[0], (len(self.source), beams, self.length)), to_numpy(found[1])
        check(scores.shape == tokens.shape[:2], f"scores of shape {scores.shape} for tokens of shape {tokens.shape}")
        return tokens, scores

    def plain(self, row: int) -> oracle.Found:
        """What a plain search finds for a row, by the formula of the network."""

        @functools.cache
        def log_p(written: tuple[int, ...]) -> np.ndarray:
            source = self.case.source and self.case.source[row : row + 1]
            logits = self.case.but(target=((*self.case.target[row], *written),), source=source).truth().value
            return log_softmax(logits[0, -1])

        return oracle.plain_search(log_p, self.case.vocabulary, self.length, self.beams, self.alpha)

    def _model(self, subject: Subject) -> Any:
        positions = len(self.case.target[0]) - 1 + self.length  # the last token that is written is not read
        options: dict[str, Any] = {"max_length": max(positions, *map(len, self.case.source or ((), ())))}
        return network_of(subject, self.case, policy="float32", **options)

    def _checked(self, tokens: Any, shape: tuple[int, ...]) -> np.ndarray:
        __tracebackhide__ = True
        dtype = keras.backend.standardize_dtype(tokens.dtype)
        check(dtype == "int32", f"tokens are {dtype}, expected int32")
        array = to_numpy(tokens)
        check(array.shape == shape, f"tokens have the shape {array.shape}, expected {shape}")
        return array

    def written(self, row: np.ndarray) -> tuple[int, ...]:
        """What was written before the padding: all up to `END`."""
        tokens = [int(token) for token in row]
        return tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)

    def forced(self, subject: Subject, tokens: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Hypotheses `(B, K, L)` by teacher forcing.

        Returns:
            One after the other: a row of tokens, the log-probabilities `(L, V)` of what could stand in its place, and
            by how much two of them may differ by rounding between what a cache gives and teacher forcing, twice.
        """
        beams = tokens.shape[1]
        start = np.repeat(np.array(self.case.target, np.int32), beams, axis=0)  # (B K, P)
        rows = tokens.reshape(-1, self.length).astype(np.int32)
        target = np.concatenate([start, rows[:, :-1]], axis=1)
        case = self.case.but(
            target=tuple(map(tuple, target.tolist())),
            source=self.case.source and tuple(row for row in self.case.source for _ in range(beams)),
        )
        log_p = log_softmax(logits_of(subject, case, policy="float32"))[:, start.shape[1] - 1 :]
        # A logit is off by the bound at most, each time; log p by twice that, and by its own rounding in float32.
        off = 2 * case.truth("float32").error.max() + gamma(16 * LIBM_ULPS, "float32") * np.abs(log_p).max()
        return [(row, its_log_p, 4 * float(off)) for row, its_log_p in zip(rows, log_p, strict=True)]

    def scores(self, subject: Subject, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The scores `(B, K)` of hypotheses by teacher forcing, and how far those of a search may be from them."""
        found = []
        for row, log_p, off in self.forced(subject, tokens):
            written = self.written(row)
            total = sum(log_p[t, token] for t, token in enumerate(written))
            penalty = oracle.length_penalty(len(written), self.alpha)
            found.append((total / penalty, (len(written) * off + gamma(32, "float32") * abs(total)) / penalty))
        scores, bounds = (np.array(each).reshape(tokens.shape[:2]) for each in zip(*found, strict=True))
        return scores, bounds


SEARCHES = (
    Search(NetworkCase(source=((3, 1, 3), (1, 3, PAD)), target=((START,), (START,)), vocabulary=4, seed=2), 3, 0.6),
    Search(NetworkCase(target=((START, 3), (3, 1)), vocabulary=4, norm_first=True, seed=8), 3, 2.0),
)
"""Of 3 tokens that can be written, START, END and one more; an encoder-decoder, and a language model with a prompt."""


def search_of(seed: int, beams: int, alpha: float, prompt: int = 2, length: int = 5) -> Search:
    """By a language model; which of its hypotheses end when differs with the seed."""
    rows = ((START, 3, 3, START, 3), (3, START, START, 3, 3))
    target = tuple(row[:prompt] for row in rows)
    return Search(NetworkCase(target=target, vocabulary=4, norm_first=True, seed=seed), length, alpha, beams)
