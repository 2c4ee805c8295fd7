"""Detection and segmentation: SSDLite, EfficientDet, NAS-FPN, YOLOX, LR-ASPP.

Outputs are those of the network: what is done with boxes afterwards (decoding, non-maximum
suppression) is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from latprof.datasets.zoo.entries import ZooNetwork
from latprof.datasets.zoo.families.mobile_networks import (
    EFFICIENTNET,
    V3_LARGE,
    mobile_features,
)
from latprof.datasets.zoo.families.residual_networks import RESNET_50, residual_features

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


def _last_of_each_size(values: Sequence[NetworkValue]) -> list[NetworkValue]:
    return [*{value.size: value for value in values}.values()]


def _predictions(net: NetworkBuilder, x: NetworkValue, numbers: int) -> NetworkValue:
    """A map of ``anchors x numbers`` channels as rows of ``numbers``."""
    batch, channels, height, width = x.shape
    anchors = channels // numbers
    value = net.reshape(x, (batch, anchors, numbers, height, width), "anchors")
    value = net.transpose(value, (0, 3, 4, 1, 2), "anchors.last")
    return net.reshape(value, (batch, height * width * anchors, numbers), "rows")


# SSDLite ---------------------------------------------------------------------------------------

#: MobileNetV3-Large with half of the channels in its last stage, as detectors use it.
_V3_REDUCED = replace(
    V3_LARGE, stages=(*V3_LARGE.stages[:-2], "k5 s2 m672 c80 se", "k5 m480 c80 n2 se")
)


def ssdlite(net: NetworkBuilder, classes: int = 91, anchors: int = 6) -> None:
    """SSD with depthwise heads (Sandler et al. 2018) on MobileNetV3 (Howard et al. 2019)."""
    expanded: list[NetworkValue] = []
    x = mobile_features(net, _V3_REDUCED, expanded)[-1]
    maps = [expanded[-3], net.conv(x, net.wide(480), act="hswish", name="head")]
    for number, channels in enumerate((512, 256, 256, 128)):
        with net.scope(f"extra{number}"):
            value = net.conv(maps[-1], net.wide(channels // 2), act="relu6", name="reduce")
            value = net.depthwise(value, 3, 2, act="relu6")
            maps.append(net.conv(value, net.wide(channels), act="relu6", name="expand"))
    for name, numbers in (("logits", classes), ("boxes", 4)):
        rows = []
        for number, value in enumerate(maps):
            with net.scope(f"{name}{number}"):
                made = net.depthwise(value, 3, act="relu6")
                made = net.conv(made, anchors * numbers, norm=False, name="predict")
                rows.append(_predictions(net, made, numbers))
        net.output(net.concat(rows), name)


# EfficientDet ----------------------------------------------------------------------------------

#: Nodes of a BiFPN: level of the output, and the numbers of the values that are fused; 0 to 4 are
#: the inputs P3 to P7.
_BIFPN = (
    (6, (3, 4)),
    (5, (2, 5)),
    (4, (1, 6)),
    (3, (0, 7)),
    (4, (1, 7, 8)),
    (5, (2, 6, 9)),
    (6, (3, 5, 10)),
    (7, (4, 11)),
)


def efficientdet(
    net: NetworkBuilder, channels: int, cells: int, repeats: int, classes: int = 90
) -> None:
    """Tan, Pang and Le (2020): EfficientNet, cells of a bidirectional pyramid, shared heads."""
    width = net.wide(channels)
    values = _last_of_each_size(mobile_features(net, EFFICIENTNET))[-3:]
    values.append(net.pool(net.conv(values[-1], width, name="p6"), "max", 3, 2))
    values.append(net.pool(values[-1], "max", 3, 2))
    for cell in range(cells):
        with net.scope(f"bifpn{cell}"):
            values = _bifpn(net, values, width)
    anchors = 9
    for name, numbers in (("logits", classes), ("boxes", 4)):
        shared: dict[str, NetworkValue] = {}
        rows = [
            _efficientdet_head(net, value, f"{name}{level}", anchors * numbers, repeats, shared)
            for level, value in enumerate(values)
        ]
        net.output(net.concat([_predictions(net, row, numbers) for row in rows]), name)


def _bifpn(
    net: NetworkBuilder, inputs: Sequence[NetworkValue], channels: int
) -> list[NetworkValue]:
    values = [*inputs]
    for number, (level, sources) in enumerate(_BIFPN):
        size = inputs[level - 3].size
        with net.scope(f"node{number}"):
            weighed = []
            for source in sources:
                value = _fitted(net, values[source], channels, size)
                weighed.append(net.mul(value, net.ones("weight", (1,)), "weigh"))
            value = net.act(net.total(weighed, "fuse"), "swish", "fuse")
            value = net.depthwise(value, 3, norm=False, bias=False)
            values.append(net.conv(value, channels, name="pointwise"))
    return [values[number] for number in (8, 9, 10, 11, 12)]


def _fitted(
    net: NetworkBuilder, x: NetworkValue, channels: int, size: tuple[int, int]
) -> NetworkValue:
    """A value of another level with this one's channels and size."""
    if x.channels != channels:
        x = net.conv(x, channels, name="fit")
    if x.size[0] > size[0]:
        x = net.pool(x, "max", 3, 2)
    return net.resize(x, size)


