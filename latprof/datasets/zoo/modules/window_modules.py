"""Odd windows: wider than the map, several outputs a channel, groups, three dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latprof.datasets.zoo.modules.drawn_layers import (
    Generator,
    mean_of_all,
    near,
    one,
    reduced,
    word,
)

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder

#: Multiply-accumulates of a layer.
_MOST_WORK = 2e8


def odd_windows(net: NetworkBuilder, generator: Generator) -> None:
    """Windows wider than the map, several outputs a channel, volumes, transposed groups."""
    channels, side = near(generator, 8, 512, 8), one(generator, 2, 3, 4, 6, 7, 8, 14, 16, 28, 32)
    while channels * side**2 > 1 << 17:
        channels //= 2
    x = net.input("map", (net.batch_size, channels, side, side))
    for number in range(one(generator, 4, 5, 6)):
        with net.scope(f"layer{number}"):
            x = _WINDOWS[int(generator.integers(len(_WINDOWS)))](net, x, generator)
            if math.prod(x.shape[1:]) > 1 << 18 or x.channels > 1024:
                x = net.conv(net.pool(x, "avg", 2, 2, padding=0), max(x.channels // 4, 4))
            if generator.random() < 0.4:
                x = net.add(x, net.act(x, word(generator, "relu", "gelu", "tanh")))
    mean_of_all(net, x)


def _wide(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A depthwise convolution whose window may be wider than the map."""
    kernel = one(generator, 5, 7, 7, 7, 9, 11, 13, 21, 31)
    while x.channels * math.prod(x.size) * kernel**2 > _MOST_WORK // 4:
        kernel -= 4
    norm = bool(generator.random() < 0.6)
    stride = 2 if min(x.size) > 4 and generator.random() < 0.3 else 1
    return net.depthwise(x, max(kernel, 1), stride, norm=norm, act=word(generator, "", "relu"))


def _several(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A convolution of each channel with several results."""
    if x.channels > 512:
        return net.conv(x, 64, act="relu")
    times, kernel = one(generator, 2, 2, 3, 4), one(generator, 1, 3, 3, 5, 7, 7)
    stride = 2 if min(x.size) > 2 and generator.random() < 0.6 else 1
    out = times * x.channels
    return net.conv(x, out, kernel, stride, groups=x.channels, norm=False, name="several")


def _grouped(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    groups = one(generator, *(g for g in (2, 3, 4, 8, 12, 16, 32) if x.channels % g == 0), 1)
    out = groups * near(generator, 1, max(512 // groups, 2))
    while math.prod(x.shape[1:]) * out * 9 > groups * _MOST_WORK:
        out = groups * max(out // groups // 2, 1)
    kernel = one(generator, 1, 3, 3, 5)
    return net.conv(x, out, kernel, groups=groups, act=word(generator, "", "relu", "swish"))


def _transposed(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A transposed convolution: of groups, with a bias, or of each channel."""
    if math.prod(x.shape) > 1 << 15:
        return net.pool(x, "max", 2, 2, padding=0)
    groups = one(generator, *(g for g in (1, 1, 2, 4, x.channels) if x.channels % g == 0))
    kernel, out = one(generator, 2, 3, 4), max(one(generator, 8, 16, 32, 64) // groups, 1)
    weight = net.weight("weight", (x.channels, out, kernel, kernel), 0.05)
    end = [0 if kernel == 2 else 1] * 4
    given = {"output_padding": [1, 1]} if kernel == 3 else {}
    shape = (x.shape[0], out * groups, *(2 * side for side in x.size))
    return net.node(
        "ConvTranspose", [x, weight], shape, "up", kernel_shape=[kernel] * 2, strides=[2, 2],
        pads=end, group=groups, **given,
    )  # fmt: skip


def _pooled(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Several pools of one map beside it (He et al. 2015), or one with odd sides."""
    if generator.random() < 0.5 and x.channels <= 256:
        few = net.conv(x, max(x.channels // 2, 1), act="relu")
        return net.concat([few, *(net.pool(few, "max", k, 1) for k in (5, 9, 13))])
    mean = reduced(net, "ReduceMean", x, [2, 3])
    wide = net.node("Expand", [mean, net.constant(x.shape)], x.shape)
    return net.concat([x, wide]) if x.channels <= 256 else net.mul(x, wide)


def _sampled(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Where an offset that is computed points (Dai et al. 2017)."""
    if min(x.size) < 4:
        return x
    offset = net.act(net.conv(x, 2, 3, norm=False), "tanh")
    grid = net.transpose(offset, (0, 2, 3, 1))
    mode = word(generator, "bilinear", "bilinear", "nearest", "bicubic")
    return net.node("GridSample", [x, grid], x.shape, mode=mode, padding_mode="zeros")


_WINDOWS = (_wide, _wide, _wide, _several, _several, _grouped, _transposed, _pooled, _sampled)


def volumes(net: NetworkBuilder, generator: Generator) -> None:
    """Convolutions and pools of three dimensions, together or apart (Tran et al. 2018)."""
    depth, side = one(generator, 4, 8, 8, 16), one(generator, 16, 32, 48, 64, 80, 112)
    x = net.input("video", (net.batch_size, one(generator, 1, 3), depth, side, side))
    out = near(generator, 8, 48, 8)
    for number in range(one(generator, 3, 4, 5)):
        with net.scope(f"layer{number}"):
            forms = ((3, 3, 3), (1, 3, 3), (1, 3, 3), (3, 1, 1), (3, 1, 1), (1, 1, 1), (1, 7, 7))
            kernel = forms[int(generator.integers(len(forms)))]
            large = math.prod(x.shape) > 1 << 16
            step = 2 if min(x.shape[3:]) > 4 and (large or generator.random() < 0.3) else 1
            x = _volume(net, x, out, (kernel, (1, step, step)), generator)
        out = min(2 * out, 256) if generator.random() < 0.6 else out
    if generator.random() < 0.5 and x.shape[2] % 2 == 0 and min(x.shape[3:]) > 1:
        shape = (*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2, x.shape[4] // 2)
        kind = word(generator, "MaxPool", "AveragePool")
        x = net.node(kind, [x], shape, kernel_shape=[2] * 3, strides=[2] * 3)
    mean_of_all(net, x)


def _volume(
    net: NetworkBuilder,
    x: NetworkValue,
    out: int,
    window: tuple[tuple[int, int, int], tuple[int, int, int]],
    generator: Generator,
) -> NetworkValue:
    kernel, strides = window
    groups = x.channels if generator.random() < 0.2 and x.channels > 4 else 1
    out = x.channels if groups > 1 else out
    after = [(s - 1) // t + 1 for s, t in zip(x.shape[2:], strides, strict=True)]
    while math.prod(after) * out * x.channels // groups * math.prod(kernel) > _MOST_WORK:
        out = max(out // 2, 1)
        if out == 1 or groups > 1:
            break
    inputs = x.channels // groups
    weight = net.weight("weight", (out, inputs, *kernel), 1 / math.sqrt(inputs * math.prod(kernel)))
    pads = [side // 2 for side in kernel] * 2
    x = net.node(
        "Conv", [x, weight, net.weight("bias", (out,))], (x.shape[0], out, *after),
        kernel_shape=list(kernel), strides=list(strides), pads=pads, group=groups,
    )  # fmt: skip
    return net.act(x, word(generator, "relu", "relu", "swish", ""))
