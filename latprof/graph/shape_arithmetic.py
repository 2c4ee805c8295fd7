"""Arithmetic on shapes, worked out where onnx's own inference stops.

Exporters compute the sizes of reshapes and resizes from the shape of the input. With the input's
sizes fixed those are constants; here they are evaluated, within small limits, and written into the
graph as initialisers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from latprof.graph.model_file import bounded_product

if TYPE_CHECKING:
    import onnx
    from onnx.reference import ReferenceEvaluator

    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode

#: Values with more elements than this are no shapes.
MAX_VALUES = 1024
#: Nodes of at most so many bytes are kept as onnx's reference implementation runs them.
_LARGEST_KEPT = 4096
#: Largest dimension-wise product that one evaluation may run over.
_MAX_WORK = MAX_VALUES**2
_EVALUATED = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "Cast", "CastLike", "Ceil", "Clip", "Compress",
    "Concat", "Constant", "CumSum", "Div", "Equal", "Exp", "Flatten", "Floor", "Gather",
    "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Log", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "Pow", "Reciprocal",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round",
    "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Transpose", "Trilu", "Unsqueeze", "Where", "Xor"})  # fmt: skip
#: Those whose result is as large as a value of their last input says.
_FILLING = frozenset({"ConstantOfShape", "Expand", "Range", "Tile", "TopK"})

Array = NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]


@dataclass
class Effort:
    """What is left to all rounds about one model.

    Evaluations, elements that they run over, nodes whose shapes are inferred, and characters that
    names of branches get before them; ``in_vain`` are outputs of nodes that were evaluated and have
    no value.
    """

    evaluations: int = 10_000
    elements: int = 100_000_000
    nodes: int = 800_000
    characters: int = 4_000_000
    in_vain: set[tuple[str, ...]] = field(default_factory=set)


class SmallConstants:
    """Values of a graph's small initialisers by name, each read when it is asked for."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._initial = graph.initializer
        self._places = {tensor.name: place for place, tensor in enumerate(graph.initializer)}
        self._known: dict[str, Array | None] = {}

    def get(self, name: str) -> Array | None:
        """The value; None for what is none, is large, in another file or malformed."""
        if name not in self._known:
            place = self._places.get(name)
            self._known[name] = None if place is None else small_array(self._initial[place])
        return self._known[name]

    def __setitem__(self, name: str, value: Array) -> None:
        self._known[name] = value


def fold_shape_arithmetic(
    model: onnx.ModelProto,
    nodes: list[PlainNode],
    shapes: Mapping[str, Shape | None],
    effort: Effort,
) -> set[str]:
    """Replace nodes that compute small constants by initialisers, in place.

    ``nodes`` are those of the model's graph, and are kept so; ``shapes`` are those known so far;
    ``effort`` is used up. Returns the names of the values that are constants now. What cannot be
    evaluated stays as it is; nothing is raised.
    """
    graph = model.graph
    known = SmallConstants(graph)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    worked_out, constants = [], set()
    for index, node in enumerate(nodes):
        results = _evaluate(node, known, shapes, opset, effort)
        few = all(result.size <= MAX_VALUES for result in results)
        if few and len(results) == len(node.output) > 0:
            worked_out.append(index)
            for name, result in zip(node.output, results, strict=True):
                if name:
                    constants.add(name)
                    known[name] = result
                    graph.initializer.append(numpy_helper.from_array(result, name))
    for index in reversed(worked_out):
        del graph.node[index], nodes[index]
    return constants


def small_array(tensor: TensorProto, most: int = MAX_VALUES) -> Array | None:
    """Values of a small tensor, None where it is large, complex, in another file or malformed."""
    if tensor.data_location == TensorProto.EXTERNAL or bounded_product(tensor.dims, most) > most:
        return None
    try:
        array: Array = numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001 - malformed data of any kind is no constant
        return None
    return None if array.dtype.kind == "c" else array


def _evaluate(
    node: PlainNode,
    constants: SmallConstants,
    shapes: Mapping[str, Shape | None],
    opset: int,
    effort: Effort,
) -> list[Array]:
    """Values of a node's outputs; none where they are not known."""
    kind = node.op_type
    if node.domain not in ("", "ai.onnx") or not node.output:
        return []
    if kind in ("Shape", "Size"):
        size = _shape_value(node, shapes) if all(map(is_plain, node.attribute)) else None
        return [] if size is None else [size]
    known = kind in _EVALUATED or kind in _FILLING
    if not known or effort.evaluations <= 0 or node.output in effort.in_vain:
        return []
    inputs: dict[str, Array] = {}
    for name in filter(None, node.input):
        value = constants.get(name)
        if value is None:
            return []
        inputs[name] = value
    work = _work(node, inputs)
    allowed = work <= min(_MAX_WORK, effort.elements)
    little = kind not in _FILLING or _fills_little(node, inputs)
    if not (allowed and little and all(map(is_plain, node.attribute))):
        return []
    effort.evaluations -= 1
    effort.elements -= work
    found = _run(node, inputs, opset)
    if not found:
        effort.in_vain.add(node.output)
    return found


