"""The float64 truths about schedules against optax and torch, which were written by others."""

import re
import warnings
from typing import Any

import pytest

from suites.properties.oracles import schedules as oracle

STEPS = (0, 1, 2, 3, 5, 8, 13, 19, 20, 21, 34, 40)
FLOAT32 = 1e-6
"""optax computes in float32."""


def assert_same(found: Any, function: str, *arguments: Any, tolerance: float = 1e-12) -> None:
    """At every step, found(step) is the oracle's value, relative to the largest rate."""
    for step in STEPS:
        truth = getattr(oracle, function)(step, *arguments).value
        assert abs(float(found(step)) - truth) <= tolerance, f"{function}{arguments} at step {step}"


def test_optax_agrees() -> None:
    optax = pytest.importorskip("optax", reason="optax, the independent oracle of schedules, is not installed")
    assert_same(optax.linear_schedule(0.01, 0.1, 20), "warm_up", 0.1, 20, 0.01, tolerance=FLOAT32)
    assert_same(optax.cosine_decay_schedule(0.1, 20, 0.1), "cosine", 0.1, 20, 0.01, tolerance=FLOAT32)
    steps = optax.piecewise_constant_schedule(0.1, {5: 0.1, 20: 0.5})
    assert_same(steps, "step_decay", [0.1, 0.01, 0.005], [5, 20], tolerance=FLOAT32)
    cycle = optax.cosine_onecycle_schedule(40, 0.1, 0.125, 25.0, 1e4)
    assert_same(cycle, "one_cycle", 0.004, 0.1, 4e-7, 40, 5, tolerance=FLOAT32)
    cycles = [{"decay_steps": length} for length in (5, 10, 20, 40)]
    same = {"init_value": 0.1, "peak_value": 0.1, "warmup_steps": 0, "end_value": 0.01}
    restarts = optax.sgdr_schedule([{**same, **cycle} for cycle in cycles])
    assert_same(restarts, "cosine_restarts", 0.1, 5, 0.01, 2, tolerance=FLOAT32)


def test_optax_counts_warm_up_into_the_decay() -> None:
    optax = pytest.importorskip("optax", reason="optax, the independent oracle of schedules, is not installed")
    warmed = optax.warmup_cosine_decay_schedule(0.02, 0.1, 5, 25, 0.01)
    for step in STEPS:
        truth = oracle.with_warm_up(step, lambda count: oracle.cosine(count, 0.1, 20, 0.01), 5, 0.02).value
        assert abs(float(warmed(step)) - truth) <= FLOAT32


def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch", reason="torch, the independent oracle of schedules, is not installed")
    from torch.optim import lr_scheduler

    def rates(base: float, create: Any) -> Any:
        """Rates as training sees them: the scheduler steps after each update."""
        sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], base)
        scheduler, found = create(sgd), []
        for _ in range(41):
            found.append(scheduler.get_last_lr()[0])
            sgd.step()
            scheduler.step()
        return found.__getitem__

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no gradient is ever computed
        assert_same(rates(0.1, lambda sgd: lr_scheduler.LinearLR(sgd, 0.1, 1.0, 20)), "warm_up", 0.1, 20, 0.01)
        steps = rates(0.1, lambda sgd: lr_scheduler.MultiStepLR(sgd, [5, 20], 0.1))
        assert_same(steps, "step_decay", [0.1, 0.01, 0.001], [5, 20])
        restarts = rates(0.1, lambda sgd: lr_scheduler.CosineAnnealingWarmRestarts(sgd, 5, 2, 0.01))
        assert_same(restarts, "cosine_restarts", 0.1, 5, 0.01, 2)
        cosine = rates(0.1, lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, 40, 0.01))
        assert_same(cosine, "cosine", 0.1, 40, 0.01)

        def transformer(sgd: Any) -> Any:
            return lr_scheduler.LambdaLR(
                sgd, lambda step: 512**-0.5 * min(max(step, 1) ** -0.5, max(step, 1) * 8**-1.5)
            )

        assert_same(rates(1.0, transformer), "inverse_square_root", (512 * 8) ** -0.5, 8)


def test_the_transformers_rate_has_the_published_peaks() -> None:
    for width, peak in ((512, 6.98771e-4), (1024, 4.94106e-4)):
        found = oracle.inverse_square_root(4000, (width * 4000) ** -0.5, 4000).value
        assert abs(found - peak) < 5e-10


def test_torch_momentum_forgets_old_rates() -> None:
    torch = pytest.importorskip("torch", reason="torch, the independent oracle of momentum, is not installed")
    gradients, rates = (1.0, -2.0, 0.5), (0.1, 0.01, 0.2)
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weight], rates[0], momentum=0.5)
    for gradient, rate in zip(gradients, rates, strict=True):
        sgd.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        sgd.step()
    assert abs(float(weight.detach()[0]) - oracle.momentum_sgd(1.0, gradients, rates, 0.5).value) < 1e-14


@pytest.mark.isolated("schedules")  # it imports Keras
@pytest.mark.parametrize(
    ("curve", "over", "said"),
    [
        ([1.0, 0.5, 0.4], [], "ended with the smoothed loss 0.4, which is not over its limit, 1.6, nor was it"),
        ([1.0, 0.5, 4.0, 9.0], [2, 3], "took 4 of 40 steps .* though at step 3 it was 4 already, over its limit 2$"),
    ],
)
def test_a_sweep_that_ends_at_the_wrong_step_is_told_with_its_loss(
    curve: list[float], over: list[int], said: str
) -> None:
    """Wrong variant: "the loss was over its limit at []"."""
    from suites.properties.test_schedules_training import diverged

    assert re.search(said, diverged(curve, over))
