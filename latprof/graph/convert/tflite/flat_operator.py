"""One operator of an ONNX graph, as its translation to TFLite sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import UnsupportedModelError
from latprof.graph.convert.tflite.layouts import (
    FlatValue,
    Order,
    aligned,
    constant_value,
    in_order,
)

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from latprof.graph.convert.tflite.flat_graph import FlatGraph
    from latprof.graph.operators import Shape

FLOAT32 = np.dtype(np.float32)
INT32 = np.dtype(np.int32)
BOOL = np.dtype(np.bool_)


class FlatNode:
    """An operator, its input values and the graph that it is written into.

    ``inputs`` are None where left out. A translation returns a value, or a list of them.
    """

    def __init__(
        self, node: onnx.NodeProto, inputs: list[FlatValue | None], graph: FlatGraph, opset: int
    ) -> None:
        self.graph, self.opset = graph, opset
        self._node = node
        self._inputs = inputs
        self.op_type: str = node.op_type
        self.name: str = node.name or next(filter(None, node.output), node.op_type)
        #: Names of the outputs, "" where nobody reads one.
        self.output_names: list[str] = list(node.output)
        self._attributes = {attribute.name: attribute for attribute in node.attribute}

    @property
    def values(self) -> list[FlatValue]:
        """All inputs that are given."""
        return [value for value in self._inputs if value is not None]

    def input(self, position: int) -> FlatValue:
        """An input; UnsupportedModelError where it is left out."""
        value = self.optional(position)
        if value is None:
            raise self.unsupported(f"has no input {position}")
        return value

    def optional(self, position: int) -> FlatValue | None:
        """An input, None where it is left out."""
        return self._inputs[position] if position < len(self._inputs) else None

    def constant(self, position: int) -> NDArray[Any] | None:
        """A constant input, None where left out; UnsupportedModelError where it is computed."""
        value = self.optional(position)
        if value is None:
            return None
        if value.data is None:
            raise self.unsupported(f"computes its input {position} from the model's input")
        return value.data

    def given_constant(self, position: int) -> NDArray[Any]:
        """A constant input; UnsupportedModelError where it is left out or computed."""
        data = self.constant(position)
        if data is None:
            raise self.unsupported(f"has no input {position}")
        return data

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value: number, list of numbers, text or TensorProto."""
        found = self._attributes.get(name)
        if found is None:
            return default
        from onnx import helper

        value = helper.get_attribute_value(found)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return list(value) if not isinstance(value, int | float | str) and found.ints else value

    def numbers(self, position: int, attribute: str) -> list[int] | None:
        """Whole numbers that are an attribute or, in later opsets, a constant input."""
        given = self.attribute(attribute)
        if given is None and position >= 0:
            values = self.constant(position)
            given = None if values is None else values.reshape(-1).tolist()
        return None if given is None else [int(value) for value in given]

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front; UnsupportedModelError where there is none."""
        if not -rank <= axis < rank:
            raise self.unsupported(f"names axis {axis} of {rank}")
        return axis % rank

    def tensor(self, value: FlatValue, order: Order | None = None, *, weight: bool = False) -> int:
        """The tensor of a value, in an order, or in its own; learnt if it is a constant weight."""
        order = value.order if order is None else order
        return in_order(self.graph, value, order, weight=weight)

    def made(self, tensor: int, shape: Sequence[int], order: Order) -> FlatValue:
        """The value of a tensor that holds axes in an order."""
        return FlatValue(tuple(shape), self.graph.tensors[tensor].dtype, order, tensor)

    def unary(self, kind: str, value: FlatValue, **options: float) -> FlatValue:
        """An operator of each element."""
        tensor = self.graph.emit(kind, [self.tensor(value)], value.stored_shape, **options)
        return self.made(tensor, value.shape, value.order)

    def combined(
        self,
        kind: str,
        *values: FlatValue | float,
        dtype: np.dtype[Any] | None = None,
        **options: float,
    ) -> FlatValue:
        """An operator of the elements of several values, which broadcast; numbers are float32."""
        operands = [
            value if isinstance(value, FlatValue) else constant_value(np.array(value, FLOAT32))
            for value in values
        ]
        tensors, shape, order = aligned(self.graph, operands)
        stored_shape = tuple(shape[axis] for axis in order)
        result = self.graph.emit(
            kind, tensors, stored_shape, dtype or self.graph.tensors[tensors[-1]].dtype, **options
        )
        return self.made(result, shape, order)

    def integers(self, values: Sequence[int] | Sequence[Sequence[int]] | NDArray[Any]) -> int:
        """A constant of 32-bit integers."""
        return self.graph.constant(np.array(values, INT32))

    def require_float(self, *values: FlatValue) -> None:
        """Refuse other types than float32."""
        for value in values:
            if value.dtype != FLOAT32:
                raise self.unsupported(f"works on {value.dtype}")

    def unsupported(self, why: str) -> UnsupportedModelError:
        """The error for an operator that cannot be translated."""
        domain = f"{self._node.domain}." if self._node.domain else ""
        return UnsupportedModelError(
            f"the model has no TFLite form: {domain}{self.op_type} {self.name!r} {why}"
        )


def same_shape(values: Sequence[FlatValue]) -> Shape:
    """The shape of values that broadcast."""
    return np.broadcast_shapes(*(value.shape for value in values))
