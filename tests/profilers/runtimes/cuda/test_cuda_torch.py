"""PyTorch on a GPU: with a device where there is one, and with fakes of its clock anywhere."""

import contextlib
import importlib.metadata
import itertools
import statistics
import time
from types import SimpleNamespace

import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    DeviceError,
    InvalidValueError,
    RuntimeFailedError,
    UnsupportedModelError,
)
from latprof.measurement.protocol import measure_paired
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import visit_ratio
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_torch import placed as cpu_placed
from latprof.profilers.runtimes.cuda import cuda_device
from latprof.profilers.runtimes.cuda.cuda_device import event_burst, settle
from latprof.profilers.targets import profiler_class
from latprof.testing.profiler_contract import ProfilerContract

torch = pytest.importorskip("torch")
from latprof.graph.convert.to_torch import OPERATOR_KEY, torch_module  # noqa: E402 - torch may be missing
from latprof.profilers.runtimes.cpu import torch_profile  # noqa: E402
from latprof.profilers.runtimes.cuda import cuda_torch  # noqa: E402
from latprof.profilers.runtimes.cuda.cuda_torch import CudaTorch  # noqa: E402

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)
MODEL = SPACE.onnx_bytes(SPACE.sample(1)[0])
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


class Device:
    """A GPU's clock: what is started takes its time there, while the host goes on."""

    def __init__(self):
        self.now_ms, self.waited = 0.0, 0

    def start(self, latency_ms):
        self.now_ms += latency_ms

    def synchronize(self):
        self.waited += 1

    def event(self):
        device = self

        class Event:
            def record(self):
                self.at = device.now_ms

            def elapsed_time(self, end):
                assert device.waited, "an event was read before it happened"
                return end.at - self.at

        return Event()


class FakeGpu:
    name, driver, memory_bytes, power_limit_w = "Test GPU", "1.2", 80 << 30, 700.0

    def read(self):
        return {"gpu_clock_mhz": 1980.0}


@pytest.fixture
def gpu(monkeypatch):
    """A GPU number 0 that the management library shows."""
    found = FakeGpu()
    monkeypatch.setattr(cuda_device, "find_gpu", lambda index: found if index == 0 else None)
    monkeypatch.setattr(cuda_device, "nvml_installed", lambda: True)
    return found


@pytest.fixture
def torch_of_a_gpu(monkeypatch, gpu):
    """A torch whose GPU is this processor: real modules, and events of the host's clock."""

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self):
            self.at = time.perf_counter()

        def elapsed_time(self, end):
            return (end.at - self.at) * 1000

    monkeypatch.setattr(CudaTorch, "use_device", lambda self: torch.device("cpu"))
    monkeypatch.setattr(CudaTorch, "installed", lambda: ("PyTorch 2", None))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(CudaTorch, "first_warm_up_s", 0)
    monkeypatch.setattr(cuda_torch, "profiled_burst", profile_on_the_host)
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags


