"""ONNX graphs as torch modules compute what ONNX Runtime computes, operator by operator."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.datasets.spaces.named import get_space, space_names
from latprof.errors import DynamicShapeError, LatprofError, UnsupportedModelError
from latprof.graph.convert.quantization import to_float16
from latprof.graph.convert.tflite.translation import write_tflite
from latprof.graph.convert.to_torch import OPERATOR_KEY, torch_module

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(7)
IMAGE = (2, 4, 9, 11)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*values):
    return np.array(values, dtype=np.int64)


def model(nodes, shape, weights=(), opset=17, outputs=("y",)):
    """A model of one input ``x``; the sizes of its outputs are left to inference."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made).SerializeToString()


def one(op_type, shape, *weights, opset=17, outputs=1, **attributes):
    """A model of one operator; weights are its inputs after the first, None leaves one out."""
    names = [f"w{i}" if values is not None else "" for i, values in enumerate(weights)]
    given = [(n, v) for n, v in zip(names, weights, strict=True) if n]
    written = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, ["x", *names], written, name="the.op", **attributes)
    return model([node], shape, given, opset, written)


def both(content, x=None, module=None):
    """Outputs of ONNX Runtime and of torch for the same input."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    x = normal(*session.get_inputs()[0].shape) if x is None else x
    wanted = session.run(None, {session.get_inputs()[0].name: x})
    with torch.inference_mode():
        found = (module or torch_module(content))(torch.from_numpy(x))
    found = found if isinstance(found, tuple) else (found,)
    return wanted, [value.float().numpy() for value in found]


def assert_same(content, x=None):
    for wanted, found in zip(*both(content, x), strict=True):
        scale = np.abs(wanted).max()
        assert scale > 1e-3
        assert wanted.shape == found.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)


ROWS = (3, 5, 8)
CASES = {
    "conv": one("Conv", IMAGE, normal(6, 4, 3, 3), normal(6), pads=[1] * 4, strides=[2, 1]),
    "conv groups": one("Conv", IMAGE, normal(8, 1, 3, 5), group=4, dilations=[2, 1]),
    "conv asymmetric": one("Conv", IMAGE, normal(6, 4, 3, 3), pads=[0, 1, 2, 1]),
    "conv upper": one("Conv", IMAGE, normal(6, 4, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv lower": one("Conv", IMAGE, normal(6, 4, 4, 3), auto_pad="SAME_LOWER"),
    "conv valid": one("Conv", IMAGE, normal(6, 4, 4, 3), auto_pad="VALID"),
    "conv 1d": one("Conv", (2, 4, 9), normal(6, 4, 3), normal(6), pads=[1, 1]),
    "conv 3d": one("Conv", (1, 2, 5, 6, 7), normal(3, 2, 3, 3, 3)),
    "transposed": one(
        "ConvTranspose", IMAGE, normal(4, 3, 3, 3), normal(6), group=2, strides=[2, 2], pads=[1] * 4
    ),
    "max pool": one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "max pool ceil": one("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "max pool upper": one("MaxPool", IMAGE, kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
    "average pool": one("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1] * 4),
    "average pool counted": one(
        "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1
    ),
    "average pool upper": one(
        "AveragePool", IMAGE, kernel_shape=[2, 4], strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "global average": one("GlobalAveragePool", IMAGE),
    "global maximum": one("GlobalMaxPool", IMAGE),
    "batch norm": one(
        "BatchNormalization", IMAGE, normal(4), normal(4), normal(4), np.abs(normal(4)) + 1
    ),
    "instance norm": one("InstanceNormalization", IMAGE, normal(4), normal(4)),
    "layer norm": one("LayerNormalization", ROWS, normal(8), normal(8), epsilon=1e-3),
    "layer norm of two": one("LayerNormalization", ROWS, normal(5, 8), normal(5, 8), axis=1),
    "response norm": one("LRN", IMAGE, size=3, alpha=0.1),
    "relu6": one("Clip", IMAGE, np.float32(0), np.float32(6)),
    "clip low": one("Clip", IMAGE, np.float32(-0.5)),
    "clip high": one("Clip", IMAGE, None, np.float32(0.5)),
    "clip of old": one("Clip", IMAGE, opset=10, min=-0.5, max=0.25),
    "leaky": one("LeakyRelu", IMAGE, alpha=0.2),
    "elu": one("Elu", IMAGE, alpha=0.5),
    "hard sigmoid": one("HardSigmoid", IMAGE),
    "hard sigmoid of torch": one("HardSigmoid", IMAGE, alpha=1 / 6, beta=0.5),
    "gelu": one("Gelu", IMAGE, opset=20),
    "gelu tanh": one("Gelu", IMAGE, opset=20, approximate="tanh"),
    "prelu": one("PRelu", IMAGE, normal(4, 1, 1)),
    "softmax": one("Softmax", ROWS, axis=1),
    "softmax of old": one("Softmax", ROWS, opset=11, axis=1),
    "log softmax": one("LogSoftmax", ROWS),
    "add": one("Add", IMAGE, normal(4, 1, 1)),
    "multiply by a number": one("Mul", IMAGE, np.float32(2.5)),
    "power": one("Pow", IMAGE, np.float32(2)),
    "maximum": one("Max", IMAGE, np.float32(0.3), normal(4, 1, 1)),
    "sum": one("Sum", IMAGE, normal(4, 1, 1), normal(1, 4, 9, 11)),
    "matmul": one("MatMul", ROWS, normal(8, 6)),
    "matmul batched": one("MatMul", ROWS, normal(3, 8, 6)),
    "gemm": one("Gemm", (3, 8), normal(6, 8), normal(6), transB=1),
    "gemm plain": one("Gemm", (3, 8), normal(8, 6)),
    "gemm scaled": one("Gemm", (8, 3), normal(8, 6), normal(3, 1), transA=1, alpha=2.0, beta=0.5),
    "gemm row": one("Gemm", (3, 8), normal(8, 6), normal(1, 6)),
    "mean": one("ReduceMean", IMAGE, axes=[2, 3], keepdims=0),
    "mean of new": one("ReduceMean", IMAGE, whole(-1), opset=18),
    "mean of all": one("ReduceMean", IMAGE),
    "norms": one("ReduceL2", IMAGE, axes=[1]),
    "sizes": one("ReduceL1", IMAGE, axes=[1, 3], keepdims=0),
    "squares": one("ReduceSumSquare", IMAGE, axes=[2]),
    "soft maxima": one("ReduceLogSumExp", IMAGE, axes=[1]),
    "sum over": one("ReduceSum", IMAGE, whole(1, 2)),
    "most": one("ReduceMax", IMAGE, axes=[1]),
    "reshape": one("Reshape", IMAGE, whole(0, 2, -1, 11)),
    "flatten": one("Flatten", IMAGE),
    "flatten at": one("Flatten", IMAGE, axis=2),
    "transpose": one("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    "transpose all": one("Transpose", IMAGE),
    "concat": one("Concat", IMAGE, normal(2, 1, 9, 11), axis=1),
    "split": one("Split", IMAGE, whole(1, 3), outputs=2, axis=1),
    "split evenly": one("Split", IMAGE, outputs=2, axis=1),
    "split of old": one("Split", IMAGE, outputs=2, axis=1, split=[3, 1], opset=11),
    "split of new": one("Split", IMAGE, outputs=2, axis=2, num_outputs=2, opset=18),
    "slice": one("Slice", IMAGE, whole(1, 0), whole(2**62, -1), whole(2, -1), whole(2, 1)),
    "slice of old": one("Slice", IMAGE, opset=9, starts=[1, -4], ends=[9, -1], axes=[2, 3]),
    "squeeze": one("Squeeze", (2, 1, 5, 1), whole(1)),
    "squeeze of old": one("Squeeze", (2, 1, 5, 1), opset=11),
    "unsqueeze": one("Unsqueeze", (2, 5), whole(-1, 1)),
    "pad": one("Pad", IMAGE, whole(0, 1, 0, 2, 0, 0, 3, 0), np.float32(0.5)),
    "pad reflected": one("Pad", IMAGE, whole(0, 0, 1, 2, 0, 0, 1, 2), mode="reflect"),
    "gather one": one("Gather", IMAGE, whole(2)[0], axis=2),
    "gather": one("Gather", IMAGE, np.array([[0, -1], [2, 1]]), axis=1),
    "expand": one("Expand", (3, 1, 5), whole(2, 1, 4, 1)),
    "resize nearest": one(
        "Resize", IMAGE, None, np.array([1, 1, 2, 2], np.float32),
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    ),
    "resize nearest, default": one("Resize", IMAGE, None, np.array([1, 1, 2, 3], np.float32)),
    "resize linear": one("Resize", IMAGE, None, None, whole(2, 4, 5, 20), mode="linear"),
    "resize corners": one(
        "Resize", IMAGE, None, None, whole(2, 4, 18, 20),
        mode="linear", coordinate_transformation_mode="align_corners",
    ),
    "depth to space": one("DepthToSpace", IMAGE, blocksize=2, mode="CRD"),
    "dropout": one("Dropout", IMAGE),
}  # fmt: skip
PLAIN = (
    *("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Mish", "Neg", "Relu"),
    *("Round", "Sigmoid", "Sign", "Sin", "Softplus", "Tanh"),
)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnx_runtime_computes(name):
    assert_same(CASES[name])


@pytest.mark.parametrize("op_type", PLAIN)
def test_an_operator_without_attributes_does_so_too(op_type):
    assert_same(one(op_type, IMAGE, opset=18))


@pytest.mark.parametrize("op_type", ["Sqrt", "Log", "Reciprocal"])
def test_and_those_of_positive_numbers(op_type):
    assert_same(one(op_type, IMAGE), np.abs(normal(*IMAGE)) + 0.5)


SMALL = {
    "ofa-mobilenetv3": {"resolutions": (128,)},
    "proxyless": {"resolution": 96},
    "proxyless-cifar": {"blocks_per_stage": 1},
    "uninet": {"resolution": 96, "repeats": (1,) * 6},
}


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
@pytest.mark.parametrize("name", sorted(set(space_names()) - {"mixed-precision"}))
def test_networks_of_every_space_compute_the_same(name, batch_norm):
    space = get_space(name, **SMALL.get(name, {}))
    architecture = space.sample(1, seed=3)[0]

    assert_same(space.onnx_bytes(architecture, batch_norm=batch_norm))


def attention(width=8):
    """Attention as exporters write it: shapes computed from the input's, masks, constants."""
    weights = [
        ("wq", normal(width, width)),
        ("wk", normal(width, width)),
        ("scale", np.float32(width**0.5)),
        ("zero", whole(0)[0]),
        ("rows", whole(-1)),
        ("width", whole(width)),
        ("limit", np.float32(0.2)),
        ("low", np.float32(-5)),
    ]
    nodes = [
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Gather", ["size", "zero"], ["batch0"]),
        helper.make_node("Constant", [], ["front"], value_ints=[0]),
        helper.make_node("Unsqueeze", ["batch0", "front"], ["batch"]),
        helper.make_node("Concat", ["batch", "rows", "width"], ["target"], axis=0),
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="query"),
        helper.make_node("MatMul", ["x", "wk"], ["k"], name="key"),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["qk"], name="scores"),
        helper.make_node("Div", ["qk", "scale"], ["scaled"]),
        helper.make_node("Greater", ["scaled", "limit"], ["above"]),
        helper.make_node("Where", ["above", "scaled", "low"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "x"], ["mixed"], name="mix"),
        helper.make_node("Reshape", ["mixed", "target"], ["y"], name="out"),
    ]
    return model(nodes, (2, 5, width), weights)


