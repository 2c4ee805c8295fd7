"""TFLite models compute what the ONNX model does and read channels-last images."""

import importlib.metadata
import os
import warnings

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DynamicShapeError, UnsupportedModelError
from latprof.graph.convert.to_tflite import silenced, tflite_bytes

# Importing it takes seconds: whether it is there is asked of its metadata.
pytestmark = pytest.mark.skipif(
    not list(importlib.metadata.distributions(name="litert-torch")),
    reason="litert-torch is not installed",
)

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)


@pytest.fixture(scope="module")
def model():
    # Most blocks are left out: what a conversion takes grows with a network's operators.
    names = SPACE.candidates
    choices = [row.index("Zero") if "Zero" in row else 0 for row in names]
    return SPACE.onnx_bytes(SPACE.parse(",".join(map(str, choices))))


@pytest.fixture(scope="module")
def converted(model):
    return tflite_bytes(model)


def interpreter_of(content):
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


def small_model(nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in inputs],
        [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in outputs],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_it_computes_what_the_onnx_model_does_from_channels_last_images(model, converted):
    images = np.random.default_rng(1).standard_normal((1, 32, 32, 3), dtype=np.float32)
    interpreter = interpreter_of(converted)
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["shape"].tolist() == [1, 32, 32, 3]

    interpreter.set_tensor(taken["index"], images)
    interpreter.invoke()

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": images.transpose(0, 3, 1, 2)})
    found = interpreter.get_tensor(given["index"])
    assert expected.std() > 0.05
    assert np.abs(found - expected).max() < 1e-3 * expected.std()


def test_no_transpose_is_left_in_a_network_for_images(converted):
    details = interpreter_of(converted)._get_ops_details()  # noqa: SLF001 - LiteRT has no other
    names = {detail["op_name"] for detail in details}

    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= names
    assert "TRANSPOSE" not in names


def test_images_that_come_out_are_channels_last_too_and_other_inputs_stay():
    nodes = [
        helper.make_node("Add", ["image", "image"], ["twice"]),
        helper.make_node("Add", ["rows", "rows"], ["more"]),
    ]
    inputs = [
        ("image", TensorProto.FLOAT, [1, 2, 4, 5]),
        ("rows", TensorProto.FLOAT, [3, 7]),
    ]
    outputs = [("twice", TensorProto.FLOAT, [1, 2, 4, 5]), ("more", TensorProto.FLOAT, [3, 7])]

    interpreter = interpreter_of(tflite_bytes(small_model(nodes, inputs, outputs)))

    shapes = {tuple(detail["shape"].tolist()) for detail in interpreter.get_output_details()}
    assert shapes == {(1, 4, 5, 2), (3, 7)}


def test_what_has_no_tflite_form_is_refused():
    x, y = ("x", TensorProto.FLOAT, [1, 3]), ("y", TensorProto.FLOAT, [1, 3])
    unknown = helper.make_node("Unknown", ["x"], ["y"], domain="elsewhere")
    relu = helper.make_node("Relu", ["x"], ["y"])

    with pytest.raises(UnsupportedModelError):
        tflite_bytes(b"this is no model")
    with pytest.raises(UnsupportedModelError, match="Unknown"):
        tflite_bytes(small_model([unknown], [x], [y]))
    with pytest.raises(DynamicShapeError):
        tflite_bytes(small_model([relu], [("x", TensorProto.FLOAT, ["n", 3])], [y]))


def test_libraries_are_silent_and_what_follows_is_heard(capfd):
    with silenced():
        os.write(1, b"from C++")
        os.write(2, b"from C++")
        print("from Python")
        warnings.warn("a warning", stacklevel=1)
    print("heard")

    assert capfd.readouterr() == ("heard\n", "")
