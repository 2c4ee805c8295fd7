"""Operators of ONNX that move, cut and join values in torch, and constants.

Shapes, axes and indices are constant: what depends on the model's input is refused.
"""

from __future__ import annotations

import functools
import math
import operator as python
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from latprof.graph.convert.torch_windows import torch_pads

if TYPE_CHECKING:
    from latprof.graph.convert.onnx_operator import OnnxOperator


def reshape(op: OnnxOperator) -> Any:
    """Reshape to a constant shape."""
    shape = op.numbers(1, "shape") or []
    if 0 in shape and not op.attribute("allowzero", 0):
        before = op.shape(0)
        shape = [before[index] if size == 0 else size for index, size in enumerate(shape)]
    return op.call(torch.reshape, op.inputs[0], shape)


def flatten(op: OnnxOperator) -> Any:
    """Flatten to two dimensions."""
    axis = op.attribute("axis", 1)
    if axis == 1:
        return op.call(torch.flatten, op.inputs[0], 1)
    return op.call(torch.reshape, op.inputs[0], [math.prod(op.shape(0)[:axis]), -1])


def transpose(op: OnnxOperator) -> Any:
    """Transpose."""
    order = op.attribute("perm") or list(reversed(range(len(op.shape(0)))))
    return op.call(torch.permute, op.inputs[0], order)


def squeeze(op: OnnxOperator) -> Any:
    """Squeeze."""
    axes = op.numbers(1, "axes")
    if axes is None:
        return op.call(torch.squeeze, op.inputs[0])
    return op.call(torch.squeeze, op.inputs[0], tuple(axes))


def unsqueeze(op: OnnxOperator) -> Any:
    """Unsqueeze."""
    axes = op.numbers(1, "axes") or []
    if min(axes, default=0) < 0:
        rank = len(op.shape(0)) + len(axes)
        axes = [axis % rank for axis in axes]
    return functools.reduce(functools.partial(op.call, torch.unsqueeze), sorted(axes), op.inputs[0])


def concat(op: OnnxOperator) -> Any:
    """Concat."""
    axis = op.attribute("axis")
    if axis is None:
        raise op.unsupported("has no axis")
    return op.call(torch.cat, op.inputs, axis)


def split(op: OnnxOperator) -> Any:
    """Split, as a list."""
    axis = op.attribute("axis", 0)
    sizes = op.numbers(1, "split") or -(-op.shape(0)[axis] // op.output_count)
    parts = op.call(torch.split, op.inputs[0], sizes, axis)
    return [op.call(python.getitem, parts, index) for index in range(op.output_count)]


def slice_of(op: OnnxOperator) -> Any:
    """Slice with steps forwards."""
    first = 1 if op.opset >= 10 else -1
    starts, ends = op.numbers(first, "starts") or [], op.numbers(min(2, first * 2), "ends") or []
    axes = op.numbers(3 if first > 0 else -1, "axes") or list(range(len(starts)))
    steps = op.numbers(4, "steps") or [1] * len(starts)
    if min(steps, default=1) < 1:
        raise op.unsupported("steps backwards")
    value = op.inputs[0]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis %= len(op.shape(0))  # noqa: PLW2901 - the same axis, counted from the front
        part = slice(start, None if end >= 1 << 31 else end, None if step == 1 else step)
        value = op.call(python.getitem, value, (slice(None),) * axis + (part,))
    return value


def gather(op: OnnxOperator) -> Any:
    """Gather: one index drops the axis, several replace it."""
    axis, index = op.attribute("axis", 0), plain_number(op.inputs[1])
    if isinstance(index, int):
        return op.call(torch.select, op.inputs[0], axis, index)
    axis %= len(op.shape(0))
    return op.call(python.getitem, op.inputs[0], (slice(None),) * axis + (index,))


def pad(op: OnnxOperator) -> Any:
    """Pad all axes."""
    pads = op.numbers(1, "pads") or []
    mode = {"edge": "replicate", "wrap": "circular"}.get(
        op.attribute("mode", "constant"), op.attribute("mode", "constant")
    )
    if op.input(3) is not None:
        raise op.unsupported("names the axes it pads")
    value = op.attribute("value", 0.0) if op.opset < 11 else plain_number(op.constant(2))
    pairs = torch_pads(pads)
    if mode == "constant":
        return op.call(functional.pad, op.inputs[0], pairs, mode, float(value or 0.0))
    while pairs and pairs[-2:] == [0, 0]:  # torch wants these modes for the last dimensions only
        pairs = pairs[:-2]
    return op.call(functional.pad, op.inputs[0], pairs, mode)


def expand(op: OnnxOperator) -> Any:
    """Expand to a constant shape."""
    shape = op.numbers(1, "shape") or []
    return op.call(torch.broadcast_to, op.inputs[0], torch.broadcast_shapes(op.shape(0), shape))


def resize(op: OnnxOperator) -> Any:
    """Resize of images, to the nearest pixel or bilinear, where torch has the same grid."""
    before, after = op.shape(0), op.output_shape
    mode, places = (
        op.attribute("mode", "nearest"),
        op.attribute("coordinate_transformation_mode", "half_pixel"),
    )
    rounding = op.attribute("nearest_mode", "round_prefer_floor")
    enlarged = all(new % old == 0 for old, new in zip(before[2:], after[2:], strict=True))
    known = before[:2] == after[:2] and not op.attribute("antialias", 0)
    if known and mode == "nearest":
        if (places, rounding) == ("asymmetric", "floor"):
            return op.call(functional.interpolate, op.inputs[0], after[2:], None, "nearest")
        if places == "half_pixel" and enlarged:
            return op.call(functional.interpolate, op.inputs[0], after[2:], None, "nearest-exact")
    half = places == "half_pixel" or (places == "pytorch_half_pixel" and min(after[2:]) > 1)
    if known and mode == "linear" and len(before) == 4 and (half or places == "align_corners"):
        corners = places == "align_corners"
        return op.call(functional.interpolate, op.inputs[0], after[2:], None, "bilinear", corners)
    raise op.unsupported(f"resizes in a way that has no translation ({mode}, {places})")


def depth_to_space(op: OnnxOperator) -> Any:
    """DepthToSpace as torch orders it."""
    if op.attribute("mode", "DCR") != "CRD":
        raise op.unsupported("orders depth in a way that has no translation (DCR)")
    return op.call(functional.pixel_shuffle, op.inputs[0], op.attribute("blocksize"))


def constant(op: OnnxOperator) -> Any:
    """Constant."""
    if op.attribute("value") is not None:
        return op.tensor("value")
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        value = op.attribute(name)
        if value is not None:
            return torch.tensor(value)
    raise op.unsupported("holds a value that has no translation")


def constant_of_shape(op: OnnxOperator) -> Any:
    """ConstantOfShape."""
    shape = op.numbers(0, "shape") or []
    value = torch.zeros(1) if op.attribute("value") is None else op.tensor("value")
    return value.expand(shape).clone()


def shape(op: OnnxOperator) -> Any:
    """Shape: constant, since the input's is."""
    sizes = op.shape(0)[op.attribute("start", 0) : op.attribute("end")]
    return torch.tensor(sizes, dtype=torch.int64)


def same(op: OnnxOperator) -> Any:
    """What passes its input on."""
    return op.inputs[0]


def plain_number(value: Any) -> Any:
    """The number in a constant without dimensions; other values as they are."""
    return value.item() if isinstance(value, torch.Tensor) and value.dim() == 0 else value
