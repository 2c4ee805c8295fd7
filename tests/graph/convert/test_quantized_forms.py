"""Graphs quantised without data are those that ONNX Runtime's tools write of the same network."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime import quantization as tools

from latprof.datasets.zoo.network_builder import NetworkBuilder
from latprof.errors import UnknownNameError
from latprof.graph import onnxruntime_kernels
from latprof.graph.convert.quantized.forms import FORMS, quantized_form, with_values
from latprof.graph.reader import read_network

#: What shows which operators compute in bytes.
_WORKING = frozenset(
    {"Add", "Concat", "Conv", "ConvInteger", "DynamicQuantizeMatMul", "Gemm", "MatMul", "Mul"}
    | {"MatMulIntegerToFloat", "MatMulNBits", "QGemm", "QLinearAdd", "QLinearAveragePool"}
    | {"QLinearConcat", "QLinearConv", "QLinearMatMul", "QLinearMul", "QLinearSigmoid"}
)


@pytest.fixture(scope="module")
def net() -> NetworkBuilder:
    """Every block that the random networks are made of, small."""
    net = NetworkBuilder("forms", resolution=16)
    x = net.conv(net.image(), 8, 3, 2, act="relu", name="stem")
    y = net.depthwise(net.conv(x, 16, act="relu6"), 3, act="hswish")
    y = net.conv(net.squeeze_excite(y, 4, gate="hsigmoid"), 8, name="project")
    x = net.pool(net.add(x, y), "max", 3, 1)
    left, right = net.split(x, (4, 4))
    right = net.conv(net.pool(right, "avg", 3, 1), 4, 3, act="swish", name="right")
    x = net.shuffle(net.concat([left, right]), 2)
    x = net.conv(net.resize(x, (4, 4)), 16, act="sigmoid", name="small")
    tokens = net.tokens(x)
    tokens = net.add(tokens, net.self_attention(net.layer_normalize(tokens), 2))
    tokens = net.add(tokens, net.mlp(tokens, 32))
    x = net.act(net.feature_map(tokens, x.size), "leaky_relu")
    x = net.flatten(net.global_pool(net.pad(x, (0, 0, 1, 1))))
    net.output(net.linear(net.linear(x, 16, act="relu", name="hidden"), 10, name="classifier"))
    return net


class _Images(tools.CalibrationDataReader):
    def __init__(self) -> None:
        self._left = [np.random.default_rng(0).standard_normal((1, 3, 16, 16), np.float32)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"input": self._left.pop()} if self._left else None


def _written_by_the_tools(form: str, plain, path) -> onnx.ModelProto:
    if form == "dynamic":
        tools.quantize_dynamic(plain, path)
    else:
        kind, _, unsigned = form.partition("-")
        tools.quantize_static(
            plain,
            path,
            _Images(),
            quant_format=tools.QuantFormat.QDQ if kind == "qdq" else tools.QuantFormat.QOperator,
            activation_type=tools.QuantType.QUInt8 if unsigned else tools.QuantType.QInt8,
            per_channel=bool(unsigned),
        )
    return onnx.load(path)


def _kernels_that_run(model: onnx.ModelProto, path) -> Counter[str]:
    """Kernels that work, of the graph that the runtime makes; it has run once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.optimized_model_filepath = str(path)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"input": np.ones((1, 3, 16, 16), np.float32)})
    assert found.shape == (1, 10)
    return Counter(n.op_type for n in onnx.load(path).graph.node if n.op_type in _WORKING)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_has_the_operators_and_dtypes_of_the_tools(form, net, tmp_path):
    plain = tmp_path / "plain.onnx"
    onnx.save(net.model(), plain)
    ours = quantized_form(net.model(weights=False), form)

    if form == "int4":  # its tool needs a package of its own
        assert sum(n.op_type == "MatMulNBits" for n in ours.graph.node) == 4
        theirs = ours
    else:
        theirs = _written_by_the_tools(form, plain, tmp_path / "theirs.onnx")
    assert Counter(n.op_type for n in ours.graph.node) == Counter(
        n.op_type for n in theirs.graph.node
    )
    weights = [
        Counter(t.data_type for t in model.graph.initializer if len(t.dims) > 1)
        for model in (ours, theirs)
    ]
    assert weights[0] == weights[1]
    # Work is read of the graph alone, and is that of the float32 network.
    network = read_network(ours)
    assert network.macs == read_network(plain).macs
    expected = Counter(k.op_type for k in onnxruntime_kernels(network) if k.op_type in _WORKING)
    assert expected == _kernels_that_run(with_values(ours), tmp_path / "optimized.onnx")


def test_a_form_that_is_none_is_refused(net):
    with pytest.raises(UnknownNameError):
        quantized_form(net.model(weights=False), "int2")
