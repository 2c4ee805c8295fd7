"""Models in other numbers compute about the same, are smaller, and keep what is not named."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.datasets.spaces.variants.scaled import MBConvStagesSpace
from latprof.errors import (
    DynamicShapeError,
    InvalidValueError,
    ModelFileError,
    UnsupportedModelError,
)
from latprof.graph.convert.quantization import to_float16, to_int8

SPACE = ProxylessSpace(widths=(16, 8, 16, 16, 24, 24, 32, 32, 64), resolution=64, num_classes=10)
ARCHITECTURE = SPACE.sample(1)[0]


@pytest.fixture(scope="module")
def model():
    return SPACE.onnx_bytes(ARCHITECTURE)


@pytest.fixture(scope="module")
def quantized(model):
    return to_int8(model)


def outputs(content, seed=5):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    images = np.random.default_rng(seed).standard_normal(value.shape, dtype=np.float32)
    return session.run(None, {value.name: images})[0].ravel()


def cosine(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def quantized_convolutions(content):
    nodes = onnx.load_model_from_string(content).graph.node
    integers = {v for n in nodes if n.op_type == "DequantizeLinear" for v in n.output}
    return {n.name for n in nodes if n.op_type == "Conv" and n.input[1] in integers}


def small_model(node, shape, opset=17):
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_int8_computes_about_the_same_in_fewer_bytes(model, quantized):
    expected = outputs(model)

    assert expected.std() > 0.05
    assert cosine(expected, outputs(quantized)) > 0.97
    assert not np.array_equal(expected, outputs(quantized))
    # Above a quarter: every convolution brings scales and names of its own.
    assert len(quantized) < 0.6 * len(model)
    onnx.checker.check_model(quantized, full_check=True)


def test_every_convolution_is_quantized_and_no_activation_is_left_between(quantized):
    nodes = onnx.load_model_from_string(quantized).graph.node

    convolutions = {n.name for n in nodes if n.op_type == "Conv"}
    assert quantized_convolutions(quantized) == convolutions
    assert len(convolutions) > 40
    assert not [n for n in nodes if n.op_type == "Clip"]


def test_weights_have_a_scale_a_channel(quantized):
    graph = onnx.load_model_from_string(quantized).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}

    (stem,) = (n for n in graph.node if n.name == "stem")
    (weight,) = (n for n in graph.node if n.output[0] == stem.input[1])
    assert shapes[weight.input[1]] == (16,)


def test_the_same_seed_makes_the_same_model(model, quantized):
    assert to_int8(model) == quantized
    assert to_int8(model, seed=1) != quantized


def test_only_named_operators_are_quantized(model):
    named = ["stage1.block0.expand", "stage1.block0.expand.relu6", "stage1.block0.depthwise"]
    content = to_int8(model, operators=named)

    assert quantized_convolutions(content) == {named[0], named[2]}
    assert cosine(outputs(model), outputs(content)) > 0.99
    assert outputs(to_int8(model, operators=[])) == pytest.approx(outputs(model), rel=1e-6)
    with pytest.raises(InvalidValueError, match="no-such"):
        to_int8(model, operators=["no-such"])


def test_kept_normalization_is_folded_before():
    kept = SPACE.onnx_bytes(ARCHITECTURE, batch_norm="kept")

    content = to_int8(kept)

    nodes = onnx.load_model_from_string(content).graph.node
    assert not [n for n in nodes if n.op_type == "BatchNormalization"]
    assert quantized_convolutions(content) == {n.name for n in nodes if n.op_type == "Conv"}
    assert cosine(outputs(kept), outputs(content)) > 0.97


def test_a_quantized_model_stays_as_it_is(quantized):
    again = to_int8(quantized)

    assert onnx.load_model_from_string(again) == onnx.load_model_from_string(quantized)
    with pytest.raises(InvalidValueError, match="already"):
        to_int8(quantized, operators=["stem"])


def test_float16_computes_the_same_with_half_the_bytes(model):
    content = to_float16(model)
    graph = onnx.load_model_from_string(content).graph

    assert cosine(outputs(model), outputs(content)) > 0.9999
    assert len(content) < 0.75 * len(model)
    assert {t.data_type for t in graph.initializer} == {TensorProto.FLOAT16}
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("convert", [to_int8, to_float16])
def test_weights_beside_the_file_are_read(convert, model, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save_model(
        onnx.load_model_from_string(model),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )

    content = convert(path)

    (tmp_path / "weights.bin").unlink()
    assert cosine(outputs(model), outputs(content)) > 0.97


@pytest.mark.parametrize("convert", [to_int8, to_float16])
def test_what_cannot_be_converted_is_refused(convert):
    relu = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ModelFileError):
        convert(b"this is no model")
    with pytest.raises(DynamicShapeError):
        convert(small_model(relu, ["n", 3]))


def test_what_cannot_be_run_cannot_be_quantized():
    unknown = helper.make_node("Unknown", ["x"], ["y"], domain="elsewhere")
    with pytest.raises(UnsupportedModelError, match="quantised"):
        to_int8(small_model(unknown, [1, 3]))


def test_nothing_is_printed_and_logging_stays_as_it_was(model, capfd):
    handlers, disabled = list(logging.getLogger().handlers), logging.root.manager.disable

    to_int8(model)
    to_float16(model)

    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert logging.root.manager.disable == disabled


def test_operators_without_an_8_bit_form_stay_and_the_network_runs():
    space = MBConvStagesSpace((8,) * 9, (1,) * 7, 32, 10, squeeze=True)
    content = space.onnx_bytes(space.sample(1)[0])

    integers = to_int8(content)

    kept = {n.op_type for n in onnx.load_model_from_string(integers).graph.node}
    assert {"HardSwish", "Sigmoid", "QuantizeLinear"} <= kept
    assert cosine(outputs(content), outputs(integers)) > 0.95  # gates in 8 bits multiply
