"""Arithmetic on shapes, worked out where onnx's own inference stops.

Exporters compute the sizes of reshapes and resizes from the shape of the input. With the input's
sizes fixed those are constants; here they are evaluated, within small limits, and written into the
graph as initialisers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from latprof.graph.model_file import bounded_product

if TYPE_CHECKING:
    import onnx

    from latprof.graph.operators import Shape

#: Values with more elements than this are no shapes.
MAX_VALUES = 1024
#: Largest dimension-wise product that one evaluation may run over.
_MAX_WORK = MAX_VALUES**2
_EVALUATED = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Constant", "Div", "Equal", "Floor",
    "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min",
    "Mod", "Mul", "Neg", "Not", "Or", "ReduceProd", "ReduceSum", "Reshape", "Round",
    "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"})  # fmt: skip
_FILLING = frozenset({"ConstantOfShape", "Expand", "Range"})

Array = NDArray[Any]


@dataclass
class Effort:
    """What is left to all rounds about one model: evaluations, and elements they run over."""

    evaluations: int = 10_000
    elements: int = 100_000_000


def fold_shape_arithmetic(
    model: onnx.ModelProto, shapes: Mapping[str, Shape | None], effort: Effort
) -> bool:
    """Replace nodes that compute small constants by initialisers, in place.

    ``shapes`` are those known so far; ``effort`` is used up. Returns whether
    anything changed. What cannot be evaluated stays as it is; nothing is raised.
    """
    graph = model.graph
    values = {
        tensor.name: array
        for tensor in graph.initializer
        if (array := _small_array(tensor)) is not None
    }
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    kept = []
    for node in graph.node:
        result = _evaluate(node, values, shapes, opset, effort)
        if result is None or result.size > MAX_VALUES:
            kept.append(node)
        else:
            name = node.output[0]
            values[name] = result
            graph.initializer.append(numpy_helper.from_array(result, name))
    changed = len(kept) < len(graph.node)
    if changed:
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)
    return changed


def _small_array(tensor: TensorProto) -> Array | None:
    """Values of a small initialiser, None where it is large, elsewhere or malformed."""
    if (
        tensor.data_location == TensorProto.EXTERNAL
        or bounded_product(tensor.dims, MAX_VALUES) > MAX_VALUES
    ):
        return None
    try:
        array: Array = numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001 - malformed data of any kind is no constant
        return None
    return array


def _evaluate(
    node: onnx.NodeProto,
    values: Mapping[str, Array],
    shapes: Mapping[str, Shape | None],
    opset: int,
    effort: Effort,
) -> Array | None:
    """Value of a node's only output, or None."""
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    if any(a.t.data_location == TensorProto.EXTERNAL for a in node.attribute if a.HasField("t")):
        return None  # onnx would read it from the working directory
    if node.op_type in ("Shape", "Size"):
        return _shape_value(node, shapes)
    inputs = {name: values.get(name) for name in node.input if name}
    work = _work(node, inputs)
    if any(value is None for value in inputs.values()) or work > _MAX_WORK:
        return None
    allowed = node.op_type in _EVALUATED or (
        node.op_type in _FILLING and _fills_little(node, inputs)
    )
    if not allowed or not effort.evaluations or work > effort.elements:
        return None
    effort.evaluations -= 1
    effort.elements -= work
    return _run(node, inputs, opset)


def _shape_value(node: onnx.NodeProto, shapes: Mapping[str, Shape | None]) -> Array | None:
    """Value of a Shape or Size operator, or None."""
    shape = shapes.get(node.input[0]) if node.input else None
    if shape is None:
        return None
    if node.op_type == "Size":
        return np.array(math.prod(shape), dtype=np.int64)
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], dtype=np.int64)


def _work(node: onnx.NodeProto, inputs: Mapping[str, Array | None]) -> int:
    """Most elements that joining or broadcasting the inputs makes."""
    sizes = [value.size for name in node.input if (value := inputs.get(name)) is not None]
    return sum(sizes) if node.op_type == "Concat" else bounded_product(sizes, _MAX_WORK)


def _fills_little(node: onnx.NodeProto, inputs: Mapping[str, Array | None]) -> bool:
    """Whether an operator whose output's size is a value of its input makes a small one."""
    given = [inputs.get(name) for name in node.input]
    try:
        if node.op_type == "Range":
            start, limit, delta = (float(value) for value in given if value is not None)
            return delta != 0 and (limit - start) / delta <= MAX_VALUES
        size = given[-1]
        return size is not None and math.prod(max(int(v), 1) for v in size.ravel()) <= MAX_VALUES
    except (TypeError, ValueError, IndexError, OverflowError):
        return False


def _run(node: onnx.NodeProto, inputs: Mapping[str, Array | None], opset: int) -> Array | None:
    """Run onnx's reference implementation of one node."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in inputs],
        [helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            result = ReferenceEvaluator(model).run(None, dict(inputs))[0]
    except Exception:  # noqa: BLE001 - whatever a malformed node sets off, it has no value
        return None
    array: Array = np.asarray(result)
    return array if array.dtype.kind in "biuf" else None
