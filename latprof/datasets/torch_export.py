"""Torch modules of a search space's architectures, for tests and for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.datasets.onnx_export import _BATCH_NORM_EPSILON, WeightSource
from latprof.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

    from latprof.datasets.layers import Block, Layer
    from latprof.datasets.space import Architecture, SearchSpace


def build_torch(
    space: SearchSpace, architecture: Architecture, *, seed: int = 0
) -> torch.nn.Module:
    """Build an architecture's torch module; see :meth:`SearchSpace.build_torch`."""
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "torch", "building a torch module") from None
    from torch import nn

    source = WeightSource(seed)

    class MobileBlock(nn.Module):  # type: ignore[misc,unused-ignore]
        """A block's layers, and its residual where it has one."""

        def __init__(self, block: Block) -> None:
            super().__init__()
            self.residual = block.residual
            self.body = nn.Sequential(*(convolution(layer) for layer in block.layers))

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            result = self.body(value)
            return value + result if self.residual else result

    def convolution(layer: Layer) -> nn.Module:
        weights = {name: torch.from_numpy(array) for name, array in source.layer(layer).items()}
        convolve = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            layer.kernel // 2,
            groups=layer.groups,
            bias=False,
        )
        normalize = nn.BatchNorm2d(layer.out_channels, eps=_BATCH_NORM_EPSILON)
        convolve.weight.data = weights["weight"]
        normalize.weight.data, normalize.bias.data = weights["scale"], weights["shift"]
        normalize.running_mean, normalize.running_var = weights["mean"], weights["variance"]
        parts: list[nn.Module] = [convolve, normalize]
        if layer.activation:
            parts.append(nn.ReLU6())
        return nn.Sequential(*parts)

    blocks = [MobileBlock(block) for block in space.blocks(architecture)]
    _, head = space.head(architecture)
    classifier = nn.Linear(head.weight_shape[1], head.weight_shape[0])
    for name, array in source.linear(*head.weight_shape).items():
        getattr(classifier, name).data = torch.from_numpy(array)
    module: nn.Module = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
    return module.eval()
