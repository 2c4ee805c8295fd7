"""Operators on bytes: QLinearConv, QLinearMatMul, QGemm and their kin.

As onnxruntime.quantization writes them by default in its format QOperator (onnx_quantizer.py,
ONNX Runtime 1.31): an operator without one of its own reads and writes floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.graph.convert.quantized.parts import MICROSOFT, attributes

if TYPE_CHECKING:
    import onnx

    from latprof.graph.convert.quantized.parts import Quantized, QuantizedGraph

_BINARY = frozenset({"Add", "Mul"})
_UNARY = frozenset({"AveragePool", "LeakyRelu", "Sigmoid", "Softmax"})
_MOVES = frozenset(
    {"Flatten", "MaxPool", "Pad", "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze"}
)


def write_qlinear(graph: QuantizedGraph) -> None:
    """Rewrite a graph."""
    writing = _Writing(graph)
    for node in list(graph.model.graph.node):
        writing.visit(node)
    for name in graph.outputs:
        writing.floats(name)


class _Writing:
    """Which values there are in bytes, and which in floats too."""

    def __init__(self, graph: QuantizedGraph) -> None:
        self.graph = graph
        self.bytes: dict[str, Quantized] = {}
        self.both: set[str] = set()

    def visit(self, node: onnx.NodeProto) -> None:
        """Append one operator, on bytes where it has one."""
        op_type, first = node.op_type, node.input[0] if node.input else ""
        if op_type in ("Conv", "Gemm", "MatMul"):
            self._product(node)
        elif op_type in _BINARY:
            self._call(node, [*self._held(node.input[0]), *self._held(node.input[1])])
        elif op_type in _UNARY or (op_type == "GlobalAveragePool" and first in self.bytes):
            self._call(node, [*self._held(first)])
        elif op_type == "Concat":
            self._concat(node)
        elif op_type in ("Relu", "Clip") and first in self.bytes:
            self.bytes[node.output[0]] = self.bytes[first]
        elif (
            op_type == "Split"
            or (op_type in _MOVES and first in self.bytes)
            or (op_type == "Gather" and self.graph.is_weight(first))
        ):
            self._move(node)
        else:
            inputs = [self.floats(name) for name in node.input]
            self.graph.copy(node, inputs, list(node.output))

    def floats(self, name: str) -> str:
        """A value in floats: dequantised where there are only bytes of it."""
        if name in self.bytes and name not in self.both and name not in self.graph.initial:
            node_name = f"{name}_DequantizeLinear"
            self.graph.add("DequantizeLinear", [*self.bytes[name]], [name], node_name)
            self.both.add(name)
        return name

    def _held(self, name: str) -> Quantized:
        """A value in bytes: quantised where there are only floats of it."""
        graph = self.graph
        if graph.is_weight(name):
            return graph.weight(name, None, graph.type)
        if name not in self.bytes:
            scale, zero = graph.scale(name)
            held = f"{name}_quantized"
            graph.add("QuantizeLinear", [name, scale, zero], [held], f"{name}_QuantizeLinear")
            self.bytes[name] = (held, scale, zero)
            self.both.add(name)
        return self.bytes[name]

    def _new(self, name: str) -> Quantized:
        """What an operator makes of its own."""
        self.bytes[name] = (f"{name}_quantized", *self.graph.scale(name))
        return self.bytes[name]

    def _product(self, node: onnx.NodeProto) -> None:
        graph = self.graph
        factors: list[str] = []
        transposed = bool(attributes(node).get("transB"))
        axis = {"Conv": 0, "Gemm": 0 if transposed else 1, "MatMul": 1}[node.op_type]
        left, right = node.input[:2]
        factors += self._held(left)
        factors += graph.weight(right, axis) if graph.is_weight(right) else self._held(right)
        biases = [graph.bias(name, node.name) for name in node.input[2:3]]
        held, scale, zero = self._new(node.output[0])
        if node.op_type == "Gemm":
            inputs, domain = [*factors, *(biases or [""]), scale, zero], MICROSOFT
        else:
            inputs, domain = [*factors, scale, zero, *biases], ""
        op_type = "QGemm" if node.op_type == "Gemm" else f"QLinear{node.op_type}"
        more = attributes(node, "beta")
        graph.add(op_type, inputs, [held], f"{node.name}_quant", domain=domain, **more)

    def _call(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """Append an operator of ONNX Runtime's own on bytes."""
        held, scale, zero = self._new(node.output[0])
        more = attributes(node)
        if node.op_type == "Softmax":
            more["opset"] = next(each.version for each in self.graph.model.opset_import)
        if node.op_type == "GlobalAveragePool":
            more["channels_last"] = 0
        name = f"{node.name}_quant"
        op_type = f"QLinear{node.op_type}"
        self.graph.add(op_type, [*inputs, scale, zero], [held], name, domain=MICROSOFT, **more)

    def _concat(self, node: onnx.NodeProto) -> None:
        parts = [each for name in node.input for each in self._held(name)]
        held, scale, zero = self._new(node.output[0])
        name, more = f"{node.name}_quant", attributes(node)
        inputs = [scale, zero, *parts]
        self.graph.add("QLinearConcat", inputs, [held], name, domain=MICROSOFT, **more)

    def _move(self, node: onnx.NodeProto) -> None:
        """Append an operator that does with bytes what it does with floats."""
        source = self._held(node.input[0])
        rest = list(node.input[1:])
        if node.op_type == "Pad" and len(rest) == 1:
            rest.append(source[2])
        held = [f"{name}_quantized" for name in node.output]
        self.graph.copy(node, [source[0], *rest], held)
        for name, each in zip(node.output, held, strict=True):
            self.bytes[name] = (each, source[1], source[2])
