"""What the three spellings of a quantised graph are made of: its values, weights, scales, names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

MICROSOFT = "com.microsoft"
#: A value in bytes: its name, those of its scale and its zero point.
Quantized = tuple[str, str, str]

#: Operators whose result is no float, whatever they read.
_NOT_FLOAT = frozenset({"ArgMax", "ArgMin", "Equal", "Greater", "Less", "NonZero", "Not", "Shape"})
#: Where an operator's result has the type of another input than its first.
_TYPED_BY = {"Where": 1}
_SCALE = 0.03


class QuantizedGraph:
    """A float32 graph whose weights have no values, while it is being rewritten.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place by :meth:`finish`.
    signed : bool
        Whether activations are int8; else uint8.
    channels : bool
        Whether weights have a scale a channel; else one scale a tensor.
    """

    def __init__(self, model: onnx.ModelProto, *, signed: bool, channels: bool) -> None:
        self.model, self.channels = model, channels
        self.type = TensorProto.INT8 if signed else TensorProto.UINT8
        self.initial = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = [value.name for value in model.graph.output]
        self.nodes: list[onnx.NodeProto] = []
        self.float_values = _float_values(model.graph)
        self.times_read = Counter(name for node in model.graph.node for name in node.input)
        self._writer = {name: node for node in model.graph.node for name in node.output}
        self._stored: dict[str, Quantized] = {}
        self._scales: dict[str, tuple[str, str]] = {}

    def is_float(self, name: str) -> bool:
        """Whether a value holds floats."""
        return name in self.float_values

    def is_weight(self, name: str) -> bool:
        """Whether a value is a constant of floats."""
        return name in self.initial and name in self.float_values

    def dims(self, name: str) -> list[int]:
        """The shape of a constant."""
        return list(self.initial[name].dims)

    def add(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **more: Any
    ) -> None:
        """Append a node."""
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **more))

    def copy(self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Append a node as it is but for its inputs and outputs."""
        other = onnx.NodeProto()
        other.CopyFrom(node)
        other.input[:], other.output[:] = inputs, outputs
        self.nodes.append(other)

    def tensor(self, name: str, values: NDArray[Any]) -> str:
        """A constant with values, once."""
        if name not in self.initial:
            self.initial[name] = numpy_helper.from_array(values, name)
        return name

    def numbers(self, name: str) -> NDArray[Any]:
        """The values of a constant."""
        values: NDArray[Any] = numpy_helper.to_array(self.initial[name])
        return values

    def without_values(self, name: str, kind: int, dims: Iterable[int]) -> str:
        """A constant whose values are made when they are needed."""
        self.initial[name] = TensorProto(name=name, data_type=kind, dims=list(dims))
        return name

    def scale(self, name: str, kind: int | None = None) -> tuple[str, str]:
        """Scale and zero point of a value: one that begins at 0 after Relu and Clip."""
        if name not in self._scales:
            before = self._writer.get(name)
            positive = before is not None and before.op_type in ("Relu", "Clip", "Sigmoid")
            middle = {TensorProto.INT8: 0, TensorProto.UINT8: 128}[kind or self.type]
            # No two values have one scale: what moves bytes would be left out between them.
            step = np.array(_SCALE + 1e-4 * len(self._scales), np.float32)
            zero = middle - 128 * positive
            dtype = helper.tensor_dtype_to_np_dtype(kind or self.type)
            self._scales[name] = (
                self.tensor(f"{name}_scale", step),
                self.tensor(f"{name}_zero_point", np.array(zero, dtype)),
            )
        return self._scales[name]

    def share_scale(self, name: str, other: str) -> None:
        """Give a value the scale and the zero point of another."""
        self._scales[name] = self.scale(other)

    def weight(self, name: str, axis: int | None = None, kind: int = TensorProto.INT8) -> Quantized:
        """A constant in bytes, with a scale along ``axis`` where there is one a channel."""
        if name not in self._stored:
            dims = self.dims(name)
            wide = [dims[axis]] if self.channels and axis is not None and len(dims) > 1 else []
            dtype = helper.tensor_dtype_to_np_dtype(kind)
            self._stored[name] = (
                self.without_values(f"{name}_quantized", kind, dims),
                self.tensor(f"{name}_scale", np.full(wide, 0.004, np.float32)),
                self.tensor(f"{name}_zero_point", np.zeros(wide, dtype)),
            )
        return self._stored[name]

    def bias(self, name: str, reader: str) -> str:
        """A bias in 32 bits."""
        key = f"{name}_{reader}_quantized"
        return self.without_values(key, TensorProto.INT32, self.dims(name))

    def finish(self) -> None:
        """Put the new nodes, and the constants that they read, into the model."""
        graph = self.model.graph
        read = {name for node in self.nodes for name in node.input}
        read |= {value.name for value in graph.output}
        kept = [tensor for name, tensor in self.initial.items() if name in read]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(kept)
        if any(node.domain == MICROSOFT for node in self.nodes):
            self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def attributes(node: onnx.NodeProto, *left_out: str) -> dict[str, Any]:
    """A node's attributes by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name not in left_out}


def _float_values(graph: onnx.GraphProto) -> set[str]:
    """Names of the values and constants that hold floats."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        place = _TYPED_BY.get(node.op_type, 0)
        kind = kinds.get(node.input[place], 0) if len(node.input) > place else 0
        if node.op_type == "Cast":
            kind = next(a.i for a in node.attribute if a.name == "to")
        elif node.op_type in _NOT_FLOAT:
            kind = TensorProto.INT64
        kinds.update(dict.fromkeys(node.output, kind))
    return {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}
