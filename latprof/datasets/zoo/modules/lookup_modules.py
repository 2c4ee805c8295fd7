"""What looks values up and puts them elsewhere: graphs, points, experts, tables, caches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.modules.drawn_layers import (
    Generator,
    cast,
    elementwise,
    gathered,
    indices,
    mean_of_all,
    near,
    one,
    reduced,
    unary,
    word,
)

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue, Shape
    from latprof.datasets.zoo.network_builder import NetworkBuilder

#: Elements of a table of weights, and of what scatters and pairs make.
_MOST_TABLE, _MOST_MADE = 1 << 22, 1 << 20


def graph(net: NetworkBuilder, generator: Generator) -> None:
    """Messages along edges, summed at the nodes that they reach (Gilmer et al. 2017)."""
    nodes, features = near(generator, 16, 4000), near(generator, 8, 256, 8)
    edges = nodes * one(generator, 1, 2, 3, 4, 8)
    while edges * features > _MOST_MADE:
        edges = max(edges // 2, 16)
    x = net.input("nodes", (nodes, features))
    source, target = (indices(net, generator, (edges,), nodes) for _ in range(2))
    for number in range(one(generator, 2, 3)):
        with net.scope(f"layer{number}"):
            sent = gathered(net, x, source)
            if generator.random() < 0.6:
                both = net.concat([sent, gathered(net, x, target)], 1)
                sent = net.linear(both, near(generator, 8, 128, 8), act="relu", name="message")
            if generator.random() < 0.3:
                weight = net.act(net.linear(sent, 1, name="attention"), "sigmoid")
                sent = net.mul(sent, weight)
            found = _added_up(net, sent, target, nodes, generator)
            x = net.linear(net.concat([x, found], 1), near(generator, 8, 256, 8), act="relu")
    mean_of_all(net, x)


def _added_up(
    net: NetworkBuilder,
    sent: NetworkValue,
    target: NetworkValue,
    nodes: int,
    generator: Generator,
) -> NetworkValue:
    """Rows summed by where they go: element by element, or row by row."""
    edges, features = sent.shape
    zeros = net.untrained("zeros", (nodes, features), 0.0)
    column = net.reshape(target, (edges, 1), "column")
    if generator.random() < 0.35:
        how = [zeros, column, sent]
        return net.node("ScatterND", how, zeros.shape, reduction="add")
    wide = net.node("Expand", [column, net.constant(sent.shape)], sent.shape)
    kind = word(generator, "add", "add", "add", "mul")
    how = [zeros, wide, sent]
    return net.node("ScatterElements", how, zeros.shape, axis=0, reduction=kind)


def points(net: NetworkBuilder, generator: Generator) -> None:
    """Neighbours of points in space, and layers on each point with its own (Wang et al. 2019)."""
    count, space = near(generator, 32, 700), one(generator, 2, 3, 3, 3, 4, 6)
    near_by = min(one(generator, 4, 8, 16, 20), count // 2)
    x = net.input("points", (net.batch_size, count, space))
    batch = net.batch_size
    if generator.random() < 0.6:
        one_way = net.reshape(x, (batch, count, 1, space))
        other = net.reshape(x, (batch, 1, count, space))
        apart = elementwise(net, "Sub", one_way, other)
        square = net.mul(apart, apart)
        far = reduced(net, "ReduceSum", square, [-1], keep=False)
    else:
        square = reduced(net, "ReduceSum", net.mul(x, x), [-1])
        twice = net.mul(net.matmul(x, net.transpose(x, (0, 2, 1))), net.constant(-2.0))
        far = net.add(net.add(twice, square), net.transpose(square, (0, 2, 1)))
    shape = (batch, count, near_by)
    _, place = net.nodes("TopK", [far, net.constant([near_by])], [shape, shape], axis=-1, largest=0)
    for number in range(2):
        with net.scope(f"layer{number}"):
            x = _neighbourhood(net, x, place, generator)
    mean_of_all(net, x)


def _neighbourhood(
    net: NetworkBuilder, x: NetworkValue, place: NetworkValue, generator: Generator
) -> NetworkValue:
    """Each point's neighbours, less the point, through dense layers and a maximum."""
    batch, count, near_by = place.shape
    features = x.shape[2]
    rows = net.reshape(x, (batch * count, features), "rows")
    flat = net.reshape(place, (batch * count * near_by,), "flat")
    found = net.reshape(gathered(net, rows, flat), (batch, count, near_by, features), "found")
    own = net.reshape(x, (batch, count, 1, features), "own")
    edge = elementwise(net, "Sub", found, own)
    whole = (batch, count, near_by, features)
    own = net.node("Expand", [own, net.constant(whole)], whole)
    out = near(generator, 16, 128, 16)
    edge = net.concat([edge, own], 3)
    if generator.random() < 0.5:
        edge = net.linear(edge, out, act="relu")
        return reduced(net, "ReduceMax", edge, [2], keep=False)
    edge = net.conv(net.transpose(edge, (0, 3, 1, 2)), out, act="leaky_relu", norm=False)
    return net.transpose(reduced(net, "ReduceMax", edge, [-1], keep=False), (0, 2, 1))


