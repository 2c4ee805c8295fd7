"""Attention of every form, normalisations written out, and operators of later exporters."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.modules.drawn_layers import (
    Generator,
    cast,
    elementwise,
    gathered,
    group_norm,
    layer_norm_written_out,
    mean_of_all,
    near,
    one,
    reduced,
    unary,
    unit_length,
    word,
)

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue, Shape
    from latprof.datasets.zoo.network_builder import NetworkBuilder

#: Elements of scores.
_MOST_SCORES = 1 << 20
MICROSOFT = "com.microsoft"


def attentions(net: NetworkBuilder, generator: Generator) -> None:
    """Attention of tokens to themselves, to others, to channels, within windows."""
    batch = net.batch_size * one(generator, 1, 1, 1, 4, 16)
    tokens = near(generator, 8, 1200 if batch == net.batch_size else 144)
    heads, size = one(generator, 1, 2, 3, 4, 6, 8, 12), one(generator, 8, 16, 24, 32, 48, 64, 96)
    if generator.random() < 0.5:  # of a square image
        tokens = math.isqrt(tokens) ** 2
    most = _MOST_SCORES << 2 if generator.random() < 0.15 else _MOST_SCORES
    heads = max(min(heads, most // (batch * tokens**2)), 1)
    x = net.input("tokens", (batch, tokens, heads * size))
    for number in range(one(generator, 3, 4, 5)):
        with net.scope(f"layer{number}"):
            mix = _MIXES[int(generator.integers(len(_MIXES)))]
            inner = net.layer_normalize(x)
            x = net.add(x, net.linear(mix(net, inner, heads, generator), heads * size))
            hidden = near(generator, 16, 1024, 8)
            x = net.add(x, net.mlp(net.layer_normalize(x), hidden, word(generator, "gelu", "relu")))
    mean_of_all(net, x)


def _parts(net: NetworkBuilder, x: NetworkValue, heads: int, order: tuple[int, ...]
           ) -> list[NetworkValue]:  # fmt: skip
    """Query, key and value of one product, each turned from (parts, tokens, 3, heads, size)."""
    batch, tokens, features = x.shape
    made = net.linear(x, 3 * features, name="qkv")
    made = net.reshape(made, (batch, tokens, 3, heads, features // heads))
    made = net.transpose(made, order)
    one_part = made.shape[1:]
    return [net.reshape(part, one_part) for part in net.split(made, (1, 1, 1), 0)]


def _plain(net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator) -> NetworkValue:
    """With a mask, or a bias that is looked up in a table, or neither."""
    q, k, v = _parts(net, x, heads, (2, 0, 3, 1, 4))
    tokens = x.shape[1]
    kind, bias = int(generator.integers(4)), None
    if kind == 0:
        rows = min(4 * tokens, 4096)
        table = net.weight("biases", (rows, heads))
        place = net.constant(generator.integers(0, rows, (tokens * tokens,), dtype=np.int64))
        bias = net.reshape(gathered(net, table, place), (tokens, tokens, heads))
        bias = net.reshape(net.transpose(bias, (2, 0, 1)), (1, heads, tokens, tokens))
    elif kind == 1:
        bias = net.weight("bias", (1, 1, 1, tokens))
    return net.joined(net.attend(q, k, v, bias=bias))


def _masked(net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator) -> NetworkValue:
    """Scores of what comes later, or of an image's other windows, are hidden by Where."""
    q, k, v = _parts(net, x, heads, (2, 0, 3, 1, 4))
    scores = net.matmul(q, net.transpose(k, (0, 1, 3, 2)))
    scores = elementwise(net, "Div", scores, net.constant(float(math.sqrt(q.shape[-1]))))
    hidden = net.constant((generator.random((1, 1, *scores.shape[-2:])) < 0.4).astype(np.int64))
    low = net.constant(-1e4)
    scores = net.node("Where", [cast(net, hidden, 9), low, scores], scores.shape)
    return net.joined(net.matmul(net.softmax(scores), v))


def _crossed(
    net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator
) -> NetworkValue:
    """To the tokens of something else."""
    keys, features = near(generator, 4, 400), x.shape[2]
    other = net.weight("other", (x.shape[0], keys, near(generator, 16, 768, 16)))
    q = net.heads(net.linear(x, features, name="q"), heads)
    k, v = (net.heads(net.linear(other, features, name=n), heads) for n in "kv")
    first = net.mul(x, net.constant(0.0))  # so that the other's products are of every run
    q = net.add(q, net.heads(first, heads))
    return net.joined(net.attend(q, k, v))


