"""Residual classifiers: ResNet, ResNeXt, SE-ResNet, RegNet, and GhostNet for GPUs (G-GhostNet)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from latprof.datasets.models.layers import make_divisible
from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


@dataclass(frozen=True)
class ResidualSpec:
    """A network of four stages of residual blocks.

    Parameters
    ----------
    depths : tuple of int
        Blocks of each stage.
    widths : tuple of int
        Channels inside the blocks of each stage.
    expansion : int
        Channels of a block's output over those inside; 0 for blocks of two 3x3 convolutions.
    group_width : int
        Channels of a group of the 3x3 convolutions; 0 for no groups.
    stem : {"pool", "plain"}
        A 7x7 convolution and a pool to 64 channels, or a 3x3 convolution to 32.
    squeeze : {"", "output", "inside"}
        Squeeze-and-excitation of a sixteenth of a block's output (SE-ResNet), or inside of a
        quarter of its input (RegNetY).
    ghost : bool
        Whether stages of more than two blocks are G-GhostNet's.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    expansion: int = 4
    group_width: int = 0
    stem: Literal["pool", "plain"] = "pool"
    squeeze: Literal["", "output", "inside"] = ""
    ghost: bool = False


def residual_network(net: NetworkBuilder, spec: ResidualSpec) -> None:
    """A classifier."""
    net.classifier(residual_features(net, spec)[-1])


def residual_features(net: NetworkBuilder, spec: ResidualSpec) -> list[NetworkValue]:
    """The outputs of the stages."""
    if spec.stem == "pool":
        x = net.conv(net.image(), net.wide(64), 7, 2, act="relu", name="stem")
        x = net.pool(x, "max", 3, 2)
    else:
        x = net.conv(net.image(), net.wide(32), 3, 2, act="relu", name="stem")
    values = []
    for number, (depth, channels) in enumerate(zip(spec.depths, spec.widths, strict=True)):
        width = net.wide(channels, max(spec.group_width, 8))
        stride = 1 if number == 0 and spec.stem == "pool" else 2
        with net.scope(f"stage{number}"):
            if spec.ghost and number and depth > 2:
                x = _ghost_stage(net, x, spec, width, depth)
            else:
                for index in range(depth):
                    with net.scope(f"block{index}"):
                        x = residual_block(net, x, spec, width, stride if index == 0 else 1)
        values.append(x)
    return values


def residual_block(
    net: NetworkBuilder, x: NetworkValue, spec: ResidualSpec, width: int, stride: int
) -> NetworkValue:
    """He et al. (2016): two 3x3 convolutions, or 3x3 between 1x1; the stride is at the first 3x3."""
    out = width * max(spec.expansion, 1)
    if spec.expansion:
        groups = width // min(width, spec.group_width) if spec.group_width else 1
        value = net.conv(x, width, act="relu", name="conv1")
        value = net.conv(value, width, 3, stride, groups=groups, act="relu", name="conv2")
        if spec.squeeze == "inside":
            value = net.squeeze_excite(value, round(x.channels / 4))
        value = net.conv(value, out, gain=0.5, name="conv3")
    else:
        value = net.conv(x, width, 3, stride, act="relu", name="conv1")
        value = net.conv(value, out, 3, gain=0.5, name="conv2")
    if spec.squeeze == "output":
        value = net.squeeze_excite(value, make_divisible(out / 16))
    if value.shape != x.shape:
        x = net.conv(x, out, 1, stride, padding=0, name="shortcut")
    return net.act(net.add(value, x), "relu")


