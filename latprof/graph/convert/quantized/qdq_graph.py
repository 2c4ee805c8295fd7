"""QuantizeLinear and DequantizeLinear around float32 operators.

What is quantised, and what shares a scale, is as onnxruntime.quantization does it by default
(qdq_quantizer.py and its operators, ONNX Runtime 1.31).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto

from latprof.graph.convert.quantized.parts import attributes

if TYPE_CHECKING:
    from latprof.graph.convert.quantized.parts import QuantizedGraph

_AROUND = frozenset(
    {"Add", "Mul", "Concat", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Softmax"}
)
_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
_NORMALIZES = frozenset({"BatchNormalization", "InstanceNormalization", "LayerNormalization"})
#: Operators that move bytes: their result has the scale of their input, where that is quantised.
_MOVES = frozenset({"AveragePool", "Flatten", "MaxPool", "Pad", "Reshape", "Resize", "Slice",
                    "Split", "Squeeze", "TopK", "Transpose", "Unsqueeze"})  # fmt: skip
#: Those of them whose input is quantised for their sake.
_ALWAYS = frozenset({"Pad", "Split"})


def write_qdq(graph: QuantizedGraph) -> None:
    """Rewrite a graph."""
    marking = _Marking(graph)
    for node in list(graph.model.graph.node):
        marking.visit(node)
    marking.write()


class _Marking:
    """Which values are quantised, found node by node; then all of them are written."""

    def __init__(self, graph: QuantizedGraph) -> None:
        self.graph = graph
        self.values: set[str] = set()  # in the order of their writers, when they are written
        self.constants: dict[tuple[str, str], tuple[int | None, int]] = {}
        #: What is written in place of the input of an activation that is left out.
        self.instead: dict[str, str] = {}

    def visit(self, node: onnx.NodeProto) -> None:
        """Mark what one operator's quantiser marks."""
        first, op_type = node.input[0] if node.input else "", node.op_type
        if op_type in _AXES or op_type in _NORMALIZES:
            self._product(node)
        elif op_type in ("Relu", "Clip"):
            self._activation(node)
        elif op_type in _MOVES:
            if op_type in _ALWAYS:
                self._mark(first)
            if first in self.values:
                self._share(node, first)
        elif op_type == "Gather" and self.graph.is_weight(first):
            self._constant(node, first, None, self.graph.type)
            self.graph.scale(first)
            self._share(node, first)
        elif op_type == "Gather" and first in self.values:
            self._share(node, first)
        elif op_type in _AROUND:
            self._all(node, [*node.input, *node.output])

    def write(self) -> None:
        """Append the operators with QuantizeLinear and DequantizeLinear after marked values."""
        graph, left_out = self.graph, set(self.instead.values())
        for value in graph.model.graph.input:
            self._pair(value.name)
        for node in graph.model.graph.node:
            if node.output[0] in left_out:
                continue
            inputs = [self._read(node, name) for name in node.input]
            outputs = [self._written(name) for name in node.output]
            graph.copy(node, inputs, outputs)
            for name in node.output:
                self._pair(self._renamed(name))

    def _mark(self, name: str) -> None:
        if self.graph.is_float(name) and name not in self.graph.initial:
            self.values.add(name)

    def _all(self, node: onnx.NodeProto, names: list[str]) -> None:
        for name in names:
            if self.graph.is_weight(name):
                self._constant(node, name, None, self.graph.type)
            else:
                self._mark(name)

    def _share(self, node: onnx.NodeProto, other: str) -> None:
        for name in node.output:
            if self.graph.is_float(name):
                self.graph.share_scale(name, other)
                self._mark(name)

    def _product(self, node: onnx.NodeProto) -> None:
        """Factors and the result; a bias in 32 bits."""
        for name in node.input[:2]:
            if self.graph.is_weight(name):
                self._constant(node, name, self._axis(node), TensorProto.INT8)
            else:
                self._mark(name)
        if len(node.input) > 2 and self.graph.is_weight(node.input[2]):
            self._constant(node, node.input[2], None, TensorProto.INT32)
        self._all(node, list(node.output))

    def _axis(self, node: onnx.NodeProto) -> int | None:
        """The dimension of a weight's channels."""
        transposed = node.op_type == "Gemm" and attributes(node).get("transB")
        return 0 if transposed else _AXES.get(node.op_type)

    def _activation(self, node: onnx.NodeProto) -> None:
        """The range of what is quantised does what Relu and Clip do, where nobody else reads it."""
        source, result = node.input[0], node.output[0]
        if source not in self.values:
            return
        given = {value.name for value in self.graph.model.graph.input}
        alone = self.graph.times_read[source] == 1 and source not in self.graph.outputs
        if alone and source not in given:
            self.values.discard(source)
            self.instead[source] = result
        self._mark(result)

    def _constant(self, node: onnx.NodeProto, name: str, axis: int | None, kind: int) -> None:
        self.constants[node.name, name] = axis, kind

    def _renamed(self, name: str) -> str:
        """The value that a writer writes: that of the activations behind it."""
        while name in self.instead:
            name = self.instead[name]
        return name

    def _written(self, name: str) -> str:
        name = self._renamed(name)
        is_output = name in self.graph.outputs and name in self.values
        return f"{name}_QuantizeLinear_Input" if is_output else name

    def _read(self, node: onnx.NodeProto, name: str) -> str:
        if (node.name, name) in self.constants:
            return self._dequantised(node, name, *self.constants[node.name, name])
        marked = name in self.values and name not in self.graph.outputs
        return f"{name}_DequantizeLinear_Output" if marked else name

    def _pair(self, name: str) -> None:
        if name not in self.values:
            return
        graph, scale = self.graph, self.graph.scale(name)
        is_output = name in graph.outputs
        source = f"{name}_QuantizeLinear_Input" if is_output else name
        result = name if is_output else f"{name}_DequantizeLinear_Output"
        held = f"{name}_QuantizeLinear_Output"
        graph.add("QuantizeLinear", [source, *scale], [held], f"{name}_QuantizeLinear")
        graph.add("DequantizeLinear", [held, *scale], [result], f"{name}_DequantizeLinear")

    def _dequantised(self, node: onnx.NodeProto, name: str, axis: int | None, kind: int) -> str:
        """A constant, dequantised."""
        graph = self.graph
        result = f"{name}_{node.name}_DequantizeLinear_Output"
        if kind == TensorProto.INT32:
            # The runtime merges a convolution only where this is the product of the others.
            scales = [
                graph.scale(node.input[0])[0],
                graph.weight(node.input[1], self._axis(node))[1],
            ]
            product = np.asarray(graph.numbers(scales[0]) * graph.numbers(scales[1]), np.float32)
            held = [
                graph.bias(name, node.name),
                graph.tensor(f"{name}_{node.name}_scale", product),
                graph.tensor(f"{name}_{node.name}_zero_point", np.zeros(product.shape, np.int32)),
            ]
            axis = 0 if product.shape else None
        else:
            held = [*graph.weight(name, axis, kind)]
            axis = axis if graph.dims(held[1]) else None
        more = {} if axis is None else {"axis": axis}
        graph.add(
            "DequantizeLinear", held, [result], f"{name}_{node.name}_DequantizeLinear", **more
        )
        return result
