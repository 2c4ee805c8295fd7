"""Arithmetic on shapes: what is worked out, and what is left alone."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.graph.plain_nodes import plain_nodes
from latprof.graph.shape_arithmetic import MAX_VALUES, Effort, fold_shape_arithmetic

SHAPES = {"x": (2, 6, 8, 8), "unknown": None}


def _fold(node, **constants):
    """Fold one node that writes y; return its value or None."""
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPES["x"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])

    changed = fold_shape_arithmetic(model, plain_nodes(model.graph.node), SHAPES, Effort())

    found = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "y"]
    assert bool(changed) == bool(found) == (not model.graph.node)
    return found[0].tolist() if found else None


def _node(op_type, inputs, **attributes):
    return helper.make_node(op_type, inputs.split(), ["y"], **attributes)


@pytest.mark.parametrize(
    ("node", "constants", "value"),
    [
        (_node("Shape", "x"), {}, [2, 6, 8, 8]),
        (_node("Shape", "x", start=1, end=-1), {}, [6, 8]),
        (_node("Size", "x"), {}, 768),
        (_node("Div", "a b"), {"a": [7, 9], "b": [2, 3]}, [3, 3]),
        (_node("Concat", "a b", axis=0), {"a": [7], "b": [2, 3]}, [7, 2, 3]),
        (_node("Where", "a b c"), {"a": [True, False], "b": [1, 1], "c": [2, 2]}, [1, 2]),
        (_node("Range", "a b c"), {"a": 0, "b": 6, "c": 2}, [0, 2, 4]),
        (_node("Expand", "a b"), {"a": [1], "b": [3]}, [1, 1, 1]),
    ],
)
def test_small_constants_are_worked_out(node, constants, value):
    assert _fold(node, **constants) == value


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (_node("Shape", "unknown"), {}),
        (_node("Shape", ""), {}),
        (_node("Relu", "x"), {}),
        (_node("Neg", "a"), {"a": np.zeros(MAX_VALUES + 1)}),
        (_node("Range", "a b c"), {"a": 0, "b": 2**62, "c": 1}),
        (_node("Range", "a b c"), {"a": 0, "b": 1, "c": 0}),
        (_node("Expand", "a b"), {"a": [1], "b": [2**31, 2**31]}),
        (_node("ConstantOfShape", "b"), {"b": [2**40]}),
        (_node("Mul", "a b"), {"a": np.ones((1000, 1, 1)), "b": np.ones((1, 1000, 1001)[:2])}),
        (_node("Gather", "a b"), {"a": [1], "b": [99]}),
        (_node("Nonsense", "a"), {"a": [1]}),
        (_node("MatMul", "a a"), {"a": [[1]]}),
    ],
)
def test_what_is_large_unknown_or_wrong_is_left_alone(node, constants):
    assert _fold(node, **constants) is None


def test_constants_that_are_no_numbers_are_left_alone():
    assert _fold(_node("Constant", "", value_strings=[b"a"])) is None
