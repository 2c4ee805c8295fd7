"""Transpositions that cancel, join, or move past what does not mind: the transpose optimiser."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.runtime_kernels.kernel_graph import KernelGraph, KernelNode


def join_transposes(graph: KernelGraph) -> None:
    """Two in a row are one, or none."""
    changed = True
    while changed:
        changed = False
        for node in graph.of("Transpose"):
            before = graph.writer(node.inputs.get(0, ""))
            if before is not None and before.op_type == "Transpose":
                first, second = _perm(before), _perm(node)
                if len(first) == len(second) and graph.only_reader(before) is node:
                    joined = tuple(first[i] for i in second)
                    _set_perm(node, joined)
                    graph.bypass(before)
                    changed = True
                    if joined == tuple(range(len(joined))):
                        graph.bypass(node)


#: Operators that change a shape and copy nothing.
VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
#: Operators that a transposition may move past beside those.
_LEADS_ON = frozenset({"ReduceMean", "Pow"})
#: Operators that treat every element alike.
_ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"}
    | {"HardSwish", "Erf", "Sqrt", "Exp", "Abs", "Neg", "Gelu", "QuickGelu", "Cast", "Elu"}
)


def transposes_past_elements(graph: KernelGraph) -> None:
    """After an operator on elements instead of before it, where all it reads is transposed alike.

    With one input only where another transposition follows, which it may cancel.
    """
    for node in graph.of(*_ELEMENTWISE):
        writers = [graph.writer(name) for name in node.inputs.values()]
        turned = [w for w in writers if w is not None and w.op_type == "Transpose"]
        perms = {_perm(writer) for writer in turned}
        if len(turned) < len(writers) or len(perms) != 1 or not _fixed_scalars(node):
            continue
        after = graph.only_reader(node)
        followed = after is not None and after.op_type == "Transpose"
        if len(node.outputs) != 1 or (len(turned) == 1 and not followed):
            continue
        (perm,) = perms
        for position, writer in zip(list(node.inputs), turned, strict=True):
            graph.read_instead(node, position, writer.inputs[0])
            if not graph.readers(writer.outputs[0]) and writer.outputs[0] not in graph.outputs:
                graph.remove(writer)
        _transpose_after(graph, node, turned[0], perm)


def moved_into(graph: KernelGraph, nodes: list[KernelNode], centred: list[KernelNode]) -> bool:
    """Whether a transposition moves into a normalisation that is written out, which it splits.

    It moves past the mean and the difference from it, which are then computed in the layout
    before; past all of it where another transposition follows.
    """
    mean, last = nodes[0], nodes[-1]
    before = graph.writer(mean.inputs[0])
    if before is None or before.op_type != "Transpose" or len(centred) != 1:
        return False
    followed = _leads_to_transpose(graph, last.outputs[0])
    others = [r for r in graph.readers(before.outputs[0]) if r not in (mean, *centred)]
    for node in (mean, *centred):
        graph.read_instead(node, 0, before.inputs[0])
    for node in nodes if followed else (mean,):
        if node.op_type == "ReduceMean":
            _set(node, "axes", (_perm(before)[-1],))
    _transpose_after(graph, last if followed else centred[0], before, _perm(before))
    if not others:
        graph.remove(before)
    return True


def _fixed_scalars(node: KernelNode) -> bool:
    """Whether the constants of a node are single numbers, the same in every layout."""
    return all(math.prod(shape) == 1 for shape in node.operator.weight_shapes)


def transposes_past_splits(graph: KernelGraph) -> None:
    """A transposition, a split of its first side, and parts of which one is transposed again.

    So attention's query, key and value are made; each part then has its own transposition. One of
    a squeezed part is joined with the one that follows.
    """
    for node in graph.of("Transpose"):
        split = graph.only_reader(node)
        if split is None or split.op_type != "Split":
            continue
        if not any(_leads_to_transpose(graph, name) for name in split.outputs):
            continue
        perm = _perm(node)
        if graph.shape(split.outputs[0])[:1] != (1,) or perm[:1] == (0,):
            continue
        moved = tuple(side - (side > perm[0]) for side in perm[1:])
        graph.bypass(node)
        for name in list(split.outputs):
            readers = graph.readers(name)
            if len(readers) == 1 and readers[0].op_type == "Squeeze":
                _transposed_later(graph, readers[0], node, moved)
            else:
                _transpose_output(graph, split, name, node, perm)


def _leads_to_transpose(graph: KernelGraph, name: str) -> bool:
    """Whether a transposition reads a value, or what views and operators on elements make of it."""
    names, seen, steps = [name], {name}, 48
    while names and steps:
        steps -= 1
        for reader in graph.readers(names.pop(0)):
            if reader.op_type == "Transpose":
                return True
            passes = reader.op_type in _ELEMENTWISE or reader.op_type in _LEADS_ON
            passes = passes or (reader.op_type in VIEWS and _keeps_sides(graph, reader))
            new = [each for each in reader.outputs if passes and each not in seen]
            names += new
            seen.update(new)
    return False


def _keeps_sides(graph: KernelGraph, view: KernelNode) -> bool:
    """Whether a view only adds or drops sides of 1."""
    before, after = graph.shape(view.inputs.get(0, "")), graph.shape(view.outputs[0])
    return [side for side in before if side != 1] == [side for side in after if side != 1]


def _transposed_later(
    graph: KernelGraph, part: KernelNode, like: KernelNode, perm: tuple[int, ...]
) -> None:
    """Put a transposition after a part, or join it with the one that follows."""
    after = graph.only_reader(part)
    if after is not None and after.op_type in ("Mul", "Div") and len(after.inputs) == 1:
        following = graph.only_reader(after)
        if following is not None and following.op_type == "Transpose":
            part, after = after, following
    if after is not None and after.op_type == "Transpose":
        _set_perm(after, tuple(perm[side] for side in _perm(after)))
        return
    _transpose_after(graph, part, like, perm)


def _transpose_after(
    graph: KernelGraph, node: KernelNode, like: KernelNode, perm: tuple[int, ...]
) -> None:
    """Put a transposition after a node, whose own result has another name then."""
    _transpose_output(graph, node, node.outputs[0], like, perm)


def _transpose_output(
    graph: KernelGraph, node: KernelNode, name: str, like: KernelNode, perm: tuple[int, ...]
) -> None:
    inner = f"{name}/transposed"
    shape = graph.shape(name)
    turned = type(node)(like.operator, "Transpose", "", {0: inner}, [name])
    _set_perm(turned, perm)
    graph.rename_output(node, name, inner)
    graph.shapes[inner] = tuple(shape[perm.index(i)] for i in range(len(shape)))
    graph.add(turned, after=node)


def _perm(node: KernelNode) -> tuple[int, ...]:
    operator = node.operator
    known: tuple[int, ...] | None = operator.attributes.get("perm")
    shapes = operator.output_shapes or operator.input_shapes
    return known or tuple(reversed(range(len(shapes[0]) if shapes else 0)))


def _set_perm(node: KernelNode, perm: tuple[int, ...]) -> None:
    _set(node, "perm", perm)


def _set(node: KernelNode, name: str, values: tuple[int, ...]) -> None:
    attributes = {**node.operator.attributes, name: values}
    node.operator = dataclasses.replace(node.operator, attributes=attributes)
