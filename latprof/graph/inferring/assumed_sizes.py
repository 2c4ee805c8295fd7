"""Sizes that are decided as a model runs: what they can be at most, or as little as they are used.

How many boxes a detector keeps, or where a mask is true, nobody knows from the graph. The work
after it is counted for the largest such size, and said to be assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode
    from latprof.graph.shape_arithmetic import Array

#: Dimensions of a value of which some are known.
Partial: TypeAlias = "Sequence[int | None] | None"
#: Values of a node's small constant inputs as vectors, by position.
Values: TypeAlias = "Mapping[int, Array]"


def is_assumed(node: PlainNode) -> bool:
    """Whether all sizes of a node's outputs are assumed; of others only what is not known."""
    return node.op_type in _RULES and node.domain in ("", "ai.onnx")


def assumed_shapes(
    node: PlainNode,
    shapes: Mapping[str, Shape | None],
    partial: Sequence[Partial],
    values: Values,
) -> list[Shape | None]:
    """Shapes of a node's outputs where inference has none; None for what cannot be assumed.

    ``partial`` are the dimensions of each output that are known.
    """
    inputs = [shapes.get(name) if name else None for name in node.input]
    rule = _RULES[node.op_type] if is_assumed(node) else None
    attributes = {a.name: a.i for a in node.attribute}
    try:
        most = rule(inputs, attributes, values) if rule else None
    except (LookupError, TypeError, ValueError):
        most = None
    return [_filled(known, most, inputs, node.op_type) for known in partial]


def _filled(
    known: Partial, most: Shape | None, inputs: Sequence[Shape | None], op_type: str
) -> Shape | None:
    """What is known of a shape, and for the rest the most that it can be."""
    if known is None:
        return most
    like = most if most is not None else next(iter(inputs), None)
    if op_type == "Reshape" and inputs and inputs[0] is not None:
        return _reshaped(known, math.prod(inputs[0]))
    if like is None or len(like) != len(known):
        like = (1,) * len(known)
    return tuple(b if a is None else a for a, b in zip(known, like, strict=True))


def _reshaped(known: Sequence[int | None], elements: int) -> Shape | None:
    """The first unknown side of a reshaped value has all that the others leave."""
    fixed = math.prod(side for side in known if side is not None)
    if not fixed or elements % fixed:
        return None
    free = iter([elements // fixed])
    return tuple(next(free, 1) if side is None else side for side in known)


def _boxes(inputs: Sequence[Shape | None], values: Values) -> Shape:
    """NonMaxSuppression: each class of each image keeps as many boxes as it may."""
    batch, classes, boxes = inputs[1] or ()
    kept = int(values[2][0]) if 2 in values and values[2].size else boxes
    return batch * classes * min(max(kept, 0), boxes), 3


def _chosen(inputs: Sequence[Shape | None], attributes: Mapping[str, int]) -> Shape | None:
    """Unique and Compress, of a side or of all elements: at most what there is."""
    return inputs[0] if "axis" in attributes else (math.prod(inputs[0] or ()),)


_Rule: TypeAlias = "Callable[[Sequence[Shape | None], Mapping[str, int], Values], Shape | None]"
_RULES: Mapping[str, _Rule] = {
    "NonZero": lambda inputs, _a, _v: (len(inputs[0] or ()), math.prod(inputs[0] or ())),
    "NonMaxSuppression": lambda inputs, _a, values: _boxes(inputs, values),
    **dict.fromkeys(
        ("Unique", "Compress"), lambda inputs, attributes, _v: _chosen(inputs, attributes)
    ),
    **dict.fromkeys(("TopK", "Slice", "Pad"), lambda inputs, _a, _v: inputs[0]),
}
