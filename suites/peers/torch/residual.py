"""ResNets of `torch.nn` modules behind ``imagenet_resnet``, laid out as torchvision lays out its own.

Torchvision itself cannot stand here: it has no builds for all builds of torch that the other peers run on. The modules
are torch's own (`Conv2d`, `BatchNorm2d`, `MaxPool2d`), put together in torch's way. Their parameters are Keras
variables in the contract's shapes and order; kernels lie in memory as torch wants them for images with the channels
last, so that no step moves them.
"""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch import nn

from suites.implementations import NotProvided

_REPEATS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _normalized(channels: int, filters: int, kernel: int, strides: int) -> list[nn.Module]:
    """A convolution, padded alike on all sides, and its batch normalization."""
    return [nn.Conv2d(channels, filters, kernel, strides, kernel // 2, bias=False), nn.BatchNorm2d(filters)]


class _Block(nn.Module):
    """relu(F(x) + h(x)), from `channels` to `out` channels."""

    def __init__(self, channels: int, filters: int, strides: int, *, bottleneck: bool, stride_on: str) -> None:
        super().__init__()
        self.out = 4 * filters if bottleneck else filters
        if bottleneck:
            first, second = (strides, 1) if stride_on == "1x1" else (1, strides)
            branch = [(filters, 1, first), (filters, 3, second), (self.out, 1, 1)]
        else:
            branch = [(filters, 3, strides), (filters, 3, 1)]
        layers: list[nn.Module] = []
        inputs = channels
        for outputs, kernel, step in branch:
            layers += [*_normalized(inputs, outputs, kernel, step), nn.ReLU(inplace=True)]
            inputs = outputs
        self.branch = nn.Sequential(*layers[:-1])  # the last relu comes after the sum
        changes = strides != 1 or channels != self.out
        self.shortcut = nn.Sequential(*_normalized(channels, self.out, 1, strides)) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, out, H / strides, W / strides)."""
        return nn.functional.relu(self.branch(x) + self.shortcut(x), inplace=True)


class _Head(nn.Module):
    """The mean over the places of an image, and logits, in the dtype of the head's parameters."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.pool, self.logits = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, classes)."""
        return self.logits(self.pool(x.to(self.logits.weight.dtype)).flatten(1))


def _network(depth: int, stride_on: str, channels: int, classes: int) -> nn.Module:
    layers = [*_normalized(channels, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, repeats in enumerate(_REPEATS[depth]):
        for index in range(repeats):
            strides = 2 if stage and not index else 1
            block = _Block(inputs, 64 << stage, strides, bottleneck=depth >= 50, stride_on=stride_on)
            layers.append(block)
            inputs = block.out
    return nn.Sequential(*layers, _Head(inputs, classes))


class _HeNormal(keras.initializers.HeNormal):
    """Kernels (H, W, inputs, outputs) that lie in memory in the order outputs, H, W, inputs: torch's channels last."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        kernel = super().__call__(shape, dtype)
        return kernel.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


def _as_torch_has_it(value: torch.Tensor) -> torch.Tensor:
    """A view of a kernel (H, W, inputs, outputs) or (inputs, outputs) with its axes in torch's order."""
    return value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value


@keras.saving.register_keras_serializable(package="touchstone_peers_torch")
class ResNet(keras.layers.Layer):
    """A network of torch's modules whose parameters and statistics are the layer's variables."""

    def __init__(self, depth: int, stride_on: str, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes: dict[str, Any] = {"depth": depth, "stride_on": stride_on, "classes": classes}

    def build(self, shape: Any) -> None:
        """Create torch's module without parameters of its own, and the variables in the contract's order."""
        with torch.device("meta"):
            module = _network(self.sizes["depth"], self.sizes["stride_on"], shape[-1], self.sizes["classes"])
        self.by_name: dict[str, Any] = {}
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Conv2d):
                kernel = (*layer.kernel_size, layer.in_channels, layer.out_channels)
                self._add(name, "weight", "kernel", kernel, _HeNormal(), autocast=True)
            elif isinstance(layer, nn.BatchNorm2d):
                self._add(name, "weight", "gamma", (layer.num_features,), "ones")
                self._add(name, "bias", "beta", (layer.num_features,), "zeros")
                self._add(name, "running_mean", "moving_mean", (layer.num_features,), "zeros", trainable=False)
                self._add(name, "running_var", "moving_variance", (layer.num_features,), "ones", trainable=False)
            elif isinstance(layer, nn.Linear):
                self._add(name, "weight", "kernel", (layer.in_features, layer.out_features), "glorot_uniform")
                self._add(name, "bias", "bias", (layer.out_features,), "zeros")
        self.held = (module,)  # Keras would move a module that it finds to a device, and this one has no data

    def _add(
        self,
        layer: str,
        parameter: str,
        name: str,
        shape: tuple[int, ...],
        start: Any,
        *,
        trainable: bool = True,
        autocast: bool = False,
    ) -> None:
        options = {"shape": shape, "initializer": start, "trainable": trainable, "autocast": autocast}
        self.by_name[f"{layer}.{parameter}"] = self.add_weight(name=f"{layer}_{name}".replace(".", "_"), **options)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Images (B, H, W, C) to logits (B, classes); the statistics are updated in place."""
        found = {name: _as_torch_has_it(variable.value) for name, variable in self.by_name.items()}
        module = self.held[0].train(bool(training))
        return torch.func.functional_call(module, found, (images.permute(0, 3, 1, 2),))

    def compute_output_spec(self, images: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - as Keras calls it
        """Logits are in the dtype of the variables, not in the compute dtype."""
        return keras.KerasTensor((images.shape[0], self.sizes["classes"]), self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs."""
        return {**super().get_config(), **self.sizes}


def imagenet_resnet(
    depth: int,
    *,
    preactivation: bool = False,
    shortcut: str | None = "projection",
    stride_on: str = "3x3",
    classes: int = 1000,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    zero_init_last: bool = False,
    dtype: str | None = None,
) -> Any:
    """An untrained net of torch's modules, from images to float32 logits.

    Args:
        depth: 18, 34, 50, 101 or 152.
        preactivation: False.
        shortcut: "projection".
        stride_on: "3x3" or "1x1".
        classes: how many logits.
        input_shape: (height, width, C).
        zero_init_last: False.
        dtype: the name of a Keras dtype policy.

    Raises:
        NotProvided: torchvision, whose layout this is, has no such net.
    """
    if depth not in _REPEATS:
        raise NotProvided(f"torchvision has no ResNet of depth {depth}")
    if preactivation or shortcut != "projection" or zero_init_last:
        raise NotProvided("torchvision's ResNets are post-activation, with projections, and start every scale at one")
    images = keras.Input(input_shape, name="images")
    name = f"resnet{depth}"
    return keras.Model(images, ResNet(depth, stride_on, classes, dtype=dtype, name=name)(images), name=f"net_of_{name}")


def in_order(net: Any) -> list[Any]:
    """The weights of a net in the contract's order."""
    return list(net.layers[-1].by_name.values())
