"""Plans: a step as plain operators on values of known shapes.

A plan is written once; what it costs, the nodes of the ONNX model and the torch module follow from
it (:mod:`latprof.datasets.models.onnx_export`, :mod:`latprof.datasets.models.torch_modules`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.operators import Operator, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The value that a step reads.
INPUT = "input"
#: Variance that random weights give before GELU, so that the second moment is 1 after it (by
#: numerical integration for inputs of second moment 1).
GELU_GAIN = 2.35
_EPSILON = 1e-5


@dataclass(frozen=True)
class PlanNode:
    """One operator: its ONNX type, name, inputs by name, attributes, and its output's shape."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    shape: Shape
    attributes: dict[str, Any]


@dataclass(frozen=True)
class LearntValues:
    """A weight: normal numbers of this mean and deviation."""

    shape: Shape
    mean: float
    deviation: float


class StepPlan:
    """Operators in order; each value is called like the operator that makes it.

    Parameters
    ----------
    name : str
        All names begin with it.
    shape : tuple of int
        Of the input, batch first.

    Attributes
    ----------
    nodes : list of PlanNode
    learnt : dict of str to LearntValues
        Weights, in the order in which they are drawn.
    constants : dict of str to array
    """

    def __init__(self, name: str, shape: Shape) -> None:
        self.name = name
        self.nodes: list[PlanNode] = []
        self.learnt: dict[str, LearntValues] = {}
        self.constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
        self._shapes: dict[str, Shape] = {INPUT: shape}

    def shape(self, value: str) -> Shape:
        """The shape of a value."""
        return self._shapes[value]

    def operators(self) -> tuple[Operator, ...]:
        """What runs, as it is read from a graph; reshapes copy nothing."""
        found = []
        for node in self.nodes:
            if node.op_type == "Reshape":
                continue
            weights = [self.learnt[name].shape for name in node.inputs if name in self.learnt]
            found.append(
                Operator(
                    node.name,
                    node.op_type,
                    tuple(self._shapes[name] for name in node.inputs if name in self._shapes),
                    (node.shape,),
                    weight_shape=weights[0] if weights else (),
                    parameters=sum(map(math.prod, weights)),
                    kernel=max(node.attributes.get("kernel_shape", (0,))),
                    stride=max(node.attributes.get("strides", (1,))),
                    groups=node.attributes.get("group", 1),
                )
            )
        return tuple(found)

    # Operators -----------------------------------------------------------------------------

    def node(self, op_type: str, inputs: list[str], shape: Shape, label: str, **known: Any) -> str:
        """Add an operator with these attributes, and return its output's name."""
        name = f"{self.name}.{label}"
        self.nodes.append(PlanNode(op_type, name, tuple(inputs), shape, known))
        self._shapes[name] = shape
        return name

    def weight(self, label: str, shape: Shape, deviation: float, mean: float = 0.0) -> str:
        """A learnt array."""
        name = f"{self.name}.{label}"
        self.learnt[name] = LearntValues(shape, mean, deviation)
        return name

    def number(self, label: str, value: float) -> str:
        """A constant number."""
        name = f"{self.name}.{label}"
        self.constants[name] = np.array(value, dtype=np.float32)
        return name

    def reshape(self, value: str, shape: Shape, label: str) -> str:
        """The same values in another shape."""
        target = f"{self.name}.{label}.shape"
        self.constants[target] = np.array(shape, dtype=np.int64)
        return self.node("Reshape", [value, target], shape, label)

    def transpose(self, value: str, order: tuple[int, ...], label: str) -> str:
        """Dimensions in another order."""
        before = self.shape(value)
        shape = tuple(before[dimension] for dimension in order)
        return self.node("Transpose", [value], shape, label, perm=list(order))

    def add(self, value: str, other: str, label: str) -> str:
        """The sum of two values, or of a value and a weight."""
        return self.node("Add", [value, other], self.shape(value), label)

    def product(self, value: str, other: str, label: str) -> str:
        """A matrix product over the last two dimensions of two values."""
        shape = (*self.shape(value)[:-1], self.shape(other)[-1])
        return self.node("MatMul", [value, other], shape, label)

    # Layers --------------------------------------------------------------------------------

    def linear(self, value: str, features: int, label: str, gain: float = 1.0) -> str:
        """A dense layer over the last dimension; ``gain`` is its output's variance."""
        *rest, before = self.shape(value)
        weight = self.weight(f"{label}.weight", (before, features), math.sqrt(gain / before))
        result = self.node("MatMul", [value, weight], (*rest, features), label)
        bias = self.weight(f"{label}.bias", (features,), 0.1 * math.sqrt(gain))
        return self.add(result, bias, f"{label}.add")

    def convolution(
        self, value: str, channels: int, label: str, *, kernel: int, stride: int, groups: int
    ) -> str:
        """A convolution with a bias; odd kernels are padded."""
        batch, before, size, _ = self.shape(value)
        inside = before // groups
        out = -(-size // stride)
        deviation = math.sqrt(1.0 / (inside * kernel**2))
        weight = self.weight(f"{label}.weight", (channels, inside, kernel, kernel), deviation)
        bias = self.weight(f"{label}.bias", (channels,), 0.1)
        return self.node(
            "Conv",
            [value, weight, bias],
            (batch, channels, out, out),
            label,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def normalized(self, value: str, label: str) -> str:
        """Layer normalisation over the last dimension (Ba et al. 2016)."""
        shape = self.shape(value)
        scale = self.weight(f"{label}.scale", shape[-1:], 0.1, mean=1.0)
        shift = self.weight(f"{label}.shift", shape[-1:], 0.1)
        inputs = [value, scale, shift]
        return self.node("LayerNormalization", inputs, shape, label, axis=-1, epsilon=_EPSILON)

    def gelu(self, value: str, label: str = "") -> str:
        """GELU by the error function, as exports to this opset have it."""
        shape, dot = self.shape(value), f"{label}." if label else ""
        scaled = self.number(f"{dot}root", math.sqrt(2.0))
        scaled = self.node("Div", [value, scaled], shape, f"{dot}div")
        erf = self.node("Erf", [scaled], shape, f"{dot}erf")
        plus = self.add(erf, self.number(f"{dot}one", 1.0), f"{dot}add")
        gated = self.node("Mul", [value, plus], shape, f"{dot}mul")
        return self.node("Mul", [gated, self.number(f"{dot}half", 0.5)], shape, f"{dot}halved")

    def tokens(self, value: str, label: str) -> str:
        """A feature map (batch, channels, height, width) as (batch, tokens, channels)."""
        batch, channels, height, width = self.shape(value)
        flat = self.reshape(value, (batch, channels, height * width), f"{label}.flat")
        return self.transpose(flat, (0, 2, 1), label)

    def feature_map(self, value: str, size: int, label: str) -> str:
        """The opposite of :meth:`tokens`."""
        batch, _, channels = self.shape(value)
        first = self.transpose(value, (0, 2, 1), label)
        return self.reshape(first, (batch, channels, size, size), f"{label}.map")

    def mixed(self, value: str, tokens: int, label: str, gain: float = 1.0) -> str:
        """A dense layer over the tokens, the same for each channel."""
        last = self.linear(self.transpose(value, (0, 2, 1), f"{label}.last"), tokens, label, gain)
        return self.transpose(last, (0, 2, 1), f"{label}.back")

    def attended(
        self, query: str, source: str, features: int, heads: int, gain: float = 1.0
    ) -> str:
        """Multi-head attention of queries (batch, n, features) to tokens (Vaswani et al. 2017)."""
        batch, n, _ = self.shape(query)
        inside = features // heads
        scale = self.number("attention.scale", 1.0 / math.sqrt(inside))
        query = self.node("Mul", [query, scale], self.shape(query), "attention.scaled")
        query = self._heads(query, heads, (0, 2, 1, 3), "attention.query")
        keys, values = (
            self._heads(self.linear(source, features, label), heads, order, f"attention.{label}")
            for label, order in (("keys", (0, 2, 3, 1)), ("values", (0, 2, 1, 3)))
        )
        scores = self.product(query, keys, "attention.scores")
        scores = self.node("Softmax", [scores], self.shape(scores), "attention.softmax", axis=-1)
        mixed = self.product(scores, values, "attention.mix")
        joined = self.transpose(mixed, (0, 2, 1, 3), "attention.join")
        joined = self.reshape(joined, (batch, n, features), "attention.joined")
        return self.linear(joined, features, "attention.project", gain)

    def _heads(self, value: str, heads: int, order: tuple[int, ...], label: str) -> str:
        batch, tokens, features = self.shape(value)
        split = self.reshape(value, (batch, tokens, heads, features // heads), f"{label}.split")
        return self.transpose(split, order, label)
