"""The oracle of checkpointing against PyTorch's autograd and its own checkpoints, and against the paper's formula."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from suites.properties.gradients import torch_gradients
from suites.properties.oracles import checkpointing as oracle

SEGMENTS = ((1,), (4,), (1, 1, 1, 1), (2, 2), (1, 3), (3, 3, 2))
REASON = "torch, the independent oracle of checkpointing, is not installed"


@pytest.mark.parametrize("lengths", SEGMENTS)
def test_chain_and_runs_are_those_of_torch(lengths: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason=REASON)
    from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

    generator, runs = np.random.default_rng(len(lengths)), 0
    sizes = generator.integers(1, 4, sum(lengths) + 1)
    inputs, cotangent = generator.integers(-4, 5, (2, sizes[0])), generator.integers(-2, 3, (2, sizes[-1]))
    kernels = [generator.integers(-1, 2, shape) for shape in itertools.pairwise(sizes)]
    tensor = x = torch.tensor(inputs, dtype=torch.float64, requires_grad=True)
    weights = [torch.tensor(kernel, dtype=torch.float64, requires_grad=True) for kernel in kernels]

    def run(hidden: Any, start: int, end: int) -> Any:
        nonlocal runs
        for weight in weights[start:end]:
            runs += 1
            hidden = torch.relu(hidden @ weight)
        return hidden

    with set_checkpoint_early_stop(False):
        for start, end in itertools.pairwise([0, *itertools.accumulate(lengths)]):
            tensor = checkpoint(run, tensor, start, end, use_reentrant=False)
        found = torch.autograd.grad(tensor, [x, *weights], torch.tensor(cotangent, dtype=torch.float64))

    truth = oracle.chain(inputs, kernels, cotangent)
    np.testing.assert_array_equal(tensor.detach().numpy(), truth.value)
    for gradient, wanted in zip(found, (truth.to_input, *truth.to_kernels), strict=True):
        np.testing.assert_array_equal(gradient.numpy(), wanted)
    assert runs == oracle.cost(lengths).runs


@pytest.mark.parametrize("segments", range(1, 13))
def test_peak_of_equal_segments_is_that_of_the_paper(segments: int) -> None:
    for length in range(1, 13):
        peak = oracle.cost([length] * segments).peak
        assert peak == segments + length
        assert peak >= 2 * math.sqrt(segments * length)
        assert (peak**2 == 4 * segments * length) == (segments == length)


def test_gradients_of_torch_are_taken_as_training_takes_them() -> None:
    """Reentrant checkpointing refuses `torch.autograd.grad`, and is right by `backward`. Wrong variant: `grad`."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.utils.checkpoint import checkpoint

    x, apart = (torch.tensor([2.0], requires_grad=True) for _ in range(2))
    x.grad = torch.tensor([7.0])
    y = checkpoint(lambda x: x**3, x, use_reentrant=True)
    found = torch_gradients(y, [x, apart], [2.0])
    assert (float(found[0]), found[1]) == (24.0, None)
    assert float(x.grad) == 7.0, "what was there is left as it was"
