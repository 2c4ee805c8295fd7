"""Networks of convolutions and attention: MobileViT, EfficientFormerV2, UniNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from latprof.datasets.models.layers import make_divisible
from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


# MobileViT -----------------------------------------------------------------------------------


def mobilevit(
    net: NetworkBuilder,
    widths: Sequence[int],
    transformers: Sequence[int],
    expansion: int,
    head: int,
) -> None:
    """Mehta and Rastegari (2022): ``transformers`` are the features of the last three stages."""
    x = net.conv(net.image(), net.wide(16), 3, 2, act="swish", name="stem")
    for number, (channels, blocks) in enumerate(zip(widths, (1, 3, 1, 1, 1), strict=True)):
        with net.scope(f"stage{number}"):
            for index in range(blocks):
                with net.scope(f"block{index}"):
                    stride = 2 if number and index == 0 else 1
                    x = _inverted_residual(net, x, net.wide(channels), stride, expansion)
            if number >= 2:
                features = net.wide(transformers[number - 2])
                x = _mobilevit_block(net, x, features, depth=(2, 4, 3)[number - 2])
    net.classifier(net.conv(x, net.wide(head), act="swish", name="head"))


def _inverted_residual(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, expansion: int
) -> NetworkValue:
    value = net.conv(x, x.channels * expansion, act="swish", name="expand")
    value = net.depthwise(value, 3, stride, act="swish")
    value = net.conv(value, out, name="project")
    return net.add(value, x) if value.shape == x.shape else value


def _mobilevit_block(
    net: NetworkBuilder, x: NetworkValue, features: int, depth: int
) -> NetworkValue:
    """Attention among the pixels that have the same place in their 2x2 patch."""
    value = net.conv(x, x.channels, 3, act="swish", name="local")
    value = net.conv(value, features, norm=False, bias=False, name="features")
    even = tuple(side + side % 2 for side in value.size)
    value = net.resize(value, (even[0], even[1]), "linear", "even")
    batch, _, height, width = value.shape
    rows, columns = height // 2, width // 2
    value = net.reshape(value, (batch * features * rows, 2, columns, 2), "patches.split")
    value = net.transpose(value, (0, 2, 1, 3), "patches")
    value = net.reshape(value, (batch, features, rows * columns, 4), "patches.flat")
    value = net.transpose(value, (0, 3, 2, 1), "patches.last")
    value = net.reshape(value, (batch * 4, rows * columns, features), "patches.tokens")
    for index in range(depth):
        with net.scope(f"transformer{index}"):
            attended = net.self_attention(net.layer_normalize(value, "norm1"), 4)
            value = net.add(value, attended)
            inner = net.layer_normalize(value, "norm2")
            value = net.add(value, net.mlp(inner, 2 * features, "swish"))
    value = net.layer_normalize(value)
    value = net.reshape(value, (batch, 4, rows * columns, features), "fold.split")
    value = net.transpose(value, (0, 3, 2, 1), "fold.first")
    value = net.reshape(value, (batch * features * rows, columns, 2, 2), "fold.patches")
    value = net.transpose(value, (0, 2, 1, 3), "fold")
    value = net.reshape(value, (batch, features, height, width), "fold.map")
    value = net.resize(value, x.size, "linear", "odd")
    value = net.conv(value, x.channels, act="swish", name="project")
    return net.conv(net.concat([x, value]), x.channels, 3, act="swish", name="fuse")


# EfficientFormerV2 -----------------------------------------------------------------------------


@dataclass(frozen=True)
class EfficientFormerSpec:
    """Four stages; the last blocks of the last two attend.

    Parameters
    ----------
    widths : tuple of int
    expansions : tuple of tuple of int
        Of the feed-forward part of each block.
    attending : int
        Blocks that attend at the end of each of the last two stages.
    """

    widths: tuple[int, ...]
    expansions: tuple[tuple[int, ...], ...]
    attending: int


def efficientformer_v2(net: NetworkBuilder, spec: EfficientFormerSpec) -> None:
    """Li et al. (2023); the two heads that were trained with distillation are averaged."""
    conv = partial(net.conv, bias=True)
    first = net.wide(spec.widths[0], 16)
    x = conv(net.image(), first // 2, 3, 2, act="gelu", name="stem1")
    x = conv(x, first, 3, 2, act="gelu", name="stem2")
    for number, (width, expansions) in enumerate(zip(spec.widths, spec.expansions, strict=True)):
        with net.scope(f"stage{number}"):
            if number:
                out = net.wide(width)
                down = conv(x, out, 3, 2, name="down")
                x = net.add(_attention_down(net, x, out), down) if number == 3 else down
            for index, expansion in enumerate(expansions):
                with net.scope(f"block{index}"):
                    if number >= 2 and index >= len(expansions) - spec.attending:
                        mixed = _attention_2d(net, x, 2 if number == 2 else 1)
                        x = net.add(x, net.scaled(mixed, 1, "scale1"))
                    value = conv(x, x.channels * expansion, act="gelu", name="expand")
                    value = net.depthwise(value, 3, bias=True, act="gelu")
                    value = conv(value, x.channels, name="project")
                    x = net.add(x, net.scaled(value, 1, "scale2"))
    x = net.flatten(net.global_pool(net.batch_normalize(x)))
    logits = [net.linear(x, 1000, name=name) for name in ("classifier", "distilled")]
    net.output(net.mul(net.total(logits), net.constant(0.5), "mean"))


def _heads_2d(
    net: NetworkBuilder, x: NetworkValue, heads: int, *, keys: bool = False
) -> NetworkValue:
    """A feature map as (batch, heads, tokens, features), or transposed for keys."""
    batch, channels, height, width = x.shape
    value = net.reshape(x, (batch, heads, channels // heads, height * width), "heads")
    return value if keys else net.transpose(value, (0, 1, 3, 2), "heads.last")


def _attention_2d(net: NetworkBuilder, x: NetworkValue, stride: int) -> NetworkValue:
    """Attention of 8 heads on a feature map whose heads talk to each other before and after."""
    conv = partial(net.conv, bias=True)
    value = net.depthwise(x, 3, stride, bias=True, name="shrink") if stride > 1 else x
    q = _heads_2d(net, conv(value, 256, name="q"), 8)
    k = _heads_2d(net, conv(value, 256, name="k"), 8, keys=True)
    v = conv(value, 1024, name="v")
    local = net.depthwise(v, 3, bias=True, name="v.local")
    tokens = q.shape[2]
    scores = net.mul(net.matmul(q, k, "scores"), net.constant(32.0**-0.5), "scale")
    bias = net.learnt_table("position_bias", (8, tokens, tokens), 8 * tokens)
    scores = net.conv(net.add(scores, bias), 8, norm=False, name="talk1")
    scores = net.conv(net.softmax(scores), 8, norm=False, name="talk2")
    mixed = net.matmul(scores, _heads_2d(net, v, 8), "mix")
    mixed = net.transpose(mixed, (0, 1, 3, 2), "mix.first")
    mixed = net.add(net.reshape(mixed, local.shape, "mix.map"), local)
    mixed = net.resize(mixed, x.size, "linear", "grow")
    return conv(net.act(mixed, "gelu"), x.channels, name="project")


def _attention_down(net: NetworkBuilder, x: NetworkValue, out: int) -> NetworkValue:
    """Attention whose queries are every second pixel, so that the size is halved."""
    conv = partial(net.conv, bias=True)
    query = net.depthwise(x, 3, 2, norm=False, name="q.local")
    query = net.add(query, net.pool(x, "avg", 1, 2, padding=0))
    q = _heads_2d(net, conv(query, 128, name="q"), 8)
    k = _heads_2d(net, conv(x, 128, name="k"), 8, keys=True)
    v = conv(x, 512, name="v")
    local = net.depthwise(v, 3, 2, bias=True, name="v.local")
    scores = net.mul(net.matmul(q, k, "scores"), net.constant(0.25), "scale")
    bias = net.learnt_table("position_bias", (8, q.shape[2], k.shape[3]), 8 * k.shape[3])
    scores = net.softmax(net.add(scores, bias))
    mixed = net.transpose(net.matmul(scores, _heads_2d(net, v, 8), "mix"), (0, 1, 3, 2))
    mixed = net.add(net.reshape(mixed, local.shape, "mix.map"), local)
    return conv(net.act(mixed, "gelu"), out, name="attended")


# UniNet ----------------------------------------------------------------------------------------


def uninet(
    net: NetworkBuilder, repeats: Sequence[int], widths: Sequence[int], *, convolutional: int = 4
) -> None:
    """Liu et al. (2022): convolution blocks, then attention, with searched down-sampling between.

    The first three down-sampling modules are local, the others local-global: their queries come
    from strided convolutions and their keys and values from all tokens.
    """
    x = net.conv(net.image(), net.wide(32), 3, 2, act="gelu", name="stem")
    downs: Sequence[Callable[[NetworkBuilder, NetworkValue, int, int], NetworkValue]]
    downs = (*[_local_down] * 3, *[_local_global_down] * 2)
    strides, expansions = (1, 2, 2, 2, 1, 2), (1, 4, 6, 3, 2, 5)
    for number, (blocks, width) in enumerate(zip(repeats, widths, strict=True)):
        with net.scope(f"stage{number}"):
            out = net.wide(width, 32)
            if number:
                with net.scope("down"):
                    x = downs[number - 1](net, x, out, strides[number])
            for index in range(blocks):
                with net.scope(f"block{index}"):
                    if number < convolutional:
                        x = _uninet_convolution(net, x, out, expansions[number])
                    else:
                        x = _uninet_attention(net, x, expansions[number])
    net.classifier(net.conv(x, net.wide(1280), act="gelu", name="head"))


def _uninet_shortcut(net: NetworkBuilder, x: NetworkValue, out: int, stride: int) -> NetworkValue:
    if stride > 1:
        x = net.pool(x, "max", 3, stride)
    return net.conv(x, out, norm=False, name="shortcut")


def _local_down(net: NetworkBuilder, x: NetworkValue, out: int, stride: int) -> NetworkValue:
    value = net.depthwise(x, 3, stride, bias=True)
    value = net.conv(value, out, norm=False, name="project")
    return net.add(value, _uninet_shortcut(net, x, out, stride))


def _local_global_down(net: NetworkBuilder, x: NetworkValue, out: int, stride: int) -> NetworkValue:
    shortcut = net.tokens(_uninet_shortcut(net, x, out, stride), "shortcut.tokens")
    query = net.depthwise(x, 3, stride, bias=True, name="q.depthwise")
    query = net.conv(query, out, norm=False, name="q")
    size = query.size
    query = net.layer_normalize(net.tokens(query), "q.norm", 1e-5)
    heads = out // 32
    kv = net.linear(net.layer_normalize(net.tokens(x), "kv.norm", 1e-5), 2 * out, name="kv")
    batch, tokens, _ = kv.shape
    kv = net.reshape(kv, (batch, tokens, 2, heads, 32), "kv.split")
    kv = net.transpose(kv, (2, 0, 3, 1, 4), "kv.transpose")
    one = (batch, heads, tokens, 32)
    k, v = (net.reshape(part, one, "part") for part in net.split(kv, (1, 1), 0, "kv.parts"))
    mixed = net.joined(net.attend(net.heads(query, heads), k, v))
    value = net.add(net.linear(mixed, out, name="project"), shortcut)
    return net.feature_map(value, size)


def _uninet_convolution(
    net: NetworkBuilder, x: NetworkValue, out: int, expansion: int
) -> NetworkValue:
    middle = x.channels * expansion if expansion > 1 else x.channels
    value, shortcut = x, x
    if x.channels != out:
        shortcut = _uninet_shortcut(net, net.pool(x, "max", 3, 1), out, 1)
    if middle != x.channels:
        value = net.conv(net.batch_normalize(value), middle, act="gelu", name="expand")
    value = net.depthwise(value, 3, act="gelu")
    reduced = make_divisible(middle // 4)
    value = net.squeeze_excite(value, reduced, gate="hsigmoid")
    return net.add(shortcut, net.conv(value, out, bias=True, name="project"))


def _uninet_attention(net: NetworkBuilder, x: NetworkValue, expansion: int) -> NetworkValue:
    value = net.add(x, net.depthwise(x, 3, norm=False, name="position"))
    value = net.tokens(value)
    attended = net.self_attention(net.layer_normalize(value, "norm1", 1e-5), x.channels // 32)
    value = net.add(value, net.scaled(attended, name="scale1"))
    inner = net.mlp(net.layer_normalize(value, "norm2", 1e-5), x.channels * expansion)
    value = net.add(value, net.scaled(inner, name="scale2"))
    return net.feature_map(value, x.size)


_S0 = EfficientFormerSpec(
    (32, 48, 96, 176), ((4,) * 2, (4,) * 2, (4, 3, 3, 3, 4, 4), (4, 3, 3, 4)), 2
)
_S1 = EfficientFormerSpec(
    (32, 48, 120, 224),
    ((4,) * 3, (4,) * 3, (4, 4, 3, 3, 3, 3, 4, 4, 4), (4, 4, 3, 3, 4, 4)),
    2,
)
_UNINET = partial(uninet, repeats=(1, 2, 4, 4, 4, 8), widths=(24, 48, 80, 128, 128, 256))
_UNINET_SOURCE = "arXiv 2207.05420, authors' code"

_UNINET_NOTE = "published: also 2 a value of batch, 5 of layer normalisation, 1 of a pool"

# fmt: off
NETWORKS = (
    ZooNetwork("mobilevit-xs", "mobilevit", partial(mobilevit, widths=(32, 48, 64, 80, 96), transformers=(96, 120, 144), expansion=4, head=384), 256, 2317848, 1025911808, "timm mobilevit_xs"),
    ZooNetwork("mobilevit-s", "mobilevit", partial(mobilevit, widths=(32, 64, 96, 128, 160), transformers=(144, 192, 240), expansion=4, head=640), 256, 5578632, 2000831488, "timm mobilevit_s"),
    ZooNetwork("efficientformer-v2-s0", "efficientformer", partial(efficientformer_v2, spec=_S0), 224, 3600256, 395892544, "timm efficientformerv2_s0"),
    ZooNetwork("efficientformer-v2-s1", "efficientformer", partial(efficientformer_v2, spec=_S1), 224, 6185560, 651969640, "timm efficientformerv2_s1"),
    ZooNetwork("uninet-b0", "uninet", _UNINET, 160, 11450864, 543530688, _UNINET_SOURCE, ("11.451M", "0.555B"), besides=11849600, note=_UNINET_NOTE),
    ZooNetwork("uninet-b1", "uninet", _UNINET, 224, 11450864, 1094639808, _UNINET_SOURCE, ("11.451M", "1.118B"), besides=23225216, note=_UNINET_NOTE),
)
# fmt: on
