"""Networks of mobile inverted blocks: MobileNets, MnasNet, ProxylessNAS, FBNet, EfficientNet.

A stage is a line of words: ``k`` kernel, ``s`` stride of the first block, ``e`` expansion or ``m``
channels between the 1x1 convolutions, ``c`` channels, ``n`` blocks, ``g`` groups of the 1x1
convolutions, ``d`` dilation, ``se`` for squeeze-and-excitation, or the name of an activation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from latprof.datasets.models.layers import make_divisible
from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


@dataclass(frozen=True)
class Stage:
    """Blocks in a row; the first has the stride."""

    kernel: int = 3
    stride: int = 1
    expansion: float = 1
    middle: int = 0
    channels: int = 0
    blocks: int = 1
    groups: int = 1
    squeeze: bool = False
    act: str = ""
    dilation: int = 1


@dataclass(frozen=True)
class MobileSpec:
    """A network of mobile inverted blocks.

    Parameters
    ----------
    stages : tuple of str
    stem, head : int
        Channels of the first convolution and of the last 1x1 convolution (0 for none).
    act : str
        Where a stage says no other.
    stem_act : str
        Of stem and head, if another.
    features : int
        Of a dense layer after the pool, with hard swish (MobileNetV3); 0 for none.
    squeezed_from : {"input", "middle"}
        What squeeze-and-excitation takes a quarter of.
    gate : str
    separable : bool
        Whether blocks are MobileNetV1's: no expansion, no residual, an activation at the end.
    width, depth : float
        Factors of channels and blocks.
    round_depth : {"up", "near"}
    scaled_stem : bool
        Whether ``width`` is for the stem too.
    always_expand : bool
        Whether the first 1x1 convolution stays where it expands nothing.
    """

    stages: tuple[str, ...]
    stem: int = 32
    head: int = 1280
    act: str = "relu6"
    stem_act: str = ""
    features: int = 0
    squeezed_from: Literal["input", "middle"] = "input"
    gate: str = "sigmoid"
    separable: bool = False
    width: float = 1.0
    depth: float = 1.0
    round_depth: Literal["up", "near"] = "up"
    scaled_stem: bool = True
    always_expand: bool = False


def parse_stage(text: str) -> Stage:
    """Read a line such as ``"k3 s2 e6 c24 n2 se"``."""
    fields = {
        "k": "kernel",
        "s": "stride",
        "m": "middle",
        "c": "channels",
        "n": "blocks",
        "d": "dilation",
    }
    stage = Stage()
    for word in text.split():
        if word == "se":
            stage = replace(stage, squeeze=True)
        elif word[0] == "e" and word[1:2].isdigit():
            stage = replace(stage, expansion=float(word[1:]))
        elif word[1:].isdigit():
            name = fields.get(word[0], "groups")
            stage = replace(stage, **{name: int(word[1:])})  # type: ignore[arg-type]
        else:
            stage = replace(stage, act=word)
    return stage


def mobile_network(net: NetworkBuilder, spec: MobileSpec) -> None:
    """A classifier."""
    x = mobile_features(net, spec)[-1]
    outer = spec.stem_act or spec.act
    if spec.head:
        wider = wide(net, spec.head, spec.width)
        narrow = not spec.scaled_stem  # TinyNet keeps what a narrow network needs most
        x = net.conv(x, max(spec.head, wider) if narrow else wider, act=outer, name="head")
    if spec.features:
        x = net.flatten(net.global_pool(x))
        x = net.linear(x, net.wide(spec.features), act="hswish", name="features")
    net.classifier(x)


def mobile_features(
    net: NetworkBuilder, spec: MobileSpec, expanded: list[NetworkValue] | None = None
) -> list[NetworkValue]:
    """The outputs of all blocks, the stem's first; ``expanded`` collects what lies inside them."""
    act = spec.stem_act or spec.act
    stem = wide(net, spec.stem, spec.width if spec.scaled_stem else 1.0)
    values = [net.conv(net.image(), stem, 3, 2, act=act, name="stem")]
    for number, stage in enumerate(map(parse_stage, spec.stages)):
        deep = stage.blocks * spec.depth
        blocks = math.ceil(deep) if spec.round_depth == "up" else max(1, round(deep))
        for index in range(blocks if spec.depth != 1.0 else stage.blocks):
            with net.scope(f"stage{number}.block{index}"):
                now = stage if index == 0 else replace(stage, stride=1)
                values.append(mobile_block(net, values[-1], now, spec, expanded))
    return values


