"""ONNX operators whose outputs have the shapes of another domain's: what inference can follow.

onnx infers no shapes for ONNX Runtime's own operators, and of nothing that reads their results.
Where shapes are inferred, such an operator is replaced by one or a few that onnx knows. So are
pools with ``ceil_mode``, of which onnx counts a window too many before opset 22: the one that
begins behind the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from onnx import TensorProto, helper
from onnx.helper import make_node

if TYPE_CHECKING:
    import onnx

    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode

_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
#: Those in ONNX's own domain of which onnx infers nothing, most of them ONNX Runtime's; and up to
#: which version of it.
_IN_ONNX = {
    "GroupNormalization": math.inf,
    **dict.fromkeys(("SimplifiedLayerNormalization", "Affine", "ImageScaler"), math.inf),
    **dict.fromkeys(("ParametricSoftplus", "ScaledTanh"), math.inf),
    "LayerNormalization": 16,
}
_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
#: The shape of the first input, of as many outputs as stand here.
_LIKE_FIRST: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(
        """
        Affine BiasAdd BiasDropout BiasGelu BiasSoftmax CausalConvWithState ComplexMul
        ComplexMulConj DecoderAttention DecoderMaskedMultiHeadAttention FastGelu GatedAdd
        GatedRMSNorm Gelu GemmaRotaryEmbedding GroupNorm GroupNormalization ImageScaler Inverse
        LayerNormalization LongformerAttention MoE MRotaryEmbedding NGramRepeatBlock
        ParametricSoftplus QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QMoE QuickGelu
        ReorderInput RotaryEmbedding ScaledSiLU ScaledTanh SimplifiedLayerNormalization Trilu
        """.split(),  # noqa: SIM905 - a table
        (0,),
    ),
    "SkipGroupNorm": (0, 1),
    "SkipLayerNormalization": (0, 3),
    "SkipSimplifiedLayerNormalization": (0, 3),
}
#: Operators of ONNX with the same shapes from the inputs at these positions.
_ALIKE: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1)),
    "Conv": ("Conv", (0, 1)),
    "QLinearConv": ("QLinearConv", (0, 1, 2, 3, 4, 5, 6, 7)),
    "FusedGemm": ("Gemm", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "MatMulInteger16": ("MatMul", (0, 1)),
    "GemmFastGelu": ("MatMul", (0, 1)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Add", (0, 3)),
    "QLinearWhere": ("Where", (0, 1, 4)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "MaxPool": ("MaxPool", (0,)),
    "AveragePool": ("AveragePool", (0,)),
    "GlobalAveragePool": ("GlobalAveragePool", (0,)),
    "GlobalMaxPool": ("GlobalMaxPool", (0,)),
    "NhwcMaxPool": ("MaxPool", (0,)),
    "NhwcConv": ("Conv", (0, 1)),
    "NhwcFusedConv": ("Conv", (0, 1)),
    "CDist": ("MatMul", (0, 1)),
    "QEmbedLayerNormalization": ("Gather", (2, 0)),
    "EmbedLayerNormalization": ("Gather", (2, 0)),
    "GemmFloat8": ("Gemm", (0, 1)),
    "MaxpoolWithMask": ("MaxPool", (0,)),
    "GridSample": ("GridSample", (0, 1)),
    "Pad": ("Pad", (0, 1)),
    "Range": ("Range", (0, 1, 2)),
    "TorchEmbedding": ("Gather", (0, 1)),
    "GatherND": ("GatherND", (0, 1)),
    "DequantizeLinear": ("DequantizeLinear", (0, 1)),
    "QuantizeLinear": ("QuantizeLinear", (0, 1)),
}
#: Attributes that ONNX's operator lacks.
_NOT_ONNX = frozenset({"activation", "activation_params", "alpha", "beta", "channels_last"})
#: Sides of values whose channels are last, where neither weight nor window tells.
_SIDES = 4

Nodes: TypeAlias = "list[onnx.NodeProto]"


def with_stand_ins(
    model: onnx.ModelProto, nodes: Sequence[PlainNode], weights: Mapping[str, Shape | None]
) -> onnx.ModelProto:
    """A model whose nodes of ONNX Runtime's domains are replaced; itself where it has none.

    ``nodes`` say what those of its graph are, ``weights`` are the shapes of its initialisers. The
    result shares no message with ``model``.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)

    def is_own(node: PlainNode) -> bool:
        if node.domain in _DOMAINS:
            return True
        own = opset <= _IN_ONNX.get(node.op_type, 0) or node.op_type in _POOLS
        return own and node.domain in ("", "ai.onnx")

    if not any(map(is_own, nodes)):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    for node in nodes:
        stand_in = _stand_in(node, weights, copy.graph) if is_own(node) else []
        copy.graph.node.extend(stand_in or [node.message])
    return copy


