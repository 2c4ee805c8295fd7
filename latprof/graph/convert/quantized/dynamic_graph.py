"""Products whose left factor is quantised as the network runs, or whose weight alone is.

As onnxruntime.quantization writes them: ``quantize_dynamic`` (onnx_quantizer.py), and
``MatMulNBitsQuantizer`` with its defaults (ONNX Runtime 1.31).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from latprof.graph.convert.quantized.parts import MICROSOFT, attributes

if TYPE_CHECKING:
    from latprof.graph.convert.quantized.parts import QuantizedGraph

#: Values of a weight in 4 bits that have one scale.
_BLOCK = 32


def write_dynamic(graph: QuantizedGraph) -> None:
    """Rewrite a graph to ConvInteger, MatMulInteger and DynamicQuantizeLSTM."""
    made: dict[str, tuple[str, str, str]] = {}
    for node in list(graph.model.graph.node):
        for each in _without_gemm(graph, node):
            weighted = len(each.input) > 1 and graph.is_weight(each.input[1])
            if each.op_type in ("Conv", "MatMul") and weighted:
                _product(graph, each, made)
            elif each.op_type == "LSTM" and weighted and graph.is_weight(each.input[2]):
                _recurrent(graph, each)
            elif each.op_type == "Gather" and graph.is_weight(each.input[0]):
                _table(graph, each)
            else:
                graph.copy(each, list(each.input), list(each.output))


def write_four_bits(graph: QuantizedGraph) -> None:
    """Rewrite a graph's products with a weight to MatMulNBits."""
    for node in list(graph.model.graph.node):
        if node.op_type == "MatMul" and graph.is_weight(node.input[1]):
            rows, columns = graph.dims(node.input[1])
            blocks = -(-rows // _BLOCK)
            name = f"{node.input[1]}_Q4"
            held = graph.without_values(name, TensorProto.UINT8, (columns, blocks, _BLOCK // 2))
            scales = np.full(columns * blocks, 0.01, np.float32)
            inputs = [node.input[0], held, graph.tensor(f"{name}_scales", scales)]
            sizes = {"K": rows, "N": columns, "bits": 4, "block_size": _BLOCK}
            outputs, name = list(node.output), f"{node.name}_Q4"
            graph.add("MatMulNBits", inputs, outputs, name, domain=MICROSOFT, **sizes)
        else:
            graph.copy(node, list(node.input), list(node.output))


def _without_gemm(graph: QuantizedGraph, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A dense layer as a product and a sum."""
    given = attributes(node) if node.op_type == "Gemm" else {"transA": 1}
    plain = not given.get("transA") and given.get("alpha", 1) == given.get("beta", 1) == 1
    if not plain or not graph.is_weight(node.input[1]):
        return [node]
    weight = node.input[1]
    if given.get("transB"):
        dims = graph.dims(weight)[::-1]
        weight = graph.without_values(f"{weight}_Transposed", TensorProto.FLOAT, dims)
        graph.float_values.add(weight)
    biased = len(node.input) > 2
    result = f"{node.output[0]}_MatMul" if biased else node.output[0]
    name = f"{node.name}_MatMul" if biased else node.name
    made = [helper.make_node("MatMul", [node.input[0], weight], [result], name=name)]
    if biased:
        inputs = [result, node.input[2]]
        made.append(helper.make_node("Add", inputs, list(node.output), name=f"{node.name}_Add"))
    return made


def _product(
    graph: QuantizedGraph, node: onnx.NodeProto, made: dict[str, tuple[str, str, str]]
) -> None:
    """A product of integers, scaled, and its bias."""
    source, result, name = node.input[0], node.output[0], f"{node.name}_quant"
    if source not in made:
        made[source] = (f"{source}_quantized", f"{source}_scale", f"{source}_zero_point")
        held, scale, zero = made[source]
        outputs = [held, scale, zero]
        graph.add("DynamicQuantizeLinear", [source], outputs, f"{source}_QuantizeLinear")
    held, scale, zero = made[source]
    axis = 0 if node.op_type == "Conv" else 1
    weight, weight_scale, weight_zero = graph.weight(node.input[1], axis)
    whole, cast = f"{result}_output_quantized", f"{result}_output_quantized_cast_output"
    inputs = [held, weight, zero, weight_zero]
    graph.add(f"{node.op_type}Integer", inputs, [whole], name, **attributes(node))
    graph.add("Cast", [whole], [cast], f"{whole}_cast", to=TensorProto.FLOAT)
    graph.add("Mul", [scale, weight_scale], [f"{name}_scales_mul:0"], f"{name}_scales_mul")
    biased = len(node.input) > 2
    scaled = f"{result}quant_scaled_output" if biased else result
    graph.add("Mul", [cast, f"{name}_scales_mul:0"], [scaled], f"{name}_output_scale_mul")
    if biased:
        dims = [1, -1, *[1] * (len(graph.dims(node.input[1])) - 2)]
        shape = graph.tensor(f"{result}_bias_reshape_shape", np.array(dims, np.int64))
        reshaped = f"{result}_bias_reshape_output"
        graph.add("Reshape", [node.input[2], shape], [reshaped], f"{result}_bias_reshape")
        graph.add("Add", [scaled, reshaped], [result], f"{result}_bias_add")


def _recurrent(graph: QuantizedGraph, node: onnx.NodeProto) -> None:
    """An LSTM with weights in bytes, each transposed."""
    held, scales = [], []
    for name in node.input[1:3]:
        ways, gates, wide_in = graph.dims(name)
        kind = TensorProto.INT8
        held.append(graph.without_values(f"{name}_quantized", kind, (ways, wide_in, gates)))
        wide = [ways, gates] if graph.channels else [ways]
        scales.append(graph.tensor(f"{name}_scale", np.full(wide, 0.004, np.float32)))
        scales.append(graph.tensor(f"{name}_zero_point", np.zeros(wide, np.int8)))
    rest = [*node.input[3:8], *[""] * 5][:5]
    inputs = [node.input[0], *held, *rest, *scales]
    more, name = attributes(node, "layout"), f"{node.name}_quant"
    graph.add("DynamicQuantizeLSTM", inputs, list(node.output), name, domain=MICROSOFT, **more)


def _table(graph: QuantizedGraph, node: onnx.NodeProto) -> None:
    """Rows of a table in bytes, dequantised."""
    table, *scale = graph.weight(node.input[0], None, TensorProto.UINT8)
    result = node.output[0]
    graph.copy(node, [table, *node.input[1:]], [f"{result}_quantized"])
    inputs = [f"{result}_quantized", *scale]
    graph.add("DequantizeLinear", inputs, [result], f"{result}_DequantizeLinear")
