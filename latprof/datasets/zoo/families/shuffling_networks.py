"""Networks that save channels by splitting, shuffling and copying: ShuffleNetV2, GhostNet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from latprof.datasets.models.layers import make_divisible
from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


#: Kernel, channels inside, channels, squeeze-and-excitation, stride.
_Row = tuple[int, int, int, bool, int]


def shufflenet_v2(net: NetworkBuilder, widths: Sequence[int], last: int = 1024) -> None:
    """Ma et al. (2018): three stages of units on half of the channels, which are then shuffled."""
    x = net.conv(net.image(), net.wide(24), 3, 2, act="relu", name="stem")
    x = net.pool(x, "max", 3, 2)
    for number, (channels, units) in enumerate(zip(widths, (4, 8, 4), strict=True)):
        half = net.wide(channels // 2, 2)
        for index in range(units):
            with net.scope(f"stage{number}.unit{index}"):
                if index == 0:
                    left = net.conv(net.depthwise(x, 3, 2), half, act="relu", name="left")
                    right, stride = x, 2
                else:
                    (left, right), stride = net.split(x, (half, half)), 1
                right = net.conv(right, half, act="relu", name="conv1")
                right = net.conv(net.depthwise(right, 3, stride), half, act="relu", name="conv2")
                x = net.shuffle(net.concat([left, right]), 2)
    net.classifier(net.conv(x, net.wide(last), act="relu", name="head"))


def ghostnet(net: NetworkBuilder) -> None:
    """Han et al. (2020), the GhostNet for processors: a row of :data:`_GHOSTNET` a bottleneck."""
    x = net.conv(net.image(), net.wide(16, 4), 3, 2, act="relu", name="stem")
    for number, row in enumerate(_GHOSTNET):
        with net.scope(f"block{number}"):
            x = _ghost_bottleneck(net, x, row)
    x = net.conv(x, net.wide(960, 4), act="relu", name="head1")
    x = net.conv(net.global_pool(x), net.wide(1280), norm=False, act="relu", name="head2")
    net.classifier(net.flatten(x))


def _ghost_bottleneck(net: NetworkBuilder, x: NetworkValue, row: _Row) -> NetworkValue:
    kernel, middle, out, squeeze, stride = row
    middle, out = net.wide(middle, 4), net.wide(out, 4)
    value = _ghost_module(net, x, middle, "relu", "ghost1")
    if stride > 1:
        value = net.depthwise(value, kernel, stride)
    if squeeze:
        value = net.squeeze_excite(value, make_divisible(middle / 4, 4), gate="hsigmoid")
    value = _ghost_module(net, value, out, "", "ghost2")
    if value.shape != x.shape:
        x = net.depthwise(x, kernel, stride, name="shortcut1")
        x = net.conv(x, out, name="shortcut2")
    return net.add(value, x)


def _ghost_module(
    net: NetworkBuilder, x: NetworkValue, out: int, act: str, name: str
) -> NetworkValue:
    """Half of the channels by a 1x1 convolution, the others by a depthwise one on those."""
    half = -(-out // 2)
    with net.scope(name):
        made = net.conv(x, half, act=act, name="primary")
        both = net.concat([made, net.depthwise(made, 3, act=act, name="cheap")])
        return net.slice(both, 0, out, 1) if 2 * half > out else both


_GHOSTNET: tuple[_Row, ...] = (
    (3, 16, 16, False, 1),
    (3, 48, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
)

# fmt: off
NETWORKS = (
    ZooNetwork("shufflenet-v2-0.5", "shufflenet", partial(shufflenet_v2, widths=(48, 96, 192)), 224, 1366792, 40476448, "torchvision shufflenet_v2_x0_5"),
    ZooNetwork("shufflenet-v2-1.0", "shufflenet", partial(shufflenet_v2, widths=(116, 232, 464)), 224, 2278604, 144907992, "torchvision shufflenet_v2_x1_0"),
    ZooNetwork("shufflenet-v2-1.5", "shufflenet", partial(shufflenet_v2, widths=(176, 352, 704)), 224, 3503624, 295759392, "torchvision shufflenet_v2_x1_5"),
    ZooNetwork("ghostnet", "ghostnet", ghostnet, 224, 5182508, 141150512, "timm ghostnet_100"),
)
# fmt: on