def _stand_in(
    node: PlainNode, weights: Mapping[str, Shape | None], graph: onnx.GraphProto
) -> Nodes:
    """Nodes in its place; none where nobody knows its shapes."""
    try:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in _POOLS and node.domain in ("", "ai.onnx"):
            floored = _floored(attributes)
            return [make_node(node.op_type, node.input, node.output, **floored)] if floored else []
        if node.op_type in _LIKE_FIRST:
            outputs = (p for p in _LIKE_FIRST[node.op_type] if p < len(node.output))
            return [
                make_node("Identity", [node.input[0]], [node.output[p]])
                for p in outputs
                if node.output[p]
            ]
        if node.op_type in _ALIKE:
            last = attributes.get("channels_last") or node.op_type.startswith("Nhwc")
            alike = _alike(node, attributes)
            return _channels_last(alike, weights) if last else [alike]
        special = _SPECIAL.get(node.op_type)
        return special(_Place(node, attributes, weights, graph)) if special else []
    except (IndexError, KeyError, OverflowError, StopIteration, TypeError, ValueError):
        return []  # it lacks what it needs


def _alike(node: PlainNode, attributes: Mapping[str, Any]) -> onnx.NodeProto:
    op_type, positions = _ALIKE[node.op_type]
    kept = {name: v for name, v in attributes.items() if name not in _NOT_ONNX}
    if op_type == "MatMul":
        kept = {}
    if op_type in _POOLS:
        kept = _floored(kept) or kept
    return make_node(op_type, [node.input[p] for p in positions], [node.output[0]], **kept)