def mobile_block(
    net: NetworkBuilder,
    x: NetworkValue,
    stage: Stage,
    spec: MobileSpec,
    expanded: list[NetworkValue] | None = None,
) -> NetworkValue:
    """One block (Sandler et al. 2018), or a depthwise and a 1x1 convolution (Howard et al. 2017)."""
    act = stage.act or spec.act
    out = wide(net, stage.channels, spec.width)
    middle = (
        wide(net, stage.middle, spec.width) if stage.middle else round(x.channels * stage.expansion)
    )
    value = x
    if middle != x.channels or spec.always_expand:
        value = net.conv(
            value, middle, groups=_fitting(stage.groups, x.channels, middle), act=act, name="expand"
        )
        if stage.groups > 1:
            value = net.shuffle(value, _fitting(stage.groups, middle))
    if expanded is not None:
        expanded.append(value)
    dilation = stage.dilation
    value = net.depthwise(value, stage.kernel, stage.stride, act=act, dilation=dilation)
    if stage.squeeze:
        reduced = (
            round(x.channels / 4) if spec.squeezed_from == "input" else make_divisible(middle / 4)
        )
        inner = "relu" if spec.squeezed_from == "middle" else act
        value = net.squeeze_excite(value, max(reduced, 1), act=inner, gate=spec.gate)
    last = act if spec.separable else ""
    value = net.conv(
        value,
        out,
        groups=_fitting(stage.groups, middle, out),
        act=last,
        name="project",
        gain=None if spec.separable else 0.5,
    )
    return value if spec.separable or value.shape != x.shape else net.add(x, value)


def wide(net: NetworkBuilder, channels: float, width: float) -> int:
    """Channels at the product of the network's width and another."""
    if net.width * width == 1.0:
        return int(channels)
    return make_divisible(channels * width * net.width)


def _fitting(groups: int, *channels: int) -> int:
    return math.gcd(groups, *channels)


# Specifications ------------------------------------------------------------------------------

V1 = MobileSpec(
    (
        "k3 c64",
        "k3 s2 c128 n2",
        "k3 s2 c256 n2",
        "k3 s2 c512 n6",
        "k3 s2 c1024 n2",
    ),
    head=0,
    separable=True,
)
V2 = MobileSpec(
    (
        "k3 c16",
        "k3 s2 e6 c24 n2",
        "k3 s2 e6 c32 n3",
        "k3 s2 e6 c64 n4",
        "k3 e6 c96 n3",
        "k3 s2 e6 c160 n3",
        "k3 e6 c320",
    ),
)
_V3 = {"act": "hswish", "gate": "hsigmoid", "squeezed_from": "middle", "stem": 16}
V3_LARGE = MobileSpec(
    (
        "k3 m16 c16 relu",
        "k3 s2 m64 c24 relu",
        "k3 m72 c24 relu",
        "k5 s2 m72 c40 se relu",
        "k5 m120 c40 n2 se relu",
        "k3 s2 m240 c80",
        "k3 m200 c80",
        "k3 m184 c80 n2",
        "k3 m480 c112 se",
        "k3 m672 c112 se",
        "k5 s2 m672 c160 se",
        "k5 m960 c160 n2 se",
    ),
    head=960,
    features=1280,
    **_V3,  # type: ignore[arg-type]
)
V3_SMALL = MobileSpec(
    (
        "k3 s2 m16 c16 se relu",
        "k3 s2 m72 c24 relu",
        "k3 m88 c24 relu",
        "k5 s2 m96 c40 se",
        "k5 m240 c40 n2 se",
        "k5 m120 c48 se",
        "k5 m144 c48 se",
        "k5 s2 m288 c96 se",
        "k5 m576 c96 n2 se",
    ),
    head=576,
    features=1024,
    **_V3,  # type: ignore[arg-type]
)
MNASNET_B1 = MobileSpec(
    (
        "k3 c16",
        "k3 s2 e3 c24 n3",
        "k5 s2 e3 c40 n3",
        "k5 s2 e6 c80 n3",
        "k3 e6 c96 n2",
        "k5 s2 e6 c192 n4",
        "k3 e6 c320",
    ),
    act="relu",
)
MNASNET_A1 = MobileSpec(
    (
        "k3 c16",
        "k3 s2 e6 c24 n2",
        "k5 s2 e3 c40 n3 se",
        "k3 s2 e6 c80 n4",
        "k3 e6 c112 n2 se",
        "k5 s2 e6 c160 n3 se",
        "k3 e6 c320",
    ),
    act="relu",
)
SINGLE_PATH = MobileSpec(
    (
        "k3 c16",
        "k3 s2 e3 c24 n3",
        "k5 s2 e6 c40",
        "k3 e3 c40 n3",
        "k5 s2 e6 c80",
        "k3 e3 c80 n3",
        "k5 e6 c96",
        "k5 e3 c96 n3",
        "k5 s2 e6 c192 n4",
        "k3 e6 c320",
    ),
    act="relu",
)
EFFICIENTNET = MobileSpec(
    (
        "k3 c16 se",
        "k3 s2 e6 c24 n2 se",
        "k5 s2 e6 c40 n2 se",
        "k3 s2 e6 c80 n3 se",
        "k5 e6 c112 n3 se",
        "k5 s2 e6 c192 n4 se",
        "k3 e6 c320 se",
    ),
    act="swish",
)


