"""Random networks on tokens, sequences and maps to be decoded, for measuring kernels.

:mod:`~latprof.datasets.zoo.random_networks` has convolutional classifiers; these are the others:
the published transformers at numbers between theirs, recurrent networks, convolutions of one
dimension, and networks whose output is a map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.limits import check_seed
from latprof.datasets.zoo.families.convnext_networks import ConvNextSpec, convnext
from latprof.datasets.zoo.families.hybrid_networks import mobilevit
from latprof.datasets.zoo.families.language_models import TextSpec, bert, gpt2, llama
from latprof.datasets.zoo.families.vision_transformers import SwinSpec, swin
from latprof.datasets.zoo.modules.drawn_layers import Drawing, Generator, one
from latprof.datasets.zoo.network_builder import NetworkBuilder
from latprof.datasets.zoo.random_networks import macs_of

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue


#: Work within which a network is kept, in multiply-accumulates.
_LEAST_MACS, _MOST_MACS = 2e6, 1e9
_TOKENS = (8, 16, 25, 32, 48, 64, 77, 96, 128, 160, 197, 256, 384)
_IMAGES = (112, 128, 160, 192, 224, 224, 256, 320)
_WORDS = (1000, 5000, 16000, 30522, 32000, 50257)


def random_tokens(seed: int, *, batch_size: int = 1) -> NetworkBuilder:
    """The random network of a seed: the same in every version of NumPy's generators.

    Networks outside 2 to 1,000 million multiply-accumulates are drawn again.
    """
    generator = np.random.default_rng([check_seed(seed), 1])
    for _ in range(100):
        images, draw = _KINDS[int(generator.integers(len(_KINDS)))]
        size = int(generator.choice(_IMAGES if images else _TOKENS))
        net = NetworkBuilder(f"random tokens {seed}", resolution=size, batch_size=batch_size)
        draw(net, generator)
        if _LEAST_MACS <= macs_of(net) <= _MOST_MACS:
            break
    return net


def _text(net: NetworkBuilder, generator: Generator, *, build: Callable[..., None]) -> None:
    """An encoder or a decoder of few layers, at any width."""
    size = one(generator, 16, 32, 32, 48, 64, 64, 80, 96, 128)
    heads = one(generator, 1, 2, 3, 4, 6, 8, 9, 12)
    features = size * heads
    hidden = 8 * round(features * float(generator.choice([1.5, 8 / 3, 3, 4, 4])) / 8)
    shared = one(generator, 1, 1, 2, 3, 4)
    spec = TextSpec(
        features,
        hidden,
        layers=one(generator, 1, 2, 3),
        heads=heads,
        words=one(generator, *_WORDS),
        segments=one(generator, 0, 2),
        pooled=bool(generator.random() < 0.5),
        key_heads=heads // shared if build is llama and heads % shared == 0 else 0,
    )
    build(net, spec)


def _swin(net: NetworkBuilder, generator: Generator) -> None:
    first = one(generator, 1, 2, 3, 4)
    stages = one(generator, 1, 2, 3)
    depths = tuple(one(generator, 1, 2) for _ in range(stages))
    heads = tuple(first * 2**stage for stage in range(stages))
    swin(net, SwinSpec(depths, heads, window=one(generator, 4, 7, 7, 8)))


def _mobilevit(net: NetworkBuilder, generator: Generator) -> None:
    first = 8 * one(generator, 2, 3, 4, 6)
    grown = tuple(8 * round(first * factor / 8) for factor in (1, 1.5, 2, 3, 4))
    tokens = tuple(4 * round(first * factor / 4) for factor in (2, 3, 4))
    mobilevit(net, grown, tokens, one(generator, 2, 3, 4), 8 * one(generator, 20, 40, 80))


def _convnext(net: NetworkBuilder, generator: Generator) -> None:
    heads = one(generator, 4, 8)
    first = heads * one(generator, 4, 5, 6, 8, 10)
    stages = one(generator, 2, 3, 4)
    spec = ConvNextSpec(
        tuple(one(generator, 1, 2) for _ in range(stages)),
        tuple(first * 2**stage for stage in range(stages)),
        tuple(one(generator, 3, 5, 7, 7, 9, 11) for _ in range(stages)),
        convolutions=bool(generator.random() < 0.5),
        attention=bool(generator.random() < 0.6),
        heads=heads,
    )
    convnext(net, spec)


# Blocks on tokens ----------------------------------------------------------------------------


def _mixed(net: NetworkBuilder, generator: Generator) -> None:
    """Stages of patches, and in each blocks that mix tokens in one of several ways."""
    x = net.image()
    features = 16 * one(generator, 2, 3, 4, 6, 8, 12, 16, 24)
    patch = one(generator, 4, 4, 8, 14, 16, 16)
    x = net.conv(x, features, patch, patch, norm=False, padding=0, name="patches")
    for stage in range(one(generator, 1, 1, 2, 3)):
        with net.scope(f"stage{stage}"):
            if stage:
                x = net.conv(x, x.channels * 2, 3, 2, norm=False, name="down")
            mix = _MIXERS[int(generator.integers(len(_MIXERS)))]
            for block in range(one(generator, 1, 2, 3)):
                with net.scope(f"block{block}"):
                    x = mix(net, x, generator)
    if generator.random() < 0.5:
        return net.classifier(x, one(generator, 10, 100, 1000))
    tokens = net.layer_normalize(net.tokens(x))
    mean = net.node(
        "ReduceMean", [tokens], (tokens.shape[0], tokens.shape[2]), axes=[1], keepdims=0
    )
    return net.classifier(mean, one(generator, 10, 100, 1000))


def _heads_of(features: int, generator: Generator) -> int:
    return one(generator, *(h for h in (1, 2, 3, 4, 5, 6, 8, 12, 16) if features % h == 0))


def _dense(net: NetworkBuilder, tokens: NetworkValue, generator: Generator) -> NetworkValue:
    """The dense layers after what mixes tokens, their result scaled at times."""
    hidden = one(generator, 2, 3, 4, 4) * tokens.shape[-1]
    act = str(generator.choice(["gelu", "gelu", "gelu_tanh", "relu", "swish"]))
    made = net.mlp(net.layer_normalize(tokens, "norm2"), hidden, act)
    return net.add(tokens, net.scaled(made) if generator.random() < 0.3 else made)


def _attending(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    tokens = net.tokens(x)
    inner = net.layer_normalize(tokens, "norm1")
    mixed = net.self_attention(inner, _heads_of(x.channels, generator))
    return net.feature_map(_dense(net, net.add(tokens, mixed), generator), x.size)


def _reduced(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Attention whose keys and values are of a smaller map (Wang et al. 2021)."""
    heads, features = _heads_of(x.channels, generator), x.channels
    step = min(one(generator, 2, 2, 4), *x.size)
    small = net.conv(x, features, step, step, padding=0, norm=False, name="reduce")
    few = net.layer_normalize(net.tokens(small, "few"), "few.norm")
    tokens = net.tokens(x)
    q = net.heads(net.linear(net.layer_normalize(tokens, "norm1"), features, name="q"), heads, "qh")
    k, v = (net.heads(net.linear(few, features, name=n), heads, f"{n}h") for n in "kv")
    mixed = net.linear(net.joined(net.attend(q, k, v)), features, name="project")
    return net.feature_map(_dense(net, net.add(tokens, mixed), generator), x.size)


