"""Random networks of the operators that few published networks have, for measuring kernels.

Exporters and people's own modules write what no family of the zoo needs: slopes a channel, sums
over any axis, broadcasts of two sides, transpositions of five dimensions, cubic resizing, scatters.
A network here is a chain of such operators on values of random sizes, each one's result brought
back to a map, so that every kernel has a neighbour before and behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from latprof.common.limits import check_seed
from latprof.datasets.zoo.graph_builder import NetworkValue, Shape
from latprof.datasets.zoo.modules.drawn_layers import Generator, kept, one, word
from latprof.datasets.zoo.network_builder import NetworkBuilder

Step: TypeAlias = Callable[[NetworkBuilder, NetworkValue, Generator], NetworkValue]

_SIDES = (4, 7, 8, 10, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96)
_CHANNELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
#: Elements of a value, and operators of a network.
_FEWEST, _MOST = 1 << 10, 1 << 18
_STEPS = 16
#: After these a value is bounded, so that it stays a number.
_GROWING = frozenset({"Exp", "Pow", "Div", "CumSum", "Reciprocal", "MatMul", "Einsum", "Elu"})


def random_operators(seed: int, *, batch_size: int = 1) -> NetworkBuilder:
    """The network of a seed: the same in every version of NumPy's generators."""
    generator = np.random.default_rng([check_seed(seed), 3])
    net = NetworkBuilder(f"random operators {seed}", resolution=8, batch_size=batch_size)
    x = net.input("input", (batch_size, *_map_shape(generator)))
    for number in range(_STEPS):
        step = _ALL[int(generator.integers(len(_ALL)))]
        with net.scope(f"step{number}"):
            x = _bounded(net, step(net, x, generator))
            elements = math.prod(x.shape[1:])
            if not _FEWEST <= elements <= _MOST or generator.random() < 0.25:
                x = _fitted(net, x, generator)
    net.output(x)
    return net


def _bounded(net: NetworkBuilder, x: NetworkValue) -> NetworkValue:
    """The value, or after an operator that may make it large the value within bounds."""
    if net.last_operator not in _GROWING:
        return x
    return net.node("Clip", [x, net.constant(-3.0), net.constant(3.0)], x.shape)


def _map_shape(generator: Generator) -> Shape:
    """Channels, height and width of a map of bearable size."""
    for _ in range(100):
        height, channels = one(generator, *_SIDES), one(generator, *_CHANNELS)
        width = height if generator.random() < 0.8 else one(generator, *_SIDES)
        if _FEWEST <= channels * height * width <= _MOST:
            break
    return channels, height, width


