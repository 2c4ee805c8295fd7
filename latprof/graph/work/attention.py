"""Multiply-accumulates of attention in one operator: scores, weighted values, projections."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.work.graph_node import GraphNode, MacCounter, ShapeRule


def _standard(node: GraphNode) -> int:
    """ONNX's Attention: (batch, heads, length, size), or (batch, length, heads x size)."""
    query, key, value = node.shape(0), node.shape(1), node.shape(2)
    past = node.shape(4)[2] if node.has(4) else 0
    batch = query[0]
    if len(query) == 4:
        heads, queries, size, value_size = query[1], query[2], query[3], value[3]
        keys = key[2]
    else:
        heads, queries = node.number("q_num_heads", 1), query[1]
        size = query[2] // heads
        value_size = value[2] // node.number("kv_num_heads", 1)
        keys = key[1]
    return batch * heads * queries * (keys + past) * (size + value_size)


def _projecting(node: GraphNode, past: int = 4) -> int:
    """com.microsoft's Attention, which multiplies its input with the weights of all three."""
    batch, queries = node.shape(0)[:2]
    inputs, outputs = node.shape(1)
    sizes = node.attributes.get("qkv_hidden_sizes") or (outputs // 3,) * 3
    before = node.shape(past)[3] if node.has(past) else 0
    scores = batch * queries * (queries + before) * (sizes[0] + sizes[2])
    return batch * queries * inputs * outputs + scores


def _quantized(node: GraphNode) -> int:
    return _projecting(node, past=8)


def _multi_head(node: GraphNode, past: int = 6) -> int:
    """com.microsoft's MultiHeadAttention: separate, or packed into the query."""
    query = node.shape(0)
    batch, queries = query[0], query[1]
    if len(query) == 5:  # (batch, length, heads, 3, size)
        hidden = value_hidden = query[2] * query[4]
        keys = queries
    else:
        hidden = query[2]
        key, heads = node.shape(1), node.number("num_heads", 1)
        if len(key) == 5:  # (batch, keys, heads, 2, size)
            keys, value_hidden = key[1], key[2] * key[4]
        else:
            value = node.shape(2)
            keys = key[2] if len(key) == 4 else key[1]
            value_hidden = heads * value[3] if len(value) == 4 else value[2]
    before = node.shape(past)[2] if node.has(past) else 0
    return batch * queries * (keys + before) * (hidden + value_hidden)


def _multi_head_shapes(node: GraphNode) -> list[Shape]:
    """As many rows as the query, as wide as the values of all heads."""
    batch, queries = node.shape(0)[:2]
    value = node.shape(2)
    return [(batch, queries, value[1] * value[3] if len(value) == 4 else value[2])]


def _masked_multi_head(node: GraphNode) -> int:
    """One step of decoding; the past is input 5."""
    return _multi_head(node, past=5)


def _group_query(node: GraphNode) -> int:
    """com.microsoft's GroupQueryAttention: fewer heads of keys than of queries."""
    batch, queries, width = node.shape(0)
    heads, key_heads = node.number("num_heads", 1), node.number("kv_num_heads", 1)
    packed = not node.has(1)
    size = width // (heads + 2 * key_heads if packed else heads)
    before = node.shape(3)[2] if node.has(3) else 0
    return batch * heads * queries * (queries + before) * 2 * size


def _packed(node: GraphNode) -> int:
    """com.microsoft's PackedAttention: tokens of all sequences in a row, without padding."""
    tokens, inputs = node.shape(0)
    outputs = node.shape(1)[1]
    batch, length = node.shape(3)
    sizes = node.attributes.get("qkv_hidden_sizes") or (outputs // 3,) * 3
    return tokens * inputs * outputs + batch * length * length * (sizes[0] + sizes[2])


def _packed_multi_head(node: GraphNode) -> int:
    """The same without projections; the query may hold all three."""
    query = node.shape(0)
    batch, length = node.shape(4)
    width = query[1] * query[3] if len(query) == 4 else query[1]
    value = node.shape(2)[1] if node.has(2) else width
    return batch * length * length * (width + value)


def _cross(node: GraphNode) -> int:
    """com.microsoft's DecoderAttention: (length, batch, size), projections in two weights."""
    queries, batch, size = node.shape(0)
    keys = node.shape(1)[0]
    projected = batch * size * (queries * size + keys * 2 * size)
    return projected + batch * queries * keys * 2 * size


def _windowed(node: GraphNode) -> int:
    """com.microsoft's LongformerAttention: keys within a window to both sides."""
    batch, length, size = node.shape(0)
    near = min(2 * node.number("window", length), length)
    return batch * length * (size * node.shape(1)[1] + near * 2 * size)


def _linear(node: GraphNode) -> int:
    """LinearAttention: each step adds to a state of d_k x d_v a head, and reads it."""
    batch, steps, width = node.shape(0)
    heads, key_heads = node.number("q_num_heads", 1), node.number("kv_num_heads", 1)
    state = (width // heads) * (node.shape(2)[2] // key_heads)
    rule = str(node.attributes.get("update_rule", "gated_delta"))
    updates = 2 if rule.endswith("delta") else 1  # a delta rule reads the state first
    return batch * steps * state * (heads + updates * key_heads)


def _relative_bias(node: GraphNode) -> int:
    """The gate of GatedRelativePositionBias: each query's head with a weight of size x D."""
    batch, length, hidden = node.shape(0)
    return batch * length * hidden * math.prod(node.shape(2)[1:])


ATTENTION: dict[str, MacCounter] = {
    "Attention": _standard,
    "com.microsoft:Attention": _projecting,
    "com.microsoft:QAttention": _quantized,
    "com.microsoft:MultiHeadAttention": _multi_head,
    "com.microsoft:DecoderMaskedMultiHeadAttention": _masked_multi_head,
    "com.microsoft:GroupQueryAttention": _group_query,
    "com.microsoft:GatedRelativePositionBias": _relative_bias,
    "com.microsoft:SparseAttention": _group_query,
    "com.microsoft:DecoderMaskedSelfAttention": _projecting,
    "com.microsoft:DecoderAttention": _cross,
    "com.microsoft:PackedAttention": _packed,
    "com.microsoft:PackedMultiHeadAttention": _packed_multi_head,
    "com.microsoft:LongformerAttention": _windowed,
    "com.microsoft:LinearAttention": _linear,
    "LinearAttention": _linear,
    "ai.onnx.preview:FlexAttention": _standard,
}
#: Shapes of outputs, where none of ONNX's operators has the same.
ATTENTION_SHAPES: dict[str, ShapeRule] = {"com.microsoft:MultiHeadAttention": _multi_head_shapes}
