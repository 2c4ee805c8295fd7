"""What a file says of its values' shapes that still holds when its inputs are given other sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    from latprof.graph.operators import Shape


def kept_value_infos(
    graph: onnx.GraphProto, before: Mapping[str, onnx.ValueInfoProto], sizes: Mapping[str, Shape]
) -> list[onnx.ValueInfoProto]:
    """Return what holds of a graph's value information with its inputs at these sizes.

    A dimension with a name has the size that an input gives this name. Sizes of values that depend
    on an input with another size than the file's own, or on a name with two sizes, are dropped.

    Parameters
    ----------
    graph : onnx.GraphProto
        With its nodes sorted and its value information as in the file.
    before : mapping of str to ValueInfoProto
        The inputs as in the file.
    sizes : mapping of str to shape
        The sizes of inputs.
    """
    named: dict[str, int] = {}
    changed: set[str] = set()
    for name, shape in sizes.items():
        dims = before[name].type.tensor_type.shape.dim
        for dim, size in zip(dims, shape, strict=False):
            if dim.HasField("dim_value"):
                other = dim.dim_value != size
            else:
                other = bool(dim.dim_param) and named.setdefault(dim.dim_param, size) != size
            if other:
                changed.add(name)
    stale = _depending(graph, changed)
    return [_with_sizes(value, named) for value in graph.value_info if value.name not in stale]


def _depending(graph: onnx.GraphProto, names: set[str]) -> set[str]:
    """``names``, and all values that are computed from them."""
    found = set(names)
    if found:
        for node in graph.node:
            if not found.isdisjoint(_reads(node)):
                found.update(node.output)
    return found


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def _with_sizes(value: onnx.ValueInfoProto, named: Mapping[str, int]) -> onnx.ValueInfoProto:
    """A copy of a value's information with its names of dimensions replaced by sizes."""
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    if copy.type.HasField("tensor_type"):
        for dim in copy.type.tensor_type.shape.dim:
            if dim.dim_param in named:
                dim.dim_value = named[dim.dim_param]
    return copy
