"""Large images, networks that make images, detection and classes of pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.modules.drawn_layers import (
    Generator,
    cast,
    elementwise,
    gathered,
    group_norm,
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

#: Elements of a map, and multiply-accumulates of a layer.
_MOST_MAP, _MOST_WORK = 1 << 21, 2e8


def large_images(net: NetworkBuilder, generator: Generator) -> None:
    """Images before and after a network: turned, scaled, cut, padded, resized."""
    channels, height = one(generator, 1, 3, 3, 3, 4), near(generator, 96, 512, 16)
    width = height if generator.random() < 0.7 else near(generator, 96, 512, 16)
    last = generator.random() < 0.4
    sides = (net.batch_size, channels, height, width)
    x = net.input("image", (sides[0], *sides[2:], channels) if last else sides)
    x = net.transpose(x, (0, 3, 1, 2)) if last else x
    mean, spread = (net.ones(name, (channels, 1, 1)) for name in ("mean", "spread"))
    x = elementwise(net, "Div", elementwise(net, "Sub", x, mean), spread)
    ends = []
    for number in range(one(generator, 2, 3)):
        with net.scope(f"image{number}"):
            y = _framed(net, _resized(net, x, generator), generator)
            ends.append(_patched(net, y, generator))
    x = net.conv(ends[0], near(generator, 4, 32, 4), 3, act="relu", norm=False)
    mean_of_all(net, x, *ends)


def _resized(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    size = [near(generator, 64, 512, 8) for _ in range(2)]
    if generator.random() < 0.7:
        size = [max(round(s * float(generator.choice([0.5, 0.93, 2]))), 8) for s in x.size]
    if math.prod(size) * x.channels > _MOST_MAP:
        size = [*x.size]
    mode = word(generator, "nearest", "linear", "linear", "cubic", "cubic")
    given: dict[str, object] = {"cubic_coeff_a": -0.75} if mode == "cubic" else {}
    how = word(generator, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    shape = (*x.shape[:2], *size)
    return net.node(
        "Resize", [x, None, None, net.constant(shape)], shape, "resize", mode=mode,
        coordinate_transformation_mode=how, **given,
    )  # fmt: skip


def _framed(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """With a border, or without one."""
    border = one(generator, 1, 3, 4, 8, 16)
    if generator.random() < 0.4:
        x = net.slice(x, border, x.size[0], 2)
        return net.slice(x, 0, x.size[1] - border, 3)
    mode = word(generator, "constant", "reflect", "edge")
    shape = (*x.shape[:2], *(side + 2 * border for side in x.size))
    pads = net.constant([0, 0, border, border] * 2)
    return net.node("Pad", [x, pads], shape, mode=mode)


def _patched(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Pixels as channels: by slices, by a reshape, or by an operator."""
    block = one(generator, 2, 2, 4)
    height, width = (side // block * block for side in x.size)
    x = net.slice(net.slice(x, 0, height, 2), 0, width, 3) if x.size != (height, width) else x
    batch, channels = x.shape[:2]
    kind, shape = int(generator.integers(3)), (height // block, width // block)
    if kind == 0:
        corners = ((i, j) for i in range(2) for j in range(2))
        if block == 2:  # as detectors begin
            rows = [net.slice(x, i, height, 2, 2) for i in range(2)]
            return net.concat([net.slice(rows[i], j, width, 3, 2) for i, j in corners])
        return net.pool(x, "avg", block, block, padding=0)
    if kind == 1:
        value = net.reshape(x, (batch, channels, shape[0], block, shape[1], block))
        value = net.transpose(value, _ORDERS[int(generator.integers(2))])
        return net.reshape(value, (batch, channels * block**2, *shape))
    sides = (batch, channels * block**2, *shape)
    return net.node("SpaceToDepth", [x], sides, blocksize=block)


#: Orders of six dimensions that make channels of pixels.
_ORDERS = ((0, 1, 3, 5, 2, 4), (0, 3, 5, 1, 2, 4))


def super_resolution(net: NetworkBuilder, generator: Generator) -> None:
    """Convolutions at the size of the image, slopes a channel, pixels of channels (Shi 2016)."""
    side, width = near(generator, 48, 256, 8), near(generator, 8, 64, 4)
    while side**2 * width * width * 9 > _MOST_WORK and side > 48:
        side -= 8
    x = net.input("image", (net.batch_size, one(generator, 1, 3, 3), side, side))
    y = first = net.conv(x, width, one(generator, 3, 3, 5, 9), norm=False, name="first")
    act = word(generator, "slopes", "slopes", "relu", "leaky_relu")
    for number in range(one(generator, 1, 2, 3)):
        with net.scope(f"body{number}"):
            inner = _acted(net, net.conv(y, width, 3, norm=False), act)
            y = net.add(net.scaled(net.conv(inner, width, 3, norm=False), 1), y)
    y = _acted(net, net.add(y, first), act)
    factor = one(generator, 2, 2, 3, 4)
    spread = net.conv(y, x.channels * factor**2, 3, norm=False, name="spread")
    big = tuple(factor * s for s in x.size)
    shape = (x.shape[0], x.channels, *big)
    if generator.random() < 0.6:
        mode = word(generator, "CRD", "CRD", "DCR")
        made = net.node("DepthToSpace", [spread], shape, blocksize=factor, mode=mode)
    else:
        made = net.reshape(spread, (x.shape[0], x.channels, factor, factor, *x.size))
        made = net.reshape(net.transpose(made, (0, 1, 4, 2, 5, 3)), shape)
    if generator.random() < 0.6:
        mode = word(generator, "cubic", "linear", "nearest")
        sizes = net.constant(shape)
        made = net.add(made, net.node("Resize", [x, None, None, sizes], shape, mode=mode))
    mean_of_all(net, net.node("Clip", [made, net.constant(0.0), net.constant(1.0)], shape))


def _acted(net: NetworkBuilder, x: NetworkValue, act: str) -> NetworkValue:
    if act == "slopes":
        return net.node("PRelu", [x, net.weight("slope", (x.channels, 1, 1))], x.shape)
    return net.act(x, act)


def diffusion(net: NetworkBuilder, generator: Generator) -> None:
    """Blocks of a network that removes noise (Ho et al. 2020), given the time and a text."""
    side, groups = one(generator, 8, 16, 16, 32, 32, 48, 64), one(generator, 4, 8, 16, 32)
    width = groups * one(generator, 2, 4, 6, 8, 10)
    while side**2 * width**2 * 9 > _MOST_WORK:
        side //= 2
    x = net.input("noisy", (net.batch_size, one(generator, 3, 4), side, side))
    time = net.input("time", (net.batch_size, 1))
    angles = net.mul(time, net.weight("speeds", (1, width // 2)))
    time = net.concat([unary(net, "Sin", angles), unary(net, "Cos", angles)], 1)
    time = net.linear(net.linear(time, 4 * width, act="swish"), 4 * width, act="swish")
    x = net.conv(x, width, 3, norm=False)
    for number in range(one(generator, 2, 3)):
        with net.scope(f"block{number}"):
            x = _timed(net, x, time, groups, generator)
            if math.prod(x.size) <= 1024 and generator.random() < 0.7:
                x = _looked_around(net, x, groups, generator)
            if min(x.size) > 8 and generator.random() < 0.4:
                x = net.conv(x, x.channels, 3, 2, norm=False, name="down")
            elif generator.random() < 0.3 and math.prod(x.shape) < _MOST_MAP // 16:
                bigger = (2 * x.size[0], 2 * x.size[1])
                x = net.conv(net.resize(x, bigger), x.channels, 3, norm=False, name="up")
    mean_of_all(net, net.conv(group_norm(net, x, groups, "swish"), 4, 3, norm=False))


def _timed(
    net: NetworkBuilder, x: NetworkValue, time: NetworkValue, groups: int, generator: Generator
) -> NetworkValue:
    """Two convolutions after group normalisations; the time is added between them."""
    out = x.channels * (2 if x.channels <= 128 and generator.random() < 0.3 else 1)
    y = net.conv(group_norm(net, x, groups, "swish"), out, 3, norm=False)
    given = net.linear(time, out, name="time")
    y = net.add(y, net.reshape(given, (*given.shape, 1, 1)))
    y = net.conv(group_norm(net, y, groups, "swish"), out, 3, norm=False)
    return net.add(x if out == x.channels else net.conv(x, out, norm=False), y)


def _looked_around(
    net: NetworkBuilder, x: NetworkValue, groups: int, generator: Generator
) -> NetworkValue:
    """Attention over all pixels, or to a text, and a gated dense layer."""
    heads = one(generator, *(h for h in (1, 2, 4, 8) if x.channels % h == 0))
    tokens = net.tokens(net.conv(group_norm(net, x, groups), x.channels, norm=False))
    inner = net.layer_normalize(tokens)
    if generator.random() < 0.5:
        text = net.weight("text", (x.shape[0], 77, one(generator, 64, 256, 768)))
        q = net.heads(net.linear(inner, x.channels, bias=False), heads)
        k, v = (
            net.heads(net.linear(text, x.channels, bias=False, name=name), heads) for name in "kv"
        )
        mixed = net.linear(net.joined(net.attend(q, k, v)), x.channels)
    else:
        mixed = net.self_attention(inner, heads)
    tokens = net.add(tokens, mixed)
    both = net.linear(net.layer_normalize(tokens), 4 * x.channels)
    value, gate = net.split(both, (2 * x.channels,) * 2, 2)
    tokens = net.add(tokens, net.linear(net.mul(value, net.act(gate, "gelu")), x.channels))
    return net.add(x, net.feature_map(tokens, x.size))


def detector(net: NetworkBuilder, generator: Generator) -> None:
    """Boxes and classes of several maps, the best of them, and what lies in these."""
    side, classes = near(generator, 16, 80, 8), one(generator, 1, 4, 20, 80, 90)
    anchors, width = one(generator, 1, 3, 9), near(generator, 16, 128, 16)
    x = net.input("map", (net.batch_size, width, side, side))
    each, found, maps = 4 + classes, [], []
    for number in range(one(generator, 1, 2, 3)):
        with net.scope(f"level{number}"):
            maps.append(x)
            made = net.conv(net.conv(x, width, 3, act="swish"), anchors * each, norm=False)
            batch, _, height, wide = made.shape
            made = net.reshape(made, (batch, anchors, each, height, wide))
            made = net.transpose(made, (0, 1, 3, 4, 2))
            found.append(net.reshape(made, (batch, anchors * height * wide, each)))
            x = net.pool(x, "max", 3, 2)
    rows = net.concat(found, 1)
    boxes, scores = net.split(net.act(rows, "sigmoid"), (4, classes), 2)
    count = rows.shape[1]
    centres, sides = net.split(boxes, (2, 2), 2)
    centres = net.mul(net.add(centres, net.weight("grid", (1, count, 2))), net.constant(8.0))
    half = elementwise(net, "Div", unary(net, "Exp", sides), net.constant(2.0))
    corners = net.concat([elementwise(net, "Sub", centres, half), net.add(centres, half)], 2)
    best = reduced(net, "ReduceMax", scores, [-1], keep=False)
    few = min(one(generator, 50, 100, 300, 1000), count)
    shape = (net.batch_size, few)
    top, place = net.nodes("TopK", [best, net.constant([few])], [shape, shape], axis=-1)
    column = net.reshape(place, (*shape, 1))
    index = net.node("Expand", [column, net.constant((*shape, 4))], (*shape, 4))
    chosen = net.node("GatherElements", [corners, index], (*shape, 4), axis=1)
    ends = [top, chosen]
    if generator.random() < 0.7:
        ends.append(_suppressed(net, corners, scores))
    if generator.random() < 0.8:
        ends.append(_inside(net, maps[0], generator))
    mean_of_all(net, *ends)


def _suppressed(net: NetworkBuilder, boxes: NetworkValue, scores: NetworkValue) -> NetworkValue:
    """How many boxes are left that overlap no better one: their number is known as it runs."""
    limits = [net.constant([50]), net.constant(0.5), net.constant(0.55)]
    turned = net.transpose(scores, (0, 2, 1))
    kept = net.node("NonMaxSuppression", [boxes, turned, *limits], (-1, 3))
    number = net.node("Shape", [kept], (2,))
    return cast(net, number)


def _inside(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """What lies in boxes, at one size, through dense layers (He et al. 2017)."""
    boxes, out = near(generator, 4, 128), one(generator, 7, 7, 14)
    while boxes * x.channels * out**2 > _MOST_MAP // 4:
        boxes = max(boxes // 2, 1)
    low = generator.uniform(0, max(x.size) / 2, (boxes, 2))
    high = low + generator.uniform(2, max(x.size) / 2, (boxes, 2))
    places = np.concatenate([low, high], 1).astype(np.float32)
    given = [x, net.constant(places), net.constant(np.zeros(boxes, np.int64))]
    shape = (boxes, x.channels, out, out)
    rate = one(generator, 0, 2, 2)
    found = net.node(
        "RoiAlign", given, shape, output_height=out, output_width=out, sampling_ratio=rate
    )
    if generator.random() < 0.5:
        found = net.conv(found, near(generator, 8, 64, 8), 3, act="relu", norm=False)
    return net.mlp(net.linear(net.flatten(found), near(generator, 16, 256, 16), act="relu"), 64)


def channels_last(net: NetworkBuilder, generator: Generator) -> None:
    """Maps with the channels last, as TensorFlow has them: turned at each convolution."""
    side = one(generator, 28, 32, 56, 64, 96, 112)
    x = net.input("image", (net.batch_size, side, side, 3))
    out = near(generator, 8, 32, 4)
    for number in range(one(generator, 3, 4, 5)):
        with net.scope(f"block{number}"):
            y = net.transpose(x, (0, 3, 1, 2))
            y = net.conv(y, out, one(generator, 1, 3, 3), one(generator, 1, 2, 2), norm=False)
            x = net.transpose(y, (0, 2, 3, 1))
            x = net.add(net.mul(x, net.ones("scale", (out,))), net.weight("shift", (out,)))
            x = net.act(x, word(generator, "relu6", "relu", "swish", "sigmoid", "hswish"))
            if generator.random() < 0.4:
                mean = reduced(net, "ReduceMean", x, [1, 2], keep=bool(number % 2))
                gate = net.linear(mean, out, act="sigmoid")
                x = net.mul(x, net.reshape(gate, (x.shape[0], 1, 1, out)))
            if generator.random() < 0.3:
                pads = net.constant([0, 0, 0, 0, 0, 1, 1, 0])
                x = net.node("Pad", [x, pads], (x.shape[0], x.shape[1] + 1, x.shape[2] + 1, out))
        out = min(2 * out, 256) if generator.random() < 0.6 else out
    mean = reduced(net, "ReduceMean", x, [1, 2], keep=False)
    net.output(net.softmax(net.linear(mean, one(generator, 10, 100, 1000))))


def segments(net: NetworkBuilder, generator: Generator) -> None:
    """A map of classes: means of bins, dilated windows, large resizes, the best class."""
    side, width = one(generator, 16, 24, 28, 32, 48, 64), near(generator, 16, 128, 16)
    x = net.input("map", (net.batch_size, width, side, side))
    parts = [net.conv(x, width // 4, act="relu", norm=False)]
    parts += [
        net.conv(x, width // 4, 3, dilation=rate, act="relu", norm=False)
        for rate in (2, 4, 6)[: one(generator, 1, 2, 3)]
    ]
    for bins in (1, 2, 4)[: one(generator, 1, 2, 3)]:
        small = net.conv(net.adaptive_pool(x, bins), width // 4, act="relu", norm=False)
        parts.append(net.resize(small, x.size, "linear"))
    classes, factor = one(generator, 2, 19, 21, 150), one(generator, 2, 4, 8)
    made = net.conv(net.conv(net.concat(parts), width, 3, act="relu"), classes, norm=False)
    while classes * (side * factor) ** 2 > _MOST_MAP and factor > 1:
        factor //= 2
    made = net.resize(made, (side * factor, side * factor), "linear")
    ends = [made]
    kind = int(generator.integers(3))
    if kind == 0:
        where = net.node("ArgMax", [made], (made.shape[0], 1, *made.size), axis=1, keepdims=1)
        ends = [cast(net, where)]
    elif kind == 1:
        ends = [net.node(word(generator, "Softmax", "LogSoftmax"), [made], made.shape, axis=1)]
    if generator.random() < 0.4:
        names = net.weight("names", (classes, one(generator, 4, 16)))
        pixels = made.shape[0] * math.prod(made.size)
        rows = net.reshape(net.transpose(made, (0, 2, 3, 1)), (pixels, classes))
        where = net.node("ArgMax", [rows], (rows.shape[0],), axis=-1, keepdims=0)
        ends.append(gathered(net, names, where))
    mean_of_all(net, *ends)
