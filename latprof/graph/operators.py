"""Operators: what a network is made of, with shapes resolved and costs counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from latprof.common.short_reprs import ShortRepr

Shape = tuple[int, ...]

#: Kind of work by ONNX operator type; what is not listed is its own type in lower case.
_KINDS = {
    "Gemm": "linear",
    "MatMul": "linear",
    "Add": "add",
    "GlobalAveragePool": "pool",
    "ReduceMean": "pool",
    "AveragePool": "pool",
    "MaxPool": "pool",
    "BatchNormalization": "normalization",
    "LayerNormalization": "normalization",
    "InstanceNormalization": "normalization",
    "Clip": "activation",
    "Relu": "activation",
    "HardSwish": "activation",
    "HardSigmoid": "activation",
    "Sigmoid": "activation",
    "Flatten": "layout",
    "Reshape": "layout",
    "Transpose": "layout",
}


@dataclass(frozen=True)
class Operator:
    """One operator with resolved shapes.

    ``kernel``, ``stride`` and ``groups`` are those of a convolution or pool, else 0, 1 and 1.
    ``parameters`` counts the learnt values, ``weight_shape`` is the shape of the first weight.
    ``input_shapes`` are those of values that other operators (or the caller) make, not of weights;
    ``reads`` and ``writes`` name the values where the operator was read from a graph. ``precision``
    is that of an operator in a network of mixed precision or of a file in another number format; a
    target's own is ``"float32"`` here. ``dilation`` is a convolution's largest, and ``activation``
    what is applied to the result within the operator (``"relu6"``, ``"relu"``), or empty.
    """

    name: str
    op_type: str
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    weight_shape: Shape = ()
    parameters: int = 0
    kernel: int = 0
    stride: int = 1
    groups: int = 1
    reads: tuple[str, ...] = field(default=(), compare=False)
    writes: tuple[str, ...] = field(default=(), compare=False)
    precision: str = "float32"
    dilation: int = field(default=1, compare=False)
    activation: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """The kind of kernel: ``"conv1x1"``, ``"depthwise5x5"``, ``"linear"``, ``"add"``...

        In another precision than the target's own it follows: ``"conv1x1 int8"``.
        """
        return self._work if self.precision == "float32" else f"{self._work} {self.precision}"

    @property
    def _work(self) -> str:
        """What is computed, in whatever precision."""
        if self.op_type in ("Conv", "FusedConv", "ConvTranspose"):
            sides = self.weight_shape[2:] or self._window
            size = "x".join(map(str, sides))
            if (
                self.groups > 1
                and self.weight_shape[1:2] == (1,)
                and self.op_type != "ConvTranspose"
            ):
                return f"depthwise{size}"
            if self.op_type == "ConvTranspose":
                return f"transposed{size}"
            return f"grouped{size}" if self.groups > 1 else f"conv{size}"
        return _KINDS.get(self.op_type, self.op_type.lower())

    @property
    def _window(self) -> Shape:
        """A convolution's window where its weight is not known; empty for none."""
        dimensions = len(self.input_shapes[0]) - 2 if self.input_shapes else 2
        return (self.kernel,) * dimensions if self.kernel else ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run (the whole batch); 0 for what multiplies no weights."""
        if not self.output_shapes:
            return 0
        outputs = math.prod(self.output_shapes[0])
        if self.op_type in ("Conv", "FusedConv"):
            return outputs * math.prod(self.weight_shape[1:])
        if self.op_type == "ConvTranspose":
            return math.prod(self.input_shapes[0]) * math.prod(self.weight_shape[1:])
        if self.op_type in ("Gemm", "MatMul") and self.input_shapes and self.output_shapes[0]:
            return outputs * self._summed_size
        return 0

    @property
    def _summed_size(self) -> int:
        """Length of the dimension that a matrix product sums over."""
        data, rows = self.input_shapes[0], self.output_shapes[0]
        if self.op_type == "Gemm":  # the input may be transposed: only its size is certain
            return math.prod(data) // max(rows[0], 1)
        if len(self.weight_shape) == 2 and self.weight_shape != (data[-1], rows[-1]):
            return self.weight_shape[1]  # the weight is the left factor
        return data[-1]

    @property
    def activation_elements(self) -> int:
        """Values read from and written to other operators in one run."""
        return sum(math.prod(s) for s in (*self.input_shapes, *self.output_shapes))


@dataclass(frozen=True, repr=False)
class Network(ShortRepr):
    """Operators in execution order, with the shapes of the network's inputs and outputs."""

    name: str
    operators: tuple[Operator, ...]
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(op.macs for op in self.operators)

    @property
    def parameters(self) -> int:
        """Learnt values: weights, biases, and the scale and shift of normalisations."""
        return sum(op.parameters for op in self.operators)
