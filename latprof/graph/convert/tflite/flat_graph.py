"""A TFLite graph in memory: tensors, and operators on them by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.convert.tflite.flat_schema import OPERATORS, OPTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.operators import Shape

#: Constants of up to so many bytes with the same bytes are kept once, as zeros are.
_SHARED_BYTES = 256


@dataclass
class FlatTensor:
    """A tensor: ``data`` where it is constant; ``weight`` where its values are learnt."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    data: NDArray[Any] | None = None
    weight: bool = False


@dataclass
class FlatOperator:
    """An operator with the numbers of its tensors; -1 is an input that is left out."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, float] = field(default_factory=dict)


class FlatGraph:
    """Tensors, operators in the order in which they run, inputs and outputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: list[FlatTensor] = []
        self.operators: list[FlatOperator] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self._producers: dict[int, FlatOperator] = {}
        self._shared: dict[tuple[str, Shape, bytes], int] = {}
        self._transposed: dict[tuple[int, tuple[int, ...]], int] = {}

    def add_input(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> int:
        """Add an input of the whole graph."""
        self.tensors.append(FlatTensor(name, shape, dtype))
        self.inputs.append(len(self.tensors) - 1)
        return self.inputs[-1]

    def constant(
        self, values: NDArray[Any], name: str = "constant", *, weight: bool = False
    ) -> int:
        """Add a constant; small ones that are equal are one tensor."""
        data = np.ascontiguousarray(values).reshape(values.shape)  # the former has no 0 dimensions
        small = data.nbytes <= _SHARED_BYTES
        if not weight and (small or not data.any()):
            key = (data.dtype.str, data.shape, data.tobytes() if small else b"zeros")
            if key in self._shared:
                return self._shared[key]
            self._shared[key] = len(self.tensors)
        self.tensors.append(FlatTensor(name, data.shape, data.dtype, data, weight))
        return len(self.tensors) - 1

    def emit(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: np.dtype[Any] | None = None,
        /,
        **options: float,
    ) -> int:
        """Add an operator with one output, of the first input's type unless said otherwise."""
        return self.emit_several(kind, inputs, [shape], [dtype], **options)[0]

    def emit_several(
        self,
        kind: str,
        inputs: Sequence[int],
        shapes: Sequence[Sequence[int]],
        dtypes: Sequence[np.dtype[Any] | None],
        /,
        **options: float,
    ) -> list[int]:
        """Add an operator; the numbers of its outputs are returned."""
        known = {name for name, _, _ in OPTIONS[OPERATORS[kind][2]][1]} if options else set()
        assert options.keys() <= known, (kind, options)
        outputs = []
        for shape, dtype in zip(shapes, dtypes, strict=True):
            taken = dtype or self.tensors[inputs[0]].dtype
            self.tensors.append(FlatTensor("", tuple(shape), taken))
            outputs.append(len(self.tensors) - 1)
        made = FlatOperator(kind, list(inputs), outputs, dict(options))
        self.operators.append(made)
        self._producers.update(dict.fromkeys(outputs, made))
        return outputs

    def producer(self, tensor: int) -> FlatOperator | None:
        """The operator that writes a tensor; None for inputs and constants."""
        return self._producers.get(tensor)

    def reshaped(self, tensor: int, shape: Sequence[int]) -> int:
        """A tensor in another shape; of two reshapes in a row one is enough."""
        if self.tensors[tensor].shape == tuple(shape):
            return tensor
        before = self.producer(tensor)
        if before is not None and before.kind == "RESHAPE":
            return self.reshaped(before.inputs[0], shape)
        assert math.prod(self.tensors[tensor].shape) == math.prod(shape)
        return self.emit("RESHAPE", [tensor, self.constant(np.array(shape, np.int32))], shape)

    def transposed(self, tensor: int, moves: tuple[int, ...]) -> int:
        """A tensor with its axes in another order; the same one where it was asked for before."""
        if (tensor, moves) not in self._transposed:
            shape = [self.tensors[tensor].shape[axis] for axis in moves]
            order = self.constant(np.array(moves, np.int32))
            self._transposed[tensor, moves] = self.emit("TRANSPOSE", [tensor, order], shape)
        return self._transposed[tensor, moves]
