"""TFLite models compute what the ONNX model does and read channels-last images."""

import os
import subprocess
import sys
import warnings

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from latprof.common.extras import is_installed
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DynamicShapeError, UnsupportedModelError
from latprof.graph.convert import to_tflite
from latprof.graph.convert.skeletons import filled
from latprof.graph.convert.to_tflite import silenced, tflite_bytes, tflite_skeleton

pytestmark = pytest.mark.skipif(
    not is_installed("ai_edge_litert"), reason="ai-edge-litert is not installed"
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


HARDMAX = small_model(
    [helper.make_node("Hardmax", ["x"], ["y"], name="winner")],
    [("x", TensorProto.FLOAT, [2, 3])],
    [("y", TensorProto.FLOAT, [2, 3])],
)


def test_an_operator_that_neither_can_convert_is_named(monkeypatch):
    with pytest.raises(UnsupportedModelError, match="Hardmax 'winner'"):
        tflite_bytes(HARDMAX)
    monkeypatch.setattr(to_tflite, "is_installed", lambda _: False)
    with pytest.raises(UnsupportedModelError, match=r"Hardmax 'winner'.*latprof\[litert-torch\]"):
        tflite_bytes(HARDMAX)


@pytest.mark.skipif(not is_installed("litert_torch"), reason="litert-torch is not installed")
def test_what_the_writer_lacks_goes_through_torch():
    cube = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    model = small_model(
        [cube],
        [("x", TensorProto.FLOAT, [1, 2, 4, 4, 4])],
        [("y", TensorProto.FLOAT, [1, 2, 2, 2, 2])],
    )
    values = np.random.default_rng(3).standard_normal((1, 2, 4, 4, 4), dtype=np.float32)
    interpreter = interpreter_of(tflite_bytes(model))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(taken["index"], values)
    interpreter.invoke()
    expected = values.reshape(1, 2, 2, 2, 2, 2, 2, 2).max(axis=(3, 5, 7))
    assert np.array_equal(interpreter.get_tensor(given["index"]), expected)


def test_a_skeleton_runs_the_same_operators_with_other_weights(model, converted):
    skeleton = tflite_skeleton(model, seed=7)
    again = filled(skeleton)

    assert len(again) == len(converted)
    assert len(skeleton) < len(converted) / 2  # this network is nearly all tables
    found, before = interpreter_of(again), interpreter_of(converted)
    names = [[d["op_name"] for d in i._get_ops_details()] for i in (found, before)]  # noqa: SLF001
    assert names[0] == names[1]
    images = np.random.default_rng(1).standard_normal((1, 32, 32, 3), dtype=np.float32)
    outputs = []
    for interpreter in (found, before):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert np.isfinite(outputs[0]).all()
    assert 0.1 < outputs[0].std() / outputs[1].std() < 10
    assert tflite_skeleton(model, seed=7) == skeleton
    assert tflite_skeleton(model, seed=8) != skeleton


def test_writing_a_model_imports_no_torch():
    program = (
        "import sys\n"
        "from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace\n"
        "from latprof.graph.convert.to_tflite import tflite_bytes\n"
        "space = NASBenchMacroSpace()\n"
        "tflite_bytes(space.onnx_bytes(space.sample(1)[0]))\n"
        "print(sorted({'torch', 'tensorflow', 'litert_torch', 'ai_edge_litert'} & {*sys.modules}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_libraries_are_silent_and_what_follows_is_heard(capfd):
    with silenced():
        os.write(1, b"from C++")
        os.write(2, b"from C++")
        print("from Python")
        warnings.warn("a warning", stacklevel=1)
    print("heard")

    assert capfd.readouterr() == ("heard\n", "")
