"""Images in other sizes in TFLite: resizing, depth to space and back, norms over channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.convert.tflite.layouts import FlatValue, channels_last, reshaped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.convert.tflite.flat_operator import FlatNode

_IMAGE = channels_last(4)


def resize(op: FlatNode) -> FlatValue:
    """Resize: bilinear where TFLite has the grid; to the nearest pixel by index otherwise."""
    value = op.input(0)
    op.require_float(value)
    after = _resized_shape(op, value.shape)
    mode = op.attribute("mode", "nearest")
    places = op.attribute("coordinate_transformation_mode", "half_pixel")
    if op.op_type == "Upsample" or op.opset < 11:
        places = "asymmetric"
    changed = [axis for axis, (a, b) in enumerate(zip(value.shape, after, strict=True)) if a != b]
    if not changed:
        return value
    if op.attribute("antialias", 0) or places == "tf_crop_and_resize":
        raise op.unsupported("resizes in a way that has no translation")
    image = len(after) == 4 and set(changed) <= {2, 3}
    if mode == "nearest":
        return _nearest(op, value, after, places, image=image)
    known = {"half_pixel": (0, 1), "align_corners": (1, 0), "asymmetric": (0, 0)}
    if places == "pytorch_half_pixel" and min(after[2:]) > 1:
        places = "half_pixel"
    if mode != "linear" or not image or places not in known:
        raise op.unsupported(f"resizes in a way that has no translation ({mode}, {places})")
    corners, half = known[places]
    return _resized(op, value, after, "RESIZE_BILINEAR", align_corners=corners, half_pixel=half)


def _resized_shape(op: FlatNode, before: Sequence[int]) -> tuple[int, ...]:
    """The shape that sizes or scales ask for."""
    late = op.opset >= 11 and op.op_type == "Resize"
    sizes = op.constant(3) if late else None
    axes = op.attribute("axes") or list(range(len(before)))
    after = list(before)
    if sizes is not None and sizes.size:
        if op.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise op.unsupported("keeps the aspect ratio")
        values = [int(size) for size in sizes]
    else:
        scales = op.attribute("scales") or (op.constant(2 if late else 1))
        if scales is None or len(scales) != len(axes):
            raise op.unsupported("has neither scales nor sizes")
        values = [
            math.floor(before[axis] * float(scale))
            for axis, scale in zip(axes, scales, strict=True)
        ]
        exact = [
            before[axis] * float(scale) == size
            for axis, scale, size in zip(axes, scales, values, strict=True)
        ]
        if not all(exact):
            raise op.unsupported("has scales that give no whole sizes")
    if len(values) != len(axes) or min(values, default=1) < 1:
        raise op.unsupported("has impossible sizes")
    for axis, size in zip(axes, values, strict=True):
        after[axis] = size
    return tuple(after)


def _resized(
    op: FlatNode, value: FlatValue, after: Sequence[int], kind: str, **options: float
) -> FlatValue:
    shape = (after[0], after[2], after[3], after[1])
    inputs = [op.tensor(value, _IMAGE), op.integers(after[2:])]
    return op.made(op.graph.emit(kind, inputs, shape, **options), after, _IMAGE)


_ROUNDINGS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda places: np.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: np.floor(places + 0.5),
}


def _nearest(
    op: FlatNode, value: FlatValue, after: Sequence[int], places: str, *, image: bool
) -> FlatValue:
    rounding = op.attribute("nearest_mode", "round_prefer_floor")
    if op.op_type == "Upsample" or op.opset < 11:
        rounding = "floor"
    pairs = list(zip(value.shape, after, strict=True))
    indices = [_nearest_indices(op, old, new, places, rounding) for old, new in pairs]
    enlarged = all(new % old == 0 for old, new in pairs)
    plain = [np.arange(new) * old // new for old, new in pairs]
    if image and enlarged and all(map(np.array_equal, indices, plain)):
        return _resized(op, value, after, "RESIZE_NEAREST_NEIGHBOR")
    tensor, shape = op.tensor(value), list(value.stored_shape)
    for place, axis in enumerate(value.order):
        if value.shape[axis] != after[axis]:
            shape[place] = after[axis]
            taken = [tensor, op.integers(indices[axis])]
            tensor = op.graph.emit("GATHER", taken, shape, axis=place)
    return op.made(tensor, after, value.order)


def _nearest_indices(
    op: FlatNode, old: int, new: int, places: str, rounding: str
) -> NDArray[np.int64]:
    """Which place each of the new ones is read from."""
    grid = np.arange(new, dtype=np.float64)
    if places == "align_corners":
        found = grid * (old - 1) / (new - 1) if new > 1 else grid * 0
    elif places == "asymmetric":
        found = grid * old / new
    elif places == "pytorch_half_pixel" and new == 1:
        found = grid * 0
    elif places in ("half_pixel", "pytorch_half_pixel"):
        found = (grid + 0.5) * old / new - 0.5
    else:
        raise op.unsupported(f"resizes in a way that has no translation ({places})")
    if rounding not in _ROUNDINGS:
        raise op.unsupported(f"rounds in a way that has no translation ({rounding})")
    return np.asarray(np.clip(_ROUNDINGS[rounding](found), 0, old - 1), np.int64)


def depth_to_space(op: FlatNode) -> FlatValue:
    """DepthToSpace: TFLite's own for ONNX's first order of depth, reshapes for its second."""
    value, block = op.input(0), op.attribute("blocksize")
    if len(value.shape) != 4 or not block or block < 1 or value.shape[1] % block**2:
        raise op.unsupported("has a block that does not fit its input")
    batch, channels, high, wide = value.shape
    less = channels // block**2
    after = (batch, less, high * block, wide * block)
    if op.attribute("mode", "DCR") == "DCR":
        shape = (batch, high * block, wide * block, less)
        tensor = op.graph.emit(
            "DEPTH_TO_SPACE", [op.tensor(value, _IMAGE)], shape, block_size=block
        )
        return op.made(tensor, after, _IMAGE)
    # Axes as they lie: sides, then channels with the block's two sides behind each.
    split = reshaped(op.graph, value, (batch, less, block, block, high, wide))
    tensor = op.tensor(split, (0, 4, 2, 5, 3, 1))
    tensor = op.graph.reshaped(tensor, (batch, high * block, wide * block, less))
    return op.made(tensor, after, _IMAGE)


def space_to_depth(op: FlatNode) -> FlatValue:
    """SpaceToDepth."""
    value, block = op.input(0), op.attribute("blocksize")
    if len(value.shape) != 4 or not block or block < 1 or any(s % block for s in value.shape[2:]):
        raise op.unsupported("has a block that does not fit its input")
    batch, channels, high, wide = value.shape
    after = (batch, channels * block**2, high // block, wide // block)
    shape = (batch, after[2], after[3], after[1])
    tensor = op.graph.emit("SPACE_TO_DEPTH", [op.tensor(value, _IMAGE)], shape, block_size=block)
    return op.made(tensor, after, _IMAGE)


def local_response_norm(op: FlatNode) -> FlatValue:
    """LRN over an odd number of channels."""
    value, size = op.input(0), op.attribute("size", 0)
    op.require_float(value)
    if len(value.shape) != 4 or size < 1 or size % 2 == 0:
        raise op.unsupported("covers an even number of channels, or no image")
    image = op.tensor(value, _IMAGE)
    tensor = op.graph.emit(
        "LOCAL_RESPONSE_NORMALIZATION",
        [image],
        op.graph.tensors[image].shape,
        radius=size // 2,
        bias=op.attribute("bias", 1.0),
        alpha=op.attribute("alpha", 1e-4) / size,
        beta=op.attribute("beta", 0.75),
    )
    return op.made(tensor, value.shape, _IMAGE)