def test_comparisons_and_what_joins_them():
    weights = [("low", np.float32(-0.5)), ("high", np.float32(0.5))]
    nodes = [
        helper.make_node("GreaterOrEqual", ["x", "low"], ["above"]),
        helper.make_node("LessOrEqual", ["x", "high"], ["below"]),
        helper.make_node("And", ["above", "below"], ["inside"]),
        helper.make_node("Less", ["x", "low"], ["under"]),
        helper.make_node("Or", ["inside", "under"], ["kept"]),
        helper.make_node("Where", ["kept", "x", "high"], ["y"]),
    ]
    assert_same(model(nodes, (3, 8), weights))


def test_attention_with_computed_shapes():
    assert_same(attention())


def test_nodes_are_named_after_the_operators_and_know_them():
    space = get_space("proxyless", resolution=64)
    architecture = space.sample(1)[0]
    content = space.onnx_bytes(architecture)

    module = torch_module(content)

    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    operators = [node.name for node in onnx.load_model_from_string(content).graph.node]
    assert [node.meta[OPERATOR_KEY] for node in nodes] == operators
    assert [node.name for node in nodes] == [name.replace(".", "_") for name in operators]
    convolutions = sum(node.target is torch.nn.functional.conv2d for node in nodes)
    assert sum(p.dim() == 4 for p in module.parameters()) == convolutions
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())