def _ghost_stage(
    net: NetworkBuilder, x: NetworkValue, spec: ResidualSpec, width: int, depth: int
) -> NetworkValue:
    """Han et al. (2022): half of the channels skip all blocks but the first and the last."""
    narrow = replace(spec, group_width=int(spec.group_width * 0.75))
    raw = max(width // 2 // narrow.group_width, 1) * narrow.group_width
    cheap = width - raw
    with net.scope("base"):
        first = residual_block(net, x, spec, width, 2)
    value = net.slice(first, 0, raw, 1)
    made = [first]
    for index in range(1, depth - 1):
        with net.scope(f"block{index}"):
            value = residual_block(net, value, narrow, raw, 1)
            made.append(value)
    merged = net.conv(net.global_pool(net.concat(made)), cheap, act="relu", name="merge1")
    merged = net.conv(merged, cheap, name="merge2")
    kept = net.conv(net.slice(first, raw, width, 1), cheap, name="cheap")
    kept = net.act(net.add(kept, merged), "relu")
    with net.scope("end"):
        return residual_block(net, net.concat([value, kept]), spec, width, 1)


def _regnet(depths: tuple[int, ...], widths: tuple[int, ...], group_width: int) -> ResidualSpec:
    return ResidualSpec(depths, widths, 1, group_width, "plain")


_50 = ResidualSpec((3, 4, 6, 3))
_X002 = _regnet((1, 1, 4, 7), (24, 56, 152, 368), 8)
_X004 = _regnet((1, 2, 7, 12), (32, 64, 160, 384), 16)
_X008 = _regnet((1, 3, 7, 5), (64, 128, 288, 672), 16)
_Y002 = replace(_X002, squeeze="inside")
_Y004 = replace(_regnet((1, 3, 6, 6), (48, 104, 208, 440), 8), squeeze="inside")
_Y008 = replace(_regnet((1, 3, 8, 2), (64, 128, 320, 768), 16), squeeze="inside")
_G032 = replace(_regnet((2, 6, 15, 2), (96, 192, 432, 1008), 48), ghost=True)
_G080 = replace(_regnet((2, 5, 15, 1), (80, 240, 720, 1920), 120), ghost=True)
_G_SOURCE = "arXiv 2201.03297, authors' code"
RESNET_50 = _50


def _row(
    name: str,
    family: str,
    spec: ResidualSpec,
    counts: tuple[int, int],
    source: str,
    published: tuple[str, str] = ("", ""),
) -> ZooNetwork:
    write = partial(residual_network, spec=spec)
    return ZooNetwork(name, family, write, 224, *counts, source, published)


# fmt: off
NETWORKS = (
    _row("resnet-18", "resnet", ResidualSpec((2, 2, 2, 2), expansion=0), (11689512, 1814073344), "timm resnet18"),
    _row("resnet-34", "resnet", ResidualSpec((3, 4, 6, 3), expansion=0), (21797672, 3663761408), "timm resnet34"),
    _row("resnet-50", "resnet", _50, (25557032, 4089184256), "timm resnet50"),
    _row("resnet-101", "resnet", ResidualSpec((3, 4, 23, 3)), (44549160, 7801405440), "timm resnet101"),
    _row("se-resnet-50", "se-resnet", replace(_50, squeeze="output"), (28088024, 4091699200), "timm seresnet50"),
    _row("regnet-x-002", "regnet", _X002, (2684792, 199039872), "timm regnetx_002"),
    _row("regnet-x-004", "regnet", _X004, (5157512, 397677568), "timm regnetx_004"),
    _row("regnet-x-008", "regnet", _X008, (7259656, 799699712), "timm regnetx_008"),
    _row("regnet-y-002", "regnet", _Y002, (3162996, 199514080), "timm regnety_002"),
    _row("regnet-y-004", "regnet", _Y004, (4344144, 401842848), "timm regnety_004"),
    _row("regnet-y-008", "regnet", _Y008, (6263168, 797176832), "timm regnety_008"),
    _row("g-ghostnet-032", "g-ghostnet", _G032, (10511000, 1801746240), _G_SOURCE, ("10.5M", "1.8B")),
    _row("g-ghostnet-080", "g-ghostnet", _G080, (24586928, 4149668216), _G_SOURCE, ("24.6M", "4.2B")),
)
# fmt: on
