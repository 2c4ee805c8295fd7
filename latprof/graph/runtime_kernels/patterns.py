"""What ONNX Runtime's optimiser merges on the CPU before it looks at layouts, in its order.

Each rewrite states the condition of the transformer it stands for (onnxruntime/core/optimizer).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.runtime_kernels.kernel_graph import KernelGraph, KernelNode

MICROSOFT = "com.microsoft"
_CONV_ACTIVATIONS = frozenset(
    {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish"}
)
#: The end of a slice without one.
_OPEN_END = float(2**63 - 1)
_GEMM_ACTIVATIONS = frozenset(
    {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "Softplus", "Softsign"}
    | {"ThresholdedRelu", "ParametricSoftplus", "Celu", "Selu"}
)


def remove_what_does_nothing(graph: KernelGraph) -> None:
    """Casts to the same dtype, slices of all, expansions to the same shape, x + 0, x * 1.

    A slice that ends at the size itself is run: the optimiser looks for an open end, and no shape.
    """
    for node in graph.of("CastLike"):  # a function of Cast
        node.op_type = "Cast"
        if 1 in node.inputs:
            graph.forget(node, 1)
    neutral = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}
    for node in graph.of("Cast", "Slice", "Expand", *neutral):
        if len(node.inputs) != 1:
            continue
        ((position, source),) = node.inputs.items()
        same_shape = graph.shape(source) == graph.shape(node.outputs[0])
        same_type = graph.dtypes.get(source) == graph.dtypes.get(node.outputs[0])
        if node.op_type in neutral:
            first = position == 0 or node.op_type in ("Add", "Mul")
            nothing = first and node.scalar() == neutral[node.op_type]
        elif node.op_type == "Cast":
            nothing = same_type and graph.dtypes.get(source) is not None
        elif node.op_type == "Slice":
            constants = node.operator.constants
            ends = constants.get(2) or node.operator.attributes.get("ends") or (0,)
            open_ended = all(end >= _OPEN_END for end in ends)
            nothing = open_ended and all(step == 1 for step in constants.get(4, (1.0,)))
        else:
            nothing = True
        if nothing and same_shape:
            graph.bypass(node, position)


def choices_the_other_way_round(graph: KernelGraph) -> None:
    """NotWhereFusion: what only chooses is not negated."""
    for node in graph.of("Not"):
        output = node.outputs[0]
        readers = graph.readers(output)
        chooses = {(reader.op_type, reader.inputs.get(0)) for reader in readers}
        if chooses == {("Where", output)} and output not in graph.outputs:
            readers[0].parts += node.parts
            graph.bypass(node)


def merge_what_is_the_same(graph: KernelGraph) -> None:
    """CommonSubexpressionElimination: one of several that do the same with the same values."""
    seen: dict[tuple[object, ...], KernelNode] = {}
    for node in list(graph.nodes):
        operator = node.operator
        if len(operator.constants) < node.constants or len(node.outputs) != 1:
            continue
        attributes = tuple(sorted(operator.attributes.items()))
        values = tuple(sorted(operator.constants.items()))
        key = (node.op_type, node.domain, tuple(node.inputs.items()), attributes, values)
        first = seen.setdefault(key, node)
        if first is not node and graph.outputs.isdisjoint(node.outputs):
            first.parts += node.parts
            graph.read_from(node, first)


def sums_into_convolutions(graph: KernelGraph) -> None:
    """ConvAddActivationFusion: a convolution in plain layout adds what another node made."""
    for node in graph.of("Conv"):
        after = graph.only_reader(node)
        if node.domain or after is None or after.op_type != "Add" or len(after.inputs) != 2:
            continue
        other = next(name for name in after.inputs.values() if name != node.outputs[0])
        writer = graph.writer(other)
        if writer is None or graph.shape(other) != graph.shape(node.outputs[0]):
            continue
        graph.absorb(node, after, [other])
        graph.move_later(node, writer)
        node.activation, node.op_type, node.domain = "add", "FusedConv", MICROSOFT
        applied = graph.only_reader(node)
        if applied is not None and applied.op_type in _CONV_ACTIVATIONS:
            name = applied.operator.activation or applied.op_type.lower()
            graph.absorb(node, applied)
            node.activation = f"add+{name}"


def fold_into_convolutions(graph: KernelGraph) -> None:
    """Padding before a convolution; scale, shift and normalisation after one of fixed weight."""
    for node in graph.of("Pad"):
        after = graph.only_reader(node)
        zero = not any(node.operator.constants.get(2, ()))
        constant = node.operator.attributes.get("mode", "constant") == "constant"
        takes = after is not None and after.op_type in ("Conv", "MaxPool", "AveragePool")
        spatial = graph.shape(node.data)[:2] == graph.shape(node.outputs[0])[:2]
        if takes and zero and constant and spatial and after is not None:
            plain = after.op_type == "Conv" and after.operator.attributes.get("auto_pad", "NOTSET")
            if plain == "NOTSET":
                after.parts = node.parts + after.parts
                graph.bypass(node)
    for node in graph.of("Conv"):
        after = graph.only_reader(node) if node.constants else None
        while after is not None and [*after.inputs] == [0]:
            channels = graph.shape(node.outputs[0])[1:2]
            if after.op_type != "BatchNormalization" and not (
                after.op_type in ("Add", "Mul") and one_a_channel(after, channels, graph)
            ):
                break
            graph.absorb(node, after)
            after = graph.only_reader(node)


def one_a_channel(node: KernelNode, channels: tuple[int, ...], graph: KernelGraph) -> bool:
    """Whether the constant is one number a channel, in the shape of a convolution's result."""
    shape = node.constant_shape()
    rank = len(graph.shape(node.outputs[0]))
    if shape is None or not channels:
        return False
    sides = (1,) * (rank - 2)
    return shape in ((*channels, *sides), (1, *channels, *sides)) or (
        node.op_type == "Mul" and math.prod(shape) == 1 and len(shape) <= rank
    )


