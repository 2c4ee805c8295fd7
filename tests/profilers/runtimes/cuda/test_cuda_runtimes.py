"""ONNX Runtime and TensorRT on a GPU: with a device where there is one, and what fakes can show."""

import contextlib
import importlib.metadata
import sys
import types

import numpy as np
import onnxruntime
import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, RuntimeFailedError, UnsupportedModelError
from latprof.graph.reader import read_network
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cuda import cuda_tensorrt
from latprof.profilers.runtimes.cuda.cuda_onnxruntime import CudaOnnxRuntime, CudaOnnxRuntimeModel
from latprof.profilers.runtimes.cuda.cuda_tensorrt import (
    CudaTensorRT,
    build_engine,
    engine_path,
    layer_clock,
    layer_kernels,
)
from latprof.profilers.targets import profiler_class
from latprof.testing.profiler_contract import ProfilerContract

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)
MODEL = SPACE.onnx_bytes(SPACE.sample(1)[0])


def measurable(profiler):
    availability = profiler.at("0").availability()
    return pytest.mark.skipif(availability.state != "ready", reason=availability.detail)


@measurable(CudaOnnxRuntime)
class TestCudaOnnxRuntimeOnAGpu(ProfilerContract):
    reports_kernels = False

    @pytest.fixture
    def make_profiler(self):
        return CudaOnnxRuntime.at("0")


@measurable(CudaTensorRT)
class TestCudaTensorRTOnAGpu(ProfilerContract):
    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path_factory, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))

    @pytest.fixture
    def make_profiler(self):
        return CudaTensorRT.at("0")


@pytest.mark.parametrize(
    ("spelling", "package"),
    [("cuda:0:onnxruntime", "onnxruntime-gpu"), ("cuda:0:tensorrt", "tensorrt")],
)
def test_a_missing_package_is_named(monkeypatch, spelling, package):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", nothing)
    availability = profiler_class(spelling).availability()
    assert availability.state == "missing"
    assert availability.detail == f"{package} is not installed"
    assert package in availability.remedy


def test_tensorrt_needs_a_torch_with_cuda_as_well(monkeypatch):
    versions = {"tensorrt": "10.1", "torch": "2.13.0+cpu"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    availability = CudaTensorRT.availability()
    assert availability.state == "missing"
    assert "build without CUDA" in availability.detail


# ONNX Runtime


def test_bound_inputs_and_outputs_run_as_the_session_does():
    """The same binding, to this processor's memory."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    model = CudaOnnxRuntimeModel(session, 0, 0, kind="cpu")

    durations = model.run(2)

    assert len(durations) == 2
    (wanted,) = session.run(None, model.inputs)
    (found,) = model.outputs()
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_array_equal(found, wanted)


def test_the_processor_is_not_taken_for_a_gpu(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="cannot use GPU number 1"):
        CudaOnnxRuntime.at("1")(RunOptions()).load(MODEL)


@pytest.fixture
def sessions(monkeypatch):
    """Sessions whose provider is pretended; returns the providers that were asked for."""
    asked = []
    real = onnxruntime.InferenceSession

    def make(source, options, providers):
        asked.append(providers)
        return real(source, options, providers=["CPUExecutionProvider"])

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", make)
    return asked


def test_options_reach_the_provider_and_a_silent_fallback_is_refused(sessions):
    options = RunOptions(precision="tf32", mode=("graph",))
    with pytest.raises(DeviceError, match="cannot use GPU number 2"):
        CudaOnnxRuntime.at("2")(options).load(MODEL)
    wanted = {"device_id": "2", "use_tf32": "1", "enable_cuda_graph": "1"}
    assert sessions == [[("CUDAExecutionProvider", wanted)]]


@pytest.mark.usefixtures("sessions")
def test_garbage_is_refused_before_a_gpu_is_needed():
    with pytest.raises(UnsupportedModelError, match="ONNX Runtime refuses the model"):
        CudaOnnxRuntime.at("0")(RunOptions()).load(b"no model")


# TensorRT


class Flags:
    TF32, FP16 = "TF32", "FP16"


class FakeTensorRT(types.ModuleType):
    """The calls of TensorRT's Python interface that are used, with what they did."""

    def __init__(self):
        super().__init__("tensorrt")
        self.done, self.accepts, self.plan = [], True, b"plan"
        self.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
        self.BuilderFlag = Flags
        self.ProfilingVerbosity = types.SimpleNamespace(DETAILED="detailed")
        self.TensorIOMode = types.SimpleNamespace(INPUT="in", OUTPUT="out")
        self.IProfiler = type("IProfiler", (), {"__init__": lambda self: None})
        self.nptype = lambda dtype: dtype

    def Builder(self, logger):  # noqa: N802 - TensorRT's name
        configuration = types.SimpleNamespace(
            set_flag=lambda flag: self.done.append(f"set {flag}"),
            clear_flag=lambda flag: self.done.append(f"clear {flag}"),
        )

        def build(network, given):
            self.done.append(f"build {given.profiling_verbosity}")
            return self.plan

        return types.SimpleNamespace(
            create_network=lambda flags: "network",
            create_builder_config=lambda: configuration,
            build_serialized_network=build,
        )

    def OnnxParser(self, network, logger):  # noqa: N802 - TensorRT's name
        error = types.SimpleNamespace(desc=lambda: "no importer for Det\nat line 3")
        return types.SimpleNamespace(
            parse=lambda content: self.accepts, num_errors=1, get_error=lambda index: error
        )

    def Runtime(self, logger):  # noqa: N802 - TensorRT's name
        return types.SimpleNamespace(deserialize_cuda_engine=self.engine)

    def engine(self, plan):
        if plan != self.plan:
            return None
        self.done.append("load")
        shapes = {"input": (1, 3, 8, 8), "output": (1, 10)}
        context = types.SimpleNamespace(
            profiler=None,
            set_tensor_address=lambda name, address: self.done.append(f"place {name}"),
        )

        def execute(stream):
            if context.profiler is not None:
                context.profiler.report_layer_time("stem + stem.relu6", 0.5)
            return True

        context.execute_async_v3 = execute
        return types.SimpleNamespace(
            num_io_tensors=2,
            get_tensor_name=lambda index: list(shapes)[index],
            get_tensor_shape=shapes.get,
            get_tensor_dtype=lambda name: np.float32,
            get_tensor_mode=lambda name: "in" if name == "input" else "out",
            create_execution_context=lambda: context,
        )


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("float32", ["clear TF32"]), ("tf32", []), ("float16", ["set FP16"])],
)
def test_an_engine_is_built_in_its_precision(precision, flags):
    tensorrt = FakeTensorRT()
    assert build_engine(tensorrt, None, b"model", precision) == b"plan"
    assert tensorrt.done == [*flags, "build detailed"]


