"""Session options of ONNX Runtime by words of the mode: what they do, and what is refused."""

from types import SimpleNamespace

import onnxruntime
import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, InvalidValueError
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.profilers.runtimes.onnxruntime_sessions import PROVIDERS, providers_of

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)


def profiler(*mode):
    return CpuOnnxRuntime(RunOptions(mode=mode))


def kernels(*mode):
    model = SPACE.onnx_bytes(SPACE.sample(1)[0], batch_norm="kept")
    loaded = profiler(*mode).load_profiled(model)
    loaded.run(3)
    return [kernel.kind for kernel in loaded.kernel_times([1, 2])]


def test_each_level_of_optimisation_makes_other_kernels():
    off, basic, extended, everything = (
        kernels(*mode) for mode in (("opt-off",), ("opt-basic",), ("opt-extended",), ())
    )
    assert "normalization" in off
    assert "normalization" not in basic
    assert "activation" in basic
    assert "activation" not in extended
    assert len(off) > len(basic) > len(extended)
    assert everything != extended


def test_one_level_and_one_provider_at_a_time():
    assert profiler("opt-off", "provider-xnnpack").target(None).mode == "opt-off,provider-xnnpack"
    for pair in (("opt-off", "opt-basic"), ("provider-dnnl", "provider-xnnpack")):
        with pytest.raises(InvalidValueError, match="one of these modes at a time") as caught:
            profiler(*pair)
        assert set(pair) <= set(str(caught.value.expected).split(" or "))


def test_a_provider_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for word in PROVIDERS:
        with pytest.raises(DeviceError, match=f"got {word}.; install an ONNX Runtime") as caught:
            profiler(word).load(b"no model is looked at")
        assert "one of CPUExecutionProvider" in str(caught.value)


def test_a_provider_comes_before_the_runtimes_own_kernels(monkeypatch):
    there = ["XnnpackExecutionProvider", "CPUExecutionProvider"]
    asked = []

    def session(_source, _options, providers):
        asked.extend(providers)
        nothing = {"get_inputs": list, "get_outputs": list, "run": print}
        return SimpleNamespace(get_providers=lambda: there, **nothing)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(there))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    options = RunOptions(threads=3, mode=("provider-xnnpack",))
    CpuOnnxRuntime(options).load(b"a model")
    own = {"intra_op_num_threads": "3"}
    assert asked == [("XnnpackExecutionProvider", own), "CPUExecutionProvider"]
    assert providers_of((), 1) == ["CPUExecutionProvider"]

    there[:] = ["CPUExecutionProvider"]  # its library could not be loaded
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["XnnpackExecutionProvider"]
    )
    with pytest.raises(DeviceError, match="cannot use XnnpackExecutionProvider"):
        CpuOnnxRuntime(options).load(b"a model")
