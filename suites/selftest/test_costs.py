"""The closed forms of what workloads cost: against published figures, TensorFlow's graphs, and XLA's own count."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import controls, costs
from benchmarks.costs import Cost, Layer
from benchmarks.workload import WITHOUT, Contender, Workload
from suites.implementations import ROOT, Implementation, techniques
from suites.selftest.counted import CASES, Case, Counts

PUBLISHED = {
    # He et al. 2015, table 1, gives 1.8, 3.6, 3.8, 7.6 and 11.3e9. To the unit: torchvision's networks of depth 18 and
    # 34 and Keras's of depth 50 and more, counted by hooks on their layers.
    (18, 4): 1_814_073_344,
    (34, 4): 3_663_761_408,
    (50, 4): 3_857_973_248,
    (101, 4): 7_570_194_432,
    (152, 4): 11_282_415_616,
    # Section 4.2, depth 6n + 2: 14,155,776 n - 1,916,288.
    **{(6 * n + 2, 3): 14_155_776 * n - 1_916_288 for n in (3, 5, 7, 9, 18, 200)},
}
XLA_ELEMENTWISE = 1.15
"""XLA counts every operation. Sums here are over 24 terms and more, which are 48 operations for a number, so that the
few that follow on each number (bias, activation, softmax, normalisation) add at most this much."""

XLA_PADDING = 0.85
"""XLA leaves out the zeros of padding, which are a twelfth of the taps at 16x16 and more after a stride."""


def cost_of(case: Case, operation: str = "", **options: int) -> Cost:
    """The closed form."""
    bench = importlib.import_module(f"benchmarks.bench_{case.technique}")
    cost: Cost = bench.cost(case.parameters, operation or case.operation, without=case.without, **options)
    return cost


def count(backend: str) -> dict[str, Counts]:
    """What a backend counts, in a process of its own."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "suites.selftest.counted"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counted: dict[str, Counts] = json.loads(done.stdout.splitlines()[-1])
    return counted


@pytest.fixture(scope="module")
def in_graphs() -> dict[str, Counts]:
    """TensorFlow's counts."""
    return count("tensorflow")


@pytest.fixture(scope="module")
def by_xla() -> dict[str, Counts]:
    """XLA's counts."""
    return count("jax")


@pytest.mark.parametrize(("depth", "stages"), PUBLISHED)
def test_residual_networks_have_the_published_multiply_adds(depth: int, stages: int) -> None:
    """Wrong variant: the stride on the 3x3 (v1.5) for v1, operations for multiply-adds, a projection too many."""
    side, classes = (224, 1000) if stages == 4 else (32, 10)
    sizes = {"depth": depth, "stages": stages, "classes": classes, "side": side, "channels": 3, "batch": 1}
    cost = importlib.import_module("benchmarks.bench_residual").cost
    assert cost(sizes, "inference").multiply_adds == PUBLISHED[depth, stages]


def test_base_transformer_has_the_weights_of_its_own_table() -> None:
    """Vaswani et al. 2017, table 3, with 37,000 tokens. Wrong variant: the embedding twice, biases in attention."""
    bench = importlib.import_module("benchmarks.bench_transformer")
    sizes = bench.BASE | {"vocabulary": 37_000}
    assert bench.cost(sizes, "train").bytes - bench.cost(sizes, "gradient").bytes == 4 * 63_045_632


@pytest.mark.parametrize("case", CASES, ids=str)
def test_products_are_those_of_the_graph(case: Case, in_graphs: dict[str, Counts]) -> None:
    """Exactly, to the unit. Wrong variants: below; and a gradient to images, to which none is due."""
    assert cost_of(case).multiply_adds == in_graphs[str(case)]["multiply_adds"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_are_those_of_the_graph(case: Case, in_graphs: dict[str, Counts]) -> None:
    """A step of training moves one velocity for each. Wrong variant: no biases, or none of the normalisations."""
    velocities = cost_of(case, "train").bytes - cost_of(case, "gradient").bytes
    steps = case.parameters.get("every", 1)
    assert velocities == steps * costs.VARIABLE * in_graphs[str(case)]["weights"]


FORWARD = [case for case in CASES if case.operation == "inference" and ("block", 128) not in case.sizes]


@pytest.mark.parametrize("case", FORWARD, ids=str)
def test_kept_activations_are_the_factors_in_the_graph(case: Case, in_graphs: dict[str, Counts]) -> None:
    """By blocks the weights are factors too, but are not kept. Wrong variant: the input of three projections thrice."""
    weights = in_graphs[str(case)]["weights"]
    kept = cost_of(case, "gradient", width=1).bytes - cost_of(case, "inference", width=1).bytes
    assert kept - costs.VARIABLE * weights == in_graphs[str(case)]["factors"]


@pytest.mark.parametrize("case", [case for case in CASES if case.in_jax], ids=str)
def test_xla_counts_as_much_and_a_little_more(case: Case, by_xla: dict[str, Counts]) -> None:
    """Wrong variants: below; and a count of what JAX does beside the step. For the bounds see their docstrings."""
    share = by_xla[str(case)]["operations"] / (2 * cost_of(case).multiply_adds)
    low, high = (XLA_PADDING, 1) if case.convolves else (1, XLA_ELEMENTWISE)
    assert low < share < high


def forgotten_gradients(layers: Sequence[Layer], operation: str, **sizes: int) -> Cost:
    """A step whose backward pass costs as much as the forward pass."""
    return STEP([replace(layer, gradients=1) for layer in layers], operation, **sizes)


STEP, PRODUCT, DENSE, CONVOLUTION = costs.step, costs.product, costs.dense, costs.convolution


def forgotten_heads(_pairs: int, *sizes: int) -> Layer:
    """Scores of one head of one example."""
    return PRODUCT(1, *sizes)


def forgotten_strides(side: int, _strides: int) -> int:
    """As many places after a convolution as before it."""
    return side


def differentiated_data(*sizes: int, **options: bool) -> Layer:
    """A dense layer that has a gradient to the batch."""
    return DENSE(*sizes, **options | {"data": False})


def single_pixel(batch: int, side: int, _kernel: int, *sizes: int, **options: Any) -> Layer:
    """A convolution whose kernel has one tap."""
    return CONVOLUTION(batch, side, 1, *sizes, **options)


def forgotten_recomputation(layers: Sequence[Layer], **_: bool) -> list[Layer]:
    """A segment that is not run again."""
    return list(layers)


WRONG: dict[str, Callable[..., Any]] = {
    "step": forgotten_gradients,
    "product": forgotten_heads,
    "strided": forgotten_strides,
    "dense": differentiated_data,
    "convolution": single_pixel,
    "checkpointed": forgotten_recomputation,
}
"""By the function whose place they take."""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_closed_form_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch, in_graphs: dict[str, Counts]
) -> None:
    """Wrong variant: cases so small or so alike that a mistake makes no difference."""
    monkeypatch.setattr(costs, name, WRONG[name])
    caught = [str(case) for case in CASES if cost_of(case).multiply_adds != in_graphs[str(case)]["multiply_adds"]]
    assert len(caught) >= 2