def _of_channels(
    net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator
) -> NetworkValue:
    """Attention between channels (El-Nouby et al. 2021), of vectors of unit length at times."""
    q, k, v = _parts(net, x, heads, (2, 0, 3, 4, 1))
    if generator.random() < 0.7:
        q, k = (unit_length(net, each) for each in (q, k))
    scores = net.matmul(q, net.transpose(k, (0, 1, 3, 2)))
    scores = net.mul(scores, net.ones("temperature", (heads, 1, 1)))
    mixed = net.matmul(net.softmax(scores), v)
    return net.reshape(net.transpose(mixed, (0, 3, 1, 2)), x.shape)


def _linear(net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator) -> NetworkValue:
    """Without scores (Katharopoulos et al. 2020): keys with values first."""
    q, k, v = _parts(net, x, heads, (2, 0, 3, 1, 4))
    if generator.random() < 0.5:
        q, k = (net.add(unary(net, "Elu", each), net.constant(1.0)) for each in (q, k))
    else:
        q, k = (net.act(each, "relu") for each in (q, k))
    both = net.matmul(net.transpose(k, (0, 1, 3, 2)), v)
    total = net.matmul(q, net.transpose(reduced(net, "ReduceSum", k, [2]), (0, 1, 3, 2)))
    mixed = elementwise(net, "Div", net.matmul(q, both), net.add(total, net.constant(1e-3)))
    return net.joined(mixed)


def _summed(net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator) -> NetworkValue:
    """Products written as Einsum, their heads last or first."""
    batch, tokens, features = x.shape
    size = features // heads
    q, k, v = (net.linear(x, features, name=name) for name in "qkv")
    scores = (batch, heads, tokens, tokens)
    if generator.random() < 0.5:
        q, k, v = (net.reshape(each, (batch, tokens, heads, size)) for each in (q, k, v))
        made = net.node("Einsum", [q, k], scores, equation="bihd,bjhd->bhij")
        made = net.node("Einsum", [net.softmax(made), v], q.shape, equation="bhij,bjhd->bihd")
        return net.reshape(made, x.shape)
    q, k, v = (net.heads(each, heads) for each in (q, k, v))
    made = net.node("Einsum", [q, k], scores, equation="bhid,bhjd->bhij")
    made = net.node("Einsum", [net.softmax(made), v], q.shape, equation="bhij,bhjd->bhid")
    return net.joined(made)


def _by_sides(
    net: NetworkBuilder, x: NetworkValue, heads: int, generator: Generator
) -> NetworkValue:
    """With biases by rows and by columns, added to scores of five dimensions (Li et al. 2022)."""
    batch, tokens, _ = x.shape
    side = math.isqrt(tokens)
    if side < 3 or side * side != tokens:
        return _masked(net, x, heads, generator)
    q, k, v = _parts(net, x, heads, (2, 0, 3, 1, 4))
    scores = net.matmul(q, net.transpose(k, (0, 1, 3, 2)))
    five = (batch * heads, side, side, side, side)
    scores = net.reshape(scores, five)
    query = net.reshape(q, (batch * heads, side, side, q.shape[-1]))
    for axis, equation in ((3, "bhwc,hkc->bhwk"), (4, "bhwc,wkc->bhwk")):
        table = net.weight(f"table{axis}", (side, side, q.shape[-1]))
        bias = net.node("Einsum", [query, table], five[:4], equation=equation)
        one_side = (*five[:3], side, 1) if axis == 3 else (*five[:3], 1, side)
        bias = net.reshape(bias, one_side)
        if generator.random() < 0.4:
            bias = net.node("Expand", [bias, net.constant(five)], five)
        scores = net.add(scores, bias)
    if generator.random() < 0.3:
        scores = net.transpose(net.transpose(scores, (0, 3, 1, 2, 4)), (0, 2, 3, 1, 4))
        scores = net.add(scores, net.transpose(scores, (0, 3, 1, 4, 2)))
    scores = net.reshape(scores, (batch, heads, tokens, tokens))
    return net.joined(net.matmul(net.softmax(scores), v))


_MIXES = (
    _plain,
    _plain,
    _masked,
    _crossed,
    _of_channels,
    _of_channels,
    _linear,
    _summed,
    _by_sides,
)


def norms(net: NetworkBuilder, generator: Generator) -> None:
    """Normalisations and activations as their arithmetic, on tokens or maps, between products."""
    is_map = generator.random() < 0.4
    if is_map:
        side = near(generator, 4, 56)
        shape: Shape = (net.batch_size, near(generator, 8, 256, 8), side, side)
    else:
        shape = (net.batch_size, near(generator, 1, 400), near(generator, 16, 1024, 16))
    x = net.input("values", shape)
    for number in range(one(generator, 4, 5, 6)):
        with net.scope(f"layer{number}"):
            x = _normed(net, x, generator)
            out = near(generator, 8, 256 if is_map else 1024, 8)
            x = net.conv(x, out, norm=False) if is_map else net.linear(x, out)
            x = _curved(net, x, generator)
            if generator.random() < 0.3:
                axis = one(generator, *range(1, len(x.shape)))
                x = net.node(word(generator, "Softmax", "LogSoftmax"), [x], x.shape, axis=axis)
    mean_of_all(net, x)


