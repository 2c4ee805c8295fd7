"""LiteRT on this processor: the contract, and what it would print or keep busy."""

import os
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, UnsupportedModelError
from latprof.graph.reader import read_network
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_litert import CpuLiteRT
from latprof.profilers.runtimes.cpu.litert_library import LiteRTCompiledModel, LiteRTLibrary
from latprof.testing.profiler_contract import ProfilerContract

pytestmark = pytest.mark.skipif(
    CpuLiteRT.availability().state != "ready", reason=CpuLiteRT.availability().detail
)

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


def smallest(resolution=64):
    """A network of few operators: what a conversion takes grows with them."""
    space = ProxylessSpace(widths=(8,) * 9, resolution=resolution, num_classes=10)
    choices = [row.index("Zero") if "Zero" in row else 0 for row in space.candidates]
    return space.onnx_bytes(space.parse(",".join(map(str, choices))))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def small_model():
    return smallest()


class TestCpuLiteRT(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return CpuLiteRT

    @pytest.fixture
    def model(self):
        return smallest()

    @pytest.fixture
    def larger_model(self):
        return smallest(resolution=192)


def test_it_computes_what_onnx_runtime_does_however_often_it_runs(small_model):
    loaded = CpuLiteRT(RunOptions()).load(small_model)
    interpreter = loaded.interpreter
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = interpreter.get_tensor(taken["index"]).copy()
    session = onnxruntime.InferenceSession(small_model, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": images.transpose(0, 3, 1, 2)})

    loaded.run(3)

    assert images.std() > 0.9
    assert expected.std() > 0.05
    found = interpreter.get_tensor(given["index"])
    assert np.abs(found - expected).max() < 1e-3 * expected.std()


def test_the_delegate_runs_all_of_it(small_model):
    interpreter = CpuLiteRT(RunOptions()).load(small_model).interpreter
    details = interpreter._get_ops_details()  # noqa: SLF001 - LiteRT has no other
    assert [d["op_name"] for d in details].count("DELEGATE") == 1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_idle_models_leave_the_cores_to_others(small_model):
    loaded = CpuLiteRT(RunOptions(threads=2)).load(small_model)
    used = []
    for _ in range(5):
        loaded.run(3)
        start = time.process_time()
        time.sleep(0.03)
        used.append(time.process_time() - start)
    assert min(used) < 0.005


def test_the_converter_is_part_of_the_targets_identity():
    target = CpuLiteRT(RunOptions()).target((1, 3, 64, 64))
    assert "litert-torch" in target.runtime_version


def test_kernels_are_xnnpacks_and_know_their_operators(small_model):
    loaded = CpuLiteRT(RunOptions()).load_profiled(small_model)
    loaded.run(3)
    kernels = loaded.kernel_times([1, 2])
    convolutions = [o for o in read_network(small_model).operators if o.op_type == "Conv"]
    told = [kernel for kernel in kernels if kernel.kind.startswith(("conv", "depthwise"))]
    assert len(told) == len(convolutions)
    assert {name for kernel in told for name in kernel.operators} >= {o.name for o in convolutions}
    assert all(kernel.latency_ms > 0 and kernel.output_shapes for kernel in told)


def test_the_c_library_is_given_what_the_interpreter_is(small_model, monkeypatch):
    fed = []
    monkeypatch.setattr(
        LiteRTCompiledModel, "feed", lambda _model, _index, values: fed.append(values)
    )
    interpreter = CpuLiteRT(RunOptions()).load(small_model).interpreter
    CpuLiteRT(RunOptions()).load_profiled(small_model)
    (taken,) = interpreter.get_input_details()
    assert np.array_equal(interpreter.get_tensor(taken["index"]), fed[0])


def test_a_library_without_the_calls_is_said_to_tell_no_kernels():
    with pytest.raises(DeviceError, match="per-kernel"):
        LiteRTLibrary(Path(onnxruntime.capi.onnxruntime_pybind11_state.__file__))
    with pytest.raises(DeviceError, match="cannot be loaded"):
        LiteRTLibrary(Path(__file__))


def test_what_is_no_model_is_refused_by_the_c_library():
    with pytest.raises(UnsupportedModelError, match="refuses"):
        LiteRTCompiledModel(b"\0\0\0\0TFL3" + bytes(100), 1)


def test_nothing_is_printed(small_model, capfd):
    CpuLiteRT(RunOptions()).load(small_model).run(2)
    CpuLiteRT(RunOptions()).load_profiled(small_model).run(2)
    with pytest.raises(UnsupportedModelError):
        CpuLiteRT(RunOptions()).load(b"this is no model")
    assert capfd.readouterr() == ("", "")
