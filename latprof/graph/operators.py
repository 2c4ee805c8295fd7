"""Operators: what a network is made of, with shapes resolved and costs counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from latprof.common.short_reprs import ShortRepr

Shape = tuple[int, ...]

#: Kind of work by ONNX operator type; what is not listed is its own type in lower case.
_KINDS = {
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm", "GemmFastGelu", "MatMul"), "linear"),
    **dict.fromkeys(("FusedMatMul", "MatMulInteger", "QLinearMatMul", "MatMulNBits"), "linear"),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulBnb4"), "linear"),
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

#: Bytes of one element by dtype; what is not listed has 4.
_ITEM_BYTES = {
    "float64": 8.0, "int64": 8.0, "uint64": 8.0, "float16": 2.0, "bfloat16": 2.0, "int16": 2.0,
    "uint16": 2.0, "int8": 1.0, "uint8": 1.0, "bool": 1.0, "float8": 1.0, "int4": 0.5,
    "uint4": 0.5, "complex64": 8.0, "complex128": 16.0}  # fmt: skip
#: Operators that read as much of a table as they write.
_LOOKS_UP = frozenset({"Gather", "GatherElements", "GatherND", "EmbedLayerNormalization",
                       "GatherBlockQuantized"})  # fmt: skip
#: Operators that read as much of their first input as they write.
_READS_PART = _LOOKS_UP | {"Slice"}
_CONVOLUTIONS = frozenset(
    {"Conv", "FusedConv", "QLinearConv", "ConvInteger", "NhwcConv", "NhwcFusedConv"}
)


class _Calculated:
    """A dictionary for what is calculated at the first access: fields alone have slots."""


@dataclass(frozen=True, slots=True)
class Operator(_Calculated):
    """One operator with resolved shapes.

    Parameters
    ----------
    name, op_type, domain : str
        As in the graph; the domain is empty for ONNX's own operators.
    input_shapes, output_shapes : tuple of shape
        Of values that other operators (or the caller) make and read, not of weights.
    weight_shape : shape
        Of the first weight, as it is stored.
    parameters : int
        Learnt values; each is counted at the operator that reads it first.
    kernel, stride, dilation, groups : int
        Of a convolution or pool, the largest of the sides; else 0, 1, 1 and 1.
    kernel_shape, strides, dilations, pads : shape
        The same side by side; ``pads`` are resolved, all begins before all ends.
    reads, writes : tuple of str
        Names of values, where the operator was read from a graph; of results those of
        ``output_shapes`` come first, then those whose shapes are not known.
    precision : str
        The dtype that it computes in: ``"float32"``, ``"float16"``, ``"int8"``...; a target's own
        is ``"float32"`` in the operators of a search space.
    activation : str
        What is applied to the result within the operator (``"relu6"``, ``"relu"``), or empty.
    weight_shapes : tuple of shape
        Of all constant inputs.
    positions, weight_positions : tuple of int
        Which of the node's inputs ``reads`` and ``weight_shapes`` are.
    input_dtypes, output_dtypes, weight_dtypes : tuple of str
        One for each shape; ``precision`` where empty.
    counted_macs : int, optional
        What an operator handler counts for one run; None for operators made by hand.
    trips : int
        How often it runs in one inference: more than once in the body of a Loop or Scan.
    attributes, constants : mapping
        The node's attributes but for tensors and graphs, and the values of its small constant
        inputs (at most 16 elements) by position.
    handled : str
        The kind of kernel that a handler names, where it is not made of the operator's type.
    unknown : str
        Why its work is not known (no handler, a number of trips), or empty.
    parts : tuple of str
        The names of the graph's operators that a kernel runs; empty before fusion.
    prepared : tuple of str
        Names of the nodes that dequantise its constant inputs; a kernel runs those in ``parts``.
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
    domain: str = field(default="", compare=False)
    kernel_shape: Shape = field(default=(), compare=False)
    strides: Shape = field(default=(), compare=False)
    dilations: Shape = field(default=(), compare=False)
    pads: Shape = field(default=(), compare=False)
    weight_shapes: tuple[Shape, ...] = field(default=(), compare=False)
    positions: tuple[int, ...] = field(default=(), compare=False)
    weight_positions: tuple[int, ...] = field(default=(), compare=False)
    input_dtypes: tuple[str, ...] = field(default=(), compare=False)
    output_dtypes: tuple[str, ...] = field(default=(), compare=False)
    weight_dtypes: tuple[str, ...] = field(default=(), compare=False)
    counted_macs: int | None = field(default=None, compare=False)
    trips: int = field(default=1, compare=False)
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)
    constants: Mapping[int, tuple[float, ...]] = field(default_factory=dict, compare=False)
    handled: str = field(default="", compare=False)
    unknown: str = field(default="", compare=False)
    parts: tuple[str, ...] = field(default=(), compare=False)
    prepared: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def kind(self) -> str:
        """The kind of kernel: ``"conv1x1"``, ``"depthwise5x5"``, ``"linear"``, ``"add"``...

        In another precision than the target's own it follows: ``"conv1x1 int8"``.
        """
        return self._work if self.precision == "float32" else f"{self._work} {self.precision}"

    @property
    def _work(self) -> str:
        """What is computed, in whatever precision."""
        if self.handled:
            return self.handled
        if self.op_type in _CONVOLUTIONS or self.op_type.startswith("ConvTranspose"):
            sides = self.weight_shape[2:] or self._window
            size = "x".join(map(str, sides))
            if self.op_type not in _CONVOLUTIONS:
                return f"transposed{size}"
            if self.groups > 1 and self.weight_shape[1:2] == (1,):
                return f"depthwise{size}"
            return f"grouped{size}" if self.groups > 1 else f"conv{size}"
        return _KINDS.get(self.op_type, self.op_type.lower())

    @property
    def _window(self) -> Shape:
        """A convolution's window where its weight is not known; empty for none."""
        dimensions = len(self.input_shapes[0]) - 2 if self.input_shapes else 2
        return (self.kernel,) * dimensions if self.kernel else ()

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one run (the whole batch); 0 for what multiplies nothing."""
        if self.counted_macs is not None:
            return self.counted_macs
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

    @cached_property
    def activation_elements(self) -> int:
        """Values read from and written to other operators in one run."""
        return sum(math.prod(s) for s in (*self.input_shapes, *self.output_shapes))

    @property
    def read_bytes(self) -> int:
        """Bytes of other operators' values that one run reads: what it cuts out or looks up."""
        read = self._bytes(self.input_shapes, self.input_dtypes)
        if self.op_type in _READS_PART and self.positions[:1] == (0,) and self.input_shapes:
            whole = self._bytes(self.input_shapes[:1], self.input_dtypes[:1])
            return read - max(whole - self.write_bytes, 0)
        return read

    @property
    def write_bytes(self) -> int:
        """Bytes that one run writes."""
        return self._bytes(self.output_shapes, self.output_dtypes)

    def _bytes(self, shapes: tuple[Shape, ...], dtypes: tuple[str, ...]) -> int:
        types = dtypes or (self.precision,) * len(shapes)
        sizes = (_ITEM_BYTES.get(each, 4.0) for each in types)
        return math.ceil(sum(math.prod(s) * b for s, b in zip(shapes, sizes, strict=True)))


@dataclass(frozen=True, repr=False)
class Network(ShortRepr):
    """Operators in execution order, with the shapes of the network's inputs and outputs.

    The bodies of If, Loop and Scan follow their operator: of an If the branch with more work, of a
    loop its operators with their ``trips``.
    """

    name: str
    operators: tuple[Operator, ...]
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(op.macs * op.trips for op in self.operators)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is not known of the operators' work, in words, each reason once."""
        return tuple(dict.fromkeys(op.unknown for op in self.operators if op.unknown))

    @property
    def parameters(self) -> int:
        """Learnt values: weights, biases, and the scale and shift of normalisations."""
        return sum(op.parameters for op in self.operators)
