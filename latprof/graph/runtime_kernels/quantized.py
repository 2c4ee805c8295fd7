"""8-bit kernels: what ONNX Runtime makes of operators between DequantizeLinear and QuantizeLinear.

An operator whose inputs are dequantised and whose result is quantised again runs in 8 bits, and so
do products of numbers that are quantised as the network runs (QDQSelectorActionTransformer,
MatMulIntegerToFloatFusion, DynamicQuantizeMatMulFusion).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from latprof.graph.runtime_kernels.patterns import MICROSOFT

if TYPE_CHECKING:
    from latprof.graph.runtime_kernels.kernel_graph import KernelGraph, KernelNode

#: Operators that become one of 8 bits, by its name; those of the second need no quantised result.
_BETWEEN = {
    "Conv": "QLinearConv",
    "MatMul": "QLinearMatMul",
    "Gemm": "QGemm",
    "Add": "QLinearAdd",
    "Mul": "QLinearMul",
    "Concat": "QLinearConcat",
    "Where": "QLinearWhere",
    "AveragePool": "QLinearAveragePool",
    "GlobalAveragePool": "QLinearGlobalAveragePool",
    "LeakyRelu": "QLinearLeakyRelu",
    "Sigmoid": "QLinearSigmoid",
    "Softmax": "QLinearSoftmax",
}
_TO_FLOAT = {"MatMul": "MatMulIntegerToFloat", "Gemm": "QGemm"}
#: Operators that move 8-bit numbers as they move others.
_MOVES = frozenset(
    {"Expand", "Flatten", "Gather", "GatherElements", "MaxPool", "ReduceMax", "ReduceMin"}
    | {"Reshape", "Resize", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
_LIMITS = {"int8": (-128.0, 127.0), "uint8": (0.0, 255.0)}
_BOUNDS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


def quantized_kernels(graph: KernelGraph) -> None:
    """Merge what runs in 8 bits; what only could, and does not, computes in float32."""
    _activations_that_quantizing_does(graph)
    for node in graph.of(*_BETWEEN, *_MOVES, "Split"):
        _merge(graph, node)
    for node in graph.of("Conv", "ConvTranspose", "Gemm", "MatMul"):
        if node.operator.precision == "int8":
            _compute_in(node, "float32")
    for node in graph.of("MatMulInteger"):
        _merge_dynamic(graph, node)


def _activations_that_quantizing_does(graph: KernelGraph) -> None:
    """Relu and Clip whose bounds the quantised range has anyway."""
    for node in graph.of("QuantizeLinear"):
        before = graph.writer(node.inputs.get(0, ""))
        if before is None or graph.only_reader(before) is not node:
            continue
        bounds = _bounds(before)
        scale = node.operator.constants.get(1, ())
        dtypes = dict(
            zip(node.operator.weight_positions, node.operator.weight_dtypes, strict=False)
        )
        limits = _LIMITS.get(dtypes.get(2, "uint8"))
        if bounds is None or limits is None or len(scale) != 1:
            continue
        zero = node.operator.constants.get(2, (0.0,))[0]
        low, high = ((limit - zero) * scale[0] for limit in limits)
        step = scale[0] / 2
        if low >= bounds[0] - step and high <= bounds[1] + step:
            node.parts = before.parts + node.parts
            graph.bypass(before)


def _bounds(node: KernelNode) -> tuple[float, float] | None:
    """Between what an activation keeps its input; None for another operator."""
    if node.op_type not in ("Relu", "Clip") or len(node.inputs) != 1:
        return None
    words = node.operator.activation.split() or ["relu"]
    if words[0] == "clip" and len(words) == 3:
        return float(words[1]), float(words[2])
    return _BOUNDS.get(words[0])


def _merge(graph: KernelGraph, node: KernelNode) -> None:
    """Let a node read 8-bit numbers, and write them where its result is quantised."""
    wanted = {
        position: name
        for position, name in node.inputs.items()
        if node.op_type != "Where" or position > 0
    }
    writers = {position: graph.writer(name) for position, name in wanted.items()}
    read = {p: w for p, w in writers.items() if w is not None and _alone(w, "DequantizeLinear")}
    if not read or len(read) < len(wanted):
        return
    if node.op_type == "Split":
        after = [_quantizes(graph, name) for name in node.outputs]
    else:
        after = [_quantizes(graph, node.outputs[0])] if len(node.outputs) == 1 else [None]
    quantizers = [each for each in after if each is not None]
    if len(quantizers) < len(after) and node.op_type not in _TO_FLOAT:
        return
    for position, writer in read.items():
        graph.read_instead(node, position, writer.inputs[0])
        if not graph.readers(writer.outputs[0]) and writer.outputs[0] not in graph.outputs:
            node.parts = writer.parts + node.parts
            graph.remove(writer)
    if len(quantizers) < len(after):
        node.op_type, node.domain = _TO_FLOAT[node.op_type], MICROSOFT
    elif node.op_type in _BETWEEN:
        node.op_type, node.domain = _BETWEEN[node.op_type], MICROSOFT
    for quantizer in quantizers:
        name = quantizer.outputs[0]
        place = node.outputs.index(quantizer.inputs[0])
        node.parts = node.parts + quantizer.parts
        graph.remove(quantizer)
        graph.rename_output(node, node.outputs[place], name)
    _compute_in(node, "int8")


def _quantizes(graph: KernelGraph, name: str) -> KernelNode | None:
    """The QuantizeLinear that alone reads a value; None where there is none."""
    readers = graph.readers(name)
    alone = len(readers) == 1 and name not in graph.outputs
    return readers[0] if alone and _alone(readers[0], "QuantizeLinear") else None


def _alone(node: KernelNode, op_type: str) -> bool:
    """Whether a node is of a type, with a scale that is constant."""
    return node.op_type == op_type and [*node.inputs] == [0]


def _merge_dynamic(graph: KernelGraph, node: KernelNode) -> None:
    """A product of integers, its cast, its scale and its bias are one kernel.

    So is what quantises the left factor, where nobody else reads that.
    """
    cast = graph.only_reader(node)
    scaled = graph.only_reader(cast) if cast is not None and cast.op_type == "Cast" else None
    if cast is None or scaled is None or scaled.op_type != "Mul":
        return
    others = [graph.writer(n) for n in scaled.inputs.values() if n != cast.outputs[0]]
    graph.absorb(node, cast)
    graph.absorb(node, scaled)
    for scales in others:
        if scales is not None and not graph.readers(scales.outputs[0]):
            node.parts = node.parts + scales.parts
            graph.remove(scales)
    bias = graph.only_reader(node)
    if bias is not None and bias.op_type == "Add" and len(bias.inputs) == 1:
        graph.absorb(node, bias)
    node.op_type, node.domain = "MatMulIntegerToFloat", MICROSOFT
    source = graph.writer(node.inputs.get(0, ""))
    if source is None or source.op_type != "DynamicQuantizeLinear":
        return
    readers = [reader for name in source.outputs for reader in graph.readers(name)]
    if all(reader is node for reader in readers):
        for position, name in list(node.inputs.items()):
            if name in source.outputs:
                graph.forget(node, position)
        graph.read_instead(node, 0, source.inputs[0])
        node.parts = source.parts + node.parts
        graph.remove(source)
        node.op_type = "DynamicQuantizeMatMul"


def _compute_in(node: KernelNode, precision: str) -> None:
    node.operator = dataclasses.replace(node.operator, precision=precision)
