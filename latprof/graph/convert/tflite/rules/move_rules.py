"""Operators that move, cut and join values in TFLite. Shapes, axes and counts are constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.convert.tflite.flat_operator import FLOAT32, INT32, FlatNode
from latprof.graph.convert.tflite.layouts import (
    FlatValue,
    constant_value,
    identity,
    reshaped,
    stored,
    transposed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.convert.tflite.rules.element_rules import Rule


def same(op: FlatNode) -> FlatValue:
    """What passes its input on."""
    return op.input(0)


def reshape(op: FlatNode) -> FlatValue:
    """Reshape."""
    value = op.input(0)
    wanted = op.numbers(1, "shape")
    if wanted is None:
        raise op.unsupported("has no shape")
    kept = not op.attribute("allowzero", 0)
    if kept and any(not size and axis >= len(value.shape) for axis, size in enumerate(wanted)):
        raise op.unsupported("keeps an axis that its input has not")
    shape = [value.shape[a] if kept and not size else size for a, size in enumerate(wanted)]
    if shape.count(-1) == 1:
        others = math.prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = math.prod(value.shape) // others if others else 0
    return _reshaped(op, value, shape)


def _reshaped(op: FlatNode, value: FlatValue, shape: Sequence[int]) -> FlatValue:
    if math.prod(shape) != math.prod(value.shape) or min(shape, default=1) < 0:
        raise op.unsupported(f"cannot make {tuple(shape)} of {value.shape}")
    return reshaped(op.graph, value, shape)


def flatten(op: FlatNode) -> FlatValue:
    """Flatten to two dimensions."""
    value = op.input(0)
    axis = op.attribute("axis", 1)
    axis = len(value.shape) if axis == len(value.shape) else op.axis(axis, len(value.shape) or 1)
    first = math.prod(value.shape[:axis])
    return _reshaped(op, value, (first, math.prod(value.shape[axis:])))


def squeeze(op: FlatNode) -> FlatValue:
    """Squeeze."""
    value, rank = op.input(0), len(op.input(0).shape)
    axes = op.numbers(1, "axes")
    dropped = (
        {axis for axis, size in enumerate(value.shape) if size == 1}
        if axes is None
        else {op.axis(axis, rank) for axis in axes}
    )
    return _reshaped(op, value, [s for axis, s in enumerate(value.shape) if axis not in dropped])


def unsqueeze(op: FlatNode) -> FlatValue:
    """Unsqueeze."""
    value = op.input(0)
    axes = op.numbers(1, "axes") or []
    rank = len(value.shape) + len(axes)
    new = {op.axis(axis, rank) for axis in axes}
    sizes = iter(value.shape)
    if len(new) != len(axes):
        raise op.unsupported("names an axis twice")
    return _reshaped(op, value, [1 if axis in new else next(sizes) for axis in range(rank)])


def transpose(op: FlatNode) -> FlatValue:
    """Transpose."""
    value = op.input(0)
    moves = op.attribute("perm") or list(reversed(range(len(value.shape))))
    if sorted(moves) != list(range(len(value.shape))):
        raise op.unsupported("orders axes in an impossible way")
    return transposed(value, moves)


def concat(op: FlatNode) -> FlatValue:
    """Concat."""
    values = [value for value in op.values if 0 not in value.shape] or op.values
    leader = max((v for v in values if v.data is None), key=lambda v: math.prod(v.shape))
    rank = len(leader.shape)
    axis = op.axis(op.attribute("axis", 0), rank)
    joined = list(leader.shape)
    joined[axis] = sum(value.shape[axis] for value in values if len(value.shape) == rank)
    for value in values:
        if len(value.shape) != rank or any(
            a != b
            for i, (a, b) in enumerate(zip(value.shape, leader.shape, strict=True))
            if i != axis
        ):
            raise op.unsupported("joins shapes that do not fit")
    if len(values) == 1:
        return values[0]
    order = leader.order
    tensor = op.graph.emit(
        "CONCATENATION",
        [op.tensor(value, order) for value in values],
        stored(joined, order),
        leader.dtype,
        axis=order.index(axis),
    )
    return op.made(tensor, joined, order)


def split(op: FlatNode) -> list[FlatValue]:
    """Split, by slices."""
    value = op.input(0)
    axis = op.axis(op.attribute("axis", 0), len(value.shape))
    count = len(op.output_names)
    total = value.shape[axis]
    each = -(-total // count)
    sizes = op.numbers(1, "split") or [min(each, total - each * i) for i in range(count)]
    if sum(sizes) != total or min(sizes) < 0 or len(sizes) != count:
        raise op.unsupported("has parts that do not fit its input")
    parts, start = [], 0
    for size, name in zip(sizes, op.output_names, strict=True):
        parts.append(_cut(op, value, {axis: (start, size)}) if name else value)
        start += size
    return parts


def _cut(op: FlatNode, value: FlatValue, ranges: dict[int, tuple[int, int]]) -> FlatValue:
    """A part of a value: where it begins and how many it takes, by axis."""
    shape = [ranges[a][1] if a in ranges else size for a, size in enumerate(value.shape)]
    if tuple(shape) == value.shape:
        return value
    if 0 in shape:
        raise op.unsupported("takes nothing")
    begin = [ranges[axis][0] if axis in ranges else 0 for axis in value.order]
    size = stored(shape, value.order)
    inputs = [op.tensor(value), op.integers(begin), op.integers(size)]
    return op.made(op.graph.emit("SLICE", inputs, size), shape, value.order)


def slice_of(op: FlatNode) -> FlatValue:
    """Slice; steps other than 1 by index or by a strided slice."""
    value = op.input(0)
    starts, ends = op.numbers(1, "starts"), op.numbers(2, "ends")
    if starts is None or ends is None:
        raise op.unsupported("has no starts or ends")
    axes = op.numbers(3, "axes") or list(range(len(starts)))
    steps = op.numbers(4, "steps") if op.opset >= 10 else None
    steps = steps or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise op.unsupported("has starts, ends, axes and steps that do not fit")
    ranges: dict[int, tuple[int, int]] = {}
    strided: dict[int, range] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = op.axis(axis, len(value.shape))
        taken = range(*slice(start, end, step).indices(value.shape[place]))
        if step < 0 and end < -value.shape[place]:  # ONNX's way to say: to the first one
            taken = range(taken.start, -1, step)
        if step == 1:
            ranges[place] = (taken.start, len(taken))
        else:
            strided[place] = taken
    value = _cut(op, value, ranges)
    for place, taken in strided.items():
        value = _strided(op, value, place, taken)
    return value


def _strided(op: FlatNode, value: FlatValue, axis: int, taken: range) -> FlatValue:
    """Every so manieth of an axis; backwards by index."""
    if not len(taken):
        raise op.unsupported("takes nothing")
    if taken.step < 0:
        return _gathered(op, value, axis, np.array(taken))
    shape = list(value.shape)
    shape[axis] = len(taken)
    place = value.order.index(axis)
    begin, end, step = [0] * len(shape), list(value.stored_shape), [1] * len(shape)
    begin[place], end[place], step[place] = taken.start, taken[-1] + 1, taken.step
    inputs = [op.tensor(value), op.integers(begin), op.integers(end), op.integers(step)]
    tensor = op.graph.emit("STRIDED_SLICE", inputs, stored(shape, value.order))
    return op.made(tensor, shape, value.order)


def _gathered(op: FlatNode, value: FlatValue, axis: int, indices: NDArray[Any]) -> FlatValue:
    """Places of one axis by constant index."""
    shape = list(value.shape)
    shape[axis] = len(indices)
    place = value.order.index(axis)
    inputs = [op.tensor(value), op.integers(indices)]
    tensor = op.graph.emit("GATHER", inputs, stored(shape, value.order), axis=place)
    return op.made(tensor, shape, value.order)


def gather(op: FlatNode) -> FlatValue:
    """Gather: by constant indices along any axis, by computed ones from values as ONNX has them."""
    value, indices = op.input(0), op.input(1)
    rank = len(value.shape)
    axis = op.axis(op.attribute("axis", 0), rank)
    size = value.shape[axis]
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    if indices.data is not None:
        places = indices.data.reshape(-1).astype(np.int64)
        places = np.where(places < 0, places + size, places)
        if places.size == 0 or places.min() < 0 or places.max() >= size:
            raise op.unsupported("has indices that do not fit its input")
        steady = np.array_equal(places, np.arange(places[0], places[0] + len(places)))
        if steady:
            found = _cut(op, value, {axis: (int(places[0]), len(places))})
        else:
            found = _gathered(op, value, axis, places)
        return reshaped(op.graph, found, shape)
    if indices.dtype != INT32:
        raise op.unsupported(f"has indices of {indices.dtype}")
    inputs = [
        op.tensor(value, identity(rank)),
        op.tensor(indices, identity(len(indices.shape))),
    ]
    dtype = op.graph.tensors[inputs[0]].dtype
    tensor = op.graph.emit("GATHER", inputs, shape, dtype, axis=axis)
    return op.made(tensor, shape, identity(len(shape)))


def pad(op: FlatNode) -> FlatValue:
    """Pad: by a number, by mirroring, or by repeating; negative padding cuts."""
    value, rank = op.input(0), len(op.input(0).shape)
    pads = op.numbers(1, "pads") or op.attribute("paddings") or []
    given = op.numbers(3, "") if op.opset >= 18 else None
    axes = list(range(rank)) if given is None else [op.axis(axis, rank) for axis in given]
    if len(pads) != 2 * len(axes):
        raise op.unsupported("has padding that does not fit its input")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[len(axes) + index]
    value = _without_edges(op, value, before, after)
    pairs = {
        axis: (max(before[axis], 0), max(after[axis], 0))
        for axis in range(rank)
        if max(before[axis], after[axis]) > 0
    }
    if not pairs:
        return value
    mode = op.attribute("mode", "constant")
    if mode == "constant":
        return _constant_pad(op, value, pairs)
    for axis, (first, last) in pairs.items():
        ways = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
        if mode not in ways:
            raise op.unsupported(f"pads in a way that has no translation ({mode})")
        size = value.shape[axis]
        if mode == "reflect" and max(first, last) >= size:
            raise op.unsupported("mirrors more than there is")
        indices = np.pad(np.arange(size), (first, last), mode=mode)
        value = _gathered(op, value, axis, indices)
    return value


def _without_edges(
    op: FlatNode, value: FlatValue, before: Sequence[int], after: Sequence[int]
) -> FlatValue:
    cuts = {}
    for axis, size in enumerate(value.shape):
        first, last = max(-before[axis], 0), max(-after[axis], 0)
        if first or last:
            cuts[axis] = (first, max(size - first - last, 0))
    return _cut(op, value, cuts)


def _constant_pad(op: FlatNode, value: FlatValue, pairs: dict[int, tuple[int, int]]) -> FlatValue:
    if op.opset < 11:
        fill = float(op.attribute("value", 0.0))
    else:
        given = op.constant(2)
        fill = 0.0 if given is None or not given.size else float(given.reshape(-1)[0])
    shape = [size + sum(pairs.get(axis, (0, 0))) for axis, size in enumerate(value.shape)]
    inputs = [op.tensor(value), op.integers([pairs.get(axis, (0, 0)) for axis in value.order])]
    if fill:
        inputs.append(op.graph.constant(np.array([fill], value.dtype)))
    tensor = op.graph.emit("PADV2" if fill else "PAD", inputs, stored(shape, value.order))
    return op.made(tensor, shape, value.order)


def expand(op: FlatNode) -> FlatValue:
    """Expand to a constant shape."""
    value = op.input(0)
    wanted = tuple(op.numbers(1, "shape") or ())
    try:
        shape = np.broadcast_shapes(value.shape, wanted)
    except ValueError:
        raise op.unsupported(f"cannot make {wanted} of {value.shape}") from None
    widened = reshaped(op.graph, value, (1,) * (len(shape) - len(value.shape)) + value.shape)
    if widened.shape == shape:
        return widened
    lying = stored(shape, widened.order)
    inputs = [op.tensor(widened), op.integers(lying)]
    return op.made(op.graph.emit("BROADCAST_TO", inputs, lying), shape, widened.order)


def tile(op: FlatNode) -> FlatValue:
    """Tile."""
    value, times = op.input(0), op.numbers(1, "repeats") or []
    if len(times) != len(value.shape) or min(times) < 1:
        raise op.unsupported("has impossible repeats")
    shape = [size * count for size, count in zip(value.shape, times, strict=True)]
    inputs = [op.tensor(value), op.integers(stored(times, value.order))]
    tensor = op.graph.emit("TILE", inputs, stored(shape, value.order))
    return op.made(tensor, shape, value.order)


def shape_of(op: FlatNode) -> FlatValue:
    """Shape: constant, since the input's is."""
    sizes = op.input(0).shape[op.attribute("start", 0) : op.attribute("end")]
    return constant_value(np.array(sizes, np.int64))