def _fitted(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A map of another size: by a convolution, and a resize where it grows or shrinks."""
    channels, height, width = _map_shape(generator)
    if math.prod(x.size) > 2 * height * width:
        x = net.resize(x, (height, width))
        return net.conv(x, channels, name="fit")
    return net.resize(net.conv(x, channels, name="fit"), (height, width))


def _axes(generator: Generator) -> list[int]:
    """One or several axes of a map, not that of the batch."""
    return [[1], [2], [3], [3], [2, 3], [2, 3], [1, 3], [1, 2], [1, 2, 3]][
        int(generator.integers(9))
    ]


# Single elements -----------------------------------------------------------------------------

_UNARY = ("Elu", "Selu", "Softplus", "Softsign", "Erf", "Exp", "Sin", "Cos", "Sqrt", "Reciprocal",
          "Tanh", "HardSigmoid", "LeakyRelu", "ThresholdedRelu", "Celu", "Round", "Floor", "Ceil",
          "Sign", "Neg", "Abs", "Log", "Sigmoid", "HardSwish", "Relu")  # fmt: skip


def _unary(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    kind = word(generator, *_UNARY)
    if kind in ("Log", "Sqrt", "Reciprocal"):
        x = net.add(net.node("Abs", [x], x.shape), net.constant(1.0))
    return net.node(kind, [x], x.shape)


def _slopes(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    shape = (x.channels, 1, 1) if generator.random() < 0.8 else (1, 1, 1)
    return net.node("PRelu", [x, net.weight("slope", shape)], x.shape)


def _power(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    x = net.node("Abs", [x], x.shape)
    exponent = float(generator.choice([0.5, 1.5, 2.0, 3.0, -0.5]))
    return net.node("Pow", [net.add(x, net.constant(1.0)), net.constant(exponent)], x.shape)


def _cast(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Through whole numbers, as positions and masks are made."""
    kind = one(generator, 6, 7, 9)
    whole = net.node("Cast", [x], x.shape, "whole", to=kind)
    return net.node("Cast", [whole], x.shape, "float", to=1)


def _chosen(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """One of two values by a comparison."""
    other = _other_side(net, x, generator)
    kind = word(generator, "Greater", "Less", "Equal")
    which = net.node(kind, [x, other], x.shape)
    return net.node("Where", [which, x, other], x.shape)


# Broadcasts ------------------------------------------------------------------------------------


def _other_side(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """What is broadcast against a map: learnt, or a mean of the map itself."""
    _, channels, height, width = x.shape
    if generator.random() < 0.5:
        shapes: list[Shape] = [(channels, 1, 1), (1, height, width), (height, 1), (width,),
                               (channels, height, 1), (channels, 1, width), x.shape[1:],
                               (1, 1, 1, 1)]  # fmt: skip
        return net.weight("side", shapes[int(generator.integers(len(shapes)))])
    axes = _axes(generator)
    return net.node("ReduceMean", [x], kept(x.shape, axes), "side", axes=axes, keepdims=1)


def _broadcast(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    kind = word(generator, "Add", "Sub", "Mul", "Div", "Max", "Min")
    sides = [x, _other_side(net, x, generator)]
    if kind == "Sub" and generator.random() < 0.5:
        sides.reverse()
    return net.node(kind, sides, x.shape)


def _outer(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Two sides that are broadcast both: all pairs."""
    pairs = (([3], [2]), ([2], [1]), ([3], [1]), ([2, 3], [1]), ([1, 3], [2]))
    one, two = pairs[int(generator.integers(len(pairs)))]
    parts = [
        net.node("ReduceMean", [x], kept(x.shape, axes), axes=axes, keepdims=1)
        for axes in (one, two)
    ]
    kind = word(generator, "Add", "Sub", "Mul")
    shape = tuple(map(max, parts[0].shape, parts[1].shape))
    pair = net.node(kind, parts, shape)
    return net.add(x, pair)


def _expanded(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    axes = _axes(generator)
    part = net.node("ReduceMax", [x], kept(x.shape, axes), axes=axes, keepdims=1)
    if generator.random() < 0.7:
        whole = net.node("Expand", [part, net.constant(x.shape)], x.shape)
    else:
        times = [a // b for a, b in zip(x.shape, part.shape, strict=True)]
        whole = net.node("Tile", [part, net.constant(times)], x.shape)
    return net.mul(x, whole)


# Along axes ------------------------------------------------------------------------------------


def _reduced(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    kind = word(generator, "Mean", "Mean", "Max", "Min", "Sum", "L1", "L2", "LogSumExp",
                 "SumSquare")  # fmt: skip
    axes = _axes(generator)
    shape = kept(x.shape, axes)
    if kind == "Sum":
        part = net.node("ReduceSum", [x, net.constant(axes)], shape, keepdims=1)
    else:
        part = net.node(f"Reduce{kind}", [x], shape, axes=axes, keepdims=1)
    return net.add(x, part)


def _normalized(  # noqa: PLR0911 - one case a normalisation
    net: NetworkBuilder, x: NetworkValue, generator: Generator
) -> NetworkValue:
    """One over channels, the map, the last dimension or any; a softmax among them."""
    kind = int(generator.integers(7))
    scale = [net.ones("scale", (x.channels,)), net.weight("shift", (x.channels,))]
    if kind == 0:
        return net.node("InstanceNormalization", [x, *scale], x.shape)
    if kind == 1:
        return net.node("LRN", [x], x.shape, size=5)
    if kind == 2:
        return net.node("LpNormalization", [x], x.shape, axis=one(generator, 1, 2, 3), p=2)
    if kind == 3:
        return net.batch_normalize(net.add(x, x))
    if kind == 4:
        return net.node("MeanVarianceNormalization", [x], x.shape, axes=[0, 2, 3])
    if kind == 5:
        last = [net.ones("scale", x.shape[-1:]), net.weight("shift", x.shape[-1:])]
        return net.node("LayerNormalization", [x, *last], x.shape, axis=-1)
    axis = one(generator, 1, 2, 3, 3)
    return net.node(word(generator, "Softmax", "LogSoftmax"), [x], x.shape, axis=axis)


def _sums(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    axis = net.constant(np.array(one(generator, 1, 2, 3), np.int64))
    return net.node("CumSum", [x, axis], x.shape)


def _largest(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """The largest of an axis, or where they are."""
    axis = one(generator, 1, 2, 3, 3)
    side = x.shape[axis]
    if generator.random() < 0.4:
        kind = word(generator, "ArgMax", "ArgMin")
        where = net.node(kind, [x], kept(x.shape, [axis]), axis=axis, keepdims=1)
        return net.add(x, net.node("Cast", [where], where.shape, "float", to=1))
    count = min(one(generator, 1, 2, 5, 8, 16, 64), side)
    shape = tuple(count if i == axis else s for i, s in enumerate(x.shape))
    values, _ = net.nodes("TopK", [x, net.constant([count])], [shape, shape], axis=axis)
    return values


# Moving data -----------------------------------------------------------------------------------


def _turned(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A transposition of a map, of parts of its channels, or of windows."""
    batch, channels, height, width = x.shape
    shape: list[int] = [batch, channels, height, width]
    for axis, side in ((1, channels), (2, height), (3, width)):
        factors = [f for f in (2, 3, 4, 7, 8, 16, 32) if side % f == 0 and side > f]
        if factors and len(shape) < 6 and generator.random() < 0.4:
            place = axis + len(shape) - 4
            factor = one(generator, *factors)
            shape[place : place + 1] = [side // factor, factor]
    split = net.reshape(x, tuple(shape), "parts")
    order = [0, *(1 + generator.permutation(len(shape) - 1)).tolist()]
    turned = net.transpose(split, tuple(order), "turned")
    sides = turned.shape
    joined = (sides[0], sides[1], sides[2], math.prod(sides[3:]))
    return net.reshape(turned, joined, "joined")


def _cut(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Every second element, or a part, of an axis; doubled again by what was there."""
    axis = one(generator, 1, 2, 3)
    side = x.shape[axis]
    if side < 4:
        return x
    step = one(generator, 1, 2)
    begin, end = (0, side) if step == 2 else (1, side - 1)
    shape = tuple(
        (end - begin + step - 1) // step if i == axis else s for i, s in enumerate(x.shape)
    )
    bounds = [net.constant([value]) for value in (begin, end, axis, step)]
    part = net.node("Slice", [x, *bounds], shape)
    return net.concat([part, part], axis) if step == 2 else part


def _parted(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    axis = one(generator, 1, 2, 3)
    half = x.shape[axis] // 2
    if half < 1:
        return x
    sizes = (half, x.shape[axis] - half)
    left, right = net.split(x, sizes, axis)
    return net.concat([right, left], axis)


def _gathered(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """By constant indices: whole slices, or single elements."""
    axis = one(generator, 1, 2, 3)
    side = x.shape[axis]
    kind = word(generator, "Gather", "Gather", "GatherElements", "ScatterElements", "ScatterND")
    if kind == "Gather":
        order = generator.permutation(side).astype(np.int64)
        return net.node("Gather", [x, net.constant(order)], x.shape, axis=axis)
    if kind == "ScatterND":
        places = np.stack(
            [
                np.zeros(x.channels * x.shape[2], np.int64),
                np.repeat(np.arange(x.channels), x.shape[2]),
                np.tile(np.arange(x.shape[2]), x.channels),
            ],
            axis=1,
        )
        updates = net.weight("updates", (len(places), x.shape[3]))
        return net.node("ScatterND", [x, net.constant(places), updates], x.shape)
    shape = (1, *x.shape[1:])
    index = net.constant(generator.integers(0, side, shape, dtype=np.int64))
    if kind == "GatherElements":
        part = net.slice(x, 0, 1, 0) if x.shape[0] > 1 else x
        return net.add(x, net.node(kind, [part, index], shape, axis=axis))
    updates = net.weight("updates", shape)
    return net.node(kind, [x, index, updates], x.shape, axis=axis)


def _padded(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    mode = word(generator, "constant", "reflect", "edge")
    width = 1 if min(x.size) < 4 else one(generator, 1, 2, 3)
    shape = (*x.shape[:2], x.size[0] + 2 * width, x.size[1] + 2 * width)
    pads = net.constant([0, 0, width, width, 0, 0, width, width])
    return net.node("Pad", [x, pads], shape, mode=mode)


def _pixels(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Channels as pixels, or pixels as channels."""
    batch, channels, height, width = x.shape
    if channels % 4 == 0 and generator.random() < 0.6:
        mode = word(generator, "DCR", "CRD")
        shape = (batch, channels // 4, 2 * height, 2 * width)
        return net.node("DepthToSpace", [x], shape, blocksize=2, mode=mode)
    if height % 2 == 0 and width % 2 == 0:
        shape = (batch, 4 * channels, height // 2, width // 2)
        return net.node("SpaceToDepth", [x], shape, blocksize=2)
    return x


# Windows ---------------------------------------------------------------------------------------


def _resized(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    factor = float(generator.choice([0.5, 0.75, 1.5, 2.0, 2.0, 4.0]))
    height, width = (max(round(factor * side), 1) for side in x.size)
    shape = (*x.shape[:2], height, width)
    mode = word(generator, "nearest", "linear", "linear", "cubic")
    how = word(generator, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    sizes = net.constant(shape)
    return net.node(
        "Resize", [x, None, None, sizes], shape, mode=mode, coordinate_transformation_mode=how
    )


def _sampled(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    batch, _, height, width = x.shape
    grid = net.weight("grid", (batch, height, width, 2), 0.5)
    mode = word(generator, "bilinear", "bilinear", "nearest")
    return net.node("GridSample", [x, grid], x.shape, mode=mode, padding_mode="zeros")


def _pooled(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    kind = word(generator, "MaxPool", "AveragePool", "LpPool")
    window = min(one(generator, 2, 3, 5, 7, 9, 13), *x.size)
    window -= 1 - window % 2
    pads = [window // 2] * 4
    stride = 2 if min(x.size) > 8 and generator.random() < 0.3 else 1
    shape = (*x.shape[:2], *((side - 1) // stride + 1 for side in x.size))
    return net.node(kind, [x], shape, kernel_shape=[window] * 2, strides=[stride] * 2, pads=pads)


def _odd_conv(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Convolutions of few or odd numbers of channels, long windows, dilations, odd groups."""
    least = min(x.size)
    kernel = one(generator, *(k for k in (1, 3, 3, 5, 7, 9) if k <= max(least, 1)))
    sides = (kernel, kernel)
    if generator.random() < 0.25:
        sides = (1, kernel) if generator.random() < 0.5 else (kernel, 1)
    out = one(generator, 1, 2, 3, 5, 12, 19, 21, 32, 64, 100, 128)
    groups = 1
    if generator.random() < 0.3:
        groups = one(generator, *(g for g in (2, 3, 4, 8, 16) if x.channels % g == 0), 1)
        out = groups * max(out // groups, 1)
    dilation = one(generator, 1, 1, 1, 2) if least > 2 * kernel else 1
    return net.conv(x, out, sides, groups=groups, dilation=dilation, norm=False)


def _deconvolved(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    return net.deconv(x, one(generator, 1, 3, 8, 16, 32, 64), one(generator, 2, 4), 2)


def _computed_conv(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A convolution whose weights are computed in every run, of the input itself."""
    kernel = 3 if min(x.size) >= 3 and generator.random() < 0.5 else 1
    out = one(generator, 8, 16, 32, 64)
    weight = net.weight("weight", (out, x.channels, kernel, kernel))
    mean = net.node("ReduceMean", [x], (x.shape[0], 1, 1, 1), axes=[1, 2, 3], keepdims=1)
    first = net.slice(mean, 0, 1, 0) if x.shape[0] > 1 else mean
    weight = net.mul(weight, net.act(first, "sigmoid"))
    shape = (x.shape[0], out, *x.size)
    pads = [kernel // 2] * 4
    return net.node("Conv", [x, weight], shape, kernel_shape=[kernel] * 2, pads=pads)


def _volume(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A convolution of three dimensions; the map's height is taken apart."""
    batch, channels, height, width = x.shape
    depth = next((d for d in (8, 4, 7, 2) if height % d == 0 and height > d), 1)
    inner = (batch, channels, depth, height // depth, width)
    kernel = [one(generator, 1, 3), *[one(generator, 1, 3)] * 2]
    out = one(generator, 4, 8, 16, 24, 32, 48)
    weight = net.weight("weight", (out, channels, *kernel))
    pads = [side // 2 for side in kernel] * 2
    shape = (batch, out, *inner[2:])
    y = net.node("Conv", [net.reshape(x, inner), weight], shape, kernel_shape=kernel, pads=pads)
    return net.reshape(y, (batch, out, height, width))


# Products --------------------------------------------------------------------------------------


def _heads(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Attention of odd sizes, its logits mixed between heads at times."""
    heads, tokens = (
        one(generator, 1, 2, 3, 4, 6, 8),
        one(generator, 16, 49, 50, 65, 100, 197, 256),
    )
    size = one(generator, 8, 16, 24, 32, 48, 64)
    pixels = net.reshape(net.conv(x, 1, name="one"), (x.shape[0], math.prod(x.size)))
    query = net.linear(pixels, heads * size, name="query")
    query = net.reshape(query, (x.shape[0], heads, 1, size))
    shape = (heads, tokens, size)
    key = net.mul(net.weight("key", shape), query)
    logits = net.matmul(key, net.transpose(key, (0, 1, 3, 2)))
    if generator.random() < 0.4:
        mixed = net.transpose(logits, (0, 2, 3, 1))
        mixed = net.linear(mixed, heads, name="talk")
        logits = net.transpose(mixed, (0, 3, 1, 2))
    value = net.matmul(net.softmax(logits), key)
    mean = net.node("ReduceMean", [value], (x.shape[0], 1, 1, 1), axes=[1, 2, 3], keepdims=1)
    return net.add(x, mean)


def _rows(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A dense layer over the last dimension of a map, or of one row."""
    if generator.random() < 0.5:
        return net.linear(x, one(generator, 2, 4, 7, 10, 16, 24, 49, 64, 100))
    row = net.flatten(net.global_pool(x))
    for _ in range(2):
        row = net.linear(row, one(generator, 16, 64, 256, 512, 1000, 1280, 2048))
    row = net.linear(row, x.channels)
    return net.mul(x, net.reshape(row, (x.shape[0], x.channels, 1, 1)))


def _einsum(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    if generator.random() < 0.5:
        out = one(generator, 4, 8, 16, 32)
        weight = net.weight("weight", (x.channels, out))
        shape = (x.shape[0], out, *x.size)
        return net.node("Einsum", [x, weight], shape, equation="bchw,cd->bdhw")
    pairs = (*x.shape[:3], x.shape[2])
    return net.node("Einsum", [x, x], pairs, equation="bchw,bcgw->bchg")


_ALL: tuple[Step, ...] = (
    *(_unary,) * 4, _slopes, _power, _cast, _chosen,
    *(_broadcast,) * 4, *(_outer,) * 2, *(_expanded,) * 2,
    *(_reduced,) * 3, *(_normalized,) * 3, _sums, *(_largest,) * 2,
    *(_turned,) * 4, _cut, _parted, *(_gathered,) * 3, _padded, _pixels,
    *(_resized,) * 3, _sampled, *(_pooled,) * 2, *(_odd_conv,) * 4, _deconvolved, _computed_conv,
    _volume, *(_heads,) * 3, *(_rows,) * 3, _einsum,
)  # fmt: skip
