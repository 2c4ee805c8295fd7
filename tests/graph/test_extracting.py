"""Parts of a model: they run, and have the sizes that they have in the whole."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.datasets.zoo.built_models import built_bytes, zoo_key
from latprof.graph.extracting import extract_operators
from latprof.graph.model_file import graph_inputs
from latprof.graph.reader import read_network


def weight(name, *shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


@pytest.fixture
def model():
    """Two convolutions, a reshape whose sizes are computed, a product with a computed weight."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "b"], ["c2"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["sum"], "sum"),
        helper.make_node("Shape", ["sum"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], "gather"),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["one"], "unsqueeze"),
        helper.make_node("Concat", ["one", "rest"], ["sizes"], "concat", axis=0),
        helper.make_node("Reshape", ["sum", "sizes"], ["flat"], "reshape"),
        helper.make_node("Transpose", ["w"], ["wt"], "turned", perm=[1, 0]),
        helper.make_node("MatMul", ["flat", "wt"], ["y"], "product"),
    ]
    numbers = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            *(weight("a", 8, 3, 3, 3), weight("b", 8, 8, 3, 3), weight("w", 5, 512)),
            *(numpy_helper.from_array(values, name) for name, values in numbers.items()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


KNOWN = ("first", "relu", "second", "sum", "product")


def run(model, feed):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def shapes_of(values):
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def test_a_part_begins_with_the_values_that_others_made(model):
    part = extract_operators(model, {"second", "sum"}, KNOWN, "m")
    assert shapes_of(graph_inputs(part.graph)) == {"r1": (2, 8, 8, 8)}
    assert shapes_of(part.graph.output) == {"sum": (2, 8, 8, 8)}
    assert [node.name for node in part.graph.node] == ["second", "sum"]
    assert {tensor.name for tensor in part.graph.initializer} == {"b"}


def test_what_only_computes_sizes_and_weights_comes_along(model):
    part = extract_operators(model, {"product"}, KNOWN, "m")
    assert shapes_of(graph_inputs(part.graph)) == {"sum": (2, 8, 8, 8)}
    (product,) = [o for o in read_network(part).operators if o.op_type == "MatMul"]
    assert product.macs == 2 * 512 * 5
    (turned,) = [tensor for tensor in part.graph.initializer if tensor.name == "w"]
    assert np.any(numpy_helper.to_array(turned))


def test_parts_compute_what_the_whole_does(model):
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    whole = run(model, {"x": x})["y"]
    first = extract_operators(model, {"first", "relu"}, KNOWN, "m")
    middle = run(first, {"x": x})
    rest = extract_operators(model, {"second", "sum", "product"}, KNOWN, "m")
    (found,) = run(rest, {name: middle[name] for name in ("r1",)}).values()
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-4)


def test_a_value_that_is_read_elsewhere_too_stays_an_output(model):
    part = extract_operators(model, {"first", "relu", "second"}, KNOWN, "m")
    assert {value.name for value in part.graph.output} == {"r1", "c2"}


def test_bodies_bring_what_they_read_outside():
    body = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["z"])],
        "then",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, (4,))],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["z2"])],
        "else",
        [],
        [helper.make_tensor_value_info("z2", TensorProto.FLOAT, (4,))],
    )
    nodes = [
        helper.make_node("Exp", ["in"], ["x"], "exp"),
        helper.make_node("If", ["flag"], ["y"], "if", then_branch=body, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("in", TensorProto.FLOAT, (4,)),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, ()),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4,))],
        [weight("w", 4)],
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    part = extract_operators(whole, {"if"}, ("exp", "if"), "m")
    assert {value.name for value in graph_inputs(part.graph)} == {"x", "flag"}
    assert {tensor.name for tensor in part.graph.initializer} == {"w"}
    onnx.checker.check_model(part)


def test_every_operator_of_a_network_of_the_zoo_can_be_had_alone():
    content = built_bytes(zoo_key("mobilenet-v3-small", resolution=64, width=0.5))
    whole = onnx.load_model_from_string(content)
    network = read_network(content)
    known = [operator.name for operator in network.operators]
    for operator in network.operators[::9]:
        part = extract_operators(whole, {operator.name}, known, "m")
        found = next(o for o in read_network(part).operators if o.name == operator.name)
        assert found.macs == operator.macs
        assert found.input_shapes == operator.input_shapes
        assert found.output_shapes == operator.output_shapes
        run(part, {v.name: zeros(v) for v in graph_inputs(part.graph)})


def zeros(value):
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return np.zeros(shape, helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
