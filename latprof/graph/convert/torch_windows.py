"""Convolutions and pools in torch, with every way of padding that ONNX has.

Symmetric padding is left to torch's own operator; other padding is an operator before it.
"""

from __future__ import annotations

import math
import operator as python
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from latprof.graph.convert.onnx_operator import OnnxOperator


def conv(op: OnnxOperator) -> Any:
    """Conv in one to three dimensions."""
    x, weight, bias = op.inputs[0], op.inputs[1], op.input(2)
    rank = (weight.dim() if isinstance(weight, torch.Tensor) else len(op.shape(1))) - 2
    kernel = op.attribute("kernel_shape") or op.shape(1)[2:]
    strides, dilations = _window(op, rank)
    x, padding = _padded(op, x, _pads(op, kernel, strides, dilations), 0.0)
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    return op.call(function, x, weight, bias, strides, padding, dilations, op.attribute("group", 1))


def conv_transpose(op: OnnxOperator) -> Any:
    """ConvTranspose with the same padding on both sides."""
    x, weight, bias = op.inputs[0], op.inputs[1], op.input(2)
    rank = (weight.dim() if isinstance(weight, torch.Tensor) else len(op.shape(1))) - 2
    strides, dilations = _window(op, rank)
    pads = op.attribute("pads", [0] * 2 * rank)
    if (
        pads[:rank] != pads[rank:]
        or op.attribute("output_shape")
        or op.attribute("auto_pad", "NOTSET") != "NOTSET"
    ):
        raise op.unsupported("pads in a way that has no translation")
    extra = op.attribute("output_padding", [0] * rank)
    functions = (
        functional.conv_transpose1d,
        functional.conv_transpose2d,
        functional.conv_transpose3d,
    )
    groups = op.attribute("group", 1)
    return op.call(
        functions[rank - 1], x, weight, bias, strides, pads[:rank], extra, groups, dilations
    )


def max_pool(op: OnnxOperator) -> Any:
    """MaxPool, its first output."""
    kernel = op.attribute("kernel_shape")
    strides, dilations = _window(op, len(kernel))
    pads = _pads(op, kernel, strides, dilations)
    widest = all(2 * pad <= side for pad, side in zip(pads, [*kernel, *kernel], strict=True))
    x, padding = _padded(op, op.inputs[0], pads, -math.inf, inside=widest)
    function = (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)[len(kernel) - 1]
    ceil = bool(op.attribute("ceil_mode", 0))
    return op.call(function, x, kernel, strides, padding, dilations, ceil)


def average_pool(op: OnnxOperator) -> Any:
    """AveragePool without dilation."""
    kernel = op.attribute("kernel_shape")
    strides, dilations = _window(op, len(kernel))
    if set(dilations) != {1}:
        raise op.unsupported("is dilated")
    pads = _pads(op, kernel, strides, dilations)
    counted = bool(op.attribute("count_include_pad", 0))
    ceil = bool(op.attribute("ceil_mode", 0))
    widest = all(2 * pad <= side for pad, side in zip(pads, [*kernel, *kernel], strict=True))
    x, padding = _padded(op, op.inputs[0], pads, 0.0, inside=widest)
    function = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[
        len(kernel) - 1
    ]
    pooled = op.call(function, x, kernel, strides, padding, ceil, counted)
    if counted or x is op.inputs[0]:
        return pooled
    # The padding is not counted: divide by the share of each window that lies in the input.
    inside = functional.pad(torch.ones(1, 1, *op.shape(0)[2:]), torch_pads(pads))
    return op.call(python.truediv, pooled, function(inside, kernel, strides, 0, ceil))


def _window(op: OnnxOperator, rank: int) -> tuple[list[int], list[int]]:
    """Strides and dilations."""
    return op.attribute("strides", [1] * rank), op.attribute("dilations", [1] * rank)


def _pads(
    op: OnnxOperator, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Padding at the beginning of each side, then at the end of each."""
    automatic = op.attribute("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID"):
        zeros = [0] * 2 * len(kernel)
        return zeros if automatic == "VALID" else op.attribute("pads", zeros)
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        raise op.unsupported(f"pads in a way that has no translation ({automatic})")
    totals = []
    for size, side, stride, dilation in zip(
        op.shape(0)[2:], kernel, strides, dilations, strict=True
    ):
        covered = (-(-size // stride) - 1) * stride + (side - 1) * dilation + 1
        totals.append(max(covered - size, 0))
    less = [total // 2 for total in totals]
    more = [total - half for total, half in zip(totals, less, strict=True)]
    return less + more if automatic == "SAME_UPPER" else more + less


def _padded(
    op: OnnxOperator, x: Any, pads: list[int], fill: float, *, inside: bool = True
) -> tuple[Any, list[int]]:
    """The value, and the padding that is left to the operator itself: what is symmetric."""
    half = len(pads) // 2
    if inside and pads[:half] == pads[half:] and min(pads) >= 0:
        return x, pads[:half]
    return op.call(functional.pad, x, torch_pads(pads), "constant", fill), [0] * half


def torch_pads(pads: Sequence[int]) -> list[int]:
    """ONNX's begins and ends as torch's pairs, the last dimension first."""
    half = len(pads) // 2
    return [pad for index in reversed(range(half)) for pad in (pads[index], pads[half + index])]
