"""Claim: where many labels are wrong, a network that sees the easy examples first ends with fewer errors.

Wu, Dyer and Neyshabur 2021, "When do curricula work?" (arXiv:2012.03107, section 6), who find no gain with the right
labels (test_order_does_not_matter.py). An example with a wrong label is hard for whoever has learnt from all of them,
so that easy ones first means right ones first.
"""

from suites.claims import curricula
from suites.claims.claim import Claim, Outcome, Rates, Trial
from suites.claims.curricula import expected
from suites.claims.trials import test_claim  # noqa: F401 - the one test function; pytest collects it here

STEPS = 1000

CLAIM = Claim(
    technique="curriculum",
    statement="Easy examples first help where labels are noisy: with two of five labels wrong, a network makes fewer "
    "errors than one that saw all examples from the start, and than one that saw them in a random order.",
    source="Wu, Dyer and Neyshabur 2021, arXiv:2012.03107, section 6",
    arms=curricula.ARMS,
    axis="noise",
    values={"standard": (0, 20, 40, 60), "paper": (0, 20, 40, 60, 80)},
    metrics=curricula.METRICS,
    contrasts=(expected("curriculum", "vanilla", "better", at=40), expected("curriculum", "random", "better", at=40)),
    rates=Rates(published=0.03, below=1, above=1),
    fixed=curricula.FIXED | {"steps": str(STEPS), "noise": "percent of labels, each another one of the classes"},
)


def train(trial: Trial) -> Outcome:
    """One network on noisy labels."""
    return curricula.train(trial, STEPS)
