"""The order of a graph's nodes: each after what it reads, as near to the file's order as may be."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx

from latprof.errors import ModelFileError

if TYPE_CHECKING:
    from latprof.graph.plain_nodes import PlainNode


def sort_nodes(graph: onnx.GraphProto, nodes: Sequence[PlainNode], label: str) -> bool:
    """Sort nodes in place so that each follows what it reads, changing as little as possible.

    ``nodes`` are the graph's as they are before; returns whether that has changed. Raises
    ModelFileError for a cycle, a value that nothing produces or that two nodes write.
    """
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
        needs.append({producer[n] for n in node.reads if n not in given and n in producer})
    if all(max(need, default=-1) < index for index, need in enumerate(needs)):
        return False
    order = _topological_order(needs)
    if len(order) < len(nodes):
        stuck = min(set(range(len(nodes))).difference(order))
        raise ModelFileError(f"{label}: the graph has a cycle through {_label(nodes[stuck])}")
    contents = [nodes[index].message.SerializeToString() for index in order]
    del graph.node[:]
    graph.node.extend(map(onnx.NodeProto.FromString, contents))
    return True


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


def _label(node: PlainNode) -> str:
    return f"{node.op_type} {node.name[:200]!r}" if node.name else node.op_type[:200]