def is_plain(attribute: onnx.AttributeProto) -> bool:
    """Whether an attribute is numbers, text or a tensor of the file itself, and asks for little.

    onnx would read tensors of other files from the working directory, graphs' and sparse ones too.
    """
    others = ("g", "sparse_tensor", "ref_attr_name")
    lists = (attribute.graphs, attribute.tensors, attribute.sparse_tensors)
    return (
        not any(lists)
        and not any(map(attribute.HasField, others))
        and attribute.t.data_location != TensorProto.EXTERNAL
        and (abs(attribute.i) <= MAX_VALUES or attribute.name.startswith("value"))
    )


def _shape_value(node: PlainNode, shapes: Mapping[str, Shape | None]) -> Array | None:
    """Value of a Shape or Size operator, or None."""
    shape = shapes.get(node.input[0]) if node.input else None
    if shape is None:
        return None
    if node.op_type == "Size":
        return np.array(math.prod(shape), dtype=np.int64)
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], dtype=np.int64)


def _work(node: PlainNode, inputs: Mapping[str, Array]) -> int:
    """Most elements that joining or broadcasting the inputs makes."""
    sizes = [value.size for name in node.input if (value := inputs.get(name)) is not None]
    return sum(sizes) if node.op_type == "Concat" else bounded_product(sizes, _MAX_WORK)


def _fills_little(node: PlainNode, inputs: Mapping[str, Array]) -> bool:
    """Whether an operator whose output's size is a value of its input makes a small one."""
    given = [inputs.get(name) for name in node.input]
    try:
        if node.op_type == "Range":
            start, limit, delta = (float(value) for value in given if value is not None)
            return delta != 0 and (limit - start) / delta <= MAX_VALUES
        size = given[-1]
        if node.op_type == "Tile":
            times = math.prod(max(int(v), 1) for v in (size if size is not None else ()))
            return given[0] is not None and times * given[0].size <= MAX_VALUES
        return size is not None and math.prod(max(int(v), 1) for v in size.ravel()) <= MAX_VALUES
    except (TypeError, ValueError, IndexError, OverflowError):
        return False


def _run(node: PlainNode, inputs: Mapping[str, Array], opset: int) -> list[Array]:
    """Run NumPy, or onnx's reference implementation, on one node; nothing where that fails."""
    direct = _DIRECT.get(node.op_type)
    if direct is not None and len(node.output) == 1:
        given = [inputs.get(name) for name in node.input]
        known = [array for array in given if array is not None]
        return _directly(node, direct, known) if len(known) == len(given) else []
    names = [name and f"in{position}" for position, name in enumerate(node.input)]
    content = NodeProto(
        op_type=node.op_type,
        domain=node.domain,
        input=names,
        output=[name and f"out{position}" for position, name in enumerate(node.output)],
        attribute=node.attribute,
    ).SerializeToString()
    make = _evaluator if len(content) <= _LARGEST_KEPT else _evaluator.__wrapped__
    try:
        with np.errstate(all="ignore"):
            feeds = {a: inputs[n] for a, n in zip(names, node.input, strict=True) if n}
            found: Any = make(content, opset).run(None, feeds)
            outputs = filter(None, node.output)
            arrays: dict[str, Array] = dict(zip(outputs, map(np.asarray, found), strict=True))
    except Exception:  # noqa: BLE001 - whatever a malformed node sets off, it has no value
        return []
    if any(array.dtype.kind not in "biuf" for array in arrays.values()):
        return []
    return [arrays.get(name, np.empty(0)) for name in node.output]


@lru_cache(maxsize=128)
def _evaluator(content: bytes, opset: int) -> ReferenceEvaluator:
    """One node as onnx's reference implementation; to make it takes longer than to run it."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    node = NodeProto.FromString(content)
    inputs, outputs = (
        [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in names if n]
        for names in (node.input, node.output)
    )
    graph = helper.make_graph([node], "constant", inputs, outputs)
    return ReferenceEvaluator(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    )


def _directly(
    node: PlainNode, rule: Callable[[list[Array], Attributes], Any], arrays: list[Array]
) -> list[Array]:
    attributes = {a.name: list(a.ints) if a.ints else a.i for a in node.attribute}
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(rule(arrays, attributes))]
    except (ArithmeticError, LookupError, TypeError, ValueError):  # a malformed node has no value
        return []


def _axes(arrays: list[Array], attributes: Attributes) -> tuple[int, ...] | None:
    """Axes of Squeeze and Unsqueeze: an input since version 13, an attribute before."""
    if len(arrays) > 1:
        return tuple(map(int, arrays[1].ravel()))
    return tuple(attributes["axes"]) if "axes" in attributes else None


def _expanded(arrays: list[Array], attributes: Attributes) -> Array:
    axes = _axes(arrays, attributes)
    if axes is None:
        raise ValueError
    return np.expand_dims(arrays[0], axes)


def _added_up(arrays: list[Array], _: Attributes) -> Array:
    first, second = arrays
    if first.dtype != second.dtype:
        raise TypeError
    total: Array = first + second
    return total


#: What arithmetic on sizes mostly consists of.
_DIRECT: Mapping[str, Callable[[list[Array], Attributes], Any]] = {
    "Identity": lambda arrays, _: arrays[0],
    "Add": _added_up,
    "Gather": lambda arrays, a: np.take(arrays[0], arrays[1], axis=a.get("axis", 0)),
    "Concat": lambda arrays, a: np.concatenate(arrays, axis=a["axis"]),
    "Squeeze": lambda arrays, a: np.squeeze(arrays[0], _axes(arrays, a)),
    "Unsqueeze": _expanded,
}
