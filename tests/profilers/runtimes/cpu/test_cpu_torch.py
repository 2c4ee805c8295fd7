"""PyTorch on this processor: what the contract's suite does not ask."""

import shutil
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, RuntimeFailedError, UnsupportedModelError
from latprof.graph.reader import read_network
from latprof.profilers.base import RunOptions
from latprof.profilers.targets import profiler_class
from latprof.testing.profiler_contract import ProfilerContract

torch = pytest.importorskip("torch")
from latprof.profilers.runtimes.cpu.cpu_torch import CpuTorch  # noqa: E402

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)
MODEL = SPACE.onnx_bytes(SPACE.sample(1)[0])


class TestCpuTorch(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return CpuTorch


def tiny_model(channels):
    """One convolution and one activation."""
    weight = np.ones((channels, 3, 3, 3), dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, channels, 6, 6))],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_the_registry_knows_it():
    assert profiler_class("cpu:torch") is CpuTorch


def test_options_reach_the_module_and_its_input():
    options = RunOptions(threads=1, precision="bfloat16", mode=("channels-last",))
    model: Any = CpuTorch(options).load(MODEL)

    (image,) = model.inputs
    weights = [p for p in model.call.parameters() if p.dim() == 4 and p.shape[2] > 1]

    assert torch.get_num_threads() == 1
    assert image.dtype == weights[0].dtype == torch.bfloat16
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert not image.is_contiguous()
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    assert len(model.run(2)) == 2


def test_the_input_is_the_same_for_every_load_and_not_zero():
    first, second = (CpuTorch(RunOptions()).load(MODEL).inputs[0] for _ in range(2))
    assert torch.equal(first, second)
    assert 0.9 < first.std() < 1.1


def test_threads_are_those_asked_for():
    CpuTorch(RunOptions(threads=2)).load(MODEL)
    assert torch.get_num_threads() == 2


def test_float16_is_refused_where_torch_would_emulate_it(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: False)
    with pytest.raises(DeviceError, match="float16"):
        CpuTorch(RunOptions(precision="float16")).load(MODEL)


def test_what_torch_refuses_while_running_is_one_line():
    model = CpuTorch(RunOptions()).load(MODEL)
    model.inputs = (torch.zeros(1, 5, 64, 64),)
    with pytest.raises(RuntimeFailedError, match="torch failed while running") as caught:
        model.run(1)
    assert "\n" not in str(caught.value)


def test_every_operators_time_is_reported_under_its_name():
    profiled = CpuTorch(RunOptions()).load_profiled(MODEL)
    profiled.run(2)
    profiled.run(3)

    kernels = profiled.kernel_times([3, 4])

    operators = read_network(onnx.load_model_from_string(MODEL)).operators
    assert [kernel.name for kernel in kernels] == [operator.name for operator in operators]
    assert [kernel.kind for kernel in kernels] == [operator.kind for operator in operators]
    assert [kernel.operators for kernel in kernels] == [(op.name,) for op in operators]
    assert all(kernel.latency_ms > 0 for kernel in kernels)
    assert kernels[0].input_shapes == ((1, 3, 64, 64),)


def test_the_operators_times_make_up_most_of_a_run():
    profiled = CpuTorch(RunOptions()).load_profiled(MODEL)
    durations = profiled.run(20)
    ratios = [
        sum(kernel.latency_ms for kernel in profiled.kernel_times([number])) / durations[number]
        for number in range(5, 20)
    ]
    assert 0.2 < np.median(ratios) < 1


def test_a_profile_without_the_run_asked_for_is_refused():
    profiled = CpuTorch(RunOptions()).load_profiled(MODEL)
    profiled.run(2)
    with pytest.raises(RuntimeFailedError, match="every run"):
        profiled.kernel_times([2])


def test_compiled_kernels_are_not_told_apart():
    with pytest.raises(DeviceError, match="without the mode compile"):
        CpuTorch(RunOptions(mode=("compile",))).load_profiled(MODEL)


def test_without_a_compiler_compile_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError, match=r"needs a C\+\+ compiler .*no-such-compiler"):
        CpuTorch(RunOptions(mode=("compile",))).load(MODEL)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_more_networks_are_compiled_than_torch_allows_for_one_piece_of_code(monkeypatch):
    """Past that limit torch would run everything eagerly, without a word."""
    profiler = CpuTorch(RunOptions(mode=("compile",)))
    dynamo = torch._dynamo  # noqa: SLF001 - torch.compiler does not tell its counts
    counts = dynamo.utils.counters["stats"]
    before = counts["unique_graphs"]
    monkeypatch.setattr(dynamo.config, "recompile_limit", 1)

    models = [profiler.load(tiny_model(1)) for _ in range(3)]

    assert counts["unique_graphs"] - before == 3
    assert len(models[0].run(2)) == len(models[-1].run(2)) == 2


def test_a_model_that_does_not_compile_is_refused(monkeypatch):
    def refuse(*inputs):
        raise ValueError("no such thing\nand a long story")

    monkeypatch.setattr(torch, "compile", lambda function, **options: refuse)
    with pytest.raises(UnsupportedModelError, match=r"compile the model: no such thing$"):
        CpuTorch(RunOptions(mode=("compile",))).load(MODEL)