def _floored(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A pool's attributes with ``ceil_mode`` without it, at the same output; empty for others.

    A side is ceil((data + pads - window) / stride) + 1, or where this would begin a window behind
    data and first pad, ceil((data + first pad) / stride). Which of the two it is follows from the
    window alone.
    """
    kernel = attributes.get("kernel_shape", ())
    if not attributes.get("ceil_mode") or attributes.get("auto_pad") in (
        b"SAME_UPPER",
        b"SAME_LOWER",
    ):
        return {}
    sides = len(kernel)
    strides = attributes.get("strides") or [1] * sides
    dilations = attributes.get("dilations") or [1] * sides
    valid = attributes.get("auto_pad") == b"VALID"
    pads = [0] * 2 * sides if valid else [*(attributes.get("pads") or [0] * 2 * sides)]
    found = {"kernel_shape": [*kernel], "dilations": [*dilations]}
    for side, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        last = sides + side
        if (size - 1) * dilation + 1 >= pads[last] + stride:
            pads[last] += stride - 1
        else:
            found["kernel_shape"][side] = found["dilations"][side] = 1
            pads[last] = 0
    kept = {name: attributes[name] for name in ("storage_order", "p") if name in attributes}
    plain = (
        {} if all(each == 1 for each in found["dilations"]) else {"dilations": found["dilations"]}
    )
    return {"kernel_shape": found["kernel_shape"], "strides": strides, "pads": pads} | kept | plain


def _channels_last(node: onnx.NodeProto, weights: Mapping[str, Shape | None]) -> Nodes:
    """ONNX's operator, which wants the channels second, between transpositions."""
    place = 3 if node.op_type == "QLinearConv" else 1
    weight = weights.get(node.input[place]) if len(node.input) > place else None
    kernel = next((a.ints for a in node.attribute if a.name == "kernel_shape"), ())
    sides = len(weight or ()) or (len(kernel) + 2 if kernel else _SIDES)
    source, result = node.input[0], node.output[0]
    node.input[0], node.output[0] = f"{result}/data", f"{result}/result"
    to_second = [0, sides - 1, *range(1, sides - 1)]
    to_last = [0, *range(2, sides), 1]
    return [
        make_node("Transpose", [source], [node.input[0]], perm=to_second),
        node,
        make_node("Transpose", [node.output[0]], [result], perm=to_last),
    ]


@dataclass(frozen=True)
class _Place:
    """A node to be replaced, and what is around it."""

    node: PlainNode
    attributes: Mapping[str, Any]
    weights: Mapping[str, Shape | None]
    graph: onnx.GraphProto

    def made(self, name: str) -> str:
        """The name of a new value."""
        return f"{self.node.output[0]}/{name}"

    def weight(self, shape: tuple[int, ...]) -> str:
        """The name of a new weight of a shape, without values."""
        name = self.made("weight")
        self.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=shape)
        return name

    def numbers(self, name: str, values: Sequence[int]) -> tuple[onnx.NodeProto, str]:
        """A constant of whole numbers, and its name."""
        return make_node("Constant", [], [self.made(name)], value_ints=values), self.made(name)


def _product(place: _Place) -> Nodes:
    """FusedMatMul: either factor may be transposed in its last two sides."""
    if place.attributes.get("transBatchA") or place.attributes.get("transBatchB"):
        return []
    nodes, factors = [], []
    for position, name in enumerate(("transA", "transB")):
        factor = place.node.input[position]
        if place.attributes.get(name):
            nodes += [make_node("Einsum", [factor], [place.made(name)], equation="...ij->...ji")]
            factor = place.made(name)
        factors.append(factor)
    return [*nodes, make_node("MatMul", factors, [place.node.output[0]])]


def _blockwise(place: _Place) -> Nodes:
    """MatMulNBits: the weight's sides are attributes."""
    weight = place.weight((place.attributes["K"], place.attributes["N"]))
    return [make_node("MatMul", [place.node.input[0], weight], [place.node.output[0]])]


