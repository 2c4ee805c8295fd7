"""Classifiers of plain and concatenating convolutions: AlexNet, VGG, SqueezeNet, Inception, DenseNet.

Specifications are tables of channels; GoogLeNet is the one with batch normalisation and 3x3
convolutions in place of 5x5, as libraries build it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


def alexnet(net: NetworkBuilder) -> None:
    """Krizhevsky (2014), one tower."""
    plain = partial(net.conv, norm=False, act="relu")
    x = plain(net.image(), net.wide(64), 11, 4, padding=2, name="conv1")
    x = net.pool(x, "max", 3, 2, padding=0)
    x = plain(x, net.wide(192), 5, name="conv2")
    x = net.pool(x, "max", 3, 2, padding=0)
    for number, channels in enumerate((384, 256, 256), start=3):
        x = plain(x, net.wide(channels), 3, name=f"conv{number}")
    x = net.pool(x, "max", 3, 2, padding=0)
    _dense_head(net, net.adaptive_pool(x, 6))


def vgg(net: NetworkBuilder, layers: Sequence[int]) -> None:
    """Simonyan and Zisserman (2015): stages of 3x3 convolutions, each followed by a pool."""
    x = net.image()
    for stage, (channels, count) in enumerate(zip((64, 128, 256, 512, 512), layers, strict=True)):
        with net.scope(f"stage{stage}"):
            for _ in range(count):
                x = net.conv(x, net.wide(channels), 3, norm=False, act="relu")
            x = net.pool(x, "max", 2, 2, padding=0)
    _dense_head(net, net.adaptive_pool(x, 7))


def _dense_head(net: NetworkBuilder, x: NetworkValue) -> None:
    x = net.flatten(x)
    for number in (1, 2):
        x = net.linear(x, net.wide(4096), act="relu", name=f"dense{number}")
    net.classifier(x)


def squeezenet(
    net: NetworkBuilder, stem: tuple[int, int], fires: Sequence[int], pools: Sequence[int]
) -> None:
    """Iandola et al. (2016): fire modules, a pool before those whose number is in ``pools``."""
    channels, kernel = stem
    plain = partial(net.conv, norm=False, act="relu")
    x = plain(net.image(), net.wide(channels), kernel, 2, padding=0, name="stem")
    for number, squeezed in enumerate(fires):
        if number in pools:
            x = net.pool(x, "max", 3, 2, padding=0, ceil=True)
        with net.scope(f"fire{number}"):
            x = plain(x, net.wide(squeezed), name="squeeze")
            sides = [plain(x, net.wide(4 * squeezed), k, name=f"expand{k}") for k in (1, 3)]
            x = net.concat(sides)
    x = plain(x, 1000, name="classifier")
    net.output(net.flatten(net.global_pool(x)))


def googlenet(net: NetworkBuilder) -> None:
    """Szegedy et al. (2015): a row of :data:`_GOOGLENET` a module, None a pool."""
    x = net.conv(net.image(), net.wide(64), 7, 2, act="relu", name="stem1")
    x = net.pool(x, "max", 3, 2, padding=0, ceil=True)
    x = net.conv(x, net.wide(64), act="relu", name="stem2")
    x = net.conv(x, net.wide(192), 3, act="relu", name="stem3")
    x = net.pool(x, "max", 3, 2, padding=0, ceil=True)
    for number, row in enumerate(_GOOGLENET):
        if isinstance(row, int):
            x = net.pool(x, "max", row, 2, padding=0, ceil=True)
            continue
        one, before3, three, before5, five, pooled = (net.wide(channels) for channels in row)
        with net.scope(f"inception{number}"):
            x = _branches(
                net,
                x,
                [(one, 1)],
                [(before3, 1), (three, 3)],
                [(before5, 1), (five, 3)],
                [("max", 3), (pooled, 1)],
            )
    net.classifier(x)


_GOOGLENET: tuple[int | tuple[int, ...], ...] = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    3,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    2,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)

#: A convolution (channels, kernel), one of stride 2 (channels, kernel, "down"), or a pool.
_Layer = tuple[object, ...]


def _branches(net: NetworkBuilder, x: NetworkValue, *branches: Sequence[_Layer]) -> NetworkValue:
    """Chains of layers on one input, side by side; a list in a chain is a fork."""
    results = []
    for number, branch in enumerate(branches):
        with net.scope(f"branch{number}"):
            value = x
            for layer in branch:
                value = _layer(net, value, layer)
            results.append(value)
    return net.concat(results)


def _layer(net: NetworkBuilder, x: NetworkValue, layer: _Layer) -> NetworkValue:
    what, kernel, *down = layer
    stride, padding = (2, 0) if down else (1, "same")
    if what == "fork":
        forks = [net.conv(x, int(kernel), k, act="relu") for k in ((1, 3), (3, 1))]  # type: ignore[call-overload]
        return net.concat(forks)
    if what in ("max", "avg"):
        return net.pool(x, what, kernel, stride, padding=padding)  # type: ignore[arg-type]
    return net.conv(x, what, kernel, stride, padding=padding, act="relu")  # type: ignore[arg-type]


def inception_v3(net: NetworkBuilder) -> None:
    """Szegedy et al. (2016)."""
    w = net.wide
    x = net.conv(net.image(), w(32), 3, 2, padding=0, act="relu", name="stem1")
    x = net.conv(x, w(32), 3, padding=0, act="relu", name="stem2")
    x = net.conv(x, w(64), 3, act="relu", name="stem3")
    x = net.pool(x, "max", 3, 2, padding=0)
    x = net.conv(x, w(80), act="relu", name="stem4")
    x = net.conv(x, w(192), 3, padding=0, act="relu", name="stem5")
    x = net.pool(x, "max", 3, 2, padding=0)
    for number, branches in enumerate(_inception_v3_modules(w)):
        with net.scope(f"inception{number}"):
            x = _branches(net, x, *branches)
    net.classifier(x)


def _inception_v3_modules(w: Callable[[int], int]) -> list[tuple[list[_Layer], ...]]:
    """The modules' branches; ``w`` makes channels wider."""
    tall, flat = (7, 1), (1, 7)
    modules: list[tuple[list[_Layer], ...]] = [
        (
            [(w(64), 1)],
            [(w(48), 1), (w(64), 5)],
            [(w(64), 1), (w(96), 3), (w(96), 3)],
            [("avg", 3), (w(pooled), 1)],
        )
        for pooled in (32, 64, 64)
    ]
    modules.append(
        (
            [(w(384), 3, "down")],
            [(w(64), 1), (w(96), 3), (w(96), 3, "down")],
            [("max", 3, "down")],
        )
    )
    modules += [
        (
            [(w(192), 1)],
            [(c, 1), (c, flat), (w(192), tall)],
            [(c, 1), (c, tall), (c, flat), (c, tall), (w(192), flat)],
            [("avg", 3), (w(192), 1)],
        )
        for c in map(w, (128, 160, 160, 192))
    ]
    modules.append(
        (
            [(w(192), 1), (w(320), 3, "down")],
            [(w(192), 1), (w(192), flat), (w(192), tall), (w(192), 3, "down")],
            [("max", 3, "down")],
        )
    )
    last: tuple[list[_Layer], ...] = (
        [(w(320), 1)],
        [(w(384), 1), ("fork", w(384))],
        [(w(448), 1), (w(384), 3), ("fork", w(384))],
        [("avg", 3), (w(192), 1)],
    )
    return [*modules, last, last]