def _proxyless(widths: Sequence[int], choices: str, *, head: int) -> MobileSpec:
    """ProxylessNAS: a letter a block, a to c for expansion 3 and d to f for 6 with kernels 3, 5, 7.

    Blocks that are left out (the zero operation) are a dash.
    """
    stem, first, *rest = widths
    stages = [f"k3 c{first}"]
    for width, stride, letters in zip(rest, (2, 2, 2, 1, 2, 1), choices.split(), strict=True):
        for index, letter in enumerate(letters):
            if letter != "-":
                expansion, kernel = divmod("abcdef".index(letter), 3)
                s = stride if index == 0 else 1
                stages.append(f"k{3 + 2 * kernel} s{s} e{3 * expansion + 3} c{width}")
    return MobileSpec(tuple(stages), stem=stem, head=head)


def _fbnet(choices: str, *, head: int) -> MobileSpec:
    """FBNet: a letter a block, as in :data:`_FBNET_BLOCKS`; skipped blocks are a dash."""
    shapes = ((16, 1), (24, 2), (32, 2), (64, 2), (112, 1), (184, 2), (352, 1))
    stages = [
        f"{_FBNET_BLOCKS[letter]} s{stride if index == 0 else 1} c{width}"
        for (width, stride), letters in zip(shapes, choices.split(), strict=True)
        for index, letter in enumerate(letters)
        if letter != "-"
    ]
    return MobileSpec(tuple(stages), stem=16, head=head, act="relu", always_expand=True)


_FBNET_BLOCKS = {
    "a": "k3 e1",
    "b": "k3 e1 g2",
    "c": "k3 e3",
    "d": "k3 e6",
    "e": "k5 e1",
    "f": "k5 e1 g2",
    "g": "k5 e3",
    "h": "k5 e6",
}


def _scaled(width: float, depth: float) -> MobileSpec:
    return replace(EFFICIENTNET, width=width, depth=depth)


def _tiny(width: float, depth: float) -> MobileSpec:
    return replace(_scaled(width, depth), round_depth="near", scaled_stem=False)


def _row(
    name: str,
    family: str,
    spec: MobileSpec,
    counts: tuple[int, int],
    source: str,
    resolution: int = 224,
    *,
    published: tuple[str, str] = ("", ""),
    note: str = "",
) -> ZooNetwork:
    write = partial(mobile_network, spec=spec)
    return ZooNetwork(name, family, write, resolution, *counts, source, published, note=note)


_CPU = (40, 24, 32, 48, 88, 104, 216, 360)
_GPU = (40, 24, 32, 56, 112, 128, 256, 432)
_MOBILE14 = (48, 24, 40, 56, 112, 136, 256, 448)
_FBNET_NOTE = "blocks of the authors' code; the paper's 4.5M and 295M fit no reading of them"
_PROXYLESS = "ba-- cabb fbbb ebbb ffcc f"

