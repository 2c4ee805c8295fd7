"""Chains of the operators that neither published networks nor other modules have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.modules.drawn_layers import (
    Generator,
    cast,
    kept,
    mean_of_all,
    near,
    one,
    reduced,
    unary,
    word,
)

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder

_BOUNDED = ("Atan", "Asinh", "Softsign", "Selu", "Mish", "Round", "Shrink", "Tanh", "Erf", "Sin")


def seldom(net: NetworkBuilder, generator: Generator) -> None:
    """A map through such operators, with a convolution after every few."""
    net.opset = 21
    side = one(generator, 8, 12, 14, 16, 28, 32, 56)
    x = net.input("map", (net.batch_size, near(generator, 8, 96, 8), side, side))
    for number in range(12):
        with net.scope(f"step{number}"):
            x = _STEPS[int(generator.integers(len(_STEPS)))](net, x, generator)
            if generator.random() < 0.3:
                x = net.conv(x, near(generator, 8, 96, 8), act="tanh", norm=False)
    mean_of_all(net, x)


def _bounded(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    return unary(net, word(generator, *_BOUNDED), unary(net, "Tanh", x))


def _compared(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Several comparisons joined, and what is chosen by them."""
    one_way = net.node(
        word(generator, "GreaterOrEqual", "Greater"), [x, net.constant(-0.5)], x.shape
    )
    other = net.node(word(generator, "LessOrEqual", "Less"), [x, net.constant(0.5)], x.shape)
    both = net.node(word(generator, "And", "Or", "Xor"), [one_way, other], x.shape)
    if generator.random() < 0.5:
        both = net.node("Not", [both], x.shape)
    if generator.random() < 0.5:
        return net.mul(x, cast(net, both))
    return net.node("Where", [both, x, net.constant(0.1)], x.shape)


def _whole(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Arithmetic of positions, and one-hot vectors of them."""
    scaled = unary(net, "Abs", net.mul(x, net.constant(9.0)))
    left = net.node("Mod", [cast(net, scaled, 7), net.constant(np.array(8, np.int64))], x.shape)
    if generator.random() < 0.5:
        return net.mul(x, net.add(cast(net, left), net.constant(0.1)))
    row = reduced(net, "ReduceMax", left, [2, 3], keep=False)
    ends = net.constant(np.array([0.0, 1.0], np.float32))
    hot = net.node("OneHot", [row, net.constant([8]), ends], (*row.shape, 8), axis=-1)
    return net.mul(x, net.reshape(reduced(net, "ReduceMean", hot, [2]), (*x.shape[:2], 1, 1)))


def _summed(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Other sums over axes, the mean of several values, and the largest as a one."""
    kind = int(generator.integers(4))
    if kind == 0:
        positive = net.add(unary(net, "Abs", x), net.constant(0.5))
        part = reduced(net, word(generator, "ReduceLogSum", "ReduceLogSumExp"), positive, [1])
    elif kind == 1:
        part = reduced(net, "ReduceProd", unary(net, "Tanh", x), [one(generator, 1, 3)])
    elif kind == 2:
        return net.node(
            word(generator, "Mean", "Sum", "Max"), [x, unary(net, "Tanh", x), x], x.shape
        )
    else:
        return net.add(x, net.node("Hardmax", [x], x.shape, axis=one(generator, 1, 3)))
    return net.mul(x, unary(net, "Sigmoid", part))


def _pooled(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """The largest with where they were, put back there; or of a whole map."""
    if generator.random() < 0.5 or min(x.size) % 2:
        kind = word(generator, "GlobalMaxPool", "GlobalLpPool")
        made = net.node(kind, [x], kept(x.shape, [2, 3]))
        return net.mul(x, unary(net, "Tanh", made))
    small = (*x.shape[:2], *(side // 2 for side in x.size))
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    values, where = net.nodes("MaxPool", [x], [small, small], "pool", **window)
    return net.node("MaxUnpool", [values, where], x.shape, "unpool", **window)


def _grouped(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    groups = one(generator, *(g for g in (1, 2, 4, 8) if x.channels % g == 0))
    parts = [net.ones("scale", (x.channels,)), net.weight("shift", (x.channels,))]
    return net.node("GroupNormalization", [x, *parts], x.shape, num_groups=groups)


def _noisy(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Noise is added, as generators have it; or a part of the steps is read backwards."""
    if generator.random() < 0.5:
        kind = word(generator, "RandomNormalLike", "RandomUniformLike")
        return net.add(x, net.node(kind, [x], x.shape))
    lengths = net.constant([x.shape[2]] * x.shape[1])
    rows = net.reshape(x, (x.shape[2], x.shape[1], x.shape[0] * x.shape[3]))
    turned = net.node("ReverseSequence", [rows, lengths], rows.shape, time_axis=0, batch_axis=1)
    return net.reshape(turned, x.shape)


def _transformed(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A Fourier transform along the rows and its length, or a triangle of the map."""
    if generator.random() < 0.5:
        return net.node("Trilu", [x], x.shape, upper=one(generator, 0, 1))
    data = net.reshape(x, (*x.shape, 1))
    axis = net.constant(np.array(one(generator, 2, 3), np.int64))
    made = net.node("DFT", [data, None, axis], (*x.shape, 2))
    power = reduced(net, "ReduceSumSquare", made, [-1], keep=False)
    return unary(net, "Tanh", power)


def _cleaned(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """What is no number is replaced."""
    kind = word(generator, "IsNaN", "IsInf")
    wrong = net.node(kind, [x], x.shape)
    return net.node("Where", [wrong, net.constant(0.0), x], x.shape)


_STEPS = (
    _bounded, _bounded, _compared, _compared, _whole, _summed, _summed, _pooled, _pooled, _grouped,
    _noisy, _transformed, _cleaned,
)  # fmt: skip
