"""Bodies of If, Loop and Scan: how often they run, and what their inputs are outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from latprof.graph.model_file import node_name
from latprof.graph.nodes.value_facts import ValueFacts
from latprof.graph.plain_nodes import plain_nodes

if TYPE_CHECKING:
    from latprof.graph.inferring.rounds import Inferred
    from latprof.graph.nodes.node_view import NodeView


def trips_of(view: NodeView) -> tuple[int, str]:
    """How often a body runs, and why that is not known."""
    node = view.node
    if node.op_type == "If":
        known = bool(view.inputs) and view.facts.values(view.inputs[0]) is not None
        return 1, "" if known else f"which branch {node_name(node)} takes is decided as it runs"
    if node.op_type == "Scan":
        name, axis = next(iter(view.scanned.items()), ("", 0))
        shape = view.shapes.get(name)
        if shape and -len(shape) <= axis < len(shape):
            return shape[axis], ""
    elif node.op_type == "Loop" and view.inputs and _never_stops(view):
        most = view.facts.values(view.inputs[0])
        if most and 0 <= most[0] < 2**31:
            return int(most[0]), ""
    return 1, f"how often {node_name(node)} runs is not known: counted once"


def _never_stops(view: NodeView) -> bool:
    """Whether a Loop's body keeps its condition true, so that it runs to the number it is given."""
    first = view.facts.values(view.inputs[1]) if len(view.inputs) > 1 and view.inputs[1] else (1,)
    body = next(iter(view.node.bodies), None)
    if not first or not first[0] or body is None or not body.output:
        return False
    name = body.output[0].name
    same = {node.output[0]: node for node in plain_nodes(body.node) if node.output}
    while name in same and same[name].op_type == "Identity" and same[name].input:
        name = same[name].input[0]
    if len(body.input) > 1 and name == body.input[1].name:
        return True
    true = ValueFacts(body, {})
    if name in same:
        true.follow(same[name], same[name].input)
    return true.values(name) == (1.0,) or view.facts.values(name) == (1.0,)


def body_inputs(view: NodeView) -> list[str]:
    """Names outside of what a body is given: its own inputs but for those made by the loop."""
    if view.node.op_type == "Loop":
        return ["", "", *view.inputs[2:]]
    return list(view.inputs) if view.node.op_type == "Scan" else []


def describe(values: Any, name: str, outside: str, found: Inferred, view: NodeView) -> None:
    """Add an input to a body's model, as the value outside that it is given."""
    shape = found.shapes.get(outside)
    if view.node.op_type == "Scan" and outside != name and shape and outside in view.scanned:
        axis = view.scanned[outside] % len(shape)
        shape = shape[:axis] + shape[axis + 1 :]
    dtype = found.dtypes.get(outside, 0)
    if not outside:  # the number of the trip, or the condition
        shape, dtype = (), onnx.TensorProto.BOOL if len(values) % 2 else onnx.TensorProto.INT64
    values.append(onnx.helper.make_tensor_value_info(name, dtype or onnx.TensorProto.FLOAT, shape))
