"""What exporters write: sizes that are worked out or decided in the graph, and other domains."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof import predict
from latprof.graph import onnxruntime_kernels, read_network
from latprof.graph.guarded.inference import Allowance
from latprof.graph.inferring.rounds import Inference
from latprof.graph.plain_nodes import plain_nodes
from latprof.graph.shape_arithmetic import Effort, fold_shape_arithmetic

FLOAT, INT64, UINT8, INT8 = (getattr(TensorProto, n) for n in ("FLOAT", "INT64", "UINT8", "INT8"))
MICROSOFT = "com.microsoft"


def _node(op_type, inputs, outputs="y", domain="", **attributes):
    names = [each if each != "-" else "" for each in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), domain=domain, **attributes)


def _model(nodes, inputs, weights=(), outputs="y", opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, *v) for n, v in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()],
    )
    domains = [("", opset), (MICROSOFT, 1), ("ai.onnx.ml", 3)]
    opsets = [helper.make_opsetid(*each) for each in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _floats(*shape):
    return np.full(shape, 0.5, dtype=np.float32)


# Sizes that are worked out ----------------------------------------------------------------------


def _windows(blocks):
    """Blocks that cut an image into windows and join it again, by sizes that they divide."""
    nodes = []
    x = "x"
    for i in range(blocks):
        nodes += [
            _node("Shape", x, f"s{i}"),
            _node("Split", f"s{i} ones", f"n{i} h{i} w{i} c{i}", axis=0),
            _node("Div", f"h{i} seven", f"a{i}"),
            _node("Div", f"w{i} seven", f"b{i}"),
            _node("Concat", f"n{i} a{i} seven b{i} seven c{i}", f"cut{i}", axis=0),
            _node("Reshape", f"{x} cut{i}", f"r{i}"),
            _node("Transpose", f"r{i}", f"t{i}", perm=[0, 1, 3, 2, 4, 5]),
            _node("Reshape", f"t{i} flat", f"f{i}"),
            _node("MatMul", f"f{i} w", f"m{i}"),
            _node("Reshape", f"m{i} s{i}", f"x{i}"),
        ]
        x = f"x{i}"
    return _model(
        nodes,
        {"x": (FLOAT, ["N", "H", "W", 8])},
        {"ones": [1, 1, 1, 1], "seven": [7], "flat": [-1, 49, 8], "w": _floats(8, 8)},
        x,
    )


def test_a_deep_model_of_many_chains_of_sizes_is_resolved_to_its_end():
    network = read_network(_windows(20), shapes={"x": (2, 14, 21, 8)})

    products = [op for op in network.operators if op.op_type == "MatMul"]
    assert [op.macs for op in products] == [2 * 14 * 21 * 64] * 20
    assert network.outputs == (("x19", (2, 14, 21, 8)),)
    assert network.unknown == ()


def test_an_operator_with_several_outputs_is_worked_out():
    model = _model(
        [_node("Split", "s parts", "a b", axis=0)], {}, {"s": [3, 4, 5], "parts": [1, 2]}
    )

    assert fold_shape_arithmetic(model, plain_nodes(model.graph.node), {}, Effort())
    made = {t.name: numpy_helper.to_array(t).tolist() for t in model.graph.initializer}
    assert (made["a"], made["b"]) == ([3], [4, 5])


@pytest.mark.parametrize("count", [0, 300])
def test_sizes_that_nothing_of_unknown_shape_reads_are_inferred_once(count):
    chain = [_node("Mul", f"n{i} n{i}", f"n{i + 1}") for i in range(count)]
    nodes = [*chain, _node("NonZero", "x", "places"), _node("Neg", "places")]
    model = _model(nodes, {"x": (FLOAT, (6, 5)), "n0": (INT64, (4,))})
    effort = Effort()
    inference = Inference(model, plain_nodes(model.graph.node), "m", Allowance(), effort, None)

    found = inference.assuming(inference.resolve())

    assert found.shapes["y"] == (2, 30)
    assert found.shapes[f"n{count}"] == (4,)
    assert (Effort().nodes - effort.nodes) % 1000 == count + 2 + 2  # all, and what is open


# Sizes that are decided as a model runs ---------------------------------------------------------


def _detector():
    """Boxes that a suppression keeps are looked up and multiplied with a weight."""
    nodes = [
        _node("NonMaxSuppression", "boxes scores most", "kept"),
        _node("Gather", "kept last", "index", axis=1),
        _node("Squeeze", "index one", "flat"),
        _node("Gather", "features flat", "chosen", axis=0),
        _node("MatMul", "chosen w", "y"),
    ]
    inputs = {"boxes": (1, 100, 4), "scores": (1, 2, 100), "features": (100, 16)}
    return _model(
        nodes,
        {name: (FLOAT, shape) for name, shape in inputs.items()},
        {"most": np.array([30]), "last": [2], "one": [1], "w": _floats(16, 8)},
    )


def _masked():
    """As many rows as a mask is true of."""
    nodes = [
        _node("Greater", "x zero", "mask"),
        _node("NonZero", "mask", "places"),
        _node("Transpose", "places", "rows"),
        _node("GatherND", "x rows", "chosen"),
        _node("Unsqueeze", "chosen one", "column"),
        _node("MatMul", "column w", "y"),
    ]
    weights = {"zero": np.float32(0), "one": [1], "w": _floats(1, 8)}
    return _model(nodes, {"x": (FLOAT, (6, 5))}, weights)


@pytest.mark.parametrize(
    ("build", "macs", "named"),
    [(_detector, 60 * 16 * 8, "kept"), (_masked, 30 * 8, "places")],
)
def test_what_a_run_decides_is_taken_as_the_most_and_said(build, macs, named):
    network = read_network(build())

    assert network.macs == macs
    assert [why for why in network.unknown if named in why and "as the model runs" in why]


def test_a_prediction_does_not_cover_what_a_run_decides(tmp_path):
    onnx.save(_detector(), tmp_path / "m.onnx")

    answer = predict(tmp_path / "m.onnx")

    assert answer.uncertain
    assert answer.is_guess
    assert answer.high_ms > 2 * answer.low_ms
    assert not next(op for op in answer.operators if op.kind == "linear").known


# Other domains ----------------------------------------------------------------------------------


def test_a_linear_classifier_multiplies_each_row_with_its_coefficients():
    weights = {"coefficients": [0.5] * 400, "intercepts": [0.0] * 100}
    node = _node(
        "LinearClassifier", "x", "label score", "ai.onnx.ml", classlabels_ints=range(100), **weights
    )

    network = read_network(_model([node], {"x": (FLOAT, (7, 4))}, outputs="label score"))

    assert network.macs == 7 * 400
    assert network.outputs == (("label", (7,)), ("score", (7, 100)))
    assert network.unknown == ()


def test_attention_with_all_three_in_its_query_is_as_wide_as_its_heads():
    node = _node(
        "GroupQueryAttention", "q - - - - n t", "a", MICROSOFT, num_heads=4, kv_num_heads=1
    )
    nodes = [node, _node("MatMul", "a w", "y")]
    weights = {"w": _floats(32, 8), "n": np.int32([4]), "t": np.int32(5)}

    network = read_network(_model(nodes, {"q": (FLOAT, (1, 5, 48))}, weights))

    assert network.operators[0].output_shapes == ((1, 5, 32),)
    assert network.macs == 4 * 5 * 5 * 2 * 8 + 5 * 32 * 8


def test_linear_attention_adds_to_its_state_and_reads_it():
    how = {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": "linear"}
    node = _node("LinearAttention", "q k v", "y state", MICROSOFT, **how)
    inputs = {"q": (1, 6, 32), "k": (1, 6, 16), "v": (1, 6, 20)}

    network = read_network(_model([node], {n: (FLOAT, s) for n, s in inputs.items()}))

    assert network.operators[0].macs == 6 * (8 * 10) * (4 + 2)


@pytest.mark.parametrize("last", [0, 1])
def test_a_convolution_with_its_channels_last_has_its_sizes(last):
    shape = (1, 6, 7, 3) if last else (1, 3, 6, 7)
    weights = {
        "w": np.ones((4, 3, 3, 3), np.int8), "s": np.float32(1), "z": np.uint8(0), "v": np.int8(0)
    }  # fmt: skip
    node = _node(
        "QLinearConv", "x s z w s v s z", "y", MICROSOFT, channels_last=last, kernel_shape=[3, 3]
    )

    network = read_network(_model([node], {"x": (UINT8, shape)}, weights))

    assert network.outputs == (("y", (1, 4, 5, 4) if last else (1, 4, 4, 5)),)
    assert network.macs == 4 * 4 * 5 * 27


# Kernels of 8 bits ------------------------------------------------------------------------------

SCALES = {"s": np.float32(0.02), "z": np.uint8(0), "zw": np.int8(0)}


def _quantized_block():
    """Two convolutions and the sum of both, quantised between all of them."""
    nodes = [_node("QuantizeLinear", "x s z", "q0"), _node("DequantizeLinear", "q0 s z", "d0")]
    for i, source in ((1, "d0"), (2, "d1")):
        nodes += [
            _node("DequantizeLinear", f"w{i} s zw", f"f{i}"),
            _node("Conv", f"{source} f{i}", f"c{i}", pads=[1, 1, 1, 1]),
            _node("Relu", f"c{i}", f"r{i}"),
            _node("QuantizeLinear", f"r{i} s z", f"q{i}"),
            _node("DequantizeLinear", f"q{i} s z", f"d{i}"),
        ]
    nodes += [
        _node("Add", "d1 d2", "a"),
        _node("QuantizeLinear", "a s z", "qa"),
        _node("DequantizeLinear", "qa s z", "y"),
    ]
    weights = {f"w{i}": np.ones((8, 8, 3, 3), np.int8) for i in (1, 2)}
    return _model(nodes, {"x": (FLOAT, (1, 8, 6, 6))}, weights | SCALES)


def test_what_is_quantised_before_and_after_runs_in_8_bits():
    kernels = onnxruntime_kernels(read_network(_quantized_block()))

    assert [kernel.op_type for kernel in kernels] == [
        "QuantizeLinear", "QLinearConv", "QLinearConv", "QLinearAdd", "DequantizeLinear"
    ]  # fmt: skip
    assert [kernel.kind for kernel in kernels[1:3]] == ["conv3x3 int8"] * 2
    assert all("Relu" not in kernel.kind for kernel in kernels)


def test_a_product_without_a_quantised_result_gives_floats():
    nodes = [
        _node("QuantizeLinear", "x s z", "q"),
        _node("DequantizeLinear", "q s z", "d"),
        _node("DequantizeLinear", "w s zw", "f"),
        _node("MatMul", "d f", "y"),
    ]
    weights = SCALES | {"w": np.ones((8, 4), np.int8)}

    kernels = onnxruntime_kernels(read_network(_model(nodes, {"x": (FLOAT, (5, 8))}, weights)))

    assert [kernel.op_type for kernel in kernels] == ["QuantizeLinear", "MatMulIntegerToFloat"]


def test_a_product_that_is_quantised_as_it_runs_is_one_kernel():
    nodes = [
        _node("DynamicQuantizeLinear", "x", "q scale zero"),
        _node("MatMulInteger", "q w zero zw", "i"),
        _node("Cast", "i", "c", to=FLOAT),
        _node("Mul", "scale s", "both"),
        _node("Mul", "c both", "m"),
        _node("Add", "m b", "y"),
    ]
    weights = SCALES | {"w": np.ones((8, 4), np.int8), "b": _floats(4)}

    kernels = onnxruntime_kernels(read_network(_model(nodes, {"x": (FLOAT, (5, 8))}, weights)))

    assert [kernel.op_type for kernel in kernels] == ["DynamicQuantizeMatMul"]
    assert (kernels[0].macs, len(kernels[0].parts)) == (5 * 8 * 4, 6)


def test_a_file_that_the_runtime_saved_has_the_kernels_of_the_one_it_was_made_of(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    nodes = [
        _node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        _node("Relu", "c", "r"),
        _node("Conv", "r w", "d", pads=[1, 1, 1, 1]),
        _node("Add", "d x", "y"),
    ]
    weights = {"w": np.random.default_rng(0).random((16, 16, 3, 3), dtype=np.float32)}
    onnx.save(_model(nodes, {"x": (FLOAT, (1, 16, 8, 8))}, weights), tmp_path / "plain.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    ort.InferenceSession(tmp_path / "plain.onnx", options, providers=["CPUExecutionProvider"])

    def kernels(name):
        found = onnxruntime_kernels(read_network(tmp_path / name))
        return sorted((each.op_type, each.activation, each.macs) for each in found)

    assert kernels("saved.onnx") == kernels("plain.onnx")


@pytest.mark.parametrize("opset", [13, 18])
def test_what_onnx_infers_nothing_of_in_its_own_domain_keeps_its_shape(opset):
    nodes = [
        _node("SimplifiedLayerNormalization", "e s", "a"),
        _node("LayerNormalization", "a s s", "g"),
        _node("GroupNormalization", "g p p", "b", num_groups=3),
        _node("MatMul", "b w", "y"),
    ]
    nodes.insert(0, _node("GatherBlockQuantized", "t i q", "e", MICROSOFT, bits=4, block_size=16))
    weights = {"s": _floats(8), "w": _floats(8, 5), "q": _floats(9, 1), "p": _floats(3)}
    weights["t"] = np.zeros((9, 4), np.uint8)

    network = read_network(_model(nodes, {"i": (INT64, (2, 3))}, weights, opset=opset))

    assert [op.output_shapes[0] for op in network.operators] == [(2, 3, 8)] * 4 + [(2, 3, 5)]
    assert (network.macs, network.unknown) == (2 * 3 * 8 * 5, ())