def test_decoding_with_a_cache_takes_the_products_of_one_forward_pass() -> None:
    """Each position is computed once, and scores the whole room. Wrong variant: the memory projected every time."""
    bench = importlib.import_module("benchmarks.bench_transformer")
    sizes = bench.SMALL | {"vocabulary": 80}
    whole, one = bench.cost(sizes, "inference"), sizes | {"target": 1}
    assert bench.cost(sizes, "decode").multiply_adds == whole.multiply_adds
    assert bench.cost(sizes, "decode").bytes > 10 * whole.bytes  # weights come by for each of 16 tokens
    uncached, encoder = bench.cost(sizes, "decode", without=True), bench.cost(one, "inference").multiply_adds
    assert bench.cost(one, "decode", without=True).multiply_adds == encoder
    assert 15 * (whole.multiply_adds - encoder) < uncached.multiply_adds < 16 * whole.multiply_adds


def contender(technique: str, parameters: dict[str, int], implementation: str, precision: str = "float32") -> Contender:
    """A contender of a workload of these sizes, in training."""
    workload = Workload(technique, "sizes", parameters, {})
    chosen = Implementation(technique, implementation, f"reference.{technique}")
    return Contender(workload, "train", chosen, precision, "tensorflow", "cpu", "quick")


SIZES = {"side": 8, "convolutions": 0, "dense": 1, "width": 24, "batch": 5}


def test_a_contender_costs_what_its_workload_does_at_its_precision() -> None:
    """Wrong variant: weights at half their width, or "without" mixed precision at the width of the precision."""
    plain, mixed = (costs.of(contender("mixed_precision", SIZES, "reference", p)) for p in ("float32", "mixed_float16"))
    assert plain is not None
    assert mixed is not None
    assert plain.multiply_adds == mixed.multiply_adds
    assert plain.bytes - mixed.bytes == 2 * 5 * 24  # the one activation that is kept
    assert costs.of(contender("mixed_precision", SIZES, WITHOUT, "mixed_float16")) == plain
    assert costs.of(contender("mixed_precision", SIZES, "keras")) == plain
    sizes = {"heads": 4, "head_size": 6, "length": 20, "batch": 3}
    assert costs.of(contender("dot_product_attention", sizes, WITHOUT)) != costs.of(
        contender("dot_product_attention", sizes, "reference")
    )


def test_control_kernels_cost_what_they_say_and_batches_have_no_cost() -> None:
    """Wrong variant: a cost of zero for what is no arithmetic, which would be a rate of zero."""
    for name in controls.KERNELS:
        cost = costs.of(contender("residual", {}, name))
        assert cost == Cost(**controls.work(name, "cpu", "float32"))
    assert costs.of(contender("input_pipelines", {}, "reference")) is None


def test_every_workload_has_a_cost_and_none_needs_a_framework() -> None:
    """Wrong variant: an operation or a size that a closed form does not know; an import of what holds the shapes."""
    code = """
import importlib, sys
from benchmarks import costs
for technique in sys.argv[1:]:
    bench = importlib.import_module(f"benchmarks.bench_{technique}")
    if not hasattr(bench, "cost"):
        print(technique)
        continue
    for workload in bench.WORKLOADS:
        for operation in {operation for found in workload.operations.values() for operation in found}:
            for without in (False, True):
                cost = bench.cost(workload.parameters, operation, without=without)
                assert cost.multiply_adds > 0 and cost.bytes > 0, (workload, operation)
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules), sys.modules
"""
    command = [sys.executable, "-c", code, *techniques()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["curriculum", "initialization", "input_pipelines"]


def test_an_unknown_operation_is_refused() -> None:
    """Wrong variant: whatever is no inference taken for training."""
    with pytest.raises(ValueError, match="inference, gradient or train"):
        costs.step([Layer(1)], "decode", batch=1, logits=1, width=4)