def _projecting_attention(place: _Place) -> Nodes:
    """Attention: its result is as wide as the values, a third of the weight unless it says."""
    inputs, outputs = place.weights[place.node.input[1]] or ()
    sizes = place.attributes.get("qkv_hidden_sizes") or (outputs // 3,) * 3
    data, nodes = place.node.input[0], []
    if place.node.op_type == "QAttention":  # 8-bit numbers in, others out
        data = place.made("data")
        nodes = [make_node("Cast", [place.node.input[0]], [data], to=TensorProto.FLOAT)]
    weight = place.weight((inputs, sizes[2]))
    return [*nodes, make_node("MatMul", [data, weight], [place.node.output[0]])]


def _multi_head_attention(place: _Place) -> Nodes:
    """MultiHeadAttention with three inputs: as wide as the values.

    Where these are apart by heads, onnx finds no shape, and the operator's handler is asked.
    """
    node = place.node
    if len(node.input) > 1 and node.input[1]:
        if len(node.input) < 3 or not node.input[2]:
            return []
        factors = [node.input[0], node.input[2]]
        return [make_node("Einsum", factors, [node.output[0]], equation="bqh,bkv->bqv")]
    return _first_of(place, node.input[0], 3, 1)  # (batch, length, heads, 3, size)


def _group_query_attention(place: _Place) -> Nodes:
    """GroupQueryAttention: as wide as the query, behind whose heads the others may be packed."""
    node, given = place.node, place.attributes
    if len(node.input) > 1 and node.input[1]:
        return [make_node("Identity", [node.input[0]], [node.output[0]])]
    heads = given["num_heads"]
    split, name = place.numbers("heads", [0, 0, heads + 2 * given["kv_num_heads"], -1])
    packed = make_node("Reshape", [node.input[0], name], [place.made("packed")])
    return [split, packed, *_first_of(place, place.made("packed"), 2, heads)]


def _first_of(place: _Place, name: str, axis: int, count: int) -> Nodes:
    """The first of a side, and all sides from the third on in one."""
    parts = (("starts", [0]), ("ends", [count]), ("axes", [axis]), ("joined", [0, 0, -1]))
    made = [place.numbers(*part) for part in parts]
    *bounds, joined = (each for _, each in made)
    cut = place.made("cut")
    return [
        *(node for node, _ in made),
        make_node("Slice", [name, *bounds], [cut]),
        make_node("Reshape", [cut, joined], [place.node.output[0]]),
    ]


def _packed_rows(place: _Place) -> Nodes:
    """GatherBlockQuantized: rows of a table of few bits, of which a byte may hold several."""
    table = next(t for t in place.graph.initializer if t.name == place.node.input[0])
    each = 8 // place.attributes.get("bits", 4) if table.data_type == TensorProto.UINT8 else 1
    weight = place.weight((*table.dims[:-1], table.dims[-1] * each))
    axis = place.attributes.get("gather_axis", 0)
    return [make_node("Gather", [weight, place.node.input[1]], [place.node.output[0]], axis=axis)]


def _recurrent(place: _Place) -> Nodes:
    """DynamicQuantizeLSTM: as LSTM, whose shapes do not depend on its weights'."""
    node, given = place.node, place.attributes
    kept = {name: given[name] for name in ("hidden_size", "direction") if name in given}
    return [make_node("LSTM", list(node.input[:3]), list(node.output), **kept)]


def _joined(place: _Place) -> Nodes:
    """QLinearConcat: scale and zero point of the result, then value, scale, zero point of each."""
    axis = place.attributes.get("axis", 1)
    node = place.node
    return [make_node("Concat", list(node.input[2::3]), [node.output[0]], axis=axis)]


def _mean(place: _Place) -> Nodes:
    """QLinearReduceMean, whose axes are an attribute."""
    axes, name = place.numbers("axes", place.attributes["axes"])
    kept = place.attributes.get("keepdims", 1)
    node = place.node
    return [axes, make_node("ReduceSum", [node.input[0], name], [node.output[0]], keepdims=kept)]


def _reordered(place: _Place) -> Nodes:
    """ReorderOutput back from blocks of channels: what is more than the channels is cut off."""
    if place.attributes.get("channels_last"):
        return []
    channels = place.attributes["channels"]
    made = [place.numbers(*part) for part in (("starts", [0]), ("ends", [channels]), ("axes", [1]))]
    names = [place.node.input[0], *(name for _, name in made)]
    return [*(node for node, _ in made), make_node("Slice", names, [place.node.output[0]])]


_SPECIAL: Mapping[str, Callable[[_Place], Nodes]] = {
    "FusedMatMul": _product,
    "FusedMatMulActivation": _product,
    "TransposeMatMul": _product,
    "GatherBlockQuantized": _packed_rows,
    "MatMulNBits": _blockwise,
    "MatMulBnb4": _blockwise,
    "Attention": _projecting_attention,
    "QAttention": _projecting_attention,
    "DecoderMaskedSelfAttention": _projecting_attention,
    "MultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _group_query_attention,
    "SparseAttention": _group_query_attention,
    "DynamicQuantizeLSTM": _recurrent,
    "QLinearConcat": _joined,
    "QLinearReduceMean": _mean,
    "ReorderOutput": _reordered,
}
