"""The float64 oracle of dot-product attention against other people's: ONNX's reference evaluator, and torch."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from suites.properties.oracles import dot_product_attention as oracle

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"scale": 0.3},
    {"causal": True},
    {"masked": True},
    {"masked": True, "scale": 1.5},
)


def inputs(masked: bool) -> dict[str, Any]:
    """Query, keys, values, and a mask that leaves one row nothing."""
    random = np.random.default_rng(3)
    batch, steps, source, heads, head, size = 2, 4, 5, 3, 6, 2
    shapes = {"query": (batch, steps, heads, head), "keys": (batch, source, heads, head)}
    arrays = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    arrays["values"] = random.standard_normal((batch, source, heads, size))
    mask = random.random((batch, heads, steps, source)) < 0.7
    mask[0, 0, 0] = False
    return {**arrays, "mask": mask if masked else None}


def heads_first(array: np.ndarray) -> np.ndarray:
    """(B, T, N, H) to (B, N, T, H), and back."""
    return array.swapaxes(1, 2)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_oracle_equals_onnx(options: dict[str, Any]) -> None:
    """ONNX defines attention (opset 23 and later) by NumPy code of its own, which has another layout."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    options = dict(options)
    case = inputs(options.pop("masked", False))
    names = ["query", "keys", "values", *(["mask"] if case["mask"] is not None else [])]
    attributes: dict[str, Any] = {"is_causal": int(options.get("causal", False))}
    attributes |= {"scale": options["scale"]} if "scale" in options else {}
    types = [TensorProto.BOOL if name == "mask" else TensorProto.DOUBLE for name in names]
    graph = helper.make_graph(
        [helper.make_node("Attention", names, ["output"], **attributes)],
        "attention",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, types, strict=True)],
        [helper.make_tensor_value_info("output", TensorProto.DOUBLE, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=onnx.IR_VERSION)
    fed = {name: case[name] if name == "mask" else heads_first(case[name]) for name in names}
    output = np.asarray(ReferenceEvaluator(model).run(None, fed)[0])
    # ONNX keeps the scale as a float32 attribute.
    found = oracle.attention(**case, **options).output
    assert_allclose(heads_first(output), found, rtol=0, atol=1e-6 if "scale" in options else 1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_oracle_equals_torch(options: dict[str, Any]) -> None:
    """Torch's scaled_dot_product_attention, whose rows without any position are zero too, and its gradient."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    options = dict(options)
    case = inputs(options.pop("masked", False))
    names = ("query", "keys", "values")
    tensors = {name: torch.tensor(case[name], requires_grad=True) for name in names}
    mask = None if case["mask"] is None else torch.tensor(case["mask"])
    output = torch.nn.functional.scaled_dot_product_attention(
        *(tensors[name].transpose(1, 2) for name in names),
        attn_mask=mask,
        is_causal=options.get("causal", False),
        scale=options.get("scale"),
    ).transpose(1, 2)
    truth = oracle.attention(**case, **options)
    assert_allclose(output.detach().numpy(), truth.output, rtol=0, atol=1e-12)
    cotangent = np.random.default_rng(4).standard_normal(output.shape)
    found = torch.autograd.grad(output, list(tensors.values()), torch.tensor(cotangent))
    for name, gradient in zip(names, found, strict=True):
        assert_allclose(
            gradient.numpy(), oracle.gradient({**case, **options}, cotangent, name), rtol=0, atol=1e-11, err_msg=name
        )


def test_oracle_equals_torch_multi_head() -> None:
    """`torch.nn.MultiheadAttention` with the same weights: N and H are one axis there, and matrices are transposed."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    random = np.random.default_rng(5)
    size, heads, head = 6, 3, 2
    shapes = [(size, heads, head), (heads, head)] * 3 + [(heads, head, size), (size,)]
    weights = [random.standard_normal(shape) for shape in shapes]
    query, source = random.standard_normal((2, 4, size)), random.standard_normal((2, 5, size))
    module = torch.nn.MultiheadAttention(size, heads, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        kernels = [kernel.reshape(size, heads * head).T for kernel in weights[:6:2]]
        module.in_proj_weight.copy_(torch.tensor(np.concatenate(kernels)))
        module.in_proj_bias.copy_(torch.tensor(np.concatenate([bias.ravel() for bias in weights[1:6:2]])))
        module.out_proj.weight.copy_(torch.tensor(weights[6].reshape(heads * head, size).T))
        module.out_proj.bias.copy_(torch.tensor(weights[7]))
        output, shares = module(*map(torch.tensor, (query, source, source)), average_attn_weights=False)
    truth = oracle.multi_head(query, source, source, weights)
    assert_allclose(output.numpy(), truth.output, rtol=0, atol=1e-12)
    assert_allclose(shares.numpy(), truth.weights, rtol=0, atol=1e-12)
