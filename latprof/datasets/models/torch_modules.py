"""What blocks and their steps are in torch; needs torch, and is loaded only where it is there."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from latprof.datasets.models.plans import INPUT, PlanNode, StepPlan
from latprof.datasets.models.steps import (
    Activate,
    GlobalPool,
    Layer,
    Normalize,
    PadChannels,
    Pool,
    Shuffle,
    SqueezeExcite,
    Step,
    Zeroize,
)
from latprof.datasets.models.token_steps import AttentionPool, TokenLayer
from latprof.datasets.models.weights import BATCH_NORM_EPSILON

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block
    from latprof.datasets.models.weights import Array, WeightSource
    from latprof.graph.operators import Operator

_ACTIVATIONS = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish, "gelu": nn.GELU}  # fmt: skip
_GATES = {"sigmoid": nn.Sigmoid, "hsigmoid": nn.Hardsigmoid}


class BlockNetwork(nn.Module):
    """A network of blocks, each of which reads the sum of some blocks before it, and a head."""

    def __init__(
        self, blocks: Sequence[Block], head: Sequence[Operator], source: WeightSource
    ) -> None:
        super().__init__()
        places = {block.name: index for index, block in enumerate(blocks)}
        self.inputs = [
            [places[name] for name in block.inputs] or [index - 1]
            for index, block in enumerate(blocks)
        ]
        self.last_use = {place: index for index, row in enumerate(self.inputs) for place in row}
        self.blocks = nn.ModuleList(BlockModule(block, source) for block in blocks)
        *pools, classifier = head
        self.head = nn.Sequential(*(nn.AdaptiveAvgPool2d(1) for _ in pools), nn.Flatten())
        self.classifier = nn.Linear(classifier.weight_shape[1], classifier.weight_shape[0])
        for name, array in source.linear(*classifier.weight_shape).items():
            getattr(self.classifier, name).data = torch.from_numpy(array)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (n, classes), of images, shape (n, 3, height, width)."""
        values, result = {-1: images}, images
        for index, (places, block) in enumerate(zip(self.inputs, self.blocks, strict=True)):
            result = values[places[0]]
            for place in places[1:]:
                result = result + values[place]
            for place in places:
                if self.last_use[place] == index:
                    values.pop(place, None)
            values[index] = result = block(result)
        return self.classifier(self.head(result))


class BlockModule(nn.Module):
    """A block's steps, and its residual where it has one."""

    def __init__(self, block: Block, source: WeightSource) -> None:
        super().__init__()
        self.residual = block.residual
        self.body = nn.Sequential(*(step_module(step, source) for step in block.layers))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The output of a block for the sum of its inputs."""
        result = self.body(value)
        return value + result if self.residual else result


def step_module(  # noqa: C901, PLR0911 - one case a step
    step: Step, source: WeightSource
) -> nn.Module:
    """The module of a step, with weights from ``source``."""
    match step:
        case Layer():
            return _convolution(step, source)
        case Activate():
            return _ACTIVATIONS[step.activation]()
        case Normalize():
            return _normalization(step.channels, source.normalization(step.channels))
        case Pool(kind="avg"):
            return nn.AvgPool2d(step.kernel, step.stride, step.padding, count_include_pad=False)
        case Pool():
            return nn.MaxPool2d(step.kernel, step.stride, step.padding)
        case GlobalPool():
            return nn.AdaptiveAvgPool2d(1)
        case SqueezeExcite():
            return _SqueezeExcite(step, source)
        case Shuffle():
            return _Shuffle(step.groups)
        case Zeroize():
            return _Zeroize()
        case PadChannels():
            return nn.ZeroPad3d((0, 0, 0, 0, 0, step.out_channels - step.in_channels))
        case TokenLayer() | AttentionPool():
            return _PlanModule(step.plan(), source)


def _convolution(layer: Layer, source: WeightSource) -> nn.Module:
    weights = source.layer(layer)
    convolve = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        bias=layer.bias,
    )
    convolve.weight.data = torch.from_numpy(weights["weight"])
    if layer.bias:
        convolve.bias.data = torch.from_numpy(weights["bias"])
    modules: list[nn.Module] = [convolve]
    if layer.normalized:
        modules.append(_normalization(layer.out_channels, weights))
    if layer.activation:
        modules.append(_ACTIVATIONS[layer.activation]())
    return nn.Sequential(*modules)


def _normalization(channels: int, weights: dict[str, Array]) -> nn.Module:
    normalize = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON)
    normalize.weight.data = torch.from_numpy(weights["scale"])
    normalize.bias.data = torch.from_numpy(weights["shift"])
    normalize.running_mean = torch.from_numpy(weights["mean"])
    normalize.running_var = torch.from_numpy(weights["variance"])
    return normalize


class _SqueezeExcite(nn.Module):
    def __init__(self, step: SqueezeExcite, source: WeightSource) -> None:
        super().__init__()
        # Random weights come in the order of the ONNX writer.
        squeeze, excite = (_convolution(layer, source) for layer in (step.squeeze, step.excite))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), squeeze, excite, _GATES[step.gate]())

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * self.gate(value)


class _Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        grouped = value.unflatten(1, (self.groups, -1))
        return grouped.transpose(1, 2).flatten(1, 2)


class _Zeroize(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * 0.0


class _PlanModule(nn.Module):
    """Runs a plan's operators one after the other, at any batch size."""

    def __init__(self, plan: StepPlan, source: WeightSource) -> None:
        super().__init__()
        self.plan = plan
        self.weights = nn.ParameterList(
            nn.Parameter(torch.from_numpy(source.learnt(each))) for each in plan.learnt.values()
        )

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        values = {INPUT: value, **dict(zip(self.plan.learnt, self.weights, strict=True))}
        for name, constant in self.plan.constants.items():
            if constant.dtype.kind == "f":
                values[name] = torch.from_numpy(constant).to(value)
        for node in self.plan.nodes:
            inputs = [values[name] for name in node.inputs if name in values]
            value = values[node.name] = _run_node(node, inputs)
        return value


def _run_node(  # noqa: C901, PLR0911 - one case an operator
    node: PlanNode, inputs: list[torch.Tensor]
) -> torch.Tensor:
    first = inputs[0]
    match node.op_type:
        case "Reshape":
            return first.reshape(first.shape[0], *node.shape[1:])
        case "Transpose":
            return first.permute(node.attributes["perm"])
        case "LayerNormalization":
            shape = first.shape[-1:]
            return nn.functional.layer_norm(first, shape, *inputs[1:], node.attributes["epsilon"])
        case "MatMul":
            return first @ inputs[1]
        case "Add":
            return first + inputs[1]
        case "Mul":
            return first * inputs[1]
        case "Div":
            return first / inputs[1]
        case "Erf":
            return torch.erf(first)
        case "Softmax":
            return first.softmax(-1)
        case "Conv":
            given = node.attributes
            return nn.functional.conv2d(
                *inputs, given["strides"], given["pads"][:2], groups=given["group"]
            )
    raise ValueError(f"no operator {node.op_type}")
