"""Convolutions and pools in TFLite: images channels-last, in two dimensions.

One-dimensional ones become two-dimensional ones with a height of 1. Padding that TFLite's SAME
does not mean is an operator of its own, which XNNPACK fuses into a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.convert.tflite.flat_operator import FLOAT32, FlatNode
from latprof.graph.convert.tflite.flat_schema import SAME, VALID
from latprof.graph.convert.tflite.layouts import FlatValue, channels_last, reshaped

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOWEST = float(np.finfo(np.float32).min)
_IMAGE = channels_last(4)


@dataclass(frozen=True)
class SlidingWindow:
    """A window that slides over the sides of an image; padding before and after each side."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    sides: tuple[int, int]
    output: tuple[int, int]

    @property
    def extent(self) -> tuple[int, int]:
        """What the window covers, with the gaps of its dilation."""
        (kh, kw), (dh, dw) = self.kernel, self.dilations
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    @property
    def padding(self) -> int | None:
        """TFLite's word for the padding; None where it has none."""
        if not any(self.before + self.after) and self.output == _covered(self, self.sides):
            return VALID
        for index in range(2):
            outputs = -(-self.sides[index] // self.strides[index])
            needed = (outputs - 1) * self.strides[index] + self.extent[index] - self.sides[index]
            total = max(needed, 0)
            same = (total // 2, total - total // 2)
            if (self.before[index], self.after[index]) != same or self.output[index] != outputs:
                return None
        return SAME

    def options(self) -> dict[str, float]:
        """Strides as TFLite's options name them."""
        return {"stride_h": self.strides[0], "stride_w": self.strides[1]}


def _covered(window: SlidingWindow, sides: Sequence[int]) -> tuple[int, ...]:
    return tuple(
        (side - extent) // stride + 1
        for side, extent, stride in zip(sides, window.extent, window.strides, strict=True)
    )


def _image(op: FlatNode) -> tuple[FlatValue, bool]:
    """The first input as an image of two sides, and whether it had one."""
    value = op.input(0)
    op.require_float(value)
    rank = len(value.shape)
    if rank == 3:
        batch, channels, length = value.shape
        return reshaped(op.graph, value, (batch, channels, 1, length)), True
    if rank != 4:
        raise op.unsupported(f"works on {rank} dimensions")
    return value, False


def _finished(op: FlatNode, tensor: int, *, flat: bool) -> FlatValue:
    """An image's tensor as a value, with one side again where it had one."""
    batch, height, width, channels = op.graph.tensors[tensor].shape
    value = op.made(tensor, (batch, channels, height, width), _IMAGE)
    return reshaped(op.graph, value, (batch, channels, width)) if flat else value


def _window(
    op: FlatNode, kernel: Sequence[int], sides: Sequence[int], *, flat: bool
) -> SlidingWindow:
    """The window of a convolution or pool, from its attributes."""
    count = 1 if flat else 2

    def pair(name: str, otherwise: int, least: int = 1) -> tuple[int, int]:
        values = op.attribute(name) or [otherwise] * count
        if len(values) != count or min(values) < least:
            raise op.unsupported(f"has impossible {name}")
        return (otherwise, values[0]) if flat else (values[0], values[1])

    strides, dilations = pair("strides", 1), pair("dilations", 1)
    if min(*kernel, *sides) < 1:
        raise op.unsupported("has an empty window or image")
    pads = op.attribute("pads") or [0] * 2 * count
    if len(pads) != 2 * count or min(pads) < 0:
        raise op.unsupported("has impossible pads")
    pads = [0, pads[0], 0, pads[1]] if flat else pads
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    placed = [
        _placed(op, sides[i], extent[i], strides[i], (pads[i], pads[i + 2])) for i in range(2)
    ]
    before, after, output = zip(*placed, strict=True)
    return SlidingWindow(
        (kernel[0], kernel[1]),
        strides,
        dilations,
        (before[0], before[1]),
        (after[0], after[1]),
        (sides[0], sides[1]),
        (output[0], output[1]),
    )


def _placed(
    op: FlatNode, side: int, extent: int, stride: int, pads: tuple[int, int]
) -> tuple[int, int, int]:
    """Padding before and after one side, and how many times the window fits."""
    first, last = pads
    automatic = op.attribute("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        total = (-(-side // stride) - 1) * stride + extent - side
        if total < 0 and op.op_type.endswith("Pool"):  # runtimes disagree on what it means
            raise op.unsupported("pads a window that is smaller than its stride")
        less, more = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        first, last = (less, more) if "UPPER" in automatic else (more, less)
    elif automatic == "VALID":
        first = last = 0
    span = side + first + last - extent
    if span < 0:
        raise op.unsupported("has a window that is larger than its image")
    if not op.attribute("ceil_mode", 0):
        return first, last, span // stride + 1
    steps = -(-span // stride) + 1
    # A window that begins in the padding at the end is left out, as in ONNX Runtime.
    return first, last, steps - ((steps - 1) * stride >= side + first)


def _padded(op: FlatNode, tensor: int, window: SlidingWindow, fill: float = 0.0) -> tuple[int, int]:
    """The image with what padding it needs, and TFLite's word for the rest."""
    padding = window.padding
    if padding is not None:
        return tensor, padding
    # Behind the last window nothing is read; a rounded up size needs more than ONNX's padding.
    needed = [
        (window.output[i] - 1) * window.strides[i] + window.extent[i] - window.sides[i]
        for i in range(2)
    ]
    after = [max(window.after[i], needed[i] - window.before[i]) for i in range(2)]
    pads = [[0, 0], [window.before[0], after[0]], [window.before[1], after[1]], [0, 0]]
    shape = [
        side + sum(pad) for side, pad in zip(op.graph.tensors[tensor].shape, pads, strict=True)
    ]
    if fill:
        lowest = op.graph.constant(np.array([fill], FLOAT32))
        return op.graph.emit("PADV2", [tensor, op.integers(pads), lowest], shape), VALID
    return op.graph.emit("PAD", [tensor, op.integers(pads)], shape), VALID


def conv(op: FlatNode) -> FlatValue:
    """Conv in one and two dimensions: CONV_2D, or DEPTHWISE_CONV_2D of one channel a group."""
    value, flat = _image(op)
    weight = op.input(1)
    op.require_float(weight)
    groups, channels = op.attribute("group", 1), value.shape[1]
    if flat:
        weight = reshaped(op.graph, weight, (*weight.shape[:2], 1, *weight.shape[2:]))
    if len(weight.shape) != 4 or groups < 1 or weight.shape[1] * groups != channels:
        raise op.unsupported("has a weight that does not fit its input")
    made = weight.shape[0]
    if made % groups:
        raise op.unsupported("has a weight that does not fit its groups")
    window = _window(op, weight.shape[2:], value.shape[2:], flat=flat)
    image, padding = _padded(op, op.tensor(value, _IMAGE), window)
    depthwise = groups == channels and groups > 1
    kernel = op.tensor(weight, (1, 2, 3, 0) if depthwise else (0, 2, 3, 1), weight=True)
    options = {
        **window.options(),
        "padding": padding,
        "dilation_h": window.dilations[0],
        "dilation_w": window.dilations[1],
    }
    if depthwise:
        options["multiplier"] = made // groups
    tensor = op.graph.emit(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [image, kernel, _bias(op, made)],
        (value.shape[0], *window.output, made),
        **options,
    )
    return _finished(op, tensor, flat=flat)


def _bias(op: FlatNode, channels: int) -> int:
    """The bias of a convolution, zeros where it has none."""
    bias = op.optional(2)
    if bias is None:
        return op.graph.constant(np.zeros(channels, FLOAT32))
    if bias.shape != (channels,):
        raise op.unsupported("has a bias that does not fit its weight")
    return op.tensor(bias, weight=True)


def conv_transpose(op: FlatNode) -> FlatValue:
    """ConvTranspose: TRANSPOSE_CONV without padding, and a slice that cuts the padding off."""
    value, flat = _image(op)
    kernel = op.given_constant(1)
    op.require_float(op.input(1))
    if flat:
        kernel = kernel[:, :, None]
    groups = op.attribute("group", 1)
    if kernel.ndim != 4 or groups < 1 or kernel.shape[0] != value.shape[1]:
        raise op.unsupported("has a weight that does not fit its input")
    kernel = _spread(kernel, op.attribute("dilations") or [1], flat=flat)
    count = 1 if flat else 2
    sides, extent = value.shape[2:], kernel.shape[2:]
    strides = [1] * (2 - count) + list(op.attribute("strides") or [1] * count)
    extra = [0] * (2 - count) + list(op.attribute("output_padding") or [0] * count)
    full = [(s - 1) * t + e for s, t, e in zip(sides, strides, extent, strict=True)]
    begins, output = _cut(op, full, extra, (sides, strides), flat=flat)
    if min(*begins, *output) < 0:
        raise op.unsupported("has impossible pads")
    # Behind what the kernel covers there is only the bias: a kernel with zeros covers that too.
    missing = [max(b + o - f, 0) for b, o, f in zip(begins, output, full, strict=True)]
    kernel = np.pad(kernel, [(0, 0), (0, 0), (0, missing[0]), (0, missing[1])])
    tensor = _transposed_groups(op, value, kernel, groups, strides)
    return _finished(op, _cropped(op, tensor, begins, output), flat=flat)


def _spread(kernel: NDArray[Any], dilations: Sequence[int], *, flat: bool) -> NDArray[Any]:
    """A dilated kernel as one without dilation, with zeros in the gaps."""
    high, wide = (1, dilations[0]) if flat else (dilations[0], dilations[-1])
    if high == wide == 1:
        return kernel
    _, _, height, width = kernel.shape
    shape = (*kernel.shape[:2], (height - 1) * high + 1, (width - 1) * wide + 1)
    spread = np.zeros(shape, kernel.dtype)
    spread[:, :, ::high, ::wide] = kernel
    return spread


def _cut(
    op: FlatNode,
    full: Sequence[int],
    extra: Sequence[int],
    stretch: tuple[Sequence[int], Sequence[int]],
    *,
    flat: bool,
) -> tuple[list[int], list[int]]:
    """Where ConvTranspose's output begins in the unpadded one, and how large it is."""
    count = 1 if flat else 2
    pads = list(op.attribute("pads") or [0] * 2 * count)
    wanted = op.attribute("output_shape")
    automatic = op.attribute("auto_pad", "NOTSET")
    pads = [0, pads[0], 0, pads[1]] if flat else pads
    if automatic == "VALID":
        pads = [0] * 4
    if wanted is None and automatic.startswith("SAME"):
        largest = [f + e for f, e in zip(full, extra, strict=True)]
        wanted = [min(s * t, w) for s, t, w in zip(*stretch, largest, strict=True)][-count:]
    if wanted is None:
        return pads[:2], [
            f + e - pads[i] - pads[i + 2] for i, (f, e) in enumerate(zip(full, extra, strict=True))
        ]
    sizes = [1] * (2 - count) + list(wanted)[-count:]
    begins = []
    for size, whole, more in zip(sizes, full, extra, strict=True):
        total = max(whole + more - size, 0)
        begins.append(total // 2 if automatic == "SAME_UPPER" else total - total // 2)
    return begins, sizes


def _transposed_groups(
    op: FlatNode, value: FlatValue, kernel: NDArray[Any], groups: int, strides: Sequence[int]
) -> int:
    """TRANSPOSE_CONV without padding, one a group."""
    batch, channels = value.shape[:2]
    high, wide = (
        (side - 1) * stride + extent
        for side, stride, extent in zip(value.shape[2:], strides, kernel.shape[2:], strict=True)
    )
    image = op.tensor(value, _IMAGE)
    each, made = channels // groups, kernel.shape[1]
    bias = op.graph.tensors[_bias(op, made * groups)].data
    if bias is None:
        raise op.unsupported("computes its bias from the model's input")
    parts = []
    for group in range(groups):
        taken = image
        if groups > 1:
            begin = [0, 0, 0, group * each]
            size = [batch, *value.shape[2:], each]
            taken = op.graph.emit("SLICE", [image, op.integers(begin), op.integers(size)], size)
        weight = kernel[group * each : (group + 1) * each].transpose(1, 2, 3, 0)
        shape = (batch, high, wide, made)
        inputs = [op.integers(shape), op.graph.constant(weight, weight=True), taken]
        own = bias[group * made : (group + 1) * made]
        part = op.graph.emit(
            "TRANSPOSE_CONV",
            [*inputs, op.graph.constant(own, weight=True)],
            shape,
            FLOAT32,
            padding=VALID,
            stride_h=strides[0],
            stride_w=strides[1],
        )
        parts.append(part)
    if groups == 1:
        return parts[0]
    return op.graph.emit("CONCATENATION", parts, (batch, high, wide, made * groups), axis=3)


def _cropped(op: FlatNode, tensor: int, begins: Sequence[int], output: Sequence[int]) -> int:
    """An image cut to a size."""
    batch, high, wide, channels = op.graph.tensors[tensor].shape
    if (high, wide) == tuple(output):
        return tensor
    begin, size = [0, *begins, 0], [batch, *output, channels]
    return op.graph.emit("SLICE", [tensor, op.integers(begin), op.integers(size)], size)


def max_pool(op: FlatNode) -> FlatValue:
    """MaxPool, its first output."""
    if len(op.output_names) > 1 and op.output_names[1]:
        raise op.unsupported("gives the places of its maxima")
    value, window, flat = _pooled(op)
    if window.dilations != (1, 1):
        raise op.unsupported("is dilated")
    image, padding = _padded(op, op.tensor(value, _IMAGE), window, _LOWEST)
    return _finished(op, _pool(op, "MAX_POOL_2D", image, value, window, padding), flat=flat)


def average_pool(op: FlatNode) -> FlatValue:
    """AveragePool; where TFLite counts padding differently, places have factors."""
    value, window, flat = _pooled(op)
    if window.dilations != (1, 1):
        raise op.unsupported("is dilated")
    counted = bool(op.attribute("count_include_pad", 0))
    padded = any(window.before + window.after)
    image = op.tensor(value, _IMAGE)
    if window.padding is not None and not (counted and padded):
        tensor = _pool(op, "AVERAGE_POOL_2D", image, value, window, window.padding)
        return _finished(op, tensor, flat=flat)
    if window.padding is not None:  # SAME does not count what it adds
        image, padding = _zeros_around(op, image, window), VALID
    else:
        image, padding = _padded(op, image, window)
    tensor = _pool(op, "AVERAGE_POOL_2D", image, value, window, padding)
    factors = _share(window, counted=counted)
    if np.any(factors != 1):
        shape = op.graph.tensors[tensor].shape
        tensor = op.graph.emit("MUL", [tensor, op.graph.constant(factors)], shape)
    return _finished(op, tensor, flat=flat)


def _zeros_around(op: FlatNode, image: int, window: SlidingWindow) -> int:
    pads = [[0, 0], *zip(window.before, window.after, strict=True), [0, 0]]
    shape = [s + sum(pad) for s, pad in zip(op.graph.tensors[image].shape, pads, strict=True)]
    return op.graph.emit("PAD", [image, op.integers(np.array(pads))], shape)


def _share(window: SlidingWindow, *, counted: bool) -> NDArray[np.float32]:
    """Size of the window by the number of values that ONNX counts, at each place of the output."""
    counts = []
    for index in range(2):
        low = 0 if not counted else -window.before[index]
        high = window.sides[index] + (window.after[index] if counted else 0)
        starts = np.arange(window.output[index]) * window.strides[index] - window.before[index]
        ends = starts + window.kernel[index]
        counts.append(np.minimum(ends, high) - np.maximum(starts, low))
    inside = np.outer(*counts).astype(np.float64)
    return (math.prod(window.kernel) / inside).astype(np.float32)[None, :, :, None]


def _pooled(op: FlatNode) -> tuple[FlatValue, SlidingWindow, bool]:
    value, flat = _image(op)
    kernel = op.attribute("kernel_shape") or []
    if len(kernel) != (1 if flat else 2):
        raise op.unsupported("has a window that does not fit its input")
    kernel = [1, *kernel] if flat else kernel
    return value, _window(op, kernel, value.shape[2:], flat=flat), flat


def _pool(
    op: FlatNode, kind: str, image: int, value: FlatValue, window: SlidingWindow, padding: int
) -> int:
    return op.graph.emit(
        kind,
        [image],
        (value.shape[0], *window.output, value.shape[1]),
        padding=padding,
        filter_h=window.kernel[0],
        filter_w=window.kernel[1],
        **window.options(),
    )
