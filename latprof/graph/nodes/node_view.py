"""A graph's node with what is known of its values: what operators and handlers are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import onnx

from latprof.graph.work.graph_node import GraphNode, Value
from latprof.graph.work.handlers import handler_of

if TYPE_CHECKING:
    from latprof.graph.nodes.value_facts import ValueFacts
    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode

#: Positions of the inputs that are learnt, where constant.
_LEARNT: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "FusedConv", "NhwcFusedConv", "DeformConv"), (1, 2)),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization", "LayerNormalization"), (1, 2)),
    **dict.fromkeys(("GroupNormalization", "Attention", "QAttention"), (1, 2)),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), (1, 2, 3)),
    **dict.fromkeys(("MatMul", "Add", "Mul", "MatMulInteger", "MatMulIntegerToFloat"), (0, 1)),
    **dict.fromkeys(("FusedMatMul", "BiasGelu", "Einsum"), (0, 1)),
    **dict.fromkeys(("ConvInteger", "PRelu", "RMSNormalization"), (1,)),
    **dict.fromkeys(("SimplifiedLayerNormalization", "DynamicQuantizeMatMul", "MatMulNBits"), (1,)),
    **dict.fromkeys(("Gemm", "FusedGemm"), (0, 1, 2)),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3, 6),
    "FastGelu": (1,),
    "Gather": (0,),
    "SkipLayerNormalization": (2, 3, 4),
    "SkipSimplifiedLayerNormalization": (2, 3),
    "EmbedLayerNormalization": (2, 3, 4, 5, 6),
}
#: Elements of an attribute that are kept.
_MAX_ATTRIBUTE = 64
#: What ONNX writes a dimension in has 64 bits.
_MOST_SIZE = 1 << 63


class NodeView:
    """A node with what is known of its values.

    ``read`` and ``fixed`` are positions and names of inputs that another operator or the caller
    makes, and of those that are constant.
    """

    def __init__(
        self,
        node: PlainNode,
        inputs: Sequence[str],
        shapes: Mapping[str, Shape | None],
        constant: set[str],
        facts: ValueFacts,
    ) -> None:
        self.node, self.inputs, self.shapes = node, inputs, shapes
        self.constant, self.facts = constant, facts
        given = [(position, name) for position, name in enumerate(inputs) if name]
        self.read = [each for each in given if each[1] not in constant]
        self.fixed = [each for each in given if each[1] in constant]
        values = {position: facts.values(name) for position, name in self.fixed}
        small = {position: known for position, known in values.items() if known is not None}
        self.seen = _graph_node(node, inputs, self._value, small)

    def _value(self, name: str) -> Value | None:
        if not name:
            return None
        return Value(name, self.shapes.get(name), self.facts.dtype(name), name in self.constant)

    @cached_property
    def scanned(self) -> dict[str, int]:
        """What a Scan takes apart, and along which axis: the first where that is not told."""
        count = self.seen.number("num_scan_inputs", 1)
        names = self.inputs[-count:] if 0 < count <= len(self.inputs) else ()
        told = self.seen.attributes.get("scan_input_axes", ())
        return dict(zip(names, told if len(told) == len(names) else (0,) * len(names), strict=True))

    @property
    def weights(self) -> list[tuple[str, Shape]]:
        """Names and shapes of learnt inputs."""
        return [
            (name, shape)
            for position in _LEARNT.get(self.node.op_type, ())
            if position < len(self.inputs) and (name := self.inputs[position]) in self.constant
            if (shape := self.shapes.get(name))
        ]


def _graph_node(
    node: PlainNode,
    inputs: Sequence[str],
    value: Callable[[str], Value | None],
    values: Mapping[int, tuple[float, ...]],
) -> GraphNode:
    """A node as handlers see it; what later versions take as an input is an attribute too."""
    attributes = _attributes(node)
    told = values.get(1, ())
    if node.op_type.startswith(("Reduce", "Cum")) and told and all(v.is_integer() for v in told):
        axes = tuple(map(int, told))
        attributes |= {"axes": axes} if node.op_type.startswith("Reduce") else {"axis": axes[0]}
    return GraphNode(
        node.op_type,
        "" if node.domain == "ai.onnx" else node.domain,
        tuple(map(value, inputs)),
        tuple(map(value, node.output)),
        attributes,
        values,
        _lengths(node) if node.domain else {},
    )


def resolved(node: PlainNode, shapes: Mapping[str, Shape | None]) -> list[Shape]:
    """Shapes of a node's outputs, from its handler; none where it does not say."""
    handler = handler_of(node.op_type, node.domain)
    if handler is None:
        return []
    try:
        seen = _graph_node(node, node.input, lambda n: Value(n, shapes.get(n)) if n else None, {})
        found = handler.output_shapes(seen)
        shapes_said = [tuple(int(size) for size in shape) for shape in found or ()]
    except (Exception, SystemExit):  # noqa: BLE001 - a handler may be anybody's
        return []
    is_sound = all(0 <= size < _MOST_SIZE for shape in shapes_said for size in shape)
    return shapes_said if is_sound else []


#: Types of the attributes that are read by name: one of another type is not what ONNX means by it.
_TYPES: Mapping[str, int] = {
    **dict.fromkeys(
        (
            *("kernel_shape", "strides", "dilations", "pads", "perm", "axes", "starts", "ends"),
            *("scan_input_axes", "qkv_hidden_sizes"),
        ),
        int(onnx.AttributeProto.INTS),
    ),
    **dict.fromkeys(
        ("group", "axis", "bits", "num_groups", "num_scan_inputs"), int(onnx.AttributeProto.INT)
    ),
    **dict.fromkeys(("auto_pad", "mode", "activation"), int(onnx.AttributeProto.STRING)),
}
_PLAIN: Mapping[int, Callable[[onnx.AttributeProto], Any]] = {
    int(onnx.AttributeProto.INT): lambda a: a.i,
    int(onnx.AttributeProto.FLOAT): lambda a: a.f,
    int(onnx.AttributeProto.STRING): lambda a: _text(a.s),
    int(onnx.AttributeProto.INTS): lambda a: tuple(a.ints[:_MAX_ATTRIBUTE]),
    int(onnx.AttributeProto.FLOATS): lambda a: tuple(a.floats[:_MAX_ATTRIBUTE]),
    int(onnx.AttributeProto.STRINGS): lambda a: tuple(map(_text, a.strings[:_MAX_ATTRIBUTE])),
}


def _text(content: bytes) -> str:
    return content[:1000].decode(errors="replace")


def _attributes(node: PlainNode) -> dict[str, Any]:
    """Attributes as plain values, the first of long lists; no tensors, no graphs."""
    return {
        a.name: plain(a)
        for a in node.attribute
        if (plain := _PLAIN.get(a.type)) and _TYPES.get(a.name, a.type) == a.type
    }


def _lengths(node: PlainNode) -> dict[str, int]:
    """Lengths of attributes that are lists."""
    each = {a.name: len(a.ints) + len(a.floats) + len(a.strings) for a in node.attribute}
    return {name: length for name, length in each.items() if length}


def shaped(value: Value | None) -> Value | None:
    """The value where its shape is known, else None."""
    return value if value is not None and value.shape is not None else None
