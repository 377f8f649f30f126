"""Claim: a network that sees the easy examples first has learnt more after a short training.

Bengio et al. 2009, "Curriculum learning" (ICML). Wu, Dyer and Neyshabur find that it does so where time is short, and
that the opposite order does not (arXiv:2012.03107); where it is not short, see test_order_does_not_matter.py.
"""

from suites.claims import curricula
from suites.claims.claim import Claim, Rates
from suites.claims.curricula import expected, train  # noqa: F401 - the trial, as every claim has one
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

CLAIM = Claim(
    technique="curriculum",
    statement="Easy examples first: after a short training, a network makes fewer errors than one that saw all "
    "examples from the start, and than one that saw the hardest first.",
    source="Bengio et al. 2009, Curriculum learning; Wu, Dyer and Neyshabur 2021, arXiv:2012.03107",
    arms=curricula.ARMS,
    axis="steps",
    values={"quick": (75,), "standard": (37, 75, 150), "paper": (37, 75, 150)},
    metrics=curricula.METRICS,
    contrasts=(expected("curriculum", "vanilla", "better", at=75), expected("curriculum", "anti", "better", at=75)),
    rates=Rates(published=0.03, below=1, above=1),
    fixed=curricula.FIXED | {"a short training": "75 steps, two passes over the data"},
)