def size_of(op: FlatNode) -> FlatValue:
    """Size: constant too."""
    return constant_value(np.array(math.prod(op.input(0).shape), np.int64))


def cumulative_sum(op: FlatNode) -> FlatValue:
    """CumSum."""
    value = op.input(0)
    axis = op.axis(int(op.given_constant(1).reshape(-1)[0]), len(value.shape))
    place = op.graph.constant(np.array(value.order.index(axis), np.int32))
    tensor = op.graph.emit(
        "CUMSUM",
        [op.tensor(value), place],
        value.stored_shape,
        exclusive=op.attribute("exclusive", 0),
        reverse=op.attribute("reverse", 0),
    )
    return op.made(tensor, value.shape, value.order)


def top_k(op: FlatNode) -> list[FlatValue]:
    """TopK of the largest, sorted; the axis is brought to the end."""
    value = op.input(0)
    op.require_float(value)
    rank = len(value.shape)
    axis = op.axis(op.attribute("axis", -1), rank)
    count = (op.numbers(1, "k") or [0])[0]
    if not op.attribute("largest", 1) or not 1 <= count <= value.shape[axis]:
        raise op.unsupported("takes the smallest, or more than there are")
    order = (*(a for a in value.order if a != axis), axis)
    shape = [count if a == axis else size for a, size in enumerate(value.shape)]
    lying = stored(shape, order)
    inputs = [op.tensor(value, order), op.graph.constant(np.array(count, np.int32))]
    tensors = op.graph.emit_several("TOPK_V2", inputs, [lying, lying], [FLOAT32, INT32])
    return [op.made(tensor, shape, order) for tensor in tensors]


MOVE_RULES: dict[str, Rule] = {
    "Concat": concat,
    "CumSum": cumulative_sum,
    "Dropout": same,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Identity": same,
    "Pad": pad,
    "Reshape": reshape,
    "Shape": shape_of,
    "Size": size_of,
    "Slice": slice_of,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "TopK": top_k,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
