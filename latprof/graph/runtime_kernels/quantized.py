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
#: Operators that become one of 8 bits only where their constants are dequantised too.
_ALL_IN_BYTES = frozenset({"Add", "Concat", "Conv", "Gemm", "MatMul", "Mul"})
_TO_FLOAT = {"MatMul": "MatMulIntegerToFloat", "Gemm": "QGemm"}
#: Operators that move 8-bit numbers as they move others.
_MOVES = frozenset(
    {"Expand", "Flatten", "Gather", "GatherElements", "MaxPool", "ReduceMax", "ReduceMin"}
    | {"Reshape", "Resize", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
_LIMITS = {"int8": (-128.0, 127.0), "uint8": (0.0, 255.0)}
_BOUNDS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


def quantized_kernels(graph: KernelGraph, *, signed: bool = False) -> None:
    """Merge what runs in 8 bits; what only could, and does not, computes in float32.

    ``signed`` says whether the processor has kernels for signed activations, as ARM's do.
    """
    _activations_that_quantizing_does(graph)
    _one_for_each_reader(graph)
    turned = set() if signed else _made_unsigned(graph)
    for node in graph.of(*_BETWEEN, *_MOVES, "Split"):
        _merge(graph, node, turned, signed=signed)
    for node in graph.nodes:
        if node.operator.prepared:  # its constants are dequantised in each run
            node.parts = [*node.operator.prepared, *node.parts]
            node.operator = dataclasses.replace(node.operator, weight_positions=())
    for node in graph.of("Conv", "ConvTranspose", "Gemm", "MatMul"):
        if node.operator.precision == "int8":
            _compute_in(node, "float32")
    for node in graph.of("MatMulInteger"):
        _merge_dynamic(graph, node)


def _one_for_each_reader(graph: KernelGraph) -> None:
    """Give each reader of a dequantised value a DequantizeLinear of its own."""
    for node in graph.of("DequantizeLinear"):
        name = node.outputs[0]
        readers = [(r, p) for r in dict.fromkeys(graph.readers(name)) for p in _places(r, name)]
        for number, (reader, place) in enumerate(readers):
            if number or name in graph.outputs:
                copy = dataclasses.replace(node, outputs=[f"{name}/{number}"])
                copy.inputs, copy.parts = dict(node.inputs), list(node.parts)
                graph.shapes[copy.outputs[0]] = graph.shape(name)
                graph.dtypes[copy.outputs[0]] = graph.dtypes.get(name, "float32")
                graph.add(copy, before=reader)
                graph.read_instead(reader, place, copy.outputs[0])


def _places(node: KernelNode, name: str) -> list[int]:
    return [place for place, each in node.inputs.items() if each == name]


def _made_unsigned(graph: KernelGraph) -> set[str]:
    """Turn int8 values that are dequantised for one reader alone into uint8 (QDQS8ToU8)."""
    turned = set()
    for node in graph.of("QuantizeLinear"):
        name = node.outputs[0]
        after = graph.only_reader(node)
        dequantized = after is not None and after.op_type == "DequantizeLinear"
        if graph.dtypes.get(name) == "int8" and dequantized:
            graph.dtypes[name] = "uint8"
            turned.add(name)
    return turned


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
        zero = next(iter(node.operator.constants.get(2, ())), 0.0)
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


def _merge(graph: KernelGraph, node: KernelNode, turned: set[str], *, signed: bool) -> None:
    """Let a node read 8-bit numbers, and write them where its result is quantised."""
    read = _dequantized(graph, node)
    if read is None:
        return
    if node.op_type == "Split":
        after = [_quantizes(graph, name) for name in node.outputs]
    else:
        after = [_quantizes(graph, node.outputs[0])] if len(node.outputs) == 1 else [None]
    quantizers = [each for each in after if each is not None]
    if len(quantizers) < len(after) and node.op_type not in _TO_FLOAT:
        return
    values = [each.inputs[0] for each in read.values()]
    written = [each.outputs[0] for each in quantizers]
    if not _types_fit(graph, node, values, written, turned, signed=signed):
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


def _dequantized(graph: KernelGraph, node: KernelNode) -> dict[int, KernelNode] | None:
    """What dequantises the data that a node reads; None where some of that is no bytes."""
    data = {"Where": (1, 2), "Gather": (0,)}.get(node.op_type, node.inputs)
    writers = {p: graph.writer(name) for p, name in node.inputs.items() if p in data}
    read = {p: w for p, w in writers.items() if w is not None and _alone(w, "DequantizeLinear")}
    held = len(node.operator.prepared)
    lacks = node.op_type in _ALL_IN_BYTES and held < node.constants
    return None if lacks or not (read or held) or len(read) < len(writers) else read


def _types_fit(
    graph: KernelGraph,
    node: KernelNode,
    values: list[str],
    written: list[str],
    turned: set[str],
    *,
    signed: bool,
) -> bool:
    """Whether there is a kernel for the dtypes that a node reads and writes."""
    if not values:  # a table
        return True
    first, *others = (graph.dtypes.get(name, "") for name in values)
    if {graph.dtypes.get(name, "") for name in written} - {first}:
        return False
    if node.op_type in ("Conv", "MatMul"):
        return signed or first != "int8"
    if node.op_type in ("Add", "Mul", "Concat") and node.constants:  # these are as they are stored
        return turned.isdisjoint((*values, *written)) and set(others) <= {first}
    return node.op_type == "Gemm" or set(others) <= {first}


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


def products_of_few_bits(graph: KernelGraph) -> None:
    """A bias joins the product before it, or the Gelu after it (BiasGeluFusion)."""
    for node in graph.of("MatMulNBits"):
        bias = graph.only_reader(node)
        if bias is None or bias.op_type != "Add" or len(bias.inputs) != 1:
            continue
        after = graph.only_reader(bias)
        if after is not None and (after.op_type, after.domain) == ("Gelu", MICROSOFT):
            graph.absorb(bias, after)
            bias.op_type, bias.domain = "BiasGelu", MICROSOFT
        else:
            graph.absorb(node, bias)


def _compute_in(node: KernelNode, precision: str) -> None:
    prepared = () if precision == "int8" else node.operator.prepared
    node.operator = dataclasses.replace(node.operator, precision=precision, prepared=prepared)
