"""Graphs of the zoo as they are written: nodes, values with shapes, weights that are made late.

A graph is built in well under a second and holds no weights: each is a shape and a deviation until
the model is written, a bounded piece at a time. Learnt values are counted as a training framework
counts them, with a scale and a shift for each normalised channel, whether or not the normalisation
is folded into the convolution before it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from latprof._version import __version__
from latprof.datasets.models.onnx_export import OPSET
from latprof.datasets.models.onnx_weights import (
    Piece,
    RandomTensor,
    Tensor,
    element_type,
    total_bytes,
    weight_fields,
)
from latprof.datasets.models.weights import WeightSource
from latprof.errors import InvalidValueError

Shape = tuple[int, ...]
BatchNorm = Literal["folded", "kept"]

_IR_VERSION = 8
#: What protobuf can hold, with room for the nodes.
_MOST_BYTES = (1 << 31) - (1 << 24)


@dataclass(frozen=True)
class NetworkValue:
    """A tensor of a graph: its name and its shape, batch first."""

    name: str
    shape: Shape

    @property
    def channels(self) -> int:
        """Channels of a feature map (batch, channels, height, width)."""
        return self.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a feature map."""
        height, width = self.shape[2:]
        return height, width


class GraphBuilder:
    """One graph under construction.

    Parameters
    ----------
    name : str
        Of the graph.
    batch_size : int
    batch_norm : {"folded", "kept"}
        Whether a normalisation is a node of its own after its convolution, or part of its weights.
    """

    def __init__(self, name: str, batch_size: int = 1, batch_norm: BatchNorm = "folded") -> None:
        self.name = name
        self.batch_size = batch_size
        self.batch_norm = batch_norm
        #: Version of ONNX's operators.
        self.opset = OPSET
        #: Learnt values so far.
        self.parameters = 0
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._weights: list[tuple[str, Tensor | RandomTensor]] = []
        self._constants: dict[tuple[str, Shape, bytes], NetworkValue] = {}
        self._names: Counter[str] = Counter()
        self._scope = ""

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names inside begin with this one and a dot."""
        before = self._scope
        self._scope = f"{before}{name}."
        yield
        self._scope = before

    def input(self, name: str, shape: Shape, *, whole: bool = False) -> NetworkValue:
        """An input of float32, or of int64 where it holds ``whole`` numbers."""
        kind = TensorProto.INT64 if whole else TensorProto.FLOAT
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        self._names[name] += 1
        return NetworkValue(name, shape)

    def output(self, value: NetworkValue, name: str = "output") -> None:
        """Make ``value`` an output of this name; nothing may read it afterwards."""
        for node in self._nodes:
            node.input[:] = [name if each == value.name else each for each in node.input]
            node.output[:] = [name if each == value.name else each for each in node.output]
        shape = list(value.shape)
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def node(
        self,
        op_type: str,
        inputs: Sequence[NetworkValue | None],
        shape: Shape,
        name: str = "",
        **attributes: object,
    ) -> NetworkValue:
        """Add a node with one output of this shape; None is an input that is left out."""
        (value,) = self.nodes(op_type, inputs, [shape], name, **attributes)
        return value

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[NetworkValue | None],
        shapes: Sequence[Shape],
        name: str = "",
        **attributes: object,
    ) -> list[NetworkValue]:
        """Add a node with one output for each shape."""
        name = self._unique(name or op_type.lower())
        names = [f"{name}.out{number}" for number in range(len(shapes))]
        given = ["" if value is None else value.name for value in inputs]
        self._nodes.append(helper.make_node(op_type, given, names, name=name, **attributes))
        return [NetworkValue(n, tuple(shape)) for n, shape in zip(names, shapes, strict=True)]

    @property
    def last_operator(self) -> str:
        """The operator of the node that was added last; empty where there is none."""
        return self._nodes[-1].op_type if self._nodes else ""

    def weight(self, name: str, shape: Shape, deviation: float = 0.1) -> NetworkValue:
        """A learnt tensor; its values are random, with this standard deviation."""
        self.parameters += math.prod(shape)
        return self._stored(name, RandomTensor(shape, deviation))

    def ones(self, name: str, shape: Shape) -> NetworkValue:
        """A learnt tensor whose values are 1."""
        self.parameters += math.prod(shape)
        return self._stored(name, np.ones(shape, np.float32))

    def learnt_table(self, name: str, shape: Shape, entries: int) -> NetworkValue:
        """A tensor gathered from a table of so many learnt entries, as exporters fold it."""
        self.parameters += entries
        return self._stored(name, RandomTensor(shape, 0.1))

    def untrained(self, name: str, shape: Shape, value: float) -> NetworkValue:
        """A tensor of one value that training does not learn."""
        return self._stored(name, np.full(shape, value, np.float32))

    def constant(self, values: float | Sequence[int] | Tensor) -> NetworkValue:
        """A number, a list of whole numbers or an array; equal ones are stored once."""
        array: Tensor
        if isinstance(values, float):
            array = np.array(values, np.float32)
        elif isinstance(values, np.ndarray):
            array = values
        else:
            array = np.array(values, np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant{len(self._constants)}"
            self._weights.append((name, array))
            self._constants[key] = NetworkValue(name, array.shape)
        return self._constants[key]

    def model(self, *, weights: bool = True, seed: int = 0, about: str = "") -> onnx.ModelProto:
        """The model; without ``weights`` its learnt tensors have shapes and no values."""
        model = self._without_initializers(about)
        source = WeightSource(seed)
        for name, values in self._weights:
            tensor = model.graph.initializer.add(
                name=name, data_type=element_type(values), dims=values.shape
            )
            if not isinstance(values, RandomTensor):
                tensor.raw_data = values.tobytes()
            elif weights:
                tensor.raw_data = b"".join(p.tobytes() for p in values.pieces(source))
        return model

    def pieces(self, *, seed: int = 0, about: str = "") -> Iterator[Piece]:
        """The serialised model, a bounded piece at a time."""
        yield self._without_initializers(about).SerializeToString()
        yield from weight_fields(self._weights, WeightSource(seed))

    # Helpers -------------------------------------------------------------------------------

    def _without_initializers(self, about: str) -> onnx.ModelProto:
        size = total_bytes(self._weights)
        if size > _MOST_BYTES:
            raise InvalidValueError(
                f"{self.name} would be larger than a model file can be",
                field="width",
                expected="at most 2 GiB of weights",
                got=f"{size / 2**30:.1f} GiB",
            )
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs)
        others = sorted({node.domain for node in self._nodes} - {""})
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in others)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        model.producer_name, model.producer_version = "latprof", __version__
        if about:
            helper.set_model_props(model, {"latprof.zoo": about})
        return model

    def _stored(self, name: str, values: Tensor | RandomTensor) -> NetworkValue:
        name = self._unique(name)
        self._weights.append((name, values))
        return NetworkValue(name, values.shape)

    def _unique(self, name: str) -> str:
        name = f"{self._scope}{name}"
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"
