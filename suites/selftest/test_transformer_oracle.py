"""The float64 oracle of the Transformer against other people's: torch's layers, and keras-hub's positions."""

from typing import Any

import numpy as np
import pytest

from suites.properties.numerics import gamma
from suites.properties.oracles import transformer as oracle
from suites.properties.transformer_block_cases import BlockCase


def ours(case: BlockCase) -> np.ndarray:
    """What the oracle says of a case."""
    return case.truth().value


def torchs(torch: Any, case: BlockCase) -> np.ndarray:
    """What torch's layer computes in float64 with the weights of a case."""
    kind = torch.nn.TransformerDecoderLayer if case.source else torch.nn.TransformerEncoderLayer
    layer = kind(
        case.width,
        case.heads,
        case.feed_forward,
        dropout=0.0,
        batch_first=True,
        norm_first=case.norm_first,
        dtype=torch.float64,
    )
    tensors = iter([torch.from_numpy(weight.astype(np.float64)) for weight in case.weights])
    parameters: dict[str, Any] = {}
    norms = []
    for name in ("self_attn", "multihead_attn")[: 2 if case.source else 1]:
        kernels, biases = [], []
        for _ in range(4):
            kernels.append(next(tensors).reshape(case.width, case.width).T)
            biases.append(next(tensors).flatten())
        parameters |= {f"{name}.in_proj_weight": torch.cat(kernels[:3]), f"{name}.in_proj_bias": torch.cat(biases[:3])}
        parameters |= {f"{name}.out_proj.weight": kernels[3], f"{name}.out_proj.bias": biases[3]}
        norms.append((next(tensors), next(tensors)))
    for name in ("linear1", "linear2"):
        parameters |= {f"{name}.weight": next(tensors).T, f"{name}.bias": next(tensors)}
    norms.append((next(tensors), next(tensors)))
    for i, (scale, shift) in enumerate(norms, 1):
        parameters |= {f"norm{i}.weight": scale, f"norm{i}.bias": shift}
    layer.load_state_dict(parameters)
    x = torch.from_numpy(case.x)
    blocked = torch.from_numpy(~case.attended).repeat_interleave(case.heads, 0)  # (B N, T, T)
    if case.source:
        memory_blocked = torch.from_numpy(~case.memory_attended).repeat_interleave(case.heads, 0)
        found = layer(x, torch.from_numpy(case.memory), tgt_mask=blocked, memory_mask=memory_blocked)
    else:
        found = layer(x, src_mask=blocked)
    return np.asarray(found.detach())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("decoder", [False, True])
def test_blocks_equal_those_of_torch(decoder: bool, norm_first: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is an independent oracle where it is installed")
    for seed in range(5):
        mask, source = ((1, 1, 0, 1), (1, 0, 1, 1)), 3 if decoder else 0
        memory_mask = ((1, 1, 0), (0, 1, 1)) if decoder else None
        case = BlockCase(
            decoder, 2, 4, source, 6, 3, 5, norm_first=norm_first, mask=mask, memory_mask=memory_mask, seed=seed
        )
        bound = 2 * case.truth("float64").error
        assert (np.abs(torchs(torch, case) - ours(case)) <= bound).all(), case


def test_loss_equals_that_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is an independent oracle where it is installed")
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(3, 4, 7)), random.integers(0, 7, (3, 4))
    mask = random.random((3, 4)) < 0.7
    truth = oracle.smoothed_loss(targets, logits, 0.1, mask, "float64")
    kept = torch.from_numpy(np.where(mask, targets, -100)).flatten()
    found = torch.nn.functional.cross_entropy(torch.from_numpy(logits).flatten(0, 1), kept, label_smoothing=0.1)
    assert abs(float(found) - truth.value) <= 2 * truth.error


def test_positions_equal_those_of_keras_hub() -> None:
    hub = pytest.importorskip("keras_hub", reason="keras-hub is an independent oracle where it is installed")
    from keras import ops

    found = hub.layers.SinePositionEncoding(dtype="float32")(ops.zeros((1, 50, 16)))[0]
    # keras-hub's angles are in float32: a power and a product, then a sine, are off by what the angle is off.
    bound = gamma(16, "float32") * np.arange(1, 51)[:, None]
    assert (np.abs(ops.convert_to_numpy(found) - oracle.positions(50, 16)) <= bound).all()


def test_bounds_hold_for_numpy_in_float32() -> None:
    """The affine bounds of a block hold for the same formulas taken step by step in float32, and are not idle."""
    ratios = []
    for seed in range(20):
        case = BlockCase(batch=1, norm_first=bool(seed % 2), seed=seed)
        truth = case.truth("float32")
        error = np.abs(in_float32(case) - truth.value)
        assert (error <= truth.error).all(), case
        ratios.append((error / truth.error).max())
    assert max(ratios) > 0.01, f"the errors are {max(ratios):.1%} of their bounds at most"


def in_float32(case: BlockCase) -> np.ndarray:
    """An encoder block in NumPy's float32, with the softmax and the LayerNorm that everybody writes."""
    weights = iter([weight.astype(np.float32) for weight in case.weights])
    x = case.x[0].astype(np.float32)
    *attention, scale, shift = (next(weights) for _ in range(10))
    first, inner_bias, second, bias, last_scale, last_shift = weights

    def norm(t: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
        centred = t - t.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-5)) * scale + shift

    def attend(t: np.ndarray) -> np.ndarray:
        query, keys, values = (np.einsum("td,dnh->nth", t, attention[i]) + attention[i + 1][:, None] for i in (0, 2, 4))
        scores = query @ keys.swapaxes(1, 2) * np.float32(query.shape[-1] ** -0.5)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        found = powers / powers.sum(-1, keepdims=True) @ values
        return np.einsum("nth,nhd->td", found, attention[6]) + attention[7]

    def feed_forward(t: np.ndarray) -> np.ndarray:
        return np.maximum(t @ first + inner_bias, 0) @ second + bias

    if case.norm_first:
        x = x + attend(norm(x, scale, shift))
        return x + feed_forward(norm(x, last_scale, last_shift))
    x = norm(x + attend(x), scale, shift)
    return norm(x + feed_forward(x), last_scale, last_shift)
