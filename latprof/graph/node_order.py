"""The order of a graph's nodes: each after what it reads, as near to the file's order as may be."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import onnx

from latprof.errors import ModelFileError


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes with those of their subgraphs, depth first."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Graphs that a node's attributes hold; not those inside them."""
    found = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found += attribute.graphs
    return found


def sort_nodes(graph: onnx.GraphProto, label: str) -> None:
    """Sort nodes in place so that each follows what it reads, changing as little as possible.

    Raises ModelFileError for a cycle, a value that nothing produces or that two nodes write.
    """
    nodes = list(graph.node)
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in producer:
                raise ModelFileError(f"{label}: two operators write the value {name[:200]!r}")
            producer[name] = index
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    needs = []
    for node in nodes:
        for name in node.input:
            if name and name not in given and name not in producer:
                raise ModelFileError(
                    f"{label}: {_label(node)} reads {name[:200]!r}, which nothing produces"
                )
        names = read_names(node)
        needs.append({producer[n] for n in names if n not in given and n in producer})
    order = _topological_order(needs)
    if len(order) < len(nodes):
        stuck = min(set(range(len(nodes))).difference(order))
        raise ModelFileError(f"{label}: the graph has a cycle through {_label(nodes[stuck])}")
    if order != list(range(len(nodes))):
        ordered = [nodes[index] for index in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)


def read_names(node: onnx.NodeProto) -> list[str]:
    """Names a node reads, those its subgraphs take from outside included."""
    names = [name for name in node.input if name]
    for graph in subgraphs(node):
        names += (name for each in all_nodes(graph.node) for name in each.input if name)
    return names


def _topological_order(needs: list[set[int]]) -> list[int]:
    """Indices so that ``needs`` come first, the lowest free one next; cycles are left out."""
    waiting = [len(need) for need in needs]
    readers: list[list[int]] = [[] for _ in needs]
    for index, need in enumerate(needs):
        for earlier in need:
            readers[earlier].append(index)
    free = [index for index, count in enumerate(waiting) if count == 0]
    order = []
    while free:
        index = heapq.heappop(free)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(free, reader)
    return order


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name[:200]!r}" if node.name else node.op_type[:200]