def _token_mlp(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Dense layers over the tokens of each channel (Tolstikhin et al. 2021)."""
    tokens = net.tokens(x)
    inner = net.transpose(net.layer_normalize(tokens, "norm1"), (0, 2, 1), "across")
    inner = net.mlp(inner, 8 * one(generator, 8, 16, 32, 48))
    tokens = net.add(tokens, net.transpose(inner, (0, 2, 1), "back"))
    return net.feature_map(_dense(net, tokens, generator), x.size)


def _pooling(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Means of neighbours, less the pixel itself (Yu et al. 2022), and 1x1 convolutions."""
    mean = net.pool(net.batch_normalize(x, name="norm1"), "avg", 3, 1)
    x = net.add(x, net.scaled(net.node("Sub", [mean, x], x.shape, "mix"), 1, "scale1"))
    inner = net.conv(x, one(generator, 2, 4) * x.channels, norm=False, act="gelu", name="mlp1")
    return net.add(x, net.scaled(net.conv(inner, x.channels, norm=False, name="mlp2"), 1, "scale2"))


def _local(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """A depthwise convolution with a large window, gated (Guo et al. 2022), and an inverted one."""
    kernel = one(generator, 5, 7, 9, 13, 21)
    value = net.depthwise(net.depthwise(x, 5, norm=False), (1, kernel), norm=False, name="row")
    gate = net.conv(net.depthwise(value, (kernel, 1), norm=False, name="column"), x.channels)
    x = net.add(x, net.mul(x, gate, "gate"))
    inner = net.conv(x, one(generator, 2, 4) * x.channels, act="gelu", name="mlp1")
    inner = net.depthwise(inner, 3, act="gelu", norm=False, name="place")
    return net.add(x, net.conv(inner, x.channels, name="mlp2"))


_MIXERS = (_attending, _attending, _reduced, _token_mlp, _pooling, _local)


# Sequences -----------------------------------------------------------------------------------


def _recurrent(net: NetworkBuilder, generator: Generator) -> None:
    """Recurrent layers (Hochreiter and Schmidhuber 1997; Cho et al. 2014) and a dense one."""
    inputs = one(generator, 40, 64, 80, 128, 256, 300)
    x = net.input("sequence", (net.resolution, net.batch_size, inputs))
    kind, gates = (("LSTM", 4), ("LSTM", 4), ("GRU", 3), ("RNN", 1))[int(generator.integers(4))]
    hidden = one(generator, 32, 64, 96, 128, 200, 256, 384, 512)
    ways = one(generator, 1, 2)
    for layer in range(one(generator, 1, 2, 3)):
        name, batch = f"layer{layer}", x.shape[1]
        parts = [
            net.weight(f"{name}.{part}", shape)
            for part, shape in (
                ("w", (ways, gates * hidden, x.shape[2])),
                ("r", (ways, gates * hidden, hidden)),
                ("b", (ways, 2 * gates * hidden)),
            )
        ]
        rest = {"direction": "bidirectional"} if ways == 2 else {}
        shape = (x.shape[0], ways, batch, hidden)
        value = net.node(kind, [x, *parts], shape, name, hidden_size=hidden, **rest)
        value = net.transpose(value, (0, 2, 1, 3), f"{name}.batch")
        x = net.reshape(value, (x.shape[0], batch, ways * hidden), f"{name}.joined")
    net.output(net.linear(x, one(generator, 10, 29, 100, 1000), name="classifier"))


def _waves(net: NetworkBuilder, generator: Generator) -> None:
    """Convolutions of one dimension: of sound, or of measured series."""
    length = net.resolution * one(generator, 8, 16, 40)
    channels = one(generator, 1, 2, 40, 64)
    x = net.input("series", (net.batch_size, channels, length))
    out = 8 * one(generator, 2, 4, 6, 8, 12, 16)
    for layer in range(one(generator, 3, 4, 5, 6)):
        with net.scope(f"layer{layer}"):
            kernel, stride = one(generator, 3, 3, 5, 7, 9, 15), one(generator, 1, 2, 2, 4)
            if generator.random() < 0.3:
                x = _conv_1d(net, x, x.shape[1], kernel, strides=[stride], group=x.shape[1])
                x = _conv_1d(net, x, out, 1)
            else:
                x = _conv_1d(net, x, out, kernel, strides=[stride])
            x = net.act(x, str(generator.choice(["relu", "relu", "gelu", "swish", "tanh"])))
        out = min(2 * out, 512) if generator.random() < 0.5 else out
    net.output(net.linear(net.transpose(x, (0, 2, 1), "last"), one(generator, 12, 35, 128)))


def _conv_1d(
    net: NetworkBuilder, x: NetworkValue, out: int, kernel: int, **attributes: Any
) -> NetworkValue:
    pad = kernel // 2
    inputs = x.shape[1] // attributes.get("group", 1)
    (stride,) = attributes.get("strides", [1])
    parts = [x, net.weight("conv.weight", (out, inputs, kernel)), net.weight("conv.bias", (out,))]
    shape = (x.shape[0], out, (x.shape[2] - 1) // stride + 1)
    return net.node(
        "Conv", parts, shape, "conv", kernel_shape=[kernel], pads=[pad, pad], **attributes
    )


# Maps ----------------------------------------------------------------------------------------


def _decoded(net: NetworkBuilder, generator: Generator) -> None:
    """Down and up again, with what was there before beside it (Ronneberger et al. 2015)."""
    x = net.image(one(generator, 1, 3, 4))
    width, act = 8 * one(generator, 1, 2, 3, 4), str(generator.choice(["relu", "swish", "gelu"]))
    norm = _instance_normalize if generator.random() < 0.4 else _batch_normalize
    grow = _GROWING[int(generator.integers(len(_GROWING)))]
    kept: list[NetworkValue] = []
    depth = one(generator, 2, 3, 4)
    for level in range(depth):
        with net.scope(f"down{level}"):
            x = norm(net, net.conv(x, width * 2**level, 3, norm=False), act)
            x = norm(net, net.conv(x, width * 2**level, 3, norm=False), act)
            if level < depth - 1:
                kept.append(x)
                x = net.pool(x, "max", 2, 2, padding=0)
    for level, before in enumerate(reversed(kept)):
        with net.scope(f"up{level}"):
            x = net.resize(grow(net, x, before.channels), before.size)
            x = net.concat([x, before]) if generator.random() < 0.7 else net.add(x, before)
            x = norm(net, net.conv(x, before.channels, 3, norm=False), act)
    net.output(net.conv(x, one(generator, 1, 3, 21), norm=False, name="map"))


def _batch_normalize(net: NetworkBuilder, x: NetworkValue, act: str) -> NetworkValue:
    return net.batch_normalize(x, act)


def _instance_normalize(net: NetworkBuilder, x: NetworkValue, act: str) -> NetworkValue:
    parts = [net.ones("norm.scale", (x.channels,)), net.weight("norm.shift", (x.channels,))]
    return net.act(net.node("InstanceNormalization", [x, *parts], x.shape, "norm"), act)


def _deconvolved(net: NetworkBuilder, x: NetworkValue, out: int) -> NetworkValue:
    return net.deconv(x, out, 2 if x.channels % 16 else 4, 2)


def _unshuffled(net: NetworkBuilder, x: NetworkValue, out: int) -> NetworkValue:
    """Channels as pixels (Shi et al. 2016)."""
    value = net.conv(x, 4 * out, norm=False, name="spread")
    batch, _, height, width = value.shape
    shape = (batch, out, 2 * height, 2 * width)
    return net.node("DepthToSpace", [value], shape, "pixels", blocksize=2, mode="CRD")


def _resized(net: NetworkBuilder, x: NetworkValue, out: int) -> NetworkValue:
    return net.conv(net.resize(x, (2 * x.size[0], 2 * x.size[1]), "linear"), out, name="after")


_GROWING = (_deconvolved, _unshuffled, _resized)

#: What may be drawn, and whether its size is of an image or of a sequence.
_KINDS: tuple[tuple[bool, Drawing], ...] = (
    (False, partial(_text, build=bert)),
    (False, partial(_text, build=gpt2)),
    (False, partial(_text, build=llama)),
    (False, partial(_text, build=llama)),
    (False, _recurrent),
    (False, _waves),
    (True, _swin),
    (True, _mobilevit),
    (True, _convnext),
    (True, _mixed),
    (True, _mixed),
    (True, _mixed),
    (True, _decoded),
)