def _efficientdet_head(
    net: NetworkBuilder,
    x: NetworkValue,
    name: str,
    out: int,
    repeats: int,
    shared: dict[str, NetworkValue],
) -> NetworkValue:
    """Separable convolutions that all levels share, but for their normalisations."""
    with net.scope(name):
        for index in range(repeats):
            x = net.depthwise(x, 3, norm=False, bias=False, shared=shared, name=f"depthwise{index}")
            x = net.conv(x, x.channels, act="swish", shared=shared, name=f"pointwise{index}")
        x = net.depthwise(x, 3, norm=False, bias=False, shared=shared, name="predict.depthwise")
        return net.conv(x, out, norm=False, shared=shared, name="predict")


# NAS-FPN ---------------------------------------------------------------------------------------

#: Merges of a NAS-FPN: kind, level of the output, and the two values; a merge that begins with a
#: dash has no convolution after it.
_NAS_FPN = (
    ("gp", "4a", 4, "6", "4"),
    ("sum", "4b", 4, "4a", "4"),
    ("sum", "3", 3, "4b", "3"),
    ("sum", "4", 4, "3", "4b"),
    ("-gp", "5a", 5, "4", "3"),
    ("sum", "5", 5, "5", "5a"),
    ("-gp", "7a", 7, "5", "4b"),
    ("sum", "7", 7, "7", "7a"),
    ("gp", "6", 6, "7", "5"),
)


def nas_fpn(net: NetworkBuilder, stacks: int = 7, channels: int = 256, classes: int = 90) -> None:
    """RetinaNet (Lin et al. 2017) with a searched pyramid (Ghiasi, Lin and Le 2019)."""
    width = net.wide(channels)
    pyramid = {}
    for level, value in enumerate(residual_features(net, RESNET_50)[1:], start=3):
        pyramid[str(level)] = net.conv(value, width, name=f"lateral{level}")
    for level in (6, 7):
        value = net.conv(pyramid[str(level - 1)], width, name=f"extra{level}")
        pyramid[str(level)] = net.pool(value, "max", 2, 2, padding=0)
    for stack in range(stacks):
        with net.scope(f"stack{stack}"):
            _merge(net, pyramid, width)
    anchors = 9
    for name, numbers in (("logits", classes), ("boxes", 4)):
        shared: dict[str, NetworkValue] = {}
        rows = []
        for place in "34567":
            with net.scope(f"{name}{place}"):
                value = pyramid[place]
                for index in range(4):
                    value = net.conv(
                        value, width, 3, act="relu", shared=shared, name=f"conv{index}"
                    )
                value = net.conv(
                    value, anchors * numbers, 3, norm=False, shared=shared, name="predict"
                )
                rows.append(_predictions(net, value, numbers))
        net.output(net.concat(rows), name)


def _merge(net: NetworkBuilder, pyramid: dict[str, NetworkValue], channels: int) -> None:
    sizes = {level: pyramid[str(level)].size for level in range(3, 8)}
    for kind, name, level, one, other in _NAS_FPN:
        with net.scope(f"{kind}{name}"):
            x, y = (_resized(net, pyramid[each], sizes[level]) for each in (one, other))
            if kind.endswith("gp"):
                gate = net.act(net.global_pool(y), "sigmoid", "gate")
                value = net.add(y, net.mul(x, gate))
            else:
                value = net.add(x, y)
            if not kind.startswith("-"):
                value = net.conv(net.act(value, "relu"), channels, 3)
            pyramid[name] = value