# fmt: off
NETWORKS = (
    _row("mobilenet-v1", "mobilenet-v1", V1, (4231976, 568740352), "timm mobilenetv1_100"),
    _row("mobilenet-v2", "mobilenet-v2", V2, (3504872, 300774272), "timm mobilenetv2_100"),
    _row("mobilenet-v3-large", "mobilenet-v3", V3_LARGE, (5483032, 216589760), "torchvision mobilenet_v3_large"),
    _row("mobilenet-v3-small", "mobilenet-v3", V3_SMALL, (2542856, 56510400), "torchvision mobilenet_v3_small"),
    _row("mnasnet-b1", "mnasnet", MNASNET_B1, (4383312, 314415872), "timm mnasnet_100"),
    _row("mnasnet-a1", "mnasnet", MNASNET_A1, (3887038, 311579072), "timm semnasnet_100"),
    _row("single-path-nas", "single-path-nas", SINGLE_PATH, (4421616, 333467072), "timm spnasnet_100"),
    _row("proxyless-mobile", "proxyless", _proxyless((32, 16, 32, 40, 80, 96, 192, 320), _PROXYLESS, head=1280), (4080512, 320427584), "pytorchcv proxylessnas_mobile"),
    _row("proxyless-mobile-14", "proxyless", _proxyless(_MOBILE14, _PROXYLESS, head=1792), (6857568, 580883408), "pytorchcv proxylessnas_mobile14"),
    _row("proxyless-cpu", "proxyless", _proxyless(_CPU, "daaa daab d--a eaaa ebba e", head=1432), (4361648, 439243864), "pytorchcv proxylessnas_cpu"),
    _row("proxyless-gpu", "proxyless", _proxyless(_GPU, "b--- c--a f--b e-ab fffe f", head=1728), (7119848, 465260160), "pytorchcv proxylessnas_gpu"),
    _row("fbnet-a", "fbnet", _fbnet("- ca-- hcec hgfh dfgb hhgh h", head=1504), (4321464, 249921848), "arXiv 1812.03443", published=("4.3M", "249M")),
    _row("fbnet-b", "fbnet", _fbnet("a deaa hgdh hh-g haeg hehh d", head=1984), (4863288, 306210888), "", note=_FBNET_NOTE),
    _row("fbnet-c", "fbnet", _fbnet("a d-aa hghd hghh hhhg hhhh d", head=1984), (5572200, 384960160), "timm fbnetc_100"),
    _row("efficientnet-b0", "efficientnet", EFFICIENTNET, (5288548, 385814752), "timm efficientnet_b0"),
    _row("efficientnet-b1", "efficientnet", _scaled(1.0, 1.1), (7794184, 686802832), "timm efficientnet_b1", 240),
    _row("efficientnet-b2", "efficientnet", _scaled(1.1, 1.2), (9109994, 993561872), "timm efficientnet_b2", 260),
    _row("efficientnet-b3", "efficientnet", _scaled(1.2, 1.4), (12233232, 1827141392), "timm efficientnet_b3", 300),
    _row("efficientnet-b4", "efficientnet", _scaled(1.4, 1.8), (19341616, 4393771024), "timm efficientnet_b4", 380),
    _row("efficientnet-b5", "efficientnet", _scaled(1.6, 2.2), (30389784, 10266384752), "timm efficientnet_b5", 456),
    _row("efficientnet-b6", "efficientnet", _scaled(1.8, 2.6), (43040704, 19067593536), "timm efficientnet_b6", 528),
    _row("efficientnet-b7", "efficientnet", _scaled(2.0, 3.1), (66347960, 37745884192), "timm efficientnet_b7", 600),
    _row("tinynet-a", "tinynet", _tiny(1.0, 1.2), (6187972, 336867712), "timm tinynet_a", 192),
    _row("tinynet-b", "tinynet", _tiny(0.75, 1.1), (3730562, 200709360), "timm tinynet_b", 188),
    _row("tinynet-c", "tinynet", _tiny(0.54, 0.85), (2457234, 99536432), "timm tinynet_c", 184),
    _row("tinynet-d", "tinynet", _tiny(0.54, 0.695), (2338446, 51580656), "timm tinynet_d", 152),
    _row("tinynet-e", "tinynet", _tiny(0.51, 0.6), (2042972, 24356848), "timm tinynet_e", 106),
)
# fmt: on
