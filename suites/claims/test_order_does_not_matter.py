"""Claim, a negative result: with time enough, no order of the examples is better than another, nor than none.

Wu, Dyer and Neyshabur 2021, "When do curricula work?" (arXiv:2012.03107): on standard data, random orders do as well
as easy and as hard ones, and what is gained is due to the growing number of examples alone.
"""

from suites.claims import curricula
from suites.claims.claim import Claim, Rates
from suites.claims.curricula import expected, train  # noqa: F401 - the trial, as every claim has one
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

CLAIM = Claim(
    technique="curriculum",
    statement="The order does not matter when time is not short: easy first, hard first and all at once end with the "
    "error of a random order.",
    source="Wu, Dyer and Neyshabur 2021, arXiv:2012.03107",
    arms=curricula.ARMS,
    axis="steps",
    values={"quick": (300,), "standard": (300, 2000), "paper": (2000, 20_000)},
    metrics=curricula.METRICS,
    contrasts=tuple(expected(arm, "random", "equal") for arm in ("curriculum", "anti", "vanilla")),
    rates=Rates(published=0.03, below=1, above=1),
    fixed=curricula.FIXED,
)