def _resized(net: NetworkBuilder, x: NetworkValue, size: tuple[int, int]) -> NetworkValue:
    """Larger by copying, smaller by a maximum."""
    while x.size[0] > size[0]:
        x = net.pool(x, "max", 2, 2, padding=0)
    return net.resize(x, size)


# YOLOX -----------------------------------------------------------------------------------------

Convolution = Callable[..., "NetworkValue"]


def yolox(net: NetworkBuilder, width: float, *, separable: bool, classes: int = 80) -> None:
    """Ge et al. (2021) at a third of its depth: CSPDarknet, a path aggregation network, one head."""
    wide = [net.wide(channels * width) for channels in (64, 128, 256, 512, 1024)]
    convolve = partial(_yolox_conv, net, separable=separable)
    x = net.image()
    x = net.pad(x, (0, 0, x.size[0] % 2, x.size[1] % 2))
    corners = []
    for column in (0, 1):
        stripe = net.slice(x, column, x.shape[3], 3, 2)
        corners += [net.slice(stripe, row, x.shape[2], 2, 2) for row in (0, 1)]
    x = net.conv(net.concat(corners), wide[0], 3, act="swish", name="stem")
    maps = []
    for number, channels in enumerate(wide[1:]):
        with net.scope(f"dark{number + 2}"):
            x = convolve(x, channels, 2)
            if number == 3:
                x = _pyramid_pool(net, x)
            blocks = 3 if number in (1, 2) else 1
            x = _csp_layer(net, convolve, x, channels, blocks, shortcut=number != 3)
            maps.append(x)
    net.output(
        _yolox_heads(net, convolve, _path_aggregation(net, convolve, maps[1:]), classes, width)
    )


def _yolox_conv(
    net: NetworkBuilder,
    x: NetworkValue,
    out: int,
    stride: int = 1,
    *,
    separable: bool,
    name: str = "conv",
) -> NetworkValue:
    if not separable:
        return net.conv(x, out, 3, stride, act="swish", name=name)
    x = net.depthwise(x, 3, stride, act="swish", name=f"{name}.depthwise")
    return net.conv(x, out, act="swish", name=f"{name}.pointwise")