def test_what_tensorrt_refuses_is_one_line():
    tensorrt = FakeTensorRT()
    tensorrt.accepts = False
    with pytest.raises(UnsupportedModelError, match=r"refuses the model: no importer for Det$"):
        build_engine(tensorrt, None, b"model", "float32")
    tensorrt.accepts, tensorrt.plan = True, None
    with pytest.raises(UnsupportedModelError, match="cannot build an engine"):
        build_engine(tensorrt, None, b"model", "float32")


def test_a_version_without_the_switch_for_float16_says_so():
    tensorrt = FakeTensorRT()
    tensorrt.BuilderFlag = type("Flags", (), {"TF32": "TF32"})
    with pytest.raises(DeviceError, match="precision from the model"):
        build_engine(tensorrt, None, b"model", "float16")


def test_engines_of_other_content_version_gpu_or_precision_lie_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain = (b"model", "10.1", "H100", "float32")
    changed = [(b"other",), (None, "10.2"), (None, None, "H200"), (None, None, None, "tf32")]
    keys = [plain] + [
        tuple(new or old for new, old in zip([*key, *[None] * 4], plain, strict=False))
        for key in changed
    ]
    paths = [engine_path(*key) for key in keys]
    assert len(set(paths)) == 5
    assert engine_path(*plain) == paths[0]
    assert all(path.parent == tmp_path / "latprof" / "tensorrt" for path in paths)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert engine_path(*plain).parent.parent.parent.name == ".cache"


def test_layers_are_mapped_to_the_operators_that_they_run():
    described = {operator.name: operator for operator in read_network_of_the_model()}
    names = list(described)[:3]
    assert [described[name].op_type for name in names] == ["Conv", "Clip", "Conv"]
    layers = ["Reformatting CopyNode for Input 0", " + ".join(names[:2]), names[2], "__myl_Add"]
    runs = [[(layer, ms + run) for ms, layer in enumerate(layers)] for run in range(4)]
    runs[0] = []

    kernels = layer_kernels(runs, [1, 2, 3], described)

    assert [kernel.operators for kernel in kernels] == [(), tuple(names[:2]), (names[2],), ()]
    kinds = [kernel.kind for kernel in kernels]
    assert kinds == ["layout", "conv3x3", described[names[2]].kind, "fused"]
    assert [kernel.latency_ms for kernel in kernels] == [2.0, 3.0, 4.0, 5.0]
    assert kernels[1].input_shapes == ((1, 3, 64, 64),)
    with pytest.raises(RuntimeFailedError, match="same layers"):
        layer_kernels(runs, [0, 1], described)
    with pytest.raises(RuntimeFailedError, match="every run"):
        layer_kernels(runs, [4], described)


def read_network_of_the_model():
    return read_network(SPACE.build_onnx(SPACE.sample(1)[0])).operators


def test_the_clock_of_layers_hands_times_on():
    reported = []
    clock = layer_clock(FakeTensorRT(), lambda layer, ms: reported.append((layer, ms)))
    clock.report_layer_time("a", 0.5)
    assert reported == [("a", 0.5)]


@pytest.fixture
def tensorrt(monkeypatch, tmp_path):
    """TensorRT and a GPU that are both pretended."""
    torch = pytest.importorskip("torch")
    fake = FakeTensorRT()

    class Event:
        def __init__(self, *, enable_timing):
            pass

        def record(self):
            pass

        def elapsed_time(self, end):
            return 0.5

    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(CudaTensorRT, "use_device", lambda self: "cpu")
    monkeypatch.setattr(cuda_tensorrt, "device_name", lambda number: "Test GPU")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "10.1")
    monkeypatch.setattr(CudaTensorRT, "first_warm_up_s", 0)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    stream = types.SimpleNamespace(cuda_stream=1)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda given: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return fake


def test_an_engine_is_built_once_and_kept(tensorrt):
    profiler = CudaTensorRT.at("0")(RunOptions())

    first, again = profiler.load(MODEL), profiler.load(MODEL)

    assert first.run(2) == again.run(2) == [0.5, 0.5]
    places = ["place input", "place output"]
    assert tensorrt.done == ["clear TF32", "build detailed", "load", *places, "load", *places]
    tensorrt.plan = b"of another version of the driver"
    profiler.load(MODEL)
    assert tensorrt.done.count("build detailed") == 2


def test_layers_are_timed_run_by_run(tensorrt):
    profiled = CudaTensorRT.at("0")(RunOptions()).load_profiled(MODEL)
    assert profiled.run(3) == [0.5] * 3
    (kernel,) = profiled.kernel_times([1, 2])
    assert (kernel.operators, kernel.latency_ms) == (("stem", "stem.relu6"), 0.5)
