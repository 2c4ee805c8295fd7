"""Where a graph's values go: followed through the operators that move, add or multiply them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.shape_arithmetic import small_array

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from latprof.graph.operators import Shape

#: Steps that are followed, over all inputs together.
_MOST_STEPS = 200_000
#: Constants with more values than this are not looked into.
_MOST_VALUES = 4096
#: Operators whose output holds values of these inputs, by position, and no others.
_MOVES: Mapping[str, tuple[int, ...]] = {
    "Where": (1, 2),
    **{
        name: (0,)
        for names in (
            ("Cast", "CastLike", "Identity", "Dropout", "Transpose", "Slice", "Split", "Pad"),
            ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Expand", "Tile"),
            ("Gather", "GatherElements", "GatherND", "ReduceMax", "ReduceMin"),
        )
        for name in names
    },
}


@dataclass(frozen=True)
class Reached:
    """A value that is ``scale`` times an input plus something from ``low`` to ``high``."""

    name: str
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0

    @property
    def is_copy(self) -> bool:
        """Whether it is the input's values themselves."""
        return (self.scale, self.low, self.high) == (1, 0, 0)


class Trace:
    """A graph's values, with who reads each, who makes it, and what is known of it.

    Parameters
    ----------
    model : onnx.ModelProto
        Its weights may lack their data.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        self._makers: dict[str, onnx.NodeProto] = {}
        self._dims: dict[str, Shape] = {}
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._same: dict[str, list[str]] = defaultdict(list)
        self._steps = _MOST_STEPS
        self._add(model.graph)

    def _add(self, graph: onnx.GraphProto) -> None:
        for value in (*graph.input, *graph.value_info, *graph.output):
            dims = value.type.tensor_type.shape.dim
            if dims and all(dim.HasField("dim_value") for dim in dims):
                self._dims[value.name] = tuple(dim.dim_value for dim in dims)
        for tensor in graph.initializer:
            self._know(tensor.name, tensor)
        for node in graph.node:
            for position, name in enumerate(node.input):
                if name:
                    self._readers[name].append((node, position))
            self._makers.update(dict.fromkeys(node.output, node))
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value" and node.output:
                    self._know(node.output[0], attribute.t)
                for inner in filter(lambda graph: graph.node, (attribute.g, *attribute.graphs)):
                    self._enter(node, inner)

    def _know(self, name: str, tensor: onnx.TensorProto) -> None:
        self._tensors[name], self._dims[name] = tensor, tuple(tensor.dims)

    def readers(self, name: str) -> Sequence[tuple[onnx.NodeProto, int]]:
        """Who reads a value, at which position."""
        return self._readers.get(name, ())

    def _enter(self, node: onnx.NodeProto, inner: onnx.GraphProto) -> None:
        """Add a subgraph; what Loop and Scan hand to it has another name inside."""
        first = {"Loop": 2, "Scan": 0}.get(node.op_type)
        if first is not None:
            for name, given in zip(node.input[first:], inner.input[first:], strict=False):
                self._same[name].append(given.name)
        self._add(inner)

    def dims(self, name: str, depth: int = 8) -> Shape | None:
        """The shape of a value, where the file tells it."""
        maker = self._makers.get(name)
        if name in self._dims or maker is None or not depth:
            return self._dims.get(name)
        if maker.op_type in ("Cast", "Identity", "DequantizeLinear", "QuantizeLinear"):
            return self.dims(maker.input[0], depth - 1)
        return None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The values of a small constant, as float64; None for anything else."""
        tensor = self._tensors.get(name)
        array = None if tensor is None else small_array(tensor, _MOST_VALUES)
        if array is None or not array.size or array.dtype.kind in "cOSU":
            return None
        return array.astype(np.float64)

    def uses(self, name: str) -> Iterator[tuple[onnx.NodeProto, int, Reached]]:
        """Every operator that a value's entries reach, at which position and as what."""
        waiting = [Reached(name)]
        seen = set(waiting)
        while waiting:
            reached = waiting.pop()
            further = [replace(reached, name=inside) for inside in self._same.get(reached.name, ())]
            for node, position in self.readers(reached.name):
                self._steps -= 1
                if self._steps < 0:
                    return
                yield node, position, reached
                further += self._results(node, position, reached)
            fresh = [each for each in further if each not in seen]
            seen.update(fresh)
            waiting += fresh

    def _results(self, node: onnx.NodeProto, position: int, reached: Reached) -> list[Reached]:
        """What an operator makes of a value, where that can be told."""
        if node.op_type == "Concat" or position in _MOVES.get(node.op_type, ()):
            found: Reached | None = reached
        elif node.op_type in ("Add", "Sub", "Mul") and len(node.input) == 2:
            found = self._computed(node, position, reached)
        else:
            found = None
        return [] if found is None else [replace(found, name=name) for name in node.output if name]

    def _computed(self, node: onnx.NodeProto, position: int, reached: Reached) -> Reached | None:
        """A value plus, minus or times a constant."""
        other = self.constant(node.input[1 - position])
        if other is None or not np.isfinite(other).all():
            return None
        least, most = float(other.min()), float(other.max())
        if node.op_type == "Add":
            return replace(reached, low=reached.low + least, high=reached.high + most)
        if node.op_type == "Sub" and position == 0:
            return replace(reached, low=reached.low - most, high=reached.high - least)
        if node.op_type == "Mul" and least == most > 0:
            return Reached("", reached.scale * least, reached.low * least, reached.high * least)
        return None
