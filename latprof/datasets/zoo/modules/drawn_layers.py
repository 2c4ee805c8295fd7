"""What the drawn modules are made of: sizes, indices, and layers in the forms of exporters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof.datasets.zoo.network_builder import NetworkBuilder

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue, Shape

Generator: TypeAlias = np.random.Generator
Drawing: TypeAlias = Callable[[NetworkBuilder, Generator], None]

#: Up to this version the axes of reductions are attributes, but for sums.
_AXES_ARE_ATTRIBUTES = 17
#: Indices that are inputs are at most this, whatever they pick from.
_INPUT_INDICES = 8


def one(generator: Generator, *choices: int) -> int:
    """One of several whole numbers."""
    return int(generator.choice(choices))


def word(generator: Generator, *choices: str) -> str:
    """One of several words."""
    return str(generator.choice(choices))


def near(generator: Generator, low: int, high: int, multiple: int = 1) -> int:
    """A whole number between two, even in its logarithm; mostly a multiple of a third."""
    found = math.exp(generator.uniform(math.log(low), math.log(high)))
    if generator.random() < 0.1:
        multiple = 1
    return min(max(multiple * round(found / multiple), low), high)


def kept(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape whose ``axes`` are 1."""
    places = {axis % len(shape) for axis in axes}
    return tuple(1 if axis in places else side for axis, side in enumerate(shape))


def reduced(
    net: NetworkBuilder, kind: str, x: NetworkValue, axes: Sequence[int], *, keep: bool = True
) -> NetworkValue:
    """``ReduceMean``, ``ReduceSum``... over ``axes``, which stay as 1 or go."""
    ones = kept(x.shape, axes)
    places = {axis % len(x.shape) for axis in axes}
    shape = ones if keep else tuple(s for i, s in enumerate(x.shape) if i not in places)
    if kind == "ReduceSum" or net.opset > _AXES_ARE_ATTRIBUTES:
        return net.node(kind, [x, net.constant(list(axes))], shape, keepdims=int(keep))
    return net.node(kind, [x], shape, axes=list(axes), keepdims=int(keep))


def mean_of_all(net: NetworkBuilder, *values: NetworkValue) -> None:
    """The output: a number that depends on all of ``values``."""
    parts = [
        net.reshape(reduced(net, "ReduceMean", each, range(len(each.shape))), (1, 1))
        for each in values
    ]
    net.output(net.concat(parts, 1))


def elementwise(net: NetworkBuilder, kind: str, x: NetworkValue, y: NetworkValue) -> NetworkValue:
    """An operator of two values that are broadcast."""
    length = max(len(x.shape), len(y.shape))
    sides = ((1,) * (length - len(each.shape)) + each.shape for each in (x, y))
    return net.node(kind, [x, y], tuple(max(a, b) for a, b in zip(*sides, strict=True)))


def unary(net: NetworkBuilder, kind: str, x: NetworkValue) -> NetworkValue:
    """An operator on each element."""
    return net.node(kind, [x], x.shape)


def cast(net: NetworkBuilder, x: NetworkValue, to: int = 1) -> NetworkValue:
    """In another number format: 1 is float32, 7 int64, 9 truth values."""
    return net.node("Cast", [x], x.shape, to=to)


def gathered(
    net: NetworkBuilder, table: NetworkValue, index: NetworkValue, axis: int = 0
) -> NetworkValue:
    """Entries of a table along an axis."""
    shape = (*table.shape[:axis], *index.shape, *table.shape[axis + 1 :])
    return net.node("Gather", [table, index], shape, axis=axis)


def indices(net: NetworkBuilder, generator: Generator, shape: Shape, rows: int) -> NetworkValue:
    """Which of ``rows`` entries: constants, or an input plus constants."""
    known = generator.random() < 0.5 or rows <= _INPUT_INDICES
    most = rows if known else rows - _INPUT_INDICES
    drawn = net.constant(generator.integers(0, most, shape, dtype=np.int64))
    if known:
        return drawn
    given = net.input(f"index{generator.integers(1 << 30)}", shape, whole=True)
    return net.add(given, drawn)


def layer_norm_written_out(net: NetworkBuilder, x: NetworkValue, axis: int = -1) -> NetworkValue:
    """A layer normalisation as its arithmetic; over the channels of a map with ``axis`` 1."""
    mean = reduced(net, "ReduceMean", x, [axis])
    centred = elementwise(net, "Sub", x, mean)
    square = elementwise(net, "Pow", centred, net.constant(2.0))
    spread = net.add(reduced(net, "ReduceMean", square, [axis]), net.constant(1e-6))
    value = elementwise(net, "Div", centred, unary(net, "Sqrt", spread))
    side = x.shape[axis]
    shape = (side, *[1] * (len(x.shape) - 1 - axis % len(x.shape)))
    return net.add(net.mul(value, net.ones("scale", shape)), net.weight("shift", shape))


def group_norm(net: NetworkBuilder, x: NetworkValue, groups: int, act: str = "") -> NetworkValue:
    """A group normalisation as exported: one of groups as channels, a scale and a shift."""
    inner = net.reshape(x, (x.shape[0], groups, math.prod(x.shape[1:]) // groups))
    parts = [net.untrained("one", (groups,), 1.0), net.untrained("zero", (groups,), 0.0)]
    inner = net.node("InstanceNormalization", [inner, *parts], inner.shape)
    value = net.reshape(inner, x.shape)
    sides = (x.channels, *[1] * (len(x.shape) - 2))
    value = net.add(net.mul(value, net.ones("scale", sides)), net.weight("shift", sides))
    return net.act(value, act)


def unit_length(net: NetworkBuilder, x: NetworkValue, axis: int = -1) -> NetworkValue:
    """Divided by the root of the sum of squares, as torch exports it."""
    length = reduced(net, "ReduceL2", x, [axis])
    length = net.node("Clip", [length, net.constant(1e-6)], length.shape)
    length = net.node("Expand", [length, net.constant(x.shape)], x.shape)
    return elementwise(net, "Div", x, length)


def conv_1d(
    net: NetworkBuilder,
    x: NetworkValue,
    out: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padded: bool = True,
) -> NetworkValue:
    """A convolution of one dimension with a bias."""
    reach = dilation * (kernel - 1)
    pad = reach // 2 if padded else 0
    inputs = x.channels // groups
    deviation = math.sqrt(1.0 / (inputs * kernel))
    parts = [net.weight("weight", (out, inputs, kernel), deviation), net.weight("bias", (out,))]
    length = (x.shape[2] + 2 * pad - reach - 1) // stride + 1
    return net.node(
        "Conv",
        [x, *parts],
        (x.shape[0], out, length),
        "conv",
        kernel_shape=[kernel],
        pads=[pad, pad],
        strides=[stride],
        dilations=[dilation],
        group=groups,
    )
