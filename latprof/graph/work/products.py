"""Multiply-accumulates of convolutions, matrix products, recurrent layers, transforms."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.work.graph_node import GraphNode, MacCounter


def _convolution(node: GraphNode, weight: int = 1) -> int:
    """Each output value sums over the weight's channels of its group and over the window."""
    return math.prod(node.output_shape()) * math.prod(node.shape(weight)[1:])


def _transposed_convolution(node: GraphNode, weight: int = 1) -> int:
    """Each input value is multiplied with all of its channel's weights."""
    return math.prod(node.shape(0)) * math.prod(node.shape(weight)[1:])


def _matrix_product(node: GraphNode, left: int = 0, transposed: str = "") -> int:
    """numpy.matmul, batches broadcast: each output value sums over the left factor's last side."""
    sides = node.shape(left)
    if not sides:
        return 0
    inner = -2 if transposed and node.number(transposed) and len(sides) > 1 else -1
    if node.number("transBatchA") and len(sides) > 1:  # the first side then is next to the last
        inner = 0 if inner == -2 else -1
    return math.prod(node.output_shape()) * sides[inner]


def _blockwise_product(node: GraphNode) -> int:
    """A product with a weight of few bits, whose sides are attributes."""
    return math.prod(node.shape(0)) * node.number("N")


def _einsum(node: GraphNode) -> int:
    """Factors are multiplied from the left, each pair over all sides that either has.

    Sides that neither a later factor nor the result has are summed away first where only one
    factor has them, and after the product else. A single factor is only moved or summed: 0.
    """
    left, _, right = str(node.attributes["equation"]).replace(" ", "").partition("->")
    given = [_sides(term, node.shape(i)) for i, term in enumerate(left.split(","))]
    if "->" in node.attributes["equation"]:
        kept = {*right.replace("...", "")}
    else:
        letters = left.replace("...", "").replace(",", "")
        kept = {each for each in letters if letters.count(each) == 1}
    kept |= {side for sides in given for side in sides if isinstance(side, int)}
    macs, done = 0, given[0]
    for position, sides in enumerate(given[1:], start=1):
        later = kept.union(*given[position + 1 :])
        both = {
            side: max(done.get(side, 1), sides.get(side, 1))
            for side in done.keys() | sides.keys()
            if side in later or (side in done and side in sides)
        }
        macs += math.prod(both.values())
        done = {side: size for side, size in both.items() if side in later}
    return macs


def _sides(term: str, shape: tuple[int, ...]) -> dict[str | int, int]:
    """Sizes by letter; those of an ellipsis by their place from its right end."""
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after) if dots else 0
    names: list[str | int] = [*before, *range(hidden - 1, -1, -1), *after]
    return dict(zip(names, shape, strict=True))


def _inverse(node: GraphNode) -> int:
    """Gaussian elimination: n^3 of each matrix."""
    data = node.shape(0)
    return math.prod(data) * data[-1]


def _recurrent(node: GraphNode) -> int:
    """Every step of every sequence is multiplied with all input and recurrent weights."""
    steps, batch = node.shape(0)[:2]
    return steps * batch * (math.prod(node.shape(1)) + math.prod(node.shape(2)))


def _experts(node: GraphNode) -> int:
    """Each token goes through its ``k`` experts; weights are one expert after the other."""
    tokens = math.prod(node.shape(0)[:-1])
    weights = [p for p in (2, 4, 6) if node.has(p) and len(node.shape(p)) == 3]
    return tokens * node.number("k", 1) * sum(math.prod(node.shape(p)[1:]) for p in weights)


def _fourier(node: GraphNode) -> int:
    """2 N log2 N multiply-accumulates (N/2 log2 N complex products) for each transform of N."""
    data, out = node.shape(0), node.output_shape()
    axis = int(node.values[2][0]) if 2 in node.values else node.number("axis", -2)
    length = max(data[axis], out[axis]) if node.op_type == "DFT" else max(data[-1], out[-2])
    others = math.prod(out) // max(out[axis] if node.op_type == "DFT" else out[-2], 1) // 2
    return round(others * 2 * length * math.log2(max(length, 2)))


def _short_time_fourier(node: GraphNode) -> int:
    """One Fourier transform a frame."""
    batch, frames, bins = node.output_shape()[:3]
    length = (bins - 1) * 2 if node.number("onesided", 1) else bins
    return round(batch * frames * 2 * length * math.log2(max(length, 2)))


def _microsoft(counters: dict[str, MacCounter]) -> dict[str, MacCounter]:
    return {f"com.microsoft:{name}": count for name, count in counters.items()}


_gemm = partial(_matrix_product, transposed="transA")
_fourth = partial(_convolution, weight=3)
PRODUCTS: dict[str, MacCounter] = {
    "Conv": _convolution,
    "DeformConv": _convolution,
    "ConvInteger": _convolution,
    "CausalConvWithState": _convolution,
    "QLinearConv": _fourth,
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "QLinearMatMul": _matrix_product,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DFT": _fourier,
    "STFT": _short_time_fourier,
    "com.microsoft.nchwc:Conv": _convolution,
    "com.ms.internal.nhwc:Conv": _convolution,
    "com.ms.internal.nhwc:QLinearConv": _fourth,
    **_microsoft(
        {
            "FusedConv": _convolution,
            "CausalConvWithState": _convolution,
            "NhwcConv": _convolution,
            "NhwcFusedConv": _convolution,
            "QLinearConv": _fourth,
            "ConvTransposeWithDynamicPads": _transposed_convolution,
            "FusedMatMul": _gemm,
            "FusedMatMulActivation": _gemm,
            "TransposeMatMul": _gemm,
            "FusedGemm": _gemm,
            "GemmFastGelu": _matrix_product,
            "GemmFloat8": _gemm,
            "QGemm": _gemm,
            "SparseToDenseMatMul": _gemm,
            "DynamicQuantizeMatMul": _matrix_product,
            "MatMulInteger16": _matrix_product,
            "MatMulIntegerToFloat": _matrix_product,
            "MatMulNBits": _blockwise_product,
            "MatMulBnb4": _blockwise_product,
            "MatMulFpQ4": _matrix_product,
            "DynamicQuantizeLSTM": _recurrent,
            "CDist": _matrix_product,
            "Inverse": _inverse,
            "QOrderedMatMul": _matrix_product,
            "MoE": _experts,
            "QMoE": _experts,
            "Rfft": _fourier,
            "Irfft": _fourier,
        }
    ),
}