def densenet(net: NetworkBuilder, growth: int, stem: int, blocks: Sequence[int]) -> None:
    """Huang et al. (2017): every layer reads the outputs of all before it in its block."""
    growth = net.wide(growth)
    x = net.conv(net.image(), net.wide(stem), 7, 2, act="relu", name="stem")
    x = net.pool(x, "max", 3, 2)
    for number, layers in enumerate(blocks):
        if number:
            with net.scope(f"transition{number}"):
                x = net.batch_normalize(x, "relu")
                x = net.conv(x, x.channels // 2, norm=False, bias=False)
                x = net.pool(x, "avg", 2, 2, padding=0)
        parts = [x]
        for index in range(layers):
            with net.scope(f"block{number}.layer{index}"):
                value = net.batch_normalize(net.concat(parts), "relu")
                value = net.conv(value, 4 * growth, act="relu", name="conv1")
                parts.append(net.conv(value, growth, 3, norm=False, bias=False, name="conv2"))
        x = net.concat(parts)
    net.classifier(net.batch_normalize(x, "relu"))


_SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)
NETWORKS = (
    ZooNetwork("alexnet", "alexnet", alexnet, 224, 61100840, 714188480, "torchvision alexnet"),
    ZooNetwork(
        "vgg-11",
        "vgg",
        partial(vgg, layers=(1, 1, 2, 2, 2)),
        224,
        132863336,
        7609090048,
        "timm vgg11",
    ),
    ZooNetwork(
        "vgg-16",
        "vgg",
        partial(vgg, layers=(2, 2, 3, 3, 3)),
        224,
        138357544,
        15470264320,
        "timm vgg16",
    ),
    ZooNetwork(
        "squeezenet-1.0",
        "squeezenet",
        partial(squeezenet, stem=(96, 7), fires=_SQUEEZED, pools=(0, 3, 7)),
        224,
        1248424,
        818924576,
        "torchvision squeezenet1_0",
    ),
    ZooNetwork(
        "squeezenet-1.1",
        "squeezenet",
        partial(squeezenet, stem=(64, 3), fires=_SQUEEZED, pools=(0, 2, 4)),
        224,
        1235496,
        349151936,
        "torchvision squeezenet1_1",
    ),
    ZooNetwork(
        "googlenet",
        "inception",
        googlenet,
        224,
        6624904,
        1498376192,
        "torchvision googlenet aux_logits=False",
    ),
    ZooNetwork(
        "inception-v3", "inception", inception_v3, 299, 23834568, 5713216096, "timm inception_v3"
    ),
    ZooNetwork(
        "densenet-121",
        "densenet",
        partial(densenet, growth=32, stem=64, blocks=(6, 12, 24, 16)),
        224,
        7978856,
        2834161664,
        "timm densenet121",
    ),
)
