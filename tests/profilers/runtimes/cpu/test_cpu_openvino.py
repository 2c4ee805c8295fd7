"""OpenVINO on this processor: the contract, and what it would do other than asked."""

import os
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, DynamicShapeError, RuntimeFailedError, UnsupportedModelError
from latprof.graph.convert.quantization import to_int8
from latprof.graph.reader import read_network
from latprof.graph.runtime_kernels.learned_fusion import (
    RanNetwork,
    learned_rules,
    matching_kernels,
)
from latprof.graph.runtime_kernels.ruled_kernels import ruled_kernels
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_openvino import CpuOpenVINO
from latprof.profilers.runtimes.cpu.openvino_profile import read_kernels
from latprof.testing.profiler_contract import ProfilerContract

openvino = pytest.importorskip("openvino")

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


@pytest.fixture(scope="module")
def model():
    return SPACE.onnx_bytes(SPACE.sample(1)[0])


class TestCpuOpenVINO(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return CpuOpenVINO


def small_model(node, shape):
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def output(loaded):
    loaded.run(3)
    return loaded.request.get_output_tensor(0).data.copy().ravel()


def expected(content, loaded):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": loaded.inputs[0]})[0].ravel()


def test_it_computes_what_onnx_runtime_does(model):
    loaded = CpuOpenVINO(RunOptions()).load(model)

    wanted = expected(model, loaded)
    assert wanted.std() > 0.05
    assert np.abs(output(loaded) - wanted).max() < 1e-3 * wanted.std()


def test_float32_is_not_what_openvino_takes_by_itself_for_bfloat16(model):
    compiled = CpuOpenVINO(RunOptions()).load(model).compiled

    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_int8_runs_integers_and_keeps_the_signal(model):
    profiled = CpuOpenVINO(RunOptions(precision="int8")).load_profiled(model)

    got, wanted = output(profiled), expected(model, profiled)
    cosine = got @ wanted / np.linalg.norm(got) / np.linalg.norm(wanted)
    assert 0.97 < cosine < 0.999999
    counters = profiled.request.get_profiling_info()
    used = [each.exec_type for each in counters if each.node_type == "Convolution"]
    assert used
    assert all(name.endswith("_I8") for name in used)
    kinds = {k.kind.removesuffix(" int8") for k in profiled.kernel_times([1, 2])}
    assert {"conv3x3", "conv1x1", "depthwise3x3", "pool", "linear"} <= kinds


def test_bfloat16_runs_where_the_processor_has_it_and_is_refused_elsewhere(model, monkeypatch):
    profiler = CpuOpenVINO(RunOptions(precision="bfloat16"))
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        loaded = profiler.load(model)
        wanted = expected(model, loaded)
        error = np.abs(output(loaded) - wanted).max() / wanted.std()
        assert 1e-4 < error < 0.2

    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(DeviceError, match="bfloat16"):
        profiler.load(model)


def test_more_threads_than_it_runs_are_refused(model):
    cores = len(os.sched_getaffinity(0))
    with pytest.raises(DeviceError, match="one thread on each core"):
        CpuOpenVINO(RunOptions(threads=cores + 1)).load(model)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_idle_models_leave_the_cores_to_others(model):
    loaded = CpuOpenVINO(RunOptions(threads=2)).load(model)
    used = []
    for _ in range(5):
        loaded.run(3)
        start = time.process_time()
        time.sleep(0.03)
        used.append(time.process_time() - start)
    assert min(used) < 0.005


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_its_threads_are_bound_to_no_core(model):
    CpuOpenVINO(RunOptions(threads=2)).load(model).run(3)
    mine = os.sched_getaffinity(0)
    tasks = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    assert all(os.sched_getaffinity(task) == mine for task in tasks)


def test_dynamic_shapes_and_unknown_operators_are_refused(tmp_path):
    profiler = CpuOpenVINO(RunOptions())
    relu = helper.make_node("Relu", ["x"], ["y"])
    for shape in (["n", 3], [1, None], None):
        with pytest.raises(DynamicShapeError):
            profiler.load(small_model(relu, shape))
    unknown = helper.make_node("Unknown", ["x"], ["y"], domain="elsewhere")
    with pytest.raises(UnsupportedModelError, match=r"elsewhere\.Unknown") as caught:
        profiler.load(small_model(unknown, [1, 3]))
    assert "Exception from" not in str(caught.value)
    with pytest.raises(UnsupportedModelError):
        profiler.load(tmp_path / "missing.onnx")


def test_a_file_is_loaded_from_where_it_lies(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    assert len(CpuOpenVINO(RunOptions()).load(path).run(2)) == 2


def test_nothing_is_printed(model, capfd):
    CpuOpenVINO(RunOptions()).load(model).run(2)
    with pytest.raises(UnsupportedModelError):
        CpuOpenVINO(RunOptions()).load(b"this is no model")
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def profiled(model):
    found = CpuOpenVINO(RunOptions()).load_profiled(model)
    durations = found.run(4) + found.run(4)
    return found, durations, found.kernel_times([2, 3, 5, 6, 7])


def test_kernels_cover_the_graphs_operators_once_and_in_order(profiled, model):
    _, _, kernels = profiled
    graph = [op for op in read_network(model).operators if op.kind != "layout"]

    covered = [name for kernel in kernels for name in kernel.operators]

    assert len(covered) == len(set(covered))
    assert {op.name for op in graph} <= set(covered)
    order = {op.name: index for index, op in enumerate(graph)}
    positions = [order[k.operators[0]] for k in kernels if k.operators and k.operators[0] in order]
    assert positions == sorted(positions)


def test_kernels_have_the_kinds_of_the_operators_they_run(profiled, model):
    _, _, kernels = profiled
    kinds = {op.name: op.kind for op in read_network(model).operators}

    convolutions = [kernel for kernel in kernels if kernel.kind.startswith(("conv", "depthwise"))]
    assert len(convolutions) > 30
    for kernel in convolutions:
        assert kinds[kernel.name] == kernel.kind
    stem = next(kernel for kernel in kernels if kernel.name == "stem")
    assert (stem.kind, stem.operators) == ("conv3x3", ("stem", "stem.relu6"))
    assert stem.output_shapes == ((1, 8, 32, 32),)


def test_rules_that_are_learnt_of_the_kernels_expect_them(profiled, model):
    ran = RanNetwork(read_network(model), [kernel.operators for kernel in profiled[2]])
    kernels = ruled_kernels(ran.network, learned_rules([ran]))
    matched, either = matching_kernels(ran.kernels, kernels)
    assert matched == either == len(kernels)


def test_the_kernels_of_a_run_take_about_as_long_as_the_run(profiled):
    _, durations, kernels = profiled
    total = sum(kernel.latency_ms for kernel in kernels)
    assert 0.1 * min(durations) < total < 2 * max(durations)


class _Entry:
    """One kernel's counter, in microseconds."""

    node_name = "kernel"

    def __init__(self, microseconds):
        self.microseconds = microseconds

    @property
    def real_time(self):
        return self

    def total_seconds(self):
        return self.microseconds / 1e6


class _Layer:
    def get_friendly_name(self):
        return "kernel"

    def get_rt_info(self):
        return {"layerType": self, "originalLayersNames": self}

    def astype(self, kind):
        return kind("stem")

    def inputs(self):
        return []

    outputs = inputs


class _Compiled:
    def get_ops(self):
        return [_Layer()]


def _told(runs):
    """What OpenVINO tells after each of these runs, given in microseconds."""
    totals = np.cumsum([int(run) for run in runs])
    return [[_Entry(int(total // n))] for n, total in enumerate(totals, start=1)]


def test_single_runs_come_back_from_running_means(model):
    rng = np.random.default_rng(3)
    true = 40 + 20 * rng.random(30)
    true[:3] *= 5  # cold runs, which do not count
    true[17] *= 50  # one that was interrupted
    counted = [*range(4, 16), *range(17, 30)]

    (kernel,) = read_kernels(_told(true), true / 1000, _Compiled(), model, counted)

    steady = [run for run in counted if run != 17]
    assert kernel.latency_ms == pytest.approx(true[steady].mean() / 1000, abs=0.0015)


def test_kernels_below_a_microsecond_are_there_and_take_half_of_one(model):
    (kernel,) = read_kernels(_told([0] * 5), [0.1] * 5, _Compiled(), model, [2, 3, 4])

    assert kernel.latency_ms == pytest.approx(0.0005)


def test_a_run_that_was_not_made_is_missed(profiled):
    found, _, _ = profiled
    with pytest.raises(RuntimeFailedError):
        found.kernel_times([100])


def test_what_is_quantized_already_is_not_quantized_again(model):
    once = to_int8(model)
    loaded = CpuOpenVINO(RunOptions(precision="int8")).load(once)
    assert np.abs(output(loaded)).max() > 0