def products_with_a_bias(graph: KernelGraph) -> None:
    """MatMulAddFusion: a product with a matrix and its bias become Gemm, reshaped around."""
    for node in graph.of("MatMul"):
        after = graph.only_reader(node)
        if after is None or after.op_type != "Add":
            continue
        others = [name for name in after.inputs.values() if name != node.outputs[0]]
        left = graph.shape(node.data)
        weight = node.operator.weight_shape if 1 not in node.inputs else ()
        right = graph.shape(node.inputs[1]) if 1 in node.inputs else weight
        bias = graph.shape(others[0]) if others else after.constant_shape()
        if len(left) < 2 or len(right) != 2 or not bias:
            continue
        flat = len(left) == 2
        whole = bias == (left[0], right[1]) and flat and bool(others)
        if whole or (bias in ((right[1],), (1, right[1])) and (len(bias) == 1 or flat)):
            graph.absorb(node, after, others)
            writer = graph.writer(others[0]) if others else None
            if writer is not None:
                graph.move_later(node, writer)
            node.op_type = "Gemm"


def sums_into_gemm(graph: KernelGraph) -> None:
    """GemmSumFusion and GemmTransposeFusion: a Gemm without a bias, transposed factors."""
    for node in graph.of("Gemm"):
        for position in (0, 1):
            before = graph.writer(node.inputs.get(position, ""))
            if (
                before is not None
                and before.op_type == "Transpose"
                and len(graph.shape(before.outputs[0])) == 2
                and graph.only_reader(before) is node
            ):
                node.parts = before.parts + node.parts
                graph.bypass(before)


def activations(graph: KernelGraph) -> None:
    """ConvActivationFusion and GemmActivationFusion."""
    for node in graph.of("Conv", "Gemm"):
        after = graph.only_reader(node)
        wanted = _CONV_ACTIVATIONS if node.op_type == "Conv" else _GEMM_ACTIVATIONS
        if after is None or after.op_type not in wanted or len(after.inputs) != 1:
            continue
        if node.op_type == "Gemm" and _is_reshaped(graph, node):
            continue
        node.activation = after.operator.activation or after.op_type.lower()
        graph.absorb(node, after)
        node.op_type, node.domain = f"Fused{node.op_type}", MICROSOFT


def _is_reshaped(graph: KernelGraph, node: KernelNode) -> bool:
    """Whether a Gemm was made of a product of more than two sides, which has a reshape after it."""
    return len(graph.shape(node.outputs[0])) > 2


def scaled_and_transposed_products(graph: KernelGraph) -> None:
    """MatmulTransposeFusion and MatMulScaleFusion: both are done while factors are read."""
    for node in graph.of("MatMul"):
        for position in (0, 1):
            changed = True
            while changed:
                changed = False
                before = graph.writer(node.inputs.get(position, ""))
                if before is None or graph.only_reader(before) is not node:
                    break
                if _swaps_last(before) or _scales(before):
                    fused = [*before.parts, *node.parts]
                    if _swaps_last(before):
                        _transpose_factor(node, position)
                    graph.bypass(before, min(before.inputs))
                    node.parts, node.op_type, node.domain = fused, "FusedMatMul", MICROSOFT
                    changed = True
        after = graph.only_reader(node)
        if after is not None and _scales(after):
            graph.absorb(node, after)
            node.op_type, node.domain = "FusedMatMul", MICROSOFT


def _transpose_factor(node: KernelNode, position: int) -> None:
    """Note that a product reads a factor with its last two sides swapped."""
    attributes, name = node.operator.attributes, ("transA", "transB")[position]
    swapped = {**attributes, name: 1 - attributes.get(name, 0)}
    node.operator = dataclasses.replace(node.operator, attributes=swapped)


def _swaps_last(node: KernelNode) -> bool:
    if node.op_type != "Transpose":
        return False
    perm = node.operator.attributes.get("perm", ())
    rank = len(perm)
    return rank >= 2 and perm == (*range(rank - 2), rank - 1, rank - 2)


def _scales(node: KernelNode) -> bool:
    """Whether a node multiplies by a constant number, or divides by one."""
    shape = node.constant_shape()
    if len(node.inputs) != 1 or shape is None or math.prod(shape) != 1:
        return False
    return node.op_type == "Mul" or (node.op_type == "Div" and 0 in node.inputs)
