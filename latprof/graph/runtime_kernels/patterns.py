"""What ONNX Runtime's optimiser merges on the CPU before it looks at layouts, in its order.

Each rewrite states the condition of the transformer it stands for (onnxruntime/core/optimizer).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from latprof.graph.runtime_kernels.transposes import moved_into

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


def gelu(graph: KernelGraph) -> None:
    """GeluFusion: x / sqrt(2), Erf, + 1, * x, * 0.5, the last two in any order."""
    for erf in graph.of("Erf"):
        before = graph.writer(erf.data)
        plus = graph.only_reader(erf)
        scaled = before is not None and _is_number(before, {"Div": 2**0.5, "Mul": 0.5**0.5})
        if not (scaled and before is not None and graph.only_reader(before) is erf):
            continue
        if plus is None or not _is_number(plus, {"Add": 1.0}):
            continue
        source = next(iter(before.inputs.values()))
        product = graph.only_reader(plus)
        if product is None or product.op_type != "Mul" or len(product.inputs) != 2:
            continue
        other = next(n for n in product.inputs.values() if n != plus.outputs[0])
        half = graph.only_reader(product)
        chain = [before, erf, plus, product]
        if other == source and half is not None and _is_number(half, {"Mul": 0.5}):
            _merge(graph, [*chain, half], "Gelu", source)
            continue
        halved = graph.writer(other)
        if (
            halved is not None
            and _is_number(halved, {"Mul": 0.5})
            and next(iter(halved.inputs.values())) == source
            and graph.only_reader(halved) is product
        ):
            _merge(graph, [halved, *chain], "Gelu", source)


def fast_gelu(graph: KernelGraph) -> None:
    """FastGeluFusion: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), with Pow for the cube."""
    for tanh in graph.of("Tanh"):
        chain = [tanh]
        for wanted in ({"Mul": (2 / math.pi) ** 0.5}, None, {"Mul": 0.044715}, {"Pow": 3.0}):
            names = list(chain[0].inputs.values())
            writers = [
                w for w in map(graph.writer, names) if w and graph.only_reader(w) is chain[0]
            ]
            fits = [w for w in writers if (_is_number(w, wanted) if wanted else w.op_type == "Add")]
            if not fits:
                break
            chain.insert(0, fits[0])
        else:
            source = chain[0].data
            plus = graph.only_reader(tanh)
            product = graph.only_reader(plus) if plus and _is_number(plus, {"Add": 1.0}) else None
            if plus is None or product is None or product.op_type != "Mul":
                continue
            other = next((n for n in product.inputs.values() if n != plus.outputs[0]), "")
            halved = graph.writer(other)
            if halved and _is_number(halved, {"Mul": 0.5}) and source in halved.inputs.values():
                _merge(graph, [halved, *chain, plus, product], "FastGelu", source)


def _is_number(node: KernelNode, wanted: dict[str, float]) -> bool:
    """Whether a node computes with this constant number."""
    number = node.scalar() if node.op_type in wanted and len(node.inputs) == 1 else None
    return number is not None and math.isclose(number, wanted[node.op_type], rel_tol=1e-3)


def _merge(
    graph: KernelGraph,
    nodes: list[KernelNode],
    op_type: str,
    *sources: str,
    domain: str = MICROSOFT,
) -> KernelNode:
    """Replace nodes by one that reads ``sources`` and writes what the last of them writes."""
    last = nodes[-1]
    kernel = type(last)(
        last.operator, op_type, domain, dict(enumerate(sources)), list(last.outputs)
    )
    kernel.parts = [name for node in nodes for name in node.parts]
    graph.add(kernel, before=last)
    for node in nodes:
        graph.remove(node)
    return kernel


def layer_normalization(graph: KernelGraph, *, merge: bool, move: bool = True) -> None:
    """LayerNormFusion: what exporters before version 17 write out, mean to shift.

    With ``move`` transpositions are moved into it before it is merged, which then happens no more.
    """
    for mean in graph.of("ReduceMean"):
        source = mean.data
        if not _over_last_side(graph, mean):
            continue
        readers = graph.readers(mean.outputs[0])
        if not readers or any(r.op_type != "Sub" or r.inputs.get(0) != source for r in readers):
            continue
        found = _normalized(graph, readers)
        ends = found and _scaled_and_shifted(graph, found[-1])
        if not (found and ends):
            continue
        nodes = [mean, *found, *ends]
        if not (move and moved_into(graph, nodes, readers)) and merge:
            _merge(graph, nodes, "LayerNormalization", source, domain="")


def _scaled_and_shifted(graph: KernelGraph, node: KernelNode) -> list[KernelNode]:
    """The product and the sum with constants that follow a node; none where one is missing."""
    scaled = graph.only_reader(node)
    if scaled is None or scaled.op_type != "Mul" or len(scaled.inputs) != 1:
        return []
    shifted = graph.only_reader(scaled)
    fits = shifted is not None and shifted.op_type == "Add" and len(shifted.inputs) == 1
    return [scaled, shifted] if fits and shifted is not None else []


def _normalized(graph: KernelGraph, centred: list[KernelNode]) -> list[KernelNode]:
    """From x - mean to its quotient by the standard deviation."""
    names = {node.outputs[0] for node in centred}
    later = [reader for name in names for reader in graph.readers(name)]
    squares = [r for r in later if _is_square(r)]
    quotients = [r for r in later if r.op_type == "Div" and r.inputs.get(0) in names]
    if len(squares) != 1 or len(quotients) != 1:
        return []
    chain = [*centred, squares[0]]
    for op_type in ("ReduceMean", "Add", "Sqrt"):
        following = graph.only_reader(chain[-1])
        if following is None or following.op_type != op_type:
            return []
        chain.append(following)
    divides = quotients[0].inputs.get(1) == chain[-1].outputs[0]
    return [*chain, quotients[0]] if divides else []


def _over_last_side(graph: KernelGraph, mean: KernelNode) -> bool:
    known = mean.operator.constants.get(1, ())
    axes = mean.operator.attributes.get("axes") or tuple(map(int, known))
    return axes in ((-1,), (len(graph.shape(mean.data)) - 1,))


def _is_square(node: KernelNode) -> bool:
    if node.op_type == "Pow":
        return node.scalar() == 2.0
    return node.op_type == "Mul" and len(node.inputs) == 2 and len({*node.inputs.values()}) == 1


def simplified_layer_normalization(graph: KernelGraph) -> None:
    """SimplifiedLayerNormFusion: Pow, ReduceMean, Add, Sqrt, then x / it or x * (1 / it), scale."""
    for square in graph.of("Pow"):
        if not _is_square(square):
            continue
        source, chain = square.data, [square]
        for op_type in ("ReduceMean", "Add", "Sqrt"):
            following = graph.only_reader(chain[-1])
            if following is None or following.op_type != op_type:
                break
            if op_type == "ReduceMean" and not _over_last_side(graph, following):
                break
            chain.append(following)
        else:
            last = graph.only_reader(chain[-1])
            if last is not None and _is_number(last, {"Div": 1.0}) and 1 in last.inputs:
                chain.append(last)
                last = graph.only_reader(last)
            ends = last is not None and last.op_type in ("Div", "Mul")
            if not ends or last is None or source not in last.inputs.values():
                continue
            scaled = graph.only_reader(last)
            if scaled is not None and scaled.op_type == "Mul" and len(scaled.inputs) == 1:
                kernel = _merge(
                    graph,
                    [*chain, last, scaled],
                    "SimplifiedLayerNormalization",
                    source,
                    domain="",
                )
                kernel.operator = scaled.operator


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


def quick_gelu(graph: KernelGraph) -> None:
    """QuickGeluFusion: x * Sigmoid(a * x)."""
    for gate in graph.of("Sigmoid"):
        product = graph.only_reader(gate)
        if product is None or product.op_type != "Mul" or len(product.inputs) != 2:
            continue
        scaled = graph.writer(gate.data)
        other = next((n for n in product.inputs.values() if n != gate.outputs[0]), "")
        if other == gate.data:
            _merge(graph, [gate, product], "QuickGelu", other)
        elif (
            scaled is not None
            and scaled.op_type == "Mul"
            and scaled.scalar() is not None
            and other in scaled.inputs.values()
            and graph.only_reader(scaled) is gate
        ):
            _merge(graph, [scaled, gate, product], "QuickGelu", other)


def skip_layer_normalization(graph: KernelGraph) -> None:
    """SkipLayerNormFusion: an addition that is only read by a normalisation of its last side."""
    for node in graph.of("LayerNormalization"):
        before = graph.writer(node.data)
        if before is None or before.op_type != "Add" or graph.only_reader(before) is not node:
            continue
        shapes = [graph.shape(name) for name in before.inputs.values()]
        shapes += before.operator.weight_shapes
        if len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 3:
            _merge(graph, [before, node], "SkipLayerNormalization", *before.inputs.values())


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


def splits(graph: KernelGraph) -> None:
    """GatherSliceToSplitFusion: slices that follow on one another and cover a side are a Split."""
    cut = (node.data for node in graph.of("Slice", "Gather") if node.data)
    for source in dict.fromkeys(cut):
        alike = [r for r in graph.readers(source) if r.op_type in ("Slice", "Gather")]
        parts = [(_cut(graph, r, source), r) for r in alike]
        cuts = sorted(((cut, i) for i, (cut, _) in enumerate(parts) if cut), key=lambda c: c[0])
        if len(cuts) < 2 or len(alike) != len(cuts):
            continue
        axes = {cut[0] for cut, _ in cuts}
        edges = [edge for cut, _ in cuts for edge in cut[1:]]
        size = graph.shape(source)[next(iter(axes))]
        follow = len(axes) == 1 and edges[0] == 0 and edges[-1] == size
        if follow and all(a == b for a, b in zip(edges[1:-1:2], edges[2::2], strict=True)):
            nodes = [parts[i][1] for _, i in cuts]
            _merge_into_split(graph, nodes, source)


def _cut(graph: KernelGraph, node: KernelNode, source: str) -> tuple[int, int, int] | None:
    """Axis, begin and end of a slice or a single index; None for what a Split cannot do."""
    shape, known = graph.shape(source), node.operator.constants
    if node.inputs != {0: source} or not shape or 0 in shape:
        return None
    if node.op_type == "Gather":
        axis = int(node.operator.attributes.get("axis", 0)) % len(shape)
        index = known.get(1, ())
        if len(index) != 1:
            return None
        begin = int(index[0]) % shape[axis]
        return axis, begin, begin + 1
    starts, ends = known.get(1, ()), known.get(2, ())
    if len(starts) != 1 or len(ends) != 1 or known.get(4, (1.0,)) != (1.0,):
        return None
    axis = int(known.get(3, (0.0,))[0]) % len(shape)
    size = shape[axis]
    begin, end = (int(max(min(v + size if v < 0 else v, size), 0)) for v in (starts[0], ends[0]))
    return axis, begin, end


def _merge_into_split(graph: KernelGraph, nodes: list[KernelNode], source: str) -> None:
    first = min(nodes, key=lambda node: node.place)
    split = type(first)(first.operator, "Split", "", {0: source}, [])
    split.parts = [name for node in nodes for name in node.parts]
    split.outputs = [node.outputs[0] for node in nodes]
    graph.add(split, before=first)
    for node in nodes:
        graph.remove(node)


def channel_shuffle(graph: KernelGraph) -> None:
    """Reshape, Transpose, Reshape back to the same shape: one change of the channels' order."""
    for order in graph.of("Transpose"):
        before, after = graph.writer(order.inputs.get(0, "")), graph.only_reader(order)
        if before is None or after is None or graph.only_reader(before) is not order:
            continue
        source = before.inputs.get(0, "")
        same = graph.shape(source) == graph.shape(after.outputs[0])
        if before.op_type == after.op_type == "Reshape" and same and len(after.inputs) == 1:
            _merge(graph, [before, order, after], "ChannelShuffle", source)
