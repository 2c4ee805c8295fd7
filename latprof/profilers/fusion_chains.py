"""Chains of operators by which is found out how a runtime fuses: their models.

Each chain of two or three is a model, and so is each operator alone, on the same sizes. Values are
large enough that an operator which only passes over them shows in the time of the chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from latprof.graph.fusion_rules import DEPTHWISE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OPSET, _IR_VERSION = 17, 8
#: Images are 1 x 64 x 56 x 56, matrices 256 x 256.
_IMAGE, _MATRIX = (1, 64, 56, 56), (256, 256)
_BEGINNINGS = {"Conv": _IMAGE, DEPTHWISE: _IMAGE, "ConvTranspose": _IMAGE, "MaxPool": _IMAGE,
               "Add": _IMAGE, "Mul": _IMAGE, "Gemm": _MATRIX, "MatMul": _MATRIX}  # fmt: skip
_ACTIVATIONS = ("Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "LeakyRelu", "Elu")
_CONVOLUTIONS = ("Conv", DEPTHWISE)
#: What runs alone to tell the cost of a run: an operator on one value.
NOTHING = ("Neg",)

Chain = tuple[str, ...]


def chains() -> list[Chain]:
    """All chains that are tried, pairs first."""
    pairs = [(first, second) for first in _BEGINNINGS for second in _ACTIVATIONS]
    pairs += [(first, "BatchNormalization") for first in (*_CONVOLUTIONS, "ConvTranspose")]
    pairs += [
        (first, second) for first in _BEGINNINGS for second in ("Add", "Mul") if first != second
    ]
    longer = [(first, "Add", second) for first in _CONVOLUTIONS for second in ("Relu", "Clip")]
    longer += [(first, "BatchNormalization", "Relu") for first in _CONVOLUTIONS]
    longer += [("MatMul", "Add", "Relu"), ("Gemm", "Add", "Relu")]
    return [*pairs, *longer]


def parts_of(chain: Chain) -> list[Chain]:
    """What the last operator of a chain joins or does not, and that operator alone."""
    return [chain[:-1], (f"{chain[-1]}@{_BEGINNINGS[chain[0]][0]}",)]


@dataclass(frozen=True)
class ChainModel:
    """The model of a chain; ``operators`` are the names of its nodes in order."""

    model: onnx.ModelProto
    operators: tuple[str, ...]


def chain_model(chain: Chain) -> ChainModel:
    """The model of a chain, of one operator, or of :data:`NOTHING`."""
    first, _, size = chain[0].partition("@")
    shape = _BEGINNINGS.get(first, _IMAGE)
    if chain == NOTHING:
        shape = (1, 1)
    elif size:
        shape = next(s for s in _BEGINNINGS.values() if s[0] == int(size))
    made = _Chain(shape)
    for op_type in (first, *chain[1:]):
        made.add(op_type)
    return made.finished()


class _Chain:
    """Nodes one after the other, on values of one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._value = "x"
        self._nodes: list[onnx.NodeProto] = []
        self._inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        self._weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, op_type: str) -> None:
        """One more node, behind the last."""
        number = len(self._nodes)
        name, output = f"{op_type.lower()}_{number}", f"v{number}"
        inputs, attributes = self._rest_of(op_type)
        kind = "Conv" if op_type == DEPTHWISE else op_type
        node = helper.make_node(kind, [self._value, *inputs], [output], name, **attributes)
        self._nodes.append(node)
        self._value = output

    def _rest_of(self, op_type: str) -> tuple[list[str], dict[str, object]]:
        """Inputs beside the value, and attributes."""
        c = self._shape[1]
        weights: dict[str, list[tuple[int, ...]]] = {
            "Conv": [(c, c, 1, 1), (c,)],
            "ConvTranspose": [(c, c, 1, 1), (c,)],
            DEPTHWISE: [(c, 1, 3, 3), (c,)],
            "Gemm": [(c, c), (c,)],
            "MatMul": [(c, c)],
        }
        given = [self._weight(shape) for shape in weights.get(op_type, ())]
        if op_type == "BatchNormalization":  # the variance is above 0
            given = [self._constant(0.5 + self._random.random(c)) for _ in range(4)]
        elif op_type == "Clip":
            given = [self._constant(np.array(value)) for value in (0.0, 6.0)]
        elif op_type in ("Add", "Mul"):
            given = [self._other()]
        attributes: dict[str, dict[str, object]] = {
            DEPTHWISE: {"group": c, "pads": [1, 1, 1, 1]},
            "MaxPool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]},
        }
        return given, attributes.get(op_type, {})

    def _weight(self, shape: tuple[int, ...]) -> str:
        return self._constant(self._random.standard_normal(shape) / math.sqrt(math.prod(shape[1:])))

    def _constant(self, values: NDArray[np.float64]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def _other(self) -> str:
        """A second value of the same shape, which the caller gives."""
        name = f"x{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, self._shape))
        return name

    def finished(self) -> ChainModel:
        """The model."""
        output = helper.make_tensor_value_info(self._value, TensorProto.FLOAT, self._shape)
        graph = helper.make_graph(self._nodes, "chain", self._inputs, [output], self._weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        return ChainModel(model, tuple(node.name for node in self._nodes))
