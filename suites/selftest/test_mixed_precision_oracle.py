"""The oracle of mixed precision against NumPy's float16, ml_dtypes' bfloat16, and torch's gradient scaler."""

import itertools
import math

import numpy as np
import pytest

from suites.properties.oracles import mixed_precision as oracle

EDGES = {
    "float16": {
        2.0**-24: 2.0**-24,
        2.0**-25: 0.0,
        1.5 * 2.0**-25: 2.0**-24,
        65519.0: 65504.0,
        65520.0: math.inf,
        1 + 2.0**-11: 1.0,
        1 + 2.0**-10: 1 + 2.0**-10,
        2049.0: 2048.0,
        -(2.0**-25): 0.0,
    },
    "bfloat16": {
        2.0**-133: 2.0**-133,
        2.0**-134: 0.0,
        2.0**-25: 2.0**-25,
        257.0: 256.0,
        1 + 2.0**-8: 1.0,
        3.4e38: math.inf,
    },
}
"""What some numbers become in each format: the greatest and least of it, and ties."""


@pytest.mark.parametrize(("dtype", "number"), [(d, n) for d, edges in EDGES.items() for n in edges])
def test_rounding_at_the_edges(dtype: str, number: float) -> None:
    assert oracle.rounded(number, dtype) == EDGES[dtype][number]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_is_that_of_the_format(dtype: str) -> None:
    library = np
    if dtype == "bfloat16":
        library = pytest.importorskip("ml_dtypes", reason="ml_dtypes, which has bfloat16, is not installed")
    generator = np.random.default_rng(0)
    exponents = generator.integers(-40, 20, 4000)
    numbers = np.ldexp(generator.uniform(-2, 2, exponents.size), exponents).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = numbers.astype(getattr(library, dtype)).astype(np.float64)
    assert [oracle.rounded(float(number), dtype) for number in numbers] == expected.tolist()


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_law_is_that_of_torch(interval: int) -> None:
    torch = pytest.importorskip("torch", reason="torch, whose gradient scaler is compared with, is not installed")
    for finites in itertools.product((True, False), repeat=6):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=interval)
        weight = torch.zeros(1, requires_grad=True)
        optimizer, found = torch.optim.SGD([weight], lr=1.0), []
        scaler.scale(weight)
        for finite in finites:
            weight.grad = torch.tensor([1.0 if finite else math.inf])
            scaler.step(optimizer)
            scaler.update()
            found.append((scaler.get_scale(), scaler._get_growth_tracker()))
        assert found == oracle.states(finites, initial=2.0**10, growth_interval=interval), finites
