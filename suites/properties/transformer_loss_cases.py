"""What is drawn for the properties of the Transformer's loss, and how a loss is called with it."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from suites.properties.checks import check
from suites.properties.oracles import transformer as oracle
from suites.properties.transformer_cases import Bits, as_tensor, bits, eighths
from suites.subjects import Subject


@dataclass(frozen=True)
class LossCase:
    """Targets, logits and what of them counts."""

    batch: int = 2
    length: int = 3
    vocabulary: int = 4
    smoothing: float = 0.125
    mask: Bits | None = None  # (B, T)
    seed: int = 0

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """`(B, T, V)`."""
        return eighths(np.random.default_rng(self.seed), (self.batch, self.length, self.vocabulary), 4)

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """int32 `(B, T)`."""
        random = np.random.default_rng(self.seed + 1)
        return random.integers(0, self.vocabulary, (self.batch, self.length)).astype(np.int32)

    @property
    def counted(self) -> np.ndarray:
        """The mask, all True where none is given."""
        return np.ones((self.batch, self.length), bool) if self.mask is None else np.array(self.mask, bool)

    def truth(self) -> oracle.Truth:
        """The loss, and how far one that is computed in float32 may be from it."""
        return oracle.smoothed_loss(self.targets, self.logits, self.smoothing, self.counted)

    def but(self, **changes: Any) -> "LossCase":
        """The same case with some fields replaced."""
        return dataclasses.replace(self, **changes)


@st.composite
def loss_cases(draw: st.DrawFn) -> LossCase:
    """Any small case in which some target counts."""
    batch, length = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return LossCase(
        batch=batch,
        length=length,
        vocabulary=draw(st.integers(2, 5)),
        smoothing=draw(st.sampled_from((0.0, 0.125, 0.5))),
        mask=draw(bits(batch, length)),
        seed=draw(st.integers(0, 999)),
    )


def loss_of(subject: Subject, case: LossCase, *, targets: Any = None, logits: Any = None, dtype: str = "") -> Any:
    """The subject's loss for logits in the compute dtype, or in this one, with some arguments replaced."""
    __tracebackhide__ = True
    mask = {} if case.mask is None else {"mask": as_tensor(np.array(case.mask, bool))}
    targets = as_tensor(case.targets if targets is None else targets)
    logits = as_tensor(case.logits if logits is None else logits, dtype or subject.compute_dtype)
    loss = subject.label_smoothed_loss(targets, logits, smoothing=case.smoothing, **mask)
    check(tuple(loss.shape) == (), f"the loss has the shape {tuple(loss.shape)}, expected a scalar")
    return loss
