"""What is known of a graph's values beside their shapes: dtypes, and small constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto

from latprof.graph.shape_arithmetic import small_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latprof.graph.plain_nodes import PlainNode

#: Dtypes that operators compute in, by ONNX element type.
_FLOATS = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
_SPELLED = {number: name.lower() for name, number in TensorProto.DataType.items()} | _FLOATS
_SPELLED[TensorProto.UNDEFINED] = ""
_BYTES = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4})
#: Operators through which a constant keeps its values.
_KEEPS_VALUE = frozenset({"Cast", "CastLike", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
#: Most elements of a constant whose values are kept.
_SMALL = 16
#: Operators that compute in 8-bit numbers whatever else they read.
_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "QGemm"}) | {
    "MatMulIntegerToFloat", "QAttention", "DynamicQuantizeLSTM", "QLinearConv", "QLinearMatMul",
    "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearAveragePool", "QLinearSigmoid",
    "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearReduceMean",
    "QLinearWhere"}  # fmt: skip
#: Operators with a kernel for 8-bit numbers, which runtimes use between QuantizeLinear's.
_HAS_INTEGER_KERNEL = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Bounds of Clip that are an activation with a name of its own.
_CLIPS = {(0.0, 6.0): "relu6", (0.0, float("inf")): "relu"}


class ValueFacts:
    """Filled node by node, in execution order; asked about each node's inputs."""

    def __init__(self, graph: onnx.GraphProto, dtypes: Mapping[str, int]) -> None:
        self._types = dict(dtypes)
        self._values: dict[str, tuple[float, ...]] = {}
        self._from_bytes: set[str] = set()
        for tensor in graph.initializer:
            self._learn(tensor.name, tensor)

    def dtype(self, name: str) -> str:
        """A value's dtype in latprof's words; empty where it is not known."""
        spelled: str = _SPELLED.get(self._types.get(name, 0), "")
        return spelled

    def precision(self, node: PlainNode, inputs: Sequence[str]) -> str:
        """The dtype that an operator computes in: that of its first floating input, or int8."""
        factors = [name for name in inputs[:2] if name]
        if node.op_type in _INTEGER or (
            node.op_type in _HAS_INTEGER_KERNEL and self._from_bytes.issuperset(factors)
        ):
            return "int8"
        dtypes = (_FLOATS.get(self._types.get(name, 0)) for name in inputs)
        return next(filter(None, dtypes), "float32")

    def values(self, name: str) -> tuple[float, ...] | None:
        """The values of a small constant; None for what is none."""
        return self._values.get(name)

    def activation(self, node: PlainNode, inputs: Sequence[str]) -> str:
        """What a node that may be fused applies: ``"relu6"``, ``"clip -1 1"``, ``"sigmoid"``."""
        if node.op_type != "Clip":
            return str(node.op_type).lower()
        given = {a.name: a.f for a in node.attribute}
        bounds = []
        for position, (name, default) in enumerate((("min", "-inf"), ("max", "inf")), start=1):
            value = inputs[position] if position < len(inputs) else ""
            otherwise = float("nan") if value else given.get(name, float(default))
            known = self._values.get(value, ())
            bounds.append(known[0] if len(known) == 1 else otherwise)
        low, high = bounds
        return _CLIPS.get((low, high), f"clip {low:g} {high:g}")

    def follow(self, node: PlainNode, inputs: Sequence[str]) -> None:
        """Take in what a node says of its outputs."""
        output = node.output[0] if node.output else ""
        if node.op_type == "Constant":
            self._follow_constant(node, output)
            return
        first = inputs[0] if inputs else ""
        if node.op_type == "DequantizeLinear" and self._types.get(first, 0) in _BYTES:
            self._from_bytes.add(output)
        if node.op_type in _KEEPS_VALUE:
            if first in self._values:
                self._values[output] = self._values[first]
            if first in self._from_bytes:
                self._from_bytes.add(output)
        missing = [name for name in node.output if name and not self._types.get(name)]
        if missing:  # an operator that onnx infers nothing of
            types = (self._types.get(name, 0) for name in inputs)
            found = next((each for each in types if each in _FLOATS), 0)
            self._types.update(dict.fromkeys(missing, found))

    def _follow_constant(self, node: PlainNode, output: str) -> None:
        for attribute in node.attribute:
            if attribute.name == "value":
                self._learn(output, attribute.t)
            elif attribute.name in ("value_float", "value_int"):
                number = attribute.f if attribute.name == "value_float" else attribute.i
                self._values[output] = (float(number),)
            elif attribute.name in ("value_floats", "value_ints"):
                numbers = (*attribute.floats, *attribute.ints)
                if len(numbers) <= _SMALL:
                    self._values[output] = tuple(map(float, numbers))

    def _learn(self, name: str, tensor: onnx.TensorProto) -> None:
        self._types[name] = tensor.data_type
        array = small_array(tensor, _SMALL)
        try:
            known = None if array is None else tuple(map(float, array.reshape(-1)))
        except (TypeError, ValueError):  # text, complex numbers
            known = None
        if known is not None:
            self._values[name] = known
