"""A part of a model as a model of its own, with the sizes that it has in the whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import onnx

from latprof.graph.model_file import graph_inputs, node_name
from latprof.graph.nodes.node_view import resolved
from latprof.graph.plain_nodes import all_nodes, subgraphs
from latprof.graph.static_shapes import infer_shapes

if TYPE_CHECKING:
    from latprof.graph.operators import Shape

#: Integers and Booleans of up to so many elements are arithmetic on sizes, not data.
_MOST_SIZES = 64
_WHOLE_NUMBERS = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")
)


def extract_operators(
    model: onnx.ModelProto, names: Collection[str], known: Collection[str], label: str
) -> onnx.ModelProto:
    """Take the operators ``names`` out of a model; their inputs become the part's own.

    What is computed from constants comes along, and so does what only passes values on: operators
    that are not among ``known``, such as Reshape.

    Parameters
    ----------
    model : onnx.ModelProto
        With static inputs, and the weights that the part shall have.
    names : collection of str
        Operators as a reader calls them.
    known : collection of str
        All operators of which some are taken and others left.
    label : str
        What messages call the model.

    Raises
    ------
    ModelFileError, UnknownCostsError
        For a model whose shapes cannot be inferred.
    """
    found = infer_shapes(model, label, resolver=resolved)
    part = _Part(found.graph, model.graph, found.shapes, found.dtypes, set(known))
    for index, node in enumerate(found.graph.node):
        if node_name(node) in names:
            part.take(index)
    graph = part.graph()
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version or onnx.IR_VERSION
    )


class _Part:
    """The nodes taken so far, and the values that they begin with."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        whole: onnx.GraphProto,
        shapes: Mapping[str, Shape | None],
        dtypes: Mapping[str, int],
        known: set[str],
    ) -> None:
        self._nodes = list(graph.node)
        self._shapes, self._dtypes, self._known = shapes, dtypes, known
        self._made = {name: i for i, n in enumerate(self._nodes) for name in n.output if name}
        self._inputs = {value.name: value for value in graph_inputs(whole)}
        # Those with values, where the graph of shapes has none.
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._weights |= {tensor.name: tensor for tensor in whole.initializer}
        self._sparse = {tensor.values.name: tensor for tensor in whole.sparse_initializer}
        for name in self._sparse:  # a dense one of its shape stands for it in the graph of shapes
            self._weights.pop(name, None)
        self._outputs = {value.name for value in graph.output}
        self._constant = self._constants()
        self._taken: set[int] = set()
        self._begins: set[str] = set()

    def _constants(self) -> set[int]:
        """Nodes that compute from constants alone."""
        fixed = {*self._weights, *self._sparse}
        found = set()
        for index, node in enumerate(self._nodes):
            if all(name in fixed for name in self._reads(node)):
                found.add(index)
                fixed.update(node.output)
        return found

    def _reads(self, node: onnx.NodeProto) -> list[str]:
        """The values that a node reads, those that its bodies take from outside included."""
        names = [name for name in node.input if name]
        for graph in subgraphs(node):
            inner = {value.name for value in graph.input}
            for each in all_nodes(graph.node):
                names += [name for name in each.input if name and name not in inner]
                inner.update(each.output)
        here = (self._made, self._weights, self._sparse, self._inputs)
        return [name for name in names if any(name in known for known in here)]

    def take(self, index: int) -> None:
        """Take a node, and what it cannot be without."""
        waiting = [index]
        while waiting:
            index = waiting.pop()
            if index in self._taken:
                continue
            self._taken.add(index)
            for name in self._reads(self._nodes[index]):
                maker = self._made.get(name)
                if maker is not None and self._comes_along(maker, name):
                    waiting.append(maker)
                elif name not in self._weights and name not in self._sparse:
                    self._begins.add(name)

    def _comes_along(self, maker: int, name: str) -> bool:
        if maker in self._constant or node_name(self._nodes[maker]) not in self._known:
            return True
        shape, dtype = self._shapes.get(name), self._dtypes.get(name, 0)
        if shape is None or not dtype:
            return True
        elements = 1
        for size in shape:
            elements *= size
        return dtype in _WHOLE_NUMBERS and elements <= _MOST_SIZES

    def graph(self) -> onnx.GraphProto:
        """The part as a graph: all that is read elsewhere, or nowhere, is its output."""
        nodes = [self._nodes[index] for index in sorted(self._taken)]
        made = {name for node in nodes for name in node.output if name}
        inside = {name for node in nodes for name in self._reads(node)}
        outside = {
            name
            for index, node in enumerate(self._nodes)
            if index not in self._taken
            for name in self._reads(node)
        }
        results = [
            name
            for index in sorted(self._taken - self._constant)
            for name in self._nodes[index].output
            if name and (name in outside or name in self._outputs or name not in inside)
        ]
        begins = sorted(self._begins - made)
        values = [self._inputs.get(name) or self._value(name) for name in begins]
        graph = onnx.helper.make_graph(
            nodes, "part", values, [self._value(name) for name in results]
        )
        graph.initializer.extend(self._weights[n] for n in sorted(inside) if n in self._weights)
        graph.sparse_initializer.extend(
            self._sparse[n] for n in sorted(inside) if n in self._sparse
        )
        return graph

    def _value(self, name: str) -> onnx.ValueInfoProto:
        shape = self._shapes.get(name)
        dtype = self._dtypes.get(name, 0)
        if not dtype:  # a runtime infers it
            return onnx.ValueInfoProto(name=name)
        return onnx.helper.make_tensor_value_info(name, dtype, shape)