def test_formats_and_precisions_follow_the_module():
    space = get_space("ofa-mobilenetv3", resolutions=(128,))
    content = space.onnx_bytes(space.sample(1)[0])
    x = normal(1, 3, 128, 128)
    (wanted,), _ = both(content, x)

    blocked = torch_module(content).to(memory_format=torch.channels_last)
    image = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    rounded = torch_module(content).to(torch.bfloat16)

    with torch.inference_mode():
        np.testing.assert_allclose(blocked(image).numpy(), wanted, rtol=1e-3, atol=1e-4)
        found = rounded(torch.from_numpy(x).bfloat16())
    assert found.dtype == torch.bfloat16
    assert np.abs(found.float().numpy() - wanted).max() < 0.1 * np.abs(wanted).max()


def test_the_module_can_be_exported():
    content = attention()
    module = torch_module(content)
    x = normal(2, 5, 8)

    exported = torch.export.export(module, (torch.from_numpy(x),)).module()

    (wanted,), (found,) = both(content, x, exported)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_beside_the_model_are_read(tmp_path):
    content = onnx.load_model_from_string(CASES["conv"])
    path = tmp_path / "model.onnx"
    onnx.save_model(content, path, save_as_external_data=True, size_threshold=0)

    x = normal(*IMAGE)
    (wanted,), (found,) = both(CASES["conv"], x, torch_module(path))

    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_names_that_are_no_names_of_python_do_no_harm():
    weights = [("class", normal(1, 4, 1, 1)), ("forward", normal(1, 4, 1, 1)), ("1;x", normal(1))]
    nodes = [
        helper.make_node("Add", ["x", "class"], ["a b"], name="import os"),
        helper.make_node("Add", ["a b", "forward"], ["c"], name="import_os"),
        helper.make_node("Mul", ["c", "1;x"], ["y"], name="é()\n"),
    ]
    assert_same(model(nodes, IMAGE, weights))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is no model", "not an ONNX model"),
        (one("Det", (3, 3)), "Det 'the.op' has no translation"),
        (one("MaxPool", IMAGE, outputs=2, kernel_shape=[2, 2]), "MaxPool 'the.op' has 2 outputs"),
        (one("Slice", ROWS, whole(3), whole(0), whole(2), whole(-1)), "backwards"),
        (one("Conv", IMAGE, normal(6, 4, 3, 3), auto_pad="SAME_NEVER"), "SAME_NEVER"),
    ],
)
def test_what_cannot_be_translated_is_named(content, words):
    with pytest.raises(UnsupportedModelError, match=words.replace("(", "[(]")):
        torch_module(content)


