"""Vision transformers: ViT on one row of tokens, Swin on windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


def vit(net: NetworkBuilder, features: int, heads: int, depth: int = 12, patch: int = 16) -> None:
    """Dosovitskiy et al. (2021): patches and a class token."""
    heads = max(1, round(heads * net.width))
    features = features // round(features / 64) * heads
    x = net.conv(net.image(), features, patch, patch, norm=False, padding=0, name="patches")
    x = net.tokens(x)
    token = net.weight("class_token", (1, 1, features))
    if net.batch_size > 1:
        shape = (net.batch_size, 1, features)
        token = net.node("Expand", [token, net.constant(shape)], shape, "class_tokens")
    x = net.concat([token, x], 1)
    x = net.add(x, net.weight("positions", (1, *x.shape[1:])), "place")
    for index in range(depth):
        with net.scope(f"block{index}"):
            x = net.add(x, net.self_attention(net.layer_normalize(x, "norm1"), heads))
            x = net.add(x, net.mlp(net.layer_normalize(x, "norm2"), 4 * features))
    x = net.layer_normalize(x)
    x = net.reshape(net.slice(x, 0, 1, 1), (net.batch_size, features), "class")
    net.classifier(x)


@dataclass(frozen=True)
class SwinSpec:
    """Stages of windowed attention: blocks, and heads of 32 features."""

    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int = 7


def swin(net: NetworkBuilder, spec: SwinSpec) -> None:
    """Liu et al. (2021); every second block's windows are shifted by half of their size.

    Feature maps are (batch, height, width, features). Sizes that are no multiple of a window are
    padded.
    """
    features = 32 * max(1, round(spec.heads[0] * net.width))
    x = net.conv(net.image(), features, 4, 4, norm=False, padding=0, name="patches")
    x = net.layer_normalize(net.transpose(x, (0, 2, 3, 1), "last"), epsilon=1e-5)
    for number, depth in enumerate(spec.depths):
        with net.scope(f"stage{number}"):
            if number:
                x = _merged_patches(net, x)
            for index in range(depth):
                with net.scope(f"block{index}"):
                    shift = spec.window // 2 if index % 2 and min(x.shape[1:3]) > spec.window else 0
                    x = _swin_block(net, x, spec.window, shift)
    x = net.layer_normalize(x, epsilon=1e-5)
    pooled = net.node("ReduceMean", [x], (x.shape[0], x.shape[3]), "pool", axes=[1, 2], keepdims=0)
    net.classifier(pooled)


def _merged_patches(net: NetworkBuilder, x: NetworkValue) -> NetworkValue:
    """Each square of four tokens becomes one of twice the features."""
    x = net.pad(x, (0, x.shape[1] % 2, x.shape[2] % 2, 0))
    batch, height, width, features = x.shape
    x = net.reshape(x, (batch, height // 2, 2, width // 2, 2, features), "squares")
    x = net.transpose(x, (0, 1, 3, 4, 2, 5), "squares.last")
    x = net.reshape(x, (batch, height // 2, width // 2, 4 * features), "merged")
    return net.linear(net.layer_normalize(x, "down.norm"), 2 * features, bias=False, name="down")


def _swin_block(net: NetworkBuilder, x: NetworkValue, window: int, shift: int) -> NetworkValue:
    batch, height, width, features = x.shape
    value = net.layer_normalize(x, "norm1", 1e-5)
    value = net.pad(value, (0, -height % window, -width % window, 0))
    for axis in (1, 2) if shift else ():
        value = _rolled(net, value, shift, axis)
    rows, columns = value.shape[1] // window, value.shape[2] // window
    grid = (batch, rows, window, columns, window, features)
    value = net.transpose(net.reshape(value, grid, "grid"), (0, 1, 3, 2, 4, 5), "windows")
    value = net.reshape(value, (batch * rows * columns, window**2, features), "windows.flat")
    value = _window_attention(net, value, window, (rows, columns) if shift else None, shift)
    back = (batch, rows, columns, window, window, features)
    value = net.transpose(net.reshape(value, back, "unflat"), (0, 1, 3, 2, 4, 5), "unwindow")
    value = net.reshape(value, (batch, rows * window, columns * window, features), "map")
    for axis in (1, 2) if shift else ():
        value = _rolled(net, value, value.shape[axis] - shift, axis)
    for axis, size in ((1, height), (2, width)):
        if value.shape[axis] != size:
            value = net.slice(value, 0, size, axis)
    x = net.add(x, value)
    return net.add(x, net.mlp(net.layer_normalize(x, "norm2", 1e-5), 4 * features))


def _rolled(net: NetworkBuilder, x: NetworkValue, by: int, axis: int) -> NetworkValue:
    """The first entries of a dimension come last."""
    size = x.shape[axis]
    return net.concat([net.slice(x, by, size, axis), net.slice(x, 0, by, axis)], axis, "roll")


def _window_attention(
    net: NetworkBuilder, x: NetworkValue, window: int, grid: tuple[int, int] | None, shift: int
) -> NetworkValue:
    """Self-attention with a learnt bias a relative position, masked where windows are shifted."""
    windows, tokens, features = x.shape
    heads = features // 32
    bias = net.learnt_table(
        "position_bias", (1, heads, tokens, tokens), heads * (2 * window - 1) ** 2
    )
    if grid is None:
        return net.self_attention(x, heads, bias=bias)
    mask = np.tile(_shift_mask(grid, window, shift), (windows // (grid[0] * grid[1]), 1, 1))
    both = net.add(bias, net.constant(mask[:, None]), "bias.masked")
    return net.self_attention(x, heads, bias=both)


def _shift_mask(grid: tuple[int, int], window: int, shift: int) -> np.ndarray:
    """-100 between tokens of a window that are no neighbours, shape (windows, tokens, tokens)."""
    parts = []
    for windows in grid:
        part = np.zeros(windows * window, np.int64)
        part[-window:-shift], part[-shift:] = 1, 2
        parts.append(part.reshape(windows, window))
    rows, columns = parts
    label = 3 * rows[:, None, :, None] + columns[None, :, None, :]
    label = label.reshape(grid[0] * grid[1], window**2)
    return np.where(label[:, :, None] == label[:, None, :], 0.0, -100.0).astype(np.float32)


_SWIN_TINY = SwinSpec((2, 2, 6, 2), (3, 6, 12, 24))

# fmt: off
NETWORKS = (
    ZooNetwork("vit-tiny", "vit", partial(vit, features=192, heads=3), 224, 5717416, 1253683200, "timm vit_tiny_patch16_224", step=16),
    ZooNetwork("vit-small", "vit", partial(vit, features=384, heads=6), 224, 22050664, 4598882304, "timm vit_small_patch16_224", step=16),
    ZooNetwork("swin-tiny", "swin", partial(swin, spec=_SWIN_TINY), 224, 28288354, 4490566656, "timm swin_tiny_patch4_window7_224"),
)
# fmt: on