def _normed(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    channels = 1 if len(x.shape) == 4 else -1
    kind = int(generator.integers(8))
    if kind <= 1:
        return layer_norm_written_out(net, x, channels)
    if kind == 2:
        return unit_length(net, x, one(generator, 1, -1))
    if kind == 3 and len(x.shape) == 4:
        groups = one(generator, *(g for g in (1, 2, 4, 8, 32) if x.channels % g == 0))
        return group_norm(net, x, groups)
    if kind in (4, 5):
        return net.layer_normalize_map(x) if len(x.shape) == 4 else net.rms_normalize(x)
    if kind == 6:  # a response to all of a map (Woo et al. 2023)
        axes = [2, 3] if len(x.shape) == 4 else [1]
        length = reduced(net, "ReduceL2", x, axes)
        mean = reduced(net, "ReduceMean", length, [channels])
        scaled = elementwise(net, "Div", length, net.add(mean, net.constant(1e-6)))
        return net.add(net.mul(x, scaled), x)
    square = elementwise(net, "Pow", x, net.constant(2.0))
    mean = net.add(reduced(net, "ReduceMean", square, [channels]), net.constant(1e-6))
    return net.mul(x, unary(net, "Reciprocal", unary(net, "Sqrt", mean)))


def _curved(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Activations as they are, or written out."""
    kind = word(generator, "gelu", "gelu_tanh", "swish", "quick", "mish", "softplus", "elu", "tanh",
                "squared", "hardswish", "celu", "selu")  # fmt: skip
    if kind in ("gelu", "gelu_tanh", "swish", "tanh"):
        return net.act(x, kind)
    if kind == "quick":
        return net.mul(x, net.act(net.mul(x, net.constant(1.702)), "sigmoid"))
    if kind == "mish":
        return net.mul(x, net.act(unary(net, "Softplus", x), "tanh"))
    if kind == "squared":
        return elementwise(net, "Pow", net.act(x, "relu"), net.constant(2.0))
    if kind == "hardswish":
        moved = net.add(x, net.constant(3.0))
        moved = net.node("Clip", [moved, net.constant(0.0), net.constant(6.0)], x.shape)
        return elementwise(net, "Div", net.mul(x, moved), net.constant(6.0))
    return unary(net, kind.capitalize(), x)


# Operators of optimisers and of later exporters --------------------------------------------------


def optimized(net: NetworkBuilder, generator: Generator) -> None:
    """A transformer whose parts an optimiser has joined to ONNX Runtime's own operators."""
    heads, size = one(generator, 2, 4, 6, 8, 12), one(generator, 16, 32, 64, 64)
    shared = one(generator, *(s for s in (1, 1, 2, 4) if heads % s == 0))
    batch, tokens, features = net.batch_size, near(generator, 8, 384), heads * size
    contrib = partial(net.node, domain=MICROSOFT)
    skip = x = net.input("tokens", (batch, tokens, features))
    for number in range(one(generator, 3, 4)):
        with net.scope(f"layer{number}"):
            if number % 3 == 0:
                parts = [net.weight("qkv", (features, 3 * features)),
                         net.weight("bias", (3 * features,))]  # fmt: skip
                mixed = contrib("Attention", [x, *parts], x.shape, num_heads=heads)
            elif number % 3 == 1:
                q, k, v = (net.linear(x, features, name=name) for name in "qkv")
                mixed = contrib("MultiHeadAttention", [q, k, v], x.shape, num_heads=heads)
            else:
                mixed = _grouped(net, x, heads, shared)
            mixed = net.linear(mixed, features, name="project")
            scale, shift = net.ones("scale", (features,)), net.weight("shift", (features,))
            if generator.random() < 0.5:
                x = contrib("SkipLayerNormalization", [skip, mixed, scale, shift], x.shape)
            else:
                x = contrib("SkipSimplifiedLayerNormalization", [skip, mixed, scale], x.shape)
            hidden = near(generator, 32, 2048, 16)
            inner = net.linear(x, hidden, bias=False, name="mlp1")
            act = word(generator, "FastGelu", "BiasGelu", "QuickGelu", "Gelu")
            bias = [net.weight("mlp1.bias", (hidden,))] if act in ("FastGelu", "BiasGelu") else []
            inner = contrib(act, [inner, *bias], inner.shape)
            x = skip = net.add(x, net.linear(inner, features, name="mlp2"))
    mean_of_all(net, x)


def _grouped(net: NetworkBuilder, x: NetworkValue, heads: int, shared: int) -> NetworkValue:
    """GroupQueryAttention of a whole prompt, without a past."""
    batch, tokens, features = x.shape
    size, keys = features // heads, heads // shared
    q = net.linear(x, features, bias=False, name="q")
    k, v = (net.linear(x, keys * size, bias=False, name=name) for name in "kv")
    past = [net.untrained(f"past.{name}", (batch, keys, 0, size), 0.0) for name in "kv"]
    int32 = 6
    lengths = cast(net, net.constant([[tokens - 1]] * batch), int32)  # type: ignore[list-item]
    total = cast(net, net.constant(np.array(tokens, np.int64)), int32)
    present = (batch, keys, tokens, size)
    made = net.nodes(
        "GroupQueryAttention",
        [q, k, v, *past, lengths, total],
        [x.shape, present, present],
        domain=MICROSOFT,
        num_heads=heads,
        kv_num_heads=keys,
    )
    return made[0]


def later(net: NetworkBuilder, generator: Generator) -> None:
    """Attention, rotations, normalisations and activations as single operators of ONNX."""
    net.opset = 23
    heads, size = one(generator, 2, 4, 6, 8, 12), one(generator, 16, 32, 64, 64, 128)
    shared = one(generator, *(s for s in (1, 1, 2, 4) if heads % s == 0))
    batch, tokens, features = net.batch_size, near(generator, 8, 320), heads * size
    x = net.input("tokens", (batch, tokens, features))
    sides = [net.weight(name, (tokens, size // 2)) for name in ("cosines", "sines")]
    place = net.constant(np.tile(np.arange(tokens), (batch, 1)).astype(np.int64))
    for number in range(one(generator, 2, 3)):
        with net.scope(f"layer{number}"):
            scale = net.ones("scale", (features,))
            inner = net.node("RMSNormalization", [x, scale], x.shape, axis=-1)
            q = net.heads(net.linear(inner, features, bias=False, name="q"), heads)
            k, v = (
                net.heads(
                    net.linear(inner, heads // shared * size, bias=False, name=n), heads // shared
                )
                for n in "kv"
            )
            q, k = (
                net.node("RotaryEmbedding", [each, *sides, place], each.shape) for each in (q, k)
            )
            causal = int(generator.random() < 0.5)
            mixed = net.node("Attention", [q, k, v], q.shape, is_causal=causal)
            x = net.add(x, net.linear(net.joined(mixed), features, bias=False))
            hidden = near(generator, 32, 2048, 16)
            how = word(generator, "none", "tanh")
            inner = net.linear(net.layer_normalize(x), hidden, name="mlp1")
            inner = net.node("Gelu", [inner], inner.shape, approximate=how)
            x = net.add(x, net.linear(inner, features, name="mlp2"))
    mean_of_all(net, x)


def standardized(net: NetworkBuilder, generator: Generator) -> None:
    """Convolutions whose weights are normalised in every run (Brock et al. 2021), as exported."""
    net.opset = 13
    side = one(generator, 14, 16, 24, 28, 32, 56)
    x = net.input("map", (net.batch_size, near(generator, 8, 256, 8), side, side))
    for number in range(one(generator, 4, 5, 6)):
        with net.scope(f"layer{number}"):
            kernel, out = one(generator, 1, 1, 3), near(generator, 16, 1024, 16)
            groups = one(generator, *(g for g in (1, 1, 2, 4) if x.channels % g == 0))
            while x.channels * out * kernel**2 * math.prod(x.size) > 2e8:
                out = max(out // 2, 8)
                if out == 8:
                    break
            out = groups * max(out // groups, 1)
            x = _standardized_conv(net, x, out, kernel, groups)
            x = net.mul(net.act(x, word(generator, "swish", "gelu", "relu")), net.constant(1.7))
            if min(x.size) > 7 and generator.random() < 0.4:
                x = net.pool(x, "avg", 2, 2, padding=0)
    net.classifier(x, one(generator, 10, 100, 1000))


def _standardized_conv(
    net: NetworkBuilder, x: NetworkValue, out: int, kernel: int, groups: int
) -> NetworkValue:
    """The weight goes through a batch normalisation in training, in its form with five results."""
    inputs = x.channels // groups
    weight = net.weight("weight", (1, out, inputs * kernel**2))
    rest = [net.ones("gain", (out,)), *(net.untrained("zero", (out,), 0.0) for _ in range(2)),
            net.untrained("one", (out,), 1.0)]  # fmt: skip
    shapes = [weight.shape, *[(out,)] * 4]
    made, *_ = net.nodes("BatchNormalization", [weight, *rest], shapes, epsilon=1e-5, momentum=1.0)
    made = net.reshape(made, (out, inputs, kernel, kernel))
    shape = (x.shape[0], out, *x.size)
    pads = [kernel // 2] * 4
    given = [x, made, net.weight("bias", (out,))]
    return net.node("Conv", given, shape, kernel_shape=[kernel] * 2, pads=pads, group=groups)
