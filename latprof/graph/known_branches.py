"""Branches of If whose condition is the same in every run: written out in the graph around them.

Exporters ask for shapes in the graph ("is this dimension 1? then squeeze it"). With the input's
sizes fixed, the answer is a constant, and runtimes run one branch only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto, helper

from latprof.graph.plain_nodes import PlainNode, all_nodes, plain_nodes, subgraphs
from latprof.graph.shape_arithmetic import Effort, small_array


def write_out_known_branches(
    graph: onnx.GraphProto, nodes: list[PlainNode], effort: Effort
) -> bool:
    """Replace each If with a constant condition by the branch taken, in place.

    ``nodes`` are the graph's, and are kept so. Returns whether anything changed. Names of the
    branch's own values get the If's first output before them; an If stays where these would take
    more than is left of ``effort``.
    """
    if not any(node.op_type == "If" for node in nodes):
        return False
    conditions = {
        tensor.name: answer
        for tensor in graph.initializer
        if (answer := _truth(tensor)) is not None
    }
    written: list[onnx.NodeProto] = []
    changed = False
    for node in nodes:
        branch = _branch(node, conditions)
        if branch is None or not _afforded(node, branch, effort):
            written.append(node.message)
        else:
            changed = True
            written += _written_out(node, branch, graph)
    if changed:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in written]
        del graph.node[:]
        graph.node.extend(copies)
        nodes[:] = plain_nodes(graph.node)
    return changed


def _truth(tensor: TensorProto) -> bool | None:
    if tensor.data_type != TensorProto.BOOL or any(size != 1 for size in tensor.dims):
        return None
    array = small_array(tensor)
    return None if array is None else bool(array.reshape(-1)[0])


def _branch(node: PlainNode, conditions: Mapping[str, bool]) -> onnx.GraphProto | None:
    if node.op_type != "If" or not node.input or node.input[0] not in conditions:
        return None
    wanted = "then_branch" if conditions[node.input[0]] else "else_branch"
    found = next((a.g for a in node.attribute if a.name == wanted), None)
    fits = found is not None and len(found.output) == len(node.output) > 0
    return found if fits else None


def _afforded(node: PlainNode, branch: onnx.GraphProto, effort: Effort) -> bool:
    """Whether new names of all that a branch writes and reads may be made; that is used up then."""
    links = sum(len(each.input) + len(each.output) for each in all_nodes(branch.node))
    characters = len(node.output[0]) * (links + len(branch.initializer))
    enough = characters <= effort.characters
    if enough:
        effort.characters -= characters
    return enough


def _written_out(
    node: PlainNode, branch: onnx.GraphProto, graph: onnx.GraphProto
) -> Iterator[onnx.NodeProto]:
    prefix = f"{node.output[0]}/"
    own = {tensor.name for tensor in branch.initializer}
    own |= {name for each in branch.node for name in each.output if name}
    names = {name: prefix + name for name in own}
    for tensor in branch.initializer:
        graph.initializer.append(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for inner in branch.node:
        yield _renamed(inner, names)
    for value, output in zip(branch.output, node.output, strict=True):
        if output:
            yield helper.make_node("Identity", [names.get(value.name, value.name)], [output])


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy that reads and writes values under new names, its subgraphs included."""
    copy = onnx.NodeProto.FromString(node.SerializeToString())
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for inner in subgraphs(copy):
        hidden = {value.name for value in inner.input}
        outer = {name: new for name, new in names.items() if name not in hidden}
        renamed = [_renamed(each, outer) for each in inner.node]
        for value in inner.output:
            value.name = outer.get(value.name, value.name)
        del inner.node[:]
        inner.node.extend(renamed)
    return copy