def _csp_layer(
    net: NetworkBuilder,
    convolve: Convolution,
    x: NetworkValue,
    out: int,
    blocks: int,
    *,
    shortcut: bool = False,
) -> NetworkValue:
    """Half of the channels pass bottlenecks, the others none (Wang et al. 2020)."""
    left = net.conv(x, out // 2, act="swish", name="left")
    right = net.conv(x, out // 2, act="swish", name="right")
    for index in range(blocks):
        with net.scope(f"bottleneck{index}"):
            value = net.conv(left, out // 2, act="swish", name="reduce")
            value = convolve(value, out // 2)
            left = net.add(value, left) if shortcut else value
    return net.conv(net.concat([left, right]), out, act="swish", name="join")


def _pyramid_pool(net: NetworkBuilder, x: NetworkValue) -> NetworkValue:
    out = x.channels
    value = net.conv(x, out // 2, act="swish", name="spp.reduce")
    pools = [net.pool(value, "max", kernel) for kernel in (5, 9, 13)]
    return net.conv(net.concat([value, *pools]), out, act="swish", name="spp.join")


def _path_aggregation(
    net: NetworkBuilder, convolve: Convolution, maps: Sequence[NetworkValue]
) -> list[NetworkValue]:
    fine, middle, coarse = maps
    csp = partial(_csp_layer, net, convolve, blocks=1)
    with net.scope("down.coarse"):
        coarse = net.conv(coarse, middle.channels, act="swish", name="lateral")
        value = net.concat([net.resize(coarse, middle.size), middle])
        value = csp(value, out=middle.channels)
    with net.scope("down.middle"):
        middle = net.conv(value, fine.channels, act="swish", name="lateral")
        first = csp(net.concat([net.resize(middle, fine.size), fine]), out=fine.channels)
    with net.scope("up.middle"):
        value = net.concat([convolve(first, first.channels, 2), middle])
        second = csp(value, out=maps[1].channels)
    with net.scope("up.coarse"):
        value = net.concat([convolve(second, second.channels, 2), coarse])
        return [first, second, csp(value, out=maps[2].channels)]


def _yolox_heads(
    net: NetworkBuilder,
    convolve: Convolution,
    maps: Sequence[NetworkValue],
    classes: int,
    width: float,
) -> NetworkValue:
    """Boxes, whether there is an object, and which: one row a pixel of each map."""
    inside, rows = net.wide(256 * width), []
    for number, value in enumerate(maps):
        with net.scope(f"head{number}"):
            x = net.conv(value, inside, act="swish", name="stem")
            kind = box = x
            for index in range(2):
                kind = convolve(kind, inside, name=f"class{index}")
                box = convolve(box, inside, name=f"box{index}")
            predict = partial(net.conv, norm=False)
            parts = [
                predict(box, 4, name="box"),
                net.act(predict(box, 1, name="object"), "sigmoid"),
                net.act(predict(kind, classes, name="class"), "sigmoid"),
            ]
            found = net.concat(parts)
            rows.append(net.reshape(found, (*found.shape[:2], found.size[0] * found.size[1])))
    return net.transpose(net.concat(rows, 2), (0, 2, 1), "rows")


# LR-ASPP ---------------------------------------------------------------------------------------

#: MobileNetV3-Large whose last stage keeps the size and is dilated instead.
_V3_DILATED = replace(
    V3_LARGE, stages=(*V3_LARGE.stages[:-2], "k5 m672 c160 d2 se", "k5 m960 c160 n2 d2 se")
)


def lr_aspp(net: NetworkBuilder, classes: int = 21) -> None:
    """Segmentation by Howard et al. (2019): a gate from the means, and a finer map beside it."""
    values = mobile_features(net, _V3_DILATED)
    low = next(value for value in reversed(values) if value.size[0] > values[-1].size[0])
    high = net.conv(values[-1], net.wide(960), act="hswish", name="head")
    x = net.conv(high, net.wide(128), act="relu", name="features")
    gate = net.conv(
        net.global_pool(high), x.channels, norm=False, bias=False, act="sigmoid", name="gate"
    )
    x = net.resize(net.mul(x, gate), low.size, "linear")
    logits = net.add(
        net.conv(low, classes, norm=False, name="low"),
        net.conv(x, classes, norm=False, name="high"),
    )
    net.output(net.resize(logits, (net.resolution, net.resolution), "linear"))


_YOLOX_SOURCE = "arXiv 2107.08430, authors' code"
_YOLOX_NOTE = "published: 2 operations a MAC and 4 a normalised value"
_NAS_FPN_NOTE = "arXiv 1904.07392 has 60.3M and 281.3B operations, 2 or more a MAC"

# fmt: off
NETWORKS = (
    ZooNetwork("ssdlite-mobilenet-v3", "ssdlite", ssdlite, 320, 3440060, 583171904, "torchvision ssdlite320_mobilenet_v3_large"),
    ZooNetwork("efficientdet-d0", "efficientdet", partial(efficientdet, channels=64, cells=3, repeats=3), 512, 3877763, 2492331520, "effdet efficientdet_d0"),
    ZooNetwork("retinanet-nas-fpn", "nas-fpn", nas_fpn, 640, 60174734, 140117747200, note=_NAS_FPN_NOTE),
    ZooNetwork("yolox-nano", "yolox", partial(yolox, width=0.25, separable=True), 416, 912159, 522553408, _YOLOX_SOURCE, ("0.91M", "1.08B"), besides=556083008, note=_YOLOX_NOTE),
    ZooNetwork("yolox-tiny", "yolox", partial(yolox, width=0.375, separable=False), 416, 5055855, 3206268000, _YOLOX_SOURCE, ("5.06M", "6.45B"), besides=3244102368, note=_YOLOX_NOTE),
    ZooNetwork("lr-aspp-mobilenet-v3", "lr-aspp", lr_aspp, 520, 3221538, 2086219688, "torchvision lraspp_mobilenet_v3_large"),
)
# fmt: on