def experts(net: NetworkBuilder, generator: Generator) -> None:
    """Weights of each token's experts, looked up (Shazeer et al. 2017)."""
    tokens, features = one(generator, 1, 2, 4, 8, 16, 24), near(generator, 32, 512, 16)
    hidden, count = near(generator, 32, 1024, 16), one(generator, 4, 8, 16, 32)
    chosen = one(generator, 1, 2, 2, 4)
    while max(count, tokens * chosen) * features * hidden > _MOST_TABLE and hidden > 32:
        hidden //= 2
    tokens = max(min(tokens, _MOST_TABLE // (features * hidden * chosen)), 1)
    x = net.input("tokens", (tokens * net.batch_size, features))
    rows = x.shape[0]
    gates = net.softmax(net.linear(x, count, name="router"))
    shape = (rows, chosen)
    weight, place = net.nodes("TopK", [gates, net.constant([chosen])], [shape, shape], axis=-1)
    flat = net.reshape(place, (rows * chosen,), "flat")
    wide = net.node("Expand", [
        net.reshape(x, (rows, 1, features)), net.constant((rows, chosen, features))
    ], (rows, chosen, features))  # fmt: skip
    inner = net.reshape(wide, (rows * chosen, 1, features))
    for name, sides, act in (("up", (features, hidden), "swish"), ("down", (hidden, features), "")):
        table = net.weight(name, (count, *sides), 1 / math.sqrt(sides[0]))
        inner = net.act(net.matmul(inner, gathered(net, table, flat)), act)
    inner = net.reshape(inner, (rows, chosen, features))
    inner = net.mul(inner, net.reshape(weight, (rows, chosen, 1)))
    mean_of_all(net, net.add(reduced(net, "ReduceSum", inner, [1], keep=False), x))


def tables(net: NetworkBuilder, generator: Generator) -> None:
    """Rows of several tables, pooled, their products and dense layers (Naumov et al. 2019)."""
    features, batch = near(generator, 8, 256, 8), net.batch_size * one(generator, 1, 1, 4, 16, 64)
    dense = net.input("dense", (batch, one(generator, 4, 13, 32)))
    found = [net.mlp(net.linear(dense, features, act="relu"), 2 * features, "relu")]
    for number in range(one(generator, 2, 4, 8, 16)):
        rows = near(generator, 100, _MOST_TABLE // 4 // features)
        with net.scope(f"table{number}"):
            table = net.weight("rows", (rows, features), 1.0)
            several = one(generator, 1, 1, 4, 10, 50)
            sides = (batch, several) if several > 1 else (batch,)
            index = net.input(f"index{number}", sides, whole=True)
            rows_of = gathered(net, table, index)
            if several > 1:
                kind = word(generator, "ReduceSum", "ReduceMean")
                rows_of = reduced(net, kind, rows_of, [1], keep=False)
            found.append(rows_of)
    parts = [net.reshape(each, (batch, 1, features), "part") for each in found]
    stacked = net.concat(parts, 1)
    pairs = net.flatten(net.matmul(stacked, net.transpose(stacked, (0, 2, 1))))
    net.output(net.act(net.linear(net.mlp(pairs, 128, "relu"), 1), "sigmoid"))


def scatters(net: NetworkBuilder, generator: Generator) -> None:
    """Parts of a value overwritten or picked, element by element or slice by slice."""
    ends = []
    for number in range(one(generator, 3, 4, 5)):
        with net.scope(f"value{number}"):
            shape = _scattered_shape(generator)
            x = net.add(net.input(f"value{number}", shape), net.weight("bias", shape[-1:]))
            for turn in range(3):
                with net.scope(f"turn{turn}"):
                    x = _SCATTERS[int(generator.integers(len(_SCATTERS)))](net, x, generator)
            ends.append(x)
    mean_of_all(net, *ends)


def _scattered_shape(generator: Generator) -> Shape:
    """A map's, scores of attention, or rows: seldom large, since their indices are constants."""
    kind = int(generator.integers(3))
    most = _MOST_MADE if generator.random() < 0.15 else _MOST_MADE >> 3
    if kind == 0:
        tokens = near(generator, 16, round(most**0.5))
        keys = one(generator, tokens, tokens, max(tokens // 4, 4))
        heads = one(generator, *(h for h in (1, 2, 4, 8) if h * tokens * keys <= most), 1)
        return 1, heads, tokens, keys
    if kind == 1:
        side = near(generator, 7, 64)
        return 1, min(near(generator, 4, 256, 4), most // side**2), side, side
    rows = near(generator, 32, 4000)
    return rows, min(near(generator, 1, 512, 8), most // rows)


def _by_elements(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A block written element by element: every index is written out, as torch exports it."""
    starts = [int(generator.integers(0, 2)) if side > 4 and i > 1 else 0
              for i, side in enumerate(x.shape)]  # fmt: skip
    sides = [np.arange(start, side) for start, side in zip(starts, x.shape, strict=True)]
    places = np.stack(np.meshgrid(*sides, indexing="ij"), -1)
    bounds = [net.constant(list(v)) for v in (starts, x.shape, range(len(starts)))]
    part = net.node("Slice", [x, *bounds], places.shape[:-1])
    updates = net.add(part, net.weight("added", part.shape[-1:]))
    return net.node("ScatterND", [x, net.constant(places.astype(np.int64)), updates], x.shape)


def _by_slices(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Whole slices overwritten, at places of one or two dimensions."""
    depth = one(generator, *range(1, len(x.shape)))
    total = math.prod(x.shape[:depth])
    count = max(total // one(generator, 1, 2, 4), 1)
    flat = generator.permutation(total)[:count]
    places = np.stack(np.unravel_index(flat, x.shape[:depth]), -1).astype(np.int64)
    updates = net.weight("updates", (count, *x.shape[depth:]))
    index = net.constant(places)
    if generator.random() < 0.4:
        found = net.node("GatherND", [x, index], (count, *x.shape[depth:]))
        updates = net.mul(updates, found)
    return net.node("ScatterND", [x, index, updates], x.shape)


def _along_axis(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Elements of an axis picked, or overwritten."""
    axis = one(generator, *range(len(x.shape)))
    side = x.shape[axis]
    fewer = one(generator, side, max(side // 2, 1), max(side // 8, 1))
    shape = tuple(fewer if i == axis else s for i, s in enumerate(x.shape))
    order = np.argsort(generator.random(x.shape), axis).astype(np.int64)
    index = net.constant(np.take(order, np.arange(fewer), axis))
    picked = net.node("GatherElements", [x, index], shape, axis=axis)
    if generator.random() < 0.4 and fewer == side:
        return picked
    kind = word(generator, "none", "none", "add")
    return net.node("ScatterElements", [x, index, picked], x.shape, axis=axis, reduction=kind)


def _along_rows(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Whole entries of an axis picked, at places in one or two dimensions."""
    axis = one(generator, *range(len(x.shape)))
    side = x.shape[axis]
    picked = gathered(net, x, indices(net, generator, (side,), side), axis)
    at = net.constant(np.array(int(generator.integers(side)), np.int64))
    single = net.node("Gather", [x, at], (*x.shape[:axis], *x.shape[axis + 1 :]), axis=axis)
    sides = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    single = net.node("Unsqueeze", [single, net.constant([axis])], sides)
    return net.add(picked, single)


def _masked(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Entries hidden by a mask: of what comes later, or of what is small."""
    kind = int(generator.integers(3))
    if kind == 0:
        return net.node("Trilu", [x], x.shape, upper=int(generator.random() < 0.5))
    if kind == 1:
        hidden = net.constant((generator.random(x.shape[-2:]) < 0.3).astype(np.int64))
        return net.node("Where", [cast(net, hidden, 9), net.constant(-1.0), x], x.shape)
    seen = cast(net, net.node("Greater", [x, net.constant(0.0)], x.shape), 1)
    axis = net.constant(np.array(one(generator, *range(len(x.shape))), np.int64))
    count = net.node("CumSum", [seen, axis], x.shape)
    return net.mul(x, unary(net, "Sigmoid", count))


_SCATTERS = (
    _by_elements, _by_elements, _by_slices, _along_axis, _along_axis, _along_rows, _masked
)  # fmt: skip


def cached(net: NetworkBuilder, generator: Generator) -> None:
    """One step of a decoder that keeps keys and values of the tokens before it."""
    size, heads = one(generator, 32, 64, 64, 80, 128), one(generator, 2, 4, 6, 8, 12)
    shared = one(generator, *(s for s in (1, 1, 2, 4) if heads % s == 0))
    before, now, batch = near(generator, 8, 1024), one(generator, 1, 1, 1, 4), net.batch_size
    features, keys = heads * size, heads // shared
    x = net.input("token", (batch, now, features))
    place = net.input("position", (batch, now), whole=True)
    turns = [
        net.reshape(gathered(net, net.weight(name, (2048, size)), place), (batch, 1, now, size))
        for name in ("cosines", "sines")
    ]
    ends = []
    for number in range(one(generator, 1, 2)):
        with net.scope(f"layer{number}"):
            inner = net.rms_normalize(x)
            q = net.heads(net.linear(inner, features, bias=False), heads)
            k, v = (net.heads(net.linear(inner, keys * size, bias=False), keys) for _ in "kv")
            q, k = _turned(net, q, turns), _turned(net, k, turns)
            past = [net.input(f"past{number}{name}", (batch, keys, before, size)) for name in "kv"]
            k, v = (net.concat([p, each], 2) for p, each in zip(past, (k, v), strict=True))
            ends += [k, v]
            k, v = (_shared(net, each, shared) for each in (k, v))
            x = net.add(x, net.linear(net.joined(net.attend(q, k, v)), features, bias=False))
            inner, hidden = net.rms_normalize(x), near(generator, 128, 4096, 32)
            gate = net.linear(inner, hidden, bias=False, act="swish")
            gate = net.mul(gate, net.linear(inner, hidden, bias=False))
            x = net.add(x, net.linear(gate, features, bias=False))
    logits = net.linear(net.rms_normalize(x), near(generator, 500, 16000), bias=False)
    mean_of_all(net, logits, *ends)


def _turned(net: NetworkBuilder, x: NetworkValue, turns: list[NetworkValue]) -> NetworkValue:
    """Rotary positions (Su et al. 2021), by halves."""
    half = x.shape[-1] // 2
    first, second = net.slice(x, 0, half, 3), net.slice(x, half, 2 * half, 3)
    other = net.concat([unary(net, "Neg", second), first], 3)
    return net.add(net.mul(x, turns[0]), net.mul(other, turns[1]))


def _shared(net: NetworkBuilder, x: NetworkValue, times: int) -> NetworkValue:
    if times == 1:
        return x
    batch, heads, *rest = x.shape
    shape = (batch, heads, times, *rest)
    value = net.reshape(x, (batch, heads, 1, *rest))
    value = net.node("Expand", [value, net.constant(shape)], shape)
    return net.reshape(value, (batch, heads * times, *rest))
