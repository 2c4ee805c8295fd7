"""What is known of a graph's values beside their shapes: number formats, and constant scalars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Number formats that operators compute in, by ONNX element type.
_FLOATS = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
#: Operators through which a constant scalar keeps its value.
_KEEPS_VALUE = frozenset({"Cast", "CastLike", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
#: Bounds of Clip that are an activation with a name of its own.
_CLIPS = {(0.0, 6.0): "relu6", (0.0, float("inf")): "relu"}


class ValueFacts:
    """Filled node by node, in execution order; asked about each node's inputs."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._formats = {v.name: v.type.tensor_type.elem_type for v in graph.input}
        self._scalars: dict[str, float] = {}
        for tensor in graph.initializer:
            self._learn(tensor.name, tensor)

    def precision(self, inputs: Sequence[str]) -> str:
        """The number format that an operator computes in: that of its first floating input."""
        formats = (_FLOATS.get(self._formats.get(name, 0)) for name in inputs)
        return next(filter(None, formats), "float32")

    def activation(self, node: onnx.NodeProto, inputs: Sequence[str]) -> str:
        """What a node that may be fused applies: ``"relu6"``, ``"clip -1 1"``, ``"sigmoid"``."""
        if node.op_type != "Clip":
            return str(node.op_type).lower()
        given = {a.name: a.f for a in node.attribute}
        bounds = []
        for position, (name, default) in enumerate((("min", "-inf"), ("max", "inf")), start=1):
            value = inputs[position] if position < len(inputs) else ""
            otherwise = float("nan") if value else given.get(name, float(default))
            bounds.append(self._scalars.get(value, otherwise))
        low, high = bounds
        return _CLIPS.get((low, high), f"clip {low:g} {high:g}")

    def follow(self, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
        """Take in what a node says of its outputs."""
        output = node.output[0] if node.output else ""
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    self._learn(output, attribute.t)
                elif attribute.name == "value_float":
                    self._formats[output] = TensorProto.FLOAT
                    self._scalars[output] = attribute.f
            return
        if node.op_type == "Cast":
            found = next((int(a.i) for a in node.attribute if a.name == "to"), 0)
        elif node.op_type == "CastLike" and len(inputs) > 1:
            found = self._formats.get(inputs[1], 0)
        else:
            formats = (self._formats.get(name, 0) for name in inputs)
            found = next((each for each in formats if each in _FLOATS), 0)
        self._formats.update(dict.fromkeys(filter(None, node.output), found))
        if node.op_type in _KEEPS_VALUE and inputs and inputs[0] in self._scalars:
            self._scalars[output] = self._scalars[inputs[0]]

    def _learn(self, name: str, tensor: onnx.TensorProto) -> None:
        self._formats[name] = tensor.data_type
        outside = tensor.data_location == TensorProto.EXTERNAL  # no other file is opened
        if outside or tensor.data_type not in _FLOATS or any(size != 1 for size in tensor.dims):
            return
        try:
            self._scalars[name] = float(numpy_helper.to_array(tensor).reshape(-1)[0])
        except Exception:  # noqa: BLE001 - data that is missing, external or of the wrong length
            self._scalars.pop(name, None)
