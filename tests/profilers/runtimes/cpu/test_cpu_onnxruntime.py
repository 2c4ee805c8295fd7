"""ONNX Runtime on this processor: what the contract's suite does not ask."""

import time

import numpy as np
import pytest
from onnx import TensorProto, helper

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError
from latprof.graph.reader import read_network
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


def test_idle_sessions_leave_the_cores_to_others():
    """A pool that waits for its next run in a loop would slow whatever is measured meanwhile."""
    profiler = CpuOnnxRuntime(RunOptions(threads=2))
    model = profiler.load(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    used = []
    for _ in range(5):
        model.run(3)
        start = time.process_time()
        time.sleep(0.03)
        used.append(time.process_time() - start)
    assert min(used) < 0.005


def test_several_threads_are_part_of_the_targets_identity():
    one, two = (CpuOnnxRuntime(RunOptions(threads=n)).target((1, 3, 64, 64)) for n in (1, 2))
    assert one.differences(two) == ["threads 1 against 2"]


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_other_precisions_run_the_converted_model(precision):
    content = SPACE.onnx_bytes(SPACE.sample(1)[0])
    plain = CpuOnnxRuntime(RunOptions()).load(content)
    loaded = CpuOnnxRuntime(RunOptions(precision=precision)).load(content)

    expected, found = (
        model.session.run(None, plain.inputs)[0].ravel() for model in (plain, loaded)
    )

    assert expected.std() > 0.05
    assert expected @ found / np.linalg.norm(expected) / np.linalg.norm(found) > 0.97
    assert not np.array_equal(expected, found)
    assert len(loaded.run(2)) == 2


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_kernels_of_other_precisions_are_the_graphs_operators(precision):
    content = SPACE.onnx_bytes(SPACE.sample(1)[0])
    kinds = {op.name: op.kind for op in read_network(content).operators}
    profiled = CpuOnnxRuntime(RunOptions(precision=precision)).load_profiled(content)
    profiled.run(3)

    found = [k for k in profiled.kernel_times([1, 2]) if k.kind.startswith(("conv", "depthwise"))]

    assert {k.name for k in found} == {n for n, k in kinds.items() if k.startswith(("conv", "dep"))}
    assert all(kinds[k.name] == k.kind.removesuffix(f" {precision}") for k in found)


def test_a_model_that_makes_its_own_values_needs_no_inputs():
    nodes = [
        helper.make_node("RandomNormal", [], ["x"], "random", shape=[4, 8]),
        helper.make_node("Relu", ["x"], ["y"], "rectified"),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])
    graph = helper.make_graph(nodes, "made", [], [out])
    content = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    ).SerializeToString()
    assert [op.op_type for op in read_network(content).operators] == ["RandomNormal", "Relu"]
    profiled = CpuOnnxRuntime(RunOptions()).load_profiled(content)
    profiled.run(3)
    assert {kernel.name for kernel in profiled.kernel_times([1, 2])} == {"random", "rectified"}
    with pytest.raises(InvalidValueError, match="no inputs"):
        read_network(content, shapes={None: (1, 3)})
