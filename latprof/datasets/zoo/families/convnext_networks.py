"""Convolutional networks in a transformer's form: ConvNeXt and EdgeNeXt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


@dataclass(frozen=True)
class ConvNextSpec:
    """Four stages of blocks of a depthwise convolution and two dense layers.

    Parameters
    ----------
    depths, widths : tuple of int
    kernels : tuple of int
        Of the depthwise convolutions of each stage.
    convolutions : bool
        Whether dense layers are 1x1 convolutions.
    attention : bool
        Whether the last block of each stage but the first attends over channels (EdgeNeXt).
    heads : int
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = (7, 7, 7, 7)
    convolutions: bool = False
    attention: bool = False
    heads: int = 8


def convnext(net: NetworkBuilder, spec: ConvNextSpec) -> None:
    """Liu et al. (2022), and Maaz et al. (2022)."""
    divisor = 8 * spec.heads if spec.attention else 8
    widths = [net.wide(width, divisor) for width in spec.widths]
    x = net.conv(net.image(), widths[0], 4, 4, norm=False, padding=0, name="stem")
    x = net.layer_normalize_map(x, "stem.norm")
    for number, (depth, width) in enumerate(zip(spec.depths, widths, strict=True)):
        with net.scope(f"stage{number}"):
            if number:
                x = net.layer_normalize_map(x, "down.norm")
                x = net.conv(x, width, 2, 2, norm=False, padding=0, name="down")
            attends = spec.attention and number > 0
            for index in range(depth):
                with net.scope(f"block{index}"):
                    if attends and index == depth - 1:
                        x = _split_transpose_block(net, x, spec, number)
                    else:
                        x = _convolution_block(net, x, spec, spec.kernels[number])
    x = net.flatten(net.layer_normalize_map(net.global_pool(x), "head.norm"))
    net.classifier(x)


def _convolution_block(
    net: NetworkBuilder, x: NetworkValue, spec: ConvNextSpec, kernel: int
) -> NetworkValue:
    value = net.depthwise(x, kernel, norm=False)
    if spec.convolutions:
        value = net.layer_normalize_map(value)
        value = net.conv(value, 4 * x.channels, norm=False, act="gelu", name="mlp1")
        value = net.conv(value, x.channels, norm=False, name="mlp2")
        return net.add(net.scaled(value, 1), x)
    value = net.layer_normalize(net.transpose(value, (0, 2, 3, 1), "last"))
    value = net.scaled(net.mlp(value, 4 * x.channels))
    return net.add(net.transpose(value, (0, 3, 1, 2), "first"), x)


def _split_transpose_block(
    net: NetworkBuilder, x: NetworkValue, spec: ConvNextSpec, stage: int
) -> NetworkValue:
    """Convolutions on parts of the channels, one after the other, then attention over channels."""
    batch, channels, height, width = x.shape
    part = -(-channels // (stage + 1))
    sizes = [part] * stage + [channels - part * stage]
    parts = net.split(x, sizes)
    value, done = parts[0], []
    for index in range(stage):
        if index:
            value = net.add(value, parts[index])
        value = net.depthwise(value, 3, norm=False, name=f"part{index}")
        done.append(value)
    tokens = net.tokens(net.concat([*done, parts[-1]]))
    if stage == 1:
        tokens = net.add(tokens, _position_code(net, channels, height, width))
    attended = _channel_attention(net, net.layer_normalize(tokens, "norm1"), spec.heads)
    tokens = net.add(tokens, net.scaled(attended, name="scale1"))
    value = net.reshape(tokens, (batch, height, width, channels), "square")
    value = net.scaled(net.mlp(net.layer_normalize(value, "norm2"), 4 * channels), name="scale2")
    return net.add(x, net.transpose(value, (0, 3, 1, 2), "first"))


def _channel_attention(net: NetworkBuilder, x: NetworkValue, heads: int) -> NetworkValue:
    """Attention between channels (Ali et al. 2021): queries and keys are normalised over tokens."""
    batch, tokens, channels = x.shape
    qkv = net.linear(x, 3 * channels, name="qkv")
    qkv = net.reshape(qkv, (batch, tokens, 3, heads, channels // heads), "qkv.split")
    qkv = net.transpose(qkv, (2, 0, 3, 4, 1), "qkv.transpose")
    one = (batch, heads, channels // heads, tokens)
    q, k, v = (net.reshape(part, one, "part") for part in net.split(qkv, (1, 1, 1), 0, "parts"))
    q, k = _unit_length(net, q), _unit_length(net, k)
    scores = net.matmul(q, net.transpose(k, (0, 1, 3, 2), "keys"), "scores")
    scores = net.mul(scores, net.ones("temperature", (heads, 1, 1)), "scale")
    value = net.matmul(net.softmax(scores), v, "mix")
    value = net.transpose(value, (0, 3, 1, 2), "join")
    return net.linear(net.reshape(value, (batch, tokens, channels)), channels, name="project")


def _unit_length(net: NetworkBuilder, x: NetworkValue) -> NetworkValue:
    """Vectors of length 1 along the last dimension."""
    shape = (*x.shape[:-1], 1)
    length = net.node("ReduceL2", [x], shape, "length", axes=[-1])
    length = net.node("Clip", [length, net.constant(1e-12)], shape, "length.least")
    return net.node("Div", [x, length], x.shape, "unit")


def _position_code(net: NetworkBuilder, channels: int, height: int, width: int) -> NetworkValue:
    """A learnt projection of sines and cosines of the position: a constant, projected once."""
    half = 32
    scales = 10000 ** (2 * (np.arange(half) // 2) / half)
    angles = [
        np.arange(1, size + 1)[:, None] / size * 2 * math.pi / scales for size in (height, width)
    ]
    for angle in angles:
        angle[:, 0::2], angle[:, 1::2] = np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])
    rows, columns = angles
    code = np.zeros((1, 2 * half, height, width), np.float32)
    code[0, :half] = rows.T[:, :, None]
    code[0, half:] = columns.T[:, None, :]
    projected = net.conv(net.constant(code), channels, norm=False, name="position")
    return net.tokens(projected, "position.tokens")


_ATTO = ConvNextSpec((2, 2, 6, 2), (40, 80, 160, 320), convolutions=True)
_TINY = ConvNextSpec((3, 3, 9, 3), (96, 192, 384, 768))
_EDGE = ConvNextSpec((3, 3, 9, 3), (48, 96, 160, 304), (3, 5, 7, 9), attention=True)
_EDGE_XXS = replace(_EDGE, depths=(2, 2, 6, 2), widths=(24, 48, 88, 168), heads=4)

_NOTE = "the source also counts the projection of the position code, a constant"

# fmt: off
NETWORKS = (
    ZooNetwork("convnext-atto", "convnext", partial(convnext, spec=_ATTO), 224, 3695520, 547332480, "timm convnext_atto"),
    ZooNetwork("convnext-tiny", "convnext", partial(convnext, spec=_TINY), 224, 28589128, 4455531264, "timm convnext_tiny"),
    ZooNetwork("edgenext-xx-small", "edgenext", partial(convnext, spec=_EDGE_XXS), 256, 1327216, 254759360, "timm edgenext_xx_small", besides=3145728, note=_NOTE),
    ZooNetwork("edgenext-small", "edgenext", partial(convnext, spec=_EDGE), 256, 5586832, 1246943360, "timm edgenext_small", besides=6291456, note=_NOTE),
)
# fmt: on
