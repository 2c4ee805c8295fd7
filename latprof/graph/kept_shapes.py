"""What a file says of its values' shapes: no more than a claim, where inference can find them.

onnx's inference believes it against what it infers; runtimes do not. And what still holds of it
when the inputs are given other sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import onnx

from latprof.graph.plain_nodes import plain_nodes, subgraphs

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode


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
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from _reads(inner)


def _with_sizes(value: onnx.ValueInfoProto, named: Mapping[str, int]) -> onnx.ValueInfoProto:
    """A copy of a value's information with its names of dimensions replaced by sizes."""
    copy = _copied(value)
    if copy.type.HasField("tensor_type"):
        for dim in copy.type.tensor_type.shape.dim:
            if dim.dim_param in named:
                dim.dim_value = named[dim.dim_param]
    return copy


def take_claims(graph: onnx.GraphProto, nodes: Sequence[PlainNode]) -> list[onnx.ValueInfoProto]:
    """Take what a graph says of its values' shapes out of it, in place; returned is what it was.

    ``nodes`` are the graph's. Within bodies of If, Loop and Scan what is said of the outputs of
    operators that onnx does not know stays.
    """
    given = _given(graph)
    said = [each for each in (*graph.value_info, *graph.output) if each.name not in given]
    claims = [_copied(value) for value in said if value.type.HasField("tensor_type")]
    _clear(graph, nodes, given, keeps_foreign=False)
    return [value for value in claims if value.type.tensor_type.HasField("shape")]


def put_claims(graph: onnx.GraphProto, claims: Iterable[onnx.ValueInfoProto]) -> None:
    """Put claims into a graph again, those of its outputs to these."""
    by_name = {value.name: value for value in claims}
    for output in graph.output:
        if output.name in by_name:
            output.CopyFrom(by_name.pop(output.name))
    graph.value_info.extend(by_name.values())


def _given(graph: onnx.GraphProto) -> set[str]:
    return {each.name for each in (*graph.input, *graph.initializer)}


def _clear(
    graph: onnx.GraphProto,
    nodes: Sequence[PlainNode],
    given: Collection[str],
    *,
    keeps_foreign: bool,
) -> None:
    """Remove types of values; of operators that onnx does not know, only the shapes, or nothing.

    Those of bodies too.
    """
    foreign = {name for node in nodes if node.domain not in ("", "ai.onnx") for name in node.output}
    for value in (*graph.value_info, *graph.output):
        if value.name in given or not value.type.HasField("tensor_type"):
            continue
        if value.name not in foreign:
            value.ClearField("type")
        elif not keeps_foreign:
            value.type.tensor_type.ClearField("shape")
    infos = [_copied(value) for value in graph.value_info if value.HasField("type")]
    del graph.value_info[:]
    graph.value_info.extend(infos)
    for body in (body for node in nodes for body in node.bodies):
        for value in body.input:
            value.type.tensor_type.ClearField("shape")
        _clear(body, plain_nodes(body.node), _given(body), keeps_foreign=True)


def _copied(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    return copy
