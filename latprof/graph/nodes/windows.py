"""Windows of convolutions and pools: each side of kernel, stride, dilation and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode
    from latprof.graph.work.graph_node import GraphNode


@dataclass(frozen=True)
class Sides:
    """Sides of a window, outermost first; all empty, and one group, for what has none."""

    kernel: Shape = ()
    strides: Shape = ()
    dilations: Shape = ()
    pads: Shape = ()
    groups: int = 1


def windows_of(node: PlainNode, weight: Shape, seen: GraphNode) -> Sides:
    """The window of a convolution or pool; ``weight`` is a convolution's."""
    if not ("Conv" in node.op_type or node.op_type.endswith("Pool")):
        return Sides()
    given = seen.attributes
    kernel = given.get("kernel_shape") or weight[2:]
    sides = len(kernel)
    strides = given.get("strides") or (1,) * sides
    dilations = given.get("dilations") or (1,) * sides
    return Sides(
        tuple(kernel),
        tuple(strides),
        tuple(dilations),
        _pads(seen, kernel, strides, dilations),
        seen.number("group", 1),
    )


def _pads(seen: GraphNode, kernel: Shape, strides: Shape, dilations: Shape) -> Shape:
    """Begins, then ends; what SAME asks for is worked out from the sizes."""
    sides = len(kernel)
    how = seen.attributes.get("auto_pad", "NOTSET")
    given: Shape = seen.attributes.get("pads") or (0,) * (2 * sides)
    if how not in ("SAME_UPPER", "SAME_LOWER") or "Transpose" in seen.op_type:
        return given if how == "NOTSET" else (0,) * (2 * sides)
    try:
        before, after = seen.shape(0)[2:], seen.output_shape()[2:]
        totals = [
            max((out - 1) * stride + (size - 1) * dilation + 1 - data, 0)
            for data, out, size, stride, dilation in zip(
                before, after, kernel, strides, dilations, strict=True
            )
        ]
    except (LookupError, ValueError):
        return given
    small = [total // 2 for total in totals]
    large = [total - less for total, less in zip(totals, small, strict=True)]
    return (*small, *large) if how == "SAME_UPPER" else (*large, *small)
