"""Operators without a kernel of their own, written out as their definitions say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.graph.runtime_kernels.patterns import MICROSOFT

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.runtime_kernels.kernel_graph import KernelGraph, KernelNode


def expand_functions(graph: KernelGraph) -> None:
    """HardSwish and Mish are a gate and a product, group normalisation seven operators on all."""
    for node in graph.of("HardSwish", "Mish"):
        source, shape = node.data, graph.shape(node.outputs[0])
        gates = ("HardSigmoid",) if node.op_type == "HardSwish" else ("Softplus", "Tanh")
        gate = source
        for op_type in gates:
            gate = _before(graph, node, op_type, shape, gate)
        node.op_type = "Mul"
        graph.read_instead(node, 1, gate)
    for node in graph.of("Swish"):  # its sigmoid and product are merged again
        node.op_type, node.domain = "QuickGelu", MICROSOFT
    for node in graph.of("GroupNormalization"):
        _expand_group_normalization(graph, node)


def _expand_group_normalization(graph: KernelGraph, node: KernelNode) -> None:
    """Means of values and squares, difference, quotient, scale, shift; small ones a group."""
    source, shape = node.data, graph.shape(node.outputs[0])
    groups = node.operator.attributes.get("num_groups", 1)
    small = (*shape[:1], groups, 1)
    mean = _before(graph, node, "ReduceMean", small, source)
    square = _before(graph, node, "Mul", shape, source, source)
    spread = _before(graph, node, "ReduceMean", small, square)
    for op_type in ("Sub", "Add", "Sqrt"):
        spread = _before(graph, node, op_type, small, spread)
    centred = _before(graph, node, "Sub", shape, source, mean)
    normal = _before(graph, node, "Div", shape, centred, spread)
    scaled = _before(graph, node, "Mul", shape, normal)
    node.op_type = "Add"
    graph.read_instead(node, 0, scaled)


def _before(graph: KernelGraph, node: KernelNode, op_type: str, shape: Shape, *reads: str) -> str:
    """Add a kernel before a node; the name of what it writes."""
    name = f"{node.outputs[0]}/{op_type}{graph.count}"
    added = type(node)(node.operator, op_type, "", dict(enumerate(reads)), [name])
    graph.shapes[name] = shape
    graph.add(added, before=node)
    return name