def profile_on_the_host(model, times):
    """What torch's profiler would see, each outermost call of torch being one kernel."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        durations = model.run(times)
    events = profiler.events()
    for event in events:
        parent = event.cpu_parent
        is_range = event.name.startswith(torch_profile.RANGE)
        if not is_range and (parent is None or parent.name.startswith(torch_profile.RANGE)):
            event.append_kernel(event.name, 0, event.time_range.elapsed_us())
    return durations, events


@pytest.mark.usefixtures("torch_of_a_gpu")
class TestCudaTorchWithFakes(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return CudaTorch.at("0")


@on_a_gpu
class TestCudaTorchOnAGpu(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return CudaTorch.at("0")


@on_a_gpu
class TestCapturedGraphOnAGpu(ProfilerContract):
    reports_kernels = False

    @pytest.fixture
    def make_profiler(self):
        def make(options):
            mode = options.mode or ("graph",)
            return CudaTorch.at("0")(RunOptions(8, options.threads, (), options.precision, mode))

        return make

    test_every_mode_and_precision_makes_another_target = None
    test_target_identity_is_stable_and_holds_the_options = None


@on_a_gpu
@pytest.mark.parametrize(
    ("mode", "batch_size"),
    # Started one by one, kernels wait for the host unless each has enough to do.
    [((), 128), (("graph",), 8), (("channels-last", "flush-l2", "graph"), 8), (("compile",), 128)],
)
def test_a_visit_repeats_itself_on_a_gpu(mode, batch_size):
    profiler = CudaTorch.at("0")(RunOptions(batch_size=batch_size, mode=mode))
    content = ProxylessSpace().onnx_bytes(ProxylessSpace().sample(1)[0], batch_size=batch_size)
    ratios = []
    for _ in range(3):
        first, second = profiler.load(content), profiler.load(content)
        ratios.append(visit_ratio(measure_paired(first, second, PairedProtocol())))
    assert ratios == pytest.approx([1.0] * 3, rel=0.05)


@on_a_gpu
@pytest.mark.parametrize("precision", CudaTorch.precisions)
@pytest.mark.parametrize("mode", [("graph",), ("channels-last", "graph"), ("compile", "graph")])
def test_every_precision_is_captured_on_a_gpu(precision, mode):
    loaded = CudaTorch.at("0")(RunOptions(precision=precision, mode=mode)).load(MODEL)
    durations = loaded.run(20)
    assert 0 < statistics.median(durations) < 10


@on_a_gpu
def test_a_captured_graph_takes_what_torch_itself_measures():
    from torch.utils.benchmark import Timer

    profiler = CudaTorch.at("0")(RunOptions(batch_size=8, mode=("graph",)))
    content = ProxylessSpace().onnx_bytes(ProxylessSpace().sample(1)[0], batch_size=8)
    model = profiler.load(content)
    ratios = []
    for _ in range(5):
        ours = statistics.median(model.run(200))
        theirs = Timer("start()", globals={"start": model.start}).timeit(200).median * 1000
        ratios.append(ours / theirs)
    assert statistics.median(ratios) == pytest.approx(1.0, rel=0.02)


@on_a_gpu
@pytest.mark.parametrize("mode", [(), ("graph",), ("channels-last", "flush-l2", "graph")])
def test_operators_are_timed_on_a_gpu(mode):
    profiled = CudaTorch.at("0")(RunOptions(mode=mode)).load_profiled(MODEL)
    profiled.run(3)
    kernels = profiled.kernel_times([1, 2])
    assert sum("conv" in kernel.kind or "depthwise" in kernel.kind for kernel in kernels) > 10
    assert all(kernel.latency_ms > 0 for kernel in kernels)


@on_a_gpu
def test_conditions_of_a_gpu_are_read():
    pytest.importorskip("pynvml")
    values = CudaTorch.at("0")(RunOptions(mode=("graph",))).conditions()
    assert {"monotonic_s", "gpu_clock_mhz", "gpu_temperature_c"} <= values.keys()


# Bursts


def test_a_duration_is_the_devices_time_between_two_marks():
    device, latencies = Device(), iter([3.0, 1.5, 2.5])

    durations = event_burst(
        lambda: device.start(next(latencies)), 3, device.event, device.synchronize
    )

    assert durations == [3.0, 1.5, 2.5]
    assert device.waited == 1


def test_work_between_runs_is_started_before_each_and_not_timed():
    device, flushed = Device(), []

    def flush():
        flushed.append(device.now_ms)
        device.start(100.0)

    durations = event_burst(lambda: device.start(2.0), 2, device.event, device.synchronize, flush)

    assert durations == [2.0, 2.0]
    assert flushed == [0.0, 102.0]


@pytest.mark.parametrize("where", ["run", "synchronize"])
def test_what_the_device_raises_is_one_line(where):
    def fail():
        raise RuntimeError("CUDA error: an illegal access\nCompile with TORCH_USE_CUDA_DSA")

    device = Device()
    steps = {"run": lambda: None, "synchronize": device.synchronize} | {where: fail}
    with pytest.raises(RuntimeFailedError, match="GPU failed while running: CUDA error: an il"):
        event_burst(steps["run"], 2, device.event, steps["synchronize"])


class Rising:
    """A network on a GPU whose clock rises while it works, and stops after so many seconds."""

    def __init__(self, rises_s):
        self.now_s, self.rises_s = 0.0, rises_s

    def run(self, times):
        durations = []
        for _ in range(times):
            durations.append(1.0 + 3.0 * max(0.0, 1 - self.now_s / self.rises_s))
            self.now_s += durations[-1] / 1000
        return durations


def test_warm_up_lasts_until_the_clock_no_longer_rises():
    network = Rising(rises_s=0.3)
    settle(network.run, least_s=0.02, clock=lambda: network.now_s)
    assert 0.25 < network.now_s < 0.4
    assert network.run(1)[0] < 1.5


def test_warm_up_lasts_as_long_as_asked_for():
    network = Rising(rises_s=1e-9)
    settle(network.run, least_s=0.5, clock=lambda: network.now_s)
    assert 0.5 <= network.now_s < 0.55


def test_warm_up_ends_where_nothing_settles():
    now, latencies = itertools.count(step=0.125), itertools.cycle([1.0, 2.0])

    def run(times):
        return [next(latencies)] * times

    assert settle(run, least_s=0.0, most_s=1.0, clock=lambda: next(now)) == 8


# Which GPU, and whether it is there


def test_an_address_is_the_number_of_a_gpu():
    found = profiler_class("cuda:1:torch")
    assert issubclass(found, CudaTorch)
    assert (found.spelling, found.index) == ("cuda:1:torch", 1)
    for address in ("x", "-1", "01", "1.0", ""):
        with pytest.raises(InvalidValueError):
            CudaTorch.at(address)
    with pytest.raises(InvalidValueError):
        found.at("0")


def test_the_class_of_all_gpus_measures_nothing():
    with pytest.raises(InvalidValueError, match="names no GPU"):
        CudaTorch(RunOptions()).target(None)


def test_the_identity_is_the_gpus_product_and_limits(gpu):
    target = CudaTorch.at("0")(RunOptions(batch_size=8, mode=("graph",))).target((8, 3, 64, 64))
    assert target.spelling == "cuda:0:torch"
    assert target.device_name == "Test GPU (80 GiB, 700 W)"
    assert (target.batch_size, target.mode) == (8, "graph")
    with pytest.raises(DeviceError, match="no NVIDIA GPU number 3"):
        CudaTorch.at("3")(RunOptions()).target(None)


def test_conditions_are_the_gpus_and_the_hosts_where_it_starts_kernels(gpu):
    eager, graph = (
        CudaTorch.at("0")(RunOptions(mode=mode)).conditions() for mode in ((), ("graph",))
    )
    assert eager["gpu_clock_mhz"] == graph["gpu_clock_mhz"] == 1980.0
    assert "process_cpu_s" in eager
    assert graph.keys() == {"monotonic_s", "gpu_clock_mhz"}


def test_without_the_management_library_conditions_are_the_hosts_alone(monkeypatch, gpu):
    monkeypatch.setattr(cuda_device, "find_gpu", lambda index: None)
    assert "gpu_clock_mhz" not in CudaTorch.at("0")(RunOptions()).conditions()


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        (None, "missing", "PyTorch is not installed"),
        ("2.13.0+cpu", "missing", "PyTorch 2.13.0+cpu is a build without CUDA"),
        ("2.13.0+rocm7.0", "missing", "without CUDA"),
        ("2.13.0+cu130", "ready", "PyTorch 2.13.0+cu130 on Test GPU, driver 1.2"),
        ("2.13.0", "ready", "PyTorch 2.13.0 on Test GPU, driver 1.2"),
    ],
)
def test_availability_says_what_is_there_or_missing(monkeypatch, gpu, version, state, words):
    def installed(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed)
    availability = CudaTorch.at("0").availability()
    assert availability.state == state
    assert words in availability.detail
    assert bool(availability.remedy) == (state == "missing")


def test_availability_without_a_gpu_names_the_number(monkeypatch, gpu):
    monkeypatch.setattr(CudaTorch, "installed", lambda: ("PyTorch 2", None))
    found = CudaTorch.at("5").availability()
    assert (found.state, found.detail) == (
        "missing",
        "PyTorch 2, but no NVIDIA GPU number 5 is visible",
    )


@pytest.mark.parametrize(("count", "state"), [(1, "ready"), (0, "missing")])
def test_without_the_management_librarys_package_torch_counts_gpus(monkeypatch, count, state):
    monkeypatch.setattr(CudaTorch, "installed", lambda: ("PyTorch 2", None))
    monkeypatch.setattr(cuda_device, "nvml_installed", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert CudaTorch.availability().state == state


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_collecting_without_a_gpu_is_one_line(latprof, tmp_path):
    done = latprof("collect", "--target", "cuda:0:torch", "--space", "proxyless", "-n", 1,
                   "--store", tmp_path / "lat.db")  # fmt: skip
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith("latprof: cuda:0:torch cannot be measured here: PyTorch ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_loading_without_a_gpu_is_refused():
    with pytest.raises(DeviceError, match="torch sees no GPU number 0"):
        CudaTorch.at("0")(RunOptions()).load(MODEL)


# How networks are loaded


@pytest.mark.usefixtures("torch_of_a_gpu")
def test_precisions_reach_the_module_and_the_switches(monkeypatch):
    seen = []

    def placed(*arguments, **options):
        seen.append(torch_placed(*arguments, **options))
        return seen[-1]

    torch_placed = cpu_placed
    monkeypatch.setattr(cuda_torch, "placed", placed)
    for precision, dtype, rounded in (
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
        ("float32", torch.float32, False),
    ):
        CudaTorch.at("0")(RunOptions(precision=precision, mode=("channels-last",))).load(MODEL)
        module, (image,) = seen[-1]
        assert image.dtype == next(module.parameters()).dtype == dtype
        assert image.is_contiguous(memory_format=torch.channels_last)
        assert torch.backends.cuda.matmul.allow_tf32 == rounded
        assert torch.backends.cudnn.allow_tf32 == rounded


@pytest.fixture
def graphs(monkeypatch):
    """Fakes of CUDA graphs and streams; returns what happened."""
    seen = []

    class Graph:
        def replay(self):
            seen.append("replay")

    class Stream:
        def wait_stream(self, other):
            pass

    @contextlib.contextmanager
    def capture(graph):
        seen.append("capture")
        yield
        seen.append("captured")

    @contextlib.contextmanager
    def stream(given):
        seen.append("aside")
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return seen


def test_a_graph_is_captured_after_warm_up_and_replayed(graphs):
    def run(x):
        graphs.append("run")
        return x + 1

    start = cuda_torch.captured(run, (torch.ones(2),))
    start()
    start()

    assert graphs == ["aside", "run", "capture", "run", "captured", *["replay"] * 2]


def test_what_cannot_be_captured_is_refused(graphs):
    def run(x):
        if "capture" in graphs:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(UnsupportedModelError, match="CUDA graph: operation not permitted"):
        cuda_torch.captured(run, (torch.ones(2),))


@pytest.mark.usefixtures("torch_of_a_gpu")
def test_a_loaded_graph_runs_by_replays_alone(graphs):
    model = CudaTorch.at("0")(RunOptions(mode=("graph",))).load(MODEL)
    del graphs[:]
    assert len(model.run(4)) == 4
    assert graphs == ["replay"] * 4


# Kernels


def kernel(name, latency_ms):
    return SimpleNamespace(name=name, duration=latency_ms * 1000)


def event(name, start, *, children=(), kernels=(), on_host=True, latency_ms=0.0):
    made = SimpleNamespace(
        name=name,
        cpu_parent=None,
        cpu_children=list(children),
        kernels=list(kernels),
        device_type=getattr(torch.autograd.DeviceType, "CPU" if on_host else "CUDA"),
        time_range=SimpleNamespace(start=start, elapsed_us=lambda: latency_ms * 1000),
    )
    for child in children:
        child.cpu_parent = made
    return made


def flattened(*events):
    return [e for root in events for e in (root, *flattened(*root.cpu_children))]


def launched_run(start):
    """Events of one run: a flush outside of ranges, a convolution of two kernels, a sum."""
    bias = event("aten::add_", start + 4, kernels=[kernel("bias", 0.5)])
    conv = event("aten::conv", start + 3, children=[bias], kernels=[kernel("gemm", 2.0)])
    return flattened(
        event("aten::zero_", start, kernels=[kernel("memset", 9.0)]),
        event("cudaEventRecord", start + 1, kernels=[kernel("gemm", 2.0)]),  # filed wrongly
        event(f"{torch_profile.RANGE}1", start + 2, children=[conv]),
        event(
            f"{torch_profile.RANGE}3",
            start + 6,
            children=[event("aten::add", start + 7, kernels=[kernel("sum", 1.0)])],
        ),
    )


OPERATORS = ["", "conv", "", "add"]


def test_kernels_belong_to_the_operator_in_whose_range_they_started():
    # Events come in any order; the device's copies of the ranges are no kernels.
    events = [
        event(f"{torch_profile.RANGE}1", 3, on_host=False),
        *reversed([*launched_run(0), *launched_run(20)]),
    ]

    kernels = torch_profile.kernels_by_launch(events, OPERATORS)

    expected = [("memset", ""), ("gemm", "conv"), ("bias", "conv"), ("sum", "add")]
    assert [(k.name, k.operator) for k in kernels] == expected * 2
    runs = torch_profile.split_runs(kernels, 2)
    assert [dict(run) for run in runs] == [{"conv": 2.5, "add": 1.0}] * 2


def test_runs_with_other_kernels_are_refused():
    kernels = torch_profile.kernels_by_launch(launched_run(0), OPERATORS)
    for found, runs in ((kernels, 3), ([*kernels, *kernels[::-1]], 2)):
        with pytest.raises(RuntimeFailedError, match="same kernels for every run"):
            torch_profile.split_runs(found, runs)


def test_kernels_of_replays_are_known_by_their_place():
    launched = torch_profile.kernels_by_launch(launched_run(0), OPERATORS)
    names = ["memset", "gemm", "bias", "sum"] * 2
    events = [
        event(name, index, on_host=False, latency_ms=index + 1.0)
        for index, name in enumerate(names)
    ]
    events = [*events[::-1], event("cudaGraphLaunch", 0)]

    replayed = torch_profile.kernels_by_time(events)
    runs = torch_profile.split_runs(torch_profile.label_replays(replayed, launched), 2)

    assert [dict(run) for run in runs] == [{"conv": 5.0, "add": 4.0}, {"conv": 13.0, "add": 8.0}]


@pytest.mark.parametrize(
    "names", [["memset", "gemm", "bias"], ["memset", "bias", "gemm", "sum"], []]
)
def test_a_graph_with_other_kernels_is_refused(names):
    launched = torch_profile.kernels_by_launch(launched_run(0), OPERATORS)
    replayed = [(name, 1.0) for name in names] if names else [("x", 1.0)]
    with pytest.raises(RuntimeFailedError, match="other kernels"):
        torch_profile.label_replays(replayed, launched)


def test_ranges_of_real_events_name_every_operator_in_order():
    """The fakes above against torch's own profiler, on the processor."""
    module = torch_module(MODEL)
    ranged = torch_profile.RangedInterpreter(module)
    image = torch.randn(1, 3, 64, 64)
    model = SimpleNamespace(run=lambda times: [ranged.run(image) for _ in range(times)])

    with torch.inference_mode():
        _, events = profile_on_the_host(model, 2)
    kernels = torch_profile.kernels_by_launch(events, ranged.operators)

    wanted = [n.meta[OPERATOR_KEY] for n in module.graph.nodes if OPERATOR_KEY in n.meta]
    runs = torch_profile.split_runs(kernels, 2)
    assert [list(run) for run in runs] == [wanted, wanted]
    assert all(latency > 0 for run in runs for latency in run.values())


def test_compiled_kernels_are_not_told_apart():
    with pytest.raises(DeviceError, match="without the mode compile"):
        CudaTorch.at("0")(RunOptions(mode=("compile",))).load_profiled(MODEL)
