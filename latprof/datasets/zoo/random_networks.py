"""Random networks whose kernels are where networks really are, for measuring kernels.

A network is a stem and stages of random blocks: those of the published families, with widths,
windows, strides and resolutions between theirs. A kernel so stands beside the neighbours, in the
memory layouts and with the caches that it has in real networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from latprof.common.limits import check_seed
from latprof.datasets.zoo.graph_builder import NetworkValue
from latprof.datasets.zoo.network_builder import NetworkBuilder

Block: TypeAlias = Callable[
    [NetworkBuilder, NetworkValue, int, int, np.random.Generator], NetworkValue
]

_ACTS = ("relu", "relu", "relu", "relu6", "relu6", "hswish", "swish", "swish", "gelu", "")
_MOST_CHANNELS = 1536
_CLASSES = (10, 100, 1000, 1000, 1000, 21841)


@dataclass(frozen=True)
class _Sizes:
    """Between what a network is drawn.

    ``stems`` are channels after the stem; a network with less or more work than ``macs``, in
    multiply-accumulates, is drawn again.
    """

    resolutions: tuple[int, ...]
    stems: tuple[int, ...]
    macs: tuple[float, float]


_LARGE = _Sizes(
    (96, 112, 128, 160, 192, 224, 224, 224, 240, 256, 288, 299, 320),
    (8, 16, 16, 24, 32, 32, 40, 48, 64, 64, 96),
    (1e7, 8e8),
)
_SMALL = _Sizes((32, 48, 64, 80, 96, 96, 112, 128, 160), (4, 8, 8, 12, 16, 16, 24), (5e5, 2e7))


def random_network(seed: int, *, batch_size: int = 1) -> NetworkBuilder:
    """The random network of a seed: the same in every version of NumPy's generators.

    Of 10 to 800 million multiply-accumulates.
    """
    return _within(_LARGE, f"random {seed}", np.random.default_rng(check_seed(seed)), batch_size)


def small_network(seed: int, *, batch_size: int = 1) -> NetworkBuilder:
    """The small random network of a seed, of 0.5 to 20 million multiply-accumulates.

    Its weights and values stay in caches from one inference to the next.
    """
    generator = np.random.default_rng([check_seed(seed), 2])
    return _within(_SMALL, f"small {seed}", generator, batch_size)


def _within(
    sizes: _Sizes, name: str, generator: np.random.Generator, batch_size: int
) -> NetworkBuilder:
    least, most = sizes.macs
    for _ in range(100):
        net = _draw(name, sizes, generator, batch_size)
        if least <= macs_of(net) <= most:
            break
    return net


def _draw(
    name: str, sizes: _Sizes, generator: np.random.Generator, batch_size: int
) -> NetworkBuilder:
    resolution = int(generator.choice(sizes.resolutions))
    net = NetworkBuilder(name, resolution=resolution, batch_size=batch_size)
    x = _stem(net, sizes.stems, generator)
    stages = int(generator.integers(3, 6))
    for number in range(stages):
        block = _BLOCKS[int(generator.integers(len(_BLOCKS)))]
        grown = x.channels * float(generator.choice([1.0, 1.5, 1.75, 2.0, 2.0, 2.5]))
        out = _channels(min(grown, _MOST_CHANNELS), generator)
        stride = 2 if min(x.size) >= 8 and generator.random() < 0.75 else 1
        for repeat in range(int(generator.integers(1, 4))):
            with net.scope(f"stage{number}.block{repeat}"):
                x = block(net, x, out, stride if repeat == 0 else 1, generator)
    if min(x.size) <= 16 and generator.random() < 0.4:
        x = _transformers(net, x, generator)
    if len(x.shape) == 4 and generator.random() < 0.5:
        x = net.conv(x, _channels(x.channels * 3.0, generator), act=_act(generator), name="head")
    _classify(net, x, generator)
    return net


def macs_of(net: NetworkBuilder) -> float:
    """Multiply-accumulates of a network under construction, by its graph."""
    from latprof.graph.reader import read_network

    return float(read_network(net.model(weights=False)).macs)


def _act(generator: np.random.Generator) -> str:
    return str(generator.choice(_ACTS))


def _channels(wanted: float, generator: np.random.Generator) -> int:
    """Near what is wanted: mostly a multiple of 8, sometimes of 4, seldom any number."""
    divisor = int(generator.choice([8, 8, 8, 16, 16, 32, 32, 64, 4, 1]))
    return max(divisor * round(wanted / divisor), divisor, 4)


def _stem(
    net: NetworkBuilder, stems: tuple[int, ...], generator: np.random.Generator
) -> NetworkValue:
    x = net.image()
    out = int(generator.choice(stems))
    kernel, stride = ((3, 2), (3, 2), (3, 2), (7, 2), (4, 4), (3, 1), (6, 2))[
        int(generator.integers(7))
    ]
    padding = "same" if kernel % 2 else 0
    if stride == 1:
        net_input = net.pool(x, "avg", 2, 2, padding=0)
        return net.conv(net_input, out, kernel, act="relu", name="stem")
    x = net.conv(x, out, kernel, stride, act=_act(generator), padding=padding, name="stem")  # type: ignore[arg-type]
    return net.pool(x, "max", 3, 2) if generator.random() < 0.3 else x


def _inverted(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """A bottleneck that is wide inside (Sandler et al. 2018)."""
    act, kernel = _act(generator) or "relu", int(generator.choice([3, 3, 5, 5, 7]))
    expansion = float(generator.choice([1, 2, 3, 4, 6, 6]))
    inner = _channels(x.channels * expansion, generator)
    y = net.conv(x, inner, act=act, name="expand")
    y = net.depthwise(y, kernel, stride, act=act)
    if generator.random() < 0.4:
        y = net.squeeze_excite(y, max(inner // int(generator.choice([4, 8, 16, 24])), 4))
    y = net.conv(y, out, name="project")
    return net.add(x, y) if y.shape == x.shape else y


def _basic(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""
    act = _act(generator)
    y = net.conv(x, out, 3, stride, act=act)
    y = net.conv(y, out, 3)
    x = x if x.shape == y.shape else net.conv(x, out, 1, stride, name="shortcut")
    return net.act(net.add(x, y), act or "relu")


def _bottleneck(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """A bottleneck that is narrow inside, its 3x3 convolution grouped at times."""
    act = _act(generator) or "relu"
    width = int(generator.choice([4, 8, 8, 16, 24, 32]))
    inner = width * max(round(out / 4 / width), 1)
    groups = inner // width if generator.random() < 0.5 else 1
    dilation = 2 if stride == 1 and generator.random() < 0.1 else 1
    y = net.conv(x, inner, act=act, name="reduce")
    y = net.conv(y, inner, 3, stride, groups=groups, dilation=dilation, act=act, name="middle")
    y = net.conv(y, out, name="expand")
    x = x if x.shape == y.shape else net.conv(x, out, 1, stride, name="shortcut")
    return net.act(net.add(x, y), act)


def _separable(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """A depthwise and a 1x1 convolution (Howard et al. 2017)."""
    act = _act(generator) or "relu6"
    y = net.depthwise(x, int(generator.choice([3, 3, 3, 5])), stride, act=act)
    return net.conv(y, out, act=act, name="pointwise")


def _plain(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """A convolution, then a pool where the size shrinks."""
    kernel = int(generator.choice([3, 3, 3, 5]))
    y = net.conv(x, out, kernel, act="relu", norm=False)
    return net.pool(y, "max", 2, 2, padding=0) if stride == 2 else y


def _dense(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """Layers that read all before them (Huang et al. 2017), and a transition."""
    growth = int(generator.choice([12, 16, 24, 32, 40, 48]))
    for _ in range(2):
        y = net.batch_normalize(x, "relu")
        y = net.conv(y, 4 * growth, act="relu", name="narrow")
        x = net.concat([x, net.conv(y, growth, 3, norm=False, bias=False, name="grow")])
    if stride == 2:
        x = net.conv(x, out, act="relu", name="transition")
        x = net.pool(x, "avg", 2, 2, padding=0)
    return x


def _branches(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """Convolutions and a pool side by side (Szegedy et al. 2015), or added (Zoph et al. 2018)."""
    part = _channels(out / 4, generator)
    kernel = int(generator.choice([3, 5]))
    first = net.conv(x, part, 1, stride, act="relu", name="one")
    second = net.conv(x, part, act="relu", name="reduce")
    second = net.conv(second, part, 3, stride, act="relu", name="three")
    third = net.depthwise(net.conv(x, part, act="relu", name="narrow"), kernel, stride)
    kind = "max" if generator.random() < 0.5 else "avg"
    fourth = net.conv(net.pool(x, kind, 3, stride), part, act="relu", name="pooled")  # type: ignore[arg-type]
    if generator.random() < 0.5:
        return net.concat([first, second, third, fourth])
    return net.total([first, second, third, fourth])


def _modern(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """A large depthwise convolution and dense layers of tokens (Liu et al. 2022)."""
    if stride == 2 or out != x.channels:
        x = net.conv(x, out, stride, stride, padding=0, norm=False, name="down")
    y = net.depthwise(x, int(generator.choice([3, 5, 7, 7])), norm=False)
    tokens = net.transpose(y, (0, 2, 3, 1), "last")
    tokens = net.layer_normalize(tokens)
    tokens = net.mlp(tokens, int(generator.choice([2, 3, 4])) * out)
    return net.add(x, net.transpose(tokens, (0, 3, 1, 2), "first"))


def _shuffling(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """Half of the channels pass, all are shuffled (Ma et al. 2018)."""
    half = max(2 * (out // 4), 4)
    if stride == 1 and x.channels % 4 == 0:
        left, right = net.split(x, (x.channels // 2, x.channels // 2))
        half = x.channels // 2
    else:
        left = net.conv(net.depthwise(x, 3, stride), half, act="relu", name="left")
        right = x
    y = net.conv(right, half, act="relu", name="in")
    y = net.depthwise(y, int(generator.choice([3, 3, 5])), stride if right is x else 1)
    y = net.conv(y, half, act="relu", name="out")
    return net.shuffle(net.concat([left, y]), 2)


def _cheap(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """Half of the channels computed from the others (Han et al. 2020)."""
    half = max(out // 2, 4)
    y = net.conv(x, half, act="relu", name="primary")
    y = net.concat([y, net.depthwise(y, 3, act="relu", name="cheap")])
    return net.depthwise(y, int(generator.choice([3, 5])), stride) if stride == 2 else y


def _fire(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """Squeeze, then 1x1 and 3x3 side by side (Iandola et al. 2016)."""
    x = net.pool(x, "max", 3, 2) if stride == 2 else x
    y = net.conv(x, _channels(out / 8, generator), act="relu", norm=False, name="squeeze")
    parts = [net.conv(y, out // 2, k, act="relu", norm=False, name=f"expand{k}") for k in (1, 3)]
    return net.concat(parts)


def _pyramid(
    net: NetworkBuilder, x: NetworkValue, out: int, stride: int, generator: np.random.Generator
) -> NetworkValue:
    """A coarser map, resized and added (Lin et al. 2017)."""
    x = net.conv(x, out, 3, stride, act="relu", name="lateral")
    coarse = net.pool(x, "max", 3, 2)
    coarse = net.conv(coarse, out, act=_act(generator), name="coarse")
    mode = "nearest" if generator.random() < 0.7 else "linear"
    return net.conv(net.add(x, net.resize(coarse, x.size, mode)), out, 3, groups=1, name="smooth")  # type: ignore[arg-type]


_BLOCKS: tuple[Block, ...] = (
    _inverted,
    _inverted,
    _inverted,
    _basic,
    _basic,
    _bottleneck,
    _bottleneck,
    _separable,
    _separable,
    _plain,
    _dense,
    _branches,
    _modern,
    _shuffling,
    _cheap,
    _fire,
    _pyramid,
)


def _transformers(
    net: NetworkBuilder, x: NetworkValue, generator: np.random.Generator
) -> NetworkValue:
    """Tokens of a feature map, and blocks of attention over them (Dosovitskiy et al. 2021)."""
    features = 32 * int(generator.integers(2, 17))
    x = net.tokens(net.conv(x, features, norm=False, name="embed"))
    heads = int(generator.choice([h for h in (1, 2, 3, 4, 6, 8, 12) if features % h == 0]))
    act = str(generator.choice(["gelu", "gelu", "relu", "swish"]))
    for number in range(int(generator.integers(1, 4))):
        with net.scope(f"encoder{number}"):
            x = net.add(x, net.self_attention(net.layer_normalize(x), heads))
            hidden = int(generator.choice([2, 3, 4])) * features
            x = net.add(x, net.mlp(net.layer_normalize(x), hidden, act))
    return x


def _classify(net: NetworkBuilder, x: NetworkValue, generator: np.random.Generator) -> None:
    """A classifier of one dense layer, or of several."""
    if len(x.shape) == 3:
        x = net.layer_normalize(x)
        x = net.reshape(net.slice(x, 0, 1, 1), (x.shape[0], x.shape[2]))
    else:
        x = net.flatten(net.global_pool(x))
    for _ in range(int(generator.choice([0, 0, 0, 1, 2]))):
        x = net.linear(x, 128 * int(generator.integers(1, 17)), act="relu", name="hidden")
    net.output(net.linear(x, int(generator.choice(_CLASSES)), name="classifier"))
