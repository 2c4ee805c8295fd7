"""Models from elsewhere asked of the packs that come with latprof: no silent numbers."""

import json
import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof import predict
from latprof.datasets.published.loading import load, load_kernels
from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import (
    MOBILENET_V2_CHOICES,
    MOBILENET_V2_WIDTHS,
    ProxylessSpace,
)
from latprof.errors import CoverageError, ModelFileError
from latprof.graph.fusion import fuse
from latprof.graph.operators import Network
from latprof.graph.reader import read_network
from latprof.predictors.kernels.work_rates import work_of
from latprof.predictors.pack.answering import predict_network
from latprof.predictors.pack.saving import load_pack
from latprof.predictors.pack.shipped import DEFAULT_PACK, pack_names

SPACE = ProxylessSpace()
CPU_PACKS = [name for name in pack_names() if "-cpu-" in name]


class _Graph:
    """Builds a small ONNX model, a node at a time, with weights that are there in shape only."""

    def __init__(self, *shape, dtype=TensorProto.FLOAT):
        self.shape, self.dtype, self.nodes, self.weights, self.last = shape, dtype, [], [], "x"

    def node(self, op_type, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs or [self.last], [name], **attributes))
        self.last = name
        return name

    def weight(self, *shape):
        name = f"w{len(self.weights)}"
        values = np.zeros(shape, helper.tensor_dtype_to_np_dtype(self.dtype))
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, out, channels, kernel=1, stride=1, groups=1, *, relu=True):
        weight = self.weight(out, channels // groups, kernel, kernel)
        side = kernel // 2
        self.node(
            "Conv",
            self.last,
            weight,
            group=groups,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[side] * 4,
        )
        return self.node("Relu") if relu else self.last

    def dense(self, rows, columns):
        return self.node("MatMul", self.last, self.weight(rows, columns))

    def build(self):
        inputs = [helper.make_tensor_value_info("x", self.dtype, self.shape)]
        outputs = [helper.make_tensor_value_info(self.last, self.dtype, None)]
        graph = helper.make_graph(self.nodes, "model", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet18(batch):
    """He et al. 2016: 1.8 GMACs."""
    graph = _Graph(batch, 3, 224, 224)
    graph.conv(64, 3, 7, 2)
    graph.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    stages = ((64, 1), (128, 2), (256, 2), (512, 2))
    for width, stride in ((width, each) for width, first in stages for each in (first, 1)):
        start = graph.last
        graph.conv(width, channels, 3, stride)
        inside = graph.conv(width, width, 3, relu=False)
        graph.last = start
        skip = start if stride == 1 else graph.conv(width, channels, 1, stride, relu=False)
        graph.node("Add", inside, skip)
        graph.node("Relu")
        channels = width
    graph.node("GlobalAveragePool")
    graph.node("Flatten")
    graph.dense(512, 1000)
    return graph.build()


def mobilenet_v2(batch):
    space = ProxylessSpace(MOBILENET_V2_WIDTHS)
    return space.build_onnx(Architecture("proxyless", MOBILENET_V2_CHOICES), batch_size=batch)


def mlp():
    graph = _Graph(1, 1024)
    for _ in range(30):
        graph.dense(1024, 1024)
        graph.node("Relu")
    return graph.build()


def plain_convolutions():
    graph = _Graph(1, 64, 56, 56)
    for _ in range(12):
        graph.conv(64, 64, 3)
    return graph.build()


def asked(model, pack=DEFAULT_PACK, **options):
    return predict_network(load_pack(pack), read_network(model), "model", **options)


@pytest.mark.parametrize("name", CPU_PACKS)
def test_a_resnet18_is_slower_than_a_mobilenet_v2(name):
    batch = load_pack(name).target.batch_size

    slow, fast = (asked(build(batch), name) for build in (resnet18, mobilenet_v2))

    assert slow.latency_ms > 3 * fast.latency_ms  # measured 4.3 times
    assert slow.is_guess
    assert slow.coverage < 0.5


def _fastest(name):
    """The most multiply-accumulates and values a millisecond of a data set."""
    pack, rows = load_pack(name), load(name, split="train")
    batch = pack.target.batch_size
    works = _works(pack.space, rows["architecture"], batch)
    best = (works / rows["latency_ms"].to_numpy()[:, None]).max(axis=0)
    if name == DEFAULT_PACK:
        times = {}
        for text, kernels in load_kernels(name).groupby("architecture"):
            operators = {op.name: op for op in pack.space.operators(pack.space.parse(text), batch)}
            for kernel, ms in zip(kernels["name"], kernels["latency_ms"], strict=True):
                if kernel in operators:
                    op = operators[kernel]
                    times.setdefault((op.kind, *_rated(op)), []).append(ms)
        for (_, *work), found in times.items():
            best = np.maximum(best, np.array(work) / np.median(found))
    return best


def _works(space, names, batch):
    """What :func:`_rated` says of n architectures, shape (n, 2): parts change, the rest stays."""
    choices = space.choices([space.parse(name) for name in names])
    first = space.architectures(choices[:1])[0]
    works = np.tile(sum(map(_rated, space.operators(first, batch))), (len(choices), 1))
    for index, part in enumerate(space.parts):
        local, rows = np.unique(choices[:, list(part.decisions)], axis=0, return_inverse=True)
        blocks = [space.part_blocks(index, tuple(row)) for row in local.tolist()]
        operators = [[op for each in row for op in each.operators(batch)] for row in blocks]
        costs = np.array([sum(map(_rated, each), np.zeros(2)) for each in operators])
        works += (costs - costs[rows.reshape(-1)[0]])[rows.reshape(-1)]
    last = space.architectures(choices[-1:])[0]
    np.testing.assert_allclose(works[-1], sum(map(_rated, space.operators(last, batch))))
    return works


def _rated(operator):
    macs, elements, weights, _ = work_of(operator)
    return np.array([macs, elements + weights])


def _random_model(random):
    channels, side = int(random.integers(3, 257)), int(random.integers(4, 113))
    graph = _Graph(1, channels, side, side)
    for _ in range(random.integers(1, 9)):
        kind = random.choice(["dense", "depthwise", "grouped", "pool", "add", "act"])
        kernel = int(random.choice([1, 3, 5, 7]))
        if kind == "depthwise":
            graph.conv(channels, channels, kernel, groups=channels)
        elif kind == "dense":
            out = int(random.integers(8, 513))
            graph.conv(out, channels, kernel)
            channels = out
        elif kind == "grouped" and channels % 4 == 0:
            graph.conv(channels, channels, kernel, groups=4)
        elif kind == "pool":
            graph.node("MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        elif kind == "add":
            graph.node("Add", graph.last, graph.last)
        else:
            graph.node("Sigmoid")
    graph.node("GlobalAveragePool")
    graph.node("Flatten")
    graph.dense(channels, int(random.integers(2, 2000)))
    return graph.build()


@pytest.mark.parametrize("name", CPU_PACKS)
def test_random_networks_are_guesses_below_the_fastest_rates(name):
    random, fastest, pack = np.random.default_rng(0), _fastest(name), load_pack(name)

    for _ in range(60):
        network = read_network(_random_model(random))
        answer = predict_network(pack, network, "random")
        works = [_rated(operator) for operator in fuse(network).operators]
        for work, cost in zip(works, answer.operators, strict=True):
            assert cost.latency_ms > 0
            assert np.all(work / cost.latency_ms <= fastest * 1.001)
        assert np.all(sum(works) / answer.latency_ms <= fastest * 1.001)
        assert answer.coverage < 1
        assert math.isnan(answer.low_ms)


@pytest.mark.parametrize(("build", "true_ms"), [(mlp, 5.8), (plain_convolutions, 18)])
def test_stacks_of_one_operator_are_not_answered_several_times_too_fast(build, true_ms):
    answer = asked(build())

    assert true_ms / 2 < answer.latency_ms < 2 * true_ms
    assert answer.coverage == 0


@pytest.mark.parametrize(
    ("name", "kernel_ms"), [("stem", 0.223), ("pool", 0.0098), ("classifier", 0.236)]
)
def test_timed_kernels_answer_for_what_every_network_has_once(name, kernel_ms):
    operators = SPACE.operators(SPACE.sample(1)[0])
    (operator,) = (op for op in operators if op.name == name)
    costs = load_pack(DEFAULT_PACK).operator_costs

    found = costs.predict(Network("one", (operator,), (), ()))

    assert found.latency_ms == pytest.approx(kernel_ms, rel=0.06)
    assert found.coverage == 1


def test_an_answer_below_full_coverage_has_no_interval_and_strict_refuses_it():
    answer = asked(mlp(), upper=0.95)

    assert math.isnan(answer.low_ms)
    assert math.isnan(answer.high_ms)
    assert answer.upper_ms is None
    assert answer.interval_coverage == 0
    with pytest.raises(CoverageError, match="only 0%"):
        asked(mlp(), strict=True)


def test_what_is_guessed_says_so_in_json_and_html():
    answer = asked(mlp())

    values = json.loads(json.dumps(answer.to_dict()))
    assert values["is_guess"] is True
    assert values["coverage"] == 0
    assert "share of the latency" in values["coverage_meaning"]
    assert "~ " in answer._repr_html_()
    assert "0%: share" in answer._repr_html_()


# Members --------------------------------------------------------------------------------


def _member(**changes):
    model = SPACE.build_onnx(SPACE.sample(1, seed=4)[0])
    for node in model.graph.node:
        changes.get(node.op_type, lambda _: None)(node)
    return model


def _dilated(node):
    sides = next(a for a in node.attribute if a.name == "kernel_shape").ints
    if max(sides) > 1:
        del node.attribute[[a.name for a in node.attribute].index("pads")]
        node.attribute.append(helper.make_attribute("dilations", [2, 2]))
        node.attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER"))


def _relu(node):
    node.op_type = "Relu"
    del node.input[1:]


def test_a_member_is_recognised_and_has_its_interval():
    answer = asked(_member())

    assert answer.how == "architecture"
    assert answer.interval_coverage == 0.9
    assert answer.differences == ()
    assert answer.low_ms < answer.latency_ms < answer.high_ms


@pytest.mark.parametrize(
    "changes", [{"Clip": _relu}, {"Conv": _dilated}], ids=["activations", "dilations"]
)
def test_a_network_with_other_activations_or_dilations_is_no_member(changes):
    answer = asked(_member(**changes))

    assert answer.is_guess
    assert math.isnan(answer.low_ms)


def test_a_float16_file_is_no_member_and_nothing_of_it_is_known():
    convert = pytest.importorskip("onnxruntime.transformers.float16")
    model = convert.convert_float_to_float16(_member(), keep_io_types=False)

    answer = asked(model)

    assert answer.is_guess
    assert answer.coverage == 0
    assert not any(cost.known for cost in answer.operators)
    assert answer.differences == ("number format float16, the pack's is float32",)


def test_another_batch_size_is_said_and_nothing_of_it_is_known():
    model = SPACE.build_onnx(SPACE.sample(1, seed=4)[0], batch_size=8)

    answer = asked(model)

    assert answer.is_guess
    assert answer.coverage == 0
    assert "batch 8, the pack's is 1" in answer.differences
    assert asked(model, "proxyless-cpu-ort1-b8").how == "architecture"


def test_another_shape_is_said():
    answer = asked(ProxylessSpace(resolution=192).build_onnx(SPACE.sample(1, seed=4)[0]))

    assert answer.is_guess
    assert answer.differences == ("input 1x3x192x192, the pack's is 1x3x224x224",)


def test_a_model_without_work_is_a_bad_file(tmp_path):
    graph = _Graph(1, 3, 2)
    graph.node("Flatten")
    onnx.save(graph.build(), tmp_path / "flat.onnx")

    with pytest.raises(ModelFileError, match="no operators to predict") as found:
        predict(tmp_path / "flat.onnx")
    assert found.value.exit_status == 3
