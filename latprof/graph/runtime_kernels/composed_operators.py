"""Activations, normalisations and splits that exporters write out, and a runtime runs as one.

Each rewrite states the condition of ONNX Runtime's transformer (onnxruntime/core/optimizer).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latprof.graph.runtime_kernels.patterns import MICROSOFT
from latprof.graph.runtime_kernels.transposes import moved_into

if TYPE_CHECKING:
    from latprof.graph.runtime_kernels.kernel_graph import KernelGraph, KernelNode


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