def test_a_shape_that_depends_on_values_is_refused():
    nodes = [
        helper.make_node("Cast", ["x"], ["n"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "n"], ["y"], name="r"),
    ]
    with pytest.raises(UnsupportedModelError, match="Reshape 'r' computes its input 1"):
        torch_module(model(nodes, (2,)))


def test_an_operator_of_another_domain_is_named_with_it():
    content = onnx.load_model_from_string(one("Relu", IMAGE))
    content.graph.node[0].domain = "com.example"
    with pytest.raises(UnsupportedModelError, match=r"com\.example\.Relu 'the\.op'"):
        torch_module(content.SerializeToString())


def test_dynamic_inputs_are_refused_as_elsewhere():
    with pytest.raises(DynamicShapeError):
        torch_module(one("Relu", ("n", 4)))


def test_a_model_that_is_no_file_has_no_weights_in_others(tmp_path, monkeypatch):
    """onnx would look for them in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_bytes(normal(4).tobytes())
    made = onnx.load_from_string(one("Add", (1, 4), normal(4)))
    (weight,) = made.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights")
    content = made.SerializeToString()
    for convert in (torch_module, write_tflite, to_float16):
        with pytest.raises(LatprofError, match="external weights cannot be read"):
            convert(content)


@pytest.mark.parametrize(
    ("op_type", "attributes"), [("DepthToSpace", {"blocksize": 0}), ("Cast", {}), ("Concat", {})]
)
def test_what_an_operator_lacks_is_told(op_type, attributes):
    with pytest.raises(UnsupportedModelError, match=op_type):
        torch_module(one(op_type, (1, 4, 2, 2), **attributes))
    nothing = onnx.load_from_string(one("Relu", (1, 4)))
    nothing.graph.output[0].name = "nowhere"
    with pytest.raises(UnsupportedModelError, match="nothing makes its output 'nowhere'"):
        torch_module(nothing.SerializeToString())
