"""Rules of inputs: read from the graph, applied to values, bounded in what they follow."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from latprof.errors import InvalidValueError
from latprof.graph.input_values.input_rules import InputRule, input_rules

I64 = TensorProto.INT64


def model(nodes, inputs, weights=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [],
        [onnx.numpy_helper.from_array(np.asarray(values), name) for name, values in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_values_within_a_range_are_kept_and_others_are_wrapped():
    values = np.array([1, 2, 3, 7], np.uint8)

    found = InputRule("range", 1, 3).apply(values)

    assert found.tolist() == [1, 2, 3, 1]
    assert found.dtype == np.uint8


@pytest.mark.parametrize("length", [0, 1, 3, 4, 9])
def test_a_mask_keeps_at_least_one_value(length):
    found = InputRule("mask").apply(np.full((2, length), 5))

    assert found.sum(axis=1).tolist() == [length - length // 4] * 2


def test_a_shape_that_is_an_input_reshapes_anything():
    rule = input_rules(
        model(
            [helper.make_node("Reshape", ["x", "s"], ["y"])], [("x", 1, (4, 6)), ("s", I64, (3,))]
        )
    )

    assert rule["s"].apply(np.array([5, 6, 7])).tolist() == [1, 1, -1]


@pytest.mark.parametrize(
    ("node", "weights", "expected"),
    [
        (helper.make_node("OneHot", ["i", "d", "v"], ["y"]), [("d", 4), ("v", [0.0, 1.0])], "0..3"),
        (helper.make_node("TopK", ["t", "i"], ["y", "z"]), [("t", np.ones((2, 3)))], "1..3"),
        (helper.make_node("Gather", ["t", "i"], ["y"], axis=1), [("t", np.ones((9, 3)))], "0..2"),
    ],
    ids=["OneHot", "TopK", "Gather"],
)
def test_limits_come_from_what_uses_the_indices(node, weights, expected):
    rules = input_rules(model([node], [("i", I64, (1,))], weights))

    assert rules["i"].describe() == expected


def test_an_index_is_followed_into_a_loop():
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["t", "inside"], ["o"]),
            helper.make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        [helper.make_empty_tensor_value_info(name) for name in ("n", "c", "inside")],
        [helper.make_empty_tensor_value_info(name) for name in ("d", "inside", "o")],
    )
    loop = helper.make_node("Loop", ["m", "", "i"], ["last", "y"], body=body)

    rules = input_rules(model([loop], [("i", I64, (2,))], [("m", 3), ("t", np.ones((2, 2)))]))

    assert rules["i"].describe() == "0..1"


def test_a_graph_of_many_paths_takes_bounded_work():
    nodes, last = [], "i"
    for number in range(2000):
        nodes.append(helper.make_node("Add", [last, f"c{number % 2}"], [f"v{number}"]))
        nodes.append(helper.make_node("Concat", [last, f"v{number}"], [f"w{number}"], axis=0))
        last = f"w{number}"
    weights = [("c0", [1]), ("c1", [2])]

    assert input_rules(model(nodes, [("i", I64, (1,))], weights)) == {}


def test_a_rule_is_rebuilt_from_json_and_nothing_else_is():
    rule = InputRule("file", path="/x.npy", digest="ab")

    assert InputRule.from_dict(rule.to_dict()) == rule
    with pytest.raises(InvalidValueError):
        InputRule.from_dict({"kind": "mask", "more": 1})
